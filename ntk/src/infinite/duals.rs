//! One pair behind each activation that has a closed form, by one name.

use super::gelu;
use super::pair::{self, Angle, Kink, Norm, covariance};
use super::waves::{self, Wave};
use simd::Float;
use simd::lane::Arith;

/// κ and κ̇ of an activation. Nothing branches on a value, so that loops over pairs run in vectors.
pub(super) trait Dual<T> {
    /// From the variances before and behind it, and the angle before it, to the angle behind it and to κ̇.
    fn dual<A: Arith>(&self, one: Norm<T>, two: Norm<T>, behind: [Norm<T>; 2], t: Angle<T>) -> (Angle<T>, T);
}

#[derive(Clone, Copy)]
pub(super) struct Relu;
#[derive(Clone, Copy)]
pub(super) struct Erf;
#[derive(Clone, Copy)]
pub(super) struct Exp;
#[derive(Clone, Copy)]
pub(super) struct Gelu;
/// The function whose kernel is Gaussian in the distance, with its γ.
#[derive(Clone, Copy)]
pub(super) struct Rbf(pub(super) f64);
/// `e^{−x²}`.
#[derive(Clone, Copy)]
pub(super) struct Gaussian;

impl<T: Float> Dual<T> for Relu {
    #[inline(always)]
    fn dual<A: Arith>(&self, one: Norm<T>, two: Norm<T>, _: [Norm<T>; 2], t: Angle<T>) -> (Angle<T>, T) {
        let (t, slope) = pair::relu::<T, A>(t);
        (t, if (one.root > T::ZERO) & (two.root > T::ZERO) { slope } else { T::ZERO })
    }
}

impl<T: Float> Dual<T> for Kink<T> {
    #[inline(always)]
    fn dual<A: Arith>(&self, one: Norm<T>, two: Norm<T>, _: [Norm<T>; 2], t: Angle<T>) -> (Angle<T>, T) {
        pair::kinked::<T, A>(*self, one.root, two.root, t)
    }
}

impl<T: Float> Dual<T> for Erf {
    #[inline(always)]
    fn dual<A: Arith>(&self, one: Norm<T>, two: Norm<T>, behind: [Norm<T>; 2], t: Angle<T>) -> (Angle<T>, T) {
        pair::erf::<T, A>(one, two, [behind[0].root, behind[1].root], t)
    }
}

impl<T: Float> Dual<T> for Exp {
    #[inline(always)]
    fn dual<A: Arith>(&self, one: Norm<T>, two: Norm<T>, behind: [Norm<T>; 2], t: Angle<T>) -> (Angle<T>, T) {
        let t = waves::exponential::<T, A>(one, two, t);
        (t, covariance(behind[0], behind[1], t))
    }
}

impl<T: Float> Dual<T> for Gelu {
    #[inline(always)]
    fn dual<A: Arith>(&self, one: Norm<T>, two: Norm<T>, _: [Norm<T>; 2], t: Angle<T>) -> (Angle<T>, T) {
        gelu::pair::<T, A>(one, two, t)
    }
}

impl<T: Float> Dual<T> for Wave {
    #[inline(always)]
    fn dual<A: Arith>(&self, one: Norm<T>, two: Norm<T>, _: [Norm<T>; 2], t: Angle<T>) -> (Angle<T>, T) {
        self.pair::<T, A>(one, two, t)
    }
}

impl<T: Float> Dual<T> for Rbf {
    #[inline(always)]
    fn dual<A: Arith>(&self, one: Norm<T>, two: Norm<T>, _: [Norm<T>; 2], t: Angle<T>) -> (Angle<T>, T) {
        waves::rbf::<T, A>(self.0, one, two, t)
    }
}

impl<T: Float> Dual<T> for Gaussian {
    #[inline(always)]
    fn dual<A: Arith>(&self, one: Norm<T>, two: Norm<T>, _: [Norm<T>; 2], t: Angle<T>) -> (Angle<T>, T) {
        waves::gaussian(one, two, t)
    }
}

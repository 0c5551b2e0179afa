//! Layers of one row of pairs, in loops that are compiled for every CPU level.

use super::gelu;
use super::pair::{self, Angle, Kink, Norm, covariance};
use super::rows::{Others, Strip};
use simd::lane::Arith;
use simd::{Float, Kernel};

/// What an activation makes of the pairs of one row. Without branches on values, so that loops over it run in vectors.
pub(super) trait Behind<T: Float>: Copy {
    /// The angle with another row behind the activation, and κ̇: from the norm of that row before it, the root of its variance behind it, and
    /// the angle before it.
    fn pair<A: Arith>(self, two: Norm<T>, after: T, t: Angle<T>) -> (Angle<T>, T);
}

/// ReLU; of a zero variance the slope is that at 0, which is 0. It needs to know whether the variance of the row is another one.
#[derive(Clone, Copy)]
pub(super) struct Relu<T>(T);

/// A function with a kink, and the root of the row's variance.
#[derive(Clone, Copy)]
pub(super) struct Kinked<T>(pub(super) Kink<T>, pub(super) T);

/// erf, the norm of the row, and the root of its variance behind it.
#[derive(Clone, Copy)]
pub(super) struct Erf<T>(pub(super) Norm<T>, pub(super) T);

/// gelu, and the norm of the row.
#[derive(Clone, Copy)]
pub(super) struct Gelu<T>(pub(super) Norm<T>);

impl<T: Float> Relu<T> {
    pub(super) fn new(one: Norm<T>) -> Self {
        Relu(if one.root > T::ZERO { T::ONE } else { T::ZERO })
    }
}

impl<T: Float> Behind<T> for Relu<T> {
    #[inline(always)]
    fn pair<A: Arith>(self, two: Norm<T>, _: T, t: Angle<T>) -> (Angle<T>, T) {
        let (t, slope) = pair::relu::<T, A>(t);
        (t, if two.root > T::ZERO { self.0 * slope } else { T::ZERO })
    }
}

impl<T: Float> Behind<T> for Kinked<T> {
    #[inline(always)]
    fn pair<A: Arith>(self, two: Norm<T>, _: T, t: Angle<T>) -> (Angle<T>, T) {
        pair::kinked::<T, A>(self.0, self.1, two.root, t)
    }
}

impl<T: Float> Behind<T> for Erf<T> {
    #[inline(always)]
    fn pair<A: Arith>(self, two: Norm<T>, after: T, t: Angle<T>) -> (Angle<T>, T) {
        pair::erf::<T, A>(self.0, two, [self.1, after], t)
    }
}

impl<T: Float> Behind<T> for Gelu<T> {
    #[inline(always)]
    fn pair<A: Arith>(self, two: Norm<T>, _: T, t: Angle<T>) -> (Angle<T>, T) {
        gelu::pair::<T, A>(self.0, two, t)
    }
}

/// A dense layer: `Θ ← α K + γ + w² Θ`.
pub(super) struct ThetaLoop<'a, T> {
    pub(super) one: Norm<T>,
    pub(super) two: Others<'a, T>,
    pub(super) coefficients: [T; 3],
    pub(super) strip: &'a mut Strip<T>,
}

impl<T: Float> Kernel for ThetaLoop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let (one, [alpha, gamma, ww]) = (self.one, self.coefficients);
        let theta = &mut self.strip.theta[..];
        let n = theta.len();
        let (near, far) = (&self.strip.near[..n], &self.strip.far[..n]);
        let (variance, root) = (&self.two.variance[..n], &self.two.root[..n]);
        for k in 0..n {
            let two = Norm { variance: variance[k], root: root[k] };
            let covariance = covariance(one, two, Angle { near: near[k], far: far[k] });
            theta[k] = A::mul_add(alpha, covariance, gamma) + ww * theta[k];
        }
    }
}

/// The bias of a dense layer, equal for all examples, as a part of the sum: the shares of weights and bias in the rows' variances.
pub(super) struct BiasLoop<'a, T> {
    pub(super) p: [T; 2],
    pub(super) q: [&'a [T]; 2],
    pub(super) strip: &'a mut Strip<T>,
}

impl<T: Float> Kernel for BiasLoop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let near = &mut self.strip.near[..];
        let n = near.len();
        let far = &mut self.strip.far[..n];
        let (q1, q2) = (&self.q[0][..n], &self.q[1][..n]);
        for k in 0..n {
            let t = pair::sum(self.p, [q1[k], q2[k]], Angle { near: near[k], far: far[k] }, Angle::COINCIDENT);
            (near[k], far[k]) = (t.near, t.far);
        }
    }
}

/// An activation, with the norms that it reads and the roots of the variances behind it.
pub(super) struct ActivationLoop<'a, T, F> {
    pub(super) activation: F,
    pub(super) two: Others<'a, T>,
    pub(super) after: &'a [T],
    pub(super) strip: &'a mut Strip<T>,
}

impl<T: Float, F: Behind<T>> Kernel for ActivationLoop<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let theta = &mut self.strip.theta[..];
        let n = theta.len();
        let (near, far) = (&mut self.strip.near[..n], &mut self.strip.far[..n]);
        let (variance, root, after) = (&self.two.variance[..n], &self.two.root[..n], &self.after[..n]);
        for k in 0..n {
            let two = Norm { variance: variance[k], root: root[k] };
            let (t, slope) = self.activation.pair::<A>(two, after[k], Angle { near: near[k], far: far[k] });
            (near[k], far[k]) = (t.near, t.far);
            theta[k] *= slope;
        }
    }
}

/// The angles of a sum of this and another part.
pub(super) struct SumLoop<'a, T> {
    pub(super) p: [T; 2],
    pub(super) q: [&'a [T]; 2],
    pub(super) strip: &'a mut Strip<T>,
    pub(super) other: &'a Strip<T>,
}

impl<T: Float> Kernel for SumLoop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let n = self.strip.near.len();
        let (near, far) = (&mut self.strip.near[..n], &mut self.strip.far[..n]);
        let (q1, q2) = (&self.q[0][..n], &self.q[1][..n]);
        let (other_near, other_far) = (&self.other.near[..n], &self.other.far[..n]);
        for k in 0..n {
            let other = Angle { near: other_near[k], far: other_far[k] };
            let t = pair::sum(self.p, [q1[k], q2[k]], Angle { near: near[k], far: far[k] }, other);
            (near[k], far[k]) = (t.near, t.far);
        }
    }
}

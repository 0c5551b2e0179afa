//! Layers of one row of pairs, in loops that are compiled for every CPU level.

use super::duals::Dual;
use super::pair::{self, Angle, Norm, covariance};
use super::rows::{Others, Strip};
use simd::lane::Arith;
use simd::{Float, Kernel};

/// The angles between the inputs, from the products of their directions: `sin²(t/2) = (1 − cos t)/2`, `cos t = scale · product`. Gives whether
/// some |product| is above the threshold.
pub(super) struct StartLoop<'a, T> {
    pub(super) products: &'a [T],
    pub(super) scale: T,
    pub(super) threshold: T,
    pub(super) strip: &'a mut Strip<T>,
}

impl<T: Float> Kernel for StartLoop<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn run<A: Arith>(self, _: A) -> bool {
        let (half, scale, threshold) = (T::of(0.5), self.scale, self.threshold);
        let mut any = false;
        let n = self.products.len();
        let (near, far) = (&mut self.strip.near[..n], &mut self.strip.far[..n]);
        for k in 0..n {
            let cos = self.products[k] * scale;
            near[k] = half * (T::ONE - cos);
            far[k] = half * (T::ONE + cos);
            any |= self.products[k].abs() > threshold;
        }
        any
    }
}

/// `K` of the pairs.
pub(super) struct CovarianceLoop<'a, T> {
    pub(super) one: Norm<T>,
    pub(super) two: Others<'a, T>,
    pub(super) strip: &'a Strip<T>,
    pub(super) nngp: &'a mut [T],
}

impl<T: Float> Kernel for CovarianceLoop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let n = self.nngp.len();
        let (near, far) = (&self.strip.near[..n], &self.strip.far[..n]);
        let (variance, root) = (&self.two.variance[..n], &self.two.root[..n]);
        for k in 0..n {
            let two = Norm { variance: variance[k], root: root[k] };
            self.nngp[k] = covariance(self.one, two, Angle { near: near[k], far: far[k] });
        }
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

/// An activation, with the norms before and behind it.
pub(super) struct ActivationLoop<'a, T, D> {
    pub(super) dual: D,
    pub(super) one: Norm<T>,
    pub(super) two: Others<'a, T>,
    pub(super) behind_one: Norm<T>,
    pub(super) behind_two: Others<'a, T>,
    pub(super) strip: &'a mut Strip<T>,
}

impl<T: Float, D: Dual<T>> Kernel for ActivationLoop<'_, T, D> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let (one, behind_one) = (self.one, self.behind_one);
        let theta = &mut self.strip.theta[..];
        let n = theta.len();
        let (near, far) = (&mut self.strip.near[..n], &mut self.strip.far[..n]);
        let (variance, root) = (&self.two.variance[..n], &self.two.root[..n]);
        let (behind_variance, behind_root) = (&self.behind_two.variance[..n], &self.behind_two.root[..n]);
        for k in 0..n {
            let two = Norm { variance: variance[k], root: root[k] };
            let behind = [behind_one, Norm { variance: behind_variance[k], root: behind_root[k] }];
            let (t, slope) = self.dual.dual::<A>(one, two, behind, Angle { near: near[k], far: far[k] });
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

/// Σ c_i x^i. One chain of operations, as those of several vectors run side by side.
#[inline(always)]
pub(super) fn horner<T: Float, A: Arith, const N: usize>(x: T, c: &[f64; N]) -> T {
    let mut sum = T::of(c[N - 1]);
    for i in (0..N - 1).rev() {
        sum = A::mul_add(sum, x, T::of(c[i]));
    }
    sum
}

/// Reads lanes from this one on; mostly all, which is a move of known length.
#[inline(always)]
pub(super) fn load<T: Float, const L: usize>(lanes: &mut [T; L], offset: usize, from: &[T]) {
    if from.len() == L {
        lanes.copy_from_slice(&from[..L]);
    } else {
        lanes[offset..offset + from.len()].copy_from_slice(from);
    }
}

/// Writes lanes from this one on.
#[inline(always)]
pub(super) fn store<T: Float, const L: usize>(lanes: &[T; L], offset: usize, to: &mut [T]) {
    if to.len() == L {
        to[..L].copy_from_slice(lanes);
    } else {
        to.copy_from_slice(&lanes[offset..offset + to.len()]);
    }
}

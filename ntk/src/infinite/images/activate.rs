//! Layers that act on each pair of places alone: activations and layer norms.

use super::super::duals::Dual;
use super::super::pair::{Angle, Norm, covariance};
use super::lanes::{Places, carries_distance, coincident};
use super::side::{Both, Lanes};
use simd::lane::Arith;
use simd::{Float, Kernel};

/// The angle of a pair of places. Where a variance is 0 there is none, and it is taken as a right one.
#[inline(always)]
fn angle<T: Float>(k: T, distance: T, one: Norm<T>, two: Norm<T>, [inverse1, inverse2]: [T; 2]) -> Angle<T> {
    let half = T::of(0.5);
    // A condition on constants: only one of the branches is compiled.
    let near = if carries_distance::<T>() {
        half * distance * inverse1 * inverse2
    } else {
        // One factor after the other, as their product may be too large.
        half * (T::ONE - k * inverse1 * inverse2)
    };
    let near = if near > T::ZERO { near } else { T::ZERO };
    let near = if near < T::ONE { near } else { T::ONE };
    let near = if (inverse1 > T::ZERO) & (inverse2 > T::ZERO) { near } else { half };
    let near = if coincident(k, one.variance, two.variance) { T::ZERO } else { near };
    Angle { near, far: T::ONE - near }
}

/// An activation on a plane of pairs.
pub(super) struct Activate<'a, T, const M: usize, const L: usize, D> {
    pub(super) places: Places<'a>,
    pub(super) dual: D,
    pub(super) before: Both<'a, T, M, L>,
    pub(super) behind: Both<'a, T, M, L>,
    pub(super) k: &'a mut [Lanes<T, L>],
    /// Empty where it is 0.
    pub(super) theta: &'a mut [Lanes<T, L>],
    pub(super) distance: &'a mut [Lanes<T, L>],
}

impl<T: Float, const M: usize, const L: usize, D: Dual<T>> Kernel for Activate<'_, T, M, L, D> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let ((one, two), (behind1, behind2)) = (self.before, self.behind);
        self.places.each(|k, p, q| {
            let (inverse1, inverse2) = (&one.inverse[p], &two.inverse[q]);
            let (mut covariances, mut slopes, mut distances) = (self.k[k], [T::ZERO; L], [T::ZERO; L]);
            if carries_distance::<T>() {
                distances = self.distance[k];
            }
            let (v1, r1, v2, r2) = (one.variance[p], one.root[p], two.variance[q], two.root[q]);
            let (w1, s1, w2, s2) = (behind1.variance[p], behind1.root[p], behind2.variance[q], behind2.root[q]);
            for l in 0..L {
                let (one, two) = (Norm { variance: v1[l % M], root: r1[l % M] }, Norm { variance: v2[l], root: r2[l] });
                let behind = [Norm { variance: w1[l % M], root: s1[l % M] }, Norm { variance: w2[l], root: s2[l] }];
                let t = angle(covariances[l], distances[l], one, two, [inverse1[l % M], inverse2[l]]);
                let (t, slope) = self.dual.dual::<A>(one, two, behind, t);
                covariances[l] = covariance(behind[0], behind[1], t);
                distances[l] = T::of(2.0) * behind[0].root * behind[1].root * t.near;
                slopes[l] = slope;
            }
            self.k[k] = covariances;
            if carries_distance::<T>() {
                self.distance[k] = distances;
            }
            if !self.theta.is_empty() {
                for l in 0..L {
                    self.theta[k][l] *= slopes[l];
                }
            }
        });
    }
}

/// The angles of a plane of pairs, and what is made of angles: for functions with a series, which have a loop of their own.
pub(super) fn series<T: Float, const M: usize, const L: usize>(
    places: Places,
    before: Both<T, M, L>,
    behind: Both<T, M, L>,
    (k, distance): (&mut [Lanes<T, L>], &mut [Lanes<T, L>]),
    mut turn: impl FnMut(usize, usize, usize, &mut Lanes<T, L>, &mut Lanes<T, L>),
) {
    let ((one, two), (behind1, behind2)) = (before, behind);
    places.each(|at, p, q| {
        let (mut near, mut far) = ([T::ZERO; L], [T::ZERO; L]);
        for l in 0..L {
            let d = if carries_distance::<T>() { distance[at][l] } else { T::ZERO };
            let t = angle(k[at][l], d, one.at(p, l % M), two.at(q, l), [one.inverse[p][l % M], two.inverse[q][l]]);
            (near[l], far[l]) = (t.near, t.far);
        }
        turn(at, p, q, &mut near, &mut far);
        for l in 0..L {
            let (one, two) = (behind1.at(p, l % M), behind2.at(q, l));
            k[at][l] = covariance(one, two, Angle { near: near[l], far: far[l] });
            if carries_distance::<T>() {
                distance[at][l] = T::of(2.0) * one.root * two.root * near[l];
            }
        }
    });
}

/// A layer norm on a plane of pairs.
pub(super) struct Normalize<'a, T, const M: usize, const L: usize> {
    pub(super) places: Places<'a>,
    pub(super) before: Both<'a, T, M, L>,
    pub(super) behind: Both<'a, T, M, L>,
    pub(super) k: &'a mut [Lanes<T, L>],
    pub(super) theta: &'a mut [Lanes<T, L>],
    pub(super) distance: &'a mut [Lanes<T, L>],
}

impl<T: Float, const M: usize, const L: usize> Kernel for Normalize<'_, T, M, L> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let ((one, two), (behind1, behind2)) = (self.before, self.behind);
        self.places.each(|k, p, q| {
            let (factor1, factor2) = (&behind1.factor[p], &behind2.factor[q]);
            for l in 0..L {
                let whole = coincident(self.k[k][l], one.variance[p][l % M], two.variance[q][l])
                    & (behind1.variance[p][l % M] == behind2.variance[q][l]);
                let scaled = self.k[k][l] * factor1[l % M] * factor2[l];
                self.k[k][l] = if whole { behind1.variance[p][l % M] } else { scaled };
            }
            for plane in [&mut *self.theta, &mut *self.distance] {
                if !plane.is_empty() {
                    for l in 0..L {
                        plane[k][l] = plane[k][l] * factor1[l % M] * factor2[l];
                    }
                }
            }
        });
    }
}

//! Loops over pairs of places with L pairs of images side by side, compiled for every CPU level.

use super::super::duals::Dual;
use super::super::pair::{Angle, Norm, covariance};
use super::super::stage::Affine;
use super::linear::Linear;
use super::plan::{Pairs, Taps};
use super::side::{Both, Lanes, Norms};
use simd::lane::Arith;
use simd::{Float, Kernel};

/// Whether the distance from parallel is carried beside the covariance, as it is in double precision.
pub(super) fn carries_distance<T: Float>() -> bool {
    T::EPSILON.to_f64() < 1e-10
}

/// `to[y, x] = Σ from[y, x']` over the taps along the width.
pub(super) struct RowSums<'a, T, const L: usize> {
    pub(super) taps: &'a Taps,
    pub(super) from: &'a [Lanes<T, L>],
    pub(super) width: usize,
    pub(super) to: &'a mut [Lanes<T, L>],
}

impl<T: Float, const L: usize> Kernel for RowSums<'_, T, L> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let n = self.taps.len();
        for (from, to) in self.from.chunks_exact(self.width).zip(self.to.chunks_exact_mut(n)) {
            row_sums(self.taps, from, to);
        }
    }
}

/// The sums of one row.
#[inline(always)]
pub(super) fn row_sums<T: Float, const L: usize>(taps: &Taps, from: &[Lanes<T, L>], to: &mut [Lanes<T, L>]) {
    let (run, first) = taps.run();
    for edge in [0..run.start, run.end..to.len()] {
        for x in edge {
            let mut sum = [T::ZERO; L];
            match *taps.of(x) {
                [] => (),
                [a] => sum = from[a],
                [a, b] => {
                    let (a, b) = (&from[a], &from[b]);
                    for l in 0..L {
                        sum[l] = a[l] + b[l];
                    }
                }
                [a, ref rest @ ..] => {
                    sum = from[a];
                    for &tap in rest {
                        let from = &from[tap];
                        for l in 0..L {
                            sum[l] += from[l];
                        }
                    }
                }
            }
            to[x] = sum;
        }
    }
    // Between the edges without a branch. Summed apart from where it goes: the compiler does not know that this is elsewhere.
    for (to, from) in to[run].iter_mut().zip(from[first..].windows(3)) {
        let mut sum = [T::ZERO; L];
        for l in 0..L {
            sum[l] = from[0][l] + from[1][l] + from[2][l];
        }
        *to = sum;
    }
}

/// The sums along the height, `[height, width]` from `[rows, width]`, each of them mapped on.
pub(super) struct ColumnSums<'a, T, const L: usize> {
    pub(super) taps: &'a Taps,
    pub(super) from: &'a [Lanes<T, L>],
    pub(super) width: usize,
    pub(super) to: &'a mut [Lanes<T, L>],
}

impl<T: Float, const L: usize> Kernel for ColumnSums<'_, T, L> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        for (y, to) in self.to.chunks_exact_mut(self.width).enumerate() {
            let taps = self.taps.of(y);
            for (x, to) in to.iter_mut().enumerate() {
                let mut sum = [T::ZERO; L];
                for &tap in taps {
                    let from = &self.from[tap * self.width + x];
                    for l in 0..L {
                        sum[l] += from[l];
                    }
                }
                *to = sum;
            }
        }
    }
}

/// From sums over windows to both kernels: `K ← w² a ΣK + b²` and `Θ ← α a ΣK + γ + w² a ΣΘ`.
pub(super) struct Weigh<'a, T, const L: usize> {
    pub(super) linear: &'a Linear,
    pub(super) k: &'a mut [Lanes<T, L>],
    /// Empty where it is 0.
    pub(super) theta: &'a mut Vec<Lanes<T, L>>,
}

impl<T: Float, const L: usize> Kernel for Weigh<'_, T, L> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let a = self.linear.scale;
        let Some(&Affine { w, b, alpha, gamma }) = self.linear.affine.as_ref() else {
            let a = T::of(a);
            for lanes in self.k.iter_mut().chain(self.theta.iter_mut()) {
                for l in 0..L {
                    lanes[l] = a * lanes[l];
                }
            }
            return;
        };
        let [ww, bb, alpha, gamma] = [w * w * a, b * b, alpha * a, gamma].map(T::of);
        if self.theta.is_empty() {
            self.theta.resize(self.k.len(), [T::ZERO; L]);
        }
        for (k, theta) in self.k.iter_mut().zip(self.theta.iter_mut()) {
            for l in 0..L {
                theta[l] = A::mul_add(ww, theta[l], A::mul_add(alpha, k[l], gamma));
                k[l] = A::mul_add(ww, k[l], bb);
            }
        }
    }
}

/// The places of a plane of pairs in images that are `width` places wide.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) y: &'a Pairs,
    pub(super) x: &'a Pairs,
    pub(super) width: usize,
}

impl Places<'_> {
    pub(super) fn len(&self) -> usize {
        self.y.len() * self.x.len()
    }

    /// Calls `f` with the number of each pair in the plane and its two places.
    #[inline(always)]
    fn each(&self, mut f: impl FnMut(usize, usize, usize)) {
        let mut k = 0;
        for y in self.y {
            let (row_p, row_q) = (y[0] * self.width, y[1] * self.width);
            for x in self.x {
                f(k, row_p + x[0], row_q + x[1]);
                k += 1;
            }
        }
    }

    /// Calls `f` with the number in the plane and the place of each pair of a place with itself.
    pub(super) fn each_own(&self, mut f: impl FnMut(usize, usize)) {
        self.each(|k, p, q| {
            if p == q {
                f(k, p);
            }
        });
    }
}

/// `K⁰ = (1/C) Σ_c x_c[p] x'_c[q]`.
pub(super) struct Start<'a, T, const M: usize, const L: usize> {
    pub(super) places: Places<'a>,
    pub(super) channels: usize,
    pub(super) one: &'a [Lanes<T, M>],
    pub(super) two: &'a [Lanes<T, L>],
    pub(super) k: &'a mut [Lanes<T, L>],
}

impl<T: Float, const M: usize, const L: usize> Kernel for Start<'_, T, M, L> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let places = self.one.len() / self.channels;
        let mean = T::of(1.0 / self.channels as f64);
        self.places.each(|k, p, q| {
            let mut sum = [T::ZERO; L];
            for c in 0..self.channels {
                let (one, two) = (&self.one[c * places + p], &self.two[c * places + q]);
                for l in 0..L {
                    sum[l] = A::mul_add(one[l % M], two[l], sum[l]);
                }
            }
            for l in 0..L {
                self.k[k][l] = mean * sum[l];
            }
        });
    }
}

/// `n − K⁰ = n ‖x̂[p] − x̂'[q]‖²/2C` with the directions `x̂ = x/√K⁰11`.
pub(super) struct StartDistance<'a, T, const M: usize, const L: usize> {
    pub(super) places: Places<'a>,
    pub(super) channels: usize,
    pub(super) one: (&'a [Lanes<T, M>], &'a Norms<T, M>),
    pub(super) two: (&'a [Lanes<T, L>], &'a Norms<T, L>),
    pub(super) distance: &'a mut [Lanes<T, L>],
}

impl<T: Float, const M: usize, const L: usize> Kernel for StartDistance<'_, T, M, L> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let ((x1, one), (x2, two)) = (self.one, self.two);
        let places = x1.len() / self.channels;
        let mean = T::of(0.5 / self.channels as f64);
        self.places.each(|k, p, q| {
            let mut sum = [T::ZERO; L];
            for c in 0..self.channels {
                let (x1, x2) = (&x1[c * places + p], &x2[c * places + q]);
                for l in 0..L {
                    let d = x1[l % M] * one.inverse[p][l % M] - x2[l] * two.inverse[q][l];
                    sum[l] = A::mul_add(d, d, sum[l]);
                }
            }
            for l in 0..L {
                self.distance[k][l] = mean * sum[l] * (one.root[p][l % M] * two.root[q][l]);
            }
        });
    }
}

/// From this sin²(t/2) on, `n − K` is the difference of the two. Below it, where digits would be lost, it is the sum of what
/// the parts have of it and of what Cauchy and Schwarz leave between them.
const NEAR: f64 = 1.0 / 32.0;

/// `n − K12` behind a linear layer or a sum of branches, `n = √(K11 K22)`, given the sum of those of its parts.
///
/// With the shares `u_f`, `v_f` of the parts in the two roots, `Σ u_f² = Σ v_f² = 1`, the rest is `(n/2) Σ (u_f − v_f)²`.
pub(super) struct Distance<'a, T, const M: usize, const L: usize, S> {
    pub(super) places: Places<'a>,
    pub(super) k: &'a [Lanes<T, L>],
    pub(super) norms: Both<'a, T, M, L>,
    pub(super) shares: S,
    pub(super) distance: &'a mut [Lanes<T, L>],
}

/// `Σ (u_f − v_f)²`, of places p and q.
pub(super) trait Shares<T, const M: usize, const L: usize> {
    /// By what the sum of the parts is multiplied.
    fn factor(&self) -> T;
    fn apart<A: Arith>(&self, p: usize, q: usize, inverses: (&Lanes<T, M>, &Lanes<T, L>)) -> Lanes<T, L>;
}

impl<T: Float, const M: usize, const L: usize, S: Shares<T, M, L>> Kernel for Distance<'_, T, M, L, S> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let ((one, two), half, factor) = (self.norms, T::of(0.5), self.shares.factor());
        self.places.each(|k, p, q| {
            let (root1, root2, covariance) = (&one.root[p], &two.root[q], &self.k[k]);
            let (mut n, mut difference, mut near) = ([T::ZERO; L], [T::ZERO; L], false);
            for l in 0..L {
                n[l] = root1[l % M] * root2[l];
                let d = n[l] - covariance[l];
                difference[l] = if d > T::ZERO { d } else { T::ZERO };
            }
            for l in 0..L {
                near |= difference[l] < T::of(2.0 * NEAR) * n[l];
            }
            if near {
                let apart = self.shares.apart::<A>(p, q, (&one.inverse[p], &two.inverse[q]));
                for l in 0..L {
                    let sum = A::mul_add(half * n[l], apart[l], factor * self.distance[k][l]);
                    difference[l] = if difference[l] < T::of(2.0 * NEAR) * n[l] { sum } else { difference[l] };
                }
            }
            self.distance[k] = difference;
        });
    }
}

/// The parts of a linear layer: the cells of its windows, and the bias.
pub(super) struct Cells<'a, T, const M: usize, const L: usize> {
    linear: &'a Linear,
    before: Both<'a, T, M, L>,
    /// The cells that each window sees along an axis; one beyond the last for none.
    cells: [Vec<usize>; 2],
}

impl<'a, T: Float, const M: usize, const L: usize> Cells<'a, T, M, L> {
    pub(super) fn new(linear: &'a Linear, before: Both<'a, T, M, L>) -> Self {
        let cells = [0, 1].map(|axis| {
            let (out, n) = (linear.out()[axis], linear.image()[axis]);
            (0..out).flat_map(|p| (0..linear.window(axis)).map(move |tap| linear.cell(axis, p, tap).unwrap_or(n))).collect()
        });
        Cells { linear, before, cells }
    }

    #[inline(always)]
    fn rows(&self, place: usize) -> (&[usize], &[usize]) {
        let ([down, across], width) = ([self.linear.window(0), self.linear.window(1)], self.linear.out()[1]);
        let (y, x) = (place / width, place % width);
        (&self.cells[0][y * down..][..down], &self.cells[1][x * across..][..across])
    }
}

impl<T: Float, const M: usize, const L: usize> Shares<T, M, L> for Cells<'_, T, M, L> {
    #[inline(always)]
    fn factor(&self) -> T {
        let w = self.linear.affine.as_ref().map_or(1.0, |affine| affine.w);
        T::of(w * w * self.linear.scale)
    }

    #[inline(always)]
    fn apart<A: Arith>(&self, p: usize, q: usize, (inverse1, inverse2): (&Lanes<T, M>, &Lanes<T, L>)) -> Lanes<T, L> {
        let (one, two) = self.before;
        let [height, width] = self.linear.image();
        let (w, b) = self.linear.affine.as_ref().map_or((1.0, 0.0), |affine| (affine.w, affine.b));
        let (w, b) = (T::of(w * self.linear.scale.sqrt()), T::of(b));
        let (mut u, mut v, mut apart) = ([T::ZERO; L], [T::ZERO; L], [T::ZERO; L]);
        for l in 0..L {
            let d = b * inverse1[l % M] - b * inverse2[l];
            apart[l] = d * d;
            (u[l], v[l]) = (w * inverse1[l % M], w * inverse2[l]);
        }
        let ((rows1, columns1), (rows2, columns2)) = (self.rows(p), self.rows(q));
        let place = |y: usize, x: usize| if y < height && x < width { y * width + x } else { height * width };
        for (&y1, &y2) in rows1.iter().zip(rows2) {
            for (&x1, &x2) in columns1.iter().zip(columns2) {
                let (root1, root2) = (&one.root[place(y1, x1)], &two.root[place(y2, x2)]);
                for l in 0..L {
                    // Two plain products, so that the difference is exactly 0 for equal windows.
                    let d = root1[l % M] * u[l] - root2[l] * v[l];
                    apart[l] = A::mul_add(d, d, apart[l]);
                }
            }
        }
        apart
    }
}

/// The two branches of a sum.
pub(super) struct Branches<'a, T, const M: usize, const L: usize>(pub(super) [Both<'a, T, M, L>; 2]);

impl<T: Float, const M: usize, const L: usize> Shares<T, M, L> for Branches<'_, T, M, L> {
    #[inline(always)]
    fn factor(&self) -> T {
        T::ONE
    }

    #[inline(always)]
    fn apart<A: Arith>(&self, p: usize, q: usize, (inverse1, inverse2): (&Lanes<T, M>, &Lanes<T, L>)) -> Lanes<T, L> {
        let mut apart = [T::ZERO; L];
        for (one, two) in self.0 {
            let (root1, root2) = (&one.root[p], &two.root[q]);
            for l in 0..L {
                let d = root1[l % M] * inverse1[l % M] - root2[l] * inverse2[l];
                apart[l] = A::mul_add(d, d, apart[l]);
            }
        }
        apart
    }
}

/// `n − K12` behind a pool, which is no longer a sum of squares: 0 for images that coincide, else the difference.
pub(super) struct PoolDistance<'a, T, const M: usize, const L: usize> {
    pub(super) places: Places<'a>,
    pub(super) k: &'a [Lanes<T, L>],
    pub(super) norms: Both<'a, T, M, L>,
    pub(super) distance: &'a mut [Lanes<T, L>],
}

impl<T: Float, const M: usize, const L: usize> Kernel for PoolDistance<'_, T, M, L> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let (one, two) = self.norms;
        self.places.each(|k, p, q| {
            for l in 0..L {
                let d = one.root[p][l % M] * two.root[q][l] - self.k[k][l];
                let d = if d > T::ZERO { d } else { T::ZERO };
                self.distance[k][l] = if coincident(self.k[k][l], one.variance[p][l % M], two.variance[q][l]) { T::ZERO } else { d };
            }
        });
    }
}

#[inline(always)]
pub(super) fn coincident<T: Float>(k: T, variance1: T, variance2: T) -> bool {
    (k == variance1) & (k == variance2)
}

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

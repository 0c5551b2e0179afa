//! The distance from parallel, `√(K11 K22) − K12`, of pairs of places, which double precision carries beside the covariance.

use super::lanes::{Places, coincident};
use super::linear::Linear;
use super::side::{Both, Lanes, Norms};
use simd::lane::Arith;
use simd::{Float, Kernel};

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

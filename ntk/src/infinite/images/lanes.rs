//! Loops over pairs of places with L pairs of images side by side, compiled for every CPU level.

use super::super::stage::Affine;
use super::linear::Linear;
use super::plan::{Pairs, Taps};
use super::side::Lanes;
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
    let mut done = 0;
    for (run, first) in taps.runs() {
        edge_sums(taps, done, run.start, from, to);
        done = run.end;
        // Without a branch, and over all lanes of the run as one row of numbers: of a loop over places with one over lanes in it some
        // levels make gathers.
        let to = to[run.start..run.end].as_flattened_mut();
        let from = from[*first..][..run.len() + 2].as_flattened();
        let (a, b, c) = (&from[..to.len()], &from[L..][..to.len()], &from[2 * L..][..to.len()]);
        for i in 0..to.len() {
            to[i] = a[i] + b[i] + c[i];
        }
    }
    edge_sums(taps, done, to.len(), from, to);
}

/// The sums of any pairs.
#[inline(always)]
fn edge_sums<T: Float, const L: usize>(taps: &Taps, start: usize, end: usize, from: &[Lanes<T, L>], to: &mut [Lanes<T, L>]) {
    for x in start..end {
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
            add_rows(self.taps.of(y), |tap| tap * self.width, self.from, to);
        }
    }
}

/// The sum of rows that begin at `start` of each tap. All lanes of a row are one row of numbers, as in [`row_sums`].
#[inline(always)]
pub(super) fn add_rows<T: Float, const L: usize>(
    taps: &[usize],
    start: impl Fn(usize) -> usize,
    rows: &[Lanes<T, L>],
    sum: &mut [Lanes<T, L>],
) {
    let width = sum.len();
    let sum = sum.as_flattened_mut();
    sum.fill(T::ZERO);
    for &tap in taps {
        let row = &rows[start(tap)..][..width].as_flattened()[..sum.len()];
        for i in 0..sum.len() {
            sum[i] += row[i];
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
            for numbers in [self.k, &mut self.theta[..]] {
                for number in numbers.as_flattened_mut() {
                    *number = a * *number;
                }
            }
            return;
        };
        let [ww, bb, alpha, gamma] = [w * w * a, b * b, alpha * a, gamma].map(T::of);
        if self.theta.is_empty() {
            self.theta.resize(self.k.len(), [T::ZERO; L]);
        }
        for (k, theta) in self.k.as_flattened_mut().iter_mut().zip(self.theta.as_flattened_mut()) {
            *theta = A::mul_add(ww, *theta, A::mul_add(alpha, *k, gamma));
            *k = A::mul_add(ww, *k, bb);
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
    pub(super) fn each(&self, mut f: impl FnMut(usize, usize, usize)) {
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

#[inline(always)]
pub(super) fn coincident<T: Float>(k: T, variance1: T, variance2: T) -> bool {
    (k == variance1) & (k == variance2)
}

//! Pairs behind a function that is given by its Hermite series.

use super::hermite::{CLASSES, Lengths, Parity, Row, Smooth};
use simd::lane::Arith;
use simd::{Float, Kernel};
use std::ops::Range;
use std::sync::Arc;

/// Rows that lie side by side: a term of 16 pairs is a few vectors.
const LANES: usize = 16;

/// The terms of the series of all rows, behind one function.
#[derive(Clone, Debug)]
pub(super) struct Series<T> {
    /// `√n a_n/√K11'`, `[rows/16, count, 16]`.
    terms: Vec<T>,
    count: usize,
    /// Of each row `a_0/√K11'`, `σ/√K11'` and `E[f'(u)]`.
    mean: Vec<T>,
    ratio: Vec<T>,
    first: Vec<T>,
    octave: Vec<i32>,
}

impl<T: Float> Series<T> {
    pub(super) fn new(rows: &[Row]) -> Self {
        let count = rows.iter().map(|row| row.terms.len()).max().unwrap_or(0);
        let mut terms = vec![T::ZERO; rows.len().div_ceil(LANES) * count * LANES];
        for (i, row) in rows.iter().enumerate() {
            for (k, &term) in row.terms.iter().enumerate() {
                terms[(i / LANES * count + k) * LANES + i % LANES] = T::of(term);
            }
        }
        let each = |f: fn(&Row) -> f64| rows.iter().map(|row| T::of(f(row))).collect();
        Series {
            terms,
            count,
            mean: each(|row| row.mean),
            ratio: each(|row| row.ratio),
            first: each(|row| row.first),
            octave: rows.iter().map(|row| row.octave).collect(),
        }
    }

    fn term(&self, i: usize, k: usize) -> T {
        self.terms[(i / LANES * self.count + k) * LANES + i % LANES]
    }
}

/// Pairs of the row `i` of `one` with the rows `j` of `two`: their angles before and behind the function, and `Θ`.
pub(super) struct SeriesLoop<'a, T> {
    pub(super) smooth: &'a Smooth,
    pub(super) one: &'a Series<T>,
    pub(super) i: usize,
    pub(super) two: &'a Series<T>,
    pub(super) j: Range<usize>,
    pub(super) near: &'a mut [T],
    pub(super) far: &'a mut [T],
    pub(super) theta: &'a mut [T],
}

/// A block of pairs: `c = cos t`, with the sign taken off where the function is odd or even; how many terms each needs in the sum of
/// cosines, and in the sum of differences, of which one is 0.
struct Block<T> {
    near: [T; LANES],
    c: [T; LANES],
    cosine: [T; LANES],
    difference: [T; LANES],
    longest: [usize; 2],
}

/// The sums over the terms, with `C` = c or c², the ratio of two terms.
struct Sums<T> {
    /// `Σ w_k C^k`, or with `W_m = Σ_{k≥m} w_k` the sum `Σ_{m≥1} W_m C^{m−1}`; `w` is `a_n a'_n/√(K11' K22')`.
    powers: [T; LANES],
    /// `Σ n w_n C^k`.
    slope: [T; LANES],
    /// `W_0` and `Σ (a_n − a'_n)²`, each over its root of the variance.
    whole: [T; LANES],
    apart: [T; LANES],
}

impl<T: Float> Kernel for SeriesLoop<'_, T> {
    type Output = ();

    /// Far from coincidence the new cosine is the sum of the series, cut off where `|cos t|ⁿ` is small. Close to it `1 − cos t'` is
    /// computed, with `p`, `q` the coefficients of the two rows with `Σ p² = Σ q² = 1`, as
    /// `½ Σ (p_n − q_n)² + Σ p_n q_n (1 − cosⁿ t)`, whose terms vanish with the angle and with the difference of the rows.
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let (one, two, i) = (self.one, self.two, self.i);
        let (n0, step) = self.smooth.parity().terms();
        let count = one.count.min(two.count);
        let p: Vec<T> = (0..count).map(|k| one.term(i, k)).collect();
        let inverse: Vec<T> = (0..count).map(|k| T::of(1.0 / (n0 + step * k) as f64)).collect();
        let p_n: Vec<T> = p.iter().zip(&inverse).map(|(&p, &inverse)| p * inverse).collect();
        let mut known: Vec<(i32, Arc<Lengths>)> = Vec::new();
        let single = T::EPSILON.to_f64() > 1e-10;

        for b in self.j.start / LANES..self.j.end.div_ceil(LANES) {
            let (start, end) = ((b * LANES).max(self.j.start), ((b + 1) * LANES).min(self.j.end));
            let lanes = start - b * LANES..end - b * LANES;
            let at = start - self.j.start..end - self.j.start;
            let block = self.block(lanes.clone(), at.start, &mut known, single, count);
            let terms = &two.terms[b * two.count * LANES..][..two.count * LANES];
            let ratio: [T; LANES] = if step == 1 { block.c } else { block.c.map(|c| c * c) };
            let mut sums = Sums { powers: [T::ZERO; LANES], slope: [T::ZERO; LANES], whole: [T::ZERO; LANES], apart: [T::ZERO; LANES] };
            for k in (0..block.longest[0]).rev() {
                let (q, k_t) = (&terms[k * LANES..][..LANES], T::of(k as f64));
                for l in 0..LANES {
                    let q = if k_t < block.cosine[l] { q[l] } else { T::ZERO };
                    sums.powers[l] = A::mul_add(sums.powers[l], ratio[l], p_n[k] * q);
                    sums.slope[l] = A::mul_add(sums.slope[l], ratio[l], p[k] * q);
                }
            }
            for k in (0..block.longest[1]).rev() {
                let (q, k_t) = (&terms[k * LANES..][..LANES], T::of(k as f64));
                for l in 0..LANES {
                    let needed = k_t < block.difference[l];
                    let term = p_n[k] * if needed { q[l] } else { T::ZERO };
                    let d = if needed { p[k] - q[l] } else { T::ZERO };
                    sums.whole[l] += term;
                    sums.apart[l] = A::mul_add(d * d, inverse[k], sums.apart[l]);
                    if k > 0 && needed {
                        sums.powers[l] = A::mul_add(sums.powers[l], ratio[l], sums.whole[l]);
                    }
                    let slope = A::mul_add(sums.slope[l], ratio[l], p[k] * q[l]);
                    sums.slope[l] = if needed { slope } else { sums.slope[l] };
                }
            }
            for (l, k) in lanes.zip(at) {
                let (near, far, slope) = self.finish(&block, &sums, l, k, b * LANES + l);
                (self.near[k], self.far[k]) = (near, far);
                self.theta[k] *= slope;
            }
        }
    }
}

impl<T: Float> SeriesLoop<'_, T> {
    #[inline(always)]
    fn block(&self, lanes: Range<usize>, at: usize, known: &mut Vec<(i32, Arc<Lengths>)>, single: bool, count: usize) -> Block<T> {
        let zero = [T::ZERO; LANES];
        let mut block = Block { near: zero, c: zero, cosine: zero, difference: zero, longest: [0; 2] };
        let first = self.j.start + at - lanes.start;
        for (k, l) in lanes.enumerate() {
            let (near, far) = (self.near[at + k], self.far[at + k]);
            let least = near.min(far);
            let near = if self.smooth.parity() == Parity::Neither { near } else { least };
            let octave = self.two.octave[first + l];
            let lengths = match known.iter().find(|(known, _)| *known == octave) {
                Some((_, lengths)) => lengths,
                None => {
                    known.push((octave, self.smooth.lengths(self.one.octave[self.i], octave, single)));
                    &known[known.len() - 1].1
                }
            };
            let class = (0..CLASSES - 1).find(|&class| least >= T::of(0.5f64.powi(class as i32 + 2))).unwrap_or(CLASSES - 1);
            let length = (lengths[class] as usize).min(count);
            (block.near[l], block.c[l]) = (near, T::ONE - T::of(2.0) * near);
            if self.close(near, octave) {
                block.difference[l] = T::of(length as f64);
                block.longest[1] = block.longest[1].max(length);
            } else {
                block.cosine[l] = T::of(length as f64);
                block.longest[0] = block.longest[0].max(length);
            }
        }
        block
    }

    /// Whether `1 − cos t'` is computed in place of the cosine. For variances that are far apart it is not small.
    #[inline(always)]
    fn close(&self, near: T, octave: i32) -> bool {
        near < T::of(0.5f64.powi(CLASSES as i32)) && self.one.octave[self.i].abs_diff(octave) <= 1
    }

    /// The new sin²(t/2) and cos²(t/2), and κ̇, of the lane l.
    #[inline(always)]
    fn finish(&self, block: &Block<T>, sums: &Sums<T>, l: usize, k: usize, j: usize) -> (T, T, T) {
        let half = T::of(0.5);
        let (parity, c) = (self.smooth.parity(), block.c[l]);
        let obtuse = self.near[k] > self.far[k];
        let (mean, other) = (self.one.mean[self.i], self.two.mean[j]);
        // 1 − c and 1 − c².
        let fall = T::of(2.0) * block.near[l];
        let square_fall = fall * (T::ONE + c);
        let (power, before, power_fall, ratio_fall) = match parity {
            Parity::Odd => (c, T::ONE, fall, square_fall),
            Parity::Even => (c * c, c, square_fall, square_fall),
            Parity::Neither => (c, T::ONE, fall, fall),
        };
        let (near, far) = if self.close(block.near[l], self.two.octave[j]) {
            let d = mean - other;
            let near = half * (half * (d * d + sums.apart[l]) + power_fall * sums.whole[l] + power * ratio_fall * sums.powers[l]);
            (near, T::ONE - near)
        } else {
            let cosine = mean * other + power * sums.powers[l];
            (half * (T::ONE - cosine), half * (T::ONE + cosine))
        };
        let (near, far) = (near.max(T::ZERO), far.max(T::ZERO));
        let ratios = self.one.ratio[self.i] * self.two.ratio[j];
        let slope = if ratios > T::ZERO { before * sums.slope[l] / ratios } else { self.one.first[self.i] * self.two.first[j] };
        match parity {
            Parity::Odd if obtuse => (far, near, slope),
            Parity::Even if obtuse => (near, far, -slope),
            Parity::Odd | Parity::Even | Parity::Neither => (near, far, slope),
        }
    }
}

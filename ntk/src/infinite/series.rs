//! Pairs behind a function that is given by its Hermite series.

use super::hermite::{CLASSES, Lengths, Parity, Row, Smooth};
use super::loops::{load, store};
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
    /// 1 where `1 − cos t'` is computed in place of the cosine, else 0.
    close: [T; LANES],
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
            let (mut near, mut far, mut theta) = ([T::ZERO; LANES], [T::ONE; LANES], [T::ZERO; LANES]);
            load(&mut near, lanes.start, &self.near[at.clone()]);
            load(&mut far, lanes.start, &self.far[at.clone()]);
            load(&mut theta, lanes.start, &self.theta[at.clone()]);
            let block = self.block([&near, &far], start..end, lanes.start, &mut known, single, count);
            let terms = &two.terms[b * two.count * LANES..][..two.count * LANES];
            let ratio: [T; LANES] = if step == 1 { block.c } else { block.c.map(|c| c * c) };
            // Arrays of their own, and numbers that are read before it is known whether they count: so each loop over lanes is a few vectors.
            let (mut powers, mut slope) = ([T::ZERO; LANES], [T::ZERO; LANES]);
            for k in (0..block.longest[0]).rev() {
                let (q, k_t, p, p_n) = (lanes_of(terms, k), T::of(k as f64), p[k], p_n[k]);
                for l in 0..LANES {
                    let q = if k_t < block.cosine[l] { q[l] } else { T::ZERO };
                    powers[l] = A::mul_add(powers[l], ratio[l], p_n * q);
                    slope[l] = A::mul_add(slope[l], ratio[l], p * q);
                }
            }
            let (mut whole, mut apart) = ([T::ZERO; LANES], [T::ZERO; LANES]);
            for k in (0..block.longest[1]).rev() {
                let (q, k_t, p, p_n, inverse) = (lanes_of(terms, k), T::of(k as f64), p[k], p_n[k], inverse[k]);
                for l in 0..LANES {
                    let needed = k_t < block.difference[l];
                    let (d, term) = (p - q[l], p_n * q[l]);
                    let (next_whole, next_apart) = (whole[l] + term, A::mul_add(d * d, inverse, apart[l]));
                    whole[l] = if needed { next_whole } else { whole[l] };
                    apart[l] = if needed { next_apart } else { apart[l] };
                    let next_power = A::mul_add(powers[l], ratio[l], whole[l]);
                    powers[l] = if needed & (k > 0) { next_power } else { powers[l] };
                    let next_slope = A::mul_add(slope[l], ratio[l], p * q[l]);
                    slope[l] = if needed { next_slope } else { slope[l] };
                }
            }
            let sums = Sums { powers, slope, whole, apart };
            self.finish(&block, &sums, start..end, lanes.start, [&mut near, &mut far, &mut theta]);
            store(&near, lanes.start, &mut self.near[at.clone()]);
            store(&far, lanes.start, &mut self.far[at.clone()]);
            store(&theta, lanes.start, &mut self.theta[at]);
        }
    }
}

/// Term `k` of the rows of a block.
#[inline(always)]
fn lanes_of<T: Float>(terms: &[T], k: usize) -> [T; LANES] {
    *terms[k * LANES..].first_chunk().expect("a term of all lanes")
}

impl<T: Float> SeriesLoop<'_, T> {
    /// Of the rows `j`, which lie in the lanes from `first` on.
    #[inline(always)]
    fn block(
        &self,
        [near, far]: [&[T; LANES]; 2],
        j: Range<usize>,
        first: usize,
        known: &mut Vec<(i32, Arc<Lengths>)>,
        single: bool,
        count: usize,
    ) -> Block<T> {
        let zero = [T::ZERO; LANES];
        let mut block = Block { near: zero, c: zero, cosine: zero, difference: zero, longest: [0; 2], close: zero };
        let sided = self.smooth.parity() == Parity::Neither;
        let (mut class, mut narrow) = (zero, zero);
        for l in 0..LANES {
            let least = if near[l] < far[l] { near[l] } else { far[l] };
            let near = if sided { near[l] } else { least };
            for bound in 0..CLASSES - 1 {
                class[l] += if least >= T::of(0.5f64.powi(bound as i32 + 2)) { T::ZERO } else { T::ONE };
            }
            narrow[l] = if near < T::of(0.5f64.powi(CLASSES as i32)) { T::ONE } else { T::ZERO };
            (block.near[l], block.c[l]) = (near, T::ONE - T::of(2.0) * near);
        }
        let own = self.one.octave[self.i];
        for (l, &octave) in self.two.octave[j].iter().enumerate() {
            let l = first + l;
            let lengths = match known.iter().find(|(known, _)| *known == octave) {
                Some((_, lengths)) => lengths,
                None => {
                    known.push((octave, self.smooth.lengths(own, octave, single)));
                    &known[known.len() - 1].1
                }
            };
            let length = (lengths[class[l].to_f64() as usize] as usize).min(count);
            // For variances that are far apart `1 − cos t'` is not small.
            let close = narrow[l] > T::ZERO && own.abs_diff(octave) <= 1;
            let kind = usize::from(close);
            block.longest[kind] = block.longest[kind].max(length);
            let length = T::of(length as f64);
            block.close[l] = if close { T::ONE } else { T::ZERO };
            block.difference[l] = if close { length } else { T::ZERO };
            block.cosine[l] = if close { T::ZERO } else { length };
        }
        block
    }

    /// The new sin²(t/2) and cos²(t/2), and Θ times κ̇, of the rows `j`, which lie in the lanes from `first` on.
    #[inline(always)]
    fn finish(&self, block: &Block<T>, sums: &Sums<T>, j: Range<usize>, first: usize, [near, far, theta]: [&mut [T; LANES]; 3]) {
        let (half, two) = (T::of(0.5), T::of(2.0));
        let (odd, even) = (self.smooth.parity() == Parity::Odd, self.smooth.parity() == Parity::Even);
        let (mean, ratio, slope) = (self.one.mean[self.i], self.one.ratio[self.i], self.one.first[self.i]);
        let (mut means, mut ratios, mut slopes) = ([T::ZERO; LANES], [T::ZERO; LANES], [T::ZERO; LANES]);
        load(&mut means, first, &self.two.mean[j.clone()]);
        load(&mut ratios, first, &self.two.ratio[j.clone()]);
        load(&mut slopes, first, &self.two.first[j]);
        for l in 0..LANES {
            let (c, powers) = (block.c[l], sums.powers[l]);
            // 1 − c and 1 − c².
            let fall = two * block.near[l];
            let square_fall = fall * (T::ONE + c);
            let (power, before) = if even { (c * c, c) } else { (c, T::ONE) };
            let power_fall = if even { square_fall } else { fall };
            let ratio_fall = if odd | even { square_fall } else { fall };
            let d = mean - means[l];
            let apart = half * (half * (d * d + sums.apart[l]) + power_fall * sums.whole[l] + power * ratio_fall * powers);
            let cosine = mean * means[l] + power * powers;
            let close = block.close[l] > T::ZERO;
            let new_near = if close { apart } else { half * (T::ONE - cosine) };
            let new_far = if close { T::ONE - apart } else { half * (T::ONE + cosine) };
            let new_near = if new_near > T::ZERO { new_near } else { T::ZERO };
            let new_far = if new_far > T::ZERO { new_far } else { T::ZERO };
            let both = ratio * ratios[l];
            let series = before * sums.slope[l] / both;
            let new_slope = if both > T::ZERO { series } else { slope * slopes[l] };
            let obtuse = near[l] > far[l];
            let (turned, negative) = (obtuse & odd, obtuse & even);
            near[l] = if turned { new_far } else { new_near };
            far[l] = if turned { new_near } else { new_far };
            theta[l] *= if negative { -new_slope } else { new_slope };
        }
    }
}

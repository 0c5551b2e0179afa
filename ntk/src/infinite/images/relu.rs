//! A convolution or dense layer and a ReLU in one pass, in single precision.

use super::super::loops::horner;
use super::super::stage::Affine;
use super::lanes::{Places, add_rows, coincident, row_sums};
use super::linear::Linear;
use super::plan::{NONE, Taps};
use super::side::{Both, Lanes};
use simd::lane::Arith;
use simd::{Float, Kernel};

/// From a plane before the layers to the plane behind the ReLU, in the same memory. Nothing between the layers is written down but the sums
/// along the width of the few rows that windows see at a time.
pub(super) struct AffineRelu<'a, T, const M: usize, const L: usize> {
    pub(super) linear: &'a Linear,
    pub(super) affine: &'a Affine,
    /// Along the height and the width.
    pub(super) taps: [&'a Taps; 2],
    /// Behind the layers.
    pub(super) places: Places<'a>,
    /// Behind the affine layer, [for a ReLU](super::side::Norms::for_relu).
    pub(super) norms: Both<'a, T, M, L>,
    /// With room for what lies before and for what lies behind.
    pub(super) k: &'a mut [Lanes<T, L>],
    pub(super) theta: &'a mut [Lanes<T, L>],
    /// Whether Θ is 0 before.
    pub(super) first: bool,
    /// Made for these taps and places.
    pub(super) memory: &'a mut Rows<T, L>,
}

/// Memory for rows of both kernels.
#[derive(Debug, Default)]
pub(super) struct Rows<T, const L: usize> {
    /// Sums along the width of as many rows as are alive at a time, a power of two, with a row of zeros behind them.
    sums: [Vec<Lanes<T, L>>; 2],
    slots: usize,
    /// Whether all rows are summed before one is written.
    all_before: bool,
    /// The sum of more than three rows.
    many: [Vec<Lanes<T, L>>; 2],
}

impl<T: Float, const L: usize> Rows<T, L> {
    pub(super) fn prepare(&mut self, [down, across]: [&Taps; 2], places: Places) {
        let width = places.x.len();
        // Else a row that is written lies where rows were that are summed already.
        self.all_before = !down.keeps_ahead() || width > across.sources();
        self.slots = if self.all_before { down.sources() } else { down.alive() }.next_power_of_two();
        for sums in &mut self.sums {
            let (zeros, end) = (self.slots * width, (self.slots + 1) * width);
            sums.resize(end.max(sums.len()), [T::ZERO; L]);
            sums[zeros..end].fill([T::ZERO; L]);
        }
        for many in &mut self.many {
            many.resize(width.max(many.len()), [T::ZERO; L]);
        }
    }
}

impl<T: Float, const M: usize, const L: usize> Kernel for AffineRelu<'_, T, M, L> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let (coefficients, first) = (Coefficients::new(self.linear, self.affine), self.first);
        let ([down, across], (k, theta)) = (self.taps, (self.k, self.theta));
        let (width, source_width) = (self.places.x.len(), across.sources());
        let Rows { sums: [k_sums, theta_sums], slots, all_before, many: [k_many, theta_many] } = self.memory;
        let (slots, all_before, (one, two)) = (*slots, *all_before, self.norms);
        let mut summed = 0;
        for (y, place) in self.places.y.iter().enumerate() {
            let until = if all_before { down.sources() } else { down.until(y) };
            while summed < until {
                let (from, to) = (summed * source_width, (summed & (slots - 1)) * width);
                row_sums(across, &k[from..][..source_width], &mut k_sums[to..][..width]);
                if !first {
                    row_sums(across, &theta[from..][..source_width], &mut theta_sums[to..][..width]);
                }
                summed += 1;
            }
            // Three rows with the sum over all taps: those of the taps and zeros, or the sum and zeros.
            let zeros = slots * width;
            let slots_of_three = match down.threes() {
                Some(threes) => {
                    let [a, b, c] = threes[y];
                    [slot(a, slots) * width, slot(b, slots) * width, slot(c, slots) * width]
                }
                None => {
                    let taps = down.of(y);
                    let start = |tap| slot(tap, slots) * width;
                    add_rows(taps, start, k_sums, &mut k_many[..width]);
                    add_rows(if first { &[] } else { taps }, start, theta_sums, &mut theta_many[..width]);
                    [zeros; 3]
                }
            };
            let [a, b, c] = if first { [zeros; 3] } else { slots_of_three };
            let (theta0, theta1, theta2) = (&theta_sums[a..][..width], &theta_sums[b..][..width], &theta_sums[c..][..width]);
            let [a, b, c] = slots_of_three;
            let (k0, k1, k2) = (&k_sums[a..][..width], &k_sums[b..][..width], &k_sums[c..][..width]);
            let (k0, theta0) = if down.threes().is_some() { (k0, theta0) } else { (&k_many[..width], &theta_many[..width]) };
            let (row_p, row_q) = (place[0] * self.places.width, place[1] * self.places.width);
            let (k_out, theta_out) = (&mut k[y * width..][..width], &mut theta[y * width..][..width]);
            for &(start, len) in across.neighbours() {
                let [p, q] = self.places.x[start];
                let (p, q) = (row_p + p, row_q + q);
                let norms1 = [&one.inverse[p..][..len], &one.root[p..][..len], &one.variance[p..][..len]];
                let norms2 = [&two.inverse[q..][..len], &two.root[q..][..len], &two.variance[q..][..len]];
                let (k0, k1, k2) = (&k0[start..][..len], &k1[start..][..len], &k2[start..][..len]);
                let (theta0, theta1, theta2) = (&theta0[start..][..len], &theta1[start..][..len], &theta2[start..][..len]);
                let (k_out, theta_out) = (&mut k_out[start..][..len], &mut theta_out[start..][..len]);
                for x in 0..len {
                    let norms1 = [&norms1[0][x], &norms1[1][x], &norms1[2][x]];
                    let norms2 = [&norms2[0][x], &norms2[1][x], &norms2[2][x]];
                    let (k, theta) = ([&k0[x], &k1[x], &k2[x]], [&theta0[x], &theta1[x], &theta2[x]]);
                    layers::<T, A, M, L>(&coefficients, k, theta, norms1, norms2, [&mut k_out[x], &mut theta_out[x]]);
                }
            }
        }
    }
}

/// Where the sums of a row are, of so many slots; the row of zeros for no tap.
#[inline(always)]
fn slot(tap: usize, slots: usize) -> usize {
    if tap == NONE { slots } else { tap & (slots - 1) }
}

/// With the sums of windows `K ← a K + b²`, `Θ/2π ← b Θ + c K + d`.
struct Coefficients<T> {
    k: [T; 2],
    theta: [T; 3],
}

impl<T: Float> Coefficients<T> {
    #[inline(always)]
    fn new(linear: &Linear, &Affine { w, b, alpha, gamma }: &Affine) -> Self {
        let (a, turn) = (linear.scale, TURN);
        Coefficients { k: [T::of(w * w * a), T::of(b * b)], theta: [T::of(w * w * a * turn), T::of(alpha * a * turn), T::of(gamma * turn)] }
    }
}

/// 1/2π.
pub(super) const TURN: f64 = 0.5 * std::f64::consts::FRAC_1_PI;

/// With the sums of three rows `K ← w² K + b²`, `Θ ← α K + γ + w² Θ`, then with `c = cos t = K/√(K11 K22)` and `n = √(K11 K22)`
/// `K ← (n/2π)(sin t + (π − t) c)` and `Θ ← Θ (π − t)/2π`.
///
/// With the angle `s` of the two lines, `cos s = |c|`: t is s or π − s, and `sin t + (π − t) c = π max(c, 0) + sin s − s cos s`. All of it
/// comes from `m = 1 − |c|` and its root.
#[inline(always)]
fn layers<T: Float, A: Arith, const M: usize, const L: usize>(
    Coefficients { k: [ww, bb], theta: [ww_turn, alpha_turn, gamma_turn] }: &Coefficients<T>,
    [k0, k1, k2]: [&Lanes<T, L>; 3],
    [theta0, theta1, theta2]: [&Lanes<T, L>; 3],
    [inverse1, root1, variance1]: [&Lanes<T, M>; 3],
    [inverse2, root2, variance2]: [&Lanes<T, L>; 3],
    [k_out, theta_out]: [&mut Lanes<T, L>; 2],
) {
    let (ww, bb, ww_turn, alpha_turn, gamma_turn) = (*ww, *bb, *ww_turn, *alpha_turn, *gamma_turn);
    let (k0, k1, k2, theta0, theta1, theta2) = (*k0, *k1, *k2, *theta0, *theta1, *theta2);
    let (i1, i2, r1, r2) = (*inverse1, *inverse2, *root1, *root2);
    let (mut k, mut theta, mut c, mut m) = ([T::ZERO; L], [T::ZERO; L], [T::ZERO; L], [T::ZERO; L]);
    for l in 0..L {
        let (k_sum, theta_sum) = (k0[l] + k1[l] + k2[l], theta0[l] + theta1[l] + theta2[l]);
        theta[l] = A::mul_add(ww_turn, theta_sum, A::mul_add(alpha_turn, k_sum, gamma_turn));
        k[l] = A::mul_add(ww, k_sum, bb);
        // One factor after the other, as their product may be too large.
        c[l] = k[l] * i1[l % M] * i2[l];
        m[l] = T::ONE - c[l].abs();
    }
    let mut ordinary = true;
    for l in 0..L {
        // A variance of 0 makes a NaN here.
        ordinary &= m[l] > T::of(8.0) * T::EPSILON;
    }
    let (mut kappas, mut thetas) = ([T::ZERO; L], [T::ZERO; L]);
    if ordinary {
        for l in 0..L {
            let (kappa, rest) = relu::<T, A>(c[l], m[l]);
            kappas[l] = r1[l % M] * r2[l] * kappa;
            thetas[l] = theta[l] * rest;
        }
    } else {
        let (v1, v2) = (*variance1, *variance2);
        for l in 0..L {
            let m = if m[l] > T::ZERO { m[l] } else { T::ZERO };
            let (kappa, rest) = relu::<T, A>(c[l], m);
            let (v1, v2, kappa) = (v1[l % M], v2[l], r1[l % M] * r2[l] * kappa);
            let same = coincident(k[l], v1, v2);
            let kappa = if same { T::of(0.5) * v1 } else { kappa };
            let rest = if same { T::PI } else { rest };
            let some = (v1 > T::ZERO) & (v2 > T::ZERO);
            kappas[l] = if some { kappa } else { T::ZERO };
            thetas[l] = if some { theta[l] * rest } else { T::ZERO };
        }
    }
    (*k_out, *theta_out) = (kappas, thetas);
}

/// `sin t + (π − t) c` and `π − t`, given `c = cos t` and `m = 1 − |c|`.
#[inline(always)]
fn relu<T: Float, A: Arith>(c: T, m: T) -> (T, T) {
    let root = m.sqrt();
    let s = root * horner::<T, A, 7>(m, &ANGLE);
    let rest = if c < T::ZERO { s } else { T::PI - s };
    let acute = if c > T::ZERO { c } else { T::ZERO };
    (A::mul_add(T::PI, acute, root * m * horner::<T, A, 5>(m, &SECTOR)), rest)
}

/// `acos(1 − m)/√m` for 0 ≤ m ≤ 1, by a minimax fit: the angle is off by 8.8e-8 before rounding.
const ANGLE: [f64; 7] = [
    1.414_214_838_024_778_8,
    0.117_806_625_818_103_46,
    0.026_962_913_908_614_508,
    0.005_945_322_249_481_386,
    0.006_921_746_446_585_951,
    -0.003_666_928_065_038_342_6,
    0.002_611_720_470_356_564,
];

/// `(sin s − s cos s)/√m³` for `cos s = 1 − m`, 0 ≤ m ≤ 1, by a minimax fit: the numerator is off by 2.3e-7 before rounding.
const SECTOR: [f64; 5] =
    [0.942_836_279_791_174_8, 0.046_845_929_646_595_1, 0.008_663_019_072_921_874, 1.324_652_403_247_861_3e-5, 0.001_641_299_756_733_681_5];

//! A convolution or dense layer and a ReLU in one pass, in single precision.

use super::super::pair::polynomial;
use super::super::stage::Affine;
use super::lanes::{Places, coincident};
use super::linear::Linear;
use super::plan::Taps;
use super::side::{Both, Lanes};
use simd::lane::Arith;
use simd::{Float, Kernel};

/// From sums along the width to both kernels behind the ReLU. Nothing between the layers is written down.
pub(super) struct AffineRelu<'a, T, const M: usize, const L: usize> {
    pub(super) linear: &'a Linear,
    pub(super) affine: &'a Affine,
    /// Taps along the height.
    pub(super) taps: &'a Taps,
    pub(super) places: Places<'a>,
    /// Sums of K and Θ along the width; those of Θ are empty where it is 0.
    pub(super) rows: [&'a [Lanes<T, L>]; 2],
    /// Memory for a row of zeros, and for the sums of K and Θ.
    pub(super) spare: &'a mut [Vec<Lanes<T, L>>; 3],
    /// Behind the affine layer.
    pub(super) norms: Both<'a, T, M, L>,
    pub(super) k: &'a mut [Lanes<T, L>],
    pub(super) theta: &'a mut [Lanes<T, L>],
}

impl<T: Float, const M: usize, const L: usize> Kernel for AffineRelu<'_, T, M, L> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let (a, &Affine { w, b, alpha, gamma }) = (self.linear.scale, self.affine);
        let coefficients = [T::of(w * w * a), T::of(b * b), T::of(alpha * a), T::of(gamma)];
        let width = self.places.x.len();
        let (one, two) = self.norms;
        for (y, place) in self.places.y.iter().enumerate() {
            let [zeros, sums @ ..] = &mut *self.spare;
            zeros.resize(width, [T::ZERO; L]);
            let taps = self.taps.of(y);
            add_up(taps, self.rows[0], width, &mut sums[0]);
            add_up(taps, self.rows[1], width, &mut sums[1]);
            let [k0, k1, k2] = three(taps, self.rows[0], width, zeros, &sums[0]);
            let [theta0, theta1, theta2] = three(taps, self.rows[1], width, zeros, &sums[1]);
            let (row_p, row_q) = (place[0] * self.places.width, place[1] * self.places.width);
            let (k_out, theta_out) = (&mut self.k[y * width..][..width], &mut self.theta[y * width..][..width]);
            for (x, &[p, q]) in self.places.x.iter().enumerate() {
                let (p, q) = (row_p + p, row_q + q);
                let norms1 = [&one.variance[p], &one.inverse[p]];
                let norms2 = [&two.variance[q], &two.inverse[q]];
                let (k, theta) = ([&k0[x], &k1[x], &k2[x]], [&theta0[x], &theta1[x], &theta2[x]]);
                layers::<T, A, M, L>(coefficients, k, theta, norms1, norms2, [&mut k_out[x], &mut theta_out[x]]);
            }
        }
    }
}

/// The sum of more than three rows.
#[inline(always)]
fn add_up<T: Float, const L: usize>(taps: &[usize], rows: &[Lanes<T, L>], width: usize, sum: &mut Vec<Lanes<T, L>>) {
    if taps.len() <= 3 || rows.is_empty() {
        return;
    }
    sum.clear();
    sum.resize(width, [T::ZERO; L]);
    for &tap in taps {
        for (sum, row) in sum.iter_mut().zip(&rows[tap * width..][..width]) {
            for l in 0..L {
                sum[l] += row[l];
            }
        }
    }
}

/// Three rows with the sum over all taps: those of the taps and zeros, or the sum and zeros.
#[inline(always)]
fn three<'a, T, const L: usize>(
    taps: &[usize],
    rows: &'a [Lanes<T, L>],
    width: usize,
    zeros: &'a [Lanes<T, L>],
    sum: &'a [Lanes<T, L>],
) -> [&'a [Lanes<T, L>]; 3] {
    let zeros = &zeros[..width];
    if rows.is_empty() {
        return [zeros; 3];
    }
    match *taps {
        [] => [zeros; 3],
        [a] => [&rows[a * width..][..width], zeros, zeros],
        [a, b] => [&rows[a * width..][..width], &rows[b * width..][..width], zeros],
        [a, b, c] => [&rows[a * width..][..width], &rows[b * width..][..width], &rows[c * width..][..width]],
        [..] => [&sum[..width], zeros, zeros],
    }
}

/// With the sums of three rows `K ← w² K + b²`, `Θ ← α K + γ + w² Θ`, then with `c = cos t = K/√(K11 K22)` and `n = √(K11 K22)`
/// `K ← (n/2π)(√(1 − c²) + (π − acos c) c)` and `Θ ← Θ (π − acos c)/2π`.
#[inline(always)]
fn layers<T: Float, A: Arith, const M: usize, const L: usize>(
    [ww, bb, alpha, gamma]: [T; 4],
    [k0, k1, k2]: [&Lanes<T, L>; 3],
    [theta0, theta1, theta2]: [&Lanes<T, L>; 3],
    [variance1, inverse1]: [&Lanes<T, M>; 2],
    [variance2, inverse2]: [&Lanes<T, L>; 2],
    [k_out, theta_out]: [&mut Lanes<T, L>; 2],
) {
    let (v1, v2, i1, i2) = (*variance1, *variance2, *inverse1, *inverse2);
    let (k0, k1, k2, theta0, theta1, theta2) = (*k0, *k1, *k2, *theta0, *theta1, *theta2);
    let (mut kappas, mut thetas) = ([T::ZERO; L], [T::ZERO; L]);
    let turn = T::of(0.5 * std::f64::consts::FRAC_1_PI);
    for l in 0..L {
        let (k, theta) = (k0[l] + k1[l] + k2[l], theta0[l] + theta1[l] + theta2[l]);
        let theta = A::mul_add(ww, theta, A::mul_add(alpha, k, gamma));
        let k = A::mul_add(ww, k, bb);
        // One factor after the other, as their product may be too large.
        let (v1, i1) = (v1[l % M], i1[l % M]);
        let c = k * i1 * i2[l];
        let c = if c < T::ONE { c } else { T::ONE };
        let c = if c > -T::ONE { c } else { -T::ONE };
        let x = c.abs();
        let u = (T::ONE - x).sqrt();
        let angle = u * polynomial::<T, A, 8>(x, &ACOS);
        let rest = if c < T::ZERO { angle } else { T::PI - angle };
        let n = (v1 * i1) * (v2[l] * i2[l]);
        let kappa = n * turn * A::mul_add(rest, c, u * polynomial::<T, A, 7>(x, &SIN));
        let same = coincident(k, v1, v2[l]);
        kappas[l] = if same { T::of(0.5) * v1 } else { kappa };
        let slope = if same { T::of(0.5) } else { rest * turn };
        // Where one of the variances is 0 both of these are. Comparing n and not each of them keeps the mask in vectors.
        thetas[l] = if n > T::ZERO { theta * slope } else { T::ZERO };
    }
    (*k_out, *theta_out) = (kappas, thetas);
}

/// acos(x)/√(1 − x) for 0 ≤ x ≤ 1, with an absolute error of acos of 6.6e-7 in single precision.
const ACOS: [f64; 8] = [
    1.570_796_305,
    -0.214_598_803_8,
    0.088_979_049_86,
    -0.050_174_714_98,
    0.030_893_052_53,
    -0.017_089_809_82,
    0.006_671_292_537,
    -0.001_262_830_709,
];

/// √(1 + x) for 0 ≤ x ≤ 1, to 2e-7.
const SIN: [f64; 7] =
    [1.000_000_172, 0.499_981_581_1, -0.124_674_791_9, 0.060_294_803_3, -0.031_568_628_03, 0.012_785_690_71, -0.002_605_441_1];

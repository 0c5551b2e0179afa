//! Pairs behind sines, cosines, radial functions and exponentials of a square: their dual kernels are exponentials or powers of the
//! covariance.
//!
//! Everywhere `A = K11`, `B = K22`, `C = K12`, each times b² for a wave of frequency b, `G = √(A B)`, so that `C = G cos t`,
//! `G − C = 2 G sin²(t/2)` and `G + C = 2 G cos²(t/2)`. A new angle is computed as `1 − cos t'` and `1 + cos t'`, each from terms
//! that are positive, so that both ends of the range keep their digits. The numbers are f64 in either precision of the kernel. Nothing branches on a
//! value, so that loops over pairs run in vectors: where a formula changes, both are computed.

use super::pair::{self, Angle, Norm};
use simd::Float;
use simd::lane::{self, Arith, Plain};

/// `a sin(b x + c)`, as its odd part `a cos c · sin b x` beside its even part `a sin c · cos b x`.
///
/// Products of an odd and an even function have the mean 0, so that the two parts are uncorrelated, like the branches of a sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wave {
    amplitude: f64,
    frequency: f64,
    /// sin² c.
    even: f64,
    /// cos² c.
    odd: f64,
}

impl Wave {
    /// `a sin(b x + c)`.
    pub(super) fn sin(a: f64, b: f64, c: f64) -> Self {
        let (sin, cos) = c.sin_cos();
        Wave { amplitude: a, frequency: b, even: sin * sin, odd: cos * cos }
    }

    /// `a cos(b x + c)`, a sine a quarter of a turn ahead.
    pub(super) fn cos(a: f64, b: f64, c: f64) -> Self {
        let Wave { even, odd, .. } = Wave::sin(a, b, c);
        Wave { amplitude: a, frequency: b, even: odd, odd: even }
    }

    /// The second moments of the even part and of the odd part, without a²: `sin²c e^{−A} cosh A` and `cos²c e^{−A} sinh A`.
    #[inline(always)]
    fn parts<A: Arith>(self, a: f64) -> [f64; 2] {
        [0.5 * self.even * (1.0 + exp::<A>(-2.0 * a)), 0.5 * self.odd * fall::<A>(2.0 * a)]
    }

    #[inline(always)]
    fn scaled(self, variance: f64) -> f64 {
        self.frequency * self.frequency * variance
    }

    /// `E[φ(u)²] = (a²/2) (1 − cos 2c · e^{−2 A})`.
    pub(super) fn variance(self, variance: f64) -> f64 {
        let [even, odd] = self.parts::<Plain>(self.scaled(variance));
        self.amplitude * self.amplitude * (even + odd)
    }

    /// `κ = (a²/2) (e^{−(A+B−2C)/2} − cos 2c · e^{−(A+B+2C)/2})` and `κ̇ = (a² b²/2) (e^{−(A+B−2C)/2} + cos 2c · e^{−(A+B+2C)/2})`.
    ///
    /// The even part has `cos t' = cosh C/√(cosh A cosh B)` and the odd one `sinh C/√(sinh A sinh B)`. Each is a product P Q, where
    /// P has G in the place of C, hence belongs to parallel inputs, and `1 − P Q = (1 − P) + P (1 − Q)`.
    #[inline(always)]
    pub(super) fn pair<T: Float, A: Arith>(self, one: Norm<T>, two: Norm<T>, t: Angle<T>) -> (Angle<T>, T) {
        let (a, b, near, far) = (self.scaled(one.variance.to_f64()), self.scaled(two.variance.to_f64()), t.near.to_f64(), t.far.to_f64());
        // √A − √B from the difference of the variances, which is exact where they are close.
        let sum = self.frequency.abs() * (one.root.to_f64() + two.root.to_f64());
        let gap = self.scaled((one.variance - two.variance).to_f64()) / sum;
        let gap = if sum > 0.0 { gap } else { 0.0 };
        let pair = Exponents { a, b, g: a.sqrt() * b.sqrt(), squares: [gap * gap, sum * sum] };
        let [p, q] = [a, b].map(|a| {
            let [even, odd] = self.parts::<A>(a);
            let all = even + odd;
            let (even, odd) = ((even / all).sqrt(), (odd / all).sqrt());
            if all > 0.0 { [even, odd] } else { [0.0, 0.0] }
        });
        let Angle { near, far } = pair::sum(p, q, pair.even::<A>(near, far), pair.odd::<A>(near, far));
        let (half_d, half_s) = pair.half_distances(t.near.to_f64(), t.far.to_f64());
        let slope = 0.5 * self.amplitude * self.amplitude * self.frequency * self.frequency;
        // 1 = even + odd and cos 2c = odd − even.
        let (near_term, far_term) = (exp::<A>(-half_d), exp::<A>(-half_s));
        let slope = slope * (self.odd * (near_term + far_term) + self.even * (near_term - far_term));
        (Angle { near: T::of(near), far: T::of(far) }, T::of(slope))
    }
}

#[inline(always)]
fn exp<A: Arith>(x: f64) -> f64 {
    lane::exp::<f64, A>(x)
}

/// `1 − e^{−x} = 2 t/(1 + t)` with `t = tanh(x/2)`, which keeps its digits near 0.
#[inline(always)]
fn fall<A: Arith>(x: f64) -> f64 {
    let t = lane::tanh::<f64, A>(0.5 * x);
    2.0 * t / (1.0 + t)
}

/// What the two parts of a wave share.
struct Exponents {
    a: f64,
    b: f64,
    g: f64,
    /// (√A − √B)² and (√A + √B)².
    squares: [f64; 2],
}

impl Exponents {
    /// (A + B ∓ 2C)/2.
    #[inline(always)]
    fn half_distances(&self, near: f64, far: f64) -> (f64, f64) {
        (0.5 * self.squares[0] + 2.0 * self.g * near, 0.5 * self.squares[0] + 2.0 * self.g * far)
    }

    /// `sinh²((A − B)/2)·4 e^{−(A+B)}`.
    #[inline(always)]
    fn apart<A: Arith>(&self) -> f64 {
        let gap = fall::<A>((self.squares[0] * self.squares[1]).sqrt());
        exp::<A>(-2.0 * smaller(self.a, self.b)) * gap * gap
    }

    /// `1 − Q = 2 sinh(G cos²(t/2)) sinh(G sin²(t/2))/cosh G`; `cosh A cosh B − cosh² G` is the sum of
    /// `sinh((√A+√B)²/2) sinh((√A−√B)²/2)` and of `sinh²((A − B)/2)`.
    #[inline(always)]
    fn even<A: Arith>(&self, near: f64, far: f64) -> Angle<f64> {
        let g = self.g;
        let cosh_g = 1.0 + exp::<A>(-2.0 * g);
        let cosines = (1.0 + exp::<A>(-2.0 * self.a)) * (1.0 + exp::<A>(-2.0 * self.b));
        let turned = fall::<A>(2.0 * g * far) * fall::<A>(2.0 * g * near) / cosh_g;
        let squared = (fall::<A>(self.squares[0]) * fall::<A>(self.squares[1]) + self.apart::<A>()) / cosines;
        let p = exp::<A>(-0.5 * self.squares[0]) * cosh_g / cosines.sqrt();
        let near = combined(p, squared, turned);
        Angle { near, far: 1.0 - near }
    }

    /// `1 ∓ Q = 2 cosh(G cos²(t/2)) sinh(G sin²(t/2))/sinh G`, for `+` with sine and cosine exchanged.
    #[inline(always)]
    fn odd<A: Arith>(&self, near: f64, far: f64) -> Angle<f64> {
        let g = self.g;
        let acute = near <= far;
        let (small, large) = if acute { (near, far) } else { (far, near) };
        let sinh_g = fall::<A>(2.0 * g);
        let turned = (1.0 + exp::<A>(-2.0 * g * large)) * fall::<A>(2.0 * g * small) / sinh_g;
        let sines = fall::<A>(2.0 * self.a) * fall::<A>(2.0 * self.b);
        let p = exp::<A>(-0.5 * self.squares[0]) * sinh_g / sines.sqrt();
        let small = combined(p, self.odd_apart::<A>(sines), turned);
        // If one of the inputs has no odd part, it has no share in it, either.
        let small = if g > 0.0 { small } else { 0.5 };
        let large = 1.0 - small;
        if acute { Angle { near: small, far: large } } else { Angle { near: large, far: small } }
    }

    /// `1 − P² = 1 − sinh² G/(sinh A sinh B)`, given `sines = 4 e^{−(A+B)} sinh A sinh B`.
    ///
    /// With `sinh A = A ρ(A²)` it is `1 − ρ(G²)²/(ρ(A²) ρ(B²))`, and of the double series of `ρ(A²) ρ(B²) − ρ(G²)²` the terms
    /// (j, k) and (k, j) are together `(A^j B^k − A^k B^j)²/((2j+1)! (2k+1)!)`: positive, which matters where A and B are small.
    #[inline(always)]
    fn odd_apart<A: Arith>(&self, sines: f64) -> f64 {
        let (a, b) = (self.a, self.b);
        let sinh_g = fall::<A>(2.0 * self.g);
        let unlike = sines - exp::<A>(-self.squares[0]) * sinh_g * sinh_g;
        let alike = fall::<A>(self.squares[0]) * fall::<A>(self.squares[1]) - self.apart::<A>();
        let squared = if smaller(a, b) < 0.25 * larger(a, b) { unlike } else { alike };
        let large = smaller(larger(squared / sines, 0.0), 1.0);

        let gap = self.squares[0] * self.squares[1];
        let (ab, mut low, mut sum) = (a * b, 1.0, 0.0);
        for j in 0..6 {
            // (A^m − B^m)/(A − B), over (2j + 1)! (2k + 1)! with k = j + m.
            let (mut quotient, mut power) = (0.0, 1.0);
            for k in j + 1..FACTORIALS.len() {
                quotient = a * quotient + power;
                power *= b;
                sum += low * quotient * quotient * const { inverse_factorials() }[j][k];
            }
            low *= ab * ab;
        }
        // sinh A sinh B = A B times this.
        let rho = |x: f64| {
            let rho = 0.5 * fall::<A>(2.0 * x) * exp::<A>(x) / x;
            if x > 0.0 { rho } else { 1.0 }
        };
        let small = gap * sum / (rho(a) * rho(b));
        if larger(a, b) > 1.0 { large } else { small }
    }
}

// `f64::min` has a rule for NaN that vectors take longer for.
#[inline(always)]
fn smaller(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// 1/((2j + 1)! (2k + 1)!).
const fn inverse_factorials() -> [[f64; 10]; 6] {
    let mut inverse = [[0.0; 10]; 6];
    let mut j = 0;
    while j < 6 {
        let mut k = 0;
        while k < 10 {
            inverse[j][k] = 1.0 / (FACTORIALS[j] * FACTORIALS[k]);
            k += 1;
        }
        j += 1;
    }
    inverse
}

/// (2k + 1)! for k = 0, 1, …
const FACTORIALS: [f64; 10] = [
    1.0,
    6.0,
    120.0,
    5_040.0,
    362_880.0,
    39_916_800.0,
    6_227_020_800.0,
    1_307_674_368_000.0,
    355_687_428_096_000.0,
    121_645_100_408_832_000.0,
];

/// `(1 − P Q)/2` from `P`, `1 − P²` and `1 − Q`.
#[inline(always)]
fn combined(p: f64, squared: f64, turned: f64) -> f64 {
    0.5 * (squared / (1.0 + p) + p * turned)
}

/// `√2 sin(√(2γ) x + π/4)`, Gaussian in the distance: `κ = e^{−γ D}` with `D = K11 + K22 − 2 K12`, and `κ̇ = 2γ κ` (Rahimi and Recht
/// 2007).
#[inline(always)]
pub(super) fn rbf<T: Float, A: Arith>(gamma: f64, one: Norm<T>, two: Norm<T>, t: Angle<T>) -> (Angle<T>, T) {
    let gap = (one.variance - two.variance) / (one.root + two.root);
    let gap = if one.root == two.root { T::ZERO } else { gap };
    let d = (gap * gap + T::of(4.0) * one.root * two.root * t.near).to_f64();
    let near = T::of(0.5 * fall::<A>(gamma * d));
    (Angle { near, far: T::ONE - near }, T::of(2.0 * gamma * exp::<A>(-gamma * d)))
}

/// `e^{−x²}`: `κ = 1/√M` with `M = (1 + 2 K11)(1 + 2 K22) − 4 K12²`, and `κ̇ = 4 K12/M^{3/2}`.
///
/// `E[φ(u)²] = 1/√(1 + 4 K11)`, so that `cos² t' = N/M` with `N = √((1 + 4 K11)(1 + 4 K22))`, and
/// `M − N = 4 (K11 − K22)²/(1 + 2 K11 + 2 K22 + N) + 4 K11 K22 sin² t`.
#[inline(always)]
pub(super) fn gaussian<T: Float>(one: Norm<T>, two: Norm<T>, t: Angle<T>) -> (Angle<T>, T) {
    let (a, b, near, far) = (one.variance.to_f64(), two.variance.to_f64(), t.near.to_f64(), t.far.to_f64());
    let n = (1.0 + 4.0 * a).sqrt() * (1.0 + 4.0 * b).sqrt();
    let g = one.root.to_f64() * two.root.to_f64();
    // (M − N)/N, in which no square overflows.
    let above = 4.0 * ((a - b) / n) * ((a - b) / (1.0 + 2.0 * a + 2.0 * b + n)) + 16.0 * near * far * g * (g / n);
    let cos = (1.0 / (1.0 + above)).sqrt();
    let new = 0.5 * above / (1.0 + above) / (1.0 + cos);
    let m = n * (1.0 + above);
    (Angle { near: T::of(new), far: T::of(1.0 - new) }, T::of(4.0 * g * (far - near) / (m * m.sqrt())))
}

/// `e^x`: `κ = κ̇ = exp((K11 + K22)/2 + K12)`, so that `cos t' = exp(−D/2)` with `D = K11 + K22 − 2 K12`.
#[inline(always)]
pub(super) fn exponential<T: Float, A: Arith>(one: Norm<T>, two: Norm<T>, t: Angle<T>) -> Angle<T> {
    let gap = one.root - two.root;
    let d = gap * gap + T::of(4.0) * one.root * two.root * t.near;
    let near = T::of(0.5 * fall::<A>(0.5 * d.to_f64()));
    Angle { near, far: T::ONE - near }
}

/// The variance of `e^{−x²}`.
pub(super) fn gaussian_variance(variance: f64) -> f64 {
    1.0 / (1.0 + 4.0 * variance).sqrt()
}

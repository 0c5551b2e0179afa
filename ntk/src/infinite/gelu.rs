//! Pairs behind `x Φ(x)`, Φ the distribution function of the normal distribution.

use super::pair::{self, Angle, Norm, angle};
use simd::Float;
use simd::lane::{Arith, Plain};
use std::f64::consts::{FRAC_1_PI, TAU};

/// `E[φ(u)²]`: that of the line `x/2` and of the even part `e(x) = x (Φ(x) − ½)`.
pub(super) fn variance(variance: f64) -> f64 {
    let side = Side::<f64>::new::<Plain>(Norm { variance, root: variance.sqrt() });
    0.25 * variance + side.even / TAU
}

/// What the pairs of a row know of it; `a` is K11.
#[derive(Clone, Copy, Debug)]
struct Side<T> {
    a: T,
    root: T,
    /// 1/(1 + A).
    inverse: T,
    /// `sin θ_A = A/(1 + A)` and `cos θ_A = w/(1 + A)` with `w = √(1 + 2A)`.
    sin: T,
    cos: T,
    w: T,
    /// `2π E[e(u)²] = 2 A²/((1 + A) w) + A θ_A`.
    even: T,
}

impl<T: Float> Side<T> {
    #[inline(always)]
    fn new<A: Arith>(norm: Norm<T>) -> Self {
        let (a, two) = (norm.variance, T::of(2.0));
        let inverse = T::ONE / (T::ONE + a);
        let w = (T::ONE + two * a).sqrt();
        let (sin, cos) = (a * inverse, w * inverse);
        let even = a * (two * sin / w + angle::<T, A>(sin, cos));
        Side { a, root: norm.root, inverse, sin, cos, w, even }
    }

    /// The roots of the shares of x/2 and of e in the variance behind φ.
    #[inline(always)]
    fn shares(self) -> [T; 2] {
        let (line, even) = (T::of(0.25) * self.a, T::of(1.0 / TAU) * self.even);
        let all = line + even;
        let share = |part: T| if all > T::ZERO { (part / all).sqrt() } else { T::ZERO };
        [share(line), share(even)]
    }
}

/// With `A = K11`, `B = K22`, `C = K12`, `p = (1 + A)(1 + B)` and `δ² = p − C²`:
///
/// `κ = C/4 + (1/2π) ((C² + A B δ²)/(p δ) + C asin(C/√p))` and
/// `κ̇ = 1/4 + (1/2π) (asin(C/√p) + (C/δ) (1/(1 + A) + 1/(1 + B) + 1/δ²))` (Tsuchida, Pearce, van der Heide, Roosta and
/// Gallagher 2021; the slope is the derivative by C).
///
/// The line x/2 keeps the angle; the even part e has one of its own, and the two are uncorrelated. For e, `cos t' = P Q` where P
/// belongs to parallel inputs with these variances, and `1 − P Q = (1 − P) + P (1 − Q)`.
#[inline(always)]
pub(super) fn pair<T: Float, A: Arith>(one: Norm<T>, two: Norm<T>, t: Angle<T>) -> (Angle<T>, T) {
    let (one, two) = (Side::new::<A>(one), Side::new::<A>(two));
    let even = Even::new::<A>(one, two, t);
    let t = pair::sum(one.shares(), two.shares(), t, even.angle::<A>());
    (t, T::of(0.25) + even.slope())
}

/// A pair behind e, with `C/√p = sin θ`, `δ/√p = cos θ`; the letters with G belong to parallel inputs, `C = G = √(A B)`.
struct Even<T> {
    one: Side<T>,
    two: Side<T>,
    g: T,
    /// √p.
    root_p: T,
    theta: T,
    sin: T,
    cos: T,
    theta_g: T,
    sin_g: T,
    cos_g: T,
    /// √(1 + A + B).
    w: T,
    /// sin²(t/2) of the smaller of t and π − t, and sin²(t/2) cos²(t/2).
    s: T,
    turn: T,
    positive: bool,
}

impl<T: Float> Even<T> {
    #[inline(always)]
    fn new<A: Arith>(one: Side<T>, two: Side<T>, t: Angle<T>) -> Self {
        let g = one.root * two.root;
        let root_p = (T::ONE + one.a).sqrt() * (T::ONE + two.a).sqrt();
        let w = (T::ONE + one.a + two.a).sqrt();
        let (sin_g, cos_g) = (g / root_p, w / root_p);
        let positive = t.far >= t.near;
        let (s, turn) = (if positive { t.near } else { t.far }, t.near * t.far);
        let sin = sin_g * (T::ONE - T::of(2.0) * s);
        // δ² = 1 + A + B + A B sin² t, a sum of positive terms.
        let cos = (cos_g * cos_g + T::of(4.0) * sin_g * sin_g * turn).sqrt();
        let (theta, theta_g) = (angle::<T, A>(sin, cos), angle::<T, A>(sin_g, cos_g));
        Even { one, two, g, root_p, theta, sin, cos, theta_g, sin_g, cos_g, w, s, turn, positive }
    }

    #[inline(always)]
    fn slope(&self) -> T {
        let inverse_delta = T::ONE / (self.root_p * self.cos);
        let terms = self.one.inverse + self.two.inverse + inverse_delta * inverse_delta;
        let slope = T::of(0.5 * FRAC_1_PI) * (self.theta + self.sin / self.cos * terms);
        if self.positive { slope } else { -slope }
    }

    /// e is even, so that opposite inputs coincide: the angle is at most a right one.
    #[inline(always)]
    fn angle<A: Arith>(&self) -> Angle<T> {
        let (half, a, b) = (T::of(0.5), self.one.a, self.two.a);
        // 2π κ_e of parallel inputs.
        let whole = self.g * (self.sin_g * (T::of(2.0) + a + b) / self.w / self.root_p + self.theta_g);
        let (v, w) = (self.one.even, self.two.even);
        let (root_v, root_w) = (v.sqrt(), w.sqrt());
        let roots = root_v * root_w;
        // ‖e_1 − e_2‖² less what the lengths differ by is ‖e_1‖‖e_2‖·2(1 − P).
        let gap = (v - w) / (root_v + root_w);
        let close = (a - b).abs() < half * a.max(b);
        let from_distance = half * (self.distance::<A>() - gap * gap);
        let apart = if close { from_distance } else { roots - whole };
        let apart = if apart > T::ZERO { apart } else { T::ZERO };
        let near = half * (apart + self.turned::<A>()) / roots;
        let near = if near < half { near } else { half };
        // A variance of 0 behind e has no share.
        let near = if (whole > T::ZERO) & (roots > T::ZERO) { near } else { T::ZERO };
        Angle { near, far: T::ONE - near }
    }

    /// `2π (κ_e(G) − κ_e(C))`, where `2π κ_e = (1/cos θ + (A B − 1) cos θ)/√p + √p θ sin θ` and `A B = p − (1 + A + B)`.
    #[inline(always)]
    fn turned<A: Arith>(&self) -> T {
        let Even { sin, cos, sin_g, cos_g, .. } = *self;
        let two = T::of(2.0);
        // sin² θ_G − sin² θ.
        let squares = T::of(4.0) * sin_g * sin_g * self.turn;
        // ψ = θ_G − θ.
        let (sin_psi, cos_psi) =
            (if squares > T::ZERO { squares / (sin_g * cos + sin * cos_g) } else { T::ZERO }, cos * cos_g + sin * sin_g);
        let psi = angle::<T, A>(sin_psi, cos_psi);
        // cos θ − cos θ_G and sin θ_G − sin θ.
        let (cosines, sines) = (squares / (cos + cos_g), two * sin_g * self.s);
        // ψ sin θ_G − (cos θ − cos θ_G) = sin θ_G (ψ − sin ψ) + 2 cos θ_G sin²(ψ/2).
        let bracket = sin_g * less_its_sine::<T, A>(psi, sin_psi) + cos_g * sin_psi * sin_psi / (T::ONE + cos_psi);
        let others = T::ONE / (cos * cos_g) + two + self.one.a + self.two.a;
        cosines / self.root_p * others + self.root_p * (bracket + self.theta * sines)
    }

    /// `2π E[(e(u) − e(v))²]` of parallel inputs. With `x = A/(1 + A)`, `y = B/(1 + B)`, `h(w) = w + 1/w`:
    /// `2π κ_e = x y h(√(1 + A + B)) + √(A B) θ_G`, and each of its terms is bilinear but for a factor that varies slowly.
    #[inline(always)]
    fn distance<A: Arith>(&self) -> T {
        let (half, quarter, two) = (T::of(0.5), T::of(0.25), T::of(2.0));
        let (one, other, w) = (self.one, self.two, self.w);
        let d = one.a - other.a;
        let (x, y, dx) = (one.sin, other.sin, d * one.inverse * other.inverse);
        // The second differences of w = √(1 + 2A) and of 1/w about their middle, from wa + wb − 2w = −(wa − wb)²/(wa + wb + 2w).
        let (wa, wb) = (one.w, other.w);
        let dw = two * d / (wa + wb);
        let inverse = T::ONE / (wa * wb);
        let bend = -dw * dw / (wa + wb + two * w);
        let bend_inverse = (bend * w + dw * dw) / w * inverse;
        let dh = dw * (T::ONE - inverse);
        let first = dx * dx * (w + T::ONE / w) + half * (x * x + y * y) * (bend + bend_inverse) + half * (x + y) * dx * dh;

        // θ_A − θ_B, by its sine (x² − y²)/(x cos θ_B + y cos θ_A).
        let sin_d = if d == T::ZERO { T::ZERO } else { (x + y) * dx / (x * other.cos + y * one.cos) };
        let cos_d = one.cos * other.cos + x * y;
        let positive = sin_d >= T::ZERO;
        let size = angle::<T, A>(sin_d.abs(), cos_d);
        let theta_d = if positive { size } else { -size };
        // θ_A + θ_B − 2θ_G = 2(φ − θ_G), φ the mean: sin φ cos(θ_d/2) is the mean of the sines, and
        // sin² φ − sin² θ_G = (x − y)²/4 + (x + y)²/4 tan²(θ_d/2).
        let cos_h = (half * (T::ONE + cos_d)).sqrt();
        let tan_h = sin_d / (T::ONE + cos_d);
        let (mean, cos_mean) = (half * (x + y), half * (one.cos + other.cos));
        let squares = quarter * dx * dx + mean * mean * tan_h * tan_h;
        let sines = (mean * self.cos_g + cos_mean * self.sin_g) / cos_h;
        let sin_beta = if squares > T::ZERO { squares / sines } else { T::ZERO };
        let sin_beta = if sin_beta < T::ONE { sin_beta } else { T::ONE };
        let second = two * angle::<T, A>(sin_beta, (T::ONE - sin_beta * sin_beta).sqrt());
        let gap = d / (one.root + other.root);
        let gap = if d == T::ZERO { T::ZERO } else { gap };
        first + gap * gap * self.theta_g + half * (one.a + other.a) * second + half * d * theta_d
    }
}

/// `ψ − sin ψ` for ψ in [0, π/2].
#[inline(always)]
fn less_its_sine<T: Float, A: Arith>(psi: T, sin: T) -> T {
    // −(1/(2k(2k + 1))) by Horner's rule on s = ψ².
    let s = psi * psi;
    let mut sum = T::ONE;
    for k in [156.0, 110.0, 72.0, 42.0, 20.0] {
        sum = A::mul_add(-s * T::of(1.0 / k), sum, T::ONE);
    }
    if psi > T::of(0.5) { psi - sin } else { psi * s * T::of(1.0 / 6.0) * sum }
}

//! Pairs behind `x Φ(x)`, Φ the distribution function of the normal distribution.

use super::pair::{self, Angle, Norm};
use simd::Float;
use std::f64::consts::FRAC_1_PI;

/// `E[φ(u)²]`: that of the line `x/2` and of the even part `e(x) = x (Φ(x) − ½)`.
pub(super) fn variance(a: f64) -> f64 {
    0.25 * a + even_variance(a)
}

/// `E[e(u)²] = (1/2π) (2 A²/((1 + A) √(1 + 2 A)) + A asin(A/(1 + A)))`.
fn even_variance(a: f64) -> f64 {
    0.5 * FRAC_1_PI * a * (2.0 * a / (1.0 + a) / (1.0 + 2.0 * a).sqrt() + (a / (1.0 + a)).atan2((1.0 + 2.0 * a).sqrt() / (1.0 + a)))
}

/// With `A = K11`, `B = K22`, `C = K12`, `p = (1 + A)(1 + B)` and `δ² = p − C²`:
///
/// `κ = C/4 + (1/2π) ((C² + A B δ²)/(p δ) + C asin(C/√p))` and
/// `κ̇ = 1/4 + (1/2π) (asin(C/√p) + (C/δ) (1/(1 + A) + 1/(1 + B) + 1/δ²))` (Tsuchida, Pearce, van der Heide, Roosta and
/// Gallagher 2021; the slope is the derivative by C).
///
/// The line x/2 keeps the angle; the even part e has one of its own, and the two are uncorrelated. For e, `cos t' = P Q` where P
/// belongs to parallel inputs with these variances, and `1 − P Q = (1 − P) + P (1 − Q)`.
pub(super) fn pair<T: Float>(one: Norm<T>, two: Norm<T>, t: Angle<T>) -> (Angle<T>, T) {
    let (a, b) = (one.variance.to_f64(), two.variance.to_f64());
    let t = Angle { near: t.near.to_f64(), far: t.far.to_f64() };
    let even = Even::new([a, b], [one.root.to_f64(), two.root.to_f64()], t);
    let e = even.angle();
    let shares = |a: f64| {
        let (line, even) = (0.25 * a, even_variance(a));
        let all = line + even;
        if all > 0.0 { [(line / all).sqrt(), (even / all).sqrt()] } else { [0.0; 2] }
    };
    let Angle { near, far } = pair::sum(shares(a), shares(b), t, e);
    (Angle { near: T::of(near), far: T::of(far) }, T::of(0.25 + even.slope()))
}

/// A pair behind e, with `C/√p = sin θ`, `δ/√p = cos θ`; the letters with G belong to parallel inputs, `C = G = √(A B)`.
struct Even {
    a: f64,
    b: f64,
    g: f64,
    /// √p.
    root_p: f64,
    sin: f64,
    cos: f64,
    sin_g: f64,
    cos_g: f64,
    /// sin²(t/2) of the smaller of t and π − t, and sin²(t/2) cos²(t/2).
    s: f64,
    turn: f64,
    positive: bool,
}

impl Even {
    fn new([a, b]: [f64; 2], roots: [f64; 2], t: Angle<f64>) -> Self {
        let g = roots[0] * roots[1];
        let root_p = (1.0 + a).sqrt() * (1.0 + b).sqrt();
        let (sin_g, cos_g) = (g / root_p, (1.0 + a + b).sqrt() / root_p);
        let (s, turn) = (t.near.min(t.far), t.near * t.far);
        let sin = sin_g * (t.far - t.near).abs();
        // δ² = 1 + A + B + A B sin² t, a sum of positive terms.
        let cos = (cos_g * cos_g + 4.0 * sin_g * sin_g * turn).sqrt();
        Even { a, b, g, root_p, sin, cos, sin_g, cos_g, s, turn, positive: t.far >= t.near }
    }

    fn slope(&self) -> f64 {
        let theta = self.sin.atan2(self.cos);
        let delta = self.root_p * self.cos;
        let slope = 0.5 * FRAC_1_PI * (theta + self.sin / self.cos * (1.0 / (1.0 + self.a) + 1.0 / (1.0 + self.b) + 1.0 / (delta * delta)));
        if self.positive { slope } else { -slope }
    }

    /// e is even, so that opposite inputs coincide: the angle is at most a right one.
    fn angle(&self) -> Angle<f64> {
        let whole = self.parallel();
        if whole == 0.0 {
            // A variance of 0 behind e has no share.
            return Angle::COINCIDENT;
        }
        let [v, w] = [self.a, self.b].map(|a| std::f64::consts::TAU * even_variance(a));
        let roots = v.sqrt() * w.sqrt();
        let p = whole / roots;
        // ‖e_1 − e_2‖² less what the lengths differ by is ‖e_1‖‖e_2‖·2(1 − P).
        let gap = (v - w) / (v.sqrt() + w.sqrt());
        let close = (self.a - self.b).abs() < 0.5 * self.a.max(self.b);
        let apart = if close { ((self.distance() - gap * gap) / (2.0 * roots)).max(0.0) } else { (1.0 - p).max(0.0) };
        let near = 0.5 * (apart + self.turned() / roots);
        Angle { near, far: 1.0 - near }
    }

    /// `2π κ_e` of parallel inputs.
    fn parallel(&self) -> f64 {
        let (a, b) = (self.a, self.b);
        self.g * (self.sin_g * (2.0 + a + b) / (1.0 + a + b).sqrt() / self.root_p + self.sin_g.atan2(self.cos_g))
    }

    /// `2π (κ_e(G) − κ_e(C))`, where `2π κ_e = (1/cos θ + (A B − 1) cos θ)/√p + √p θ sin θ` and `A B = p − (1 + A + B)`.
    fn turned(&self) -> f64 {
        let Even { sin, cos, sin_g, cos_g, .. } = *self;
        // ψ = θ_G − θ.
        let sin_psi = if self.turn > 0.0 { 4.0 * sin_g * sin_g * self.turn / (sin_g * cos + sin * cos_g) } else { 0.0 };
        let cos_psi = cos * cos_g + sin * sin_g;
        let psi = sin_psi.atan2(cos_psi);
        // cos θ − cos θ_G, sin θ_G − sin θ.
        let cosines = 4.0 * sin_g * sin_g * self.turn / (cos + cos_g);
        let sines = 2.0 * sin_g * self.s;
        let theta = sin.atan2(cos);
        let half_sin_2 = sin_psi * sin_psi / (2.0 * (1.0 + cos_psi));
        // ψ sin θ_G − (cos θ − cos θ_G) = sin θ_G (ψ − sin ψ) + 2 cos θ_G sin²(ψ/2).
        let bracket = sin_g * less_its_sine(psi, sin_psi) + 2.0 * cos_g * half_sin_2;
        cosines / self.root_p * (1.0 / (cos * cos_g) + 2.0 + self.a + self.b) + self.root_p * (bracket + theta * sines)
    }

    /// `2π E[(e(u) − e(v))²]` of parallel inputs. With `x = A/(1 + A)`, `y = B/(1 + B)`, `h(w) = √w + 1/√w`:
    /// `2π κ_e = x y h(1 + A + B) + √(A B) θ_G`, and each of its terms is bilinear but for a factor that varies slowly.
    fn distance(&self) -> f64 {
        let (a, b) = (self.a, self.b);
        let d = a - b;
        let (x, y) = (a / (1.0 + a), b / (1.0 + b));
        let dx = d / ((1.0 + a) * (1.0 + b));
        let [wa, wb, w] = [1.0 + 2.0 * a, 1.0 + 2.0 * b, 1.0 + a + b].map(f64::sqrt);
        let h = |w: f64| w + 1.0 / w;
        // h_A − h_B, and h_A + h_B − 2h by wa + wb − 2w = −(wa − wb)²/(wa + wb + 2w).
        let dw = 2.0 * d / (wa + wb);
        let dh = dw * (1.0 - 1.0 / (wa * wb));
        let bend = -dw * dw / (wa + wb + 2.0 * w);
        // 1/wa + 1/wb − 2/w = (wa + wb − 2w)/(wa wb) + 2(w² − wa wb)/(w wa wb)·(…), with w² − wa wb = (wa − wb)²/2.
        let bend_inverse = (bend * w + dw * dw) / (w * wa * wb);
        let first = dx * dx * h(w) + 0.5 * (x * x + y * y) * (bend + bend_inverse) + 0.5 * (x + y) * dx * dh;

        // θ of A with itself and of B with itself: sin θ_A = x.
        let (cos_a, cos_b) = (wa / (1.0 + a), wb / (1.0 + b));
        let theta = self.sin_g.atan2(self.cos_g);
        // θ_A − θ_B by the sine of the difference: sin θ_A cos θ_B − cos θ_A sin θ_B = (x² − y²)/(x cos θ_B + y cos θ_A).
        let sin_d = if d == 0.0 { 0.0 } else { (x + y) * dx / (x * cos_b + y * cos_a) };
        let theta_d = sin_d.atan2(cos_a * cos_b + x * y);
        // θ_A + θ_B − 2θ = 2(φ − θ), φ their mean: sin φ cos(θ_d/2) = (x + y)/2.
        let half = 0.5 * theta_d;
        let (sin_h, cos_h) = half.sin_cos();
        let (sin_m, cos_m) = (0.5 * (x + y) / cos_h, 0.5 * (cos_a + cos_b) / cos_h);
        // sin²θ − sin²φ = x y − (x + y)²/4 cos_h² ; x y = (x + y)²/4 − dx²/4.
        let squares = -0.25 * dx * dx - (0.5 * (x + y)).powi(2) * (sin_h / cos_h).powi(2);
        let sin_beta = -squares / (sin_m * self.cos_g + cos_m * self.sin_g);
        let second = 2.0 * sin_beta.clamp(-1.0, 1.0).atan2((1.0 - sin_beta * sin_beta).max(0.0).sqrt());
        let gap = d / (a.sqrt() + b.sqrt());
        let other = gap * gap * theta + 0.5 * (a + b) * second + 0.5 * d * theta_d;
        first + other
    }
}

/// `ψ − sin ψ` for ψ in [0, π/2].
fn less_its_sine(psi: f64, sin: f64) -> f64 {
    if psi > 0.5 {
        return psi - sin;
    }
    let s = psi * psi;
    psi * s / 6.0 * (1.0 - s / 20.0 * (1.0 - s / 42.0 * (1.0 - s / 72.0 * (1.0 - s / 110.0 * (1.0 - s / 156.0)))))
}

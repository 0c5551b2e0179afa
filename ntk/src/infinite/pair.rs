//! What is known of a pair of inputs at some depth of an infinitely wide network, and how each layer changes it.

use nn::Phi;
use std::f64::consts::{FRAC_2_PI, TAU};

/// The kernels of a pair, with the angle `t` between the two, `cos t = K12/√(K11·K22)`.
///
/// `e = 4 sin²(t/2) = 2(1 − cos t)` and `f = 4 cos²(t/2) = 2(1 + cos t)` keep the digits of `t` near 0 and near π, which `K12` loses.
/// Where a variance is 0 there is no angle, and `t = π/2` is as good as any: it is never used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pair {
    /// `K11` and `K22`.
    v: (f64, f64),
    /// `K12`.
    pub(super) k: f64,
    /// `Θ12`.
    pub(super) theta: f64,
    e: f64,
    f: f64,
}

/// `w_std²` and `b_std²` of a dense layer.
#[derive(Clone, Copy)]
pub(super) struct Scales {
    pub(super) w2: f64,
    pub(super) b2: f64,
}

/// `√(ab)`, exact where `a = b`, and without overflow on the way.
fn geometric_mean((a, b): (f64, f64)) -> f64 {
    if a == b { a } else { a.sqrt() * b.sqrt() }
}

impl Pair {
    /// Of two inputs with `K12 = k`, `(K11, K22) = v`. Where `|cos t| > near`, the angle is that of Kahan 2006 ("How futile are mindless
    /// assessments of roundoff in floating-point computation?", section 12): `tan(t/2) = ‖x/‖x‖ − x'/‖x'‖‖ / ‖x/‖x‖ + x'/‖x'‖‖`.
    pub(super) fn of_inputs(x1: &[f64], x2: &[f64], k: f64, v: (f64, f64), near: f64) -> Self {
        let n = geometric_mean(v);
        let mut pair = Pair { v, k, theta: 0.0, e: 2.0, f: 2.0 };
        if n == 0.0 {
            return pair;
        }
        let cos = k / n;
        if cos.abs() <= near {
            pair.set_angle(2.0 * (1.0 - cos), 2.0 * (1.0 + cos));
            return pair;
        }
        let norm = |x: &[f64]| {
            let largest = x.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
            largest * x.iter().map(|x| (x / largest).powi(2)).sum::<f64>().sqrt()
        };
        let (n1, n2) = (norm(x1), norm(x2));
        let distance = |sign: f64| x1.iter().zip(x2).map(|(a, b)| (a / n1 + sign * (b / n2)).powi(2)).sum::<f64>();
        if cos > 0.0 {
            let e = distance(-1.0);
            pair.set_angle(e, 4.0 - e);
        } else {
            let f = distance(1.0);
            pair.set_angle(4.0 - f, f);
        }
        pair
    }

    fn set_angle(&mut self, e: f64, f: f64) {
        (self.e, self.f) = (e.clamp(0.0, 4.0), f.clamp(0.0, 4.0));
    }

    /// `√K11 − √K22`.
    fn gap(&self) -> f64 {
        let (a, b) = self.v;
        if a == b { 0.0 } else { (a - b) / (a.sqrt() + b.sqrt()) }
    }

    /// `K ← w²K + b²`.
    ///
    /// With `n = √(K11·K22)`, the squared distance `n·e + (√K11 − √K22)²` is multiplied by `w²`, as the bias cancels. What is left of it beside
    /// the new `(√K11 − √K22)²` is `n'·e'`; the difference of the two gaps is written as a sum of positive terms.
    pub(super) fn dense(&mut self, Scales { w2, b2 }: Scales) {
        let (a, b) = self.v;
        let (n, gap) = (geometric_mean(self.v), self.gap());
        let v = (w2 * a + b2, w2 * b + b2);
        let (n_new, n_old) = (geometric_mean(v), w2 * n);
        let opened = if gap == 0.0 || b2 == 0.0 {
            0.0
        } else {
            let wider = (v.0.sqrt() + v.1.sqrt()).powi(2);
            // n'² − (w²n)² = b²w²(K11 + K22) + b⁴.
            let grown = (b2 * (w2 * (a + b) + b2)) / (n_new + n_old);
            w2 * gap * gap * 2.0 * (b2 + grown) / wider
        };
        self.v = v;
        self.k = w2 * self.k + b2;
        if n_new == 0.0 {
            self.set_angle(2.0, 2.0);
        } else if n == 0.0 {
            // One input is zero, so K12 is b² and nothing cancels but for K12 itself near n'.
            let other = if a == 0.0 { w2 * b } else { w2 * a };
            // n' − K12 = √(b²(b² + other)) − b² = b²·other/(n' + b²).
            let e = 2.0 * b2 * other / (n_new + b2) / n_new;
            self.set_angle(e, 4.0 - e);
        } else {
            self.set_angle((n_old * self.e + opened) / n_new, (n_old * self.f + opened + 4.0 * b2) / n_new);
        }
    }

    /// `K ← κ`, `Θ ← Θ·κ̇`.
    pub(super) fn activation(&mut self, phi: Phi) {
        match phi {
            Phi::Relu => self.relu(),
            Phi::Erf => self.erf(),
            Phi::Exp => self.exp(),
            Phi::Tanh => unreachable!("networks with tanh are refused"),
        }
    }

    fn relu(&mut self) {
        let n = geometric_mean(self.v);
        self.v = (0.5 * self.v.0, 0.5 * self.v.1);
        if n == 0.0 {
            // relu(0) = 0 and relu'(0) = 0.
            (self.k, self.theta) = (0.0, 0.0);
            self.set_angle(2.0, 2.0);
            return;
        }
        let (sin, cos) = (0.5 * (self.e * self.f).sqrt(), 0.25 * (self.f - self.e));
        let t = 2.0 * self.e.sqrt().atan2(self.f.sqrt());
        // π − t, with all its digits near t = π as well.
        let rest = 2.0 * self.f.sqrt().atan2(self.e.sqrt());
        self.k = n * ((sin + rest * cos) / TAU);
        self.theta *= rest / TAU;
        let e = self.e - FRAC_2_PI * sin_minus_t_cos(t, sin, cos);
        self.set_angle(e, 4.0 - e);
    }

    fn erf(&mut self) {
        let ((a, b), n, gap) = (self.v, geometric_mean(self.v), self.gap());
        // (1+2K11)(1+2K22) − 4K12² = 1 + 2(K11+K22) + n²·e·f, as K11·K22 − K12² = n²·sin²t.
        let determinant = 1.0 + 2.0 * (a + b) + n * n * self.e * self.f;
        self.theta *= 2.0 * FRAC_2_PI / determinant.sqrt();
        let (p, q) = ((1.0 + 2.0 * a).sqrt(), (1.0 + 2.0 * b).sqrt());
        let sine = |k: f64| (2.0 * k / p / q).clamp(-1.0, 1.0);
        let own = |v: f64| FRAC_2_PI * (2.0 * v / (1.0 + 2.0 * v)).asin();
        let v = (own(a), own(b));
        // Towards opposite inputs −K12 takes the place of K12, and the sum that of the difference.
        let obtuse = self.k < 0.0;
        let (k, chord) = if obtuse { (-self.k, self.f) } else { (self.k, self.e) };
        let squared_distance = n * chord + gap * gap;
        let mut e = 2.0;
        if n > 0.0 {
            let root = (determinant.sqrt() / p / q).min(1.0);
            // asin(2a/(1+2a)) − asin(2k/pq), from the sine of the difference, and the same for b.
            let difference = |a: f64, b: f64, p: f64, q: f64| {
                // a − k = ((a − b) + ‖u − v‖²)/2
                let above = (a - b + squared_distance) * q - 4.0 * k * (a - b) / (p + q);
                let sines = above / (p * p * q);
                let (x, y) = (2.0 * a / (1.0 + 2.0 * a), 2.0 * k / p / q);
                let cosine = (1.0 + 4.0 * a).sqrt() / (1.0 + 2.0 * a);
                let between = x * root + y * cosine;
                // sin(asin x − asin y) = (x² − y²)/(x√(1−y²) + y√(1−x²))
                if between > 0.0 { (sines * (x + y) / between).clamp(-1.0, 1.0).asin() } else { 0.0 }
            };
            let distance = FRAC_2_PI * (difference(a, b, p, q) + difference(b, a, q, p));
            let new_gap = if a == b { 0.0 } else { (v.0 - v.1) / (v.0.sqrt() + v.1.sqrt()) };
            e = (distance - new_gap * new_gap) / geometric_mean(v);
        }
        self.k = if self.e == 0.0 && a == b { v.0 } else { FRAC_2_PI * sine(self.k).asin() };
        self.v = v;
        if obtuse {
            self.set_angle(4.0 - e, e);
        } else {
            self.set_angle(e, 4.0 - e);
        }
    }

    fn exp(&mut self) {
        let (a, b) = self.v;
        let squared_distance = geometric_mean(self.v) * self.e + self.gap().powi(2);
        let kappa = (0.5 * (a + b) + self.k).exp();
        self.k = kappa;
        self.theta *= kappa;
        self.v = ((2.0 * a).exp(), (2.0 * b).exp());
        // κ/√(κ11·κ22) = e^{−‖u − v‖²/2}
        let e = -2.0 * (-0.5 * squared_distance).exp_m1();
        self.set_angle(e, 4.0 - e);
    }

    /// The sum with an uncorrelated branch.
    ///
    /// `n·e = n1·e1 + n2·e2 + (√(K11 K22') − √(K11' K22))²·2/(n + n1 + n2)`, and alike for `f`: the last term is what the gaps open.
    pub(super) fn add(&mut self, other: &Pair) {
        let (n1, n2) = (geometric_mean(self.v), geometric_mean(other.v));
        let v = (self.v.0 + other.v.0, self.v.1 + other.v.1);
        let n = geometric_mean(v);
        let crossed = (self.v.0 * other.v.1, other.v.0 * self.v.1);
        let opened = if crossed.0 == crossed.1 || n == 0.0 {
            0.0
        } else {
            let gap = (crossed.0 - crossed.1) / (crossed.0.sqrt() + crossed.1.sqrt());
            2.0 * gap * gap / (n + n1 + n2)
        };
        self.v = v;
        self.k += other.k;
        self.theta += other.theta;
        if n == 0.0 {
            self.set_angle(2.0, 2.0);
        } else {
            self.set_angle((n1 * self.e + n2 * other.e + opened) / n, (n1 * self.f + n2 * other.f + opened) / n);
        }
    }
}

/// `sin t − t cos t`, by its series where the two are close.
fn sin_minus_t_cos(t: f64, sin: f64, cos: f64) -> f64 {
    if t > 0.5 {
        return sin - t * cos;
    }
    // Σ_{m≥1} (−1)^{m+1} 2m t^{2m+1}/(2m+1)!
    let square = t * t;
    let (mut term, mut sum) = (t * square / 6.0, 0.0);
    for m in 1..9 {
        let m = f64::from(m);
        sum += 2.0 * m * term;
        term *= -square / ((2.0 * m + 2.0) * (2.0 * m + 3.0));
    }
    sum
}

/// The dual kernels `(κ, κ̇)` of an activation at `(K11, K12, K22)`, or `None` where it has no closed form here.
///
/// ```
/// use nn::Phi;
/// let (kappa, slope) = ntk::dual(Phi::Relu, 1.0, 0.0, 1.0).unwrap();
/// assert!((kappa - 0.5 / std::f64::consts::PI).abs() < 1e-16 && (slope - 0.25).abs() < 1e-16);
/// let (kappa, slope) = ntk::dual(Phi::Erf, 1.0, 0.5, 1.0).unwrap();
/// assert!((kappa - 2.0 / std::f64::consts::PI * (1.0_f64 / 3.0).asin()).abs() < 1e-15);
/// assert!((slope - 4.0 / std::f64::consts::PI / 8.0_f64.sqrt()).abs() < 1e-15);
/// assert!(ntk::dual(Phi::Tanh, 1.0, 0.5, 1.0).is_none());
/// ```
pub fn dual(phi: Phi, k11: f64, k12: f64, k22: f64) -> Option<(f64, f64)> {
    match phi {
        Phi::Tanh => None,
        Phi::Relu | Phi::Erf | Phi::Exp => {
            let v = (k11, k22);
            let n = geometric_mean(v);
            let cos = if n > 0.0 { k12 / n } else { 0.0 };
            let mut pair = Pair { v, k: k12, theta: 1.0, e: 2.0, f: 2.0 };
            pair.set_angle(2.0 * (1.0 - cos), 2.0 * (1.0 + cos));
            pair.activation(phi);
            Some((pair.k, pair.theta))
        }
    }
}

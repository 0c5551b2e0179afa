//! The maps in numbers of two `f64`, about 31 digits: the reference for what is rounded to `f64`.
//!
//! All is by series and continued fractions that share nothing with the texts under test.

use simd::Phi;
use std::f64::consts::{FRAC_2_PI, LOG2_E};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// high + low with |low| ≤ ulp(high)/2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct D(pub f64, pub f64);

const LN2: D = D(std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17);
/// 1/√2π.
const DENSITY: D = D(0.398_942_280_401_432_7, -2.492_327_202_277_73e-17);
/// 2/√π.
const ERF_SLOPE: D = D(std::f64::consts::FRAC_2_SQRT_PI, 1.533_545_961_316_588e-17);
/// π/2 in parts of 33 bits, and the rest.
const QUARTER: [f64; 4] = [1.570_796_326_734_125_6, 6.077_100_506_303_966e-11, 2.022_266_248_711_166_5e-21, 8.478_427_660_368_9e-32];

fn two_sum(a: f64, b: f64) -> D {
    let s = a + b;
    let seen = s - a;
    D(s, (a - (s - seen)) + (b - seen))
}

fn normal(a: f64, b: f64) -> D {
    let s = a + b;
    D(s, b - (s - a))
}

impl Add for D {
    type Output = D;
    fn add(self, y: D) -> D {
        let (s, t) = (two_sum(self.0, y.0), two_sum(self.1, y.1));
        let s = normal(s.0, s.1 + t.0);
        normal(s.0, s.1 + t.1)
    }
}

impl Neg for D {
    type Output = D;
    fn neg(self) -> D {
        D(-self.0, -self.1)
    }
}

impl Sub for D {
    type Output = D;
    fn sub(self, y: D) -> D {
        self + -y
    }
}

impl Mul for D {
    type Output = D;
    fn mul(self, y: D) -> D {
        let p = self.0 * y.0;
        let e = self.0.mul_add(y.0, -p);
        normal(p, e + (self.0 * y.1 + self.1 * y.0))
    }
}

impl Div for D {
    type Output = D;
    fn div(self, y: D) -> D {
        let q = D(self.0 / y.0, 0.0);
        let r = self - q * y;
        let q1 = D(r.0 / y.0, 0.0);
        let r = r - q1 * y;
        q + q1 + D(r.0 / y.0, 0.0)
    }
}

fn of(x: f64) -> D {
    D(x, 0.0)
}

const ONE: D = D(1.0, 0.0);

/// A number times a power of two: what is subnormal in the end is not rounded before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exact {
    pub d: D,
    pub exponent: i32,
}

impl Exact {
    /// As a number without an exponent; what is below every other number in the sums here may become 0.
    fn plain(self) -> D {
        D(libm::ldexp(self.d.0, self.exponent), libm::ldexp(self.d.1, self.exponent))
    }

    fn times(self, d: D) -> Exact {
        Exact { d: self.d * d, exponent: self.exponent }
    }
}

fn exact(d: D) -> Exact {
    Exact { d, exponent: 0 }
}

/// Σ term_n with term_{n+1} = term_n·next(n), until terms no longer count.
fn series(first: D, next: impl Fn(f64) -> D) -> D {
    let (mut term, mut sum, mut n) = (first, first, 0.0);
    while term.0.abs() > sum.0.abs() * 1e-34 && n < 1000.0 {
        term = term * next(n);
        sum = sum + term;
        n += 1.0;
    }
    sum
}

fn exp(x: D) -> Exact {
    let k = (x.0 * LOG2_E).round();
    let r = x - of(k) * LN2;
    let r = D(r.0 / 256.0, r.1 / 256.0);
    let mut y = series(ONE, |n| r / of(n + 1.0));
    for _ in 0..8 {
        y = y * y;
    }
    Exact { d: y, exponent: k as i32 }
}

/// ln(1 + z) for z > −1, by 2 artanh z/(2 + z) if small, else by a Newton step from the logarithm of `f64`.
fn ln_1p(z: D) -> D {
    if z.0.abs() < 0.1 {
        let s = z / (z + of(2.0));
        let s2 = s * s;
        let (mut power, mut sum, mut n) = (s, s, 1.0);
        while power.0.abs() > sum.0.abs() * 1e-34 && n < 200.0 {
            n += 2.0;
            power = power * s2;
            sum = sum + power / of(n);
        }
        return sum + sum;
    }
    let x = z + ONE;
    let y = libm::log(x.0);
    let rest = (exp(of(-y)).times(x)).plain() - ONE;
    of(y) + (rest - rest * rest * of(0.5))
}

fn ln(x: f64) -> D {
    let (m, k) = libm::frexp(x);
    let (m, k) = if m < std::f64::consts::FRAC_1_SQRT_2 { (2.0 * m, k - 1) } else { (m, k) };
    ln_1p(of(m) - ONE) + of(f64::from(k)) * LN2
}

/// e^(−t²/2)/√2π, and Φ(−t) over it, for t ≥ 0.
fn normal_tail(t: f64) -> (Exact, D) {
    let t2 = of(t) * of(t);
    let density = exp(-t2 * of(0.5)).times(DENSITY);
    if t < 5.0 {
        // Φ(−t) = ½ − density·Σ t^(2n+1)/(1·3·5⋯(2n+1)).
        let sum = series(of(t), |n| t2 / of(2.0 * n + 3.0));
        return (density, (of(0.5) - density.plain() * sum) / density.plain());
    }
    // Mills's ratio 1/(t + 1/(t + 2/(t + 3/(t + …)))) (Laplace 1805).
    let mut tail = of(t);
    for n in (1..200).rev() {
        tail = of(t) + of(f64::from(n)) / tail;
    }
    (density, ONE / tail)
}

fn erf(x: f64) -> D {
    let t = x.abs();
    if t > 7.0 {
        return of(1.0f64.copysign(x));
    }
    let t2 = of(t) * of(t);
    let y = exp(-t2).plain() * ERF_SLOPE * series(of(t), |n| (t2 + t2) / of(2.0 * n + 3.0));
    if x < 0.0 { -y } else { y }
}

/// √x and 1/(2√x) for x > 0: a Newton step from the root of `f64`, of the digits without the power of two.
fn sqrt(x: f64) -> (Exact, Exact) {
    let (m, k) = libm::frexp(x);
    let (m, k) = if k % 2 == 0 { (m, k) } else { (2.0 * m, k - 1) };
    let y = of(m.sqrt());
    let y = y + (of(m) - y * y) / (y + y);
    (Exact { d: y, exponent: k / 2 }, Exact { d: ONE / (y + y), exponent: -k / 2 })
}

/// Sine and cosine for |x| up to 10⁶.
fn sin_cos(x: f64) -> (D, D) {
    let k = (x * FRAC_2_PI).round();
    let mut r = of(x);
    for part in QUARTER {
        r = r - of(k) * of(part);
    }
    let r2 = r * r;
    let sin = series(r, |n| -r2 / of((2.0 * n + 2.0) * (2.0 * n + 3.0)));
    let cos = series(ONE, |n| -r2 / of((2.0 * n + 1.0) * (2.0 * n + 2.0)));
    match (k as i64).rem_euclid(4) {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

fn tanh(x: f64) -> D {
    if x.abs() < 0.5 {
        let x2 = of(x) * of(x);
        let sinh = series(of(x), |n| x2 / of((2.0 * n + 2.0) * (2.0 * n + 3.0)));
        let cosh = series(ONE, |n| x2 / of((2.0 * n + 1.0) * (2.0 * n + 2.0)));
        return sinh / cosh;
    }
    let z = exp(of(-2.0 * x.abs().min(400.0))).plain();
    let y = (ONE - z) / (ONE + z);
    if x < 0.0 { -y } else { y }
}

/// φ(x) and φ'(x) for finite x.
pub(crate) fn reference(phi: Phi, x: f64) -> (Exact, Exact) {
    let t = x.abs();
    // What is a limit beyond is that limit here.
    let end = if phi == Phi::Exp { 800.0 } else { 2000.0 };
    let near = x.clamp(-end, end);
    let z = exp(of(-t.min(end)));
    let d = ONE + z.plain();
    // σ(x) and σ(−x).
    let sigmoid = |positive: bool| if positive { exact(ONE / d) } else { z.times(ONE / d) };
    match phi {
        Phi::Relu => (exact(of(x.max(0.0))), exact(of(f64::from(u8::from(x > 0.0))))),
        Phi::Erf => (exact(erf(x)), exp(-(of(t.min(50.0)) * of(t.min(50.0)))).times(ERF_SLOPE)),
        Phi::Tanh => {
            let z = exp(of(-2.0 * t.min(end)));
            let d = ONE + z.plain();
            (exact(tanh(x)), z.times(of(4.0) / (d * d)))
        }
        Phi::Exp => (exp(of(near)), exp(of(near))),
        Phi::Ln => {
            let (m, exponent) = libm::frexp(x);
            (exact(ln(x)), Exact { d: ONE / of(m), exponent: -exponent })
        }
        Phi::Sigmoid => (sigmoid(x >= 0.0), z.times(ONE / (d * d))),
        Phi::Softplus => {
            let tail = if z.exponent < -200 { z } else { exact(ln_1p(z.plain())) };
            (if x > 0.0 { exact(of(x) + tail.plain()) } else { tail }, sigmoid(x >= 0.0))
        }
        Phi::Gelu => {
            let t = t.min(45.0);
            let (density, mills) = normal_tail(t);
            let below = density.times(mills);
            let slope_below = density.times(mills - of(t));
            if x < 0.0 {
                (below.times(of(-t)), slope_below)
            } else {
                (exact(of(x) * (ONE - below.plain())), exact(ONE - slope_below.plain()))
            }
        }
        Phi::Silu => {
            let (above, below) = (sigmoid(x >= 0.0), sigmoid(x < 0.0));
            (above.times(of(if x < 0.0 { near } else { x })), above.times(ONE + below.times(of(near)).plain()))
        }
        Phi::Sin => {
            let (sin, cos) = sin_cos(x);
            (exact(sin), exact(cos))
        }
        Phi::Cos => {
            let (sin, cos) = sin_cos(x);
            (exact(cos), exact(-sin))
        }
        Phi::Abs => (exact(of(t)), exact(of(f64::from(u8::from(x > 0.0)) - f64::from(u8::from(x < 0.0))))),
        Phi::LeakyRelu(_) if x > 0.0 => (exact(of(x)), exact(ONE)),
        Phi::LeakyRelu(alpha) => {
            let (m, exponent) = libm::frexp(x);
            (Exact { d: of(alpha) * of(m), exponent }, exact(of(alpha)))
        }
        Phi::Sqrt => sqrt(x),
    }
}

/// acos c for |c| ≤ 1 by two Newton steps on the sine and the cosine, and √(1 − c²).
pub(crate) fn acos_sin(c: f64) -> (Exact, Exact) {
    let s2 = (ONE - of(c)) * (ONE + of(c));
    let root = s2.0.sqrt();
    let s = if root == 0.0 { of(0.0) } else { of(root) + (s2 - of(root) * of(root)) / of(2.0 * root) };
    // sin(t − t0) = s·cos t0 − c·sin t0, of an angle so small that its cube does not count.
    let t0 = libm::atan2(s.0, c);
    let (sin, cos) = sin_cos(t0);
    (exact(of(t0) + (s * cos - of(c) * sin)), exact(s))
}

//! x·Φ(x), where Φ is the distribution function of the normal distribution.

use super::exp::Scaled;
use super::{Arith, two_halves};
use crate::Float;

/// What Φ needs to know of a type.
pub trait Gelu: Sized {
    /// t·e^(−t²/2) is 0 from here on.
    const GELU_MAX: Self;
    /// Where the polynomial is expanded.
    const CENTRE: Self;

    /// (t + 4)·e^(t²/2)·Φ(−t), given v = (t − 4)/(t + 4) − `CENTRE`, for 0 ≤ t ≤ `GELU_MAX`.
    fn mills<A: Arith>(v: Self) -> Self;
}

/// e^(−t²/2), and w and s of which e^(t²/2)·Φ(−t) is the product (Mills's ratio over √2π, which falls like 1/t), for t ≥ 0 up to
/// `GELU_MAX`.
#[inline(always)]
fn tail<T: Float, A: Arith>(t: T) -> (Scaled<T>, T, T) {
    // The variable (t − 4)/(t + 4) = 1 − 8w, w = 1/(t + 4), takes a half line to an interval. Small t are sensitive to w, so what
    // its rounding leaves of 1 − w·(t + 4) is put back: in the variable, and as 1 + rest = e^rest.
    let w = T::ONE / (t + T::of(4.0));
    let rest = A::mul_add(-w, t, T::ONE - T::of(4.0) * w);
    let rest = if t < T::of(4.0) { rest } else { T::ZERO };
    let w8 = T::of(8.0) * w;
    let v = A::mul_add(-w8, rest, (T::ONE - T::CENTRE) - w8);
    // The rounding error of t² is put back, as e^(−t²/2) would magnify it.
    let s = t * t;
    let half = T::of(-0.5);
    (Scaled::exp::<A>(half * s, A::mul_add(half, A::square_error(t, s), rest)), w, T::mills::<A>(v))
}

/// x·Φ(x): −t·Φ(−t) at −t, and t·Φ(t) = t − t·Φ(−t) at t.
#[inline(always)]
pub fn gelu<T: Float, A: Arith>(x: T) -> T {
    let t = x.abs();
    let t = if t > T::GELU_MAX { T::GELU_MAX } else { t };
    let (e, w, s) = tail::<T, A>(t);
    // t·w = 1 − 4w; for large t the difference feels little of what rounding did to w, and for small t it cancels.
    let four = T::of(4.0);
    let tw = if t < four { t * w } else { T::ONE - four * w };
    let below = e.times::<A>(-tw * s);
    if x < T::ZERO { below } else { x + below }
}

/// The slope of [`gelu`], Φ(x) + x·e^(−x²/2)/√2π; at −t it is e^(−t²/2)·(e^(t²/2)·Φ(−t) − t/√2π), at t it is 1 less that.
#[inline(always)]
pub fn gelu_slope<T: Float, A: Arith>(x: T) -> T {
    let t = x.abs();
    let t = if t > T::GELU_MAX { T::GELU_MAX } else { t };
    let (e, w, s) = tail::<T, A>(t);
    let below = e.times::<A>(A::mul_add(-t, T::of(0.398_942_280_401_432_7), w * s));
    if x < T::ZERO { below } else { T::ONE - below }
}

impl Gelu for f32 {
    const GELU_MAX: f32 = 14.7;
    const CENTRE: f32 = -0.031_25;

    #[inline(always)]
    fn mills<A: Arith>(v: f32) -> f32 {
        // Relative error of Φ(−t): 5.48e-9.
        two_halves::<f32, A, 11>(
            v,
            &[
                0.774_665_7,
                -0.632_646_6,
                0.404_979_94,
                -0.194_142_16,
                0.061_523_117,
                -0.006_859_446,
                -0.003_842_708,
                0.001_599_391_1,
                0.000_234_054_05,
                -0.00022062182,
                -5.401_458_5e-5,
            ],
        )
    }
}

impl Gelu for f64 {
    const GELU_MAX: f64 = 39.0;
    const CENTRE: f64 = -0.015_625;

    #[inline(always)]
    fn mills<A: Arith>(v: f64) -> f64 {
        // Relative error of Φ(−t): 7.47e-18.
        two_halves::<f64, A, 24>(
            v,
            &[
                0.7648787465448497,
                -0.6201322222401592,
                0.3959693688717794,
                -0.19031478368043867,
                0.06097269198564252,
                -0.007205636897719543,
                -0.0036570775910995897,
                0.0016121208739074148,
                0.0001657989805395479,
                -0.0002303257022960039,
                -7.930783883856616e-06,
                3.4898502500342704e-05,
                1.9034539395384645e-06,
                -5.7567702140638055e-06,
                -8.607132967289469e-07,
                9.486111503475795e-07,
                3.096013409446554e-07,
                -1.3037091428874514e-07,
                -8.828702995160208e-08,
                7.228725687194035e-09,
                1.8741286696804822e-08,
                2.724816542552078e-09,
                -2.229331928331846e-09,
                -7.146537925514431e-10,
            ],
        )
    }
}

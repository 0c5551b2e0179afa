//! The angle of a cosine, and its sine.

use super::{Arith, horner, two_halves};
use crate::Float;

/// What acos needs to know of a type.
pub trait Acos: Sized {
    /// π/2 rounded, and the rest.
    const RIGHT_ANGLE: (Self, Self);

    /// (asin(b)/b − 1)/b², given b², for 0 ≤ b ≤ ½.
    fn asin_tail<A: Arith>(z: Self) -> Self;
}

/// The nearest number of [−1, 1]; NaN stays.
#[inline(always)]
pub(crate) fn clamp<T: Float>(c: T) -> T {
    let c = if c > T::ONE { T::ONE } else { c };
    if c < -T::ONE { -T::ONE } else { c }
}

/// acos c for −1 ≤ c ≤ 1: π/2 − asin c for |c| ≤ ½; elsewhere 2 asin √((1 − |c|)/2), taken from π for c < 0.
#[inline(always)]
pub fn acos<T: Float, A: Arith>(c: T) -> T {
    let half = T::of(0.5);
    let t = c.abs();
    let near = t <= half;
    // The subtraction is exact where it is used.
    let far = half * (T::ONE - t);
    let z = if near { c * c } else { far };
    let b = if near { c } else { far.sqrt() };
    let (high, low) = T::RIGHT_ANGLE;
    let tail = b * (z * T::asin_tail::<A>(z));
    let at_zero = high - (b - (low - tail));
    let at_one = b + tail;
    let at_one = at_one + at_one;
    let at_minus_one = (high - (at_one * half - low)) * T::of(2.0);
    let away = if c < T::ZERO { at_minus_one } else { at_one };
    if near { at_zero } else { away }
}

/// √(1 − c²) for −1 ≤ c ≤ 1, as √((1 − c)(1 + c)), which loses nothing near 1.
#[inline(always)]
pub(crate) fn sine_of_acos<T: Float>(c: T) -> T {
    ((T::ONE - c) * (T::ONE + c)).sqrt()
}

impl Acos for f32 {
    const RIGHT_ANGLE: (f32, f32) = (std::f32::consts::FRAC_PI_2, -4.371_139e-8);

    #[inline(always)]
    fn asin_tail<A: Arith>(z: f32) -> f32 {
        // Relative error of asin: 4.9e-9.
        horner::<f32, A, 5>(z, &[0.166_667_52, 0.074_953_094, 0.045_469_15, 0.024_184_804, 0.042_158_194])
    }
}

impl Acos for f64 {
    const RIGHT_ANGLE: (f64, f64) = (std::f64::consts::FRAC_PI_2, 6.123_233_995_736_766e-17);

    #[inline(always)]
    fn asin_tail<A: Arith>(z: f64) -> f64 {
        // Relative error of asin: 9.7e-19.
        two_halves::<f64, A, 13>(
            z,
            &[
                0.1666666666666676,
                0.07499999999970865,
                0.04464285717457924,
                0.030381942708134838,
                0.02237221500641862,
                0.017351611241105964,
                0.013980834297152484,
                0.011398767561702933,
                0.010781224065701922,
                0.0037021932454372685,
                0.021718917291756876,
                -0.021016875927705198,
                0.03264068138484937,
            ],
        )
    }
}

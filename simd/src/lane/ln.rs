//! The natural logarithm.

use super::{Arith, two_halves};
use crate::Float;

/// What ln needs to know of a type.
pub trait Ln: Sized {
    /// The smallest normal number.
    const MIN_NORMAL: Self;
    /// 2ᵖ with p bits of precision, and p: what lifts subnormal numbers among the normal ones.
    const LIFT: (Self, Self);

    /// (m, k) with x = 2ᵏ·m and √½ ≤ m < √2, for a normal x above 0.
    fn split(self) -> (Self, Self);
    /// ln(1 + f) − f for √½ − 1 ≤ f ≤ √2 − 1.
    fn ln_tail<A: Arith>(f: Self) -> Self;
}

/// ln x = k·ln 2 + ln(1 + f) with x = 2ᵏ·(1 + f); −∞ at 0 and NaN below.
#[inline(always)]
pub fn ln<T: Float, A: Arith>(x: T) -> T {
    let subnormal = x < T::MIN_NORMAL;
    let (m, k) = (if subnormal { x * T::LIFT.0 } else { x }).split();
    let y = sum::<T, A>(if subnormal { k - T::LIFT.1 } else { k }, m - T::ONE);
    // Infinity and NaN are their own logarithms.
    let y = if x < T::of(f64::INFINITY) { y } else { x };
    let y = if x < T::ZERO { T::of(f64::NAN) } else { y };
    if x == T::ZERO { T::of(f64::NEG_INFINITY) } else { y }
}

/// ln(1 + z) for 0 ≤ z ≤ 1.
#[inline(always)]
pub(super) fn ln_1p<T: Float, A: Arith>(z: T) -> T {
    // 1 + z = 2·(1 + (z − 1)/2), and neither form rounds a digit that the result shows.
    let far = z > T::of(std::f64::consts::SQRT_2 - 1.0);
    sum::<T, A>(if far { T::ONE } else { T::ZERO }, if far { (z - T::ONE) * T::of(0.5) } else { z })
}

/// k·ln 2 + ln(1 + f), the small parts first. k times the high part of ln 2 is exact.
#[inline(always)]
fn sum<T: Float, A: Arith>(k: T, f: T) -> T {
    A::mul_add(k, T::LN2_HIGH, f + A::mul_add(k, T::LN2_LOW, T::ln_tail::<A>(f)))
}

macro_rules! split {
    ($t:ident, significand: $significand:expr, bias: $bias:expr) => {
        #[inline(always)]
        fn split(self) -> (Self, Self) {
            const ROOT: $t = std::$t::consts::FRAC_1_SQRT_2;
            // A number of which the last bits are an integer: there is no conversion of wide integers in AVX2.
            const INTEGER: $t = (1u64 << $significand) as $t;
            // In units of √½ the exponent is k and the significand belongs to m.
            let bits = self.to_bits().wrapping_add($t::to_bits(1.0) - ROOT.to_bits());
            let k = $t::from_bits(INTEGER.to_bits() | (bits >> $significand)) - (INTEGER + $bias);
            let m = $t::from_bits((bits & ((1 << $significand) - 1)) + ROOT.to_bits());
            (m, k)
        }
    };
}

impl Ln for f32 {
    const MIN_NORMAL: f32 = f32::MIN_POSITIVE;
    const LIFT: (f32, f32) = (16_777_216.0, 24.0);

    split!(f32, significand: 23, bias: 127.0);

    #[inline(always)]
    fn ln_tail<A: Arith>(f: f32) -> f32 {
        // Relative error of ln(1 + f): 4.6e-9.
        let p = two_halves::<f32, A, 9>(
            f,
            &[-0.499_999_88, 0.333_333_37, -0.250_016, 0.200_012_37, -0.166_081_79, 0.14195393, -0.1326361, 0.128_275_16, -0.074_793_52],
        );
        f * f * p
    }
}

impl Ln for f64 {
    const MIN_NORMAL: f64 = f64::MIN_POSITIVE;
    const LIFT: (f64, f64) = (9_007_199_254_740_992.0, 53.0);

    split!(f64, significand: 52, bias: 1023.0);

    #[inline(always)]
    fn ln_tail<A: Arith>(f: f64) -> f64 {
        // ln(1 + f) = 2 artanh s with s = f/(2 + f), whose series needs half as many terms as that of f has; then the large part f
        // is taken out: 2 artanh s = f − (f²/2 − s·(f²/2 + s²·P(s²))). Relative error of ln(1 + f): 1.3e-18.
        let s = f / (2.0 + f);
        let z = s * s;
        let p = two_halves::<f64, A, 7>(
            z,
            &[
                0.6666666666666734,
                0.3999999999941704,
                0.2857142874189462,
                0.22222198621353867,
                0.1818356192316586,
                0.15314109866414724,
                0.14795375221342383,
            ],
        );
        let h = 0.5 * f * f;
        A::mul_add(s, A::mul_add(z, p, h), -h)
    }
}

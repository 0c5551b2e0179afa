//! The exponential function.

use super::{Arith, two_halves};
use crate::Float;

/// What eˣ needs to know of a type.
pub trait Exp: Sized {
    /// ln 2 to so few bits that k·ln 2 is exact for every exponent k.
    const LN2_HIGH: Self;
    /// The rest of ln 2.
    const LN2_LOW: Self;
    /// eˣ is ∞ from here on.
    const EXP_MAX: Self;
    /// eˣ·|x| is 0 up to here.
    const EXP_MIN: Self;

    /// (eʳ − 1 − r)/r² for |r| ≤ ln 2 / 2.
    fn exp_tail<A: Arith>(r: Self) -> Self;
}

/// eˣ.
#[inline(always)]
pub fn exp<T: Float, A: Arith>(x: T) -> T {
    Scaled::exp::<A>(x, T::ZERO).times::<A>(T::ONE)
}

/// A number (1 + q)·2ᵏ, kept in parts: 2ᵏ may be out of range where the number times another one is not, and a product with
/// 1 + q rounds less if that is not rounded first.
pub(crate) struct Scaled<T> {
    q: T,
    /// 2ᵏ as two factors.
    scale: (T, T),
}

impl<T: Float> Scaled<T> {
    /// e^(x + low) = 2ᵏ·eʳ with k = round(x/ln 2), |r| ≤ ln 2 / 2. `low` is small: the rounding error of x.
    #[inline(always)]
    pub(crate) fn exp<A: Arith>(x: T, low: T) -> Self {
        // Past these ends the result is ∞ and 0; NaN fails both comparisons and stays.
        let x = if x > T::EXP_MAX { T::EXP_MAX } else { x };
        let x = if x < T::EXP_MIN { T::EXP_MIN } else { x };
        let k = A::mul_add(x, T::of(std::f64::consts::LOG2_E), T::SHIFTER) - T::SHIFTER;
        let r = A::mul_add(-k, T::LN2_HIGH, x) + A::mul_add(-k, T::LN2_LOW, low);
        let q = A::mul_add(r * r, T::exp_tail::<A>(r), r);
        let half = A::mul_add(k, T::of(0.5), T::SHIFTER);
        let rest = (k - (half - T::SHIFTER)) + T::SHIFTER;
        Scaled { q, scale: (half.exp2_of_shifted(), rest.exp2_of_shifted()) }
    }

    /// The number times `factor`. Only the last product can leave the normal numbers, so a subnormal result is rounded once more
    /// and not amplified.
    #[inline(always)]
    pub(crate) fn times<A: Arith>(&self, factor: T) -> T {
        A::mul_add(self.q, factor, factor) * self.scale.0 * self.scale.1
    }
}

impl Exp for f32 {
    const LN2_HIGH: f32 = 0.693_145_75;
    const LN2_LOW: f32 = 1.428_606_8e-6;
    const EXP_MAX: f32 = 89.0;
    const EXP_MIN: f32 = -112.0;

    #[inline(always)]
    fn exp_tail<A: Arith>(r: f32) -> f32 {
        // Relative error of eʳ: 3.2e-9.
        two_halves::<f32, A, 5>(r, &[0.499_999_94, 0.166_665_17, 0.041_668_102, 0.008_369_198, 0.001_383_904_4])
    }
}

impl Exp for f64 {
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const EXP_MAX: f64 = 710.0;
    const EXP_MIN: f64 = -760.0;

    #[inline(always)]
    fn exp_tail<A: Arith>(r: f64) -> f64 {
        // Relative error of eʳ: 4.1e-18.
        two_halves::<f64, A, 10>(
            r,
            &[
                0.5000000000000011,
                0.16666666666666438,
                0.041666666666525805,
                0.008333333333474724,
                0.00138888889448719,
                0.00019841269564529682,
                2.4801491683269456e-05,
                2.7557518862078997e-06,
                2.7630804341290385e-07,
                2.5026574969712967e-08,
            ],
        )
    }
}

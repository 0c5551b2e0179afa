//! The two element types.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use crate::types::Lane;

/// A real number of the machine: `f32` or `f64`.
///
/// The trait is sealed, since every kernel of this crate is written and tested for these two.
pub trait Float:
    Lane
    + Copy
    + Send
    + Sync
    + PartialOrd
    + Debug
    + Display
    + Default
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + Sum
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The distance from 1 to the next larger number, 2⁻²³ or 2⁻⁵².
    const EPSILON: Self;
    /// The nearest number to π.
    const PI: Self;
    /// The name of the type in Rust, `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// The nearest number to `x`.
    fn of(x: f64) -> Self;
    /// The same number in `f64`, exactly.
    fn to_f64(self) -> f64;
    /// |x|.
    fn abs(self) -> Self;
    /// √x, correctly rounded; NaN below 0.
    fn sqrt(self) -> Self;
    /// Whether the number is neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// The larger of two numbers; if exactly one is NaN, the other.
    fn max(self, other: Self) -> Self;
    /// The smaller of two numbers; if exactly one is NaN, the other.
    fn min(self, other: Self) -> Self;
}

macro_rules! float {
    ($t:ident) => {
        impl Float for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const EPSILON: Self = $t::EPSILON;
            const PI: Self = std::$t::consts::PI;
            const NAME: &'static str = stringify!($t);

            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                self.is_finite()
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                self.max(other)
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                self.min(other)
            }
        }
    };
}

float!(f32);
float!(f64);

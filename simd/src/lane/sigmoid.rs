//! The logistic function and what is made of it. All is said with z = e^(−|x|) ≤ 1, of which nothing overflows.

use super::exp::Scaled;
use super::ln::ln_1p;
use super::{Arith, exp};
use crate::Float;

/// 1/(1 + e⁻ˣ) = 1/(1 + z) above 0 and z/(1 + z) below.
#[inline(always)]
pub fn sigmoid<T: Float, A: Arith>(x: T) -> T {
    let z = exp::<T, A>(-x.abs());
    (if x < T::ZERO { z } else { T::ONE }) / (T::ONE + z)
}

/// The slope of [`sigmoid`], z/(1 + z)².
#[inline(always)]
pub fn sigmoid_slope<T: Float, A: Arith>(x: T) -> T {
    let z = exp::<T, A>(-x.abs());
    z / square::<T, A>(z)
}

/// (1 + z)² as 1 + z·(2 + z), which rounds less than a square of 1 + z.
#[inline(always)]
fn square<T: Float, A: Arith>(z: T) -> T {
    A::mul_add(z, T::of(2.0) + z, T::ONE)
}

/// ln(1 + eˣ) = max(x, 0) + ln(1 + z). Its slope is [`sigmoid`].
#[inline(always)]
pub fn softplus<T: Float, A: Arith>(x: T) -> T {
    let z = exp::<T, A>(-x.abs());
    (if x < T::ZERO { T::ZERO } else { x }) + ln_1p::<T, A>(z)
}

/// x/(1 + e⁻ˣ) = x/(1 + z) above 0 and z·x/(1 + z) below.
#[inline(always)]
pub fn silu<T: Float, A: Arith>(x: T) -> T {
    // Where z·x is 0, a product with a bounded x.
    let x = if x < T::EXP_MIN { T::EXP_MIN } else { x };
    let e = Scaled::exp::<A>(-x.abs(), T::ZERO);
    let q = x / (T::ONE + e.times::<A>(T::ONE));
    // z times q and not x times a z that may have lost digits among the subnormal numbers.
    if x < T::ZERO { e.times::<A>(q) } else { q }
}

/// The slope of [`silu`]: (1 + z + x·z)/(1 + z)² above 0, z times (1 + z + x)/(1 + z)² below.
#[inline(always)]
pub fn silu_slope<T: Float, A: Arith>(x: T) -> T {
    // Beyond, x·z is 0, or far less than 1.
    let end = -T::EXP_MIN;
    let x = if x < T::EXP_MIN { T::EXP_MIN } else { x };
    let bounded = if x > end { end } else { x };
    let e = Scaled::exp::<A>(-bounded.abs(), T::ZERO);
    let z = e.times::<A>(T::ONE);
    let d = T::ONE + z;
    let below = x < T::ZERO;
    let q = A::mul_add(if below { T::ONE } else { z }, bounded, d) / square::<T, A>(z);
    if below { e.times::<A>(q) } else { q }
}

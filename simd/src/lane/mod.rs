//! One element of a map: texts of plain arithmetic and selections, which the compiler turns into vectors.
//!
//! Nothing here branches on a value, so a loop over one of these functions becomes one over lanes, and every operation is an
//! IEEE one, so an element has the same bits in a vector, in a tail and alone. The one exception is the sine of a large angle,
//! which [`sin`] leaves to a scalar function, element by element.
//!
//! Each theme has a trait with what differs between `f32` and `f64`: the coefficients of its polynomials. These are minimax
//! polynomials for the relative error of the result; where a comment gives an error, it is the largest one that they cause in
//! exact arithmetic, with the coefficients rounded as they stand.

use crate::Float;
use crate::level::{Avx2, Avx512};
use crate::types::Lane;
use crate::vector::Vector;

mod acos;
mod erf;
mod exp;
mod gelu;
mod ln;
mod sigmoid;
mod tanh;
mod trig;

pub use acos::acos;
pub(crate) use acos::{Acos, clamp, sine_of_acos};
pub(crate) use erf::Erf;
pub use erf::{erf, erf_slope};
pub(crate) use exp::Exp;
pub use exp::exp;
pub(crate) use gelu::Gelu;
pub use gelu::{gelu, gelu_slope};
pub(crate) use ln::Ln;
pub use ln::ln;
pub use sigmoid::{sigmoid, sigmoid_slope, silu, silu_slope, softplus};
pub(crate) use tanh::Tanh;
pub use tanh::tanh;
pub(crate) use trig::{COS, SIN, Trig, turn};
pub use trig::{cos, sin};

/// The arithmetic of a level. A value is the token of the level: the proof that this CPU has its instructions.
pub trait Arith: Copy + Send + Sync {
    /// The vectors of the level.
    #[doc(hidden)]
    type Vector<T: Lane>: Vector<Element = T, Cpu = Self>;
    /// a·b + c, rounded once or twice.
    fn mul_add<T: Float>(a: T, b: T, c: T) -> T;
    /// x² − s, given s = x² rounded.
    fn square_error<T: Float>(x: T, s: T) -> T;
}

/// Two roundings, for CPUs without a fused multiply-add.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Arith for Plain {
    type Vector<T: Lane> = T::Portable;

    #[inline(always)]
    fn mul_add<T: Float>(a: T, b: T, c: T) -> T {
        a * b + c
    }

    #[inline(always)]
    fn square_error<T: Float>(x: T, s: T) -> T {
        // Dekker: the high half's square is exact.
        let h = x.high_half();
        (h * h - s) + (x - h) * (x + h)
    }
}

/// One rounding, by the fused multiply-add of the CPU.
macro_rules! fused {
    ($cpu:ident) => {
        impl Arith for $cpu {
            type Vector<T: Lane> = T::$cpu;

            #[inline(always)]
            fn mul_add<T: Float>(a: T, b: T, c: T) -> T {
                a.fused(b, c)
            }

            #[inline(always)]
            fn square_error<T: Float>(x: T, s: T) -> T {
                x.fused(x, -s)
            }
        }
    };
}

fused!(Avx2);
fused!(Avx512);

/// max(x, 0). The comparison is turned so that NaN stays.
#[inline(always)]
pub(crate) fn relu<T: Float>(x: T) -> T {
    if x <= T::ZERO { T::ZERO } else { x }
}

/// The slope of [`relu`]: 1 above 0, else 0, and NaN for NaN.
#[inline(always)]
pub(crate) fn step<T: Float>(x: T) -> T {
    let at_most_zero = if x <= T::ZERO { T::ZERO } else { x };
    if x > T::ZERO { T::ONE } else { at_most_zero }
}

/// The slope of |x|: the sign of x, 0 at zeros of both signs, and NaN for NaN.
#[inline(always)]
pub(crate) fn sign<T: Float>(x: T) -> T {
    // The sum takes the sign off a zero and leaves NaN as it is.
    let at_most_zero = if x < T::ZERO { -T::ONE } else { x + T::ZERO };
    if x > T::ZERO { T::ONE } else { at_most_zero }
}

/// x above 0, else α·x, which is NaN for NaN.
#[inline(always)]
pub(crate) fn leaky_relu<T: Float>(x: T, alpha: T) -> T {
    if x > T::ZERO { x } else { alpha * x }
}

/// The slope of [`leaky_relu`]: 1 above 0, else α, and NaN for NaN.
#[inline(always)]
pub(crate) fn leaky_step<T: Float>(x: T, alpha: T) -> T {
    // What is added is 0 or NaN. A second selection between α and x would be a branch at the portable level.
    if x > T::ZERO { T::ONE } else { alpha + relu(x) }
}

/// Σ c_i x^i by Horner's rule.
#[inline(always)]
pub(crate) fn horner<T: Float, A: Arith, const N: usize>(x: T, c: &[T; N]) -> T {
    let mut y = c[N - 1];
    for i in (0..N - 1).rev() {
        y = A::mul_add(y, x, c[i]);
    }
    y
}

/// Σ c_i x^i as two polynomials in x², of the even and of the odd coefficients: half as long a chain of dependent operations as
/// Horner's rule has. The first coefficients come by Horner's rule all the same, as their rounding is what the sum shows.
#[inline(always)]
pub(crate) fn two_halves<T: Float, A: Arith, const N: usize>(x: T, c: &[T; N]) -> T {
    let s = x * x;
    // One chain starts from the last coefficient and one from the last but one, whichever of them is even.
    let (mut a, mut b) = (c[N - 1], c[N - 2]);
    let mut i = N - 2;
    while i >= 4 {
        a = A::mul_add(a, s, c[i - 1]);
        b = A::mul_add(b, s, c[i - 2]);
        i -= 2;
    }
    let mut y = A::mul_add(a, x, b);
    while i > 0 {
        i -= 1;
        y = A::mul_add(y, x, c[i]);
    }
    y
}

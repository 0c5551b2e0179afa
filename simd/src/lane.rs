//! One element of a map: texts of plain arithmetic and selections, which the compiler turns into vectors.
//!
//! Nothing here branches on a value, so a loop over one of these functions becomes one over lanes, and every operation is an
//! IEEE one, so an element has the same bits in a vector, in a tail and alone.

use crate::Float;
use crate::level::{Avx2, Avx512};
use crate::types::Lane;
use crate::vector::Vector;

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

/// eˣ = 2ᵏ·eʳ with k = round(x/ln 2), |r| ≤ ln 2 / 2, and eʳ by its Taylor series.
#[inline(always)]
pub fn exp<T: Float, A: Arith>(x: T) -> T {
    // Past these ends the result is ∞ and 0; NaN fails both comparisons and stays.
    let x = if x > T::EXP_MAX { T::EXP_MAX } else { x };
    let x = if x < T::EXP_MIN { T::EXP_MIN } else { x };
    let k = A::mul_add(x, T::of(std::f64::consts::LOG2_E), T::SHIFTER) - T::SHIFTER;
    // ln 2 comes in two parts, of which k times the first is exact.
    let r = A::mul_add(-k, T::LN2_LOW, A::mul_add(-k, T::LN2_HIGH, x));
    let p = T::ONE + A::mul_add(r * r, T::exp_tail::<A>(r), r);
    // Two factors, as 2ᵏ itself may be out of range where p·2ᵏ is not; only the last product rounds.
    let half = A::mul_add(k, T::of(0.5), T::SHIFTER);
    let rest = (k - (half - T::SHIFTER)) + T::SHIFTER;
    p * half.exp2_of_shifted() * rest.exp2_of_shifted()
}

/// tanh x = x + x³·P(x²) near 0, P a minimax polynomial; elsewhere 1 − 2/(e^(2|x|) + 1) with the sign of x.
#[inline(always)]
pub fn tanh<T: Float, A: Arith>(x: T) -> T {
    let t = x.abs();
    let s = x * x;
    let near = A::mul_add(x * s, T::tanh_near::<A>(s), x);
    let two = T::of(2.0);
    let far = T::ONE - two / (exp::<T, A>(two * t) + T::ONE);
    // A zero loses its sign in the sum, and gets it back here.
    (if t > T::of(TANH_JOINT) { far } else { near }).copysign(x)
}

/// erf x = x + x·P(x²) near 0; elsewhere 1 − e^(−|x|·Q(|x|)) with the sign of x. P and Q are minimax polynomials.
#[inline(always)]
pub fn erf<T: Float, A: Arith>(x: T) -> T {
    let t = x.abs();
    let near = A::mul_add(x, T::erf_near::<A>(x * x), x);
    // Beyond, the result rounds to 1.
    let t = if t > T::ERF_MAX { T::ERF_MAX } else { t };
    let far = T::ONE - exp::<T, A>(-t * T::erf_far::<A>(t));
    (if t > T::of(ERF_JOINT) { far } else { near }).copysign(x)
}

/// 2/√π · e^(−x²). The rounding error of x² is put back, as e^(−x²) would magnify it.
#[inline(always)]
pub fn erf_slope<T: Float, A: Arith>(x: T) -> T {
    let t = x.abs();
    // Beyond, the result is 0.
    let t = if t > T::ERF_SLOPE_MAX { T::ERF_SLOPE_MAX } else { t };
    let s = t * t;
    let e = T::of(std::f64::consts::FRAC_2_SQRT_PI) * exp::<T, A>(-s);
    A::mul_add(-e, A::square_error(t, s), e)
}

/// |x| where the two texts of erf meet.
const ERF_JOINT: f64 = 0.9375;

/// |x| where the two texts of tanh meet.
const TANH_JOINT: f64 = 0.625;

/// Σ c_i x^i.
#[inline(always)]
pub(crate) fn horner<T: Float, A: Arith, const N: usize>(x: T, c: &[T; N]) -> T {
    let mut y = c[N - 1];
    for i in (0..N - 1).rev() {
        y = A::mul_add(y, x, c[i]);
    }
    y
}

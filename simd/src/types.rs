//! What differs between `f32` and `f64`: bits, vectors, and the buffers of a thread.

use crate::entry::Entries;
use crate::lane::{Acos, Erf, Exp, Gelu, Ln, Plain, Tanh, Trig};
use crate::level::{Avx2, Avx512};
use crate::scratch::Pool;
use crate::vector::{Array, Vector};
#[cfg(target_arch = "x86_64")]
use crate::vector::{F32x8, F32x16, F64x4, F64x8};

/// What the texts of [`lane`](crate::lane) need to know of a type: its bits, and with each theme its coefficients.
pub trait Lane: Copy + Entries + Exp + Ln + Tanh + Erf + Gelu + Trig + Acos {
    /// The vector of the portable level.
    type Portable: Vector<Element = Self, Cpu = Plain>;
    /// The vector of AVX2.
    type Avx2: Vector<Element = Self, Cpu = Avx2>;
    /// The vector of AVX-512.
    type Avx512: Vector<Element = Self, Cpu = Avx512>;

    /// 1.5·2^(p−1) with p bits of precision: x + SHIFTER rounds x to an integer, which then stands in the low bits.
    const SHIFTER: Self;

    /// a·b + c rounded once.
    fn fused(self, b: Self, c: Self) -> Self;
    /// |self| with the sign of another number.
    fn copysign(self, sign: Self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// The number without the lower half of its significand.
    fn high_half(self) -> Self;
    /// 2ᵏ, given k + SHIFTER.
    fn exp2_of_shifted(self) -> Self;
    /// Gives the buffers that this thread keeps.
    fn pool<R>(with: impl FnOnce(&Pool<Self>) -> R) -> R;
}

macro_rules! lane {
    ($t:ident, $avx2:ident, $avx512:ident, significand: $significand:expr, bias: $bias:expr, low_half: $low_half:expr, shifter: $shifter:expr) => {
        impl Lane for $t {
            type Portable = Array<$t, Plain>;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = $avx2;
            #[cfg(target_arch = "x86_64")]
            type Avx512 = $avx512;
            // Other architectures never make a token of these levels.
            #[cfg(not(target_arch = "x86_64"))]
            type Avx2 = Array<$t, Avx2>;
            #[cfg(not(target_arch = "x86_64"))]
            type Avx512 = Array<$t, Avx512>;

            const SHIFTER: $t = $shifter;

            #[inline(always)]
            fn fused(self, b: Self, c: Self) -> Self {
                self.mul_add(b, c)
            }

            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                $t::copysign(self, sign)
            }

            #[inline(always)]
            fn ln(self) -> Self {
                $t::ln(self)
            }

            #[inline(always)]
            fn high_half(self) -> Self {
                $t::from_bits(self.to_bits() & !$low_half)
            }

            #[inline(always)]
            fn exp2_of_shifted(self) -> Self {
                // The low bits hold k; with the bias added and all else shifted out they are the exponent of 2ᵏ.
                $t::from_bits(self.to_bits().wrapping_add($bias) << $significand)
            }

            fn pool<R>(with: impl FnOnce(&Pool<Self>) -> R) -> R {
                thread_local!(static POOL: Pool<$t> = const { Pool::new() });
                POOL.with(with)
            }
        }
    };
}

lane!(f32, F32x8, F32x16, significand: 23, bias: 127, low_half: 0xfff, shifter: 12_582_912.0);
lane!(f64, F64x4, F64x8, significand: 52, bias: 1023, low_half: 0x7ff_ffff, shifter: 6_755_399_441_055_744.0);

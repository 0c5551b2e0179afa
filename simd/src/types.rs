//! What differs between `f32` and `f64`: bits, constants, vectors, and the buffers of a thread.

use crate::lane::{Arith, Plain, horner};
use crate::level::{Avx2, Avx512};
use crate::scratch::Pool;
use crate::vector::{Array, Vector};
#[cfg(target_arch = "x86_64")]
use crate::vector::{F32x8, F32x16, F64x4, F64x8};

/// What the texts above need to know of a type: its bits and its constants.
pub trait Lane: Copy {
    /// The vector of the portable level.
    type Portable: Vector<Element = Self, Cpu = Plain>;
    /// The vector of AVX2.
    type Avx2: Vector<Element = Self, Cpu = Avx2>;
    /// The vector of AVX-512.
    type Avx512: Vector<Element = Self, Cpu = Avx512>;

    /// 1.5·2^(p−1) with p bits of precision: x + SHIFTER rounds x to an integer, which then stands in the low bits.
    const SHIFTER: Self;
    /// ln 2 to so few bits that k·ln 2 is exact.
    const LN2_HIGH: Self;
    /// The rest of ln 2.
    const LN2_LOW: Self;
    /// eˣ is ∞ from here on.
    const EXP_MAX: Self;
    /// eˣ is 0 up to here.
    const EXP_MIN: Self;
    /// erf rounds to 1 from here on.
    const ERF_MAX: Self;
    /// e^(−x²) is 0 from here on.
    const ERF_SLOPE_MAX: Self;

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
    /// (eʳ − 1 − r)/r².
    fn exp_tail<A: Arith>(r: Self) -> Self;
    /// (tanh(x)/x − 1)/x², given x².
    fn tanh_near<A: Arith>(s: Self) -> Self;
    /// erf(x)/x − 1, given x².
    fn erf_near<A: Arith>(s: Self) -> Self;
    /// −ln(1 − erf t)/t.
    fn erf_far<A: Arith>(t: Self) -> Self;
    /// Gives the buffers that this thread keeps.
    fn pool<R>(with: impl FnOnce(&Pool<Self>) -> R) -> R;
}

macro_rules! lane {
    ($t:ident, $avx2:ident, $avx512:ident, significand: $significand:expr, bias: $bias:expr, low_half: $low_half:expr, { $($constants:tt)* }) => {
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

            $($constants)*

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
                thread_local!(static POOL: Pool<$t> = const { Pool::new(Vec::new()) });
                POOL.with(with)
            }
        }
    };
}

lane!(f32, F32x8, F32x16, significand: 23, bias: 127, low_half: 0xfff, {
    const SHIFTER: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_145_75;
    const LN2_LOW: f32 = 1.428_606_8e-6;
    const EXP_MAX: f32 = 89.0;
    const EXP_MIN: f32 = -104.0;
    const ERF_MAX: f32 = 4.0;
    const ERF_SLOPE_MAX: f32 = 11.0;

    #[inline(always)]
    fn exp_tail<A: Arith>(r: f32) -> f32 {
        horner::<f32, A, 6>(r, &[0.5, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0])
    }

    #[inline(always)]
    fn tanh_near<A: Arith>(s: f32) -> f32 {
        // Largest relative error of x + x³·P(x²) in exact arithmetic 6.2e-10.
        horner::<f32, A, 6>(s, &[
            -0.333_333_34,
             0.133_333_04,
             -0.053_959_314,
             0.021_769_308,
             -0.008_345_079,
             0.002_293_900_8,
        ])
    }

    #[inline(always)]
    fn erf_near<A: Arith>(s: f32) -> f32 {
        // Largest relative error of x + x·P(x²) in exact arithmetic 5.1e-10.
        horner::<f32, A, 7>(s, &[
            0.128_379_17,
            -0.376_126_32,
            0.112_836_79,
            -0.026_858_497,
            0.005_198_83,
            -0.000_811_807_5,
            8.267_459_6e-5,
        ])
    }

    #[inline(always)]
    fn erf_far<A: Arith>(t: f32) -> f32 {
        // Largest error of erf that this causes in exact arithmetic, relative: 6.4e-10.
        horner::<f32, A, 7>(t, &[
            1.128_658_5,
            0.635_110_74,
            0.106_303_67,
            -0.023_819_38,
            0.003_669_464_3,
            -0.000_329_424_13,
            1.189_076_3e-5,
        ])
    }
});

lane!(f64, F64x4, F64x8, significand: 52, bias: 1023, low_half: 0x7ff_ffff, {
    const SHIFTER: f64 = 6_755_399_441_055_744.0;
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const EXP_MAX: f64 = 710.0;
    const EXP_MIN: f64 = -746.0;
    const ERF_MAX: f64 = 6.0;
    const ERF_SLOPE_MAX: f64 = 28.0;

    #[inline(always)]
    fn exp_tail<A: Arith>(r: f64) -> f64 {
        horner::<f64, A, 12>(r, &[
            0.5,
            1.0 / 6.0,
            1.0 / 24.0,
            1.0 / 120.0,
            1.0 / 720.0,
            1.0 / 5_040.0,
            1.0 / 40_320.0,
            1.0 / 362_880.0,
            1.0 / 3_628_800.0,
            1.0 / 39_916_800.0,
            1.0 / 479_001_600.0,
            1.0 / 6_227_020_800.0,
        ])
    }

    #[inline(always)]
    fn tanh_near<A: Arith>(s: f64) -> f64 {
        // Largest relative error of x + x³·P(x²) in exact arithmetic 1.5e-18.
        horner::<f64, A, 12>(s, &[
            -0.333_333_333_333_333_3,
             0.133_333_333_333_330_44,
             -0.053968253967900278,
             0.021_869_488_519_138_836,
             -0.008_863_235_105_902_928,
             0.003_592_121_782_845_995,
             -0.001_455_775_647_341_690_7,
             0.000_589_661_780_039_068_1,
             -0.000_237_594_089_011_279_7,
             0.000_092_577_707_859_909_03,
             -0.000_031_208_144_444_876_47,
             6.488_436_017_370_847e-6,
        ])
    }

    #[inline(always)]
    fn erf_near<A: Arith>(s: f64) -> f64 {
        // Largest relative error of x + x·P(x²) in exact arithmetic 2.5e-20.
        horner::<f64, A, 13>(s, &[
            0.128_379_167_095_512_6,
            -0.376_126_389_031_837_54,
            0.112_837_916_709_550_58,
            -0.026_866_170_645_114_48,
            0.005_223_977_625_225_745,
            -0.000_854_832_700_679_306_4,
            0.000_120_553_321_571_319_4,
            -0.000_014_925_622_935_740_4,
            1.646_148_827_057_894_3e-6,
            -1.635_598_615_828_297_8e-7,
            1.470_158_532_120_190_6e-8,
            -1.154_973_023_671_901_5e-9,
            6.284_406_193_293_793e-11,
        ])
    }

    #[inline(always)]
    fn erf_far<A: Arith>(t: f64) -> f64 {
        // Largest error of erf that this causes in exact arithmetic, relative: 2.9e-19.
        horner::<f64, A, 19>(t, &[
            1.128_379_203_322_184_4,
            0.636_619_343_214_865_5,
            0.102_774_995_636_198_44,
            -0.019_136_792_682_402_506,
            -0.000_188_759_383_316_537_68,
            0.001_658_875_364_849_592_8,
            -0.000_537_358_388_571_631_3,
            -0.000_033_149_420_996_881_756,
            0.000_117_431_068_840_931_35,
            -0.000_067_960_370_240_976_35,
            0.000_025_522_196_226_062_092,
            -7.171_408_581_742_859e-6,
            1.565_853_687_848_608_4e-6,
            -2.668_691_478_676_709e-7,
            3.499_240_561_614_772e-8,
            -3.417_170_263_635_013e-9,
            2.342_768_041_383_304_3e-10,
            -1.006_217_841_907_499_1e-11,
            2.036_499_691_141_090_2e-13,
        ])
    }
});

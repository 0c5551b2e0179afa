//! The error function.

use super::exp::Scaled;
use super::{Arith, exp, two_halves};
use crate::Float;

/// What erf needs to know of a type.
pub trait Erf: Sized {
    /// erf rounds to 1 from here on.
    const ERF_MAX: Self;
    /// e^(−x²) is 0 from here on.
    const ERF_SLOPE_MAX: Self;

    /// erf(x)/x − 1, given x², for |x| up to the joint.
    fn erf_near<A: Arith>(s: Self) -> Self;
    /// −ln(1 − erf t)/t, for t from the joint on.
    fn erf_far<A: Arith>(t: Self) -> Self;
}

/// |x| where the two texts of erf meet.
const JOINT: f64 = 0.9375;

/// erf x = x + x·P(x²) near 0, elsewhere 1 − e^(−|x|·Q(|x|)) with the sign of x.
#[inline(always)]
pub fn erf<T: Float, A: Arith>(x: T) -> T {
    let t = x.abs();
    let near = A::mul_add(x, T::erf_near::<A>(x * x), x);
    // Beyond, the result rounds to 1.
    let t = if t > T::ERF_MAX { T::ERF_MAX } else { t };
    let far = T::ONE - exp::<T, A>(-t * T::erf_far::<A>(t));
    (if t > T::of(JOINT) { far } else { near }).copysign(x)
}

/// 2/√π · e^(−x²). The rounding error of x² is put back, as e^(−x²) would magnify it.
#[inline(always)]
pub fn erf_slope<T: Float, A: Arith>(x: T) -> T {
    let t = x.abs();
    // Beyond, the result is 0.
    let t = if t > T::ERF_SLOPE_MAX { T::ERF_SLOPE_MAX } else { t };
    let s = t * t;
    Scaled::exp::<A>(-s, -A::square_error(t, s)).times::<A>(T::of(std::f64::consts::FRAC_2_SQRT_PI))
}

impl Erf for f32 {
    const ERF_MAX: f32 = 4.0;
    const ERF_SLOPE_MAX: f32 = 11.0;

    #[inline(always)]
    fn erf_near<A: Arith>(s: f32) -> f32 {
        // Relative error of erf: 5.1e-10.
        two_halves::<f32, A, 7>(
            s,
            &[0.128_379_17, -0.376_126_32, 0.112_836_79, -0.026_858_497, 0.005_198_83, -0.000_811_807_5, 8.267_459_6e-5],
        )
    }

    #[inline(always)]
    fn erf_far<A: Arith>(t: f32) -> f32 {
        // Relative error of erf: 6.4e-10.
        two_halves::<f32, A, 7>(
            t,
            &[1.128_658_5, 0.635_110_74, 0.106_303_67, -0.023_819_38, 0.003_669_464_3, -0.000_329_424_13, 1.189_076_3e-5],
        )
    }
}

impl Erf for f64 {
    const ERF_MAX: f64 = 6.0;
    const ERF_SLOPE_MAX: f64 = 28.0;

    #[inline(always)]
    fn erf_near<A: Arith>(s: f64) -> f64 {
        // Relative error of erf: 2.5e-20.
        two_halves::<f64, A, 13>(
            s,
            &[
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
            ],
        )
    }

    #[inline(always)]
    fn erf_far<A: Arith>(t: f64) -> f64 {
        // Relative error of erf: 2.9e-19.
        two_halves::<f64, A, 19>(
            t,
            &[
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
            ],
        )
    }
}

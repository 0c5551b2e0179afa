//! The hyperbolic tangent.

use super::{Arith, exp, two_halves};
use crate::Float;

/// What tanh needs to know of a type.
pub trait Tanh: Sized {
    /// (tanh(x)/x − 1)/x², given x², for |x| up to the joint.
    fn tanh_near<A: Arith>(s: Self) -> Self;
}

/// |x| where the two texts of tanh meet.
const JOINT: f64 = 0.625;

/// tanh x = x + x³·P(x²) near 0, elsewhere 1 − 2/(e^(2|x|) + 1) with the sign of x.
#[inline(always)]
pub fn tanh<T: Float, A: Arith>(x: T) -> T {
    let t = x.abs();
    let s = x * x;
    let near = A::mul_add(x * s, T::tanh_near::<A>(s), x);
    let two = T::of(2.0);
    let far = T::ONE - two / (exp::<T, A>(two * t) + T::ONE);
    // A zero loses its sign in the sum, and gets it back here.
    (if t > T::of(JOINT) { far } else { near }).copysign(x)
}

impl Tanh for f32 {
    #[inline(always)]
    fn tanh_near<A: Arith>(s: f32) -> f32 {
        // Relative error of tanh: 6.2e-10.
        two_halves::<f32, A, 6>(s, &[-0.333_333_34, 0.133_333_04, -0.053_959_314, 0.021_769_308, -0.008_345_079, 0.002_293_900_8])
    }
}

impl Tanh for f64 {
    #[inline(always)]
    fn tanh_near<A: Arith>(s: f64) -> f64 {
        // Relative error of tanh: 1.5e-18.
        two_halves::<f64, A, 12>(
            s,
            &[
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
            ],
        )
    }
}

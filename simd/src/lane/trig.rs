//! Sine and cosine, right for every finite number.

use super::{Arith, horner};
use crate::Float;

/// Quarter turns that make a sine the function wanted.
pub(crate) const SIN: u64 = 0;
/// cos x = sin(x + π/2).
pub(crate) const COS: u64 = 1;

/// What the sine needs to know of a type.
pub trait Trig: Sized {
    /// sin(x + TURN·π/2) for |x| up to [`TURN_MAX`]; some number for others.
    fn turn_near<A: Arith, const TURN: u64>(x: Self) -> Self;
    /// The same for any x, by a scalar function.
    fn turn_far<const TURN: u64>(x: Self) -> Self;
}

/// Up to this |x| the number of quarter turns times a part of π/2 is exact.
const TURN_MAX: f64 = 1e6;

/// sin x.
#[inline(always)]
pub fn sin<T: Float, A: Arith>(x: T) -> T {
    if x.abs() > T::of(TURN_MAX) { T::turn_far::<SIN>(x) } else { T::turn_near::<A, SIN>(x) }
}

/// cos x.
#[inline(always)]
pub fn cos<T: Float, A: Arith>(x: T) -> T {
    if x.abs() > T::of(TURN_MAX) { T::turn_far::<COS>(x) } else { T::turn_near::<A, COS>(x) }
}

/// y ← sin(x + TURN·π/2). Elements with a large |x| are done again, one by one, after the loop over all, which stays a loop
/// over lanes; which text an element gets depends on the element alone.
#[inline(always)]
pub(crate) fn turn<T: Float, A: Arith, const TURN: u64>(x: &[T], y: &mut [T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = T::turn_near::<A, TURN>(x);
    }
    let far = |x: T| x.abs() > T::of(TURN_MAX);
    if x.iter().fold(false, |any, &x| any | far(x)) {
        for (y, &x) in y.iter_mut().zip(x) {
            if far(x) {
                *y = T::turn_far::<TURN>(x);
            }
        }
    }
}

/// π/2 in parts of 33 bits, and the rest (fdlibm, `e_rem_pio2.c`).
const QUARTER: [f64; 4] = [1.570_796_326_734_125_6, 6.077_100_506_303_966e-11, 2.022_266_248_711_166_5e-21, 8.478_427_660_368_9e-32];

/// What the first part of π/2 leaves, in one number.
const QUARTER_REST: f64 = 6.077_100_506_506_192e-11;

/// a − b, and what rounding it left (Knuth's two-sum).
#[inline(always)]
fn difference(a: f64, b: f64) -> (f64, f64) {
    let d = a - b;
    let b_seen = d - a;
    (d, (a - (d - b_seen)) - (b + b_seen))
}

/// The sine where the number of quarter turns is even and the cosine where it is odd, negative in the second half of a turn.
#[inline(always)]
fn choose<const TURN: u64>(shifted: f64, sin: f64, cos: f64) -> f64 {
    let turns = shifted.to_bits().wrapping_add(TURN);
    let y = if turns & 1 == 0 { sin } else { cos };
    f64::from_bits(y.to_bits() ^ ((turns & 2) << 62))
}

/// 1.5·2⁵²: added, it rounds to an integer.
const SHIFTER: f64 = 6_755_399_441_055_744.0;

impl Trig for f64 {
    #[inline(always)]
    fn turn_near<A: Arith, const TURN: u64>(x: f64) -> f64 {
        let shifted = A::mul_add(x, std::f64::consts::FRAC_2_PI, SHIFTER);
        let k = shifted - SHIFTER;
        // x − k·π/2 = r + low, where a multiple of π/2 is near x to all its digits too. Products of k are exact but the last, and
        // so is the first difference.
        let r = A::mul_add(-k, QUARTER[0], x);
        let (r, low) = difference(r, k * QUARTER[1]);
        let (r, lower) = difference(r, k * QUARTER[2]);
        let low = A::mul_add(-k, QUARTER[3], low + lower);
        let sum = r + low;
        let (r, low) = (sum, low - (sum - r));
        let z = r * r;
        // Relative errors of sine and cosine: 3.8e-18 and 5.7e-20.
        let s = horner::<f64, A, 6>(
            z,
            &[
                -0.1666666666666663,
                0.00833333333332184,
                -0.00019841269829358528,
                2.7557313538517033e-06,
                -2.5050734390722605e-08,
                1.5895433434912017e-10,
            ],
        );
        let c = horner::<f64, A, 6>(
            z,
            &[
                0.041666666666666595,
                -0.0013888888888873344,
                2.4801587289003966e-05,
                -2.7557314217605854e-07,
                2.087570546632208e-09,
                -1.1358752254528504e-11,
            ],
        );
        // sin(r + low) = sin r + low·cos r, and cos(r + low) = cos r − low·sin r, where 1 − z/2 leaves a rounding error of its own.
        let half = 0.5 * z;
        let w = 1.0 - half;
        let sin = r + A::mul_add(r * z, s, low * w);
        let cos = w + (((1.0 - w) - half) + A::mul_add(z * z, c, -(r * low)));
        let y = choose::<TURN>(shifted, sin, cos);
        // The sine of a zero keeps its sign, which the sums above lose.
        if TURN == SIN && x == 0.0 { x } else { y }
    }

    #[inline(never)]
    fn turn_far<const TURN: u64>(x: f64) -> f64 {
        if TURN == SIN { libm::sin(x) } else { libm::cos(x) }
    }
}

/// In `f64` throughout: its digits make short work of the reduction, and the result is rounded once.
impl Trig for f32 {
    #[inline(always)]
    fn turn_near<A: Arith, const TURN: u64>(x: f32) -> f32 {
        let x = f64::from(x);
        let shifted = A::mul_add(x, std::f64::consts::FRAC_2_PI, SHIFTER);
        let k = shifted - SHIFTER;
        let r = A::mul_add(-k, QUARTER_REST, A::mul_add(-k, QUARTER[0], x));
        let z = r * r;
        // Relative errors of sine and cosine: 3.8e-9 and 1.2e-10.
        let s = horner::<f64, A, 3>(z, &[-0.166666546099938, 0.008332160784192306, -0.00019515285789963797]);
        let c = horner::<f64, A, 4>(z, &[-0.5, 0.041666645681617674, -0.0013887316182266455, 2.4433148301746102e-05]);
        let y = choose::<TURN>(shifted, A::mul_add(r * z, s, r), A::mul_add(z, c, 1.0)) as f32;
        if TURN == SIN && x == 0.0 { x as f32 } else { y }
    }

    #[inline(never)]
    fn turn_far<const TURN: u64>(x: f32) -> f32 {
        if TURN == SIN { libm::sinf(x) } else { libm::cosf(x) }
    }
}

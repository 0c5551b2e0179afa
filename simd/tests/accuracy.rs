//! The stated errors of the maps at every level: of `f64` in samples against numbers of two `f64`, of `f32` in a sweep over its
//! whole range against the maps of `f64`, whose errors are nothing to it.
//!
//! The sweep takes every 211th number; `SWEEP_STRIDE=1 cargo test -p tangents-simd --test accuracy` takes them all, and with
//! `SWEEP_MAPS=sin,acos` of these maps only.

mod double_double;

use double_double::{D, Exact, acos_sin, reference};
use rayon::prelude::*;
use simd::{Accumulate, Bound, Float, Level, Phi, acos_sin_at, map_at, slope_at};

/// The format of a type: bits of precision and the exponent of the smallest normal number.
fn format<T: Float>() -> (i32, i32) {
    if T::NAME == "f32" { (24, -126) } else { (53, -1022) }
}

/// |y − r| in units in the last place of r, and in units of ε.
fn errors<T: Float>(y: T, r: Exact) -> (f64, f64) {
    let (digits, least) = format::<T>();
    // Beyond the largest number the right answer is infinite.
    let rounded = T::of(libm::ldexp(r.d.0, r.exponent)).to_f64();
    let y = y.to_f64();
    if y.is_nan() && rounded.is_nan() {
        return (0.0, 0.0);
    }
    if y.is_nan() || y.is_infinite() || rounded.is_nan() || rounded.is_infinite() {
        return if y == rounded { (0.0, 0.0) } else { (f64::INFINITY, f64::INFINITY) };
    }
    // Both without the power of two: a difference of numbers of two f64, exact enough where it is small.
    let difference = ((libm::ldexp(y, -r.exponent) - r.d.0) - r.d.1).abs();
    let exponent = if r.d.0 == 0.0 { least } else { (libm::ilogb(r.d.0) + r.exponent).max(least) };
    (libm::ldexp(difference, r.exponent - (exponent - digits + 1)), libm::ldexp(difference, r.exponent + digits - 1))
}

/// [`errors`] of `f32`, whose reference is one `f64`, by arithmetic that a sweep over all can afford.
fn errors_f32(y: f32, r: f64) -> (f64, f64) {
    let rounded = r as f32;
    if y.to_bits() == rounded.to_bits() && !rounded.is_normal() {
        return (0.0, 0.0);
    }
    if !(y.is_finite() && rounded.is_finite()) {
        let same = y == rounded || (y.is_nan() && rounded.is_nan());
        return if same { (0.0, 0.0) } else { (f64::INFINITY, f64::INFINITY) };
    }
    let difference = (f64::from(y) - r).abs();
    let exponent = ((r.to_bits() >> 52) & 0x7ff).max(1023 - 126);
    let ulp = f64::from_bits((exponent - 23) << 52);
    (difference / ulp, difference / f64::from(f32::EPSILON))
}

/// The largest error seen, and where.
#[derive(Clone, Copy, Debug)]
struct Worst {
    error: f64,
    at: f64,
}

impl Worst {
    const NONE: Worst = Worst { error: 0.0, at: f64::NAN };

    fn see(&mut self, error: f64, at: f64) {
        if error > self.error {
            *self = Worst { error, at };
        }
    }

    fn or(self, other: Worst) -> Worst {
        if other.error > self.error { other } else { self }
    }
}

/// Says what was seen, and holds it against what is stated, in the unit that is stated.
fn check<T: Float>(what: &str, level: Level, worst: Worst, bound: Bound) {
    let (most, unit) = match bound {
        Bound::Ulp(most) => (most, "ulp"),
        Bound::Epsilon(most) => (most, "ε"),
    };
    println!("{} {what}, {level}: {:.4} {unit} at {:e}; stated {most}", T::NAME, worst.error, worst.at);
    assert!(worst.error <= most, "{} {what}, {level}: {:.4} {unit} at {:e}, and stated are {most}", T::NAME, worst.error, worst.at);
}

fn pick(bound: Bound, (ulp, epsilon): (f64, f64)) -> f64 {
    match bound {
        Bound::Ulp(_) => ulp,
        Bound::Epsilon(_) => epsilon,
    }
}

/// φ with its parameter rounded to `f32`, as the maps of `f32` take it.
fn rounded(phi: Phi) -> Phi {
    if let Phi::LeakyRelu(alpha) = phi { Phi::LeakyRelu(f64::from(alpha as f32)) } else { phi }
}

/// The largest errors of φ and φ' for these `f32`.
fn measure_f32(phi: Phi, x: &[f32]) -> Vec<[Worst; 2]> {
    let n = x.len();
    let bounds = phi.stated_errors();
    let precise = rounded(phi);
    let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    let (mut r, mut dr) = (vec![f64::NAN; n], vec![f64::NAN; n]);
    map_at(Level::best(), precise, &wide, &mut r);
    slope_at(Level::best(), precise, &wide, &r, &vec![1.0; n], Accumulate::Set, &mut dr);
    let (mut y, mut dy, one) = (vec![f32::NAN; n], vec![f32::NAN; n], vec![1.0; n]);
    let of_level = |level| {
        map_at(level, phi, x, &mut y);
        slope_at(level, phi, x, &y, &one, Accumulate::Set, &mut dy);
        let mut worst = [Worst::NONE; 2];
        for i in 0..n {
            worst[0].see(pick(bounds.0, errors_f32(y[i], r[i])), wide[i]);
            worst[1].see(pick(bounds.1, errors_f32(dy[i], dr[i])), wide[i]);
        }
        worst
    };
    Level::available().into_iter().map(of_level).collect()
}

/// Every how many-th number a sweep takes.
fn stride() -> usize {
    std::env::var("SWEEP_STRIDE").map_or(211, |s| s.parse().expect("a number"))
}

fn is_swept(name: &str) -> bool {
    std::env::var("SWEEP_MAPS").map_or(true, |names| names.split(',').any(|n| n == name))
}

#[test]
fn f32_sweep_of_acos_and_its_sine() {
    let (stride, block) = (stride(), 1usize << 13);
    if !is_swept("acos") {
        return;
    }
    // The numbers from 0 to 1, and their opposites.
    let numbers = (0x3f80_0000usize + 1).div_ceil(stride);
    let levels = Level::available();
    let of_block = |b: usize| {
        let some = (b * block..numbers.min((b + 1) * block)).map(|i| f32::from_bits((i * stride) as u32));
        let c: Vec<f32> = some.flat_map(|c| [c, -c]).collect();
        let wide: Vec<f64> = c.iter().map(|&c| f64::from(c)).collect();
        let (mut r, mut dr) = (vec![f64::NAN; c.len()], vec![f64::NAN; c.len()]);
        acos_sin_at(Level::best(), &wide, &mut r, &mut dr);
        let of_level = |&level: &Level| {
            let (mut t, mut s) = (vec![f32::NAN; c.len()], vec![f32::NAN; c.len()]);
            acos_sin_at(level, &c, &mut t, &mut s);
            let mut worst = [Worst::NONE; 2];
            for i in 0..c.len() {
                worst[0].see(pick(ANGLE.0, errors_f32(t[i], r[i])), wide[i]);
                worst[1].see(pick(ANGLE.1, errors_f32(s[i], dr[i])), wide[i]);
            }
            worst
        };
        levels.iter().map(of_level).collect::<Vec<_>>()
    };
    let both = |a: Vec<[Worst; 2]>, b: Vec<[Worst; 2]>| a.iter().zip(b).map(|(a, b)| [a[0].or(b[0]), a[1].or(b[1])]).collect();
    let none = || vec![[Worst::NONE; 2]; levels.len()];
    let worst = (0..numbers.div_ceil(block)).into_par_iter().map(of_block).reduce(none, both);
    for (&level, worst) in levels.iter().zip(worst) {
        check::<f32>("acos", level, worst[0], ANGLE.0);
        check::<f32>("sine of acos", level, worst[1], ANGLE.1);
    }
}

#[test]
fn f32_sweep() {
    let stride = stride();
    let block = 1usize << 13;
    let blocks = (1usize << 32).div_ceil(stride).div_ceil(block);
    let levels = Level::available();
    for phi in Phi::ALL.into_iter().filter(|phi| is_swept(phi.name())) {
        let of_block = |b: usize| {
            let bits = (b * block..(b + 1) * block).map(|i| i * stride).filter(|&i| i < 1 << 32);
            let x: Vec<f32> = bits.map(|i| f32::from_bits(i as u32)).collect();
            measure_f32(phi, &x)
        };
        let both = |a: Vec<[Worst; 2]>, b: Vec<[Worst; 2]>| a.iter().zip(b).map(|(a, b)| [a[0].or(b[0]), a[1].or(b[1])]).collect();
        let none = || vec![[Worst::NONE; 2]; levels.len()];
        let worst = (0..blocks).into_par_iter().map(of_block).reduce(none, both);
        let (value, slope) = phi.stated_errors();
        for (&level, worst) in levels.iter().zip(worst) {
            check::<f32>(phi.name(), level, worst[0], value);
            check::<f32>(&format!("slope of {}", phi.name()), level, worst[1], slope);
        }
    }
}

/// A sequence that fills the unit interval evenly (Weyl 1916).
fn unit(i: u32) -> f64 {
    (f64::from(i) * 0.618_033_988_749_894_9 + 0.37).fract()
}

/// Where an `f64` is hard to map: all over the range, of every size, and about the joints of the texts and the zeros of φ and φ'.
fn samples(phi: Phi, n: u32) -> Vec<f64> {
    // Beyond the end the function is a limit, the identity or, for the sine, a function of another crate.
    let (end, hard): (f64, &[f64]) = match phi {
        Phi::Relu => (10.0, &[0.0]),
        Phi::Erf => (6.5, &[0.9375, 6.0]),
        Phi::Tanh => (21.0, &[0.625]),
        Phi::Exp => (750.0, &[0.0, 709.782_712_893_384, -708.396_418_532_264_1, -745.133_219_101_941_1]),
        Phi::Ln => (10.0, &[1.0, std::f64::consts::SQRT_2, std::f64::consts::FRAC_1_SQRT_2, f64::MIN_POSITIVE]),
        Phi::Sigmoid => (750.0, &[0.0, 36.7, -708.396_418_532_264_1, -745.133_219_101_941_1]),
        // e^(−0.881…) = √2 − 1.
        Phi::Softplus => (750.0, &[0.0, -0.881_373_587_019_543, 0.881_373_587_019_543, -745.133_219_101_941_1]),
        Phi::Gelu => (39.5, &[0.0, -0.751_791_524_693_564_5, -37.519_379_347_204_25, -38.5]),
        Phi::Silu => (760.0, &[0.0, -1.278_464_542_761_074, -714.95, -751.7]),
        Phi::Sin | Phi::Cos => (1e6, &[0.0]),
        Phi::Abs | Phi::LeakyRelu(_) => (10.0, &[0.0]),
        // Slightly above a power of 4 the slope feels an error of the root most.
        Phi::Sqrt => (10.0, &[1.0, 0.25, f64::MIN_POSITIVE]),
    };
    let mut x: Vec<f64> = (0..n).map(|i| (2.0 * unit(i) - 1.0) * end).collect();
    x.extend((0..n).map(|i| (2.0 * unit(i) - 1.0) * end.min(2.5)));
    // Every size from the smallest number to the largest, of both signs.
    let sizes = if matches!(phi, Phi::Sin | Phi::Cos) { 1074.0 + 19.9 } else { 1074.0 + 1024.0 };
    for i in 0..n / 2 {
        let size = libm::exp2(sizes * unit(i) - 1074.0);
        x.extend([size, -size]);
    }
    for &centre in hard {
        // At distances from an ulp to 1.
        x.extend((0..n / 8).map(|i| centre + (f64::from(i % 2) - 0.5) * libm::exp2(-53.0 * unit(i))));
    }
    if matches!(phi, Phi::Sin | Phi::Cos) {
        // The numbers nearest to multiples of π/2, of which little is left after the reduction, and of π/4, where texts meet.
        for k in 1..n {
            let quarter = f64::from(k % 1_200_000) * std::f64::consts::FRAC_PI_4;
            x.extend([quarter, quarter * (1.0 + f64::EPSILON), -quarter]);
        }
    }
    x
}

#[test]
fn f64_samples() {
    let n = 1 << 16;
    for phi in Phi::ALL {
        let mut x = samples(phi, n);
        if matches!(phi, Phi::Ln | Phi::Sqrt) {
            x.iter_mut().for_each(|x| *x = x.abs());
            x.retain(|&x| x > 0.0);
        }
        let r: Vec<_> = x.par_iter().map(|&x| reference(phi, x)).collect();
        let (mut y, mut dy, one) = (vec![f64::NAN; x.len()], vec![f64::NAN; x.len()], vec![1.0; x.len()]);
        let (value, slope) = phi.stated_errors();
        for level in Level::available() {
            map_at(level, phi, &x, &mut y);
            slope_at(level, phi, &x, &y, &one, Accumulate::Set, &mut dy);
            let of_one = |i: usize| {
                let (e, de) = (pick(value, errors(y[i], r[i].0)), pick(slope, errors(dy[i], r[i].1)));
                let worst = |error: f64| Worst { error: if error.is_nan() { f64::INFINITY } else { error }, at: x[i] };
                [worst(e), worst(de)]
            };
            let both = |a: [Worst; 2], b: [Worst; 2]| [a[0].or(b[0]), a[1].or(b[1])];
            let worst = (0..x.len()).into_par_iter().map(of_one).reduce(|| [Worst::NONE; 2], both);
            check::<f64>(phi.name(), level, worst[0], value);
            check::<f64>(&format!("slope of {}", phi.name()), level, worst[1], slope);
        }
    }
}

/// What the documentation of `acos_sin` states.
const ANGLE: (Bound, Bound) = (Bound::Ulp(1.3), Bound::Ulp(1.3));

fn angles<T: Float>(c: &[T]) {
    let (mut t, mut s) = (vec![T::of(f64::NAN); c.len()], vec![T::of(f64::NAN); c.len()]);
    let r: Vec<_> = c.par_iter().map(|c| acos_sin(c.to_f64())).collect();
    for level in Level::available() {
        acos_sin_at(level, c, &mut t, &mut s);
        let mut worst = [Worst::NONE; 2];
        for i in 0..c.len() {
            worst[0].see(errors(t[i], r[i].0).0, c[i].to_f64());
            worst[1].see(errors(s[i], r[i].1).0, c[i].to_f64());
        }
        check::<T>("acos", level, worst[0], ANGLE.0);
        check::<T>("sine of acos", level, worst[1], ANGLE.1);
    }
}

#[test]
fn acos_and_its_sine() {
    let n = 1 << 17;
    let mut c: Vec<f64> = (0..n).map(|i| 2.0 * unit(i) - 1.0).collect();
    c.extend([0.0, -0.0, 1.0, -1.0, 0.5, -0.5]);
    for i in 0..n / 2 {
        let small = libm::exp2(-60.0 * unit(i));
        c.extend([1.0 - small, small - 1.0, small, -small, 0.5 + 0.5 * small, -0.5 - 0.5 * small, 0.5 - 0.5 * small]);
    }
    angles(&c);
    let c: Vec<f32> = c.iter().map(|&c| c as f32).collect();
    angles(&c);
}

/// sin x and cos x of numbers of which nothing but the remainder counts, computed with mpmath 1.4 to 1000 digits.
#[test]
fn sines_of_large_numbers() {
    let known = [
        (1e22, -0.852_200_849_767_188_8, 0.523_214_785_395_138_9),
        (libm::exp2(1000.0), -0.15920170308624243, 0.9872460775989135),
        (f64::MAX, 0.004961954789184062, -0.9999876894265599),
        // The f64 that is nearest to a multiple of π/2 in proportion to it (Muller 2016, Elementary Functions, table 11.1).
        (6_381_956_970_095_103.0 * libm::exp2(797.0), 1.0, -4.687_165_924_254_628e-19),
    ];
    for level in Level::available() {
        for (x, sin, cos) in known {
            for (phi, known) in [(Phi::Sin, sin), (Phi::Cos, cos)] {
                let mut y = [f64::NAN; 3];
                map_at(level, phi, &[1.0, x, -x], &mut y);
                let odd = if phi == Phi::Sin { -y[2] } else { y[2] };
                assert!(y[1] == odd && (y[1] - known).abs() <= 2.3e-16 * known.abs(), "{} {x:e}, {level}: {y:?}", phi.name());
            }
        }
    }
}

/// The reference is held against numbers of mpmath 1.4, both parts of it.
#[test]
fn the_reference_itself() {
    let difference = |d: D, known: D| ((d.0 - known.0) + (d.1 - known.1)).abs() / known.0.abs();
    for (phi, x, value, slope) in [
        (Phi::Erf, 0.3, D(0.3286267594591274, 2.2908254446982777e-17), D(1.031260909618963, -4.921453980055424e-17)),
        (Phi::Erf, -2.7, D(-0.9998656672600594, -4.385430306441303e-17), D(0.0007699247598551425, -5.098659108773151e-20)),
        (Phi::Tanh, 0.01, D(0.00999966667999946, 2.249494707259477e-19), D(0.9999000066662889, 4.329053073606935e-17)),
        (Phi::Tanh, -1.7, D(-0.935409070603099, -6.160665782786146e-18), D(0.1250098706334466, 1.1563879227679223e-18)),
        (Phi::Exp, 0.7, D(2.0137527074704766, -2.0058243549764793e-16), D(2.0137527074704766, -2.0058243549764793e-16)),
        (Phi::Exp, -30.3, D(6.932297597586547e-14, 2.8428283439866896e-30), D(6.932297597586547e-14, 2.8428283439866896e-30)),
        (Phi::Ln, 1.000001, D(9.999994999180668e-07, 1.5807876089699732e-23), D(0.9999990000010001, 2.1121556588473953e-17)),
        (Phi::Ln, 7.7, D(2.0412203288596382, -3.402197230721298e-17), D(0.12987012987012986, 9.25966074678934e-18)),
        (Phi::Sigmoid, -2.3, D(0.09112296101485615, 3.6398813092994605e-18), D(0.08281956699074115, 3.2643178758885316e-18)),
        (Phi::Sigmoid, 11.0, D(0.9999832985781519, -3.0845703504113845e-17), D(1.6701142910603434e-05, -1.252269007262724e-21)),
        (Phi::Softplus, -3.3, D(0.036219258870659285, -2.9646235854173335e-18), D(0.03557118927263618, -1.7070192825712422e-18)),
        (Phi::Softplus, 2.1, D(2.215519523179755, -4.555284418738449e-17), D(0.8909031788043871, -4.429353775552454e-18)),
        (Phi::Gelu, -8.3, D(-4.3206228882589113e-16, 5.7640030869805516e-33), D(-3.584705034023844e-15, -2.026760576677647e-31)),
        (Phi::Gelu, -0.4, D(-0.13783130335587035, 1.1628689985616065e-17), D(0.1972702022683465, 5.592384004913962e-18)),
        (Phi::Gelu, 1.9, D(1.8454385363495964, 5.817415968497775e-17), D(1.0959534882558837, 5.458207827050379e-17)),
        (Phi::Silu, -20.1, D(-3.748667926033263e-08, -1.1252096675390246e-24), D(-3.562167027199513e-08, 9.548668569720906e-25)),
        (Phi::Silu, 3.3, D(3.1826150754003004, 1.889077007139714e-17), D(1.0776382139563732, 1.2847094027257435e-17)),
        (Phi::Sin, 355.0, D(-3.014435335948845e-05, 1.3012643991046347e-21), D(-0.999999999545659, 1.0574612846643521e-17)),
        (Phi::Sin, 1.1, D(0.8912073600614354, -3.605930522940284e-17), D(0.4535961214255773, -5.78481191353792e-18)),
        (Phi::Cos, 11.0, D(0.004425697988050785, 3.2449142686784373e-19), D(0.9999902065507035, -1.8356150460298835e-17)),
        (Phi::Cos, 99999.9, D(-0.990799241373281, -1.863842052255827e-17), D(-0.13533980676109594, 2.852081469364489e-18)),
        (Phi::LeakyRelu(0.01), -3.3, D(-0.033, 2.643718577388654e-18), D(0.01, 0.0)),
        (Phi::Sqrt, 0.3, D(0.5477225575051661, 2.890126723719787e-17), D(0.9128709291752769, -2.9070512931140764e-17)),
        (Phi::Sqrt, 7.7e-200, D(2.7748873851023214e-100, 1.2398957671780444e-116), D(1.801874925391118e99, 4.2145348411662725e82)),
    ] {
        let (y, dy) = reference(phi, x);
        let scaled = |e: Exact| D(libm::ldexp(e.d.0, e.exponent), libm::ldexp(e.d.1, e.exponent));
        let (e, de) = (difference(scaled(y), value), difference(scaled(dy), slope));
        assert!(e < 1e-28 && de < 1e-28, "{} {x}: {e:e} and {de:e}", phi.name());
    }
}

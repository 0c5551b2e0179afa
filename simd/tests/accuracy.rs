//! The stated errors of the maps, held against `libm` in `f64` at every level.
//!
//! The `f32` sweep takes every 211th number; `SWEEP_STRIDE=1 cargo test -p tangents-simd --test accuracy` takes them all.

use rayon::prelude::*;
use simd::{Accumulate, Float, Level, Phi, map_at, slope_at};

/// φ and φ' by libm, each correct to about 1 ulp of `f64`.
fn reference(phi: Phi, x: f64) -> (f64, f64) {
    match phi {
        Phi::Relu => (if x <= 0.0 { 0.0 } else { x }, if x.is_nan() { x } else { f64::from(u8::from(x > 0.0)) }),
        Phi::Erf => (libm::erf(x), std::f64::consts::FRAC_2_SQRT_PI * exp_of_minus_square(x)),
        Phi::Tanh => {
            let c = 1.0 / libm::cosh(x);
            (libm::tanh(x), c * c)
        }
        Phi::Exp => (libm::exp(x), libm::exp(x)),
    }
}

/// e^(−x²) with the rounding error of x² put back.
fn exp_of_minus_square(x: f64) -> f64 {
    let s = x * x;
    if s == f64::INFINITY {
        return 0.0;
    }
    libm::exp(-s) * (1.0 - libm::fma(x, x, -s))
}

/// |y − r| in units of the last place that a number as large as r has with `digits` bits and this smallest exponent.
fn ulps(y: f64, r: f64, digits: i32, least: i32) -> f64 {
    if y == r || (y.is_nan() && r.is_nan()) {
        return 0.0;
    }
    let exponent = if r == 0.0 { least } else { libm::ilogb(r).max(least) };
    (y - r).abs() / libm::ldexp(1.0, exponent - digits + 1).max(f64::from_bits(1))
}

/// The largest error of φ in ulp, and of φ' in ulp and in units of ε·max|φ'|.
#[derive(Clone, Copy, Default, Debug)]
struct Worst {
    value: (f64, f64),
    slope: (f64, f64),
    slope_absolute: (f64, f64),
}

impl Worst {
    fn see(&mut self, x: f64, value: f64, slope: f64, slope_absolute: f64) {
        let worse = |w: &mut (f64, f64), e: f64| {
            if e.is_nan() || e > w.0 {
                *w = (if e.is_nan() { f64::INFINITY } else { e }, x);
            }
        };
        worse(&mut self.value, value);
        worse(&mut self.slope, slope);
        worse(&mut self.slope_absolute, slope_absolute);
    }

    fn and(mut self, other: Worst) -> Worst {
        for (a, b) in [(&mut self.value, other.value), (&mut self.slope, other.slope), (&mut self.slope_absolute, other.slope_absolute)] {
            if b.0 > a.0 {
                *a = b;
            }
        }
        self
    }
}

/// The format of a type: bits of precision and the exponent of the smallest normal number.
fn format<T: Float>() -> (i32, i32) {
    if T::NAME == "f32" { (24, -126) } else { (53, -1022) }
}

fn measure<T: Float>(level: Level, phi: Phi, x: &[T], reference: &[(f64, f64)]) -> Worst {
    let n = x.len();
    let (digits, least) = format::<T>();
    let (mut y, mut dy, one) = (vec![T::of(f64::NAN); n], vec![T::of(f64::NAN); n], vec![T::ONE; n]);
    map_at(level, phi, x, &mut y);
    slope_at(level, phi, x, &y, &one, Accumulate::Set, &mut dy);
    let mut worst = Worst::default();
    // Beyond the largest number the right answer is infinite.
    let in_range = |r: f64| if T::of(r).is_finite() { r } else { T::of(r).to_f64() };
    for i in 0..n {
        let (r, dr) = (in_range(reference[i].0), in_range(reference[i].1));
        let (v, dv) = (y[i].to_f64(), dy[i].to_f64());
        let same = dv == dr || (dv.is_nan() && dr.is_nan());
        let absolute = if same { 0.0 } else { (dv - dr).abs() / T::EPSILON.to_f64() };
        worst.see(x[i].to_f64(), ulps(v, r, digits, least), ulps(dv, dr, digits, least), absolute);
    }
    worst
}

/// The bounds that the documentation of `Phi` states: φ in ulp; φ' in ulp, or for tanh in units of ε.
fn check<T: Float>(level: Level, phi: Phi, worst: Worst, slack: f64) {
    println!("{} {} {level}: {worst:?}", T::NAME, phi.name());
    let (value, slope) = phi.stated_error();
    assert!(worst.value.0 <= value + slack, "{} {} at level {level}: {worst:?}", T::NAME, phi.name());
    let seen = if phi == Phi::Tanh { worst.slope_absolute } else { worst.slope };
    assert!(seen.0 <= slope + slack, "slope of {} {} at level {level}: {worst:?}", T::NAME, phi.name());
}

#[test]
fn f32_sweep() {
    let stride: usize = std::env::var("SWEEP_STRIDE").map_or(211, |s| s.parse().expect("a number"));
    let block = 1usize << 14;
    let blocks = (1usize << 32).div_ceil(stride).div_ceil(block);
    let levels = Level::available();
    for phi in Phi::ALL {
        let of_block = |b: usize| {
            let bits = (b * block..(b + 1) * block).map(|i| i * stride).filter(|&i| i < 1 << 32);
            let x: Vec<f32> = bits.map(|i| f32::from_bits(i as u32)).collect();
            let r: Vec<_> = x.iter().map(|&x| reference(phi, f64::from(x))).collect();
            levels.iter().map(|&l| measure(l, phi, &x, &r)).collect::<Vec<_>>()
        };
        let both = |a: Vec<Worst>, b: Vec<Worst>| a.into_iter().zip(b).map(|(a, b)| a.and(b)).collect();
        let worst = (0..blocks).into_par_iter().map(of_block).reduce(|| vec![Worst::default(); levels.len()], both);
        for (&level, worst) in levels.iter().zip(worst) {
            check::<f32>(level, phi, worst, 0.0);
        }
    }
}

#[test]
fn f64_samples() {
    let n = 1 << 18;
    for phi in Phi::ALL {
        let end = match phi {
            Phi::Relu => 10.0,
            Phi::Erf => 6.5,
            Phi::Tanh => 21.0,
            Phi::Exp => 750.0,
        };
        let unit = |i: i32| (f64::from(i) + 0.37) / f64::from(n);
        let mut x: Vec<f64> = (0..n).map(|i| (2.0 * unit(i) - 1.0) * end).collect();
        x.extend((0..n).map(|i| (2.0 * unit(i) - 1.0) * 1.25));
        // Every size from the smallest number to 2¹², of both signs.
        x.extend((0..n).map(|i| libm::exp2(1086.0 * unit(i) - 1074.0)));
        x.extend((0..n).map(|i| -libm::exp2(1086.0 * unit(i) - 1074.0)));
        let r: Vec<_> = x.par_iter().map(|&x| reference(phi, x)).collect();
        for level in Level::available() {
            // The reference is itself rounded to f64, and up to an ulp off before that.
            check::<f64>(level, phi, measure(level, phi, &x, &r), if phi == Phi::Relu { 0.0 } else { 1.0 });
        }
    }
}

//! Maps at every level: special values, positions, threads, and the softmax.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use simd::{
    Accumulate, Float, Level, Mat, Phi, acos_sin, acos_sin_at, map, map_affine, map_affine_at, map_at, slope, slope_at, softmax, softmax_at,
};

fn of<T: Float>(x: &[f64]) -> Vec<T> {
    x.iter().map(|&x| T::of(x)).collect()
}

fn bits<T: Float>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.to_f64().to_bits()).collect()
}

fn special_values<T: Float>(level: Level) {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let tiny = if T::NAME == "f32" { f64::from(f32::from_bits(1)) } else { f64::from_bits(1) };
    let (top, bottom) = if T::NAME == "f32" { (88.722_835, -87.336_54) } else { (709.782_712_893_384, -708.396_418_532_264) };
    let x = of::<T>(&[0.0, -0.0, inf, -inf, nan, tiny, -tiny, 1000.0, -1000.0, top, top * 1.0001, bottom, 1e30, -1e30]);
    for phi in Phi::ALL {
        let (mut y, mut d, one) = (of::<T>(&[nan; 14]), of::<T>(&[nan; 14]), of::<T>(&[1.0; 14]));
        map_at(level, phi, &x, &mut y);
        slope_at(level, phi, &x, &y, &one, Accumulate::Set, &mut d);
        let y: Vec<f64> = y.iter().map(|y| y.to_f64()).collect();
        let d: Vec<f64> = d.iter().map(|d| d.to_f64()).collect();
        let name = format!("{} {} {level}", phi.name(), T::NAME);
        assert!(y[4].is_nan() && d[4].is_nan(), "{name} of NaN");
        match phi {
            Phi::Relu => {
                assert_eq!((y[0], y[1], y[2], y[3], y[5], y[6]), (0.0, 0.0, inf, 0.0, tiny, 0.0), "{name}");
                assert_eq!((d[0], d[1], d[2], d[3], d[5], d[6]), (0.0, 0.0, 1.0, 0.0, 1.0, 0.0), "{name}");
            }
            Phi::Erf | Phi::Tanh => {
                assert_eq!((y[0].to_bits(), y[1].to_bits()), (0.0f64.to_bits(), (-0.0f64).to_bits()), "{name}");
                assert_eq!((y[2], y[3], y[7], y[8], y[12], y[13]), (1.0, -1.0, 1.0, -1.0, 1.0, -1.0), "{name}");
                // The slope at 0 of erf is 1.13, which rounds to one unit of the smallest number, as does tanh's 1.
                assert_eq!((y[5], y[6]), (tiny, -tiny), "{name}");
                assert_eq!((d[2], d[3], d[7], d[8]), (0.0, 0.0, 0.0, 0.0), "{name}");
            }
            Phi::Exp => {
                assert_eq!((y[0], y[1], y[2], y[3]), (1.0, 1.0, inf, 0.0), "{name}");
                assert_eq!((y[5], y[6], y[7], y[8]), (1.0, 1.0, inf, 0.0), "{name}");
                assert!(y[9].is_finite() && y[10] == inf && y[11] > 0.0, "{name}: {y:?}");
            }
            Phi::Ln => {
                assert_eq!((y[0], y[1], y[2]), (-inf, -inf, inf), "{name}");
                assert!(y[3].is_nan() && y[6].is_nan() && y[8].is_nan() && y[13].is_nan(), "{name}: {y:?}");
                // ln of the smallest number, 2⁻¹⁴⁹ or 2⁻¹⁰⁷⁴.
                let exponent = if T::NAME == "f32" { -149.0 } else { -1074.0 };
                assert!((y[5] / (exponent * f64::ln(2.0)) - 1.0).abs() < T::EPSILON.to_f64(), "{name}: {y:?}");
                assert_eq!((d[0], d[1], d[2], d[3]), (inf, -inf, 0.0, 0.0), "{name}");
            }
            Phi::Sigmoid => {
                assert_eq!((y[0], y[1], y[2], y[3], y[5], y[6]), (0.5, 0.5, 1.0, 0.0, 0.5, 0.5), "{name}");
                assert_eq!((y[7], y[8], y[12], y[13]), (1.0, 0.0, 1.0, 0.0), "{name}");
                assert_eq!((d[0], d[2], d[3], d[7], d[8], d[12], d[13]), (0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), "{name}");
            }
            Phi::Softplus => {
                assert_eq!((y[2], y[3], y[7], y[8], y[12], y[13]), (inf, 0.0, 1000.0, 0.0, x[12].to_f64(), 0.0), "{name}");
                assert_eq!((d[0], d[2], d[3], d[7], d[8]), (0.5, 1.0, 0.0, 1.0, 0.0), "{name}");
                assert!(y[9] == x[9].to_f64() && y[11] > 0.0, "{name}: {y:?}");
            }
            Phi::Gelu | Phi::Silu => {
                assert_eq!((y[0].to_bits(), y[1].to_bits()), (0.0f64.to_bits(), (-0.0f64).to_bits()), "{name}");
                assert_eq!((y[2], y[3], y[7], y[8], y[12], y[13]), (inf, 0.0, 1000.0, 0.0, x[12].to_f64(), 0.0), "{name}");
                assert_eq!((d[0], d[2], d[3], d[7], d[8], d[12], d[13]), (0.5, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0), "{name}");
                // x·e^(−|x|) and x·e^(−x²/2)/|x| underflow where these are above the smallest number.
                let edge = match (phi, T::NAME) {
                    (Phi::Silu, "f32") => -107.0,
                    (Phi::Silu, _) => -751.0,
                    (_, "f32") => -14.1,
                    _ => -38.4,
                };
                let mut y = [T::of(nan)];
                map_at(level, phi, &[T::of(edge)], &mut y);
                assert!(y[0] < T::ZERO && y[0] > T::of(-1000.0 * tiny), "{name}: {y:?}");
            }
            Phi::Sin => {
                assert_eq!((y[0].to_bits(), y[1].to_bits()), (0.0f64.to_bits(), (-0.0f64).to_bits()), "{name}");
                assert_eq!((y[5], y[6], d[5], d[6]), (tiny, -tiny, 1.0, 1.0), "{name}");
                assert!([y[2], y[3], d[2], d[3]].iter().all(|y| y.is_nan()), "{name}: {y:?}");
                assert_eq!(y[12], -y[13], "{name}");
            }
            Phi::Cos => {
                assert_eq!((y[0], y[1], y[5], y[6]), (1.0, 1.0, 1.0, 1.0), "{name}");
                assert!([y[2], y[3], d[2], d[3]].iter().all(|y| y.is_nan()), "{name}: {y:?}");
                assert_eq!((y[12], d[5], d[6]), (y[13], -tiny, tiny), "{name}");
            }
            Phi::Abs => {
                let zero = 0.0f64.to_bits();
                assert_eq!([y[0], y[1], d[0], d[1]].map(f64::to_bits), [zero; 4], "{name}");
                assert_eq!((y[2], y[3], y[5], y[6], y[8], y[13]), (inf, inf, tiny, tiny, 1000.0, y[12]), "{name}");
                assert_eq!((d[2], d[3], d[5], d[6], d[8], d[13]), (1.0, -1.0, 1.0, -1.0, -1.0, -1.0), "{name}");
            }
            Phi::LeakyRelu(alpha) => {
                let alpha = T::of(alpha).to_f64();
                assert_eq!((y[0].to_bits(), y[1].to_bits()), (0.0f64.to_bits(), (-0.0f64).to_bits()), "{name}");
                // The hundredth part of the smallest number is 0.
                assert_eq!((y[2], y[3], y[5], y[6], y[7]), (inf, -inf, tiny, 0.0, 1000.0), "{name}");
                assert_eq!((y[8], y[13]), (T::of(-1000.0 * alpha).to_f64(), -T::of(x[12].to_f64() * alpha).to_f64()), "{name}");
                assert_eq!((d[0], d[1], d[2], d[3], d[5], d[6], d[8]), (alpha, alpha, 1.0, alpha, 1.0, alpha, alpha), "{name}");
            }
            Phi::Sqrt => {
                assert_eq!((y[0].to_bits(), y[1].to_bits(), y[2]), (0.0f64.to_bits(), (-0.0f64).to_bits(), inf), "{name}");
                assert_eq!((d[0], d[1], d[2]), (inf, -inf, 0.0), "{name}");
                let below = [3, 6, 8, 11, 13];
                assert!(below.iter().all(|&i| y[i].is_nan() && d[i].is_nan()), "{name}: {y:?}, {d:?}");
                // The root of the smallest number, 2⁻¹⁴⁹ or 2⁻¹⁰⁷⁴, and its slope are normal numbers.
                let root = libm::exp2(if T::NAME == "f32" { -74.5 } else { -537.0 });
                assert!((y[5] / root - 1.0).abs() < T::EPSILON.to_f64(), "{name}: {y:?}");
                assert!((d[5] * 2.0 * root - 1.0).abs() < 2.0 * T::EPSILON.to_f64(), "{name}: {d:?}");
            }
        }
    }
}

/// Whatever the slope below 0: less and more than that above it, equal, opposite, and 0.3, which either type rounds.
fn leaky_slopes<T: Float>(level: Level) {
    let x = of::<T>(&[-2.0, -0.5, -0.0, 0.0, 0.5, 3.0, f64::NAN]);
    for alpha in [0.0, 0.3, 1.0, -1.0, -0.25, 7.0] {
        let (phi, a) = (Phi::LeakyRelu(alpha), T::of(alpha));
        let (mut y, mut d) = (of::<T>(&[f64::NAN; 7]), of::<T>(&[f64::NAN; 7]));
        map_at(level, phi, &x, &mut y);
        slope_at(level, phi, &x, &y, &[T::ONE; 7], Accumulate::Set, &mut d);
        assert_eq!(y[..6], [a * x[0], a * x[1], T::ZERO, T::ZERO, x[4], x[5]], "{alpha} {level}");
        assert_eq!(d[..6], [a, a, a, a, T::ONE, T::ONE], "{alpha} {level}");
        assert!(y[6].to_f64().is_nan() && d[6].to_f64().is_nan(), "{alpha} {level}");
    }
}

#[test]
fn leaky_rectifiers_of_any_slope() {
    for level in Level::available() {
        leaky_slopes::<f32>(level);
        leaky_slopes::<f64>(level);
    }
}

#[test]
fn special_values_at_every_level() {
    for level in Level::available() {
        special_values::<f32>(level);
        special_values::<f64>(level);
    }
}

/// An element's bits depend neither on its place nor on its neighbours, and at the portable level they are `Phi::value`'s.
fn position<T: Float>(level: Level) {
    let x: Vec<T> = (0..100).map(|i| T::of((f64::from(i) * 0.7).sin() * 4.0)).collect();
    for phi in Phi::ALL {
        let x: Vec<T> = match phi {
            Phi::Ln | Phi::Sqrt => x.iter().map(|x| x.abs() + T::of(0.01)).collect(),
            // Angles beyond the reach of the vector text among the others.
            Phi::Sin | Phi::Cos => x.iter().enumerate().map(|(i, &x)| if i % 13 == 5 { x * T::of(1e7) } else { x }).collect(),
            _ => x.clone(),
        };
        let mut whole = vec![T::of(f64::NAN); 100];
        map_at(level, phi, &x, &mut whole);
        for n in 0..70 {
            for start in [0, 1, 3, 17, 30] {
                let mut y = vec![T::of(f64::NAN); n + 2];
                map_at(level, phi, &x[start..start + n], &mut y[1..=n]);
                assert_eq!(bits(&y[1..=n]), bits(&whole[start..start + n]), "{} {level} {n} from {start}", phi.name());
                assert!(y[0].to_f64().is_nan() && y[n + 1].to_f64().is_nan());
            }
        }
        if level == Level::Portable {
            let scalar: Vec<T> = x.iter().map(|&x| phi.value(x)).collect();
            assert_eq!(bits(&whole), bits(&scalar), "{}", phi.name());
        }
        let mut d = vec![T::of(f64::NAN); 100];
        slope_at(level, phi, &x, &whole, &[T::ONE; 100], Accumulate::Set, &mut d);
        for i in 0..100 {
            let reference = phi.derivative(x[i]).to_f64();
            assert!((d[i].to_f64() - reference).abs() <= 8.0 * T::EPSILON.to_f64() * reference.abs().max(1.0));
        }
    }
}

#[test]
fn elements_do_not_depend_on_their_place() {
    for level in Level::available() {
        position::<f32>(level);
        position::<f64>(level);
    }
}

#[test]
fn slopes_multiply_and_accumulate() {
    for level in Level::available() {
        for phi in Phi::ALL {
            let n = 40;
            let start = if matches!(phi, Phi::Ln | Phi::Sqrt) { 0.5 } else { -2.0 };
            let x: Vec<f64> = (0..n).map(|i| f64::from(i) * 0.13 + start).collect();
            let dx: Vec<f64> = (0..n).map(|i| f64::from(i % 7) - 3.0).collect();
            let mut y = vec![0.0; x.len()];
            map_at(level, phi, &x, &mut y);
            let (mut set, mut add) = (vec![f64::NAN; x.len()], vec![10.0; x.len()]);
            slope_at(level, phi, &x, &y, &dx, Accumulate::Set, &mut set);
            slope_at(level, phi, &x, &y, &dx, Accumulate::Add, &mut add);
            for i in 0..x.len() {
                let reference = phi.derivative(x[i]) * dx[i];
                assert!((set[i] - reference).abs() < 1e-14 * (1.0 + reference.abs()));
                assert_eq!(add[i], 10.0 + set[i]);
            }
        }
    }
}

/// z ← a·z + b·β and φ(z), in three passes.
fn unfused<T: Float>(level: Level, phi: Phi, a: T, z: &mut [T], bias: Option<(&[T], T)>, y: &mut [T]) {
    for (i, z) in z.iter_mut().enumerate() {
        *z = a * *z;
        if let Some((beta, b)) = bias {
            *z += b * beta[i % beta.len()];
        }
    }
    map_at(level, phi, z, y);
}

fn fused_as_unfused<T: Float>(level: Level) {
    // Rows shorter and longer than a block, and arrays of several pieces.
    for (rows, cols) in [(0, 3), (1, 1), (1, 5), (7, 1), (33, 31), (5, 128), (4, 129), (3, 1024), (2, 1025), (60, 301), (3, 20_001)] {
        let z: Vec<T> = (0..rows * cols).map(|i| T::of((i as f64 * 0.37).sin() * 3.0)).collect();
        let beta: Vec<T> = (0..cols).map(|i| T::of((i as f64 * 1.3).cos())).collect();
        for phi in Phi::ALL {
            for bias in [None, Some((&beta[..], T::of(0.3)))] {
                let (mut z1, mut y1) = (z.clone(), vec![T::of(f64::NAN); z.len()]);
                let (mut z2, mut y2) = (z.clone(), vec![T::of(f64::NAN); z.len()]);
                map_affine_at(level, phi, T::of(1.7), &mut z1, bias, &mut y1);
                unfused(level, phi, T::of(1.7), &mut z2, bias, &mut y2);
                assert_eq!((bits(&z1), bits(&y1)), (bits(&z2), bits(&y2)), "{} {level} {rows} × {cols}", phi.name());
            }
        }
    }
    // No columns at all.
    map_affine_at::<T>(level, Phi::Tanh, T::ONE, &mut [], Some((&[], T::ONE)), &mut []);
}

#[test]
fn the_fused_map_has_the_bits_of_its_parts() {
    for level in Level::available() {
        fused_as_unfused::<f32>(level);
        fused_as_unfused::<f64>(level);
    }
}

fn angles<T: Float>(level: Level) {
    let (inf, nan, eps) = (f64::INFINITY, f64::NAN, T::EPSILON.to_f64());
    let c = of::<T>(&[1.0, -1.0, 0.0, -0.0, 1.0 + eps, -1.0 - eps, 2.0, -inf, inf, nan, 1.0 - eps, -1.0 + eps]);
    let (mut t, mut s) = (of::<T>(&[nan; 12]), of::<T>(&[nan; 12]));
    acos_sin_at(level, &c, &mut t, &mut s);
    let (pi, half) = (T::PI, T::of(std::f64::consts::FRAC_PI_2));
    assert_eq!(t[..9], [T::ZERO, pi, half, half, T::ZERO, pi, T::ZERO, pi, T::ZERO], "{level}");
    assert_eq!(s[..9], [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0].map(T::of), "{level}");
    assert!(t[9].to_f64().is_nan() && s[9].to_f64().is_nan());
    // 1 − ε is the cosine of √2ε, and its sine is as large.
    let small = (2.0 * eps).sqrt();
    for (found, want) in [(t[10], small), (s[10], small), (T::PI - t[11], small), (s[11], small)] {
        assert!((found.to_f64() - want).abs() <= 2.0 * eps, "{level}: {found} and not {want}");
    }
    // Any place and any length.
    let c: Vec<T> = (0..100).map(|i| T::of((f64::from(i) * 0.7).sin())).collect();
    let (mut all_t, mut all_s) = (vec![T::of(nan); 100], vec![T::of(nan); 100]);
    acos_sin_at(level, &c, &mut all_t, &mut all_s);
    for n in 0..70 {
        for start in [0, 1, 3, 17, 30] {
            let (mut t, mut s) = (vec![T::of(nan); n], vec![T::of(nan); n]);
            acos_sin_at(level, &c[start..start + n], &mut t, &mut s);
            assert_eq!((bits(&t), bits(&s)), (bits(&all_t[start..start + n]), bits(&all_s[start..start + n])), "{level}");
        }
    }
}

#[test]
fn angles_and_sines_of_cosines() {
    for level in Level::available() {
        angles::<f32>(level);
        angles::<f64>(level);
    }
}

#[test]
fn the_same_bits_at_any_number_of_threads() {
    let n = 100_003;
    let x: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin() * 5.0).collect();
    let all = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            let mut out = Vec::new();
            for phi in Phi::ALL {
                let (mut y, mut dy) = (vec![f32::NAN; n], vec![f32::NAN; n]);
                map(phi, &x, &mut y);
                slope(phi, &x, &y, &x, Accumulate::Set, &mut dy);
                out.push((bits(&y), bits(&dy)));
                // Rows of 101, so that pieces start amid a row.
                let mut z = x[..99_990].to_vec();
                map_affine(phi, 0.7, &mut z, Some((&x[..101], 0.3)), &mut y[..99_990]);
                out.push((bits(&z), bits(&y)));
            }
            let (mut t, mut s) = (vec![f32::NAN; n], vec![f32::NAN; n]);
            acos_sin(&x, &mut t, &mut s);
            out.push((bits(&t), bits(&s)));
            let (mut lse, mut p) = (vec![f32::NAN; 1001], vec![f32::NAN; 99_099]);
            softmax(Mat::new(&x[..99_099], 1001, 99), &mut lse, &mut p);
            out.push((bits(&lse), bits(&p)));
            out
        })
    };
    let one = all(1);
    for threads in [2, 3, 7] {
        assert!(one == all(threads), "other bits with {threads} threads");
    }
}

#[test]
fn softmax_of_extremes() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let x = [
        [1000.0, 1000.0, -1000.0],
        [-1000.0, -1000.0, -2000.0],
        [-inf, -inf, -inf],
        [-inf, 0.0, 0.0],
        [inf, 0.0, inf],
        [0.0, nan, 1.0],
        [nan, nan, nan],
    ]
    .concat();
    for level in Level::available() {
        let (mut lse, mut p) = ([nan; 7], [nan; 21]);
        softmax_at(level, Mat::new(&x, 7, 3), &mut lse, &mut p);
        let half = f64::ln(2.0);
        assert!((lse[0] - 1000.0 - half).abs() < 1e-12 && (lse[1] + 1000.0 - half).abs() < 1e-12);
        assert_eq!(&p[..6], &[0.5, 0.5, 0.0, 0.5, 0.5, 0.0]);
        assert_eq!((lse[2], &p[6..9]), (-inf, &[1.0 / 3.0; 3][..]));
        assert!((lse[3] - half).abs() < 1e-15 && p[9..12] == [0.0, 0.5, 0.5]);
        assert_eq!((lse[4], &p[12..15]), (inf, &[0.5, 0.0, 0.5][..]));
        assert!(lse[5..].iter().chain(&p[15..]).all(|x| x.is_nan()));
    }
    let mut lse = [nan; 2];
    softmax(Mat::<f64>::new(&[], 2, 0), &mut lse, &mut []);
    assert_eq!(lse, [-inf; 2]);
    softmax(Mat::<f64>::new(&[], 0, 3), &mut [], &mut []);
}

fn naive_softmax<T: Float>(level: Level, rows: usize, cols: usize, gap: usize, spread: f64) {
    let x: Vec<T> = (0..rows * (cols + gap)).map(|i| T::of((i as f64 * 1.7).sin() * spread)).collect();
    let view = Mat::new(&x, rows, cols + gap).col_range(0..cols);
    let (mut lse, mut p) = (vec![T::of(f64::NAN); rows], vec![T::of(f64::NAN); rows * cols]);
    softmax_at(level, view, &mut lse, &mut p);
    for i in 0..rows {
        let row: Vec<f64> = (0..cols).map(|j| view.at(i, j).to_f64()).collect();
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|x| (x - max).exp()).sum();
        let eps = T::EPSILON.to_f64();
        assert!((lse[i].to_f64() - (max + sum.ln())).abs() <= 4.0 * eps * (1.0 + max.abs() + sum.ln()));
        for j in 0..cols {
            let r = (row[j] - max).exp() / sum;
            // x − max is rounded by up to ε/2·|x − max| before it is exponentiated.
            assert!((p[i * cols + j].to_f64() - r).abs() <= (8.0 + 2.0 * spread) * eps * r + 1e-44);
        }
    }
}

proptest! {
    #[test]
    fn softmax_of_any_shape(rows in 0usize..40, cols in 1usize..70, gap in 0usize..3, spread in 0.0f64..30.0) {
        for level in Level::available() {
            naive_softmax::<f32>(level, rows, cols, gap, spread);
            naive_softmax::<f64>(level, rows, cols, gap, spread);
        }
    }
}

#[test]
fn wrong_lengths_are_refused_with_both() {
    let message = |f: &mut dyn FnMut()| {
        let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("this must panic");
        *payload.downcast::<String>().expect("a message")
    };
    let text = message(&mut || map(Phi::Erf, &[1.0; 3], &mut [1.0; 4]));
    assert!(text.contains('3') && text.contains('4'), "{text}");
    let text = message(&mut || slope(Phi::Erf, &[1.0; 3], &[1.0; 3], &[1.0; 5], Accumulate::Set, &mut [1.0; 3]));
    assert!(text.contains("5 dx into 3 dy"), "{text}");
    let text = message(&mut || map_affine(Phi::Erf, 1.0, &mut [1.0; 7], Some((&[1.0; 3], 1.0)), &mut [1.0; 7]));
    assert!(text.contains("a bias of 3 in 7 elements"), "{text}");
    let text = message(&mut || map_affine(Phi::Erf, 1.0, &mut [1.0; 6], None, &mut [1.0; 7]));
    assert!(text.contains("6 elements into 7"), "{text}");
    let text = message(&mut || acos_sin(&[1.0; 3], &mut [1.0; 3], &mut [1.0; 4]));
    assert!(text.contains("3 elements into 3 angles and 4 sines"), "{text}");
    let text = message(&mut || softmax(Mat::new(&[1.0; 6], 2, 3), &mut [0.0; 3], &mut [0.0; 6]));
    assert!(text.contains("2 × 3") && text.contains("3 normalizers"), "{text}");
    let text = message(&mut || softmax(Mat::new(&[1.0; 6], 2, 3).t(), &mut [0.0; 3], &mut [0.0; 6]));
    assert!(text.contains("stride of 3"), "{text}");
}

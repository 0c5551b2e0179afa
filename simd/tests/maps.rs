//! Maps at every level: special values, positions, threads, and the softmax.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use simd::{Accumulate, Float, Level, Mat, Phi, map, map_at, slope, slope_at, softmax, softmax_at};

fn of<T: Float>(x: &[f64]) -> Vec<T> {
    x.iter().map(|&x| T::of(x)).collect()
}

fn bits<T: Float>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.to_f64().to_bits()).collect()
}

/// The suite has run at every level only if the detection finds every level.
#[test]
fn every_level_of_this_cpu_is_found() {
    let names: Vec<String> = Level::available().iter().map(Level::to_string).collect();
    let mut expected = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
            expected.push("AVX-512");
        }
        if is_x86_feature_detected!("avx2") {
            expected.push("AVX2");
        }
    }
    expected.push("portable");
    assert_eq!(names, expected);
    assert_eq!(Level::best(), Level::available()[0]);
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
        }
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
            let x: Vec<f64> = (0..n).map(|i| f64::from(i) * 0.13 - 2.0).collect();
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
            }
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
    let text = message(&mut || softmax(Mat::new(&[1.0; 6], 2, 3), &mut [0.0; 3], &mut [0.0; 6]));
    assert!(text.contains("2 × 3") && text.contains("3 normalizers"), "{text}");
    let text = message(&mut || softmax(Mat::new(&[1.0; 6], 2, 3).t(), &mut [0.0; 3], &mut [0.0; 6]));
    assert!(text.contains("stride of 3"), "{text}");
}

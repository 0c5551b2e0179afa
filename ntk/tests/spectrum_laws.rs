//! Eigenvalues and eigenvectors, by the scaled residuals of LAPACK's tests.

use ntk::{MatrixError, Spectrum};
use simd::Mat;

/// Numbers in (−1, 1) that look random.
fn noise(seed: u64, n: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// `Q diag(λ) Qᵀ` with Q a product of three reflections, symmetric to the bit.
fn matrix(values: &[f64], seed: u64) -> Vec<f64> {
    let n = values.len();
    let mut a = vec![0.0; n * n];
    (0..n).for_each(|i| a[i * n + i] = values[i]);
    for r in 0..3 {
        let v = noise(seed + r, n);
        let vv: f64 = v.iter().map(|x| x * x).sum();
        for _ in 0..2 {
            // a ← (a (I − 2vvᵀ/v·v))ᵀ; twice, it acts from both sides.
            let mut t = vec![0.0; n * n];
            for i in 0..n {
                let av: f64 = (0..n).map(|j| a[i * n + j] * v[j]).sum();
                (0..n).for_each(|j| t[j * n + i] = a[i * n + j] - 2.0 * av * v[j] / vv);
            }
            a = t;
        }
    }
    for i in 0..n {
        (0..i).for_each(|j| a[i * n + j] = a[j * n + i]);
    }
    a
}

fn norm(a: &[f64]) -> f64 {
    a.iter().fold(0.0, |m: f64, x| m.max(x.abs())) * (a.len() as f64).sqrt()
}

fn spread(n: usize, condition: f64) -> Vec<f64> {
    (0..n).map(|i| condition.powf(-(i as f64) / (n.max(2) - 1) as f64)).collect()
}

#[track_caller]
fn check(name: &str, n: usize, a: &[f64]) {
    let s = Spectrum::of(Mat::new(a, n, n)).unwrap();
    let (q, values) = (s.vectors(), s.values());
    assert!(values.windows(2).all(|w| w[0] >= w[1]), "{name}: {values:?} is not descending");
    let dense: Vec<f64> = (0..n * n).map(|k| q.at(k / n, k % n)).collect();
    let scaled: Vec<f64> = (0..n * n).map(|k| dense[k] * values[k % n]).collect();
    let (mut rest, mut gram) = (a.to_vec(), vec![0.0; n * n]);
    for i in 0..n {
        for j in 0..n {
            rest[i * n + j] -= (0..n).map(|k| scaled[i * n + k] * dense[j * n + k]).sum::<f64>();
            gram[i * n + j] = (0..n).map(|k| dense[k * n + i] * dense[k * n + j]).sum::<f64>() - if i == j { 1.0 } else { 0.0 };
        }
    }
    let unit = n as f64 * f64::EPSILON;
    assert!(norm(&rest) <= 30.0 * unit * norm(a), "{name}, {n}: ‖A − QΛQᵀ‖ is {:e} of {:e}", norm(&rest), norm(a));
    assert!(norm(&gram) <= 30.0 * unit * (n as f64).sqrt(), "{name}, {n}: ‖QᵀQ − I‖ is {:e}", norm(&gram));
    let trace: f64 = (0..n).map(|i| a[i * n + i]).sum();
    assert!((s.trace() - trace).abs() <= 30.0 * unit * norm(a), "{name}: trace {} and {trace}", s.trace());
}

#[test]
fn scaled_residuals_are_small() {
    for n in [1, 2, 3, 31, 32, 33, 64, 127] {
        let e = f64::EPSILON;
        check("condition 2", n, &matrix(&spread(n, 2.0), 1));
        check("condition 0.1/√ε", n, &matrix(&spread(n, 0.1 / e.sqrt()), 2));
        check("condition 0.1/ε", n, &matrix(&spread(n, 0.1 / e), 3));
        check("nearly overflowing", n, &matrix(&spread(n, 2.0), 4).iter().map(|x| x * 1e300).collect::<Vec<_>>());
        check("nearly underflowing", n, &matrix(&spread(n, 2.0), 5).iter().map(|x| x * 1e-290).collect::<Vec<_>>());
        check("indefinite", n, &matrix(&noise(6, n), 7));
        let diagonal = noise(8, n);
        check("diagonal", n, &(0..n * n).map(|k| if k / n == k % n { diagonal[k / n] } else { 0.0 }).collect::<Vec<_>>());
        check("zero", n, &vec![0.0; n * n]);
        check("ones", n, &vec![1.0; n * n]);
    }
    check("large", 300, &matrix(&spread(300, 1e6), 9));
}

#[test]
fn eigenvalues_are_those_the_matrix_was_made_of() {
    let values: Vec<f64> = (0..50).map(|i| 50.0 - f64::from(i)).collect();
    let s = Spectrum::of(Mat::new(&matrix(&values, 11), 50, 50)).unwrap();
    for (a, b) in s.values().iter().zip(&values) {
        assert!((a - b).abs() < 1e-12, "{a} and {b}");
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    for n in [5, 64, 200] {
        let a = matrix(&spread(n, 1e4), 12);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let s = pool.install(|| Spectrum::of(Mat::new(&a, n, n)).unwrap());
            let vectors: Vec<u64> = (0..n * n).map(|k| s.vectors().at(k / n, k % n).to_bits()).collect();
            (s.values().iter().map(|x| x.to_bits()).collect::<Vec<_>>(), vectors)
        };
        let one = run(1);
        for threads in [1, 2, 3, 7, 2] {
            assert!(run(threads) == one, "{threads} threads, {n} rows");
        }
    }
}

#[test]
fn matrices_that_have_no_spectrum_are_refused() {
    let refuse = |data: &[f64], rows, cols| Spectrum::of(Mat::new(data, rows, cols)).unwrap_err();
    assert_eq!(refuse(&[0.0; 6], 2, 3), MatrixError::NotSquare { rows: 2, cols: 3 });
    assert!(matches!(refuse(&[1.0, 0.0, f64::NAN, 1.0], 2, 2), MatrixError::NotFinite { row: 1, col: 0, .. }));
    assert!(matches!(refuse(&[1.0, 0.0, 0.0, f64::INFINITY], 2, 2), MatrixError::NotFinite { row: 1, col: 1, .. }));
    let error = refuse(&[1.0, 0.25, 0.5, 1.0], 2, 2);
    assert_eq!(error, MatrixError::NotSymmetric { row: 0, col: 1, above: 0.25, below: 0.5 });
    assert!(error.to_string().contains("0.25") && error.to_string().contains("0.5"), "{error}");
}

#[test]
fn no_examples_have_an_empty_spectrum() {
    assert!(Spectrum::of(Mat::new(&[], 0, 0)).unwrap().values().is_empty());
}

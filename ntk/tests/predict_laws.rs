//! Laws of the flow.

use ntk::{Flow, MatrixError, Time, full_matrix};
use proptest::prelude::*;
use simd::Mat;

/// A Gram matrix `A·Aᵀ/k` of `n` rows with `k` columns: singular for k < n.
fn gram(n: usize, k: usize, seed: f64) -> Vec<f64> {
    let a: Vec<f64> = (0..n * k).map(|i| ((i * i) as f64 * 0.7 + seed + i as f64).sin() * 1.5).collect();
    let dot = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * a[j * k + l]).sum::<f64>() / k as f64;
    (0..n * n).map(|p| dot(p / n, p % n)).collect()
}

fn wave(n: usize, seed: f64) -> Vec<f64> {
    (0..n).map(|i| (i as f64 * 2.3 + seed).cos()).collect()
}

/// `a·b` for row-major matrices.
fn times(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
    (0..m * n).map(|p| (0..k).map(|l| a[p / n * k + l] * b[l * n + p % n]).sum()).collect()
}

#[track_caller]
fn assert_close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= tolerance * scale, "{a} and {b}");
    }
}

const N: usize = 6;
const M: usize = 3;
const O: usize = 2;

/// Kernels of train and test points, from one positive semidefinite matrix of rank `rank`, with initial outputs and targets.
struct Case {
    dd: Vec<f64>,
    td: Vec<f64>,
    f0: Vec<f64>,
    f0_test: Vec<f64>,
    y: Vec<f64>,
}

impl Case {
    fn new(rank: usize) -> Self {
        let all = gram(N + M, rank, 0.3);
        let block = |rows: std::ops::Range<usize>| rows.flat_map(|i| all[i * (N + M)..i * (N + M) + N].to_vec()).collect();
        Case { dd: block(0..N), td: block(N..N + M), f0: wave(N * O, 0.1), f0_test: wave(M * O, 0.9), y: wave(N * O, 1.7) }
    }

    fn flow(&self, ridge: f64) -> Flow {
        Flow::new(Mat::new(&self.dd, N, N), ridge).unwrap()
    }

    fn train(&self, flow: &Flow, time: Time) -> Result<Vec<f64>, MatrixError> {
        flow.train(time, Mat::new(&self.f0, N, O), Mat::new(&self.y, N, O))
    }

    fn test(&self, flow: &Flow, time: Time) -> Result<Vec<f64>, MatrixError> {
        let (f0, y) = (Mat::new(&self.f0, N, O), Mat::new(&self.y, N, O));
        flow.test(time, Mat::new(&self.td, M, N), f0, Mat::new(&self.f0_test, M, O), y)
    }

    /// `u` and `f` by explicit steps with the given map of a step: `du = −step (Θ + λ)(u − y)`, `df = −step Θ_td w`.
    fn integrate(&self, shift: f64, t: f64, steps: usize) -> (Vec<f64>, Vec<f64>) {
        let h = t / steps as f64;
        let mut driven = self.dd.clone();
        (0..N).for_each(|i| driven[i * N + i] += shift);
        let rate = |u: &[f64]| -> Vec<f64> {
            let rest: Vec<f64> = u.iter().zip(&self.y).map(|(u, y)| y - u).collect();
            times(&driven, &rest, N, N, O)
        };
        let test_rate = |u: &[f64]| -> Vec<f64> {
            let rest: Vec<f64> = u.iter().zip(&self.y).map(|(u, y)| y - u).collect();
            times(&self.td, &rest, M, N, O)
        };
        let along = |u: &[f64], k: &[f64], h: f64| u.iter().zip(k).map(|(u, k)| u + h * k).collect::<Vec<_>>();
        let (mut u, mut f) = (self.f0.clone(), self.f0_test.clone());
        for _ in 0..steps {
            // Runge–Kutta of order 4.
            let k1 = rate(&u);
            let u2 = along(&u, &k1, 0.5 * h);
            let k2 = rate(&u2);
            let u3 = along(&u, &k2, 0.5 * h);
            let k3 = rate(&u3);
            let u4 = along(&u, &k3, h);
            let k4 = rate(&u4);
            for (stage, weight) in [(&u, 1.0), (&u2, 2.0), (&u3, 2.0), (&u4, 1.0)] {
                f = along(&f, &test_rate(stage), h * weight / 6.0);
            }
            for (k, weight) in [(&k1, 1.0), (&k2, 2.0), (&k3, 2.0), (&k4, 1.0)] {
                u = along(&u, k, h * weight / 6.0);
            }
        }
        (u, f)
    }
}

#[test]
fn the_flow_is_the_solution_of_its_equation() {
    for rank in [4, 12] {
        let case = Case::new(rank);
        for ridge in [0.0, 0.05] {
            let flow = case.flow(ridge);
            for t in [0.3, 2.0] {
                let (u, f) = case.integrate(flow.shift(), t, 4000);
                assert_close(&case.train(&flow, Time::At(t)).unwrap(), &u, 1e-11);
                assert_close(&case.test(&flow, Time::At(t)).unwrap(), &f, 1e-11);
            }
        }
    }
}

#[test]
fn steps_are_those_of_gradient_descent() {
    // Below, at and beyond the largest stable rate, where errors alternate and grow.
    let case = Case::new(12);
    let flow = case.flow(0.0);
    for part in [0.1, 0.7, 1.0, 1.1] {
        let rate = part * flow.largest_stable_rate();
        let (mut u, mut f) = (case.f0.clone(), case.f0_test.clone());
        for steps in 0..12 {
            let time = Time::Steps { rate, steps };
            assert_close(&case.train(&flow, time).unwrap(), &u, 1e-12);
            assert_close(&case.test(&flow, time).unwrap(), &f, 1e-12);
            let rest: Vec<f64> = u.iter().zip(&case.y).map(|(u, y)| y - u).collect();
            let (du, df) = (times(&case.dd, &rest, N, N, O), times(&case.td, &rest, M, N, O));
            u.iter_mut().zip(&du).for_each(|(u, d)| *u += rate * d);
            f.iter_mut().zip(&df).for_each(|(f, d)| *f += rate * d);
        }
    }
}

#[test]
fn small_steps_are_the_flow_and_long_flows_are_its_end() {
    let case = Case::new(12);
    let flow = case.flow(0.01);
    let steps = 10_000_000;
    let descent = Time::Steps { rate: 1.5 / steps as f64, steps };
    assert_close(&case.test(&flow, descent).unwrap(), &case.test(&flow, Time::At(1.5)).unwrap(), 1e-5);
    let slowest = flow.spectrum().values()[N - 1] + flow.shift();
    let late = Time::At(60.0 / slowest);
    assert_close(&case.test(&flow, late).unwrap(), &case.test(&flow, Time::Infinite).unwrap(), 1e-11);
    assert_close(&case.train(&flow, Time::Infinite).unwrap(), &case.y, 1e-14);
    // At the end Θ_td (Θ + λ)⁻¹ (y − f0): checked by (Θ + λ) w = y − f0.
    let end = case.test(&flow, Time::Infinite).unwrap();
    let unit: Vec<f64> = (0..N * N).map(|k| if k / N == k % N { 1.0 } else { 0.0 }).collect();
    let zero = vec![0.0; N * O];
    let w =
        flow.test(Time::Infinite, Mat::new(&unit, N, N), Mat::new(&case.f0, N, O), Mat::new(&zero, N, O), Mat::new(&case.y, N, O)).unwrap();
    let mut driven = case.dd.clone();
    (0..N).for_each(|i| driven[i * N + i] += flow.shift());
    let rest: Vec<f64> = case.y.iter().zip(&case.f0).map(|(y, f)| y - f).collect();
    assert_close(&times(&driven, &w, N, N, O), &rest, 1e-11);
    let prediction: Vec<f64> = times(&case.td, &w, M, N, O).iter().zip(&case.f0_test).map(|(a, b)| a + b).collect();
    assert_close(&end, &prediction, 1e-11);
}

#[test]
fn nothing_has_moved_at_time_zero() {
    for rank in [2, 12] {
        let case = Case::new(rank);
        for time in [Time::At(0.0), Time::Steps { rate: 0.3, steps: 0 }, Time::Steps { rate: 0.0, steps: 9 }] {
            assert_close(&case.train(&case.flow(0.1), time).unwrap(), &case.f0, 1e-14);
            assert_eq!(case.test(&case.flow(0.1), time).unwrap(), case.f0_test);
        }
    }
}

#[test]
fn singular_kernels_have_every_finite_time_and_no_end_without_a_ridge() {
    let case = Case::new(2);
    let flow = case.flow(0.0);
    for time in [Time::At(1e-300), Time::At(1.0), Time::At(1e12), Time::Steps { rate: 0.1, steps: 1 << 40 }] {
        assert!(case.train(&flow, time).unwrap().iter().chain(&case.test(&flow, time).unwrap()).all(|x| x.is_finite()), "{time:?}");
    }
    for error in [case.train(&flow, Time::Infinite).unwrap_err(), case.test(&flow, Time::Infinite).unwrap_err()] {
        assert!(matches!(error, MatrixError::NotPositiveDefinite { .. }), "{error}");
        assert!(error.to_string().contains("ridge"), "{error}");
    }
    assert!(case.test(&case.flow(1e-6), Time::Infinite).unwrap().iter().all(|x| x.is_finite()));
    // With Θ = 0 the weights grow like t.
    let zero = Flow::new(Mat::new(&[0.0], 1, 1), 0.0).unwrap();
    let f =
        zero.test(Time::At(3.0), Mat::new(&[0.5], 1, 1), Mat::new(&[0.0], 1, 1), Mat::new(&[0.0], 1, 1), Mat::new(&[2.0], 1, 1)).unwrap();
    assert_eq!(f, [3.0]);
    assert_eq!(zero.largest_stable_rate(), f64::INFINITY);
}

#[test]
fn the_full_kernel_of_alike_outputs_predicts_the_same() {
    let case = Case::new(12);
    let full = |k: &[f64], n1: usize| -> Vec<f64> {
        // [N1, N2, O, O] with Θ[i, j] on the diagonal of the outputs.
        (0..n1 * N * O * O).map(|p| if p / O % O == p % O { k[p / (O * O)] } else { 0.0 }).collect()
    };
    let dd = full_matrix(&full(&case.dd, N), N, N, O);
    let td = full_matrix(&full(&case.td, M), M, N, O);
    let flow = Flow::new(Mat::new(&dd, N * O, N * O), 0.02).unwrap();
    for time in [Time::At(0.7), Time::Infinite] {
        let (f0, y) = (Mat::new(&case.f0, N * O, 1), Mat::new(&case.y, N * O, 1));
        assert_close(&flow.train(time, f0, y).unwrap(), &case.train(&case.flow(0.02), time).unwrap(), 1e-12);
        let found = flow.test(time, Mat::new(&td, M * O, N * O), f0, Mat::new(&case.f0_test, M * O, 1), y).unwrap();
        assert_close(&found, &case.test(&case.flow(0.02), time).unwrap(), 1e-12);
    }
    // The order: rows (i, a), columns (j, b), outputs fastest.
    let values: Vec<f64> = (0..2 * 3 * 2 * 2).map(f64::from).collect();
    let at = |i: usize, j: usize, a: usize, b: usize| values[((i * 3 + j) * 2 + a) * 2 + b];
    let matrix = full_matrix(&values, 2, 3, 2);
    assert_eq!((matrix[0], matrix[1], matrix[2], matrix[6]), (at(0, 0, 0, 0), at(0, 0, 0, 1), at(0, 1, 0, 0), at(0, 0, 1, 0)));
    assert_eq!(matrix[2 * 6 + 5], at(1, 2, 0, 1));
}

#[test]
fn bits_do_not_depend_on_threads() {
    let n = 150;
    let (k, f0, y) = (gram(n, 200, 0.2), wave(n * O, 0.3), wave(n * O, 0.4));
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let flow = Flow::new(Mat::new(&k, n, n), 0.01).unwrap();
            let (f0, y) = (Mat::new(&f0, n, O), Mat::new(&y, n, O));
            (flow.train(Time::At(0.5), f0, y).unwrap(), flow.test(Time::Infinite, Mat::new(&k, n, n), f0, f0, y).unwrap())
        })
    };
    let one = run(1);
    assert!([2, 3, 7].into_iter().all(|threads| run(threads) == one));
}

#[test]
fn arguments_that_are_none_are_refused() {
    let case = Case::new(12);
    for ridge in [-0.1, f64::NAN, f64::INFINITY] {
        assert!(matches!(Flow::new(Mat::new(&case.dd, N, N), ridge), Err(MatrixError::Argument { .. })));
    }
    let flow = case.flow(0.0);
    for time in [Time::At(-1.0), Time::At(f64::NAN), Time::Steps { rate: -1.0, steps: 1 }] {
        assert!(matches!(case.train(&flow, time), Err(MatrixError::Argument { .. })), "{time:?}");
    }
    let short = Mat::new(&case.f0[..O], 1, O);
    assert!(matches!(flow.train(Time::At(1.0), short, Mat::new(&case.y, N, O)), Err(MatrixError::Rows { given: 1, wanted: N, .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn predictions_are_affine_in_the_targets(a in -2.0..2.0, b in -2.0..2.0, t in 0.0..20.0, ridge in 0.0..0.5) {
        let mut case = Case::new(7);
        let flow = case.flow(ridge);
        case.f0.fill(0.0);
        case.f0_test.fill(0.0);
        let (y1, y2) = (case.y.clone(), wave(N * O, 5.0));
        let mut predict = |y: Vec<f64>| { case.y = y; case.test(&flow, Time::At(t)).unwrap() };
        let sum = predict(y1.iter().zip(&y2).map(|(x, y)| a * x + b * y).collect());
        let (p1, p2) = (predict(y1), predict(y2));
        for ((s, x), y) in sum.iter().zip(&p1).zip(&p2) {
            let combined: f64 = a * x + b * y;
            prop_assert!((s - combined).abs() <= 1e-11 * (1.0 + combined.abs()), "{} {}", s, combined);
        }
    }

    #[test]
    fn the_order_of_training_points_does_not_matter(shift in 1..N, t in 0.0..20.0, ridge in 0.0..0.5) {
        let case = Case::new(12);
        let order: Vec<usize> = (0..N).map(|i| (i + shift) % N).collect();
        let rows = |x: &[f64]| order.iter().flat_map(|&i| x[i * O..(i + 1) * O].to_vec()).collect::<Vec<_>>();
        let permuted = Case {
            dd: order.iter().flat_map(|&i| order.iter().map(|&j| case.dd[i * N + j]).collect::<Vec<_>>()).collect(),
            td: (0..M).flat_map(|i| order.iter().map(|&j| case.td[i * N + j]).collect::<Vec<_>>()).collect(),
            f0: rows(&case.f0),
            f0_test: case.f0_test.clone(),
            y: rows(&case.y),
        };
        let (a, b) = (case.test(&case.flow(ridge), Time::At(t)).unwrap(), permuted.test(&permuted.flow(ridge), Time::At(t)).unwrap());
        for (a, b) in a.iter().zip(&b) {
            prop_assert!((a - b).abs() <= 1e-10 * (1.0 + a.abs()), "{} {}", a, b);
        }
        let (a, b) = (case.train(&case.flow(ridge), Time::At(t)).unwrap(), permuted.train(&permuted.flow(ridge), Time::At(t)).unwrap());
        for (a, b) in rows(&a).iter().zip(&b) {
            prop_assert!((a - b).abs() <= 1e-10 * (1.0 + a.abs()), "{} {}", a, b);
        }
    }
}

//! Experiments against slow, independent computations in double precision, at widths of 16 to 64.

use ntk::{Finite, InfiniteKernel};
use simd::Mat;
use tangents::data::Dataset;
use tangents::experiments::{
    ConvergenceSettings, GeneralizationSettings, LearningSettings, LinearizationSettings, Problem, convergence, generalization, learning,
    linearization,
};
use tangents::progress::Progress;

/// Three clouds in a plane, with a third feature that is constant.
fn problem() -> Problem {
    let (n, mut state) = (30, 1_u64);
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / (1_u64 << 31) as f64 - 0.5
    };
    let labels: Vec<usize> = (0..n).map(|i| i % 3).collect();
    let x = labels.iter().flat_map(|&c| [c as f64 + 1.5 * noise(), (c * c) as f64 + 3.0 * noise(), 7.0]).collect();
    let classes = ["a", "b", "c"].map(String::from).into();
    Problem::new(&Dataset { name: "clouds".into(), x, n, d: 3, labels, classes, image: None }, 18, 9, 0).unwrap()
}

fn convergence_settings() -> ConvergenceSettings {
    ConvergenceSettings { widths: vec![16, 64, 256], seeds: 6, examples: 8 }
}

fn learning_settings() -> LearningSettings {
    LearningSettings { width: 32, examples: 6, steps: 1, fraction: 0.1 }
}

fn linearization_settings() -> LinearizationSettings {
    LinearizationSettings { widths: vec![16, 64], seeds: 2, train: 6, test: 4, steps: 8, fraction: 0.5 }
}

fn generalization_settings() -> GeneralizationSettings {
    GeneralizationSettings { width: 32, epochs: 5, batch: 5, fraction: 0.3, ridge: 1e-3 }
}

/// Jacobian rows (example, output) of the experiments' network at its initial values of a seed, and its outputs there.
fn linear_model(problem: &Problem, width: usize, seed: u64, x: &[f64]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let network = problem.network(width).unwrap();
    let single = network.init::<f32>(seed).unwrap();
    let parameters: Vec<Vec<f64>> = single.iter().map(|p| p.iter().map(|&v| f64::from(v)).collect()).collect();
    let j = ntk::jacobian(&Finite { network: &network, parameters: &parameters }, x).unwrap();
    (j.rows.chunks(j.parameters).map(<[f64]>::to_vec).collect(), network.apply(&parameters, x))
}

fn dot(u: &[f64], v: &[f64]) -> f64 {
    u.iter().zip(v).map(|(u, v)| u * v).sum()
}

/// `f` after `steps` steps of gradient descent on `(1/N) Σ ½‖f0 + J δ − y‖²` in the parameters δ, at the training and at other inputs.
fn descend(j: &[Vec<f64>], j_test: &[Vec<f64>], f0: &[f64], f0_test: &[f64], y: &[f64], rate: f64, steps: usize) -> [Vec<f64>; 2] {
    let mut delta = vec![0.0; j[0].len()];
    let n = y.len() as f64 / 3.0;
    let at = |delta: &[f64], j: &[Vec<f64>], f0: &[f64]| j.iter().zip(f0).map(|(row, f)| f + dot(row, delta)).collect::<Vec<_>>();
    for _ in 0..steps {
        let residual: Vec<f64> = at(&delta, j, f0).iter().zip(y).map(|(f, y)| f - y).collect();
        for (row, r) in j.iter().zip(&residual) {
            delta.iter_mut().zip(row).for_each(|(d, v)| *d -= rate / n * r * v);
        }
    }
    [at(&delta, j, f0), at(&delta, j_test, f0_test)]
}

#[test]
fn theta_comes_nearer_to_the_limit_as_the_width_grows() {
    let problem = problem();
    let settings = convergence_settings();
    let result = convergence(&problem, &settings, &Progress::hidden()).unwrap();
    let mean = |errors: &Vec<f64>| errors.iter().sum::<f64>() / errors.len() as f64;
    let means: Vec<f64> = result.errors.iter().map(mean).collect();
    assert!(means[1] < 0.75 * means[0] && means[2] < 0.75 * means[1], "{means:?}");
    assert!((result.law.slope + 0.5).abs() < 0.25, "{:?}", result.law);
    let limit = InfiniteKernel::new(&problem.network(7).unwrap()).unwrap().ntk(Mat::new(&problem.train.x[..24], 8, 3), None);
    for entry in &result.entries {
        assert!((entry.limit - limit[entry.pair.0 * 8 + entry.pair.1]).abs() < 1e-14);
    }
    // One network, from its Jacobian: the mean over outputs.
    let (j, _) = linear_model(&problem, 16, 2, &problem.train.x[..24]);
    let want = (0..3).map(|a| dot(&j[a], &j[3 + a])).sum::<f64>() / 3.0;
    assert!((result.entries[1].values[0][2] - want).abs() < 1e-5 * want.abs().max(1.0), "{want}");
}

#[test]
fn one_small_step_moves_each_direction_by_the_discrete_formula() {
    let result = learning(&problem(), &LearningSettings { fraction: 1e-3, ..learning_settings() }, &Progress::hidden()).unwrap();
    // λ·t is far below 1 after one step, so nothing is measured.
    assert!(result.directions.is_empty());
    assert_eq!(result.times.len(), 2);
    assert!((result.times[1] - 1e-3 / result.eigenvalues[0]).abs() < 1e-12);
    // With 1/λ in reach after one step, (1 − λt) is left of the steepest direction, up to what Θ moves in the step.
    let problem = problem();
    let result =
        learning(&problem, &LearningSettings { width: 4096, steps: 10, fraction: 0.2, ..learning_settings() }, &Progress::hidden());
    let result = result.unwrap();
    assert!(!result.directions.is_empty());
    for d in &result.directions {
        let want = 1.0 - d.eigenvalue * result.times[1];
        assert!((d.residuals[0] - 1.0).abs() < 1e-12 && (d.residuals[1] - want).abs() < 0.02, "{} and {want}", d.residuals[1]);
    }
}

#[test]
fn eigenvalues_sum_to_the_squared_norm_of_the_jacobian() {
    let problem = problem();
    let result = learning(&problem, &learning_settings(), &Progress::hidden()).unwrap();
    let (j, _) = linear_model(&problem, 32, 0, &problem.train.x[..18]);
    let want: f64 = j.iter().map(|row| dot(row, row)).sum();
    assert_eq!(result.eigenvalues.len(), 18);
    assert!((result.eigenvalues.iter().sum::<f64>() / want - 1.0).abs() < 1e-5);
}

#[test]
fn the_closed_form_is_gradient_descent_of_the_linearized_network() {
    let problem = problem();
    let settings = linearization_settings();
    let result = linearization(&problem, &settings, &Progress::hidden()).unwrap();
    let (x, x_test) = (&problem.train.x[..18], &problem.test.x[..12]);
    let rate = result.times[1] * 6.0 / result.steps[1] as f64;
    assert_eq!(result.trajectories.len(), 8);
    for trajectory in &result.trajectories {
        let (j, f0) = linear_model(&problem, trajectory.width, 0, x);
        let (j_test, f0_test) = linear_model(&problem, trajectory.width, 0, x_test);
        let at = trajectory.example * 3 + trajectory.output;
        for (k, &steps) in result.steps.iter().enumerate() {
            let both = descend(&j, &j_test, &f0, &f0_test, &problem.train.y[..18], rate, steps);
            let want = both[usize::from(trajectory.is_test)][at];
            let got = trajectory.closed_form[k];
            assert!((got - want).abs() < 1e-4, "step {steps}: {got} and {want}");
        }
        assert!((trajectory.network[0] - trajectory.closed_form[0]).abs() < 1e-6);
    }
    for run in &result.runs {
        assert!(run.train_distance[0] < 1e-6 && run.test_distance[0] < 1e-6);
        assert!(run.loss[run.loss.len() - 1] < run.loss[0]);
        assert!(run.movement > 1e-4);
    }
}

#[test]
fn without_a_rate_nothing_moves() {
    let settings = LinearizationSettings { fraction: 0.0, ..linearization_settings() };
    let result = linearization(&problem(), &settings, &Progress::hidden()).unwrap();
    for run in &result.runs {
        assert_eq!(run.movement, 0.0);
        assert!(run.loss.iter().all(|&loss| loss == run.loss[0]));
        assert!(run.test_distance.iter().all(|&d| d < 1e-6));
    }
}

/// `A⁻¹ b` for every column of `b`, by Gaussian elimination with row exchanges.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let n = a.len();
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs())).unwrap();
        a.swap(k, pivot);
        b.swap(k, pivot);
        for i in (0..n).filter(|&i| i != k) {
            let factor = a[i][k] / a[k][k];
            let (row, rhs) = (a[k].clone(), b[k].clone());
            a[i].iter_mut().zip(&row).for_each(|(x, y)| *x -= factor * y);
            b[i].iter_mut().zip(&rhs).for_each(|(x, y)| *x -= factor * y);
        }
    }
    (0..n).map(|i| b[i].iter().map(|v| v / a[i][i]).collect()).collect()
}

/// Training and test error of ridge regression with a kernel of two inputs.
fn regression_errors(problem: &Problem, ridge: f64, kernel: impl Fn(&[f64], &[f64]) -> f64) -> (f64, f64) {
    let train: Vec<&[f64]> = problem.train.x.chunks(3).collect();
    let test: Vec<&[f64]> = problem.test.x.chunks(3).collect();
    let mut k: Vec<Vec<f64>> = train.iter().map(|a| train.iter().map(|b| kernel(a, b)).collect()).collect();
    let plain = k.clone();
    let shift = ridge * (0..k.len()).map(|i| k[i][i]).sum::<f64>() / k.len() as f64;
    (0..k.len()).for_each(|i| k[i][i] += shift);
    let weights = solve(k, problem.train.y.chunks(3).map(<[f64]>::to_vec).collect());
    let answer = |row: &[f64]| {
        let f: Vec<f64> = (0..3).map(|a| row.iter().zip(&weights).map(|(k, w)| k * w[a]).sum()).collect();
        (0..3).max_by(|&a, &b| f64::total_cmp(&f[a], &f[b])).unwrap()
    };
    let share = |rows: &[Vec<f64>], labels: &[usize]| {
        rows.iter().zip(labels).filter(|(row, label)| answer(row) != **label).count() as f64 / labels.len() as f64
    };
    let cross: Vec<Vec<f64>> = test.iter().map(|a| train.iter().map(|b| kernel(a, b)).collect()).collect();
    (share(&plain, &problem.train.labels), share(&cross, &problem.test.labels))
}

#[test]
fn regressions_are_those_of_gaussian_elimination() {
    let problem = problem();
    // A large ridge, so that errors are not all zero.
    for ridge in [1e-3, 3.0] {
        let settings = GeneralizationSettings { ridge, ..generalization_settings() };
        let result = generalization(&problem, &settings, &Progress::hidden()).unwrap();
        let errors = |name: &str| {
            let method = result.methods.iter().find(|m| m.name == name).unwrap();
            assert!(method.interval.0 <= method.test_error && method.test_error <= method.interval.1);
            (method.train_error, method.test_error)
        };
        assert_eq!(errors("linear regression"), regression_errors(&problem, ridge, |a, b| dot(a, b) / 3.0 + 1.0));
        let limit = InfiniteKernel::new(&problem.network(1).unwrap()).unwrap();
        let infinite = |a: &[f64], b: &[f64]| limit.ntk(Mat::new(a, 1, 3), Some(Mat::new(b, 1, 3)))[0];
        assert_eq!(errors("Θ at infinite width"), regression_errors(&problem, ridge, infinite));
        let own = |a: &[f64], b: &[f64]| {
            let (ja, _) = linear_model(&problem, 32, 0, a);
            let (jb, _) = linear_model(&problem, 32, 0, b);
            ja.iter().zip(&jb).map(|(u, v)| dot(u, v)).sum::<f64>() / 3.0
        };
        assert_eq!(errors("its Θ before training"), regression_errors(&problem, ridge, own));
        // Once before training and once after each epoch; the last is what the trained network answers.
        assert_eq!(result.history.len(), settings.epochs + 1);
        assert_eq!(errors("trained network"), result.history[settings.epochs]);
        assert_eq!(result.mistakes.len() as f64 / 9.0, errors("trained network").1);
    }
}

#[test]
fn one_two_or_seven_threads_give_the_same_bits() {
    let problem = problem();
    let quiet = Progress::hidden();
    let all = || {
        let text = |value: serde_json::Result<String>| value.unwrap();
        [
            text(serde_json::to_string(&convergence(&problem, &convergence_settings(), &quiet).unwrap())),
            text(serde_json::to_string(&learning(&problem, &LearningSettings { steps: 30, ..learning_settings() }, &quiet).unwrap())),
            text(serde_json::to_string(&linearization(&problem, &linearization_settings(), &quiet).unwrap())),
            text(serde_json::to_string(&generalization(&problem, &generalization_settings(), &quiet).unwrap())),
        ]
    };
    let once = all();
    for threads in [1, 2, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(all), once, "{threads} threads");
    }
}

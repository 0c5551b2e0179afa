//! Test error on one split: a trained network, kernels, and a linear baseline.

use super::{ExperimentError, Problem, double, finite, single};
use crate::progress::{Progress, Stage};
use nn::{Loss, Plan, Trainer, train};
use ntk::{Flow, InfiniteKernel, Outputs, Time};
use serde::Serialize;
use simd::{Accumulate, Mat, MatMut};
use std::ops::ControlFlow;

/// What to run.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneralizationSettings {
    /// Width of the hidden layers.
    pub width: usize,
    /// Passes over the training examples.
    pub epochs: usize,
    /// Examples a step.
    pub batch: usize,
    /// The rate, as a fraction of the inverse curvature.
    pub fraction: f64,
    /// The ridge of all kernel regressions, as a fraction of the mean of the kernel's diagonal.
    pub ridge: f64,
}

impl GeneralizationSettings {
    /// A wide network and many epochs, or a narrower one and fewer.
    pub fn new(quick: bool) -> Self {
        let (width, epochs) = if quick { (256, 200) } else { (512, 100) };
        GeneralizationSettings { width, epochs, batch: 64, fraction: 0.5, ridge: 1e-4 }
    }
}

/// Test errors of several methods.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Generalization {
    /// Width of the network's hidden layers.
    pub width: usize,
    /// Training examples.
    pub train: usize,
    /// Test examples.
    pub test: usize,
    /// The ridge of the kernel regressions.
    pub ridge: f64,
    /// In the order of the report.
    pub methods: Vec<Method>,
    /// Training and test error of the network, epoch by epoch.
    pub history: Vec<(f64, f64)>,
    /// Test examples that the trained network gets wrong: (place, the class that it says).
    pub mistakes: Vec<(usize, usize)>,
}

/// One method and its errors.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Method {
    /// Its name.
    pub name: String,
    /// Share of training examples that are classified wrongly.
    pub train_error: f64,
    /// Share of test examples that are classified wrongly.
    pub test_error: f64,
    /// The 95 % interval of the test error (Wilson 1927).
    pub interval: (f64, f64),
}

/// Something at the training and at the test examples.
type Both = (Vec<f64>, Vec<f64>);

/// The names of the methods, in order. The closed form starts at the outputs f0 of the network, the regressions start at 0.
const NAMES: [&str; 6] =
    ["linear regression", "trained network", "its closed form", "its Θ before training", "its Θ after training", "Θ at infinite width"];

/// Trains a network and solves kernel regressions on the same examples, each with one output a class; the largest output is the answer.
///
/// The network's own Θ is the mean over its outputs, one kernel for all of them. Its entries between different outputs, of order `W^{−1/2}` and
/// zero in the limit, are left out: a full kernel of all examples would have `N·O` rows.
///
/// # Errors
/// If the network cannot be made, a kernel not be decomposed, or training diverges.
pub fn generalization(
    problem: &Problem,
    settings: &GeneralizationSettings,
    progress: &Progress,
) -> Result<Generalization, ExperimentError> {
    let (train_set, test_set) = (&problem.train, &problem.test);
    let (x, y, x_test) = (single(&train_set.x), single(&train_set.y), single(&test_set.x));
    let network = problem.network(settings.width)?;
    let parameters = network.init::<f32>(0)?;
    let steps_per_epoch = train_set.n.div_ceil(settings.batch);
    let steps = settings.epochs * steps_per_epoch;
    let stage = progress.stage("test error", steps as u64 + 4);

    stage.message("training the network");
    let mut trainer = Trainer::new(&network, &parameters, Loss::SquaredError);
    let plan = Plan { rate: settings.fraction / problem.curvature()?, batch: Some(settings.batch), steps, ..Plan::default() };
    let mut history = Vec::new();
    train(&mut trainer, &x, &y, &plan, |step, trainer| {
        if step % steps_per_epoch == 0 {
            let train = wrong(&double(trainer.outputs(&x)), &train_set.labels);
            let test = wrong(&double(trainer.outputs(&x_test)), &test_set.labels);
            history.push((share(&train), share(&test)));
        }
        stage.step();
        ControlFlow::Continue(())
    })?;
    let outputs = (double(trainer.outputs(&x)), double(trainer.outputs(&x_test)));
    let trained = trainer.parameters();

    let (n, m, o) = (train_set.n, test_set.n, problem.classes);
    // The answers at both sets of a flow that begins at f0; regression begins at 0 and goes on for ever.
    let from = |flow: &Flow, time: Time, kernel: &Both, f0: &Both| -> Result<Both, ExperimentError> {
        let (targets, f0, f0_test) = (Mat::new(&train_set.y, n, o), Mat::new(&f0.0, n, o), Mat::new(&f0.1, m, o));
        let test = flow.test(time, Mat::new(&kernel.1, m, n), f0, f0_test, targets)?;
        Ok((flow.test(time, Mat::new(&kernel.0, n, n), f0, f0, targets)?, test))
    };
    let zero = (vec![0.0; n * o], vec![0.0; m * o]);
    let regression = |kernel: Both, stage: &Stage<'_>| {
        let answers = from(&Flow::new(Mat::new(&kernel.0, n, n), settings.ridge)?, Time::Infinite, &kernel, &zero);
        stage.step();
        answers
    };
    let own = |parameters: &[Vec<f32>]| -> Result<Both, ExperimentError> {
        let train = finite(&network, parameters, &x, None, Outputs::Trace)?;
        let test = finite(&network, parameters, &x_test, Some(&x), Outputs::Trace)?;
        Ok((double(&train.values), double(&test.values)))
    };
    stage.message("linear regression");
    let linear = regression(linear_kernel(problem), &stage)?;
    stage.message("kernel regression with the network's own Θ");
    let start = own(&parameters)?;
    let flow = Flow::new(Mat::new(&start.0, n, n), 0.0)?;
    let f0 = (double(&network.apply(&parameters, &x)), double(&network.apply(&parameters, &x_test)));
    // A step on a batch is on average a step of rate/N on the sum over all examples.
    let closed_form = from(&flow, Time::Steps { rate: plan.rate / n as f64, steps: steps as u64 }, &start, &f0)?;
    let before = from(&flow.with_ridge(settings.ridge)?, Time::Infinite, &start, &zero)?;
    stage.step();
    let after = regression(own(&trained)?, &stage)?;
    stage.message("kernel regression at infinite width");
    let limit = InfiniteKernel::new(&network)?;
    let d = problem.features;
    let (train_x, test_x) = (Mat::new(&train_set.x, train_set.n, d), Mat::new(&test_set.x, test_set.n, d));
    let infinite = regression((limit.evaluate(train_x, None).ntk, limit.evaluate(test_x, Some(train_x)).ntk), &stage)?;
    stage.finish();

    let mistakes = wrong(&outputs.1, &test_set.labels).into_iter().enumerate().filter_map(|(i, said)| said.map(|s| (i, s))).collect();
    let answers = [linear, outputs, closed_form, before, after, infinite];
    let methods = NAMES.iter().zip(&answers).map(|(name, (train, test))| {
        let (train, test) = (wrong(train, &train_set.labels), wrong(test, &test_set.labels));
        let errors = test.iter().flatten().count();
        Method { name: (*name).into(), train_error: share(&train), test_error: share(&test), interval: wilson(errors, test_set.n) }
    });
    let methods = methods.collect();
    Ok(Generalization { width: settings.width, train: train_set.n, test: test_set.n, ridge: settings.ridge, methods, history, mistakes })
}

/// `x·x'/d + 1`: linear regression with an intercept, as a kernel.
fn linear_kernel(problem: &Problem) -> Both {
    let d = problem.features;
    let x = Mat::new(&problem.train.x, problem.train.n, d);
    let gram = |a: Mat<'_, f64>| {
        let mut k = vec![0.0; a.rows() * x.rows()];
        simd::product(a, x.t(), Accumulate::Set, MatMut::new(&mut k, a.rows(), x.rows()));
        k.iter_mut().for_each(|k| *k = *k / d as f64 + 1.0);
        k
    };
    (gram(x), gram(Mat::new(&problem.test.x, problem.test.n, d)))
}

/// For each example the class that the outputs say, where it is wrong.
fn wrong(outputs: &[f64], labels: &[usize]) -> Vec<Option<usize>> {
    let classes = outputs.len() / labels.len().max(1);
    let answer = |row: &[f64]| (0..classes).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
    let rows = outputs.chunks(classes.max(1));
    rows.zip(labels).map(|(row, &label)| Some(answer(row)).filter(|&said| said != label)).collect()
}

fn share(wrong: &[Option<usize>]) -> f64 {
    wrong.iter().flatten().count() as f64 / wrong.len().max(1) as f64
}

/// The 95 % interval of a share of `errors` in `n` (Wilson 1927).
fn wilson(errors: usize, n: usize) -> (f64, f64) {
    let (z, n) = (1.959_964, n.max(1) as f64);
    let p = errors as f64 / n;
    let centre = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::{wilson, wrong};

    #[test]
    fn the_largest_output_is_the_answer() {
        assert_eq!(wrong(&[0.1, 0.9, 0.8, 0.2], &[1, 1]), [None, Some(0)]);
        assert_eq!(wrong(&[], &[]), []);
    }

    #[test]
    fn the_interval_of_wilson_is_the_published_one() {
        // Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611.
        let (low, high) = wilson(81, 263);
        assert!((low - 0.2553).abs() < 5e-5 && (high - 0.3662).abs() < 5e-5, "{low} {high}");
        let (low, high) = wilson(0, 20);
        assert!(low == 0.0 && (high - 0.1611).abs() < 5e-5, "{low} {high}");
    }
}

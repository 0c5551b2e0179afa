//! The spectrum of Θ, and how fast a network that is trained learns each of its directions.

use super::{ExperimentError, LARGEST_KERNEL, Problem, double, finite, root_mean_square, single, watched};
use crate::progress::Progress;
use nn::{Loss, Plan, Trainer, train};
use ntk::{Outputs, Spectrum, full_matrix};
use serde::Serialize;
use simd::{Accumulate, Mat, MatMut};
use std::ops::ControlFlow;

/// Directions whose residual begins below this share of the typical one are left out.
const SMALLEST_START: f64 = 0.1;

/// What to run.
#[derive(Clone, Debug, PartialEq)]
pub struct LearningSettings {
    /// Width of the hidden layers.
    pub width: usize,
    /// Training examples.
    pub examples: usize,
    /// Steps of gradient descent.
    pub steps: usize,
    /// The rate, as a fraction of the inverse curvature. Small, so that gradient descent follows the flow.
    pub fraction: f64,
}

impl LearningSettings {
    /// A wide network and many steps, or a narrower one and fewer.
    pub fn new(quick: bool) -> Self {
        let (width, examples, steps) = if quick { (512, 40, 400) } else { (2048, 100, 500) };
        LearningSettings { width, examples, steps, fraction: if quick { 0.2 } else { 0.4 } }
    }
}

/// How fast each eigendirection of Θ was learnt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Learning {
    /// Width of the hidden layers.
    pub width: usize,
    /// Training examples.
    pub examples: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// Eigenvalues of the network's full Θ at the start, descending: one for each example and output.
    pub eigenvalues: Vec<f64>,
    /// Eigenvalues of Θ∞, one for each example: there all outputs have the same.
    pub limit_eigenvalues: Vec<f64>,
    /// Times at which training was watched, `t = rate·steps/N`.
    pub times: Vec<f64>,
    /// The directions whose `1/λ` lies within the training.
    pub directions: Vec<Direction>,
}

/// One eigendirection `v` of Θ, a pattern over examples and outputs, with the residual `r(t) = |vᵀ(f(t) − y)|` in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Direction {
    /// Its place in the spectrum, from 0.
    pub index: usize,
    /// Its eigenvalue, which by theory is its rate.
    pub eigenvalue: f64,
    /// The rate that was measured, `−ln(r(t)/r(0))/t` at the watched time nearest to `1/λ`.
    pub rate: f64,
    /// `r(t)/r(0)` at the watched times.
    pub residuals: Vec<f64>,
}

/// Trains a wide network by gradient descent on its first examples and watches its residual in the eigendirections of Θ.
///
/// Theory (Jacot, Gabriel and Hongler 2018, section 5): `r(t) = e^{−λt} r(0)`.
///
/// # Errors
/// If a network cannot be made, a kernel not be decomposed, or training diverges.
pub fn learning(problem: &Problem, settings: &LearningSettings, progress: &Progress) -> Result<Learning, ExperimentError> {
    let n = settings.examples.min(problem.train.n).min((LARGEST_KERNEL / problem.classes).max(2));
    let (x64, y64) = (&problem.train.x[..n * problem.features], &problem.train.y[..n * problem.classes]);
    let (x, y) = (single(x64), single(y64));
    let network = problem.network(settings.width)?;
    let parameters = network.init::<f32>(0)?;
    let size = n * problem.classes;
    let theta = double(&finite(&network, &parameters, &x, None, Outputs::Full)?.values);
    let spectrum = Spectrum::of(Mat::new(&full_matrix(&theta, n, n, problem.classes), size, size))?;
    let limit = Spectrum::of(Mat::new(&problem.infinite(x64, None)?, n, n))?;
    let eigenvalues = spectrum.values().to_vec();

    let time_step = settings.fraction / eigenvalues[0];
    let plan = Plan { rate: time_step * n as f64, steps: settings.steps, ..Plan::default() };
    let steps = watched(settings.steps, 8);
    // By watched time and direction: vᵀ(f − y).
    let mut residuals: Vec<Vec<f64>> = Vec::new();
    let stage = progress.stage("directions of Θ, trained", settings.steps as u64);
    let mut trainer = Trainer::new(&network, &parameters, Loss::SquaredError);
    train(&mut trainer, &x, &y, &plan, |step, trainer| {
        if steps.binary_search(&step).is_ok() {
            let f = trainer.outputs(&x);
            let residual: Vec<f64> = f.iter().zip(y64).map(|(&f, y)| f64::from(f) - y).collect();
            residuals.push(components(&spectrum, &residual));
        }
        stage.step();
        ControlFlow::Continue(())
    })?;
    stage.finish();

    let times: Vec<f64> = steps.iter().map(|&s| s as f64 * time_step).collect();
    let last = times[times.len() - 1];
    let direction = |index: usize| {
        let eigenvalue = eigenvalues[index];
        let residuals: Vec<f64> = residuals.iter().map(|r| r[index] / residuals[0][index]).collect();
        let away = |t: f64| (t * eigenvalue).ln().abs();
        let nearest =
            (1..times.len()).min_by(|&a, &b| away(times[a]).total_cmp(&away(times[b]))).expect("training was watched after its start");
        Direction { index, eigenvalue, rate: -residuals[nearest].abs().ln() / times[nearest], residuals }
    };
    // What begins with next to no residual says nothing about its decay.
    let typical = root_mean_square(residuals[0].iter().copied());
    let directions = (0..size)
        .take_while(|&k| eigenvalues[k] * last >= 1.0)
        .filter(|&k| residuals[0][k].abs() >= SMALLEST_START * typical)
        .map(direction)
        .collect();
    let limit_eigenvalues = limit.values().to_vec();
    Ok(Learning { width: settings.width, examples: n, outputs: problem.classes, eigenvalues, limit_eigenvalues, times, directions })
}

/// `Vᵀ r`.
fn components(spectrum: &Spectrum, residual: &[f64]) -> Vec<f64> {
    let n = residual.len();
    let mut components = vec![0.0; n];
    simd::product(spectrum.vectors().t(), Mat::new(residual, n, 1), Accumulate::Set, MatMut::new(&mut components, n, 1));
    components
}

//! Θ of finite networks against Θ at infinite width, as the width grows.

use super::{ExperimentError, Line, Problem, double, finite, relative_distance, single};
use crate::progress::Progress;
use ntk::Outputs;
use serde::Serialize;

/// What to run.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvergenceSettings {
    /// Widths of the hidden layers.
    pub widths: Vec<usize>,
    /// Networks of each width, with different random weights.
    pub seeds: u64,
    /// Training examples that the kernel is of.
    pub examples: usize,
}

impl ConvergenceSettings {
    /// Widths 64 to 4096, or fewer and narrower ones.
    pub fn new(quick: bool) -> Self {
        let (last, seeds, examples) = if quick { (9, 3, 40) } else { (12, 8, 100) };
        ConvergenceSettings { widths: (6..=last).map(|i| 1 << i).collect(), seeds, examples }
    }
}

/// How Θ of random networks approaches its limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Convergence {
    /// Widths of the hidden layers.
    pub widths: Vec<usize>,
    /// Examples that the kernel is of.
    pub examples: usize,
    /// `‖Θ_W − Θ∞‖/‖Θ∞‖` (Frobenius), by width and seed.
    pub errors: Vec<Vec<f64>>,
    /// The power law of the error in the width. Jacot, Gabriel and Hongler 2018 prove convergence; fluctuations of order `W^{−1/2}` are
    /// those of a mean over `W` units (Huang and Yau 2020; Hanin and Nica 2020).
    pub law: Line,
    /// Some entries `(i, j)` of the kernel, with their limit and their value by width and seed.
    pub entries: Vec<Entry>,
}

/// One entry of the kernel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// The examples.
    pub pair: (usize, usize),
    /// At infinite width.
    pub limit: f64,
    /// By width and seed.
    pub values: Vec<Vec<f64>>,
}

/// Draws networks of every width and compares their kernels with the limit.
///
/// # Errors
/// If a network or its limit cannot be made.
pub fn convergence(problem: &Problem, settings: &ConvergenceSettings, progress: &Progress) -> Result<Convergence, ExperimentError> {
    let n = settings.examples.min(problem.train.n);
    let x = &problem.train.x[..n * problem.features];
    let limit = problem.infinite(x, None)?;
    let x = single(x);
    let mut entries: Vec<Entry> =
        [(0, 0), (0, 1 % n)].map(|pair| Entry { pair, limit: limit[pair.0 * n + pair.1], values: Vec::new() }).into();
    let mut errors = Vec::new();
    let stage = progress.stage("Θ at finite width", settings.widths.len() as u64 * settings.seeds);
    for &width in &settings.widths {
        stage.message(&format!("width {width}"));
        let network = problem.network(width)?;
        let mut kernels = Vec::new();
        for seed in 0..settings.seeds {
            let theta = finite(&network, &network.init(seed)?, &x, None, Outputs::Trace)?;
            kernels.push(double(&theta.values));
            stage.step();
        }
        errors.push(kernels.iter().map(|k| relative_distance(k, &limit)).collect::<Vec<_>>());
        for entry in &mut entries {
            entry.values.push(kernels.iter().map(|k| k[entry.pair.0 * n + entry.pair.1]).collect());
        }
    }
    let (mut w, mut e) = (Vec::new(), Vec::new());
    for (&width, errors) in settings.widths.iter().zip(&errors) {
        w.extend(errors.iter().map(|_| width as f64));
        e.extend(errors);
    }
    let law = Line::power_law(&w, &e);
    stage.finish();
    Ok(Convergence { widths: settings.widths.clone(), examples: n, errors, law, entries })
}

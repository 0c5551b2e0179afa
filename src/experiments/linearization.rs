//! A trained network against the closed form of its linearization, as the width grows.

use super::{ExperimentError, LARGEST_KERNEL, Line, Problem, double, finite, relative_distance, root_mean_square, single, watched};
use crate::progress::Progress;
use nn::{Loss, Plan, Trainer, train};
use ntk::{Flow, Outputs, Spectrum, Time, full_matrix};
use serde::Serialize;
use simd::Mat;
use std::ops::ControlFlow;

/// What to run.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearizationSettings {
    /// Widths of the hidden layers.
    pub widths: Vec<usize>,
    /// Networks of each width.
    pub seeds: u64,
    /// Training examples.
    pub train: usize,
    /// Test examples.
    pub test: usize,
    /// Steps of gradient descent.
    pub steps: usize,
    /// The rate, as a fraction of `N/λ_max`, with the largest eigenvalue of the full Θ of the narrowest networks: there it is largest, and
    /// beyond twice that rate their closed form grows without bound.
    pub fraction: f64,
}

impl LinearizationSettings {
    /// Widths 64 to 1024, or fewer and narrower ones.
    pub fn new(quick: bool) -> Self {
        let (last, seeds, train, test, steps) = if quick { (9, 2, 24, 16, 100) } else { (10, 4, 60, 60, 160) };
        LinearizationSettings { widths: (6..=last).map(|i| 1 << i).collect(), seeds, train, test, steps, fraction: 0.5 }
    }
}

/// How far trained networks stay from their linearization.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Linearization {
    /// Training examples.
    pub train: usize,
    /// Test examples.
    pub test: usize,
    /// Steps at which training was watched.
    pub steps: Vec<usize>,
    /// The same as times, `t = rate·steps/N`.
    pub times: Vec<f64>,
    /// One for each width and seed, seeds innermost.
    pub runs: Vec<Run>,
    /// The power law in the width of the final distance on test inputs.
    pub distance_law: Line,
    /// The power law in the width of the movement of Θ.
    pub movement_law: Line,
    /// Outputs over time, of the narrowest and of the widest network.
    pub trajectories: Vec<Trajectory>,
}

/// One network that was trained.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Width of its hidden layers.
    pub width: usize,
    /// The seed of its weights.
    pub seed: u64,
    /// Root mean square of `f(t) − f_lin(t)` over training inputs and outputs, at the watched steps.
    pub train_distance: Vec<f64>,
    /// The same over test inputs.
    pub test_distance: Vec<f64>,
    /// `‖Θ_end − Θ_start‖/‖Θ_start‖` on training inputs (trace over outputs).
    pub movement: f64,
    /// The mean loss on training inputs at the watched steps.
    pub loss: Vec<f64>,
}

/// An output of one network over time, trained and in closed form.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trajectory {
    /// Width of the hidden layers.
    pub width: usize,
    /// Whether the input is a training or a test input.
    pub is_test: bool,
    /// Which example.
    pub example: usize,
    /// Which output: the class of the example.
    pub output: usize,
    /// The network.
    pub network: Vec<f64>,
    /// The closed form.
    pub closed_form: Vec<f64>,
}

/// Trains networks of every width and holds their outputs against
/// `f_lin(t) = f0 + Θ(x, X) Θ⁻¹ (I − (I − ηΘ/N)^steps)(y − f0(X))`, the gradient descent of the network that is linear in its parameters
/// (Lee, Xiao et al. 2019, section 2), with the network's own full Θ and f0. They prove a distance of order `W^{−1/2}` at most, and the
/// same for the movement of Θ (theorem 2.1), for a positive definite Θ, a rate below `2/λ_max` and an activation whose derivative is Lipschitz. That
/// of ReLU is not: here the exponent is an observation.
///
/// # Errors
/// If a network cannot be made, a kernel not be decomposed, or training diverges.
pub fn linearization(problem: &Problem, settings: &LinearizationSettings, progress: &Progress) -> Result<Linearization, ExperimentError> {
    let n = settings.train.min(problem.train.n).min((LARGEST_KERNEL / problem.classes).max(2));
    let m = settings.test.min(problem.test.n);
    let (d, o) = (problem.features, problem.classes);
    let (x, y) = (single(&problem.train.x[..n * d]), single(&problem.train.y[..n * o]));
    let x_test = single(&problem.test.x[..m * d]);
    let y64 = &problem.train.y[..n * o];
    let (narrowest, widest) = (settings.widths.iter().min(), settings.widths.iter().max());
    let mut largest = 0.0_f64;
    for seed in 0..settings.seeds {
        let network = problem.network(narrowest.copied().unwrap_or(1))?;
        let kernel = full(&finite(&network, &network.init(seed)?, &x, None, Outputs::Full)?);
        largest = largest.max(Spectrum::of(Mat::new(&kernel, n * o, n * o))?.values()[0]);
    }
    let rate = settings.fraction * n as f64 / largest;
    let steps = watched(settings.steps, 3);
    let times: Vec<f64> = steps.iter().map(|&s| s as f64 * rate / n as f64).collect();

    let (mut runs, mut trajectories) = (Vec::new(), Vec::new());
    let stage = progress.stage("trained against closed form", settings.widths.len() as u64 * settings.seeds);
    for &width in &settings.widths {
        let network = problem.network(width)?;
        for seed in 0..settings.seeds {
            stage.message(&format!("width {width}, seed {seed}"));
            let parameters = network.init::<f32>(seed)?;
            let train_kernel = full(&finite(&network, &parameters, &x, None, Outputs::Full)?);
            let test_kernel = full(&finite(&network, &parameters, &x_test, Some(&x), Outputs::Full)?);
            let start = double(&finite(&network, &parameters, &x, None, Outputs::Trace)?.values);
            let flow = Flow::new(Mat::new(&train_kernel, n * o, n * o), 0.0)?;
            let f0 = double(&network.apply(&parameters, &x));
            let f0_test = double(&network.apply(&parameters, &x_test));

            let (mut seen, mut seen_test) = (Vec::new(), Vec::new());
            let mut trainer = Trainer::new(&network, &parameters, Loss::SquaredError);
            let plan = Plan { rate, steps: settings.steps, ..Plan::default() };
            train(&mut trainer, &x, &y, &plan, |step, trainer| {
                if steps.binary_search(&step).is_ok() {
                    seen.push(double(trainer.outputs(&x)));
                    seen_test.push(double(trainer.outputs(&x_test)));
                }
                ControlFlow::Continue(())
            })?;
            let end = double(&finite(&network, &trainer.parameters(), &x, None, Outputs::Trace)?.values);

            let mut linear = Vec::new();
            for &s in &steps {
                let time = Time::Steps { rate: rate / n as f64, steps: s as u64 };
                let train = flow.train(time, Mat::new(&f0, n * o, 1), Mat::new(y64, n * o, 1))?;
                let test = flow.test(
                    time,
                    Mat::new(&test_kernel, m * o, n * o),
                    Mat::new(&f0, n * o, 1),
                    Mat::new(&f0_test, m * o, 1),
                    Mat::new(y64, n * o, 1),
                )?;
                linear.push((train, test));
            }
            let distance = |a: &[f64], b: &[f64]| root_mean_square(a.iter().zip(b).map(|(a, b)| a - b));
            runs.push(Run {
                width,
                seed,
                train_distance: seen.iter().zip(&linear).map(|(f, (l, _))| distance(f, l)).collect(),
                test_distance: seen_test.iter().zip(&linear).map(|(f, (_, l))| distance(f, l)).collect(),
                movement: relative_distance(&end, &start),
                loss: seen.iter().map(|f| 0.5 * f.iter().zip(y64).map(|(f, y)| (f - y).powi(2)).sum::<f64>() / n as f64).collect(),
            });
            if seed == 0 && (Some(&width) == narrowest || Some(&width) == widest) {
                for (is_test, examples, labels) in [(false, n, &problem.train.labels), (true, m, &problem.test.labels)] {
                    for example in 0..examples.min(2) {
                        let output = labels[example];
                        let at = example * o + output;
                        let network = if is_test { &seen_test } else { &seen };
                        trajectories.push(Trajectory {
                            width,
                            is_test,
                            example,
                            output,
                            network: network.iter().map(|f| f[at]).collect(),
                            closed_form: linear.iter().map(|(train, test)| if is_test { test[at] } else { train[at] }).collect(),
                        });
                    }
                }
            }
            stage.step();
        }
    }
    stage.finish();
    let widths: Vec<f64> = runs.iter().map(|r| r.width as f64).collect();
    let last = |r: &Run| r.test_distance[r.test_distance.len() - 1];
    let distance_law = Line::power_law(&widths, &runs.iter().map(last).collect::<Vec<_>>());
    let movement_law = Line::power_law(&widths, &runs.iter().map(|r| r.movement).collect::<Vec<_>>());
    Ok(Linearization { train: n, test: m, steps, times, runs, distance_law, movement_law, trajectories })
}

fn full(kernel: &ntk::Kernel<f32>) -> Vec<f64> {
    full_matrix(&double(&kernel.values), kernel.n1, kernel.n2, kernel.outputs)
}

//! `tangents train`: from files to a file of weights.

mod arguments;
mod session;
mod targets;

use super::kernel::{Number, Precision, in_file, largest_file, read_inputs, read_model};
use super::{Failure, Summary};
use nn::{Network, Optimizer, Plan, Trainer};
use ntk::{Finite, largest_stable_rate};
use serde_json::json;
use session::Session;
use std::path::Path;
use tangents::files;
use tangents::memory;
use tangents::progress::Progress;
use targets::{Examples, read_targets};

pub(crate) use arguments::Arguments;

pub(crate) fn run(a: &Arguments, json: bool, progress: &Progress) -> Result<Option<Summary>, Failure> {
    a.check(json)?;
    match a.dtype {
        Precision::F32 => train::<f32>(a, json, progress),
        Precision::F64 => train::<f64>(a, json, progress),
    }
}

/// The part of the largest stable rate that gradient descent takes unless a rate is given.
const DEFAULT_FRACTION: f64 = 0.5;
/// The rate of Adam unless one is given: that of Kingma and Ba 2015.
const ADAM_RATE: f64 = 1e-3;

fn train<T: Number>(a: &Arguments, json: bool, progress: &Progress) -> Result<Option<Summary>, Failure> {
    files::check_writable(&a.out)?;
    if let Some(path) = a.checkpoint() {
        files::check_writable(path)?;
        if a.resume.is_none() && path.exists() {
            let problem = "a checkpoint is there already: go on from it with --resume, or remove it to start anew";
            return Err(in_file(path, problem));
        }
    }
    let network = read_model(&a.model)?;
    let training = read_examples::<T>(a, &network, &a.x_train, &a.y_train)?;
    if training.n == 0 {
        return Err(in_file(&a.x_train, "there are no examples to train on"));
    }
    let test = match (&a.x_test, &a.y_test) {
        (Some(x), Some(y)) => Some(read_examples::<T>(a, &network, x, y)?),
        (None | Some(_), None | Some(_)) => None,
    };
    check_memory::<T>(a, &network, training.n)?;
    let factors = a.factors(&network)?;
    let parameters = start::<T>(a, &network)?;
    let rate = match (a.lr, a.optimizer()) {
        (Some(rate), _) => rate,
        (None, Optimizer::Adam { .. }) => ADAM_RATE,
        (None, Optimizer::Sgd { momentum }) => {
            let fraction = a.rate_fraction.unwrap_or(DEFAULT_FRACTION);
            let stage = progress.stage("largest stable rate", 0);
            let finite = Finite { network: &network, parameters: &parameters };
            let count = |i| stage.message(&format!("iteration {}", i + 1));
            let rate = fraction * largest_stable_rate(&finite, &training.x, a.loss(), momentum, &factors, count);
            if !(rate > 0.0 && rate.is_finite()) {
                return Err(Failure::Failed(format!(
                    "the largest stable rate cannot be found: the kernel Θ of the training examples has no largest eigenvalue above 0 \
                     ({rate} would be the rate); give a rate with --lr"
                )));
            }
            stage.message(&format!("the rate is {}, {fraction} of it", significant(rate)));
            stage.finish();
            rate
        }
    };
    let plan = Plan { rate, schedule: a.schedule(), batch: a.batch(), steps: a.steps, seed: a.seed.unwrap_or_default() };
    let trainer = Trainer::new(&network, &parameters, a.loss()).with_rates(&factors).with_optimizer(a.optimizer()).with_decay(a.decay());
    let mut session = Session { a, plan, trainer, training: &training, test: test.as_ref(), json, progress };
    session.resume()?;
    let end = session.run()?;
    let what = json!({
        "out": a.out.to_string_lossy(), "steps": plan.steps, "rate": plan.rate, "examples": training.n, "optimizer": a.optimizer().name(),
        "parameters": network.n_parameters(), "dtype": T::NAME, "cpu_level": simd::Level::best().to_string(),
    });
    let mut summary = end.json();
    if let (Some(summary), Some(what)) = (summary.as_object_mut(), what.as_object()) {
        summary.remove("step");
        summary.extend(what.clone());
    }
    let text = format!(
        "{}: {} steps of {} at the rate {} on {} examples, {}, {}\n{}",
        a.out.display(),
        plan.steps,
        a.optimizer().name(),
        significant(plan.rate),
        training.n,
        T::NAME,
        simd::Level::best(),
        end.lines()
    );
    // Weights that went to stdout are followed by nothing, so that they can be read.
    Ok((!a.out_is_stdout()).then_some(Summary { text, json: summary }))
}

fn read_examples<T: Number>(a: &Arguments, network: &Network, x_path: &Path, y_path: &Path) -> Result<Examples<T>, Failure> {
    let (n, x) = read_inputs::<T>(x_path, network, &a.model)?;
    let (y, labels) = read_targets::<T>(y_path, x_path, n, network.outputs(), a.loss(), &a.model)?;
    Ok(Examples { n, x, y, labels })
}

fn start<T: Number>(a: &Arguments, network: &Network) -> Result<Vec<Vec<T>>, Failure> {
    match &a.weights {
        Some(path) => network.load_weights(&files::read_bytes(path, largest_file(network))?).map_err(|e| in_file(path, e)),
        None => network.init(a.seed.unwrap_or_default()).map_err(|e| in_file(&a.model, e)),
    }
}

/// Parameters, gradients and moments, and two numbers for everything that a batch passes through.
fn check_memory<T>(a: &Arguments, network: &Network, n: usize) -> Result<(), Failure> {
    let size = size_of::<T>() as u128;
    let parameters: u128 = network.parameters().iter().map(|p| p.shape.dims().iter().map(|&d| d as u128).product::<u128>()).sum();
    memory::check(6 * parameters * size, "the network", "make its layers narrower").map_err(Failure::failed)?;
    let given = |row: &nn::Row| row.shape.iter().map(|&n| n as u128).product::<u128>();
    let values = network.n_inputs() as u128 + network.summary().iter().map(given).sum::<u128>();
    let batch = a.batch().unwrap_or(n).min(n) as u128;
    memory::check(2 * batch * values * size, "a step", "use a smaller --batch or --dtype f32").map_err(Failure::failed)
}

/// Four digits.
fn significant(x: f64) -> String {
    let magnitude = x.abs().log10().floor();
    if (-4.0..4.0).contains(&magnitude) { format!("{x:.*}", (3.0 - magnitude) as usize) } else { format!("{x:.3e}") }
}

#[cfg(test)]
mod tests {
    #[test]
    fn four_digits_are_shown() {
        let shown = [0.012_345_6, 1.0, 1234.56, 0.000_123_46, 1e-7, 123_456.0].map(super::significant);
        assert_eq!(shown, ["0.01235", "1.000", "1235", "0.0001235", "1.000e-7", "1.235e5"]);
    }
}

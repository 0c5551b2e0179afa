//! Targets of files: numbers, or labels of classes.

use super::in_file;
use crate::cli::Failure;
use crate::cli::kernel::Number;
use nn::Loss;
use std::path::Path;
use tangents::files::npy;

/// Examples with their targets.
pub(super) struct Examples<T> {
    pub(super) n: usize,
    pub(super) x: Vec<T>,
    pub(super) y: Vec<T>,
    /// The class of each example, where the targets are classes.
    pub(super) labels: Option<Vec<usize>>,
}

/// How far the probabilities of an example may be from a sum of 1.
const SUM: f64 = 1e-4;

/// Targets of `n` examples: `[n, outputs]` as they are, or for one output `[n]`. For several outputs whole numbers `[n]` are labels, which become rows of
/// one 1 and zeros; rows that are such already are labels too.
pub(super) fn read_targets<T: Number>(
    path: &Path,
    x_path: &Path,
    n: usize,
    outputs: usize,
    loss: Loss,
    model: &Path,
) -> Result<(Vec<T>, Option<Vec<usize>>), Failure> {
    let array = npy::read(path)?;
    array.require_finite(path)?;
    let shape = array.shape.clone();
    let is_vector = shape.len() == 1;
    if !(is_vector || shape.len() == 2 && shape[1] == outputs) {
        let wanted = if outputs == 1 { "[N] or [N, 1]".to_string() } else { format!("[N, {outputs}], or labels [N]") };
        return Err(in_file(path, format!("targets of shape {shape:?} do not fit the model {model:?}, which needs {wanted}")));
    }
    if shape[0] != n {
        return Err(in_file(path, format!("there are {} targets for the {n} inputs of {x_path:?}", shape[0])));
    }
    let values = array.values.into_f64();
    let labels = match (outputs, is_vector) {
        (1, _) => None,
        (_, true) => Some(labels(&values, outputs).map_err(|problem| in_file(path, problem))?),
        (_, false) => values.chunks(outputs).map(one_hot).collect::<Option<Vec<usize>>>(),
    };
    if loss == Loss::CrossEntropy {
        if outputs == 1 {
            return Err(in_file(model, "--loss xent chooses between outputs, and the model has one; give it one for each class"));
        }
        if labels.is_none() {
            probabilities(&values, outputs).map_err(|problem| in_file(path, problem))?;
        }
    }
    let mut y: Vec<T> = match &labels {
        Some(labels) => {
            let mut y = vec![<T as autodiff::Scalar>::ZERO; n * outputs];
            labels.iter().enumerate().for_each(|(i, &label)| y[i * outputs + label] = <T as autodiff::Scalar>::ONE);
            y
        }
        None => values.iter().map(|&v| <T as autodiff::Scalar>::of(v)).collect(),
    };
    y.shrink_to_fit();
    if let Some(at) = y.iter().position(|v| !v.is_finite()) {
        return Err(in_file(path, format!("row {} is too large for {}", at / outputs, T::NAME)));
    }
    Ok((y, labels.filter(|_| n > 0)))
}

fn labels(values: &[f64], outputs: usize) -> Result<Vec<usize>, String> {
    let label = |(row, &v): (usize, &f64)| {
        if v >= 0.0 && v < outputs as f64 && v.fract() == 0.0 {
            Ok(v as usize)
        } else {
            Err(format!("row {row} is {v}, and the labels of {outputs} classes are whole numbers from 0 to {}", outputs - 1))
        }
    };
    values.iter().enumerate().map(label).collect()
}

/// The place of the only 1 among zeros.
fn one_hot(row: &[f64]) -> Option<usize> {
    let place = row.iter().position(|&v| v == 1.0)?;
    row.iter().enumerate().all(|(i, &v)| i == place || v == 0.0).then_some(place)
}

fn probabilities(values: &[f64], outputs: usize) -> Result<(), String> {
    for (row, p) in values.chunks(outputs).enumerate() {
        let sum: f64 = p.iter().sum();
        if p.iter().any(|&p| p < 0.0) || (sum - 1.0).abs() > SUM {
            return Err(format!("row {row} is no distribution: --loss xent needs labels, or rows of numbers of at least 0 whose sum is 1"));
        }
    }
    Ok(())
}

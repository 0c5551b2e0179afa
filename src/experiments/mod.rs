//! Experiments: what the theory of wide networks says about a data set, and what networks that are really trained on it do.
//!
//! Each experiment is a function from a [`Problem`] and its settings to a result with all numbers that a figure needs. Nothing here
//! draws, and nothing here reads a clock.

mod convergence;
mod fit;
mod generalization;
mod learning;
mod linearization;
mod widths;

use crate::data::{DataError, Dataset};
use autodiff::Refusal;
use nn::{Diverged, ModelError, Network, dense, relu};
use ntk::{Finite, InfiniteKernel, Kernel, MatrixError, NoLimit, Outputs, Spectrum, Strategy, empirical_ntk};
use serde::Serialize;
use simd::Mat;
use thiserror::Error;

pub use convergence::{Convergence, ConvergenceSettings, convergence};
pub use fit::{Line, median};
pub use generalization::{Generalization, GeneralizationSettings, Method, generalization};
pub use learning::{Direction, Learning, LearningSettings, learning};
pub use linearization::{Linearization, LinearizationSettings, Run, Trajectory, linearization};
pub use widths::{CoordinateCheck, CoordinateSettings, Transfer, TransferSettings, coordinate_check, transfer};

/// Why an experiment could not be carried out.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum ExperimentError {
    /// The data set is too small.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data set has too few examples for fits and errors to mean anything.
    #[error("{name:?} has {n} examples of {classes} classes, and a report needs at least {least} of 2; give more")]
    TooSmall {
        /// The data set.
        name: String,
        /// Its examples.
        n: usize,
        /// Its classes.
        classes: usize,
        /// Examples that are needed.
        least: usize,
    },
    /// The network cannot be built.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The network has no limit of infinite width.
    #[error(transparent)]
    Limit(#[from] NoLimit),
    /// A kernel could not be decomposed or inverted.
    #[error(transparent)]
    Matrix(#[from] MatrixError),
    /// Training diverged.
    #[error(transparent)]
    Diverged(#[from] Diverged),
    /// A function mixes examples.
    #[error(transparent)]
    Refusal(#[from] Refusal),
}

/// Some examples with their targets: 1 − 1/C for the class of an example and −1/C for the others, where C is the number of classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Number of examples.
    pub n: usize,
    /// Inputs, `[n, features]`.
    pub x: Vec<f64>,
    /// Targets, `[n, classes]`.
    pub y: Vec<f64>,
    /// The class of each example.
    pub labels: Vec<usize>,
}

/// A classification problem, made ready for networks: inputs standardized by the training examples.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Entries of an input.
    pub features: usize,
    /// Number of classes, which are the outputs of a network.
    pub classes: usize,
    /// What is learnt from.
    pub train: Split,
    /// What is predicted.
    pub test: Split,
    /// The rows of the data set that the test examples are.
    pub test_rows: Vec<usize>,
}

impl Problem {
    /// Draws training and test examples from a data set, alike in their classes.
    ///
    /// # Errors
    /// If the data set has fewer examples.
    pub fn new(data: &Dataset, n_train: usize, n_test: usize, seed: u64) -> Result<Self, DataError> {
        let (train, test) = data.split(n_train, n_test, seed)?;
        let mut data = data.clone();
        data.standardize(&train);
        let split = |rows: &[usize]| Split {
            n: rows.len(),
            x: data.rows(rows),
            y: data.one_hot(rows),
            labels: rows.iter().map(|&i| data.labels[i]).collect(),
        };
        Ok(Problem { features: data.d, classes: data.classes.len(), train: split(&train), test: split(&test), test_rows: test })
    }

    /// The network of all experiments: two hidden layers of a width, ReLU, NTK parameterization, `w_std² = 2` before a ReLU and 1 at the
    /// end, `b_std = 0.1`.
    ///
    /// # Errors
    /// If the width is absurd.
    pub fn network(&self, width: usize) -> Result<Network, ModelError> {
        let hidden = || dense(width).std(std::f64::consts::SQRT_2, 0.1);
        Network::new([self.features], [hidden(), relu(), hidden(), relu(), dense(self.classes).std(1.0, 0.1)])
    }

    /// `Θ∞` of that network between rows of inputs, `[n1, n2]`.
    ///
    /// # Errors
    /// Never for this network: the limit exists.
    pub fn infinite(&self, x1: &[f64], x2: Option<&[f64]>) -> Result<Vec<f64>, ExperimentError> {
        let d = self.features;
        let kernel = InfiniteKernel::new(&self.network(1)?)?;
        Ok(kernel.evaluate(Mat::new(x1, x1.len() / d, d), x2.map(|x| Mat::new(x, x.len() / d, d))).ntk)
    }

    /// The curvature of the mean loss `(1/N) Σ ½‖f − y‖²` at infinite width in its steepest direction, `λ_max(Θ∞)/N`: rates are given as a
    /// fraction of its inverse, and twice the inverse is the largest stable one.
    ///
    /// # Errors
    /// If the kernel has no spectrum.
    pub fn curvature(&self) -> Result<f64, ExperimentError> {
        let theta = self.infinite(&self.train.x, None)?;
        let spectrum = Spectrum::of(Mat::new(&theta, self.train.n, self.train.n))?;
        Ok(spectrum.values()[0] / self.train.n as f64)
    }
}

/// The most rows of a full kernel, `N·O`, that is decomposed: a second or so.
const LARGEST_KERNEL: usize = 1000;

/// Numbers in single precision, in which finite networks are run.
fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// The empirical NTK of a network in single precision.
fn finite(network: &Network, parameters: &[Vec<f32>], x1: &[f32], x2: Option<&[f32]>, kept: Outputs) -> Result<Kernel<f32>, Refusal> {
    empirical_ntk(&Finite { network, parameters }, x1, x2, kept, Strategy::Structured)
}

/// `‖a − b‖/‖b‖`, Frobenius.
fn relative_distance(a: &[f64], b: &[f64]) -> f64 {
    let difference: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    let norm: f64 = b.iter().map(|b| b * b).sum();
    (difference / norm).sqrt()
}

fn root_mean_square(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    (values.map(|v| v * v).sum::<f64>() / n).sqrt()
}

/// Steps at which training is watched: 0, all small ones, then ever fewer, up to `last`.
fn watched(last: usize, per_octave: usize) -> Vec<usize> {
    let octaves = (last.max(1) as f64).log2();
    let n = (octaves * per_octave as f64).ceil() as usize;
    let mut steps = vec![0];
    steps.extend((0..=n).map(|i| (octaves * i as f64 / n.max(1) as f64).exp2().round() as usize));
    steps.dedup();
    steps
}

/// Mean and standard deviation over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of one draw, 0 if there is one only.
    pub std: f64,
}

impl Spread {
    /// Of some values.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        Spread { mean, std: variance.sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Spread, watched};

    #[test]
    fn watched_steps_start_at_zero_grow_and_end_at_the_last() {
        assert_eq!(watched(8, 1), [0, 1, 2, 4, 8]);
        for last in [1, 2, 3, 10, 333] {
            let steps = watched(last, 6);
            assert!(steps[0] == 0 && *steps.last().unwrap() == last && steps.is_sorted_by(|a, b| a < b), "{steps:?}");
        }
    }

    #[test]
    fn the_spread_of_two_values_is_known() {
        assert_eq!(Spread::of(&[1.0, 3.0]), Spread { mean: 2.0, std: 2.0_f64.sqrt() });
        assert_eq!(Spread::of(&[5.0]), Spread { mean: 5.0, std: 0.0 });
    }
}

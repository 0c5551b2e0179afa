//! Where a training stopped being one of finite numbers.

use std::fmt;
use thiserror::Error;

/// A step met a number that is not finite, and was not taken.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("training stopped at step {step}: {place}; {}", advice(place, *rate))]
pub struct Diverged {
    /// The step, counted from 0, that was not taken.
    pub step: usize,
    /// The loss there, finite or not.
    pub loss: f64,
    /// The rate of the step.
    pub rate: f64,
    /// The first number that is not finite.
    pub place: Place,
}

/// Where a number is not finite, in the order in which a step computes them. A layer is named by its place in the model and its type, a parameter by its
/// name in a file of weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Among the inputs.
    Inputs,
    /// Among the targets.
    Targets,
    /// In the output of this layer, and of none before it.
    Layer(String),
    /// In the loss of outputs that are finite.
    Loss,
    /// In the gradient of a parameter, and of none nearer to the loss.
    Gradient {
        /// The parameter.
        parameter: String,
        /// Its layer.
        layer: String,
    },
    /// In a parameter after the step, or in what the optimizer keeps beside it, though all gradients are finite.
    Parameter {
        /// The parameter.
        parameter: String,
        /// Its layer.
        layer: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Inputs => f.write_str("an input is not finite"),
            Place::Targets => f.write_str("a target is not finite"),
            Place::Layer(layer) => write!(f, "the output of {layer} is not finite"),
            Place::Loss => f.write_str("the loss is not finite"),
            Place::Gradient { parameter, layer } => write!(f, "the gradient of `{parameter}` in {layer} is not finite"),
            Place::Parameter { parameter, layer } => write!(f, "after it, `{parameter}` in {layer} would not be finite"),
        }
    }
}

fn advice(place: &Place, rate: f64) -> String {
    match place {
        Place::Inputs | Place::Targets => "replace it or drop it".into(),
        Place::Layer(_) | Place::Loss | Place::Gradient { .. } | Place::Parameter { .. } => format!("lower the rate, which is {rate}"),
    }
}

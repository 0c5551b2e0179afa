//! Which networks have a limit of infinite width, and which have it in closed form.

use nn::{Layer, Network, Phi};
use thiserror::Error;

/// Why a network has no kernel at infinite width.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoLimit {
    /// An activation reads what is not Gaussian.
    #[error(
        "{place}: at infinite width an activation needs a Gaussian input, the output of a dense layer or a sum of such, and here it reads {reads}"
    )]
    NotGaussian {
        /// The layer.
        place: String,
        /// What it reads.
        reads: &'static str,
    },
    /// The branches of a residual layer are correlated.
    #[error(
        "{place}: at infinite width {branch} must end in a dense layer, whose fresh weights make it uncorrelated with the other branch, and it ends in {end}"
    )]
    Correlated {
        /// The layer.
        place: String,
        /// Which branch.
        branch: &'static str,
        /// What it ends in.
        end: String,
    },
    /// The dual kernel of an activation has no closed form here.
    #[error("{place}: the kernel of {name} at infinite width has no closed form in this version, which has relu, erf and exp")]
    NoClosedForm {
        /// The layer.
        place: String,
        /// The activation.
        name: &'static str,
    },
}

/// What flows between layers.
#[derive(Clone, Copy, PartialEq)]
enum Signal {
    Input,
    Gaussian,
    Activated,
    /// A sum with a part that is not Gaussian.
    Mixed,
}

impl Signal {
    fn describe(self) -> &'static str {
        match self {
            Signal::Input => "the input of the network",
            Signal::Gaussian => "a Gaussian",
            Signal::Activated => "the output of another activation",
            Signal::Mixed => "a sum with a part that is not Gaussian",
        }
    }
}

/// Refuses networks without a limit.
pub(super) fn check(network: &Network) -> Result<(), NoLimit> {
    walk(network.layers(), "layers", Signal::Input).map(|_| ())
}

fn walk(layers: &[Layer], place: &str, mut signal: Signal) -> Result<Signal, NoLimit> {
    for (i, layer) in layers.iter().enumerate() {
        let here = || format!("{place}[{i}] ({})", layer.type_name());
        signal = match layer {
            Layer::Dense(_) => Signal::Gaussian,
            Layer::Activation(phi) => {
                if signal != Signal::Gaussian {
                    return Err(NoLimit::NotGaussian { place: here(), reads: signal.describe() });
                }
                match phi {
                    Phi::Relu | Phi::Erf | Phi::Exp => Signal::Activated,
                    Phi::Tanh => return Err(NoLimit::NoClosedForm { place: here(), name: phi.name() }),
                }
            }
            Layer::Residual(residual) => {
                ends_in_dense(&residual.layers, "the branch `layers`", here)?;
                if !residual.shortcut.is_empty() {
                    ends_in_dense(&residual.shortcut, "the branch `shortcut`", here)?;
                }
                let branch = walk(&residual.layers, &format!("{place}[{i}].layers"), signal)?;
                let around = walk(&residual.shortcut, &format!("{place}[{i}].shortcut"), signal)?;
                if branch == Signal::Gaussian && around == Signal::Gaussian { Signal::Gaussian } else { Signal::Mixed }
            }
        };
    }
    Ok(signal)
}

fn ends_in_dense(layers: &[Layer], branch: &'static str, place: impl Fn() -> String) -> Result<(), NoLimit> {
    let end = match layers.last() {
        Some(Layer::Dense(_)) => return Ok(()),
        Some(layer @ (Layer::Activation(_) | Layer::Residual(_))) => layer.type_name().to_owned(),
        None => "nothing, as it is empty".to_owned(),
    };
    Err(NoLimit::Correlated { place: place(), branch, end })
}

//! What a network becomes at infinite width: its layers with their fan-ins, and the reasons for which there may be no limit.

use super::hermite::Smooth;
use super::waves::Wave;
use nn::{Activation, Dense, Layer, Network, Parameterization, Phi, Residual};
use thiserror::Error;

/// A layer at infinite width. A closed description, read by the norms of the rows and by the angles of the pairs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    Affine(Affine),
    Activation(Closed),
    /// Division by √(K11 + eps): `K' = K/√((K11 + eps)(K22 + eps))`, and Θ likewise.
    Norm {
        eps: f64,
    },
    /// The sum of two uncorrelated branches; an empty second one is the identity.
    Sum(Vec<Stage>, Vec<Stage>),
}

/// A dense layer: `K' = w² K + b²` and `Θ' = α K + γ + w² Θ`, where `(α, γ)` is `(w², b²)` in the NTK parameterization and
/// `(n_in, 1 if there is a bias)` in the standard one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Affine {
    pub(super) w: f64,
    pub(super) b: f64,
    pub(super) alpha: f64,
    pub(super) gamma: f64,
}

/// An activation at infinite width: one whose Gaussian moments have a closed form here, or a smooth one with its Hermite series.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Closed {
    Relu,
    Kinked(Kinked),
    Erf,
    Exp,
    Gelu,
    Wave(Wave),
    /// √2 sin(√(2γ) x + π/4), with this γ.
    Rbf(f64),
    Gaussian,
    Identity,
    Series(Smooth),
}

/// A function that is x above 0 and `below`·x below, with the slope `at` at 0. ReLU is one, and has a shorter text of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Kinked {
    pub(super) below: f64,
    pub(super) at: f64,
}

impl Kinked {
    /// `E[φ(u)²]` of a standard normal u.
    pub(super) fn variance(self) -> f64 {
        0.5 * (1.0 + self.below * self.below)
    }
}

/// Why a network has no kernel at infinite width that this crate can give.
///
/// Layers are named by their place in the model, such as `layers[3].shortcut[0] (relu)`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoLimit {
    /// An activation or a layer norm on something that is not Gaussian with zero mean.
    #[error("{place}: {what} needs a Gaussian input, and here it reads {reads}: put a dense layer before it")]
    NotGaussian {
        /// The layer.
        place: String,
        /// What kind of layer it is.
        what: &'static str,
        /// What it reads.
        reads: String,
    },
    /// A function that is not finite everywhere, of which no [`Network`] is made.
    #[error("{place}: `{name}` has no kernel at infinite width")]
    NoClosedForm {
        /// The activation.
        place: String,
        /// Its name.
        name: &'static str,
    },
    /// A layer whose rule at infinite width is not in this version.
    #[error("{place}: this layer is not available at infinite width yet")]
    NotYet {
        /// The layer.
        place: String,
    },
    /// μP.
    #[error("parameterization \"mup\" has no kernel limit at infinite width, since its features move while it is trained")]
    FeaturesMove,
    /// A residual branch that is correlated with the other one.
    #[error(
        "{place}: a residual branch must end in a dense layer, whose fresh weights make it uncorrelated with the other branch, and this one {ends}"
    )]
    Correlated {
        /// The branch.
        place: String,
        /// What it ends in.
        ends: String,
    },
}

/// What flows between layers.
#[derive(Clone)]
struct Signal {
    features: usize,
    /// What it is, unless it is Gaussian with zero mean.
    not_gaussian: Option<String>,
}

/// Reads a network, or says why it has no limit.
pub(super) fn stages(network: &Network) -> Result<Vec<Stage>, NoLimit> {
    let start = Signal { features: network.n_inputs(), not_gaussian: Some("the network's input".into()) };
    Ok(read(network.layers(), "layers", start, network.parameterization())?.0)
}

fn read(layers: &[Layer], place: &str, mut x: Signal, parameterization: Parameterization) -> Result<(Vec<Stage>, Signal), NoLimit> {
    let mut stages = Vec::with_capacity(layers.len());
    for (i, layer) in layers.iter().enumerate() {
        let here = || format!("{place}[{i}] ({})", layer.type_name());
        stages.push(match layer {
            Layer::Dense(dense) => {
                let affine = affine(dense, x.features, parameterization)?;
                x = Signal { features: dense.out, not_gaussian: None };
                Stage::Affine(affine)
            }
            Layer::Conv(_) | Layer::Pool(_) | Layer::GlobalAvgPool | Layer::Flatten => {
                return Err(NoLimit::NotYet { place: here() });
            }
            Layer::LayerNorm(norm) => {
                if let Some(reads) = x.not_gaussian {
                    return Err(NoLimit::NotGaussian { place: here(), what: "a layer norm", reads });
                }
                Stage::Norm { eps: norm.eps }
            }
            Layer::Activation(activation) => {
                let closed = closed(*activation).ok_or_else(|| NoLimit::NoClosedForm { place: here(), name: activation.name() })?;
                if let Some(reads) = x.not_gaussian {
                    return Err(NoLimit::NotGaussian { place: here(), what: "an activation", reads });
                }
                x.not_gaussian = Some(format!("the output of {}", here()));
                Stage::Activation(closed)
            }
            Layer::Residual(Residual { layers, shortcut }) => {
                let (branch_place, around_place) = (format!("{place}[{i}].layers"), format!("{place}[{i}].shortcut"));
                uncorrelated(layers, &branch_place)?;
                let (branch, _) = read(layers, &branch_place, x.clone(), parameterization)?;
                if shortcut.is_empty() {
                    // A Gaussian branch beside what x is: the sum is Gaussian if x is.
                    x.not_gaussian = x.not_gaussian.map(|reads| format!("{}, a sum that contains {reads}", here()));
                    Stage::Sum(branch, Vec::new())
                } else {
                    uncorrelated(shortcut, &around_place)?;
                    let (around, end) = read(shortcut, &around_place, x, parameterization)?;
                    x = end;
                    Stage::Sum(branch, around)
                }
            }
        });
    }
    Ok((stages, x))
}

fn affine(dense: &Dense, n_in: usize, parameterization: Parameterization) -> Result<Affine, NoLimit> {
    let w = dense.w_std;
    let b = if dense.bias { dense.b_std } else { 0.0 };
    let (alpha, gamma) = match parameterization {
        Parameterization::Ntk => (w * w, b * b),
        Parameterization::Standard => (n_in as f64, if dense.bias { 1.0 } else { 0.0 }),
        Parameterization::Mup { .. } => return Err(NoLimit::FeaturesMove),
    };
    Ok(Affine { w, b, alpha, gamma })
}

/// Puts a function in the place of another one; returns how often that was there.
pub(super) fn replace(stages: &mut [Stage], old: &Closed, new: &Smooth) -> usize {
    let mut count = 0;
    for stage in stages {
        match stage {
            Stage::Activation(closed) if closed == old => {
                *closed = Closed::Series(new.clone());
                count += 1;
            }
            Stage::Sum(branch, around) => count += replace(branch, old, new) + replace(around, old, new),
            Stage::Activation(_) | Stage::Affine(_) | Stage::Norm { .. } => (),
        }
    }
    count
}

/// What an activation is at infinite width; `None` for functions that are not finite everywhere.
pub(super) fn closed(activation: Activation) -> Option<Closed> {
    match activation {
        Activation::Phi(Phi::Relu) => Some(Closed::Relu),
        Activation::Phi(Phi::Erf) => Some(Closed::Erf),
        Activation::Phi(Phi::Exp) => Some(Closed::Exp),
        Activation::Phi(Phi::Abs) => Some(Closed::Kinked(Kinked { below: -1.0, at: 0.0 })),
        Activation::Phi(Phi::LeakyRelu(alpha)) => Some(Closed::Kinked(Kinked { below: alpha, at: alpha })),
        Activation::Phi(Phi::Gelu) => Some(Closed::Gelu),
        Activation::Phi(Phi::Sin) => Some(Closed::Wave(Wave::sin(1.0, 1.0, 0.0))),
        Activation::Phi(Phi::Cos) => Some(Closed::Wave(Wave::cos(1.0, 1.0, 0.0))),
        Activation::Phi(phi @ (Phi::Tanh | Phi::Sigmoid | Phi::Softplus | Phi::Silu)) => Some(Closed::Series(Smooth::phi(phi))),
        Activation::Phi(Phi::Ln | Phi::Sqrt) => None,
        Activation::Sin { a, b, c } => Some(Closed::Wave(Wave::sin(a, b, c))),
        Activation::Cos { a, b, c } => Some(Closed::Wave(Wave::cos(a, b, c))),
        Activation::Rbf { gamma } => Some(Closed::Rbf(gamma)),
        Activation::Gaussian => Some(Closed::Gaussian),
        Activation::Identity => Some(Closed::Identity),
    }
}

fn uncorrelated(branch: &[Layer], place: &str) -> Result<(), NoLimit> {
    let ends = match branch.last() {
        Some(Layer::Dense(_) | Layer::Conv(_)) => return Ok(()),
        Some(layer @ (Layer::Activation(_) | Layer::Residual(_) | Layer::LayerNorm(_)))
        | Some(layer @ (Layer::Pool(_) | Layer::GlobalAvgPool | Layer::Flatten)) => {
            format!("ends in {}[{}] ({})", place, branch.len() - 1, layer.type_name())
        }
        None => "is empty".into(),
    };
    Err(NoLimit::Correlated { place: place.into(), ends })
}

//! What a network becomes at infinite width: its layers with their fan-ins, and the reasons for which there may be no limit.

use super::hermite::Smooth;
use super::images::Linear;
use super::waves::Wave;
use nn::{Activation, Layer, LayerNorm, Layout, Network, NormAxes, Parameterization, Phi, Pool, PoolKind, Residual};
use thiserror::Error;

/// A layer at infinite width, whose linear layers are of the kind `L`: [`Affine`] for features, [`Linear`] for images. A closed description, read by
/// the norms of the examples and by the pairs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage<L> {
    Linear(L),
    Activation(Closed),
    /// Division by √(K11 + eps): `K' = K/√((K11 + eps)(K22 + eps))`, and Θ likewise; over all places of an image K11 is their mean.
    Norm {
        eps: f64,
        all: bool,
    },
    /// The sum of two uncorrelated branches; an empty second one is the identity.
    Sum(Vec<Stage<L>>, Vec<Stage<L>>),
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
    /// A max pool.
    #[error("{place}: the largest of several Gaussian cells has no kernel in closed form: use avg_pool or sum_pool")]
    MaxPool {
        /// The layer.
        place: String,
    },
    /// μP.
    #[error("parameterization \"mup\" has no kernel limit at infinite width, since its features move while it is trained")]
    FeaturesMove,
    /// A residual branch that is correlated with the other one.
    #[error(
        "{place}: a residual branch must end in a dense layer or a convolution (and pools of it), whose fresh weights make it uncorrelated with the other branch, and this one {ends}"
    )]
    Correlated {
        /// The branch.
        place: String,
        /// What it ends in.
        ends: String,
    },
}

/// What flows between layers: images, of which features are one place with many channels.
#[derive(Clone)]
struct Signal {
    image: [usize; 2],
    channels: usize,
    /// What it is, unless it is Gaussian with zero mean.
    not_gaussian: Option<String>,
}

/// Reads a network, or says why it has no limit.
pub(super) fn stages(network: &Network) -> Result<Vec<Stage<Linear>>, NoLimit> {
    let (image, channels) = places(network);
    let start = Signal { image, channels, not_gaussian: Some("the network's input".into()) };
    Ok(read(network.layers(), "layers", start, network.parameterization())?.0)
}

/// Height and width of an input, and its channels.
pub(super) fn places(network: &Network) -> ([usize; 2], usize) {
    match (network.input(), network.layout()) {
        (&[height, width, channels], Layout::Nhwc) | (&[channels, height, width], Layout::Nchw) => ([height, width], channels),
        (features, Layout::Nhwc | Layout::Nchw) => ([1, 1], features.iter().product()),
    }
}

fn read(layers: &[Layer], place: &str, mut x: Signal, parameterization: Parameterization) -> Result<(Vec<Stage<Linear>>, Signal), NoLimit> {
    let mut stages = Vec::with_capacity(layers.len());
    for (i, layer) in layers.iter().enumerate() {
        let here = || format!("{place}[{i}] ({})", layer.type_name());
        stages.push(match layer {
            Layer::Dense(dense) => {
                let affine = affine([dense.w_std, dense.b_std], dense.bias, x.channels, parameterization)?;
                x = Signal { image: [1, 1], channels: dense.out, not_gaussian: None };
                Stage::Linear(Linear::dense(affine))
            }
            Layer::Conv(conv) => {
                let n_in = conv.filter[0] * conv.filter[1] * x.channels;
                let affine = affine([conv.w_std, conv.b_std], conv.bias, n_in, parameterization)?;
                let linear = Linear::conv(x.image, conv, affine);
                x = Signal { image: linear.out(), channels: conv.out, not_gaussian: None };
                Stage::Linear(linear)
            }
            Layer::Pool(Pool { kind: PoolKind::Max, .. }) => return Err(NoLimit::MaxPool { place: here() }),
            Layer::Pool(pool) => {
                let linear = Linear::pool(x.image, pool);
                x.image = linear.out();
                Stage::Linear(linear)
            }
            Layer::GlobalAvgPool => {
                let linear = Linear::global(x.image);
                x.image = [1, 1];
                Stage::Linear(linear)
            }
            Layer::Flatten => {
                let linear = Linear::flatten(x.image);
                x.channels *= x.image[0] * x.image[1];
                x.image = [1, 1];
                Stage::Linear(linear)
            }
            Layer::LayerNorm(LayerNorm { axes, eps }) => {
                if let Some(reads) = x.not_gaussian {
                    return Err(NoLimit::NotGaussian { place: here(), what: "a layer norm", reads });
                }
                Stage::Norm { eps: *eps, all: *axes == NormAxes::All }
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

fn affine([w, b]: [f64; 2], bias: bool, n_in: usize, parameterization: Parameterization) -> Result<Affine, NoLimit> {
    let b = if bias { b } else { 0.0 };
    let (alpha, gamma) = match parameterization {
        Parameterization::Ntk => (w * w, b * b),
        Parameterization::Standard => (n_in as f64, if bias { 1.0 } else { 0.0 }),
        Parameterization::Mup { .. } => return Err(NoLimit::FeaturesMove),
    };
    Ok(Affine { w, b, alpha, gamma })
}

/// The layers of a network that reads features, or flattens an image before anything else: its linear layers are dense.
pub(super) fn of_features(stages: &[Stage<Linear>]) -> Option<Vec<Stage<Affine>>> {
    let stages = stages.iter().filter(|stage| !matches!(stage, Stage::Linear(linear) if linear.flattens()));
    stages
        .map(|stage| {
            Some(match stage {
                Stage::Linear(linear) => Stage::Linear(linear.as_dense()?.clone()),
                Stage::Activation(closed) => Stage::Activation(closed.clone()),
                Stage::Norm { eps, all } => Stage::Norm { eps: *eps, all: *all },
                Stage::Sum(branch, around) => Stage::Sum(of_features(branch)?, of_features(around)?),
            })
        })
        .collect()
}

/// Puts a function in the place of another one; returns how often that was there.
pub(super) fn replace<L>(stages: &mut [Stage<L>], old: &Closed, new: &Smooth) -> usize {
    let mut count = 0;
    for stage in stages {
        match stage {
            Stage::Activation(closed) if closed == old => {
                *closed = Closed::Series(new.clone());
                count += 1;
            }
            Stage::Sum(branch, around) => count += replace(branch, old, new) + replace(around, old, new),
            Stage::Activation(_) | Stage::Linear(_) | Stage::Norm { .. } => (),
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
        Activation::Elementwise(function) => Some(Closed::Series(function.into())),
    }
}

fn uncorrelated(branch: &[Layer], place: &str) -> Result<(), NoLimit> {
    // Pools and flattening are linear, so that what they read may be behind them.
    let linear = |layer: &Layer| match layer {
        Layer::Pool(_) | Layer::GlobalAvgPool | Layer::Flatten => true,
        Layer::Dense(_) | Layer::Conv(_) | Layer::LayerNorm(_) | Layer::Activation(_) | Layer::Residual(_) => false,
    };
    let last = branch.iter().rposition(|layer| !linear(layer));
    let ends = match last.map(|last| &branch[last]) {
        Some(Layer::Dense(_) | Layer::Conv(_)) => return Ok(()),
        Some(Layer::Activation(_) | Layer::Residual(_) | Layer::LayerNorm(_) | Layer::Pool(_) | Layer::GlobalAvgPool | Layer::Flatten)
        | None => match branch.last() {
            Some(layer) => format!("ends in {}[{}] ({})", place, branch.len() - 1, layer.type_name()),
            None => "is empty".into(),
        },
    };
    Err(NoLimit::Correlated { place: place.into(), ends })
}

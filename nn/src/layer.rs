//! What a network is made of: layers as plain data, which every part of the workspace reads in its own way.

use autodiff::Phi;

/// One layer. A closed description: to add a layer is to add a variant, and the compiler lists every reader that must learn it.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// An affine map of the features; see [`Dense`].
    Dense(Dense),
    /// An elementwise function `φ`, one of [`ACTIVATIONS`] with any finite parameter.
    Activation(Phi),
    /// The sum of two branches; see [`Residual`].
    Residual(Residual),
}

/// The functions that are activations of a network: those that are finite for every finite preactivation, up to overflow. The
/// logarithm and the square root, which a tape can record, are not among them.
///
/// One with a parameter stands here with its default, and is an activation with every finite parameter.
pub const ACTIVATIONS: [Phi; 12] = [
    Phi::Relu,
    Phi::Erf,
    Phi::Tanh,
    Phi::Exp,
    Phi::Sigmoid,
    Phi::Softplus,
    Phi::Gelu,
    Phi::Silu,
    Phi::Sin,
    Phi::Cos,
    Phi::Abs,
    Phi::LeakyRelu(0.01),
];

/// The parameter of a function, which is a finite number, and its key in a model file.
pub(crate) fn parameter(phi: &mut Phi) -> Option<(&'static str, &mut f64)> {
    match phi {
        Phi::LeakyRelu(alpha) => Some(("alpha", alpha)),
        Phi::Relu | Phi::Erf | Phi::Tanh | Phi::Exp | Phi::Ln | Phi::Sigmoid | Phi::Softplus | Phi::Gelu | Phi::Silu => None,
        Phi::Sin | Phi::Cos | Phi::Abs | Phi::Sqrt => None,
    }
}

/// `z = m·x W + m_b·β` with `W` of shape `[n_in, out]` (`[out, n_in]` in a file of weights); the multipliers `m`, `m_b` and the initial values come from the
/// [parameterization](crate::Parameterization).
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// Number of output features.
    pub out: usize,
    /// Weight scale `w_std`.
    pub w_std: f64,
    /// Bias scale `b_std`.
    pub b_std: f64,
    /// Whether there is a bias at all. A bias with `b_std = 0` starts at zero and, in the standard parameterization, is trained.
    pub bias: bool,
}

/// `y = layers(x) + shortcut(x)`; an empty `shortcut` is the identity.
#[derive(Clone, Debug, PartialEq)]
pub struct Residual {
    /// The branch.
    pub layers: Vec<Layer>,
    /// The way around it; empty for the identity.
    pub shortcut: Vec<Layer>,
}

/// A dense layer with `w_std = 1`, `b_std = 0` and a bias, the defaults of the model file.
///
/// ```
/// use nn::{Network, dense, relu};
/// let network = Network::new([64], [dense(512).std(1.5, 0.1), relu(), dense(10).without_bias()])?;
/// assert_eq!(network.outputs(), 10);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn dense(out: usize) -> Layer {
    Layer::Dense(Dense { out, w_std: 1.0, b_std: 0.0, bias: true })
}

/// `max(x, 0)`, with derivative 0 at 0.
pub fn relu() -> Layer {
    Layer::Activation(Phi::Relu)
}

/// The error function `erf(x) = 2/√π ∫₀ˣ exp(−t²) dt`.
pub fn erf() -> Layer {
    Layer::Activation(Phi::Erf)
}

/// The hyperbolic tangent.
pub fn tanh() -> Layer {
    Layer::Activation(Phi::Tanh)
}

/// The exponential function.
pub fn exp() -> Layer {
    Layer::Activation(Phi::Exp)
}

/// The logistic function `σ(x) = 1/(1 + exp(−x))`.
pub fn sigmoid() -> Layer {
    Layer::Activation(Phi::Sigmoid)
}

/// `ln(1 + exp(x))`, a smooth rectifier.
pub fn softplus() -> Layer {
    Layer::Activation(Phi::Softplus)
}

/// `x·Φ(x)` with `Φ(x) = ½ (1 + erf(x/√2))`, the exact one and not its approximation by tanh (Hendrycks and Gimpel 2016).
pub fn gelu() -> Layer {
    Layer::Activation(Phi::Gelu)
}

/// `x·σ(x) = x/(1 + exp(−x))`, also called swish (Elfwing, Uchibe and Doya 2018).
pub fn silu() -> Layer {
    Layer::Activation(Phi::Silu)
}

/// The sine.
pub fn sin() -> Layer {
    Layer::Activation(Phi::Sin)
}

/// The cosine.
pub fn cos() -> Layer {
    Layer::Activation(Phi::Cos)
}

/// `|x|`, with derivative 0 at 0.
pub fn abs() -> Layer {
    Layer::Activation(Phi::Abs)
}

/// `x` for `x > 0` and `alpha·x` for `x ≤ 0`, with derivative `alpha` at 0. The default of the model file is `alpha = 0.01` (Maas,
/// Hannun and Ng 2013).
///
/// ```
/// use nn::{Network, dense, leaky_relu};
/// let network = Network::new([4], [dense(8), leaky_relu(0.2), dense(1)])?;
/// let error = Network::new([4], [dense(8), leaky_relu(f64::INFINITY), dense(1)]).unwrap_err();
/// assert_eq!(error.to_string(), "layers[1] (leaky_relu): `alpha` must be a finite number, and it is inf");
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn leaky_relu(alpha: f64) -> Layer {
    Layer::Activation(Phi::LeakyRelu(alpha))
}

/// `layers(x) + x`.
///
/// ```
/// use nn::{Network, dense, relu, residual};
/// let block = residual([relu(), dense(32), relu(), dense(32)]);
/// let network = Network::new([8], [dense(32), block, relu(), dense(1)])?;
/// assert_eq!(network.parameters().len(), 8);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn residual(layers: impl Into<Vec<Layer>>) -> Layer {
    Layer::Residual(Residual { layers: layers.into(), shortcut: Vec::new() })
}

/// `layers(x) + shortcut(x)`.
pub fn residual_with_shortcut(layers: impl Into<Vec<Layer>>, shortcut: impl Into<Vec<Layer>>) -> Layer {
    Layer::Residual(Residual { layers: layers.into(), shortcut: shortcut.into() })
}

impl Layer {
    /// Sets `w_std` and `b_std` of a dense layer.
    ///
    /// # Panics
    /// If the layer has no weights.
    #[track_caller]
    #[must_use]
    pub fn std(mut self, w_std: f64, b_std: f64) -> Self {
        let dense = self.dense_mut("std");
        (dense.w_std, dense.b_std) = (w_std, b_std);
        self
    }

    /// Takes the bias away from a dense layer.
    ///
    /// # Panics
    /// If the layer has no weights.
    #[track_caller]
    #[must_use]
    pub fn without_bias(mut self) -> Self {
        self.dense_mut("without_bias").bias = false;
        self
    }

    #[track_caller]
    fn dense_mut(&mut self, method: &str) -> &mut Dense {
        match self {
            Layer::Dense(dense) => dense,
            Layer::Activation(_) | Layer::Residual(_) => {
                panic!("`{method}` is for layers with weights, and `{}` has none of its own", self.type_name())
            }
        }
    }

    /// The `type` of the layer in a model file.
    pub fn type_name(&self) -> &'static str {
        match self {
            Layer::Dense(_) => "dense",
            Layer::Activation(phi) => phi.name(),
            Layer::Residual(_) => "residual",
        }
    }
}

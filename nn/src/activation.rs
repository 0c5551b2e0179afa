//! Activations: functions that are applied to every number alike.

use crate::layer::Layer;
use crate::record::shifted;
use autodiff::{Elementwise, Phi, Scalar, Tape, Var};
use std::f64::consts::{FRAC_PI_4, SQRT_2};

/// An elementwise function `φ`, one of [`ACTIVATIONS`] with any parameters that its builder allows, or
/// a function of the program's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// A function that the tape has a map for, with the exception of `ln` and `sqrt`, which are not finite everywhere, and of `sin` and
    /// `cos`, which are `Sin` and `Cos` here.
    Phi(Phi),
    /// `a·sin(b·x + c)`.
    Sin {
        /// The amplitude.
        a: f64,
        /// The frequency.
        b: f64,
        /// The phase.
        c: f64,
    },
    /// `a·cos(b·x + c)`.
    Cos {
        /// The amplitude.
        a: f64,
        /// The frequency.
        b: f64,
        /// The phase.
        c: f64,
    },
    /// `√2·sin(√(2γ)·x + π/4)`.
    Rbf {
        /// `γ`, at least 0.
        gamma: f64,
    },
    /// `exp(−x²)`.
    Gaussian,
    /// `x`.
    Identity,
    /// A function of the program's own; see [`elementwise`].
    Elementwise(Elementwise),
}

/// The functions that are activations of a network: those that are finite for every finite preactivation, up to overflow.
///
/// One with parameters stands here with the defaults of the model file, and `rbf`, whose `gamma` has no default, with 1.
pub const ACTIVATIONS: [Activation; 15] = [
    Activation::Phi(Phi::Relu),
    Activation::Phi(Phi::Erf),
    Activation::Phi(Phi::Tanh),
    Activation::Phi(Phi::Exp),
    Activation::Phi(Phi::Sigmoid),
    Activation::Phi(Phi::Softplus),
    Activation::Phi(Phi::Gelu),
    Activation::Phi(Phi::Silu),
    Activation::Sin { a: 1.0, b: 1.0, c: 0.0 },
    Activation::Cos { a: 1.0, b: 1.0, c: 0.0 },
    Activation::Phi(Phi::Abs),
    Activation::Phi(Phi::LeakyRelu(0.01)),
    Activation::Rbf { gamma: 1.0 },
    Activation::Gaussian,
    Activation::Identity,
];

/// A parameter of an activation: its key in a model file, its value, and what it must be.
pub(crate) struct Key<'a> {
    pub(crate) name: &'static str,
    pub(crate) value: &'a mut f64,
    /// Whether a model file must give it.
    pub(crate) required: bool,
    pub(crate) least: f64,
}

impl Key<'_> {
    pub(crate) fn allows(&self, value: f64) -> bool {
        value.is_finite() && value >= self.least
    }
}

impl Activation {
    /// The `type` of the activation in a model file, or the name that its [`Elementwise`] was given.
    pub fn name(&self) -> &'static str {
        match self {
            Activation::Phi(phi) => phi.name(),
            Activation::Sin { .. } => "sin",
            Activation::Cos { .. } => "cos",
            Activation::Rbf { .. } => "rbf",
            Activation::Gaussian => "gaussian",
            Activation::Identity => "identity",
            Activation::Elementwise(f) => f.name(),
        }
    }

    /// Its parameters.
    pub(crate) fn keys(&mut self) -> Vec<Key<'_>> {
        let any = |name, value| Key { name, value, required: false, least: f64::MIN };
        match self {
            Activation::Phi(Phi::LeakyRelu(alpha)) => vec![any("alpha", alpha)],
            Activation::Phi(
                Phi::Relu | Phi::Erf | Phi::Tanh | Phi::Exp | Phi::Ln | Phi::Sigmoid | Phi::Softplus | Phi::Gelu | Phi::Silu,
            )
            | Activation::Phi(Phi::Sin | Phi::Cos | Phi::Abs | Phi::Sqrt)
            | Activation::Gaussian
            | Activation::Identity
            | Activation::Elementwise(_) => vec![],
            Activation::Sin { a, b, c } | Activation::Cos { a, b, c } => vec![any("a", a), any("b", b), any("c", c)],
            Activation::Rbf { gamma } => vec![Key { name: "gamma", value: gamma, required: true, least: 0.0 }],
        }
    }

    /// Whether it is one of [`ACTIVATIONS`], whatever its parameters, or the program's own.
    pub(crate) fn is_allowed(&self) -> bool {
        matches!(self, Activation::Elementwise(_))
            || ACTIVATIONS.iter().any(|known| std::mem::discriminant(known) == std::mem::discriminant(self) && known.name() == self.name())
    }

    /// Records `φ(x)`.
    pub(crate) fn record<T: Scalar>(self, tape: &mut Tape<T>, x: Var) -> Var {
        match self {
            Activation::Phi(phi) => tape.map(phi, x),
            Activation::Sin { a, b, c } => wave(tape, Phi::Sin, [a, b, c], x),
            Activation::Cos { a, b, c } => wave(tape, Phi::Cos, [a, b, c], x),
            Activation::Rbf { gamma } => wave(tape, Phi::Sin, [SQRT_2, SQRT_2 * gamma.sqrt(), FRAC_PI_4], x),
            Activation::Gaussian => {
                let square = tape.mul(x, x);
                let exponent = tape.neg(square);
                tape.map(Phi::Exp, exponent)
            }
            Activation::Identity => x,
            Activation::Elementwise(f) => tape.apply(f, x),
        }
    }
}

/// `a·φ(b·x + c)`, without the factors that are 1 and the phase that is 0.
fn wave<T: Scalar>(tape: &mut Tape<T>, phi: Phi, [a, b, c]: [f64; 3], x: Var) -> Var {
    let scaled = |tape: &mut Tape<T>, x: Var, factor: f64| if factor == 1.0 { x } else { tape.scale(x, factor) };
    let x = scaled(tape, x, b);
    let x = if c == 0.0 { x } else { shifted(tape, x, c) };
    let y = tape.map(phi, x);
    scaled(tape, y, a)
}

impl From<Phi> for Activation {
    fn from(phi: Phi) -> Self {
        match phi {
            Phi::Sin => Activation::Sin { a: 1.0, b: 1.0, c: 0.0 },
            Phi::Cos => Activation::Cos { a: 1.0, b: 1.0, c: 0.0 },
            phi => Activation::Phi(phi),
        }
    }
}

impl From<Elementwise> for Activation {
    fn from(f: Elementwise) -> Self {
        Activation::Elementwise(f)
    }
}

impl From<Activation> for Layer {
    fn from(activation: Activation) -> Self {
        Layer::Activation(activation)
    }
}

/// `max(x, 0)`, with derivative 0 at 0.
///
/// ```
/// use nn::{Network, dense, relu};
/// // f = max(x, 0)/√1 · w, with w = 3.
/// let network = Network::new([1], [relu(), dense(1).without_bias()])?;
/// assert_eq!(network.apply(&[vec![3.0]], &[2.0, -2.0]), [6.0, 0.0]);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn relu() -> Layer {
    Activation::Phi(Phi::Relu).into()
}

/// The error function `erf(x) = 2/√π ∫₀ˣ exp(−t²) dt`.
///
/// ```
/// use nn::{Network, dense, erf};
/// let network = Network::new([1], [erf(), dense(1).without_bias()])?;
/// let f = network.apply(&[vec![1.0_f64]], &[0.5])[0];
/// assert!((f - 0.520_499_877_813_046_5).abs() < 1e-15);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn erf() -> Layer {
    Activation::Phi(Phi::Erf).into()
}

/// The hyperbolic tangent.
///
/// ```
/// use nn::{Network, dense, tanh};
/// let network = Network::new([1], [tanh(), dense(1).without_bias()])?;
/// let f = network.apply(&[vec![1.0_f64]], &[0.5])[0];
/// assert!((f - 0.5_f64.tanh()).abs() < 1e-15);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn tanh() -> Layer {
    Activation::Phi(Phi::Tanh).into()
}

/// The exponential function.
///
/// ```
/// use nn::{Network, dense, exp};
/// let network = Network::new([1], [exp(), dense(1).without_bias()])?;
/// let f = network.apply(&[vec![1.0_f64]], &[0.5])[0];
/// assert!((f - 0.5_f64.exp()).abs() < 1e-15);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn exp() -> Layer {
    Activation::Phi(Phi::Exp).into()
}

/// The logistic function `σ(x) = 1/(1 + exp(−x))`.
///
/// ```
/// use nn::{Network, dense, sigmoid};
/// let network = Network::new([1], [sigmoid(), dense(1).without_bias()])?;
/// let f = network.apply(&[vec![1.0_f64]], &[0.5])[0];
/// assert!((f - 1.0 / (1.0 + (-0.5_f64).exp())).abs() < 1e-15);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn sigmoid() -> Layer {
    Activation::Phi(Phi::Sigmoid).into()
}

/// `ln(1 + exp(x))`, a smooth rectifier.
///
/// ```
/// use nn::{Network, dense, softplus};
/// let network = Network::new([1], [softplus(), dense(1).without_bias()])?;
/// let f = network.apply(&[vec![1.0_f64]], &[0.5])[0];
/// assert!((f - (1.0 + 0.5_f64.exp()).ln()).abs() < 1e-15);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn softplus() -> Layer {
    Activation::Phi(Phi::Softplus).into()
}

/// `x·Φ(x)` with `Φ(x) = ½ (1 + erf(x/√2))`, the exact one and not its approximation by tanh (Hendrycks and Gimpel 2016).
///
/// ```
/// use nn::{Network, dense, gelu};
/// let network = Network::new([1], [gelu(), dense(1).without_bias()])?;
/// let f = network.apply(&[vec![1.0_f64]], &[1.0])[0];
/// assert!((f - 0.841_344_746_068_542_9).abs() < 1e-15);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn gelu() -> Layer {
    Activation::Phi(Phi::Gelu).into()
}

/// `x·σ(x) = x/(1 + exp(−x))`, also called swish (Elfwing, Uchibe and Doya 2018).
///
/// ```
/// use nn::{Network, dense, silu};
/// let network = Network::new([1], [silu(), dense(1).without_bias()])?;
/// let f = network.apply(&[vec![1.0_f64]], &[0.5])[0];
/// assert!((f - 0.5 / (1.0 + (-0.5_f64).exp())).abs() < 1e-15);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn silu() -> Layer {
    Activation::Phi(Phi::Silu).into()
}

/// The sine; [`sin_of`] has parameters.
///
/// ```
/// use nn::{Network, dense, sin};
/// let network = Network::new([1], [sin(), dense(1).without_bias()])?;
/// let f = network.apply(&[vec![1.0_f64]], &[0.5])[0];
/// assert!((f - 0.5_f64.sin()).abs() < 1e-15);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn sin() -> Layer {
    sin_of(1.0, 1.0, 0.0)
}

/// The cosine; [`cos_of`] has parameters.
///
/// ```
/// use nn::{Network, dense, cos};
/// let network = Network::new([1], [cos(), dense(1).without_bias()])?;
/// let f = network.apply(&[vec![1.0_f64]], &[0.5])[0];
/// assert!((f - 0.5_f64.cos()).abs() < 1e-15);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn cos() -> Layer {
    cos_of(1.0, 1.0, 0.0)
}

/// `a·sin(b·x + c)`, with any finite parameters.
///
/// ```
/// use nn::{Network, dense, sin_of};
/// use std::f64::consts::PI;
/// let network = Network::new([1], [sin_of(2.0, PI, PI / 2.0), dense(1).without_bias()])?;
/// assert!((network.apply(&[vec![1.0_f64]], &[1.0])[0] + 2.0).abs() < 1e-15);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn sin_of(a: f64, b: f64, c: f64) -> Layer {
    Activation::Sin { a, b, c }.into()
}

/// `a·cos(b·x + c)`, with any finite parameters.
///
/// ```
/// use nn::{Network, dense, cos_of};
/// let network = Network::new([1], [cos_of(2.0, 3.0, 1.0), dense(1).without_bias()])?;
/// let f = network.apply(&[vec![1.0_f64]], &[0.5])[0];
/// assert!((f - 2.0 * 2.5_f64.cos()).abs() < 1e-15);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn cos_of(a: f64, b: f64, c: f64) -> Layer {
    Activation::Cos { a, b, c }.into()
}

/// `|x|`, with derivative 0 at 0.
///
/// ```
/// use nn::{Network, dense, abs};
/// let network = Network::new([1], [abs(), dense(1).without_bias()])?;
/// let f = network.apply(&[vec![1.0_f64]], &[-0.5])[0];
/// assert!((f - 0.5).abs() < 1e-15);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn abs() -> Layer {
    Activation::Phi(Phi::Abs).into()
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
    Activation::Phi(Phi::LeakyRelu(alpha)).into()
}

/// `√2·sin(√(2γ)·x + π/4)`, whose kernel at infinite width is the Gaussian one: `E[φ(u) φ(v)] = exp(−γ·E(u − v)²)` (random features,
/// Rahimi and Recht 2007). `γ` is a finite number of at least 0.
///
/// ```
/// use nn::{Network, dense, rbf};
/// let network = Network::new([1], [rbf(2.0), dense(1).without_bias()])?;
/// let f = network.apply(&[vec![1.0_f64]], &[0.5])[0];
/// assert!((f - 2_f64.sqrt() * (1.0 + std::f64::consts::FRAC_PI_4).sin()).abs() < 1e-15);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn rbf(gamma: f64) -> Layer {
    Activation::Rbf { gamma }.into()
}

/// `exp(−x²)`.
///
/// ```
/// use nn::{Network, dense, gaussian};
/// let network = Network::new([1], [gaussian(), dense(1).without_bias()])?;
/// let f = network.apply(&[vec![1.0_f64]], &[0.5])[0];
/// assert!((f - (-0.25_f64).exp()).abs() < 1e-15);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn gaussian() -> Layer {
    Activation::Gaussian.into()
}

/// `x`: a layer that does nothing.
///
/// ```
/// use nn::{Network, dense, identity};
/// let network = Network::new([1], [identity(), dense(1).without_bias()])?;
/// let f = network.apply(&[vec![1.0_f64]], &[0.5])[0];
/// assert!((f - 0.5).abs() < 1e-15);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn identity() -> Layer {
    Activation::Identity.into()
}

/// A function `f` of your own with its slope `f'`; without one, the slope is taken from differences, good to about 1e-13, see [`Elementwise`].
///
/// It is a layer like any other: of the finite network, its derivatives, its training and its kernels, and, if `f` is analytic around the
/// real line, of the kernel at infinite width. Only a model file cannot name it.
///
/// ```
/// use nn::{Network, dense, elementwise};
/// // Mish, x·tanh(ln(1 + e^x)) (Misra 2020); at 1 it is ((1 + e)² − 1)/((1 + e)² + 1).
/// let mish = elementwise("mish", |x| x * x.exp().ln_1p().tanh(), None);
/// let network = Network::new([1], [mish, dense(1).without_bias()])?;
/// let f = network.apply(&[vec![1.0_f64]], &[1.0])[0];
/// assert!((f - 0.865_098_388_267_310_3).abs() < 1e-15);
///
/// let error = network.to_toml().unwrap_err();
/// assert_eq!(error.to_string(), "layers[0]: `mish` is a function of the program, which a model file cannot name; only nn::ACTIVATIONS have a type there");
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn elementwise(name: &'static str, f: fn(f64) -> f64, slope: Option<fn(f64) -> f64>) -> Layer {
    let phi = Elementwise::new(name, f);
    Activation::Elementwise(slope.map_or(phi, |slope| phi.with_slope(slope))).into()
}

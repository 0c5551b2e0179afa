//! What a network is made of: layers as plain data, which every part of the workspace reads in its own way.

use crate::activation::Activation;
use crate::windows::Padding;

/// One layer. A closed description: to add a layer is to add a variant, and the compiler lists every reader that must learn it.
///
/// Shapes are those of one example: features `[n]`, or an image `[height, width, channels]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// An affine map of the features; see [`Dense`].
    Dense(Dense),
    /// An affine map of what windows see of an image; see [`Conv`].
    Conv(Conv),
    /// Windows of an image, each reduced to one number for each channel; see [`Pool`].
    Pool(Pool),
    /// The mean over an image; see [`global_avg_pool`].
    GlobalAvgPool,
    /// An image as features; see [`flatten`].
    Flatten,
    /// Mean 0 and variance 1; see [`LayerNorm`].
    LayerNorm(LayerNorm),
    /// An elementwise function; see [`Activation`].
    Activation(Activation),
    /// The sum of two branches; see [`Residual`].
    Residual(Residual),
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

/// `z[p] = m·Σ_f W[f] x[s∘p + f − lo] + m_b·β`: at every place `p` an affine map of the `|F|` cells that a window sees.
///
/// `[height, width, channels]` to `[height', width', out]`, with the height and the width that the [`Padding`] gives. `W` has the shape
/// `[|F|·channels, out]` with the cells row by row (`[out, channels, filter height, filter width]` in a file of weights). The fan-in is
/// `|F|·channels`, at the edges too.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Number of output channels.
    pub out: usize,
    /// Height and width of the filters.
    pub filter: [usize; 2],
    /// Distance of neighbouring windows, down and across.
    pub stride: [usize; 2],
    /// What lies beyond the edge.
    pub padding: Padding,
    /// Weight scale `w_std`.
    pub w_std: f64,
    /// Bias scale `b_std`.
    pub b_std: f64,
    /// Whether there is a bias at all, one number for each output channel.
    pub bias: bool,
}

/// `y[p, c] = a·Σ_f x[s∘p + f − lo, c]` or the largest of the summands: `[height, width, channels]` to `[height', width', channels]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// What becomes of a window.
    pub kind: PoolKind,
    /// Height and width of the windows.
    pub window: [usize; 2],
    /// Distance of neighbouring windows, down and across.
    pub stride: [usize; 2],
    /// What lies beyond the edge.
    pub padding: Padding,
}

/// What becomes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The mean: cells beyond the edge count as zeros, and the sum is divided by the size of the whole window.
    Average,
    /// The sum.
    Sum,
    /// The largest of the cells that are not beyond the edge; the derivative is that of the first of equal ones.
    Max,
}

/// `y = (z − mean)/√(variance + eps)` over some axes, with `variance = mean (z − mean)²`, and without an affine part of its own (Ba, Kiros
/// and Hinton 2016). The shape stays.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    /// The axes.
    pub axes: NormAxes,
    /// What keeps the root away from 0, a positive number.
    pub eps: f64,
}

/// The axes that a [`LayerNorm`] takes its means over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum NormAxes {
    /// The channels of every place of an image, or all features.
    #[default]
    Channels,
    /// All of an example.
    All,
}

impl NormAxes {
    /// The name in a model file.
    pub fn name(self) -> &'static str {
        match self {
            NormAxes::Channels => "channels",
            NormAxes::All => "all",
        }
    }
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

/// A convolution with the defaults of the model file: `stride = [1, 1]`, `padding = "same"`, `w_std = 1`, `b_std = 0` and a bias.
///
/// ```
/// use nn::{Network, Padding, conv, global_avg_pool};
/// // The sum of a cell and of the one to the right of it: a filter [1, 2] of ones, m = 1/√2.
/// let layers = [conv(1, [1, 2]).padding(Padding::Valid).without_bias(), global_avg_pool()];
/// let network = Network::new([1, 3, 1], layers)?;
/// let f = network.apply(&[vec![1.0, 1.0]], &[1.0, 2.0, 4.0]);
/// assert!((f[0] - 0.5 * (3.0 + 6.0) / 2_f64.sqrt()).abs() < 1e-15);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn conv(out: usize, filter: [usize; 2]) -> Layer {
    Layer::Conv(Conv { out, filter, stride: [1, 1], padding: Padding::Same, w_std: 1.0, b_std: 0.0, bias: true })
}

/// The mean over windows `[height, width]` that lie side by side. With other paddings than "valid" zeros beyond the edge are counted.
///
/// ```
/// use nn::{Network, avg_pool, dense, flatten};
/// let network = Network::new([2, 3, 1], [avg_pool([2, 3]), flatten(), dense(1).without_bias()])?;
/// assert_eq!(network.apply(&[vec![1.0]], &[1.0, 2.0, 3.0, 4.0, 5.0, 9.0]), [4.0]);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn avg_pool(window: [usize; 2]) -> Layer {
    Layer::Pool(Pool { kind: PoolKind::Average, window, stride: window, padding: Padding::Valid })
}

/// The sum over windows `[height, width]` that lie side by side.
///
/// ```
/// use nn::{Network, dense, flatten, sum_pool};
/// let network = Network::new([1, 4, 1], [sum_pool([1, 3]).stride([1, 1]), flatten(), dense(1).std(2_f64.sqrt(), 0.0).without_bias()])?;
/// assert_eq!(network.apply(&[vec![1.0, 10.0]], &[1.0, 2.0, 3.0, 4.0]), [96.0]);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn sum_pool(window: [usize; 2]) -> Layer {
    Layer::Pool(Pool { kind: PoolKind::Sum, window, stride: window, padding: Padding::Valid })
}

/// The largest number of windows `[height, width]` that lie side by side.
///
/// ```
/// use nn::{Network, dense, flatten, max_pool};
/// let network = Network::new([2, 2, 1], [max_pool([2, 2]), flatten(), dense(1).without_bias()])?;
/// assert_eq!(network.apply(&[vec![1.0]], &[-4.0, -3.0, -8.0, -5.0]), [-3.0]);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn max_pool(window: [usize; 2]) -> Layer {
    Layer::Pool(Pool { kind: PoolKind::Max, window, stride: window, padding: Padding::Valid })
}

/// The mean over all places of an image, `y[c] = (1/|P|) Σ_p x[p, c]`: `[height, width, channels]` to `[channels]`.
///
/// ```
/// use nn::{Network, dense, global_avg_pool};
/// // Two channels with the means 2 and 10.
/// let network = Network::new([1, 2, 2], [global_avg_pool(), dense(1).std(2_f64.sqrt(), 0.0).without_bias()])?;
/// assert_eq!(network.apply(&[vec![1.0, 3.0]], &[1.0, 8.0, 3.0, 12.0]), [32.0]);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn global_avg_pool() -> Layer {
    Layer::GlobalAvgPool
}

/// The numbers of an image as features, place after place: `[height, width, channels]` to `[height·width·channels]`. Features stay as they
/// are.
///
/// ```
/// use nn::{Network, dense, flatten};
/// let network = Network::new([2, 3, 4], [flatten(), dense(5)])?;
/// assert_eq!(network.parameters()[0].shape.dims(), [24, 5]);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn flatten() -> Layer {
    Layer::Flatten
}

/// Layer normalization over the channels, with `eps = 1e-12`; see [`LayerNorm`].
///
/// ```
/// use nn::{Network, dense, layer_norm};
/// // (1, 3, 5, 7) has the mean 4 and the variance 5.
/// let network = Network::new([4], [layer_norm(), dense(1).std(2.0, 0.0).without_bias()])?;
/// let f = network.apply(&[vec![0.0, 0.0, 0.0, 1.0]], &[1.0, 3.0, 5.0, 7.0]);
/// assert!((f[0] - 3.0 / 5_f64.sqrt()).abs() < 1e-12);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn layer_norm() -> Layer {
    Layer::LayerNorm(LayerNorm { axes: NormAxes::Channels, eps: 1e-12 })
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
///
/// ```
/// use nn::{Network, conv, global_avg_pool, relu, residual_with_shortcut};
/// // Both ways halve the image, and only equal shapes add up.
/// let block = residual_with_shortcut([conv(8, [3, 3]).stride([2, 2]), relu()], [conv(8, [1, 1]).stride([2, 2])]);
/// let network = Network::new([6, 6, 3], [block, global_avg_pool()])?;
/// assert_eq!(network.outputs(), 8);
/// # Ok::<(), nn::ModelError>(())
/// ```
pub fn residual_with_shortcut(layers: impl Into<Vec<Layer>>, shortcut: impl Into<Vec<Layer>>) -> Layer {
    Layer::Residual(Residual { layers: layers.into(), shortcut: shortcut.into() })
}

impl Layer {
    /// Sets `w_std` and `b_std` of a dense layer or a convolution.
    ///
    /// # Panics
    /// If the layer has no weights.
    #[track_caller]
    #[must_use]
    pub fn std(mut self, w_std: f64, b_std: f64) -> Self {
        let (Layer::Dense(Dense { w_std: w, b_std: b, .. }) | Layer::Conv(Conv { w_std: w, b_std: b, .. })) = &mut self else {
            self.misses("std", "weights")
        };
        (*w, *b) = (w_std, b_std);
        self
    }

    /// Takes the bias away from a dense layer or a convolution.
    ///
    /// # Panics
    /// If the layer has no weights.
    #[track_caller]
    #[must_use]
    pub fn without_bias(mut self) -> Self {
        let (Layer::Dense(Dense { bias, .. }) | Layer::Conv(Conv { bias, .. })) = &mut self else { self.misses("without_bias", "weights") };
        *bias = false;
        self
    }

    /// Sets the distance of neighbouring windows of a convolution or a pool, [down, across].
    ///
    /// # Panics
    /// If the layer has no windows.
    #[track_caller]
    #[must_use]
    pub fn stride(mut self, distance: [usize; 2]) -> Self {
        let (Layer::Conv(Conv { stride, .. }) | Layer::Pool(Pool { stride, .. })) = &mut self else { self.misses("stride", "windows") };
        *stride = distance;
        self
    }

    /// Sets what lies beyond the edge for a convolution or a pool.
    ///
    /// # Panics
    /// If the layer has no windows.
    #[track_caller]
    #[must_use]
    pub fn padding(mut self, beyond: Padding) -> Self {
        let (Layer::Conv(Conv { padding, .. }) | Layer::Pool(Pool { padding, .. })) = &mut self else { self.misses("padding", "windows") };
        *padding = beyond;
        self
    }

    /// Sets the axes of a layer normalization.
    ///
    /// # Panics
    /// If the layer is another one.
    #[track_caller]
    #[must_use]
    pub fn over(mut self, axes: NormAxes) -> Self {
        let Layer::LayerNorm(norm) = &mut self else { self.misses("over", "means") };
        norm.axes = axes;
        self
    }

    /// Sets `eps` of a layer normalization.
    ///
    /// # Panics
    /// If the layer is another one.
    #[track_caller]
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        let Layer::LayerNorm(norm) = &mut self else { self.misses("eps", "means") };
        norm.eps = eps;
        self
    }

    #[track_caller]
    fn misses(&self, method: &str, what: &str) -> ! {
        panic!("`{method}` is for layers with {what}, and `{}` has none of its own", self.type_name())
    }

    /// The `type` of the layer in a model file.
    pub fn type_name(&self) -> &'static str {
        match self {
            Layer::Dense(_) => "dense",
            Layer::Conv(_) => "conv",
            Layer::Pool(pool) => pool.kind.name(),
            Layer::GlobalAvgPool => "global_avg_pool",
            Layer::Flatten => "flatten",
            Layer::LayerNorm(_) => "layer_norm",
            Layer::Activation(activation) => activation.name(),
            Layer::Residual(_) => "residual",
        }
    }
}

impl PoolKind {
    /// All of them.
    pub const ALL: [PoolKind; 3] = [PoolKind::Average, PoolKind::Sum, PoolKind::Max];

    /// The `type` of the pool in a model file.
    pub fn name(self) -> &'static str {
        match self {
            PoolKind::Average => "avg_pool",
            PoolKind::Sum => "sum_pool",
            PoolKind::Max => "max_pool",
        }
    }
}

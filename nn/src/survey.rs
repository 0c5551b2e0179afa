//! The survey of a model: shapes from layer to layer, the parameters that it needs, and what a pass costs.

use crate::activation::Activation;
use crate::error::ModelError;
use crate::layer::{Conv, Dense, Layer, LayerNorm, NormAxes, Pool, PoolKind, Residual};
use crate::network::Layout;
use crate::windows::Padding;

/// One layer of a network, as it was found to fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Where it stands in the model, such as `layers[2].shortcut[0]`.
    pub place: String,
    /// Its `type` in a model file.
    pub layer: &'static str,
    /// The shape of its output for one example, in the layout of the model.
    pub shape: Vec<usize>,
    /// Entries of its own parameters.
    pub parameters: usize,
    /// Floating-point operations of its own for one example, forward: one for every multiplication and every addition, those with zeros beyond
    /// an edge included, and one for every value of an elementwise function. At most `u64::MAX`.
    pub flops: u64,
}

impl Row {
    /// Its place and its type, as errors name it: `layers[2] (relu)`.
    ///
    /// ```
    /// let network = nn::Network::new([2], [nn::dense(3), nn::relu(), nn::dense(1)])?;
    /// assert_eq!(network.summary()[1].named(), "layers[1] (relu)");
    /// # Ok::<(), nn::ModelError>(())
    /// ```
    pub fn named(&self) -> String {
        format!("{} ({})", self.place, self.layer)
    }
}

/// A layer with weights, as it was found.
pub(crate) struct Found {
    /// Its name in error messages.
    pub(crate) place: String,
    /// Its row in the summary.
    pub(crate) row: usize,
    /// Its number in a file of weights.
    pub(crate) number: usize,
    pub(crate) n_in: usize,
    pub(crate) out: usize,
    pub(crate) w_std: f64,
    pub(crate) b_std: f64,
    pub(crate) bias: bool,
    pub(crate) reads_input: bool,
    /// The shape of the weight in a file.
    pub(crate) file_shape: Vec<usize>,
    /// The rows of the weight are `[sites, channels]`, and the other way around in a file.
    pub(crate) sites: usize,
}

/// What flows from layer to layer while shapes are worked out.
#[derive(Clone)]
struct Signal {
    shape: Vec<usize>,
    /// Whether no layer with weights has been passed yet.
    is_input: bool,
    /// See [`record::Signal`](crate::record::Signal).
    sites: usize,
}

/// What a walk through the layers finds.
pub(crate) struct Survey {
    layout: Layout,
    number: usize,
    pub(crate) found: Vec<Found>,
    pub(crate) rows: Vec<Row>,
}

/// The most entries that one weight, or what flows between two layers, may have: 2⁴⁰, far beyond any memory.
const LARGEST: u128 = 1 << 40;

fn entries(shape: &[usize]) -> u128 {
    shape.iter().map(|&n| n as u128).product()
}

impl Survey {
    /// Walks through the layers of a network, with an input in the given layout; returns the survey and the shape at the end.
    pub(crate) fn of(input: &[usize], layout: Layout, layers: &[Layer]) -> Result<(Self, Vec<usize>), ModelError> {
        let mut survey = Survey { layout, number: 0, found: Vec::new(), rows: Vec::new() };
        let shape = layout.to_inside(input);
        if shape.len() > 1 && entries(&shape) > LARGEST {
            return Err(ModelError::TooLargeImage { place: "input".into(), shape: input.to_vec() });
        }
        let end = survey.layers(layers, "layers", Signal { shape, is_input: true, sites: 1 })?;
        Ok((survey, layout.to_outside(&end.shape)))
    }

    fn layers(&mut self, layers: &[Layer], place: &str, mut x: Signal) -> Result<Signal, ModelError> {
        for (i, layer) in layers.iter().enumerate() {
            let here = format!("{place}[{i}]");
            let named = || format!("{here} ({})", layer.type_name());
            let numbers = entries(&x.shape);
            let mut parameters = 0;
            let flops;
            x = match layer {
                Layer::Dense(dense) => {
                    let n_in = self.features(&x, &named)?;
                    parameters = self.dense(dense, n_in, &x, &named)?;
                    flops = affine_flops(n_in, dense.out, dense.bias, 1);
                    Signal { shape: vec![dense.out], is_input: false, sites: 1 }
                }
                Layer::Conv(conv) => {
                    let image = self.image(&x, &named)?;
                    let out = self.windows(("filter", conv.filter), conv.stride, conv.padding, image, &named)?;
                    parameters = self.conv(conv, image[2], &x, &named)?;
                    flops = affine_flops(conv.filter[0] * conv.filter[1] * image[2], conv.out, conv.bias, entries(&out));
                    self.sized(Signal { shape: vec![out[0], out[1], conv.out], is_input: false, sites: 1 }, &named)?
                }
                Layer::Pool(pool) => {
                    let image = self.image(&x, &named)?;
                    let out = self.pool(pool, image, &named)?;
                    flops = entries(&pool.window) * entries(&out) * image[2] as u128;
                    self.sized(Signal { shape: vec![out[0], out[1], image[2]], ..x }, &named)?
                }
                Layer::GlobalAvgPool => {
                    let [_, _, channels] = self.image(&x, &named)?;
                    flops = numbers;
                    // In PyTorch a pool to one cell, and a layer that flattens it.
                    self.number += 1;
                    Signal { shape: vec![channels], ..x }
                }
                Layer::Flatten => {
                    flops = 0;
                    match x.shape[..] {
                        [height, width, _] => {
                            let sites = if self.layout == Layout::Nchw { height * width } else { 1 };
                            Signal { shape: vec![x.shape.iter().product()], is_input: x.is_input, sites }
                        }
                        _ => x,
                    }
                }
                Layer::LayerNorm(norm) => {
                    flops = check_norm(norm, &x, numbers, &named)?;
                    x
                }
                Layer::Activation(activation) => {
                    check_activation(*activation, &named)?;
                    flops = activation_flops(*activation) * numbers;
                    x
                }
                Layer::Residual(residual) => {
                    let sum = self.residual(residual, &here, x)?;
                    flops = entries(&sum.shape);
                    self.rows.push(self.row(here, layer, &sum, 0, flops));
                    x = sum;
                    continue;
                }
            };
            self.number += 1;
            self.rows.push(self.row(here, layer, &x, parameters, flops));
        }
        Ok(x)
    }

    fn row(&self, place: String, layer: &Layer, x: &Signal, parameters: usize, flops: u128) -> Row {
        let flops = u64::try_from(flops).unwrap_or(u64::MAX);
        Row { place, layer: layer.type_name(), shape: self.layout.to_outside(&x.shape), parameters, flops }
    }

    fn residual(&mut self, Residual { layers, shortcut }: &Residual, here: &str, x: Signal) -> Result<Signal, ModelError> {
        let branch = self.layers(layers, &format!("{here}.layers"), x.clone())?;
        let around = self.layers(shortcut, &format!("{here}.shortcut"), x)?;
        if branch.shape != around.shape {
            let outside = |shape: &[usize]| self.layout.to_outside(shape);
            let (branch, shortcut) = (outside(&branch.shape), outside(&around.shape));
            return Err(ModelError::Residual { place: format!("{here} (residual)"), branch, shortcut });
        }
        let sites = if branch.sites == around.sites { branch.sites } else { 1 };
        Ok(Signal { shape: branch.shape, is_input: branch.is_input && around.is_input, sites })
    }

    fn features(&self, x: &Signal, named: &dyn Fn() -> String) -> Result<usize, ModelError> {
        match x.shape[..] {
            [n] => Ok(n),
            _ => Err(ModelError::Shape { place: named(), reads: "features, [n]".into(), given: self.layout.to_outside(&x.shape) }),
        }
    }

    fn image(&self, x: &Signal, named: &dyn Fn() -> String) -> Result<[usize; 3], ModelError> {
        match x.shape[..] {
            [height, width, channels] => Ok([height, width, channels]),
            _ => {
                let reads = match self.layout {
                    Layout::Nhwc => "an image, [height, width, channels]",
                    Layout::Nchw => "an image, [channels, height, width]",
                };
                Err(ModelError::Shape { place: named(), reads: reads.into(), given: x.shape.clone() })
            }
        }
    }

    /// The number of windows along both axes, of which there must be some.
    fn windows(
        &self,
        (key, size): (&'static str, [usize; 2]),
        stride: [usize; 2],
        padding: Padding,
        [height, width, channels]: [usize; 3],
        named: &dyn Fn() -> String,
    ) -> Result<[usize; 2], ModelError> {
        let most = u32::MAX as usize;
        for (key, sizes) in [(key, size), ("stride", stride)] {
            if sizes.contains(&0) || sizes.iter().any(|&n| n > most) {
                return Err(ModelError::Extents { place: named(), key, least: 1, value: sizes });
            }
        }
        match padding {
            Padding::Cells(cells) if cells.iter().any(|&n| n > most) => {
                return Err(ModelError::Extents { place: named(), key: "padding", least: 0, value: cells });
            }
            Padding::Same | Padding::Valid | Padding::Circular | Padding::Cells(_) => (),
        }
        let image = self.layout.to_outside(&[height, width, channels]);
        if image.iter().any(|&n| n > most) {
            return Err(ModelError::TooLargeImage { place: named(), shape: image });
        }
        let out = padding.windows([height, width], channels, size, stride).out();
        if out.contains(&0) {
            return Err(ModelError::Window { place: named(), key, size, image });
        }
        Ok(out)
    }

    /// The shape of one signal that may be far larger than the one before.
    fn sized(&self, x: Signal, named: &dyn Fn() -> String) -> Result<Signal, ModelError> {
        if entries(&x.shape) > LARGEST {
            return Err(ModelError::TooLargeImage { place: named(), shape: self.layout.to_outside(&x.shape) });
        }
        Ok(x)
    }

    fn dense(&mut self, dense: &Dense, n_in: usize, x: &Signal, named: &dyn Fn() -> String) -> Result<usize, ModelError> {
        let &Dense { out, w_std, b_std, bias } = dense;
        check_weight(n_in as u128, out, w_std, b_std, named)?;
        let (number, file_shape) = (self.number, vec![out, n_in]);
        let (reads_input, sites, place) = (x.is_input, x.sites, named());
        self.found.push(Found { place, row: self.rows.len(), number, n_in, out, w_std, b_std, bias, reads_input, file_shape, sites });
        Ok(n_in * out + if bias { out } else { 0 })
    }

    fn conv(&mut self, conv: &Conv, channels: usize, x: &Signal, named: &dyn Fn() -> String) -> Result<usize, ModelError> {
        let &Conv { out, filter, w_std, b_std, bias, stride: _, padding: _ } = conv;
        check_weight(entries(&filter) * channels as u128, out, w_std, b_std, named)?;
        let sites = filter[0] * filter[1];
        let n_in = sites * channels;
        let (number, file_shape) = (self.number, vec![out, channels, filter[0], filter[1]]);
        let (reads_input, place) = (x.is_input, named());
        self.found.push(Found { place, row: self.rows.len(), number, n_in, out, w_std, b_std, bias, reads_input, file_shape, sites });
        Ok(n_in * out + if bias { out } else { 0 })
    }

    fn pool(&self, pool: &Pool, image: [usize; 3], named: &dyn Fn() -> String) -> Result<[usize; 2], ModelError> {
        let out = self.windows(("window", pool.window), pool.stride, pool.padding, image, named)?;
        match (pool.kind, pool.padding) {
            // A window beyond the edge altogether has no largest cell.
            (PoolKind::Max, Padding::Cells(cells)) if cells[0] >= pool.window[0] || cells[1] >= pool.window[1] => {
                Err(ModelError::EmptyWindow { place: named(), window: pool.window, padding: cells })
            }
            (PoolKind::Average | PoolKind::Sum | PoolKind::Max, Padding::Same | Padding::Valid | Padding::Circular | Padding::Cells(_)) => {
                Ok(out)
            }
        }
    }
}

fn check_weight(n_in: u128, out: usize, w_std: f64, b_std: f64, named: &dyn Fn() -> String) -> Result<(), ModelError> {
    if out == 0 {
        return Err(ModelError::NoOutputs { place: named() });
    }
    if out as u128 * n_in > LARGEST {
        let n_in = usize::try_from(n_in).unwrap_or(usize::MAX);
        return Err(ModelError::TooLarge { place: named(), n_in, out });
    }
    for (key, value) in [("w_std", w_std), ("b_std", b_std)] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(ModelError::Std { place: named(), key, value });
        }
    }
    Ok(())
}

fn check_norm(norm: &LayerNorm, x: &Signal, numbers: u128, named: &dyn Fn() -> String) -> Result<u128, ModelError> {
    if !(norm.eps.is_finite() && norm.eps > 0.0) {
        return Err(ModelError::Eps { place: named(), value: norm.eps });
    }
    let groups = match norm.axes {
        NormAxes::Channels => entries(&x.shape[..x.shape.len() - 1]),
        NormAxes::All => 1,
    };
    // Two means, a difference, a square and a product for every number; for every group two factors, the shift and the root.
    Ok(5 * numbers + 4 * groups)
}

fn check_activation(mut activation: Activation, named: &dyn Fn() -> String) -> Result<(), ModelError> {
    let name = activation.name();
    if !activation.is_allowed() {
        return Err(ModelError::NotAnActivation { place: named(), name });
    }
    for key in activation.keys() {
        let value = *key.value;
        if !key.allows(value) {
            let (place, key, least) = (named(), key.name, key.least);
            return Err(if least == 0.0 { ModelError::Std { place, key, value } } else { ModelError::NotFinite { place, key, value } });
        }
    }
    Ok(())
}

/// For every number: a product and a sum with each feature, and a sum with the bias.
fn affine_flops(n_in: usize, out: usize, bias: bool, sites: u128) -> u128 {
    (2 * n_in as u128 + u128::from(bias)) * out as u128 * sites
}

/// For every number.
fn activation_flops(activation: Activation) -> u128 {
    match activation {
        Activation::Phi(_) | Activation::Elementwise(_) => 1,
        // Two products, a sum and the function.
        Activation::Sin { .. } | Activation::Cos { .. } | Activation::Rbf { .. } => 4,
        // A square, a sign and the function.
        Activation::Gaussian => 3,
        Activation::Identity => 0,
    }
}

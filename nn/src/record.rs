//! Recording: what every layer is on a tape.

use crate::layer::{Conv, Dense, Layer, LayerNorm, NormAxes, Pool, PoolKind, Residual};
use autodiff::{Scalar, Shape, Tape, Var};

/// What flows from layer to layer.
#[derive(Clone, Copy)]
pub(crate) struct Signal {
    pub(crate) x: Var,
    /// Features that are a flattened image of that many sites, of a network whose input has its channels first: these lie site by site here, and
    /// channel by channel in files and outputs. 1 where there is no difference.
    pub(crate) sites: usize,
}

/// Records layers with parameters that come one after the other, each with its multiplier.
pub(crate) struct Recorder<'r, T: Scalar> {
    pub(crate) tape: &'r mut Tape<T>,
    pub(crate) parameters: &'r mut dyn Iterator<Item = (Var, f64)>,
    pub(crate) channels_first: bool,
    /// Where the output of every layer is written down, if anybody asks.
    pub(crate) layers: Option<&'r mut Vec<Var>>,
}

impl<T: Scalar> Recorder<'_, T> {
    /// The whole network, from an input in the layout of the model to outputs in the same.
    pub(crate) fn network(&mut self, layers: &[Layer], x: Var) -> Var {
        let x = if self.channels_first { self.channels_last(x) } else { x };
        let end = self.layers(layers, Signal { x, sites: 1 });
        self.channel_by_channel(end).x
    }

    fn layers(&mut self, layers: &[Layer], mut signal: Signal) -> Signal {
        for layer in layers {
            let x = signal.x;
            signal = match layer {
                Layer::Dense(dense) => Signal { x: self.dense(dense, x), sites: 1 },
                Layer::Conv(conv) => Signal { x: self.conv(conv, x), ..signal },
                Layer::Pool(pool) => Signal { x: self.pool(pool, x), ..signal },
                Layer::GlobalAvgPool => Signal { x: self.tape.mean_axes(x, 1..3), ..signal },
                Layer::Flatten => self.flatten(signal),
                Layer::LayerNorm(norm) => Signal { x: self.norm(norm, x), ..signal },
                Layer::Activation(activation) => Signal { x: activation.record(self.tape, x), ..signal },
                Layer::Residual(residual) => self.residual(residual, signal),
            };
            if let Some(layers) = &mut self.layers {
                layers.push(signal.x);
            }
        }
        signal
    }

    fn weight_and_bias(&mut self, bias: bool) -> (Var, f64, Option<(Var, f64)>) {
        let mut next = || self.parameters.next().expect("one variable for each parameter of the network");
        let (w, scale) = next();
        (w, scale, bias.then(next))
    }

    fn dense(&mut self, dense: &Dense, x: Var) -> Var {
        let (w, scale, bias) = self.weight_and_bias(dense.bias);
        self.tape.affine(x, w, scale, bias)
    }

    fn conv(&mut self, conv: &Conv, x: Var) -> Var {
        let (w, scale, bias) = self.weight_and_bias(conv.bias);
        let (image, channels) = self.image(x);
        let windows = conv.padding.windows(image, channels, conv.filter, conv.stride);
        self.tape.conv(x, w, windows, scale, bias)
    }

    fn pool(&mut self, pool: &Pool, x: Var) -> Var {
        let (image, channels) = self.image(x);
        let windows = pool.padding.windows(image, channels, pool.window, pool.stride);
        match pool.kind {
            PoolKind::Average => self.tape.avg_pool(x, windows),
            PoolKind::Sum => self.tape.sum_pool(x, windows, 1.0),
            PoolKind::Max => self.tape.max_pool(x, windows),
        }
    }

    fn flatten(&mut self, signal: Signal) -> Signal {
        let [n, height, width, channels] = *self.tape.shape(signal.x).dims() else { return signal };
        let x = self.tape.reshape(signal.x, [n, height * width * channels]);
        Signal { x, sites: if self.channels_first { height * width } else { 1 } }
    }

    fn norm(&mut self, norm: &LayerNorm, x: Var) -> Var {
        let rank = self.tape.shape(x).rank();
        let axes = match norm.axes {
            NormAxes::Channels => rank - 1..rank,
            NormAxes::All => 1..rank,
        };
        let tape = &mut *self.tape;
        let mean = tape.mean_axes(x, axes.clone());
        let mean = tape.broadcast(mean, axes.clone(), x);
        let centered = tape.sub(x, mean);
        let squares = tape.mul(centered, centered);
        let variance = tape.mean_axes(squares, axes.clone());
        let positive = shifted(tape, variance, norm.eps);
        let scale = tape.powf(positive, -0.5);
        let scale = tape.broadcast(scale, axes, x);
        tape.mul(centered, scale)
    }

    fn residual(&mut self, Residual { layers, shortcut }: &Residual, signal: Signal) -> Signal {
        let mut branch = self.layers(layers, signal);
        let mut around = self.layers(shortcut, signal);
        if branch.sites != around.sites {
            (branch, around) = (self.channel_by_channel(branch), self.channel_by_channel(around));
        }
        Signal { x: self.tape.add(branch.x, around.x), ..branch }
    }

    #[track_caller]
    fn image(&self, x: Var) -> ([usize; 2], usize) {
        let shape = self.tape.shape(x);
        let [_, height, width, channels] = *shape.dims() else { panic!("windows need images [n, height, width, channels], given {shape}") };
        ([height, width], channels)
    }

    /// `[n, channels, height, width]` to `[n, height, width, channels]`.
    fn channels_last(&mut self, x: Var) -> Var {
        let [n, channels, height, width] = *self.tape.shape(x).dims() else { return x };
        self.exchange(x, [n, channels, height * width], [n, height, width, channels])
    }

    /// A flattened image site by site to one channel by channel.
    fn channel_by_channel(&mut self, signal: Signal) -> Signal {
        let Signal { x, sites } = signal;
        if sites == 1 {
            return signal;
        }
        let shape = *self.tape.shape(x);
        let x = self.exchange(x, [shape.dims()[0], sites, shape.cols() / sites], shape);
        Signal { x, sites: 1 }
    }

    /// Exchanges the last two axes of `x`, seen as `[n, rows, columns]`, and gives it a shape.
    fn exchange(&mut self, x: Var, seen: [usize; 3], shape: impl Into<Shape>) -> Var {
        let matrices = self.tape.reshape(x, seen);
        let exchanged = if seen[1] == 1 || seen[2] == 1 { matrices } else { self.tape.transpose(matrices) };
        self.tape.reshape(exchanged, shape)
    }
}

/// `x + c`.
pub(crate) fn shifted<T: Scalar>(tape: &mut Tape<T>, x: Var, c: f64) -> Var {
    let shift = tape.constant(Shape::scalar(), &[T::of(c)]);
    let shift = tape.broadcast(shift, 0..tape.shape(x).rank(), x);
    tape.add(x, shift)
}

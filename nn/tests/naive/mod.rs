//! Networks example by example and number by number, from the formulas alone: loops that share nothing with the library.

use nn::{Activation, Conv, Dense, Layer, LayerNorm, Network, NormAxes, Padding, Parameterization, Phi, Pool, PoolKind, Residual};
use std::f64::consts::PI;

/// `erf(x) = 2/√π e^{−x²} Σ_n 2ⁿ x^{2n+1}/(2n+1)!!` (Abramowitz and Stegun 7.1.6): all terms have one sign, so nothing cancels.
fn erf_series(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / (2 * n + 1) as f64;
        sum += term;
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

pub(crate) fn phi(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Phi(Phi::Relu) => x.max(0.0),
        Activation::Phi(Phi::Erf) => erf_series(x),
        Activation::Phi(Phi::Tanh) => x.tanh(),
        Activation::Phi(Phi::Exp) => x.exp(),
        Activation::Phi(Phi::Sigmoid) => 1.0 / (1.0 + (-x).exp()),
        Activation::Phi(Phi::Softplus) => x.exp().ln_1p(),
        Activation::Phi(Phi::Gelu) => 0.5 * x * (1.0 + erf_series(x / 2.0_f64.sqrt())),
        Activation::Phi(Phi::Silu) => x / (1.0 + (-x).exp()),
        Activation::Phi(Phi::Abs) => x.max(-x),
        Activation::Phi(Phi::LeakyRelu(alpha)) => x.max(0.0) + alpha * x.min(0.0),
        Activation::Phi(phi @ (Phi::Ln | Phi::Sqrt | Phi::Sin | Phi::Cos)) => panic!("{} is no activation", phi.name()),
        Activation::Sin { a, b, c } => a * (b * x + c).sin(),
        Activation::Cos { a, b, c } => a * (b * x + c).cos(),
        Activation::Rbf { gamma } => 2.0_f64.sqrt() * ((2.0 * gamma).sqrt() * x + PI / 4.0).sin(),
        Activation::Gaussian => (-x * x).exp(),
        Activation::Identity => x,
        Activation::Elementwise(f) => f.value(x),
    }
}

/// Windows along one axis: how many, and the cells before the first one.
pub(crate) fn axis(padding: Padding, along: usize, n: usize, f: usize, s: usize) -> (usize, usize) {
    match padding {
        Padding::Same | Padding::Circular => {
            let out = n.div_ceil(s);
            let total = ((out - 1) * s + f).max(n) - n;
            (out, total / 2)
        }
        Padding::Valid => ((n - f) / s + 1, 0),
        Padding::Cells(cells) => ((n + 2 * cells[along] - f) / s + 1, cells[along]),
    }
}

/// The value of a cell at a place that may lie beyond the edge.
fn cell(x: &Value, padding: Padding, row: isize, col: isize, c: usize) -> Option<f64> {
    let [height, width, channels] = x.shape[..] else { panic!("no image: {:?}", x.shape) };
    let (row, col) = match padding {
        Padding::Circular => (row.rem_euclid(height as isize), col.rem_euclid(width as isize)),
        Padding::Same | Padding::Valid | Padding::Cells(_) => (row, col),
    };
    let inside = (0..height as isize).contains(&row) && (0..width as isize).contains(&col);
    inside.then(|| x.values[(row as usize * width + col as usize) * channels + c])
}

/// An example on its way, with its channels last.
#[derive(Clone)]
pub(crate) struct Value {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

/// What every window sees of channel `c`, window after window and cell by cell.
fn seen(x: &Value, size: [usize; 2], stride: [usize; 2], padding: Padding, c: usize) -> (Vec<usize>, Vec<Vec<Option<f64>>>) {
    let (rows, top) = axis(padding, 0, x.shape[0], size[0], stride[0]);
    let (cols, left) = axis(padding, 1, x.shape[1], size[1], stride[1]);
    let mut windows = Vec::new();
    for p in 0..rows {
        for q in 0..cols {
            let mut window = Vec::new();
            for dy in 0..size[0] {
                for dx in 0..size[1] {
                    let (row, col) = ((p * stride[0] + dy) as isize - top as isize, (q * stride[1] + dx) as isize - left as isize);
                    window.push(cell(x, padding, row, col, c));
                }
            }
            windows.push(window);
        }
    }
    (vec![rows, cols], windows)
}

fn multipliers(parameterization: Parameterization, w_std: f64, b_std: f64, n_in: usize) -> (f64, f64) {
    match parameterization {
        Parameterization::Ntk => (w_std / (n_in as f64).sqrt(), b_std),
        Parameterization::Standard => (1.0, 1.0),
        Parameterization::Mup { .. } => panic!("μP has a test of its own"),
    }
}

type Parameters<'p> = std::slice::Iter<'p, Vec<f64>>;

fn dense(d: &Dense, parameterization: Parameterization, parameters: &mut Parameters<'_>, x: &Value) -> Value {
    let (m, m_b) = multipliers(parameterization, d.w_std, d.b_std, x.values.len());
    let w = parameters.next().unwrap();
    let mut z = vec![0.0; d.out];
    for j in 0..d.out {
        for i in 0..x.values.len() {
            z[j] += m * x.values[i] * w[i * d.out + j];
        }
    }
    if d.bias {
        let b = parameters.next().unwrap();
        z.iter_mut().zip(b).for_each(|(z, b)| *z += m_b * b);
    }
    Value { shape: vec![d.out], values: z }
}

fn conv(l: &Conv, parameterization: Parameterization, parameters: &mut Parameters<'_>, x: &Value) -> Value {
    let channels = x.shape[2];
    let n_in = channels * l.filter[0] * l.filter[1];
    let (m, m_b) = multipliers(parameterization, l.w_std, l.b_std, n_in);
    let w = parameters.next().unwrap();
    let b = if l.bias { parameters.next().unwrap().clone() } else { vec![0.0; l.out] };
    let by_channel: Vec<_> = (0..channels).map(|c| seen(x, l.filter, l.stride, l.padding, c)).collect();
    let mut z = Vec::new();
    for p in 0..by_channel[0].1.len() {
        for o in 0..l.out {
            let mut sum = m_b * b[o];
            for (c, (_, windows)) in by_channel.iter().enumerate() {
                for (tap, cell) in windows[p].iter().enumerate() {
                    sum += m * cell.unwrap_or(0.0) * w[(tap * channels + c) * l.out + o];
                }
            }
            z.push(sum);
        }
    }
    Value { shape: [&by_channel[0].0[..], &[l.out]].concat(), values: z }
}

fn pool(l: &Pool, x: &Value) -> Value {
    let channels = x.shape[2];
    let by_channel: Vec<_> = (0..channels).map(|c| seen(x, l.window, l.stride, l.padding, c)).collect();
    let mut y = Vec::new();
    for p in 0..by_channel[0].1.len() {
        for (_, windows) in &by_channel {
            let sum: f64 = windows[p].iter().flatten().sum();
            y.push(match l.kind {
                PoolKind::Average => sum / (l.window[0] * l.window[1]) as f64,
                PoolKind::Sum => sum,
                PoolKind::Max => windows[p].iter().flatten().fold(f64::NEG_INFINITY, |m, &v| m.max(v)),
            });
        }
    }
    Value { shape: [&by_channel[0].0[..], &[channels]].concat(), values: y }
}

fn norm(l: &LayerNorm, x: &Value) -> Value {
    let group = match l.axes {
        NormAxes::Channels => *x.shape.last().unwrap(),
        NormAxes::All => x.values.len(),
    };
    let normalized = |z: &[f64]| -> Vec<f64> {
        let mean = z.iter().sum::<f64>() / group as f64;
        let variance = z.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / group as f64;
        z.iter().map(|z| (z - mean) / (variance + l.eps).sqrt()).collect()
    };
    Value { shape: x.shape.clone(), values: x.values.chunks(group).flat_map(normalized).collect() }
}

fn through(layers: &[Layer], parameterization: Parameterization, parameters: &mut Parameters<'_>, x: &Value) -> Value {
    let mut x = x.clone();
    for layer in layers {
        x = match layer {
            Layer::Dense(l) => dense(l, parameterization, parameters, &x),
            Layer::Conv(l) => conv(l, parameterization, parameters, &x),
            Layer::Pool(l) => pool(l, &x),
            Layer::GlobalAvgPool => {
                let (channels, sites) = (x.shape[2], x.shape[0] * x.shape[1]);
                let mean = |c: usize| (0..sites).map(|p| x.values[p * channels + c]).sum::<f64>() / sites as f64;
                Value { shape: vec![channels], values: (0..channels).map(mean).collect() }
            }
            Layer::Flatten => Value { shape: vec![x.values.len()], values: x.values },
            Layer::LayerNorm(l) => norm(l, &x),
            Layer::Activation(activation) => Value { shape: x.shape, values: x.values.iter().map(|&x| phi(*activation, x)).collect() },
            Layer::Residual(Residual { layers, shortcut }) => {
                let branch = through(layers, parameterization, parameters, &x);
                let around = through(shortcut, parameterization, parameters, &x);
                assert_eq!(branch.shape, around.shape);
                Value { shape: branch.shape, values: branch.values.iter().zip(&around.values).map(|(a, b)| a + b).collect() }
            }
        };
    }
    x
}

/// The outputs of one example of a network whose input has its channels last.
pub(crate) fn naive(network: &Network, parameters: &[Vec<f64>], x: &[f64]) -> Vec<f64> {
    let mut parameters = parameters.iter();
    let x = Value { shape: network.input().to_vec(), values: x.to_vec() };
    let y = through(network.layers(), network.parameterization(), &mut parameters, &x);
    assert_eq!(parameters.next(), None);
    y.values
}

/// Applies a network and its formulas, in both fixed parameterizations, to several numbers of examples.
#[track_caller]
pub(crate) fn assert_forward(network: &Network, seed: u64) {
    let n_in = network.n_inputs();
    for parameterization in Parameterization::ALL {
        let network = network.clone().parameterized(parameterization);
        let scale = match parameterization {
            Parameterization::Ntk => 1.0,
            Parameterization::Standard | Parameterization::Mup { .. } => 0.3,
        };
        // Unlike fresh parameters, all entries are nonzero, so that a bias with b_std = 0 shows in the standard parameterization.
        let draw = |(i, p): (usize, &nn::Parameter)| nn::normals::<f64>(seed, i as u64, p.shape.len()).iter().map(|v| scale * v).collect();
        let parameters: Vec<Vec<f64>> = network.parameters().iter().enumerate().map(draw).collect();
        for examples in [0, 1, 2, 5] {
            let x: Vec<f64> = nn::normals::<f64>(seed, 1000, examples * n_in).iter().map(|v| 0.5 * v).collect();
            let got = network.apply(&parameters, &x);
            let want: Vec<f64> = x.chunks(n_in).flat_map(|x| naive(&network, &parameters, x)).collect();
            assert_eq!(got.len(), examples * network.outputs());
            assert_eq!(got.len(), want.len());
            for (g, w) in got.iter().zip(&want) {
                assert!((g - w).abs() <= 1e-13 * (1.0 + w.abs()), "{parameterization:?}: {g} is not {w}\n{network}");
            }
        }
    }
}

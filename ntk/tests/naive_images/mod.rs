//! Kernels of images at infinite width, slowly: a recursion over all pairs of sites, in the words of the formulas.

use nn::{Activation, Layer, Network, NormAxes, Padding, Parameterization, Phi, PoolKind};

/// `K` of three pairs of images, (x, x), (x, x') and (x', x'), and `Θ` of the second, each `[sites, sites]`.
#[derive(Clone)]
struct Sites {
    height: usize,
    width: usize,
    /// Numbers in a site.
    channels: usize,
    k: [Vec<f64>; 3],
    theta: Vec<f64>,
}

/// `K` and `Θ` of two inputs.
pub(crate) fn kernels(network: &Network, x1: &[f64], x2: &[f64]) -> [f64; 2] {
    let &[height, width, channels] = network.input() else { panic!("images") };
    let (n, c) = (height * width, channels);
    let dot = |a: &[f64], b: &[f64]| -> Vec<f64> {
        (0..n * n).map(|m| (0..c).map(|k| a[m / n * c + k] * b[m % n * c + k]).sum::<f64>() / c as f64).collect()
    };
    let start = Sites { height, width, channels, k: [dot(x1, x1), dot(x1, x2), dot(x2, x2)], theta: vec![0.0; n * n] };
    let end = layers(network.layers(), network.parameterization(), start);
    [end.k[1][0], end.theta[0]]
}

fn layers(layers: &[Layer], parameterization: Parameterization, mut s: Sites) -> Sites {
    for layer in layers {
        s = match layer {
            Layer::Dense(l) => affine(s.channels, [l.w_std, l.b_std], l.bias, l.out, parameterization, s),
            Layer::Conv(l) => {
                let n_in = l.filter[0] * l.filter[1] * s.channels;
                let seen = windows(&s, l.filter, l.stride, l.padding, true, 1.0 / (l.filter[0] * l.filter[1]) as f64);
                affine(n_in, [l.w_std, l.b_std], l.bias, l.out, parameterization, seen)
            }
            Layer::Pool(l) => {
                let a = match l.kind {
                    PoolKind::Average => 1.0 / (l.window[0] * l.window[1]) as f64,
                    PoolKind::Sum => 1.0,
                    PoolKind::Max => panic!("a max pool has no limit"),
                };
                windows(&s, l.window, l.stride, l.padding, false, a * a)
            }
            Layer::GlobalAvgPool => {
                let n = s.height * s.width;
                let mean = |k: &Vec<f64>| vec![k.iter().sum::<f64>() / (n * n) as f64];
                Sites { height: 1, width: 1, channels: s.channels, k: s.k.each_ref().map(mean), theta: mean(&s.theta) }
            }
            Layer::Flatten => {
                let n = s.height * s.width;
                let mean = |k: &Vec<f64>| vec![(0..n).map(|p| k[p * n + p]).sum::<f64>() / n as f64];
                Sites { height: 1, width: 1, channels: n * s.channels, k: s.k.each_ref().map(mean), theta: mean(&s.theta) }
            }
            Layer::LayerNorm(l) => norm(l.eps, l.axes, s),
            Layer::Activation(phi) => activation(*phi, s),
            Layer::Residual(l) => {
                let (a, b) = (self::layers(&l.layers, parameterization, s.clone()), self::layers(&l.shortcut, parameterization, s));
                let add = |a: &Vec<f64>, b: &Vec<f64>| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
                Sites { k: [0, 1, 2].map(|i| add(&a.k[i], &b.k[i])), theta: add(&a.theta, &b.theta), ..a }
            }
        };
    }
    s
}

fn affine(n_in: usize, [w, b]: [f64; 2], bias: bool, out: usize, parameterization: Parameterization, s: Sites) -> Sites {
    let b = if bias { b } else { 0.0 };
    let after = s.k.each_ref().map(|k| k.iter().map(|k| w * w * k + b * b).collect::<Vec<f64>>());
    let theta = (0..s.theta.len()).map(|m| match parameterization {
        Parameterization::Ntk => after[1][m] + w * w * s.theta[m],
        Parameterization::Standard => n_in as f64 * s.k[1][m] + w * w * s.theta[m] + if bias { 1.0 } else { 0.0 },
        Parameterization::Mup { .. } => panic!("no limit"),
    });
    let theta = theta.collect();
    Sites { k: after, theta, channels: out, ..s }
}

/// Number of windows along an axis, and the index of the first cell of the first one.
fn along(n: usize, f: usize, s: usize, padding: Padding, axis: usize) -> (usize, isize) {
    match padding {
        Padding::Same | Padding::Circular => {
            let out = n.div_ceil(s);
            let total = ((out as isize - 1) * s as isize + f as isize - n as isize).max(0);
            (out, -(total / 2))
        }
        Padding::Valid => ((n - f) / s + 1, 0),
        Padding::Cells(cells) => ((n + 2 * cells[axis] - f) / s + 1, -(cells[axis] as isize)),
    }
}

fn windows(s: &Sites, size: [usize; 2], stride: [usize; 2], padding: Padding, tied: bool, a: f64) -> Sites {
    let extents = [s.height, s.width];
    let [(height, top), (width, left)] = [0, 1].map(|axis| along(extents[axis], size[axis], stride[axis], padding, axis));
    let cell = |site: usize, tap: usize| -> Option<usize> {
        let y = top + (site / width * stride[0] + tap / size[1]) as isize;
        let x = left + (site % width * stride[1] + tap % size[1]) as isize;
        let (h, w) = (s.height as isize, s.width as isize);
        if padding == Padding::Circular {
            return Some((y.rem_euclid(h) * w + x.rem_euclid(w)) as usize);
        }
        ((0..h).contains(&y) && (0..w).contains(&x)).then_some((y * w + x) as usize)
    };
    let (n, taps, before) = (height * width, size[0] * size[1], s.height * s.width);
    let sum = |k: &Vec<f64>| {
        let mut out = vec![0.0; n * n];
        for (m, out) in out.iter_mut().enumerate() {
            for f in 0..taps {
                for g in if tied { f..f + 1 } else { 0..taps } {
                    if let (Some(p), Some(q)) = (cell(m / n, f), cell(m % n, g)) {
                        *out += a * k[p * before + q];
                    }
                }
            }
        }
        out
    };
    Sites { height, width, channels: s.channels, k: s.k.each_ref().map(sum), theta: sum(&s.theta) }
}

/// The variances of the two images of each of the three pairs, at each pair of sites.
fn variances(s: &Sites, m: usize) -> [[f64; 2]; 3] {
    let n = s.height * s.width;
    let (p, q) = (m / n, m % n);
    let [one, two] = [&s.k[0], &s.k[2]].map(|k| move |p: usize| k[p * n + p]);
    [[one(p), one(q)], [one(p), two(q)], [two(p), two(q)]]
}

fn norm(eps: f64, axes: NormAxes, s: Sites) -> Sites {
    let n = s.height * s.width;
    let scale = |k: &Vec<f64>| -> Vec<f64> {
        let mean = (0..n).map(|p| k[p * n + p]).sum::<f64>() / n as f64;
        (0..n).map(|p| 1.0 / (if axes == NormAxes::All { mean } else { k[p * n + p] } + eps).sqrt()).collect()
    };
    let (one, two) = (scale(&s.k[0]), scale(&s.k[2]));
    let by = |k: &Vec<f64>, a: &Vec<f64>, b: &Vec<f64>| (0..n * n).map(|m| k[m] * a[m / n] * b[m % n]).collect::<Vec<f64>>();
    let k = [by(&s.k[0], &one, &one), by(&s.k[1], &one, &two), by(&s.k[2], &two, &two)];
    Sites { theta: by(&s.theta, &one, &two), k, ..s }
}

fn activation(phi: Activation, s: Sites) -> Sites {
    let n = s.height * s.width;
    let dual = |k11: f64, k12: f64, k22: f64| {
        let (kappa, slope) = ntk::dual(phi, k11, k12, k22).expect("a finite function");
        // Inputs that coincide have κ̇ = E[φ'²], which an angle from rounded numbers misses by √ε where φ has a kink.
        if k11 == k12 && k12 == k22 && k12 > 0.0 {
            match phi {
                Activation::Phi(Phi::Relu) => return (0.5 * k11, 0.5),
                Activation::Phi(Phi::Abs) => return (k11, 1.0),
                Activation::Phi(Phi::LeakyRelu(alpha)) => return (0.5 * (1.0 + alpha * alpha) * k11, 0.5 * (1.0 + alpha * alpha)),
                _ => (),
            }
        }
        (kappa, slope)
    };
    let all = |i: usize| (0..n * n).map(|m| dual(variances(&s, m)[i][0], s.k[i][m], variances(&s, m)[i][1])).collect::<Vec<_>>();
    let duals = [all(0), all(1), all(2)];
    let theta = s.theta.iter().zip(&duals[1]).map(|(theta, (_, slope))| theta * slope).collect();
    Sites { k: duals.map(|duals| duals.into_iter().map(|(kappa, _)| kappa).collect()), theta, ..s }
}

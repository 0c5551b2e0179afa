//! NNGP and NTK at infinite width, in closed form.

mod pair;
mod rules;

use crate::Real;
use nn::{Layer, Network, Parameterization};
use pair::{Pair, Scales};
use rayon::prelude::*;
use simd::{Accumulate, Mat, MatMut};
use std::ops::Range;

pub use pair::dual;
pub use rules::NoLimit;

/// Examples along either side of a tile. Tiles are the pieces of work that threads share; entries do not depend on their size.
const TILE: usize = 64;
/// Beyond this cosine the angle of two inputs is computed from their difference, because `1 − cos` would have lost two digits and more.
const NEAR: f64 = 0.99;

/// The kernels of a network whose hidden layers are infinitely wide (Lee, Bahri et al. 2018; Jacot, Gabriel and Hongler 2018).
///
/// ```text
/// input              K = x·x'/d,  Θ = 0
/// dense, ntk         K ← w²K + b²,  Θ ← K_new + w²Θ
/// dense, standard    K ← w²K + b²,  Θ ← n_in·K_before + w²Θ + [1 if there is a bias]
/// activation φ       K ← E[φ(u)φ(v)],  Θ ← Θ·E[φ'(u)φ'(v)],  (u, v) ~ N(0, [[K11, K12], [K12, K22]])
/// residual           sums of K and of Θ
/// ```
///
/// ReLU: `κ = (n/2π)(sin t + (π−t) cos t)`, `κ̇ = (π−t)/2π`, with `n = √(K11·K22)` and `t` the angle (Cho and Saul 2009, degrees 1 and 0).
/// Erf: `κ = (2/π) asin(2K12/√((1+2K11)(1+2K22)))` (Williams 1997), `κ̇ = (4/π)/√((1+2K11)(1+2K22) − 4K12²)`.
/// Exp: `κ = κ̇ = exp((K11+K22)/2 + K12)`.
///
/// `κ̇` of ReLU has a square root at `t = 0` and `t = π`, where a rounded `K12` gives half of the digits only. So the angle is carried besides the
/// kernel, as `4 sin²(t/2)` and `4 cos²(t/2)`, through recursions of terms that are all positive: coincident, parallel, opposite and nearly
/// coincident inputs keep all their digits. The work is done in double precision for either type of numbers.
///
/// ```
/// use nn::{Network, dense, relu};
/// use ntk::InfiniteKernel;
/// use simd::Mat;
/// let network = Network::new([1], [dense(100), relu(), dense(1)])?;
/// let kernel = InfiniteKernel::new(&network)?;
/// // K11 = K22 = 1 and K12 = −1 for the inputs 1 and −1: κ = 1/2 on the diagonal and 0 beside it, κ̇ = 1/2 and 0.
/// let kernels = kernel.evaluate(Mat::new(&[1.0, -1.0], 2, 1), None);
/// assert_eq!(kernels.nngp, [0.5, 0.0, 0.0, 0.5]);
/// assert_eq!(kernels.ntk, [1.0, 0.0, 0.0, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct InfiniteKernel {
    network: Network,
}

/// Both kernels between two sets of examples, `[n1, n2]` each.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernels<T> {
    /// Examples along the rows.
    pub n1: usize,
    /// Examples along the columns.
    pub n2: usize,
    /// The kernel of the outputs, which is that of a Gaussian process.
    pub nngp: Vec<T>,
    /// The neural tangent kernel.
    pub ntk: Vec<T>,
}

impl InfiniteKernel {
    /// Of a network; the widths of its hidden layers do not matter, but for `n_in` in the standard parameterization.
    ///
    /// # Errors
    /// If the network has no such limit, or none in closed form, naming the layer and the reason.
    pub fn new(network: &Network) -> Result<Self, NoLimit> {
        rules::check(network)?;
        Ok(InfiniteKernel { network: network.clone() })
    }

    /// The network that it is the kernel of.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Both kernels between inputs `x1`, `[n1, d]`, and `x2`, `[n2, d]`, or of `x1` with itself, which is symmetric to the bit.
    ///
    /// The bits of an entry depend on its two inputs only.
    ///
    /// # Panics
    /// If the inputs have another number of features than the network reads.
    #[track_caller]
    pub fn evaluate<T: Real>(&self, x1: Mat<'_, T>, x2: Option<Mat<'_, T>>) -> Kernels<T> {
        let d = self.network.n_inputs();
        for x in [Some(x1), x2].into_iter().flatten() {
            assert_eq!(x.cols(), d, "the network reads {d} features, and the inputs are {} × {}", x.rows(), x.cols());
        }
        let left = Inputs::new(x1);
        let right = x2.map(Inputs::new);
        let symmetric = right.is_none();
        let right = right.as_ref().unwrap_or(&left);
        let (n1, n2) = (left.n, right.n);
        let tiles: Vec<(Range<usize>, Range<usize>)> = tiles(n1)
            .into_iter()
            .flat_map(|r| tiles(n2).into_iter().map(move |c| (r.clone(), c)))
            .filter(|(r, c)| !symmetric || c.end > r.start)
            .collect();
        let done: Vec<Vec<Pair>> = tiles.par_iter().map(|(r, c)| self.tile(&left, r.clone(), right, c.clone())).collect();

        let mut kernels = Kernels { n1, n2, nngp: crate::empirical::zeros(n1 * n2), ntk: crate::empirical::zeros(n1 * n2) };
        for ((r, c), pairs) in tiles.iter().zip(&done) {
            for (i, row) in r.clone().zip(pairs.chunks(c.len())) {
                for (j, pair) in c.clone().zip(row) {
                    let (k, theta) = (crate::empirical::number(pair.k), crate::empirical::number(pair.theta));
                    if !symmetric {
                        (kernels.nngp[i * n2 + j], kernels.ntk[i * n2 + j]) = (k, theta);
                    } else if i <= j {
                        (kernels.nngp[i * n2 + j], kernels.ntk[i * n2 + j]) = (k, theta);
                        (kernels.nngp[j * n2 + i], kernels.ntk[j * n2 + i]) = (k, theta);
                    }
                }
            }
        }
        kernels
    }

    /// The pairs of a tile, through all layers.
    fn tile(&self, left: &Inputs, rows: Range<usize>, right: &Inputs, columns: Range<usize>) -> Vec<Pair> {
        let (m, n, d) = (rows.len(), columns.len(), left.d);
        let mut products = vec![0.0; m * n];
        let x1 = left.matrix().row_range(rows.clone());
        let x2 = right.matrix().row_range(columns.clone());
        simd::product(x1, x2.t(), Accumulate::Set, MatMut::new(&mut products, m, n));
        let mut pairs = Vec::with_capacity(m * n);
        for (i, row) in rows.zip(products.chunks(n.max(1))) {
            for (j, &product) in columns.clone().zip(row) {
                pairs.push(Pair::of_inputs(left.row(i), right.row(j), product / d as f64, (left.variances[i], right.variances[j]), NEAR));
            }
        }
        through(self.network.layers(), self.network.parameterization(), self.network.n_inputs(), &mut pairs);
        pairs
    }
}

/// Inputs in double precision, with `x·x/d` of each.
struct Inputs {
    x: Vec<f64>,
    n: usize,
    d: usize,
    variances: Vec<f64>,
}

impl Inputs {
    fn new<T: Real>(x: Mat<'_, T>) -> Self {
        let (n, d) = (x.rows(), x.cols());
        let x: Vec<f64> = (0..n).flat_map(|i| (0..d).map(move |j| x.at(i, j).primal())).collect();
        let row = |i: usize| Mat::new(&x[i * d..(i + 1) * d], 1, d);
        // By the same product as between two inputs, so that equal rows have equal bits in all three of K11, K12 and K22.
        let variance = |i: usize| {
            let mut square = [0.0];
            simd::product(row(i), row(i).t(), Accumulate::Set, MatMut::new(&mut square, 1, 1));
            square[0] / d as f64
        };
        let variances = (0..n).map(variance).collect();
        Inputs { x, n, d, variances }
    }

    fn matrix(&self) -> Mat<'_, f64> {
        Mat::new(&self.x, self.n, self.d)
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.x[i * self.d..(i + 1) * self.d]
    }
}

fn tiles(n: usize) -> Vec<Range<usize>> {
    (0..n).step_by(TILE).map(|i| i..(i + TILE).min(n)).collect()
}

/// Carries pairs through layers; returns the number of features at the end.
fn through(layers: &[Layer], parameterization: Parameterization, mut features: usize, pairs: &mut [Pair]) -> usize {
    for layer in layers {
        match layer {
            Layer::Dense(dense) => {
                let scales = Scales { w2: dense.w_std * dense.w_std, b2: if dense.bias { dense.b_std * dense.b_std } else { 0.0 } };
                let theta_of_parameters = |before: f64, after: f64| match parameterization {
                    Parameterization::Ntk => after,
                    Parameterization::Standard => features as f64 * before + f64::from(u8::from(dense.bias)),
                };
                for pair in pairs.iter_mut() {
                    let before = pair.k;
                    pair.dense(scales);
                    pair.theta = theta_of_parameters(before, pair.k) + scales.w2 * pair.theta;
                }
                features = dense.out;
            }
            Layer::Activation(phi) => pairs.iter_mut().for_each(|pair| pair.activation(*phi)),
            Layer::Residual(residual) => {
                let mut around = pairs.to_vec();
                let out = through(&residual.layers, parameterization, features, pairs);
                through(&residual.shortcut, parameterization, features, &mut around);
                pairs.iter_mut().zip(&around).for_each(|(pair, other)| pair.add(other));
                features = out;
            }
        }
    }
    features
}

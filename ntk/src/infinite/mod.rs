//! The kernels of a network whose layers are infinitely wide.

mod blocks;
mod dual;
mod duals;
mod fused;
mod gelu;
mod hermite;
mod images;
mod inputs;
mod loops;
mod norms;
mod one;
mod pair;
mod rows;
mod series;
mod stage;
mod waves;

use images::{Images, Precision};
use inputs::{Inputs, both, mirror};
use nn::{Activation, Layout, Network};
use rayon::prelude::*;
use rows::{Pairs, Strip};
use simd::{Accumulate, Float, Mat, MatMut, gram, product};
use stage::{Affine, Stage, closed, of_features, places, stages};
use std::ops::Range;

pub use dual::dual;
pub use hermite::{SeriesTooLong, Smooth};
pub use stage::NoLimit;

/// The NNGP kernel `K` and the neural tangent kernel `Θ` of a network as its hidden layers become infinitely wide (Lee et al. 2018,
/// section 2.3; Jacot, Gabriel and Hongler 2018, theorem 1).
///
/// `K = E[f_a(x) f_a(x')]` and `Θ = lim Σ_θ ∂f_a(x)/∂θ ∂f_a(x')/∂θ`, the same for all outputs a. From `K⁰ = x·x'/d`, `Θ⁰ = 0`:
///
/// | layer | `K ←` | `Θ ←` |
/// |---|---|---|
/// | dense, ntk | `w² K + b²` | `K_new + w² Θ` |
/// | dense, standard | `w² K + b²` | `n_in K_before + w² Θ + [1 if it has a bias]` |
/// | φ | `κ = E[φ(u) φ(v)]` | `Θ κ̇`, `κ̇ = E[φ'(u) φ'(v)]` |
/// | layer norm | `K/√((K11 + eps)(K22 + eps))` | likewise |
/// | residual | sum over the branches | sum |
///
/// where `(u, v) ~ N(0, [[K11, K12], [K12, K22]])`. With the angle t of the pair, `n = √(K11 K22)`, `C = K12`, `D = K11 + K22 − 2 K12`,
/// `S = K11 + K22 + 2 K12`, `p = (1 + K11)(1 + K22)`, `δ² = p − C²` and `M = (1 + 2 K11)(1 + 2 K22)`:
///
/// | φ | `κ` | `κ̇` |
/// |---|---|---|
/// | relu | `(n/2π)(sin t + (π − t) cos t)` | `(π − t)/2π` |
/// | abs | `(2n/π)(sin t + (π/2 − t) cos t)` | `1 − 2t/π` |
/// | leaky relu, slope α | `a² C + b² κ_abs`, `a = (1 + α)/2`, `b = (1 − α)/2` | `a² + b² κ̇_abs` |
/// | erf | `(2/π) asin(2C/√M)` | `(4/π)/√(M − 4C²)` |
/// | gelu | `C/4 + ((C² + n² δ²)/(p δ) + C asin(C/√p))/2π` | `1/4 + (asin(C/√p) + (C/δ)(1/(1 + K11) + 1/(1 + K22) + 1/δ²))/2π` |
/// | a sin(b x + c) | `(a²/2)(e^(−b² D/2) − cos 2c · e^(−b² S/2))` | `(a² b²/2)(e^(−b² D/2) + cos 2c · e^(−b² S/2))` |
/// | a cos(b x + c) | the same with `−cos 2c` | the same |
/// | rbf γ | `e^(−γ D)` | `2γ κ` |
/// | gaussian | `1/√(M − 4C²)` | `4C κ³` |
/// | exp | `e^((K11 + K22)/2 + C)` | `κ` |
/// | identity | `C` | 1 |
/// | tanh, sigmoid, softplus, silu, [`nn::elementwise`] | Hermite series, see [`Smooth`] | likewise |
///
/// relu and abs: Cho and Saul 2009; erf: Williams 1997; gelu: Tsuchida et al. 2021; rbf: Rahimi and Recht 2007; the other ones are
/// Gaussian integrals, and the series is that of Daniely, Frostig and Singer 2016.
///
/// Of images there is a `K[p, q]` for each pair of places, with the mean over the channels in `K⁰`, and the rules act on
///
/// | layer | |
/// |---|---|
/// | conv | `A(K)[p, q] = (1/\|F\|) Σ_f K[s∘p + f − lo, s∘q + f − lo]`, then as dense; `n_in` is channels times `\|F\|` |
/// | average, sum pool | `a Σ_f Σ_g K[s∘p + f − lo, s∘q + g − lo]` with `a = 1/\|F\|²` or 1 |
/// | global average pool | the mean over all p and q |
/// | flatten | the mean over all p of `K[p, p]` |
///
/// with zeros beyond the edge, or the other side of the image (Arora et al. 2019, section 4).
///
/// ```
/// use nn::{Network, dense, relu};
/// use ntk::InfiniteKernel;
/// use simd::Mat;
/// use std::f64::consts::PI;
/// // Two inputs with K11 = K22 = 1 and K12 = 0, so that t = π/2: κ = 1/(2π), κ̇ = 1/4.
/// let network = Network::new([2], [dense(8), relu(), dense(1)]).unwrap();
/// let (x1, x2) = ([2f64.sqrt(), 0.0], [0.0, 2f64.sqrt()]);
/// let k = InfiniteKernel::new(&network)?.evaluate(Mat::new(&x1, 1, 2), Some(Mat::new(&x2, 1, 2)));
/// assert!((k.nngp[0] - 1.0 / (2.0 * PI)).abs() < 1e-15);
/// // Θ = κ + Θ⁽¹⁾ κ̇, and Θ⁽¹⁾ = K12 = 0 here. An input with itself has κ = 1/2, κ̇ = 1/2: Θ = 1/2 + 1/2.
/// assert!((k.ntk[0] - 1.0 / (2.0 * PI)).abs() < 1e-15);
/// assert!((InfiniteKernel::new(&network)?.ntk(Mat::new(&x1, 1, 2), None)[0] - 1.0).abs() < 1e-15);
/// # Ok::<(), ntk::NoLimit>(())
/// ```
///
/// # Accuracy
///
/// A pair is carried as two variances and an angle, which starts from the difference of the inputs where they are close to
/// parallel. So no digits are lost between inputs that are close to each other or to opposite, where formulas in `K12` lose
/// half of them; this holds for functions given by a series within their bound too. The one exception known is an erf on variances far below 1 of inputs that are parallel and of different norms,
/// whose angle is good to √ε times the variance or so. Inputs that coincide have `K12 = K11 = K22` and t = 0 exactly in every layer, and a row of zeros is exact. No
/// finite input gives NaN as long as `x·x` and the variances of all layers stay below the largest number of the type.
///
/// Of images, angles of places that are close keep their digits in double precision; in single precision, behind pools and between opposite
/// places they are good to √ε. Where windows see equal numbers places coincide exactly.
#[derive(Clone, Debug, PartialEq)]
pub struct InfiniteKernel {
    network: Network,
    body: Body,
}

/// The layers of a network of features, whose pairs have one angle, or of one of images, whose pairs have one for each pair of places.
#[derive(Clone, Debug, PartialEq)]
enum Body {
    Features(Vec<Stage<Affine>>),
    Images(Images),
}

/// Both kernels between two sets of inputs, or of one set with itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernels<T> {
    /// Number of the first inputs: rows.
    pub n1: usize,
    /// Number of the second inputs: columns.
    pub n2: usize,
    /// `K`, `[n1, n2]`, row-major.
    pub nngp: Vec<T>,
    /// `Θ`, `[n1, n2]`, row-major.
    pub ntk: Vec<T>,
}

/// Both kernels of every input with itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagonals<T> {
    /// `K(x_i, x_i)`.
    pub nngp: Vec<T>,
    /// `Θ(x_i, x_i)`.
    pub ntk: Vec<T>,
}

impl InfiniteKernel {
    /// The kernels of a network.
    ///
    /// ```
    /// use nn::{Network, dense, relu};
    /// let network = Network::new([3], [dense(8), relu(), relu(), dense(1)]).unwrap();
    /// let error = ntk::InfiniteKernel::new(&network).unwrap_err().to_string();
    /// assert!(error.starts_with("layers[2] (relu): an activation needs a Gaussian input, and here it reads the output of layers[1] (relu)"));
    /// ```
    ///
    /// # Errors
    /// If the network has no limit, naming the layer and the reason.
    pub fn new(network: &Network) -> Result<Self, NoLimit> {
        let stages = stages(network)?;
        let body = match of_features(&stages) {
            Some(stages) => Body::Features(stages),
            None => {
                let (image, channels) = places(network);
                Body::Images(Images::new(stages, image, channels))
            }
        };
        Ok(InfiniteKernel { body, network: network.clone() })
    }

    /// The same network with a function of the user's in the place of one of its activations, wherever that stands.
    ///
    /// ```
    /// use nn::{Network, dense, gelu};
    /// use ntk::{InfiniteKernel, Smooth};
    /// use simd::Mat;
    /// let network = Network::new([2], [dense(8), gelu(), dense(1)]).unwrap();
    /// let square = Smooth::new("square", |x| x * x, Some(|x| 2.0 * x));
    /// let kernel = InfiniteKernel::new(&network)?.replacing(nn::Phi::Gelu, &square);
    /// // K11 = 1, so that κ = 3 and κ̇ = 4, and Θ = κ + K κ̇.
    /// let x = [2f64.sqrt(), 0.0];
    /// assert!((kernel.ntk(Mat::new(&x, 1, 2), None)[0] - 7.0).abs() < 1e-12);
    /// # Ok::<(), ntk::NoLimit>(())
    /// ```
    ///
    /// # Panics
    /// If the network has no such activation.
    #[track_caller]
    #[must_use]
    pub fn replacing(mut self, activation: impl Into<Activation>, function: &Smooth) -> Self {
        let activation = activation.into();
        let count = closed(activation).map_or(0, |closed| match &mut self.body {
            Body::Features(stages) => stage::replace(stages, &closed, function),
            Body::Images(images) => stage::replace(images.stages_mut(), &closed, function),
        });
        assert!(count > 0, "the network has no activation {activation:?}");
        self
    }

    /// The network that it is the kernel of, but for functions that were [replaced](Self::replacing).
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Both kernels in one pass, between the rows of `x1`, `[n1, features]`, and those of `x2`, `[n2, features]`, or of `x1` with
    /// itself: then they are symmetric to the bit. Bits do not depend on the number of threads.
    ///
    /// # Panics
    /// If the inputs have not as many features as the network reads, or if the variance of a preactivation is too large for the series
    /// of a function that has one; see [`Smooth`].
    #[track_caller]
    pub fn evaluate<T: Float>(&self, x1: Mat<T>, x2: Option<Mat<T>>) -> Kernels<T> {
        self.try_evaluate(x1, x2).unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`evaluate`](Self::evaluate) for inputs of any size.
    ///
    /// # Errors
    /// If the variance of a preactivation is too large for the series of a function that has one.
    ///
    /// # Panics
    /// If the inputs have not as many features as the network reads.
    #[track_caller]
    pub fn try_evaluate<T: Float>(&self, x1: Mat<T>, x2: Option<Mat<T>>) -> Result<Kernels<T>, SeriesTooLong> {
        self.try_evaluate_with(x1, x2, |_, _| ())
    }

    /// [`try_evaluate`](Self::try_evaluate), with a callback that gets the number of pairs of inputs that are done and that of all, every
    /// tenth of a second or more often. Of a network of features the products of the inputs come first, which are not told.
    ///
    /// # Errors
    /// If the variance of a preactivation is too large for the series of a function that has one.
    ///
    /// # Panics
    /// If the inputs have not as many features as the network reads.
    #[track_caller]
    pub fn try_evaluate_with<T: Float>(
        &self,
        x1: Mat<T>,
        x2: Option<Mat<T>>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Kernels<T>, SeriesTooLong> {
        self.check(x1);
        x2.iter().for_each(|&x2| self.check(x2));
        let (n1, n2) = (x1.rows(), x2.map_or(x1.rows(), |x2| x2.rows()));
        let len = n1.checked_mul(n2).expect("a kernel has no more entries than memory can hold");
        let (mut nngp, mut ntk) = (simd::zeros(T::ZERO, len), simd::zeros(T::ZERO, len));
        let pairs = if x2.is_some() { len as u64 } else { n1 as u64 * (n1 as u64 + 1) / 2 };
        match &self.body {
            Body::Features(stages) => {
                let one = Inputs::new(x1, stages)?;
                let two = x2.map(|x2| Inputs::new(x2, stages)).transpose()?;
                match &two {
                    Some(two) => product(one.directions(), two.directions().t(), Accumulate::Set, MatMut::new(&mut nngp, n1, n2)),
                    None => gram(one.directions(), Accumulate::Set, MatMut::new(&mut nngp, n1, n1)),
                }
                let other = two.as_ref().unwrap_or(&one);
                // Of a symmetric kernel one triangle.
                let from = |i: usize| if two.is_some() { 0 } else { i };
                let (mut start, mut done) = (0, 0);
                while start < n1 {
                    let band = band(start..n1, n2 - from(start), activations(stages));
                    let [k, theta] = [&mut nngp, &mut ntk].map(|all| &mut all[start * n2..band.end * n2]);
                    let rows = k.par_chunks_mut(n2.max(1)).zip(theta.par_chunks_mut(n2.max(1))).enumerate();
                    rows.with_max_len(4).for_each_init(Strip::default, |strip, (k, (nngp, ntk))| {
                        let (i, first) = (start + k, from(start + k));
                        both(strip, stages, (&one, i), (other, first), &mut nngp[first..], &mut ntk[first..]);
                    });
                    done += band.clone().map(|i| (n2 - from(i)) as u64).sum::<u64>();
                    progress(done, pairs);
                    start = band.end;
                }
            }
            Body::Images(images) => {
                let mut done = 0;
                let mut write = |i: usize, j: usize, k: f64, theta: f64| {
                    (nngp[i * n2 + j], ntk[i * n2 + j]) = (T::of(k), T::of(theta));
                };
                let mut each = |more: usize| {
                    done += more as u64;
                    progress(done, pairs);
                };
                let channels_first = self.channels_first();
                let one = images::Inputs { number: &|i, k| x1.at(i, k).to_f64(), channels_first };
                let number = |i, k| x2.unwrap_or(x1).at(i, k).to_f64();
                let two = images::Inputs { number: &number, channels_first };
                images.pairs(Precision::of::<T>(), (&one, 0..n1), x2.map(|_| (&two, 0..n2)), &mut write, &mut each)?;
            }
        }
        if x2.is_none() {
            rayon::join(|| mirror(&mut nngp, n1), || mirror(&mut ntk, n1));
        }
        Ok(Kernels { n1, n2, nngp, ntk })
    }

    /// How often activations are evaluated for one pair of inputs: what a kernel costs, up to a factor. A network of features evaluates each of its
    /// activations once, one of images once for each pair of places that is needed.
    ///
    /// ```
    /// use nn::{Network, conv, dense, flatten, global_avg_pool, relu};
    /// use ntk::InfiniteKernel;
    /// let evaluations = |end| {
    ///     let layers = [conv(8, [3, 3]), relu(), conv(8, [3, 3]), relu(), end, dense(1)];
    ///     InfiniteKernel::new(&Network::new([8, 8, 1], layers).unwrap()).unwrap().evaluations()
    /// };
    /// assert_eq!(evaluations(flatten()), 2 * 64);
    /// assert_eq!(evaluations(global_avg_pool()), 2 * 64 * 64);
    /// ```
    pub fn evaluations(&self) -> u64 {
        match &self.body {
            Body::Features(stages) => activations(stages),
            Body::Images(images) => images.evaluations(),
        }
    }

    /// Both kernels of every row of `x` with itself: the diagonals of [`evaluate`](Self::evaluate), to the bit, in time
    /// proportional to the number of rows.
    ///
    /// # Panics
    /// If the inputs have not as many features as the network reads.
    #[track_caller]
    pub fn diagonal<T: Float>(&self, x: Mat<T>) -> Diagonals<T> {
        self.check(x);
        let (mut nngp, mut ntk) = (vec![T::ZERO; x.rows()], vec![T::ZERO; x.rows()]);
        match &self.body {
            Body::Features(stages) => {
                let x = Inputs::new(x, stages).unwrap_or_else(|error| panic!("{error}"));
                let mut strip = Strip::default();
                for i in 0..x.rows {
                    let pairs = Pairs { one: &x.norms, i, two: &x.norms, j: i..i + 1 };
                    strip.restart(1);
                    (strip.near[0], strip.far[0]) = (T::ZERO, T::ONE);
                    strip.through(stages, &pairs);
                    strip.nngp(&pairs, &mut nngp[i..=i]);
                    strip.ntk(&mut ntk[i..=i]);
                }
            }
            Body::Images(images) => {
                let inputs = images::Inputs { number: &|i, k| x.at(i, k).to_f64(), channels_first: self.channels_first() };
                let diagonal = images.diagonal(Precision::of::<T>(), &inputs, x.rows());
                for (i, pair) in diagonal.unwrap_or_else(|error| panic!("{error}")).into_iter().enumerate() {
                    [nngp[i], ntk[i]] = pair.map(T::of);
                }
            }
        }
        Diagonals { nngp, ntk }
    }

    #[track_caller]
    fn check<T: Float>(&self, x: Mat<T>) {
        let d = self.network.n_inputs();
        assert!(x.cols() == d, "the network reads {d} features, and the inputs are {} × {}", x.rows(), x.cols());
    }

    fn channels_first(&self) -> bool {
        self.network.layout() == Layout::Nchw
    }
}

/// The first of some rows of `columns` pairs or fewer: as many as take a tenth of a second or less.
fn band(rows: Range<usize>, columns: usize, activations: u64) -> Range<usize> {
    let evaluations = columns as u64 * activations.max(1);
    let most = (EVALUATIONS / evaluations.max(1)).max(1);
    rows.start..rows.end.min(rows.start.saturating_add(usize::try_from(most).unwrap_or(usize::MAX)))
}

/// Evaluations of activations between two calls with the progress: some milliseconds of ReLU, a tenth of a second of functions with a series.
const EVALUATIONS: u64 = 1 << 23;

fn activations(stages: &[Stage<Affine>]) -> u64 {
    stages
        .iter()
        .map(|stage| match stage {
            Stage::Activation(_) => 1,
            Stage::Linear(_) | Stage::Norm { .. } => 0,
            Stage::Sum(branch, around) => activations(branch) + activations(around),
        })
        .sum()
}

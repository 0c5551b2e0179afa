//! Work loads on which this project is compared with other libraries, from a file of cases.
//!
//! A case is data: sizes of a network and of its inputs, and what is to be computed. All weights are in the NTK parameterization with
//! `w_std = √2` and `b_std = 0.1`, activations are relu, convolutions 3 × 3 with padding "same", numbers single precision.

use crate::progress::Stopwatch;
use nn::{Layer, Loss, ModelError, Network, Trainer, conv, dense, flatten, global_avg_pool, relu};
use ntk::{Finite, InfiniteKernel, Outputs, Strategy, empirical_ntk};
use serde::Deserialize;
use simd::Mat;
use std::hint::black_box;
use thiserror::Error;

/// The cases that come with the project, `benches/cases.json`.
pub const CASES: &str = include_str!("../benches/cases.json");

/// A work load.
///
/// ```
/// use tangents::workloads::{CASES, cases};
/// let cases = cases(CASES)?;
/// assert_eq!(cases[0].name, "fcn_full");
/// assert_eq!(cases[0].network()?.n_parameters(), 785 * 1024 + 2 * 1025 * 1024 + 1025 * 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is called.
    pub name: String,
    /// What is computed.
    pub kind: Kind,
    /// The kind of network.
    pub net: Net,
    /// Number of inputs, drawn from N(0, 1).
    pub n: usize,
    /// The shape of an input, `[features]` or `[height, width, channels]`.
    pub input: Vec<usize>,
    /// Widths of the hidden layers of a fully connected network.
    #[serde(default)]
    pub widths: Vec<usize>,
    /// Channels of the layers of a convolutional network.
    #[serde(default)]
    pub channels: Vec<usize>,
    /// How a convolutional network goes from images to features.
    #[serde(default)]
    pub readout: Readout,
    /// Number of outputs.
    pub outputs: usize,
    /// What an empirical kernel keeps of them.
    #[serde(default)]
    pub outputs_kept: Kept,
    /// Steps of a training.
    #[serde(default)]
    pub steps: usize,
    /// Strategies that would take too long or too much memory: `jacobian_contraction`, `ntk_vector_products`.
    #[serde(default)]
    pub skip: Vec<String>,
}

/// What a case computes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The kernel of a finite network, of the inputs with themselves.
    Empirical,
    /// The neural tangent kernel at infinite width.
    Infinite,
    /// Steps of gradient descent on one batch of all inputs.
    Train,
}

/// The kind of network.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Net {
    /// Dense layers.
    Fcn,
    /// Convolutions, a read-out and a dense layer.
    Cnn,
}

/// How images become features.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Readout {
    /// All numbers of all sites.
    #[default]
    Flat,
    /// Means over sites.
    Gap,
}

/// What is kept of the outputs of a kernel.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kept {
    /// All pairs.
    #[default]
    Full,
    /// The mean of the diagonal.
    Trace,
}

/// A way to do the work of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// A strategy for the kernel of a finite network.
    Strategy(Strategy),
    /// The kernel at infinite width in closed form.
    Closed,
    /// Recording, pulling back and descending.
    Tape,
}

/// A time, and what it was needed for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// The median over the repetitions.
    pub seconds: f64,
    /// Repetitions that were timed, after one that was not.
    pub repeats: usize,
}

/// A case that cannot be run.
#[derive(Debug, Error)]
pub enum CaseError {
    /// The file is not one of cases.
    #[error("{0}")]
    Syntax(#[from] serde_json::Error),
    /// The sizes do not make a network.
    #[error("case {case}: {error}")]
    Model {
        /// The name of the case.
        case: String,
        /// What does not fit.
        error: ModelError,
    },
    /// The library does not do this.
    #[error("case {case}: {reason}")]
    Refused {
        /// The name of the case.
        case: String,
        /// Why.
        reason: String,
    },
}

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

/// Reads a file of cases, `{"cases": [..]}`.
///
/// # Errors
/// If it is not one, with line and column.
pub fn cases(json: &str) -> Result<Vec<Case>, CaseError> {
    let file: File = serde_json::from_str(json)?;
    Ok(file.cases)
}

impl Implementation {
    /// Those that a case can be done by, the project's own choice first.
    pub fn all(kind: Kind) -> Vec<Implementation> {
        match kind {
            Kind::Empirical => [Strategy::Auto, Strategy::Structured, Strategy::Jacobian, Strategy::Products].map(Self::Strategy).into(),
            Kind::Infinite => vec![Self::Closed],
            Kind::Train => vec![Self::Tape],
        }
    }

    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Implementation::Strategy(strategy) => strategy.name(),
            Implementation::Closed => "closed-form",
            Implementation::Tape => "tape",
        }
    }

    /// Its name in the list of what a case skips.
    fn skipped_as(self) -> Option<&'static str> {
        match self {
            Implementation::Strategy(Strategy::Jacobian) => Some("jacobian_contraction"),
            Implementation::Strategy(Strategy::Products) => Some("ntk_vector_products"),
            Implementation::Strategy(Strategy::Auto | Strategy::Structured) | Implementation::Closed | Implementation::Tape => None,
        }
    }
}

impl Case {
    /// The network of the case.
    ///
    /// # Errors
    /// If the sizes do not make one.
    pub fn network(&self) -> Result<Network, CaseError> {
        let std = |layer: Layer| layer.std(std::f64::consts::SQRT_2, 0.1);
        let mut layers: Vec<Layer> = match self.net {
            Net::Fcn => self.widths.iter().flat_map(|&width| [std(dense(width)), relu()]).collect(),
            Net::Cnn => self.channels.iter().flat_map(|&channels| [std(conv(channels, [3, 3])), relu()]).collect(),
        };
        match (self.net, self.readout) {
            (Net::Fcn, Readout::Flat | Readout::Gap) => (),
            (Net::Cnn, Readout::Flat) => layers.push(flatten()),
            (Net::Cnn, Readout::Gap) => layers.push(global_avg_pool()),
        }
        layers.push(std(dense(self.outputs)));
        Network::new(self.input.clone(), layers).map_err(|error| CaseError::Model { case: self.name.clone(), error })
    }

    /// The ways to do the case that it does not skip.
    pub fn implementations(&self) -> Vec<Implementation> {
        let skipped = |i: &Implementation| i.skipped_as().is_some_and(|name| self.skip.iter().any(|s| s == name));
        Implementation::all(self.kind).into_iter().filter(|i| !skipped(i)).collect()
    }

    /// The least arithmetic, in GFLOP, that the best order known needs, counted in multiplications and additions of products. It is the same for
    /// all implementations, so that rates compare.
    ///
    /// A step of training takes three times the operations of the network. Kernels at infinite width take those of the product of the inputs, for fully connected networks, and those of the sums
    /// over taps of all pairs of sites that are needed, for convolutional ones. Kernels of finite networks with K outputs kept
    /// take a pass forward and K back, and of every layer with S sites, I inputs and O outputs the cheaper of the Gram order, `S² (I + K² O)` a
    /// pair, and the Jacobian order, `K² I O` a pair and `K S I O` an example, where K² is K if of the outputs the trace is kept. A
    /// symmetric kernel has half its pairs and the diagonal.
    pub fn gflop(&self, network: &Network) -> f64 {
        let n = self.n as f64;
        let pairs = n * (n + 1.0) / 2.0;
        let layers = weights(network);
        let products: f64 = layers.iter().map(|l| l.sites * l.n_in * l.out).sum();
        let multiplications = match self.kind {
            Kind::Train => 3.0 * products * n * self.steps as f64,
            Kind::Infinite => match self.net {
                Net::Fcn => pairs * network.n_inputs() as f64,
                Net::Cnn => {
                    let sites = self.input.iter().take(2).map(|&n| n as f64).product::<f64>();
                    let taps = self.channels.len() as f64 * FILTER * 2.0;
                    let site_pairs = match self.readout {
                        Readout::Flat => sites,
                        Readout::Gap => sites * sites,
                    };
                    pairs * site_pairs * (self.input[2] as f64 + taps) / 2.0
                }
            },
            Kind::Empirical => {
                let k = self.outputs as f64;
                let kk = match self.outputs_kept {
                    Kept::Full => k * k,
                    Kept::Trace => k,
                };
                let back = k * (products - layers.first().map_or(0.0, |l| l.sites * l.n_in * l.out));
                let contraction = layers.iter().map(|l| {
                    let gram = pairs * l.sites * l.sites * (l.n_in + kk * l.out);
                    let jacobian = pairs * kk * l.n_in * l.out + n * k * l.sites * l.n_in * l.out;
                    gram.min(jacobian)
                });
                n * (products + back) + contraction.sum::<f64>()
            }
        };
        2.0 * multiplications / 1e9
    }

    /// Times the case done one way: once without a clock, then `repeats` times. Inputs and weights are ready, results complete.
    ///
    /// # Errors
    /// If the library refuses the case.
    pub fn time(&self, network: &Network, implementation: Implementation, repeats: usize) -> Result<Timing, CaseError> {
        let refused = |reason: &dyn std::fmt::Display| CaseError::Refused { case: self.name.clone(), reason: reason.to_string() };
        let inputs: Vec<f32> = nn::normals(0, u64::MAX - 1, self.n * network.n_inputs());
        let init = || network.init::<f32>(0).map_err(|error| CaseError::Model { case: self.name.clone(), error });
        match implementation {
            Implementation::Strategy(strategy) => {
                let kept = match self.outputs_kept {
                    Kept::Full => Outputs::Full,
                    Kept::Trace => Outputs::Trace,
                };
                let parameters = init()?;
                let f = Finite { network, parameters: &parameters };
                timed(repeats, || empirical_ntk(&f, &inputs, None, kept, strategy).map(drop)).map_err(|e| refused(&e))
            }
            Implementation::Closed => {
                let kernel = InfiniteKernel::new(network).map_err(|e| refused(&e))?;
                let x = Mat::new(&inputs, self.n, network.n_inputs());
                timed(repeats, || kernel.try_ntk(x, None).map(|k| drop(black_box(k)))).map_err(|e| refused(&e))
            }
            Implementation::Tape => {
                let targets: Vec<f32> = nn::normals(0, u64::MAX - 2, self.n * network.outputs());
                let mut trainer = Trainer::new(network, &init()?, Loss::SquaredError);
                let steps = || {
                    for _ in 0..self.steps {
                        trainer.step(&inputs, &targets, RATE)?;
                    }
                    Ok::<(), nn::Diverged>(())
                };
                timed(repeats, steps).map_err(|e| refused(&e))
            }
        }
    }
}

/// A layer with weights: what it multiplies for each example.
struct Weights {
    sites: f64,
    n_in: f64,
    out: f64,
}

fn weights(network: &Network) -> Vec<Weights> {
    let weights = network.parameters().iter().filter(|p| p.role.is_weight());
    let rows = network.summary().iter().filter(|row| row.parameters > 0);
    let one = |(p, row): (&nn::Parameter, &nn::Row)| {
        let (n_in, out) = (p.shape.dims()[0] as f64, p.shape.dims()[1] as f64);
        let numbers: f64 = row.shape.iter().map(|&n| n as f64).product();
        Weights { sites: numbers / out.max(1.0), n_in, out }
    };
    weights.zip(rows).map(one).collect()
}

/// Cells of a filter.
const FILTER: f64 = 9.0;

/// The rate of a training. It is small, since its speed alone matters.
const RATE: f64 = 1e-3;

/// The median time of `work`.
fn timed<E>(repeats: usize, mut work: impl FnMut() -> Result<(), E>) -> Result<Timing, E> {
    work()?;
    let mut seconds = Vec::with_capacity(repeats);
    for _ in 0..repeats.max(1) {
        let clock = Stopwatch::start();
        work()?;
        seconds.push(clock.seconds());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(Timing { seconds: seconds[seconds.len() / 2], repeats: seconds.len() })
}

//! What is asked for: of which parameters, by which strategy, in how much memory.

use super::reduce::Outputs;
use super::{Order, Strategy};
use autodiff::Refusal;
use thiserror::Error;

/// Extents of a tile of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Examples along either side, at least 1.
    pub examples: usize,
    /// Outputs along either side, at least 1. A [trace](Outputs::Trace) always sums 16 outputs at a time, and a [sum](Outputs::Sum) has
    /// one.
    pub outputs: usize,
}

/// What is asked for.
///
/// ```
/// use ntk::{Finite, Outputs, Request, Strategy, kernel};
/// let network = nn::Network::new([2], [nn::dense(1)])?;
/// let parameters = vec![vec![3.0_f64, 4.0], vec![0.5]];
/// let f = Finite { network: &network, parameters: &parameters };
/// // z = (1/√2)·x·W + 0·β, where gradient descent changes W at the rate 0.1: Θ = 0.1·x·x'/2.
/// let request = Request { rates: Some(vec![0.1, 0.0]), ..Request::of(Outputs::Trace) };
/// let theta = kernel(&f, &[1.0, 2.0], None, &request, |_, _| ())?;
/// assert!((theta.values[0] - 0.25).abs() < 1e-15);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Request {
    /// What is kept of the outputs.
    pub outputs: Outputs,
    /// How the kernel is contracted.
    pub strategy: Strategy,
    /// What the part of each parameter is multiplied by, `Θ = Σ_p η_p J_p J_pᵀ`: with the learning rates this is the kernel that gradient
    /// descent follows, with 1 and 0 that of some layers. A parameter with the rate 0 costs nothing. All are 1 if none are given.
    pub rates: Option<Vec<f64>>,
    /// Bytes that the computation may take beyond inputs, weights and the result; as a guide, not a bound, 512 MiB if none are given.
    pub memory: Option<usize>,
    /// The tile, in place of one that memory is planned for.
    pub tile: Option<Tile>,
    /// The order of every parameter that can be contracted in it, in place of the cheapest one, for [`Strategy::Structured`]: to compare
    /// them.
    pub order: Option<Order>,
}

impl Request {
    /// The kernel of all parameters, by the strategy that is expected to be fastest.
    pub fn of(outputs: Outputs) -> Self {
        Request { outputs, ..Request::default() }
    }
}

/// Why there is no kernel.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum EmpiricalError {
    /// The function mixes examples.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The memory that was given does not hold one example.
    #[error(
        "{given} bytes of memory are too few: one pair of examples takes {least} bytes with the strategy `{strategy}`, so give it at least that"
    )]
    Memory {
        /// What was given, in bytes.
        given: usize,
        /// The least that is enough, in bytes.
        least: usize,
        /// The strategy that needs the least.
        strategy: &'static str,
    },
    /// Rates that do not belong to the parameters.
    #[error("{given} rates were given for {parameters} parameters")]
    Rates {
        /// Number of rates.
        given: usize,
        /// Number of parameters.
        parameters: usize,
    },
    /// A rate that is none.
    #[error("the rate of parameter {parameter} is {rate}, and a rate is a finite number of at least 0")]
    Rate {
        /// The parameter.
        parameter: usize,
        /// Its rate.
        rate: f64,
    },
}

impl EmpiricalError {
    /// The refusal, of a request that can fail in no other way.
    #[track_caller]
    pub(super) fn refusal(self) -> Refusal {
        match self {
            EmpiricalError::Refused(refusal) => refusal,
            EmpiricalError::Memory { .. } | EmpiricalError::Rates { .. } | EmpiricalError::Rate { .. } => {
                unreachable!("neither memory nor rates were given: {self}")
            }
        }
    }
}

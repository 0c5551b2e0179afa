//! Kernels of finite networks: the empirical NTK by several strategies, and the kernel of the outputs.

mod along;
mod compute;
mod contract;
mod cost;
mod eigen;
mod estimate;
mod jacobian;
mod memory;
mod nngp;
mod operator;
mod plan;
mod products;
mod reduce;
mod request;
mod sites;
mod stability;
mod structured;
mod tiles;
mod uses;

use autodiff::{Float, Scalar, Shape, Tape, Var};
use nn::Network;

pub use along::{AlongTraining, Moment, alignment, distance};
pub use compute::{diagonal, empirical_ntk, empirical_ntk_in_blocks, gradient_norms, kernel};
pub use cost::{Cost, Machine};
pub use eigen::{EigenRequest, TopEigenvalues, largest_eigenvalues};
pub use estimate::{Estimate, estimate};
pub use jacobian::{Jacobian, jacobian};
pub use nngp::empirical_nngp;
pub use operator::Operator;
pub use plan::{Order, Plan, PlannedParameter, plan};
pub use reduce::{Kernel, Outputs};
pub use request::{EmpiricalError, Request, Tile};
pub use stability::{largest_eigenvalue, largest_stable_rate};

/// A real scalar: `f32` or `f64`.
pub trait Real: Scalar + Float {}
impl Real for f32 {}
impl Real for f64 {}

/// How the empirical kernel is computed. All of them give the same kernel, up to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Strategy {
    /// The one that is expected to be fastest, as [`plan`] finds out from operations and bytes that the tape counts.
    #[default]
    Auto,
    /// The reference: per-example Jacobians `J`, written out, and `Θ = J·Jᵀ` (Novak, Sohl-Dickstein and Schoenholz 2022, section 3.1).
    Jacobian,
    /// Columns of `Θ` one after the other, `Θ v = J (Jᵀ v)`, by a pull and a push (the same, section 3.2).
    Products,
    /// Features and cotangents of every layer kept apart (the same, section 3.3), `Θ[i,j,a,b] = Σ_layers α² Σ_st (x_is·x_jt)(g_ias·g_jbt)`,
    /// and summed in the [`Order`] that is cheapest for each parameter.
    Structured,
}

impl Strategy {
    /// All of them, in the order of the documentation.
    pub const ALL: [Strategy; 4] = [Strategy::Auto, Strategy::Jacobian, Strategy::Products, Strategy::Structured];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Auto => "auto",
            Strategy::Jacobian => "jacobian",
            Strategy::Products => "products",
            Strategy::Structured => "structured",
        }
    }
}

/// A function of inputs and parameters that records itself on a tape: what the empirical kernel is the kernel of.
pub trait Function<T: Scalar>: Sync {
    /// The shape of `entries` numbers of input, with axis 0 the examples.
    ///
    /// # Panics
    /// If they are not whole examples.
    fn input_shape(&self, entries: usize) -> Shape;
    /// Puts the parameters on a tape.
    fn parameters(&self, tape: &mut Tape<T>) -> Vec<Var>;
    /// Records the function; returns the outputs, `[examples, outputs]`.
    fn record(&self, tape: &mut Tape<T>, parameters: &[Var], x: Var) -> Var;
}

/// A network with the values of its parameters.
#[derive(Clone, Copy, Debug)]
pub struct Finite<'a, T> {
    /// The network.
    pub network: &'a Network,
    /// Its parameters, as [`Network::init`] gives them.
    pub parameters: &'a [Vec<T>],
}

impl<T: Scalar> Function<T> for Finite<'_, T> {
    fn input_shape(&self, entries: usize) -> Shape {
        self.network.input_shape(entries)
    }

    fn parameters(&self, tape: &mut Tape<T>) -> Vec<Var> {
        // Room at once, where a tape that doubles would copy them several times.
        tape.reserve(tape.used() + self.parameters.iter().map(Vec::len).sum::<usize>());
        self.network.leaves(tape, self.parameters)
    }

    fn record(&self, tape: &mut Tape<T>, parameters: &[Var], x: Var) -> Var {
        self.network.record(tape, parameters, x)
    }
}

/// `n` zeros.
fn zeros<T: Scalar>(n: usize) -> Vec<T> {
    simd::zeros(T::ZERO, n)
}

/// The number `x`, rounded to `T`. (`T::of` alone is ambiguous for a [`Real`], which has it from both of its traits.)
fn number<T: Scalar>(x: f64) -> T {
    T::of(x)
}

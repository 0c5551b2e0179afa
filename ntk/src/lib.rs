//! The neural tangent kernel
//!
//! `Θ[i, j, a, b] = ⟨∂f_a(x_i)/∂θ, ∂f_b(x_j)/∂θ⟩`,
//!
//! several ways to it, and what it predicts.
//!
//! - [`empirical_ntk`]: of a finite network, by explicit Jacobians (the reference), by products with vectors, or by the structure of its
//!   layers (the fast one); [`empirical_nngp`]: the kernel of its outputs;
//!   [`largest_eigenvalue`] and [`largest_stable_rate`]: where gradient descent becomes unstable, without the kernel in memory.
//! - [`InfiniteKernel`]: NNGP and NTK of the same description at infinite width, in closed form or, for [`Smooth`] functions, by series.
//! - [`Spectrum`]: eigenvalues and eigenvectors of a kernel.
//! - [`Flow`]: what gradient flow makes of a network whose kernel stays as it is, at any time.
//! - [`ntk_ensemble`], [`nngp_ensemble`], [`ntkgp_posterior`]: mean and covariance over infinitely many networks.
//!
//! Arrays are row-major; inputs are `[examples, features]`, or images in the layout of their network.
#![forbid(unsafe_code)]

mod empirical;
mod ensemble;
mod infinite;
mod predict;
mod spectrum;

pub use empirical::{
    AlongTraining, Cost, EigenRequest, EmpiricalError, Estimate, Finite, Function, Jacobian, Kernel, Machine, Moment, Operator, Order,
    Outputs, Plan, PlannedParameter, Real, Request, Strategy, Tile, TopEigenvalues, alignment, diagonal, distance, empirical_nngp,
    empirical_ntk, empirical_ntk_in_blocks, estimate, gradient_norms, jacobian, kernel, largest_eigenvalue, largest_eigenvalues,
    largest_stable_rate, plan,
};
pub use ensemble::{Blocks, Gaussian, nngp_ensemble, ntk_ensemble, ntkgp_posterior};
pub use infinite::{Diagonals, InfiniteKernel, Kernels, NoLimit, SeriesTooLong, Smooth, dual};
pub use predict::{Flow, Time, full_matrix};
pub use spectrum::{MatrixError, Spectrum};

/// The guide to kernels at infinite width, so that its examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/infinite-width.md")]
struct InfiniteWidth;

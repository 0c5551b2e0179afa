//! Automatic differentiation on an eager, *linear* tape.
//!
//! An operation says what its derivative is, once, as a linear map. A linear map knows its transpose. Forward mode applies the maps in
//! order; reverse mode applies their transposes in reverse order. So the two modes cannot disagree, and a derivative is stated once.
//!
//! - [`Tape`] records operations ([`Op`]) as they run, with their values in one arena.
//! - [`Tape::edges`] gives, for every operation, one [`Linear`] map for each input.
//! - [`Tape::push`] carries tangents forward, [`Tape::pull`] cotangents back, any number of them (lanes) in one pass.
//! - A [`Sink`] decides what a cotangent at a parameter means: [`Gradient`] sums it, [`PerExample`] keeps examples apart,
//!   [`Factors`] keeps features and cotangents unmultiplied, which is what the neural tangent kernel is made of.
//! - [`Dual`] numbers are scalars too: a reverse pass over duals is a Hessian-vector product.
//! - [`Linearized`], [`Hessian`] and [`Taylor`] are the modes that people ask for: products with Jacobians and Hessians, Jacobians of a batch and of each
//!   example, Gauss–Newton products, Taylor models.
//! - [`check_grads`] holds all of this against differences and against itself.
//!
//! # Conventions
//!
//! Where a derivative does not exist, or a value is taken of nothing, this is what holds, in both modes, for duals, and per example:
//!
//! | where | value | derivative |
//! |---|---|---|
//! | ReLU, the absolute value at 0 | 0 | 0 |
//! | `LeakyRelu(α)` at 0 | 0 | α |
//! | square root at 0 | 0 | ∞ |
//! | `max_pool` of equal cells | their value | all of it to the first, in the order of the window |
//! | `max_pool` of a window beyond the edge | −∞ | 0 |
//! | `sum_pool`, `avg_pool`, `patches` beyond the edge | zeros, which count in the mean | 0 |
//! | `norm` of a row of zeros, or of nothing | 0 | 0 |
//! | `powf(x, 0)` | 1, of 0 and of NaN too | 0 |
//! | `powf(0, p)` | 0 for p > 0, ∞ for p < 0 | `p·0ᵖ⁻¹`: 0 for p > 1, 1 for p = 1, ∞ for 0 < p < 1, −∞ for p < 0 |
//! | `powf(x, p)` of x < 0, p not whole | NaN | NaN |
//! | `ln` at 0 | −∞ | ∞ |
//! | `x/0` | ±∞, and NaN for 0/0 | with respect to `x` ∞, to the divisor ∓∞ |
//! | sum of nothing | 0 | nothing |
//! | mean of nothing | NaN | NaN |
//! | `log_sum_exp` of nothing | −∞ | nothing |
//! | `log_sum_exp` where the maximum is ±∞ | the maximum | 1/m for each of the m entries equal to it, else 0 |
//! | `softmax` where the maximum is ±∞ | NaN where an entry is equal to it | NaN |
//! | NaN in a function, `norm`, `max_pool`, `log_sum_exp` | NaN | NaN; of `max_pool` 1, to the first NaN |
//!
//! An infinite derivative times a tangent of 0 is NaN, as infinity times zero is.
//!
//! Axis 0 of a value is the examples where its [`Node`] says so, never because of its extent. Tensors have up to four axes and are
//! read as matrices, the last axis the columns and all others together the rows, or around an [`Axis`].
//!
//! A warm step allocates nothing. At its peak a step needs the values, one buffer of flow, which has at most their size for each lane, and the result.
#![forbid(unsafe_code)]

// The catalog of operations is shared with tests that see the crate from outside.
#[cfg(test)]
extern crate self as autodiff;

mod apply;
#[cfg(test)]
#[allow(unreachable_pub, reason = "it is a module of the tests outside as well")]
#[path = "../tests/catalog/mod.rs"]
mod catalog;
mod check;
mod dual;
mod elementwise;
mod evaluate;
mod factors;
#[cfg(test)]
mod faults;
mod flow;
mod linear;
mod modes;
mod op;
mod planes;
mod record;
mod rules;
mod scalar;
mod second;
mod shape;
mod sink;
mod tape;
mod windows;

pub use check::{CheckError, Checked, Differentiable, Point, check_grads};
pub use dual::Dual;
pub use elementwise::Elementwise;
pub use factors::{Fan, Features, Stack, Take};
pub use flow::{Flow, Refusal};
pub use linear::Linear;
pub use modes::{Jacobian, Leaves, Linearized, Mode, linearize, value_and_gradient};
pub use op::{Axes, Leaf, Node, Op, Var};
pub use planes::Planes;
pub use scalar::{Scalar, Scratch};
pub use second::{Hessian, Taylor};
pub use shape::{Axis, Shape};
pub use simd::{Accumulate, Border, Float, Mat, Padding, Phi};
pub use sink::{Contribution, Examples, Factors, Gradient, PerExample, Sink, Use, Wrt};
pub use tape::{Mark, Tape};
pub use windows::Windows;

/// The examples of the README are tested as they stand.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

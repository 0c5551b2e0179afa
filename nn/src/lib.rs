//! Small neural networks as data.
//!
//! A [`Network`] is a list of [`Layer`]s with an input shape and a [`Parameterization`]. It is initialized, applied, differentiated,
//! trained, saved and loaded by readers of that one description, and the crate `ntk` reads it too.
//!
//! - builders: [`dense`], [`residual`], and the [`ACTIVATIONS`] [`relu`], [`erf`], [`tanh`], [`exp`], [`sigmoid`], [`softplus`], [`gelu`],
//!   [`silu`], [`sin`], [`cos`], [`abs`], [`leaky_relu`];
//! - parameterizations: one table by [`Role`], [`scaling`];
//! - initial values that are addressed by (seed, parameter, index): [`Network::init`];
//! - [`train`]ing by stochastic gradient descent;
//! - the model file: [`parse_model`] and [`Network::to_toml`]; weights: [`Network::load_weights`] and [`Network::save_weights`].
//!
//! This crate reads no files: it works on strings and bytes.
#![forbid(unsafe_code)]

mod error;
mod init;
mod layer;
mod loss;
mod model_file;
mod network;
mod parameterization;
mod train;
mod weights;

pub use autodiff::Phi;
pub use error::ModelError;
pub use init::normals;
pub use layer::{
    ACTIVATIONS, Dense, Layer, Residual, abs, cos, dense, erf, exp, gelu, leaky_relu, relu, residual, residual_with_shortcut, sigmoid,
    silu, sin, softplus, tanh,
};
pub use loss::Loss;
pub use model_file::parse_model;
pub use network::{Network, Parameter};
pub use parameterization::{Parameterization, Role, Scaling, scaling};
pub use train::{Diverged, Sgd, Trainer, train};
pub use weights::WeightsError;

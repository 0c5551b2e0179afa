//! Small neural networks as data.
//!
//! A [`Network`] is a list of [`Layer`]s with an input shape and a [`Parameterization`]. It is initialized, applied, differentiated,
//! trained, saved and loaded by readers of that one description, and the crate `ntk` reads it too.
//!
//! - builders: [`dense`], [`conv`], [`avg_pool`], [`sum_pool`], [`max_pool`], [`global_avg_pool`], [`flatten`], [`layer_norm`],
//!   [`residual`], and the [`ACTIVATIONS`] [`relu`], [`erf`], [`tanh`], [`exp`], [`sigmoid`], [`softplus`], [`gelu`], [`silu`], [`sin`],
//!   [`cos`], [`abs`], [`leaky_relu`], [`rbf`], [`gaussian`], [`identity`], or an
//!   [`elementwise`] function of your own; [`Network`] prints itself as a table of its layers;
//! - parameterizations: one table by [`Role`], [`scaling`];
//! - initial values that are addressed by (seed, parameter, index): [`Network::init`];
//! - [`train`]ing by stochastic gradient descent or Adam: a [`Trainer`] and a [`Plan`], with momentum, weight decay, schedules, rates for each
//!   parameter, and checkpoints that go on to the same bits; [`coordinate_change`], the coordinate check of parameterizations;
//! - the model file: [`parse_model`] and [`Network::to_toml`]; weights: [`Network::load_weights`] and [`Network::save_weights`].
//!
//! This crate reads no files: it works on strings and bytes.
#![forbid(unsafe_code)]

mod activation;
mod error;
mod init;
mod layer;
mod loss;
mod model_file;
mod network;
mod parameterization;
mod record;
mod survey;
mod train;
mod weights;
mod windows;

pub use activation::{
    ACTIVATIONS, Activation, abs, cos, cos_of, elementwise, erf, exp, gaussian, gelu, identity, leaky_relu, rbf, relu, sigmoid, silu, sin,
    sin_of, softplus, tanh,
};
pub use autodiff::{Elementwise, Phi};
pub use error::ModelError;
pub use init::normals;
pub use layer::{
    Conv, Dense, Layer, LayerNorm, NormAxes, Pool, PoolKind, Residual, avg_pool, conv, dense, flatten, global_avg_pool, layer_norm,
    max_pool, residual, residual_with_shortcut, sum_pool,
};
pub use loss::Loss;
pub use model_file::parse_model;
pub use network::{Layout, Network, Parameter};
pub use parameterization::{Parameterization, Role, Scaling, scaling};
pub use survey::Row;
pub use train::{
    CheckpointError, Coordinates, Course, Decay, Diverged, Optimizer, Place, Plan, Schedule, Trainer, coordinate_change, train,
};
pub use weights::WeightsError;
pub use windows::Padding;

//! `tangents`: the neural tangent kernel, of finite networks and at infinite width.
//!
//! This crate re-exports the workspace ([`simd`], [`autodiff`], [`nn`], [`ntk`]) and adds what the command line is made of: [`data`] sets,
//! [`files`], [`experiments`] and the [`report`] about them. It alone reads files or a clock.
//!
//! The README shows an example; the crates have more.
#![forbid(unsafe_code)]

pub use {autodiff, nn, ntk, simd};

pub mod data;
pub mod experiments;
pub mod files;
pub mod memory;
pub mod page;
pub mod progress;
pub mod report;
pub mod workloads;

/// The README, so that its example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The guide to training, so that its examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../docs/training.md")]
struct Training;

//! The empirical kernel: every strategy against a slow one, on a grid of functions.

mod common;
mod edges;
mod estimates;
mod grid;
mod laws;
mod operators;
mod plans;
mod requests;
mod tied;
mod tiles;

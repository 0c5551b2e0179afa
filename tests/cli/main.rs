//! The command line as a user meets it: what it writes, what it refuses, and how it says so.

mod arguments;
mod bench;
mod finite;
mod inputs;
mod kernels;
mod models;
mod outputs;
mod report;
mod run;
mod train;

//! The closed set of operations, and the nodes of a tape that they are.

use crate::shape::Shape;
use simd::Phi;
use std::ops::Range;

/// Where a value that no operation computed comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leaf {
    /// A value that is never differentiated, such as targets.
    Constant,
    /// The `i`-th input.
    Input(usize),
    /// The `i`-th parameter, shared by all examples.
    Parameter(usize),
}

/// An operation with its inputs. Tensors are read as matrices of [`rows`](crate::Shape::rows) by [`cols`](crate::Shape::cols).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// A value from outside.
    Leaf(Leaf),
    /// `Z = scale·X·W + s·1·β`, where the bias `β` and its scale `s` may be missing.
    Affine {
        /// The left factor, `[.., n_in]`.
        x: Var,
        /// The right factor, `[n_in, n_out]`, never per example.
        w: Var,
        /// The scale of the product.
        scale: f64,
        /// The bias `[n_out]` with its scale.
        bias: Option<(Var, f64)>,
    },
    /// `Y = Xᵀ` of a matrix.
    Transpose(Var),
    /// `z = x + y`, of one shape.
    Add(Var, Var),
    /// `z = x − y`, of one shape.
    Sub(Var, Var),
    /// `y = a·x`.
    Scale(Var, f64),
    /// `y = φ(x)`, entry by entry.
    Map(Phi, Var),
    /// `z_r = Σ_c X_rc·Y_rc`, the scalar product along the last axis.
    RowDot(Var, Var),
    /// `y_r = log Σ_c exp(X_rc)`, along the last axis.
    LogSumExp(Var),
    /// `y = a·Σ x` over all entries, a scalar. It mixes examples.
    Sum(Var, f64),
}

impl Op {
    /// The name of the operation.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Leaf(Leaf::Constant) => "constant",
            Op::Leaf(Leaf::Input(_)) => "input",
            Op::Leaf(Leaf::Parameter(_)) => "parameter",
            Op::Affine { .. } => "affine",
            Op::Transpose(_) => "transpose",
            Op::Add(..) => "add",
            Op::Sub(..) => "sub",
            Op::Scale(..) => "scale",
            Op::Map(phi, _) => phi.name(),
            Op::RowDot(..) => "row_dot",
            Op::LogSumExp(_) => "log_sum_exp",
            Op::Sum(..) => "sum",
        }
    }

    /// The values that it reads.
    pub fn inputs(&self) -> impl Iterator<Item = Var> {
        let three = match *self {
            Op::Leaf(_) => [None; 3],
            Op::Affine { x, w, bias, .. } => [Some(x), Some(w), bias.map(|(b, _)| b)],
            Op::Add(x, y) | Op::Sub(x, y) | Op::RowDot(x, y) => [Some(x), Some(y), None],
            Op::Transpose(x) | Op::Scale(x, _) | Op::Map(_, x) | Op::LogSumExp(x) | Op::Sum(x, _) => [Some(x), None, None],
        };
        three.into_iter().flatten()
    }
}

/// A value on a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(u32);

impl Var {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    pub(crate) fn from_index(i: usize) -> Self {
        Var(u32::try_from(i).expect("a tape holds at most 2³² values"))
    }
}

/// What is known about a recorded operation besides its value.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operation with its inputs.
    pub op: Op,
    /// The shape of the value.
    pub shape: Shape,
    /// Whether axis 0 of the value is the examples, each computed from the same example of the inputs.
    pub per_example: bool,
    /// Whether something below it, or the node itself, computes one entry from several examples.
    pub mixes: bool,
    /// Whether it depends on an input.
    pub reads_inputs: bool,
    /// Whether it depends on a parameter.
    pub reads_parameters: bool,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Node {
    /// Where the value lies in the arena.
    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.start + self.shape.len()
    }

    /// Which leaf the node is, if it is one.
    pub fn leaf(&self) -> Option<Leaf> {
        if let Op::Leaf(leaf) = self.op { Some(leaf) } else { None }
    }
}

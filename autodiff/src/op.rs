//! The closed set of operations, and the nodes of a tape that they are.

use crate::elementwise::Elementwise;
use crate::shape::Shape;
use crate::windows::Windows;
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

/// Axes that lie side by side: from `first` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axes {
    first: u8,
    end: u8,
}

impl From<Range<usize>> for Axes {
    /// # Panics
    /// If an axis is beyond the fourth.
    #[track_caller]
    fn from(axes: Range<usize>) -> Self {
        assert!(axes.end <= 4, "a tensor has at most four axes, and {axes:?} are asked for");
        Axes { first: axes.start as u8, end: axes.end as u8 }
    }
}

impl From<Axes> for Range<usize> {
    fn from(axes: Axes) -> Self {
        usize::from(axes.first)..usize::from(axes.end)
    }
}

/// An operation with its inputs. Tensors are read as matrices of [`rows`](crate::Shape::rows) by [`cols`](crate::Shape::cols), or as
/// `[outer, n, inner]` around an [axis](crate::Axis).
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
    /// `Z_b = scale·X_b·Y_b` for all leading axes `b`.
    Product {
        /// The left factors `[.., m, k]`, or one `[m, k]` for all.
        x: Var,
        /// The right factors, `[.., k, n]`.
        y: Var,
        /// The scale of the products.
        scale: f64,
    },
    /// `z[p] = scale·Σ_tap x[cell]·W[tap] + s·β`: a convolution, which is an affine map of what each window sees. The bias may be missing.
    Conv {
        /// The images.
        x: Var,
        /// The filters, `[taps · channels, out]`, never per example.
        w: Var,
        /// The windows.
        windows: Windows,
        /// The scale of the product.
        scale: f64,
        /// The bias `[out]` with its scale.
        bias: Option<(Var, f64)>,
    },
    /// `Y = Xᵀ`: the last two axes are exchanged.
    Transpose(Var),
    /// The same entries in another shape.
    Reshape(Var),
    /// `z = x + y`, of one shape.
    Add(Var, Var),
    /// `z = x − y`, of one shape.
    Sub(Var, Var),
    /// `z = x∘y`, of one shape.
    Mul(Var, Var),
    /// `z = x/y`, of one shape.
    Div(Var, Var),
    /// `y = a·x`.
    Scale(Var, f64),
    /// `y = φ(x)`, entry by entry.
    Map(Phi, Var),
    /// `y = f(x)`, entry by entry, of a function that the program gives.
    Apply(Elementwise, Var),
    /// `y = xᵖ`, entry by entry.
    Power(Var, f64),
    /// `z_r = Σ_c X_rc·Y_rc`, the scalar product along the last axis.
    RowDot(Var, Var),
    /// `y_r = √Σ_c X_rc²`, the Euclidean norm along the last axis.
    Norm(Var),
    /// `y_r = log Σ_c exp(X_rc)`, along the last axis.
    LogSumExp(Var),
    /// `y[o, i] = a·Σ_k x[o, k, i]`.
    Sum(Var, Axes, f64),
    /// `y[o, k, i] = x[o, i]`.
    Broadcast(Var, Axes),
    /// `y[o, k, i] = x[o, start + k, i]`.
    Slice {
        /// The tensor.
        x: Var,
        /// The axis.
        axis: u8,
        /// The first place along it.
        start: usize,
    },
    /// Both, one behind the other along an axis.
    Concat(Var, Var, u8),
    /// `y[k] = table[rows[k]]`: rows of a table, whose numbers are a constant.
    Gather {
        /// The table, `[n_rows, ..]`.
        table: Var,
        /// The numbers of the rows, as whole numbers.
        rows: Var,
    },
    /// `y[p, tap, c] = x[cell, c]`: what each window sees, zero beyond the edge.
    Patches(Var, Windows),
    /// `y[p, c] = a·Σ x[cell, c]` over the cells of window `p`.
    Pool(Var, Windows, f64),
    /// `y[p, c] = max x[cell, c]` over the cells of window `p`.
    MaxPool(Var, Windows),
}

impl Op {
    /// The name of the operation.
    #[inline]
    pub fn name(&self) -> &'static str {
        match self {
            Op::Leaf(Leaf::Constant) => "constant",
            Op::Leaf(Leaf::Input(_)) => "input",
            Op::Leaf(Leaf::Parameter(_)) => "parameter",
            Op::Affine { .. } => "affine",
            Op::Product { .. } => "product",
            Op::Conv { .. } => "conv",
            Op::Transpose(_) => "transpose",
            Op::Reshape(_) => "reshape",
            Op::Add(..) => "add",
            Op::Sub(..) => "sub",
            Op::Mul(..) => "mul",
            Op::Div(..) => "div",
            Op::Scale(..) => "scale",
            Op::Map(phi, _) => phi.name(),
            Op::Apply(function, _) => function.name(),
            Op::Power(..) => "power",
            Op::RowDot(..) => "row_dot",
            Op::Norm(_) => "norm",
            Op::LogSumExp(_) => "log_sum_exp",
            Op::Sum(..) => "sum",
            Op::Broadcast(..) => "broadcast",
            Op::Slice { .. } => "slice",
            Op::Concat(..) => "concat",
            Op::Gather { .. } => "gather",
            Op::Patches(..) => "patches",
            Op::Pool(..) => "pool",
            Op::MaxPool(..) => "max_pool",
        }
    }

    /// The values that it reads.
    #[inline]
    pub fn inputs(&self) -> impl Iterator<Item = Var> {
        let three = match *self {
            Op::Leaf(_) => [None; 3],
            Op::Affine { x, w, bias, .. } | Op::Conv { x, w, bias, .. } => [Some(x), Some(w), bias.map(|(b, _)| b)],
            Op::Product { x, y, .. }
            | Op::Add(x, y)
            | Op::Sub(x, y)
            | Op::Mul(x, y)
            | Op::Div(x, y)
            | Op::RowDot(x, y)
            | Op::Concat(x, y, _)
            | Op::Gather { table: x, rows: y } => [Some(x), Some(y), None],
            Op::Transpose(x)
            | Op::Reshape(x)
            | Op::Scale(x, _)
            | Op::Map(_, x)
            | Op::Apply(_, x)
            | Op::Power(x, _)
            | Op::Norm(x)
            | Op::LogSumExp(x)
            | Op::Sum(x, ..)
            | Op::Broadcast(x, _)
            | Op::Slice { x, .. }
            | Op::Patches(x, _)
            | Op::Pool(x, ..)
            | Op::MaxPool(x, _) => [Some(x), None, None],
        };
        three.into_iter().flatten()
    }
}

/// A value on a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(u32);

impl Var {
    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    #[inline]
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
    /// Where the memory ends that belongs to the node: behind its value is what it saved for its derivative.
    pub(crate) end: usize,
}

impl Node {
    /// Where the value lies in the arena.
    #[inline]
    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.start + self.shape.len()
    }

    /// Which leaf the node is, if it is one.
    #[inline]
    pub fn leaf(&self) -> Option<Leaf> {
        if let Op::Leaf(leaf) = self.op { Some(leaf) } else { None }
    }
}

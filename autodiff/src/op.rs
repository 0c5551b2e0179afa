//! The closed set of operations: what each one computes, and what its derivative is.

use crate::linear::Linear;
use crate::scalar::Scalar;
use crate::tape::{Node, Tape, Var};
use simd::{Accumulate, Mat, MatMut, Phi};

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

/// The values below a node, by variable.
pub(crate) struct Past<'t, T> {
    pub(crate) nodes: &'t [Node],
    pub(crate) values: &'t [T],
}

impl<'t, T> Past<'t, T> {
    pub(crate) fn value(&self, v: Var) -> &'t [T] {
        &self.values[self.nodes[v.index()].range()]
    }

    pub(crate) fn matrix(&self, v: Var) -> Mat<'t, T> {
        let shape = &self.nodes[v.index()].shape;
        Mat::new(self.value(v), shape.rows(), shape.cols())
    }
}

/// Computes the operation into `out`; `saved` is memory for what the derivative needs besides inputs and output.
pub(crate) fn evaluate<T: Scalar>(op: Op, past: &Past<'_, T>, out: &mut [T], saved: &mut [T]) {
    match op {
        Op::Leaf(_) => unreachable!("leaves are given, not computed"),
        Op::Affine { x, w, scale, bias } => {
            let (x, w) = (past.matrix(x), past.matrix(w));
            T::product(x, w, Accumulate::Set, MatMut::new(out, x.rows(), w.cols()));
            let a = T::of(scale);
            let n = w.cols();
            match bias {
                Some((b, scale)) if n > 0 => {
                    let (b, s) = (past.value(b), T::of(scale));
                    for row in out.chunks_exact_mut(n) {
                        row.iter_mut().zip(b).for_each(|(z, &b)| *z = a * *z + s * b);
                    }
                }
                Some(_) | None if scale == 1.0 => (),
                Some(_) | None => out.iter_mut().for_each(|z| *z = a * *z),
            }
        }
        Op::Transpose(x) => {
            let x = past.matrix(x).t();
            let columns = x.cols();
            out.iter_mut().enumerate().for_each(|(i, y)| *y = x.at(i / columns, i % columns));
        }
        Op::Add(x, y) => zip(out, past.value(x), past.value(y), |x, y| x + y),
        Op::Sub(x, y) => zip(out, past.value(x), past.value(y), |x, y| x - y),
        Op::Scale(x, a) => {
            let a = T::of(a);
            out.iter_mut().zip(past.value(x)).for_each(|(y, &x)| *y = a * x);
        }
        Op::Map(phi, x) => T::map(phi, past.value(x), out),
        Op::RowDot(x, y) => {
            let (x, y) = (past.matrix(x), past.matrix(y));
            let dot = |i: usize| (0..x.cols()).fold(T::ZERO, |sum, j| sum + x.at(i, j) * y.at(i, j));
            out.iter_mut().enumerate().for_each(|(i, z)| *z = dot(i));
        }
        Op::LogSumExp(x) => T::softmax(past.matrix(x), out, saved),
        Op::Sum(x, a) => out[0] = T::of(a) * past.value(x).iter().fold(T::ZERO, |sum, &x| sum + x),
    }
}

fn zip<T: Scalar>(out: &mut [T], x: &[T], y: &[T], f: impl Fn(T, T) -> T) {
    out.iter_mut().zip(x.iter().zip(y)).for_each(|(z, (&x, &y))| *z = f(x, y));
}

impl<T: Scalar> Tape<T> {
    /// Entries that an operation saves for its derivative.
    pub(crate) fn saves(&self, op: Op) -> usize {
        match op {
            // The softmax of every row.
            Op::LogSumExp(x) => self.shape(x).len(),
            Op::Leaf(_)
            | Op::Affine { .. }
            | Op::Transpose(_)
            | Op::Add(..)
            | Op::Sub(..)
            | Op::Scale(..)
            | Op::Map(..)
            | Op::RowDot(..)
            | Op::Sum(..) => 0,
        }
    }

    /// The derivative of a node: one linear map for each of its inputs. This is the only place where an operation says what its
    /// derivative is; [`push`](Tape::push) applies these maps and [`pull`](Tape::pull) their transposes.
    pub fn edges<'t>(&'t self, node: Var, mut edge: impl FnMut(Var, Linear<'t, T>)) {
        let n = &self.nodes()[node.index()];
        let past = self.past();
        let identity = |a: f64| Linear::Scale { a: T::of(a), len: n.shape.len() };
        match n.op {
            Op::Leaf(_) => (),
            Op::Affine { x, w, scale, bias } => {
                let (rows, cols) = (n.shape.rows(), n.shape.cols());
                edge(x, Linear::Right { w: past.matrix(w), a: T::of(scale), rows });
                edge(w, Linear::Left { x: past.matrix(x), a: T::of(scale), cols });
                if let Some((b, scale)) = bias {
                    edge(b, Linear::Broadcast { rows, cols, a: T::of(scale) });
                }
            }
            Op::Transpose(x) => {
                let shape = self.shape(x);
                edge(x, Linear::Transpose { rows: shape.rows(), cols: shape.cols() });
            }
            Op::Add(x, y) => {
                edge(x, identity(1.0));
                edge(y, identity(1.0));
            }
            Op::Sub(x, y) => {
                edge(x, identity(1.0));
                edge(y, identity(-1.0));
            }
            Op::Scale(x, a) => edge(x, identity(a)),
            Op::Map(phi, x) => edge(x, Linear::Slope { phi, x: past.value(x), y: past.value(node) }),
            Op::RowDot(x, y) => {
                edge(x, Linear::RowDot { w: past.matrix(y) });
                edge(y, Linear::RowDot { w: past.matrix(x) });
            }
            Op::LogSumExp(x) => {
                let shape = self.shape(x);
                edge(x, Linear::RowDot { w: Mat::new(self.saved(node), shape.rows(), shape.cols()) });
            }
            Op::Sum(x, a) => edge(x, Linear::Sum { rows: self.shape(x).len(), cols: 1, a: T::of(a) }),
        }
    }
}

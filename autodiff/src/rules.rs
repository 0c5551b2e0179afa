//! The rule table: what each operation computes, and what its derivative is.

use crate::linear::Linear;
use crate::op::{Node, Op, Var};
use crate::scalar::Scalar;
use simd::{Accumulate, Mat, MatMut};

/// The values below a node, by variable.
pub(crate) struct Past<'t, T> {
    pub(crate) nodes: &'t [Node],
    pub(crate) values: &'t [T],
}

impl<'t, T> Past<'t, T> {
    pub(crate) fn value(&self, v: Var) -> &'t [T] {
        &self.values[self.nodes[v.index()].range()]
    }

    /// What the operation saved for its derivative, behind its value.
    fn saved(&self, v: Var) -> &'t [T] {
        let node = &self.nodes[v.index()];
        &self.values[node.range().end..node.end]
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

/// Entries that an operation saves for its derivative.
pub(crate) fn saves(op: Op, nodes: &[Node]) -> usize {
    match op {
        // The softmax of every row.
        Op::LogSumExp(x) => nodes[x.index()].shape.len(),
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

/// The derivative of a node: one linear map for each of its inputs. This is the only place where an operation says what its derivative is.
pub(crate) fn edges<'t, T: Scalar>(node: Var, past: &Past<'t, T>, mut edge: impl FnMut(Var, Linear<'t, T>)) {
    let n = &past.nodes[node.index()];
    let shape = |v: Var| &past.nodes[v.index()].shape;
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
            let shape = shape(x);
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
            let shape = shape(x);
            edge(x, Linear::RowDot { w: Mat::new(past.saved(node), shape.rows(), shape.cols()) });
        }
        Op::Sum(x, a) => edge(x, Linear::Sum { rows: shape(x).len(), cols: 1, a: T::of(a) }),
    }
}

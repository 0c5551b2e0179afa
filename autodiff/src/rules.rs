//! The rule table: what the derivative of each operation is.

use crate::factors::{Fan, Features, Stack, Take};
use crate::linear::Linear;
use crate::op::{Node, Op, Var};
use crate::scalar::Scalar;
use simd::Mat;
use std::ops::Range;

/// The values below a node, by variable.
pub(crate) struct Past<'t, T> {
    pub(crate) nodes: &'t [Node],
    /// The first of them, and all others; no node has some in either.
    pub(crate) floor: &'t [T],
    pub(crate) values: &'t [T],
}

impl<'t, T: Copy> Past<'t, T> {
    pub(crate) fn node(&self, v: Var) -> &'t Node {
        &self.nodes[v.index()]
    }

    fn numbers(&self, range: Range<usize>) -> &'t [T] {
        let floor = self.floor.len();
        if range.end <= floor { &self.floor[range] } else { &self.values[range.start - floor..range.end - floor] }
    }

    pub(crate) fn value(&self, v: Var) -> &'t [T] {
        self.numbers(self.node(v).range())
    }

    /// What the operation saved for its derivative, behind its value.
    fn saved(&self, v: Var) -> &'t [T] {
        let node = self.node(v);
        self.numbers(node.range().end..node.end)
    }

    pub(crate) fn matrix(&self, v: Var) -> Mat<'t, T> {
        let shape = &self.node(v).shape;
        Mat::new(self.value(v), shape.rows(), shape.cols())
    }

    /// The matrices of the last two axes, or the one that there is.
    pub(crate) fn matrices(&self, v: Var) -> Stack<'t, T> {
        let dims = self.node(v).shape.dims();
        if dims.len() == 2 { Stack::one(self.matrix(v)) } else { Stack::many(self.matrix(v), dims[dims.len() - 2]) }
    }
}

/// Entries that an operation saves for its derivative.
pub(crate) fn saves(op: Op, nodes: &[Node], out: usize) -> usize {
    match op {
        // The softmax of every row, and the unit vector of every row.
        Op::LogSumExp(x) | Op::Norm(x) => nodes[x.index()].shape.len(),
        // The slope of every entry, and the place of every maximum.
        Op::Power(..) | Op::Apply(..) | Op::MaxPool(..) => out,
        Op::Leaf(_)
        | Op::Affine { .. }
        | Op::Product { .. }
        | Op::Conv { .. }
        | Op::Transpose(_)
        | Op::Reshape(_)
        | Op::Add(..)
        | Op::Sub(..)
        | Op::Mul(..)
        | Op::Div(..)
        | Op::Scale(..)
        | Op::Map(..)
        | Op::RowDot(..)
        | Op::Sum(..)
        | Op::Broadcast(..)
        | Op::Slice { .. }
        | Op::Concat(..)
        | Op::Gather { .. }
        | Op::Patches(..)
        | Op::Pool(..) => 0,
    }
}

/// The derivative of a node: one linear map for each of its inputs. This is the only place where an operation says what its derivative is.
///
/// Where an operation is linear in all its inputs together, the maps read sizes and constants only, and its value is their sum.
pub(crate) fn edges<'t, T: Scalar>(node: Var, past: &Past<'t, T>, mut edge: impl FnMut(Var, Linear<'t, T>)) {
    let n = past.node(node);
    let shape = |v: Var| &past.node(v).shape;
    let len = n.shape.len();
    let identity = |a: f64| Linear::Scale { a: T::of(a), len };
    match n.op {
        Op::Leaf(_) => (),
        Op::Affine { x, w, scale, bias } => {
            let (rows, cols) = (n.shape.rows(), n.shape.cols());
            edge(x, Linear::right(past.matrix(w), T::of(scale), rows));
            edge(w, Linear::left(past.matrix(x), T::of(scale), cols));
            if let Some((b, scale)) = bias {
                edge(b, Linear::Broadcast { axis: n.shape.axes(0..n.shape.rank() - 1), a: T::of(scale) });
            }
        }
        Op::Product { x, y, scale } => {
            let (left, right, a) = (past.matrices(x), past.matrices(y), T::of(scale));
            let batches = n.shape.dims()[..n.shape.rank() - 2].iter().product();
            let fan = if shape(x).rank() == 2 { Fan::Out } else { Fan::Each };
            edge(x, Linear::Right { w: right, a, rows: left.rows(), batches, fan });
            edge(y, Linear::Left { x: Features::Stack(left), a, cols: right.cols(), batches });
        }
        Op::Conv { x, w, windows, scale, bias } => {
            let (images, out) = (shape(x).dims()[0], n.shape.cols());
            let seen = Features::Windows { images: past.value(x), n: images, windows, transposed: false };
            edge(x, Linear::Right { w: Stack::one(past.matrix(w)), a: T::of(scale), rows: images, batches: 1, fan: Fan::See(windows) });
            edge(w, Linear::Left { x: seen, a: T::of(scale), cols: out, batches: 1 });
            if let Some((b, scale)) = bias {
                edge(b, Linear::Broadcast { axis: n.shape.axes(0..n.shape.rank() - 1), a: T::of(scale) });
            }
        }
        Op::Transpose(x) => {
            let (dims, last) = (shape(x).dims(), shape(x).rank());
            let batches = dims[..last - 2].iter().product();
            edge(x, Linear::Transpose { batches, rows: dims[last - 2], cols: dims[last - 1] });
        }
        Op::Reshape(x) => edge(x, identity(1.0)),
        Op::Add(x, y) => {
            edge(x, identity(1.0));
            edge(y, identity(1.0));
        }
        Op::Sub(x, y) => {
            edge(x, identity(1.0));
            edge(y, identity(-1.0));
        }
        Op::Mul(x, y) => {
            edge(x, Linear::Diag { a: T::ONE, times: Some(past.value(y)), over: None, len });
            edge(y, Linear::Diag { a: T::ONE, times: Some(past.value(x)), over: None, len });
        }
        Op::Div(x, y) => {
            edge(x, Linear::Diag { a: T::ONE, times: None, over: Some(past.value(y)), len });
            edge(y, Linear::Diag { a: T::of(-1.0), times: Some(past.value(node)), over: Some(past.value(y)), len });
        }
        Op::Scale(x, a) => edge(x, identity(a)),
        Op::Map(phi, x) => edge(x, Linear::Slope { phi, x: past.value(x), y: past.value(node) }),
        Op::Power(x, _) | Op::Apply(_, x) => edge(x, Linear::Diag { a: T::ONE, times: Some(past.saved(node)), over: None, len }),
        Op::RowDot(x, y) => {
            edge(x, Linear::RowDot { w: past.matrix(y) });
            edge(y, Linear::RowDot { w: past.matrix(x) });
        }
        Op::Norm(x) | Op::LogSumExp(x) => {
            let shape = shape(x);
            edge(x, Linear::RowDot { w: Mat::new(past.saved(node), shape.rows(), shape.cols()) });
        }
        Op::Sum(x, axes, a) => edge(x, Linear::Sum { axis: shape(x).axes(axes.into()), a: T::of(a) }),
        Op::Broadcast(x, axes) => edge(x, Linear::Broadcast { axis: n.shape.axes(axes.into()), a: T::ONE }),
        Op::Slice { x, axis, start } => {
            let len = n.shape.dims()[usize::from(axis)];
            edge(x, Linear::Index { axis: shape(x).axes(single(axis)), take: Take::Range { start, len } });
        }
        Op::Concat(x, y, at) => {
            let [before, behind] = [x, y].map(|v| shape(v).dims()[usize::from(at)]);
            let axis = n.shape.axes(single(at));
            edge(x, Linear::Scatter { axis, take: Take::Range { start: 0, len: before } });
            edge(y, Linear::Scatter { axis, take: Take::Range { start: before, len: behind } });
        }
        Op::Gather { table, rows } => {
            edge(table, Linear::Index { axis: shape(table).axes(0..1), take: Take::List(past.value(rows)) });
        }
        Op::Patches(x, windows) => edge(x, Linear::Patches { windows, images: shape(x).dims()[0] }),
        Op::Pool(x, windows, a) => edge(x, Linear::Pool { windows, images: shape(x).dims()[0], a: T::of(a), picks: None }),
        Op::MaxPool(x, windows) => {
            edge(x, Linear::Pool { windows, images: shape(x).dims()[0], a: T::ONE, picks: Some(past.saved(node)) });
        }
    }
}

fn single(axis: u8) -> Range<usize> {
    usize::from(axis)..usize::from(axis) + 1
}

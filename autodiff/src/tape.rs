//! The tape: operations that were carried out, in order, with their values in one arena.

use crate::evaluate::evaluate;
use crate::linear::Linear;
use crate::op::{Leaf, Node, Op, Var};
use crate::rules::{self, Past};
use crate::scalar::{Scalar, Scratch};
use crate::shape::Shape;
use std::fmt;
use std::sync::Arc;

/// A place on a tape to go back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    nodes: usize,
    used: usize,
    inputs: usize,
    parameters: usize,
}

/// A recording: every operation runs at once and is kept with its inputs, which always lie below it in the arena.
///
/// ```
/// use autodiff::{Gradient, Tape, Wrt};
/// // f(w) = ½|x·w|² for one example x = (1, 2), at w = (3, −1): f = ½, df/dw = (x·w)·x = (1, 2).
/// let mut tape = Tape::new();
/// let w = tape.parameter([2, 1], &[3.0, -1.0]);
/// let x = tape.input([1, 2], &[1.0, 2.0]);
/// let z = tape.affine(x, w, 1.0, None);
/// let squares = tape.row_dot(z, z);
/// let f = tape.sum(squares, 0.5);
/// assert_eq!(tape.value(f), [0.5]);
///
/// let mut gradient = Gradient::new(Wrt::PARAMETERS);
/// tape.pull_once(f, &[1.0], &mut gradient)?;
/// assert_eq!(gradient.parameter(0), [1.0, 2.0]);
/// # Ok::<(), autodiff::Refusal>(())
/// ```
#[derive(Debug, Default)]
pub struct Tape<T: Scalar> {
    nodes: Vec<Node>,
    /// The first values, which clones of the tape share.
    floor: Arc<Vec<T>>,
    /// The values behind the floor. Never shrinks, so that a warm tape neither allocates nor fills.
    arena: Vec<T>,
    used: usize,
    inputs: usize,
    parameters: Vec<Var>,
    scratch: Scratch<T>,
}

impl<T: Scalar> Tape<T> {
    /// An empty tape.
    pub fn new() -> Self {
        Tape {
            nodes: Vec::new(),
            floor: Arc::new(Vec::new()),
            arena: Vec::new(),
            used: 0,
            inputs: 0,
            parameters: Vec::new(),
            scratch: Scratch::new(),
        }
    }

    /// An empty tape with room for a number of values, so that no more memory is asked for than they need. Without it the room doubles as it
    /// fills.
    pub fn with_capacity(values: usize) -> Self {
        let mut tape = Tape::new();
        tape.reserve(values);
        tape
    }

    /// Makes room for a number of values altogether, as [`with_capacity`](Tape::with_capacity) does.
    pub fn reserve(&mut self, values: usize) {
        let values = values.saturating_sub(self.floor.len());
        if self.arena.len() < values {
            let mut arena = simd::zeros(T::ZERO, values);
            let used = self.used - self.floor.len();
            arena[..used].copy_from_slice(&self.arena[..used]);
            self.arena = arena;
        }
    }

    /// [Makes room](Tape::reserve) in memory that there is already, with anything in it; [`into_memory`](Tape::into_memory) gives it back.
    ///
    /// # Panics
    /// If it does not hold what was recorded.
    pub fn reserve_in(&mut self, mut memory: Vec<T>) {
        let used = self.used - self.floor.len();
        memory[..used].copy_from_slice(&self.arena[..used]);
        self.arena = memory;
    }

    /// The memory of all values that are not in the floor.
    pub fn into_memory(self) -> Vec<T> {
        self.arena
    }

    /// Makes what was recorded so far the floor, whose values clones of the tape share: so threads record examples on top of the same
    /// weights, each on its own tape.
    ///
    /// ```
    /// let mut tape = autodiff::Tape::new();
    /// let w = tape.parameter([2], &[3.0, 4.0]);
    /// tape.lay_floor();
    /// let mut other = tape.clone();
    /// let y = other.mul(w, w);
    /// assert_eq!(other.value(y), [9.0, 16.0]);
    /// assert_eq!(other.value(w).as_ptr(), tape.value(w).as_ptr());
    /// ```
    pub fn lay_floor(&mut self) {
        let above = self.used - self.floor.len();
        self.arena.truncate(above);
        if self.floor.is_empty() {
            self.floor = Arc::new(std::mem::take(&mut self.arena));
        } else {
            Arc::make_mut(&mut self.floor).append(&mut self.arena);
        }
    }

    /// The number of values, with those that operations have saved for their derivatives.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The place that the recording has come to.
    pub fn mark(&self) -> Mark {
        Mark { nodes: self.nodes.len(), used: self.used, inputs: self.inputs, parameters: self.parameters.len() }
    }

    /// Forgets what was recorded after the mark and keeps the memory: parameters are recorded once, each batch after a rewind.
    pub fn rewind(&mut self, mark: Mark) {
        assert!(mark.nodes <= self.nodes.len(), "the mark lies ahead of the tape");
        self.nodes.truncate(mark.nodes);
        self.parameters.truncate(mark.parameters);
        (self.used, self.inputs) = (mark.used, mark.inputs);
        if self.used < self.floor.len() {
            self.arena = self.floor[..self.used].to_vec();
            self.floor = Arc::default();
        }
    }

    /// A value that is never differentiated and belongs to no example.
    #[track_caller]
    pub fn constant(&mut self, shape: impl Into<Shape>, values: &[T]) -> Var {
        self.leaf(Leaf::Constant, shape.into(), values, false)
    }

    /// A value that is never differentiated, with axis 0 the examples: targets.
    #[track_caller]
    pub fn target(&mut self, shape: impl Into<Shape>, values: &[T]) -> Var {
        self.leaf(Leaf::Constant, shape.into(), values, true)
    }

    /// The next input; axis 0 is the examples.
    #[track_caller]
    pub fn input(&mut self, shape: impl Into<Shape>, values: &[T]) -> Var {
        let leaf = Leaf::Input(self.inputs);
        let var = self.leaf(leaf, shape.into(), values, true);
        self.inputs += 1;
        var
    }

    /// The next parameter, shared by all examples. Used twice, it is a shared weight.
    #[track_caller]
    pub fn parameter(&mut self, shape: impl Into<Shape>, values: &[T]) -> Var {
        let leaf = Leaf::Parameter(self.parameters.len());
        let var = self.leaf(leaf, shape.into(), values, false);
        self.parameters.push(var);
        var
    }

    #[track_caller]
    fn leaf(&mut self, leaf: Leaf, shape: Shape, values: &[T], per_example: bool) -> Var {
        assert_eq!(shape.len(), values.len(), "shape {shape} needs {} values, {} were given", shape.len(), values.len());
        assert!(!per_example || !shape.dims().is_empty(), "axis 0 is the examples, and a scalar has no axis");
        let (start, end) = (self.used, self.used + values.len());
        self.grow(end);
        let floor = self.floor.len();
        self.arena[start - floor..end - floor].copy_from_slice(values);
        self.used = end;
        self.keep(Op::Leaf(leaf), shape, per_example, start, end)
    }

    /// Runs the operation and keeps it.
    pub(crate) fn record(&mut self, op: Op, shape: Shape, per_example: bool) -> Var {
        let len = shape.len();
        if let Op::Reshape(x) = op {
            // The entries stay where they are.
            let start = self.nodes[x.index()].start;
            return self.keep(op, shape, per_example, start, start + len);
        }
        let (start, end) = (self.used, self.used + len + rules::saves(op, &self.nodes, len));
        self.grow(end);
        let node = self.keep(op, shape, per_example, start, end);
        self.used = end;
        // An operation reads below its start and writes above it, so one split is the whole proof that they do not alias.
        let (below, above) = self.arena.split_at_mut(start - self.floor.len());
        let (out, saved) = above[..end - start].split_at_mut(len);
        evaluate(node, &Past { nodes: &self.nodes, floor: &self.floor, values: below }, out, saved, &mut self.scratch);
        node
    }

    fn keep(&mut self, op: Op, shape: Shape, per_example: bool, start: usize, end: usize) -> Var {
        let mut node = Node {
            op,
            shape,
            per_example,
            mixes: false,
            reads_inputs: matches!(op, Op::Leaf(Leaf::Input(_))),
            reads_parameters: matches!(op, Op::Leaf(Leaf::Parameter(_))),
            start,
            end,
        };
        for input in op.inputs() {
            let input = &self.nodes[input.index()];
            node.mixes |= input.mixes || (input.per_example && !per_example);
            node.reads_inputs |= input.reads_inputs;
            node.reads_parameters |= input.reads_parameters;
        }
        self.nodes.push(node);
        Var::from_index(self.nodes.len() - 1)
    }

    fn grow(&mut self, len: usize) {
        let len = len - self.floor.len();
        if self.arena.len() < len {
            self.arena.resize(len, T::ZERO);
        }
    }

    fn past(&self) -> Past<'_, T> {
        Past { nodes: &self.nodes, floor: &self.floor, values: &self.arena }
    }

    /// What is known about a value.
    pub fn node(&self, v: Var) -> &Node {
        &self.nodes[v.index()]
    }

    /// The value.
    pub fn value(&self, v: Var) -> &[T] {
        self.past().value(v)
    }

    /// The value of a leaf, to be changed in place; what was recorded on top of it keeps its old values until it is recorded again. A floor that
    /// clones share is copied before.
    ///
    /// # Panics
    /// If the value was computed.
    #[track_caller]
    pub fn leaf_mut(&mut self, v: Var) -> &mut [T] {
        let node = &self.nodes[v.index()];
        assert!(matches!(node.op, Op::Leaf(_)), "only a leaf can be changed, and this is {}", node.op.name());
        let (range, floor) = (node.range(), self.floor.len());
        if range.end <= floor {
            &mut Arc::make_mut(&mut self.floor)[range]
        } else {
            &mut self.arena[range.start - floor..range.end - floor]
        }
    }

    /// The shape of a value.
    pub fn shape(&self, v: Var) -> &Shape {
        &self.node(v).shape
    }

    /// The parameters, in the order of their recording.
    pub fn parameters(&self) -> &[Var] {
        &self.parameters
    }

    /// Number of inputs.
    pub fn n_inputs(&self) -> usize {
        self.inputs
    }

    /// All values, in the order of their recording.
    pub fn vars(&self) -> impl DoubleEndedIterator<Item = Var> + use<T> {
        (0..self.nodes.len()).map(Var::from_index)
    }

    /// Floating-point operations of one push of one lane through the whole tape; a pull takes as many.
    pub fn flops(&self) -> u64 {
        let mut sum = 0;
        for v in self.vars() {
            self.edges(v, |_, edge| sum += edge.flops());
        }
        sum
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The derivative of a node: one linear map for each of its inputs. [`push`](Tape::push) applies these maps, [`pull`](Tape::pull) their
    /// transposes.
    pub fn edges<'t>(&'t self, node: Var, edge: impl FnMut(Var, Linear<'t, T>)) {
        #[cfg(test)]
        let edge = crate::faults::plant(self.node(node).op.name(), edge);
        rules::edges(node, &self.past(), edge);
    }
}

/// A copy shares the floor, and has room for no more than there is.
impl<T: Scalar> Clone for Tape<T> {
    fn clone(&self) -> Self {
        Tape {
            nodes: self.nodes.clone(),
            floor: self.floor.clone(),
            arena: self.arena[..self.used - self.floor.len()].to_vec(),
            used: self.used,
            inputs: self.inputs,
            parameters: self.parameters.clone(),
            scratch: Scratch::new(),
        }
    }
}

/// One line a value: its number, operation, inputs and shape.
impl<T: Scalar> fmt::Display for Tape<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, node) in self.nodes.iter().enumerate() {
            write!(f, "%{i} = {}", node.op.name())?;
            for (k, v) in node.op.inputs().enumerate() {
                write!(f, "{}%{}", if k == 0 { " " } else { ", " }, v.index())?;
            }
            writeln!(f, " : {}{}", node.shape, if node.per_example { " per example" } else { "" })?;
        }
        Ok(())
    }
}

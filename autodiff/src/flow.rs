//! The two modes: tangents pushed forward through the maps of a tape, cotangents pulled back through their transposes.

use crate::linear::Linear;
use crate::op::{Leaf, Node, Var};
use crate::scalar::{Scalar, Scratch};
use crate::sink::{Contribution, Examples, Sink};
use crate::tape::Tape;
use simd::Accumulate;
use thiserror::Error;

/// The one buffer of tangents or cotangents, which any number of passes can share.
#[derive(Clone, Debug, Default)]
pub struct Flow<T: Scalar> {
    values: Vec<T>,
    /// Node `i` owns `start[i]..start[i + 1]`.
    start: Vec<usize>,
    /// Whether anything has arrived at the node: the first contribution writes, later ones add.
    touched: Vec<bool>,
    /// Whether a pull has something to bring below the node.
    wanted: Vec<bool>,
    scratch: Scratch<T>,
}

/// Why a per-example derivative is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The output has no axis of examples.
    #[error(
        "per-example derivatives need an output whose first axis is the examples, and `{op}` of shape {shape} has none: pull from the value before the examples are summed"
    )]
    NoExamples {
        /// The operation that made the output.
        op: &'static str,
        /// Its shape.
        shape: String,
    },
    /// One example of the output depends on several examples of the input.
    #[error(
        "`{op}` mixes examples, so there is no derivative of one example alone: pull from a value before it, or ask for the gradient of the sum"
    )]
    MixesExamples {
        /// The operation that mixes.
        op: &'static str,
    },
}

impl<T: Scalar> Flow<T> {
    /// An empty buffer.
    pub fn new() -> Self {
        Flow { values: Vec::new(), start: Vec::new(), touched: Vec::new(), wanted: Vec::new(), scratch: Scratch::new() }
    }

    /// An empty buffer in memory that there is already, with anything in it.
    pub fn with_memory(memory: Vec<T>) -> Self {
        Flow { values: memory, ..Flow::new() }
    }

    /// Its memory.
    pub fn into_memory(self) -> Vec<T> {
        self.values
    }

    /// What has arrived at a value: all its lanes, one after the other, or `None` for zero.
    pub fn get(&self, v: Var) -> Option<&[T]> {
        self.touched[v.index()].then(|| &self.values[self.start[v.index()]..self.start[v.index() + 1]])
    }

    /// Gives every node up to `last` room for `lanes(node)` vectors.
    fn lay_out(&mut self, nodes: &[Node], lanes: impl Fn(usize, &Node) -> usize) {
        self.start.clear();
        self.start.push(0);
        let mut end = 0;
        for (i, node) in nodes.iter().enumerate() {
            end += lanes(i, node) * node.shape.len();
            self.start.push(end);
        }
        self.touched.clear();
        self.touched.resize(nodes.len(), false);
        if self.values.len() < end {
            // Nothing in it is needed any more, so that it is not copied.
            self.values = Vec::new();
            self.values = simd::zeros(T::ZERO, end);
        }
    }

    /// Whether the next contribution writes or adds.
    fn touch(&mut self, i: usize) -> Accumulate {
        if std::mem::replace(&mut self.touched[i], true) { Accumulate::Add } else { Accumulate::Set }
    }
}

impl<T: Scalar> Tape<T> {
    /// Forward mode: the tangent of `output`, `lanes` directions at once.
    ///
    /// `tangent` gives the tangent of an input or a parameter as `[lanes, shape]`, or `None` for zero. The result is `[lanes, shape of output]`, or
    /// `None` if it is zero because no tangent reaches the output.
    pub fn push<'f>(&self, output: Var, lanes: usize, tangent: impl Fn(Leaf) -> Option<&'f [T]>, flow: &'f mut Flow<T>) -> Option<&'f [T]> {
        let nodes = &self.nodes()[..=output.index()];
        // Constants are not differentiated, here as little as in a pull.
        let tangent = |leaf: Leaf| if leaf == Leaf::Constant { None } else { tangent(leaf) };
        flow.lay_out(nodes, |_, node| if node.leaf().is_some() { 0 } else { lanes });
        if let Some(leaf) = nodes[output.index()].leaf() {
            return tangent(leaf);
        }
        let mut scratch = std::mem::take(&mut flow.scratch);
        for i in 0..nodes.len() {
            self.edges(Var::from_index(i), |x, edge| {
                let j = x.index();
                let leaf = nodes[j].leaf();
                let given = leaf.and_then(&tangent);
                if given.is_none() && (leaf.is_some() || !flow.touched[j]) {
                    return;
                }
                let to = flow.touch(i);
                let (below, above) = flow.values.split_at_mut(flow.start[i]);
                let dx = given.unwrap_or_else(|| &below[flow.start[j]..flow.start[j + 1]]);
                let dy = &mut above[..lanes * nodes[i].shape.len()];
                edge.apply(lanes, dx, to, dy, &mut scratch);
            });
        }
        flow.scratch = scratch;
        flow.get(output)
    }

    /// Reverse mode: pulls `lanes` cotangents of `output`, `[lanes, shape of output]`, back to the leaves, where `sink` decides what they mean.
    ///
    /// A sink that keeps examples [apart](Examples::Apart) wants the cotangents of every example in the place of that example. Nodes
    /// that depend on parameters only (a transposed weight) then carry `lanes · examples` lanes, so that nothing is summed too early.
    ///
    /// # Errors
    /// If examples are to be kept apart and the output has none, or depends on an operation that mixes them.
    ///
    /// # Panics
    /// If `seed` has another length than `lanes` times the output.
    #[track_caller]
    pub fn pull<S: Sink<T>>(&self, output: Var, lanes: usize, seed: &[T], flow: &mut Flow<T>, sink: &mut S) -> Result<(), Refusal> {
        let nodes = &self.nodes()[..=output.index()];
        let last = &nodes[output.index()];
        assert_eq!(
            seed.len(),
            lanes * last.shape.len(),
            "{lanes} cotangents of an output of shape {} are {} entries, {} were given",
            last.shape,
            lanes * last.shape.len(),
            seed.len()
        );
        let apart = match S::EXAMPLES {
            Examples::Summed => None,
            Examples::Apart => Some(self.examples(output)?),
        };
        sink.start(self, lanes, apart);
        let mut wanted = std::mem::take(&mut flow.wanted);
        wanted.clear();
        for node in nodes {
            let leads = node.leaf().map_or_else(|| node.op.inputs().any(|x| wanted[x.index()]), |leaf| sink.wants(leaf));
            wanted.push(leads);
        }
        let lanes_of = |node: &Node| match apart {
            Some(examples) if !node.per_example => lanes * examples,
            Some(_) | None => lanes,
        };
        flow.lay_out(nodes, |i, node| if wanted[i] && node.leaf().is_none() { lanes_of(node) } else { 0 });
        let mut scratch = std::mem::take(&mut flow.scratch);

        if let Some(leaf) = last.leaf() {
            if wanted[output.index()] {
                let edge = Linear::Scale { a: T::ONE, len: last.shape.len() };
                sink.take(Contribution { leaf, edge, lanes, examples: None, g: seed }, &mut scratch);
            }
        } else if wanted[output.index()] {
            let (start, _) = (flow.start[output.index()], flow.touch(output.index()));
            flow.values[start..start + seed.len()].copy_from_slice(seed);
        }
        for i in (0..nodes.len()).rev() {
            if !flow.touched[i] {
                continue;
            }
            let (node, lanes) = (&nodes[i], lanes_of(&nodes[i]));
            self.edges(Var::from_index(i), |x, edge| {
                let j = x.index();
                if !wanted[j] {
                    return;
                }
                // From examples to what they share: each example keeps its own cotangent.
                let examples = apart.filter(|_| node.per_example && !nodes[j].per_example);
                if let Some(leaf) = nodes[j].leaf() {
                    let g = &flow.values[flow.start[i]..flow.start[i + 1]];
                    sink.take(Contribution { leaf, edge, lanes, examples, g }, &mut scratch);
                    return;
                }
                let to = flow.touch(j);
                let (below, above) = flow.values.split_at_mut(flow.start[i]);
                let g = &above[..lanes * node.shape.len()];
                let target = &mut below[flow.start[j]..flow.start[j + 1]];
                edge.pull(lanes, examples, g, to, target, &mut scratch);
            });
        }
        (flow.scratch, flow.wanted) = (scratch, wanted);
        sink.finish();
        Ok(())
    }

    /// [`pull`](Tape::pull) of one lane, with a buffer of its own.
    ///
    /// # Errors
    /// As [`pull`](Tape::pull).
    #[track_caller]
    pub fn pull_once<S: Sink<T>>(&self, output: Var, seed: &[T], sink: &mut S) -> Result<(), Refusal> {
        self.pull(output, 1, seed, &mut Flow::new(), sink)
    }

    /// Number of examples of an output, if each of its entries depends on one of them alone.
    ///
    /// # Errors
    /// If the output has no axis of examples, or mixes them.
    pub fn examples(&self, output: Var) -> Result<usize, Refusal> {
        let node = self.node(output);
        if node.mixes {
            // The lowest one that the output depends on; others on the tape are none of its business.
            let mut first = node;
            while let Some(below) = first.op.inputs().map(|x| self.node(x)).find(|n| n.mixes) {
                first = below;
            }
            return Err(Refusal::MixesExamples { op: first.op.name() });
        }
        if !node.per_example {
            return Err(Refusal::NoExamples { op: node.op.name(), shape: node.shape.to_string() });
        }
        Ok(node.shape.dims()[0])
    }
}

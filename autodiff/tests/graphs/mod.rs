//! Random graphs over all operations, with tensors of several shapes.
//!
//! A graph is a few leaves and a list of steps. A step is a handful of raw numbers, read modulo what is possible at its place: its operands are
//! any earlier values of fitting shape and flag. So every list of numbers is a graph, and what proptest leaves out of a list is a smaller graph.

#[path = "steps.rs"]
mod steps;

use autodiff::{Differentiable, Op, Point, Scalar, Shape, Tape, Var};
use proptest::prelude::*;
use std::fmt;

/// One operation on values that are there already.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Which operation.
    pub kind: u8,
    /// Which operands.
    pub x: u16,
    pub y: u16,
    /// Everything else: axes, numbers, windows.
    pub choice: u16,
}

/// The shapes that leaves have. Inputs have the examples before it.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Row,
    Sites,
    Image,
    Number,
    Weight,
    Back,
    Square,
    Bias,
    Scalar,
    Table,
}

impl Kind {
    const INPUTS: [Kind; 4] = [Kind::Row, Kind::Sites, Kind::Image, Kind::Number];
    const PARAMETERS: [Kind; 8] = [Kind::Weight, Kind::Back, Kind::Square, Kind::Bias, Kind::Scalar, Kind::Table, Kind::Row, Kind::Sites];

    fn dims(self, [c, d, s]: [usize; 3]) -> Vec<usize> {
        match self {
            Kind::Row => vec![c],
            Kind::Sites => vec![s, c],
            Kind::Image => vec![3, 2, c.min(2)],
            Kind::Number | Kind::Scalar => vec![],
            Kind::Weight => vec![c, d],
            Kind::Back => vec![d, c],
            Kind::Square => vec![c, c],
            Kind::Bias => vec![d],
            Kind::Table => vec![3, c],
        }
    }
}

/// A random function.
#[derive(Clone)]
pub struct Graph {
    /// The number of every example, on which its targets depend.
    pub examples: Vec<usize>,
    /// Extents that the shapes of leaves are made of.
    pub extents: [usize; 3],
    pub inputs: Vec<Kind>,
    pub parameters: Vec<Kind>,
    pub steps: Vec<Step>,
    /// About how many values the graph has.
    pub size: usize,
    /// How far below the last value the output lies, so that some steps are dead branches.
    pub below: usize,
    pub seed: u64,
}

/// Random numbers for leaves, uniform in (−1, 1).
pub fn values(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

impl Graph {
    /// Values of the leaves, where no kink is near, if there is such a place: differences do not see the convention at a kink, but whatever lies on
    /// its other side.
    pub fn point(&self) -> Option<Point> {
        (0..20).map(|attempt| self.values_of_leaves(self.seed ^ (attempt << 40))).find(|at| {
            let (tape, _) = record(self, at);
            !tape.vars().any(|v| near_a_kink(&tape, v))
        })
    }

    fn values_of_leaves(&self, seed: u64) -> Point {
        let leaf = |i: usize, dims: &[usize]| (Shape::from(dims), values(dims.iter().product(), seed.wrapping_add(i as u64)));
        let inputs = self.inputs.iter().map(|kind| [&[self.examples.len()], &kind.dims(self.extents)[..]].concat());
        let parameters = self.parameters.iter().map(|kind| kind.dims(self.extents));
        Point {
            inputs: inputs.enumerate().map(|(i, dims)| leaf(i, &dims)).collect(),
            parameters: parameters.enumerate().map(|(i, dims)| leaf(100 + i, &dims)).collect(),
        }
    }
}

/// Records a function with the leaves of a point.
pub fn record(f: &impl Differentiable, at: &Point) -> (Tape<f64>, Var) {
    let mut tape = Tape::new();
    let parameters: Vec<Var> = at.parameters.iter().map(|(shape, x)| tape.parameter(*shape, x)).collect();
    let inputs: Vec<Var> = at.inputs.iter().map(|(shape, x)| tape.input(*shape, x)).collect();
    let output = f.record(&mut tape, &inputs, &parameters);
    (tape, output)
}

/// Whether a small step might carry the value over a kink. What is equal up to rounding is so by construction (x − x, a constant, zeros of a
/// ReLU) and stays so.
fn near_a_kink(tape: &Tape<f64>, v: Var) -> bool {
    let near = |distance: f64| distance.abs() > 1e-13 && distance.abs() < 1e-3;
    match tape.node(v).op {
        Op::Map(phi, x) if matches!(phi.name(), "relu" | "abs" | "leaky_relu") => tape.value(x).iter().any(|&x| near(x)),
        Op::MaxPool(x, windows) => {
            let c = windows.channels();
            let images = tape.value(x).chunks((windows.image()[0] * windows.image()[1] * c).max(1));
            let pairs = |image: &[f64]| (0..image.len()).any(|i| (i % c..i).step_by(c).any(|j| near(image[i] - image[j])));
            images.into_iter().any(pairs)
        }
        _ => false,
    }
}

/// Whether the function has kinks anywhere, so that it is no smooth function of large steps.
pub fn has_kinks(f: &impl Differentiable, at: &Point) -> bool {
    let (tape, _) = record(f, at);
    tape.vars().any(|v| match tape.node(v).op {
        Op::Map(phi, _) => matches!(phi.name(), "relu" | "abs" | "leaky_relu"),
        Op::MaxPool(..) => true,
        _ => false,
    })
}

impl Differentiable for Graph {
    fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], parameters: &[Var]) -> Var {
        let mut recorder = steps::Recorder::new(tape, inputs.iter().chain(parameters), &self.examples);
        for &step in &self.steps {
            if recorder.size() >= self.size {
                break;
            }
            recorder.step(step);
        }
        recorder.value(self.below)
    }
}

/// The graph as it is recorded, so that a failure can be read and written down by hand.
impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "examples {:?}, extents {:?}, seed {}", self.examples, self.extents, self.seed)?;
        writeln!(f, "inputs {:?}, parameters {:?}, size {}, {} below", self.inputs, self.parameters, self.size, self.below)?;
        writeln!(f, "steps {:?}", self.steps)?;
        // A graph that cannot be recorded is known by its steps alone.
        let recorded = std::thread::scope(|s| s.spawn(|| record(self, &self.values_of_leaves(self.seed))).join());
        let Ok((tape, output)) = recorded else { return write!(f, "which panics") };
        for v in tape.vars() {
            let node = tape.node(v);
            writeln!(f, "{v:?} = {:?} : {}{}", node.op, node.shape, if node.per_example { " per example" } else { "" })?;
        }
        write!(f, "output {output:?}")
    }
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (any::<u8>(), any::<u16>(), any::<u16>(), any::<u16>()).prop_map(|(kind, x, y, choice)| Step { kind, x, y, choice });
    prop::collection::vec(step, 0..most)
}

/// Graphs of 3 to about 40 values.
pub fn graph() -> impl Strategy<Value = Graph> {
    let extent = || prop_oneof![1 => Just(0usize), 3 => Just(1), 4 => Just(2), 4 => Just(3)];
    let examples = prop_oneof![1 => Just(0usize), 2 => Just(1), 5 => Just(3)];
    let inputs = prop::collection::vec(prop::sample::select(Kind::INPUTS.to_vec()), 1..3);
    let parameters = prop::collection::vec(prop::sample::select(Kind::PARAMETERS.to_vec()), 0..4);
    let below = prop_oneof![4 => Just(0usize), 1 => 0usize..5];
    (examples, [extent(), extent(), extent()], inputs, parameters, steps(40), 3usize..38, below, any::<u64>()).prop_map(
        |(examples, extents, inputs, parameters, steps, size, below, seed)| Graph {
            examples: (0..examples).collect(),
            extents,
            inputs,
            parameters,
            steps,
            size,
            below,
            seed,
        },
    )
}

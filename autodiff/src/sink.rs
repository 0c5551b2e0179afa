//! Sinks: what a cotangent at a leaf means.

use crate::factors::Features;
use crate::linear::Linear;
use crate::modes::Leaves;
use crate::op::Leaf;
use crate::scalar::{Scalar, Scratch};
use crate::tape::Tape;
use simd::Accumulate;

/// Whether a pull sums over examples, as a gradient does, or keeps them apart, as a Jacobian does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Examples {
    /// Cotangents at what the examples share are summed.
    Summed,
    /// Every example keeps its own.
    Apart,
}

/// The leaves that a derivative is taken with respect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrt {
    /// The inputs.
    pub inputs: bool,
    /// The parameters.
    pub parameters: bool,
}

impl Wrt {
    /// The inputs only.
    pub const INPUTS: Wrt = Wrt { inputs: true, parameters: false };
    /// The parameters only.
    pub const PARAMETERS: Wrt = Wrt { inputs: false, parameters: true };
    /// Inputs and parameters.
    pub const BOTH: Wrt = Wrt { inputs: true, parameters: true };
}

/// One edge that ends at a leaf, with the cotangents at its other end.
#[derive(Clone, Copy, Debug)]
pub struct Contribution<'t, T: Copy> {
    /// The leaf.
    pub leaf: Leaf,
    /// The derivative of the operation with respect to the leaf.
    pub edge: Linear<'t, T>,
    /// Number of cotangents in `g`.
    pub lanes: usize,
    /// `Some(N)` if examples are kept apart and the leaf is shared by the `N` examples that `g` holds in each of its lanes.
    pub examples: Option<usize>,
    /// The cotangents, `[lanes, outputs of the edge]`.
    pub g: &'t [T],
}

impl<T: Scalar> Contribution<'_, T> {
    /// The cotangent of the leaf: `[lanes, leaf]`, or `[lanes · N, leaf]` if examples are kept apart.
    pub fn pull(&self, to: Accumulate, target: &mut [T], scratch: &mut Scratch<T>) {
        self.edge.pull(self.lanes, self.examples, self.g, to, target, scratch);
    }
}

/// What becomes of the cotangents that arrive at leaves.
pub trait Sink<T: Scalar> {
    /// Whether examples are summed or kept apart.
    const EXAMPLES: Examples;
    /// The leaves that the sink wants to hear of.
    fn wrt(&self) -> Wrt;
    /// Whether it wants to hear of this one of them. Nothing is pulled to what leads to none.
    fn wants(&self, leaf: Leaf) -> bool {
        match leaf {
            Leaf::Constant => false,
            Leaf::Input(_) => self.wrt().inputs,
            Leaf::Parameter(_) => self.wrt().parameters,
        }
    }
    /// Called before the first contribution; `examples` is their number if they are kept apart.
    fn start(&mut self, tape: &Tape<T>, lanes: usize, examples: Option<usize>);
    /// Called for every edge that ends at a leaf. `scratch` is memory for [`Linear::apply`].
    fn take(&mut self, contribution: Contribution<'_, T>, scratch: &mut Scratch<T>);
    /// Called after the last contribution.
    fn finish(&mut self);
}

/// Buffers for the leaves of one kind, in the order of their recording; a leaf that nothing reaches holds zeros.
#[derive(Clone, Debug, Default)]
struct Buffers<T> {
    inputs: Vec<(Vec<T>, bool)>,
    parameters: Vec<(Vec<T>, bool)>,
}

impl<T: Scalar> Buffers<T> {
    fn start(&mut self, tape: &Tape<T>, wrt: Wrt, lanes_inputs: usize, lanes_parameters: usize) {
        let count = |wanted: bool, n: usize| if wanted { n } else { 0 };
        self.inputs.resize_with(count(wrt.inputs, tape.n_inputs()), Default::default);
        self.parameters.resize_with(count(wrt.parameters, tape.parameters().len()), Default::default);
        for node in tape.nodes() {
            let (slot, lanes) = match node.leaf() {
                Some(Leaf::Input(i)) => (self.inputs.get_mut(i), lanes_inputs),
                Some(Leaf::Parameter(i)) => (self.parameters.get_mut(i), lanes_parameters),
                Some(Leaf::Constant) | None => continue,
            };
            if let Some((values, touched)) = slot {
                let len = lanes * node.shape.len();
                if values.len() < len {
                    // Nothing in it is needed any more, so that it is not copied.
                    *values = Vec::new();
                    *values = simd::zeros(T::ZERO, len);
                }
                values.truncate(len);
                *touched = false;
            }
        }
    }

    fn take(&mut self, contribution: &Contribution<'_, T>, scratch: &mut Scratch<T>) {
        let (values, touched) = match contribution.leaf {
            Leaf::Input(i) => &mut self.inputs[i],
            Leaf::Parameter(i) => &mut self.parameters[i],
            Leaf::Constant => unreachable!("nothing is pulled to constants"),
        };
        let to = if std::mem::replace(touched, true) { Accumulate::Add } else { Accumulate::Set };
        contribution.pull(to, values, scratch);
    }

    fn finish(&mut self) {
        for (values, touched) in self.inputs.iter_mut().chain(&mut self.parameters) {
            if !*touched {
                values.fill(T::ZERO);
            }
        }
    }
}

/// The gradient: cotangents summed over uses and over examples, `[lanes, leaf]`.
#[derive(Clone, Debug)]
pub struct Gradient<T> {
    wrt: Wrt,
    buffers: Buffers<T>,
}

impl<T: Scalar> Gradient<T> {
    /// A gradient with respect to the given leaves. Its memory is reused by every pull into it.
    pub fn new(wrt: Wrt) -> Self {
        Gradient { wrt, buffers: Buffers::default() }
    }

    /// The gradient of the `i`-th parameter.
    pub fn parameter(&self, i: usize) -> &[T] {
        &self.buffers.parameters[i].0
    }

    /// The gradient of the `i`-th input.
    pub fn input(&self, i: usize) -> &[T] {
        &self.buffers.inputs[i].0
    }

    /// The gradients of all inputs.
    pub fn inputs(&self) -> impl Iterator<Item = &[T]> {
        self.buffers.inputs.iter().map(|(values, _)| &values[..])
    }

    /// All of it, copied.
    pub fn leaves(&self) -> Leaves<T> {
        Leaves { inputs: self.inputs().map(<[T]>::to_vec).collect(), parameters: self.parameters().map(<[T]>::to_vec).collect() }
    }

    /// Chooses other leaves for the pulls that follow.
    pub fn set_wrt(&mut self, wrt: Wrt) {
        self.wrt = wrt;
    }

    /// The gradients of all parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &[T]> {
        self.buffers.parameters.iter().map(|(values, _)| &values[..])
    }
}

impl<T: Scalar> Sink<T> for Gradient<T> {
    const EXAMPLES: Examples = Examples::Summed;
    fn wrt(&self) -> Wrt {
        self.wrt
    }
    fn start(&mut self, tape: &Tape<T>, lanes: usize, _: Option<usize>) {
        self.buffers.start(tape, self.wrt, lanes, lanes);
    }
    fn take(&mut self, contribution: Contribution<'_, T>, scratch: &mut Scratch<T>) {
        self.buffers.take(&contribution, scratch);
    }
    fn finish(&mut self) {
        self.buffers.finish();
    }
}

/// The per-example Jacobian of the parameters: cotangents summed over uses only, `[lanes, examples, parameter]`.
#[derive(Clone, Debug, Default)]
pub struct PerExample<T> {
    buffers: Buffers<T>,
}

impl<T: Scalar> PerExample<T> {
    /// An empty Jacobian. Its memory is reused by every pull into it.
    pub fn new() -> Self {
        PerExample { buffers: Buffers { inputs: Vec::new(), parameters: Vec::new() } }
    }

    /// The derivatives of the `i`-th parameter, `[lanes, examples, parameter]`.
    pub fn parameter(&self, i: usize) -> &[T] {
        &self.buffers.parameters[i].0
    }

    /// Number of parameters.
    pub fn n_parameters(&self) -> usize {
        self.buffers.parameters.len()
    }
}

impl<T: Scalar> Sink<T> for PerExample<T> {
    const EXAMPLES: Examples = Examples::Apart;
    fn wrt(&self) -> Wrt {
        Wrt::PARAMETERS
    }
    fn start(&mut self, tape: &Tape<T>, lanes: usize, examples: Option<usize>) {
        self.buffers.start(tape, Wrt::PARAMETERS, lanes, lanes * examples.unwrap_or(1));
    }
    fn take(&mut self, contribution: Contribution<'_, T>, scratch: &mut Scratch<T>) {
        self.buffers.take(&contribution, scratch);
    }
    fn finish(&mut self) {
        self.buffers.finish();
    }
}

/// One use of a parameter, as the per-example derivative that it contributes.
#[derive(Clone, Debug)]
pub enum Use<T> {
    /// A weight that multiplies features: `dW[k, i] = scale · Σ_s x[i, s] ⊗ g[k, i, s]` for lane `k`, example `i` and sites `s`.
    Outer {
        /// The features, `[examples · sites, n_in]`.
        x: Vec<T>,
        /// The cotangents, `[lanes, examples · sites, n_out]`.
        g: Vec<T>,
        /// Extent of a row of `x`.
        n_in: usize,
        /// Extent of a row of `g`.
        n_out: usize,
        /// The scale of the product.
        scale: T,
    },
    /// A bias, which is a weight that multiplies 1: `dβ[k, i] = scale · Σ_s g[k, i, s]`.
    Ones {
        /// The cotangents, `[lanes, examples · sites, n_out]`.
        g: Vec<T>,
        /// Extent of a row of `g`.
        n_out: usize,
        /// The scale of the bias.
        scale: T,
    },
    /// Anything else, written out: `[lanes, examples, parameter]`.
    Rows(Vec<T>),
}

/// The per-example derivatives with their factors kept apart: features and cotangents, unmultiplied, for every use of a parameter.
#[derive(Clone, Debug, Default)]
pub struct Factors<T> {
    uses: Vec<Vec<Use<T>>>,
    lanes: usize,
    examples: usize,
}

impl<T: Scalar> Factors<T> {
    /// No factors yet.
    pub fn new() -> Self {
        Factors { uses: Vec::new(), lanes: 0, examples: 0 }
    }

    /// The uses of each parameter, in the order of their recording.
    pub fn uses(&self) -> &[Vec<Use<T>>] {
        &self.uses
    }

    /// Number of lanes of the pull.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Number of examples.
    pub fn examples(&self) -> usize {
        self.examples
    }
}

impl<T: Scalar> Sink<T> for Factors<T> {
    const EXAMPLES: Examples = Examples::Apart;
    fn wrt(&self) -> Wrt {
        Wrt::PARAMETERS
    }
    fn start(&mut self, tape: &Tape<T>, lanes: usize, examples: Option<usize>) {
        (self.lanes, self.examples) = (lanes, examples.unwrap_or(1));
        self.uses.clear();
        self.uses.resize_with(tape.parameters().len(), Vec::new);
    }
    fn take(&mut self, contribution: Contribution<'_, T>, scratch: &mut Scratch<T>) {
        let Leaf::Parameter(parameter) = contribution.leaf else { unreachable!("only parameters are wanted") };
        let g = contribution.g;
        let found = match (contribution.examples, contribution.edge) {
            (Some(_), Linear::Left { x: Features::Windows { images, n, windows, .. }, a, cols, batches: 1 }) => {
                let patches = Linear::Patches { windows, images: n };
                let mut x = vec![T::ZERO; patches.outputs()];
                patches.apply(1, images, Accumulate::Set, &mut x, scratch);
                Use::Outer { x, g: g.to_vec(), n_in: windows.cells() * windows.channels(), n_out: cols, scale: a }
            }
            (Some(_), Linear::Left { x: Features::Stack(x), a, cols, batches: 1 }) => {
                let x = x.matrix(0);
                let features = match x.as_slice() {
                    Some(all) => all.to_vec(),
                    None => (0..x.rows()).flat_map(|i| (0..x.cols()).map(move |j| x.at(i, j))).collect(),
                };
                Use::Outer { x: features, g: g.to_vec(), n_in: x.cols(), n_out: cols, scale: a }
            }
            (Some(_), Linear::Broadcast { axis, a }) if axis.outer == 1 => Use::Ones { g: g.to_vec(), n_out: axis.inner, scale: a },
            (
                Some(_) | None,
                Linear::Scale { .. }
                | Linear::Diag { .. }
                | Linear::Slope { .. }
                | Linear::Right { .. }
                | Linear::Left { .. }
                | Linear::Transpose { .. }
                | Linear::Sum { .. }
                | Linear::Broadcast { .. }
                | Linear::RowDot { .. }
                | Linear::RowSpread { .. }
                | Linear::Index { .. }
                | Linear::Scatter { .. }
                | Linear::Pool { .. }
                | Linear::Unpool { .. }
                | Linear::Patches { .. }
                | Linear::Unpatches { .. },
            ) => {
                let mut rows = vec![T::ZERO; self.lanes * self.examples * contribution.edge.inputs()];
                contribution.pull(Accumulate::Set, &mut rows, scratch);
                Use::Rows(rows)
            }
        };
        self.uses[parameter].push(found);
    }
    fn finish(&mut self) {}
}

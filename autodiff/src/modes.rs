//! The derivatives that people ask for, each a few lines over push and pull.
//!
//! | | formula | one pass costs about |
//! |---|---|---|
//! | [`Linearized::jvp`] | `J·t` | 1 to 2 evaluations |
//! | [`Linearized::vjp`] | `Jᵀ·c` | 2 evaluations |
//! | [`Linearized::jacobian`] | `J` | as many of the cheaper of these as it has columns or rows |
//! | [`Linearized::per_example_jacobian`] | `∂f_a(x_i)/∂θ` | one pull with a lane for each output |
//! | [`Linearized::gauss_newton`] | `Jᵀ·B·J·t` | a push and a pull |
//! | [`Hessian::product`](crate::Hessian::product) | `∇²⟨c, f⟩·t` | recording and pulling duals, 8 evaluations |
//! | [`Taylor`](crate::Taylor) | `f + J·d + ½·d·∇²f·d` | a push; a recording of duals of duals |
//!
//! Everywhere `lanes` directions go in one pass, one after the other in memory.

use crate::check::{Differentiable, Point};
use crate::flow::{Flow, Refusal};
use crate::op::{Leaf, Var};
use crate::scalar::Scalar;
use crate::sink::{Gradient, PerExample, Wrt};
use crate::tape::Tape;

/// A vector for every leaf: a direction, or a gradient. Each holds `[lanes, leaf]`.
///
/// Leaves beyond the end of a list count as zero, so `Leaves::of_parameters(..)` is a direction that leaves the inputs where they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Leaves<T> {
    /// Those of the inputs.
    pub inputs: Vec<Vec<T>>,
    /// Those of the parameters.
    pub parameters: Vec<Vec<T>>,
}

impl<T> Leaves<T> {
    /// Those of the parameters alone.
    pub fn of_parameters(parameters: Vec<Vec<T>>) -> Self {
        Leaves { inputs: Vec::new(), parameters }
    }

    /// Those of the inputs alone.
    pub fn of_inputs(inputs: Vec<Vec<T>>) -> Self {
        Leaves { inputs, parameters: Vec::new() }
    }

    /// That of a leaf, unless it is zero.
    pub fn get(&self, leaf: Leaf) -> Option<&[T]> {
        match leaf {
            Leaf::Constant => None,
            Leaf::Input(i) => self.inputs.get(i).map(|v| &v[..]),
            Leaf::Parameter(i) => self.parameters.get(i).map(|v| &v[..]),
        }
    }
}

/// A Jacobian, block by block: `[rows, leaf]` for each leaf, or `[rows, an example of the leaf]` for the inputs of a per-example one.
#[derive(Clone, Debug, PartialEq)]
pub struct Jacobian<T> {
    /// The rows of every block: entries of the output.
    pub rows: usize,
    /// The blocks.
    pub blocks: Leaves<T>,
}

/// How a Jacobian is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Column by column, pushing.
    Forward,
    /// Row by row, pulling.
    Reverse,
}

/// Lanes of one pass of a Jacobian, which bound its memory.
const LANES: usize = 64;

/// Records leaves, parameters first.
pub(crate) fn leaves<T: Scalar, U: Scalar>(tape: &mut Tape<U>, at: &Point<T>, lift: impl Fn(T) -> U) -> (Vec<Var>, Vec<Var>) {
    let lift = |x: &[T]| x.iter().map(|&x| lift(x)).collect::<Vec<_>>();
    let parameters = at.parameters.iter().map(|(shape, x)| tape.parameter(*shape, &lift(x))).collect();
    let inputs = at.inputs.iter().map(|(shape, x)| tape.input(*shape, &lift(x))).collect();
    (inputs, parameters)
}

/// A function at a point: one recording, for any number of tangents and cotangents.
///
/// ```
/// use autodiff::{Differentiable, Leaves, Point, Scalar, Shape, Tape, Var, Wrt, linearize};
/// struct Norm;
/// impl Differentiable for Norm {
///     fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], _: &[Var]) -> Var {
///         tape.norm(inputs[0])
///     }
/// }
/// let at = Point { inputs: vec![(Shape::from([1, 2]), vec![3.0, 4.0])], parameters: vec![] };
/// let mut norm = linearize(&Norm, &at);
/// assert_eq!(norm.value(), [5.0]);
/// // Two directions at once.
/// assert_eq!(norm.jvp(2, &Leaves::of_inputs(vec![vec![1.0, 0.0, 0.0, 10.0]])), [0.6, 8.0]);
/// assert_eq!(norm.vjp(1, &[10.0], Wrt::INPUTS).input(0), [6.0, 8.0]);
/// assert_eq!(norm.jacobian(Wrt::INPUTS).blocks.inputs, [[0.6, 0.8]]);
/// ```
#[derive(Clone, Debug)]
pub struct Linearized<T: Scalar> {
    tape: Tape<T>,
    output: Var,
    flow: Flow<T>,
    gradient: Gradient<T>,
    pushed: Vec<T>,
}

impl<T: Scalar> Linearized<T> {
    /// Records `f` at a point.
    pub fn new<F: Differentiable>(f: &F, at: &Point<T>) -> Self {
        let mut tape = Tape::new();
        let (inputs, parameters) = leaves(&mut tape, at, |x| x);
        let output = f.record(&mut tape, &inputs, &parameters);
        Linearized { tape, output, flow: Flow::new(), gradient: Gradient::new(Wrt::BOTH), pushed: Vec::new() }
    }

    /// `f`.
    pub fn value(&self) -> &[T] {
        self.tape.value(self.output)
    }

    /// The recording.
    pub fn tape(&self) -> &Tape<T> {
        &self.tape
    }

    /// The output on the tape.
    pub fn output(&self) -> Var {
        self.output
    }

    /// `J·t` for each of `lanes` tangents: `[lanes, output]`.
    ///
    /// # Panics
    /// If a tangent has not `lanes` times the length of its leaf.
    #[track_caller]
    pub fn jvp(&mut self, lanes: usize, tangent: &Leaves<T>) -> &[T] {
        self.check(lanes, tangent);
        self.pushed.clear();
        match self.tape.push(self.output, lanes, |leaf| tangent.get(leaf), &mut self.flow) {
            Some(dy) => self.pushed.extend_from_slice(dy),
            None => self.pushed.resize(lanes * self.tape.value(self.output).len(), T::ZERO),
        }
        &self.pushed
    }

    /// `Jᵀ·c` for each of `lanes` cotangents `[lanes, output]`.
    ///
    /// # Panics
    /// If there are not `lanes` cotangents of the length of the output.
    #[track_caller]
    pub fn vjp(&mut self, lanes: usize, cotangent: &[T], wrt: Wrt) -> &Gradient<T> {
        self.gradient.set_wrt(wrt);
        let pulled = self.tape.pull(self.output, lanes, cotangent, &mut self.flow, &mut self.gradient);
        pulled.expect("a gradient sums over examples and is never refused");
        &self.gradient
    }

    /// The mode in which the Jacobian needs fewer passes: forward where the leaves have fewer entries than the output.
    pub fn cheaper(&self, wrt: Wrt) -> Mode {
        let entries: usize = self.leaves(wrt).map(|v| self.tape.shape(v).len()).sum();
        if entries < self.value().len() { Mode::Forward } else { Mode::Reverse }
    }

    /// The Jacobian, in the [cheaper](Linearized::cheaper) mode.
    pub fn jacobian(&mut self, wrt: Wrt) -> Jacobian<T> {
        self.jacobian_by(self.cheaper(wrt), wrt)
    }

    /// The Jacobian, in the given mode.
    pub fn jacobian_by(&mut self, mode: Mode, wrt: Wrt) -> Jacobian<T> {
        match mode {
            Mode::Reverse => self.rows(wrt),
            Mode::Forward => self.columns(wrt),
        }
    }

    fn rows(&mut self, wrt: Wrt) -> Jacobian<T> {
        let rows = self.value().len();
        let mut blocks = self.zero_blocks(rows, wrt);
        for first in (0..rows).step_by(LANES) {
            let lanes = LANES.min(rows - first);
            let mut seed = vec![T::ZERO; lanes * rows];
            (0..lanes).for_each(|k| seed[k * rows + first + k] = T::ONE);
            let gradient = self.vjp(lanes, &seed, wrt);
            let found = |leaf: Leaf| match leaf {
                Leaf::Constant => &[],
                Leaf::Input(i) => gradient.input(i),
                Leaf::Parameter(i) => gradient.parameter(i),
            };
            each_block(&mut blocks, |leaf, block| {
                let part = found(leaf);
                block[first * part.len() / lanes..][..part.len()].copy_from_slice(part);
            });
        }
        Jacobian { rows, blocks }
    }

    fn columns(&mut self, wrt: Wrt) -> Jacobian<T> {
        let rows = self.value().len();
        let mut blocks = self.zero_blocks(rows, wrt);
        let sizes: Vec<(Leaf, usize)> =
            self.leaves(wrt).filter_map(|v| Some((self.tape.node(v).leaf()?, self.tape.shape(v).len()))).collect();
        for (leaf, len) in sizes {
            for first in (0..len).step_by(LANES) {
                let lanes = LANES.min(len - first);
                let mut tangent = vec![T::ZERO; lanes * len];
                (0..lanes).for_each(|k| tangent[k * len + first + k] = T::ONE);
                let Some(dy) = self.tape.push(self.output, lanes, |l| (l == leaf).then_some(&tangent[..]), &mut self.flow) else {
                    continue;
                };
                each_block(&mut blocks, |l, block| {
                    for (k, row) in (0..lanes).flat_map(|k| (0..rows).map(move |row| (k, row))).filter(|_| l == leaf) {
                        block[row * len + first + k] = dy[k * rows + row];
                    }
                });
            }
        }
        Jacobian { rows, blocks }
    }

    /// The derivatives of every example alone: `[examples, outputs, parameter]` for the parameters, and for the inputs
    /// `[examples, outputs, an example]`, that of an example by itself. All outputs of an example go back as lanes of one pull.
    ///
    /// # Errors
    /// If the output has no examples, or mixes them: a mean over a batch has no derivative of one example alone.
    pub fn per_example_jacobian(&mut self, wrt: Wrt) -> Result<Jacobian<T>, Refusal> {
        let examples = self.tape.examples(self.output)?;
        let outputs = self.tape.shape(self.output).axes(1..self.tape.shape(self.output).rank()).n;
        let mut seed = vec![T::ZERO; outputs * examples * outputs];
        for a in 0..outputs {
            (0..examples).for_each(|i| seed[(a * examples + i) * outputs + a] = T::ONE);
        }
        let mut blocks = Leaves { inputs: Vec::new(), parameters: Vec::new() };
        let ordered = |found: &[T]| -> Vec<T> {
            let len = found.len() / (outputs * examples).max(1);
            let row = |i: usize, a: usize| &found[(a * examples + i) * len..][..len];
            (0..examples).flat_map(|i| (0..outputs).flat_map(move |a| row(i, a))).copied().collect()
        };
        if wrt.parameters {
            let mut rows = PerExample::new();
            self.tape.pull(self.output, outputs, &seed, &mut self.flow, &mut rows)?;
            blocks.parameters = (0..rows.n_parameters()).map(|p| ordered(rows.parameter(p))).collect();
        }
        if wrt.inputs {
            // No example feels another, so their cotangents can go back side by side.
            let gradient = self.vjp(outputs, &seed, Wrt::INPUTS);
            blocks.inputs = gradient.inputs().map(ordered).collect();
        }
        Ok(Jacobian { rows: examples * outputs, blocks })
    }

    /// `Jᵀ·B·J·t` for each of `lanes` tangents: a Gauss–Newton product, with `B` the Hessian of the loss with respect to the outputs, which
    /// `curvature` applies in place to `J·t`, `[lanes, output]`. For `½ Σ (f − y)²` it is the identity.
    ///
    /// # Panics
    /// If a tangent has not `lanes` times the length of its leaf.
    #[track_caller]
    pub fn gauss_newton(&mut self, lanes: usize, tangent: &Leaves<T>, curvature: impl FnOnce(&mut [T]), wrt: Wrt) -> &Gradient<T> {
        self.jvp(lanes, tangent);
        let mut curved = std::mem::take(&mut self.pushed);
        curvature(&mut curved);
        self.vjp(lanes, &curved, wrt);
        self.pushed = curved;
        &self.gradient
    }

    fn leaves(&self, wrt: Wrt) -> impl Iterator<Item = Var> + '_ {
        self.tape.vars().filter(move |&v| match self.tape.node(v).leaf() {
            Some(Leaf::Input(_)) => wrt.inputs,
            Some(Leaf::Parameter(_)) => wrt.parameters,
            Some(Leaf::Constant) | None => false,
        })
    }

    fn zero_blocks(&self, rows: usize, wrt: Wrt) -> Leaves<T> {
        let mut blocks = Leaves { inputs: Vec::new(), parameters: Vec::new() };
        for v in self.leaves(wrt) {
            let block = vec![T::ZERO; rows * self.tape.shape(v).len()];
            match self.tape.node(v).leaf() {
                Some(Leaf::Input(_)) => blocks.inputs.push(block),
                Some(Leaf::Parameter(_)) => blocks.parameters.push(block),
                Some(Leaf::Constant) | None => (),
            }
        }
        blocks
    }

    #[track_caller]
    fn check(&self, lanes: usize, tangent: &Leaves<T>) {
        for v in self.leaves(Wrt::BOTH) {
            let (leaf, shape) = (self.tape.node(v).leaf(), self.tape.shape(v));
            if let Some(t) = leaf.and_then(|leaf| tangent.get(leaf)) {
                assert_eq!(t.len(), lanes * shape.len(), "{lanes} tangents of a leaf of shape {shape}, given {} entries", t.len());
            }
        }
    }
}

/// Records `f` at a point, once, for any number of tangents and cotangents: [`Linearized::new`].
pub fn linearize<T: Scalar, F: Differentiable>(f: &F, at: &Point<T>) -> Linearized<T> {
    Linearized::new(f, at)
}

fn each_block<T>(blocks: &mut Leaves<T>, mut f: impl FnMut(Leaf, &mut [T])) {
    blocks.inputs.iter_mut().enumerate().for_each(|(i, block)| f(Leaf::Input(i), block));
    blocks.parameters.iter_mut().enumerate().for_each(|(i, block)| f(Leaf::Parameter(i), block));
}

/// The value and the gradient of a function with one output.
///
/// ```
/// use autodiff::{Differentiable, Point, Scalar, Shape, Tape, Var, value_and_gradient};
/// struct Cube;
/// impl Differentiable for Cube {
///     fn record<T: Scalar>(&self, tape: &mut Tape<T>, _: &[Var], parameters: &[Var]) -> Var {
///         tape.powf(parameters[0], 3.0)
///     }
/// }
/// let at = Point { inputs: vec![], parameters: vec![(Shape::scalar(), vec![2.0])] };
/// let (value, gradient) = value_and_gradient(&Cube, &at);
/// assert_eq!((value, &gradient.parameters[0][..]), (8.0, &[12.0][..]));
/// ```
///
/// # Panics
/// If the function has another number of outputs.
#[track_caller]
pub fn value_and_gradient<T: Scalar, F: Differentiable>(f: &F, at: &Point<T>) -> (T, Leaves<T>) {
    let mut linear = Linearized::new(f, at);
    let &[value] = linear.value() else {
        panic!("a gradient is of one number, and the output has shape {}", linear.tape.shape(linear.output))
    };
    (value, linear.vjp(1, &[T::ONE], Wrt::BOTH).leaves())
}

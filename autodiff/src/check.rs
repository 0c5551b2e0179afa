//! Checks that every derivative of a function is right, against differences and by several routes against itself.

use crate::dual::Dual;
use crate::flow::Flow;
use crate::op::{Leaf, Var};
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::sink::{Gradient, PerExample, Wrt};
use crate::tape::Tape;
use thiserror::Error;

/// A function that records itself on a tape of any scalar, so that duals can run through it.
pub trait Differentiable {
    /// Records the function of the given leaves, and returns its output.
    fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], parameters: &[Var]) -> Var;
}

/// Where a derivative is taken: shapes and values of the leaves.
#[derive(Clone, Debug, Default)]
pub struct Point<T = f64> {
    /// Inputs, with axis 0 the examples.
    pub inputs: Vec<(Shape, Vec<T>)>,
    /// Parameters.
    pub parameters: Vec<(Shape, Vec<T>)>,
}

/// The errors that were found, each relative to `1 + ` the norms of what was compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checked {
    /// Push against 5-point differences.
    pub differences: f64,
    /// `⟨c, J t⟩` against `⟨Jᵀ c, t⟩`.
    pub adjoint: f64,
    /// Push against duals.
    pub duals: f64,
    /// `⟨t', H t⟩` by a reverse pass over duals against a forward pass over duals of duals.
    pub second_order: f64,
    /// `⟨t', H t⟩` against `⟨t, H t'⟩`.
    pub symmetry: f64,
    /// Two lanes at once against one after the other.
    pub lanes: f64,
    /// Per-example gradients of two lanes, summed, against the gradients; 0 if the output has no examples.
    pub per_example: f64,
}

/// The largest errors that are tolerated, in the order of the fields of [`Checked`].
const BOUNDS: Checked =
    Checked { differences: 1e-9, adjoint: 1e-13, duals: 1e-14, second_order: 1e-12, symmetry: 1e-12, lanes: 1e-14, per_example: 1e-13 };

/// A law of derivatives that does not hold.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{law} differ by {error:e} (relative to 1 + the norms), and at most {bound:e} is rounding")]
pub struct CheckError {
    /// What was compared.
    pub law: &'static str,
    /// The error found.
    pub error: f64,
    /// The error allowed.
    pub bound: f64,
}

/// Random numbers for directions: SplitMix64 (Steele, Lea and Flood 2014), uniform in (−1, 1).
struct Directions(u64);

impl Directions {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn vector(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| self.next()).collect()
    }

    fn tangent(&mut self, at: &Point) -> Tangent {
        let mut draw = |leaves: &[(Shape, Vec<f64>)]| leaves.iter().map(|(_, x)| self.vector(x.len())).collect();
        Tangent { inputs: draw(&at.inputs), parameters: draw(&at.parameters) }
    }
}

/// A direction: one vector for each leaf.
struct Tangent {
    inputs: Vec<Vec<f64>>,
    parameters: Vec<Vec<f64>>,
}

impl Tangent {
    fn of(&self, leaf: Leaf) -> Option<&[f64]> {
        match leaf {
            Leaf::Constant => None,
            Leaf::Input(i) => Some(&self.inputs[i]),
            Leaf::Parameter(i) => Some(&self.parameters[i]),
        }
    }

    fn all(&self) -> impl Iterator<Item = f64> + '_ {
        self.inputs.iter().chain(&self.parameters).flatten().copied()
    }
}

/// Records `f` with every leaf entry made from its value and its place in the tangents.
fn record<T: Scalar, F: Differentiable>(f: &F, at: &Point, entry: impl Fn(f64, Leaf, usize) -> T) -> (Tape<T>, Var) {
    let mut tape = Tape::new();
    let lift = |x: &[f64], leaf: Leaf| -> Vec<T> { x.iter().enumerate().map(|(i, &x)| entry(x, leaf, i)).collect() };
    let parameters: Vec<Var> =
        (at.parameters.iter().enumerate()).map(|(i, (shape, x))| tape.parameter(*shape, &lift(x, Leaf::Parameter(i)))).collect();
    let inputs: Vec<Var> = at.inputs.iter().enumerate().map(|(i, (shape, x))| tape.input(*shape, &lift(x, Leaf::Input(i)))).collect();
    let output = f.record(&mut tape, &inputs, &parameters);
    (tape, output)
}

fn entry(tangent: &Tangent, leaf: Leaf, i: usize) -> f64 {
    tangent.of(leaf).map_or(0.0, |t| t[i])
}

fn dot(x: &[f64], y: impl IntoIterator<Item = f64>) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x.iter().copied()).sqrt()
}

/// `|x − y|` relative to `1 + |y|`; NaN counts as infinitely wrong.
fn error(x: &[f64], y: &[f64]) -> f64 {
    let difference: Vec<f64> = x.iter().zip(y).map(|(x, y)| x - y).collect();
    or_infinite(norm(&difference) / (1.0 + norm(y)))
}

fn or_infinite(error: f64) -> f64 {
    if error.is_nan() { f64::INFINITY } else { error }
}

/// Gradient of `⟨c, f⟩` with respect to all leaves, in one row.
fn gradient<T: Scalar>(tape: &Tape<T>, output: Var, lanes: usize, c: &[T]) -> Vec<Vec<T>> {
    let mut gradient = Gradient::new(Wrt::BOTH);
    tape.pull(output, lanes, c, &mut Flow::new(), &mut gradient).expect("a gradient sums over examples and is never refused");
    let mut rows = vec![Vec::new(); lanes];
    let inputs = (0..tape.n_inputs()).map(|i| gradient.input(i));
    for leaf in inputs.chain(gradient.parameters()) {
        let len = leaf.len() / lanes;
        for (k, row) in rows.iter_mut().enumerate() {
            row.extend_from_slice(&leaf[k * len..(k + 1) * len]);
        }
    }
    rows
}

/// Measures how well `f` obeys the laws of derivatives at a point, along directions drawn from `seed`.
///
/// Differences are taken with steps of 1e-3, 1e-4 and 1e-5 and the best counts, so that a kink nearby (ReLU) does no harm.
pub(crate) fn measure<F: Differentiable>(f: &F, at: &Point, seed: u64) -> Checked {
    let mut directions = Directions(seed);
    let (t, s) = (directions.tangent(at), directions.tangent(at));
    let (tape, output) = record(f, at, |x, _, _| x);
    let n = tape.value(output).len();
    let (c, c2) = (directions.vector(n), directions.vector(n));
    let mut flow = Flow::new();
    let jt = tape.push(output, 1, |leaf| t.of(leaf), &mut flow).map_or(vec![0.0; n], <[f64]>::to_vec);

    // Five points: f' = (f(−2h) − 8f(−h) + 8f(h) − f(2h))/12h + O(h⁴).
    let shifted = |h: f64| {
        let (tape, output) = record(f, at, |x, leaf, i| x + h * entry(&t, leaf, i));
        tape.value(output).to_vec()
    };
    let differences = [1e-3, 1e-4, 1e-5].into_iter().map(|h| {
        let [a, b, c, d] = [-2.0 * h, -h, h, 2.0 * h].map(shifted);
        let slope: Vec<f64> = (0..n).map(|i| (a[i] - 8.0 * b[i] + 8.0 * c[i] - d[i]) / (12.0 * h)).collect();
        error(&jt, &slope)
    });

    let along = |dual: f64, leaf: Leaf, i: usize| Dual { re: dual, eps: entry(&t, leaf, i) };
    let (dual_tape, dual_output) = record(f, at, along);
    let dual_jt: Vec<f64> = dual_tape.value(dual_output).iter().map(|d| d.eps).collect();

    let jc = gradient(&tape, output, 1, &c).remove(0);
    let (forward, reverse) = (dot(&jt, c.iter().copied()), dot(&jc, t.all()));

    // The Hessian of ⟨c, f⟩ along t and t', by three routes.
    let hessian = |tape: &Tape<Dual<f64>>, output: Var| -> Vec<f64> {
        let c: Vec<_> = c.iter().map(|&c| Dual::of(c)).collect();
        gradient(tape, output, 1, &c).remove(0).iter().map(|d| d.eps).collect()
    };
    let sht = dot(&hessian(&dual_tape, dual_output), s.all());
    let (other_tape, other_output) = record(f, at, |x, leaf, i| Dual { re: x, eps: entry(&s, leaf, i) });
    let ths = dot(&hessian(&other_tape, other_output), t.all());
    let (twice_tape, twice_output) =
        record(f, at, |x, leaf, i| Dual { re: Dual { re: x, eps: entry(&s, leaf, i) }, eps: Dual { re: entry(&t, leaf, i), eps: 0.0 } });
    let twice = dot(&c, twice_tape.value(twice_output).iter().map(|d| d.eps.eps));

    let two: Vec<f64> = c.iter().chain(&c2).copied().collect();
    let together = gradient(&tape, output, 2, &two).concat();
    let apart = [jc, gradient(&tape, output, 1, &c2).remove(0)].concat();

    Checked {
        differences: differences.fold(f64::INFINITY, f64::min),
        adjoint: or_infinite((forward - reverse).abs() / (1.0 + norm(&jt) * norm(&c))),
        duals: error(&jt, &dual_jt),
        second_order: or_infinite((sht - twice).abs() / (1.0 + twice.abs())),
        symmetry: or_infinite((sht - ths).abs() / (1.0 + ths.abs())),
        lanes: error(&together, &apart),
        per_example: per_example(&tape, output, &two),
    }
}

/// Per-example gradients of two lanes, summed, against the gradients.
fn per_example(tape: &Tape<f64>, output: Var, two: &[f64]) -> f64 {
    let Ok(examples) = tape.examples(output) else { return 0.0 };
    let (mut rows, mut whole, mut flow) = (PerExample::new(), Gradient::new(Wrt::PARAMETERS), Flow::new());
    if tape.pull(output, 2, two, &mut flow, &mut rows).is_err() || tape.pull(output, 2, two, &mut flow, &mut whole).is_err() {
        return f64::INFINITY;
    }
    let errors = (0..rows.n_parameters()).map(|p| {
        let (rows, whole) = (rows.parameter(p), whole.parameter(p));
        let len = whole.len() / 2;
        let sum = |lane: usize, j: usize| (0..examples).map(|i| rows[(lane * examples + i) * len + j]).sum();
        let sums: Vec<f64> = (0..2 * len).map(|e| sum(e / len, e % len)).collect();
        error(&sums, whole)
    });
    errors.fold(0.0, f64::max)
}

/// Checks the derivatives of `f` at a point, along directions that are drawn from `seed`:
///
/// | law | bound |
/// |---|---|
/// | push against 5-point differences | 1e-9 |
/// | adjoint: `⟨c, J t⟩ = ⟨Jᵀ c, t⟩` | 1e-13 |
/// | push against dual numbers | 1e-14 |
/// | Hessian by a reverse pass over duals and by duals of duals | 1e-12 |
/// | the Hessian is symmetric | 1e-12 |
/// | several lanes at once and one by one | 1e-14 |
/// | per-example gradients sum to the gradient | 1e-13 |
///
/// Errors are relative to `1 + ` the norms of what is compared. What holds where a derivative does not exist is in the
/// [conventions](crate#conventions).
///
/// ```
/// use autodiff::{Differentiable, Phi, Point, Scalar, Shape, Tape, Var, check_grads};
/// struct Layer;
/// impl Differentiable for Layer {
///     fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], parameters: &[Var]) -> Var {
///         let z = tape.affine(inputs[0], parameters[0], 0.5, Some((parameters[1], 0.1)));
///         tape.map(Phi::Tanh, z)
///     }
/// }
/// let at = Point {
///     inputs: vec![(Shape::from([2, 1]), vec![0.3, -0.8])],
///     parameters: vec![(Shape::from([1, 2]), vec![1.0, -2.0]), (Shape::from([2]), vec![0.5, 0.25])],
/// };
/// let checked = check_grads(&Layer, &at, 1)?;
/// assert!(checked.adjoint <= 1e-13);
/// # Ok::<(), autodiff::CheckError>(())
/// ```
///
/// # Errors
/// The first law that does not hold, with its error.
pub fn check_grads<F: Differentiable>(f: &F, at: &Point, seed: u64) -> Result<Checked, CheckError> {
    let found = measure(f, at, seed);
    match found.broken().next() {
        Some(error) => Err(error),
        None => Ok(found),
    }
}

impl Checked {
    /// Every law with its error and its bound.
    pub(crate) fn laws(&self) -> [(&'static str, f64, f64); 7] {
        [
            ("the pushed tangent and 5-point differences", self.differences, BOUNDS.differences),
            ("the two sides of the adjoint identity ⟨c, J t⟩ = ⟨Jᵀ c, t⟩", self.adjoint, BOUNDS.adjoint),
            ("the pushed tangent and dual numbers", self.duals, BOUNDS.duals),
            ("the Hessian by reverse over duals and by duals of duals", self.second_order, BOUNDS.second_order),
            ("the Hessian and its transpose", self.symmetry, BOUNDS.symmetry),
            ("cotangents pulled together and one by one", self.lanes, BOUNDS.lanes),
            ("the sum of per-example gradients and the gradient", self.per_example, BOUNDS.per_example),
        ]
    }

    /// The laws that do not hold.
    fn broken(&self) -> impl Iterator<Item = CheckError> {
        self.laws().into_iter().filter(|(_, error, bound)| error > bound).map(|(law, error, bound)| CheckError { law, error, bound })
    }
}

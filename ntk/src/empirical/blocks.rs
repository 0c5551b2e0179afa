//! The kernel, block of examples by block of examples, so that memory stays bounded.

use super::reduce::{Kernel, Outputs};
use super::{Function, Real, Strategy, jacobian, number, products, structured, zeros};
use autodiff::{Refusal, Tape, Var};
use std::ops::Range;

/// Bytes that a block of examples may take for values, cotangents and factors or Jacobians.
const BLOCK_BYTES: usize = 256 << 20;
/// The most examples of a block of [`Strategy::Products`], whose memory grows with the product of two blocks.
const PRODUCTS_BLOCK: usize = 64;

/// The empirical neural tangent kernel of a function (Jacot, Gabriel and Hongler 2018),
///
/// `Θ[i, j, a, b] = ⟨∂f_a(x1_i)/∂θ, ∂f_b(x2_j)/∂θ⟩`,
///
/// between inputs `x1`, `[N1, ..]`, and `x2`, `[N2, ..]`, or of `x1` with itself, which is symmetric to the bit.
///
/// ```
/// use ntk::{Finite, Outputs, Strategy, empirical_ntk};
/// // f = (1/√2)·x·W with one output: Θ = x·x'/2.
/// let network = nn::Network::new([2], [nn::dense(1).without_bias()])?;
/// let parameters = vec![vec![3.0_f64, 4.0]];
/// let f = Finite { network: &network, parameters: &parameters };
/// let theta = empirical_ntk(&f, &[1.0, 2.0, 0.0, 1.0], None, Outputs::Trace, Strategy::Auto)?;
/// for (value, want) in theta.values.iter().zip([2.5, 1.0, 1.0, 0.5]) {
///     assert!((value - want).abs() < 1e-15);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the function mixes examples.
///
/// # Panics
/// If `x1` or `x2` are not whole examples.
#[track_caller]
pub fn empirical_ntk<T: Real>(
    f: &impl Function<T>,
    x1: &[T],
    x2: Option<&[T]>,
    kept: Outputs,
    strategy: Strategy,
) -> Result<Kernel<T>, Refusal> {
    empirical_ntk_in_blocks(f, x1, x2, kept, strategy, None, |_, _| ())
}

/// [`empirical_ntk`] in blocks of a given number of examples, or of as many as fit into 256 MiB of working memory; the bits do not depend on it.
/// `progress` hears how many pairs of blocks are done, and of how many.
///
/// # Errors
/// If the function mixes examples.
///
/// # Panics
/// If `x1` or `x2` are not whole examples, or if a block is to be empty.
#[track_caller]
pub fn empirical_ntk_in_blocks<T: Real>(
    f: &impl Function<T>,
    x1: &[T],
    x2: Option<&[T]>,
    kept: Outputs,
    strategy: Strategy,
    block: Option<usize>,
    mut progress: impl FnMut(usize, usize),
) -> Result<Kernel<T>, Refusal> {
    assert_ne!(block, Some(0), "a block holds at least one example");
    let (n1, n2) = (examples(f, x1), x2.map(|x| examples(f, x)));
    let mut tape = Tape::new();
    let parameters = f.parameters(&mut tape);
    let mut recorder = Recorder { f, parameters, start: tape.mark(), tape };
    let probe = x2.filter(|_| n1 == 0).unwrap_or(x1);
    let (outputs, bytes) = recorder.sizes(probe, kept, strategy)?;
    let mut kernel = Kernel::zeros(n1, n2.unwrap_or(n1), outputs, kept);
    let fitting = match strategy {
        Strategy::Products => (BLOCK_BYTES / bytes.max(1)).min(PRODUCTS_BLOCK),
        Strategy::Auto | Strategy::Jacobian | Strategy::Structured => BLOCK_BYTES / bytes.max(1),
    };
    let block = block.unwrap_or(fitting.max(1));
    let factor = number(kept.factor(outputs));
    let symmetric = x2.is_none();
    let (right, n2) = (x2.unwrap_or(x1), kernel.n2);
    let (rows, columns) = (blocks(n1, block), blocks(n2, block));
    let total = if symmetric { rows.len() * (rows.len() + 1) / 2 } else { rows.len() * columns.len() };
    let mut done = 0;
    for (i, r) in rows.iter().enumerate() {
        let left = recorder.prepare(x1, n1, r.clone(), kept, strategy)?;
        for (j, c) in columns.iter().enumerate().skip(if symmetric { i } else { 0 }) {
            let mut theta = zeros(r.len() * c.len() * kept.entries(outputs));
            if symmetric && i == j {
                contract(&left, &left, kept, factor, &mut theta)?;
            } else {
                contract(&left, &recorder.prepare(right, n2, c.clone(), kept, strategy)?, kept, factor, &mut theta)?;
            }
            place(&mut kernel, r, c, &theta);
            done += 1;
            progress(done, total);
        }
    }
    if symmetric {
        kernel.mirror();
    }
    Ok(kernel)
}

/// The kernel of the outputs themselves, `f_a(x1_i)·f_b(x2_j)`, reduced like the NTK.
///
/// # Errors
/// If the function mixes examples.
///
/// # Panics
/// If `x1` or `x2` are not whole examples.
#[track_caller]
pub fn empirical_nngp<T: Real>(f: &impl Function<T>, x1: &[T], x2: Option<&[T]>, kept: Outputs) -> Result<Kernel<T>, Refusal> {
    let mut tape = Tape::new();
    let parameters = f.parameters(&mut tape);
    let mut recorder = Recorder { f, parameters, start: tape.mark(), tape };
    let (n1, f1) = recorder.outputs(x1)?;
    let (n2, f2) = match x2 {
        Some(x2) => recorder.outputs(x2)?,
        None => (n1, f1.clone()),
    };
    let outputs = f1.len().checked_div(n1).or(f2.len().checked_div(n2)).unwrap_or(0);
    let mut kernel = Kernel::zeros(n1, n2, outputs, kept);
    let factor = number(kept.factor(outputs));
    // Outputs are a Jacobian of one column, but for their sum, which is taken before.
    let one_column = |n: usize, f: &[T]| {
        let rows: Vec<T> = match kept {
            Outputs::Full | Outputs::Trace | Outputs::Diagonal => f.to_vec(),
            Outputs::Sum => f.chunks(outputs.max(1)).map(|f| f.iter().fold(number(0.0), |sum, &f| sum + f)).collect(),
        };
        jacobian::Jacobian { examples: n, lanes: kept.lanes(outputs), parameters: 1, rows }
    };
    jacobian::contract(&one_column(n1, &f1), &one_column(n2, &f2), kept, factor, &mut kernel.values);
    if x2.is_none() {
        kernel.mirror();
    }
    Ok(kernel)
}

#[track_caller]
fn examples<T: Real>(f: &impl Function<T>, x: &[T]) -> usize {
    f.input_shape(x.len()).dims()[0]
}

fn blocks(n: usize, block: usize) -> Vec<Range<usize>> {
    (0..n).step_by(block).map(|i| i..(i + block).min(n)).collect()
}

/// A block of examples, made ready to be contracted with another.
enum Prepared<T: Real> {
    Jacobian(jacobian::Jacobian<T>),
    Structured(structured::Structure<T>),
    Recorded(Box<Tape<T>>, Var),
}

fn contract<T: Real>(left: &Prepared<T>, right: &Prepared<T>, kept: Outputs, factor: T, theta: &mut [T]) -> Result<(), Refusal> {
    match (left, right) {
        (Prepared::Jacobian(left), Prepared::Jacobian(right)) => jacobian::contract(left, right, kept, factor, theta),
        (Prepared::Structured(left), Prepared::Structured(right)) => structured::contract(left, right, kept, factor, theta),
        (Prepared::Recorded(t1, f1), Prepared::Recorded(t2, f2)) => products::contract((t1, *f1), (t2, *f2), kept, factor, theta)?,
        (Prepared::Jacobian(_) | Prepared::Structured(_) | Prepared::Recorded(..), _) => unreachable!("both sides are prepared alike"),
    }
    Ok(())
}

fn place<T: Real>(kernel: &mut Kernel<T>, rows: &Range<usize>, columns: &Range<usize>, theta: &[T]) {
    let m = kernel.kept.entries(kernel.outputs);
    let width = columns.len() * m;
    for (i, r) in rows.clone().enumerate() {
        let to = (r * kernel.n2 + columns.start) * m;
        kernel.values[to..to + width].copy_from_slice(&theta[i * width..(i + 1) * width]);
    }
}

/// A function with its parameters on a tape, which records block after block on top of them.
struct Recorder<'f, T: Real, F> {
    f: &'f F,
    tape: Tape<T>,
    parameters: Vec<Var>,
    start: autodiff::Mark,
}

impl<T: Real, F: Function<T>> Recorder<'_, T, F> {
    fn record(&mut self, x: &[T]) -> Var {
        self.tape.rewind(self.start);
        let x = self.tape.input(self.f.input_shape(x.len()), x);
        self.f.record(&mut self.tape, &self.parameters, x)
    }

    fn prepare(&mut self, x: &[T], n: usize, block: Range<usize>, kept: Outputs, strategy: Strategy) -> Result<Prepared<T>, Refusal> {
        let entries = x.len() / n;
        let output = self.record(&x[block.start * entries..block.end * entries]);
        Ok(match strategy {
            Strategy::Jacobian => Prepared::Jacobian(jacobian::of_lanes(&self.tape, output, kept)?),
            Strategy::Auto | Strategy::Structured => Prepared::Structured(structured::of_lanes(&self.tape, output, kept)?),
            Strategy::Products => Prepared::Recorded(Box::new(self.tape.clone()), output),
        })
    }

    fn outputs(&mut self, x: &[T]) -> Result<(usize, Vec<T>), Refusal> {
        let output = self.record(x);
        Ok((self.tape.examples(output)?, self.tape.value(output).to_vec()))
    }

    /// Number of outputs, and the bytes that one example of a block takes.
    fn sizes(&mut self, x: &[T], kept: Outputs, strategy: Strategy) -> Result<(usize, usize), Refusal> {
        let n = examples(self.f, x);
        let one = x.len().checked_div(n).unwrap_or(0);
        let output = self.record(&x[..one]);
        let outputs = if n == 0 { self.tape.shape(output).cols() } else { self.tape.shape(output).len() };
        self.tape.examples(output)?;
        let parameters: usize = self.tape.parameters().iter().map(|&p| self.tape.shape(p).len()).sum();
        let of = |per_example: bool| -> usize {
            self.tape.vars().map(|v| self.tape.node(v)).filter(|n| n.per_example == per_example).map(|n| n.shape.len()).sum()
        };
        let (values, shared, lanes) = (of(true), of(false), kept.lanes(outputs));
        // Weights that were computed from parameters are pulled with examples as lanes.
        let shared = shared - parameters;
        let entries = match strategy {
            Strategy::Auto | Strategy::Structured => values * (2 + 3 * lanes) + 2 * lanes * shared,
            Strategy::Jacobian => values * (1 + lanes) + 2 * lanes * (parameters + shared),
            // Every output of every example of one block is a lane on the values of the other.
            Strategy::Products => lanes * (2 * parameters + shared) + values * (1 + lanes) + PRODUCTS_BLOCK * lanes * values,
        };
        Ok((outputs, entries * size_of::<T>()))
    }
}

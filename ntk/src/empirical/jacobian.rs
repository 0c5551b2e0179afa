//! The reference: per-example Jacobians, written out.

use super::reduce::Outputs;
use super::{Function, Real, zeros};
use autodiff::{Accumulate, Flow, Mat, PerExample, Refusal, Tape};
use simd::MatMut;

/// The derivatives of every output of every example: `rows[i, a, p] = ∂f_a(x_i)/∂θ_p`, all parameters in one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Jacobian<T> {
    /// Number of examples.
    pub examples: usize,
    /// Number of outputs, or 1 where the outputs were summed.
    pub lanes: usize,
    /// Number of entries of all parameters.
    pub parameters: usize,
    /// `[examples, lanes, parameters]`.
    pub rows: Vec<T>,
}

/// The per-example Jacobian of all outputs for inputs `[examples, ..]`.
///
/// ```
/// use ntk::{Finite, jacobian};
/// let network = nn::Network::new([2], [nn::dense(1).without_bias()])?;
/// let parameters = vec![vec![3.0_f64, 4.0]];
/// let j = jacobian(&Finite { network: &network, parameters: &parameters }, &[1.0, 2.0])?;
/// // z = (w_std/√n_in)·x·W: ∂z/∂W = x/√2.
/// assert!((j.rows[1] - 2.0 / 2.0_f64.sqrt()).abs() < 1e-15);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the function mixes examples.
pub fn jacobian<T: Real>(f: &impl Function<T>, x: &[T]) -> Result<Jacobian<T>, Refusal> {
    let mut tape = Tape::new();
    let parameters = f.parameters(&mut tape);
    let x = tape.input(f.input_shape(x.len()), x);
    let output = f.record(&mut tape, &parameters, x);
    of_lanes(&tape, output, Outputs::Full)
}

/// The Jacobian of what [`Outputs`] needs: of each output, or of their sum.
pub(super) fn of_lanes<T: Real>(tape: &Tape<T>, output: autodiff::Var, kept: Outputs) -> Result<Jacobian<T>, Refusal> {
    let examples = tape.examples(output)?;
    let outputs = tape.shape(output).len() / examples.max(1);
    let lanes = kept.lanes(outputs);
    let mut sink = PerExample::new();
    tape.pull(output, lanes, &kept.seed(examples, outputs), &mut Flow::new(), &mut sink)?;
    let sizes: Vec<usize> = tape.parameters().iter().map(|&p| tape.shape(p).len()).collect();
    let parameters = sizes.iter().sum();
    let mut rows = Vec::with_capacity(examples * lanes * parameters);
    for i in 0..examples {
        for a in 0..lanes {
            for (p, &size) in sizes.iter().enumerate() {
                let row = (a * examples + i) * size;
                rows.extend_from_slice(&sink.parameter(p)[row..row + size]);
            }
        }
    }
    Ok(Jacobian { examples, lanes, parameters, rows })
}

/// `Θ += scale · J1·J2ᵀ`, reduced to `[n1, n2, entries]`.
pub(super) fn contract<T: Real>(j1: &Jacobian<T>, j2: &Jacobian<T>, kept: Outputs, scale: T, theta: &mut [T]) {
    let (k, p) = (j1.lanes, j1.parameters);
    match kept {
        Outputs::Full => {
            let product = gram(Mat::new(&j1.rows, j1.examples * k, p), Mat::new(&j2.rows, j2.examples * k, p));
            add_lanes(&product, j2.examples, k, |_, _| scale, theta);
        }
        // One long row for each example: the sum over outputs is part of the scalar product.
        Outputs::Trace | Outputs::Sum => {
            let product = gram(Mat::new(&j1.rows, j1.examples, k * p), Mat::new(&j2.rows, j2.examples, k * p));
            theta.iter_mut().zip(&product).for_each(|(t, &g)| *t += scale * g);
        }
        Outputs::Diagonal => {
            for a in 0..k {
                let product = gram(lane(&j1.rows, j1.examples, k, p, a), lane(&j2.rows, j2.examples, k, p, a));
                theta.iter_mut().skip(a).step_by(k).zip(&product).for_each(|(t, &g)| *t += scale * g);
            }
        }
    }
}

/// Lane `a` of rows `[examples, lanes, n]`, as a matrix `[examples, n]`.
pub(super) fn lane<T: Real>(rows: &[T], examples: usize, lanes: usize, n: usize, a: usize) -> Mat<'_, T> {
    if examples == 0 {
        return Mat::new(&[], 0, n);
    }
    Mat::strided(&rows[a * n..], examples, n, lanes * n, 1)
}

/// `A·Bᵀ`.
pub(super) fn gram<T: Real>(a: Mat<'_, T>, b: Mat<'_, T>) -> Vec<T> {
    let mut product = zeros(a.rows() * b.rows());
    simd::product(a, b.t(), Accumulate::Set, MatMut::new(&mut product, a.rows(), b.rows()));
    product
}

/// `theta[i, j, a, b] += factor(i, j) · product[(i, a), (j, b)]`, for `n2` examples along the columns and `k` lanes.
pub(super) fn add_lanes<T: Real>(product: &[T], n2: usize, k: usize, factor: impl Fn(usize, usize) -> T, theta: &mut [T]) {
    for i in 0..theta.len() / (n2 * k * k).max(1) {
        for j in 0..n2 {
            let factor = factor(i, j);
            for a in 0..k {
                let to = &mut theta[((i * n2 + j) * k + a) * k..][..k];
                let from = &product[((i * k + a) * n2 + j) * k..][..k];
                to.iter_mut().zip(from).for_each(|(t, &g)| *t += factor * g);
            }
        }
    }
}

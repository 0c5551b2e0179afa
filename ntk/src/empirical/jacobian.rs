//! The reference: per-example Jacobians, written out.

use super::contract::{PANEL, Target, lane};
use super::reduce::Outputs;
use super::uses::Survey;
use super::{Function, Real, number, zeros};
use autodiff::{Accumulate, Flow, Mat, PerExample, Refusal, Tape};
use rayon::prelude::*;
use simd::MatMut;
use std::ops::Range;

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
    let examples = tape.examples(output)?;
    let outputs = tape.shape(output).len() / examples.max(1);
    of_lanes(&tape, output, Outputs::Full, 0..outputs, |_| Some(1.0))
}

/// The Jacobian of some outputs, or of the sum of all, with the columns of every parameter that has a scale.
pub(super) fn of_lanes<T: Real>(
    tape: &Tape<T>,
    output: autodiff::Var,
    kept: Outputs,
    asked: Range<usize>,
    scale: impl Fn(usize) -> Option<f64>,
) -> Result<Jacobian<T>, Refusal> {
    let examples = tape.examples(output)?;
    let outputs = tape.shape(output).len() / examples.max(1);
    let lanes = kept.lanes(asked.clone());
    let mut sink = PerExample::new();
    tape.pull(output, lanes, &kept.seed(examples, outputs, asked), &mut Flow::new(), &mut sink)?;
    let sizes = tape.parameters().iter().map(|&p| tape.shape(p).len()).enumerate();
    let sizes: Vec<(usize, usize, f64)> = sizes.filter_map(|(p, size)| Some((p, size, scale(p)?))).collect();
    let parameters: usize = sizes.iter().map(|(_, size, _)| size).sum();
    let mut rows: Vec<T> = zeros(examples * lanes * parameters);
    let each = (lanes * parameters).max(1);
    rows.par_chunks_exact_mut(each).enumerate().for_each(|(i, rows)| {
        for (a, mut row) in rows.chunks_exact_mut(parameters.max(1)).enumerate() {
            for &(p, size, scale) in &sizes {
                let from: &[T] = &sink.parameter(p)[(a * examples + i) * size..][..size];
                let (to, rest) = row.split_at_mut(size);
                if scale == 1.0 {
                    to.copy_from_slice(from);
                } else {
                    to.iter_mut().zip(from).for_each(|(to, &d)| *to = number::<T>(scale) * d);
                }
                row = rest;
            }
        }
    });
    Ok(Jacobian { examples, lanes, parameters, rows })
}

/// What the columns of a parameter are multiplied by on either side, the root of its rate, so that the kernel stays symmetric to the bit.
pub(super) fn column_scale(survey: &Survey, p: usize) -> Option<f64> {
    let parameter = &survey.parameters[p];
    parameter.wanted().then(|| parameter.rate.sqrt())
}

/// `Θ += scale · J1·J2ᵀ` of some examples of either, reduced to `[n1, n2, entries]`.
pub(super) fn contract<T: Real>(
    (j1, r): (&Jacobian<T>, Range<usize>),
    (j2, c): (&Jacobian<T>, Range<usize>),
    same: bool,
    kept: Outputs,
    scale: T,
    mut theta: Target<'_, T>,
) {
    let (k1, k2, p, n1, n2) = (j1.lanes, j2.lanes, j1.parameters, r.len(), c.len());
    let (rows1, rows2) = (&j1.rows[r.start * k1 * p..r.end * k1 * p], &j2.rows[c.start * k2 * p..c.end * k2 * p]);
    let gram = |a: Mat<'_, T>, b: Mat<'_, T>| {
        let mut product = zeros(a.rows() * b.rows());
        let to = MatMut::new(&mut product, a.rows(), b.rows());
        if same && a.rows() >= PANEL {
            simd::gram(a, Accumulate::Set, to);
        } else {
            simd::product(a, b.t(), Accumulate::Set, to);
        }
        product
    };
    match kept {
        Outputs::Full => {
            let product = gram(Mat::new(rows1, n1 * k1, p), Mat::new(rows2, n2 * k2, p));
            for i in 0..n1 {
                let theta = theta.row(i, n2 * k1 * k2);
                for (a, j) in (0..k1).flat_map(|a| (0..n2).map(move |j| (a, j))) {
                    let from = &product[((i * k1 + a) * n2 + j) * k2..][..k2];
                    theta[(j * k1 + a) * k2..][..k2].iter_mut().zip(from).for_each(|(t, &g)| *t += scale * g);
                }
            }
        }
        // One long row for each example: the sum over outputs is part of the scalar product.
        Outputs::Trace | Outputs::Sum => {
            let product = gram(Mat::new(rows1, n1, k1 * p), Mat::new(rows2, n2, k2 * p));
            for i in 0..n1 {
                theta.row(i, n2).iter_mut().zip(&product[i * n2..]).for_each(|(t, &g)| *t += scale * g);
            }
        }
        Outputs::Diagonal => {
            for a in 0..k1 {
                let product = gram(lane(rows1, n1, k1, p, a), lane(rows2, n2, k2, p, a));
                for i in 0..n1 {
                    let theta = &mut theta.row(i, n2 * k1)[a..];
                    theta.iter_mut().step_by(k1).zip(&product[i * n2..]).for_each(|(t, &g)| *t += scale * g);
                }
            }
        }
    }
}

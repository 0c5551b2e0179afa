//! The kernel of the outputs themselves.

use super::contract::Target;
use super::jacobian::{self, Jacobian};
use super::reduce::{Kernel, Outputs};
use super::uses::{Recorder, examples};
use super::{Function, Real, number};
use autodiff::Refusal;

/// The kernel of the outputs themselves, `f_a(x1_i)·f_b(x2_j)`, reduced like the NTK.
///
/// # Errors
/// If the function mixes examples.
///
/// # Panics
/// If `x1` or `x2` are not whole examples.
#[track_caller]
pub fn empirical_nngp<T: Real>(f: &impl Function<T>, x1: &[T], x2: Option<&[T]>, kept: Outputs) -> Result<Kernel<T>, Refusal> {
    let mut recorder = Recorder::new(f);
    let mut outputs = |x: &[T]| -> Result<(usize, Vec<T>), Refusal> {
        let output = recorder.record(x);
        recorder.tape.examples(output)?;
        Ok((examples(f, x), recorder.tape.value(output).to_vec()))
    };
    let (n1, f1) = outputs(x1)?;
    let (n2, f2) = match x2 {
        Some(x2) => outputs(x2)?,
        None => (n1, f1.clone()),
    };
    let outputs = f1.len().checked_div(n1).or(f2.len().checked_div(n2)).unwrap_or(0);
    let mut kernel = Kernel::zeros(n1, n2, outputs, kept);
    if kernel.values.is_empty() {
        return Ok(kernel);
    }
    let factor = number(kept.factor(outputs));
    // Outputs are a Jacobian of one column, but for their sum, which is taken before.
    let one_column = |n: usize, f: &[T]| {
        let rows: Vec<T> = match kept {
            Outputs::Full | Outputs::Trace | Outputs::Diagonal => f.to_vec(),
            Outputs::Sum => f.chunks(outputs.max(1)).map(|f| f.iter().fold(number(0.0), |sum, &f| sum + f)).collect(),
        };
        Jacobian { examples: n, lanes: kept.lanes(0..outputs), parameters: 1, rows }
    };
    let stride = n2 * kept.entries(outputs);
    let target = Target { data: &mut kernel.values, stride };
    jacobian::contract((&one_column(n1, &f1), 0..n1), (&one_column(n2, &f2), 0..n2), false, kept, factor, target);
    if x2.is_none() {
        kernel.mirror();
    }
    Ok(kernel)
}

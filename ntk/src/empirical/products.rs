//! `Θ v = J (Jᵀ v)`: columns of the kernel by a pull and a push, without a Jacobian of the left examples.

use super::contract::Target;
use super::reduce::Outputs;
use super::uses::Survey;
use super::{Real, number};
use autodiff::{Flow, Leaf, PerExample, Refusal, Tape, Var};
use std::ops::Range;

/// `Θ += factor · J1·diag(η)·J2ᵀ`, reduced to `[n1, n2, entries]`: the cotangents of some outputs of `output2` are pulled to the
/// parameters, and from there pushed as tangents to `output1`, one lane for each output of each example. Of the left all outputs come.
pub(super) fn contract<T: Real>(
    (tape1, output1): (&Tape<T>, Var),
    (tape2, output2): (&Tape<T>, Var),
    survey: &Survey,
    kept: Outputs,
    asked: Range<usize>,
    factor: T,
    mut theta: Target<'_, T>,
) -> Result<(), Refusal> {
    let (n1, n2) = (tape1.examples(output1)?, tape2.examples(output2)?);
    let outputs = survey.outputs;
    let lanes = kept.lanes(asked.clone());
    let mut pulled = PerExample::new();
    tape2.pull(output2, lanes, &kept.seed(n2, outputs, asked.clone()), &mut Flow::new(), &mut pulled)?;
    let rows = |p: usize| -> Option<Vec<T>> {
        let rate = survey.parameters[p].rate;
        (rate != 1.0 && rate != 0.0).then(|| pulled.parameter(p).iter().map(|&d| number::<T>(rate) * d).collect())
    };
    let weighted: Vec<Option<Vec<T>>> = (0..survey.parameters.len()).map(rows).collect();
    let tangent = |leaf: Leaf| match leaf {
        Leaf::Parameter(p) if !survey.parameters[p].wanted() => None,
        Leaf::Parameter(p) => Some(weighted[p].as_deref().unwrap_or_else(|| pulled.parameter(p))),
        Leaf::Input(_) | Leaf::Constant => None,
    };
    let mut flow = Flow::new();
    // [lanes of the right, n2, n1, outputs of the left]
    let Some(df) = tape1.push(output1, lanes * n2, tangent, &mut flow) else { return Ok(()) };
    let entries = kept.entries_of(outputs, lanes);
    let entries = if kept == Outputs::Diagonal { lanes } else { entries };
    for i in 0..n1 {
        let row = theta.row(i, n2 * entries);
        for j in 0..n2 {
            let theta = &mut row[j * entries..][..entries];
            for b in 0..lanes {
                let df = &df[((b * n2 + j) * n1 + i) * outputs..][..outputs];
                match kept {
                    Outputs::Full => df.iter().enumerate().for_each(|(a, &d)| theta[a * lanes + b] += factor * d),
                    Outputs::Diagonal => theta[b] += factor * df[asked.start + b],
                    Outputs::Trace => theta[0] += factor * df[asked.start + b],
                    Outputs::Sum => df.iter().for_each(|&d| theta[0] += factor * d),
                }
            }
        }
    }
    Ok(())
}

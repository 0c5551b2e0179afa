//! `Θ v = J (Jᵀ v)`: columns of the kernel by a pull and a push, without a Jacobian of the left examples.

use super::Real;
use super::reduce::Outputs;
use autodiff::{Flow, Leaf, PerExample, Refusal, Tape, Var};

/// `Θ += factor · J1·J2ᵀ`, reduced to `[n1, n2, entries]`: the cotangents of `output2` are pulled to the parameters, and from there pushed as
/// tangents to `output1`, one lane for each output of each example.
pub(super) fn contract<T: Real>(
    (tape1, output1): (&Tape<T>, Var),
    (tape2, output2): (&Tape<T>, Var),
    kept: Outputs,
    factor: T,
    theta: &mut [T],
) -> Result<(), Refusal> {
    let (n1, n2) = (tape1.examples(output1)?, tape2.examples(output2)?);
    let outputs = tape1.shape(output1).len() / n1.max(1);
    let lanes = kept.lanes(outputs);
    let mut rows = PerExample::new();
    tape2.pull(output2, lanes, &kept.seed(n2, outputs), &mut Flow::new(), &mut rows)?;
    let tangent = |leaf: Leaf| match leaf {
        Leaf::Parameter(p) => Some(rows.parameter(p)),
        Leaf::Input(_) | Leaf::Constant => None,
    };
    let mut flow = Flow::new();
    // [lanes of the right, n2, n1, outputs of the left]
    let Some(df) = tape1.push(output1, lanes * n2, tangent, &mut flow) else { return Ok(()) };
    let entries = kept.entries(outputs);
    for i in 0..n1 {
        for j in 0..n2 {
            let theta = &mut theta[(i * n2 + j) * entries..][..entries];
            for b in 0..lanes {
                for a in 0..outputs {
                    let d = factor * df[((b * n2 + j) * n1 + i) * outputs + a];
                    match kept {
                        Outputs::Full => theta[a * outputs + b] += d,
                        Outputs::Diagonal if a == b => theta[a] += d,
                        Outputs::Trace if a == b => theta[0] += d,
                        Outputs::Diagonal | Outputs::Trace => (),
                        Outputs::Sum => theta[0] += d,
                    }
                }
            }
        }
    }
    Ok(())
}

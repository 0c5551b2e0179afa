//! What is kept of the outputs of a kernel.

use super::{Real, number, zeros};

/// What is kept of the kernel `Θ[i, j, a, b]` between output `a` of example `i` and output `b` of example `j`, with `O` outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Outputs {
    /// Everything: `[N1, N2, O, O]`.
    Full,
    /// The mean of the diagonal, `(1/O) Σ_a Θ[i, j, a, a]`: `[N1, N2]`.
    #[default]
    Trace,
    /// `Θ[i, j, a, a]`: `[N1, N2, O]`.
    Diagonal,
    /// The kernel of the summed outputs divided by `O`, `(1/O) Σ_ab Θ[i, j, a, b]`: `[N1, N2]`. For networks whose last layer is wide
    /// and random it is close to the trace (the pseudo-NTK of Mohamadi, Bae and Sutherland 2023).
    Sum,
}

impl Outputs {
    /// All of them, in the order of the documentation.
    pub const ALL: [Outputs; 4] = [Outputs::Full, Outputs::Trace, Outputs::Diagonal, Outputs::Sum];

    /// Entries of the kernel for one pair of examples.
    pub fn entries(self, outputs: usize) -> usize {
        match self {
            Outputs::Full => outputs * outputs,
            Outputs::Diagonal => outputs,
            Outputs::Trace | Outputs::Sum => 1,
        }
    }

    /// Cotangents that a pull needs: one for each output, or their sum.
    pub(super) fn lanes(self, outputs: usize) -> usize {
        match self {
            Outputs::Full | Outputs::Diagonal | Outputs::Trace => outputs,
            Outputs::Sum => 1,
        }
    }

    /// Cotangents of outputs `[examples, outputs]`, `[lanes, examples, outputs]`: lane `a` picks output `a`, or the one lane sums them.
    pub(super) fn seed<T: Real>(self, examples: usize, outputs: usize) -> Vec<T> {
        match self {
            Outputs::Full | Outputs::Diagonal | Outputs::Trace => {
                let mut seed = zeros(outputs * examples * outputs);
                for a in 0..outputs {
                    for i in 0..examples {
                        seed[(a * examples + i) * outputs + a] = number(1.0);
                    }
                }
                seed
            }
            Outputs::Sum => vec![number(1.0); examples * outputs],
        }
    }

    /// What the sum over lanes is multiplied by.
    pub(super) fn factor(self, outputs: usize) -> f64 {
        match self {
            Outputs::Full | Outputs::Diagonal => 1.0,
            Outputs::Trace | Outputs::Sum => 1.0 / outputs.max(1) as f64,
        }
    }
}

/// A kernel between two sets of examples, row-major in the order `[n1, n2, ..]` that [`Outputs`] names.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel<T> {
    /// Examples along the first axis.
    pub n1: usize,
    /// Examples along the second axis.
    pub n2: usize,
    /// Outputs of the function.
    pub outputs: usize,
    /// What was kept of them.
    pub kept: Outputs,
    /// The entries.
    pub values: Vec<T>,
}

impl<T: Real> Kernel<T> {
    /// The extents of the array.
    pub fn shape(&self) -> Vec<usize> {
        match self.kept {
            Outputs::Full => vec![self.n1, self.n2, self.outputs, self.outputs],
            Outputs::Diagonal => vec![self.n1, self.n2, self.outputs],
            Outputs::Trace | Outputs::Sum => vec![self.n1, self.n2],
        }
    }

    pub(super) fn zeros(n1: usize, n2: usize, outputs: usize, kept: Outputs) -> Self {
        let values = zeros(n1 * n2 * kept.entries(outputs));
        Kernel { n1, n2, outputs, kept, values }
    }

    /// Copies what lies above the diagonal of a square kernel below it: `Θ[j, i, b, a] = Θ[i, j, a, b]` holds then to the bit.
    pub(super) fn mirror(&mut self) {
        let (n, o) = (self.n1, self.outputs);
        let m = self.kept.entries(o);
        for i in 0..n {
            for j in i..n {
                let (from, to) = ((i * n + j) * m, (j * n + i) * m);
                match self.kept {
                    Outputs::Full => {
                        for a in 0..o {
                            // On the diagonal of examples the triangle of the outputs is mirrored.
                            let first = if i == j { a } else { 0 };
                            for b in first..o {
                                self.values[to + b * o + a] = self.values[from + a * o + b];
                            }
                        }
                    }
                    Outputs::Diagonal | Outputs::Trace | Outputs::Sum => self.values.copy_within(from..from + m, to),
                }
            }
        }
    }
}

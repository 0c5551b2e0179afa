//! What is kept of the outputs of a kernel.

use super::{Real, number, zeros};
use std::ops::Range;

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

    /// Entries for one pair of examples, of some of the outputs along either side.
    pub(super) fn entries_of(self, one: usize, two: usize) -> usize {
        match self {
            Outputs::Full => one * two,
            Outputs::Diagonal => one,
            Outputs::Trace | Outputs::Sum => 1,
        }
    }

    /// Cotangents that a pull needs for some of the outputs: one for each of them, or the sum of all.
    pub(super) fn lanes(self, outputs: Range<usize>) -> usize {
        match self {
            Outputs::Full | Outputs::Diagonal | Outputs::Trace => outputs.len(),
            Outputs::Sum => 1,
        }
    }

    /// Cotangents of outputs `[examples, outputs]`, `[lanes, examples, outputs]`: each lane picks one of those that are `asked` for, or the one lane
    /// sums all.
    pub(super) fn seed<T: Real>(self, examples: usize, outputs: usize, asked: Range<usize>) -> Vec<T> {
        match self {
            Outputs::Full | Outputs::Diagonal | Outputs::Trace => {
                let mut seed = zeros(asked.len() * examples * outputs);
                for (lane, a) in asked.enumerate() {
                    for i in 0..examples {
                        seed[(lane * examples + i) * outputs + a] = number(1.0);
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
        // Squares of examples, so that rows and columns stay in the cache.
        for (first, second) in (0..n).step_by(SQUARE).flat_map(|i| (i..n).step_by(SQUARE).map(move |j| (i, j))) {
            for i in first..n.min(first + SQUARE) {
                for j in second.max(i)..n.min(second + SQUARE) {
                    let (from, to) = ((i * n + j) * m, (j * n + i) * m);
                    match self.kept {
                        Outputs::Full if o > 1 => {
                            for a in 0..o {
                                // On the diagonal of examples the triangle of the outputs is mirrored.
                                let first = if i == j { a } else { 0 };
                                for b in first..o {
                                    self.values[to + b * o + a] = self.values[from + a * o + b];
                                }
                            }
                        }
                        Outputs::Diagonal => self.values.copy_within(from..from + m, to),
                        Outputs::Full | Outputs::Trace | Outputs::Sum => (0..m).for_each(|e| self.values[to + e] = self.values[from + e]),
                    }
                }
            }
        }
    }
}

/// Examples along the side of a square that is mirrored at once.
const SQUARE: usize = 32;

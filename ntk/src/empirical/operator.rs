//! The kernel as an operator: `Θ·v` without `Θ`.

use super::memory::SUMMED;
use super::reduce::Outputs;
use super::request::{EmpiricalError, Request};
use super::tiles::blocks;
use super::uses::{Recorder, Survey, examples, survey};
use super::{Function, Real, number, zeros};
use autodiff::{Flow, Gradient, Leaf, Wrt};
use std::ops::Range;

/// Examples that are pulled and pushed at once. Sums over examples are cut there, and their bits follow from it, so it is one constant.
const EXAMPLES: usize = 64;

/// `Θ(x1, x2)·v = J1·(η ∘ (J2ᵀ·v))` without `Θ`: a pull of all examples of `x2` and a push of all of `x1` for each vector, and memory for
/// 64 examples and the vectors. For iterative solvers.
///
/// A vector has an entry for each example, `[N]`, where the kernel is a [trace](Outputs::Trace) or a [sum](Outputs::Sum); for
/// [`Outputs::Full`] and [`Outputs::Diagonal`] it has one for each output of each example, `[N, O]`. A trace and a diagonal cost as much as
/// `O` vectors. Of the request what it [keeps](Request::outputs) and its [rates](Request::rates) count. The bits of a product depend
/// neither on threads nor on the vectors beside it.
///
/// ```
/// use ntk::{Finite, Operator, Outputs, Request};
/// let network = nn::Network::new([2], [nn::dense(1).without_bias()])?;
/// let f = Finite { network: &network, parameters: &[vec![3.0_f64, 4.0]] };
/// // Θ = x·x'/2 of x = (1, 2), (0, 1): [[2.5, 1], [1, 0.5]].
/// let mut theta = Operator::new(&f, &[1.0, 2.0, 0.0, 1.0], None, &Request::of(Outputs::Full))?;
/// let product = theta.apply(1, &[1.0, -1.0]);
/// assert!((product[0] - 1.5).abs() < 1e-14 && (product[1] - 0.5).abs() < 1e-14);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Operator<'a, T: Real, F> {
    recorder: Recorder<'a, T, F>,
    survey: Survey,
    kept: Outputs,
    x1: &'a [T],
    x2: &'a [T],
    n1: usize,
    n2: usize,
    flow: Flow<T>,
    gradient: Gradient<T>,
}

impl<'a, T: Real, F: Function<T>> Operator<'a, T, F> {
    /// The kernel between `x1` and `x2`, or of `x1` with itself.
    ///
    /// # Errors
    /// If the function mixes examples, or if the rates do not belong to its parameters.
    ///
    /// # Panics
    /// If `x1` or `x2` are not whole examples.
    #[track_caller]
    pub fn new(f: &'a F, x1: &'a [T], x2: Option<&'a [T]>, request: &Request) -> Result<Self, EmpiricalError> {
        let mut recorder = Recorder::new(f);
        let x2 = x2.unwrap_or(x1);
        let (n1, n2) = (examples(f, x1), examples(f, x2));
        let survey = survey(&mut recorder, if n1 == 0 { x2 } else { x1 }, request.rates.as_deref())?;
        let recorder = recorder.with_room(survey.constant + EXAMPLES.min(n1.max(n2)) * survey.values);
        let gradient = Gradient::new(Wrt::PARAMETERS);
        Ok(Operator { recorder, survey, kept: request.outputs, x1, x2, n1, n2, flow: Flow::new(), gradient })
    }

    /// Entries of what a vector becomes.
    pub fn rows(&self) -> usize {
        self.n1 * self.each()
    }

    /// Entries of a vector.
    pub fn columns(&self) -> usize {
        self.n2 * self.each()
    }

    /// Entries of a vector for one example.
    fn each(&self) -> usize {
        match self.kept {
            Outputs::Full | Outputs::Diagonal => self.survey.outputs,
            Outputs::Trace | Outputs::Sum => 1,
        }
    }

    /// `Θ·v` for each of some vectors, one after the other in memory, in one pull and one push.
    ///
    /// # Panics
    /// If there are not so many vectors.
    #[track_caller]
    pub fn apply(&mut self, vectors: usize, v: &[T]) -> Vec<T> {
        let columns = self.columns();
        assert_eq!(v.len(), vectors * columns, "{vectors} vectors of {columns} entries were announced, and {} entries given", v.len());
        let mut product = zeros(vectors * self.rows());
        // A trace and a diagonal see every output by itself.
        let groups = match self.kept {
            Outputs::Full | Outputs::Sum => blocks(1, 1),
            Outputs::Trace | Outputs::Diagonal => blocks(self.survey.outputs, SUMMED),
        };
        for group in groups {
            let tangents = self.pull(vectors, v, &group);
            self.push(vectors, &tangents, &group, &mut product);
        }
        product
    }

    /// `η ∘ (J2ᵀ·v)` for every vector and output of a group, `[vectors, group, parameter]`, none where the rate is 0.
    fn pull(&mut self, vectors: usize, v: &[T], group: &Range<usize>) -> Vec<Option<Vec<T>>> {
        let (o, each, kept) = (self.survey.outputs, self.each(), self.kept);
        let lanes = vectors * group.len();
        let entries = self.x2.len() / self.n2.max(1);
        let wanted = |p: &super::uses::Parameter| p.wanted().then(|| zeros(lanes * p.size));
        let mut sums: Vec<Option<Vec<T>>> = self.survey.parameters.iter().map(wanted).collect();
        for block in blocks(self.n2, EXAMPLES) {
            let n = block.len();
            let output = self.recorder.record(&self.x2[block.start * entries..block.end * entries]);
            let mut seed = zeros(lanes * n * o);
            for (lane, seed) in seed.chunks_exact_mut((n * o).max(1)).enumerate() {
                let (vector, output) = (lane / group.len(), group.start + lane % group.len());
                let v = &v[(vector * self.n2 + block.start) * each..][..n * each];
                for (seed, v) in seed.chunks_exact_mut(o.max(1)).zip(v.chunks_exact(each.max(1))) {
                    match kept {
                        Outputs::Full => seed.copy_from_slice(v),
                        Outputs::Sum => seed.fill(v[0]),
                        Outputs::Trace => seed[output] = v[0],
                        Outputs::Diagonal => seed[output] = v[output],
                    }
                }
            }
            let pulled = self.recorder.tape.pull(output, lanes, &seed, &mut self.flow, &mut self.gradient);
            pulled.expect("a gradient sums over examples and is never refused");
            for (p, sum) in sums.iter_mut().enumerate() {
                let Some(sum) = sum else { continue };
                sum.iter_mut().zip(self.gradient.parameter(p)).for_each(|(sum, &g)| *sum += g);
            }
        }
        for (sum, parameter) in sums.iter_mut().zip(&self.survey.parameters) {
            let rate: T = number(parameter.rate);
            sum.iter_mut().flatten().for_each(|s| *s = rate * *s);
        }
        sums
    }

    fn push(&mut self, vectors: usize, tangents: &[Option<Vec<T>>], group: &Range<usize>, product: &mut [T]) {
        let (o, each, rows, kept) = (self.survey.outputs, self.each(), self.rows(), self.kept);
        let factor: T = number(kept.factor(o));
        let entries = self.x1.len() / self.n1.max(1);
        for block in blocks(self.n1, EXAMPLES) {
            let n = block.len();
            let output = self.recorder.record(&self.x1[block.start * entries..block.end * entries]);
            let tangent = |leaf: Leaf| match leaf {
                Leaf::Parameter(p) => tangents[p].as_deref(),
                Leaf::Input(_) | Leaf::Constant => None,
            };
            let Some(df) = self.recorder.tape.push(output, vectors * group.len(), tangent, &mut self.flow) else { return };
            for (lane, df) in df.chunks_exact((n * o).max(1)).enumerate() {
                let (vector, output) = (lane / group.len(), group.start + lane % group.len());
                let to = &mut product[vector * rows + block.start * each..][..n * each];
                for (to, df) in to.chunks_exact_mut(each.max(1)).zip(df.chunks_exact(o.max(1))) {
                    match kept {
                        Outputs::Full => to.copy_from_slice(df),
                        Outputs::Sum => to[0] = factor * df.iter().fold(number(0.0), |sum: T, &d| sum + d),
                        Outputs::Trace => to[0] += factor * df[output],
                        Outputs::Diagonal => to[output] = df[output],
                    }
                }
            }
        }
    }
}

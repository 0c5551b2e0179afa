//! The kernel from random projections of the Jacobian.

use super::reduce::{Kernel, Outputs};
use super::request::{EmpiricalError, Request};
use super::tiles::blocks;
use super::uses::{Recorder, Survey, examples, survey};
use super::{Function, Real, number};
use autodiff::{Flow, Leaf};
use rayon::prelude::*;

/// A kernel with how far it is expected to be from the exact one.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The mean over the samples.
    pub kernel: Kernel<f64>,
    /// The standard error of each entry of it: the standard deviation of the samples over the root of their number.
    pub standard_error: Vec<f64>,
}

/// Samples that are pushed at once, and examples.
const SAMPLES: usize = 8;
const EXAMPLES: usize = 64;
/// The first stream of random numbers: sample `s` of parameter `p` of `P` has the stream `2⁴⁹ + s·P + p`.
const STREAM: u64 = 1 << 49;

/// An estimate of the kernel from random directions `r ~ N(0, diag(η))` of the parameters,
///
/// `Θ[i, j, a, b] = E[u_ia·u_jb]`, `u = J·r`,
///
/// a push for each sample, whatever the number of outputs. An entry of the diagonal is a χ² variable, so its relative standard error is
/// `√(2/samples)`. What is estimated is symmetric and positive semidefinite. Direction `s` depends on the seed and on `s` alone.
///
/// # Errors
/// If the function mixes examples, or if the rates do not belong to its parameters.
///
/// # Panics
/// If `x1` or `x2` are not whole examples, or with fewer than two samples, which have no standard error.
#[track_caller]
pub fn estimate<T: Real>(
    f: &impl Function<T>,
    x1: &[T],
    x2: Option<&[T]>,
    request: &Request,
    samples: usize,
    seed: u64,
    mut progress: impl FnMut(usize, usize),
) -> Result<Estimate, EmpiricalError> {
    assert!(samples >= 2, "a standard error needs two samples at least, and {samples} were asked for");
    let kept = request.outputs;
    let mut recorder = Recorder::new(f);
    let (n1, n2) = (examples(f, x1), x2.map(|x| examples(f, x)));
    let survey = survey(&mut recorder, x2.filter(|_| n1 == 0).unwrap_or(x1), request.rates.as_deref())?;
    let mut mean = Kernel::zeros(n1, n2.unwrap_or(n1), survey.outputs, kept);
    let mut squares = vec![0.0; mean.values.len()];
    if mean.values.is_empty() {
        return Ok(Estimate { kernel: mean, standard_error: squares });
    }
    for group in blocks(samples, SAMPLES) {
        let tangents = directions::<T>(&survey, seed, group.clone());
        let one = push(&mut recorder, x1, n1, &survey, &tangents, group.len());
        let two = x2.map(|x2| push(&mut recorder, x2, n2.unwrap_or(0), &survey, &tangents, group.len()));
        for s in 0..group.len() {
            let one = &one[s * n1 * survey.outputs..][..n1 * survey.outputs];
            let two = two.as_ref().map_or(one, |two| &two[s * mean.n2 * survey.outputs..][..mean.n2 * survey.outputs]);
            add(one, two, &mut mean, &mut squares);
            progress(group.start + s + 1, samples);
        }
    }
    let n = samples as f64;
    for (sum, squares) in mean.values.iter_mut().zip(&mut squares) {
        *sum /= n;
        // Rounding can leave a little less than nothing of the variance.
        let variance = ((*squares / n - *sum * *sum) * n / (n - 1.0)).max(0.0);
        *squares = (variance / n).sqrt();
    }
    Ok(Estimate { kernel: mean, standard_error: squares })
}

/// `[samples, parameter]` for each parameter that is asked for.
fn directions<T: Real>(survey: &Survey, seed: u64, samples: std::ops::Range<usize>) -> Vec<Option<Vec<T>>> {
    let count = survey.parameters.len();
    let of = |(p, parameter): (usize, &super::uses::Parameter)| {
        parameter.wanted().then(|| {
            let root: T = number(parameter.rate.sqrt());
            let draw = |s: usize| nn::normals::<T>(seed, STREAM + (s * count + p) as u64, parameter.size);
            samples.clone().flat_map(draw).map(|r| root * r).collect()
        })
    };
    survey.parameters.iter().enumerate().map(of).collect()
}

/// `[samples, examples, outputs]`.
fn push<T: Real, F: Function<T>>(
    recorder: &mut Recorder<'_, T, F>,
    x: &[T],
    n: usize,
    survey: &Survey,
    tangents: &[Option<Vec<T>>],
    samples: usize,
) -> Vec<f64> {
    let (entries, o) = (x.len() / n.max(1), survey.outputs);
    let mut all = vec![0.0; samples * n * o];
    let mut flow = Flow::new();
    for block in blocks(n, EXAMPLES) {
        let output = recorder.record(&x[block.start * entries..block.end * entries]);
        let tangent = |leaf: Leaf| match leaf {
            Leaf::Parameter(p) => tangents[p].as_deref(),
            Leaf::Input(_) | Leaf::Constant => None,
        };
        let Some(df) = recorder.tape.push(output, samples, tangent, &mut flow) else { continue };
        for (s, df) in df.chunks_exact(block.len() * o).enumerate() {
            let to = &mut all[(s * n + block.start) * o..][..df.len()];
            to.iter_mut().zip(df).for_each(|(to, &d)| *to = autodiff::Scalar::primal(d));
        }
    }
    all
}

/// Adds one sample, and its square.
fn add(one: &[f64], two: &[f64], sum: &mut Kernel<f64>, squares: &mut [f64]) {
    let (o, kept) = (sum.outputs, sum.kept);
    let m = kept.entries(o);
    let row = sum.n2 * m;
    let rows = sum.values.par_chunks_mut(row).zip(squares.par_chunks_mut(row)).zip(one.par_chunks(o));
    rows.for_each(|((sum, squares), one)| {
        let total = one.iter().sum::<f64>();
        for (j, two) in two.chunks_exact(o).enumerate() {
            let mut put = |e: usize, q: f64| {
                sum[j * m + e] += q;
                squares[j * m + e] += q * q;
            };
            match kept {
                Outputs::Full => (0..o * o).for_each(|e| put(e, one[e / o] * two[e % o])),
                Outputs::Diagonal => (0..o).for_each(|a| put(a, one[a] * two[a])),
                Outputs::Trace => put(0, one.iter().zip(two).map(|(u, v)| u * v).sum::<f64>() / o as f64),
                Outputs::Sum => put(0, total * two.iter().sum::<f64>() / o as f64),
            }
        }
    });
}

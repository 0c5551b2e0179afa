//! The variances of every row behind every stage: what all pairs of a row share.

use super::fused::{Turns, run_length};
use super::hermite::{Row, SeriesTooLong};
use super::pair::{Norm, erf_variance};
use super::series::Series;
use super::stage::{Affine, Closed, Stage};
use super::{gelu, waves};
use rayon::prelude::*;
use simd::Float;
use simd::lane::Plain;

/// Variances `K11` behind one stage, and what the angles of its pairs need to know of a row.
#[derive(Clone, Debug)]
pub(super) struct Norms<T> {
    pub(super) variance: Vec<T>,
    /// √K11.
    pub(super) root: Vec<T>,
    /// Behind a sum of two parts (weights and bias, or two branches): the roots of their shares of the variance.
    pub(super) shares: [Vec<T>; 2],
    /// Behind a function with a Hermite series: the series of the rows.
    pub(super) series: Option<Series<T>>,
    /// Behind the first stage of a run of dense layers and ReLU that goes through one loop: what that needs to know of all of them.
    pub(super) turns: Option<Turns<T>>,
}

impl<T: Float> Norms<T> {
    pub(super) fn at(&self, i: usize) -> Norm<T> {
        Norm { variance: self.variance[i], root: self.root[i] }
    }

    pub(super) fn shares_at(&self, i: usize) -> [T; 2] {
        [self.shares[0][i], self.shares[1][i]]
    }

    fn new(variance: Vec<T>) -> Self {
        let root = variance.iter().map(|v| v.sqrt()).collect();
        Norms { variance, root, shares: [Vec::new(), Vec::new()], series: None, turns: None }
    }

    /// The shares of parts with these roots; a zero variance has none.
    fn sum(variance: Vec<T>, parts: [Vec<T>; 2]) -> Self {
        let norms = Norms::new(variance);
        let share = |(&part, &root): (&T, &T)| if root > T::ZERO { part / root } else { T::ZERO };
        let shares = parts.map(|part| part.iter().zip(&norms.root).map(share).collect());
        Norms { shares, ..norms }
    }
}

/// The norms of the input, then those behind every stage in the order of a walk through the model; a sum comes behind its
/// branches.
pub(super) fn trace<T: Float>(stages: &[Stage<Affine>], variance: Vec<T>) -> Result<Vec<Norms<T>>, SeriesTooLong> {
    let mut norms = vec![Norms::new(variance)];
    walk(stages, 0, &mut norms)?;
    Ok(norms)
}

/// Walks stages that read `norms[at]`; returns where their own end is.
fn walk<T: Float>(stages: &[Stage<Affine>], mut at: usize, norms: &mut Vec<Norms<T>>) -> Result<usize, SeriesTooLong> {
    let mut run = 0..0;
    for (k, stage) in stages.iter().enumerate() {
        if k >= run.end {
            run = k..k + run_length::<T>(&stages[k..]);
        }
        let x = &norms[at];
        let next = match stage {
            Stage::Linear(affine) => behind_affine(affine, x),
            Stage::Activation(Closed::Series(smooth)) => {
                // All of them first, so that the error is that of the first row at any number of threads.
                let rows: Vec<_> = x.variance.par_iter().map(|v| smooth.try_row(v.to_f64())).collect();
                let rows: Vec<Row> = rows.into_iter().collect::<Result<_, _>>()?;
                let variance = rows.iter().map(|row| T::of(row.variance)).collect();
                Norms { series: Some(Series::new(&rows)), ..Norms::new(variance) }
            }
            Stage::Activation(closed) => Norms::new(x.variance.iter().map(|&v| behind_activation(closed, v)).collect()),
            Stage::Norm { eps, all: _ } => {
                let eps = T::of(*eps);
                Norms::new(x.variance.iter().map(|&v| v / (v + eps)).collect())
            }
            Stage::Sum(branch, around) => {
                let ends = [walk(branch, at, norms)?, walk(around, at, norms)?];
                let [one, two] = ends.map(|end| &norms[end]);
                let variance = one.variance.iter().zip(&two.variance).map(|(&a, &b)| a + b).collect();
                Norms::sum(variance, [one.root.clone(), two.root.clone()])
            }
        };
        norms.push(next);
        at = norms.len() - 1;
        if k + 1 == run.end {
            let first = norms.len() - run.len();
            norms[first].turns = Some(Turns::new(&norms[first..]));
        }
    }
    Ok(at)
}

fn behind_affine<T: Float>(affine: &Affine, x: &Norms<T>) -> Norms<T> {
    let (w, b) = (T::of(affine.w), T::of(affine.b));
    let (ww, bb) = (T::of(affine.w * affine.w), T::of(affine.b * affine.b));
    let variance = x.variance.iter().map(|&v| ww * v + bb).collect();
    Norms::sum(variance, [x.root.iter().map(|&root| w * root).collect(), vec![b; x.root.len()]])
}

/// The variance behind an activation.
pub(super) fn behind_activation<T: Float>(closed: &Closed, variance: T) -> T {
    match closed {
        Closed::Relu => T::of(0.5) * variance,
        Closed::Kinked(kinked) => T::of(kinked.variance()) * variance,
        Closed::Erf => erf_variance::<T, Plain>(variance),
        Closed::Exp => T::of((2.0 * variance.to_f64()).exp()),
        Closed::Gelu => T::of(gelu::variance(variance.to_f64())),
        Closed::Wave(wave) => T::of(wave.variance(variance.to_f64())),
        Closed::Rbf(_) => T::ONE,
        Closed::Gaussian => T::of(waves::gaussian_variance(variance.to_f64())),
        Closed::Identity => variance,
        Closed::Series(smooth) => T::of(smooth.row(variance.to_f64()).variance),
    }
}

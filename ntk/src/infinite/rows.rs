//! One row of pairs on its way through the layers: the mathematics of `pair`, in the loops of `loops`.

use super::duals::{Dual, Erf, Exp, Gaussian, Gelu, Rbf, Relu};
use super::fused;
use super::loops::{ActivationLoop, BiasLoop, CovarianceLoop, SumLoop, ThetaLoop};
use super::norms::Norms;
use super::pair::{Kink, Norm};
use super::series::SeriesLoop;
use super::stage::{Affine, Closed, Stage};
use simd::{Float, Level};
use std::ops::Range;

/// The pairs of one example with some others: their angles and `Θ`, behind the stage whose norms have the number `at`.
#[derive(Clone, Default)]
pub(super) struct Strip<T> {
    pub(super) near: Vec<T>,
    pub(super) far: Vec<T>,
    pub(super) theta: Vec<T>,
    at: usize,
}

/// Example `i` of the first inputs, examples `j` of the second ones, with their norms.
pub(super) struct Pairs<'a, T> {
    pub(super) one: &'a [Norms<T>],
    pub(super) i: usize,
    pub(super) two: &'a [Norms<T>],
    pub(super) j: Range<usize>,
}

impl<T: Float> Strip<T> {
    /// Begins again with so many pairs, whose angles between the inputs are to be written down, and `Θ⁰ = 0`.
    pub(super) fn restart(&mut self, n: usize) {
        self.near.resize(n, T::ZERO);
        self.far.resize(n, T::ZERO);
        self.theta.clear();
        self.theta.resize(n, T::ZERO);
        self.at = 0;
    }

    /// Takes the pairs through all layers.
    pub(super) fn through(&mut self, stages: &[Stage<Affine>], pairs: &Pairs<T>) {
        self.walk(stages, pairs, &mut 0);
    }

    /// Writes down `K`.
    pub(super) fn nngp(&self, pairs: &Pairs<T>, nngp: &mut [T]) {
        let (one, two) = (pairs.one_at(self.at), pairs.two_at(self.at));
        Level::best().run(CovarianceLoop { one, two, strip: self, nngp });
    }

    /// Writes down `Θ`.
    pub(super) fn ntk(&self, ntk: &mut [T]) {
        ntk.copy_from_slice(&self.theta);
    }

    /// `last` is the number of the norms of the stage that was left last, in the order of the trace.
    fn walk(&mut self, stages: &[Stage<Affine>], pairs: &Pairs<T>, last: &mut usize) {
        let mut rest = stages;
        while let [stage, behind @ ..] = rest {
            rest = behind;
            match stage {
                Stage::Linear(affine) => {
                    *last += 1;
                    match (&pairs.one[*last].turns, &pairs.two[*last].turns) {
                        (Some(one), Some(two)) => {
                            *last += one.stages() - 1;
                            fused::run([one, two], self.at, *last, pairs, self);
                            rest = &behind[one.stages() - 1..];
                        }
                        (Some(_), None) | (None, Some(_)) | (None, None) => self.affine(affine, pairs, *last),
                    }
                }
                Stage::Activation(closed) => {
                    *last += 1;
                    self.activation(closed, pairs, *last);
                }
                // The angle stays.
                Stage::Norm { eps, all: _ } => {
                    let (one, two) = (pairs.one_at(self.at), pairs.two_at(self.at));
                    let root = |variance: T| (variance + T::of(*eps)).sqrt();
                    for (theta, &v) in self.theta.iter_mut().zip(two.variance) {
                        *theta = *theta / (root(one.variance) * root(v));
                    }
                    *last += 1;
                }
                Stage::Sum(branch, around) => {
                    let mut other = self.clone();
                    self.walk(branch, pairs, last);
                    other.walk(around, pairs, last);
                    *last += 1;
                    self.add(&other, pairs, *last);
                }
            }
            self.at = *last;
        }
    }

    fn affine(&mut self, affine: &Affine, pairs: &Pairs<T>, next: usize) {
        let coefficients = [affine.alpha, affine.gamma, affine.w * affine.w].map(T::of);
        Level::best().run(ThetaLoop { one: pairs.one_at(self.at), two: pairs.two_at(self.at), coefficients, strip: self });
        // Without bias the angle stays, and so do its bits.
        if affine.b != 0.0 {
            Level::best().run(BiasLoop { p: pairs.one[next].shares_at(pairs.i), q: pairs.two_at(next).shares, strip: self });
        }
    }

    fn add(&mut self, other: &Strip<T>, pairs: &Pairs<T>, next: usize) {
        let (p, q) = (pairs.one[next].shares_at(pairs.i), pairs.two_at(next).shares);
        for (theta, &more) in self.theta.iter_mut().zip(&other.theta) {
            *theta += more;
        }
        Level::best().run(SumLoop { p, q, strip: self, other });
    }

    fn activation(&mut self, closed: &Closed, pairs: &Pairs<T>, next: usize) {
        match closed {
            Closed::Relu => self.dual(Relu, pairs, next),
            Closed::Kinked(kinked) => self.dual(Kink::new(*kinked), pairs, next),
            Closed::Erf => self.dual(Erf, pairs, next),
            Closed::Exp => self.dual(Exp, pairs, next),
            Closed::Gelu => self.dual(Gelu, pairs, next),
            Closed::Wave(wave) => self.dual(*wave, pairs, next),
            Closed::Rbf(gamma) => self.dual(Rbf(*gamma), pairs, next),
            Closed::Gaussian => self.dual(Gaussian, pairs, next),
            Closed::Identity => (),
            Closed::Series(smooth) => {
                let [one, two] = [pairs.one, pairs.two].map(|norms| norms[next].series.as_ref().expect("the norms have the series"));
                let Strip { near, far, theta, .. } = self;
                Level::best().run(SeriesLoop { smooth, one, i: pairs.i, two, j: pairs.j.clone(), near, far, theta });
            }
        }
    }

    fn dual(&mut self, dual: impl Dual<T>, pairs: &Pairs<T>, next: usize) {
        let (one, two) = (pairs.one_at(self.at), pairs.two_at(self.at));
        let (behind_one, behind_two) = (pairs.one_at(next), pairs.two_at(next));
        Level::best().run(ActivationLoop { dual, one, two, behind_one, behind_two, strip: self });
    }
}

impl<'a, T: Float> Pairs<'a, T> {
    fn one_at(&self, stage: usize) -> Norm<T> {
        self.one[stage].at(self.i)
    }

    fn two_at(&self, stage: usize) -> Others<'a, T> {
        let norms = &self.two[stage];
        // Only sums have shares.
        let shares = norms.shares.each_ref().map(|share| if share.is_empty() { &share[..] } else { &share[self.j.clone()] });
        Others { variance: &norms.variance[self.j.clone()], root: &norms.root[self.j.clone()], shares }
    }
}

/// The norms of the examples `j`.
#[derive(Clone, Copy)]
pub(super) struct Others<'a, T> {
    pub(super) variance: &'a [T],
    pub(super) root: &'a [T],
    pub(super) shares: [&'a [T]; 2],
}

//! One row of pairs on its way through the layers: the mathematics of `pair`, in loops that are compiled for every CPU level.

use super::norms::Norms;
use super::pair::{self, Angle, Kink, Norm, covariance};
use super::series::SeriesLoop;
use super::stage::{Affine, Closed, Stage};
use super::{gelu, waves};
use simd::lane::Arith;
use simd::{Float, Kernel, Level};
use std::ops::Range;

/// The pairs of one example with some others: their angles and `Θ`, behind the stage whose norms have the number `at`.
#[derive(Clone)]
pub(super) struct Strip<T> {
    pub(super) near: Vec<T>,
    pub(super) far: Vec<T>,
    theta: Vec<T>,
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
    /// Pairs with these angles between the inputs; `Θ⁰ = 0`.
    pub(super) fn new(near: Vec<T>, far: Vec<T>) -> Self {
        let theta = vec![T::ZERO; near.len()];
        Strip { near, far, theta, at: 0 }
    }

    /// Takes the pairs through all layers and writes down `K` and `Θ`.
    pub(super) fn finish(mut self, stages: &[Stage<Affine>], pairs: &Pairs<T>, nngp: &mut [T], ntk: &mut [T]) {
        self.walk(stages, pairs, &mut 0);
        let (one, two) = (pairs.one_at(self.at), pairs.two_at(self.at));
        for (k, nngp) in nngp.iter_mut().enumerate() {
            *nngp = covariance(one, two.norm(k), Angle { near: self.near[k], far: self.far[k] });
        }
        ntk.copy_from_slice(&self.theta);
    }

    /// `last` is the number of the norms of the stage that was left last, in the order of the trace.
    fn walk(&mut self, stages: &[Stage<Affine>], pairs: &Pairs<T>, last: &mut usize) {
        for stage in stages {
            match stage {
                Stage::Linear(affine) => {
                    *last += 1;
                    self.affine(affine, pairs, *last);
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
        let (before, after) = (pairs.two_at(self.at), pairs.two_at(next));
        let (one, p) = (pairs.one_at(self.at), pairs.one[next].shares_at(pairs.i));
        let coefficients = [affine.alpha, affine.gamma, affine.w * affine.w].map(T::of);
        Level::best().run(ThetaLoop { one, two: before, coefficients, strip: self });
        // Without bias the angle stays, and so do its bits.
        if affine.b != 0.0 {
            Level::best().run(SumLoop { p, q: after.shares, strip: self, other: None });
        }
    }

    fn add(&mut self, other: &Strip<T>, pairs: &Pairs<T>, next: usize) {
        let (p, q) = (pairs.one[next].shares_at(pairs.i), pairs.two_at(next).shares);
        for (theta, &more) in self.theta.iter_mut().zip(&other.theta) {
            *theta += more;
        }
        Level::best().run(SumLoop { p, q, strip: self, other: Some(other) });
    }

    fn activation(&mut self, closed: &Closed, pairs: &Pairs<T>, next: usize) {
        let (one, two) = (pairs.one_at(self.at), pairs.two_at(self.at));
        let (after_one, after_two) = (pairs.one_at(next), pairs.two_at(next));
        match closed {
            Closed::Relu => Level::best().run(ReluLoop { alive: one.root > T::ZERO, root: two.root, strip: self }),
            Closed::Kinked(kinked) => {
                Level::best().run(KinkedLoop { kink: Kink::new(*kinked), one: one.root, root: two.root, strip: self });
            }
            Closed::Erf => Level::best().run(ErfLoop { one, two, after_one, after_two, strip: self }),
            Closed::Exp => self.each(two, |k, two, t| {
                let t = pair::exp(one, two, t);
                (t, covariance(after_one, after_two.norm(k), t))
            }),
            Closed::Gelu => Level::best().run(GeluLoop { one, two, strip: self }),
            Closed::Wave(wave) => self.each(two, |_, two, t| wave.pair(one, two, t)),
            Closed::Rbf(gamma) => self.each(two, |_, two, t| waves::rbf(*gamma, one, two, t)),
            Closed::Gaussian => self.each(two, |_, two, t| waves::gaussian(one, two, t)),
            Closed::Identity => (),
            Closed::Series(smooth) => {
                let [one, two] = [pairs.one, pairs.two].map(|norms| norms[next].series.as_ref().expect("the norms have the series"));
                let Strip { near, far, theta, .. } = self;
                Level::best().run(SeriesLoop { smooth, one, i: pairs.i, two, j: pairs.j.clone(), near, far, theta });
            }
        }
    }

    /// A function from the number, the norm and the angle of each pair to its new angle and slope.
    fn each(&mut self, two: Others<T>, f: impl Fn(usize, Norm<T>, Angle<T>) -> (Angle<T>, T)) {
        for k in 0..self.near.len() {
            let (t, slope) = f(k, two.norm(k), Angle { near: self.near[k], far: self.far[k] });
            (self.near[k], self.far[k]) = (t.near, t.far);
            self.theta[k] *= slope;
        }
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
struct Others<'a, T> {
    variance: &'a [T],
    root: &'a [T],
    shares: [&'a [T]; 2],
}

impl<T: Float> Others<'_, T> {
    #[inline(always)]
    fn norm(&self, k: usize) -> Norm<T> {
        Norm { variance: self.variance[k], root: self.root[k] }
    }
}

/// `Θ ← α K + γ + w² Θ`.
struct ThetaLoop<'a, T> {
    one: Norm<T>,
    two: Others<'a, T>,
    coefficients: [T; 3],
    strip: &'a mut Strip<T>,
}

impl<T: Float> Kernel for ThetaLoop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let (one, [alpha, gamma, ww]) = (self.one, self.coefficients);
        let theta = &mut self.strip.theta[..];
        let n = theta.len();
        let (near, far) = (&self.strip.near[..n], &self.strip.far[..n]);
        let (variance, root) = (&self.two.variance[..n], &self.two.root[..n]);
        for k in 0..n {
            let two = Norm { variance: variance[k], root: root[k] };
            let covariance = covariance(one, two, Angle { near: near[k], far: far[k] });
            theta[k] = A::mul_add(alpha, covariance, gamma) + ww * theta[k];
        }
    }
}

/// The angles of a sum of this and another part; without another one that is a bias, equal for all examples.
struct SumLoop<'a, T> {
    p: [T; 2],
    q: [&'a [T]; 2],
    strip: &'a mut Strip<T>,
    other: Option<&'a Strip<T>>,
}

impl<T: Float> Kernel for SumLoop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let n = self.strip.near.len();
        let (near, far) = (&mut self.strip.near[..n], &mut self.strip.far[..n]);
        let (q1, q2) = (&self.q[0][..n], &self.q[1][..n]);
        match self.other {
            None => {
                for k in 0..n {
                    let t = pair::sum(self.p, [q1[k], q2[k]], Angle { near: near[k], far: far[k] }, Angle::COINCIDENT);
                    (near[k], far[k]) = (t.near, t.far);
                }
            }
            Some(other) => {
                let (other_near, other_far) = (&other.near[..n], &other.far[..n]);
                for k in 0..n {
                    let other = Angle { near: other_near[k], far: other_far[k] };
                    let t = pair::sum(self.p, [q1[k], q2[k]], Angle { near: near[k], far: far[k] }, other);
                    (near[k], far[k]) = (t.near, t.far);
                }
            }
        }
    }
}

/// ReLU; of a zero variance the slope is that at 0, which is 0.
struct ReluLoop<'a, T> {
    alive: bool,
    root: &'a [T],
    strip: &'a mut Strip<T>,
}

impl<T: Float> Kernel for ReluLoop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let theta = &mut self.strip.theta[..];
        let n = theta.len();
        let (near, far, root) = (&mut self.strip.near[..n], &mut self.strip.far[..n], &self.root[..n]);
        let alive = if self.alive { T::ONE } else { T::ZERO };
        for k in 0..n {
            let (t, slope) = pair::relu::<T, A>(Angle { near: near[k], far: far[k] });
            (near[k], far[k]) = (t.near, t.far);
            let slope = if root[k] > T::ZERO { alive * slope } else { T::ZERO };
            theta[k] *= slope;
        }
    }
}

/// A function with a kink.
struct KinkedLoop<'a, T> {
    kink: Kink<T>,
    one: T,
    root: &'a [T],
    strip: &'a mut Strip<T>,
}

impl<T: Float> Kernel for KinkedLoop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let (kink, one) = (self.kink, self.one);
        let theta = &mut self.strip.theta[..];
        let n = theta.len();
        let (near, far, root) = (&mut self.strip.near[..n], &mut self.strip.far[..n], &self.root[..n]);
        for k in 0..n {
            let (t, slope) = pair::kinked::<T, A>(kink, one, root[k], Angle { near: near[k], far: far[k] });
            (near[k], far[k]) = (t.near, t.far);
            theta[k] *= slope;
        }
    }
}

struct ErfLoop<'a, T> {
    one: Norm<T>,
    two: Others<'a, T>,
    after_one: Norm<T>,
    after_two: Others<'a, T>,
    strip: &'a mut Strip<T>,
}

impl<T: Float> Kernel for ErfLoop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let theta = &mut self.strip.theta[..];
        let n = theta.len();
        let (near, far) = (&mut self.strip.near[..n], &mut self.strip.far[..n]);
        let (variance, root, after) = (&self.two.variance[..n], &self.two.root[..n], &self.after_two.root[..n]);
        for k in 0..n {
            let two = Norm { variance: variance[k], root: root[k] };
            let t = Angle { near: near[k], far: far[k] };
            let (t, slope) = pair::erf::<T, A>(self.one, two, [self.after_one.root, after[k]], t);
            (near[k], far[k]) = (t.near, t.far);
            theta[k] *= slope;
        }
    }
}

struct GeluLoop<'a, T> {
    one: Norm<T>,
    two: Others<'a, T>,
    strip: &'a mut Strip<T>,
}

impl<T: Float> Kernel for GeluLoop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let theta = &mut self.strip.theta[..];
        let n = theta.len();
        let (near, far) = (&mut self.strip.near[..n], &mut self.strip.far[..n]);
        let (variance, root) = (&self.two.variance[..n], &self.two.root[..n]);
        for k in 0..n {
            let two = Norm { variance: variance[k], root: root[k] };
            let (t, slope) = gelu::pair::<T, A>(self.one, two, Angle { near: near[k], far: far[k] });
            (near[k], far[k]) = (t.near, t.far);
            theta[k] *= slope;
        }
    }
}

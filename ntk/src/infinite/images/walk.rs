//! A walk of a plane of pairs of places through the layers.

use super::super::duals::{Dual, Erf, Exp, Gaussian, Gelu, Rbf, Relu};
use super::super::hermite::SeriesTooLong;
use super::super::norms::behind_activation;
use super::super::pair::Kink;
use super::super::series::SeriesLoop;
use super::super::stage::{Closed, Stage};
use super::activate::{Activate, Normalize, series};
use super::distance::{Branches, Cells, Distance, PoolDistance, Shares, StartDistance};
use super::lanes::{Places, Start, Weigh, carries_distance};
use super::linear::Linear;
use super::plan::{AxisPlan, AxisStep, Pairs, Taps, extent_behind};
use super::plane::{Place, Plane, Reads, own, plus, sums};
use super::relu::{AffineRelu, Rows};
use super::side::{Both, Lanes, Norms, Side};
use simd::{Float, Level};

/// A walk through the layers of M images, one for each lane or one for all, with L others.
pub(super) struct Walk<'a, T, const M: usize, const L: usize> {
    one: &'a Side<T, M>,
    two: &'a Side<T, L>,
    /// Whether the images are those with themselves, whose variances are found and written down on the way.
    records: bool,
    /// The number of the norms behind the stage that was left last.
    last: usize,
    /// Sums along the width, memory that is used again.
    rows: Vec<Lanes<T, L>>,
    memory: Rows<T, L>,
}

impl<'a, T: Float, const L: usize> Walk<'a, T, L, L> {
    /// Of images with themselves.
    pub(super) fn own(side: &'a Side<T, L>) -> Self {
        Walk { records: true, ..Walk::new(side, side) }
    }
}

impl<'a, T: Float, const M: usize, const L: usize> Walk<'a, T, M, L> {
    pub(super) fn new(one: &'a Side<T, M>, two: &'a Side<T, L>) -> Self {
        Walk { one, two, records: false, last: 0, rows: Vec::new(), memory: Rows::default() }
    }

    fn norms(&self, at: usize) -> Both<'a, T, M, L> {
        (self.one.at(at), self.two.at(at))
    }

    /// Writes down the variances behind a stage, if these are what is looked for.
    fn record(&self, at: usize, norms: impl FnOnce(&Side<T, L>) -> Result<Norms<T, L>, SeriesTooLong>) -> Result<(), SeriesTooLong> {
        if self.records {
            let written = self.two.norms[at].set(norms(self.two)?);
            assert!(written.is_ok(), "variances are written once");
        }
        Ok(())
    }

    /// Sums over windows of a plane.
    pub(super) fn sum(&mut self, taps: [&Taps; 2], plane: &mut Plane<T, L>) {
        let rows = &mut self.rows;
        plane.each_plane(|numbers| sums(taps, taps[1].sources(), numbers, rows));
    }

    /// Begins behind the stage with this number.
    pub(super) fn begin(&mut self, at: usize) {
        self.last = at;
    }

    /// The kernel of the inputs themselves.
    pub(super) fn start(&mut self, place: Place, channels: usize, reads: Reads, plane: &mut Plane<T, L>) {
        let places = place.places();
        plane.k.resize(places.len(), [T::ZERO; L]);
        plane.theta.clear();
        plane.distance.clear();
        let (one, two) = (&self.one.pixels[..], &self.two.pixels[..]);
        Level::best().run(Start { places, channels, one, two, k: &mut plane.k });
        let recorded = self.record(0, |_| Ok(own(places, place.n_places(), &plane.k)));
        recorded.expect("inputs have no series");
        if carries_distance::<T>() && reads.angles {
            plane.distance.resize(places.len(), [T::ZERO; L]);
            let (norms1, norms2) = self.norms(0);
            Level::best().run(StartDistance { places, channels, one: (one, norms1), two: (two, norms2), distance: &mut plane.distance });
        }
    }

    /// Takes a plane through the layers; `at` is the number of the norms of what they read. Returns that of what they give.
    pub(super) fn run(
        &mut self,
        stages: &[Stage<Linear>],
        [y, x]: [&AxisPlan; 2],
        image: [usize; 2],
        plane: &mut Plane<T, L>,
        mut at: usize,
        behind: Reads,
    ) -> Result<usize, SeriesTooLong> {
        let mut place = Place { y: &y.start, x: &x.start, image };
        let mut fused = false;
        for (i, (stage, (step_y, step_x))) in stages.iter().zip(y.steps.iter().zip(&x.steps)).enumerate() {
            if std::mem::take(&mut fused) {
                continue;
            }
            let reads = || Reads::of(&stages[i + 1..], behind);
            match (stage, step_y, step_x) {
                (Stage::Linear(linear), AxisStep::Linear(taps_y, next_y), AxisStep::Linear(taps_x, next_x)) => {
                    let next = Place { y: next_y, x: next_x, image: linear.out() };
                    let relu = matches!(stages.get(i + 1), Some(Stage::Activation(Closed::Relu)));
                    if relu && self.affine_relu(linear, [taps_y, taps_x], next, plane) {
                        place = next;
                        self.last += 2;
                        at = self.last;
                        fused = true;
                        continue;
                    }
                    self.linear(linear, [taps_y, taps_x], next, plane, at, reads())?;
                    place = next;
                }
                (Stage::Activation(closed), ..) => self.activation(closed, place, plane, at, reads())?,
                (Stage::Norm { eps, all }, ..) => self.norm(*eps, *all, place, plane, at, reads())?,
                (Stage::Sum(branch, around), AxisStep::Sum(branch_y, around_y, next_y), AxisStep::Sum(branch_x, around_x, next_x)) => {
                    let mut other = plane.clone();
                    let mut parts = [at; 2];
                    // A sum is where variances are added, so that both branches tell theirs.
                    let needed = reads();
                    parts[0] = self.run(branch, [branch_y, branch_x], place.image, plane, at, needed)?;
                    parts[1] = self.run(around, [around_y, around_x], place.image, &mut other, at, needed)?;
                    let image = [0, 1].map(|axis| extent_behind(branch, axis, place.image[axis]));
                    place = Place { y: next_y, x: next_x, image };
                    self.add(parts, place, plane, &other, needed)?;
                }
                (Stage::Linear(_) | Stage::Sum(..), ..) => unreachable!("a plan has the steps of its stages"),
            }
            self.last += 1;
            at = self.last;
        }
        self.pick([&y.pick, &x.pick], place, plane);
        Ok(at)
    }

    /// Leaves out pairs that are not wanted.
    fn pick(&self, [y, x]: [&Option<(Taps, Pairs)>; 2], place: Place, plane: &mut Plane<T, L>) {
        if y.is_none() && x.is_none() {
            return;
        }
        let all = |pairs: &Pairs| Taps::all(pairs.len());
        let (taps_y, taps_x) =
            (y.as_ref().map_or_else(|| all(place.y), |y| y.0.clone()), x.as_ref().map_or_else(|| all(place.x), |x| x.0.clone()));
        let mut rows = Vec::new();
        plane.each_plane(|numbers| sums([&taps_y, &taps_x], place.x.len(), numbers, &mut rows));
    }

    /// In single precision, where the variances are known, an affine layer and a ReLU are one pass. Returns whether that was so.
    fn affine_relu(&mut self, linear: &Linear, [taps_y, taps_x]: [&Taps; 2], next: Place, plane: &mut Plane<T, L>) -> bool {
        let Some(affine) = &linear.affine else { return false };
        if carries_distance::<T>() || self.records {
            return false;
        }
        let (norms, taps, places) = (self.norms(self.last + 1), [taps_y, taps_x], next.places());
        let (memory, Plane { k, theta, .. }) = (&mut self.memory, plane);
        memory.prepare(taps, places);
        let (first, len) = (theta.is_empty(), places.len());
        for plane in [&mut *k, theta] {
            plane.resize(len.max(plane.len()), [T::ZERO; L]);
        }
        Level::best().run(AffineRelu { linear, affine, taps, places, norms, k, theta, first, memory });
        k.truncate(len);
        theta.truncate(len);
        true
    }

    fn linear(
        &mut self,
        linear: &Linear,
        taps: [&Taps; 2],
        next: Place,
        plane: &mut Plane<T, L>,
        at: usize,
        reads: Reads,
    ) -> Result<(), SeriesTooLong> {
        let width = taps[1].sources();
        let rows = &mut self.rows;
        let distances = carries_distance::<T>() && reads.angles;
        sums(taps, width, &mut plane.k, rows);
        sums(taps, width, &mut plane.theta, rows);
        if distances && linear.tied {
            sums(taps, width, &mut plane.distance, rows);
        }
        if plane.k.is_empty() {
            // No window of these pairs sees a cell of both images.
            plane.k.resize(next.places().len(), [T::ZERO; L]);
            plane.distance.resize(if distances { plane.k.len() } else { 0 }, [T::ZERO; L]);
        }
        Level::best().run(Weigh { linear, k: &mut plane.k, theta: &mut plane.theta });
        let places = next.places();
        self.record(self.last + 1, |_| Ok(if reads.variances { own(places, next.n_places(), &plane.k) } else { Norms::default() }))?;
        if !distances {
            plane.distance.clear();
        } else if linear.tied {
            let shares = Cells::new(linear, self.norms(at));
            self.distance(places, plane, shares);
        } else {
            self.pool_distance(places, plane, self.last + 1);
        }
        Ok(())
    }

    fn distance(&self, places: Places, plane: &mut Plane<T, L>, shares: impl Shares<T, M, L>) {
        let norms = self.norms(self.last + 1);
        Level::best().run(Distance { places, k: &plane.k, norms, shares, distance: &mut plane.distance });
    }

    /// The distances behind a pool, whose norms have the number `at`.
    pub(super) fn pool_distance(&self, places: Places, plane: &mut Plane<T, L>, at: usize) {
        let norms = self.norms(at);
        plane.distance.clear();
        plane.distance.resize(places.len(), [T::ZERO; L]);
        Level::best().run(PoolDistance { places, k: &plane.k, norms, distance: &mut plane.distance });
    }

    fn add(
        &mut self,
        parts: [usize; 2],
        place: Place,
        plane: &mut Plane<T, L>,
        other: &Plane<T, L>,
        reads: Reads,
    ) -> Result<(), SeriesTooLong> {
        plus(&mut plane.k, &other.k);
        plus(&mut plane.theta, &other.theta);
        plus(&mut plane.distance, &other.distance);
        let places = place.places();
        self.record(self.last + 1, |_| Ok(if reads.variances { own(places, place.n_places(), &plane.k) } else { Norms::default() }))?;
        if carries_distance::<T>() && reads.angles {
            self.distance(places, plane, Branches(parts.map(|at| self.norms(at))));
        }
        Ok(())
    }

    fn norm(&mut self, eps: f64, all: bool, place: Place, plane: &mut Plane<T, L>, at: usize, reads: Reads) -> Result<(), SeriesTooLong> {
        let n = place.n_places();
        self.record(self.last + 1, |own| {
            let before = &own.at(at).variance;
            let mut total = [T::ZERO; L];
            for variance in &before[..n] {
                for l in 0..L {
                    total[l] += variance[l];
                }
            }
            let mean = total.map(|total| total / T::of(n as f64));
            let of = |p: usize, l: usize| (if all { mean[l] } else { before[p][l] }) + T::of(eps);
            let variance = (0..=n).map(|p| std::array::from_fn(|l| before[p][l] / of(p, l))).collect();
            let factor = (0..=n).map(|p| std::array::from_fn(|l| T::ONE / of(p, l).sqrt())).collect();
            Ok(Norms { factor, ..Norms::new(variance) })
        })?;
        if !reads.angles {
            plane.distance.clear();
        }
        let (before, behind) = (self.norms(at), self.norms(self.last + 1));
        let Plane { k, theta, distance } = plane;
        Level::best().run(Normalize { places: place.places(), before, behind, k, theta, distance });
        Ok(())
    }

    fn activation(&mut self, closed: &Closed, place: Place, plane: &mut Plane<T, L>, at: usize, reads: Reads) -> Result<(), SeriesTooLong> {
        self.record(self.last + 1, |own| {
            let before = &own.at(at).variance;
            match closed {
                Closed::Series(smooth) => Norms::of_series(smooth, before),
                Closed::Relu
                | Closed::Kinked(_)
                | Closed::Erf
                | Closed::Exp
                | Closed::Gelu
                | Closed::Wave(_)
                | Closed::Rbf(_)
                | Closed::Gaussian
                | Closed::Identity => {
                    let mut variance: Vec<_> = before.iter().map(|v| v.map(|v| behind_activation(closed, v))).collect();
                    // Beyond the edge there is nothing.
                    *variance.last_mut().expect("a place beyond the edge") = [T::ZERO; L];
                    Ok(Norms::new(variance))
                }
            }
        })?;
        let places = place.places();
        let (before, behind) = (self.norms(at), self.norms(self.last + 1));
        match closed {
            Closed::Relu => activate(Relu, places, before, behind, plane),
            Closed::Kinked(kinked) => activate(Kink::new(*kinked), places, before, behind, plane),
            Closed::Erf => activate(Erf, places, before, behind, plane),
            Closed::Exp => activate(Exp, places, before, behind, plane),
            Closed::Gelu => activate(Gelu, places, before, behind, plane),
            Closed::Wave(wave) => activate(*wave, places, before, behind, plane),
            Closed::Rbf(gamma) => activate(Rbf(*gamma), places, before, behind, plane),
            Closed::Gaussian => activate(Gaussian, places, before, behind, plane),
            Closed::Identity => (),
            Closed::Series(smooth) => {
                let known = "the norms have the series";
                let (one, lanes1) = behind.0.series.as_ref().expect(known);
                let (two, lanes2) = behind.1.series.as_ref().expect(known);
                let Plane { k, theta, distance } = plane;
                let mut none = vec![[T::ZERO; L]; if theta.is_empty() { places.len() } else { 0 }];
                let theta = if theta.is_empty() { &mut none } else { theta };
                // One row of the loop has the lanes of one image of the first side and of neighbours of the second one.
                let in_a_row = lanes1.iter().all(|lane| *lane == lanes1[0]) && lanes2.iter().enumerate().all(|(l, lane)| l == *lane);
                let step = if in_a_row { L } else { 1 };
                series(places, before, behind, (k, distance), |at, p, q, near, far| {
                    for l in (0..L).step_by(step) {
                        let (i, j) = (p * L + lanes1[l % M], q * L + lanes2[l]..q * L + lanes2[l] + step);
                        let (near, far, theta) = (&mut near[l..l + step], &mut far[l..l + step], &mut theta[at][l..l + step]);
                        Level::best().run(SeriesLoop { smooth, one, i, two, j, near, far, theta });
                    }
                });
            }
        }
        if !reads.angles {
            plane.distance.clear();
        }
        Ok(())
    }
}

fn activate<T: Float, const M: usize, const L: usize, D: Dual<T>>(
    dual: D,
    places: Places,
    before: Both<T, M, L>,
    behind: Both<T, M, L>,
    plane: &mut Plane<T, L>,
) {
    let Plane { k, theta, distance } = plane;
    Level::best().run(Activate { places, dual, before, behind, k, theta, distance });
}

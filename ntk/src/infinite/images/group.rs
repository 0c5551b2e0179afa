//! A group of images, or of pairs of images, on its way through all levels.

use super::super::hermite::SeriesTooLong;
use super::super::stage::{Closed, Stage};
use super::lanes::carries_distance;
use super::linear::Linear;
use super::plan::Taps;
use super::plane::{Place, Plane, own, sums};
use super::side::Side;
use super::walk::Walk;
use super::{Diagonal, Images, Inputs, LANES, Level, count};
use rayon::prelude::*;
use simd::Float;
use std::ops::Range;

/// The two sides of pairs; the first one has one image for all lanes, or one for each.
pub(super) type Two<'a, T, const M: usize, const L: usize> = (&'a Side<T, M>, &'a Side<T, L>);

impl Images {
    /// The images of some rows, with their variances.
    pub(super) fn sides<T: Float>(&self, x: &Inputs, rows: Range<usize>) -> Result<Vec<Side<T, LANES>>, SeriesTooLong> {
        let sides: Vec<_> = rows
            .clone()
            .into_par_iter()
            .step_by(LANES)
            .map(|start| {
                let places = self.image[0] * self.image[1];
                // Lanes beyond the last row have the last one again.
                let row = |l: usize| (start + l).min(rows.end - 1);
                let feature = |c: usize, p: usize| if x.channels_first { c * places + p } else { p * self.channels + c };
                let pixels = (0..self.channels)
                    .flat_map(|c| (0..places).map(move |p| feature(c, p)))
                    .map(|k| std::array::from_fn(|l| T::of((x.number)(row(l), k))))
                    .collect();
                self.variances(Side::new(pixels, count(&self.stages)))
            })
            .collect();
        sides.into_iter().collect()
    }

    /// Adds the variances behind all stages, as far as they are read.
    fn variances<T: Float>(&self, mut side: Side<T, LANES>) -> Result<Side<T, LANES>, SeriesTooLong> {
        let mut source: Option<Plane<T, LANES>> = None;
        for (number, level) in self.levels.iter().enumerate().take_while(|(_, level)| level.reads.variances) {
            let [y, x] = &level.own;
            let place = Place { y: &y.start, x: &x.start, image: level.image };
            let mut walk = Walk::own(&side);
            let mut plane = Plane::default();
            match &source {
                None => walk.start(place, self.channels, level.reads, &mut plane),
                Some(source) => {
                    plane.clone_from(source);
                    let taps = [0, 1].map(|axis| Taps::pick(&level.own[axis].start, &level.read[axis]));
                    plane.each_plane(|numbers| sums([&taps[0], &taps[1]], level.read[1].len(), numbers, &mut Vec::new()));
                }
            }
            walk.begin(level.first);
            walk.run(&self.stages[level.stages.clone()], [y, x], level.image, &mut plane, level.first, level.behind)?;
            if !carries_distance::<T>() {
                relus(&self.stages[level.stages.clone()], &mut level.first.clone(), &mut |at| {
                    if let Some(norms) = side.norms[at].get_mut() {
                        norms.for_relu();
                    }
                });
            }
            if let Some(next) = self.levels.get(number + 1).filter(|next| next.reads.variances) {
                let mut pooled = self.pooled(level, (&side, &side), source.as_ref())?;
                let place = Place { y: &level.given[0], x: &level.given[1], image: next.image };
                let norms = own(place.places(), next.image[0] * next.image[1], &pooled.k);
                assert!(side.norms[next.first].set(norms).is_ok(), "variances are written once");
                self.distances(level, (&side, &side), &mut pooled);
                source = Some(pooled);
            }
        }
        if !carries_distance::<T>() {
            // What pairs do not read in single precision.
            side.norms[0].take();
            relus(&self.stages, &mut 0, &mut |at| {
                side.norms[at + 1].take();
            });
        }
        Ok(side)
    }

    /// Distances behind the pool of a level, where they are read.
    fn distances<T: Float, const M: usize, const L: usize>(&self, level: &Level, (one, two): Two<T, M, L>, plane: &mut Plane<T, L>) {
        if carries_distance::<T>() && level.behind.angles && level.pool.is_some() {
            let image = level.pool.as_ref().map_or(level.end, Linear::out);
            let place = Place { y: &level.given[0], x: &level.given[1], image };
            let at = level.first + count(&self.stages[level.stages.clone()]) + 1;
            Walk::new(one, two).pool_distance(place.places(), plane, at);
        }
    }

    /// What a level makes of the plane before it: the sum over all diagonals.
    fn pooled<T: Float, const M: usize, const L: usize>(
        &self,
        level: &Level,
        (one, two): Two<T, M, L>,
        source: Option<&Plane<T, L>>,
    ) -> Result<Plane<T, L>, SeriesTooLong> {
        let (height, width) = (level.given[0].len(), level.given[1].len());
        let zeros = |len: usize| Plane { k: vec![[T::ZERO; L]; len], theta: vec![[T::ZERO; L]; len], distance: Vec::new() };
        // Threads share the diagonals along the height, and what these add to is summed in order.
        let begin = || (Walk::new(one, two), Plane::default());
        let row = |(walk, part): &mut (Walk<'_, T, M, L>, Plane<T, L>), y: &Diagonal| -> Result<Plane<T, L>, SeriesTooLong> {
            let mut sum = zeros(y.to.len() * width);
            for x in &level.diagonals[1] {
                self.one_diagonal(level, [y, x], walk, source, part)?;
                sum.add_at((0..y.to.len(), &x.to), width, part);
            }
            Ok(sum)
        };
        let rows: Vec<_> = level.diagonals[0].par_iter().map_init(begin, row).collect();
        let (mut plane, columns) = (zeros(height * width), (0..width).collect::<Vec<_>>());
        for (y, row) in level.diagonals[0].iter().zip(rows) {
            plane.add_at((y.to.iter().copied(), &columns), width, &row?);
        }
        if let Some(pool) = &level.pool {
            let scale = T::of(pool.scale);
            plane.each_plane(|numbers| numbers.iter_mut().flatten().for_each(|x| *x = scale * *x));
        }
        Ok(plane)
    }

    /// One diagonal, from the inputs or the plane before the level to the pairs behind its pool.
    fn one_diagonal<T: Float, const M: usize, const L: usize>(
        &self,
        level: &Level,
        [y, x]: [&Diagonal; 2],
        walk: &mut Walk<'_, T, M, L>,
        source: Option<&Plane<T, L>>,
        plane: &mut Plane<T, L>,
    ) -> Result<(), SeriesTooLong> {
        let place = Place { y: &y.plan.start, x: &x.plan.start, image: level.image };
        match source {
            None => walk.start(place, self.channels, level.reads, plane),
            Some(source) => {
                plane.clone_from(source);
                walk.sum([&y.source, &x.source], plane);
            }
        }
        walk.begin(level.first);
        walk.run(&self.stages[level.stages.clone()], [&y.plan, &x.plan], level.image, plane, level.first, level.behind)?;
        plane.distance.clear();
        walk.sum([&y.to_pool, &x.to_pool], plane);
        Ok(())
    }

    /// Both kernels of a group of pairs.
    pub(super) fn group<T: Float, const M: usize, const L: usize>(&self, sides: Two<T, M, L>) -> Result<[[T; L]; 2], SeriesTooLong> {
        let mut source = None;
        for level in &self.levels {
            let mut plane = self.pooled(level, sides, source.as_ref())?;
            self.distances(level, sides, &mut plane);
            source = Some(plane);
        }
        let Plane { k, theta, .. } = source.expect("a network has a level");
        Ok([k[0], theta[0]])
    }
}

/// Calls `f` with the numbers of the affine layers in front of a ReLU.
fn relus(stages: &[Stage<Linear>], at: &mut usize, f: &mut dyn FnMut(usize)) {
    for (i, stage) in stages.iter().enumerate() {
        match stage {
            Stage::Linear(linear) => {
                *at += 1;
                if linear.affine.is_some() && matches!(stages.get(i + 1), Some(Stage::Activation(Closed::Relu))) {
                    f(*at);
                }
            }
            Stage::Activation(_) | Stage::Norm { .. } => *at += 1,
            Stage::Sum(branch, around) => {
                relus(branch, at, f);
                relus(around, at, f);
                *at += 1;
            }
        }
    }
}

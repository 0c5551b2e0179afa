//! Networks that read images: a kernel for every pair of places until it is flattened or pooled.

mod lanes;
mod linear;
mod plan;
mod relu;
mod side;
mod walk;

use super::hermite::SeriesTooLong;
use super::stage::{Closed, Stage};
use plan::{AxisPlan, Pairs, Taps, Whose, before, diagonals, extent_behind, sorted, to_pool};
use rayon::prelude::*;
use side::Side;
use simd::Float;
use std::ops::Range;
use walk::{Place, Plane, Reads, Walk, own, sums};

pub(super) use linear::Linear;

/// Pairs of images that go through the layers side by side.
const LANES: usize = 16;

/// Images whose variances are known at a time, on either side.
const TILE: usize = 128;

/// A network of images.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Images {
    stages: Vec<Stage<Linear>>,
    image: [usize; 2],
    channels: usize,
    levels: Vec<Level>,
}

/// Stages up to a pool, or to the end. The pairs of places that the pool reads are cut into diagonals, each of which goes through
/// all stages by itself and is added to what the pool gives.
#[derive(Clone, Debug, PartialEq)]
struct Level {
    stages: Range<usize>,
    /// Height and width of what it reads, and of what the stages give.
    image: [usize; 2],
    end: [usize; 2],
    /// The number of the norms of what it reads.
    first: usize,
    /// What the stages behind this level read.
    behind: Reads,
    /// Whether anything from here on reads variances.
    reads: Reads,
    pool: Option<Linear>,
    /// Along each axis: the pairs of the level before, those that the pool gives, the diagonals, and the plan for variances.
    read: [Pairs; 2],
    given: [Pairs; 2],
    diagonals: [Vec<Diagonal>; 2],
    own: [AxisPlan; 2],
}

/// One diagonal along one axis.
#[derive(Clone, Debug, PartialEq)]
struct Diagonal {
    plan: AxisPlan,
    /// The start of the plan in the pairs of the level before.
    source: Taps,
    /// What the pool adds up of it, and for which of the pairs that it gives.
    to_pool: Taps,
    to: Vec<usize>,
}

/// How many stages a walk numbers.
fn count(stages: &[Stage<Linear>]) -> usize {
    stages
        .iter()
        .map(|stage| match stage {
            Stage::Linear(_) | Stage::Activation(_) | Stage::Norm { .. } => 1,
            Stage::Sum(branch, around) => 1 + count(branch) + count(around),
        })
        .sum()
}

impl Images {
    pub(super) fn new(stages: Vec<Stage<Linear>>, image: [usize; 2], channels: usize) -> Self {
        let is_pool = |stage: &Stage<Linear>| match stage {
            Stage::Linear(linear) => !linear.tied,
            Stage::Activation(_) | Stage::Norm { .. } | Stage::Sum(..) => false,
        };
        let pools = (0..stages.len()).filter(|&i| is_pool(&stages[i]));
        let ends: Vec<usize> = pools.chain([stages.len()]).collect();
        let mut levels: Vec<Level> = Vec::with_capacity(ends.len());
        // From the end, as each level needs what the next one reads.
        for (number, &end) in ends.iter().enumerate().rev() {
            let start = if number == 0 { 0 } else { ends[number - 1] + 1 };
            let before_it = [0, 1].map(|axis| extent_behind(&stages[..start], axis, image[axis]));
            let part = &stages[start..end];
            let pool = match stages.get(end) {
                Some(Stage::Linear(linear)) => Some(linear),
                Some(Stage::Activation(_) | Stage::Norm { .. } | Stage::Sum(..)) | None => None,
            };
            let behind = Reads::of(stages.get(end + 1..).unwrap_or(&[]), Reads::NOTHING);
            let along = |axis: usize| {
                let given = levels.last().map_or_else(|| vec![[0, 0]], |next: &Level| next.read[axis].clone());
                let lists = pool.map_or_else(|| vec![given.clone()], |pool| diagonals(part, pool, axis, &given));
                let extent = before_it[axis];
                let plans: Vec<_> = lists
                    .into_iter()
                    .map(|list| {
                        let plan = AxisPlan::new(part, axis, extent, None, &list, Whose::Two);
                        let all = || (Taps::all(list.len()), (0..list.len()).collect());
                        (plan, pool.map_or_else(all, |pool| to_pool(pool, axis, &given, &list)))
                    })
                    .collect();
                let ends = pool.map_or_else(
                    || given.clone(),
                    |pool| sorted(before(pool, axis, &given).into_iter().flatten().map(|p| [p, p]).collect()),
                );
                let own = AxisPlan::new(part, axis, extent, None, &ends, Whose::Own);
                let read = sorted(plans.iter().flat_map(|(plan, _)| &plan.start).chain(&own.start).copied().collect());
                let diagonals = plans
                    .into_iter()
                    .map(|(plan, (to_pool, to))| Diagonal { source: Taps::pick(&plan.start, &read), plan, to_pool, to })
                    .collect::<Vec<_>>();
                (read, given, diagonals, own)
            };
            let [(read_y, given_y, diagonals_y, own_y), (read_x, given_x, diagonals_x, own_x)] = [along(0), along(1)];
            levels.push(Level {
                stages: start..end,
                image: before_it,
                end: [0, 1].map(|axis| extent_behind(part, axis, before_it[axis])),
                first: count(&stages[..start]),
                behind,
                reads: Reads::of(part, behind),
                pool: pool.cloned(),
                read: [read_y, read_x],
                given: [given_y, given_x],
                diagonals: [diagonals_y, diagonals_x],
                own: [own_y, own_x],
            });
        }
        levels.reverse();
        Images { stages, image, channels, levels }
    }

    /// For functions that are put in the place of others.
    pub(super) fn stages_mut(&mut self) -> &mut [Stage<Linear>] {
        &mut self.stages
    }

    /// The images of some rows, with their variances.
    fn sides<T: Float>(&self, x: &Inputs, rows: Range<usize>) -> Result<Vec<Side<T, LANES>>, SeriesTooLong> {
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
            if !lanes::carries_distance::<T>() {
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
        if !lanes::carries_distance::<T>() {
            // What pairs do not read in single precision.
            side.norms[0].take();
            relus(&self.stages, &mut 0, &mut |at| {
                side.norms[at + 1].take();
            });
        }
        Ok(side)
    }

    /// Distances behind the pool of a level, where they are read.
    fn distances<T: Float, const M: usize>(&self, level: &Level, (one, two): Two<T, M>, plane: &mut Plane<T, LANES>) {
        if lanes::carries_distance::<T>() && level.behind.angles && level.pool.is_some() {
            let image = level.pool.as_ref().map_or(level.end, Linear::out);
            let place = Place { y: &level.given[0], x: &level.given[1], image };
            let at = level.first + count(&self.stages[level.stages.clone()]) + 1;
            Walk::new(one, two).pool_distance(place.places(), plane, at);
        }
    }

    /// What a level makes of the plane before it: the sum over all diagonals.
    fn pooled<T: Float, const M: usize>(
        &self,
        level: &Level,
        (one, two): Two<T, M>,
        source: Option<&Plane<T, LANES>>,
    ) -> Result<Plane<T, LANES>, SeriesTooLong> {
        let (height, width) = (level.given[0].len(), level.given[1].len());
        let zeros = |len: usize| Plane { k: vec![[T::ZERO; LANES]; len], theta: vec![[T::ZERO; LANES]; len], distance: Vec::new() };
        // Threads share the diagonals along the height, and what these add to is summed in order.
        let begin = || (Walk::new(one, two), Plane::default());
        let row = |(walk, part): &mut (Walk<'_, T, M, LANES>, Plane<T, LANES>), y: &Diagonal| -> Result<Plane<T, LANES>, SeriesTooLong> {
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
    fn one_diagonal<T: Float, const M: usize>(
        &self,
        level: &Level,
        [y, x]: [&Diagonal; 2],
        walk: &mut Walk<'_, T, M, LANES>,
        source: Option<&Plane<T, LANES>>,
        plane: &mut Plane<T, LANES>,
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
    fn group<T: Float, const M: usize>(&self, sides: Two<T, M>) -> Result<[[T; LANES]; 2], SeriesTooLong> {
        let mut source = None;
        for level in &self.levels {
            let mut plane = self.pooled(level, sides, source.as_ref())?;
            self.distances(level, sides, &mut plane);
            source = Some(plane);
        }
        let Plane { k, theta, .. } = source.expect("a network has a level");
        Ok([k[0], theta[0]])
    }

    /// How often activations are evaluated for one pair of images.
    pub(super) fn evaluations(&self) -> u64 {
        let of_level = |level: &Level| {
            let stages = &self.stages[level.stages.clone()];
            let along = |axis: usize| {
                let mut sums = Vec::new();
                for diagonal in &level.diagonals[axis] {
                    let mut lengths = Vec::new();
                    diagonal.plan.activated(stages, &mut lengths);
                    sums.resize(lengths.len(), 0);
                    sums.iter_mut().zip(lengths).for_each(|(sum, length)| *sum += length as u64);
                }
                sums
            };
            let (y, x): (Vec<u64>, Vec<u64>) = (along(0), along(1));
            y.iter().zip(x).map(|(y, x)| y * x).sum::<u64>()
        };
        self.levels.iter().map(of_level).sum()
    }

    /// With how many pairs of an image a block goes through the layers by itself, in place of being gathered with others. Where a pair is much
    /// work, or where there are few, no lane is wasted; functions with a series have rows.
    fn least_lanes(&self, columns: usize) -> usize {
        // What gathering copies of each stage is as much work as a few evaluations at each place.
        let numbers = (count(&self.stages) * self.image[0] * self.image[1]) as u64;
        if has_series(&self.stages) {
            1
        } else if columns < 2 * LANES || self.evaluations() > 8 * numbers {
            LANES
        } else {
            LANES / 4
        }
    }

    /// Both kernels of the pairs of rows `r` of `x1` with rows `c` of `x2`, or of those with i ≤ j of rows `r` with themselves, in parts:
    /// `write` gets i, j, K and Θ of each pair, and `each` is called with the number of pairs that are done.
    pub(super) fn pairs(
        &self,
        precision: Precision,
        (x1, r): (&Inputs, Range<usize>),
        other: Option<(&Inputs, Range<usize>)>,
        write: &mut dyn FnMut(usize, usize, f64, f64),
        each: &mut dyn FnMut(usize),
    ) -> Result<(), SeriesTooLong> {
        // The only places where the loops are made for a type, so that they are compiled once.
        match precision {
            Precision::Single => self.tiles::<f32>((x1, r), other, write, each),
            Precision::Double => self.tiles::<f64>((x1, r), other, write, each),
        }
    }

    /// Both kernels of each image with itself.
    pub(super) fn diagonal(&self, precision: Precision, x: &Inputs, rows: usize) -> Result<Vec<[f64; 2]>, SeriesTooLong> {
        match precision {
            Precision::Single => self.own_pairs::<f32>(x, rows),
            Precision::Double => self.own_pairs::<f64>(x, rows),
        }
    }

    fn own_pairs<T: Float>(&self, x: &Inputs, rows: usize) -> Result<Vec<[f64; 2]>, SeriesTooLong> {
        let sides = self.sides::<T>(x, 0..rows)?;
        let groups: Vec<_> = sides.par_iter().map(|side| self.group((side, side))).collect();
        let mut diagonal = Vec::with_capacity(sides.len() * LANES);
        for group in groups {
            let [k, theta] = group?;
            diagonal.extend((0..LANES).map(|l| [k[l].to_f64(), theta[l].to_f64()]));
        }
        diagonal.truncate(rows);
        Ok(diagonal)
    }

    fn tiles<T: Float>(
        &self,
        (x1, r): (&Inputs, Range<usize>),
        other: Option<(&Inputs, Range<usize>)>,
        write: &mut dyn FnMut(usize, usize, f64, f64),
        each: &mut dyn FnMut(usize),
    ) -> Result<(), SeriesTooLong> {
        let tiles = |range: &Range<usize>| {
            let end = range.end;
            range.clone().step_by(TILE).map(move |start| start..(start + TILE).min(end)).collect::<Vec<_>>()
        };
        let columns = other.as_ref().map_or_else(|| r.clone(), |(_, c)| c.clone());
        // Of images with themselves those of the larger number come first, so that blocks of those before them are full.
        let symmetric = other.is_none();
        let mut write = |i: usize, j: usize, k: f64, theta: f64| if symmetric { write(j, i, k, theta) } else { write(i, j, k, theta) };
        for rows in tiles(&r) {
            let one = self.sides::<T>(x1, rows.clone())?;
            let alone: Vec<_> = (0..rows.len()).into_par_iter().map(|i| Side::gather([(&one[i / LANES], i % LANES)])).collect();
            for columns in tiles(&columns) {
                if other.is_none() && columns.start >= rows.end {
                    continue;
                }
                let own = other.is_none() && rows == columns;
                let two = match &other {
                    Some((x2, _)) => Some(self.sides(x2, columns.clone())?),
                    None if own => None,
                    None => Some(self.sides(x1, columns.clone())?),
                };
                let tile = Tile { one: &one, alone: &alone, rows: rows.clone(), two: two.as_ref().unwrap_or(&one), columns, own };
                self.tile(&tile, &mut write, each)?;
            }
        }
        Ok(())
    }

    fn tile<T: Float>(
        &self,
        tile: &Tile<T>,
        write: &mut dyn FnMut(usize, usize, f64, f64),
        each: &mut dyn FnMut(usize),
    ) -> Result<(), SeriesTooLong> {
        // So many groups that a tick comes after a tenth of a second or so.
        let batch = (100_000_000 / (LANES as u64 * self.evaluations().max(1))).clamp(4, 1 << 20) as usize;
        let mut finish = |done: Vec<Result<Vec<Pair<T>>, SeriesTooLong>>| {
            for pairs in done {
                let pairs = pairs?;
                pairs.iter().for_each(|&(i, j, k, theta)| write(i, j, k.to_f64(), theta.to_f64()));
                each(pairs.len());
            }
            Ok(())
        };
        // Blocks of which all lanes have a pair with an image, or enough lanes.
        let least = self.least_lanes(tile.columns.len());
        let blocks: Vec<_> = (0..tile.two.len())
            .flat_map(|b| tile.rows.clone().step_by(ROWS).map(move |start| (b, start..(start + ROWS).min(tile.rows.end))))
            .collect();
        for blocks in blocks.chunks(batch.div_ceil(ROWS)) {
            finish(blocks.par_iter().map(|(b, rows)| self.rows(tile, rows.clone(), *b, least)).collect())?;
        }
        let rest = tile.rows.clone().flat_map(|i| (0..tile.two.len()).map(move |b| (i, b)));
        let rest = rest.filter(|&(i, b)| tile.lanes(i, b).len() < least);
        let pairs: Vec<_> = rest.flat_map(|(i, b)| tile.lanes(i, b).map(move |j| (i, j))).collect();
        for pairs in pairs.chunks(batch * LANES) {
            finish(pairs.par_chunks(LANES).map(|pairs| self.packed(tile, pairs)).collect())?;
        }
        Ok(())
    }

    /// The pairs of some images, one after the other, with the block `b` of the other ones.
    fn rows<T: Float>(&self, tile: &Tile<T>, rows: Range<usize>, b: usize, least: usize) -> Result<Vec<Pair<T>>, SeriesTooLong> {
        let mut pairs = Vec::with_capacity(rows.len() * LANES);
        for i in rows {
            let lanes = tile.lanes(i, b);
            if lanes.is_empty() || lanes.len() < least {
                continue;
            }
            let [k, theta] = self.group((&tile.alone[i - tile.rows.start], &tile.two[b]))?;
            let first = tile.columns.start + b * LANES;
            pairs.extend(lanes.map(|j| (i, j, k[j - first], theta[j - first])));
        }
        Ok(pairs)
    }

    /// Any pairs of a tile, at most one for each lane.
    fn packed<T: Float>(&self, tile: &Tile<T>, pairs: &[(usize, usize)]) -> Result<Vec<Pair<T>>, SeriesTooLong> {
        // Lanes beyond the last pair have it again.
        let pair = |l: usize| pairs[l.min(pairs.len() - 1)];
        let (rows, columns) = (tile.rows.start, tile.columns.start);
        let one: Side<T, LANES> =
            Side::gather(std::array::from_fn(|l| (&tile.one[(pair(l).0 - rows) / LANES], (pair(l).0 - rows) % LANES)));
        let two = Side::gather(std::array::from_fn(|l| (&tile.two[(pair(l).1 - columns) / LANES], (pair(l).1 - columns) % LANES)));
        let [k, theta] = self.group((&one, &two))?;
        Ok(pairs.iter().enumerate().map(|(l, &(i, j))| (i, j, k[l], theta[l])).collect())
    }
}

/// Images one after the other that a block of others stays in a cache for.
const ROWS: usize = 32;

/// In which precision kernels are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    Single,
    Double,
}

impl Precision {
    pub(super) fn of<T: Float>() -> Self {
        if lanes::carries_distance::<T>() { Precision::Double } else { Precision::Single }
    }
}

/// Inputs of either precision: the number of a row and a feature.
pub(super) struct Inputs<'a> {
    pub(super) number: &'a (dyn Fn(usize, usize) -> f64 + Sync),
    pub(super) channels_first: bool,
}

/// The two sides of pairs; the first one has one image for all lanes, or one for each.
type Two<'a, T, const M: usize> = (&'a Side<T, M>, &'a Side<T, LANES>);

/// i, j, K and Θ.
type Pair<T> = (usize, usize, T, T);

/// Images with their variances, on both sides; if these are the same, pairs with i ≥ j.
struct Tile<'a, T> {
    one: &'a [Side<T, LANES>],
    /// The same images one by one.
    alone: &'a [Side<T, 1>],
    rows: Range<usize>,
    two: &'a [Side<T, LANES>],
    columns: Range<usize>,
    own: bool,
}

impl<T> Tile<'_, T> {
    /// The images of the block `b` that make a pair with image `i`.
    fn lanes(&self, i: usize, b: usize) -> Range<usize> {
        let start = self.columns.start + b * LANES;
        let end = (start + LANES).min(self.columns.end);
        start..if self.own { end.min(i + 1).max(start) } else { end }
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

fn has_series(stages: &[Stage<Linear>]) -> bool {
    stages.iter().any(|stage| match stage {
        Stage::Linear(_) | Stage::Norm { .. } => false,
        Stage::Activation(closed) => matches!(closed, Closed::Series(_)),
        Stage::Sum(branch, around) => has_series(branch) || has_series(around),
    })
}

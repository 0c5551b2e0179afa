//! Networks that read images: a kernel for every pair of places until it is flattened or pooled.

mod activate;
mod distance;
mod group;
mod lanes;
mod linear;
mod plan;
mod plane;
mod relu;
mod side;
mod tiles;
mod walk;

use super::stage::Stage;
use plan::{AxisPlan, Pairs, Taps, Whose, before, diagonals, extent_behind, joined, sorted, to_pool};
use plane::Reads;
use simd::Float;
use std::ops::Range;

pub(super) use linear::Linear;

/// Pairs of images that go through the layers side by side.
const LANES: usize = 16;

/// Pairs of places of a plane that goes through the layers by itself, if its rows would be short.
const PLANE: usize = 192;

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
                let mut lists = pool.map_or_else(|| vec![given.clone()], |pool| diagonals(part, pool, axis, &given));
                if axis == 1 {
                    // Both kernels of a plane in the first cache.
                    lists = joined(lists, PLANE / before_it[0].max(1));
                }
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
}

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

//! Which pairs of places are needed, along one axis, and which of them each window adds up.
//!
//! All sums over windows are products of sums along the height and along the width. So a plan for one axis at a time is enough: the plane
//! of pairs that a piece of work needs is the product of a list for the height and of one for the width.

use super::super::stage::Stage;
use super::linear::Linear;
use std::collections::BTreeMap;
use std::ops::Range;

/// Pairs (p, q) of places along an axis: p of the first image and q of the second one, in the order of [`key`].
pub(super) type Pairs = Vec<[usize; 2]>;

/// Diagonals one after the other, each of them in ascending order, so that neighbours of a pair stand next to it.
fn key(&[p, q]: &[usize; 2]) -> (isize, usize) {
    (q as isize - p as isize, p)
}

/// For each pair behind a layer, the pairs before it that are added up, as numbers in their list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Taps {
    starts: Vec<usize>,
    from: Vec<usize>,
    /// The length of the list before.
    sources: usize,
    /// See [`runs`](Self::runs).
    runs: Vec<(Range<usize>, usize)>,
    /// See [`neighbours`](Self::neighbours).
    neighbours: Vec<(usize, usize)>,
    /// See [`threes`](Self::threes).
    threes: Option<Vec<[usize; 3]>>,
    /// See [`until`](Self::until), [`alive`](Self::alive) and [`keeps_ahead`](Self::keeps_ahead).
    until: Vec<usize>,
    alive: usize,
    keeps_ahead: bool,
}

/// No pair.
pub(super) const NONE: usize = usize::MAX;

impl Taps {
    #[inline(always)]
    pub(super) fn of(&self, k: usize) -> &[usize] {
        &self.from[self.starts[k]..self.starts[k + 1]]
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(super) fn sources(&self) -> usize {
        self.sources
    }

    /// Pairs, one after the other, of which pair number `start + k` adds up the numbers `first + k` to `first + k + 2`: what lies between
    /// the edges, for windows of three and stride 1. The range and `first` of each.
    #[inline(always)]
    pub(super) fn runs(&self) -> &[(Range<usize>, usize)] {
        &self.runs
    }

    /// Starts and lengths of the pairs behind a layer that are neighbours in both images, one after the other.
    #[inline(always)]
    pub(super) fn neighbours(&self) -> &[(usize, usize)] {
        &self.neighbours
    }

    /// The lists of all pairs, filled up to three by [`NONE`], if none is longer.
    #[inline(always)]
    pub(super) fn threes(&self) -> Option<&[[usize; 3]]> {
        self.threes.as_deref()
    }

    /// How many of the pairs before are needed for the pairs up to number `k`, if they come in order.
    #[inline(always)]
    pub(super) fn until(&self, k: usize) -> usize {
        self.until[k]
    }

    /// How many pairs, one after the other, hold at any time all that is needed yet and has come.
    pub(super) fn alive(&self) -> usize {
        self.alive
    }

    /// Whether for pair `k` at least `k + 1` of the pairs before are needed, so that it may take the place of one of them.
    pub(super) fn keeps_ahead(&self) -> bool {
        self.keeps_ahead
    }

    /// Every pair stays.
    pub(super) fn all(len: usize) -> Self {
        Taps::of_lists((0..=len).collect(), (0..len).collect(), len)
    }

    fn of_lists(starts: Vec<usize>, from: Vec<usize>, sources: usize) -> Self {
        let list = |k: usize| &from[starts[k]..starts[k + 1]];
        let len = starts.len() - 1;
        let mut runs: Vec<(Range<usize>, usize)> = Vec::new();
        for k in 0..len {
            let &[a, b, c] = list(k) else { continue };
            if [b, c] != [a + 1, a + 2] {
                continue;
            }
            match runs.last_mut() {
                Some((run, first)) if run.end == k && *first + run.len() == a => run.end += 1,
                Some(_) | None => runs.push((k..k + 1, a)),
            }
        }
        let mut until: Vec<usize> = (0..len).map(|k| list(k).iter().max().map_or(0, |&tap| tap + 1)).collect();
        for k in 1..len {
            until[k] = until[k].max(until[k - 1]);
        }
        // What has come and lies behind the first one that a pair or a later one needs.
        let (mut alive, mut least) = (1, usize::MAX);
        for k in (0..len).rev() {
            least = list(k).iter().fold(least, |least, &tap| least.min(tap));
            alive = alive.max(until[k].saturating_sub(least));
        }
        let three = |k: usize| {
            let (list, mut three) = (list(k), [NONE; 3]);
            three.get_mut(..list.len())?.copy_from_slice(list);
            Some(three)
        };
        let threes = (0..len).map(three).collect();
        let keeps_ahead = until.iter().enumerate().all(|(k, &until)| until > k);
        Taps { runs, neighbours: Vec::new(), threes, until, alive, keeps_ahead, starts, from, sources }
    }

    /// Picks the pairs of a list out of a larger one.
    pub(super) fn pick(wanted: &Pairs, before: &Pairs) -> Self {
        Taps::new(wanted, before, |pair, f| f(pair))
    }

    /// `sources` calls its argument with every pair that is added up for a pair behind the layer; those that are not in `before` are left out.
    fn new(behind: &Pairs, before: &Pairs, sources: impl Fn([usize; 2], &mut dyn FnMut([usize; 2]))) -> Self {
        let (mut starts, mut from) = (vec![0], Vec::new());
        for &pair in behind {
            sources(pair, &mut |source| from.extend(before.binary_search_by_key(&key(&source), key)));
            starts.push(from.len());
        }
        let mut neighbours: Vec<(usize, usize)> = Vec::new();
        for (k, pair) in behind.iter().enumerate() {
            match neighbours.last_mut() {
                Some((start, len)) if *pair == behind[*start].map(|place| place + *len) => *len += 1,
                Some(_) | None => neighbours.push((k, 1)),
            }
        }
        Taps { neighbours, ..Taps::of_lists(starts, from, before.len()) }
    }
}

/// The way of a list of pairs through some layers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AxisPlan {
    pub(super) start: Pairs,
    pub(super) steps: Vec<AxisStep>,
    /// Picks the pairs that are wanted at the end, where there are more.
    pub(super) pick: Option<(Taps, Pairs)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum AxisStep {
    /// A linear layer, and the pairs behind it.
    Linear(Taps, Pairs),
    /// A layer that acts on each pair alone.
    Alone,
    /// The pairs behind both branches.
    Sum(Box<AxisPlan>, Box<AxisPlan>, Pairs),
}

/// Calls `f` with the pairs of cells that the windows of a pair of places see.
fn sources(linear: &Linear, axis: usize, [p, q]: [usize; 2], f: &mut dyn FnMut([usize; 2])) {
    let window = linear.window(axis);
    for tap in 0..window {
        let Some(from_p) = linear.cell(axis, p, tap) else { continue };
        let other = if linear.tied { tap..tap + 1 } else { 0..window };
        for from_q in other.filter_map(|tap| linear.cell(axis, q, tap)) {
            f([from_p, from_q]);
        }
    }
}

/// The pairs before a layer that a list behind it needs.
pub(super) fn before(linear: &Linear, axis: usize, behind: &Pairs) -> Pairs {
    let mut pairs = Vec::new();
    for &pair in behind {
        sources(linear, axis, pair, &mut |source| pairs.push(source));
    }
    sorted(pairs)
}

/// In order, each pair once.
pub(super) fn sorted(mut pairs: Pairs) -> Pairs {
    pairs.sort_unstable_by_key(key);
    pairs.dedup();
    pairs
}

/// Whose pairs they are. An image with itself has its variances on the way, for which every pair (p, q) needs (p, p) and (q, q).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Two,
    Own,
}

impl Whose {
    fn close(self, pairs: Pairs) -> Pairs {
        match self {
            Whose::Two => pairs,
            Whose::Own => sorted(pairs.iter().flat_map(|&[p, q]| [[p, q], [p, p], [q, q]]).collect()),
        }
    }
}

/// The pairs that some layers need of what they read, which is an image of `extent` places along the axis.
fn needs(stages: &[Stage<Linear>], axis: usize, extent: usize, wanted: &Pairs, whose: Whose) -> Pairs {
    let Some((last, rest)) = stages.split_last() else { return whose.close(wanted.clone()) };
    let here = extent_behind(rest, axis, extent);
    let read = match last {
        Stage::Linear(linear) => before(linear, axis, &whose.close(wanted.clone())),
        Stage::Activation(_) | Stage::Norm { all: false, .. } => wanted.clone(),
        // The mean of the variances of all places.
        Stage::Norm { all: true, .. } => match whose {
            Whose::Two => wanted.clone(),
            Whose::Own => sorted(wanted.iter().copied().chain((0..here).map(|p| [p, p])).collect()),
        },
        Stage::Sum(branch, around) => {
            let [branch, around] = [branch, around].map(|stages| needs(stages, axis, here, wanted, whose));
            sorted(branch.into_iter().chain(around).collect())
        }
    };
    needs(rest, axis, extent, &read, whose)
}

/// Places along an axis behind some layers.
pub(super) fn extent_behind(stages: &[Stage<Linear>], axis: usize, extent: usize) -> usize {
    stages.iter().fold(extent, |extent, stage| match stage {
        Stage::Linear(linear) => linear.out()[axis],
        Stage::Activation(_) | Stage::Norm { .. } => extent,
        Stage::Sum(branch, _) => extent_behind(branch, axis, extent),
    })
}

impl AxisPlan {
    /// Writes down how many pairs each activation reads.
    pub(super) fn activated(&self, stages: &[Stage<Linear>], lengths: &mut Vec<usize>) {
        let mut len = self.start.len();
        for (stage, step) in stages.iter().zip(&self.steps) {
            match (stage, step) {
                (Stage::Linear(_), AxisStep::Linear(_, behind)) => len = behind.len(),
                (Stage::Activation(_), _) => lengths.push(len),
                (Stage::Norm { .. }, _) => (),
                (Stage::Sum(branch, around), AxisStep::Sum(branch_plan, around_plan, behind)) => {
                    branch_plan.activated(branch, lengths);
                    around_plan.activated(around, lengths);
                    len = behind.len();
                }
                (Stage::Linear(_) | Stage::Sum(..), _) => unreachable!("a plan has the steps of its stages"),
            }
        }
    }

    /// From a list that holds all pairs that are needed, or from just these.
    pub(super) fn new(stages: &[Stage<Linear>], axis: usize, extent: usize, start: Option<&Pairs>, wanted: &Pairs, whose: Whose) -> Self {
        let start = start.cloned().unwrap_or_else(|| needs(stages, axis, extent, wanted, whose));
        let mut now = start.clone();
        let mut here = extent;
        let mut steps = Vec::with_capacity(stages.len());
        for (i, stage) in stages.iter().enumerate() {
            let behind_it = extent_behind(&stages[i..=i], axis, here);
            let behind = || needs(&stages[i + 1..], axis, behind_it, wanted, whose);
            steps.push(match stage {
                Stage::Linear(linear) => {
                    let behind = behind();
                    let taps = Taps::new(&behind, &now, |pair, f| sources(linear, axis, pair, f));
                    now = behind.clone();
                    AxisStep::Linear(taps, behind)
                }
                Stage::Activation(_) | Stage::Norm { .. } => AxisStep::Alone,
                Stage::Sum(branch, around) => {
                    let behind = behind();
                    let [branch, around] =
                        [branch, around].map(|stages| Box::new(AxisPlan::new(stages, axis, here, Some(&now), &behind, whose)));
                    now = behind.clone();
                    AxisStep::Sum(branch, around, behind)
                }
            });
            here = behind_it;
        }
        let wanted = whose.close(wanted.clone());
        let pick = (now != wanted).then(|| (Taps::pick(&wanted, &now), wanted));
        AxisPlan { start, steps, pick }
    }
}

/// Cuts a list of what a pool reads into diagonals, which convolutions do not mix: pairs of the same q − p, on a ring modulo the number
/// of places.
pub(super) fn diagonals(stages: &[Stage<Linear>], pool: &Linear, axis: usize, behind: &Pairs) -> Vec<Pairs> {
    let n = pool.image()[axis] as isize;
    let ring = stages.iter().any(is_ring);
    let mut lists: BTreeMap<isize, Pairs> = BTreeMap::new();
    for pair in before(pool, axis, behind) {
        let offset = pair[1] as isize - pair[0] as isize;
        lists.entry(if ring { offset.rem_euclid(n) } else { offset }).or_default().push(pair);
    }
    lists.into_values().collect()
}

/// Joins neighbouring lists until none is much shorter than `least` pairs.
pub(super) fn joined(lists: Vec<Pairs>, least: usize) -> Vec<Pairs> {
    let mut joined: Vec<Pairs> = Vec::new();
    for list in lists {
        match joined.last_mut() {
            Some(last) if last.len() + list.len() <= least => last.extend(list),
            Some(_) | None => joined.push(list),
        }
    }
    joined.into_iter().map(sorted).collect()
}

/// What a pool adds up of a part of the pairs before it, and for which of the pairs behind it.
pub(super) fn to_pool(pool: &Linear, axis: usize, behind: &Pairs, part: &Pairs) -> (Taps, Vec<usize>) {
    let all = Taps::new(behind, part, |pair, f| sources(pool, axis, pair, f));
    let to: Vec<usize> = (0..behind.len()).filter(|&k| !all.of(k).is_empty()).collect();
    let some: Pairs = to.iter().map(|&k| behind[k]).collect();
    (Taps::new(&some, part, |pair, f| sources(pool, axis, pair, f)), to)
}

fn is_ring(stage: &Stage<Linear>) -> bool {
    match stage {
        Stage::Linear(linear) => linear.is_circular(),
        Stage::Activation(_) | Stage::Norm { .. } => false,
        Stage::Sum(branch, around) => branch.iter().chain(around).any(is_ring),
    }
}

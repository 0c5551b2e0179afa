//! The tiles that a kernel is computed in, and how far the work is.

use super::Strategy;
use super::plan::{Order, Plan};
use super::reduce::Outputs;
use super::request::Tile;
use std::ops::Range;

/// How a kernel is cut into tiles, of which there may be too many for a list.
pub(super) struct Tiling {
    /// Examples along the rows and along the columns.
    above: Vec<Range<usize>>,
    right: Vec<Range<usize>>,
    /// Outputs along the rows, with the groups of outputs that they meet along the columns.
    outputs: Vec<(Range<usize>, Range<usize>)>,
    groups: Vec<Range<usize>>,
    /// Whether the examples are the same, and tiles below the diagonal are left out.
    symmetric: bool,
}

/// Examples and outputs along the rows of some tiles.
pub(super) struct Row<'t> {
    pub(super) examples: Range<usize>,
    pub(super) outputs: Range<usize>,
    right: &'t [Range<usize>],
    beside: &'t [Range<usize>],
    symmetric: bool,
}

/// Examples and outputs along the columns of a tile.
pub(super) struct Column {
    pub(super) examples: Range<usize>,
    pub(super) outputs: Range<usize>,
    /// Whether they are those along the rows.
    pub(super) same: bool,
}

impl Tiling {
    /// Of a kernel of `n1` examples with `n2`, or of `n1` with themselves.
    pub(super) fn new(n1: usize, n2: Option<usize>, strategy: Strategy, tile: Tile, kept: Outputs, outputs: usize) -> Self {
        let every = 0..outputs;
        let groups = if kept == Outputs::Sum { vec![every.clone()] } else { blocks(outputs, tile.outputs) };
        let meets = match (kept, strategy) {
            (Outputs::Full, Strategy::Products) => vec![(every, 0..groups.len())],
            (Outputs::Full, Strategy::Auto | Strategy::Jacobian | Strategy::Structured) => {
                groups.iter().map(|g| (g.clone(), 0..groups.len())).collect()
            }
            (Outputs::Trace | Outputs::Diagonal | Outputs::Sum, _) => {
                groups.iter().enumerate().map(|(i, g)| (g.clone(), i..i + 1)).collect()
            }
        };
        let (above, right) = (blocks(n1, tile.examples), blocks(n2.unwrap_or(n1), tile.examples));
        Tiling { above, right, outputs: meets, groups, symmetric: n2.is_none() }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.outputs.iter().flat_map(move |(outputs, meets)| {
            self.above.iter().enumerate().map(move |(i, examples)| Row {
                examples: examples.clone(),
                outputs: outputs.clone(),
                right: &self.right[if self.symmetric { i } else { 0 }..],
                beside: &self.groups[meets.clone()],
                symmetric: self.symmetric,
            })
        })
    }

    /// The number of tiles.
    pub(super) fn len(&self) -> usize {
        self.rows().map(|row| row.right.len() * row.beside.len()).sum()
    }
}

impl Row<'_> {
    pub(super) fn tiles(&self) -> impl Iterator<Item = Column> {
        self.right.iter().flat_map(move |examples| {
            self.beside.iter().map(move |outputs| Column {
                examples: examples.clone(),
                outputs: outputs.clone(),
                same: self.symmetric && self.examples == *examples && self.outputs == *outputs,
            })
        })
    }
}

pub(super) fn blocks(n: usize, block: usize) -> Vec<Range<usize>> {
    (0..n).step_by(block).map(|i| i..(i + block).min(n)).collect()
}

/// Parts of a tile of `n1` by `n2` examples that are contracted one after the other, `band` rows at a time, with whether the rows are the
/// columns: of a tile of examples with themselves what is on and above the diagonal.
pub(super) fn bands(n1: usize, n2: usize, band: usize, same: bool) -> Vec<(Range<usize>, Range<usize>, bool)> {
    let mut parts = Vec::new();
    for rows in blocks(n1, band) {
        if !same {
            parts.push((rows, 0..n2, false));
            continue;
        }
        let right = rows.end..n2;
        parts.push((rows.clone(), rows.clone(), true));
        if !right.is_empty() {
            parts.push((rows, right, false));
        }
    }
    parts
}

/// Of how many parts progress is told.
const PARTS: usize = 1000;

/// Seconds that pass between two words of progress, as far as the plan knows.
const SECONDS: f64 = 0.5;

/// Rows of a Gram matrix that are worth packing the columns for.
const ROWS: usize = 128;

/// How far the work is, in seconds as the plan expects them.
pub(super) struct Steps<'p> {
    /// Of one output of an example that is made ready, and of one pair of outputs of two examples.
    prepared: f64,
    contracted: f64,
    all: f64,
    done: f64,
    /// Rows of Gram matrices that are contracted at once at least.
    rows: usize,
    progress: &'p mut dyn FnMut(usize, usize),
}

impl<'p> Steps<'p> {
    /// Of a kernel in these tiles.
    pub(super) fn new(plan: &Plan, tiling: &Tiling, progress: &'p mut dyn FnMut(usize, usize)) -> Self {
        let (mut prepared, mut contracted) = (0, 0);
        for row in tiling.rows() {
            prepared += row.examples.len() * row.outputs.len();
            for column in row.tiles() {
                prepared += if column.same { 0 } else { column.examples.len() * column.outputs.len() };
                contracted += pairs(row.examples.len(), column.examples.len(), column.same) * row.outputs.len() * column.outputs.len();
            }
        }
        Self::of(plan, prepared, contracted, progress)
    }

    /// Of so many outputs of examples that are made ready, and so many pairs of them that are contracted.
    pub(super) fn of(plan: &Plan, prepared: usize, contracted: usize, progress: &'p mut dyn FnMut(usize, usize)) -> Self {
        let (prepared, contracted) = (prepared.max(1) as f64, contracted.max(1) as f64);
        let seconds =
            |sites: bool| -> f64 { plan.parameters.iter().filter(|p| (p.order == Order::Sites) == sites).map(|p| p.cost.seconds).sum() };
        // Sites are contracted pair by pair.
        let rows = if seconds(false) > 0.1 * seconds(true) { ROWS } else { 1 };
        let contraction = seconds(false) + seconds(true);
        let (recording, contraction) = match plan.strategy {
            // A push for each pair is nearly all.
            Strategy::Products => (0.0, plan.recording.seconds),
            Strategy::Auto | Strategy::Jacobian | Strategy::Structured => (plan.recording.seconds, contraction),
        };
        let all = (recording + contraction).max(f64::MIN_POSITIVE);
        Steps { prepared: recording / prepared, contracted: contraction / contracted, all, done: 0.0, rows, progress }
    }

    /// In how many groups so many outputs of examples are made ready, for progress to show.
    pub(super) fn groups(&self, outputs: usize) -> usize {
        (outputs as f64 * self.prepared / SECONDS).ceil().max(1.0) as usize
    }

    /// How many examples along the rows of a tile are contracted at once, for progress to show.
    pub(super) fn band(&self, n1: usize, n2: usize, same: bool, [above, beside]: [usize; 2], kept: Outputs) -> usize {
        let seconds = (pairs(n1, n2, same) * above * beside) as f64 * self.contracted;
        let bands = (seconds / SECONDS).ceil().max(1.0) as usize;
        let rows_each = match kept {
            Outputs::Full => above,
            Outputs::Trace | Outputs::Diagonal | Outputs::Sum => 1,
        };
        n1.div_ceil(bands).max(self.rows.div_ceil(rows_each.max(1))).max(1)
    }

    /// So many outputs of examples more are ready.
    pub(super) fn prepared(&mut self, outputs: usize) {
        self.add(outputs as f64 * self.prepared);
    }

    /// So many pairs of examples more are contracted.
    pub(super) fn contracted(&mut self, n1: usize, n2: usize, same: bool, [above, beside]: [usize; 2]) {
        self.add((pairs(n1, n2, same) * above * beside) as f64 * self.contracted);
    }

    fn add(&mut self, seconds: f64) {
        self.done += seconds;
        let part = (self.done / self.all * PARTS as f64) as usize;
        (self.progress)(part.min(PARTS - 1), PARTS);
    }

    /// All is done.
    pub(super) fn finish(self) {
        (self.progress)(PARTS, PARTS);
    }
}

fn pairs(n1: usize, n2: usize, same: bool) -> usize {
    if same { n1 * (n1 + 1) / 2 } else { n1 * n2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_counted_and_cover_every_pair_once() {
        for kept in Outputs::ALL {
            for strategy in [Strategy::Jacobian, Strategy::Products, Strategy::Structured] {
                for (n1, n2, examples) in [(5, None, 2), (5, Some(3), 2), (4, None, 9), (0, Some(3), 1)] {
                    let tiling = Tiling::new(n1, n2, strategy, Tile { examples, outputs: 2 }, kept, 3);
                    let mut met = std::collections::BTreeMap::new();
                    for row in tiling.rows() {
                        for column in row.tiles() {
                            for (r, c, _) in bands(row.examples.len(), column.examples.len(), 1, column.same) {
                                for (i, j) in r.flat_map(|i| c.clone().map(move |j| (i, j))) {
                                    let pair = (row.examples.start + i, column.examples.start + j);
                                    let outputs = (row.outputs.clone(), column.outputs.clone());
                                    *met.entry((pair, outputs.0.start, outputs.1.start)).or_insert(0) += 1;
                                }
                            }
                        }
                    }
                    let what = format!("{kept:?}, {strategy:?}, {n1}, {n2:?}, {examples}");
                    assert_eq!(tiling.rows().map(|row| row.tiles().count()).sum::<usize>(), tiling.len(), "{what}");
                    assert!(met.values().all(|&times| times == 1), "{what}: {met:?}");
                    for (i, j) in (0..n1).flat_map(|i| (0..n2.unwrap_or(n1)).map(move |j| (i, j))) {
                        if n2.is_some() || i <= j {
                            assert!(met.keys().any(|&(pair, ..)| pair == (i, j)), "{what}: {i}, {j} is missing");
                        }
                    }
                }
            }
        }
    }
}

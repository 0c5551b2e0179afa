//! The tiles that a kernel is computed in, and how far the work is.

use super::Strategy;
use super::plan::{Order, Plan};
use super::reduce::Outputs;
use std::ops::Range;

/// Examples and outputs along the rows of some tiles, and along the columns of each.
pub(super) struct Row {
    pub(super) examples: Range<usize>,
    pub(super) outputs: Range<usize>,
    pub(super) tiles: Vec<Column>,
}

/// Examples and outputs along the columns of a tile.
pub(super) struct Column {
    pub(super) examples: Range<usize>,
    pub(super) outputs: Range<usize>,
    /// Whether they are those along the rows.
    pub(super) same: bool,
}

/// All tiles of a kernel of `n1` examples with `n2`, or of `n1` with themselves: then those on and above the diagonal.
pub(super) fn rows(n1: usize, n2: Option<usize>, plan: &Plan, kept: Outputs, outputs: usize) -> Vec<Row> {
    let (above, right) = (blocks(n1, plan.examples), blocks(n2.unwrap_or(n1), plan.examples));
    let every = 0..outputs;
    let groups = if kept == Outputs::Sum { vec![every.clone()] } else { blocks(outputs, plan.outputs) };
    // Of these outputs along the rows, and of these along the columns.
    let groups: Vec<(Range<usize>, &[Range<usize>])> = match (kept, plan.strategy) {
        (Outputs::Full, Strategy::Products) => vec![(every, &groups)],
        (Outputs::Full, Strategy::Auto | Strategy::Jacobian | Strategy::Structured) => {
            groups.iter().map(|g| (g.clone(), &groups[..])).collect()
        }
        (Outputs::Trace | Outputs::Diagonal | Outputs::Sum, _) => {
            groups.iter().enumerate().map(|(i, g)| (g.clone(), &groups[i..=i])).collect()
        }
    };
    let mut rows = Vec::new();
    for (outputs, beside) in groups {
        for (i, examples) in above.iter().enumerate() {
            let mut tiles = Vec::new();
            for (j, columns) in right.iter().enumerate().skip(if n2.is_none() { i } else { 0 }) {
                let column = |b: &Range<usize>| Column {
                    examples: columns.clone(),
                    outputs: b.clone(),
                    same: n2.is_none() && i == j && outputs == *b,
                };
                tiles.extend(beside.iter().map(column));
            }
            rows.push(Row { examples: examples.clone(), outputs: outputs.clone(), tiles });
        }
    }
    rows
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
    pub(super) fn new(plan: &Plan, rows: &[Row], progress: &'p mut dyn FnMut(usize, usize)) -> Self {
        let (mut prepared, mut contracted) = (0, 0);
        for Row { examples, outputs, tiles } in rows {
            prepared += examples.len() * outputs.len();
            for column in tiles {
                prepared += if column.same { 0 } else { column.examples.len() * column.outputs.len() };
                contracted += pairs(examples.len(), column.examples.len(), column.same) * outputs.len() * column.outputs.len();
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

//! Which pairs of images go through the layers side by side.

use super::super::hermite::SeriesTooLong;
use super::super::stage::{Closed, Stage};
use super::linear::Linear;
use super::side::Side;
use super::{Images, Inputs, LANES, Precision, count};
use rayon::prelude::*;
use simd::Float;
use std::ops::Range;

/// Images whose variances are known at a time, on either side.
const TILE: usize = 128;

/// Images one after the other that a block of others stays in a cache for.
const ROWS: usize = 32;

/// So many pairs, or fewer, take narrower lanes.
const FEW: usize = 4;

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

impl Images {
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
    pub(in super::super) fn pairs(
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
    pub(in super::super) fn diagonal(&self, precision: Precision, x: &Inputs, rows: usize) -> Result<Vec<[f64; 2]>, SeriesTooLong> {
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
            let packed = |pairs: &[(usize, usize)]| {
                if pairs.len() > FEW { self.packed::<T, LANES>(tile, pairs) } else { self.packed::<T, FEW>(tile, pairs) }
            };
            finish(pairs.par_chunks(LANES).map(packed).collect())?;
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
    fn packed<T: Float, const L: usize>(&self, tile: &Tile<T>, pairs: &[(usize, usize)]) -> Result<Vec<Pair<T>>, SeriesTooLong> {
        // Lanes beyond the last pair have it again.
        let pair = |l: usize| pairs[l.min(pairs.len() - 1)];
        let (rows, columns) = (tile.rows.start, tile.columns.start);
        let one: Side<T, L> = Side::gather(std::array::from_fn(|l| (&tile.one[(pair(l).0 - rows) / LANES], (pair(l).0 - rows) % LANES)));
        let two: Side<T, L> =
            Side::gather(std::array::from_fn(|l| (&tile.two[(pair(l).1 - columns) / LANES], (pair(l).1 - columns) % LANES)));
        let [k, theta] = self.group((&one, &two))?;
        Ok(pairs.iter().enumerate().map(|(l, &(i, j))| (i, j, k[l], theta[l])).collect())
    }
}

fn has_series(stages: &[Stage<Linear>]) -> bool {
    stages.iter().any(|stage| match stage {
        Stage::Linear(_) | Stage::Norm { .. } => false,
        Stage::Activation(closed) => matches!(closed, Closed::Series(_)),
        Stage::Sum(branch, around) => has_series(branch) || has_series(around),
    })
}

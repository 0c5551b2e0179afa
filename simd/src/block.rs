//! A block of a product, tile by tile: what one thread computes without asking anybody.

use std::ops::Range;

use crate::lane::Arith;
use crate::level::Kernel;
use crate::pack::{Panels, pack};
use crate::tile::{M, MOST_LANES, N, tile, tile_and_pack, width};
use crate::vector::Vector;
use crate::{Accumulate, Float, Mat, MatMut};

/// The sum over k is cut into pieces of this length, which are summed apart and added in order. So the rounding error of a long
/// sum stays small, and what a piece needs of either factor stays in the first two caches.
pub(crate) const DEPTH: usize = 256;

/// Tiles of columns that are packed together: whole cache lines of the right factor are read so.
const GROUP: usize = 6;

/// Rows of a left factor that are gone through together, in bytes of a column: a piece of them stays in the second cache.
const ROW_BYTES: usize = 768;

/// Rows of a left factor that are gone through together.
pub(crate) const fn most_rows<T>() -> usize {
    ROW_BYTES / size_of::<T>()
}

/// Rows so few that packing the right factor would be a noticeable part of the work: their first tile packs it on the way.
const ON_THE_WAY: usize = 64;

/// The part of the first cache, in bytes, that is meant for tiles of the right factor.
const FIRST_CACHE: usize = 1 << 14;

/// The left factor, m × k.
#[derive(Clone, Copy)]
pub(crate) enum Left<'a, T> {
    /// Read where it is.
    View(Mat<'a, T>),
    /// All its rows in panels of [`M`], so that a tile reads its numbers in order; a tile at the edge of a block may have part of a panel.
    Panels(Panels<'a, T>),
    /// Packed into such panels a piece of the sum over k at a time, when it is needed.
    Packed(Mat<'a, T>),
}

impl<'a, T: Float> Left<'a, T> {
    /// Where the tile ends that begins with row `first`: panels of all rows begin at multiples of [`M`].
    #[inline(always)]
    fn tile_end(&self, first: usize) -> usize {
        if matches!(self, Left::Panels(_)) { (first / M + 1) * M } else { first + M }
    }

    /// The rows of a tile and their columns `k`, where `panels` are those of the rows `i` of a factor that is [`Packed`](Left::Packed).
    #[inline(always)]
    fn rows<'p>(&self, panels: &'p [T], i: &Range<usize>, rows: Range<usize>, k: &Range<usize>) -> Mat<'p, T>
    where
        'a: 'p,
    {
        let (skipped, panel) = match self {
            Left::View(a) => return a.block(rows, k.clone()),
            Left::Panels(panels) => (rows.start % M, panels.columns(rows.start / M, k.clone())),
            Left::Packed(_) => {
                let panel = (rows.start - i.start) * k.len();
                (0, Mat::new(&panels[panel..panel + M * k.len()], k.len(), M))
            }
        };
        panel.t().block(skipped..skipped + rows.len(), 0..k.len())
    }
}

/// The right factor, k × n.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a, T> {
    /// Read where it is: the elements of a row lie side by side.
    View(Mat<'a, T>),
    /// Its columns in panels, packed once for all rows.
    Panels(Panels<'a, T>),
    /// Packed a panel at a time, when it is needed.
    Packed(Mat<'a, T>),
}

/// c ← a·b or c ← c + a·b for the rows `i` of `a` and the columns `j` of `b`.
pub struct Block<'a, T> {
    pub(crate) a: Left<'a, T>,
    pub(crate) b: Right<'a, T>,
    pub(crate) i: Range<usize>,
    pub(crate) j: Range<usize>,
    pub(crate) depth: usize,
    pub(crate) to: Accumulate,
    pub(crate) c: MatMut<'a, T>,
    /// Leaves tiles alone that lie below the diagonal altogether, where so many rows and as many columns are one place on it. With 0 there is
    /// no diagonal.
    pub(crate) upper: usize,
    /// Room for [`scratch_len`] numbers, if a factor is packed on the way.
    pub(crate) scratch: &'a mut [T],
}

/// The scratch that a block of so many rows needs.
pub(crate) fn scratch_len<T>(a: &Left<T>, b: &Right<T>, rows: usize) -> usize {
    if matches!((a, b), (Left::Packed(_), _) | (_, Right::Packed(_))) {
        (rows.min(most_rows::<T>()).next_multiple_of(M) + GROUP * N * MOST_LANES) * DEPTH
    } else {
        0
    }
}

/// Cuts rows into parts of equal height, at most so many, of whole tiles except for the last one.
#[inline(always)]
fn parts(i: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let height = if i.len() <= most { i.len().max(1) } else { i.len().div_ceil(i.len().div_ceil(most)).next_multiple_of(M) };
    let end = i.end;
    i.step_by(height).map(move |start| start..end.min(start + height))
}

impl<T: Float> Kernel for Block<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(mut self, cpu: A) {
        for i in parts(self.i.clone(), most_rows::<T>()) {
            for first in (0..self.depth.max(1)).step_by(DEPTH) {
                let to = if first == 0 { self.to } else { Accumulate::Add };
                self.piece(cpu, i.clone(), first..self.depth.min(first + DEPTH), to);
            }
        }
    }
}

/// Whether all columns before `end` belong to places on the diagonal before that of the row, where `each` rows are one place.
#[inline(always)]
fn below(each: usize, row: usize, end: usize) -> bool {
    each > 0 && (end - 1) / each < row / each
}

impl<T: Float> Block<'_, T> {
    /// Adds a piece of the sum over k for the rows `i`.
    #[inline(always)]
    fn piece<A: Arith>(&mut self, cpu: A, i: Range<usize>, k: Range<usize>, to: Accumulate) {
        let width = width::<T, A>();
        let scratch = std::mem::take(&mut self.scratch);
        let (left, right) = scratch.split_at_mut(scratch.len().saturating_sub(GROUP * width * DEPTH));
        if let Left::Packed(a) = self.a {
            let to = &mut left[..i.len().next_multiple_of(M) * k.len()];
            pack(cpu, a.block(i.clone(), k.clone()), M, to);
        }
        for group in self.j.clone().step_by(GROUP * width) {
            let group = group..self.j.end.min(group + GROUP * width);
            // A single vector of columns has a panel of its width, of which less is filled with zeros.
            let lanes = <A::Vector<T> as Vector>::LANES;
            let panel = if group.len() <= lanes { lanes } else { width };
            let mut rest = i.clone();
            if let Right::Packed(b) = self.b {
                let panels = &mut right[..group.len().next_multiple_of(panel) * k.len()];
                let readable = b.col_stride() == 1 && group.len().is_multiple_of(width) && !k.is_empty();
                if readable && (M..=ON_THE_WAY).contains(&i.len()) && i.start.is_multiple_of(M) {
                    let rows = i.start..i.start + M;
                    let a = self.a.rows(left, &i, rows.clone(), &k);
                    for (j, panel) in group.clone().step_by(width).zip(panels.chunks_exact_mut(width * k.len())) {
                        let cols = j..j + width;
                        tile_and_pack(cpu, a, b.block(k.clone(), cols.clone()), to, self.target(rows.clone(), cols), panel);
                    }
                    rest.start = rows.end;
                } else {
                    pack(cpu, b.block(k.clone(), group.clone()).t(), panel, panels);
                }
            }
            // Of short sums several tiles of `b` fit into the first cache; side by side they fill whole lines and pages of `c`.
            let beside = (FIRST_CACHE / (k.len().max(1) * width * size_of::<T>())).clamp(1, GROUP) * width;
            for some in group.clone().step_by(beside) {
                let some = some..group.end.min(some + beside);
                let mut first = rest.start;
                while first < i.end {
                    let rows = first..i.end.min(self.a.tile_end(first));
                    first = rows.end;
                    if below(self.upper, rows.start, some.end) {
                        break;
                    }
                    let a = self.a.rows(left, &i, rows.clone(), &k);
                    for j in some.clone().step_by(width) {
                        let mut cols = j..some.end.min(j + width);
                        if below(self.upper, rows.start, cols.end) {
                            continue;
                        }
                        let mut b = match self.b {
                            Right::View(b) => b.block(k.clone(), cols.clone()),
                            Right::Panels(panels) => panels.columns(j / width, k.clone()),
                            Right::Packed(_) => {
                                let tile = (j - group.start) * k.len();
                                Mat::new(&right[tile..tile + panel * k.len()], k.len(), panel)
                            }
                        };
                        // On the diagonal the first vector of a tile may lie below it, and the second one not.
                        if below(self.upper, rows.start, j + lanes) {
                            cols.start += lanes;
                            b = b.col_range(lanes..b.cols());
                        }
                        tile(cpu, a, b, to, self.target(rows.clone(), cols));
                    }
                }
            }
        }
        self.scratch = scratch;
    }

    /// The part of the target for some rows of `a` and columns of `b`.
    #[inline(always)]
    fn target(&mut self, i: Range<usize>, j: Range<usize>) -> MatMut<'_, T> {
        self.c.reborrow().block(i.start - self.i.start..i.end - self.i.start, j.start - self.j.start..j.end - self.j.start)
    }
}

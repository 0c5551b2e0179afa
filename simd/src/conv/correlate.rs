//! The loop that slides a filter over a bordered image, for outputs and for input gradients.

use std::ops::Range;

use crate::lane::Arith;
use crate::level::Kernel;
use crate::pack::pack;
use crate::tile::{M, MOST_LANES, N, Sum, tile_of_sum, width};
use crate::{Accumulate, Float, Level, Mat, MatMut};

/// Filters whose columns are in panels of a tile's width, and what lies between them in a bordered image.
#[derive(Clone, Copy)]
pub(super) struct Filter<'a, T> {
    /// Panels of `rows · depth` rows.
    pub(super) panels: &'a [T],
    /// Filter rows.
    pub(super) rows: usize,
    /// Numbers of a filter row that lie side by side: its taps with their channels.
    pub(super) depth: usize,
}

/// Where the filter is applied.
#[derive(Clone, Copy)]
pub(super) struct Sites {
    pub(super) down: usize,
    pub(super) across: usize,
    /// The numbers of the image from one site to the next, down and across.
    pub(super) step: [usize; 2],
    /// The numbers of the target from one site to the next, down and across.
    pub(super) c_step: [usize; 2],
}

impl Sites {
    /// The same sites with rows as long as may be: a single column is a row.
    pub(super) fn turned(self) -> Self {
        let Sites { down, across, step: [s, t], c_step: [c, d] } = self;
        if across == 1 { Sites { down: across, across: down, step: [t, s], c_step: [d, c] } } else { self }
    }
}

/// c ← the filter at each site, or added to it: image and target begin with the first number of the first site.
#[inline]
pub(super) fn correlate<T: Float>(
    level: Level,
    image: &[T],
    image_row: usize,
    filter: Filter<T>,
    to: Accumulate,
    c: &mut [T],
    sites: Sites,
    channels: usize,
) {
    T::run_correlate(level, Correlate { image, image_row, filter, to, c, sites: sites.turned(), channels });
}

/// The work of [`correlate`].
pub struct Correlate<'a, T> {
    image: &'a [T],
    image_row: usize,
    filter: Filter<'a, T>,
    to: Accumulate,
    c: &'a mut [T],
    sites: Sites,
    channels: usize,
}

impl<T: Float> Kernel for Correlate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(self, cpu: A) {
        let Correlate { image, image_row, filter, to, c, sites: Sites { down, across, step, c_step }, channels } = self;
        let (width, depth) = (width::<T, A>(), filter.depth);
        let panel = filter.rows * depth * width;
        for j in (0..channels).step_by(width) {
            let cols = j..channels.min(j + width);
            let panel = Mat::new(&filter.panels[j / width * panel..][..panel], filter.rows * depth, width);
            for p in 0..down {
                let mut row = MatMut::strided(&mut c[p * c_step[0]..], across, channels, c_step[1], 1);
                for block in blocks(across) {
                    let first = p * step[0] + block.start * step[1];
                    let sum = Sum::new(&image[first..], image_row, block.len(), depth, (step[1], 1), filter.rows, panel);
                    tile_of_sum(cpu, sum, to, row.reborrow().block(block.clone(), cols.clone()));
                }
            }
        }
    }
}

/// Cuts `n` rows into as few tiles as possible, of almost the same height, since a tile of few rows waits for its sums.
#[inline(always)]
pub(super) fn blocks(n: usize) -> impl Iterator<Item = Range<usize>> {
    let tiles = n.div_ceil(M).max(1);
    let (low, higher) = (n / tiles, n % tiles);
    let mut start = 0;
    (0..tiles).map(move |t| {
        let block = start..start + low + usize::from(t < higher);
        start = block.end;
        block
    })
}

/// The room for panels of `columns` columns of `rows` numbers, at any level.
pub(super) fn panels_len(rows: usize, columns: usize) -> usize {
    columns.next_multiple_of(N * MOST_LANES) * rows
}

/// Writes the columns of matrices that stand above each other, all alike, as panels.
///
/// `piece` gives the transpose of a matrix: columns × rows.
pub(super) struct Pack<'a, T, P> {
    /// How many.
    pub(super) pieces: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) piece: P,
    pub(super) to: &'a mut [T],
}

impl<'m, T: Float, P: Fn(usize) -> Mat<'m, T>> Kernel for Pack<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(self, cpu: A) {
        let width = width::<T, A>();
        let panel = self.rows * width;
        for j in (0..self.columns).step_by(width) {
            for piece in 0..self.pieces {
                let columns = (self.piece)(piece).block(j..self.columns.min(j + width), 0..self.rows);
                let at = (j / width * self.pieces + piece) * panel;
                pack(cpu, columns, width, &mut self.to[at..at + panel]);
            }
        }
    }
}

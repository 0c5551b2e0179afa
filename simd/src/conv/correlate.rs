//! The loop that slides a filter over a bordered image, for outputs and for input gradients.

use std::ops::Range;

use crate::lane::Arith;
use crate::level::Kernel;
use crate::pack::Panels;
use crate::tile::{M, MOST_LANES, N, Sum, tile_of_sum, width};
use crate::{Accumulate, Float, MatMut};

/// Filters whose columns are in panels of a tile's width, and what lies between them in a bordered image.
#[derive(Clone, Copy)]
pub(super) struct Filter<'a, T> {
    /// Panels of `rows · depth` rows.
    pub(super) panels: Panels<'a, T>,
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
    fn turned(self) -> Self {
        let Sites { down, across, step: [s, t], c_step: [c, d] } = self;
        if across == 1 { Sites { down: across, across: down, step: [t, s], c_step: [d, c] } } else { self }
    }
}

/// c ← the filter at each site, or added to it.
pub struct Correlate<'a, T> {
    /// Bordered, from the first number on that the first site needs.
    pub(super) image: &'a [T],
    /// Numbers in a row of the image.
    pub(super) image_row: usize,
    pub(super) filter: Filter<'a, T>,
    pub(super) to: Accumulate,
    /// From the first number of the first site on.
    pub(super) c: &'a mut [T],
    pub(super) sites: Sites,
    /// Columns of the filter.
    pub(super) channels: usize,
}

impl<T: Float> Kernel for Correlate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(self, cpu: A) {
        let Correlate { image, image_row, filter, to, c, sites, channels } = self;
        let Sites { down, across, step, c_step } = sites.turned();
        let (width, depth) = (width::<T, A>(), filter.depth);
        for j in (0..channels).step_by(width) {
            let cols = j..channels.min(j + width);
            let panel = filter.panels.columns(j / width, 0..filter.rows * depth);
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

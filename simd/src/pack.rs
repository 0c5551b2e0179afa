//! Panels: the rows of a matrix, some at a time, stored column after column, so that a tile reads them in order.
//!
//! Panel p of a matrix of rows x_i holds the numbers x_(p·W + r),k at place (k, r), W numbers side by side, with zeros where the
//! matrix has no more rows. So it is W columns of xᵀ, the right factor of a tile; and where W is the height of a tile, its transpose
//! is the left factor.

use std::ops::Range;

use rayon::prelude::*;

use crate::lane::Arith;
use crate::level::{Kernel, Level};
use crate::tile::{self, M};
use crate::vector::{Vector, prefetch};
use crate::{Float, Mat, MatMut};

/// Rows that are turned into columns at once.
const BLOCK: usize = 8;

/// Rows whose panels are written together, in bytes: six cache lines of a column.
const TOGETHER: usize = 384;

/// Columns that are asked for ahead.
const AHEAD: usize = 8;

/// The rows of a matrix in panels of `width` rows, all `depth` columns of a panel together.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a, T> {
    data: &'a [T],
    width: usize,
    depth: usize,
}

impl<'a, T: Float> Panels<'a, T> {
    /// What [`pack_all`] or [`pack_stack`] wrote.
    pub(crate) fn new(data: &'a [T], width: usize, depth: usize) -> Self {
        Panels { data, width, depth }
    }

    /// A panel's columns `k`: `k` × width.
    #[inline(always)]
    pub(crate) fn columns(&self, panel: usize, k: Range<usize>) -> Mat<'a, T> {
        let start = (panel * self.depth + k.start) * self.width;
        Mat::new(&self.data[start..start + k.len() * self.width], k.len(), self.width)
    }
}

/// Writes the rows of `x` as panels of `width` rows, one after the other.
#[inline(always)]
pub(crate) fn pack<T: Float, A: Arith>(cpu: A, x: Mat<T>, width: usize, panels: &mut [T]) {
    let (rows, depth) = (x.rows(), x.cols());
    let panel = width * depth;
    assert!(panels.len() == rows.div_ceil(width) * panel);
    let mut first = 0;
    if x.row_stride() == 1 {
        // Copies whose length the compiler knows need no loop.
        let (tile, whole) = (tile::width::<T, A>(), rows / width * width);
        let x = x.row_range(0..whole);
        match width {
            M => pack_columns(x, M, panels),
            _ if width == tile => pack_columns(x, tile, panels),
            _ => pack_columns(x, width, panels),
        }
        first = whole;
    } else if x.col_stride() == 1 {
        while first + BLOCK <= rows && first % width + BLOCK <= width.max(BLOCK) {
            let to = &mut panels[first / width * panel..];
            turn(cpu, x.block(first..first + BLOCK, 0..depth), to, width, first % width);
            first += BLOCK.min(width);
        }
    }
    for r in first..rows.next_multiple_of(width) {
        let to = &mut panels[r / width * panel..][..panel];
        for k in 0..depth {
            to[k * width + r % width] = if r < rows { x.at(r, k) } else { T::ZERO };
        }
    }
}

/// [`pack`] of whole panels of a matrix whose columns lie side by side: some panels take their part of a column at once, as whole cache
/// lines are read so.
#[inline(always)]
fn pack_columns<T: Float>(x: Mat<T>, width: usize, panels: &mut [T]) {
    let (rows, depth) = (x.rows(), x.cols());
    let some = (TOGETHER / size_of::<T>() / width).max(1) * width;
    for r in (0..rows).step_by(some) {
        for k in 0..depth {
            let column = x.block(r..rows.min(r + some), k..k + 1).t().as_slice().expect("a column lies side by side");
            // A column is short, and the next one in another page, where the CPU would not look by itself.
            for r in (0..column.len()).step_by(64 / size_of::<T>()) {
                prefetch(column.as_ptr().wrapping_add(AHEAD * x.col_stride() + r));
            }
            for (p, from) in column.chunks_exact(width).enumerate() {
                let to = &mut panels[((r / width + p) * depth + k) * width..][..width];
                if width == M { copy::<T, M>(from, to) } else { copy::<T, BLOCK>(from, to) }
            }
        }
    }
}

/// The work of [`pack`].
pub struct Pack<'a, T> {
    x: Mat<'a, T>,
    width: usize,
    panels: &'a mut [T],
}

impl<T: Float> Kernel for Pack<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arith>(self, cpu: A) {
        pack(cpu, self.x, self.width, self.panels);
    }
}

/// Rows that a thread packs at a time, about.
const SHARE: usize = 96;

/// The length of the panels of a factor.
pub(crate) fn panels_len<T>(x: Mat<T>, width: usize) -> usize {
    x.rows().next_multiple_of(width) * x.cols()
}

/// Packs the rows of a factor, its panels shared by the threads unless one does all or they are few.
pub(crate) fn pack_all<'a, T: Float>(level: Level, alone: bool, x: Mat<T>, width: usize, panels: &'a mut [T]) -> Panels<'a, T> {
    let panels = &mut panels[..panels_len(x, width)];
    if alone || x.rows() <= SHARE {
        T::run_pack(level, Pack { x, width, panels });
    } else if !panels.is_empty() {
        let some = SHARE.next_multiple_of(width);
        panels.par_chunks_mut(some * x.cols()).enumerate().for_each(|(p, panels)| {
            let x = x.row_range(p * some..x.rows().min((p + 1) * some));
            T::run_pack(level, Pack { x, width, panels });
        });
    }
    Panels::new(panels, width, x.cols())
}

/// Packs the columns of matrices that stand above each other, all alike, of which `transposed` gives the transpose of each.
pub(crate) fn pack_stack<'m, T: Float>(
    level: Level,
    matrices: usize,
    transposed: impl Fn(usize) -> Mat<'m, T>,
    width: usize,
    panels: &mut [T],
) {
    for k in 0..matrices {
        let x = transposed(k);
        let part = x.cols() * width;
        for (p, first) in (0..x.rows()).step_by(width).enumerate() {
            let x = x.row_range(first..x.rows().min(first + width));
            T::run_pack(level, Pack { x, width, panels: &mut panels[(p * matrices + k) * part..][..part] });
        }
    }
}

/// A copy in pieces of known length, which needs no call.
#[inline(always)]
fn copy<T: Copy, const LEN: usize>(from: &[T], to: &mut [T]) {
    let ((from, from_tail), (to, to_tail)) = (from.as_chunks::<LEN>(), to.as_chunks_mut::<LEN>());
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    for (to, from) in to_tail.iter_mut().zip(from_tail) {
        *to = *from;
    }
}

/// Writes eight rows, whose elements lie side by side, as eight columns of a panel, from place `first` of each of its rows on.
///
/// Of narrower panels the columns that are too many lie at the beginning of the next row, and are overwritten by that row.
#[inline(always)]
fn turn<T: Float, A: Arith>(cpu: A, x: Mat<T>, panel: &mut [T], width: usize, first: usize) {
    let depth = x.cols();
    let enough = depth == 0 || (depth - 1) * width + first + BLOCK <= panel.len();
    assert!(x.rows() == BLOCK && x.col_stride() == 1 && enough);
    let whole = depth / BLOCK * BLOCK;
    let (from, to) = (x.as_ptr(), panel.as_mut_ptr());
    for k in (0..whole).step_by(BLOCK) {
        // SAFETY: columns k to k + 7 of all eight rows are elements of `x`, and rows k to k + 7 of the panel have eight places from
        // `first` on, by the sizes that were just checked.
        unsafe { A::Vector::<T>::turn(cpu, from.add(k), x.row_stride(), to.add(k * width + first), width) }
    }
    for k in whole..depth {
        for r in 0..BLOCK.min(width) {
            panel[k * width + first + r] = x.at(r, k);
        }
    }
}

/// to ← fromᵀ.
#[inline(always)]
pub(crate) fn transpose<T: Float, A: Arith>(cpu: A, from: Mat<T>, mut to: MatMut<T>) {
    let (rows, cols) = (from.rows(), from.cols());
    assert!(to.rows() == cols && to.cols() == rows);
    let side_by_side = from.col_stride() == 1 && to.col_stride() == 1;
    let whole = if side_by_side { (rows / BLOCK * BLOCK, cols / BLOCK * BLOCK) } else { (0, 0) };
    let (from_stride, to_stride) = (from.row_stride(), to.row_stride());
    for j in (0..whole.1).step_by(BLOCK) {
        for i in (0..whole.0).step_by(BLOCK) {
            let source = from.block(i..i + BLOCK, j..j + BLOCK).as_ptr();
            let target = to.reborrow().block(j..j + BLOCK, i..i + BLOCK).as_mut_ptr();
            // SAFETY: the block of eight rows and columns was just proved to lie in either view, whose rows lie side by side; the
            // views do not overlap, as `to` alone reaches its elements.
            unsafe { A::Vector::<T>::turn(cpu, source, from_stride, target, to_stride) }
        }
    }
    for i in 0..rows {
        for j in if i < whole.0 { whole.1..cols } else { 0..cols } {
            to.set(j, i, from.at(i, j));
        }
    }
}

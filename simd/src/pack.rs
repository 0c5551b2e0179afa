//! Panels: the rows of a matrix, some at a time, stored column after column, so that a tile reads them in order.
//!
//! Panel p of a matrix of rows x_i holds the numbers x_(p·W + r),k at place (k, r), W numbers side by side, with zeros where the
//! matrix has no more rows. So it is W columns of xᵀ, the right factor of a tile.

use std::ops::Range;

use crate::lane::Arith;
use crate::vector::Vector;
use crate::{Float, Mat, MatMut};

/// Rows that are turned into columns at once.
const BLOCK: usize = 8;

/// The rows of a matrix in panels of `width` rows, all `depth` columns of a panel together.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a, T> {
    data: &'a [T],
    width: usize,
    depth: usize,
}

impl<'a, T: Float> Panels<'a, T> {
    /// Panels that were written by [`pack`].
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
        // A column lies side by side: all whole panels take their part of it at once, as whole pages and cache lines are read so.
        let whole = rows / width * width;
        for k in 0..depth {
            let column = x.block(0..whole, k..k + 1).t().as_slice().expect("a column lies side by side");
            for (p, from) in column.chunks_exact(width).enumerate() {
                copy(from, &mut panels[p * panel + k * width..][..width]);
            }
        }
        first = whole;
    } else if x.col_stride() == 1 {
        while first + BLOCK <= rows && first % width + BLOCK <= width {
            let to = &mut panels[first / width * panel..][..panel];
            turn(cpu, x.block(first..first + BLOCK, 0..depth), to, width, first % width);
            first += BLOCK;
        }
    }
    for r in first..rows.next_multiple_of(width) {
        let to = &mut panels[r / width * panel..][..panel];
        for k in 0..depth {
            to[k * width + r % width] = if r < rows { x.at(r, k) } else { T::ZERO };
        }
    }
}

/// A copy in pieces of known length, which needs no call.
#[inline(always)]
fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    let ((from, from_tail), (to, to_tail)) = (from.as_chunks::<BLOCK>(), to.as_chunks_mut::<BLOCK>());
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    for (to, from) in to_tail.iter_mut().zip(from_tail) {
        *to = *from;
    }
}

/// Writes eight rows, whose elements lie side by side, as eight columns of a panel, from place `first` of each of its rows on.
#[inline(always)]
fn turn<T: Float, A: Arith>(cpu: A, x: Mat<T>, panel: &mut [T], width: usize, first: usize) {
    let depth = x.cols();
    assert!(x.rows() == BLOCK && x.col_stride() == 1 && first + BLOCK <= width && panel.len() == depth * width);
    let whole = depth / BLOCK * BLOCK;
    let (from, to) = (x.as_ptr(), panel.as_mut_ptr());
    for k in (0..whole).step_by(BLOCK) {
        // SAFETY: columns k to k + 7 of all eight rows are elements of `x`, and rows k to k + 7 of the panel have eight places from
        // `first` on, by the sizes that were just checked.
        unsafe { A::Vector::<T>::turn(cpu, from.add(k), x.row_stride(), to.add(k * width + first), width) }
    }
    for k in whole..depth {
        for r in 0..BLOCK {
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
    for i in (0..whole.0).step_by(BLOCK) {
        for j in (0..whole.1).step_by(BLOCK) {
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

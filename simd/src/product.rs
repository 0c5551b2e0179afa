//! Matrix products.

use std::ops::Range;

use crate::alone::{Alone, is_small};
use crate::block::{Block, DEPTH, Left, Right, most_rows, scratch_len};
use crate::pack::{pack_all, panels_len};
use crate::scratch::Scratch;
use crate::thin::{self, SHORT, Thin};
use crate::tile::{M, width_at};
use crate::{Float, Level, Mat, MatMut};

/// What happens to what the target holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accumulate {
    /// The target is overwritten and never read, so it may hold anything, even NaN.
    Set,
    /// The result is added to the target.
    Add,
}

/// Rows so few that threads share the columns instead. A multiple of the tile of every level, as blocks of Gram matrices are.
pub(crate) const CUT: usize = 96;

/// Products of fewer multiply-adds than this stay on the calling thread, as handing work over costs some microseconds.
pub(crate) const ALONE: usize = 1 << 19;

/// Numbers of a factor that is read where it lies, as it stays in the first cache.
const SMALL: usize = 1 << 12;

/// The part of a right factor that is packed before the rows of a left factor are multiplied by it, in bytes and in columns: large
/// enough that the left factor is packed for many columns, and small enough to stay in the last cache.
const STRIP: (usize, usize) = (1 << 22, 1 << 11);

/// Rows so few that packing the right factor for them does not pay.
const FEW: usize = 6;

/// Columns so few that a left factor is not turned around for them.
const LEAN: usize = 12;

/// Columns so few that packing the left factor for them does not pay, if its rows lie side by side.
const NARROW: usize = 64;

/// The matrix product: c ← a·b, or c ← c + a·b.
///
/// `a` is m × k, `b` is k × n, `c` is m × n, with any strides and any size, 0 included (for k = 0 the product is zero).
/// Threads share the rows or the columns of `c`, never the sum over k, so the bits are the same at any number of threads.
///
/// ```
/// use simd::{Accumulate, Mat, MatMut, product};
/// let (a, b, mut c) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0], [f64::NAN; 2]);
/// product(Mat::new(&a, 2, 2), Mat::new(&b, 2, 1), Accumulate::Set, MatMut::new(&mut c, 2, 1));
/// assert_eq!(c, [17.0, 39.0]);
/// ```
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn product<T: Float>(a: Mat<T>, b: Mat<T>, to: Accumulate, c: MatMut<T>) {
    product_at(Level::best(), a, b, to, c);
}

/// [`product`] with the instructions of a given level.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn product_at<T: Float>(level: Level, a: Mat<T>, b: Mat<T>, to: Accumulate, c: MatMut<T>) {
    let fits = a.cols() == b.rows() && a.rows() == c.rows() && b.cols() == c.cols();
    assert!(fits, "a product of {} × {} and {} × {} into {} × {}", a.rows(), a.cols(), b.rows(), b.cols(), c.rows(), c.cols());
    let (m, n) = (c.rows(), c.cols());
    if is_small(m, a.cols(), n) {
        return T::run_alone(level, Alone { a, b, to, c });
    }
    // The lanes of a vector are columns, so columns should be many, and lie side by side in the target. A large left factor with
    // its columns side by side is read as the right one rather than turned around for few columns, unless sums are so short that writing
    // the target is most of the work.
    let lean = n <= LEAN && n < a.cols() && m > LEAN && a.row_stride() == 1 && a.col_stride() > 1;
    let turned = if n < 4 { n < m } else { lean || (m >= 4 && c.col_stride() != 1 && c.row_stride() == 1) };
    if turned { oriented(level, b.t(), a.t(), to, c.t()) } else { oriented(level, a, b, to, c) }
}

/// The product with the lanes along the columns of `c`.
fn oriented<T: Float>(level: Level, a: Mat<T>, b: Mat<T>, to: Accumulate, c: MatMut<T>) {
    let (m, k, n) = (a.rows(), a.cols(), b.cols());
    let work = m.saturating_mul(k).saturating_mul(n);
    let threads = if work < ALONE { 1 } else { rayon::current_num_threads() };
    let alone = threads == 1;
    let grain = if alone { usize::MAX } else { (m * n / (4 * threads)).max(ALONE / k.max(1)) };
    if m < thin::FEW {
        return columns(level, a, b, to, c, grain, false);
    }
    let in_order = b.col_stride() == 1 && c.col_stride() == 1;
    if (1..=SHORT).contains(&k) && in_order && n > width_at::<T>(level) {
        return rows(level, a, b, to, c, grain);
    }
    let left = if (a.col_stride() == 1 && n <= NARROW) || m * k <= SMALL { Left::View(a) } else { Left::Packed(a) };
    let right = if b.col_stride() == 1 && (m <= FEW || k * n <= SMALL) { Right::View(b) } else { Right::Packed(b) };
    match (left, right) {
        (_, Right::Packed(b)) if m > most_rows::<T>() => strips(level, a, matches!(left, Left::Packed(_)), b, to, c, grain),
        (Left::Packed(a), _) if !alone => {
            // The threads share the columns, so they share the panels of the rows too.
            let mut memory = Scratch::take(panels_len(a, M));
            let left = Left::Panels(pack_all(level, alone, a, M, &mut memory));
            split(level, left, right, (0..m, 0..n), k, to, c, grain);
        }
        _ => split(level, left, right, (0..m, 0..n), k, to, c, grain),
    }
}

/// A product of so few rows that threads can share its columns alone, whether they do already or not.
fn columns<T: Float>(level: Level, a: Mat<T>, b: Mat<T>, to: Accumulate, c: MatMut<T>, grain: usize, shared: bool) {
    let (k, n) = (b.rows(), b.cols());
    if c.rows() * n > grain && n > width_at::<T>(level) {
        let half = (n / 2).next_multiple_of(width_at::<T>(level));
        let (left, right) = c.split_cols_at(half);
        let (b1, b2) = (b.block(0..k, 0..half), b.block(0..k, half..n));
        join(false, || columns(level, a, b1, to, left, grain, true), || columns(level, a, b2, to, right, grain, true));
        return;
    }
    let len = thin::scratch_len(b, to, &c, shared);
    let mut scratch = (len > 0).then(|| Scratch::take(len));
    T::run_thin(level, Thin { a, b, to, c, shared, scratch: scratch.as_deref_mut().unwrap_or_default() });
}

/// A product with so short a sum that rows of the target are written in order.
fn rows<T: Float>(level: Level, a: Mat<T>, b: Mat<T>, to: Accumulate, c: MatMut<T>, grain: usize) {
    let (m, k) = (a.rows(), a.cols());
    if m * c.cols() > grain && m >= 2 * thin::FEW {
        let half = m / 2;
        let (above, below) = c.split_rows_at(half);
        let (a1, a2) = (a.block(0..half, 0..k), a.block(half..m, 0..k));
        join(false, || rows(level, a1, b, to, above, grain), || rows(level, a2, b, to, below, grain));
        return;
    }
    T::run_thin(level, Thin { a, b, to, c, shared: false, scratch: &mut [] });
}

/// A product of so many rows that the right factor is packed for all of them, a strip at a time, and for all threads.
fn strips<T: Float>(level: Level, a: Mat<T>, packed: bool, b: Mat<T>, to: Accumulate, mut c: MatMut<T>, grain: usize) {
    let (m, k, n) = (c.rows(), b.rows(), c.cols());
    let width = width_at::<T>(level);
    let cols = STRIP.1.min(n);
    let depth = (STRIP.0 / size_of::<T>() / cols.next_multiple_of(width) / DEPTH * DEPTH).max(DEPTH).min(k);
    let mut memory = Scratch::take(depth * cols.next_multiple_of(width));
    for j in (0..n).step_by(cols) {
        let j = j..n.min(j + cols);
        for first in (0..k.max(1)).step_by(depth.max(1)) {
            let piece = first..k.min(first + depth);
            let a = a.block(0..m, piece.clone());
            let a = if packed { Left::Packed(a) } else { Left::View(a) };
            let b = Right::Panels(pack_all(level, grain == usize::MAX, b.block(piece.clone(), j.clone()).t(), width, &mut memory));
            let to = if first == 0 { to } else { Accumulate::Add };
            let c = c.reborrow().block(0..m, j.clone());
            split(level, a, b, (0..m, 0..j.len()), piece.len(), to, c, grain);
        }
    }
}

/// Cuts a product among the threads.
fn split<T: Float>(
    level: Level,
    a: Left<T>,
    b: Right<T>,
    (i, j): (Range<usize>, Range<usize>),
    depth: usize,
    to: Accumulate,
    c: MatMut<T>,
    grain: usize,
) {
    let (m, n) = (i.len(), j.len());
    if m * n > grain && m >= n.min(most_rows::<T>()) && m > CUT {
        let half = (m / 2).next_multiple_of(M);
        let (above, below) = c.split_rows_at(half);
        let (i1, i2) = (i.start..i.start + half, i.start + half..i.end);
        join(
            false,
            || split(level, a, b, (i1, j.clone()), depth, to, above, grain),
            || split(level, a, b, (i2, j.clone()), depth, to, below, grain),
        );
    } else if m * n > grain && n > width_at::<T>(level) {
        let half = (n / 2).next_multiple_of(width_at::<T>(level));
        let (left, right) = c.split_cols_at(half);
        let (j1, j2) = (j.start..j.start + half, j.start + half..j.end);
        join(
            false,
            || split(level, a, b, (i.clone(), j1), depth, to, left, grain),
            || split(level, a, b, (i.clone(), j2), depth, to, right, grain),
        );
    } else {
        let len = scratch_len(&a, &b, m);
        let mut scratch = (len > 0).then(|| Scratch::take(len));
        let scratch = scratch.as_deref_mut().unwrap_or_default();
        T::run_block(level, Block { a, b, i, j, depth, to, c, upper: 0, scratch });
    }
}

/// Both, at once unless one thread does all.
pub(crate) fn join<A: Send, B: Send>(alone: bool, one: impl FnOnce() -> A + Send, two: impl FnOnce() -> B + Send) -> (A, B) {
    if alone { (one(), two()) } else { rayon::join(one, two) }
}

//! Matrix products, over the microkernels of the crate `matrixmultiply`.

use rayon::prelude::*;

use crate::{Float, Mat, MatMut};

/// What happens to what the target holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accumulate {
    /// The target is overwritten and never read, so it may hold anything, even NaN.
    Set,
    /// The result is added to the target.
    Add,
}

/// Pieces are cut at multiples of this many rows or columns, which every register tile of the microkernels divides.
const CUT: usize = 64;

/// Products of fewer multiply-adds than this stay on the calling thread, as handing work over costs some microseconds.
const SMALL: usize = 1 << 18;

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
    let fits = a.cols() == b.rows() && a.rows() == c.rows() && b.cols() == c.cols();
    assert!(fits, "a product of {} × {} and {} × {} into {} × {}", a.rows(), a.cols(), b.rows(), b.cols(), c.rows(), c.cols());
    let threads = rayon::current_num_threads();
    let work = c.rows().saturating_mul(c.cols()).saturating_mul(a.cols());
    if threads == 1 || work < SMALL {
        return T::gemm(a, b, to, c);
    }
    if c.rows() >= c.cols() {
        rows(a, b, to, c, threads);
    } else {
        // cᵀ = bᵀ·aᵀ, so that columns are rows.
        rows(b.t(), a.t(), to, c.t(), threads);
    }
}

/// The product in pieces of whole rows of `c`, one a thread.
fn rows<T: Float>(a: Mat<T>, b: Mat<T>, to: Accumulate, mut c: MatMut<T>, threads: usize) {
    let piece = c.rows().div_ceil(threads).next_multiple_of(CUT);
    let mut pieces = Vec::with_capacity(c.rows().div_ceil(piece));
    let mut first = 0;
    while c.rows() > 0 {
        let n = piece.min(c.rows());
        let (head, rest) = c.split_rows_at(n);
        pieces.push((a.row_range(first..first + n), head));
        (c, first) = (rest, first + n);
    }
    pieces.into_par_iter().with_max_len(1).for_each(|(a, c)| T::gemm(a, b, to, c));
}

//! Gram matrices, whose symmetry halves the work, and sums of products of two of them, element by element: the kernel of a layer.
//!
//! The rows of every factor are packed into panels once, as left and as right factors of tiles, and all blocks of the result read
//! those. A block of the kernel of a layer
//! is small enough that both Gram matrices of it, and the block itself, stay in a core's second cache from the first multiply-add
//! to the last; nothing larger is ever written down.

mod task;

use std::ops::Range;

use crate::block::DEPTH;
use crate::product::CUT;
use crate::scratch::Scratch;
use crate::tile::{M, MOST_LANES, N, width_at};
use crate::{Accumulate, Float, Level, Mat, MatMut};
pub(crate) use task::Multiply;
use task::{Task, Work, is_alone, pack_pair, pair_len, rectangle, side, square};

/// Rows and columns of a block of a Gram matrix.
const GRAM_BLOCK: usize = 2 * CUT;

/// Rows and columns of a block of the kernel of a layer, of which two Gram matrices are held.
const KERNEL_BLOCK: usize = 3 * CUT;

/// Bytes of a factor that are packed at once, if its rows are long: panels that the last cache holds, however long the rows.
const PACKED: usize = 1 << 23;

/// Features and cotangents of some examples at one use of a parameter.
#[derive(Clone, Copy, Debug)]
pub struct Factors<'a, T: Copy + std::fmt::Debug> {
    /// The features, examples × k.
    pub x: Mat<'a, T>,
    /// The cotangents, examples · outputs × l: all outputs of an example, one row after the other.
    pub g: Mat<'a, T>,
}

/// A summand of a kernel: (scale · x1·x2ᵀ + shift) ∘ g1·g2ᵀ, where x1, g1 are the factors `one` and x2, g2 the factors `two`.
///
/// For the weight of a dense layer, `scale` is the square of its multiplier. Its bias has the same cotangents and the feature 1,
/// so it is the `shift`, at no cost: the square of the multiplier of the bias.
#[derive(Clone, Copy, Debug)]
pub struct Term<'a, T: Copy + std::fmt::Debug> {
    /// The factors of the examples along the rows.
    pub one: Factors<'a, T>,
    /// The factors of the examples along the columns.
    pub two: Factors<'a, T>,
    /// The factor of the Gram matrix of features.
    pub scale: T,
    /// What is added to the Gram matrix of features.
    pub shift: T,
}

/// The Gram matrix of the rows of `a`: c ← a·aᵀ, or c ← c + a·aᵀ.
///
/// `a` is m × k, `c` is m × m. The upper triangle is computed, and then copied to the lower one, whose old contents are never
/// read: the result is symmetric to the bit.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn gram<T: Float>(a: Mat<T>, to: Accumulate, c: MatMut<T>) {
    gram_at(Level::best(), a, to, c);
}

/// [`gram`] with the instructions of a given level.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn gram_at<T: Float>(level: Level, a: Mat<T>, to: Accumulate, c: MatMut<T>) {
    gram_task(level, a, to, None, c);
}

/// What [`gram_then`] does to a block: `f(rows, columns, block)`.
pub type BlockMap<'a, T> = dyn Fn(Range<usize>, Range<usize>, MatMut<T>) + Sync + 'a;

/// c ← f(a·aᵀ), where f changes the entries of the upper triangle a block at a time, while they are in a core's second cache, before they are
/// copied to the lower one.
///
/// Of a block on the diagonal, whose rows are columns too, only what is not below the diagonal i = j counts; below it stands anything. Blocks
/// come in any order and from all threads. An entry may depend on its row and column, and on no other entry.
///
/// ```
/// use simd::{Mat, MatMut, gram_then};
/// let mut c = [0.0; 4];
/// // The distances between two points, from |x|² + |y|² − 2 x·y.
/// let (a, squares) = ([3.0, 0.0, 0.0, 4.0], [9.0, 16.0]);
/// gram_then(Mat::new(&a, 2, 2), MatMut::new(&mut c, 2, 2), &|rows, columns, mut block: MatMut<f64>| {
///     for (i, x) in rows.clone().enumerate() {
///         for (j, y) in columns.clone().enumerate() {
///             let distance: f64 = squares[x] + squares[y] - 2.0 * block.at(i, j);
///             block.set(i, j, distance.sqrt());
///         }
///     }
/// });
/// assert_eq!(c, [0.0, 5.0, 5.0, 0.0]);
/// ```
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn gram_then<T: Float>(a: Mat<T>, c: MatMut<T>, f: &BlockMap<'_, T>) {
    gram_then_at(Level::best(), a, c, f);
}

/// [`gram_then`] with the instructions of a given level.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn gram_then_at<T: Float>(level: Level, a: Mat<T>, c: MatMut<T>, f: &BlockMap<'_, T>) {
    gram_task(level, a, Accumulate::Set, Some(f), c);
}

#[track_caller]
fn gram_task<T: Float>(level: Level, a: Mat<T>, to: Accumulate, then: Option<&BlockMap<'_, T>>, c: MatMut<T>) {
    let (m, k) = (a.rows(), a.cols());
    assert!(c.rows() == m && c.cols() == m, "the Gram matrix of {m} × {k} into {} × {}", c.rows(), c.cols());
    let alone = is_alone(m, m, m.saturating_mul(m).saturating_mul(k));
    let width = width_at::<T>(level);
    let side = side(GRAM_BLOCK, m, alone, width);
    let depth = gram_depth(m, size_of::<T>());
    let mut c = c;
    for first in (0..k.max(1)).step_by(depth) {
        let last = first + depth >= k;
        let a = a.block(0..m, first..k.min(first + depth));
        let mut memory = Scratch::take(pair_len(a, a, width));
        let (left, right) = pack_pair(level, alone, a, a, width, &mut memory);
        let to = if first == 0 { to } else { Accumulate::Add };
        let work = Work::Gram { left, right, depth: a.cols(), to, then: then.filter(|_| last) };
        square(&Task { level, work, block: (side, side), entries: 1, alone, mirrored: last }, 0..m, c.reborrow());
    }
}

/// The part of the sum over k for which rows are packed at once, whole pieces of a block's own: so its bits are the same.
fn gram_depth(rows: usize, size: usize) -> usize {
    (PACKED / size / rows.max(1) / DEPTH * DEPTH).max(DEPTH)
}

/// The most working memory that [`gram`] takes for `rows` × `cols` numbers of `size` bytes, in numbers: panels of both sides.
pub fn gram_panels(rows: usize, cols: usize, size: usize) -> usize {
    (rows.next_multiple_of(N * MOST_LANES) + rows.next_multiple_of(M)) * cols.min(gram_depth(rows, size))
}

/// The kernel of a network, layer by layer: θ ← θ + Σ over the terms of (scale · x1·x2ᵀ + shift) ∘ g1·g2ᵀ.
///
/// With `outputs` = 1, ∘ is the product element by element, and θ is n1 × n2; the trace over several outputs is this case too,
/// where the cotangents of all outputs of an example make one long row. With O outputs θ is n1 × (n2·O·O), and
///
/// ```text
/// θ[i, (j·O + a)·O + b] += Σ (scale · x1_i·x2_j + shift) (g1_(i·O + a) · g2_(j·O + b)),
/// ```
///
/// so that an array of the shape `[n1, n2, O, O]` is filled. Besides θ the call needs memory for a copy of the factors of one term at a time.
///
/// ```
/// use simd::{Factors, Mat, MatMut, Term, gram_hadamard};
/// // Two examples x1 and one x2 with two inputs each, and cotangents g of one output.
/// let (x1, g1, x2, g2) = ([1.0, 2.0, 3.0, 4.0], [10.0, 20.0], [1.0, 1.0], [7.0]);
/// let one = Factors { x: Mat::new(&x1, 2, 2), g: Mat::new(&g1, 2, 1) };
/// let two = Factors { x: Mat::new(&x2, 1, 2), g: Mat::new(&g2, 1, 1) };
/// let mut theta = [1.0, 1.0];
/// gram_hadamard(&[Term { one, two, scale: 0.5, shift: 0.25 }], 1, MatMut::new(&mut theta, 2, 1));
/// assert_eq!(theta, [1.0 + (0.5 * 3.0 + 0.25) * 70.0, 1.0 + (0.5 * 7.0 + 0.25) * 140.0]);
/// ```
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn gram_hadamard<T: Float>(terms: &[Term<T>], outputs: usize, theta: MatMut<T>) {
    gram_hadamard_at(Level::best(), terms, outputs, theta);
}

/// [`gram_hadamard`] with the instructions of a given level.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn gram_hadamard_at<T: Float>(level: Level, terms: &[Term<T>], outputs: usize, mut theta: MatMut<T>) {
    check(terms, outputs, &theta);
    with_panels(level, terms, outputs, |task, n1, n2| rectangle(task, 0..n1, 0..n2, theta.reborrow(), None));
}

/// [`gram_hadamard`] of one set of examples with itself.
///
/// The upper triangle of pairs is computed, and then copied to the lower one, whose old contents are never read: θ is symmetric
/// to the bit, θ[i, j, a, b] = θ[j, i, b, a]. So the sum over the terms must be symmetric; a term of different factors `one` and
/// `two`, as shared weights have, comes with the term in which they are exchanged.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn gram_hadamard_symmetric<T: Float>(terms: &[Term<T>], outputs: usize, theta: MatMut<T>) {
    gram_hadamard_symmetric_at(Level::best(), terms, outputs, theta);
}

/// [`gram_hadamard_symmetric`] with the instructions of a given level.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn gram_hadamard_symmetric_at<T: Float>(level: Level, terms: &[Term<T>], outputs: usize, mut theta: MatMut<T>) {
    check(terms, outputs, &theta);
    for Term { one, two, .. } in terms {
        let (n1, n2) = (one.x.rows(), two.x.rows());
        assert!(n1 == n2, "a symmetric kernel of {n1} and {n2} examples");
    }
    with_panels(level, terms, outputs, |task, n, _| square(task, 0..n, theta.reborrow()));
}

#[track_caller]
fn check<T: Float>(terms: &[Term<T>], o: usize, theta: &MatMut<T>) {
    for Term { one, two, .. } in terms {
        let (n1, n2) = (one.x.rows(), two.x.rows());
        let fits = one.x.cols() == two.x.cols()
            && one.g.cols() == two.g.cols()
            && one.g.rows() == n1 * o
            && two.g.rows() == n2 * o
            && theta.rows() == n1
            && theta.cols() == n2 * o * o;
        let size = |a: Mat<T>| format!("{} × {}", a.rows(), a.cols());
        assert!(
            fits,
            "features {} and {}, cotangents {} and {} of {o} outputs into {} × {}",
            size(one.x),
            size(two.x),
            size(one.g),
            size(two.g),
            theta.rows(),
            theta.cols()
        );
    }
}

/// Packs the factors of one term after the other and hands each task to `run`, with the numbers of examples.
fn with_panels<T: Float>(level: Level, terms: &[Term<T>], outputs: usize, mut run: impl FnMut(&Task<T>, usize, usize)) {
    if outputs == 0 {
        return;
    }
    let width = width_at::<T>(level);
    for (t, &Term { one, two, scale, shift }) in terms.iter().enumerate() {
        let (n1, n2) = (one.x.rows(), two.x.rows());
        let depth = one.x.cols() + one.g.cols() * outputs * outputs;
        let alone = is_alone(n1.saturating_mul(outputs), n2.saturating_mul(outputs), n1.saturating_mul(n2).saturating_mul(depth));
        let len = pair_len(one.x, two.x, width);
        let mut memory = Scratch::take(len + pair_len(one.g, two.g, width));
        let (x, g) = memory.split_at_mut(len);
        let (x_left, x_right) = pack_pair(level, alone, one.x, two.x, width, x);
        let (g_left, g_right) = pack_pair(level, alone, one.g, two.g, width, g);
        let (x, g) = ((x_left, x_right, one.x.cols()), (g_left, g_right, one.g.cols()));
        let work = Work::Kernel { x, g, scale, shift, outputs };
        let rows = (side(KERNEL_BLOCK, n1 * outputs, alone, width) / outputs).max(1);
        let block = (rows, rows.next_multiple_of(width));
        let mirrored = t + 1 == terms.len();
        run(&Task { level, work, block, entries: outputs * outputs, alone, mirrored }, n1, n2);
    }
}

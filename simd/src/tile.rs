//! The microkernel: a tile of a product, held in registers while the sum over k runs.
//!
//! In pseudo-code, with V numbers in a vector:
//!
//! ```text
//! for k in 0..depth
//!     for j in 0..N: b_j ← V numbers of row k of b                      N loads
//!     for i in 0..M: for j in 0..N: s_ij ← s_ij + a_ik · b_j            M broadcasts, M·N multiply-adds
//! ```
//!
//! 1. M × N = 6 × 2 vectors make twelve independent sums, enough to hide the latency of a multiply-add (4 cycles, two a cycle).
//!    With two vectors of b and two factors on their way they fill the sixteen registers of AVX2. (4 × 3 would need fewer loads,
//!    but leaves room for one factor only, and then a sum is spilled in every turn: measured, less than half the speed.)
//! 2. Twelve multiply-adds need eight loads, so they, and not the loads, are what the CPU waits for.
//! 3. Every sum runs over k in order, in each tile alike, so an element has the same bits in any tile, at its edge, and alone.
//!
//! The left factor is read one number at a time, with any strides; the right one a vector at a time, so its rows must lie side by
//! side. Products, Gram matrices and convolutions end here, but for products of very few rows, very short
//! sums (`thin`) or very few elements (`alone`).

use crate::lane::Arith;
use crate::level::{Kernel, Level};
use crate::vector::{Vector, prefetch, prefetch_far};
use crate::{Accumulate, Float, Mat, MatMut};

/// Rows of a tile.
pub(crate) const M: usize = 6;

/// Vectors in a row of a tile.
pub(crate) const N: usize = 2;

/// The number of columns of a tile.
pub(crate) const fn width<T: Float, A: Arith>() -> usize {
    N * <A::Vector<T> as Vector>::LANES
}

/// [`width`] of a level.
pub(crate) fn width_at<T: Float>(level: Level) -> usize {
    struct Width<T>(T);
    impl<T: Float> Kernel for Width<T> {
        type Output = usize;
        #[inline(always)]
        fn run<A: Arith>(self, _: A) -> usize {
            width::<T, A>()
        }
    }
    level.run(Width(T::ZERO))
}

/// c ← a·b or c ← c + a·b for at most [`M`] rows and [`width`] columns, where the elements of each row of `b` lie side by side.
#[inline(always)]
pub(crate) fn tile<T: Float, A: Arith>(cpu: A, a: Mat<T>, b: Mat<T>, to: Accumulate, c: MatMut<T>) {
    any::<T, A, false>(cpu, Sum::one(a, b), to, c);
}

/// [`tile`] of [`M`] rows and [`width`] columns, which copies `b` to a panel on the way.
#[inline(always)]
pub(crate) fn tile_and_pack<T: Float, A: Arith>(cpu: A, a: Mat<T>, b: Mat<T>, to: Accumulate, mut c: MatMut<T>, panel: &mut [T]) {
    let sum = Sum::one(a, b);
    expect::<T, M>(sum, &mut c);
    let sums = sums::<T, A, M, N, false, false>(cpu, sum, Some(panel));
    write::<T, A, M, N>(cpu, sums, to, &mut c);
}

/// [`tile`] of a sum of products.
#[inline(always)]
pub(crate) fn tile_of_sum<T: Float, A: Arith>(cpu: A, sum: Sum<T>, to: Accumulate, c: MatMut<T>) {
    any::<T, A, true>(cpu, sum, to, c);
}

/// A sum of products Σ a·b whose left factors are alike and lie at equal distances, and whose right factors stand above each other.
///
/// So a tile runs through all of them in one loop, which moves on in `a` where a term ends: in a loop over terms that contains one
/// over k, the registers do not last for twelve sums (measured, half the speed).
#[derive(Clone, Copy)]
pub(crate) struct Sum<'m, T> {
    /// The left factor of the first term.
    a: Mat<'m, T>,
    /// Invariant: for t < `b.rows() / a.cols()`, the elements of `a` moved on by t times this are valid to read.
    step: usize,
    /// The right factors, `a.cols()` rows for each term.
    b: Mat<'m, T>,
}

impl<'m, T> Sum<'m, T> {
    /// A single product.
    #[inline(always)]
    pub(crate) fn one(a: Mat<'m, T>, b: Mat<'m, T>) -> Self {
        assert!(b.rows() == a.cols());
        Sum { a, step: 0, b }
    }

    /// The left factor of term t is `rows` × `depth` with these strides in the numbers of `a` from t·`step` on.
    #[inline(always)]
    pub(crate) fn new(a: &'m [T], step: usize, rows: usize, depth: usize, strides: (usize, usize), terms: usize, b: Mat<'m, T>) -> Self {
        assert!(terms.checked_mul(depth) == Some(b.rows()));
        let Some(before) = terms.checked_sub(1) else {
            return Sum { a: Mat::strided(&[], rows, 0, 1, 1), step: 0, b };
        };
        // The last term lies furthest behind, so where it has its elements the others have theirs.
        let last = before.checked_mul(step).expect("a place in the data");
        Mat::strided(&a[last..], rows, depth, strides.0, strides.1);
        Sum { a: Mat::strided(a, rows, depth, strides.0, strides.1), step, b }
    }

    /// The same for the first columns of the right factors.
    #[inline(always)]
    fn columns(self, n: usize) -> Self {
        Sum { b: self.b.block(0..self.b.rows(), 0..n), ..self }
    }
}

#[inline(always)]
fn any<T: Float, A: Arith, const MANY: bool>(cpu: A, sum: Sum<T>, to: Accumulate, c: MatMut<T>) {
    let lanes = <A::Vector<T> as Vector>::LANES;
    let (rows, cols) = (c.rows(), c.cols());
    match (rows, cols.div_ceil(lanes)) {
        (6, 2) if cols == 2 * lanes => whole::<T, A, 6, 2, MANY>(cpu, sum, to, c),
        (6, 2) => part::<T, A, 6, 2, MANY>(cpu, sum, to, c),
        (6, 1) => part::<T, A, 6, 1, MANY>(cpu, sum, to, c),
        (5, 2) => part::<T, A, 5, 2, MANY>(cpu, sum, to, c),
        (5, 1) => part::<T, A, 5, 1, MANY>(cpu, sum, to, c),
        (4, 2) => part::<T, A, 4, 2, MANY>(cpu, sum, to, c),
        (4, 1) => part::<T, A, 4, 1, MANY>(cpu, sum, to, c),
        (3, 2) => part::<T, A, 3, 2, MANY>(cpu, sum, to, c),
        (3, 1) => part::<T, A, 3, 1, MANY>(cpu, sum, to, c),
        (2, 2) => part::<T, A, 2, 2, MANY>(cpu, sum, to, c),
        (2, 1) => part::<T, A, 2, 1, MANY>(cpu, sum, to, c),
        (1, 2) => part::<T, A, 1, 2, MANY>(cpu, sum, to, c),
        (1, 1) => part::<T, A, 1, 1, MANY>(cpu, sum, to, c),
        (0, _) | (_, 0) => (),
        _ => panic!("a tile of {rows} × {cols}, and the largest is {M} × {}", N * lanes),
    }
}

#[inline(always)]
fn whole<T: Float, A: Arith, const M: usize, const N: usize, const MANY: bool>(cpu: A, sum: Sum<T>, to: Accumulate, mut c: MatMut<T>) {
    expect::<T, M>(sum, &mut c);
    let sums = sums::<T, A, M, N, false, MANY>(cpu, sum, None);
    write::<T, A, M, N>(cpu, sums, to, &mut c);
}

#[inline(always)]
fn part<T: Float, A: Arith, const M: usize, const N: usize, const MANY: bool>(cpu: A, sum: Sum<T>, to: Accumulate, mut c: MatMut<T>) {
    let columns = N * <A::Vector<T> as Vector>::LANES;
    expect::<T, M>(sum, &mut c);
    let sums = if sum.b.cols() >= columns {
        // A panel is wider than what is left of the target.
        sums::<T, A, M, N, false, MANY>(cpu, sum.columns(columns), None)
    } else {
        sums::<T, A, M, N, true, MANY>(cpu, sum, None)
    };
    write::<T, A, M, N>(cpu, sums, to, &mut c);
}

/// Sums over fewer numbers are done before what was asked for arrives.
const LONG: usize = 32;

/// Asks for the lines of the target, which have the time of the whole sum to come: rows of it lie in different pages, and often at
/// a distance of a power of two, on the same sets of the caches.
#[inline(always)]
fn expect<T: Float, const M: usize>(sum: Sum<T>, c: &mut MatMut<T>) {
    if sum.b.rows() < LONG || c.col_stride() != 1 {
        return;
    }
    let (start, stride, last) = (c.as_mut_ptr(), c.row_stride(), c.cols() - 1);
    for i in 0..M {
        let row = start.wrapping_add(i * stride);
        prefetch(row);
        prefetch(row.wrapping_add(last));
    }
}

/// Rows of `b` that are asked for ahead where they are read from far away, into the first and the second cache.
const AHEAD: (usize, usize) = (4, 40);

/// The sums of a tile; with `TAIL` the last vector of a row of `b` is only partly there, with `MANY` there are several terms, and a
/// panel is where the rows of `b` are copied to, one after the other.
#[inline(always)]
fn sums<T: Float, A: Arith, const M: usize, const N: usize, const TAIL: bool, const MANY: bool>(
    cpu: A,
    Sum { a, step, b }: Sum<T>,
    mut panel: Option<&mut [T]>,
) -> [[A::Vector<T>; N]; M] {
    let lanes = <A::Vector<T> as Vector>::LANES;
    let (depth, all) = (a.cols(), b.rows());
    assert!(a.rows() == M && (MANY || all == depth) && (b.cols() == 1 || b.col_stride() == 1));
    assert!(if TAIL { (N - 1) * lanes < b.cols() && b.cols() < N * lanes } else { b.cols() == N * lanes });
    assert!(!TAIL || panel.is_none());
    assert!(panel.as_ref().is_none_or(|panel| panel.len() >= all * N * lanes));
    let (rs, cs, bs) = (a.row_stride(), a.col_stride(), b.row_stride());
    let mut panel = panel.as_mut().map(|panel| panel.as_mut_ptr());
    let tail = b.cols().wrapping_sub((N - 1) * lanes);
    // Two pointers into `a`, as rows 0 to 2 are in reach of one: the CPU adds once or twice a stride by itself.
    let (mut a, mut lower, mut b) = (a.as_ptr(), a.as_ptr().wrapping_add(3 * rs), b.as_ptr());
    let zero = A::Vector::<T>::splat(cpu, T::ZERO);
    let mut sums = [[zero; N]; M];
    let (mut left, next) = (depth, step.wrapping_sub(depth.wrapping_mul(cs)));
    for _ in 0..all {
        // SAFETY: row k of `b` has the columns that are loaded, N whole vectors or, with `TAIL`, one less and `tail` numbers, and
        // they lie side by side; column k of a term's `a` has `M` rows. Those are elements of the views, which are valid to read,
        // and with `MANY` those of the other terms by the invariant of `Sum`. A panel has room for N vectors for each of the rows.
        // The pointers are stepped by `wrapping_add`, since they may leave the data behind the last row or column.
        unsafe {
            let mut row = [zero; N];
            for j in 0..N {
                let p = b.add(j * lanes);
                row[j] = if TAIL && j == N - 1 { A::Vector::<T>::load_first(cpu, p, tail) } else { A::Vector::<T>::load(cpu, p) };
            }
            if let Some(panel) = &mut panel {
                for ahead in [b.wrapping_add(AHEAD.0 * bs), b.wrapping_add(AHEAD.0 * bs + N * lanes - 1)] {
                    prefetch(ahead);
                    prefetch_far(ahead.wrapping_add((AHEAD.1 - AHEAD.0) * bs));
                }
                for j in 0..N {
                    row[j].store(panel.add(j * lanes));
                }
                *panel = panel.wrapping_add(N * lanes);
            }
            for i in 0..M {
                let factor = A::Vector::<T>::splat(cpu, if i < 3 { *a.add(i * rs) } else { *lower.add((i - 3) * rs) });
                for j in 0..N {
                    sums[i][j] = factor.mul_add(row[j], sums[i][j]);
                }
            }
        }
        (a, lower, b) = (a.wrapping_add(cs), lower.wrapping_add(cs), b.wrapping_add(bs));
        if MANY {
            left -= 1;
            if left == 0 {
                left = depth;
                (a, lower) = (a.wrapping_add(next), lower.wrapping_add(next));
            }
        }
    }
    sums
}

/// Writes the sums, or adds them, to a target whose rows lie side by side or not.
///
/// Every loop is short and its branches stand outside, so that it is unrolled and the sums never leave their registers.
#[inline(always)]
fn write<T: Float, A: Arith, const M: usize, const N: usize>(cpu: A, mut sums: [[A::Vector<T>; N]; M], to: Accumulate, c: &mut MatMut<T>) {
    let lanes = <A::Vector<T> as Vector>::LANES;
    let cols = c.cols();
    assert!(c.rows() == M && (N - 1) * lanes < cols && cols <= N * lanes);
    if cols > 1 && c.col_stride() != 1 {
        let mut numbers = [[T::ZERO; MOST_LANES]; MOST_VECTORS];
        for i in 0..M {
            for j in 0..N {
                // SAFETY: there is room for the lanes of any vector, and for all vectors of a tile.
                unsafe { sums[i][j].store(numbers[i * N + j].as_mut_ptr()) }
            }
        }
        return write_strided(&numbers, N, lanes, to, c);
    }
    let (rs, tail) = (c.row_stride(), cols - (N - 1) * lanes);
    let start = c.as_mut_ptr();
    // SAFETY: row i of the view has these columns, side by side: N whole vectors, or one less and `tail` numbers.
    unsafe {
        if tail == lanes {
            if to == Accumulate::Add {
                for i in 0..M {
                    for j in 0..N {
                        sums[i][j] = A::Vector::<T>::load(cpu, start.add(i * rs + j * lanes)).add(sums[i][j]);
                    }
                }
            }
            for i in 0..M {
                for j in 0..N {
                    sums[i][j].store(start.add(i * rs + j * lanes));
                }
            }
            return;
        }
        if to == Accumulate::Add {
            for i in 0..M {
                for j in 0..N - 1 {
                    sums[i][j] = A::Vector::<T>::load(cpu, start.add(i * rs + j * lanes)).add(sums[i][j]);
                }
                sums[i][N - 1] = A::Vector::<T>::load_first(cpu, start.add(i * rs + (N - 1) * lanes), tail).add(sums[i][N - 1]);
            }
        }
        for i in 0..M {
            for j in 0..N - 1 {
                sums[i][j].store(start.add(i * rs + j * lanes));
            }
            sums[i][N - 1].store_first(start.add(i * rs + (N - 1) * lanes), tail);
        }
    }
}

/// [`write`], one number at a time, of vectors that were written down.
#[cold]
#[inline(never)]
fn write_strided<T: Float>(vectors: &[[T; MOST_LANES]; MOST_VECTORS], n: usize, lanes: usize, to: Accumulate, c: &mut MatMut<T>) {
    for i in 0..c.rows() {
        for j in 0..c.cols() {
            let sum = vectors[i * n + j / lanes][j % lanes];
            let sum = if to == Accumulate::Add { c.at(i, j) + sum } else { sum };
            c.set(i, j, sum);
        }
    }
}

/// The vectors of a tile, however wide.
const MOST_VECTORS: usize = M * N;

/// The most lanes that a vector has.
pub(crate) const MOST_LANES: usize = 16;

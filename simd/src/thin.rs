//! Thin products, which wait for memory: of one to three rows, whose right factor is read once, where it lies and in that order, or
//! with sums over one to four numbers, whose target is written in order. Columns that are left over, and factors that lie side by side in neither
//! direction, are packed for a tile.
//!
//! Every sum runs over k in order, as in a tile, so an element has the same bits here and there.

use std::ops::Range;

use crate::block::DEPTH;
use crate::lane::Arith;
use crate::level::Kernel;
use crate::pack::pack;
use crate::tile::{MOST_LANES, N, tile, width};
use crate::vector::Vector;
use crate::{Accumulate, Float, Mat, MatMut};

/// Rows so few that a tile has not enough sums to hide the latency of a multiply-add.
pub(crate) const FEW: usize = 4;

/// Numbers of a sum so short that writing the target is most of the work.
pub(crate) const SHORT: usize = 4;

/// Bytes of sums that stay in the first cache while rows of the right factor pass.
const SUMS: usize = 1 << 14;

/// Columns of the right factor that are read side by side: enough sums to hide the latency of a multiply-add.
const COLUMNS: usize = 16;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Where lines lie at this distance, in bytes, they compete for the same few places of the first cache.
const PAGE: usize = 1 << 12;

/// The scratch that a product of so few rows needs, whose columns are shared by threads or not.
pub(crate) fn scratch_len<T: Float>(b: Mat<T>, to: Accumulate, c: &MatMut<T>, shared: bool) -> usize {
    if b.col_stride() != 1 {
        N * MOST_LANES * DEPTH
    } else if is_apart(to, c) || shared || b.rows() > DEPTH {
        (SUMS + FEW * 2 * LINE) / size_of::<T>()
    } else {
        0
    }
}

/// Whether the sums need a place of their own: as the target holds something else, is not a row of numbers, or has rows that compete.
#[inline(always)]
fn is_apart<T>(to: Accumulate, c: &MatMut<T>) -> bool {
    to == Accumulate::Add || c.col_stride() != 1 || (c.rows() > 1 && (c.row_stride() * size_of::<T>()).is_multiple_of(PAGE))
}

/// The distance of rows of such sums, a line more than they need.
#[inline(always)]
const fn sums_stride<T>(n: usize) -> usize {
    let line = LINE / size_of::<T>();
    n.next_multiple_of(line) + line
}

/// The pieces of a sum over k, and what happens to what the target holds when each is done.
#[inline(always)]
fn pieces(depth: usize, to: Accumulate) -> impl Iterator<Item = (Range<usize>, Accumulate)> {
    let ends = (0..depth.max(1)).step_by(DEPTH).map(move |k| k..depth.min(k + DEPTH));
    ends.map(move |k| if k.start == 0 { (k, to) } else { (k, Accumulate::Add) })
}

/// c ← a·b or c ← c + a·b for fewer than [`FEW`] rows, or over at most [`SHORT`] numbers where the elements of a row of `b` lie side by side,
/// and those of a row of `c`.
pub struct Thin<'a, T> {
    pub(crate) a: Mat<'a, T>,
    pub(crate) b: Mat<'a, T>,
    pub(crate) to: Accumulate,
    pub(crate) c: MatMut<'a, T>,
    /// Whether threads share the columns: a line of the target that belongs to two of them should be written once.
    pub(crate) shared: bool,
    /// Room for [`scratch_len`] numbers, if the rows are few.
    pub(crate) scratch: &'a mut [T],
}

impl<T: Float> Kernel for Thin<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(self, cpu: A) {
        // Beside the factors of two or three rows sixteen registers do not last for more streams.
        let wide = size_of::<A::Vector<T>>() == LINE;
        match (self.c.rows(), self.b.rows()) {
            (1, _) => self.rows::<A, 1, 8>(cpu),
            (2, _) if wide => self.rows::<A, 2, 8>(cpu),
            (3, _) if wide => self.rows::<A, 3, 8>(cpu),
            (2, _) => self.rows::<A, 2, 4>(cpu),
            (3, _) => self.rows::<A, 3, 4>(cpu),
            (_, 1) => self.short::<A, 1>(cpu),
            (_, 2) => self.short::<A, 2>(cpu),
            (_, 3) => self.short::<A, 3>(cpu),
            (_, 4) => self.short::<A, 4>(cpu),
            (m, k) => panic!("{m} rows are not few, and a sum over {k} numbers is not short"),
        }
    }
}

impl<T: Float> Thin<'_, T> {
    /// The product, where `STREAMS` rows of the right factor are read side by side if they lie so: each is a stream that the CPU follows.
    #[inline(always)]
    fn rows<A: Arith, const M: usize, const STREAMS: usize>(self, cpu: A) {
        let Thin { a, b, to, mut c, shared, scratch } = self;
        let (lanes, width, depth, n) = (<A::Vector<T> as Vector>::LANES, width::<T, A>(), b.rows(), c.cols());
        if b.col_stride() == 1 && n > M * width && depth > 0 {
            let most = SUMS / size_of::<T>() / M / lanes * lanes;
            for (k, to) in pieces(depth, to) {
                for j in (0..n).step_by(most) {
                    let j = j..n.min(j + most);
                    let c = c.reborrow().block(0..M, j.clone());
                    along_rows::<T, A, M, STREAMS>(cpu, a.block(0..M, k.clone()), b.block(k.clone(), j), to, c, shared, scratch);
                }
            }
            return;
        }
        let mut done = 0;
        if b.row_stride() == 1 && b.col_stride() > 1 {
            while done + COLUMNS <= n {
                let j = done..done + COLUMNS;
                done = j.end;
                for (k, to) in pieces(depth, to) {
                    let sums = along_columns::<T, A, M>(cpu, a.block(0..M, k.clone()), b.block(k, j.clone()));
                    for i in 0..M {
                        let mut numbers = [T::ZERO; COLUMNS];
                        for g in 0..COLUMNS / lanes {
                            // SAFETY: there is room for as many vectors as make up the columns.
                            unsafe { sums[i][g].store(numbers.as_mut_ptr().add(g * lanes)) }
                        }
                        add_to(&numbers, to, c.reborrow().block(i..i + 1, j.clone()));
                    }
                }
            }
        }
        for j in (done..n).step_by(width) {
            let j = j..n.min(j + width);
            for (k, to) in pieces(depth, to) {
                let (a, b, c) = (a.block(0..M, k.clone()), b.block(k.clone(), j.clone()), c.reborrow().block(0..M, j.clone()));
                if b.col_stride() == 1 || b.cols() == 1 {
                    tile(cpu, a, b, to, c);
                } else {
                    let width = j.len().next_multiple_of(lanes);
                    let panel = &mut scratch[..width * k.len()];
                    pack(cpu, b.t(), width, panel);
                    tile(cpu, a, Mat::new(panel, k.len(), width), to, c);
                }
            }
        }
    }

    /// The product over `K` numbers, row after row of the target.
    #[inline(always)]
    fn short<A: Arith, const K: usize>(self, cpu: A) {
        let Thin { a, b, to, mut c, .. } = self;
        let (m, n) = (c.rows(), c.cols());
        let how = if to == Accumulate::Add { Sums::Added } else { Sums::New };
        let mut i = 0;
        // Two rows share what is read of `b`, unless writing is all that counts.
        while K > 1 && i + 2 <= m {
            pass::<T, A, 2, K>(cpu, a.block(i..i + 2, 0..K), b, how, &mut c.reborrow().block(i..i + 2, 0..n));
            i += 2;
        }
        while i < m {
            pass::<T, A, 1, K>(cpu, a.block(i..i + 1, 0..K), b, how, &mut c.reborrow().block(i..i + 1, 0..n));
            i += 1;
        }
    }
}

/// What sums start with, and where they go.
#[derive(Clone, Copy, PartialEq)]
enum Sums {
    /// They start at 0 and are written.
    New,
    /// They go on from what was written.
    Continued,
    /// They start at 0 and are added to what is there.
    Added,
}

/// A row of the target ← the sums, or the sums are added to it.
#[inline(always)]
fn add_to<T: Float>(sums: &[T], to: Accumulate, mut row: MatMut<T>) {
    for (j, &sum) in sums.iter().enumerate() {
        let sum = if to == Accumulate::Add { row.at(0, j) + sum } else { sum };
        row.set(0, j, sum);
    }
}

/// Rows of `b` lie side by side: some at a time are added to all sums.
#[inline(always)]
fn along_rows<T: Float, A: Arith, const M: usize, const G: usize>(
    cpu: A,
    a: Mat<T>,
    b: Mat<T>,
    to: Accumulate,
    mut c: MatMut<T>,
    shared: bool,
    scratch: &mut [T],
) {
    let (depth, n) = (b.rows(), b.cols());
    assert!(a.rows() == M && a.cols() == depth && c.rows() == M && c.cols() == n);
    let apart = is_apart(to, &c) || shared;
    let stride = sums_stride::<T>(n);
    let mut sums = if apart { MatMut::new(&mut scratch[..M * stride], M, stride).col_range(0..n) } else { c.reborrow() };
    let mut k = 0;
    while k < depth {
        let how = if k == 0 { Sums::New } else { Sums::Continued };
        if k + G <= depth {
            pass::<T, A, M, G>(cpu, a.block(0..M, k..k + G), b.block(k..k + G, 0..n), how, &mut sums);
            k += G;
        } else {
            pass::<T, A, M, 1>(cpu, a.block(0..M, k..k + 1), b.block(k..k + 1, 0..n), how, &mut sums);
            k += 1;
        }
    }
    if apart {
        for i in 0..M {
            add_to(&scratch[i * stride..i * stride + n], to, c.reborrow().block(i..i + 1, 0..n));
        }
    }
}

/// Sums of the products with `G` rows of `b`.
#[inline(always)]
fn pass<T: Float, A: Arith, const M: usize, const G: usize>(cpu: A, a: Mat<T>, b: Mat<T>, how: Sums, sums: &mut MatMut<T>) {
    let (lanes, n) = (<A::Vector<T> as Vector>::LANES, b.cols());
    assert!(a.rows() == M && a.cols() == G && b.rows() == G && (n == 1 || b.col_stride() == 1));
    assert!(sums.rows() == M && sums.cols() == n && (n == 1 || sums.col_stride() == 1));
    let zero = A::Vector::<T>::splat(cpu, T::ZERO);
    let mut factors = [[zero; G]; M];
    for i in 0..M {
        for g in 0..G {
            factors[i][g] = A::Vector::<T>::splat(cpu, a.at(i, g));
        }
    }
    let (from, bs, to, cs) = (b.as_ptr(), b.row_stride(), sums.as_mut_ptr(), sums.row_stride());
    let whole = n / lanes * lanes;
    let mut j = 0;
    while j < whole {
        // SAFETY: columns j to j + LANES − 1 are elements of all rows of `b` and of the sums, whose rows lie side by side.
        unsafe {
            let mut row = [zero; G];
            for g in 0..G {
                row[g] = A::Vector::<T>::load(cpu, from.add(g * bs + j));
            }
            for i in 0..M {
                let place = to.add(i * cs + j);
                let mut sum = if how == Sums::Continued { A::Vector::<T>::load(cpu, place) } else { zero };
                for g in 0..G {
                    sum = factors[i][g].mul_add(row[g], sum);
                }
                if how == Sums::Added {
                    sum = A::Vector::<T>::load(cpu, place).add(sum);
                }
                sum.store(place);
            }
        }
        j += lanes;
    }
    if whole < n {
        let tail = n - whole;
        for i in 0..M {
            // SAFETY: as above, for the `tail` columns that are left.
            unsafe {
                let place = to.add(i * cs + whole);
                let mut sum = if how == Sums::Continued { A::Vector::<T>::load_first(cpu, place, tail) } else { zero };
                for g in 0..G {
                    sum = factors[i][g].mul_add(A::Vector::<T>::load_first(cpu, from.add(g * bs + whole), tail), sum);
                }
                if how == Sums::Added {
                    sum = A::Vector::<T>::load_first(cpu, place, tail).add(sum);
                }
                sum.store_first(place, tail);
            }
        }
    }
}

/// Columns of `b` lie side by side: squares of them are turned around in registers, so that the lanes of a vector are columns.
#[inline(always)]
fn along_columns<T: Float, A: Arith, const M: usize>(cpu: A, a: Mat<T>, b: Mat<T>) -> [[A::Vector<T>; MOST_VECTORS]; M] {
    let line = LINE / size_of::<T>();
    let (depth, stride) = (b.rows(), b.col_stride());
    assert!(a.rows() == M && a.cols() == depth && b.cols() == COLUMNS && (depth <= 1 || b.row_stride() == 1));
    let mut sums = [[A::Vector::<T>::splat(cpu, T::ZERO); MOST_VECTORS]; M];
    // A line that is read in two turns may be gone in between, if columns compete for a place: then turns end where lines do.
    let head = if (stride * size_of::<T>()).is_multiple_of(PAGE) { b.as_ptr().align_offset(LINE).min(line) % line } else { 0 };
    let head = head.min(depth);
    let (from, strides, factors) = (b.as_ptr(), (a.row_stride(), a.col_stride()), a.as_ptr());
    let mut k = 0;
    while k < depth {
        let n = if k < head { head } else { line.min(depth - k) };
        // SAFETY: numbers k to k + n − 1 of all columns of `b` lie side by side, and are elements as those columns of `a` are.
        unsafe {
            let (factors, from) = (factors.wrapping_add(k * strides.1), from.wrapping_add(k));
            if n == line {
                turn_line::<T, A, M, true>(cpu, factors, strides, from, stride, n, &mut sums);
            } else {
                turn_line::<T, A, M, false>(cpu, factors, strides, from, stride, n, &mut sums);
            }
        }
        k += n;
    }
    sums
}

/// Adds the products of `n` numbers of all columns, a line or with `WHOLE` false less.
///
/// # Safety
/// `n` numbers from `from` on and from [`COLUMNS`] places at a distance of `stride`, and `M` × `n` factors at these strides, must be valid to read.
#[inline(always)]
unsafe fn turn_line<T: Float, A: Arith, const M: usize, const WHOLE: bool>(
    cpu: A,
    factors: *const T,
    (rs, cs): (usize, usize),
    from: *const T,
    stride: usize,
    n: usize,
    sums: &mut [[A::Vector<T>; MOST_VECTORS]; M],
) {
    let (lanes, line) = (<A::Vector<T> as Vector>::LANES, LINE / size_of::<T>());
    for g in 0..COLUMNS / lanes {
        for h in 0..line / lanes {
            let first = h * lanes;
            if !WHOLE && n <= first {
                continue;
            }
            let n = if WHOLE { lanes } else { lanes.min(n - first) };
            let mut square = A::Vector::<T>::square(cpu);
            for r in 0..lanes {
                let p = from.wrapping_add((g * lanes + r) * stride + first);
                // SAFETY: the caller makes these numbers of the column readable.
                square.as_mut()[r] =
                    unsafe { if WHOLE || n == lanes { A::Vector::<T>::load(cpu, p) } else { A::Vector::<T>::load_first(cpu, p, n) } };
            }
            let square = A::Vector::<T>::transposed(square);
            for l in 0..lanes {
                if WHOLE || l < n {
                    for i in 0..M {
                        // SAFETY: the caller makes the factor readable.
                        let factor = A::Vector::<T>::splat(cpu, unsafe { *factors.wrapping_add(i * rs + (first + l) * cs) });
                        sums[i][g] = factor.mul_add(square.as_ref()[l], sums[i][g]);
                    }
                }
            }
        }
    }
}

/// The most vectors that make up the columns of a turn.
const MOST_VECTORS: usize = COLUMNS / 4;

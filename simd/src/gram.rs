//! Gram matrices, whose symmetry halves the work, and sums of products of two of them, element by element: the kernel of a layer.
//!
//! The rows of every factor are packed into panels once, and all blocks of the result read those. A block of the kernel of a layer
//! is small enough that both Gram matrices of it, and the block itself, stay in a core's second cache from the first multiply-add
//! to the last; nothing larger is ever written down.

use std::ops::Range;

use rayon::prelude::*;

use crate::block::{Block, Left, Right, scratch_len};
use crate::lane::Arith;
use crate::level::Kernel;
use crate::pack::{Panels, pack, transpose};
use crate::product::{ALONE, CUT, join};
use crate::scratch::Scratch;
use crate::tile::{self, MOST_LANES};
use crate::{Accumulate, Float, Level, Mat, MatMut};

/// Rows and columns of a block of a Gram matrix.
const GRAM_BLOCK: usize = 2 * CUT;

/// Rows and columns of a block of the kernel of a layer, of which two Gram matrices are held.
const KERNEL_BLOCK: usize = 3 * CUT;

/// Rows of so few bytes are read where they lie.
const SHORT: usize = 512;

/// The most columns that a tile has at any level.
const MOST_COLUMNS: usize = tile::N * MOST_LANES;

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
    let (m, k) = (a.rows(), a.cols());
    assert!(c.rows() == m && c.cols() == m, "the Gram matrix of {m} × {k} into {} × {}", c.rows(), c.cols());
    let width = level.run(Width(T::ZERO));
    let mut memory = Scratch::take(m.next_multiple_of(width) * k);
    let alone = m.saturating_mul(m).saturating_mul(k) < ALONE;
    pack_all(level, alone, a, width, &mut memory);
    let work = Work::Gram { left: left(a), right: Panels::new(&memory, width, k), depth: k, to };
    square(&Task { level, work, block: (GRAM_BLOCK, GRAM_BLOCK), entries: 1, alone }, 0..m, c);
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
/// so that an array of the shape `[n1, n2, O, O]` is filled. Besides θ the call needs memory for a copy of the factors `two`.
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
pub fn gram_hadamard_at<T: Float>(level: Level, terms: &[Term<T>], outputs: usize, theta: MatMut<T>) {
    check(terms, outputs, &theta);
    with_panels(level, terms, outputs, |task, n1, n2| rectangle(task, 0..n1, 0..n2, theta, None));
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
pub fn gram_hadamard_symmetric_at<T: Float>(level: Level, terms: &[Term<T>], outputs: usize, theta: MatMut<T>) {
    check(terms, outputs, &theta);
    for Term { one, two, .. } in terms {
        let (n1, n2) = (one.x.rows(), two.x.rows());
        assert!(n1 == n2, "a symmetric kernel of {n1} and {n2} examples");
    }
    with_panels(level, terms, outputs, |task, n, _| square(task, 0..n, theta));
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

/// What is computed, in blocks that share nothing but what they read.
struct Task<'a, T: Float> {
    level: Level,
    work: Work<'a, T>,
    /// Rows and columns of a block at the most.
    block: (usize, usize),
    /// Numbers of the target for a row and a column.
    entries: usize,
    /// Whether the calling thread does all.
    alone: bool,
}

enum Work<'a, T: Float> {
    /// c ← a·aᵀ or c ← c + a·aᵀ.
    Gram { left: Left<'a, T>, right: Panels<'a, T>, depth: usize, to: Accumulate },
    /// The sum of [`Term`]s, with the panels of all their factors `two`, one after the other.
    Kernel { terms: &'a [Term<'a, T>], panels: &'a [T], width: usize, outputs: usize },
}

/// A factor as the left one of a tile. Long rows are copied for each block, since rows at a distance of some power of two would
/// drive each other out of the caches.
fn left<T: Float>(a: Mat<T>) -> Left<T> {
    let short = a.col_stride() == 1 && a.cols() * size_of::<T>() <= SHORT;
    if short || a.cols() <= 1 { Left::View(a) } else { Left::Packed(a) }
}

/// The columns of a tile at a level.
struct Width<T>(T);

impl<T: Float> Kernel for Width<T> {
    type Output = usize;
    #[inline(always)]
    fn run<A: Arith>(self, _: A) -> usize {
        tile::width::<T, A>()
    }
}

/// Packs a factor, its panels shared by the threads.
fn pack_all<T: Float>(level: Level, alone: bool, x: Mat<T>, width: usize, panels: &mut [T]) {
    let some = GRAM_BLOCK.next_multiple_of(width);
    if x.cols() == 0 {
        return;
    }
    if alone {
        return T::run_pack(level, Pack { x, width, panels });
    }
    panels.par_chunks_mut(some * x.cols()).enumerate().for_each(|(p, panels)| {
        let x = x.row_range(p * some..x.rows().min((p + 1) * some));
        T::run_pack(level, Pack { x, width, panels });
    });
}

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

/// The length of the panels of a factor.
fn panels_len<T: Float>(x: Mat<T>, width: usize) -> usize {
    x.rows().next_multiple_of(width) * x.cols()
}

/// Packs the factors `two` of all terms and hands the task to `run`, with the numbers of examples.
fn with_panels<T: Float>(level: Level, terms: &[Term<T>], outputs: usize, run: impl FnOnce(&Task<T>, usize, usize)) {
    let Some(first) = terms.first() else { return };
    if outputs == 0 {
        return;
    }
    let width = level.run(Width(T::ZERO));
    let factors = || terms.iter().flat_map(|term| [term.two.x, term.two.g]);
    let (n1, n2) = (first.one.x.rows(), first.two.x.rows());
    let depth: usize = terms.iter().map(|term| term.one.x.cols() + term.one.g.cols() * outputs * outputs).sum();
    let alone = n1.saturating_mul(n2).saturating_mul(depth) < ALONE;
    let mut memory = Scratch::take(factors().map(|x| panels_len(x, width)).sum());
    let mut rest = &mut memory[..];
    for x in factors() {
        let (panels, behind) = rest.split_at_mut(panels_len(x, width));
        pack_all(level, alone, x, width, panels);
        rest = behind;
    }
    // The columns of a block begin with a panel of features, and so with one of cotangents.
    let rows = (KERNEL_BLOCK / outputs).max(1);
    let block = (rows, rows.next_multiple_of(MOST_COLUMNS));
    let work = Work::Kernel { terms, panels: &memory, width, outputs };
    run(&Task { level, work, block, entries: outputs * outputs, alone }, n1, n2);
}

/// The blocks of a symmetric target for the examples `i`, on its diagonal.
fn square<T: Float>(task: &Task<T>, i: Range<usize>, c: MatMut<T>) {
    let n = i.len();
    if n <= task.block.1 {
        return task.diagonal(i, c);
    }
    let half = (n / 2).next_multiple_of(task.block.1);
    let (upper, lower) = c.split_rows_at(half);
    let (c11, c12) = upper.split_cols_at(half * task.entries);
    let (c21, c22) = lower.split_cols_at(half * task.entries);
    let (i1, i2) = (i.start..i.start + half, i.start + half..i.end);
    join(
        task.alone,
        || rectangle(task, i1.clone(), i2.clone(), c12, Some(c21)),
        || join(task.alone, || square(task, i1.clone(), c11), || square(task, i2.clone(), c22)),
    );
}

/// The blocks of a target for the examples `i` by the examples `j`, with the target for `j` by `i` as its mirror, if there is one.
fn rectangle<T: Float>(task: &Task<T>, i: Range<usize>, j: Range<usize>, c: MatMut<T>, mirror: Option<MatMut<T>>) {
    let (m, n, e) = (i.len(), j.len(), task.entries);
    if m > task.block.0 && m * task.block.1 >= n * task.block.0 {
        let half = (m / 2).next_multiple_of(task.block.0);
        let (above, below) = c.split_rows_at(half);
        let (left, right) = mirror.map(|c| c.split_cols_at(half * e)).unzip();
        let (i1, i2) = (i.start..i.start + half, i.start + half..i.end);
        join(task.alone, || rectangle(task, i1, j.clone(), above, left), || rectangle(task, i2, j.clone(), below, right));
    } else if n > task.block.1 {
        let half = (n / 2).next_multiple_of(task.block.1);
        let (left, right) = c.split_cols_at(half * e);
        let (above, below) = mirror.map(|c| c.split_rows_at(half)).unzip();
        let (j1, j2) = (j.start..j.start + half, j.start + half..j.end);
        join(task.alone, || rectangle(task, i.clone(), j1, left, above), || rectangle(task, i.clone(), j2, right, below));
    } else {
        task.block(i, j, c, mirror);
    }
}

impl<T: Float> Task<'_, T> {
    /// A block of the target for the examples `i` by the examples `j`, and its mirror.
    fn block(&self, i: Range<usize>, j: Range<usize>, mut c: MatMut<T>, mirror: Option<MatMut<T>>) {
        self.compute(&i, &j, false, c.reborrow());
        if let Some(mirror) = mirror {
            T::run_turn(self.level, Turn { c: c.as_mat(), mirror, outputs: self.outputs() });
        }
    }

    /// The block of the target for the examples `i` by themselves, mirrored across its diagonal.
    fn diagonal(&self, i: Range<usize>, mut c: MatMut<T>) {
        for first in (i.start..i.end).step_by(self.block.0) {
            let rows = first..i.end.min(first + self.block.0);
            self.compute(&rows, &i, true, c.reborrow().row_range(rows.start - i.start..rows.end - i.start));
        }
        T::run_mirror(self.level, Mirror { c, outputs: self.outputs() });
    }

    fn outputs(&self) -> usize {
        match self.work {
            Work::Gram { .. } => 1,
            Work::Kernel { outputs, .. } => outputs,
        }
    }

    /// Computes a block, or with `upper` at least what is not below its diagonal i = j.
    fn compute(&self, i: &Range<usize>, j: &Range<usize>, upper: bool, mut c: MatMut<T>) {
        match self.work {
            Work::Gram { left, right, depth, to } => self.product(left, right, i.clone(), j.clone(), depth, to, upper, c),
            Work::Kernel { terms, panels, width, outputs: o } => {
                let (m, n) = (i.len(), j.len());
                let mut memory = Scratch::take(m * n * (1 + o * o));
                let (xx, gg) = memory.split_at_mut(m * n);
                let mut rest = panels;
                for &Term { one, two, scale, shift } in terms {
                    let (x_panels, behind) = rest.split_at(panels_len(two.x, width));
                    let (g_panels, behind) = behind.split_at(panels_len(two.g, width));
                    rest = behind;
                    let (k, l) = (two.x.cols(), two.g.cols());
                    let right = Panels::new(x_panels, width, k);
                    self.product(left(one.x), right, i.clone(), j.clone(), k, Accumulate::Set, upper, MatMut::new(xx, m, n));
                    let (ia, jb) = (i.start * o..i.end * o, j.start * o..j.end * o);
                    let right = Panels::new(g_panels, width, l);
                    // What lies below the diagonal of examples may lie above that of their outputs.
                    let upper = upper && o == 1;
                    self.product(left(one.g), right, ia, jb, l, Accumulate::Set, upper, MatMut::new(gg, m * o, n * o));
                    let (xx, gg) = (Mat::new(xx, m, n), Mat::new(gg, m * o, n * o));
                    T::run_multiply(self.level, Multiply { xx, gg, scale, shift, outputs: o, theta: c.reborrow() });
                }
            }
        }
    }

    fn product(&self, a: Left<T>, b: Panels<T>, i: Range<usize>, j: Range<usize>, depth: usize, to: Accumulate, upper: bool, c: MatMut<T>) {
        let len = if matches!(a, Left::Packed(_)) { scratch_len(i.len()) } else { 0 };
        let mut scratch = Scratch::take(len);
        T::run_block(self.level, Block { a, b: Right::Panels(b), i, j, depth, to, c, upper, scratch: &mut scratch });
    }
}

/// θ ← θ + (scale · xx + shift) ∘ gg, with the outputs of an example side by side.
pub struct Multiply<'a, T> {
    xx: Mat<'a, T>,
    gg: Mat<'a, T>,
    scale: T,
    shift: T,
    outputs: usize,
    theta: MatMut<'a, T>,
}

impl<T: Float> Kernel for Multiply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let Multiply { xx, gg, scale, shift, outputs: o, mut theta } = self;
        for i in 0..xx.rows() {
            let x = xx.row(i).expect("rows of a block lie side by side");
            for a in 0..o {
                let g = gg.row(i * o + a).expect("rows of a block lie side by side");
                let Some(theta) = theta.row_mut(i) else {
                    for (j, &x) in x.iter().enumerate() {
                        for b in 0..o {
                            let place = (j * o + a) * o + b;
                            theta.set(i, place, A::mul_add(A::mul_add(scale, x, shift), g[j * o + b], theta.at(i, place)));
                        }
                    }
                    continue;
                };
                if o == 1 {
                    for ((theta, &x), &g) in theta.iter_mut().zip(x).zip(g) {
                        *theta = A::mul_add(A::mul_add(scale, x, shift), g, *theta);
                    }
                } else {
                    for ((theta, &x), g) in theta.chunks_exact_mut(o * o).zip(x).zip(g.chunks_exact(o)) {
                        let x = A::mul_add(scale, x, shift);
                        for (theta, &g) in theta[a * o..(a + 1) * o].iter_mut().zip(g) {
                            *theta = A::mul_add(x, g, *theta);
                        }
                    }
                }
            }
        }
    }
}

/// c[j, i, b, a] ← c[i, j, a, b] for i < j, and for i = j with a < b.
pub struct Mirror<'a, T> {
    c: MatMut<'a, T>,
    outputs: usize,
}

impl<T: Float> Kernel for Mirror<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(self, cpu: A) {
        let Mirror { mut c, outputs: o } = self;
        let n = c.rows();
        if o > 1 {
            for i in 0..n {
                for p in i * o * o..c.cols() {
                    let (j, a, b) = (p / (o * o), p / o % o, p % o);
                    if i < j || a < b {
                        let value = c.at(i, p);
                        c.set(j, (i * o + b) * o + a, value);
                    }
                }
            }
            return;
        }
        // Bands of eight rows: first what is right of the square on the diagonal, in whole vectors, then the square.
        for first in (0..n).step_by(8) {
            let end = n.min(first + 8);
            let (upper, lower) = c.reborrow().split_rows_at(end);
            let band = upper.row_range(first..end);
            transpose(cpu, band.as_mat().block(0..end - first, end..n), lower.block(0..n - end, first..end));
            for i in first..end {
                for j in i + 1..end {
                    let value = c.at(i, j);
                    c.set(j, i, value);
                }
            }
        }
    }
}

/// mirror[j, i, b, a] ← c[i, j, a, b].
pub struct Turn<'a, T> {
    c: Mat<'a, T>,
    mirror: MatMut<'a, T>,
    outputs: usize,
}

impl<T: Float> Kernel for Turn<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(self, cpu: A) {
        let Turn { c, mut mirror, outputs: o } = self;
        if o == 1 {
            return transpose(cpu, c, mirror);
        }
        for i in 0..c.rows() {
            for j in 0..mirror.rows() {
                for a in 0..o {
                    for b in 0..o {
                        mirror.set(j, (i * o + b) * o + a, c.at(i, (j * o + a) * o + b));
                    }
                }
            }
        }
    }
}

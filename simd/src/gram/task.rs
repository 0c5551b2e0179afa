//! Blocks of Gram matrices and of kernels, and how threads share them.

use std::ops::Range;

use super::BlockMap;
use crate::block::{Block, Left, Right};
use crate::lane::Arith;
use crate::level::Kernel;
use crate::mirror::{Mirror, Turn};
use crate::pack::{Panels, pack_all, panels_len};
use crate::product::{ALONE, join};
use crate::scratch::Scratch;
use crate::tile::{M, width_at};
use crate::{Accumulate, Float, Level, Mat, MatMut};

/// Rows of so few bytes are read where they lie.
const SHORT: usize = 512;

/// Smaller blocks are not worth handing over.
const LEAST: usize = 64;

/// Multiply-adds of a single block for which threads do not share the packing, all that there is to share.
const BLOCK_ALONE: usize = 8 * ALONE;

/// Whether one thread does all.
pub(super) fn is_alone(rows: usize, cols: usize, work: usize) -> bool {
    work < ALONE || (rows.max(cols) <= LEAST && work <= BLOCK_ALONE)
}

/// What is computed, in blocks that share nothing but what they read.
pub(super) struct Task<'a, T: Float> {
    pub(super) level: Level,
    pub(super) work: Work<'a, T>,
    /// Rows and columns of a block at the most.
    pub(super) block: (usize, usize),
    /// Numbers of the target for a row and a column.
    pub(super) entries: usize,
    /// Whether the calling thread does all.
    pub(super) alone: bool,
    /// Whether the upper triangle of a symmetric target is copied to the lower one: after the last term.
    pub(super) mirrored: bool,
}

pub(super) enum Work<'a, T: Float> {
    /// c ← a·aᵀ or c ← c + a·aᵀ, and then what is done to it.
    Gram { left: Left<'a, T>, right: Panels<'a, T>, depth: usize, to: Accumulate, then: Option<&'a BlockMap<'a, T>> },
    /// A [`Term`](super::Term): both sides of the Gram matrix of features and of that of cotangents, with their lengths of a row.
    Kernel { x: (Left<'a, T>, Panels<'a, T>, usize), g: (Left<'a, T>, Panels<'a, T>, usize), scale: T, shift: T, outputs: usize },
}

/// Whether a factor is read where it lies when it is the left one of a tile.
fn in_place<T>(a: Mat<T>) -> bool {
    (a.col_stride() == 1 && a.cols() * size_of::<T>() <= SHORT) || a.cols() <= 1
}

/// The length of the panels of both sides.
pub(super) fn pair_len<T>(one: Mat<T>, two: Mat<T>, width: usize) -> usize {
    panels_len(two, width) + if in_place(one) { 0 } else { panels_len(one, M) }
}

/// Packs both sides of a Gram matrix, once for all blocks.
pub(super) fn pack_pair<'a, T: Float>(
    level: Level,
    alone: bool,
    one: Mat<'a, T>,
    two: Mat<T>,
    width: usize,
    memory: &'a mut [T],
) -> (Left<'a, T>, Panels<'a, T>) {
    let (right, left) = memory.split_at_mut(panels_len(two, width));
    if in_place(one) {
        return (Left::View(one), pack_all(level, alone, two, width, right));
    }
    let (left, right) = join(alone, || pack_all(level, alone, one, M, left), || pack_all(level, alone, two, width, right));
    (Left::Panels(left), right)
}

/// Rows of a block: at most this many, and few enough that all threads get some, in whole panels of the right factor.
pub(super) fn side(most: usize, rows: usize, alone: bool, width: usize) -> usize {
    let share = if alone { rows } else { (rows / (4 * rayon::current_num_threads())).max(LEAST) };
    most.min(share.max(1)).next_multiple_of(width)
}

/// The blocks of a symmetric target for the examples `i`, on its diagonal.
pub(super) fn square<T: Float>(task: &Task<T>, i: Range<usize>, c: MatMut<T>) {
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
        || rectangle(task, i1.clone(), i2.clone(), c12, task.mirrored.then_some(c21)),
        || join(task.alone, || square(task, i1.clone(), c11), || square(task, i2.clone(), c22)),
    );
}

/// The blocks of a target for the examples `i` by the examples `j`, with the target for `j` by `i` as its mirror, if there is one.
pub(super) fn rectangle<T: Float>(task: &Task<T>, i: Range<usize>, j: Range<usize>, c: MatMut<T>, mirror: Option<MatMut<T>>) {
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
        self.bands(&i, i.clone(), c.reborrow());
        if self.mirrored {
            T::run_mirror(self.level, Mirror { c, outputs: self.outputs() });
        }
    }

    /// The rows of the examples `rows` of the square of the examples `i`, from the diagonal on.
    fn bands(&self, i: &Range<usize>, rows: Range<usize>, c: MatMut<T>) {
        if rows.len() > self.block.0 {
            let half = (rows.len() / 2).next_multiple_of(self.block.0);
            let (above, below) = c.split_rows_at(half);
            let (first, second) = (rows.start..rows.start + half, rows.start + half..rows.end);
            join(self.alone, || self.bands(i, first, above), || self.bands(i, second, below));
            return;
        }
        // Whole panels of columns, from that of the diagonal on.
        let width = width_at::<T>(self.level);
        let skipped = (rows.start - i.start) / width * width;
        let target = c.block(0..rows.len(), skipped * self.entries..i.len() * self.entries);
        self.compute(&rows, &(i.start + skipped..i.end), true, target);
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
            Work::Gram { left, right, depth, to, then } => {
                self.product(left, right, i.clone(), j.clone(), depth, to, upper.into(), c.reborrow());
                if let Some(then) = then {
                    then(i.clone(), j.clone(), c);
                }
            }
            Work::Kernel { x: (x_left, x_right, k), g: (g_left, g_right, l), scale, shift, outputs: o } => {
                let (m, n) = (i.len(), j.len());
                let mut memory = Scratch::take(m * n * (1 + o * o));
                let (xx, gg) = memory.split_at_mut(m * n);
                self.product(x_left, x_right, i.clone(), j.clone(), k, Accumulate::Set, upper.into(), MatMut::new(xx, m, n));
                let (ia, jb) = (i.start * o..i.end * o, j.start * o..j.end * o);
                // All outputs of an example are one place on the diagonal.
                let upper = if upper { o } else { 0 };
                self.product(g_left, g_right, ia, jb, l, Accumulate::Set, upper, MatMut::new(gg, m * o, n * o));
                let (xx, gg) = (Mat::new(xx, m, n), Mat::new(gg, m * o, n * o));
                T::run_multiply(self.level, Multiply { xx, gg, scale, shift, outputs: o, theta: c });
            }
        }
    }

    fn product(
        &self,
        a: Left<T>,
        b: Panels<T>,
        i: Range<usize>,
        j: Range<usize>,
        depth: usize,
        to: Accumulate,
        upper: usize,
        c: MatMut<T>,
    ) {
        T::run_block(self.level, Block { a, b: Right::Panels(b), i, j, depth, to, c, upper, scratch: &mut [] });
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

//! Gram matrices, whose symmetry halves the work, and the product of two of them element by element: the kernel of a layer.

use std::ops::Range;

use rayon::prelude::*;

use crate::{Accumulate, Float, Mat, MatMut};

/// Rows and columns of a tile. The scratch of a tile stays in a core's second cache.
const TILE: usize = 128;

/// Rows of a tile that are mirrored at once.
const BLOCK: usize = 16;

/// The Gram matrix of the rows of `a`: c ← a·aᵀ, or c ← c + a·aᵀ.
///
/// `a` is m × k, `c` is m × m. One triangle is computed and mirrored: a·aᵀ is symmetric to the bit, and so is `c` if it was.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn gram<T: Float>(a: Mat<T>, to: Accumulate, c: MatMut<T>) {
    let (m, k) = (a.rows(), a.cols());
    assert!(c.rows() == m && c.cols() == m, "the Gram matrix of {m} × {k} into {} × {}", c.rows(), c.cols());
    symmetric(c, |tile, scratch| {
        let s = scratch.product(0, tile.part(a, &tile.i), tile.part(a, &tile.j));
        match to {
            Accumulate::Set => tile.update(|_, p| s[p]),
            Accumulate::Add => tile.update(|c, p| c + s[p]),
        }
    });
}

/// The kernel of a layer: θ ← θ + scale · (x1·x2ᵀ) ∘ (g1·g2ᵀ), ∘ element by element.
///
/// `x1` is m × k, `x2` is n × k, `g1` is m × l, `g2` is n × l, `theta` is m × n. Neither Gram matrix is ever held whole: each
/// thread keeps one tile of both.
///
/// ```
/// use simd::{Mat, MatMut, gram_hadamard};
/// // Two examples x1 and one x2 with two inputs each, and cotangents g of one output.
/// let (x1, g1, x2, g2) = ([1.0, 2.0, 3.0, 4.0], [10.0, 20.0], [1.0, 1.0], [7.0]);
/// let mut theta = [1.0, 1.0];
/// let theta_view = MatMut::new(&mut theta, 2, 1);
/// gram_hadamard(Mat::new(&x1, 2, 2), Mat::new(&g1, 2, 1), Mat::new(&x2, 1, 2), Mat::new(&g2, 1, 1), 0.5, theta_view);
/// assert_eq!(theta, [1.0 + 0.5 * 3.0 * 70.0, 1.0 + 0.5 * 7.0 * 140.0]);
/// ```
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn gram_hadamard<T: Float>(x1: Mat<T>, g1: Mat<T>, x2: Mat<T>, g2: Mat<T>, scale: T, theta: MatMut<T>) {
    let (m, n) = (x1.rows(), x2.rows());
    let fits =
        x1.cols() == x2.cols() && g1.cols() == g2.cols() && g1.rows() == m && g2.rows() == n && theta.rows() == m && theta.cols() == n;
    assert!(
        fits,
        "the Gram matrices of {} and {}, and of {} and {}, into {m_t} × {n_t}",
        size(x1),
        size(x2),
        size(g1),
        size(g2),
        m_t = theta.rows(),
        n_t = theta.cols()
    );
    let tiles: Vec<Tile<T>> = grid(theta).into_iter().map(|(i, j, c)| Tile { i, j, c, mirror: Mirror::None }).collect();
    for_each(tiles, |tile, scratch| {
        scratch.hadamard(tile.part(x1, &tile.i), tile.part(g1, &tile.i), tile.part(x2, &tile.j), tile.part(g2, &tile.j));
        let s = &scratch.tiles[0];
        tile.update(|c, p| c + scale * s[p]);
    });
}

/// [`gram_hadamard`] of one set of rows with itself: θ ← θ + scale · (x·xᵀ) ∘ (g·gᵀ).
///
/// `x` is m × k, `g` is m × l, `theta` is m × m. One triangle is computed and mirrored: the summand is symmetric to the bit,
/// and so is `theta` if it was.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn gram_hadamard_symmetric<T: Float>(x: Mat<T>, g: Mat<T>, scale: T, theta: MatMut<T>) {
    let fits = g.rows() == x.rows() && theta.rows() == x.rows() && theta.cols() == x.rows();
    assert!(fits, "the Gram matrices of {} and of {} into {} × {}", size(x), size(g), theta.rows(), theta.cols());
    symmetric(theta, |tile, scratch| {
        scratch.hadamard(tile.part(x, &tile.i), tile.part(g, &tile.i), tile.part(x, &tile.j), tile.part(g, &tile.j));
        let s = &scratch.tiles[0];
        tile.update(|c, p| c + scale * s[p]);
    });
}

/// A tile of the target, rows `i` by columns `j`, with its mirror image in a symmetric target.
struct Tile<'a, T> {
    i: Range<usize>,
    j: Range<usize>,
    c: MatMut<'a, T>,
    mirror: Mirror<'a, T>,
}

/// Where a tile is mirrored to.
enum Mirror<'a, T> {
    /// Nowhere: the target is not symmetric.
    None,
    /// Across its own diagonal.
    Itself,
    /// To another tile.
    Other(MatMut<'a, T>),
}

impl<T: Float> Tile<'_, T> {
    fn part<'m>(&self, a: Mat<'m, T>, rows: &Range<usize>) -> Mat<'m, T> {
        a.row_range(rows.clone())
    }

    /// Replaces every c by value(c, p), where p is its place, or the place of its mirror image, in a row-major scratch tile.
    fn update(self, value: impl Fn(T, usize) -> T) {
        let Tile { i, j, mut c, mirror } = self;
        let (rows, cols) = (i.len(), j.len());
        let whole = !matches!(mirror, Mirror::Itself);
        for p in 0..rows {
            let from = if whole { 0 } else { p };
            update_row(&mut c, p, from..cols, |c, q| value(c, p * cols + q));
        }
        let mut c = match mirror {
            Mirror::None => return,
            Mirror::Itself => c,
            Mirror::Other(c) => c,
        };
        // In small blocks, so that the scratch, which is read down its columns, stays in the first cache.
        for first in (0..rows).step_by(BLOCK) {
            let block = first..(first + BLOCK).min(rows);
            for q in 0..cols {
                // Across its own diagonal a tile has only what is left of it to fill in.
                let to = if whole { block.end } else { block.end.min(q) };
                update_row(&mut c, q, block.start..to.max(block.start), |c, p| value(c, p * cols + q));
            }
        }
    }
}

/// Replaces c by value(c, j) for the elements j of a part of row i.
#[inline(always)]
fn update_row<T: Float>(c: &mut MatMut<T>, i: usize, part: Range<usize>, value: impl Fn(T, usize) -> T) {
    if let Some(row) = c.row_mut(i) {
        let start = part.start;
        for (j, c) in row[part].iter_mut().enumerate() {
            *c = value(*c, start + j);
        }
    } else {
        for j in part {
            c.set(i, j, value(c.at(i, j), j));
        }
    }
}

/// One tile of each Gram matrix, a thread's own.
struct Scratch<T> {
    tiles: [Vec<T>; 2],
}

impl<T: Float> Scratch<T> {
    fn product(&mut self, which: usize, a: Mat<T>, b: Mat<T>) -> &[T] {
        let s = &mut self.tiles[which];
        s.resize(a.rows() * b.rows(), T::ZERO);
        T::gemm(a, b.t(), Accumulate::Set, MatMut::new(s, a.rows(), b.rows()));
        s
    }

    /// (x1·x2ᵀ) ∘ (g1·g2ᵀ), in the first tile.
    fn hadamard(&mut self, x1: Mat<T>, g1: Mat<T>, x2: Mat<T>, g2: Mat<T>) {
        self.product(0, x1, x2);
        self.product(1, g1, g2);
        let [x, g] = &mut self.tiles;
        for (x, g) in x.iter_mut().zip(g) {
            *x *= *g;
        }
    }
}

/// Runs `work` on the upper tiles of a symmetric target.
fn symmetric<T: Float>(c: MatMut<T>, work: impl Fn(Tile<T>, &mut Scratch<T>) + Sync) {
    let blocks = c.rows().div_ceil(TILE);
    let mut cells: Vec<_> = grid(c).into_iter().map(Some).collect();
    let mut tiles = Vec::with_capacity(blocks * (blocks + 1) / 2);
    for bi in 0..blocks {
        for bj in bi..blocks {
            let mut take = |bi: usize, bj: usize| cells[bi * blocks + bj].take().expect("each tile is taken once");
            let (i, j, c) = take(bi, bj);
            let mirror = if bi == bj { Mirror::Itself } else { Mirror::Other(take(bj, bi).2) };
            tiles.push(Tile { i, j, c, mirror });
        }
    }
    for_each(tiles, work);
}

fn for_each<T: Float>(tiles: Vec<Tile<T>>, work: impl Fn(Tile<T>, &mut Scratch<T>) + Sync) {
    let scratch = || Scratch { tiles: [Vec::new(), Vec::new()] };
    tiles.into_par_iter().with_max_len(1).for_each_init(scratch, |scratch, tile| work(tile, scratch));
}

/// The tiles of a target with their rows and columns, row after row of tiles.
fn grid<T>(mut c: MatMut<T>) -> Vec<(Range<usize>, Range<usize>, MatMut<T>)> {
    let (rows, cols) = (c.rows(), c.cols());
    let mut tiles = Vec::with_capacity(rows.div_ceil(TILE) * cols.div_ceil(TILE));
    for i in (0..rows).step_by(TILE) {
        let i = i..(i + TILE).min(rows);
        let (mut band, rest) = c.split_rows_at(i.len());
        for j in (0..cols).step_by(TILE) {
            let j = j..(j + TILE).min(cols);
            let (tile, right) = band.split_cols_at(j.len());
            tiles.push((i.clone(), j, tile));
            band = right;
        }
        c = rest;
    }
    tiles
}

fn size<T>(a: Mat<T>) -> String {
    format!("{} × {}", a.rows(), a.cols())
}

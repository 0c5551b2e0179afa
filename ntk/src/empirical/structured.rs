//! The fast strategy: features and cotangents of every layer kept apart.

use super::jacobian::{self, Jacobian, lane};
use super::reduce::Outputs;
use super::{Real, number, zeros};
use autodiff::{Accumulate, Factors, Flow, Mat, Refusal, Tape, Use, Var};
use rayon::prelude::*;
use simd::MatMut;

/// Examples along the rows of a tile of the full kernel.
const TILE: usize = 16;

/// One use of a parameter, with one row for each example.
struct Pair<T> {
    /// Features `[examples, n_in]`; a bias has the one feature 1.
    x: Vec<T>,
    n_in: usize,
    /// Cotangents `[examples, lanes, n_out]`.
    g: Vec<T>,
    n_out: usize,
    scale: T,
}

/// What the kernel needs to know of a block of examples: for each parameter its factors, or its Jacobian where it has none.
pub(super) struct Structure<T> {
    examples: usize,
    lanes: usize,
    parameters: Vec<Part<T>>,
}

enum Part<T> {
    Pairs(Vec<Pair<T>>),
    Rows(Jacobian<T>),
}

/// Pulls the cotangents of a block of examples back to factors.
pub(super) fn of_lanes<T: Real>(tape: &Tape<T>, output: Var, kept: Outputs) -> Result<Structure<T>, Refusal> {
    let examples = tape.examples(output)?;
    let outputs = tape.shape(output).len() / examples.max(1);
    let lanes = kept.lanes(outputs);
    let mut factors = Factors::new();
    tape.pull(output, lanes, &kept.seed(examples, outputs), &mut Flow::new(), &mut factors)?;
    let sizes = tape.parameters().iter().map(|&p| tape.shape(p).len());
    let parameters = factors.uses().iter().zip(sizes).map(|(uses, size)| part(uses, size, examples, lanes)).collect();
    Ok(Structure { examples, lanes, parameters })
}

fn part<T: Real>(uses: &[Use<T>], size: usize, examples: usize, lanes: usize) -> Part<T> {
    let pairs: Option<Vec<Pair<T>>> = uses.iter().map(|u| pair(u, examples, lanes)).collect();
    match pairs {
        Some(pairs) => Part::Pairs(pairs),
        None => {
            let mut rows = zeros(examples * lanes * size);
            uses.iter().for_each(|u| add_rows(u, size, examples, lanes, &mut rows));
            Part::Rows(Jacobian { examples, lanes, parameters: size, rows })
        }
    }
}

/// The factors of a use with one site for each example.
fn pair<T: Real>(use_: &Use<T>, examples: usize, lanes: usize) -> Option<Pair<T>> {
    match use_ {
        Use::Outer { x, g, n_in, n_out, scale } if g.len() == lanes * examples * n_out => {
            Some(Pair { x: x.clone(), n_in: *n_in, g: examples_first(g, examples, lanes, *n_out), n_out: *n_out, scale: *scale })
        }
        Use::Ones { g, n_out, scale } if g.len() == lanes * examples * n_out => Some(Pair {
            x: vec![number(1.0); examples],
            n_in: 1,
            g: examples_first(g, examples, lanes, *n_out),
            n_out: *n_out,
            scale: *scale,
        }),
        Use::Outer { .. } | Use::Ones { .. } | Use::Rows(_) => None,
    }
}

/// `[lanes, examples, n]` to `[examples, lanes, n]`.
fn examples_first<T: Real>(g: &[T], examples: usize, lanes: usize, n: usize) -> Vec<T> {
    let row = |i: usize, a: usize| &g[(a * examples + i) * n..][..n];
    (0..examples).flat_map(|i| (0..lanes).flat_map(move |a| row(i, a))).copied().collect()
}

/// Adds the derivative that a use contributes, written out, to `[examples, lanes, size]`.
fn add_rows<T: Real>(use_: &Use<T>, size: usize, examples: usize, lanes: usize, rows: &mut [T]) {
    for i in 0..examples {
        for a in 0..lanes {
            let row = &mut rows[(i * lanes + a) * size..][..size];
            match use_ {
                Use::Outer { x, g, n_in, n_out, scale } => {
                    let sites = x.len() / n_in.max(&1) / examples;
                    for s in 0..sites {
                        let x = &x[(i * sites + s) * n_in..][..*n_in];
                        let g = &g[((a * examples + i) * sites + s) * n_out..][..*n_out];
                        for (row, &x) in row.chunks_exact_mut(*n_out).zip(x) {
                            row.iter_mut().zip(g).for_each(|(w, &g)| *w += *scale * x * g);
                        }
                    }
                }
                Use::Ones { g, n_out, scale } => {
                    let sites = g.len() / n_out.max(&1) / examples / lanes;
                    for s in 0..sites {
                        let g = &g[((a * examples + i) * sites + s) * n_out..][..*n_out];
                        row.iter_mut().zip(g).for_each(|(b, &g)| *b += *scale * g);
                    }
                }
                Use::Rows(all) => row.iter_mut().zip(&all[(a * examples + i) * size..][..size]).for_each(|(r, &d)| *r += d),
            }
        }
    }
}

/// `Θ += factor · Σ_parameters Σ_uses`, reduced to `[n1, n2, entries]`. A shared weight sums over ordered pairs of its uses.
pub(super) fn contract<T: Real>(s1: &Structure<T>, s2: &Structure<T>, kept: Outputs, factor: T, theta: &mut [T]) {
    let same = std::ptr::eq(s1, s2);
    for (p1, p2) in s1.parameters.iter().zip(&s2.parameters) {
        match (p1, p2) {
            (Part::Rows(j1), Part::Rows(j2)) => jacobian::contract(j1, j2, kept, factor, theta),
            (Part::Pairs(u1), Part::Pairs(u2)) => {
                for (i, a) in u1.iter().enumerate() {
                    for (j, b) in u2.iter().enumerate() {
                        add_pair(a, b, (s1.examples, s2.examples, s1.lanes), kept, factor * a.scale * b.scale, same && i == j, theta);
                    }
                }
            }
            (Part::Rows(_), Part::Pairs(_)) | (Part::Pairs(_), Part::Rows(_)) => {
                unreachable!("whether a parameter has factors depends on the function, not on the examples")
            }
        }
    }
}

/// `Θ[i,j,a,b] += scale · (x_i·x'_j)(g_ia·g'_jb)`, reduced.
fn add_pair<T: Real>(u: &Pair<T>, v: &Pair<T>, sizes: (usize, usize, usize), kept: Outputs, scale: T, same: bool, theta: &mut [T]) {
    let (n1, n2, k) = sizes;
    let (x1, x2) = (Mat::new(&u.x, n1, u.n_in), Mat::new(&v.x, n2, v.n_in));
    match kept {
        // The sum over lanes is part of the scalar product of cotangents.
        Outputs::Trace | Outputs::Sum => {
            let (g1, g2) = (Mat::new(&u.g, n1, k * u.n_out), Mat::new(&v.g, n2, k * v.n_out));
            hadamard(x1, g1, x2, g2, scale, same, theta);
        }
        Outputs::Diagonal => {
            let mut one = zeros(n1 * n2);
            for a in 0..k {
                one.fill(number(0.0));
                let (g1, g2) = (lane(&u.g, n1, k, u.n_out, a), lane(&v.g, n2, k, v.n_out, a));
                hadamard(x1, g1, x2, g2, scale, same, &mut one);
                theta.iter_mut().skip(a).step_by(k).zip(&one).for_each(|(t, &o)| *t += o);
            }
        }
        Outputs::Full => {
            let mut xx = jacobian::gram(x1, x2);
            xx.iter_mut().for_each(|x| *x = scale * *x);
            let (g1, g2) = (Mat::new(&u.g, n1 * k, u.n_out), Mat::new(&v.g, n2 * k, v.n_out));
            if n1 * n2 * k == 0 {
                return;
            }
            theta.par_chunks_mut(TILE * n2 * k * k).enumerate().for_each(|(tile, theta)| {
                let first = tile * TILE;
                let n = TILE.min(n1 - first);
                // In a kernel of one set of examples what lies left of the tile is mirrored later.
                let left = if same { first } else { 0 };
                let rows = g1.row_range(first * k..(first + n) * k);
                let columns = g2.row_range(left * k..n2 * k);
                let mut gg = zeros(n * k * (n2 - left) * k);
                simd::product(rows, columns.t(), Accumulate::Set, MatMut::new(&mut gg, n * k, (n2 - left) * k));
                for i in 0..n {
                    for j in left..n2 {
                        let x = xx[(first + i) * n2 + j];
                        for a in 0..k {
                            let to = &mut theta[((i * n2 + j) * k + a) * k..][..k];
                            let from = &gg[((i * k + a) * (n2 - left) + j - left) * k..][..k];
                            to.iter_mut().zip(from).for_each(|(t, &g)| *t += x * g);
                        }
                    }
                }
            });
        }
    }
}

fn hadamard<T: Real>(x1: Mat<'_, T>, g1: Mat<'_, T>, x2: Mat<'_, T>, g2: Mat<'_, T>, scale: T, same: bool, theta: &mut [T]) {
    let theta = MatMut::new(theta, x1.rows(), x2.rows());
    if same {
        simd::gram_hadamard_symmetric(x1, g1, scale, theta);
    } else {
        simd::gram_hadamard(x1, g1, x2, g2, scale, theta);
    }
}

//! The fast strategy: features and cotangents of every layer kept apart.

use super::jacobian::{self, Jacobian, lane};
use super::reduce::Outputs;
use super::{Real, number, zeros};
use autodiff::{Flow, Mat, Refusal, Tape, Use, Var};
use simd::{Factors, MatMut, Term};

/// One use of a parameter, with one row for each example.
struct Pair<T> {
    /// Features `[examples, n_in]`; a bias has the one feature 1.
    x: Vec<T>,
    n_in: usize,
    /// Whether all features are 1.
    ones: bool,
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
    let mut factors = autodiff::Factors::new();
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
            let g = examples_first(g, examples, lanes, *n_out);
            Some(Pair { x: x.clone(), n_in: *n_in, ones: false, g, n_out: *n_out, scale: *scale })
        }
        Use::Ones { g, n_out, scale } if g.len() == lanes * examples * n_out => Some(Pair {
            x: vec![number(1.0); examples],
            n_in: 1,
            ones: true,
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
    let mut pairs = Vec::new();
    for (p1, p2) in s1.parameters.iter().zip(&s2.parameters) {
        match (p1, p2) {
            (Part::Rows(j1), Part::Rows(j2)) => jacobian::contract(j1, j2, kept, factor, theta),
            (Part::Pairs(u1), Part::Pairs(u2)) => pairs.extend(u1.iter().flat_map(|a| u2.iter().map(move |b| (a, b)))),
            (Part::Rows(_), Part::Pairs(_)) | (Part::Pairs(_), Part::Rows(_)) => {
                unreachable!("whether a parameter has factors depends on the function, not on the examples")
            }
        }
    }
    let (n1, n2, k) = (s1.examples, s2.examples, s1.lanes);
    let add = |terms: &[Term<T>], outputs: usize, theta: MatMut<T>| {
        if std::ptr::eq(s1, s2) {
            simd::gram_hadamard_symmetric(terms, outputs, theta);
        } else {
            simd::gram_hadamard(terms, outputs, theta);
        }
    };
    match kept {
        // The sum over lanes is part of the scalar product of cotangents.
        Outputs::Trace | Outputs::Sum => {
            let terms = terms(&pairs, factor, |u, n| Mat::new(&u.g, n, k * u.n_out), n1, n2);
            add(&terms, 1, MatMut::new(theta, n1, n2));
        }
        Outputs::Diagonal => {
            for a in 0..k {
                let terms = terms(&pairs, factor, |u, n| lane(&u.g, n, k, u.n_out, a), n1, n2);
                // Without examples there is nothing behind the start, either.
                let start = a.min(theta.len());
                add(&terms, 1, MatMut::strided(&mut theta[start..], n1, n2, n2 * k, k));
            }
        }
        Outputs::Full => {
            let terms = terms(&pairs, factor, |u, n| Mat::new(&u.g, n * k, u.n_out), n1, n2);
            add(&terms, k, MatMut::new(theta, n1, n2 * k * k));
        }
    }
}

/// `Θ[i,j,a,b] += scale · (x_i·x'_j)(g_ia·g'_jb)` for pairs of uses. A bias has the one feature 1 and mostly the cotangents of a
/// weight, in whose term it is then a shift at no cost.
fn terms<'a, T: Real>(
    pairs: &[(&'a Pair<T>, &'a Pair<T>)],
    factor: T,
    cotangents: impl Fn(&'a Pair<T>, usize) -> Mat<'a, T>,
    n1: usize,
    n2: usize,
) -> Vec<Term<'a, T>> {
    let mut terms: Vec<Term<T>> = Vec::new();
    let mut of: Vec<(&Pair<T>, &Pair<T>)> = Vec::new();
    let (biases, weights): (Vec<_>, Vec<_>) = pairs.iter().copied().partition(|(u, v)| u.ones && v.ones);
    for (u, v) in weights.into_iter().chain(biases) {
        let scale = factor * u.scale * v.scale;
        let bias = u.ones && v.ones;
        let shared = of.iter().position(|(w1, w2)| bias && w1.g == u.g && w2.g == v.g);
        if let Some(t) = shared {
            terms[t].shift += scale;
            continue;
        }
        let (k, scale, shift) = if bias { (0, number(0.0), scale) } else { (u.n_in, scale, number(0.0)) };
        let factors = |u: &'a Pair<T>, n| Factors { x: Mat::new(&u.x[..n * k], n, k), g: cotangents(u, n) };
        terms.push(Term { one: factors(u, n1), two: factors(v, n2), scale, shift });
        of.push((u, v));
    }
    terms
}

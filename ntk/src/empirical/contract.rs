//! Two structures contracted to a tile of the kernel.

use super::plan::{Order, Orders};
use super::reduce::Outputs;
use super::sites::Sites;
use super::structured::{Factor, Part, Structure};
use super::uses::{Kind, Survey};
use super::{Real, number};
use autodiff::{Accumulate, Mat};
use simd::{Factors, MatMut, Term};
use std::ops::Range;

/// Rows from which on the symmetry of a Gram matrix is used.
pub(super) const PANEL: usize = 32;

/// Where a tile of the kernel goes: rows of examples, `[columns of examples, entries]` each, at a distance.
pub(super) struct Target<'a, T> {
    pub(super) data: &'a mut [T],
    pub(super) stride: usize,
}

impl<T: Real> Target<'_, T> {
    pub(super) fn row(&mut self, i: usize, len: usize) -> &mut [T] {
        &mut self.data[i * self.stride..][..len]
    }

    /// What begins at row `i` and so many numbers behind its start.
    pub(super) fn at(&mut self, i: usize, offset: usize) -> Target<'_, T> {
        Target { data: &mut self.data[i * self.stride + offset..], stride: self.stride }
    }

    fn rows(&mut self, n: usize, len: usize) -> MatMut<'_, T> {
        if n == 0 || len == 0 {
            return MatMut::new(&mut [], n, len);
        }
        MatMut::strided(self.data, n, len, self.stride, 1)
    }

    /// Output `a` of `k`.
    fn lane(&mut self, n1: usize, n2: usize, k: usize, a: usize) -> MatMut<'_, T> {
        if n1 == 0 || n2 == 0 {
            return MatMut::new(&mut [], n1, n2);
        }
        MatMut::strided(&mut self.data[a..], n1, n2, self.stride, k)
    }
}

/// Some of the examples of a structure.
pub(super) struct View<'s, T: Real> {
    pub(super) structure: &'s Structure<T>,
    pub(super) first: usize,
    pub(super) examples: usize,
}

impl<T: Real> Structure<T> {
    /// Some examples.
    pub(super) fn some(&self, examples: Range<usize>) -> View<'_, T> {
        View { structure: self, first: examples.start, examples: examples.len() }
    }
}

impl<'s, T: Real> View<'s, T> {
    /// What these examples have of numbers with so many for each.
    fn of(&self, all: &'s [T], each: usize) -> &'s [T] {
        &all[self.first * each..(self.first + self.examples) * each]
    }
}

/// `θ += factor · Σ_p η_p Σ_uses`, reduced to `[n1, n2, entries]`. A shared weight sums over ordered pairs of its uses.
///
/// With `same` both sides are the same examples and outputs; then only what is on and above the diagonal of examples and outputs need be
/// right, and the rest is mirrored by whoever asked.
pub(super) fn contract<T: Real>(
    (s1, s2): (&View<'_, T>, &View<'_, T>),
    same: bool,
    survey: &Survey,
    orders: &Orders,
    kept: Outputs,
    factor: f64,
    mut theta: Target<'_, T>,
) {
    let mut pairs: Vec<Pair<'_, T>> = Vec::new();
    let mut pooled: Vec<(&Part<T>, &Part<T>, f64)> = Vec::new();
    for (p, parameter) in survey.parameters.iter().enumerate() {
        let rate = factor * parameter.rate;
        match (orders.of[p], &s1.structure.parts[p], &s2.structure.parts[p]) {
            (Order::Nothing, _, _) => (),
            (Order::Jacobian, Part::Rows(r1), Part::Rows(r2)) => {
                let each = |s: &View<T>| s.structure.lanes * parameter.size;
                rows((s1.of(r1, each(s1)), s2.of(r2, each(s2))), (s1, s2), same, parameter.size, kept, number(rate), &mut theta);
            }
            (Order::Gram, Part::Factors(u1), Part::Factors(u2)) => {
                pairs.extend(u1.iter().flat_map(|a| u2.iter().map(move |b| Pair { p, a, b, rate })));
            }
            (Order::Pooled, p1, p2) => pooled.push((p1, p2, rate)),
            (Order::Sites, Part::Factors(u1), Part::Factors(u2)) => {
                for (a, b) in u1.iter().flat_map(|a| u2.iter().map(move |b| (a, b))) {
                    let scale = number::<T>(rate) * a.scale * b.scale;
                    Sites { a, b, s1, s2, same, kept, scale }.add(&mut theta);
                }
            }
            (Order::Jacobian | Order::Gram | Order::Sites, _, _) => unreachable!("both sides are prepared in the same order"),
        }
    }
    if pairs.is_empty() && pooled.is_empty() {
        return;
    }
    let (n1, n2) = (s1.examples, s2.examples);
    let (k1, k2) = (s1.structure.lanes, s2.structure.lanes);
    let add = |[one, two]: [Lanes; 2], outputs: usize, theta: MatMut<T>| {
        let mut terms = terms(&pairs, (s1, one), (s2, two));
        pooled.iter().for_each(|&(p1, p2, rate)| terms.extend(channels(p1.channels(s1, one), p2.channels(s2, two), number(rate))));
        if same {
            simd::gram_hadamard_symmetric(&terms, outputs, theta);
        } else {
            simd::gram_hadamard(&terms, outputs, theta);
        }
    };
    match kept {
        // The sum over lanes is part of the scalar product of cotangents.
        Outputs::Trace | Outputs::Sum => add([Lanes::Long; 2], 1, theta.rows(n1, n2)),
        Outputs::Diagonal => (0..k1).for_each(|a| add([Lanes::One(a); 2], 1, theta.lane(n1, n2, k1, a))),
        Outputs::Full if k1 == k2 => add([Lanes::All; 2], k1, theta.rows(n1, n2 * k1 * k1)),
        // A tile with fewer outputs along one side than along the other: one pair of outputs after the other.
        Outputs::Full => {
            for (a, b) in (0..k1).flat_map(|a| (0..k2).map(move |b| (a, b))) {
                add([Lanes::One(a), Lanes::One(b)], 1, theta.lane(n1, n2, k1 * k2, a * k2 + b));
            }
        }
    }
}

/// How cotangents `[examples, lanes, n_out]` are read as a matrix.
#[derive(Clone, Copy)]
enum Lanes {
    /// `[examples · lanes, n_out]`.
    All,
    /// `[examples, lanes · n_out]`.
    Long,
    /// Those of one lane, `[examples, n_out]`.
    One(usize),
}

impl Lanes {
    fn matrix<T: Real>(self, g: &[T], examples: usize, lanes: usize, n_out: usize) -> Mat<'_, T> {
        match self {
            Lanes::All => Mat::new(g, examples * lanes, n_out),
            Lanes::Long => Mat::new(g, examples, lanes * n_out),
            Lanes::One(a) => lane(g, examples, lanes, n_out, a),
        }
    }

    /// Those of one channel.
    fn channel<T: Real>(self, g: &[T], examples: usize, lanes: usize, n_out: usize, c: usize) -> Mat<'_, T> {
        if g.is_empty() {
            return Mat::new(g, 0, 0);
        }
        match self {
            Lanes::All => Mat::strided(&g[c..], examples * lanes, 1, n_out, 1),
            Lanes::Long => Mat::strided(&g[c..], examples, lanes, lanes * n_out, n_out),
            Lanes::One(a) => Mat::strided(&g[a * n_out + c..], examples, 1, lanes * n_out, 1),
        }
    }
}

impl<T: Real> Part<T> {
    /// The factors of every channel of derivatives that were pooled.
    fn channels<'s>(&'s self, s: &View<'s, T>, read: Lanes) -> Vec<Factors<'s, T>> {
        let Part::Pooled { sums, shares, n_in, n_out } = self else { unreachable!("both sides are prepared in the same order") };
        let (n, lanes) = (s.examples, s.structure.lanes);
        let (sums, shares) = (s.of(sums, n_in * n_out), s.of(shares, lanes * n_out));
        let x = |c: usize| Mat::strided(&sums[c * n_in..], n, *n_in, n_in * n_out, 1);
        (0..*n_out).map(|c| Factors { x: x(c), g: read.channel(shares, n, lanes, *n_out, c) }).collect()
    }
}

/// `Σ_c (x_ic·x'_jc) h_iac h'_jbc`.
fn channels<'a, T: Real>(one: Vec<Factors<'a, T>>, two: Vec<Factors<'a, T>>, scale: T) -> impl Iterator<Item = Term<'a, T>> {
    one.into_iter().zip(two).map(move |(one, two)| Term { one, two, scale, shift: number(0.0) })
}

/// Lane `a` of rows `[examples, lanes, n]`, as a matrix `[examples, n]`.
pub(super) fn lane<T: Real>(rows: &[T], examples: usize, lanes: usize, n: usize, a: usize) -> Mat<'_, T> {
    if examples == 0 || n == 0 {
        return Mat::new(&[], examples, n);
    }
    Mat::strided(&rows[a * n..], examples, n, lanes * n, 1)
}

/// Derivatives that are written out, `θ += scale·J1·J2ᵀ`.
fn rows<T: Real>(
    (r1, r2): (&[T], &[T]),
    (s1, s2): (&View<'_, T>, &View<'_, T>),
    same: bool,
    size: usize,
    kept: Outputs,
    scale: T,
    theta: &mut Target<'_, T>,
) {
    let (n1, n2) = (s1.examples, s2.examples);
    let (k1, k2) = (s1.structure.lanes, s2.structure.lanes);
    let mut product = Vec::new();
    let gram = |a: Mat<'_, T>, b: Mat<'_, T>, product: &mut Vec<T>| {
        product.resize(a.rows() * b.rows(), number(0.0));
        let to = MatMut::new(product, a.rows(), b.rows());
        // A Gram matrix is packed in panels, which are wider than a few rows.
        if same && a.rows() >= PANEL {
            simd::gram(a, Accumulate::Set, to);
        } else {
            simd::product(a, b.t(), Accumulate::Set, to);
        }
    };
    let add = |to: &mut T, g: T| *to += scale * g;
    match kept {
        Outputs::Full => {
            gram(Mat::new(r1, n1 * k1, size), Mat::new(r2, n2 * k2, size), &mut product);
            for i in 0..n1 {
                let theta = theta.row(i, n2 * k1 * k2);
                for a in 0..k1 {
                    let from = &product[(i * k1 + a) * n2 * k2..][..n2 * k2];
                    for (j, from) in from.chunks_exact(k2).enumerate() {
                        theta[(j * k1 + a) * k2..][..k2].iter_mut().zip(from).for_each(|(t, &g)| add(t, g));
                    }
                }
            }
        }
        // One long row for each example: the sum over outputs is part of the scalar product.
        Outputs::Trace | Outputs::Sum => {
            gram(Mat::new(r1, n1, k1 * size), Mat::new(r2, n2, k2 * size), &mut product);
            for i in 0..n1 {
                theta.row(i, n2).iter_mut().zip(&product[i * n2..]).for_each(|(t, &g)| add(t, g));
            }
        }
        Outputs::Diagonal => {
            for a in 0..k1 {
                gram(lane(r1, n1, k1, size, a), lane(r2, n2, k2, size, a), &mut product);
                for i in 0..n1 {
                    let theta = theta.row(i, n2 * k1);
                    theta[a..].iter_mut().step_by(k1).zip(&product[i * n2..]).for_each(|(t, &g)| add(t, g));
                }
            }
        }
    }
}

/// Two uses of a parameter.
struct Pair<'s, T: Real> {
    p: usize,
    a: &'s Factor<T>,
    b: &'s Factor<T>,
    rate: f64,
}

/// `θ[i,j,a,b] += scale · (x_i·x'_j)(g_ia·g'_jb)` for pairs of uses with one site. A bias has the one feature 1 and mostly the cotangents
/// of a weight, in whose term it is then a shift at no cost.
fn terms<'a, T: Real>(pairs: &[Pair<'a, T>], (s1, one): (&View<'a, T>, Lanes), (s2, two): (&View<'a, T>, Lanes)) -> Vec<Term<'a, T>> {
    let mut terms: Vec<Term<T>> = Vec::new();
    let mut of: Vec<usize> = Vec::new();
    // A bias comes after the weight beside it.
    let (shifts, weights): (Vec<_>, Vec<_>) = pairs.iter().partition(|pair| pair.a.beside.is_some());
    for pair in weights.into_iter().chain(shifts) {
        let Pair { p, a, b, rate } = *pair;
        let scale = number::<T>(rate) * a.scale * b.scale;
        if let Some(weight) = a.beside {
            let t = of.iter().position(|&p| p == weight).expect("the weight beside the bias is contracted alike");
            terms[t].shift += scale;
            continue;
        }
        let ones = a.kind == Kind::Ones && b.kind == Kind::Ones;
        let (k, scale, shift) = if ones { (0, number(0.0), scale) } else { (a.n_in, scale, number(0.0)) };
        let factors = |s: &View<'a, T>, u: &'a Factor<T>, read: Lanes| {
            let lanes = s.structure.lanes;
            let g = read.matrix(s.of(&u.g, lanes * u.n_out), s.examples, lanes, u.n_out);
            Factors { x: Mat::new(&s.of(&u.x, u.n_in)[..s.examples * k], s.examples, k), g }
        };
        terms.push(Term { one: factors(s1, a, one), two: factors(s2, b, two), scale, shift });
        of.push(p);
    }
    terms
}

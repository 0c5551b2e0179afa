//! Bilinear maps of dual numbers as bilinear maps of the scalars below: values and tangents in planes of their own.

use crate::apply::put;
use crate::dual::Dual;
use crate::scalar::Scalar;
use rayon::prelude::*;
use simd::{Accumulate, Mat};

/// Memory for the values and the tangents of two factors and of their product, each in a plane of its own.
#[derive(Clone, Debug, Default)]
pub struct Planes<T: Scalar> {
    pub(crate) left: Vec<T>,
    pub(crate) right: Vec<T>,
    pub(crate) result: Vec<T>,
    pub(crate) parts: T::Parts,
}

/// Numbers that a thread takes at a time; fewer stay on the calling one.
pub(crate) const PIECE: usize = 1 << 13;

/// A matrix of duals in planes.
#[derive(Clone, Copy)]
struct Split<'p, T> {
    /// The values.
    re: Mat<'p, T>,
    /// The tangents, unless all are zero.
    eps: Option<Mat<'p, T>>,
    /// The rows of the values and below them those of the tangents, as one matrix.
    both: Mat<'p, T>,
}

impl<T: Scalar> Planes<T> {
    /// A bilinear map: `(a + a'ε)(b + b'ε) = ab + (ab' + a'b)ε`, three of the scalars below, or fewer if a factor has no tangent. Where the rows of `a` do
    /// not feel each other (`by_rows`), those of `a'` are put below them, and the products with `b` are one.
    pub(crate) fn bilinear(
        &mut self,
        a: Mat<'_, Dual<T>>,
        b: Mat<'_, Dual<T>>,
        len: usize,
        by_rows: bool,
        mut f: impl FnMut(Mat<'_, T>, Mat<'_, T>, Accumulate, &mut [T], &mut T::Parts),
    ) -> (&[T], &[T]) {
        let Planes { left, right, result, parts } = self;
        let (a, b) = (split(a, left), split(b, right));
        // It only grows: what is beyond the end is not cleared again and again.
        result.resize(result.len().max(2 * len), T::ZERO);
        let result = &mut result[..2 * len];
        let mut to = Accumulate::Set;
        match a.eps {
            Some(_) if by_rows => {
                f(a.both, b.re, Accumulate::Set, result, parts);
                to = Accumulate::Add;
            }
            Some(a_eps) => {
                let (re, eps) = result.split_at_mut(len);
                f(a.re, b.re, Accumulate::Set, re, parts);
                f(a_eps, b.re, Accumulate::Set, eps, parts);
                to = Accumulate::Add;
            }
            None => f(a.re, b.re, Accumulate::Set, &mut result[..len], parts),
        }
        let (re, eps) = result.split_at_mut(len);
        match b.eps {
            Some(b_eps) => f(a.re, b_eps, to, eps, parts),
            None if to == Accumulate::Set => eps.fill(T::ZERO),
            None => (),
        }
        (re, eps)
    }

    /// [`bilinear`](Self::bilinear) of arrays that lie side by side. With `by_rows` the first may be two sets, one behind the other; `f` is given their number.
    pub(crate) fn flat(
        &mut self,
        a: &[Dual<T>],
        b: &[Dual<T>],
        to: Accumulate,
        c: &mut [Dual<T>],
        by_rows: bool,
        mut f: impl FnMut(usize, &[T], &[T], Accumulate, &mut [T], &mut T::Parts),
    ) {
        let row = |x| Mat::new(x, 1, x.len());
        let (re, eps) = self.bilinear(row(a), row(b), c.len(), by_rows, |a, b, to, c, parts| {
            let [one, two] = [a, b].map(|x| x.as_slice().expect("rows lie one behind the other"));
            f(a.rows(), one, two, to, c, parts);
        });
        join(to, re, eps, c);
    }
}

/// Takes a matrix of duals apart.
fn split<'p, T: Scalar>(x: Mat<'_, Dual<T>>, planes: &'p mut Vec<T>) -> Split<'p, T> {
    let (m, n) = (x.rows(), x.cols());
    planes.resize(planes.len().max(2 * m * n), T::ZERO);
    let planes = &mut planes[..2 * m * n];
    // A matrix whose columns lie side by side keeps them so. The lines of its planes alternate, and so both are one matrix here too.
    if x.row_stride() == 1 && x.col_stride() != 1 {
        let still = lines(x.t(), planes);
        let planes = &*planes;
        let plane = |first: usize| if planes.is_empty() { Mat::new(planes, n, m) } else { Mat::strided(&planes[first..], n, m, 2 * m, 1) };
        return Split { re: plane(0).t(), eps: (!still).then(|| plane(m).t()), both: Mat::new(planes, n, 2 * m).t() };
    }
    let (re, eps) = planes.split_at_mut(m * n);
    let still = match x.as_slice() {
        Some(all) if all.len() <= PIECE => separate(all, re, eps),
        Some(all) => {
            let pieces = all.par_chunks(PIECE).zip(re.par_chunks_mut(PIECE)).zip(eps.par_chunks_mut(PIECE));
            pieces.map(|((x, re), eps)| separate(x, re, eps)).reduce(|| true, |one, two| one & two)
        }
        None => {
            let mut still = true;
            for i in 0..m {
                for j in 0..n {
                    let d = x.at(i, j);
                    (re[i * n + j], eps[i * n + j]) = (d.re, d.eps);
                    still &= d.eps == T::ZERO;
                }
            }
            still
        }
    };
    let planes = &*planes;
    let (re, eps) = planes.split_at(m * n);
    Split { re: Mat::new(re, m, n), eps: (!still).then(|| Mat::new(eps, m, n)), both: Mat::new(planes, 2 * m, n) }
}

/// Writes each row as its values and then its tangents; whether all these are zero.
fn lines<T: Scalar>(x: Mat<'_, Dual<T>>, to: &mut [T]) -> bool {
    let n = x.cols();
    if n == 0 {
        return true;
    }
    let line = |(i, to): (usize, &mut [T])| {
        let (re, eps) = to.split_at_mut(n);
        match x.row(i) {
            Some(row) => separate(row, re, eps),
            None => (0..n).fold(true, |still, j| {
                (re[j], eps[j]) = (x.at(i, j).re, x.at(i, j).eps);
                still & (eps[j] == T::ZERO)
            }),
        }
    };
    if to.len() <= 2 * PIECE {
        return to.chunks_exact_mut(2 * n).enumerate().map(line).fold(true, |one, two| one & two);
    }
    let rows = PIECE.div_ceil(n);
    to.par_chunks_mut(2 * n).enumerate().with_min_len(rows).map(line).reduce(|| true, |one, two| one & two)
}

/// Values and tangents apart; whether all tangents are zero.
fn separate<T: Scalar>(x: &[Dual<T>], re: &mut [T], eps: &mut [T]) -> bool {
    put(Accumulate::Set, re, x.iter().map(|d| d.re));
    put(Accumulate::Set, eps, x.iter().map(|d| d.eps));
    eps.iter().all(|&d| d == T::ZERO)
}

/// Values and tangents together again.
pub(crate) fn join<T: Scalar>(to: Accumulate, re: &[T], eps: &[T], c: &mut [Dual<T>]) {
    let piece = |c: &mut [Dual<T>], re: &[T], eps: &[T]| put(to, c, re.iter().zip(eps).map(|(&re, &eps)| Dual { re, eps }));
    if c.len() <= PIECE {
        return piece(c, re, eps);
    }
    let pieces = c.par_chunks_mut(PIECE).zip(re.par_chunks(PIECE)).zip(eps.par_chunks(PIECE));
    pieces.for_each(|((c, re), eps)| piece(c, re, eps));
}

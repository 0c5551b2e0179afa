//! The largest eigenvalues of a kernel that is an operator.

use super::{Function, Operator, Real, number};
use crate::spectrum::{MatrixError, Spectrum};
use autodiff::Accumulate;
use simd::{Mat, MatMut};

/// The largest eigenvalues of a symmetric operator.
#[derive(Clone, Debug, PartialEq)]
pub struct TopEigenvalues {
    /// The eigenvalues, descending.
    pub values: Vec<f64>,
    /// `|Θ·u − λ·u|` of each with its unit vector `u`: so close to `λ` lies an eigenvalue of `Θ`.
    pub residuals: Vec<f64>,
    /// Vectors that `Θ` was applied to.
    pub products: usize,
}

/// Which eigenvalues are sought, and how well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EigenRequest {
    /// How many.
    pub count: usize,
    /// The residuals that are small enough, relative to the largest eigenvalue.
    pub tolerance: f64,
    /// The most vectors that the operator is applied to; memory for twice as many is needed.
    pub most: usize,
    /// The seed of the first vectors.
    pub seed: u64,
}

impl EigenRequest {
    /// So many eigenvalues, to `1e-8` of the largest.
    pub fn of(count: usize) -> Self {
        EigenRequest { count, tolerance: 1e-8, most: 40 * count.max(5), seed: 0 }
    }
}

/// The stream of random numbers that the first vectors are.
const STREAM: u64 = 1 << 50;
/// What is left of a vector that lies in the span of others, relative to its length.
const NOTHING: f64 = 1e-10;

/// The largest eigenvalues of a kernel of one set of examples, by block Lanczos with full orthogonalization (Golub and Van Loan 2013,
/// section 10.3): as many vectors as eigenvalues are sought go through the [operator](Operator) at once, so that equal eigenvalues are
/// found as often as they are there, and the Rayleigh–Ritz values of the space of all vectors so far are the result.
///
/// Fewer come back if the kernel has fewer. If the residuals are larger than was asked for, the most products were used up.
///
/// # Errors
/// If the kernel is not finite.
///
/// # Panics
/// If the kernel is not square.
#[track_caller]
pub fn largest_eigenvalues<T: Real, F: Function<T>>(
    operator: &mut Operator<'_, T, F>,
    request: &EigenRequest,
    mut progress: impl FnMut(usize, usize),
) -> Result<TopEigenvalues, MatrixError> {
    let n = operator.columns();
    assert_eq!(operator.rows(), n, "eigenvalues are of a kernel of one set of examples");
    let block = request.count.min(n);
    if block == 0 {
        return Ok(TopEigenvalues { values: Vec::new(), residuals: Vec::new(), products: 0 });
    }
    // Unit vectors and what they become, a row each.
    let (mut q, mut w): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut next = nn::normals::<f64>(request.seed, STREAM, block * n);
    loop {
        let before = q.len() / n;
        for row in next.chunks_exact(n) {
            append(&mut q, row, n);
        }
        let m = q.len() / n;
        if m > before {
            let vectors: Vec<T> = q[before * n..].iter().map(|&x| number(x)).collect();
            w.extend(operator.apply(m - before, &vectors).into_iter().map(autodiff::Scalar::primal));
        }
        progress(m, request.most.min(n));
        let mut h = product(&q, &w, n);
        for (i, j) in (0..m).flat_map(|i| (0..i).map(move |j| (i, j))) {
            let mean = 0.5 * (h[i * m + j] + h[j * m + i]);
            (h[i * m + j], h[j * m + i]) = (mean, mean);
        }
        let spectrum = Spectrum::of(Mat::new(&h, m, m))?;
        let values: Vec<f64> = spectrum.values().iter().take(request.count).copied().collect();
        let residual = |k: usize| {
            let y: Vec<f64> = (0..m).map(|i| spectrum.vectors().at(i, k)).collect();
            let mut r = vec![0.0; n];
            for (i, &y) in y.iter().enumerate() {
                let rows = w[i * n..(i + 1) * n].iter().zip(&q[i * n..(i + 1) * n]);
                r.iter_mut().zip(rows).for_each(|(r, (w, q))| *r += y * (w - values[k] * q));
            }
            norm(&r)
        };
        let residuals: Vec<f64> = (0..values.len()).map(residual).collect();
        let enough = values.len() == block && residuals.iter().all(|&r| r <= request.tolerance * values[0].abs());
        if enough || m == before || m >= request.most.min(n) {
            return Ok(TopEigenvalues { values, residuals, products: m });
        }
        next = w[before * n..].to_vec();
    }
}

/// Adds the direction of a vector that the unit vectors before it do not span, if there is one.
fn append(q: &mut Vec<f64>, vector: &[f64], n: usize) {
    let length = norm(vector);
    let mut rest = vector.to_vec();
    // Twice is enough (Parlett 1998, section 6.9).
    for _ in 0..2 {
        let shares = product(q, &rest, n);
        for (share, q) in shares.iter().zip(q.chunks_exact(n)) {
            rest.iter_mut().zip(q).for_each(|(r, q)| *r -= share * q);
        }
    }
    let left = norm(&rest);
    if left > NOTHING * length && left.is_finite() {
        q.extend(rest.iter().map(|r| r / left));
    }
}

/// The scalar products of rows of length `n`.
fn product(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let (rows, columns) = (a.len() / n, b.len() / n);
    let mut c = vec![0.0; rows * columns];
    simd::product(Mat::new(a, rows, n), Mat::new(b, columns, n).t(), Accumulate::Set, MatMut::new(&mut c, rows, columns));
    c
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

//! Eigenvalues and eigenvectors of a kernel.

use faer::Par;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use simd::Mat;
use thiserror::Error;

/// What is wrong with a matrix.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum MatrixError {
    /// It is not square.
    #[error("a kernel of one set of examples is square, and this matrix is {rows} × {cols}")]
    NotSquare {
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
    },
    /// An entry is NaN or infinite.
    #[error("entry [{row}, {col}] of the matrix is {value}")]
    NotFinite {
        /// The row, from 0.
        row: usize,
        /// The column, from 0.
        col: usize,
        /// The entry.
        value: f64,
    },
    /// Two entries that should be equal differ by more than rounding.
    #[error("the matrix is not symmetric: entry [{row}, {col}] is {above} and entry [{col}, {row}] is {below}")]
    NotSymmetric {
        /// The row, from 0.
        row: usize,
        /// The column, from 0.
        col: usize,
        /// The entry above the diagonal.
        above: f64,
        /// The entry below.
        below: f64,
    },
    /// An eigenvalue is not positive, or too small to divide by.
    #[error(
        "the kernel is not positive definite: its smallest eigenvalue is {smallest:e} and its largest is {largest:e}; are examples repeated? \
         Use a ridge, for example 1e-6, or a finite time"
    )]
    NotPositiveDefinite {
        /// The smallest eigenvalue.
        smallest: f64,
        /// The largest eigenvalue.
        largest: f64,
    },
    /// The number of rows of an argument does not fit the kernel.
    #[error("{what} has {given} rows, and the kernel needs {wanted}")]
    Rows {
        /// The argument.
        what: &'static str,
        /// Its rows.
        given: usize,
        /// The rows that it should have.
        wanted: usize,
    },
    /// A time or a rate that is none, or a ridge below zero.
    #[error("{what} must be a number of at least 0, and it is {value}")]
    Argument {
        /// Which.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// The iteration for the eigenvalues did not end.
    #[error("the eigenvalues of the matrix were not found: the iteration did not converge")]
    NoConvergence,
}

/// How asymmetric a kernel may be, relative to its largest entry: that of a kernel in single precision.
const ASYMMETRY: f64 = 1e-5;

/// `K = V diag(λ) Vᵀ` of a symmetric matrix, eigenvalues descending.
///
/// ```
/// use ntk::Spectrum;
/// use simd::Mat;
/// let spectrum = Spectrum::of(Mat::new(&[2.0, 1.0, 1.0, 2.0], 2, 2))?;
/// assert!((spectrum.values()[0] - 3.0).abs() < 1e-14 && (spectrum.values()[1] - 1.0).abs() < 1e-14);
/// assert!((spectrum.vectors().at(0, 0).abs() - 0.5_f64.sqrt()).abs() < 1e-14);
/// # Ok::<(), ntk::MatrixError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    values: Vec<f64>,
    /// One eigenvector after the other.
    vectors: Vec<f64>,
}

impl Spectrum {
    /// Of a symmetric matrix; where it is asymmetric by rounding, the lower triangle counts.
    ///
    /// The same matrix gives the same bits at any number of threads.
    ///
    /// # Errors
    /// If the matrix is not square, not symmetric or not finite.
    pub fn of(k: Mat<'_, f64>) -> Result<Self, MatrixError> {
        check(k)?;
        let n = k.rows();
        if n == 0 {
            return Ok(Spectrum { values: Vec::new(), vectors: Vec::new() });
        }
        let matrix = faer::Mat::from_fn(n, n, |i, j| k.at(i, j));
        let mut values = faer::Mat::<f64>::zeros(n, 1);
        let mut vectors = faer::Mat::<f64>::zeros(n, n);
        // One constant, because bits differ between one thread and two, but not between pools of different sizes.
        let par = Par::rayon(2);
        let mut memory = MemBuffer::new(self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, par, Default::default()));
        let values_mut = values.col_mut(0).as_diagonal_mut();
        self_adjoint_evd(matrix.as_ref(), values_mut, Some(vectors.as_mut()), par, MemStack::new(&mut memory), Default::default())
            .map_err(|_| MatrixError::NoConvergence)?;
        // Ascending there, descending here.
        let descending = || (0..n).rev();
        Ok(Spectrum {
            values: descending().map(|j| values[(j, 0)]).collect(),
            vectors: descending().flat_map(|j| (0..n).map(move |i| (i, j))).map(|(i, j)| vectors[(i, j)]).collect(),
        })
    }

    /// The eigenvalues, descending.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The eigenvectors: column `k` belongs to eigenvalue `k`.
    pub fn vectors(&self) -> Mat<'_, f64> {
        Mat::new(&self.vectors, self.values.len(), self.values.len()).t()
    }

    /// The sum of the eigenvalues.
    pub fn trace(&self) -> f64 {
        self.values.iter().sum()
    }
}

fn check(k: Mat<'_, f64>) -> Result<(), MatrixError> {
    let (rows, cols) = (k.rows(), k.cols());
    if rows != cols {
        return Err(MatrixError::NotSquare { rows, cols });
    }
    let mut largest = 0.0_f64;
    for row in 0..rows {
        for col in 0..cols {
            let value = k.at(row, col);
            if !value.is_finite() {
                return Err(MatrixError::NotFinite { row, col, value });
            }
            largest = largest.max(value.abs());
        }
    }
    for row in 0..rows {
        for col in row + 1..cols {
            let (above, below) = (k.at(row, col), k.at(col, row));
            if (above - below).abs() > ASYMMETRY * largest {
                return Err(MatrixError::NotSymmetric { row, col, above, below });
            }
        }
    }
    Ok(())
}

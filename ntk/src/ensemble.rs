//! Mean and covariance of infinitely many infinitely wide networks that are trained from independent initial values.

use crate::predict::{Flow, Time};
use crate::spectrum::MatrixError;
use simd::{Accumulate, Mat, MatMut, product};

/// A kernel on `N` training and `M` test examples.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    /// Training examples with each other, `[N, N]`.
    pub train: Mat<'a, f64>,
    /// Test examples with training examples, `[M, N]`.
    pub test_train: Mat<'a, f64>,
    /// Test examples with each other, `[M, M]`.
    pub test: Mat<'a, f64>,
}

/// A Gaussian at the test examples: one covariance serves all outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    /// `[M, O]`.
    pub mean: Vec<f64>,
    /// `[M, M]`.
    pub covariance: Vec<f64>,
}

/// Networks of which all layers are trained, at a time of the flow of [`Flow`] (Lee, Xiao et al. 2019, equations 14 to 16).
///
/// With `A = Θ_td (Θ_dd + λ)⁻¹ (I − e^{−(Θ_dd+λ)t})`: mean `A y`, covariance `K_tt + A K_dd Aᵀ − A K_dt − (A K_dt)ᵀ`, `λ` being the
/// ridge times `trace(Θ_dd)/N`. At `Time::Infinite` this is the limit of the ensemble, which is not the posterior of a Gaussian process.
///
/// ```
/// use ntk::{Blocks, Time, ntk_ensemble};
/// use simd::Mat;
/// // The test example is the training example: trained for ever, all networks agree on it.
/// let (theta, k, y) = ([2.0], [1.0], [0.5]);
/// let same = |k| Blocks { train: Mat::new(k, 1, 1), test_train: Mat::new(k, 1, 1), test: Mat::new(k, 1, 1) };
/// let end = ntk_ensemble(same(&theta), same(&k), 0.0, Time::Infinite, Mat::new(&y, 1, 1))?;
/// assert_eq!((end.mean[0], end.covariance[0]), (0.5, 0.0));
/// let start = ntk_ensemble(same(&theta), same(&k), 0.0, Time::At(0.0), Mat::new(&y, 1, 1))?;
/// assert_eq!((start.mean[0], start.covariance[0]), (0.0, 1.0));
/// # Ok::<(), ntk::MatrixError>(())
/// ```
///
/// # Errors
/// As [`Flow::new`] and [`Flow::test`].
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn ntk_ensemble(theta: Blocks, k: Blocks, ridge: f64, time: Time, y: Mat<f64>) -> Result<Gaussian, MatrixError> {
    let (m, n) = check(theta, y);
    assert!(check(k, y) == (m, n), "kernels of {m} × {n} and of {} × {}", k.test_train.rows(), k.test_train.cols());
    let flow = Flow::new(theta.train, ridge)?;
    let identity: Vec<f64> = (0..n * n).map(|p| if p / n == p % n { 1.0 } else { 0.0 }).collect();
    let a = from_zero(&flow, time, theta.test_train, Mat::new(&identity, n, n))?;
    let a = Mat::new(&a, m, n);
    let mean = times(a, y);
    let spread = times(a, k.train);
    let spread = times(Mat::new(&spread, m, n), a.t());
    let drop = times(a, k.test_train.t());
    let covariance =
        (0..m * m).map(|p| (p / m, p % m)).map(|(i, j)| k.test.at(i, j) + spread[i * m + j] - drop[i * m + j] - drop[j * m + i]);
    Ok(Gaussian { mean, covariance: covariance.collect() })
}

/// Networks of which the last layer alone is trained: mean `K_td (K_dd + λ)⁻¹ (I − e^{−(K_dd+λ)t}) y`, covariance
/// `K_tt − K_td (K_dd + λ)⁻¹ (I − e^{−2(K_dd+λ)t}) K_dt`, `λ` being the ridge times `trace(K_dd)/N`. At `Time::Infinite` this is the
/// posterior of the Gaussian process with kernel `K` (Lee, Bahri et al. 2018, equations 8 and 9).
///
/// # Errors
/// As [`Flow::new`] and [`Flow::test`].
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn nngp_ensemble(k: Blocks, ridge: f64, time: Time, y: Mat<f64>) -> Result<Gaussian, MatrixError> {
    posterior(&Flow::new(k.train, ridge)?, k, time, y)
}

/// The posterior of the Gaussian process with kernel `Θ`: mean `Θ_td (Θ_dd + λ)⁻¹ y`, covariance `Θ_tt − Θ_td (Θ_dd + λ)⁻¹ Θ_dt`.
///
/// # Errors
/// As [`Flow::new`] and [`Flow::test`].
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn ntkgp_posterior(theta: Blocks, ridge: f64, y: Mat<f64>) -> Result<Gaussian, MatrixError> {
    posterior(&Flow::new(theta.train, ridge)?, theta, Time::Infinite, y)
}

#[track_caller]
fn posterior(flow: &Flow, k: Blocks, time: Time, y: Mat<f64>) -> Result<Gaussian, MatrixError> {
    let (m, _) = check(k, y);
    let mean = from_zero(flow, time, k.test_train, y)?;
    let twice = match time {
        Time::At(t) => Time::At(2.0 * t),
        Time::Steps { rate, steps } => Time::Steps { rate, steps: 2 * steps },
        Time::Infinite => Time::Infinite,
    };
    let known = from_zero(flow, twice, k.test_train, k.test_train.t())?;
    Ok(Gaussian { mean, covariance: (0..m * m).map(|p| k.test.at(p / m, p % m) - known[p]).collect() })
}

/// Outputs at test examples of a flow that starts at 0.
fn from_zero(flow: &Flow, time: Time, k_test_train: Mat<f64>, y: Mat<f64>) -> Result<Vec<f64>, MatrixError> {
    // One zero with strides of zero is a matrix of any size.
    let zeros = |rows| Mat::strided(&[0.0], rows, y.cols(), 0, 0);
    flow.test(time, k_test_train, zeros(y.rows()), zeros(k_test_train.rows()), y)
}

fn times(a: Mat<f64>, b: Mat<f64>) -> Vec<f64> {
    let mut c = vec![0.0; a.rows() * b.cols()];
    product(a, b, Accumulate::Set, MatMut::new(&mut c, a.rows(), b.cols()));
    c
}

/// The numbers of test and training examples.
#[track_caller]
fn check(k: Blocks, y: Mat<f64>) -> (usize, usize) {
    let (m, n) = (k.test_train.rows(), k.test_train.cols());
    let fits = (k.train.rows(), k.train.cols()) == (n, n) && (k.test.rows(), k.test.cols()) == (m, m) && y.rows() == n;
    assert!(
        fits,
        "kernels of {} × {} between training examples, {m} × {n} between test and training, {} × {} between test examples, and targets for {}",
        k.train.rows(),
        k.train.cols(),
        k.test.rows(),
        k.test.cols(),
        y.rows()
    );
    (m, n)
}

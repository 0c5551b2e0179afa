//! What gradient flow, or gradient descent, makes of a network whose kernel stays as it is.

use crate::spectrum::{MatrixError, Spectrum};
use simd::{Accumulate, Mat, MatMut};

/// When to look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Time {
    /// Gradient flow of `L = ½ Σ_i ‖f(x_i) − y_i‖²` at time `t`. With the mean over `N` examples in place of the sum, steps of rate `η` have
    /// come to `t = η·steps/N`; with the mean over examples and outputs to `t = η·steps/(N·O)`.
    At(f64),
    /// Gradient descent itself: `steps` steps of rate `rate` on that `L`, where `e^{−λt}` is `(1 − rate·λ)^steps`.
    Steps {
        /// The rate.
        rate: f64,
        /// The number of steps.
        steps: u64,
    },
    /// The end of the flow.
    Infinite,
}

impl Time {
    /// What is left of a residual in an eigendirection of eigenvalue `mu`, and `(1 − that)/mu`, with its limit where `mu` is 0.
    fn factors(self, mu: f64) -> (f64, f64) {
        match self {
            // (1 − e^{−μt})/μ = t·(1 − e^{−μt})/(μt), which expm1 keeps exact near 0.
            Time::At(t) => {
                let learnt = -(-mu * t).exp_m1();
                let gain = if mu * t == 0.0 { t } else { learnt / mu };
                ((-mu * t).exp(), gain)
            }
            Time::Steps { rate, steps } => {
                let (small, n) = (rate * mu, steps as f64);
                let (left, learnt) = if small < 1.0 {
                    let exponent = n * (-small).ln_1p();
                    (exponent.exp(), -exponent.exp_m1())
                } else {
                    let left = (1.0 - small).abs().powf(n) * if (1.0 - small) < 0.0 && steps % 2 == 1 { -1.0 } else { 1.0 };
                    (left, 1.0 - left)
                };
                (left, if small == 0.0 { rate * n } else { learnt / mu })
            }
            Time::Infinite => (0.0, 1.0 / mu),
        }
    }

    fn check(self) -> Result<(), MatrixError> {
        let at_least_zero =
            |what, value: f64| if value >= 0.0 && value.is_finite() { Ok(()) } else { Err(MatrixError::Argument { what, value }) };
        match self {
            Time::At(t) => at_least_zero("a time", t),
            Time::Steps { rate, .. } => at_least_zero("a rate", rate),
            Time::Infinite => Ok(()),
        }
    }
}

/// Gradient flow on a fixed kernel, `u̇ = −(Θ + λI)(u − y)` at the training examples, solved in the eigenbasis of `Θ` (Lee, Xiao et al. 2019,
/// section 2.2, with a ridge).
///
/// The kernel is `[N, N]`, one for all outputs (then arguments have one column for each output), or the full one as a matrix of `N·O` rows
/// (then they have one column; see [`full_matrix`]).
///
/// ```
/// use ntk::{Flow, Time};
/// use simd::Mat;
/// // One example with Θ = 2, from f0 = 0 towards y = 1: u(t) = 1 − e^{−2t}; at an input with Θ(x, X) = 1 half of that.
/// let flow = Flow::new(Mat::new(&[2.0], 1, 1), 0.0)?;
/// let (f0, y) = (Mat::new(&[0.0], 1, 1), Mat::new(&[1.0], 1, 1));
/// let u = flow.train(Time::At(0.5), f0, y)?;
/// assert!((u[0] - (1.0 - (-1.0_f64).exp())).abs() < 1e-15);
/// let f = flow.test(Time::Infinite, Mat::new(&[1.0], 1, 1), f0, f0, y)?;
/// assert!((f[0] - 0.5).abs() < 1e-15);
/// # Ok::<(), ntk::MatrixError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    spectrum: Spectrum,
    /// Of the kernel.
    trace: f64,
    /// `λ = R·trace/N`.
    shift: f64,
}

impl Flow {
    /// Of the kernel of the training examples, with a ridge `R`: `λ = R·trace(Θ)/N` is added to the diagonal.
    ///
    /// Eigenvalues below 0, which rounding makes of 0, are taken as 0.
    ///
    /// # Errors
    /// If the kernel is not square, not symmetric or not finite, or if the ridge is negative.
    pub fn new(k_train: Mat<'_, f64>, ridge: f64) -> Result<Self, MatrixError> {
        let trace = (0..k_train.rows().min(k_train.cols())).map(|i| k_train.at(i, i)).sum();
        Flow { spectrum: Spectrum::of(k_train)?, trace, shift: 0.0 }.with_ridge(ridge)
    }

    /// The same kernel with another ridge, without another decomposition.
    ///
    /// # Errors
    /// If the ridge is negative.
    pub fn with_ridge(mut self, ridge: f64) -> Result<Self, MatrixError> {
        if !(ridge >= 0.0 && ridge.is_finite()) {
            return Err(MatrixError::Argument { what: "a ridge", value: ridge });
        }
        self.shift = ridge * self.trace / self.spectrum.values().len().max(1) as f64;
        Ok(self)
    }

    /// The spectrum of the kernel, without the ridge.
    pub fn spectrum(&self) -> &Spectrum {
        &self.spectrum
    }

    /// What the ridge adds to the diagonal.
    pub fn shift(&self) -> f64 {
        self.shift
    }

    /// The largest rate at which gradient descent on `½ Σ ‖f − y‖²` does not diverge, `2/λ_max`; times `N·O` for the mean over examples and
    /// outputs. Infinite for a kernel of zeros.
    pub fn largest_stable_rate(&self) -> f64 {
        self.spectrum.values().first().map_or(f64::INFINITY, |&largest| 2.0 / (largest.max(0.0) + self.shift))
    }

    /// Outputs at the training examples, `y + e^{−(Θ+λ)t}(f0 − y)`, for `f0` and `y` of shape `[N, O]`.
    ///
    /// # Errors
    /// If the time is none, if rows do not fit, or if the time is infinite and the kernel not positive definite.
    ///
    /// # Panics
    /// If `f0` and `y` have different numbers of columns.
    #[track_caller]
    pub fn train(&self, time: Time, f0: Mat<'_, f64>, y: Mat<'_, f64>) -> Result<Vec<f64>, MatrixError> {
        let mut components = self.components(time, f0, y)?;
        self.scale(&mut components, y.cols(), |mu| -time.factors(mu).0);
        let n = y.rows();
        let mut u: Vec<f64> = (0..n).flat_map(|i| (0..y.cols()).map(move |a| y.at(i, a))).collect();
        let components = Mat::new(&components, n, y.cols());
        simd::product(self.spectrum.vectors(), components, Accumulate::Add, MatMut::new(&mut u, n, y.cols()));
        Ok(u)
    }

    /// Outputs at other examples, `f0(x) + Θ(x, X) (Θ+λ)⁻¹ (I − e^{−(Θ+λ)t})(y − f0(X))`, for `k_test_train` of shape `[M, N]`, `f0_test` of `[M, O]`.
    ///
    /// # Errors
    /// As [`train`](Flow::train).
    ///
    /// # Panics
    /// If the numbers of columns do not fit.
    #[track_caller]
    pub fn test(
        &self,
        time: Time,
        k_test_train: Mat<'_, f64>,
        f0_train: Mat<'_, f64>,
        f0_test: Mat<'_, f64>,
        y: Mat<'_, f64>,
    ) -> Result<Vec<f64>, MatrixError> {
        let (n, o) = (y.rows(), y.cols());
        let mut components = self.components(time, f0_train, y)?;
        assert_eq!(
            k_test_train.cols(),
            n,
            "the kernel between test and training examples has {} columns for {n} examples",
            k_test_train.cols()
        );
        assert_eq!(f0_test.cols(), o, "f0 has {} columns at test examples and the targets have {o}", f0_test.cols());
        if f0_test.rows() != k_test_train.rows() {
            return Err(MatrixError::Rows { what: "f0 at test examples", given: f0_test.rows(), wanted: k_test_train.rows() });
        }
        self.scale(&mut components, o, |mu| time.factors(mu).1);
        let mut weights = vec![0.0; n * o];
        simd::product(self.spectrum.vectors(), Mat::new(&components, n, o), Accumulate::Set, MatMut::new(&mut weights, n, o));
        let m = k_test_train.rows();
        let mut f: Vec<f64> = (0..m).flat_map(|i| (0..o).map(move |a| f0_test.at(i, a))).collect();
        simd::product(k_test_train, Mat::new(&weights, n, o), Accumulate::Add, MatMut::new(&mut f, m, o));
        Ok(f)
    }

    /// `Vᵀ(y − f0)`, after all checks.
    #[track_caller]
    fn components(&self, time: Time, f0: Mat<'_, f64>, y: Mat<'_, f64>) -> Result<Vec<f64>, MatrixError> {
        time.check()?;
        let n = self.spectrum.values().len();
        for (what, given) in [("f0", f0.rows()), ("the targets", y.rows())] {
            if given != n {
                return Err(MatrixError::Rows { what, given, wanted: n });
            }
        }
        assert_eq!(f0.cols(), y.cols(), "f0 has {} columns and the targets have {}", f0.cols(), y.cols());
        if let (Time::Infinite, [largest, .., smallest] | [largest @ smallest]) = (time, self.spectrum.values()) {
            // What the decomposition cannot tell from 0 must not be divided by.
            if smallest + self.shift <= n as f64 * f64::EPSILON * (largest + self.shift) {
                return Err(MatrixError::NotPositiveDefinite { smallest: smallest + self.shift, largest: largest + self.shift });
            }
        }
        let residual: Vec<f64> = (0..n).flat_map(|i| (0..y.cols()).map(move |a| y.at(i, a) - f0.at(i, a))).collect();
        let mut components = vec![0.0; n * y.cols()];
        let residual = Mat::new(&residual, n, y.cols());
        simd::product(self.spectrum.vectors().t(), residual, Accumulate::Set, MatMut::new(&mut components, n, y.cols()));
        Ok(components)
    }

    fn scale(&self, components: &mut [f64], o: usize, factor: impl Fn(f64) -> f64) {
        for (row, value) in components.chunks_mut(o.max(1)).zip(self.spectrum.values()) {
            let factor = factor(value.max(0.0) + self.shift);
            row.iter_mut().for_each(|c| *c *= factor);
        }
    }
}

/// The full kernel `[N1, N2, O, O]` as a matrix of rows `(i, a)` and columns `(j, b)`, both with the output running fastest, so that targets
/// `[N, O]` in a row are a vector of it.
///
/// # Panics
/// If there are not `N1·N2·O²` entries.
#[track_caller]
pub fn full_matrix(values: &[f64], n1: usize, n2: usize, outputs: usize) -> Vec<f64> {
    assert_eq!(values.len(), n1 * n2 * outputs * outputs, "a full kernel of {n1} × {n2} examples with {outputs} outputs");
    let at = |i: usize, a: usize, j: usize, b: usize| values[((i * n2 + j) * outputs + a) * outputs + b];
    let row = |i: usize, a: usize| (0..n2).flat_map(move |j| (0..outputs).map(move |b| at(i, a, j, b)));
    (0..n1).flat_map(|i| (0..outputs).flat_map(move |a| row(i, a))).collect()
}

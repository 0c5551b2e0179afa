//! The dual kernels of an activation, for those who want them alone.

use super::duals::{Dual, Erf, Exp, Gaussian, Gelu, Rbf, Relu};
use super::hermite::Smooth;
use super::norms::behind_activation;
use super::pair::{Angle, Kink, Norm, covariance};
use super::series::{Series, SeriesLoop};
use super::stage::{Closed, closed};
use nn::Activation;
use simd::Level;
use simd::lane::Plain;

/// The dual kernels `κ = E[φ(u) φ(v)]` and `κ̇ = E[φ'(u) φ'(v)]` of an activation, `(u, v) ~ N(0, [[K11, K12], [K12, K22]])`, or
/// `None` where it has none, as the logarithm has not. `κ̇ = ∂κ/∂K12`. The formulas are those of [`InfiniteKernel`].
///
/// A `K12` that is rounded gives κ̇ of ReLU, of leaky ReLU and of |x| to √ε only where it is close to `√(K11 K22)`.
///
/// [`InfiniteKernel`]: crate::InfiniteKernel
///
/// ```
/// use nn::Phi;
/// use std::f64::consts::PI;
/// let (kappa, slope) = ntk::dual(Phi::Relu, 1.0, 0.0, 1.0).unwrap();
/// assert!((kappa - 0.5 / PI).abs() < 1e-15 && (slope - 0.25).abs() < 1e-15);
/// let (kappa, slope) = ntk::dual(Phi::Erf, 1.0, 0.5, 1.0).unwrap();
/// assert!((kappa - 2.0 / PI * (1.0_f64 / 3.0).asin()).abs() < 1e-15);
/// assert!((slope - 4.0 / PI / 8.0_f64.sqrt()).abs() < 1e-15);
/// assert!(ntk::dual(Phi::Ln, 1.0, 0.5, 1.0).is_none());
/// ```
pub fn dual(activation: impl Into<Activation>, k11: f64, k12: f64, k22: f64) -> Option<(f64, f64)> {
    Some(of(&closed(activation.into())?, k11, k12, k22))
}

impl Smooth {
    /// `κ = E[f(u) f(v)]` and `κ̇ = E[f'(u) f'(v)] = ∂κ/∂K12` for `(u, v) ~ N(0, [[K11, K12], [K12, K22]])`.
    ///
    /// ```
    /// // κ of the sine is e^{−1} sinh K12 for unit variances.
    /// let sine = ntk::Smooth::new("sine", f64::sin, None);
    /// let (kappa, slope) = sine.dual(1.0, 0.5, 1.0);
    /// let e = (-1f64).exp();
    /// assert!((kappa - e * 0.5f64.sinh()).abs() < 1e-11 && (slope - e * 0.5f64.cosh()).abs() < 1e-11);
    /// ```
    pub fn dual(&self, k11: f64, k12: f64, k22: f64) -> (f64, f64) {
        of(&Closed::Series(self.clone()), k11, k12, k22)
    }
}

fn of(closed: &Closed, k11: f64, k12: f64, k22: f64) -> (f64, f64) {
    let norm = |variance: f64| Norm { variance, root: variance.sqrt() };
    let (one, two) = (norm(k11), norm(k22));
    let after = [k11, k22].map(|v| norm(behind_activation(closed, v)));
    let cos = if k11 > 0.0 && k22 > 0.0 { (k12 / one.root / two.root).clamp(-1.0, 1.0) } else { 0.0 };
    let t = Angle { near: 0.5 * (1.0 - cos), far: 0.5 * (1.0 + cos) };
    let kappa = |t| covariance(after[0], after[1], t);
    let by = |(t, slope)| (kappa(t), slope);
    match closed {
        Closed::Relu => by(Relu.dual::<Plain>(one, two, after, t)),
        Closed::Kinked(kinked) => by(Kink::new(*kinked).dual::<Plain>(one, two, after, t)),
        Closed::Erf => by(Erf.dual::<Plain>(one, two, after, t)),
        Closed::Exp => by(Exp.dual::<Plain>(one, two, after, t)),
        Closed::Gelu => by(Gelu.dual::<Plain>(one, two, after, t)),
        Closed::Wave(wave) => by(wave.dual::<Plain>(one, two, after, t)),
        Closed::Rbf(gamma) => by(Rbf(*gamma).dual::<Plain>(one, two, after, t)),
        Closed::Gaussian => by(Gaussian.dual::<Plain>(one, two, after, t)),
        Closed::Identity => (kappa(t), 1.0),
        Closed::Series(smooth) => {
            let series = Series::new(&[smooth.row(k11), smooth.row(k22)]);
            let (mut near, mut far, mut slope) = ([t.near], [t.far], [1.0]);
            let series_loop =
                SeriesLoop { smooth, one: &series, i: 0, two: &series, j: 1..2, near: &mut near, far: &mut far, theta: &mut slope };
            Level::best().run(series_loop);
            (kappa(Angle { near: near[0], far: far[0] }), slope[0])
        }
    }
}

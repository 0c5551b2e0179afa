//! The dual kernels of an activation, for those who want them alone.

use super::norms::behind_activation;
use super::pair::{self, Angle, Kink, Norm, covariance};
use super::stage::{Closed, closed};
use nn::Phi;
use simd::lane::Plain;

/// The dual kernels `κ = E[φ(u) φ(v)]` and `κ̇ = E[φ'(u) φ'(v)]` of an activation, `(u, v) ~ N(0, [[K11, K12], [K12, K22]])`, or
/// `None` where it has no closed form here. `κ̇ = ∂κ/∂K12`.
///
/// A `K12` that is rounded gives κ̇ of ReLU, of leaky ReLU and of |x| to √ε only where it is close to `√(K11 K22)`.
///
/// ```
/// use nn::Phi;
/// use std::f64::consts::PI;
/// let (kappa, slope) = ntk::dual(Phi::Relu, 1.0, 0.0, 1.0).unwrap();
/// assert!((kappa - 0.5 / PI).abs() < 1e-15 && (slope - 0.25).abs() < 1e-15);
/// let (kappa, slope) = ntk::dual(Phi::Erf, 1.0, 0.5, 1.0).unwrap();
/// assert!((kappa - 2.0 / PI * (1.0_f64 / 3.0).asin()).abs() < 1e-15);
/// assert!((slope - 4.0 / PI / 8.0_f64.sqrt()).abs() < 1e-15);
/// assert!(ntk::dual(Phi::Tanh, 1.0, 0.5, 1.0).is_none());
/// ```
pub fn dual(phi: Phi, k11: f64, k12: f64, k22: f64) -> Option<(f64, f64)> {
    let closed = closed(phi)?;
    let norm = |variance: f64| Norm { variance, root: variance.sqrt() };
    let (one, two) = (norm(k11), norm(k22));
    let after = [k11, k22].map(|v| norm(behind_activation(closed, v)));
    let cos = if k11 > 0.0 && k22 > 0.0 { (k12 / one.root / two.root).clamp(-1.0, 1.0) } else { 0.0 };
    let t = Angle { near: 0.5 * (1.0 - cos), far: 0.5 * (1.0 + cos) };
    let kappa = |t| covariance(after[0], after[1], t);
    Some(match closed {
        Closed::Relu => {
            let (t, slope) = pair::relu::<f64, Plain>(t);
            (kappa(t), if k11 > 0.0 && k22 > 0.0 { slope } else { 0.0 })
        }
        Closed::Kinked(kinked) => {
            let (t, slope) = pair::kinked::<f64, Plain>(Kink::new(kinked), one.root, two.root, t);
            (kappa(t), slope)
        }
        Closed::Erf => {
            let (t, slope) = pair::erf::<f64, Plain>(one, two, after.map(|norm| norm.root), t);
            (kappa(t), slope)
        }
        Closed::Exp => {
            let kappa = kappa(pair::exp(one, two, t));
            (kappa, kappa)
        }
    })
}

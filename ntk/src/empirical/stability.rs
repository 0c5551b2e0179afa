//! The largest eigenvalue of the empirical kernel without the kernel, and the rates at which gradient descent is stable.

use super::eigen::{EigenRequest, largest_eigenvalues};
use super::operator::Operator;
use super::request::Request;
use super::{Finite, Outputs, Real};
use nn::Loss;

/// The residual that is small enough, relative to the eigenvalue. The error of the eigenvalue is about its square.
const ENOUGH: f64 = 1e-6;
/// The most products. More are needed only where several eigenvalues lie within a few per mille of the largest one.
const MOST: usize = 200;

/// The largest eigenvalue of `Θ = Σ_p c_p J_p J_pᵀ`, the empirical NTK of all examples and outputs, whose parameters `p` are trained at rates that
/// are `factors[p] = c_p` times the common one: by [Lanczos](largest_eigenvalues) from [products](Operator) `Θv = J (c ∘ (Jᵀv))`, so that no kernel is ever in
/// memory and a product costs about six passes over the examples. `observe` hears the number of products. A kernel that is not finite has NaN.
///
/// ```
/// use nn::{Network, dense};
/// use ntk::{Finite, largest_eigenvalue};
/// // f = w·x: Θ[i, j] = x_i x_j, whose largest eigenvalue is Σ x².
/// let network = Network::new([1], [dense(1).without_bias()])?;
/// let f = Finite { network: &network, parameters: &[vec![1.0]] };
/// let largest = largest_eigenvalue(&f, &[3.0, 4.0], &[1.0], |_| ());
/// assert!((largest - 25.0_f64).abs() < 1e-12);
/// # Ok::<(), nn::ModelError>(())
/// ```
///
/// # Panics
/// If `x` does not hold whole examples, or if there are not as many factors as parameters, or if one is negative or not finite.
#[track_caller]
pub fn largest_eigenvalue<T: Real>(f: &Finite<'_, T>, x: &[T], factors: &[f64], mut observe: impl FnMut(usize)) -> f64 {
    let n_parameters = f.network.parameters().len();
    assert_eq!(factors.len(), n_parameters, "the network has {n_parameters} parameters, and {} factors were given", factors.len());
    let request = Request { rates: Some(factors.to_vec()), ..Request::of(Outputs::Full) };
    let mut theta = Operator::new(f, x, None, &request).unwrap_or_else(|error| panic!("{error}"));
    let wanted = EigenRequest { tolerance: ENOUGH, most: MOST, ..EigenRequest::of(1) };
    match largest_eigenvalues(&mut theta, &wanted, |products, _| observe(products)) {
        // A kernel of no examples has no eigenvalue, and one that is 0 may have none found.
        Ok(top) => top.values.first().map_or(0.0, |&largest| largest.max(0.0)),
        Err(_) => f64::NAN,
    }
}

/// The largest rate at which gradient descent on the loss of all examples is stable as long as `Θ` is what it is: `2(1 + μ)/λ` with momentum `μ`
/// (Polyak 1964) and the largest curvature `λ` of the loss. That is `λ_max(Θ)/N` for the squared error, and at most `λ_max(Θ)/(2N)` for the
/// cross-entropy, whose Hessian in the outputs has eigenvalues of at most ½. See [`largest_eigenvalue`] for the other arguments.
///
/// Networks move: below this rate they do not diverge as long as they are wide, and narrow ones find flatter places above it.
///
/// ```
/// use nn::{Loss, Network, Trainer, dense};
/// use ntk::{Finite, largest_stable_rate};
/// // f = w·x at x = 3: the rate is 2/9, and there w − η·9·(w − y/3) jumps to the other side of the solution.
/// let network = Network::new([1], [dense(1).without_bias()])?;
/// let f = Finite { network: &network, parameters: &[vec![1.0]] };
/// let rate = largest_stable_rate(&f, &[3.0], Loss::SquaredError, 0.0, &[1.0], |_| ());
/// assert!((rate - 2.0 / 9.0).abs() < 1e-12);
/// let mut trainer = Trainer::new(&network, f.parameters, Loss::SquaredError);
/// trainer.step(&[3.0], &[0.0], rate)?;
/// assert!((trainer.parameter(0)[0] + 1.0_f64).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// As [`largest_eigenvalue`].
#[track_caller]
pub fn largest_stable_rate<T: Real>(
    f: &Finite<'_, T>,
    x: &[T],
    loss: Loss,
    momentum: f64,
    factors: &[f64],
    observe: impl FnMut(usize),
) -> f64 {
    let n = f.network.input_shape(x.len()).dims()[0] as f64;
    let curvature = match loss {
        Loss::SquaredError => 1.0,
        Loss::CrossEntropy => 0.5,
    };
    2.0 * (1.0 + momentum) * n / (curvature * largest_eigenvalue(f, x, factors, observe))
}

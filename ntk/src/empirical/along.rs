//! The kernel along training.

use super::compute::kernel;
use super::reduce::Kernel;
use super::request::{EmpiricalError, Request};
use super::{Finite, Real};
use nn::Network;

/// `|Θ − Θ₀| / |Θ₀|` in the Frobenius norm: how far a kernel has moved.
///
/// # Panics
/// If the kernels have different shapes.
#[track_caller]
pub fn distance<T: Real>(theta: &Kernel<T>, theta0: &Kernel<T>) -> f64 {
    let [_, square0, difference, _] = sums(theta, theta0);
    (difference / square0).sqrt()
}

/// `⟨Θ, Θ₀⟩ / (|Θ|·|Θ₀|)`, the cosine of the angle between two kernels (Cristianini, Shawe-Taylor, Elisseeff and Kandola 2001): 1 if they
/// differ by a factor alone.
///
/// # Panics
/// If the kernels have different shapes.
#[track_caller]
pub fn alignment<T: Real>(theta: &Kernel<T>, theta0: &Kernel<T>) -> f64 {
    let [square, square0, _, product] = sums(theta, theta0);
    product / (square.sqrt() * square0.sqrt())
}

/// Squares of both, of their difference, and their product, summed.
#[track_caller]
fn sums<T: Real>(theta: &Kernel<T>, theta0: &Kernel<T>) -> [f64; 4] {
    let (one, two) = (theta.shape(), theta0.shape());
    assert_eq!(one, two, "kernels of the shapes {one:?} and {two:?} have no distance");
    let mut sums = [0.0; 4];
    for (&a, &b) in theta.values.iter().zip(&theta0.values) {
        let (a, b) = (autodiff::Scalar::primal(a), autodiff::Scalar::primal(b));
        for (sum, term) in sums.iter_mut().zip([a * a, b * b, (a - b) * (a - b), a * b]) {
            *sum += term;
        }
    }
    sums
}

/// A kernel at a step of training.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment<T> {
    /// The step.
    pub step: usize,
    /// `Θ_t`.
    pub kernel: Kernel<T>,
    /// [`distance`] to the first one.
    pub distance: f64,
    /// [`alignment`] with the first one.
    pub alignment: f64,
}

/// An observer of training that computes the kernel at chosen steps, with its distance to the first one and its alignment with it.
///
/// ```
/// use ntk::{AlongTraining, Outputs, Request};
/// let network = nn::Network::new([1], [nn::dense(1).without_bias(), nn::dense(1).without_bias()])?;
/// // f = v·w·x has the kernel (v² + w²)·x·x'.
/// let mut along = AlongTraining::new(&network, &[1.0], Request::of(Outputs::Trace), [0, 2]);
/// for (step, (w, v)) in [(1.0, 1.0), (1.5, 1.0), (2.0, 1.0)].into_iter().enumerate() {
///     along.observe(step, &[vec![w], vec![v]])?;
/// }
/// assert_eq!(along.moments().iter().map(|m| (m.step, m.kernel.values[0])).collect::<Vec<_>>(), [(0, 2.0_f64), (2, 5.0)]);
/// assert_eq!((along.moments()[1].distance, along.moments()[1].alignment), (1.5, 1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AlongTraining<'a, T> {
    network: &'a Network,
    x: &'a [T],
    request: Request,
    steps: Vec<usize>,
    moments: Vec<Moment<T>>,
}

impl<'a, T: Real> AlongTraining<'a, T> {
    /// Of the kernel of `x` with itself, at the given steps.
    pub fn new(network: &'a Network, x: &'a [T], request: Request, steps: impl IntoIterator<Item = usize>) -> Self {
        AlongTraining { network, x, request, steps: steps.into_iter().collect(), moments: Vec::new() }
    }

    /// Hears of the parameters at a step, and computes their kernel if the step is one of those that were chosen. The first one is what the
    /// others are held against.
    ///
    /// # Errors
    /// As [`kernel`].
    pub fn observe(&mut self, step: usize, parameters: &[Vec<T>]) -> Result<(), EmpiricalError> {
        if !self.steps.contains(&step) {
            return Ok(());
        }
        let f = Finite { network: self.network, parameters };
        let theta = kernel(&f, self.x, None, &self.request, |_, _| ())?;
        let theta0 = self.moments.first().map_or(&theta, |first| &first.kernel);
        let (distance, alignment) = (distance(&theta, theta0), alignment(&theta, theta0));
        self.moments.push(Moment { step, kernel: theta, distance, alignment });
        Ok(())
    }

    /// What was computed, in the order of observation.
    pub fn moments(&self) -> &[Moment<T>] {
        &self.moments
    }
}

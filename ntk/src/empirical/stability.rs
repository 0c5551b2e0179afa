//! The largest eigenvalue of the empirical kernel without the kernel, and the rates at which gradient descent is stable.

use super::{Finite, Function, Real, number, zeros};
use autodiff::{Flow, Gradient, Leaf, Tape, Wrt};
use nn::{Loss, normals};

/// Examples that are on a tape at a time.
const BLOCK: usize = 256;
/// The estimate grows with every iteration. It ends when it grows by less than this share of it.
const ENOUGH: f64 = 1e-6;
/// The most iterations, far more than it takes.
const MOST: usize = 300;

/// The largest eigenvalue of `Θ = Σ_p c_p J_p J_pᵀ`, the empirical NTK of all examples and outputs, whose parameters `p` are trained at rates that
/// are `factors[p] = c_p` times the common one. Found by the iteration of Lanczos (1950) from products `Θv = J (c ∘ (Jᵀv))`, so that no kernel is
/// ever in memory: an iteration costs about six passes over the examples, and some ten are needed. The estimate comes from below, to about six digits. `observe` hears the number of each iteration.
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
/// If `x` does not hold whole examples, or if there are not as many factors as parameters.
#[track_caller]
pub fn largest_eigenvalue<T: Real>(f: &Finite<'_, T>, x: &[T], factors: &[f64], mut observe: impl FnMut(usize)) -> f64 {
    let (n_out, n_parameters) = (f.network.outputs(), f.network.parameters().len());
    assert_eq!(factors.len(), n_parameters, "the network has {n_parameters} parameters, and {} factors were given", factors.len());
    let n = f.network.input_shape(x.len()).dims()[0];
    // One stream of its own, far from those of the parameters.
    let mut v = normals::<T>(0, u64::MAX, n * n_out);
    let norm = dot(&v, &v).sqrt();
    if norm == 0.0 {
        return 0.0;
    }
    scale(&mut v, 1.0 / norm);
    // The tridiagonal matrix VᵀΘV of the vectors so far, whose largest eigenvalue is the estimate.
    let (mut diagonal, mut beside, mut largest) = (Vec::new(), Vec::new(), 0.0);
    let mut before = zeros::<T>(v.len());
    let mut product = Products { f, factors, flow: Flow::new(), gradient: Gradient::new(Wrt::PARAMETERS) };
    for iteration in 0..MOST {
        observe(iteration);
        let mut next = product.of(x, &v);
        let along = dot(&v, &next);
        let back = beside.last().copied().unwrap_or(0.0);
        for ((next, &v), &before) in next.iter_mut().zip(&v).zip(&before) {
            *next = *next - number::<T>(along) * v - number::<T>(back) * before;
        }
        diagonal.push(along);
        let (now, rest) = (largest_of_tridiagonal(&diagonal, &beside), dot(&next, &next).sqrt());
        let grown = now - largest;
        largest = now;
        if !now.is_finite() || !rest.is_finite() {
            return f64::NAN;
        }
        if grown <= ENOUGH * now && iteration > 0 || rest <= 1e-14 * now {
            break;
        }
        scale(&mut next, 1.0 / rest);
        beside.push(rest);
        before = std::mem::replace(&mut v, next);
    }
    largest
}

/// Products with `Θ`.
struct Products<'f, T: Real> {
    f: &'f Finite<'f, T>,
    factors: &'f [f64],
    flow: Flow<T>,
    gradient: Gradient<T>,
}

impl<T: Real> Products<'_, T> {
    /// `J (c ∘ (Jᵀv))`.
    fn of(&mut self, x: &[T], v: &[T]) -> Vec<T> {
        let (n_in, n_out) = (self.f.network.n_inputs(), self.f.network.outputs());
        let mut direction: Vec<Vec<T>> = self.f.network.parameters().iter().map(|p| zeros(p.shape.len())).collect();
        for (x, v) in x.chunks(BLOCK * n_in).zip(v.chunks(BLOCK * n_out)) {
            let (tape, output) = record(self.f, x);
            let pulled = tape.pull(output, 1, v, &mut self.flow, &mut self.gradient);
            pulled.expect("a gradient sums over examples and is never refused");
            for (sum, g) in direction.iter_mut().zip(self.gradient.parameters()) {
                sum.iter_mut().zip(g).for_each(|(sum, &g)| *sum += g);
            }
        }
        direction.iter_mut().zip(self.factors).for_each(|(direction, &factor)| scale(direction, factor));
        let mut product = Vec::with_capacity(v.len());
        for x in x.chunks(BLOCK * n_in) {
            let (tape, output) = record(self.f, x);
            let tangent = |leaf: Leaf| match leaf {
                Leaf::Parameter(p) => Some(&direction[p][..]),
                Leaf::Input(_) | Leaf::Constant => None,
            };
            match tape.push(output, 1, tangent, &mut self.flow) {
                Some(df) => product.extend_from_slice(df),
                None => product.extend(zeros::<T>(tape.value(output).len())),
            }
        }
        product
    }
}

/// The largest eigenvalue of a symmetric tridiagonal matrix, by bisection: as many eigenvalues are above a number as the pivots of the shifted matrix
/// are positive (Sylvester's law of inertia).
fn largest_of_tridiagonal(diagonal: &[f64], beside: &[f64]) -> f64 {
    let side = |i: usize| beside.get(i).copied().unwrap_or(0.0).abs();
    let (mut low, mut high) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    for (i, &d) in diagonal.iter().enumerate() {
        low = low.max(d);
        high = high.max(d + side(i) + if i > 0 { side(i - 1) } else { 0.0 });
    }
    let is_above = |x: f64| {
        let mut pivot = 1.0;
        diagonal.iter().enumerate().any(|(i, &d)| {
            let coupling = if i > 0 { beside[i - 1] * beside[i - 1] / pivot } else { 0.0 };
            pivot = d - x - coupling;
            pivot = if pivot == 0.0 { -f64::MIN_POSITIVE } else { pivot };
            pivot > 0.0
        })
    };
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if is_above(middle) { low = middle } else { high = middle }
    }
    0.5 * (low + high)
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

fn scale<T: Real>(values: &mut [T], factor: f64) {
    let factor = number::<T>(factor);
    values.iter_mut().for_each(|v| *v *= factor);
}

fn record<T: Real>(f: &Finite<'_, T>, x: &[T]) -> (Tape<T>, autodiff::Var) {
    let mut tape = Tape::new();
    let parameters = f.parameters(&mut tape);
    let x = tape.input(f.input_shape(x.len()), x);
    let output = f.record(&mut tape, &parameters, x);
    (tape, output)
}

fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.primal() * b.primal()).sum()
}

#[cfg(test)]
mod tests {
    use super::largest_of_tridiagonal;

    #[test]
    fn the_largest_eigenvalue_of_a_chain_is_known() {
        // 2 on the diagonal and 1 beside it: 2 + 2 cos(π/(n + 1)).
        for n in 1..20 {
            let want = 2.0 + 2.0 * (std::f64::consts::PI / (n as f64 + 1.0)).cos();
            let got = largest_of_tridiagonal(&vec![2.0; n], &vec![1.0; n - 1]);
            assert!((got - want).abs() < 1e-13, "{n}: {got} is not {want}");
        }
    }
}

//! The largest eigenvalue of the empirical kernel without the kernel, and the rates at which gradient descent is stable.

use super::{Finite, Function, Real, number, zeros};
use autodiff::{Flow, Gradient, Leaf, Tape, Wrt};
use nn::{Loss, normals};

/// Examples that are on a tape at a time.
const BLOCK: usize = 256;
/// The estimate grows with every iteration. It ends when it grows by less than this share of it.
const ENOUGH: f64 = 1e-6;
/// The most iterations. Those that come so far have two eigenvalues within a few per mille of each other, and end between them.
const MOST: usize = 1000;

/// The largest eigenvalue of `Θ = Σ_p c_p J_p J_pᵀ`, the empirical NTK of all examples and outputs, whose parameters `p` are trained at rates that
/// are `factors[p] = c_p` times the common one. Found by the power method from products `Θv = J (c ∘ (Jᵀv))`, so that no kernel is ever in memory: an
/// iteration costs about six passes over the examples. The estimate comes from below, to about six digits. `observe` hears the number of each iteration.
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
    let (n_in, n_out, n_parameters) = (f.network.n_inputs(), f.network.outputs(), f.network.parameters().len());
    assert_eq!(factors.len(), n_parameters, "the network has {n_parameters} parameters, and {} factors were given", factors.len());
    let n = f.network.input_shape(x.len()).dims()[0];
    // One stream of its own, far from those of the parameters.
    let mut v = normals::<T>(0, u64::MAX, n * n_out);
    let mut largest = 0.0;
    let (mut flow, mut gradient) = (Flow::new(), Gradient::new(Wrt::PARAMETERS));
    for iteration in 0..MOST {
        observe(iteration);
        let norm = dot(&v, &v).sqrt();
        if !(norm > 0.0 && norm.is_finite()) {
            return norm;
        }
        let scale = number::<T>(1.0 / norm);
        v.iter_mut().for_each(|v| *v *= scale);

        let mut direction: Vec<Vec<T>> = f.network.parameters().iter().map(|p| zeros(p.shape.len())).collect();
        for (x, v) in x.chunks(BLOCK * n_in).zip(v.chunks(BLOCK * n_out)) {
            let (tape, output) = record(f, x);
            tape.pull(output, 1, v, &mut flow, &mut gradient).expect("a gradient sums over examples and is never refused");
            for (sum, g) in direction.iter_mut().zip(gradient.parameters()) {
                sum.iter_mut().zip(g).for_each(|(sum, &g)| *sum += g);
            }
        }
        for (direction, &factor) in direction.iter_mut().zip(factors) {
            let factor = number::<T>(factor);
            direction.iter_mut().for_each(|d| *d *= factor);
        }
        let mut product = Vec::with_capacity(v.len());
        for x in x.chunks(BLOCK * n_in) {
            let (tape, output) = record(f, x);
            let tangent = |leaf: Leaf| match leaf {
                Leaf::Parameter(p) => Some(&direction[p][..]),
                Leaf::Input(_) | Leaf::Constant => None,
            };
            match tape.push(output, 1, tangent, &mut flow) {
                Some(df) => product.extend_from_slice(df),
                None => product.extend(zeros::<T>(tape.value(output).len())),
            }
        }
        let (before, now) = (largest, dot(&v, &product));
        (largest, v) = (now, product);
        if now.is_nan() || now - before <= ENOUGH * now {
            break;
        }
    }
    largest
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

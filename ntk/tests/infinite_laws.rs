//! Laws of the kernels at infinite width.

use nn::{
    Activation, Layer, Network, Parameterization, Phi, abs, cos_of, dense, erf, exp, gaussian, gelu, identity, layer_norm, leaky_relu, rbf,
    relu, residual, sigmoid, silu, sin, sin_of, softplus, tanh,
};
use ntk::{InfiniteKernel, Kernels, dual};
use proptest::prelude::*;
use simd::{Float, Mat};

pub(crate) const D: usize = 5;

pub(crate) fn networks() -> Vec<Network> {
    let he = || dense(16).std(2f64.sqrt(), 0.0);
    let layers: Vec<Vec<Layer>> = vec![
        vec![he(), relu(), he(), relu(), dense(1)],
        vec![dense(9).std(1.3, 0.4), erf(), dense(9).std(1.3, 0.4), relu(), dense(2)],
        vec![dense(9).std(0.6, 0.2), exp(), dense(3).std(0.3, 0.1), erf(), dense(1)],
        vec![dense(9).std(1.1, 0.3), abs(), he(), leaky_relu(0.2), he(), leaky_relu(-0.7), dense(1)],
        vec![dense(8), residual([relu(), dense(8), erf(), dense(8).std(0.5, 0.5)]), relu(), dense(1).without_bias()],
        vec![dense(9).std(1.3, 0.4), gelu(), dense(9).std(1.1, 0.2), sin_of(1.3, 0.7, 0.4), he(), cos_of(0.9, 1.8, -0.3), dense(1)],
        vec![dense(9).std(1.3, 0.0), rbf(0.4), dense(9).std(1.1, 0.0), gaussian(), he(), identity(), he(), sin(), he(), relu(), dense(1)],
        vec![dense(9).std(1.3, 0.4), tanh(), dense(9).std(1.1, 0.0), silu(), dense(9), sigmoid(), dense(9), softplus(), dense(1)],
        vec![dense(9), layer_norm(), gelu(), dense(9), residual([layer_norm(), tanh(), dense(9)]), layer_norm(), relu(), dense(1)],
    ];
    layers
        .into_iter()
        .flat_map(|layers| Parameterization::ALL.map(|p| Network::new([D], layers.clone()).unwrap().parameterized(p)))
        .collect()
}

pub(crate) fn evaluate<T: Float + ntk::Real>(network: &Network, x1: &[T], x2: Option<&[T]>) -> Kernels<T> {
    let view = |x| Mat::new(x, x.len() / D, D);
    InfiniteKernel::new(network).unwrap().evaluate(view(x1), x2.map(view))
}

fn inputs(n: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f64>> {
    n.prop_flat_map(|n| prop::collection::vec(-2.0..2.0, n * D))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn kernels_of_one_set_are_symmetric_to_the_bit_and_positive_semidefinite(x in inputs(1..9)) {
        for network in networks() {
            let k = evaluate(&network, &x, None);
            let n = k.n1;
            for matrix in [&k.nngp, &k.ntk] {
                for i in 0..n {
                    for j in 0..n {
                        prop_assert_eq!(matrix[i * n + j].to_bits(), matrix[j * n + i].to_bits());
                    }
                }
                let spectrum = ntk::Spectrum::of(Mat::new(matrix, n, n)).unwrap();
                let (first, last) = (spectrum.values()[0], spectrum.values()[n - 1]);
                prop_assert!(last >= -1e-13 * first, "{} beside {}", last, first);
            }
        }
    }

    #[test]
    fn permuted_rows_permute_the_kernel_and_two_sets_agree_with_one(x in inputs(2..9), shift in 1usize..7) {
        let n = x.len() / D;
        let shift = shift % n;
        let mut rotated = x.clone();
        rotated.rotate_left(shift * D);
        for network in networks() {
            let (k, r, cross) = (evaluate(&network, &x, None), evaluate(&network, &rotated, None), evaluate(&network, &x, Some(&rotated)));
            for i in 0..n {
                for j in 0..n {
                    let (a, b, c) = (k.ntk[i * n + (j + shift) % n], r.ntk[((i + n - shift) % n) * n + j], cross.ntk[i * n + j]);
                    let scale = k.ntk[i * n + i].max(k.ntk[(j + shift) % n * (n + 1)]);
                    prop_assert!((a - b).abs() <= 1e-13 * scale && (a - c).abs() <= 1e-13 * scale, "{} {} {}", a, b, c);
                    if i == (j + shift) % n {
                        prop_assert!(a == b && a == c, "coincident inputs: {} {} {}", a, b, c);
                    }
                }
            }
        }
    }

    #[test]
    fn functions_with_a_kink_are_homogeneous_without_bias(x in inputs(1..5), power in -60i32..60, i in 0usize..3) {
        let kinked = [relu(), abs(), leaky_relu(0.3)][i].clone();
        let layers = [dense(4).without_bias(), kinked.clone(), dense(4), kinked, dense(1).without_bias()];
        let network = Network::new([D], layers).unwrap();
        // The square of a power of two scales every step exactly.
        let c = 2f64.powi(power);
        let scaled: Vec<f64> = x.iter().map(|x| c * x).collect();
        let (k, s) = (evaluate(&network, &x, None), evaluate(&network, &scaled, None));
        for (a, b) in k.nngp.iter().chain(&k.ntk).zip(s.nngp.iter().chain(&s.ntk)) {
            prop_assert!((c * c * a - b).abs() <= 1e-15 * (c * c * a).abs() + 1e-15 * c * c, "{} {}", c * c * a, b);
        }
    }

    #[test]
    fn the_slope_kernel_is_the_derivative_of_the_kernel(k11 in 0.1..3.0, k22 in 0.1..3.0, c in -0.9..0.9) {
        let others = [
            Activation::Phi(Phi::LeakyRelu(-1.6)),
            Activation::Sin { a: 1.3, b: 0.7, c: 0.4 },
            Activation::Cos { a: -0.6, b: 1.7, c: 2.4 },
            Activation::Rbf { gamma: 0.3 },
        ];
        for phi in nn::ACTIVATIONS.into_iter().chain(others) {
            let k12 = c * f64::sqrt(k11 * k22);
            let h = 1e-3 * f64::sqrt(k11 * k22);
            let kappa = |steps: f64| dual(phi, k11, k12 + steps * h, k22).unwrap().0;
            let difference = (8.0 * (kappa(1.0) - kappa(-1.0)) - (kappa(2.0) - kappa(-2.0))) / (12.0 * h);
            let (_, slope) = dual(phi, k11, k12, k22).unwrap();
            // Slope kernels may change their sign between inputs that are far apart; those of coincident inputs are the largest.
            let scale = [k11, k22].map(|k| dual(phi, k, k, k).unwrap().1.sqrt()).iter().product::<f64>();
            prop_assert!((difference - slope).abs() <= 1e-7 * scale.max(slope.abs()), "{} {} {}", phi.name(), difference, slope);
        }
    }
}

#[test]
fn dual_kernels_are_gaussian_means() {
    // The mean over a fine grid of both Gaussians, which for smooth functions converges faster than any power of its step.
    let (k11, k12, k22) = (1.3, 0.7, 0.8);
    let (a, b) = (f64::sqrt(k11), k12 / f64::sqrt(k11));
    let c = (k22 - b * b).sqrt();
    let h = 1.0 / 64.0;
    let grid = || (-600..=600).map(move |i| f64::from(i) * h);
    // A kink costs the square of the step times its jump.
    let kinked = [(Phi::Relu, 1e-5), (Phi::LeakyRelu(0.2), 1e-5), (Phi::Abs, 2e-5)];
    for (phi, tolerance) in kinked.into_iter().chain([(Phi::Erf, 1e-12), (Phi::Exp, 1e-12)]) {
        let (mut kappa, mut slope) = (0.0, 0.0);
        for z in grid() {
            for w in grid() {
                let density = (-0.5 * (z * z + w * w)).exp() * h * h / std::f64::consts::TAU;
                let (u, v) = (a * z, b * z + c * w);
                kappa += density * phi.value(u) * phi.value(v);
                slope += density * phi.derivative(u) * phi.derivative(v);
            }
        }
        let (closed, closed_slope) = dual(phi, k11, k12, k22).unwrap();
        assert!((kappa - closed).abs() < tolerance * closed, "{}: {kappa} and {closed}", phi.name());
        // A slope that jumps is known to the step of the grid only.
        let tolerance = if tolerance > 1e-10 { 1e-2 } else { tolerance };
        assert!((slope - closed_slope).abs() < tolerance * closed_slope, "{}: {slope} and {closed_slope}", phi.name());
    }
}

#[test]
fn leaky_rectifiers_contain_relu_the_absolute_value_and_the_identity() {
    for (k11, k12, k22) in [(1.0, 0.3, 2.0), (1.5, -1.4, 1.5), (0.7, 0.699_999_9, 0.7), (2.0, -2.0, 2.0), (1.3, 1.3, 1.3)] {
        for (alpha, other) in [(0.0, Phi::Relu), (-1.0, Phi::Abs)] {
            let ((k, slope), (other_k, other_slope)) =
                (dual(Phi::LeakyRelu(alpha), k11, k12, k22).unwrap(), dual(other, k11, k12, k22).unwrap());
            assert!((k - other_k).abs() < 1e-14 && (slope - other_slope).abs() < 1e-14, "{k} {other_k}, {slope} {other_slope}");
        }
        let (k, slope) = dual(Phi::LeakyRelu(1.0), k11, k12, k22).unwrap();
        assert!((k - k12).abs() < 1e-14 && slope == 1.0, "{k} {k12}, {slope}");
    }
    // |x| does not know opposite inputs from equal ones.
    assert_eq!(dual(Phi::Abs, 2.25, -2.25, 2.25), Some((2.25, -1.0)));
    assert_eq!(dual(Phi::Abs, 2.25, 2.25, 2.25), Some((2.25, 1.0)));
}

/// Of powers of two as weights, so that nothing is rounded but the roots of the variances: these are not seen.
fn variances_are_exact<T: Float>() {
    let network = Network::new([4], [dense(8).std(2.0, 0.0), relu(), dense(8).std(4.0, 0.0), relu(), dense(1)]).unwrap();
    let kernel = InfiniteKernel::new(&network).unwrap();
    for k in 1..200u8 {
        let numbers = [k, k % 7, k % 5, 1].map(f64::from);
        let x = numbers.map(T::of);
        // (x·x/4)·4/2·16/2 is the variance behind the second ReLU.
        let variance = numbers.iter().map(|x| x * x).sum::<f64>() * 4.0;
        let twice = [&x[..], &x[..]].concat();
        let (k, own) = (kernel.evaluate(Mat::new(&twice, 2, 4), None), kernel.diagonal(Mat::new(&x, 1, 4)));
        assert!(k.nngp.iter().chain(&own.nngp).all(|&k| k == T::of(variance)), "{:?} and not {variance}", k.nngp);
    }
}

#[test]
fn inputs_that_coincide_have_their_variance_to_the_bit() {
    variances_are_exact::<f32>();
    variances_are_exact::<f64>();
}

#[test]
fn rows_of_zeros_are_exact() {
    // relu(0) = 0 and relu'(0) = 0; erf(0) = 0, and E erf'(v) = 2/√π/√(1 + 2K).
    let network = |layers: Vec<Layer>| Network::new([D], layers).unwrap();
    let x = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, -1.0, 0.5];
    let k = evaluate(&network(vec![dense(3), relu(), dense(3), relu(), dense(1)]), &x, None);
    assert_eq!((&k.nngp[..3], &k.ntk[..3]), (&[0.0; 3][..], &[0.0; 3][..]));
    let (kappa, slope) = dual(Phi::Erf, 0.0, 0.0, 1.5).unwrap();
    assert_eq!(kappa, 0.0);
    assert!((slope - 4.0 / std::f64::consts::PI / 2.0).abs() < 1e-15);
    assert_eq!(dual(Phi::Relu, 0.0, 0.0, 1.5), Some((0.0, 0.0)));
    // abs'(0) = 0, and the slope of a leaky rectifier is α at 0 and (1 + α)/2 in the mean.
    let k = evaluate(&network(vec![dense(3), abs(), dense(3), abs(), dense(1)]), &x, None);
    assert_eq!((&k.nngp[..3], &k.ntk[..3]), (&[0.0; 3][..], &[0.0; 3][..]));
    assert_eq!(dual(Phi::Abs, 0.0, 0.0, 1.5), Some((0.0, 0.0)));
    assert_eq!([Phi::Relu, Phi::Abs].map(|phi| dual(phi, 0.0, 0.0, 0.0)), [Some((0.0, 0.0)); 2]);
    let leaky = Phi::LeakyRelu(0.25);
    assert_eq!(dual(leaky, 0.0, 0.0, 1.5), Some((0.0, 0.25 * 0.625)));
    assert_eq!(dual(leaky, 1.5, 0.0, 0.0), Some((0.0, 0.25 * 0.625)));
    assert_eq!(dual(leaky, 0.0, 0.0, 0.0), Some((0.0, 0.0625)));
    // Θ of a row of zeros comes from the biases of the standard parameterization alone, through the slope at 0.
    let standard = |layers| network(layers).parameterized(Parameterization::Standard);
    let k = evaluate(&standard(vec![dense(3), leaky_relu(0.25), dense(1)]), &x, None);
    assert_eq!((&k.nngp[..2], &k.ntk[..2]), (&[0.0; 2][..], &[1.0 + 0.0625, 1.0 + 0.25 * 0.625][..]));
    let k = evaluate(&standard(vec![dense(3), abs(), dense(1)]), &x, None);
    assert_eq!((&k.nngp[..2], &k.ntk[..2]), (&[0.0; 2][..], &[1.0; 2][..]));
    // E φ(0) φ(v) = φ(0) E φ(v), and of the slopes likewise: e^{−1}, the slopes of rbf at 0 are √(2γ)·√2 cos(π/4).
    let (k, e) = (1.5, f64::exp(-0.75));
    for (activation, kappa, slope) in [
        (Activation::Phi(Phi::Gelu), 0.0, 0.25),
        (Activation::Phi(Phi::Sin), 0.0, e),
        (Activation::Sin { a: 2.0, b: 1.0, c: 0.3 }, 4.0 * e * 0.3f64.sin().powi(2), 4.0 * e * 0.3f64.cos().powi(2)),
        (Activation::Cos { a: 2.0, b: 1.0, c: 0.3 }, 4.0 * e * 0.3f64.cos().powi(2), 4.0 * e * 0.3f64.sin().powi(2)),
        (Activation::Rbf { gamma: 0.5 }, e, e),
        (Activation::Gaussian, 1.0 / (1.0 + 2.0 * k).sqrt(), 0.0),
        (Activation::Identity, 0.0, 1.0),
        (Activation::Phi(Phi::Sigmoid), 0.25, f64::NAN),
        (Activation::Phi(Phi::Tanh), 0.0, f64::NAN),
    ] {
        let found = dual(activation, 0.0, 0.0, k).unwrap();
        assert!((found.0 - kappa).abs() < 1e-15, "{activation:?}: {} and {kappa}", found.0);
        let slope = if slope.is_nan() {
            // The mean of the slope by a fine sum.
            let Activation::Phi(phi) = activation else { panic!("{activation:?}") };
            let h = 1.0 / 64.0;
            let density = |z: f64| (-0.5 * z * z).exp() * h / std::f64::consts::TAU.sqrt();
            phi.derivative(0.0) * (-640..=640).map(|i| density(f64::from(i) * h) * phi.derivative(k.sqrt() * h * f64::from(i))).sum::<f64>()
        } else {
            slope
        };
        assert!((found.1 - slope).abs() < 1e-14, "{activation:?}: {} and {slope}", found.1);
    }
    // With a bias, zero inputs and others: K = b² throughout the first layer's row, and nothing is NaN.
    for network in networks() {
        let k = evaluate(&network, &x, None);
        assert!(k.nngp.iter().chain(&k.ntk).all(|k| k.is_finite()));
    }
}

#[test]
fn extreme_scales_and_depth_give_no_nan() {
    let rows = [[1.0, 2.0, -0.5, 0.25, 3.0], [1.0, 2.0, -0.5, 0.25, 3.0 + 1e-15], [-1.0, -2.0, 0.5, -0.25, -3.0], [0.0; 5]];
    let deep: Vec<Layer> = (0..50).flat_map(|_| [dense(4).std(2f64.sqrt(), 0.05), relu()]).chain([dense(1)]).collect();
    let erfs: Vec<Layer> = (0..50).flat_map(|_| [dense(4).std(1.5, 0.05), erf()]).chain([dense(1)]).collect();
    // Weights that keep the variances about as they are.
    let kinks =
        |kinked: Layer, w: f64| (0..50).flat_map(move |_| [dense(4).std(w, 0.05), kinked.clone()]).chain([dense(1)]).collect::<Vec<_>>();
    let others = [gelu(), sin(), cos_of(1.0, 0.8, 0.5), rbf(0.3), gaussian()].map(|phi| kinks(phi, 1.2));
    for layers in [deep, erfs, kinks(abs(), 1.0), kinks(identity(), 1.0), kinks(leaky_relu(0.2), 1.38)].into_iter().chain(others) {
        let network = Network::new([D], layers).unwrap();
        for scale in [1e-150, 1e-20, 1.0, 1e20, 1e140] {
            let x: Vec<f64> = rows.iter().flatten().map(|x| x * scale).chain(rows[0]).collect();
            let k = evaluate(&network, &x, None);
            assert!(k.nngp.iter().chain(&k.ntk).all(|k| k.is_finite()), "{scale:e}: {k:?}");
        }
        for scale in [1e-18_f32, 1.0, 1e17] {
            let x: Vec<f32> = rows.iter().flatten().map(|&x| x as f32 * scale).chain(rows[0].map(|x| x as f32)).collect();
            let k = evaluate(&network, &x, None);
            assert!(k.nngp.iter().chain(&k.ntk).all(|k| k.is_finite()), "{scale:e}: {k:?}");
        }
    }
}

/// Layer norms hold the variance at 1, whatever the scale of the inputs.
#[test]
fn fifty_layers_of_every_activation_give_no_nan_and_keep_coincident_inputs() {
    let x = [1.0, 2.0, -0.5, 0.25, 3.0];
    let rows: Vec<f64> = [x, x, x.map(|x| -x), x.map(|x| x + 1e-15), x.map(|x| 3.0 * x), [0.0; D]].concat();
    for phi in nn::ACTIVATIONS {
        let w = if phi == Activation::Phi(Phi::Exp) { 0.1 } else { 1.2 };
        let layers = (0..50).flat_map(|_| [dense(4).std(w, 0.05), layer_norm(), phi.into()]).chain([dense(1)]).collect::<Vec<_>>();
        for parameterization in Parameterization::ALL {
            let network = Network::new([D], layers.clone()).unwrap().parameterized(parameterization);
            for scale in [1e-100, 1.0, 1e100] {
                let x: Vec<f64> = rows.iter().map(|x| x * scale).collect();
                let k = evaluate(&network, &x, None);
                for k in [&k.nngp, &k.ntk] {
                    assert!(k.iter().all(|k| k.is_finite()), "{phi:?} at {scale:e}: {k:?}");
                    assert_eq!([k[1], k[6], k[7]], [k[0]; 3], "{phi:?}");
                    // Next to it, and once around: a Cauchy–Schwarz inequality to rounding.
                    assert!((k[3] - k[0]).abs() <= 1e-10 * k[0].abs(), "{phi:?} at {scale:e}: {} and {}", k[3], k[0]);
                }
            }
        }
    }
}

/// Runs of dense and ReLU have loops of their own in single precision, which are held against those of double precision.
#[test]
fn runs_of_relu_in_single_precision_agree_with_double_precision_and_are_exact_where_that_is() {
    let he = |bias: f64| dense(16).std(2f64.sqrt(), bias);
    let deep = |n, bias| (0..n).flat_map(move |_| [he(bias), relu()]).chain([dense(1).std(1.3, 0.2)]).collect::<Vec<Layer>>();
    let mixed = vec![
        dense(9).std(0.7, 1.5),
        relu(),
        he(0.2),
        residual([relu(), dense(8).std(0.4, 0.9), relu(), he(0.0), relu(), he(0.3)]),
        layer_norm(),
        relu(),
        he(0.1),
        erf(),
        he(0.0),
        relu(),
        dense(4).without_bias(),
        relu(),
        dense(1),
    ];
    let networks = [deep(1, 0.0), deep(1, 0.4), deep(3, 0.0), deep(5, 1.2), deep(20, 0.1), mixed];
    let mut x: Vec<f32> = (0..150 * D).map(|k| (k as f32 * 1.7).sin() * (1.0 + (k / D % 7) as f32)).collect();
    let n = 150;
    let first = x[..D].to_vec();
    // Zeros, equal, opposite and parallel rows; nearly equal and nearly opposite ones.
    let like_first: [(usize, f32, f32); 8] = [
        (20, 0.0, 0.0),
        (21, 1.0, 0.0),
        (90, 1.0, 0.0),
        (91, -1.0, 0.0),
        (92, 3.0, 0.0),
        (130, 1.0, 1e-3),
        (131, -1.0, 1e-3),
        (149, -2.0, 1e-5),
    ];
    for (i, factor, off) in like_first {
        for k in 0..D {
            x[i * D + k] = factor * first[k] + off * k as f32;
        }
    }
    let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    for layers in networks {
        for parameterization in [Parameterization::Ntk, Parameterization::Standard] {
            let network = Network::new([D], layers.clone()).unwrap().parameterized(parameterization);
            let (single, double) = (evaluate(&network, &x, None), evaluate(&network, &wide, None));
            for (name, single, double) in [("K", &single.nngp, &double.nngp), ("Θ", &single.ntk, &double.ntk)] {
                let largest = double.iter().fold(0.0, |a: f64, &b| a.max(b.abs()));
                for i in 0..n {
                    for j in 0..n {
                        let (a, b) = (single[i * n + j], double[i * n + j]);
                        assert!(
                            (f64::from(a) - b).abs() <= 5e-6 * largest,
                            "{name}[{i}, {j}]: {a} instead of {b}, of {largest}, {layers:?}"
                        );
                        assert_eq!(a.to_bits(), single[j * n + i].to_bits(), "{name}[{i}, {j}]");
                        // No digit is lost where a row of zeros meets no bias.
                        assert!(b != 0.0 || a == 0.0, "{name}[{i}, {j}]: {a} instead of 0");
                    }
                }
                for (i, j) in [(0, 21), (21, 90), (90, 90), (0, 90)] {
                    assert_eq!(single[i * n + j], single[0], "{name}[{i}, {j}]");
                }
            }
            let kernel = InfiniteKernel::new(&network).unwrap();
            let view = Mat::new(&x[..], n, D);
            let diagonal = kernel.diagonal(view);
            let mut blocks = Vec::new();
            kernel
                .in_blocks(view, None, 47, |_, block| {
                    blocks.extend(block.ntk);
                    Ok::<(), ()>(())
                })
                .unwrap();
            assert!(blocks == single.ntk && kernel.ntk(view, None) == single.ntk && kernel.nngp(view, None) == single.nngp);
            for i in 0..n {
                assert_eq!((diagonal.nngp[i], diagonal.ntk[i]), (single.nngp[i * (n + 1)], single.ntk[i * (n + 1)]), "row {i}");
            }
        }
    }
}

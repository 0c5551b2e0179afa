//! Dual kernels of smooth activations against integrals over both Gaussians, which share nothing with the series and the closed forms.

use nn::{Network, Phi, dense, gelu, relu};
use ntk::{InfiniteKernel, Smooth, dual};
use simd::Mat;
use std::f64::consts::PI;

/// κ, κ̇, and both at `K12 = √(K11 K22)`, by the trapezoidal rule in both variables. For functions that are analytic within π/2 of the
/// real line its error is about exp(−π²/(σ h)).
fn integral(f: &dyn Fn(f64) -> f64, slope: &dyn Fn(f64) -> f64, [k11, k12, k22]: [f64; 3]) -> [f64; 2] {
    let sigma = k11.max(k22).sqrt();
    let h = (0.25 / sigma).min(0.125);
    let (a, b) = (k11.sqrt(), k12 / k11.sqrt());
    let c = (k22 - b * b).max(0.0).sqrt();
    let n = (8.5 / h) as i32;
    let mut sums = [0.0; 2];
    for i in -n..=n {
        let z = f64::from(i) * h;
        let (u, mut inner) = (a * z, [0.0; 2]);
        for j in -n..=n {
            let w = f64::from(j) * h;
            let (v, density) = (b * z + c * w, (-0.5 * w * w).exp());
            inner = [inner[0] + density * f(v), inner[1] + density * slope(v)];
        }
        let density = (-0.5 * z * z).exp() * h * h / std::f64::consts::TAU;
        sums = [sums[0] + density * f(u) * inner[0], sums[1] + density * slope(u) * inner[1]];
    }
    sums
}

/// Holds dual kernels against integrals for pairs of variances and cosines; the bound is relative to the geometric mean of the values at
/// t = 0.
fn check(name: &str, f: &dyn Fn(f64) -> f64, slope: &dyn Fn(f64) -> f64, dual: &dyn Fn(f64, f64, f64) -> (f64, f64), bound: f64) {
    for (k11, k22) in [(1e-3, 1e-3), (1e-3, 100.0), (0.04, 0.3), (1.0, 1.0), (2.0, 2.3), (0.5, 8.0), (100.0, 127.0)] {
        let scales: [f64; 2] = {
            let [a, b] = [k11, k22].map(|k| integral(f, slope, [k, k, k]));
            [(a[0] * b[0]).sqrt(), (a[1] * b[1]).sqrt()]
        };
        for c in [-1.0, -0.6, 0.3, 0.95, 0.999, 0.999_999, 1.0] {
            let k12 = c * f64::sqrt(k11 * k22);
            let expected = integral(f, slope, [k11, k12, k22]);
            let (kappa, kappa_dot) = dual(k11, k12, k22);
            let errors = [(kappa - expected[0]).abs() / scales[0], (kappa_dot - expected[1]).abs() / scales[1]];
            assert!(errors[0] <= bound && errors[1] <= bound, "{name}, variances {k11} and {k22}, cosine {c}: {errors:?}");
        }
    }
}

#[test]
fn smooth_activations_are_within_the_stated_bound_of_integrals() {
    for phi in [Phi::Tanh, Phi::Sigmoid, Phi::Softplus, Phi::Silu] {
        check(phi.name(), &|x| phi.value(x), &|x| phi.derivative(x), &|a, c, b| dual(phi, a, c, b).unwrap(), 1e-10);
    }
}

#[test]
fn closed_forms_agree_with_integrals() {
    for phi in [Phi::Gelu, Phi::Sin, Phi::Cos, Phi::Erf] {
        check(phi.name(), &|x| phi.value(x), &|x| phi.derivative(x), &|a, c, b| dual(phi, a, c, b).unwrap(), 2e-13);
    }
}

#[test]
fn a_function_of_the_users_is_within_the_stated_bound() {
    // Its singularities are at ±2i.
    let [f, slope]: [fn(f64) -> f64; 2] = [|x| (0.5 * x).atan() + 0.2, |x| 0.5 / (1.0 + 0.25 * x * x)];
    for (given, bound) in [(Some(slope), 1e-10), (None, 1e-10)] {
        let smooth = Smooth::new("shifted arctan", f, given);
        check(smooth.name(), &f, &slope, &|a, c, b| smooth.dual(a, c, b), bound);
    }
}

#[test]
#[should_panic(expected = "`tanh` at a variance of 1e3 needs more than 8192 terms")]
fn variances_beyond_the_series_are_refused() {
    dual(Phi::Tanh, 1e3, 0.0, 1e3);
}

#[test]
fn a_function_of_the_users_takes_the_place_of_an_activation() {
    use nn::{Network, dense, residual, tanh};
    let x: Vec<f64> = nn::normals(3, 0, 12);
    let layers = |phi: nn::Layer| vec![dense(8).std(1.3, 0.2), phi.clone(), dense(8), residual([phi, dense(8)]), dense(1)];
    let network = Network::new([3], layers(tanh())).unwrap();
    let kernel = ntk::InfiniteKernel::new(&network).unwrap();
    let own = Smooth::new("my tanh", f64::tanh, Some(|x| 1.0 / x.cosh().powi(2)));
    let (a, b) = (
        kernel.evaluate(simd::Mat::new(&x, 4, 3), None),
        kernel.clone().replacing(Phi::Tanh, &own).evaluate(simd::Mat::new(&x, 4, 3), None),
    );
    for (a, b) in a.ntk.iter().zip(&b.ntk) {
        assert!((a - b).abs() < 1e-12 * a.abs(), "{a} and {b}");
    }
    // And a sine, which has a closed form to be held against.
    let sine = kernel.replacing(Phi::Tanh, &Smooth::new("my sine", f64::sin, None)).evaluate(simd::Mat::new(&x, 4, 3), None);
    let network = Network::new([3], layers(nn::sin())).unwrap();
    let closed = ntk::InfiniteKernel::new(&network).unwrap().evaluate(simd::Mat::new(&x, 4, 3), None);
    for (a, b) in sine.ntk.iter().zip(&closed.ntk) {
        assert!((a - b).abs() < 1e-10 * a.abs(), "{a} and {b}");
    }
}

#[test]
fn a_network_with_an_own_tanh_has_the_kernel_of_tanh() {
    use nn::{Layer, Network, conv, dense, elementwise, flatten, global_avg_pool, residual, tanh};
    let c = || conv(8, [3, 3]).std(1.3, 0.2);
    let features = |phi: Layer| vec![dense(8).std(1.3, 0.2), phi.clone(), dense(8), residual([phi, dense(8)]), dense(1)];
    let pooled = |phi: Layer| vec![c(), phi.clone(), c(), phi, global_avg_pool(), dense(1)];
    let flattened = |phi: Layer| vec![c(), phi.clone(), c(), phi, flatten(), dense(1)];
    let x: Vec<f64> = nn::normals(3, 0, 4 * 16);
    let x32: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    for (input, layers) in [(&[16][..], &features as &dyn Fn(Layer) -> Vec<Layer>), (&[4, 4, 1], &pooled), (&[4, 4, 1], &flattened)] {
        let kernel = |phi: Layer| ntk::InfiniteKernel::new(&Network::new(input, layers(phi)).unwrap()).unwrap();
        let want = kernel(tanh()).evaluate(simd::Mat::new(&x, 4, 16), None);
        let slope: fn(f64) -> f64 = |x| 1.0 - x.tanh() * x.tanh();
        for given in [Some(slope), None] {
            let own = kernel(elementwise("my tanh", f64::tanh, given));
            let found = own.evaluate(simd::Mat::new(&x, 4, 16), None);
            let single = own.evaluate(simd::Mat::new(&x32, 4, 16), None);
            for (want, found, single) in [(&want.ntk, found.ntk, single.ntk), (&want.nngp, found.nngp, single.nngp)] {
                let largest = want.iter().fold(0.0, |m: f64, k| m.max(k.abs()));
                assert!(want.iter().zip(&found).all(|(a, b)| (a - b).abs() <= 1e-10 * largest), "{input:?}: {found:?} and {want:?}");
                assert!(want.iter().zip(&single).all(|(a, &b)| (a - f64::from(b)).abs() <= 1e-5 * largest), "{input:?}, f32");
            }
        }
    }
    // The kernel takes the slope that it is given: a wrong one shows.
    let wrong = elementwise("my wrong tanh", f64::tanh, Some(|x| 1.0 - 1.001 * x.tanh() * x.tanh()));
    let layers = |phi| [dense(8), phi, dense(1)];
    let [want, found] = [tanh(), wrong].map(|phi| {
        let network = Network::new([16], layers(phi)).unwrap();
        ntk::InfiniteKernel::new(&network).unwrap().ntk(simd::Mat::new(&x, 4, 16), None)[0]
    });
    assert!((want - found).abs() > 1e-5 * want);
}

#[test]
fn a_function_with_a_kink_has_a_finite_network_and_is_refused_at_infinite_width() {
    let kinked = nn::elementwise("my relu", |x| x.max(0.0), Some(|x| f64::from(u8::from(x > 0.0))));
    let network = nn::Network::new([2], [nn::dense(8), kinked, nn::dense(1)]).unwrap();
    assert_eq!(network.apply(&network.init::<f64>(1).unwrap(), &[1.0, 2.0]).len(), 1);
    let kernel = ntk::InfiniteKernel::new(&network).unwrap();
    let error = kernel.try_evaluate(simd::Mat::new(&[1.0, 2.0], 1, 2), None).unwrap_err();
    assert_eq!(error.name, "my relu");
    assert!(error.to_string().contains("a function with a kink has no such series"), "{error}");
}

#[test]
fn near_and_opposite_pairs_behind_a_series_agree_with_exact_values() {
    // An odd, an even and a mixed function with closed forms, whose exact values hold the series; a relu behind them shows the angle.
    use nn::{Activation, Network, dense, relu};
    type Function = fn(f64) -> f64;
    let text = std::fs::read_to_string(format!("{}/tests/golden/near_pairs_smooth.json", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
    let numbers = |v: &serde_json::Value| v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>();
    let x = numbers(&golden["x"]);
    let odd: [Function; 2] = [f64::sin, f64::cos];
    let even: [Function; 2] = [|x| (-x * x).exp(), |x| -2.0 * x * (-x * x).exp()];
    let mixed: [Function; 2] = [|x| 1.3 * (0.7 * x + 0.4).sin(), |x| 1.3 * 0.7 * (0.7 * x + 0.4).cos()];
    for (name, activation, [f, slope]) in [
        ("sin_relu", Activation::Sin { a: 1.0, b: 1.0, c: 0.0 }, odd),
        ("gaussian_relu", Activation::Gaussian, even),
        ("sin_phase_relu", Activation::Sin { a: 1.3, b: 0.7, c: 0.4 }, mixed),
    ] {
        let case = golden["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap();
        let layers = case["layers"].as_array().unwrap().iter().map(|l| match l["type"].as_str().unwrap() {
            "dense" => dense(8).std(l["w_std"].as_f64().unwrap(), l["b_std"].as_f64().unwrap()),
            "relu" => relu(),
            _ => activation.into(),
        });
        let network = Network::new([x.len()], layers.collect::<Vec<_>>()).unwrap();
        let kernel = ntk::InfiniteKernel::new(&network).unwrap().replacing(activation, &Smooth::new(name, f, Some(slope)));
        fn view(x: &[f64]) -> simd::Mat<'_, f64> {
            simd::Mat::new(x, 1, x.len())
        }
        for (k, pair) in golden["ys"].as_array().unwrap().iter().enumerate().filter(|(_, pair)| pair["kind"] != "scaled") {
            let Some(exact) = case["ntk"][k].as_f64() else { continue };
            let y = numbers(&pair["y"]);
            let found = kernel.ntk(view(&x), Some(view(&y)))[0];
            let scale = (kernel.diagonal(view(&x)).ntk[0] * kernel.diagonal(view(&y)).ntk[0]).sqrt();
            assert!((found - exact).abs() <= 1e-12 * scale, "{name}, {} {k}: {found:e}, exactly {exact:e}", pair["kind"]);
        }
    }
}

#[test]
#[should_panic(expected = "the network has no activation")]
fn an_activation_that_is_not_there_is_not_replaced() {
    let network = nn::Network::new([3], [nn::dense(2), nn::relu(), nn::dense(1)]).unwrap();
    let _ = ntk::InfiniteKernel::new(&network).unwrap().replacing(Phi::Tanh, &Smooth::new("x", |x| x, None));
}

#[test]
fn inputs_beyond_the_series_are_an_error_that_names_the_function() {
    let layers = [nn::dense(8), nn::tanh(), nn::dense(1)];
    let network = nn::Network::new([2], layers).unwrap();
    let kernel = ntk::InfiniteKernel::new(&network).unwrap();
    // The second row is too large: a variance of (60² + 60²)/2.
    let x = [1.0, 2.0, 60.0, 60.0];
    let error = kernel.try_evaluate(simd::Mat::new(&x, 2, 2), None).unwrap_err();
    assert_eq!((error.name, error.variance), ("tanh", 3600.0));
    assert!(kernel.try_evaluate(simd::Mat::new(&x[..2], 1, 2), None).is_ok());
    let infinite = [f64::MAX, f64::MAX];
    assert!(kernel.try_evaluate(simd::Mat::new(&infinite, 1, 2), None).is_err());
}

/// Behind x² the angle is `sin²(t'/2) = (4/3) sin²(t/2) cos²(t/2)` at any two variances, so also at those of neighbouring tables. A ReLU
/// behind it shows the angle in Θ.
#[test]
fn near_pairs_keep_their_digits_where_their_variances_are_in_two_tables() {
    let square = Smooth::new("square", |x| x * x, Some(|x| 2.0 * x));
    let network = Network::new([2], [dense(8), gelu(), dense(8), relu(), dense(1)]).unwrap();
    let kernel = InfiniteKernel::new(&network).unwrap().replacing(Phi::Gelu, &square);
    for gap in [1e-9, 1e-3] {
        for angle in [1e-8, 1e-6, 1e-4] {
            // Variances x·x/2 below and above 1.
            let (a, b): (f64, f64) = (1.0 - gap, 1.0 + gap);
            let (x, y) = ([(2.0 * a).sqrt(), 0.0], [(2.0 * b).sqrt() * f64::cos(angle), (2.0 * b).sqrt() * f64::sin(angle)]);
            let theta = kernel.ntk(Mat::new(&x, 1, 2), Some(Mat::new(&y, 1, 2)))[0];
            let c = (a * b).sqrt() * angle.cos();
            let near = 4.0 / 3.0 * (0.5 * angle).sin().powi(2) * (0.5 * angle).cos().powi(2);
            let t = 2.0 * near.sqrt().asin();
            let relu = 3.0 * a * b * (t.sin() + (PI - t) * t.cos()) / (2.0 * PI);
            let wanted = relu + (a * b + 2.0 * c * c + 4.0 * c * c) * (PI - t) / (2.0 * PI);
            assert!((theta - wanted).abs() <= 2e-13 * wanted, "{theta} and not {wanted} at {angle:e} with {gap:e}");
        }
    }
}

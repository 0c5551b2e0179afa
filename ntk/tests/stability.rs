//! The largest eigenvalue against the spectrum of the kernel, and rates on either side of the largest stable one.

use nn::{Layer, Loss, Network, Optimizer, Trainer, conv, dense, flatten, normals, relu, tanh};
use ntk::{Finite, Flow, Outputs, Spectrum, Strategy, empirical_ntk, full_matrix, largest_eigenvalue, largest_stable_rate};
use simd::Mat;

fn networks() -> Vec<Network> {
    let image: [Layer; 5] = [conv(3, [3, 3]), relu(), flatten(), dense(8).std(1.0, 0.3), dense(2)];
    vec![
        Network::new([3], [dense(30).std(1.4, 0.3), tanh(), dense(20).std(1.4, 0.1), relu(), dense(2).std(1.0, 0.1)]).unwrap(),
        Network::nchw([2, 4, 4], image).unwrap(),
    ]
}

/// `Σ_p c_p Θ_p` as a matrix, with each `Θ_p` from a network whose other parameters do not count.
fn theta(f: &Finite<'_, f64>, x: &[f64], n: usize) -> Vec<f64> {
    let full = empirical_ntk(f, x, None, Outputs::Full, Strategy::Jacobian).unwrap();
    full_matrix(&full.values, n, n, f.network.outputs())
}

#[test]
fn products_find_the_largest_eigenvalue_of_the_kernel() {
    for network in networks() {
        // More examples than one block holds, and fewer.
        for n in [1, 7, 300] {
            let x = normals::<f64>(3, 9, n * network.n_inputs());
            let parameters = network.init(1).unwrap();
            let f = Finite { network: &network, parameters: &parameters };
            let size = n * network.outputs();
            let want = Spectrum::of(Mat::new(&theta(&f, &x, n), size, size)).unwrap().values()[0];
            let mut iterations = 0;
            let got = largest_eigenvalue(&f, &x, &vec![1.0; parameters.len()], |i| iterations = i);
            assert!((got / want - 1.0).abs() < 1e-9, "{n} examples: {got} after {iterations} products, not {want}");
            let rate = largest_stable_rate(&f, &x, Loss::SquaredError, 0.0, &vec![1.0; parameters.len()], |_| ());
            let flow = Flow::new(Mat::new(&theta(&f, &x, n), size, size), 0.0).unwrap();
            assert!((rate / (n as f64 * flow.largest_stable_rate()) - 1.0).abs() < 1e-9);
        }
    }
}

#[test]
fn rates_of_parameters_and_frozen_layers_count() {
    let network = &networks()[0];
    let (x, parameters) = (normals::<f64>(3, 9, 9 * 3), network.init(1).unwrap());
    let f = Finite { network, parameters: &parameters };
    let by = |factors: &[f64]| largest_eigenvalue(&f, &x, factors, |_| ());
    assert!((by(&[3.0; 6]) / by(&[1.0; 6]) - 3.0).abs() < 1e-9);
    // Only the last bias: Θ = b_std²·1·1ᵀ for each output.
    assert!((by(&[0.0, 0.0, 0.0, 0.0, 0.0, 2.0]) - 2.0 * 0.01 * 9.0).abs() < 1e-12);
    assert_eq!(by(&[0.0; 6]), 0.0);
    assert_eq!(largest_eigenvalue(&f, &[], &[1.0; 6], |_| ()), 0.0);
}

/// The loss after some steps over that at the start.
fn progress(network: &Network, x: &[f64], y: &[f64], loss: Loss, momentum: f64, fraction: f64, steps: usize) -> f64 {
    let parameters = network.init(2).unwrap();
    let f = Finite { network, parameters: &parameters };
    let rate = fraction * largest_stable_rate(&f, x, loss, momentum, &vec![1.0; parameters.len()], |_| ());
    let mut trainer = Trainer::new(network, &parameters, loss).with_optimizer(Optimizer::Sgd { momentum });
    let start = trainer.loss(x, y);
    for _ in 0..steps {
        if trainer.step(x, y, rate).is_err() {
            return f64::INFINITY;
        }
    }
    trainer.loss(x, y) / start
}

#[test]
fn below_the_largest_stable_rate_training_converges_and_above_it_diverges() {
    // Linear in its parameters, so that the kernel stays and the bound is sharp.
    let network = Network::new([4], [dense(2).std(1.2, 0.4)]).unwrap();
    let (x, y) = (normals::<f64>(4, 0, 12 * 4), normals::<f64>(4, 1, 12 * 2));
    for momentum in [0.0, 0.5, 0.9] {
        let at = |fraction| progress(&network, &x, &y, Loss::SquaredError, momentum, fraction, 2000);
        assert!(at(0.98) < 1.0, "momentum {momentum}: {}", at(0.98));
        assert!(at(1.02) > 1e6, "momentum {momentum}: {}", at(1.02));
    }
    // For the cross-entropy it is a lower bound.
    let labels: Vec<f64> = (0..12).flat_map(|i| if i % 3 == 0 { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
    assert!(progress(&network, &x, &labels, Loss::CrossEntropy, 0.0, 0.98, 500) < 1.0);
}

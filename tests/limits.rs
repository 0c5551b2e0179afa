//! Independent proof of the kernels at infinite width: the mean kernel of random finite networks approaches them.

use nn::{Layer, Network, Parameterization, dense, erf, exp, relu, residual, residual_with_shortcut};
use ntk::{Finite, InfiniteKernel, Outputs, Strategy, empirical_nngp, empirical_ntk};
use simd::Mat;

const N: usize = 4;
const D: usize = 3;

/// Mean and standard error of both kernels over random networks, entry by entry, against their limits: none is further away than five
/// standard errors and a bias of order `1/width`.
fn check(name: &str, layers: impl Fn(usize) -> Vec<Layer>, parameterization: Parameterization) {
    let (width, seeds) = (256, 120);
    let network = Network::new([D], layers(width)).unwrap().parameterized(parameterization);
    let x: Vec<f64> = nn::normals(7, 0, N * D);
    let limit = InfiniteKernel::new(&network).unwrap().evaluate(Mat::new(&x, N, D), None);
    let mut ntk = vec![Vec::new(); N * N];
    let mut nngp = vec![Vec::new(); N * N];
    for seed in 0..seeds {
        let parameters = network.init::<f64>(seed).unwrap();
        let f = Finite { network: &network, parameters: &parameters };
        let theta = empirical_ntk(&f, &x, None, Outputs::Trace, Strategy::Auto).unwrap();
        let outputs = empirical_nngp(&f, &x, None, Outputs::Trace).unwrap();
        for i in 0..N * N {
            ntk[i].push(theta.values[i]);
            nngp[i].push(outputs.values[i]);
        }
    }
    for (kind, samples, limits) in [("ntk", &ntk, &limit.ntk), ("nngp", &nngp, &limit.nngp)] {
        let largest = limits.iter().fold(0.0_f64, |m, l| m.max(l.abs()));
        for (i, (samples, limit)) in samples.iter().zip(limits).enumerate() {
            let n = samples.len() as f64;
            let mean = samples.iter().sum::<f64>() / n;
            let error = (samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
            let allowed = 5.0 * error + 4.0 / width as f64 * largest;
            assert!(
                (mean - limit).abs() <= allowed,
                "{kind} of {name}, {parameterization:?}: entry {i} is {mean} ± {error} on average, and {limit} at infinite width"
            );
            // The test could not fail if the allowance were as large as the kernel.
            assert!(allowed < 0.25 * largest, "{kind} of {name}, {parameterization:?}: {allowed} of {largest}");
        }
    }
}

#[test]
fn finite_networks_approach_the_limit() {
    let hidden = |w| dense(w).std(1.4, 0.3);
    // The kernel of 32 outputs at once has a small error of its own.
    let end = || dense(32).std(1.2, 0.1);
    for parameterization in Parameterization::ALL {
        check("relu", |w| vec![hidden(w), relu(), hidden(w), relu(), end()], parameterization);
        check("erf", |w| vec![hidden(w), erf(), hidden(w), erf(), end()], parameterization);
        check("exp", |w| vec![dense(w).std(0.4, 0.1), exp(), end()], parameterization);
        check("no bias", |w| vec![hidden(w).without_bias(), relu(), end().without_bias()], parameterization);
        check("residual", |w| vec![hidden(w), residual([relu(), hidden(w)]), erf(), end()], parameterization);
        let shortcut = |w: usize| residual_with_shortcut([hidden(w), relu(), hidden(w)], [dense(w).std(0.8, 0.0)]);
        check("shortcut", |w| vec![shortcut(w), relu(), end()], parameterization);
    }
}

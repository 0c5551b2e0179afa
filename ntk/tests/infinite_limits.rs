//! Independent proof of the kernels at infinite width: random finite networks approach them, at the rates that the theory predicts, for
//! every activation and parameterization.

use nn::{
    ACTIVATIONS, Activation, Layer, Network, Parameterization, Phi, avg_pool, conv, dense, flatten, global_avg_pool, layer_norm, normals,
    residual,
};
use ntk::{Finite, InfiniteKernel, Outputs, Strategy, empirical_nngp, empirical_ntk};
use simd::Mat;

const N: usize = 3;
const D: usize = 3;

/// Of one kernel at one width, over many seeds: each entry's distance of the mean from the limit with its standard error, and the
/// root of the mean square distance of single networks; in units of the largest entry of the limit.
struct Distance {
    means: Vec<(f64, f64)>,
    single: f64,
}

fn distances(
    input: &[usize],
    layers: &dyn Fn(usize) -> Vec<Layer>,
    parameterization: Parameterization,
    width: usize,
    seeds: u64,
) -> [Distance; 2] {
    let network = Network::new(input, layers(width)).unwrap().parameterized(parameterization);
    let d = network.n_inputs();
    let x: Vec<f64> = normals(7, 0, N * d);
    let limit = InfiniteKernel::new(&network).unwrap().evaluate(Mat::new(&x, N, d), None);
    let mut samples = [Vec::new(), Vec::new()];
    for seed in 0..seeds {
        let parameters = network.init::<f64>(seed).unwrap();
        let f = Finite { network: &network, parameters: &parameters };
        samples[0].push(empirical_ntk(&f, &x, None, Outputs::Trace, Strategy::Auto).unwrap().values);
        samples[1].push(empirical_nngp(&f, &x, None, Outputs::Trace).unwrap().values);
    }
    [(0, &limit.ntk), (1, &limit.nngp)].map(|(k, limit)| {
        let largest = limit.iter().fold(0.0, |m: f64, l| m.max(l.abs()));
        let n = seeds as f64;
        let off = |i: usize| samples[k].iter().map(move |s| (s[i] - limit[i]) / largest);
        let means = (0..N * N).map(|i| {
            let mean = off(i).sum::<f64>() / n;
            (mean, (off(i).map(|d| (d - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt())
        });
        let square = (0..N * N).flat_map(off).map(|d| d * d).sum::<f64>() / (n * (N * N) as f64);
        Distance { means: means.collect(), single: square.sqrt() }
    })
}

/// The mean over seeds is within five standard errors and a bias of 4/width of the limit, and single networks are twice as close at four
/// times the width: their distance falls like width^(−1/2) (Jacot, Gabriel and Hongler 2018; Lee et al. 2019).
fn check(name: &str, layers: &dyn Fn(usize) -> Vec<Layer>) {
    check_of(name, &[D], layers, [64, 256], 60);
}

fn check_of(name: &str, input: &[usize], layers: &dyn Fn(usize) -> Vec<Layer>, widths: [usize; 2], seeds: u64) {
    for parameterization in Parameterization::ALL {
        let [narrow, wide] = widths.map(|width| distances(input, layers, parameterization, width, seeds));
        for (k, kind) in ["ntk", "nngp"].into_iter().enumerate() {
            for (width, distance) in [(widths[0] as f64, &narrow[k]), (widths[1] as f64, &wide[k])] {
                for (i, (mean, error)) in distance.means.iter().enumerate() {
                    let allowed = 5.0 * error + 4.0 / width;
                    assert!(mean.abs() <= allowed, "{kind} of {name}, {parameterization:?}, width {width}, entry {i}: {mean} ± {error}");
                }
            }
            if kind == "ntk" {
                let ratio = narrow[k].single / wide[k].single;
                assert!((1.5..2.7).contains(&ratio), "{kind} of {name}, {parameterization:?}: {ratio} times closer");
            }
        }
    }
}

#[test]
fn finite_networks_of_every_activation_approach_the_limit() {
    for phi in ACTIVATIONS {
        // The moments of an exponential are those of a small argument only.
        let w = if phi == Activation::Phi(Phi::Exp) { 0.5 } else { 1.2 };
        check(phi.name(), &|width| vec![dense(width).std(w, 0.2), phi.into(), dense(32).std(1.1, 0.1)]);
    }
    let others = [Activation::Sin { a: 1.3, b: 0.7, c: 0.4 }, Activation::Cos { a: 0.8, b: 1.6, c: -0.5 }];
    for phi in others {
        check(phi.name(), &|width| vec![dense(width).std(1.2, 0.2), phi.into(), dense(32).std(1.1, 0.1)]);
    }
}

#[test]
fn finite_networks_of_a_function_of_the_programs_approach_the_limit() {
    // Mish (Misra 2020), without its slope.
    let mish = || nn::elementwise("mish", |x| x * x.exp().ln_1p().tanh(), None);
    check("mish", &|width| vec![dense(width).std(1.2, 0.2), mish(), dense(32).std(1.1, 0.1)]);
}

#[test]
fn finite_networks_with_layer_norms_and_nested_sums_approach_the_limit() {
    let hidden = |width: usize| dense(width).std(1.2, 0.2);
    check("layer norm", &|width| vec![hidden(width), layer_norm(), nn::relu(), hidden(width), layer_norm(), nn::gelu(), dense(32)]);
    let nested = |width: usize| residual([residual([nn::tanh(), hidden(width)]), nn::relu(), hidden(width)]);
    check("nested", &|width| vec![hidden(width), nested(width), layer_norm(), nn::silu(), dense(32)]);
}

#[test]
fn finite_networks_of_images_approach_the_limit() {
    // As many outputs as single networks are averaged over, so that their distance is that of the hidden channels.
    let c = |width: usize| conv(width, [3, 2]).std(1.2, 0.2);
    let input = [3, 3, 2];
    let end = || dense(32).std(1.1, 0.1);
    check_of("flattened", &input, &|width| vec![c(width), nn::relu(), c(width), nn::erf(), flatten(), end()], [16, 64], 48);
    check_of("pooled", &input, &|width| vec![c(width), nn::relu(), c(width), nn::relu(), global_avg_pool(), end()], [16, 64], 48);
    let block = |width| residual([layer_norm(), nn::relu(), c(width)]);
    check_of("pooled within", &input, &|width| vec![c(width), block(width), avg_pool([2, 2]), nn::relu(), flatten(), end()], [16, 64], 48);
}

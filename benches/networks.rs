//! Kernels of networks on the work loads of `cases.json`: every strategy for the empirical NTK of fully connected ones, and infinite width of all.
//!
//! `cargo bench --bench networks` takes a few minutes; `cargo bench --bench networks -- fcn_small` runs one case. Compare figures of one run
//! only: what else the machine does shows in all of them.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use nn::{Layer, Network, conv, dense, flatten, global_avg_pool, relu};
use ntk::{Finite, InfiniteKernel, Outputs, Strategy, empirical_ntk};
use serde_json::Value;
use simd::Mat;

/// `w_std = √2`, `b_std = 0.1` in every layer, as for the other libraries.
fn network(case: &Value) -> Network {
    let size = |v: &Value| usize::try_from(v.as_u64().expect("a size")).expect("a size");
    let layer = |out: usize| dense(out).std(std::f64::consts::SQRT_2, 0.1);
    if case["net"] == "cnn" {
        let channels = case["channels"].as_array().expect("channels");
        let mut layers: Vec<Layer> =
            channels.iter().flat_map(|c| [conv(size(c), [3, 3]).std(std::f64::consts::SQRT_2, 0.1), relu()]).collect();
        layers.extend([if case["readout"] == "gap" { global_avg_pool() } else { flatten() }, layer(size(&case["outputs"]))]);
        let input: Vec<usize> = case["input"].as_array().expect("input").iter().map(size).collect();
        return Network::new(input, layers).expect("the shapes fit");
    }
    let widths = case["widths"].as_array().expect("widths");
    let mut layers: Vec<Layer> = widths.iter().flat_map(|w| [layer(size(w)), relu()]).collect();
    layers.push(layer(size(&case["outputs"])));
    Network::new([size(&case["input"][0])], layers).expect("the shapes fit")
}

/// The strategies with a name. Those that write Jacobians out are left out where these would have more than a GiB, as they take minutes then.
fn strategies(jacobian_bytes: usize) -> Vec<(&'static str, Strategy)> {
    let mut all = vec![("structured", Strategy::Structured)];
    if jacobian_bytes <= 1 << 30 {
        all.extend([("jacobian", Strategy::Jacobian), ("products", Strategy::Products)]);
    }
    all
}

fn kernels(c: &mut Criterion) {
    let file: Value = serde_json::from_str(include_str!("cases.json")).expect("valid JSON");
    for case in file["cases"].as_array().expect("cases") {
        if case["kind"] == "train" || (case["net"] == "cnn" && case["kind"] == "empirical") {
            continue;
        }
        let name = case["name"].as_str().expect("a name");
        let n = case["n"].as_u64().expect("n") as usize;
        let network = network(case);
        let x: Vec<f32> = nn::normals(0, u64::MAX - 1, n * network.n_inputs());
        let mut group = c.benchmark_group(name);
        group.sample_size(10).warm_up_time(std::time::Duration::from_millis(500)).measurement_time(std::time::Duration::from_secs(2));
        if case["kind"] == "infinite" {
            let kernel = InfiniteKernel::new(&network).expect("relu has a limit");
            group.bench_function("infinite", |b| b.iter(|| kernel.evaluate(Mat::new(&x, n, network.n_inputs()), None)));
        } else {
            let kept = if case["outputs_kept"] == "trace" { Outputs::Trace } else { Outputs::Full };
            let parameters = network.init::<f32>(0).expect("the network is small");
            let f = Finite { network: &network, parameters: &parameters };
            for (name, strategy) in strategies(4 * n * network.outputs() * network.n_parameters()) {
                group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter(|| empirical_ntk(&f, &x, None, kept, strategy)));
            }
        }
        group.finish();
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);

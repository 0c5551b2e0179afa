//! One warm step of training on the work loads of `cases.json`: gradient descent, with momentum, and Adam.
//!
//! `cargo bench --bench train -- train_fcn` runs one case.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use nn::{Layer, Loss, Network, Optimizer, Trainer, conv, dense, global_avg_pool, normals, relu};
use serde_json::Value;

/// `w_std = √2`, `b_std = 0.1` in every layer, as for the other libraries.
fn network(case: &Value) -> Network {
    let sizes = |key: &str| -> Vec<usize> {
        let of = |v: &Value| v.as_u64().expect("a size") as usize;
        case[key].as_array().map(|sizes| sizes.iter().map(of).collect()).unwrap_or_default()
    };
    let scaled = |layer: Layer| layer.std(std::f64::consts::SQRT_2, 0.1);
    let mut layers: Vec<Layer> = sizes("widths").into_iter().flat_map(|w| [scaled(dense(w)), relu()]).collect();
    layers.extend(sizes("channels").into_iter().flat_map(|c| [scaled(conv(c, [3, 3])), relu()]));
    if case["net"] == "cnn" {
        layers.push(global_avg_pool());
    }
    layers.push(scaled(dense(case["outputs"].as_u64().expect("outputs") as usize)));
    Network::new(sizes("input"), layers).expect("the shapes fit")
}

fn steps(c: &mut Criterion) {
    let file: Value = serde_json::from_str(include_str!("cases.json")).expect("valid JSON");
    for case in file["cases"].as_array().expect("cases").iter().filter(|case| case["kind"] == "train") {
        let (name, n) = (case["name"].as_str().expect("a name"), case["n"].as_u64().expect("n") as usize);
        let network = network(case);
        let x: Vec<f32> = normals(0, u64::MAX - 1, n * network.n_inputs());
        let y: Vec<f32> = normals(0, u64::MAX - 2, n * network.outputs());
        let parameters = network.init::<f32>(0).expect("the network is small");
        let mut group = c.benchmark_group(name);
        group.sample_size(10).warm_up_time(std::time::Duration::from_millis(500)).measurement_time(std::time::Duration::from_secs(2));
        for (name, optimizer) in [("sgd", Optimizer::SGD), ("momentum", Optimizer::Sgd { momentum: 0.9 }), ("adam", Optimizer::ADAM)] {
            let mut trainer = Trainer::new(&network, &parameters, Loss::SquaredError).with_optimizer(optimizer);
            group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter(|| trainer.step(&x, &y, 1e-6).expect("a small step")));
        }
        group.finish();
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);

//! Kernels on the work loads of `cases.json`: every strategy for the empirical NTK beside what its plan expects, and infinite width.
//!
//! `cargo bench --bench networks` takes a few minutes; `cargo bench --bench networks -- fcn_small` runs one case. Compare figures of one run
//! only: what else the machine does shows in all of them. Of every empirical kernel a line with the expected seconds comes before the measured ones,
//! against which a cost model that goes wrong shows.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ntk::{Finite, InfiniteKernel, Outputs, Request, Strategy, empirical_ntk};
use simd::Mat;
use std::time::Duration;
use tangents::workloads::{CASES, Case, Implementation, Kept, Kind, cases};

fn empirical(c: &mut Criterion, case: &Case) {
    let network = case.network().expect("the shapes fit");
    let parameters = network.init::<f32>(0).expect("the network is small");
    let f = Finite { network: &network, parameters: &parameters };
    let x: Vec<f32> = nn::normals(0, u64::MAX - 1, case.n * network.n_inputs());
    let kept = match case.outputs_kept {
        Kept::Full => Outputs::Full,
        Kept::Trace => Outputs::Trace,
    };
    let mut group = c.benchmark_group(&case.name[..]);
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for implementation in case.implementations() {
        let Implementation::Strategy(strategy) = implementation else { continue };
        // It is one of the others.
        if strategy == Strategy::Auto {
            continue;
        }
        let request = Request { strategy, ..Request::of(kept) };
        let expected = ntk::plan(&f, &x, None, &request).expect("nothing mixes examples").cost().seconds;
        // Those that would take minutes say nothing that their plan does not.
        if expected > 5.0 {
            println!("{}/{}: left out, {expected:.1} s are expected", case.name, strategy.name());
            continue;
        }
        println!("{}/{}: {:.2} ms are expected", case.name, strategy.name(), 1e3 * expected);
        group.bench_function(BenchmarkId::from_parameter(strategy.name()), |b| b.iter(|| empirical_ntk(&f, &x, None, kept, strategy)));
    }
    group.finish();
}

fn infinite(c: &mut Criterion, case: &Case) {
    let network = case.network().expect("the shapes fit");
    let x: Vec<f32> = nn::normals(0, u64::MAX - 1, case.n * network.n_inputs());
    let kernel = InfiniteKernel::new(&network).expect("relu has a limit");
    let mut group = c.benchmark_group(&case.name[..]);
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group.bench_function("closed-form", |b| b.iter(|| kernel.evaluate(Mat::new(&x, case.n, network.n_inputs()), None)));
    group.finish();
}

fn kernels(c: &mut Criterion) {
    for case in cases(CASES).expect("the cases that come with the project are valid") {
        match case.kind {
            Kind::Empirical => empirical(c, &case),
            Kind::Infinite => infinite(c, &case),
            Kind::Train => (),
        }
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);

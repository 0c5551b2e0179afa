//! How fast convolutions are, against patches and a product: elements are multiply-adds, two FLOP each.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use simd::{
    Accumulate, Convolution, Float, Mat, MatMut, conv, conv_example_gradients, conv_input_gradient, conv_weight_gradient, patches, product,
};

/// Side of the image, channels in and out, images.
const SHAPES: [(usize, usize, usize, usize); 6] =
    [(32, 3, 64, 8), (28, 1, 32, 32), (28, 32, 32, 16), (28, 64, 64, 8), (14, 128, 128, 8), (8, 128, 128, 16)];

fn numbers<T: Float>(n: usize) -> Vec<T> {
    (0..n).map(|i| T::of((i as f64 * 0.37).sin())).collect()
}

fn convolutions<T: Float>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("convolution {}", T::NAME));
    group.sample_size(20);
    for (side, ci, co, n) in SHAPES {
        for stride in [1, 2] {
            let sizes = Convolution::same([side; 2], ci, [3; 2], [stride; 2], co);
            let sites = n * sizes.out().iter().product::<usize>();
            let (x, w, g) = (numbers::<T>(n * side * side * ci), numbers::<T>(9 * ci * co), numbers::<T>(sites * co));
            let (mut y, mut dx) = (vec![T::ZERO; g.len()], vec![T::ZERO; x.len()]);
            let (mut dw, mut each) = (vec![T::ZERO; w.len()], vec![T::ZERO; n * w.len()]);
            let mut matrix = vec![T::ZERO; sites * 9 * ci];
            group.throughput(Throughput::Elements(n as u64 * sizes.flops() / 2));
            let name = format!("{side}×{side}×{ci}→{co}, stride {stride}");
            group.bench_function(BenchmarkId::new("forward", &name), |bench| {
                bench.iter(|| conv(&sizes, n, &x, &w, Accumulate::Set, &mut y));
            });
            group.bench_function(BenchmarkId::new("patches and product", &name), |bench| {
                bench.iter(|| {
                    patches(&sizes, n, &x, &mut matrix);
                    let (matrix, w) = (Mat::new(&matrix, sites, 9 * ci), Mat::new(&w, 9 * ci, co));
                    product(matrix, w, Accumulate::Set, MatMut::new(&mut y, sites, co));
                });
            });
            group.bench_function(BenchmarkId::new("input gradient", &name), |bench| {
                bench.iter(|| conv_input_gradient(&sizes, n, &g, &w, Accumulate::Set, &mut dx));
            });
            group.bench_function(BenchmarkId::new("weight gradient", &name), |bench| {
                bench.iter(|| conv_weight_gradient(&sizes, n, 1, &x, &g, Accumulate::Set, &mut dw));
            });
            group.bench_function(BenchmarkId::new("example gradients", &name), |bench| {
                bench.iter(|| conv_example_gradients(&sizes, n, 1, &x, &g, Accumulate::Set, &mut each));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, convolutions::<f32>, convolutions::<f64>);
criterion_main!(benches);

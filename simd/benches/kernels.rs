//! How fast products, beside those of other crates, and maps are: elements are multiply-adds (two FLOP each) or values of a map.

mod rivals;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rivals::Rivals;
use simd::{
    Accumulate, Factors, Float, Level, Mat, MatMut, Phi, Term, acos_sin_at, gram, gram_hadamard, gram_hadamard_symmetric, map_affine_at,
    map_at, product, slope_at, softmax_at,
};

fn numbers<T: Float>(n: usize) -> Vec<T> {
    (0..n).map(|i| T::of((i as f64 * 0.37).sin() * 3.0)).collect()
}

/// Products of the shapes that networks make beside the crates matrixmultiply (one thread) and gemm.
fn products<T: Rivals>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("product {}", T::NAME));
    let parallel = rayon::current_num_threads() > 1;
    for (m, k, n) in [
        (8, 8, 8),
        (1, 16, 16),
        (1, 1024, 1024),
        (1024, 1, 1024),
        (16, 64, 64),
        (32, 256, 256),
        (128, 784, 1024),
        (1000, 1024, 10),
        (1000, 1024, 1),
        (1024, 4096, 1024),
    ] {
        let (a, b, mut y) = (numbers::<T>(m * k), numbers::<T>(k * n), numbers::<T>(m * n));
        let transposed = numbers::<T>(k * n);
        let a = Mat::new(&a, m, k);
        group.throughput(Throughput::Elements((m * k * n) as u64));
        for (name, b) in [("", Mat::new(&b, k, n)), (", transposed", Mat::new(&transposed, n, k).t())] {
            let shape = format!("{m}×{k}×{n}{name}");
            group.bench_function(BenchmarkId::new("simd", &shape), |bench| {
                bench.iter(|| product(a, b, Accumulate::Set, MatMut::new(&mut y, m, n)));
            });
            group.bench_function(BenchmarkId::new("matrixmultiply", &shape), |bench| {
                bench.iter(|| T::matrixmultiply(a, b, &mut y));
            });
            group.bench_function(BenchmarkId::new("gemm", &shape), |bench| {
                bench.iter(|| T::gemm(a, b, &mut y, parallel));
            });
        }
    }
    group.finish();
}

/// Throughput counts the triangle for the symmetric ones: the least work that there is. The other crates compute the square.
fn grams<T: Rivals>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("gram {}", T::NAME));
    let parallel = rayon::current_num_threads() > 1;
    for (n, k) in [(64, 64), (256, 256), (1000, 64), (1000, 1024), (4096, 784)] {
        let (x, g, mut theta) = (numbers::<T>(n * k), numbers::<T>(n * k), vec![T::ZERO; n * n]);
        let (x, g) = (Mat::new(&x, n, k), Mat::new(&g, n, k));
        let factors = Factors { x, g };
        let term = Term { one: factors, two: factors, scale: T::ONE, shift: T::ZERO };
        let triangle = (n * (n + 1) / 2 * k) as u64;
        group.throughput(Throughput::Elements(triangle));
        group.bench_function(format!("gram {n}×{k}"), |bench| {
            bench.iter(|| gram(x, Accumulate::Set, MatMut::new(&mut theta, n, n)));
        });
        group.bench_function(format!("matrixmultiply {n}×{k}"), |bench| {
            bench.iter(|| T::matrixmultiply(x, x.t(), &mut theta));
        });
        group.bench_function(format!("gemm {n}×{k}"), |bench| {
            bench.iter(|| T::gemm(x, x.t(), &mut theta, parallel));
        });
        group.throughput(Throughput::Elements(2 * triangle));
        group.bench_function(format!("hadamard, symmetric {n}×{k}"), |bench| {
            bench.iter(|| gram_hadamard_symmetric(&[term], 1, MatMut::new(&mut theta, n, n)));
        });
        group.throughput(Throughput::Elements((2 * n * n * k) as u64));
        group.bench_function(format!("hadamard {n}×{k}"), |bench| {
            bench.iter(|| gram_hadamard(&[term], 1, MatMut::new(&mut theta, n, n)));
        });
    }
    group.finish();
}

fn maps<T: Float>(c: &mut Criterion) {
    let n = 4096;
    let (x, dx, mut y, mut dy) = (numbers::<T>(n), numbers::<T>(n), vec![T::ZERO; n], vec![T::ZERO; n]);
    let mut group = c.benchmark_group(format!("map {}", T::NAME));
    group.throughput(Throughput::Elements(n as u64));
    for level in Level::available() {
        for phi in Phi::ALL {
            group.bench_function(BenchmarkId::new(phi.name(), level), |bench| {
                bench.iter(|| map_at(level, phi, &x, &mut y));
            });
            group.bench_function(BenchmarkId::new(format!("slope of {}", phi.name()), level), |bench| {
                bench.iter(|| slope_at(level, phi, &x, &y, &dx, Accumulate::Set, &mut dy));
            });
        }
        let (mut z, mut s) = (x.clone(), vec![T::ZERO; n]);
        group.bench_function(BenchmarkId::new("relu of scale and bias", level), |bench| {
            bench.iter(|| map_affine_at(level, Phi::Relu, T::ONE, &mut z, Some((&dx[..64], T::ONE)), &mut y));
        });
        group.bench_function(BenchmarkId::new("acos with its sine", level), |bench| {
            bench.iter(|| acos_sin_at(level, &x, &mut y, &mut s));
        });
        for cols in [16, 256] {
            let mut lse = vec![T::ZERO; n / cols];
            group.bench_function(BenchmarkId::new(format!("softmax of {cols}"), level), |bench| {
                bench.iter(|| softmax_at(level, Mat::new(&x, n / cols, cols), &mut lse, &mut y));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, products::<f32>, products::<f64>, grams::<f32>, grams::<f64>, maps::<f32>, maps::<f64>);
criterion_main!(benches);

//! Products, Gram matrices, convolutions and maps beside the crates matrixmultiply and gemm, as shares of what this machine can do at most.
//!
//! `cargo bench -p tangents-simd --bench record` prints the tables of `benches/record/`. The peak is measured in the same run, by
//! multiply-adds that never leave the registers. All rivals of a row take turns, and a figure is the median of its turns: on a
//! machine that does other work the ratios mean more than the figures.

mod rivals;

use std::hint::black_box;
use std::time::Instant;

use rayon::ThreadPool;
use rivals::Rivals;
use simd::lane::Arith;
use simd::{
    Accumulate, Convolution, Factors, Float, Kernel, Level, Mat, MatMut, Phi, Term, acos_sin, conv, conv_example_gradients,
    conv_input_gradient, conv_weight_gradient, gram, gram_hadamard_symmetric, map, patches, product, slope,
};

/// A rival: its name, and one run of it.
type Rival<'a> = (&'a str, Box<dyn FnMut() + Send + 'a>);

/// The seconds that each rival takes: medians of turns, of which each has as many runs as fill two milliseconds.
fn medians(pool: &ThreadPool, rivals: &mut [Rival]) -> Vec<f64> {
    const TURNS: usize = 11;
    pool.install(|| {
        let time = |run: &mut dyn FnMut(), n: usize| {
            let start = Instant::now();
            (0..n).for_each(|_| run());
            start.elapsed().as_secs_f64() / n as f64
        };
        let runs: Vec<usize> = rivals
            .iter_mut()
            .map(|(_, run)| {
                run();
                (2e-3 / time(run, 1).max(1e-9)).clamp(1.0, 1e6) as usize
            })
            .collect();
        let mut seconds = vec![Vec::new(); rivals.len()];
        for _ in 0..TURNS {
            for ((seconds, (_, run)), &n) in seconds.iter_mut().zip(rivals.iter_mut()).zip(&runs) {
                seconds.push(time(run, n));
            }
        }
        for seconds in &mut seconds {
            seconds.sort_by(f64::total_cmp);
        }
        seconds.into_iter().map(|seconds| seconds[TURNS / 2]).collect()
    })
}

/// Multiply-adds of twelve vectors of `L` numbers that never leave the registers: each an array of its own, which the compiler keeps there.
struct Busy<T, const L: usize>(T, usize);

impl<T: Float, const L: usize> Kernel for Busy<T, L> {
    type Output = T;

    #[inline(always)]
    fn run<A: Arith>(self, _: A) -> T {
        let Busy(x, n) = self;
        let (mut a, mut b, mut c, mut d, mut e, mut f) = ([x; L], [x; L], [x; L], [x; L], [x; L], [x; L]);
        let (mut g, mut h, mut i, mut j, mut k, mut m) = ([x; L], [x; L], [x; L], [x; L], [x; L], [x; L]);
        for _ in 0..n {
            for sum in [&mut a, &mut b, &mut c, &mut d, &mut e, &mut f, &mut g, &mut h, &mut i, &mut j, &mut k, &mut m] {
                for s in sum {
                    *s = A::mul_add(*s, x, x);
                }
            }
        }
        [a, b, c, d, e, f, g, h, i, j, k, m].iter().flatten().copied().sum()
    }
}

/// GFLOP/s that a thread reaches at most.
fn peak<T: Float>(pool: &ThreadPool) -> f64 {
    const STEPS: usize = 100_000;
    let x = black_box(T::of(0.5));
    // Twelve registers: enough to hide the latency of a multiply-add, and few enough to stay in registers.
    let bytes = if matches!(Level::best(), Level::Avx512(_)) { 64 } else { 32 };
    let lanes = bytes / size_of::<T>();
    let run = move || {
        black_box(match lanes {
            16 => Level::best().run(Busy::<T, 16>(x, STEPS)),
            8 => Level::best().run(Busy::<T, 8>(x, STEPS)),
            _ => Level::best().run(Busy::<T, 4>(x, STEPS)),
        });
    };
    let flop = (2 * STEPS * 12 * lanes) as f64;
    flop / medians(pool, &mut [("peak", Box::new(run))])[0] * 1e-9
}

fn numbers<T: Float>(n: usize, seed: usize) -> Vec<T> {
    (0..n).map(|i| T::of(((i * 7919 + seed) as f64 * 0.618_033_988_749).sin())).collect()
}

/// One line of a table: GFLOP/s of each rival, and the share of the peak that the first one has.
fn row(what: &str, flop: f64, seconds: &[f64], peak: f64) {
    let figures: Vec<String> = seconds.iter().map(|s| format!("{:.1}", flop / s * 1e-9)).collect();
    println!("| {what} | {} | {:.0} % |", figures.join(" | "), 100.0 * flop / seconds[0] * 1e-9 / peak);
}

/// How the factors of a product lie: as in the forward pass, in the backward pass to the inputs, and to the weights.
#[derive(Clone, Copy)]
enum Pass {
    Forward,
    Inputs,
    Weights,
}

fn products<T: Rivals>(pools: &[(usize, ThreadPool)], peak: f64) {
    let layers = [
        (1, 1024, 1024),
        (16, 16, 16),
        (16, 64, 64),
        (32, 256, 256),
        (128, 784, 1024),
        (128, 1024, 1024),
        (1024, 1024, 10),
        (1024, 4096, 1024),
    ];
    for (threads, pool) in pools {
        println!("\n### Products, {}, threads: {threads}\n", T::NAME);
        println!("| batch × in × out | pass | simd | matrixmultiply (1 thread) | gemm | share of the peak |\n|---|---|---|---|---|---|");
        for (batch, n_in, n_out) in layers {
            for (pass, name) in [(Pass::Forward, "x·W"), (Pass::Inputs, "g·Wᵀ"), (Pass::Weights, "xᵀ·g")] {
                let (x, w, g) = (numbers::<T>(batch * n_in, 1), numbers::<T>(n_in * n_out, 2), numbers::<T>(batch * n_out, 3));
                let (x, w, g) = (Mat::new(&x, batch, n_in), Mat::new(&w, n_in, n_out), Mat::new(&g, batch, n_out));
                let (a, b) = match pass {
                    Pass::Forward => (x, w),
                    Pass::Inputs => (g, w.t()),
                    Pass::Weights => (x.t(), g),
                };
                let (m, n) = (a.rows(), b.cols());
                let [mut c, mut d, mut e] = [(); 3].map(|()| vec![T::ZERO; m * n]);
                let parallel = *threads > 1;
                let seconds = medians(
                    pool,
                    &mut [
                        ("simd", Box::new(|| product(a, b, Accumulate::Set, MatMut::new(&mut c, m, n)))),
                        ("matrixmultiply", Box::new(|| T::matrixmultiply(a, b, &mut d))),
                        ("gemm", Box::new(|| T::gemm(a, b, &mut e, parallel))),
                    ],
                );
                row(&format!("{batch} × {n_in} × {n_out} | {name}"), (2 * batch * n_in * n_out) as f64, &seconds, peak * *threads as f64);
            }
        }
    }
}

/// FLOP count the triangle: what the symmetry leaves. The other crates compute the square, in the same time as any product.
fn grams<T: Rivals>(pools: &[(usize, ThreadPool)], peak: f64) {
    for (threads, pool) in pools {
        println!("\n### Gram matrices, {}, threads: {threads}\n", T::NAME);
        println!("| n × k | simd `gram` | matrixmultiply (1 thread) | gemm | simd share of the peak |\n|---|---|---|---|---|");
        let mut kernels = Vec::new();
        for (n, k) in [(64, 64), (64, 1024), (256, 256), (1000, 64), (1000, 1024), (4096, 784)] {
            let (x, g) = (numbers::<T>(n * k, 1), numbers::<T>(n * k, 2));
            let (x, g) = (Mat::new(&x, n, k), Mat::new(&g, n, k));
            let [mut c, mut d, mut e] = [(); 3].map(|()| vec![T::ZERO; n * n]);
            let flop = (n * (n + 1) * k) as f64;
            let parallel = *threads > 1;
            let seconds = medians(
                pool,
                &mut [
                    ("simd", Box::new(|| gram(x, Accumulate::Set, MatMut::new(&mut c, n, n)))),
                    ("matrixmultiply", Box::new(|| T::matrixmultiply(x, x.t(), &mut d))),
                    ("gemm", Box::new(|| T::gemm(x, x.t(), &mut e, parallel))),
                ],
            );
            row(&format!("{n} × {k}"), flop, &seconds, peak * *threads as f64);
            let factors = Factors { x, g };
            let term = [Term { one: factors, two: factors, scale: T::ONE, shift: T::ONE }];
            let seconds = medians(pool, &mut [("simd", Box::new(|| gram_hadamard_symmetric(&term, 1, MatMut::new(&mut c, n, n))))]);
            kernels.push((format!("{n} × {k}"), 2.0 * flop, seconds));
        }
        println!(
            "\n### Kernels of a layer, {}, threads: {threads}\n\n| n × k, k | simd `gram_hadamard_symmetric` | share of the peak |\n|---|---|---|",
            T::NAME
        );
        for (what, flop, seconds) in kernels {
            row(&what, flop, &seconds, peak * *threads as f64);
        }
    }
}

/// Patches written out, and a product, are what a library without convolutions does.
fn convolutions(pools: &[(usize, ThreadPool)], peak: f64) {
    let shapes = [
        (28, 1, 32, 1, 32),
        (28, 32, 32, 1, 32),
        (28, 64, 64, 1, 16),
        (28, 32, 32, 2, 32),
        (32, 3, 64, 1, 16),
        (14, 128, 128, 1, 16),
        (8, 128, 128, 1, 32),
    ];
    for (threads, pool) in pools {
        println!("\n### Convolutions 3 × 3 with SAME padding, f32, threads: {threads}\n");
        println!(
            "| image, channels in → out, stride, images | outputs | patches + `product` | input gradient | weight gradient | gradients of each example | share of the peak |"
        );
        println!("|---|---|---|---|---|---|---|");
        for (side, c_in, c_out, stride, images) in shapes {
            let sizes = Convolution::same([side, side], c_in, [3, 3], [stride, stride], c_out);
            let [height, width] = sizes.out();
            let (sites, depth) = (images * height * width, 9 * c_in);
            let (x, w, g) = (numbers(images * side * side * c_in, 1), numbers(depth * c_out, 2), numbers(sites * c_out, 3));
            let (mut y, mut z, mut dx) = (vec![0f32; sites * c_out], vec![0f32; sites * c_out], x.clone());
            let (mut rows, mut dw, mut each) = (vec![0f32; sites * depth], w.clone(), vec![0f32; images * depth * c_out]);
            let seconds = medians(
                pool,
                &mut [
                    ("outputs", Box::new(|| conv(&sizes, images, &x, &w, Accumulate::Set, &mut y))),
                    (
                        "patches",
                        Box::new(|| {
                            patches(&sizes, images, &x, &mut rows);
                            let rows = Mat::new(&rows, sites, depth);
                            product(rows, Mat::new(&w, depth, c_out), Accumulate::Set, MatMut::new(&mut z, sites, c_out));
                        }),
                    ),
                    ("inputs", Box::new(|| conv_input_gradient(&sizes, images, &g, &w, Accumulate::Set, &mut dx))),
                    ("weights", Box::new(|| conv_weight_gradient(&sizes, images, 1, &x, &g, Accumulate::Set, &mut dw))),
                    ("examples", Box::new(|| conv_example_gradients(&sizes, images, 1, &x, &g, Accumulate::Set, &mut each))),
                ],
            );
            let what = format!("{side} × {side}, {c_in} → {c_out}, {stride}, {images}");
            row(&what, (2 * sites * depth * c_out) as f64, &seconds, peak * *threads as f64);
        }
    }
}

fn maps<T: Float>(pool: &ThreadPool) -> Vec<[f64; 2]> {
    const N: usize = 4096;
    let (x, dx) = (numbers::<T>(N, 1), numbers::<T>(N, 2));
    // The logarithm of a negative number is no work that anyone has.
    let x: Vec<T> = x.into_iter().map(|x| x.abs() * T::of(3.0) + T::of(0.01)).collect();
    let (mut y, mut dy) = (vec![T::ZERO; N], vec![T::ZERO; N]);
    let mut all: Vec<[f64; 2]> = Phi::ALL
        .into_iter()
        .map(|phi| {
            let value = medians(pool, &mut [("map", Box::new(|| map(phi, &x, &mut y)))])[0];
            [value, medians(pool, &mut [("slope", Box::new(|| slope(phi, &x, &y, &dx, Accumulate::Set, &mut dy)))])[0]]
        })
        .collect();
    let cosines = numbers::<T>(N, 3);
    all.push([medians(pool, &mut [("acos", Box::new(|| acos_sin(&cosines, &mut y, &mut dy)))])[0], f64::NAN]);
    all.into_iter().map(|pair| pair.map(|seconds| seconds * 1e9 / N as f64)).collect()
}

fn table_of_maps(pool: &ThreadPool) {
    println!("\n### Maps of 4096 elements, threads: 1, nanoseconds an element\n");
    println!("| φ | φ in f32 | φ' in f32 | φ in f64 | φ' in f64 |\n|---|---|---|---|---|");
    let names = Phi::ALL.map(Phi::name).into_iter().chain(["acos with its sine"]);
    for ((name, [f, df]), [d, dd]) in names.zip(maps::<f32>(pool)).zip(maps::<f64>(pool)) {
        let slope = |seconds: f64| if seconds.is_nan() { "–".to_owned() } else { format!("{seconds:.2}") };
        println!("| {name} | {f:.2} | {} | {d:.2} | {} |", slope(df), slope(dd));
    }
}

fn main() {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let mut counts = vec![1, all];
    counts.dedup();
    let pool = |n: usize| (n, rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("threads"));
    let pools: Vec<(usize, ThreadPool)> = counts.into_iter().map(pool).collect();
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let about =
        |key: &str| cpu.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_once(':')).map_or("?", |(_, v)| v.trim());
    println!(
        "Machine: {}, family {}, model {}, {all} threads; level {}.",
        about("model name"),
        about("cpu family"),
        about("model\t"),
        Level::best()
    );
    let (single, double) = (peak::<f32>(&pools[0].1), peak::<f64>(&pools[0].1));
    println!("Peak of a thread: {single:.1} GFLOP/s in f32, {double:.1} GFLOP/s in f64. Figures are GFLOP/s.");
    products::<f32>(&pools, single);
    grams::<f32>(&pools, single);
    convolutions(&pools, single);
    table_of_maps(&pools[0].1);
    products::<f64>(&pools, double);
    grams::<f64>(&pools, double);
}

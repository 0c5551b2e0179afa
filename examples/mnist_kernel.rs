//! Kernel regression with convolutional networks of infinite width on images of MNIST.
//!
//! ```text
//! cargo run --release --example mnist_kernel -- DIR pooled|flattened IMAGES LAYERS
//! ```
//!
//! DIR holds the unpacked files `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`. Of the first IMAGES images a tenth is kept for
//! testing; the rest is learned to the end of the flow, with a ridge of 1e-4 of the mean of the diagonal. LAYERS is the number of
//! convolutions of 3 × 3, each with a ReLU.

use nn::{Layer, Network, conv, dense, flatten, global_avg_pool, relu};
use ntk::{Flow, InfiniteKernel, Time};
use simd::Mat;
use std::error::Error;
use std::path::Path;
use tangents::progress::Progress;

const CLASSES: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, end, images, layers] = &arguments[..] else {
        return Err("the arguments are DIR pooled|flattened IMAGES LAYERS".into());
    };
    let (n, depth): (usize, usize) = (images.parse()?, layers.parse()?);
    let (x, labels) = mnist(Path::new(dir), n)?;

    let mut layers: Vec<Layer> = (0..depth).flat_map(|_| [conv(1, [3, 3]).std(std::f64::consts::SQRT_2, 0.1), relu()]).collect();
    layers.extend([if end == "pooled" { global_avg_pool() } else { flatten() }, dense(1)]);
    let kernel = InfiniteKernel::new(&Network::new([28, 28, 1], layers)?)?;

    let progress = Progress::new(false);
    let pairs = n as u64 * (n as u64 + 1) / 2;
    let stage = progress.stage(&format!("{end} kernel of {n} images, {depth} layers"), pairs);
    let k = kernel.try_evaluate_with(Mat::new(&x, n, 784), None, |done, _| stage.reach(done))?;
    stage.finish();

    let n_test = n / 10;
    let n_train = n - n_test;
    let y: Vec<f64> =
        labels.iter().flat_map(|&label| (0..CLASSES).map(move |c| if c == usize::from(label) { 0.9 } else { -0.1 })).collect();
    for (name, k) in [("ntk", &k.ntk), ("nngp", &k.nngp)] {
        let block = |rows: std::ops::Range<usize>| -> Vec<f64> {
            rows.flat_map(|i| (0..n_train).map(move |j| (i, j))).map(|(i, j)| f64::from(k[i * n + j])).collect()
        };
        let flow = Flow::new(Mat::new(&block(0..n_train), n_train, n_train), 1e-4)?;
        let (test, f0) = (block(n_train..n), vec![0.0; n * CLASSES]);
        let [f0_train, f0_test, y] =
            [(&f0, n_train), (&f0, n_test), (&y, n_train)].map(|(values, rows)| Mat::new(&values[..rows * CLASSES], rows, CLASSES));
        let f = flow.test(Time::Infinite, Mat::new(&test, n_test, n_train), f0_train, f0_test, y)?;
        let right = f.chunks(CLASSES).zip(&labels[n_train..]).filter(|(f, label)| largest(f) == usize::from(**label)).count();
        println!("{name}: {:.1} % of {n_test} test images right, learned from {n_train}", 100.0 * right as f64 / n_test as f64);
    }
    Ok(())
}

fn largest(f: &[f64]) -> usize {
    (0..f.len()).max_by(|&a, &b| f[a].total_cmp(&f[b])).unwrap_or(0)
}

/// The first images, with mean 0 and variance 1 over all of their pixels, and their labels.
fn mnist(dir: &Path, n: usize) -> Result<(Vec<f32>, Vec<u8>), Box<dyn Error>> {
    let read = |name: &str, header: usize, len: usize| -> Result<Vec<u8>, Box<dyn Error>> {
        let path = dir.join(name);
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let found = bytes.get(header..header + len).ok_or_else(|| format!("{} holds fewer than {n} images", path.display()))?;
        Ok(found.to_vec())
    };
    let (pixels, labels) = (read("train-images-idx3-ubyte", 16, n * 784)?, read("train-labels-idx1-ubyte", 8, n)?);
    let mean = pixels.iter().map(|&p| f64::from(p)).sum::<f64>() / pixels.len() as f64;
    let variance = pixels.iter().map(|&p| (f64::from(p) - mean).powi(2)).sum::<f64>() / pixels.len() as f64;
    Ok((pixels.iter().map(|&p| ((f64::from(p) - mean) / variance.sqrt()) as f32).collect(), labels))
}

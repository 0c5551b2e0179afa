//! Inputs of a network of features, and the rows of their kernel.

use super::hermite::SeriesTooLong;
use super::loops::StartLoop;
use super::norms::{Norms, trace};
use super::rows::{Pairs, Strip};
use super::stage::{Affine, Stage};
use rayon::prelude::*;
use simd::{Float, Level, Mat};

/// Columns that go through all layers together: their state stays in a core's first cache.
const STRIP: usize = 512;

/// Numbers of the widest vector.
pub(super) const LANES: usize = 16;

/// From this |cos t| on the angle is computed from the difference (or sum) of the inputs. Below it, reading it from the
/// product costs less than two digits.
const NEARLY_PARALLEL: f64 = 0.99;

/// The pairs of row `i` of `one` with rows of `two` from `first` on, whose directions have these products: `write` gets some of them behind all
/// layers, and their products, in whose place what is wanted may be written. The strip is memory that is used again.
pub(super) fn row<T: Float>(
    strip: &mut Strip<T>,
    stages: &[Stage<Affine>],
    (one, i): (&Inputs<T>, usize),
    (two, first): (&Inputs<T>, usize),
    products: &mut [T],
    mut write: impl FnMut(&Strip<T>, &Pairs<T>, &mut [T]),
) {
    for (start, products) in (first..).step_by(STRIP).zip(products.chunks_mut(STRIP)) {
        let pairs = Pairs { one: &one.norms, i, two: &two.norms, j: start..start + products.len() };
        start_strip(strip, one, i, two, start, products);
        strip.through(stages, &pairs);
        write(strip, &pairs, products);
    }
}

/// [`row`], from the products of the directions in `nngp` to both kernels.
pub(super) fn both<T: Float>(
    strip: &mut Strip<T>,
    stages: &[Stage<Affine>],
    one: (&Inputs<T>, usize),
    (two, first): (&Inputs<T>, usize),
    nngp: &mut [T],
    ntk: &mut [T],
) {
    row(strip, stages, one, (two, first), nngp, |strip, pairs, nngp| {
        strip.nngp(pairs, nngp);
        strip.ntk(&mut ntk[pairs.j.start - first..pairs.j.end - first]);
    });
}

/// Inputs as their directions `x/√(x·x/d)` and norms. A row of zeros keeps the direction 0.
pub(super) struct Inputs<T> {
    pub(super) rows: usize,
    pub(super) features: usize,
    pub(super) directions: Vec<T>,
    pub(super) norms: Vec<Norms<T>>,
}

impl<T: Float> Inputs<T> {
    pub(super) fn new(x: Mat<T>, stages: &[Stage<Affine>]) -> Result<Self, SeriesTooLong> {
        let (rows, features) = (x.rows(), x.cols());
        let d = T::of(features as f64);
        let (mut directions, mut variance) = (vec![T::ZERO; rows * features], vec![T::ZERO; rows]);
        let each = directions.par_chunks_exact_mut(features).zip(&mut variance).enumerate();
        each.with_min_len(16).for_each(|(i, (row, variance))| {
            match x.row(i) {
                Some(x) => row.copy_from_slice(x),
                None => row.iter_mut().enumerate().for_each(|(k, r)| *r = x.at(i, k)),
            }
            // Not from the product of all rows: the order of this sum is the same in every row, so equal rows have equal bits.
            *variance = sum(row, row, |a, b| a * b) / d;
            let root = variance.sqrt();
            if root > T::ZERO {
                row.iter_mut().for_each(|x| *x = *x / root);
            }
        });
        Ok(Inputs { rows, features, directions, norms: trace(stages, variance)? })
    }

    pub(super) fn directions(&self) -> Mat<'_, T> {
        Mat::new(&self.directions, self.rows, self.features)
    }

    fn direction(&self, i: usize) -> &[T] {
        &self.directions[i * self.features..(i + 1) * self.features]
    }
}

/// The angles between the inputs, from the products of their directions: `sin²(t/2) = (1 − cos t)/2 = ‖x̂ − x̂'‖²/4d`.
fn start_strip<T: Float>(strip: &mut Strip<T>, one: &Inputs<T>, i: usize, two: &Inputs<T>, first: usize, products: &[T]) {
    let d = T::of(one.features as f64);
    let x = one.direction(i);
    let threshold = T::of(NEARLY_PARALLEL) * d;
    strip.restart(products.len());
    if !Level::best().run(StartLoop { products, scale: T::ONE / d, threshold, strip }) {
        return;
    }
    let (near, far) = (&mut strip.near, &mut strip.far);
    for (k, product) in products.iter().enumerate() {
        if product.abs() > threshold {
            let y = two.direction(first + k);
            if *product > T::ZERO {
                near[k] = sum(x, y, |a, b| (a - b) * (a - b)) / (T::of(4.0) * d);
                far[k] = T::ONE - near[k];
            } else {
                far[k] = sum(x, y, |a, b| (a + b) * (a + b)) / (T::of(4.0) * d);
                near[k] = T::ONE - far[k];
            }
        }
    }
}

/// Σ f(a, b) in an order that depends on the length alone, in several sums so that they run side by side.
fn sum<T: Float>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut sums = [T::ZERO; LANES];
    let (a_lanes, b_lanes) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: T = a_lanes.remainder().iter().zip(b_lanes.remainder()).map(|(&a, &b)| f(a, b)).sum();
    for (a, b) in a_lanes.zip(b_lanes) {
        for k in 0..LANES {
            sums[k] += f(a[k], b[k]);
        }
    }
    sums.into_iter().sum::<T>() + rest
}

/// Copies the upper triangle of an n × n matrix to the lower one, in blocks that stay in the first cache.
pub(super) fn mirror<T: Float>(k: &mut [T], n: usize) {
    const BLOCK: usize = 32;
    for i0 in (0..n).step_by(BLOCK) {
        for j0 in (0..=i0).step_by(BLOCK) {
            for i in i0..(i0 + BLOCK).min(n) {
                for j in j0..(j0 + BLOCK).min(i) {
                    k[i * n + j] = k[j * n + i];
                }
            }
        }
    }
}

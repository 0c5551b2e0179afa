//! Gradients of weights.

use std::ops::Range;

use rayon::prelude::*;

use super::Convolution;
use super::border::{bordered, room};
use super::correlate::{blocks, panels_len};
use crate::lane::Arith;
use crate::level::Kernel;
use crate::pack::{Panels, pack_all};
use crate::product::{ALONE, join};
use crate::scratch::Scratch;
use crate::tile::{M, Sum, tile_of_sum, width, width_at};
use crate::{Accumulate, Float, Level, Mat, MatMut};

/// Images whose gradients are summed before sums are added to each other hold about this many sites at the most, and are at most [`IMAGES`].
const SITES: usize = 1 << 12;

/// See [`SITES`].
const IMAGES: usize = 64;

/// As many such sums as this, or a multiple, are asked for, of as many images each as may be, so that a few threads have about equal shares.
const SHARES: usize = 4;

/// More sums than [`SITES`] asks for have this many sites on average: of fewer, adding a sum would be a noticeable part of the work.
const LEAST_SITES: usize = 1 << 10;

/// Sites that are summed over in registers, in whole rows: their part of a panel stays in the first cache.
const DEPTH: usize = 128;

/// The gradient of Σ g·y by the weights, summed over the images: dw ← Σ, or dw ← dw + Σ,
///
/// ```text
/// dw[l, dy, dx, c, o] = Σ_image Σ_p Σ_q  x[s₀·p + dy − lo₀, s₁·q + dx − lo₁, c] · g[l, image, p, q, o].
/// ```
///
/// `x` is [images, height, width, channels_in], `g` [lanes, images, height_out, width_out, channels_out], `dw` [lanes, filter
/// height, filter width, channels_in, channels_out]. Lanes that lie beside the channels, g [images, height_out, width_out,
/// lanes · channels_out], are more channels.
///
/// Images are summed in order, a few at a time, and these sums in order: which ones depends on their sizes only.
///
/// ```
/// use simd::{Accumulate, Convolution, conv_weight_gradient};
/// let sizes = Convolution::same([1, 5], 1, [1, 3], [1, 2], 1);
/// let (x, g, mut dw) = ([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 10.0, 100.0], [f64::NAN; 3]);
/// conv_weight_gradient(&sizes, 1, 1, &x, &g, Accumulate::Set, &mut dw);
/// assert_eq!(dw, [20.0 + 400.0, 1.0 + 30.0 + 500.0, 2.0 + 40.0]);
/// ```
///
/// # Panics
/// If a length does not fit, or as [`Convolution::out`].
#[track_caller]
pub fn conv_weight_gradient<T: Float>(conv: &Convolution, images: usize, lanes: usize, x: &[T], g: &[T], to: Accumulate, dw: &mut [T]) {
    conv_weight_gradient_at(Level::best(), conv, images, lanes, x, g, to, dw);
}

/// [`conv_weight_gradient`] with the instructions of a given level.
///
/// # Panics
/// If a length does not fit, or as [`Convolution::out`].
#[track_caller]
pub fn conv_weight_gradient_at<T: Float>(
    level: Level,
    conv: &Convolution,
    images: usize,
    lanes: usize,
    x: &[T],
    g: &[T],
    to: Accumulate,
    dw: &mut [T],
) {
    let task = Task { level, conv, images, lanes, x, g };
    task.check(dw, Some(lanes));
    if to == Accumulate::Set {
        dw.fill(T::ZERO);
    }
    if dw.is_empty() || g.is_empty() {
        return;
    }
    let (threads, len) = (task.threads(), dw.len());
    let some = task.images_summed_first();
    let pieces = images.div_ceil(some);
    let piece = |k: usize, threads: usize, sum: &mut [T]| {
        for i in k * some..images.min((k + 1) * some) {
            let to = if i == k * some { Accumulate::Set } else { Accumulate::Add };
            task.image(i, to, threads, MatMut::new(sum, lanes, conv.weights_len()));
        }
    };
    // Pieces are added in order, so it does not matter how many are computed at once: each by one thread while there are enough of them.
    let mut sums = Scratch::take(threads.min(pieces) * len);
    let mut done = 0;
    while done < pieces {
        let at_once = if pieces - done < threads { 1 } else { threads };
        let sums = &mut sums[..at_once * len];
        if at_once == 1 {
            piece(done, threads, sums);
        } else {
            sums.par_chunks_exact_mut(len).enumerate().for_each(|(k, sum)| piece(done + k, 1, sum));
        }
        for sum in sums.chunks_exact(len) {
            dw.iter_mut().zip(sum).for_each(|(dw, &sum)| *dw += sum);
        }
        done += at_once;
    }
}

/// The gradient of Σ g·y by the weights for each image: the sum of [`conv_weight_gradient`] without its sum over the images.
///
/// `x` is [images, height, width, channels_in], `g` [lanes, images, height_out, width_out, channels_out], `dw` [lanes, images,
/// filter height, filter width, channels_in, channels_out].
///
/// # Panics
/// If a length does not fit, or as [`Convolution::out`].
#[track_caller]
pub fn conv_example_gradients<T: Float>(conv: &Convolution, images: usize, lanes: usize, x: &[T], g: &[T], to: Accumulate, dw: &mut [T]) {
    conv_example_gradients_at(Level::best(), conv, images, lanes, x, g, to, dw);
}

/// [`conv_example_gradients`] with the instructions of a given level.
///
/// # Panics
/// If a length does not fit, or as [`Convolution::out`].
#[track_caller]
pub fn conv_example_gradients_at<T: Float>(
    level: Level,
    conv: &Convolution,
    images: usize,
    lanes: usize,
    x: &[T],
    g: &[T],
    to: Accumulate,
    dw: &mut [T],
) {
    let task = Task { level, conv, images, lanes, x, g };
    task.check(dw, lanes.checked_mul(images));
    if dw.is_empty() || g.is_empty() {
        if to == Accumulate::Set {
            dw.fill(T::ZERO);
        }
        return;
    }
    let threads = task.threads();
    let dw = MatMut::new(dw, lanes, images * conv.weights_len());
    if threads > 1 && images < threads {
        task.examples(0..images, to, threads, usize::MAX, dw);
    } else {
        let grain = if threads == 1 { usize::MAX } else { images.div_ceil(8 * threads) };
        task.examples(0..images, to, 1, grain, dw);
    }
}

/// What both functions share.
struct Task<'a, T> {
    level: Level,
    conv: &'a Convolution,
    images: usize,
    lanes: usize,
    x: &'a [T],
    g: &'a [T],
}

impl<T: Float> Task<'_, T> {
    /// Refuses lengths that do not fit, where `dw` is for so many filters.
    #[track_caller]
    fn check(&self, dw: &[T], filters: Option<usize>) {
        let Task { conv, images, lanes, x, g, .. } = *self;
        conv.check();
        let wanted_x = conv.image_len().checked_mul(images);
        let wanted_g = conv.out_len().checked_mul(images).and_then(|n| n.checked_mul(lanes));
        let wanted_dw = filters.and_then(|n| n.checked_mul(conv.weights_len()));
        conv.check_lengths(images, lanes, [("x", x.len(), wanted_x), ("g", g.len(), wanted_g), ("dw", dw.len(), wanted_dw)]);
    }

    /// How many images are summed before sums are added to each other: their sizes decide, so that the bits do not depend on the threads.
    fn images_summed_first(&self) -> usize {
        let sites = self.sites().max(1);
        let pieces = self.images.div_ceil(SITES.div_ceil(sites).min(IMAGES));
        let most = self.images.saturating_mul(sites) / LEAST_SITES;
        self.images.div_ceil(pieces.next_multiple_of(SHARES).min(most.max(pieces)))
    }

    fn sites(&self) -> usize {
        self.conv.out().iter().product()
    }

    fn threads(&self) -> usize {
        let work = self.g.len().saturating_mul(self.conv.weights_len() / self.conv.channels_out);
        if work < ALONE { 1 } else { rayon::current_num_threads() }
    }

    /// The gradients of some images, one after the other or in parallel.
    fn examples(&self, images: Range<usize>, to: Accumulate, threads: usize, grain: usize, dw: MatMut<T>) {
        let len = self.conv.weights_len();
        if images.len() > grain {
            let half = images.start + images.len() / 2;
            let (left, right) = dw.split_cols_at((half - images.start) * len);
            join(
                false,
                || self.examples(images.start..half, to, threads, grain, left),
                || self.examples(half..images.end, to, threads, grain, right),
            );
            return;
        }
        let mut dw = dw;
        for i in images.clone() {
            let place = (i - images.start) * len;
            self.image(i, to, threads, dw.reborrow().col_range(place..place + len));
        }
    }

    /// The gradients of one image, a row for each lane, whose numbers are shared by some threads.
    fn image(&self, i: usize, to: Accumulate, threads: usize, mut dw: MatMut<T>) {
        let Task { level, conv, .. } = *self;
        let (image, sites, channels) = (conv.image_len(), self.sites(), conv.channels_out);
        let mut border = Scratch::take(room(conv));
        let x = bordered(conv, &self.x[i * image..(i + 1) * image], &mut border);
        let mut panels = Scratch::take(panels_len(sites, channels));
        for l in 0..self.lanes {
            let g = &self.g[(l * self.images + i) * sites * channels..][..sites * channels];
            let turned = Mat::new(g, sites, channels).t();
            let panels = pack_all(level, true, turned, width_at::<T>(level), &mut panels);
            let dw = dw.row_mut(l).expect("a filter lies side by side");
            if threads == 1 {
                T::run_weights(level, Weights { conv, x, panels, first: 0, to, dw });
            } else {
                let rows = (dw.len() / channels).div_ceil(4 * threads).next_multiple_of(M);
                let pieces = dw.par_chunks_mut(rows * channels).enumerate();
                pieces.for_each(|(k, dw)| T::run_weights(level, Weights { conv, x, panels, first: k * rows, to, dw }));
            }
        }
    }
}

/// Some rows of the gradient of one image with sites, from a bordered image and panels of `g`. A row belongs to a tap and a channel in.
pub struct Weights<'a, T> {
    conv: &'a Convolution,
    x: &'a [T],
    panels: Panels<'a, T>,
    /// The first of the rows.
    first: usize,
    to: Accumulate,
    dw: &'a mut [T],
}

impl<T: Float> Kernel for Weights<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(self, cpu: A) {
        let Weights { conv, x, panels, first, to, dw } = self;
        let (ci, channels, taps) = (conv.channels_in, conv.channels_out, conv.filter[1] * conv.channels_in);
        let x_row = conv.bordered()[1] * ci;
        let (mut out, mut step) = (conv.out(), [conv.stride[0] * x_row, conv.stride[1] * ci]);
        if out[1] == 1 {
            // A column of sites is a row of them as well, and a longer one.
            (out, step) = ([1, out[0]], [step[1], step[0]]);
        }
        let [height, across] = out;
        let some = (DEPTH / across).max(1);
        let width = width::<T, A>();
        let rows = dw.len() / channels;
        let mut dw = MatMut::new(dw, rows, channels);
        for j in (0..channels).step_by(width) {
            let cols = j..channels.min(j + width);
            for p in (0..height).step_by(some) {
                let (p, to) = (p..height.min(p + some), if p == 0 { to } else { Accumulate::Add });
                let g = panels.columns(j / width, p.start * across..p.end * across);
                let mut start = 0;
                while start < rows {
                    // Rows of one filter row lie side by side in the image, and those of the next somewhere else.
                    let (dy, r) = ((first + start) / taps, (first + start) % taps);
                    let end = rows.min(start + taps - r);
                    for block in blocks(end - start) {
                        let x = &x[dy * x_row + p.start * step[0] + r + block.start..];
                        let sum = Sum::new(x, step[0], block.len(), across, (1, step[1]), p.len(), g);
                        let c = start + block.start..start + block.end;
                        tile_of_sum(cpu, sum, to, dw.reborrow().block(c, cols.clone()));
                    }
                    start = end;
                }
            }
        }
    }
}

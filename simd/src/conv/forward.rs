//! Outputs.

use rayon::prelude::*;

use super::Convolution;
use super::border::{bordered, room};
use super::correlate::{Correlate, Filter, Sites, panels_len};
use crate::pack::pack_all;
use crate::product::ALONE;
use crate::scratch::Scratch;
use crate::tile::width_at;
use crate::{Accumulate, Float, Level, Mat};

/// A convolution of `images` images (the correlation that networks call so): y ← Σ, or y ← y + Σ,
///
/// ```text
/// y[image, p, q, o] = Σ_dy Σ_dx Σ_c  x[image, s₀·p + dy − lo₀, s₁·q + dx − lo₁, c] · w[dy, dx, c, o]
/// ```
///
/// with the strides s, the cells lo before an image, and x continued as [`Border`](crate::Border) says. `x` is [images, height,
/// width, channels_in], `w` [filter height, filter width, channels_in, channels_out], `y` [images, height_out, width_out,
/// channels_out]. An image's output has the same bits at any number of threads, and whatever images are beside it.
///
/// ```
/// use simd::{Accumulate, Convolution, conv};
/// // Three taps over five cells with SAME padding and stride 2: 3 outputs, for which one zero is put on each side.
/// let sizes = Convolution::same([1, 5], 1, [1, 3], [1, 2], 1);
/// let (x, w, mut y) = ([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 10.0, 100.0], [f64::NAN; 3]);
/// conv(&sizes, 1, &x, &w, Accumulate::Set, &mut y);
/// // 1·0 + 10·1 + 100·2, 1·2 + 10·3 + 100·4, 1·4 + 10·5 + 100·0
/// assert_eq!(y, [210.0, 432.0, 54.0]);
/// ```
///
/// # Panics
/// If a length does not fit, or as [`Convolution::out`].
#[track_caller]
pub fn conv<T: Float>(conv: &Convolution, images: usize, x: &[T], w: &[T], to: Accumulate, y: &mut [T]) {
    conv_at(Level::best(), conv, images, x, w, to, y);
}

/// [`conv`] with the instructions of a given level.
///
/// # Panics
/// If a length does not fit, or as [`Convolution::out`].
#[track_caller]
pub fn conv_at<T: Float>(level: Level, conv: &Convolution, images: usize, x: &[T], w: &[T], to: Accumulate, y: &mut [T]) {
    conv.check();
    let (image, out) = (conv.image_len(), conv.out_len());
    let (wanted_x, wanted_y) = (image.checked_mul(images), out.checked_mul(images));
    conv.check_lengths(images, 1, [("x", x.len(), wanted_x), ("w", w.len(), Some(conv.weights_len())), ("y", y.len(), wanted_y)]);
    if y.is_empty() {
        return;
    }
    let rows = conv.filter[0] * conv.filter[1] * conv.channels_in;
    let mut panels = Scratch::take(panels_len(rows, conv.channels_out));
    let panels = pack_all(level, true, Mat::new(w, rows, conv.channels_out).t(), width_at::<T>(level), &mut panels);
    let filter = Filter { panels, rows: conv.filter[0], depth: conv.filter[1] * conv.channels_in };

    let work = images.saturating_mul(out).saturating_mul(rows);
    let threads = if work < ALONE { 1 } else { rayon::current_num_threads() };
    let one = |i: usize, y: &mut [T], threads: usize| {
        let mut border = Scratch::take(room(conv));
        let x = bordered(conv, &x[i * image..(i + 1) * image], &mut border);
        rows_of_sites(level, conv, x, filter, to, y, threads);
    };
    if threads == 1 || images < threads {
        y.chunks_exact_mut(out).enumerate().for_each(|(i, y)| one(i, y, threads));
    } else {
        y.par_chunks_exact_mut(out).enumerate().for_each(|(i, y)| one(i, y, 1));
    }
}

/// The outputs of one bordered image, whose rows are shared by some threads.
fn rows_of_sites<T: Float>(level: Level, conv: &Convolution, x: &[T], filter: Filter<T>, to: Accumulate, y: &mut [T], threads: usize) {
    let ([height, width], channels) = (conv.out(), conv.channels_out);
    let image_row = conv.bordered()[1] * conv.channels_in;
    let step = [conv.stride[0] * image_row, conv.stride[1] * conv.channels_in];
    let c_row = width * channels;
    let some = |p: usize, c: &mut [T]| {
        let sites = Sites { down: c.len() / c_row, across: width, step, c_step: [c_row, channels] };
        T::run_correlate(level, Correlate { image: &x[p * step[0]..], image_row, filter, to, c, sites, channels });
    };
    if threads == 1 {
        some(0, y);
    } else {
        let rows = height.div_ceil(2 * threads);
        y.par_chunks_mut(rows * c_row).enumerate().for_each(|(k, y)| some(k * rows, y));
    }
}

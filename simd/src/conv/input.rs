//! Gradients of inputs.

use std::ops::Range;

use rayon::prelude::*;

use super::border::{fold_around, surround};
use super::correlate::{Correlate, Filter, Sites, panels_len};
use super::{Border, Convolution};
use crate::pack::{Panels, pack_stack};
use crate::product::ALONE;
use crate::scratch::Scratch;
use crate::tile::width_at;
use crate::{Accumulate, Float, Level, Mat};

/// The gradient of Σ g·y by the input: x ← the adjoint of [`conv`](crate::conv()) at `g`, or added to it,
///
/// ```text
/// dx[i, j, c] = Σ g[p, q, o] · w[dy, dx, c, o]   over all p, q, dy, dx with s₀·p + dy − lo₀ = i, s₁·q + dx − lo₁ = j.
/// ```
///
/// `g` is [images, height_out, width_out, channels_out], `w` as in `conv`, `dx` [images, height, width, channels_in]. Lanes of
/// cotangents are images: an array [lanes, images, …] has lanes · images of them.
///
/// A filter of stride s is s₀·s₁ filters, one for each phase of the input's place, so nothing is multiplied by the zeros between
/// the sites.
///
/// ```
/// use simd::{Accumulate, Convolution, conv_input_gradient};
/// let sizes = Convolution::same([1, 5], 1, [1, 3], [1, 2], 1);
/// let (g, w, mut dx) = ([1.0, 2.0, 3.0], [1.0, 10.0, 100.0], [f64::NAN; 5]);
/// conv_input_gradient(&sizes, 1, &g, &w, Accumulate::Set, &mut dx);
/// assert_eq!(dx, [10.0, 100.0 + 2.0, 20.0, 200.0 + 3.0, 30.0]);
/// ```
///
/// # Panics
/// If a length does not fit, or as [`Convolution::out`].
#[track_caller]
pub fn conv_input_gradient<T: Float>(conv: &Convolution, images: usize, g: &[T], w: &[T], to: Accumulate, dx: &mut [T]) {
    conv_input_gradient_at(Level::best(), conv, images, g, w, to, dx);
}

/// [`conv_input_gradient`] with the instructions of a given level.
///
/// # Panics
/// If a length does not fit, or as [`Convolution::out`].
#[track_caller]
pub fn conv_input_gradient_at<T: Float>(level: Level, conv: &Convolution, images: usize, g: &[T], w: &[T], to: Accumulate, dx: &mut [T]) {
    conv.check();
    let (image, out) = (conv.image_len(), conv.out_len());
    let (wanted_g, wanted_x) = (out.checked_mul(images), image.checked_mul(images));
    conv.check_lengths(images, 1, [("g", g.len(), wanted_g), ("w", w.len(), Some(conv.weights_len())), ("dx", dx.len(), wanted_x)]);
    if dx.is_empty() {
        return;
    }
    if g.is_empty() {
        if to == Accumulate::Set {
            dx.fill(T::ZERO);
        }
        return;
    }
    let phases = Phases::new(level, conv);
    let mut panels = Scratch::take(panels_len(conv.filter[0] * conv.filter[1] * conv.channels_out, conv.channels_in));
    phases.pack(w, &mut panels);

    let work = images.saturating_mul(out).saturating_mul(conv.weights_len() / conv.channels_out);
    let threads = if work < ALONE { 1 } else { rayon::current_num_threads() };
    let one = |i: usize, dx: &mut [T], threads: usize| {
        let (sizes, at) = (phases.axes.map(|axis| axis.surrounded()), phases.axes.map(|axis| axis.taps(0) - 1));
        let mut border = Scratch::take(sizes[0] * sizes[1] * conv.channels_out);
        surround(&g[i * out..(i + 1) * out], conv.out(), conv.channels_out, Border::Zeros, at, sizes, &mut border);
        if conv.padding.border == Border::Zeros {
            let (rows, cols) = (conv.padding.rows[0], conv.padding.cols[0]);
            let window = [rows..rows + conv.image[0], cols..cols + conv.image[1]];
            return phases.shared([&border, &panels], window, to, dx, threads);
        }
        let outer = conv.bordered();
        let mut whole = Scratch::take(outer[0] * outer[1] * conv.channels_in);
        phases.shared([&border, &panels], outer.map(|n| 0..n), Accumulate::Set, &mut whole, threads);
        fold_around(conv, &mut whole, to, dx);
    };
    if threads == 1 || images < threads {
        dx.chunks_exact_mut(image).enumerate().for_each(|(i, dx)| one(i, dx, threads));
    } else {
        dx.par_chunks_exact_mut(image).enumerate().for_each(|(i, dx)| one(i, dx, 1));
    }
}

/// One axis: the bordered place s·u + r, of phase r, is reached by tap s·m + r from site u − m alone.
#[derive(Clone, Copy)]
struct Axis {
    bordered: usize,
    filter: usize,
    stride: usize,
}

impl Axis {
    /// The taps of a phase; phase 0 has the most.
    fn taps(self, phase: usize) -> usize {
        self.filter.saturating_sub(phase).div_ceil(self.stride)
    }

    /// The sites with as many before them as the most taps need, and with one for every u.
    fn surrounded(self) -> usize {
        self.bordered.div_ceil(self.stride) + self.taps(0) - 1
    }

    /// The places of a phase in a window: the first, counted from the window's, its u, and their number.
    fn places(self, phase: usize, window: &Range<usize>) -> (usize, usize, usize) {
        let first = (phase + self.stride - window.start % self.stride) % self.stride;
        (first, (window.start + first) / self.stride, window.len().saturating_sub(first).div_ceil(self.stride))
    }
}

/// A filter cut into its phases.
struct Phases<'a> {
    level: Level,
    conv: &'a Convolution,
    axes: [Axis; 2],
}

impl<'a> Phases<'a> {
    fn new(level: Level, conv: &'a Convolution) -> Self {
        let bordered = conv.bordered();
        let axis = |i: usize| Axis { bordered: bordered[i], filter: conv.filter[i], stride: conv.stride[i] };
        Phases { level, conv, axes: [axis(0), axis(1)] }
    }

    /// Each phase with the numbers of its taps down and across and the place of its panels.
    fn each(&self) -> impl Iterator<Item = ([usize; 2], [usize; 2], Range<usize>)> {
        let [down, across] = self.axes;
        let mut start = 0;
        let phases = (0..down.stride).flat_map(move |r| (0..across.stride).map(move |q| [r, q]));
        phases.map(move |phase| {
            let taps = [down.taps(phase[0]), across.taps(phase[1])];
            let panels = start..start + panels_len(taps[0] * taps[1] * self.conv.channels_out, self.conv.channels_in);
            start = panels.end;
            (phase, taps, panels)
        })
    }

    /// Writes the filter of each phase, turned around and with its channels exchanged, as panels.
    fn pack<T: Float>(&self, w: &[T], panels: &mut [T]) {
        let Convolution { channels_in: ci, channels_out: co, filter, stride, .. } = *self.conv;
        for (phase, taps, place) in self.each() {
            let piece = |k: usize| {
                let (m, n) = (taps[0] - 1 - k / taps[1], taps[1] - 1 - k % taps[1]);
                let tap = (m * stride[0] + phase[0]) * filter[1] + n * stride[1] + phase[1];
                Mat::new(&w[tap * ci * co..(tap + 1) * ci * co], ci, co)
            };
            pack_stack(self.level, taps[0] * taps[1], piece, width_at::<T>(self.level), &mut panels[place]);
        }
    }

    /// [`window`](Self::window), whose rows are shared by some threads.
    fn shared<T: Float>(&self, from: [&[T]; 2], [rows, cols]: [Range<usize>; 2], to: Accumulate, dx: &mut [T], threads: usize) {
        if threads == 1 {
            return self.window(from, [rows, cols], to, dx);
        }
        let some = rows.len().div_ceil(2 * threads);
        let row = cols.len() * self.conv.channels_in;
        dx.par_chunks_mut(some * row).enumerate().for_each(|(k, dx)| {
            let first = rows.start + k * some;
            self.window(from, [first..rows.end.min(first + some), cols.clone()], to, dx);
        });
    }

    /// The gradient at the bordered places of a window, from the surrounded sites `g` and the panels of the filter.
    fn window<T: Float>(&self, [g, panels]: [&[T]; 2], window: [Range<usize>; 2], to: Accumulate, dx: &mut [T]) {
        let Convolution { channels_in: ci, channels_out: co, stride, .. } = *self.conv;
        let (g_row, row) = (self.axes[1].surrounded() * co, window[1].len() * ci);
        let width = width_at::<T>(self.level);
        for (phase, taps, place) in self.each() {
            let [(i, u, rows), (j, v, cols)] = [0, 1].map(|axis| self.axes[axis].places(phase[axis], &window[axis]));
            if rows == 0 || cols == 0 {
                continue;
            }
            let c = &mut dx[i * row + j * ci..];
            let c_step = [stride[0] * row, stride[1] * ci];
            if taps[0] == 0 || taps[1] == 0 {
                // No site reaches these places.
                if to == Accumulate::Set {
                    for (p, q) in (0..rows).flat_map(|p| (0..cols).map(move |q| (p, q))) {
                        c[p * c_step[0] + q * c_step[1]..][..ci].fill(T::ZERO);
                    }
                }
                continue;
            }
            let first = (u + self.axes[0].taps(0) - taps[0]) * g_row + (v + self.axes[1].taps(0) - taps[1]) * co;
            let panels = Panels::new(&panels[place], width, taps[0] * taps[1] * co);
            let filter = Filter { panels, rows: taps[0], depth: taps[1] * co };
            let sites = Sites { down: rows, across: cols, step: [g_row, co], c_step };
            T::run_correlate(self.level, Correlate { image: &g[first..], image_row: g_row, filter, to, c, sites, channels: ci });
        }
    }
}

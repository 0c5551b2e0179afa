//! Convolutions of images whose channels lie side by side (NHWC), computed directly from a bordered copy of each image.
//!
//! With the strides s, the padding lo and x continued by zeros or around,
//!
//! ```text
//! y[p, q, o] = Σ_dy Σ_dx Σ_c  x[s₀·p + dy − lo₀, s₁·q + dx − lo₁, c] · w[dy, dx, c, o]
//! ```
//!
//! (the correlation that networks call convolution). In the bordered copy every index is there, and the taps of a filter row lie side
//! by side with their channels. So a row of sites is a sum of as many products as the filter has rows, whose left factors are
//! overlapping views of the copy, and nothing is written out:
//!
//! | | tile rows | tile columns | sum over |
//! |---|---|---|---|
//! | [`conv`] | sites of a row | channels out | taps and channels in |
//! | [`conv_input_gradient`] | sites of a phase of a row | channels in | taps of the phase and channels out |
//! | [`conv_weight_gradient`], [`conv_example_gradients`] | taps and channels in of a filter row | channels out | sites |
//!
//! An image's result is computed from this image alone, in an order that the sizes fix, so its bits depend neither on other images nor
//! on the threads.

mod border;
mod correlate;
mod forward;
mod input;
mod patches;
mod weights;

pub(crate) use correlate::Correlate;
pub use forward::{conv, conv_at};
pub use input::{conv_input_gradient, conv_input_gradient_at};
pub use patches::patches;
pub(crate) use weights::Weights;
pub use weights::{conv_example_gradients, conv_example_gradients_at, conv_weight_gradient, conv_weight_gradient_at};

use std::fmt;

/// What lies beyond the edge of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Border {
    /// Zeros.
    Zeros,
    /// The image again: indices count modulo its height and width.
    Circular,
}

/// The cells that are put around an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Rows above and below.
    pub rows: [usize; 2],
    /// Columns to the left and to the right.
    pub cols: [usize; 2],
    /// What they hold.
    pub border: Border,
}

impl Padding {
    /// No cells.
    pub const NONE: Padding = Padding { rows: [0; 2], cols: [0; 2], border: Border::Zeros };
}

/// The sizes of a convolution, each as [along the height, along the width] where there are two.
///
/// Arrays lie row after row without gaps: images x [n, height, width, channels_in], weights w [height, width, channels_in,
/// channels_out] of the filter, outputs y [n, height_out, width_out, channels_out] with the sizes of [`out`](Self::out).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Convolution {
    /// The sizes of an image.
    pub image: [usize; 2],
    /// Numbers in a cell of an image.
    pub channels_in: usize,
    /// The sizes of the filter, at least 1.
    pub filter: [usize; 2],
    /// How far the filter moves from one output to the next, at least 1.
    pub stride: [usize; 2],
    /// Numbers in a cell of an output.
    pub channels_out: usize,
    /// What is put around an image.
    pub padding: Padding,
}

impl Convolution {
    /// SAME: ⌈n/s⌉ outputs along an axis of n cells, for which max((⌈n/s⌉ − 1)·s + f − n, 0) zeros are shared by both sides, the
    /// odd one behind.
    ///
    /// # Panics
    /// If a stride is 0.
    #[track_caller]
    pub fn same(image: [usize; 2], channels_in: usize, filter: [usize; 2], stride: [usize; 2], channels_out: usize) -> Self {
        assert!(stride[0] > 0 && stride[1] > 0, "a convolution with the strides {stride:?}");
        let sides = |axis: usize| {
            let (n, f, s) = (image[axis], filter[axis], stride[axis]);
            let total = (n.div_ceil(s).saturating_sub(1) * s + f).saturating_sub(n);
            if n == 0 { [0, 0] } else { [total / 2, total - total / 2] }
        };
        let padding = Padding { rows: sides(0), cols: sides(1), border: Border::Zeros };
        Convolution { image, channels_in, filter, stride, channels_out, padding }
    }

    /// CIRCULAR: the sizes of [`same`](Self::same), with the image itself around it.
    ///
    /// # Panics
    /// If a stride is 0.
    #[track_caller]
    pub fn circular(image: [usize; 2], channels_in: usize, filter: [usize; 2], stride: [usize; 2], channels_out: usize) -> Self {
        let mut conv = Self::same(image, channels_in, filter, stride, channels_out);
        conv.padding.border = Border::Circular;
        conv
    }

    /// VALID: no cells around the image, so ⌊(n − f)/s⌋ + 1 outputs along an axis, none if the filter is larger than the image.
    pub fn valid(image: [usize; 2], channels_in: usize, filter: [usize; 2], stride: [usize; 2], channels_out: usize) -> Self {
        Convolution { image, channels_in, filter, stride, channels_out, padding: Padding::NONE }
    }

    /// The sizes of an output, [height, width]: ⌊(n + lo + hi − f)/s⌋ + 1, or 0 if the filter does not fit.
    ///
    /// # Panics
    /// If the filter or a stride is 0, or if an axis without cells is to be continued around.
    #[track_caller]
    pub fn out(&self) -> [usize; 2] {
        self.check();
        let bordered = self.bordered();
        [0, 1].map(|axis| bordered[axis].checked_sub(self.filter[axis]).map_or(0, |room| room / self.stride[axis] + 1))
    }

    /// Floating-point operations of one image, two for a multiply-add with each of its taps, those on the border included.
    ///
    /// # Panics
    /// As [`out`](Self::out).
    #[track_caller]
    pub fn flops(&self) -> u64 {
        2 * self.weights_len() as u64 * self.out().iter().product::<usize>() as u64
    }

    /// The numbers of an image.
    fn image_len(&self) -> usize {
        self.image[0] * self.image[1] * self.channels_in
    }

    /// The numbers of an output.
    #[track_caller]
    fn out_len(&self) -> usize {
        self.out().iter().product::<usize>() * self.channels_out
    }

    /// The numbers of a filter.
    fn weights_len(&self) -> usize {
        self.filter[0] * self.filter[1] * self.channels_in * self.channels_out
    }

    /// The sizes of an image with its border.
    fn bordered(&self) -> [usize; 2] {
        let Padding { rows, cols, .. } = self.padding;
        [self.image[0] + rows[0] + rows[1], self.image[1] + cols[0] + cols[1]]
    }

    #[track_caller]
    fn check(&self) {
        let positive = |sizes: [usize; 2]| sizes[0] > 0 && sizes[1] > 0;
        assert!(positive(self.filter) && positive(self.stride), "{self}: a filter and its strides are at least 1");
        let open = |n: usize, sides: [usize; 2]| n == 0 && sides != [0; 2] && self.padding.border == Border::Circular;
        let open = open(self.image[0], self.padding.rows) || open(self.image[1], self.padding.cols);
        assert!(!open, "{self}: nothing to continue around");
    }

    /// Refuses arrays of other lengths than these, each with its name.
    #[track_caller]
    fn check_lengths(&self, images: usize, lanes: usize, arrays: [(&str, usize, Option<usize>); 3]) {
        self.check();
        let fits = arrays.iter().all(|&(_, len, wanted)| Some(len) == wanted);
        if !fits {
            let [a, b, c] =
                arrays.map(|(name, len, wanted)| format!("{name} {len} of {}", wanted.map_or("too many".into(), |n| n.to_string())));
            panic!("{self} of {images} images and {lanes} lanes: the lengths are {a}, {b}, {c}");
        }
    }
}

impl fmt::Display for Convolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Convolution { image: [h, w], channels_in, filter: [kh, kw], stride, channels_out, padding } = self;
        write!(f, "a convolution of {h} × {w} × {channels_in} by {kh} × {kw} × {channels_in} × {channels_out} with strides {stride:?}")?;
        write!(
            f,
            " and {} padding {:?}, {:?}",
            if padding.border == Border::Zeros { "zero" } else { "circular" },
            padding.rows,
            padding.cols
        )
    }
}

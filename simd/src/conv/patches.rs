//! Patches written out.

use super::Border;
use super::Convolution;
use super::border::around;
use crate::Float;

/// What the filter sees at every site: `to` ← [images · height_out · width_out, filter height · filter width · channels_in].
///
/// Its product with the weights, as [filter height · filter width · channels_in, channels_out], is the convolution; this is the
/// reference that [`conv`](crate::conv()) is tested against, and of use where a matrix is wanted.
///
/// ```
/// let sizes = simd::Convolution::same([1, 3], 1, [1, 3], [1, 1], 1);
/// let mut to = [f64::NAN; 9];
/// simd::patches(&sizes, 1, &[1.0, 2.0, 3.0], &mut to);
/// assert_eq!(to, [0.0, 1.0, 2.0, 1.0, 2.0, 3.0, 2.0, 3.0, 0.0]);
/// ```
///
/// # Panics
/// If a length does not fit, or as [`Convolution::out`].
#[track_caller]
pub fn patches<T: Float>(conv: &Convolution, images: usize, x: &[T], to: &mut [T]) {
    conv.check();
    let ([height, width], c, image) = (conv.out(), conv.channels_in, conv.image_len());
    let patch = conv.filter[0] * conv.filter[1] * c;
    let wanted = height.checked_mul(width).and_then(|n| n.checked_mul(patch)?.checked_mul(images));
    conv.check_lengths(images, 1, [("x", x.len(), image.checked_mul(images)), ("w", 0, Some(0)), ("patches", to.len(), wanted)]);
    if to.is_empty() {
        return;
    }
    for (k, to) in to.chunks_exact_mut(patch).enumerate() {
        let (p, q) = (k / width % height, k % width);
        let x = &x[k / (width * height) * image..][..image];
        for (tap, to) in to.chunks_exact_mut(c).enumerate() {
            let (dy, dx) = (tap / conv.filter[1], tap % conv.filter[1]);
            let i = cell(conv, 0, p * conv.stride[0] + dy);
            let j = cell(conv, 1, q * conv.stride[1] + dx);
            match i.zip(j) {
                Some((i, j)) => to.copy_from_slice(&x[(i * conv.image[1] + j) * c..][..c]),
                None => to.fill(T::ZERO),
            }
        }
    }
}

/// The cell of the image at a bordered place along an axis, if there is one.
fn cell(conv: &Convolution, axis: usize, i: usize) -> Option<usize> {
    let (first, n) = ([conv.padding.rows[0], conv.padding.cols[0]][axis], conv.image[axis]);
    match conv.padding.border {
        Border::Zeros => i.checked_sub(first).filter(|&i| i < n),
        Border::Circular => Some(around(i, first, n)),
    }
}

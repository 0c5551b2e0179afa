//! Linear layers of images: means and sums over windows.

use super::super::stage::Affine;
use nn::{Conv, Padding, Pool, PoolKind};
use simd::{Border, Convolution};

/// A layer that is linear in the kernel of an image with another one, `K[p, q]` for all pairs of places.
///
/// `A(K)[p, q] = a Σ_f K[s∘p + f − lo, s∘q + f − lo]` where the windows are tied, so that both places see the same cell, as weights do;
/// for a pool `a Σ_f Σ_g K[s∘p + f − lo, s∘q + g − lo]`. Cells beyond the edge are zeros. What has weights maps that on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Linear {
    windows: Convolution,
    /// Height and width of what it gives.
    out: [usize; 2],
    pub(super) tied: bool,
    /// a.
    pub(super) scale: f64,
    pub(super) affine: Option<Affine>,
}

impl Linear {
    pub(crate) fn conv(image: [usize; 2], conv: &Conv, affine: Affine) -> Self {
        let windows = windows(image, conv.filter, conv.stride, conv.padding);
        Linear { windows, out: windows.out(), tied: true, scale: 1.0 / cells(conv.filter), affine: Some(affine) }
    }

    /// A window of one cell, that of features.
    pub(crate) fn dense(affine: Affine) -> Self {
        let windows = Convolution::valid([1, 1], 1, [1, 1], [1, 1], 1);
        Linear { windows, out: [1, 1], tied: true, scale: 1.0, affine: Some(affine) }
    }

    /// The mean over all p of `K[p, p]`.
    pub(crate) fn flatten(image: [usize; 2]) -> Self {
        let windows = Convolution::valid(image, 1, image, [1, 1], 1);
        Linear { windows, out: [1, 1], tied: true, scale: 1.0 / cells(image), affine: None }
    }

    pub(crate) fn pool(image: [usize; 2], pool: &Pool) -> Self {
        let windows = windows(image, pool.window, pool.stride, pool.padding);
        let scale = match pool.kind {
            PoolKind::Average => cells(pool.window).powi(-2),
            PoolKind::Sum => 1.0,
            PoolKind::Max => panic!("a max pool is refused before"),
        };
        Linear { windows, out: windows.out(), tied: false, scale, affine: None }
    }

    /// The mean over all p and q.
    pub(crate) fn global(image: [usize; 2]) -> Self {
        let windows = Convolution::valid(image, 1, image, [1, 1], 1);
        Linear { windows, out: [1, 1], tied: false, scale: cells(image).powi(-2), affine: None }
    }

    /// Height and width of what it reads.
    pub(super) fn image(&self) -> [usize; 2] {
        self.windows.image
    }

    /// Height and width of what it gives.
    pub(crate) fn out(&self) -> [usize; 2] {
        self.out
    }

    /// Cells of a window along an axis, those beyond the edge included.
    pub(super) fn window(&self, axis: usize) -> usize {
        self.windows.filter[axis]
    }

    /// The cell that the window `place` sees at `tap`, along an axis.
    pub(super) fn cell(&self, axis: usize, place: usize, tap: usize) -> Option<usize> {
        let Convolution { image, stride, padding, .. } = &self.windows;
        let (n, lo) = (image[axis], if axis == 0 { padding.rows[0] } else { padding.cols[0] });
        let at = place * stride[axis] + tap;
        match padding.border {
            Border::Zeros => at.checked_sub(lo).filter(|&at| at < n),
            // Moved up by whole images, so that it is not negative.
            Border::Circular => Some((at + lo.div_ceil(n) * n - lo) % n),
        }
    }

    /// Whether images are closed to rings.
    pub(super) fn is_circular(&self) -> bool {
        self.windows.padding.border == Border::Circular
    }

    /// Whether it makes features of an image and nothing else.
    pub(crate) fn flattens(&self) -> bool {
        self.tied && self.affine.is_none()
    }

    /// Its weights, if it is a dense layer of features.
    pub(crate) fn as_dense(&self) -> Option<&Affine> {
        let one_cell = self.windows.image == [1, 1] && self.windows.filter == [1, 1] && self.out() == [1, 1];
        self.affine.as_ref().filter(|_| one_cell)
    }
}

fn cells(window: [usize; 2]) -> f64 {
    (window[0] * window[1]) as f64
}

fn windows(image: [usize; 2], size: [usize; 2], stride: [usize; 2], padding: Padding) -> Convolution {
    match padding {
        Padding::Same => Convolution::same(image, 1, size, stride, 1),
        Padding::Valid => Convolution::valid(image, 1, size, stride, 1),
        Padding::Circular => Convolution::circular(image, 1, size, stride, 1),
        Padding::Cells([rows, cols]) => {
            let padding = simd::Padding { rows: [rows; 2], cols: [cols; 2], border: Border::Zeros };
            Convolution { padding, ..Convolution::valid(image, 1, size, stride, 1) }
        }
    }
}

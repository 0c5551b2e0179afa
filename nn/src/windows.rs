//! Windows of convolutions and pools: where they lie, and what lies beyond the edge.

use autodiff::Windows;

/// What lies beyond the edge of an image, and with it how many windows there are along an axis of `n` cells, with windows of `f` cells at a
/// distance of `s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Padding {
    /// Zeros, so many that there are `⌈n/s⌉` windows: `t = max((⌈n/s⌉ − 1)·s + f − n, 0)`, of which `⌊t/2⌋` lie before the image.
    #[default]
    Same,
    /// Nothing: `⌊(n − f)/s⌋ + 1` windows, all inside the image.
    Valid,
    /// The image itself, around which it is closed to a ring: the windows of [`Same`](Padding::Same).
    Circular,
    /// That many zeros on either side along the [height, width].
    Cells([usize; 2]),
}

impl Padding {
    /// The windows of a size at a distance on images of the given height and width; sizes and distances are positive and below 2³².
    pub(crate) fn windows(self, image: [usize; 2], channels: usize, size: [usize; 2], stride: [usize; 2]) -> Windows {
        match self {
            Padding::Same => Windows::same(image, channels, size, stride),
            Padding::Valid => Windows::valid(image, channels, size, stride),
            Padding::Circular => Windows::circular(image, channels, size, stride),
            Padding::Cells([rows, cols]) => {
                let zeros = autodiff::Padding { rows: [rows; 2], cols: [cols; 2], border: autodiff::Border::Zeros };
                Windows::padded(image, channels, size, stride, zeros)
            }
        }
    }
}

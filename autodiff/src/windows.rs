//! Windows that move over images.

use simd::{Border, Convolution, Padding};

/// Windows that move over images `[n, height, width, channels]`, with what lies beyond the edge. Pairs are [along the height, along the
/// width].
///
/// Window `(p, q)` has its cell `(dy, dx)` at the place `(s₀·p + dy − lo₀, s₁·q + dx − lo₁)` of the image, with the strides `s` and `lo`
/// cells of padding before the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Windows {
    // Half as wide as sizes are elsewhere, since every node of a tape has room for them.
    image: [u32; 2],
    channels: u32,
    window: [u32; 2],
    stride: [u32; 2],
    /// Cells of padding before the image and behind it.
    before: [u32; 2],
    behind: [u32; 2],
    border: Border,
}

impl Windows {
    /// SAME: `⌈n/s⌉` windows along an axis of `n` cells; `max((⌈n/s⌉ − 1)·s + f − n, 0)` zeros are shared by both sides, the odd one behind.
    ///
    /// # Panics
    /// If a stride is 0.
    #[track_caller]
    pub fn same(image: [usize; 2], channels: usize, window: [usize; 2], stride: [usize; 2]) -> Self {
        Windows::of(Convolution::same(image, channels, window, stride, 1))
    }

    /// VALID: no cells beyond the edge, `⌊(n − f)/s⌋ + 1` windows along an axis, none if the window is larger than the image.
    #[track_caller]
    pub fn valid(image: [usize; 2], channels: usize, window: [usize; 2], stride: [usize; 2]) -> Self {
        Windows::of(Convolution::valid(image, channels, window, stride, 1))
    }

    /// CIRCULAR: the windows of [`same`](Self::same), with the image itself around it.
    ///
    /// # Panics
    /// If a stride is 0.
    #[track_caller]
    pub fn circular(image: [usize; 2], channels: usize, window: [usize; 2], stride: [usize; 2]) -> Self {
        Windows::of(Convolution::circular(image, channels, window, stride, 1))
    }

    /// With the given cells around the image.
    #[track_caller]
    pub fn padded(image: [usize; 2], channels: usize, window: [usize; 2], stride: [usize; 2], padding: Padding) -> Self {
        Windows::of(Convolution { padding, ..Convolution::valid(image, channels, window, stride, 1) })
    }

    /// The windows that a filter of these sizes sees.
    #[track_caller]
    fn of(c: Convolution) -> Self {
        let narrow = |n: usize| u32::try_from(n).unwrap_or_else(|_| panic!("{n} cells along an axis are more than 2³²"));
        let Padding { rows, cols, border } = c.padding;
        Windows {
            image: c.image.map(narrow),
            channels: narrow(c.channels_in),
            window: c.filter.map(narrow),
            stride: c.stride.map(narrow),
            before: [rows[0], cols[0]].map(narrow),
            behind: [rows[1], cols[1]].map(narrow),
            border,
        }
    }

    /// The sizes of the convolution with these windows and a number of channels of its result.
    pub(crate) fn convolution(&self, channels_out: usize) -> Convolution {
        let wide = |n: u32| n as usize;
        let [rows, cols] = [0, 1].map(|axis| [self.before[axis], self.behind[axis]].map(wide));
        Convolution {
            image: self.image(),
            channels_in: self.channels(),
            filter: self.window.map(wide),
            stride: self.stride.map(wide),
            channels_out,
            padding: Padding { rows, cols, border: self.border },
        }
    }

    /// The sizes of the image.
    pub fn image(&self) -> [usize; 2] {
        self.image.map(|n| n as usize)
    }

    /// Numbers in a cell.
    pub fn channels(&self) -> usize {
        self.channels as usize
    }

    /// The number of windows along either axis.
    ///
    /// # Panics
    /// If the window or a stride is 0, or if an axis without cells is to be continued around.
    #[track_caller]
    pub fn out(&self) -> [usize; 2] {
        self.convolution(1).out()
    }

    /// Cells in a window, those beyond the edge included.
    pub fn cells(&self) -> usize {
        self.window[0] as usize * self.window[1] as usize
    }

    /// Numbers in an image.
    pub(crate) fn image_len(&self) -> usize {
        self.image().iter().product::<usize>() * self.channels()
    }

    /// Windows in an image.
    pub(crate) fn sites(&self) -> usize {
        let [height, width] = self.out();
        height * width
    }

    /// Numbers that the windows of an image see.
    pub(crate) fn patches_len(&self) -> usize {
        self.sites() * self.cells() * self.channels()
    }

    /// The cell of the image at tap `tap` of window `site`, if it is not beyond the edge.
    pub(crate) fn cell(&self, site: usize, tap: usize) -> Option<usize> {
        let (width, across) = (self.out()[1], self.window[1] as usize);
        let row = self.along(0, site / width, tap / across)?;
        let col = self.along(1, site % width, tap % across)?;
        Some(row * self.image()[1] + col)
    }

    fn along(&self, axis: usize, site: usize, tap: usize) -> Option<usize> {
        let (lo, n) = (self.before[axis] as usize, self.image()[axis]);
        let place = site * self.stride[axis] as usize + tap;
        match self.border {
            Border::Zeros => place.checked_sub(lo).filter(|&i| i < n),
            // The place moved up by whole images, so that it is not negative.
            Border::Circular => Some((place + lo.div_ceil(n) * n - lo) % n),
        }
    }

    /// Calls `f` with every window, tap and cell that there is, window after window and tap after tap.
    pub(crate) fn each(&self, mut f: impl FnMut(usize, usize, usize)) {
        let ([height, width], [down, across]) = (self.out(), self.window.map(|n| n as usize));
        for p in 0..height {
            for q in 0..width {
                for dy in 0..down {
                    let Some(row) = self.along(0, p, dy) else { continue };
                    for dx in 0..across {
                        if let Some(col) = self.along(1, q, dx) {
                            f(p * width + q, dy * across + dx, row * self.image()[1] + col);
                        }
                    }
                }
            }
        }
    }
}

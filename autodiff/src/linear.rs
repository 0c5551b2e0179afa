//! The closed set of linear maps that derivatives are made of.

use crate::factors::{Fan, Features, Stack, Take, each};
use crate::shape::Axis;
use crate::windows::Windows;
use simd::{Mat, Phi};

/// The derivative of one operation with respect to one input: a linear map that knows its transpose and its sizes.
///
/// It acts on vectors of `inputs()` entries and gives `outputs()` entries; [`apply`](Linear::apply) takes any number of
/// them at once, stacked as lanes. Kinds that are each other's transpose share their fields.
#[derive(Clone, Copy, Debug)]
pub enum Linear<'t, T: Copy> {
    /// `dy = a·dx`.
    Scale {
        /// The factor.
        a: T,
        /// Number of entries.
        len: usize,
    },
    /// `dy = a·(u/v) ∘ dx`, where a factor that is missing is 1.
    Diag {
        /// The common factor.
        a: T,
        /// The factors `u`.
        times: Option<&'t [T]>,
        /// The divisors `v`.
        over: Option<&'t [T]>,
        /// Number of entries.
        len: usize,
    },
    /// `dy = φ'(x) ∘ dx`, with `y = φ(x)` given.
    Slope {
        /// The function.
        phi: Phi,
        /// Where it was taken.
        x: &'t [T],
        /// What it gave.
        y: &'t [T],
    },
    /// `dY_b = a·dX_b·W_b` for each of `batches` products, with `dX` of shape `[rows, n_in]` and `W` of shape `[n_in, n_out]`.
    Right {
        /// The other factor of the product.
        w: Stack<'t, T>,
        /// The scale of the product.
        a: T,
        /// Rows of `dX`, or the number of images of which the windows are its rows.
        rows: usize,
        /// Number of products.
        batches: usize,
        /// Which `dX` a product takes, and where it leaves its `dY`.
        fan: Fan,
    },
    /// `dY_b = a·X_b·dW_b` for each of `batches` products, with `X` of shape `[rows, n_in]` and `dW` of shape `[n_in, cols]`.
    Left {
        /// The other factor of the product.
        x: Features<'t, T>,
        /// The scale of the product.
        a: T,
        /// Columns of `dW`.
        cols: usize,
        /// Number of products.
        batches: usize,
    },
    /// `dY = dXᵀ` for each of `batches` matrices, with `dX` of shape `[rows, cols]`.
    Transpose {
        /// Number of matrices.
        batches: usize,
        /// Rows of `dX`.
        rows: usize,
        /// Columns of `dX`.
        cols: usize,
    },
    /// `dy[o, i] = a·Σ_k dx[o, k, i]`.
    Sum {
        /// The axis, along which `dx` extends.
        axis: Axis,
        /// The scale of the sum.
        a: T,
    },
    /// `dy[o, k, i] = a·dx[o, i]`.
    Broadcast {
        /// The axis, along which `dy` extends.
        axis: Axis,
        /// The scale of the copies.
        a: T,
    },
    /// `dy_r = Σ_c W_rc·dX_rc`.
    RowDot {
        /// The other factor.
        w: Mat<'t, T>,
    },
    /// `dY_rc = W_rc·dx_r`.
    RowSpread {
        /// The factor of each row.
        w: Mat<'t, T>,
    },
    /// `dy[o, k, i] = dx[o, take(k), i]`.
    Index {
        /// The axis, along which `dx` extends.
        axis: Axis,
        /// The places that are taken.
        take: Take<'t, T>,
    },
    /// `dy[o, take(k), i] += dx[o, k, i]`, zero where nothing goes.
    Scatter {
        /// The axis, along which `dy` extends.
        axis: Axis,
        /// The places that are given to.
        take: Take<'t, T>,
    },
    /// `dy[p, c] = a·Σ dx[cell, c]` over the cells of window `p`, or over the one that was picked in it.
    Pool {
        /// The windows.
        windows: Windows,
        /// Number of images.
        images: usize,
        /// The scale of the sum.
        a: T,
        /// For every window and channel the place in the window that was picked, if one was.
        picks: Option<&'t [T]>,
    },
    /// `dy[cell, c] = a·Σ dx[p, c]` over the windows `p` that the cell is in, or that picked it.
    Unpool {
        /// The windows.
        windows: Windows,
        /// Number of images.
        images: usize,
        /// The scale of the sum.
        a: T,
        /// For every window and channel the place in the window that was picked, if one was.
        picks: Option<&'t [T]>,
    },
    /// `dy[p, tap, c] = dx[cell, c]` with the cell at the tap of window `p`, or zero beyond the edge.
    Patches {
        /// The windows.
        windows: Windows,
        /// Number of images.
        images: usize,
    },
    /// `dy[cell, c] = Σ dx[p, tap, c]` over windows and taps that see the cell.
    Unpatches {
        /// The windows.
        windows: Windows,
        /// Number of images.
        images: usize,
    },
}

impl<'t, T: Copy> Linear<'t, T> {
    /// `dY = a·dX·W` of one product.
    pub fn right(w: Mat<'t, T>, a: T, rows: usize) -> Self {
        Linear::Right { w: Stack::one(w), a, rows, batches: 1, fan: Fan::Each }
    }

    /// `dY = a·X·dW` of one product.
    pub fn left(x: Mat<'t, T>, a: T, cols: usize) -> Self {
        Linear::Left { x: Features::Stack(Stack::one(x)), a, cols, batches: 1 }
    }

    /// The transposed map. Transposing twice gives the map itself.
    #[must_use]
    pub fn transpose(self) -> Self {
        match self {
            Linear::Scale { .. } | Linear::Diag { .. } | Linear::Slope { .. } => self,
            Linear::Right { w, a, rows, batches, fan } => {
                let fan = match fan {
                    Fan::Each => Fan::Each,
                    Fan::Out => Fan::In,
                    Fan::In => Fan::Out,
                    Fan::See(windows) => Fan::Seen(windows),
                    Fan::Seen(windows) => Fan::See(windows),
                };
                Linear::Right { w: w.t(), a, rows, batches, fan }
            }
            Linear::Left { x, a, cols, batches } => Linear::Left { x: x.t(), a, cols, batches },
            Linear::Transpose { batches, rows, cols } => Linear::Transpose { batches, rows: cols, cols: rows },
            Linear::Sum { axis, a } => Linear::Broadcast { axis, a },
            Linear::Broadcast { axis, a } => Linear::Sum { axis, a },
            Linear::RowDot { w } => Linear::RowSpread { w },
            Linear::RowSpread { w } => Linear::RowDot { w },
            Linear::Index { axis, take } => Linear::Scatter { axis, take },
            Linear::Scatter { axis, take } => Linear::Index { axis, take },
            Linear::Pool { windows, images, a, picks } => Linear::Unpool { windows, images, a, picks },
            Linear::Unpool { windows, images, a, picks } => Linear::Pool { windows, images, a, picks },
            Linear::Patches { windows, images } => Linear::Unpatches { windows, images },
            Linear::Unpatches { windows, images } => Linear::Patches { windows, images },
        }
    }

    /// Entries of a vector that the map takes.
    pub fn inputs(&self) -> usize {
        self.sizes().0
    }

    /// Entries of a vector that the map gives.
    pub fn outputs(&self) -> usize {
        self.sizes().1
    }

    /// Entries of a vector that the map takes, and of one that it gives.
    fn sizes(&self) -> (usize, usize) {
        match *self {
            Linear::Scale { len, .. } | Linear::Diag { len, .. } => (len, len),
            Linear::Slope { x, .. } => (x.len(), x.len()),
            Linear::Right { w, rows, batches, fan, .. } => {
                let (n, m) = (rows * w.rows(), rows * w.cols());
                match fan {
                    Fan::Each => (batches * n, batches * m),
                    Fan::Out => (n, batches * m),
                    Fan::In => (batches * n, m),
                    Fan::See(windows) => (rows * windows.image_len(), m * windows.sites()),
                    Fan::Seen(windows) => (n * windows.sites(), rows * windows.image_len()),
                }
            }
            Linear::Left { x, cols, batches, .. } => (batches * x.cols() * cols, batches * x.rows() * cols),
            Linear::Transpose { batches, rows, cols } => (batches * rows * cols, batches * rows * cols),
            Linear::Sum { axis, .. } => (axis.len(), axis.outer * axis.inner),
            Linear::Broadcast { axis, .. } => (axis.outer * axis.inner, axis.len()),
            Linear::RowDot { w } => (w.rows() * w.cols(), w.rows()),
            Linear::RowSpread { w } => (w.rows(), w.rows() * w.cols()),
            Linear::Index { axis, take } => (axis.len(), axis.outer * take.len() * axis.inner),
            Linear::Scatter { axis, take } => (axis.outer * take.len() * axis.inner, axis.len()),
            Linear::Pool { windows, images, .. } => (images * windows.image_len(), images * windows.sites() * windows.channels()),
            Linear::Unpool { windows, images, .. } => (images * windows.sites() * windows.channels(), images * windows.image_len()),
            Linear::Patches { windows, images } => (images * windows.image_len(), images * windows.patches_len()),
            Linear::Unpatches { windows, images } => (images * windows.patches_len(), images * windows.image_len()),
        }
    }

    /// The part of the map that reaches example `i` of `n`, where the outputs' outermost axis is the examples and the inputs
    /// have none: what that example alone sees of what all share.
    ///
    /// # Panics
    /// If the map cannot lead from what examples share to examples.
    #[must_use]
    #[track_caller]
    pub fn example(self, i: usize, n: usize) -> Self {
        let of = |extent: usize| each(extent, n);
        match self {
            Linear::Left { x, a, cols, batches: 1 } => Linear::Left { x: x.example(i, n), a, cols, batches: 1 },
            Linear::Right { w, a, rows, batches, fan: Fan::Out } => {
                let some = of(batches);
                Linear::Right { w: w.some(i * some..(i + 1) * some), a, rows, batches: some, fan: Fan::Out }
            }
            Linear::Broadcast { axis, a } if axis.outer == 1 => Linear::Broadcast { axis: Axis { n: of(axis.n), ..axis }, a },
            Linear::Index { axis, take: Take::List(list) } if axis.outer == 1 => {
                let some = of(list.len());
                Linear::Index { axis, take: Take::List(&list[i * some..(i + 1) * some]) }
            }
            Linear::Scale { .. }
            | Linear::Diag { .. }
            | Linear::Slope { .. }
            | Linear::Right { .. }
            | Linear::Left { .. }
            | Linear::Transpose { .. }
            | Linear::Sum { .. }
            | Linear::Broadcast { .. }
            | Linear::RowDot { .. }
            | Linear::RowSpread { .. }
            | Linear::Index { .. }
            | Linear::Scatter { .. }
            | Linear::Pool { .. }
            | Linear::Unpool { .. }
            | Linear::Patches { .. }
            | Linear::Unpatches { .. } => {
                panic!("{} does not lead from shared entries to examples", self.name())
            }
        }
    }

    /// Floating-point operations of one application to one lane; a multiplication and an addition count as two.
    pub fn flops(&self) -> u64 {
        let entries = match *self {
            Linear::Right { w, rows, batches, fan, .. } => {
                let sites = if let Fan::See(windows) | Fan::Seen(windows) = fan { windows.sites() } else { 1 };
                batches * rows * sites * w.rows() * w.cols()
            }
            Linear::Left { x, cols, batches, .. } => batches * x.rows() * x.cols() * cols,
            // Numbers only change their place.
            Linear::Transpose { .. }
            | Linear::Index { .. }
            | Linear::Patches { .. }
            | Linear::Pool { picks: Some(_), .. }
            | Linear::Unpool { picks: Some(_), .. } => 0,
            Linear::Scatter { take: Take::Range { .. }, .. } => 0,
            Linear::Pool { windows, images, picks: None, .. } | Linear::Unpool { windows, images, picks: None, .. } => {
                images * windows.sites() * windows.cells() * windows.channels()
            }
            Linear::Scale { .. }
            | Linear::Diag { .. }
            | Linear::Slope { .. }
            | Linear::Sum { .. }
            | Linear::Broadcast { .. }
            | Linear::RowDot { .. }
            | Linear::RowSpread { .. }
            | Linear::Scatter { .. }
            | Linear::Unpatches { .. } => self.inputs().max(self.outputs()),
        };
        2 * entries as u64
    }

    /// The name of the kind.
    pub fn name(&self) -> &'static str {
        match self {
            Linear::Scale { .. } => "Scale",
            Linear::Diag { .. } => "Diag",
            Linear::Slope { .. } => "Slope",
            Linear::Right { .. } => "Right",
            Linear::Left { .. } => "Left",
            Linear::Transpose { .. } => "Transpose",
            Linear::Sum { .. } => "Sum",
            Linear::Broadcast { .. } => "Broadcast",
            Linear::RowDot { .. } => "RowDot",
            Linear::RowSpread { .. } => "RowSpread",
            Linear::Index { .. } => "Index",
            Linear::Scatter { .. } => "Scatter",
            Linear::Pool { .. } => "Pool",
            Linear::Unpool { .. } => "Unpool",
            Linear::Patches { .. } => "Patches",
            Linear::Unpatches { .. } => "Unpatches",
        }
    }
}

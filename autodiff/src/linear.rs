//! The closed set of linear maps that derivatives are made of.

use crate::scalar::Scalar;
use simd::{Accumulate, Mat, MatMut, Phi};

/// The derivative of one operation with respect to one input: a linear map that knows its transpose and its sizes.
///
/// It acts on vectors of `inputs()` entries and gives `outputs()` entries; [`apply`](Linear::apply) takes any number of
/// them at once, stacked as lanes.
#[derive(Clone, Copy, Debug)]
pub enum Linear<'t, T: Copy> {
    /// `dy = a·dx`.
    Scale {
        /// The factor.
        a: T,
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
    /// `dY = a·dX·W`, with `dX` of shape `[rows, n_in]` and `W` of shape `[n_in, n_out]`.
    Right {
        /// The other factor of the product.
        w: Mat<'t, T>,
        /// The scale of the product.
        a: T,
        /// Rows of `dX`.
        rows: usize,
    },
    /// `dY = a·X·dW`, with `X` of shape `[rows, n_in]` and `dW` of shape `[n_in, cols]`.
    Left {
        /// The other factor of the product.
        x: Mat<'t, T>,
        /// The scale of the product.
        a: T,
        /// Columns of `dW`.
        cols: usize,
    },
    /// `dY = dXᵀ`, with `dX` of shape `[rows, cols]`.
    Transpose {
        /// Rows of `dX`.
        rows: usize,
        /// Columns of `dX`.
        cols: usize,
    },
    /// `dy_c = a·Σ_r dX_rc`.
    Sum {
        /// Rows of `dX`.
        rows: usize,
        /// Columns of `dX`.
        cols: usize,
        /// The scale of the sum.
        a: T,
    },
    /// `dY_rc = a·dx_c`.
    Broadcast {
        /// Rows of `dY`.
        rows: usize,
        /// Columns of `dY`.
        cols: usize,
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
}

fn lane<T>(values: &[T], len: usize, k: usize) -> &[T] {
    &values[k * len..(k + 1) * len]
}

fn lane_mut<T>(values: &mut [T], len: usize, k: usize) -> &mut [T] {
    &mut values[k * len..(k + 1) * len]
}

/// `y = v` or `y += v`, entry by entry.
fn put<T: Scalar>(to: Accumulate, y: &mut [T], values: impl Iterator<Item = T>) {
    match to {
        Accumulate::Set => y.iter_mut().zip(values).for_each(|(y, v)| *y = v),
        Accumulate::Add => y.iter_mut().zip(values).for_each(|(y, v)| *y += v),
    }
}

/// `c (+)= s·a·b`. The product itself always has factor 1, because only then do its bits survive being cut among threads. Where `a` has fewer
/// columns than `c`, it is smaller and is scaled instead; that choice does not depend on the number of rows.
fn scaled_product<T: Scalar>(s: T, a: Mat<'_, T>, b: Mat<'_, T>, to: Accumulate, c: &mut [T], scratch: &mut Vec<T>) {
    let (m, k, n) = (a.rows(), a.cols(), b.cols());
    if s == T::ONE {
        T::product(a, b, to, MatMut::new(c, m, n));
        return;
    }
    if scratch.len() < m * k.min(n) {
        scratch.resize(m * k.min(n), T::ZERO);
    }
    if k < n {
        let scaled = &mut scratch[..m * k];
        for i in 0..m {
            let row = &mut scaled[i * k..(i + 1) * k];
            row.iter_mut().enumerate().for_each(|(j, x)| *x = s * a.at(i, j));
        }
        T::product(Mat::new(scaled, m, k), b, to, MatMut::new(c, m, n));
        return;
    }
    match to {
        Accumulate::Set => {
            T::product(a, b, Accumulate::Set, MatMut::new(c, m, n));
            c.iter_mut().for_each(|c| *c = s * *c);
        }
        Accumulate::Add => {
            let product = &mut scratch[..m * n];
            T::product(a, b, Accumulate::Set, MatMut::new(product, m, n));
            put(Accumulate::Add, c, product.iter().map(|&p| s * p));
        }
    }
}

impl<'t, T: Scalar> Linear<'t, T> {
    /// The transposed map. Transposing twice gives the map itself.
    #[must_use]
    pub fn transpose(self) -> Self {
        match self {
            Linear::Scale { .. } | Linear::Slope { .. } => self,
            Linear::Right { w, a, rows } => Linear::Right { w: w.t(), a, rows },
            Linear::Left { x, a, cols } => Linear::Left { x: x.t(), a, cols },
            Linear::Transpose { rows, cols } => Linear::Transpose { rows: cols, cols: rows },
            Linear::Sum { rows, cols, a } => Linear::Broadcast { rows, cols, a },
            Linear::Broadcast { rows, cols, a } => Linear::Sum { rows, cols, a },
            Linear::RowDot { w } => Linear::RowSpread { w },
            Linear::RowSpread { w } => Linear::RowDot { w },
        }
    }

    /// Entries of a vector that the map takes.
    pub fn inputs(&self) -> usize {
        match *self {
            Linear::Scale { len, .. } => len,
            Linear::Slope { x, .. } => x.len(),
            Linear::Right { w, rows, .. } => rows * w.rows(),
            Linear::Left { x, cols, .. } => x.cols() * cols,
            Linear::Transpose { rows, cols } | Linear::Sum { rows, cols, .. } => rows * cols,
            Linear::Broadcast { cols, .. } => cols,
            Linear::RowDot { w } => w.rows() * w.cols(),
            Linear::RowSpread { w } => w.rows(),
        }
    }

    /// Entries of a vector that the map gives.
    pub fn outputs(&self) -> usize {
        self.transpose().inputs()
    }

    /// `dy = L·dx` or `dy += L·dx` for each of `lanes` vectors stacked one after the other.
    ///
    /// `scratch` is memory for scaled products that are added to something; it grows as needed and can be shared by all calls.
    ///
    /// # Panics
    /// If the lengths are not `lanes · inputs()` and `lanes · outputs()`.
    #[track_caller]
    pub fn apply(&self, lanes: usize, dx: &[T], to: Accumulate, dy: &mut [T], scratch: &mut Vec<T>) {
        let (n, m) = (self.inputs(), self.outputs());
        assert_eq!(dx.len(), lanes * n, "{lanes} lanes of {n} entries are needed, {} were given", dx.len());
        assert_eq!(dy.len(), lanes * m, "{lanes} lanes of {m} entries result, room for {} was given", dy.len());
        // The rows of all lanes go through one product.
        if let Linear::Right { w, a, rows } = *self {
            let dx = Mat::new(dx, lanes * rows, w.rows());
            scaled_product(a, dx, w, to, dy, scratch);
            return;
        }
        for k in 0..lanes {
            self.apply_one(lane(dx, n, k), to, lane_mut(dy, m, k), scratch);
        }
    }

    fn apply_one(&self, dx: &[T], to: Accumulate, dy: &mut [T], scratch: &mut Vec<T>) {
        match *self {
            Linear::Scale { a, .. } if a == T::ONE => put(to, dy, dx.iter().copied()),
            Linear::Scale { a, .. } => put(to, dy, dx.iter().map(|&d| a * d)),
            Linear::Slope { phi, x, y } => T::slope(phi, x, y, dx, to, dy),
            Linear::Right { w, a, rows } => scaled_product(a, Mat::new(dx, rows, w.rows()), w, to, dy, scratch),
            Linear::Left { x, a, cols } => scaled_product(a, x, Mat::new(dx, x.cols(), cols), to, dy, scratch),
            Linear::Transpose { rows, cols } => {
                put(to, dy, (0..cols).flat_map(|j| (0..rows).map(move |i| dx[i * cols + j])));
            }
            Linear::Sum { rows, cols, a } => {
                if to == Accumulate::Set {
                    dy.fill(T::ZERO);
                }
                for i in 0..rows {
                    put(Accumulate::Add, dy, dx[i * cols..(i + 1) * cols].iter().map(|&d| a * d));
                }
            }
            Linear::Broadcast { rows, cols, a } => {
                for i in 0..rows {
                    put(to, &mut dy[i * cols..(i + 1) * cols], dx.iter().map(|&d| a * d));
                }
            }
            Linear::RowDot { w } => {
                let n = w.cols();
                let dot = |i: usize| (0..n).fold(T::ZERO, |sum, j| sum + w.at(i, j) * dx[i * n + j]);
                put(to, dy, (0..w.rows()).map(dot));
            }
            Linear::RowSpread { w } => {
                let n = w.cols();
                for i in 0..w.rows() {
                    put(to, &mut dy[i * n..(i + 1) * n], (0..n).map(|j| w.at(i, j) * dx[i]));
                }
            }
        }
    }

    /// The part of the map that reaches example `i` of `n`, where the outputs' outermost axis is the examples and the inputs
    /// have none: the rows of that example alone.
    #[must_use]
    pub fn example(self, i: usize, n: usize) -> Self {
        let of = |rows: usize| {
            assert_eq!(rows % n, 0, "{rows} rows do not hold {n} examples alike");
            rows / n
        };
        match self {
            Linear::Left { x, a, cols } => {
                let rows = of(x.rows());
                Linear::Left { x: x.row_range(i * rows..(i + 1) * rows), a, cols }
            }
            Linear::Broadcast { rows, cols, a } => Linear::Broadcast { rows: of(rows), cols, a },
            Linear::Scale { .. }
            | Linear::Slope { .. }
            | Linear::Right { .. }
            | Linear::Transpose { .. }
            | Linear::Sum { .. }
            | Linear::RowDot { .. }
            | Linear::RowSpread { .. } => {
                panic!("{} does not lead from shared entries to examples", self.name())
            }
        }
    }

    /// Pulls `lanes` cotangents back: the transpose, applied. With `examples`, cotangents `[lanes, examples, ..]` become
    /// `[lanes · examples, ..]`: the examples turn into lanes instead of being summed.
    pub fn pull(self, lanes: usize, examples: Option<usize>, g: &[T], to: Accumulate, target: &mut [T], scratch: &mut Vec<T>) {
        let Some(n) = examples else {
            self.transpose().apply(lanes, g, to, target, scratch);
            return;
        };
        for i in 0..n {
            let one = self.example(i, n).transpose();
            let (len_g, len_target) = (one.inputs(), one.outputs());
            for k in (0..lanes).map(|lane| lane * n + i) {
                let (g, target) = (&g[k * len_g..(k + 1) * len_g], &mut target[k * len_target..(k + 1) * len_target]);
                one.apply(1, g, to, target, scratch);
            }
        }
    }

    /// Floating-point operations of one application to one lane; a multiplication and an addition count as two.
    pub fn flops(&self) -> u64 {
        let entries = match *self {
            Linear::Right { w, rows, .. } => rows * w.rows() * w.cols(),
            Linear::Left { x, cols, .. } => x.rows() * x.cols() * cols,
            Linear::Transpose { .. } => 0,
            Linear::Scale { .. }
            | Linear::Slope { .. }
            | Linear::Sum { .. }
            | Linear::Broadcast { .. }
            | Linear::RowDot { .. }
            | Linear::RowSpread { .. } => self.inputs().max(self.outputs()),
        };
        2 * entries as u64
    }

    /// The name of the kind.
    pub fn name(&self) -> &'static str {
        match self {
            Linear::Scale { .. } => "Scale",
            Linear::Slope { .. } => "Slope",
            Linear::Right { .. } => "Right",
            Linear::Left { .. } => "Left",
            Linear::Transpose { .. } => "Transpose",
            Linear::Sum { .. } => "Sum",
            Linear::Broadcast { .. } => "Broadcast",
            Linear::RowDot { .. } => "RowDot",
            Linear::RowSpread { .. } => "RowSpread",
        }
    }
}

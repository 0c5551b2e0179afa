//! Recording: one method for each operation, which checks shapes and says what becomes of the examples.

use crate::elementwise::Elementwise;
use crate::op::{Leaf, Op, Var};
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::Tape;
use crate::windows::Windows;
use simd::Phi;
use std::ops::Range;

/// Products.
impl<T: Scalar> Tape<T> {
    /// `scale·X·W + s·1·β`: `x` is `[.., n_in]`, `w` is `[n_in, n_out]`, the bias with its scale `s` is `[n_out]`.
    ///
    /// # Panics
    /// If the shapes do not fit, if `w` or the bias belongs to examples, or if the product would take its sum over the examples.
    #[track_caller]
    pub fn affine(&mut self, x: Var, w: Var, scale: f64, bias: Option<(Var, f64)>) -> Var {
        let (left, right) = (self.shape(x), self.shape(w));
        assert!(right.dims().len() == 2 && !left.dims().is_empty(), "affine needs [.., n_in] and [n_in, n_out], given {left} and {right}");
        assert_eq!(left.cols(), right.rows(), "affine needs [.., n_in] and [n_in, n_out], given {left} and {right}");
        assert!(left.rank() >= 2 || !self.node(x).per_example, "axis 0 of {left} is the examples: the product with {right} would mix them");
        assert!(!self.node(w).per_example, "the weight of an affine map, {right}, must be shared by the examples");
        let shape = left.with_cols(right.cols());
        if let Some((b, _)) = bias {
            let b_shape = self.shape(b);
            assert_eq!(b_shape.dims(), [right.cols()], "the bias of {shape} has shape [{}], given {b_shape}", right.cols());
            assert!(!self.node(b).per_example, "the bias of an affine map, {b_shape}, must be shared by the examples");
        }
        self.record(Op::Affine { x, w, scale, bias }, shape, self.node(x).per_example)
    }

    /// `Z_b = scale·X_b·Y_b` for all leading axes `b`: `x` is `[.., m, k]`, or one `[m, k]` for all that the examples share; `y` is `[.., k, n]`,
    /// or one `[k, n]` that the examples share, and then this is [`affine`](Tape::affine).
    ///
    /// # Panics
    /// If the shapes do not fit, or if a product would take its sum over the examples.
    #[track_caller]
    pub fn product(&mut self, x: Var, y: Var, scale: f64) -> Var {
        let (left, right) = (self.node(x), self.node(y));
        if right.shape.rank() == 2 && !right.per_example {
            return self.affine(x, y, scale, None);
        }
        let fits = "product needs [.., m, k] and [.., k, n]";
        let (l, r) = (left.shape.dims(), right.shape.dims());
        assert!(l.len() >= 2 && r.len() >= 2 && l[l.len() - 1] == r[r.len() - 2], "{fits}, given {} and {}", left.shape, right.shape);
        let leading = &r[..r.len() - 2];
        let one_for_all = l.len() == 2 && !left.per_example;
        assert!(
            one_for_all || (l[..l.len() - 2] == *leading && left.per_example == right.per_example),
            "{fits} with equal leading axes, or a left factor [m, k] that the examples share, given {} and {}",
            left.shape,
            right.shape
        );
        assert!(!leading.is_empty() || !right.per_example, "the product of {} and {} would mix examples", left.shape, right.shape);
        let shape = right.shape.with(r.len() - 2, l[l.len() - 2]);
        self.record(Op::Product { x, y, scale }, shape, right.per_example)
    }

    /// `z_r = Σ_c X_rc·Y_rc`: the last axis is summed away.
    #[track_caller]
    pub fn row_dot(&mut self, x: Var, y: Var) -> Var {
        let shape = self.same_shape("row_dot", x, y);
        self.needs_columns("row_dot", x);
        self.record(Op::RowDot(x, y), shape.without_cols(), self.node(x).per_example)
    }
}

/// Entry by entry.
impl<T: Scalar> Tape<T> {
    /// `x + y`, of one shape.
    #[track_caller]
    pub fn add(&mut self, x: Var, y: Var) -> Var {
        let shape = self.same_shape("add", x, y);
        self.record(Op::Add(x, y), shape, self.node(x).per_example)
    }

    /// `x − y`, of one shape.
    #[track_caller]
    pub fn sub(&mut self, x: Var, y: Var) -> Var {
        let shape = self.same_shape("sub", x, y);
        self.record(Op::Sub(x, y), shape, self.node(x).per_example)
    }

    /// `x∘y`, of one shape.
    #[track_caller]
    pub fn mul(&mut self, x: Var, y: Var) -> Var {
        let shape = self.same_shape("mul", x, y);
        self.record(Op::Mul(x, y), shape, self.node(x).per_example)
    }

    /// `x/y`, of one shape.
    #[track_caller]
    pub fn div(&mut self, x: Var, y: Var) -> Var {
        let shape = self.same_shape("div", x, y);
        self.record(Op::Div(x, y), shape, self.node(x).per_example)
    }

    /// `a·x`.
    pub fn scale(&mut self, x: Var, a: f64) -> Var {
        self.record(Op::Scale(x, a), *self.shape(x), self.node(x).per_example)
    }

    /// `−x`.
    pub fn neg(&mut self, x: Var) -> Var {
        self.scale(x, -1.0)
    }

    /// `φ(x)`.
    pub fn map(&mut self, phi: Phi, x: Var) -> Var {
        self.record(Op::Map(phi, x), *self.shape(x), self.node(x).per_example)
    }

    /// `f(x)` of a function that the program gives. Its slope is computed at once, and so memory is taken for both.
    pub fn apply(&mut self, f: Elementwise, x: Var) -> Var {
        self.record(Op::Apply(f, x), *self.shape(x), self.node(x).per_example)
    }

    /// `xᵖ`, with the derivative `p·xᵖ⁻¹`, which is 0 for `p = 0`. Of negative numbers there are only whole powers; other ones are NaN.
    pub fn powf(&mut self, x: Var, p: f64) -> Var {
        self.record(Op::Power(x, p), *self.shape(x), self.node(x).per_example)
    }

    #[track_caller]
    fn same_shape(&self, op: &str, x: Var, y: Var) -> Shape {
        let (left, right) = (self.node(x), self.node(y));
        assert_eq!(left.shape, right.shape, "{op} needs two equal shapes, given {} and {}", left.shape, right.shape);
        assert_eq!(
            left.per_example, right.per_example,
            "{op} of {} and {}: the first axis of one is the examples, of the other it is not",
            left.shape, right.shape
        );
        left.shape
    }
}

/// Along axes.
impl<T: Scalar> Tape<T> {
    /// `a·Σ x` over all entries: a scalar. Over examples it is the end of what one example is.
    pub fn sum(&mut self, x: Var, a: f64) -> Var {
        self.sum_axes(x, 0..self.shape(x).rank(), a)
    }

    /// `a·Σ x` over axes that lie side by side, which are summed away.
    ///
    /// ```
    /// let mut tape = autodiff::Tape::new();
    /// let x = tape.input([2, 3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0, 7.0]);
    /// let sums = tape.sum_axes(x, 1..2, 1.0);
    /// assert_eq!(tape.value(sums), [9.0, 12.0, 0.0, 7.0]);
    /// ```
    ///
    /// # Panics
    /// If there are no such axes.
    #[track_caller]
    pub fn sum_axes(&mut self, x: Var, axes: Range<usize>, a: f64) -> Var {
        let node = self.node(x);
        let shape = node.shape.without(axes.clone());
        let per_example = node.per_example && (axes.is_empty() || axes.start > 0);
        self.record(Op::Sum(x, axes.into(), a), shape, per_example)
    }

    /// The mean over axes that lie side by side; NaN where these have no entries.
    ///
    /// # Panics
    /// If there are no such axes.
    #[track_caller]
    pub fn mean_axes(&mut self, x: Var, axes: Range<usize>) -> Var {
        let n = self.shape(x).axes(axes.clone()).n;
        if n == 0 {
            let nothing = self.sum_axes(x, axes, 1.0);
            return self.scale(nothing, f64::NAN);
        }
        self.sum_axes(x, axes, 1.0 / n as f64)
    }

    /// `x` repeated along axes that it does not have, so that it gets the shape of `like`: `y[o, k, i] = x[o, i]`, where `k` runs along `axes`.
    /// A scalar is repeated along all axes, a row along all but the last.
    ///
    /// ```
    /// let mut tape = autodiff::Tape::new();
    /// let x = tape.input([2, 3], &[0.0; 6]);
    /// let row = tape.parameter([3], &[1.0, 2.0, 3.0]);
    /// let rows = tape.broadcast(row, 0..1, x);
    /// assert_eq!(tape.value(rows), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// If the shape of `x` is not that of `like` without the axes, or if only one of them belongs to examples and the first axis is not among those.
    #[track_caller]
    pub fn broadcast(&mut self, x: Var, axes: Range<usize>, like: Var) -> Var {
        let (from, to) = (self.node(x), self.node(like));
        let want = to.shape.without(axes.clone());
        assert_eq!(from.shape, want, "broadcast along the axes {axes:?} of {} needs {want}, given {}", to.shape, from.shape);
        let gains_examples = axes.start == 0 && !axes.is_empty();
        let flags = if gains_examples { !from.per_example } else { from.per_example == to.per_example };
        assert!(
            flags,
            "broadcast of {} along the axes {axes:?} of {}: the examples of one are not those of the other",
            from.shape, to.shape
        );
        let (shape, per_example) = (to.shape, to.per_example);
        self.record(Op::Broadcast(x, axes.into()), shape, per_example)
    }

    /// `‖X_r‖`, the Euclidean norm along the last axis, which it takes away. Rows of any size keep their digits, 1e±150 as well. The derivative of a
    /// row is the row divided by its norm, and 0 for a row of zeros.
    #[track_caller]
    pub fn norm(&mut self, x: Var) -> Var {
        self.needs_columns("norm", x);
        self.record(Op::Norm(x), self.shape(x).without_cols(), self.node(x).per_example)
    }

    /// `y_r = log Σ_c exp(X_rc)`: the last axis is summed away. Entries of ±1000 do no harm.
    #[track_caller]
    pub fn log_sum_exp(&mut self, x: Var) -> Var {
        self.needs_columns("log_sum_exp", x);
        self.record(Op::LogSumExp(x), self.shape(x).without_cols(), self.node(x).per_example)
    }

    /// `exp(X_rc) / Σ_c exp(X_rc)`, along the last axis.
    #[track_caller]
    pub fn softmax(&mut self, x: Var) -> Var {
        let rank = self.shape(x).rank();
        let total = self.log_sum_exp(x);
        let total = self.broadcast(total, rank - 1..rank, x);
        let logarithm = self.sub(x, total);
        self.map(Phi::Exp, logarithm)
    }

    /// `−Σ_c p_c·log softmax(X_r)_c` of logits `x` and targets `p` of one shape, along the last axis, for targets that sum to 1 there.
    #[track_caller]
    pub fn cross_entropy(&mut self, x: Var, p: Var) -> Var {
        let total = self.log_sum_exp(x);
        let hit = self.row_dot(p, x);
        self.sub(total, hit)
    }

    #[track_caller]
    fn needs_columns(&self, op: &str, x: Var) {
        let (shape, axes) = (self.shape(x), 1 + usize::from(self.node(x).per_example));
        assert!(shape.rank() >= axes, "{op} sums the last axis away, and {shape} has none to spare");
    }
}

/// Other shapes and places.
impl<T: Scalar> Tape<T> {
    /// The last two axes exchanged.
    ///
    /// # Panics
    /// If `x` has not two axes besides that of the examples.
    #[track_caller]
    pub fn transpose(&mut self, x: Var) -> Var {
        let node = self.node(x);
        let (shape, per_example) = (node.shape, node.per_example);
        assert!(shape.rank() >= 2, "transpose exchanges two axes, and {shape} has not two");
        assert!(!per_example || shape.rank() >= 3, "axis 0 of {shape} is the examples: transposing would mix them");
        let last = shape.rank() - 1;
        let (rows, cols) = (shape.dims()[last - 1], shape.dims()[last]);
        self.record(Op::Transpose(x), shape.with(last - 1, cols).with(last, rows), per_example)
    }

    /// The same entries in another shape, at no cost.
    ///
    /// # Panics
    /// If the shapes hold different numbers of entries, or if the first axis is the examples and does not stay.
    #[track_caller]
    pub fn reshape(&mut self, x: Var, shape: impl Into<Shape>) -> Var {
        let (node, shape) = (self.node(x), shape.into());
        assert_eq!(node.shape.len(), shape.len(), "{} cannot be reshaped to {shape}: the numbers of entries differ", node.shape);
        let stays = shape.dims().first() == node.shape.dims().first();
        assert!(!node.per_example || stays, "axis 0 of {} is the examples: reshaping to {shape} would mix them", node.shape);
        self.record(Op::Reshape(x), shape, node.per_example)
    }

    /// The places `range` along an axis. Along the axis of the examples it is the end of what one example is.
    ///
    /// # Panics
    /// If there is no such axis, or no such places along it.
    #[track_caller]
    pub fn slice(&mut self, x: Var, axis: usize, range: Range<usize>) -> Var {
        let node = self.node(x);
        let extent = node.shape.dims().get(axis).copied();
        let fits = extent.is_some_and(|n| range.start <= range.end && range.end <= n);
        assert!(fits, "the places {range:?} along axis {axis} of {}", node.shape);
        let (shape, per_example) = (node.shape.with(axis, range.len()), node.per_example && axis > 0);
        self.record(Op::Slice { x, axis: axis as u8, start: range.start }, shape, per_example)
    }

    /// The tensors one behind the other along an axis. Along the axis of the examples it is the end of what one example is.
    ///
    /// # Panics
    /// If there are none, or if they differ in another axis.
    #[track_caller]
    pub fn concat(&mut self, parts: &[Var], axis: usize) -> Var {
        let Some(&first) = parts.first() else { panic!("concat needs at least one tensor") };
        for &v in parts {
            let (left, right) = (self.node(first), self.node(v));
            let fits = left.shape.rank() == right.shape.rank() && axis < left.shape.rank();
            let fits = fits && left.shape.without(axis..axis + 1) == right.shape.without(axis..axis + 1);
            assert!(fits, "concat along axis {axis} of {} and {}", left.shape, right.shape);
            assert_eq!(
                left.per_example, right.per_example,
                "concat of {} and {}: the first axis of one is the examples, of the other it is not",
                left.shape, right.shape
            );
        }
        let per_example = self.node(first).per_example && axis > 0;
        self.join(parts, axis, per_example)
    }

    /// Parts that fit, joined by halves, so that an entry is copied a logarithmic number of times.
    fn join(&mut self, parts: &[Var], axis: usize, per_example: bool) -> Var {
        if let [x] = *parts {
            return x;
        }
        let (front, back) = parts.split_at(parts.len() / 2);
        let (x, y) = (self.join(front, axis, per_example), self.join(back, axis, per_example));
        let extent = self.shape(x).dims()[axis] + self.shape(y).dims()[axis];
        self.record(Op::Concat(x, y, axis as u8), self.shape(x).with(axis, extent), per_example)
    }

    /// `y[k] = table[rows[k]]`: an embedding. `table` is `[n, ..]`, shared by the examples; `rows` is a constant of any shape that holds whole numbers
    /// from 0 to `n − 1`. The result has the axes of `rows`, then those of `table` but its first.
    ///
    /// ```
    /// let mut tape = autodiff::Tape::new();
    /// let table = tape.parameter([3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    /// let words = tape.target([2], &[2.0, 0.0]);
    /// let vectors = tape.gather(table, words);
    /// assert_eq!(tape.value(vectors), [5.0, 6.0, 1.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// If `rows` is no constant or holds anything else, or if the table belongs to examples.
    #[track_caller]
    pub fn gather(&mut self, table: Var, rows: Var) -> Var {
        let (from, at) = (self.node(table), self.node(rows));
        assert!(from.shape.rank() >= 1 && !from.per_example, "gather needs a table that the examples share, given {}", from.shape);
        assert!(at.leaf() == Some(Leaf::Constant), "gather needs numbers of rows that are constant, given `{}`", at.op.name());
        let n = from.shape.dims()[0];
        let wrong = self.value(rows).iter().map(|r| r.primal()).find(|&r| !(r >= 0.0 && r < n as f64 && r.fract() == 0.0));
        assert!(wrong.is_none(), "gather of row {} from a table {} of {n} rows", wrong.unwrap_or_default(), from.shape);
        let (shape, per_example) = (at.shape.and(&from.shape.dims()[1..]), at.per_example);
        self.record(Op::Gather { table, rows }, shape, per_example)
    }
}

/// Windows on images `[n, height, width, channels]`.
impl<T: Scalar> Tape<T> {
    /// A convolution: `z[p] = scale·Σ_tap x[cell]·W[tap] + s·β`, with the filters `w`, `[taps · channels, out]` (the taps row by row), and a bias `[out]`
    /// with its scale `s`. It is the [`affine`](Tape::affine) map of the [`patches`](Tape::patches), which are not written out.
    ///
    /// # Panics
    /// If `x` does not hold such images, if the other shapes do not fit, or if `w` or the bias belongs to examples.
    #[track_caller]
    pub fn conv(&mut self, x: Var, w: Var, windows: Windows, scale: f64, bias: Option<(Var, f64)>) -> Var {
        let seen = windows.cells() * windows.channels();
        let filters = self.shape(w);
        let fits = filters.rank() == 2 && filters.rows() == seen;
        assert!(fits, "a convolution that sees {seen} numbers needs filters [{seen}, out], given {filters}");
        assert!(!self.node(w).per_example, "the filters of a convolution, {filters}, must be shared by the examples");
        let out = filters.cols();
        if let Some((b, _)) = bias {
            let b_shape = self.shape(b);
            assert_eq!(b_shape.dims(), [out], "the bias of filters {filters} has shape [{out}], given {b_shape}");
            assert!(!self.node(b).per_example, "the bias of a convolution, {b_shape}, must be shared by the examples");
        }
        let shape = self.images("conv", x, windows).with_cols(out);
        self.record(Op::Conv { x, w, windows, scale, bias }, shape, self.node(x).per_example)
    }

    /// What each window sees: `[n, height, width, taps · channels]`, zero beyond the edge. Its product with weights `[taps · channels, out]` is a
    /// convolution.
    ///
    /// # Panics
    /// If `x` does not hold such images.
    #[track_caller]
    pub fn patches(&mut self, x: Var, windows: Windows) -> Var {
        let cols = windows.cells() * windows.channels();
        let shape = self.images("patches", x, windows).with_cols(cols);
        self.record(Op::Patches(x, windows), shape, self.node(x).per_example)
    }

    /// `a·Σ x` over the cells of each window; those beyond the edge count as zero.
    ///
    /// # Panics
    /// If `x` does not hold such images.
    #[track_caller]
    pub fn sum_pool(&mut self, x: Var, windows: Windows, a: f64) -> Var {
        let shape = self.images("sum_pool", x, windows);
        self.record(Op::Pool(x, windows, a), shape, self.node(x).per_example)
    }

    /// The mean over the cells of each window; those beyond the edge count as zero, and the division is by the whole window.
    ///
    /// # Panics
    /// If `x` does not hold such images.
    #[track_caller]
    pub fn avg_pool(&mut self, x: Var, windows: Windows) -> Var {
        self.sum_pool(x, windows, 1.0 / windows.cells() as f64)
    }

    /// The largest of the cells of each window; those beyond the edge do not count. The derivative is that of the first of equal ones. Of NaN the maximum
    /// is NaN, and of a window beyond the edge altogether it is −∞, with derivative 0.
    ///
    /// # Panics
    /// If `x` does not hold such images.
    #[track_caller]
    pub fn max_pool(&mut self, x: Var, windows: Windows) -> Var {
        let shape = self.images("max_pool", x, windows);
        self.record(Op::MaxPool(x, windows), shape, self.node(x).per_example)
    }

    /// The shape of a result with one cell for each window.
    #[track_caller]
    fn images(&self, op: &str, x: Var, windows: Windows) -> Shape {
        let (shape, [height, width], c) = (self.shape(x), windows.image(), windows.channels());
        let fits = shape.rank() == 4 && shape.dims()[1..] == [height, width, c];
        assert!(fits, "{op} needs images [n, {height}, {width}, {c}], given {shape}");
        let [h, w] = windows.out();
        Shape::from([shape.dims()[0], h, w, c])
    }
}

//! Linear maps applied, forward and transposed.

use crate::factors::{Fan, Features, Stack, Take};
use crate::linear::Linear;
use crate::scalar::{Scalar, Scratch};
use crate::shape::Axis;
use crate::windows::Windows;
use simd::{Accumulate, Mat, MatMut};

impl<T: Scalar> Linear<'_, T> {
    /// `dy = L·dx` or `dy += L·dx` for each of `lanes` vectors stacked one after the other.
    ///
    /// `scratch` is memory that grows as needed and can be shared by all calls.
    ///
    /// # Panics
    /// If the lengths are not `lanes · inputs()` and `lanes · outputs()`.
    #[track_caller]
    pub fn apply(&self, lanes: usize, dx: &[T], to: Accumulate, dy: &mut [T], scratch: &mut Scratch<T>) {
        let (n, m) = (self.inputs(), self.outputs());
        assert_eq!(dx.len(), lanes * n, "{lanes} lanes of {n} entries are needed, {} were given", dx.len());
        assert_eq!(dy.len(), lanes * m, "{lanes} lanes of {m} entries result, room for {} was given", dy.len());
        #[cfg(test)]
        if let Some(fault) = crate::faults::active() {
            return crate::faults::apply(fault, self, lanes, dx, to, dy, scratch);
        }
        self.apply_right(lanes, dx, to, dy, scratch);
    }

    /// [`apply`](Self::apply) for lengths that are right.
    pub(crate) fn apply_right(&self, lanes: usize, dx: &[T], to: Accumulate, dy: &mut [T], scratch: &mut Scratch<T>) {
        // The rows of all lanes go through one product, and the images of all lanes through one convolution.
        if let Linear::Right { w, a, rows, batches, fan } = *self {
            match fan {
                Fan::Each if batches == 1 => {
                    let dx = Mat::new(dx, lanes * rows, w.rows());
                    return scaled_product(a, dx, w.matrix(0), to, dy, scratch);
                }
                Fan::See(windows) => return see(windows, lanes * rows, w.matrix(0), a, dx, to, dy, scratch),
                Fan::Seen(windows) => return seen(windows, lanes * rows, w.t().matrix(0), a, dx, to, dy, scratch),
                Fan::Each | Fan::Out | Fan::In => (),
            }
        }
        if lanes == 1 {
            return self.apply_one(dx, to, dy, scratch);
        }
        let (n, m) = (dx.len() / lanes.max(1), dy.len() / lanes.max(1));
        for k in 0..lanes {
            self.apply_one(&dx[k * n..(k + 1) * n], to, &mut dy[k * m..(k + 1) * m], scratch);
        }
    }

    fn apply_one(&self, dx: &[T], to: Accumulate, dy: &mut [T], scratch: &mut Scratch<T>) {
        match *self {
            Linear::Scale { a, .. } if a == T::ONE => put(to, dy, dx.iter().copied()),
            Linear::Scale { a, .. } => put(to, dy, dx.iter().map(|&d| a * d)),
            Linear::Diag { a, times, over, .. } => diag(a, times, over, dx, to, dy),
            Linear::Slope { phi, x, y } => T::slope(phi, x, y, dx, to, dy, &mut scratch.parts),
            Linear::Right { w, a, rows, batches, fan } => right(w, a, rows, batches, fan, dx, to, dy, scratch),
            Linear::Left { x: Features::Windows { images, n, windows, transposed }, a, cols, .. } => {
                let sizes = windows.convolution(cols);
                let Scratch { values, parts } = scratch;
                if transposed {
                    let dw = taken(values, if a == T::ONE { 0 } else { dy.len() });
                    if a == T::ONE {
                        return T::conv_weight_gradient(&sizes, n, images, dx, to, dy, parts);
                    }
                    T::conv_weight_gradient(&sizes, n, images, dx, Accumulate::Set, dw, parts);
                    put(to, dy, dw.iter().map(|&d| a * d));
                } else {
                    let w = scaled(a, dx, values);
                    T::conv(&sizes, n, images, w, to, dy, parts);
                }
            }
            Linear::Left { x: Features::Stack(x), a, cols, batches } => {
                let (n, m) = (x.cols() * cols, x.rows() * cols);
                for b in 0..batches {
                    let dw = Mat::new(&dx[b * n..(b + 1) * n], x.cols(), cols);
                    scaled_product(a, x.matrix(b), dw, to, &mut dy[b * m..(b + 1) * m], scratch);
                }
            }
            Linear::Transpose { batches, rows, cols } => {
                let len = rows * cols;
                for b in 0..batches {
                    let dx = &dx[b * len..(b + 1) * len];
                    put(to, &mut dy[b * len..(b + 1) * len], (0..cols).flat_map(|j| (0..rows).map(move |i| dx[i * cols + j])));
                }
            }
            Linear::Sum { axis, a } => sum(axis, a, dx, to, dy),
            Linear::Broadcast { axis: Axis { outer, n, inner }, a } => {
                for o in 0..outer {
                    let from = &dx[o * inner..(o + 1) * inner];
                    for k in 0..n {
                        put(to, &mut dy[(o * n + k) * inner..][..inner], from.iter().map(|&d| a * d));
                    }
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
            Linear::Index { axis: Axis { outer, n, inner }, take } => {
                places(outer, take, |o, k, place| {
                    let from = &dx[(o * n + place) * inner..][..inner];
                    put(to, &mut dy[(o * take.len() + k) * inner..][..inner], from.iter().copied());
                });
            }
            Linear::Scatter { axis: Axis { outer, n, inner }, take } => {
                clear(to, dy);
                places(outer, take, |o, k, place| {
                    let from = &dx[(o * take.len() + k) * inner..][..inner];
                    put(Accumulate::Add, &mut dy[(o * n + place) * inner..][..inner], from.iter().copied());
                });
            }
            Linear::Pool { windows, images, a, picks } => {
                clear(to, dy);
                pool(windows, images, picks, |image, out| dy[out] += a * dx[image]);
            }
            Linear::Unpool { windows, images, a, picks } => {
                clear(to, dy);
                pool(windows, images, picks, |image, out| dy[image] += a * dx[out]);
            }
            Linear::Patches { windows, images } => {
                clear(to, dy);
                patches(windows, images, |image, patch, c| {
                    put(Accumulate::Add, &mut dy[patch..patch + c], dx[image..image + c].iter().copied());
                });
            }
            Linear::Unpatches { windows, images } => {
                clear(to, dy);
                patches(windows, images, |image, patch, c| {
                    put(Accumulate::Add, &mut dy[image..image + c], dx[patch..patch + c].iter().copied());
                });
            }
        }
    }

    /// Pulls `lanes` cotangents back: the transpose, applied. With `examples`, cotangents `[lanes, examples, ..]` become
    /// `[lanes · examples, ..]`: the examples turn into lanes instead of being summed.
    #[track_caller]
    pub fn pull(self, lanes: usize, examples: Option<usize>, g: &[T], to: Accumulate, target: &mut [T], scratch: &mut Scratch<T>) {
        #[cfg(test)]
        return crate::faults::backward(|| self.pull_right(lanes, examples, g, to, target, scratch));
        #[cfg(not(test))]
        self.pull_right(lanes, examples, g, to, target, scratch);
    }

    #[track_caller]
    fn pull_right(self, lanes: usize, examples: Option<usize>, g: &[T], to: Accumulate, target: &mut [T], scratch: &mut Scratch<T>) {
        let Some(n) = examples else {
            self.transpose().apply(lanes, g, to, target, scratch);
            return;
        };
        if let Linear::Left { x: Features::Windows { images, n: all, windows, transposed: false }, a, cols, batches: 1 } = self
            && all == n
            && !planted()
        {
            // The images of all examples and the cotangents of all lanes at once.
            let sizes = windows.convolution(cols);
            let Scratch { values, parts } = scratch;
            let g = if to == Accumulate::Add { scaled(a, g, values) } else { g };
            T::conv_example_gradients(&sizes, n, lanes, images, g, to, target, parts);
            if to == Accumulate::Set && a != T::ONE {
                target.iter_mut().for_each(|d| *d = a * *d);
            }
            return;
        }
        for i in 0..n {
            let one = self.example(i, n).transpose();
            let (len_g, len_target) = (one.inputs(), one.outputs());
            for k in (0..lanes).map(|lane| lane * n + i) {
                let (g, target) = (&g[k * len_g..(k + 1) * len_g], &mut target[k * len_target..(k + 1) * len_target]);
                one.apply(1, g, to, target, scratch);
            }
        }
    }
}

/// Whether a test wants the edge to be applied with something wrong, for which it has to be applied one example at a time.
fn planted() -> bool {
    #[cfg(test)]
    return crate::faults::active().is_some();
    #[cfg(not(test))]
    false
}

/// `y = v` or `y += v`, entry by entry.
pub(crate) fn put<T: Scalar>(to: Accumulate, y: &mut [T], values: impl Iterator<Item = T>) {
    match to {
        Accumulate::Set => y.iter_mut().zip(values).for_each(|(y, v)| *y = v),
        Accumulate::Add => y.iter_mut().zip(values).for_each(|(y, v)| *y += v),
    }
}

/// Zeros, for what is added up from there.
fn clear<T: Scalar>(to: Accumulate, y: &mut [T]) {
    if to == Accumulate::Set {
        y.fill(T::ZERO);
    }
}

/// `c (+)= s·a·b`. The product itself always has factor 1, because only then do its bits survive being cut among threads. Where `a` has fewer
/// columns than `c`, it is smaller and is scaled instead; that choice does not depend on the number of rows.
fn scaled_product<T: Scalar>(s: T, a: Mat<'_, T>, b: Mat<'_, T>, to: Accumulate, c: &mut [T], scratch: &mut Scratch<T>) {
    let (m, k, n) = (a.rows(), a.cols(), b.cols());
    let Scratch { values, parts } = scratch;
    if s == T::ONE {
        T::product(a, b, to, MatMut::new(c, m, n), parts);
        return;
    }
    if k < n {
        // In the order in which it lies, by rows or by columns.
        let turned = a.row_stride() == 1 && a.col_stride() != 1;
        let (lines, length, from) = if turned { (k, m, a.t()) } else { (m, k, a) };
        let scaled = taken(values, m * k);
        for i in 0..lines {
            let to = &mut scaled[i * length..(i + 1) * length];
            match from.row(i) {
                Some(row) => put(Accumulate::Set, to, row.iter().map(|&x| s * x)),
                None => put(Accumulate::Set, to, (0..length).map(|j| s * from.at(i, j))),
            }
        }
        let scaled = Mat::new(scaled, lines, length);
        T::product(if turned { scaled.t() } else { scaled }, b, to, MatMut::new(c, m, n), parts);
        return;
    }
    match to {
        Accumulate::Set => {
            T::product(a, b, Accumulate::Set, MatMut::new(c, m, n), parts);
            c.iter_mut().for_each(|c| *c = s * *c);
        }
        Accumulate::Add => {
            let product = taken(values, m * n);
            T::product(a, b, Accumulate::Set, MatMut::new(product, m, n), parts);
            put(Accumulate::Add, c, product.iter().map(|&p| s * p));
        }
    }
}

/// Numbers of the scratch.
fn taken<T: Scalar>(values: &mut Vec<T>, len: usize) -> &mut [T] {
    if values.len() < len {
        values.resize(len, T::ZERO);
    }
    &mut values[..len]
}

/// `a·x`, in the scratch if it is not `x`.
fn scaled<'v, T: Scalar>(a: T, x: &'v [T], values: &'v mut Vec<T>) -> &'v [T] {
    if a == T::ONE {
        return x;
    }
    let to = taken(values, x.len());
    put(Accumulate::Set, to, x.iter().map(|&x| a * x));
    to
}

/// A convolution of the tangents of images. The filters are scaled, as they are few.
fn see<T: Scalar>(windows: Windows, images: usize, w: Mat<'_, T>, a: T, dx: &[T], to: Accumulate, dy: &mut [T], scratch: &mut Scratch<T>) {
    let Scratch { values, parts } = scratch;
    let filters = scaled(a, w.as_slice().expect("filters lie side by side"), values);
    T::conv(&windows.convolution(w.cols()), images, dx, filters, to, dy, parts);
}

/// The transpose of [`see`].
fn seen<T: Scalar>(windows: Windows, images: usize, w: Mat<'_, T>, a: T, dx: &[T], to: Accumulate, dy: &mut [T], scratch: &mut Scratch<T>) {
    let Scratch { values, parts } = scratch;
    let filters = scaled(a, w.as_slice().expect("filters lie side by side"), values);
    T::conv_input_gradient(&windows.convolution(w.cols()), images, dx, filters, to, dy, parts);
}

fn diag<T: Scalar>(a: T, times: Option<&[T]>, over: Option<&[T]>, dx: &[T], to: Accumulate, dy: &mut [T]) {
    match (times, over) {
        (None, None) => put(to, dy, dx.iter().map(|&d| a * d)),
        (Some(u), None) if a == T::ONE => put(to, dy, dx.iter().zip(u).map(|(&d, &u)| u * d)),
        (Some(u), None) => put(to, dy, dx.iter().zip(u).map(|(&d, &u)| a * u * d)),
        (None, Some(v)) => put(to, dy, dx.iter().zip(v).map(|(&d, &v)| a * d / v)),
        // The quotient of the factors first: where they are large alone, a tangent of a common size would overflow between them.
        (Some(u), Some(v)) => put(to, dy, dx.iter().zip(u.iter().zip(v)).map(|(&d, (&u, &v))| a * (u / v) * d)),
    }
}

fn right<T: Scalar>(
    w: Stack<'_, T>,
    a: T,
    rows: usize,
    batches: usize,
    fan: Fan,
    dx: &[T],
    to: Accumulate,
    dy: &mut [T],
    scratch: &mut Scratch<T>,
) {
    let (n, m) = (rows * w.rows(), rows * w.cols());
    if fan == Fan::In && batches == 0 {
        clear(to, dy);
    }
    for b in 0..batches {
        let from = if fan == Fan::Out { 0 } else { b };
        let dx = Mat::new(&dx[from * n..(from + 1) * n], rows, w.rows());
        let (place, to) = match fan {
            Fan::Each | Fan::Out => (b, to),
            Fan::In => (0, if b == 0 { to } else { Accumulate::Add }),
            Fan::See(_) | Fan::Seen(_) => unreachable!("convolutions take all lanes at once"),
        };
        scaled_product(a, dx, w.matrix(b), to, &mut dy[place * m..(place + 1) * m], scratch);
    }
}

fn sum<T: Scalar>(Axis { outer, n, inner }: Axis, a: T, dx: &[T], to: Accumulate, dy: &mut [T]) {
    // Entries side by side are summed in a register, others a row at a time. Either way each sum runs over k in order.
    if inner == 1 {
        let total = |o: usize| dx[o * n..(o + 1) * n].iter().fold(T::ZERO, |sum, &d| sum + a * d);
        return put(to, dy, (0..outer).map(total));
    }
    clear(to, dy);
    for o in 0..outer {
        for k in 0..n {
            let from = &dx[(o * n + k) * inner..][..inner];
            put(Accumulate::Add, &mut dy[o * inner..(o + 1) * inner], from.iter().map(|&d| a * d));
        }
    }
}

/// Calls `f(o, k, place)` for the k-th place that is taken, at every index `o` of the axes before.
fn places<T: Scalar>(outer: usize, take: Take<'_, T>, mut f: impl FnMut(usize, usize, usize)) {
    for o in 0..outer {
        match take {
            Take::Range { start, len } => (0..len).for_each(|k| f(o, k, start + k)),
            Take::List(list) => list.iter().enumerate().for_each(|(k, &place)| f(o, k, place.primal() as usize)),
        }
    }
}

/// Calls `f(entry of the images, entry of the windows)` for every cell that a window sums, channel by channel, or for the cells that were picked.
fn pool<T: Scalar>(windows: Windows, images: usize, picks: Option<&[T]>, mut f: impl FnMut(usize, usize)) {
    let (image_len, sites, channels) = (windows.image_len(), windows.sites(), windows.channels());
    for i in 0..images {
        let (image, out) = (i * image_len, i * sites * channels);
        match picks {
            None => windows.each(|site, _, cell| {
                (0..channels).for_each(|c| f(image + cell * channels + c, out + site * channels + c));
            }),
            Some(picks) => {
                for site in 0..sites {
                    for c in 0..channels {
                        let entry = out + site * channels + c;
                        let tap = picks[entry].primal();
                        // A window that lies beyond the edge altogether has picked nothing.
                        if let Some(cell) = (tap >= 0.0).then(|| windows.cell(site, tap as usize)).flatten() {
                            f(image + cell * channels + c, entry);
                        }
                    }
                }
            }
        }
    }
}

/// Calls `f(first entry in the images, first entry in the patches, channels)` for every cell of every window that is not beyond the edge.
fn patches(windows: Windows, images: usize, mut f: impl FnMut(usize, usize, usize)) {
    let (image_len, sites, cells, channels) = (windows.image_len(), windows.sites(), windows.cells(), windows.channels());
    for i in 0..images {
        windows.each(|site, tap, cell| f(i * image_len + cell * channels, ((i * sites + site) * cells + tap) * channels, channels));
    }
}

//! What the steps of a random graph record.

use super::Step;
use crate::catalog::{DIFFERENCES, GIVEN};
use autodiff::{Border, Padding, Phi, Scalar, Shape, Tape, Var, Windows};
use std::ops::Range;

/// Records steps on a tape, and keeps every value below a bound that is known without looking at it: a graph has the same operations at every
/// point.
pub(super) struct Recorder<'t, T: Scalar> {
    tape: &'t mut Tape<T>,
    values: Vec<(Var, f64)>,
    examples: &'t [usize],
}

/// Above this a value is taken through a bounded function.
const LARGEST: f64 = 3.0;
const KINDS: u8 = 25;

impl<'t, T: Scalar> Recorder<'t, T> {
    pub(super) fn new<'v>(tape: &'t mut Tape<T>, leaves: impl Iterator<Item = &'v Var>, examples: &'t [usize]) -> Self {
        Recorder { tape, values: leaves.map(|&v| (v, 1.0)).collect(), examples }
    }

    /// Number of values on the tape.
    pub(super) fn size(&self) -> usize {
        self.tape.vars().count()
    }

    /// The value that lies so many below the last.
    pub(super) fn value(&self, below: usize) -> Var {
        self.values[self.values.len() - 1 - below % self.values.len()].0
    }

    fn dims(&self, v: Var) -> Vec<usize> {
        self.tape.shape(v).dims().to_vec()
    }

    fn per_example(&self, v: Var) -> bool {
        self.tape.node(v).per_example
    }

    /// A number for every entry of a constant, which goes with its example wherever that stands.
    fn places(&self, shape: &Shape, per_example: bool) -> impl Iterator<Item = usize> + use<'t, T> {
        let (examples, len) = (self.examples, if per_example { shape.axes(1..shape.rank()).n } else { shape.len() });
        let rows = if per_example { examples.len() } else { 1 };
        (0..rows * len).map(move |i| if per_example { examples[i / len] * len + i % len } else { i })
    }

    /// Axes that are not the examples.
    fn own_axes(&self, v: Var) -> Range<usize> {
        usize::from(self.per_example(v))..self.tape.shape(v).rank()
    }

    /// One of the values that fit: half of the time one of the last three of these, else any.
    fn pick(&self, which: u16, fits: impl Fn(&Self, Var) -> bool) -> Option<(Var, f64)> {
        let fitting: Vec<_> = self.values.iter().filter(|(v, _)| fits(self, *v)).collect();
        let which = usize::from(which);
        let from = if which.is_multiple_of(2) { fitting.len().min(3) } else { fitting.len() };
        (from > 0).then(|| *fitting[fitting.len() - 1 - (which / 2) % from])
    }

    fn any(&self, which: u16) -> (Var, f64) {
        self.pick(which, |_, _| true).expect("a graph has a leaf")
    }

    /// A value of the same kind, perhaps the same value.
    fn like(&self, which: u16, x: Var) -> (Var, f64) {
        let kind = |r: &Self, v: Var| (r.dims(v), r.per_example(v));
        self.pick(which, |r, v| kind(r, v) == kind(r, x)).expect("it is like itself")
    }

    fn keep(&mut self, v: Var, bound: f64, choice: u16) {
        if bound <= LARGEST {
            return self.values.push((v, bound));
        }
        let phi = [Phi::Tanh, Phi::Erf, Phi::Sin, Phi::Cos, Phi::Sigmoid][usize::from(choice / 7) % 5];
        let v = self.tape.map(phi, v);
        self.values.push((v, 1.0));
    }

    /// Between 1/e and e.
    fn positive(&mut self, x: Var) -> Var {
        let x = self.tape.map(Phi::Tanh, x);
        self.tape.map(Phi::Exp, x)
    }

    /// A weight of the given shape: one that there is, or else one gathered from the entries of something that the examples share.
    fn weight(&mut self, which: u16, dims: [usize; 2]) -> Option<(Var, f64)> {
        if let Some(found) = self.pick(which, |r, v| !r.per_example(v) && r.dims(v) == dims) {
            return Some(found);
        }
        let (from, bound) = self.pick(which, |r, v| !r.per_example(v) && !r.tape.shape(v).is_empty())?;
        let n = self.tape.shape(from).len();
        let table = self.tape.reshape(from, [n, 1]);
        let places: Vec<T> = (0..dims[0] * dims[1]).map(|i| T::of(((i + usize::from(which)) % n) as f64)).collect();
        let places = self.tape.constant([places.len()], &places);
        let gathered = self.tape.gather(table, places);
        Some((self.tape.reshape(gathered, dims), bound))
    }

    /// Something that is an image already, or is read as one.
    fn image(&mut self, which: u16) -> Option<(Var, f64)> {
        if let Some(found) = self.pick(which, |r, v| r.tape.shape(v).rank() == 4) {
            return Some(found);
        }
        let (x, bound) = self.pick(which, |r, v| matches!(r.own_axes(v).len(), 1..=2))?;
        let mut dims = self.dims(x);
        if !self.per_example(x) {
            dims.insert(0, 1);
        }
        dims.resize(4, 1);
        Some((self.tape.reshape(x, &dims[..]), bound))
    }

    fn windows(&self, x: Var, choice: u16) -> Windows {
        let dims = self.dims(x);
        let (image, c) = ([dims[1], dims[2]], dims[3]);
        let digit = |place: u16, n: u16| usize::from(choice / place % n);
        let (window, stride) = ([1 + digit(1, 2), 1 + digit(2, 3)], [1 + digit(6, 2), 1 + digit(12, 2)]);
        match digit(24, 4) {
            0 => Windows::same(image, c, window, stride),
            1 => Windows::valid(image, c, window, stride),
            2 if image[0] > 0 && image[1] > 0 => Windows::circular(image, c, window, stride),
            // Less padding than a window has cells, so that none lies beyond the edge.
            _ => {
                let padding = Padding { rows: [window[0] - 1, 0], cols: [0, window[1] - 1], border: Border::Zeros };
                Windows::padded(image, c, window, stride, padding)
            }
        }
    }

    /// Every value that another one, repeated along some axes, gets the shape of, with these axes.
    fn broadcasts(&self, x: Var) -> Vec<(Var, Range<usize>)> {
        let mut found = Vec::new();
        for &(like, _) in &self.values {
            let rank = self.tape.shape(like).rank();
            for (first, end) in (0..=rank).flat_map(|first| (first..=rank).map(move |end| (first, end))) {
                let gains = first == 0 && end > 0;
                let flags = if gains { !self.per_example(x) } else { self.per_example(x) == self.per_example(like) };
                if flags && self.tape.shape(like).without(first..end) == *self.tape.shape(x) {
                    found.push((like, first..end));
                }
            }
        }
        found
    }

    /// Records a step, or nothing if no operands fit.
    pub(super) fn step(&mut self, step: Step) {
        if let Some((v, bound)) = self.recorded(step) {
            self.keep(v, bound, step.choice);
        }
    }

    fn recorded(&mut self, Step { kind, x, y, choice }: Step) -> Option<(Var, f64)> {
        let digit = |n: usize| usize::from(choice) % n;
        match kind % KINDS {
            0..=1 => self.affine(x, y, choice),
            2 => self.product(x, y),
            3..=7 => self.shuffle(kind % KINDS - 3, x, y, choice),
            8..=12 => {
                let (x, a) = self.any(x);
                let (y, b) = self.like(y, x);
                Some(match kind % KINDS {
                    8 => (self.tape.add(x, y), a + b),
                    9 => (self.tape.sub(x, y), a + b),
                    10 => (self.tape.mul(x, y), a * b),
                    11 => {
                        let y = self.positive(y);
                        (self.tape.div(x, y), 3.0 * a)
                    }
                    // A factor that is not differentiated.
                    _ => {
                        let shape = *self.tape.shape(x);
                        let value = |i: usize| T::of([0.5, 0.0, -1.0, 1.5][(i + digit(4)) % 4]);
                        let values: Vec<T> = self.places(&shape, self.per_example(x)).map(value).collect();
                        let c = if self.per_example(x) { self.tape.target(shape, &values) } else { self.tape.constant(shape, &values) };
                        (self.tape.mul(x, c), 1.5 * a)
                    }
                })
            }
            13 => {
                let ((x, a), factor) = (self.any(x), [-1.0, 0.5, 1.25, 0.0][digit(4)]);
                Some((self.tape.scale(x, factor), a * factor.abs()))
            }
            // An own function, with or without its slope.
            14..=16 if y.is_multiple_of(8) => {
                let (x, a) = self.any(x);
                let (f, bound) = if choice.is_multiple_of(2) { (GIVEN, 1.6 * a) } else { (DIFFERENCES, 1.0) };
                Some((self.tape.apply(f, x), bound))
            }
            14..=16 => self.map(x, choice),
            17 => {
                let ((x, a), p) = (self.any(x), [3.0, 2.0, 1.0, 0.0, -1.5, 0.5][digit(6)]);
                let (x, bound) = if p < 1.0 { (self.positive(x), 4.5) } else { (x, a.powf(p)) };
                Some((self.tape.powf(x, p), bound))
            }
            18..=19 => self.along_rows(x, y, digit(5)),
            20 => self.sum(x, choice),
            21 => {
                let (x, bound) = self.any(x);
                let ways = self.broadcasts(x);
                let (like, axes) = ways[digit(ways.len())].clone();
                Some((self.tape.broadcast(x, axes, like), bound))
            }
            22 => self.gather(x, choice),
            _ => {
                let (x, bound) = self.image(x)?;
                let windows = self.windows(x, choice / 5);
                if digit(5) == 4 {
                    return self.convolution((x, bound), windows, y, choice);
                }
                Some(match digit(5) {
                    0 => (self.tape.patches(x, windows), bound),
                    1 => (self.tape.sum_pool(x, windows, 0.3), 2.0 * bound),
                    2 => (self.tape.avg_pool(x, windows), bound),
                    _ => (self.tape.max_pool(x, windows), bound),
                })
            }
        }
    }

    fn affine(&mut self, x: u16, y: u16, choice: u16) -> Option<(Var, f64)> {
        let (x, a) = self.pick(x, |r, v| !r.own_axes(v).is_empty())?;
        let k = self.tape.shape(x).cols();
        let wanted = [k, 1 + usize::from(choice) % 3];
        let there = self.pick(y, |r, v| !r.per_example(v) && r.tape.shape(v).rank() == 2 && r.dims(v)[0] == k);
        let (w, b) = if let Some(found) = there { found } else { self.weight(y, wanted)? };
        let n_out = self.tape.shape(w).cols();
        let bias = self.pick(choice / 3, |r, v| !r.per_example(v) && r.dims(v) == [n_out]).filter(|_| choice.is_multiple_of(2));
        let scale = [1.0, 0.7][usize::from(choice / 2) % 2];
        let bound = scale * k as f64 * a * b + bias.map_or(0.0, |(_, c)| 0.3 * c);
        // By its other name every second time, which is to be the same.
        let z = if bias.is_none() && choice.is_multiple_of(5) && self.tape.shape(x).rank() >= 2 {
            self.tape.product(x, w, scale)
        } else {
            self.tape.affine(x, w, scale, bias.map(|(b, _)| (b, 0.3)))
        };
        Some((z, bound))
    }

    fn convolution(&mut self, (x, a): (Var, f64), windows: Windows, y: u16, choice: u16) -> Option<(Var, f64)> {
        let k = windows.cells() * windows.channels();
        let (w, b) = self.weight(y, [k, 1 + usize::from(choice / 7) % 2])?;
        let out = self.tape.shape(w).cols();
        let bias = self.pick(choice / 3, |r, v| !r.per_example(v) && r.dims(v) == [out]);
        let bound = 0.7 * k as f64 * a * b + bias.map_or(0.0, |(_, c)| 0.3 * c);
        Some((self.tape.conv(x, w, windows, 0.7, bias.map(|(b, _)| (b, 0.3))), bound))
    }

    fn product(&mut self, x: u16, y: u16) -> Option<(Var, f64)> {
        let (y, b) = self.pick(y, |r, v| r.tape.shape(v).rank() >= 3 && r.own_axes(v).len() >= 2)?;
        let to = self.dims(y);
        let (leading, k) = (&to[..to.len() - 2], to[to.len() - 2]);
        let left = self.pick(x, |r, v| {
            let from = r.dims(v);
            let one_for_all = from.len() == 2 && !r.per_example(v);
            let each = from.len() == to.len() && r.per_example(v) == r.per_example(y) && from[..from.len() - 2] == *leading;
            (one_for_all || each) && from[from.len() - 1] == k
        });
        // There is always the matrix itself, transposed.
        let (x, a) = left.unwrap_or_else(|| (self.tape.transpose(y), b));
        Some((self.tape.product(x, y, 0.7), 0.7 * k as f64 * a * b))
    }

    /// Operations that only move entries.
    fn shuffle(&mut self, kind: u8, x: u16, y: u16, choice: u16) -> Option<(Var, f64)> {
        let choice = usize::from(choice);
        match kind {
            0 => {
                let (x, bound) = self.pick(x, |r, v| r.own_axes(v).len() >= 2)?;
                Some((self.tape.transpose(x), bound))
            }
            1 => {
                let (x, bound) = self.any(x);
                let (dims, own) = (self.dims(x), self.own_axes(x));
                let (examples, own) = (&dims[..own.start], &dims[own]);
                let flat = own.iter().product();
                let mut turned = own.to_vec();
                turned.reverse();
                let own = [vec![flat], turned, vec![flat, 1], vec![1, flat]][choice % 4].clone();
                Some((self.tape.reshape(x, &[examples, &own].concat()[..]), bound))
            }
            2..=3 => {
                // Sometimes the examples are cut, which mixes them.
                let (x, bound) = self.pick(x, |r, v| r.tape.shape(v).rank() >= 1)?;
                let (own, rank) = (self.own_axes(x), self.tape.shape(x).rank());
                let axes = if choice.is_multiple_of(16) { 0..rank } else { own };
                let axis = axes.clone().nth(choice % axes.len().max(1))?;
                let n = self.dims(x)[axis];
                let start = (choice / 5) % n.max(1);
                let some = (n - start).max(1);
                // Nothing every eighth time.
                let end = if choice.is_multiple_of(8) { start } else { n.min(start + 1 + (choice / 20) % some) };
                Some((self.tape.slice(x, axis, start..end), bound))
            }
            _ => {
                let (x, a) = self.pick(x, |r, v| r.tape.shape(v).rank() >= 1)?;
                let (own, rank) = (self.own_axes(x), self.tape.shape(x).rank());
                let axes = if choice.is_multiple_of(16) { 0..rank } else { own };
                let axis = axes.clone().nth(choice % axes.len().max(1))?;
                let without = |r: &Self, v: Var| (r.tape.shape(v).without(axis..axis + 1), r.per_example(v));
                let fits = |r: &Self, v: Var| r.tape.shape(v).rank() == rank && without(r, v) == without(r, x);
                let (y, b) = self.pick(y, fits).expect("it fits itself");
                let parts = [vec![x, y], vec![y, x], vec![x, y, x]][choice % 3].clone();
                Some((self.tape.concat(&parts, axis), a.max(b)))
            }
        }
    }

    fn map(&mut self, x: u16, choice: u16) -> Option<(Var, f64)> {
        let (x, a) = self.any(x);
        let phi = Phi::ALL[usize::from(choice) % Phi::ALL.len()];
        Some(match phi.name() {
            "ln" | "sqrt" => {
                let x = self.positive(x);
                (self.tape.map(phi, x), 2.0)
            }
            "exp" => (self.positive(x), 2.8),
            "relu" | "abs" | "leaky_relu" | "gelu" | "silu" | "softplus" => (self.tape.map(phi, x), a + 0.7),
            _ => (self.tape.map(phi, x), 1.0),
        })
    }

    /// Operations that take the last axis away, and the softmax.
    fn along_rows(&mut self, x: u16, y: u16, which: usize) -> Option<(Var, f64)> {
        // Of nothing the logarithm of a sum is −∞, which has no differences.
        let some = which >= 2;
        let (x, a) = self.pick(x, |r, v| !r.own_axes(v).is_empty() && (!some || r.tape.shape(v).cols() > 0))?;
        let ((y, b), k) = (self.like(y, x), self.tape.shape(x).cols() as f64);
        Some(match which {
            0 => (self.tape.row_dot(x, y), k * a * b),
            1 => {
                // Far from zero, where the norm has a kink.
                let x = self.positive(x);
                (self.tape.norm(x), 2.8 * k)
            }
            2 => (self.tape.log_sum_exp(x), a + k),
            3 => (self.tape.softmax(x), 1.0),
            _ => (self.tape.cross_entropy(x, y), a + k + k * a * b),
        })
    }

    fn sum(&mut self, x: u16, choice: u16) -> Option<(Var, f64)> {
        let (x, bound) = self.any(x);
        let choice = usize::from(choice);
        let mut axes = self.own_axes(x);
        if choice.is_multiple_of(16) {
            axes.start = 0;
        }
        let first = axes.start + choice / 3 % (axes.len() + 1);
        let axes = first..first + choice / 11 % (axes.end - first + 1);
        let n = self.tape.shape(x).axes(axes.clone()).n;
        Some(if choice.is_multiple_of(3) && n > 0 {
            (self.tape.mean_axes(x, axes), bound)
        } else {
            (self.tape.sum_axes(x, axes, 0.6), 0.6 * n as f64 * bound)
        })
    }

    fn gather(&mut self, x: u16, choice: u16) -> Option<(Var, f64)> {
        let (table, bound) = self.pick(x, |r, v| !r.per_example(v) && (1..=3).contains(&r.tape.shape(v).rank()) && r.dims(v)[0] > 0)?;
        let (n, rank, choice) = (self.dims(table)[0], self.tape.shape(table).rank(), usize::from(choice));
        let shared = choice.is_multiple_of(4);
        let dims: Shape = if shared {
            [2].into()
        } else if rank <= 2 && choice % 4 > 1 {
            [self.examples.len(), 2].into()
        } else {
            [self.examples.len()].into()
        };
        let number = |i: usize| T::of(((i * (choice / 4 % 3) + choice / 12) % n) as f64);
        let numbers: Vec<T> = self.places(&dims, !shared).map(number).collect();
        let rows = if shared { self.tape.constant(dims, &numbers) } else { self.tape.target(dims, &numbers) };
        Some((self.tape.gather(table, rows), bound))
    }
}

//! Dual numbers: an independent forward mode, and second derivatives.

use crate::apply::put;
use crate::elementwise::Elementwise;
use crate::planes::{PIECE, Planes, join};
use crate::scalar::Scalar;
use rayon::prelude::*;
use simd::{Accumulate, Convolution, Mat, MatMut, Phi};
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// `re + eps·ε` with `ε² = 0`: a value and its derivative along one direction.
///
/// A tape over duals is a forward mode that shares no rule with [`push`](crate::Tape::push), and a reverse pass over
/// duals gives Hessian-vector products (Pearlmutter 1994).
///
/// ```
/// use autodiff::{Dual, Scalar};
/// let x = Dual { re: 3.0_f64, eps: 1.0 };
/// let y = x * x + Dual::of(1.0) / x;
/// assert_eq!(y.re, 9.0 + 1.0 / 3.0);
/// assert!((y.eps - (6.0 - 1.0 / 9.0)).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dual<T> {
    /// The value.
    pub re: T,
    /// The derivative.
    pub eps: T,
}

impl<T: Scalar> Add for Dual<T> {
    type Output = Self;
    fn add(self, y: Self) -> Self {
        Dual { re: self.re + y.re, eps: self.eps + y.eps }
    }
}

impl<T: Scalar> Sub for Dual<T> {
    type Output = Self;
    fn sub(self, y: Self) -> Self {
        Dual { re: self.re - y.re, eps: self.eps - y.eps }
    }
}

impl<T: Scalar> Mul for Dual<T> {
    type Output = Self;
    fn mul(self, y: Self) -> Self {
        Dual { re: self.re * y.re, eps: self.re * y.eps + self.eps * y.re }
    }
}

impl<T: Scalar> Div for Dual<T> {
    type Output = Self;
    fn div(self, y: Self) -> Self {
        let re = self.re / y.re;
        Dual { re, eps: (self.eps - re * y.eps) / y.re }
    }
}

impl<T: Scalar> Neg for Dual<T> {
    type Output = Self;
    fn neg(self) -> Self {
        Dual { re: -self.re, eps: -self.eps }
    }
}

impl<T: Scalar> AddAssign for Dual<T> {
    fn add_assign(&mut self, y: Self) {
        *self = *self + y;
    }
}

/// `φ'(x)` where `y = φ(x)`, in arithmetic alone, so that it can be differentiated in turn.
fn derivative<T: Scalar>(phi: Phi, x: T, y: T) -> T {
    match phi {
        Phi::Relu if x.primal() > 0.0 => T::ONE,
        Phi::Relu | Phi::Abs | Phi::LeakyRelu(_) if x.primal().is_nan() => x,
        Phi::Relu => T::ZERO,
        Phi::Erf => T::of(std::f64::consts::FRAC_2_SQRT_PI) * T::phi(Phi::Exp, -(x * x)),
        Phi::Tanh => (T::ONE - y) * (T::ONE + y),
        Phi::Exp => y,
        Phi::Ln => T::ONE / x,
        Phi::Sigmoid => y * T::phi(Phi::Sigmoid, -x),
        Phi::Softplus => T::phi(Phi::Sigmoid, x),
        Phi::Gelu => {
            // Φ(x) + x·e^(−x²/2)/√2π.
            let [half, root, density] = [0.5, std::f64::consts::FRAC_1_SQRT_2, 0.398_942_280_401_432_7].map(T::of);
            half * (T::ONE + T::phi(Phi::Erf, root * x)) + x * (density * T::phi(Phi::Exp, -(half * x * x)))
        }
        Phi::Silu => T::phi(Phi::Sigmoid, x) * (T::ONE + x * T::phi(Phi::Sigmoid, -x)),
        Phi::Sin => T::phi(Phi::Cos, x),
        Phi::Cos => -T::phi(Phi::Sin, x),
        Phi::Abs if x.primal() > 0.0 => T::ONE,
        Phi::Abs if x.primal() < 0.0 => -T::ONE,
        Phi::Abs => T::ZERO,
        Phi::LeakyRelu(_) if x.primal() > 0.0 => T::ONE,
        Phi::LeakyRelu(alpha) => T::of(alpha),
        Phi::Sqrt => T::of(0.5) / y,
    }
}

impl<T: Scalar> Scalar for Dual<T> {
    type Parts = Planes<T>;
    const ZERO: Self = Dual { re: T::ZERO, eps: T::ZERO };
    const ONE: Self = Dual { re: T::ONE, eps: T::ZERO };

    fn of(x: f64) -> Self {
        Dual { re: T::of(x), eps: T::ZERO }
    }

    fn primal(self) -> f64 {
        self.re.primal()
    }

    fn phi(phi: Phi, x: Self) -> Self {
        let re = T::phi(phi, x.re);
        Dual { re, eps: derivative(phi, x.re, re) * x.eps }
    }

    fn derivative(f: Elementwise, order: usize, x: Self) -> Self {
        Dual { re: T::derivative(f, order, x.re), eps: T::derivative(f, order + 1, x.re) * x.eps }
    }

    fn ln(self) -> Self {
        Dual { re: self.re.ln(), eps: self.eps / self.re }
    }

    fn sqrt(self) -> Self {
        let re = self.re.sqrt();
        Dual { re, eps: self.eps / (re + re) }
    }

    fn powf(self, p: f64) -> Self {
        let slope = if p == 0.0 { T::ZERO } else { T::of(p) * self.re.powf(p - 1.0) };
        Dual { re: self.re.powf(p), eps: slope * self.eps }
    }

    fn product(a: Mat<'_, Self>, b: Mat<'_, Self>, to: Accumulate, mut c: MatMut<'_, Self>, planes: &mut Planes<T>) {
        let (m, n) = (a.rows(), b.cols());
        let multiply = |a: Mat<'_, T>, b: Mat<'_, T>, to, c: &mut [T], parts: &mut T::Parts| {
            T::product(a, b, to, MatMut::new(c, a.rows(), n), parts);
        };
        let (re, eps) = planes.bilinear(a, b, m * n, true, multiply);
        if let Some(all) = c.reborrow().as_mut_slice() {
            return join(to, re, eps, all);
        }
        for i in 0..m {
            let (re, eps) = (&re[i * n..(i + 1) * n], &eps[i * n..(i + 1) * n]);
            match c.row_mut(i) {
                Some(row) => join(to, re, eps, row),
                None => (0..n).for_each(|j| {
                    let new = Dual { re: re[j], eps: eps[j] };
                    c.set(i, j, if to == Accumulate::Set { new } else { c.at(i, j) + new });
                }),
            }
        }
    }

    fn conv(c: &Convolution, images: usize, x: &[Self], w: &[Self], to: Accumulate, y: &mut [Self], planes: &mut Planes<T>) {
        // Tangents of images are further images.
        planes.flat(x, w, to, y, true, |sets, x, w, to, y, parts| T::conv(c, sets * images, x, w, to, y, parts));
    }

    fn conv_input_gradient(
        c: &Convolution,
        images: usize,
        g: &[Self],
        w: &[Self],
        to: Accumulate,
        dx: &mut [Self],
        planes: &mut Planes<T>,
    ) {
        planes.flat(g, w, to, dx, true, |sets, g, w, to, dx, parts| T::conv_input_gradient(c, sets * images, g, w, to, dx, parts));
    }

    fn conv_weight_gradient(
        c: &Convolution,
        images: usize,
        x: &[Self],
        g: &[Self],
        to: Accumulate,
        dw: &mut [Self],
        planes: &mut Planes<T>,
    ) {
        planes.flat(x, g, to, dw, false, |_, x, g, to, dw, parts| T::conv_weight_gradient(c, images, x, g, to, dw, parts));
    }

    fn conv_example_gradients(
        c: &Convolution,
        images: usize,
        lanes: usize,
        x: &[Self],
        g: &[Self],
        to: Accumulate,
        dw: &mut [Self],
        planes: &mut Planes<T>,
    ) {
        planes.flat(x, g, to, dw, false, |_, x, g, to, dw, parts| T::conv_example_gradients(c, images, lanes, x, g, to, dw, parts));
    }

    fn map(phi: Phi, x: &[Self], y: &mut [Self], planes: &mut Planes<T>) {
        let Planes { left, right, parts, .. } = planes;
        let n = x.len();
        left.resize(n.max(left.len()), T::ZERO);
        right.resize(n.max(right.len()), T::ZERO);
        let (from, to) = (&mut left[..n], &mut right[..n]);
        put(Accumulate::Set, from, x.iter().map(|x| x.re));
        T::map(phi, from, to, parts);
        let piece = |y: &mut [Self], x: &[Self], re: &[T]| {
            put(Accumulate::Set, y, x.iter().zip(re).map(|(x, &re)| Dual { re, eps: derivative(phi, x.re, re) * x.eps }));
        };
        if n <= PIECE {
            return piece(y, x, to);
        }
        let pieces = y.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).zip(to.par_chunks(PIECE));
        pieces.for_each(|((y, x), re)| piece(y, x, re));
    }

    fn slope(phi: Phi, x: &[Self], y: &[Self], dx: &[Self], to: Accumulate, dy: &mut [Self], _: &mut Planes<T>) {
        let piece = |dy: &mut [Self], x: &[Self], y: &[Self], dx: &[Self]| {
            put(to, dy, x.iter().zip(y).zip(dx).map(|((&x, &y), &dx)| derivative(phi, x, y) * dx));
        };
        if dy.len() <= PIECE {
            return piece(dy, x, y, dx);
        }
        let pieces = dy.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).zip(y.par_chunks(PIECE)).zip(dx.par_chunks(PIECE));
        pieces.for_each(|(((dy, x), y), dx)| piece(dy, x, y, dx));
    }

    fn softmax(x: Mat<'_, Self>, log_sum_exp: &mut [Self], softmax: &mut [Self]) {
        let n = x.cols();
        for i in 0..x.rows() {
            if n == 0 {
                log_sum_exp[i] = Self::of(f64::NEG_INFINITY);
                continue;
            }
            // The shift is a constant: it cancels in value and in every derivative.
            let largest = (0..n).map(|j| x.at(i, j).primal()).fold(f64::NEG_INFINITY, f64::max);
            let shift = Self::of(largest);
            let row = &mut softmax[i * n..(i + 1) * n];
            let mut sum = Self::ZERO;
            for (j, p) in row.iter_mut().enumerate() {
                let x = x.at(i, j);
                // Entries equal to an infinite maximum share the mass equally, as they do without tangents.
                let difference = if x.primal() == largest && largest.is_infinite() { Dual { re: T::ZERO, eps: x.eps } } else { x - shift };
                *p = Self::phi(Phi::Exp, difference);
                sum += *p;
            }
            for p in row.iter_mut() {
                *p = *p / sum;
            }
            log_sum_exp[i] = sum.ln() + shift;
        }
    }
}

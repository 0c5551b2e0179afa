//! Dual numbers: an independent forward mode, and second derivatives.

use crate::scalar::Scalar;
use simd::{Accumulate, Mat, MatMut, Phi};
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
        Phi::Relu if x.primal().is_nan() => x,
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
    }
}

/// Memory for the values and the tangents of two factors and of their product, each in a plane of its own.
#[derive(Clone, Debug, Default)]
pub struct Planes<T: Scalar> {
    left: Vec<T>,
    right: Vec<T>,
    result: Vec<T>,
    parts: T::Parts,
}

/// The values and the tangents of a matrix in planes; `None` for tangents that are all zero.
fn split<'p, T: Scalar>(x: Mat<'_, Dual<T>>, planes: &'p mut Vec<T>) -> (Mat<'p, T>, Option<Mat<'p, T>>) {
    let (m, n) = (x.rows(), x.cols());
    planes.resize(2 * m * n, T::ZERO);
    let (re, eps) = planes.split_at_mut(m * n);
    // In the order in which they lie, by rows or by columns.
    let turned = x.row_stride() == 1 && x.col_stride() != 1;
    let (lines, x) = if turned { (n, x.t()) } else { (m, x) };
    let length = x.cols();
    let mut still = true;
    for i in 0..lines {
        let line = re[i * length..(i + 1) * length].iter_mut().zip(&mut eps[i * length..(i + 1) * length]);
        let mut take = |to: (&mut T, &mut T), d: Dual<T>| {
            (*to.0, *to.1) = (d.re, d.eps);
            still &= d.eps == T::ZERO;
        };
        match x.row(i) {
            Some(row) => line.zip(row).for_each(|(to, &d)| take(to, d)),
            None => line.enumerate().for_each(|(j, to)| take(to, x.at(i, j))),
        }
    }
    let plane = |values: &'p [T]| if turned { Mat::new(values, n, m).t() } else { Mat::new(values, m, n) };
    (plane(re), (!still).then(|| plane(eps)))
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

    /// Split into planes: `(a + a'ε)(b + b'ε) = ab + (ab' + a'b)ε`, three products of the scalars below, or fewer if a factor has no tangent.
    fn product(a: Mat<'_, Self>, b: Mat<'_, Self>, to: Accumulate, mut c: MatMut<'_, Self>, planes: &mut Planes<T>) {
        let (m, n) = (a.rows(), b.cols());
        let Planes { left, right, result, parts } = planes;
        let (a_re, a_eps) = split(a, left);
        let (b_re, b_eps) = split(b, right);
        result.resize(2 * m * n, T::ZERO);
        let (re, eps) = result.split_at_mut(m * n);
        T::product(a_re, b_re, Accumulate::Set, MatMut::new(re, m, n), parts);
        let mut first = Accumulate::Set;
        for (a, b) in [(Some(a_re), b_eps), (a_eps, Some(b_re))] {
            if let Some((a, b)) = a.zip(b) {
                T::product(a, b, first, MatMut::new(eps, m, n), parts);
                first = Accumulate::Add;
            }
        }
        if first == Accumulate::Set {
            eps.fill(T::ZERO);
        }
        for i in 0..m {
            for j in 0..n {
                let new = Dual { re: re[i * n + j], eps: eps[i * n + j] };
                c.set(i, j, if to == Accumulate::Set { new } else { c.at(i, j) + new });
            }
        }
    }

    fn map(phi: Phi, x: &[Self], y: &mut [Self], _: &mut Planes<T>) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = Self::phi(phi, x);
        }
    }

    fn slope(phi: Phi, x: &[Self], y: &[Self], dx: &[Self], to: Accumulate, dy: &mut [Self], _: &mut Planes<T>) {
        for i in 0..dy.len() {
            let new = derivative(phi, x[i], y[i]) * dx[i];
            match to {
                Accumulate::Set => dy[i] = new,
                Accumulate::Add => dy[i] += new,
            }
        }
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

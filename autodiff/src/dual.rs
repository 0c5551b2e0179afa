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

    /// Split into planes: `(a + a'ε)(b + b'ε) = ab + (ab' + a'b)ε`, three products of the scalars below.
    fn product(a: Mat<'_, Self>, b: Mat<'_, Self>, to: Accumulate, mut c: MatMut<'_, Self>) {
        let (m, k, n) = (a.rows(), a.cols(), b.cols());
        let plane = |x: Mat<'_, Self>, part: fn(Self) -> T| -> Vec<T> {
            (0..x.rows()).flat_map(|i| (0..x.cols()).map(move |j| part(x.at(i, j)))).collect()
        };
        let (a_re, a_eps) = (plane(a, |d| d.re), plane(a, |d| d.eps));
        let (b_re, b_eps) = (plane(b, |d| d.re), plane(b, |d| d.eps));
        let [a_re, a_eps] = [&a_re, &a_eps].map(|p| Mat::new(p, m, k));
        let [b_re, b_eps] = [&b_re, &b_eps].map(|p| Mat::new(p, k, n));
        let (mut re, mut eps) = (vec![T::ZERO; m * n], vec![T::ZERO; m * n]);
        T::product(a_re, b_re, Accumulate::Set, MatMut::new(&mut re, m, n));
        T::product(a_re, b_eps, Accumulate::Set, MatMut::new(&mut eps, m, n));
        T::product(a_eps, b_re, Accumulate::Add, MatMut::new(&mut eps, m, n));
        for i in 0..m {
            for j in 0..n {
                let new = Dual { re: re[i * n + j], eps: eps[i * n + j] };
                let old = match to {
                    Accumulate::Set => Self::ZERO,
                    Accumulate::Add => c.at(i, j),
                };
                c.set(i, j, old + new);
            }
        }
    }

    fn map(phi: Phi, x: &[Self], y: &mut [Self]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = Self::phi(phi, x);
        }
    }

    fn slope(phi: Phi, x: &[Self], y: &[Self], dx: &[Self], to: Accumulate, dy: &mut [Self]) {
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
            // The shift is a constant: it cancels in value and in every derivative.
            let shift = (0..n).map(|j| x.at(i, j).primal()).fold(f64::NEG_INFINITY, f64::max);
            let shift = Self::of(if shift.is_finite() { shift } else { 0.0 });
            let row = &mut softmax[i * n..(i + 1) * n];
            let mut sum = Self::ZERO;
            for (j, p) in row.iter_mut().enumerate() {
                *p = Self::phi(Phi::Exp, x.at(i, j) - shift);
                sum += *p;
            }
            for p in row.iter_mut() {
                *p = *p / sum;
            }
            log_sum_exp[i] = sum.ln() + shift;
        }
    }
}

//! Scalars that a tape can hold: `f32`, `f64`, and dual numbers over either.

use crate::elementwise::Elementwise;
use simd::{Accumulate, Convolution, Float, Mat, MatMut, Phi};
use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// A number that a tape can hold.
///
/// The array operations have their own entries because real scalars hand them to [`simd`] whole.
pub trait Scalar:
    Copy
    + Debug
    + Default
    + PartialEq
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Memory in which array operations take a number apart; nothing for real numbers.
    type Parts: Clone + Debug + Default + Send + Sync;
    /// The constant `x`, rounded.
    fn of(x: f64) -> Self;
    /// The value itself, without tangents: comparisons look at it and at nothing else.
    fn primal(self) -> f64;
    /// `φ(x)`.
    fn phi(phi: Phi, x: Self) -> Self;
    /// The derivative of a function of the given order, `f(x)` for order 0.
    fn derivative(f: Elementwise, order: usize, x: Self) -> Self;
    /// `ln x`.
    fn ln(self) -> Self;
    /// `√x`.
    fn sqrt(self) -> Self;
    /// `xᵖ`. Its derivative `p·xᵖ⁻¹` is 0 everywhere for `p = 0`.
    fn powf(self, p: f64) -> Self;
    /// `c = a·b` or `c += a·b`.
    fn product(a: Mat<'_, Self>, b: Mat<'_, Self>, to: Accumulate, c: MatMut<'_, Self>, parts: &mut Self::Parts);
    /// `y = x ∗ w` or `y += x ∗ w`, as [`simd::conv`].
    fn conv(c: &Convolution, images: usize, x: &[Self], w: &[Self], to: Accumulate, y: &mut [Self], parts: &mut Self::Parts);
    /// The transpose of [`conv`](Scalar::conv) in the images, as [`simd::conv_input_gradient`].
    fn conv_input_gradient(
        c: &Convolution,
        images: usize,
        g: &[Self],
        w: &[Self],
        to: Accumulate,
        dx: &mut [Self],
        parts: &mut Self::Parts,
    );
    /// The transpose of [`conv`](Scalar::conv) in the weights, of one lane, as [`simd::conv_weight_gradient`].
    fn conv_weight_gradient(
        c: &Convolution,
        images: usize,
        x: &[Self],
        g: &[Self],
        to: Accumulate,
        dw: &mut [Self],
        parts: &mut Self::Parts,
    );
    /// The same for each image, of `lanes` lanes, as [`simd::conv_example_gradients`].
    fn conv_example_gradients(
        c: &Convolution,
        images: usize,
        lanes: usize,
        x: &[Self],
        g: &[Self],
        to: Accumulate,
        dw: &mut [Self],
        parts: &mut Self::Parts,
    );
    /// `y = φ(x)`, entry by entry.
    fn map(phi: Phi, x: &[Self], y: &mut [Self], parts: &mut Self::Parts);
    /// `dy = φ'(x)·dx` or `dy += φ'(x)·dx`, entry by entry; `y = φ(x)` is given.
    fn slope(phi: Phi, x: &[Self], y: &[Self], dx: &[Self], to: Accumulate, dy: &mut [Self], parts: &mut Self::Parts);
    /// Row by row `log Σ exp(x)` and `exp(x) / Σ exp(x)`.
    fn softmax(x: Mat<'_, Self>, log_sum_exp: &mut [Self], softmax: &mut [Self]);
}

/// Memory for intermediate results, which grows as needed and is reused by all that follows.
#[derive(Clone, Debug, Default)]
pub struct Scratch<T: Scalar> {
    pub(crate) values: Vec<T>,
    pub(crate) parts: T::Parts,
}

impl<T: Scalar> Scratch<T> {
    /// No memory yet.
    pub fn new() -> Self {
        Scratch { values: Vec::new(), parts: T::Parts::default() }
    }
}

macro_rules! real {
    ($t:ty) => {
        impl Scalar for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            type Parts = ();
            fn of(x: f64) -> Self {
                <Self as Float>::of(x)
            }
            fn primal(self) -> f64 {
                f64::from(self)
            }
            fn phi(phi: Phi, x: Self) -> Self {
                phi.value(x)
            }
            fn derivative(f: Elementwise, order: usize, x: Self) -> Self {
                <Self as Float>::of(f.derivative(order, f64::from(x)))
            }
            fn ln(self) -> Self {
                self.ln()
            }
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            fn powf(self, p: f64) -> Self {
                self.powf(<Self as Float>::of(p))
            }
            fn product(a: Mat<'_, Self>, b: Mat<'_, Self>, to: Accumulate, c: MatMut<'_, Self>, (): &mut ()) {
                simd::product(a, b, to, c);
            }
            fn conv(c: &Convolution, images: usize, x: &[Self], w: &[Self], to: Accumulate, y: &mut [Self], (): &mut ()) {
                simd::conv(c, images, x, w, to, y);
            }
            fn conv_input_gradient(c: &Convolution, images: usize, g: &[Self], w: &[Self], to: Accumulate, dx: &mut [Self], (): &mut ()) {
                simd::conv_input_gradient(c, images, g, w, to, dx);
            }
            fn conv_weight_gradient(c: &Convolution, images: usize, x: &[Self], g: &[Self], to: Accumulate, dw: &mut [Self], (): &mut ()) {
                simd::conv_weight_gradient(c, images, 1, x, g, to, dw);
            }
            fn conv_example_gradients(
                c: &Convolution,
                images: usize,
                lanes: usize,
                x: &[Self],
                g: &[Self],
                to: Accumulate,
                dw: &mut [Self],
                (): &mut (),
            ) {
                simd::conv_example_gradients(c, images, lanes, x, g, to, dw);
            }
            fn map(phi: Phi, x: &[Self], y: &mut [Self], (): &mut ()) {
                simd::map(phi, x, y);
            }
            fn slope(phi: Phi, x: &[Self], y: &[Self], dx: &[Self], to: Accumulate, dy: &mut [Self], (): &mut ()) {
                simd::slope(phi, x, y, dx, to, dy);
            }
            fn softmax(x: Mat<'_, Self>, log_sum_exp: &mut [Self], softmax: &mut [Self]) {
                simd::softmax(x, log_sum_exp, softmax);
            }
        }
    };
}
real!(f32);
real!(f64);

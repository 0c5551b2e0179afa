//! The elementwise functions with their slopes, and the softmax of rows.

use rayon::prelude::*;

use crate::lane::{self, Arith, Plain};
use crate::level::{Kernel, Level};
use crate::{Accumulate, Float};

/// An elementwise function φ.
///
/// | φ | φ(x) | φ'(x) | error of φ | error of φ' |
/// |---|---|---|---|---|
/// | `Relu` | max(x, 0) | 1 for x > 0, 0 for x ≤ 0 | 0 | 0 |
/// | `Erf` | 2/√π ∫₀ˣ e^(−t²) dt | 2/√π · e^(−x²) | 1.3 ulp | 3 ulp |
/// | `Tanh` | (eˣ − e⁻ˣ)/(eˣ + e⁻ˣ) | (1 − y)(1 + y) with y = φ(x) | 1.5 ulp | 1.1 ε, absolute |
/// | `Exp` | eˣ | y | 1.1 ulp | 1.1 ulp |
///
/// The errors bound what either type shows at any level; the tests hold `f32` to them in a sweep over its whole range and `f64`
/// in samples (there with 1 ulp more, as the reference is rounded itself). ε is [`Float::EPSILON`]; as 1 − y
/// is what is left of y, the slope of tanh is small with no more relative accuracy than that.
///
/// NaN gives NaN, in ReLU and its slope as well; subnormal numbers are kept; the odd functions keep the sign of zero.
///
/// ```
/// use simd::Phi;
/// assert_eq!((Phi::Relu.value(-2.0), Phi::Relu.derivative(0.0)), (0.0, 0.0));
/// assert!((Phi::Erf.value(0.5_f64) - 0.520_499_877_813_046_5).abs() < 1e-15);
/// assert!((Phi::Erf.derivative(0.0_f64) - 1.128_379_167_095_512_6).abs() < 1e-15);
/// assert!((Phi::Tanh.derivative(1.0_f64) - 0.419_974_341_614_026_1).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phi {
    /// The rectifier max(x, 0).
    Relu,
    /// The error function.
    Erf,
    /// The hyperbolic tangent.
    Tanh,
    /// The exponential function.
    Exp,
}

impl Phi {
    /// All of them.
    pub const ALL: [Phi; 4] = [Phi::Relu, Phi::Erf, Phi::Tanh, Phi::Exp];

    /// The name in lower case, such as `"relu"`.
    pub fn name(self) -> &'static str {
        match self {
            Phi::Relu => "relu",
            Phi::Erf => "erf",
            Phi::Tanh => "tanh",
            Phi::Exp => "exp",
        }
    }

    /// The largest errors of φ and of φ' in the table above.
    pub const fn stated_error(self) -> (f64, f64) {
        match self {
            Phi::Relu => (0.0, 0.0),
            Phi::Erf => (1.3, 3.0),
            Phi::Tanh => (1.5, 1.1),
            Phi::Exp => (1.1, 1.1),
        }
    }

    /// φ(x), by the portable text.
    pub fn value<T: Float>(self, x: T) -> T {
        match self {
            Phi::Relu => lane::relu(x),
            Phi::Erf => lane::erf::<T, Plain>(x),
            Phi::Tanh => lane::tanh::<T, Plain>(x),
            Phi::Exp => lane::exp::<T, Plain>(x),
        }
    }

    /// φ'(x), by the portable text.
    pub fn derivative<T: Float>(self, x: T) -> T {
        derivative::<T, Plain>(self, x, self.value(x))
    }
}

/// φ'(x), given y = φ(x).
#[inline(always)]
fn derivative<T: Float, A: Arith>(phi: Phi, x: T, y: T) -> T {
    match phi {
        Phi::Relu => lane::step(x),
        Phi::Erf => lane::erf_slope::<T, A>(x),
        Phi::Tanh => (T::ONE - y) * (T::ONE + y),
        Phi::Exp => y,
    }
}

/// Arrays longer than this are shared by the threads, in pieces of this length.
const PIECE: usize = 1 << 14;

/// y ← φ(x), element by element.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn map<T: Float>(phi: Phi, x: &[T], y: &mut [T]) {
    map_at(Level::best(), phi, x, y);
}

/// [`map`] with the instructions of a given level.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn map_at<T: Float>(level: Level, phi: Phi, x: &[T], y: &mut [T]) {
    assert!(x.len() == y.len(), "a map of {} elements into {}", x.len(), y.len());
    if x.len() <= PIECE {
        return level.run(Map { phi, x, y });
    }
    x.par_chunks(PIECE).zip(y.par_chunks_mut(PIECE)).for_each(|(x, y)| level.run(Map { phi, x, y }));
}

/// dy ← φ'(x)·dx, or dy ← dy + φ'(x)·dx, given y = φ(x).
///
/// The product is the machine's, so 0·∞ and 0·NaN are NaN.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn slope<T: Float>(phi: Phi, x: &[T], y: &[T], dx: &[T], to: Accumulate, dy: &mut [T]) {
    slope_at(Level::best(), phi, x, y, dx, to, dy);
}

/// [`slope`] with the instructions of a given level.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn slope_at<T: Float>(level: Level, phi: Phi, x: &[T], y: &[T], dx: &[T], to: Accumulate, dy: &mut [T]) {
    let n = dy.len();
    assert!(x.len() == n && y.len() == n && dx.len() == n, "a slope of {} x, {} y and {} dx into {n} dy", x.len(), y.len(), dx.len());
    if n <= PIECE {
        return level.run(Slope { phi, x, y, dx, to, dy });
    }
    let x = x.par_chunks(PIECE).zip(y.par_chunks(PIECE)).zip(dx.par_chunks(PIECE));
    x.zip(dy.par_chunks_mut(PIECE)).for_each(|(((x, y), dx), dy)| level.run(Slope { phi, x, y, dx, to, dy }));
}

struct Map<'a, T> {
    phi: Phi,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Float> Kernel for Map<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let Map { phi, x, y } = self;
        // One loop a function: the choice stands outside, so that each loop is vectorized.
        match phi {
            Phi::Relu => each(x, y, lane::relu),
            Phi::Erf => each(x, y, lane::erf::<T, A>),
            Phi::Tanh => each(x, y, lane::tanh::<T, A>),
            Phi::Exp => each(x, y, lane::exp::<T, A>),
        }
    }
}

#[inline(always)]
fn each<T: Float>(x: &[T], y: &mut [T], f: impl Fn(T) -> T) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = f(x);
    }
}

struct Slope<'a, T> {
    phi: Phi,
    x: &'a [T],
    y: &'a [T],
    dx: &'a [T],
    to: Accumulate,
    dy: &'a mut [T],
}

impl<T: Float> Kernel for Slope<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        match self.phi {
            Phi::Relu => self.each(|x, y| derivative::<T, A>(Phi::Relu, x, y)),
            Phi::Erf => self.each(|x, y| derivative::<T, A>(Phi::Erf, x, y)),
            Phi::Tanh => self.each(|x, y| derivative::<T, A>(Phi::Tanh, x, y)),
            Phi::Exp => self.each(|x, y| derivative::<T, A>(Phi::Exp, x, y)),
        }
    }
}

impl<T: Float> Slope<'_, T> {
    #[inline(always)]
    fn each(self, derivative: impl Fn(T, T) -> T) {
        let Slope { phi: _, x, y, dx, to, dy } = self;
        let all = dy.iter_mut().zip(x).zip(y).zip(dx);
        match to {
            Accumulate::Set => all.for_each(
                #[inline(always)]
                |(((dy, &x), &y), &dx)| *dy = derivative(x, y) * dx,
            ),
            Accumulate::Add => all.for_each(
                #[inline(always)]
                |(((dy, &x), &y), &dx)| *dy += derivative(x, y) * dx,
            ),
        }
    }
}

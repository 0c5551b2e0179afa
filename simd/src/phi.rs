//! The elementwise functions: their names, formulas and errors.

use crate::Float;
use crate::lane::{self, Arith, Plain};

/// An elementwise function φ.
///
/// | φ | φ(x) | φ'(x) | error of φ | error of φ' |
/// |---|---|---|---|---|
/// | `Relu` | max(x, 0) | 1 for x > 0, 0 for x ≤ 0 | 0 | 0 |
/// | `Erf` | 2/√π ∫₀ˣ e^(−t²) dt | 2/√π · e^(−x²) | 1.3 ulp | 2.1 ulp |
/// | `Tanh` | (eˣ − e⁻ˣ)/(eˣ + e⁻ˣ) | (1 − y)(1 + y) with y = φ(x) | 1.4 ulp | 1.1 ε |
/// | `Exp` | eˣ | y | 1.1 ulp | 1.1 ulp |
/// | `Ln` | ln x | 1/x | 1 ulp | 0.5 ulp |
/// | `Sigmoid` | σ(x) = 1/(1 + e⁻ˣ) | σ(x)·σ(−x) | 2.5 ulp | 2.6 ulp |
/// | `Softplus` | ln(1 + eˣ) | σ(x) | 1.9 ulp | 2.5 ulp |
/// | `Gelu` | x·Φ(x) | Φ(x) + x·e^(−x²/2)/√2π | 3.8 ulp | 1.2 ε |
/// | `Silu` | x·σ(x) | σ(x)·(1 + x·σ(−x)) | 2.9 ulp | 2.1 ε |
/// | `Sin` | sin x | cos x | 0.9 ulp | 0.9 ulp |
/// | `Cos` | cos x | −sin x | 0.9 ulp | 0.9 ulp |
/// | `Abs` | \|x\| | sign x: 1 for x > 0, 0 for x = 0, −1 for x < 0 | 0 | 0 |
/// | `LeakyRelu(α)` | x for x > 0, αx for x ≤ 0 | 1 for x > 0, α for x ≤ 0 | 0.5 ulp | 0 |
/// | `Sqrt` | √x | 1/2y | 0.5 ulp | 1.5 ulp |
///
/// Φ(x) = ½·(1 + erf(x/√2)) is the distribution function of the normal distribution, so `Gelu` is the exact one, not its
/// approximation by tanh.
///
/// The errors bound what either type shows at any level, in the tails too. The tests hold `f32` to them in a sweep over its whole
/// range and `f64` in samples; a run of the tests takes every 211th `f32`, and a sweep over all of them was done at the levels AVX2 and
/// portable. Those in ulp are relative. ε is [`Float::EPSILON`], and the slopes whose
/// error is given in it have it absolutely: as 1 − y is what is left of y, the slope of tanh is small with no more relative accuracy
/// than that, and the slopes of `Gelu` and `Silu` cross zero between numbers. The α of `LeakyRelu` is rounded to the type of the
/// numbers first, and its errors are those of the function with the rounded α.
///
/// NaN gives NaN, in ReLU and its slope as well; the sine and the cosine of ±∞ and the logarithm and the root of a negative number
/// are NaN, and ln 0 is −∞. Subnormal numbers are kept, and the odd functions keep the sign of zero. √(−0) is −0, and its slope,
/// as 1/2y is, −∞; that at +0 is +∞.
///
/// ```
/// use simd::Phi;
/// assert_eq!((Phi::Relu.value(-2.0), Phi::Relu.derivative(0.0)), (0.0, 0.0));
/// assert!((Phi::Erf.value(0.5_f64) - 0.520_499_877_813_046_5).abs() < 1e-15);
/// assert!((Phi::Erf.derivative(0.0_f64) - 1.128_379_167_095_512_6).abs() < 1e-15);
/// assert!((Phi::Tanh.derivative(1.0_f64) - 0.419_974_341_614_026_1).abs() < 1e-15);
/// assert!((Phi::Sigmoid.value(1.0_f64) - 0.731_058_578_630_004_9).abs() < 1e-15);
/// assert!((Phi::Softplus.value(0.0_f64) - std::f64::consts::LN_2).abs() < 1e-15);
/// assert!((Phi::Gelu.value(1.0_f64) - 0.841_344_746_068_542_9).abs() < 1e-15);
/// assert!((Phi::Silu.value(-1.0_f64) + 0.268_941_421_369_995_1).abs() < 1e-15);
/// assert_eq!((Phi::Abs.value(-2.0), Phi::Abs.derivative(-2.0), Phi::Abs.derivative(0.0)), (2.0, -1.0, 0.0));
/// let leaky = Phi::LeakyRelu(0.25);
/// assert_eq!((leaky.value(3.0), leaky.value(-2.0), leaky.derivative(0.0)), (3.0, -0.5, 0.25));
/// assert_eq!((Phi::Sqrt.value(4.0), Phi::Sqrt.derivative(4.0), Phi::Sqrt.derivative(0.0)), (2.0, 0.25, f64::INFINITY));
/// // The tails keep their digits.
/// assert!((Phi::Softplus.value(-50.0_f64) / f64::exp(-50.0) - 1.0).abs() < 1e-15);
/// assert!((Phi::Gelu.value(-10.0_f64) / -7.619_853_024_160_527e-23 - 1.0).abs() < 1e-15);
/// assert!((Phi::Sin.value(1e22_f64) + 0.852_200_849_767_188_8).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phi {
    /// The rectifier max(x, 0).
    Relu,
    /// The error function.
    Erf,
    /// The hyperbolic tangent.
    Tanh,
    /// The exponential function.
    Exp,
    /// The natural logarithm.
    Ln,
    /// The logistic function 1/(1 + e⁻ˣ).
    Sigmoid,
    /// ln(1 + eˣ).
    Softplus,
    /// x·Φ(x), with Φ the distribution function of the normal distribution (Hendrycks and Gimpel 2016).
    Gelu,
    /// x/(1 + e⁻ˣ), which is also called swish (Elfwing, Uchibe and Doya 2018).
    Silu,
    /// The sine.
    Sin,
    /// The cosine.
    Cos,
    /// The absolute value |x|.
    Abs,
    /// x above 0 and αx below, with this slope α, any finite number (Maas, Hannun and Ng 2013).
    LeakyRelu(f64),
    /// The square root.
    Sqrt,
}

/// A bound of an error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// In units in the last place of the exact result.
    Ulp(f64),
    /// In units of [`Float::EPSILON`], whatever the size of the result.
    Epsilon(f64),
}

impl Phi {
    /// All of them; of those with a parameter, one.
    pub const ALL: [Phi; 14] = [
        Phi::Relu,
        Phi::Erf,
        Phi::Tanh,
        Phi::Exp,
        Phi::Ln,
        Phi::Sigmoid,
        Phi::Softplus,
        Phi::Gelu,
        Phi::Silu,
        Phi::Sin,
        Phi::Cos,
        Phi::Abs,
        Phi::LeakyRelu(0.01),
        Phi::Sqrt,
    ];

    /// The name in lower case, such as `"relu"`, without parameters.
    pub fn name(self) -> &'static str {
        match self {
            Phi::Relu => "relu",
            Phi::Erf => "erf",
            Phi::Tanh => "tanh",
            Phi::Exp => "exp",
            Phi::Ln => "ln",
            Phi::Sigmoid => "sigmoid",
            Phi::Softplus => "softplus",
            Phi::Gelu => "gelu",
            Phi::Silu => "silu",
            Phi::Sin => "sin",
            Phi::Cos => "cos",
            Phi::Abs => "abs",
            Phi::LeakyRelu(_) => "leaky_relu",
            Phi::Sqrt => "sqrt",
        }
    }

    /// The largest errors of φ and of φ' in the table above.
    pub const fn stated_errors(self) -> (Bound, Bound) {
        match self {
            Phi::Relu => (Bound::Ulp(0.0), Bound::Ulp(0.0)),
            Phi::Erf => (Bound::Ulp(1.3), Bound::Ulp(2.1)),
            Phi::Tanh => (Bound::Ulp(1.4), Bound::Epsilon(1.1)),
            Phi::Exp => (Bound::Ulp(1.1), Bound::Ulp(1.1)),
            Phi::Ln => (Bound::Ulp(1.0), Bound::Ulp(0.5)),
            Phi::Sigmoid => (Bound::Ulp(2.5), Bound::Ulp(2.6)),
            Phi::Softplus => (Bound::Ulp(1.9), Bound::Ulp(2.5)),
            Phi::Gelu => (Bound::Ulp(3.8), Bound::Epsilon(1.2)),
            Phi::Silu => (Bound::Ulp(2.9), Bound::Epsilon(2.1)),
            Phi::Sin => (Bound::Ulp(0.9), Bound::Ulp(0.9)),
            Phi::Cos => (Bound::Ulp(0.9), Bound::Ulp(0.9)),
            Phi::Abs => (Bound::Ulp(0.0), Bound::Ulp(0.0)),
            Phi::LeakyRelu(_) => (Bound::Ulp(0.5), Bound::Ulp(0.0)),
            // Half an ulp of y = √x is up to one of 1/2y, where y is slightly above a power of two, and the quotient is rounded.
            Phi::Sqrt => (Bound::Ulp(0.5), Bound::Ulp(1.5)),
        }
    }

    /// φ(x), by the portable text.
    pub fn value<T: Float>(self, x: T) -> T {
        match self {
            Phi::Relu => lane::relu(x),
            Phi::Erf => lane::erf::<T, Plain>(x),
            Phi::Tanh => lane::tanh::<T, Plain>(x),
            Phi::Exp => lane::exp::<T, Plain>(x),
            Phi::Ln => lane::ln::<T, Plain>(x),
            Phi::Sigmoid => lane::sigmoid::<T, Plain>(x),
            Phi::Softplus => lane::softplus::<T, Plain>(x),
            Phi::Gelu => lane::gelu::<T, Plain>(x),
            Phi::Silu => lane::silu::<T, Plain>(x),
            Phi::Sin => lane::sin::<T, Plain>(x),
            Phi::Cos => lane::cos::<T, Plain>(x),
            Phi::Abs => x.abs(),
            Phi::LeakyRelu(alpha) => lane::leaky_relu(x, T::of(alpha)),
            Phi::Sqrt => x.sqrt(),
        }
    }

    /// φ'(x), by the portable text.
    pub fn derivative<T: Float>(self, x: T) -> T {
        derivative::<T, Plain>(self, x, self.value(x))
    }
}

/// φ'(x), given y = φ(x).
#[inline(always)]
pub(crate) fn derivative<T: Float, A: Arith>(phi: Phi, x: T, y: T) -> T {
    match phi {
        Phi::Relu => lane::step(x),
        Phi::Erf => lane::erf_slope::<T, A>(x),
        Phi::Tanh => (T::ONE - y) * (T::ONE + y),
        Phi::Exp => y,
        Phi::Ln => T::ONE / x,
        Phi::Sigmoid => lane::sigmoid_slope::<T, A>(x),
        Phi::Softplus => lane::sigmoid::<T, A>(x),
        Phi::Gelu => lane::gelu_slope::<T, A>(x),
        Phi::Silu => lane::silu_slope::<T, A>(x),
        Phi::Sin => lane::cos::<T, A>(x),
        Phi::Cos => -lane::sin::<T, A>(x),
        Phi::Abs => lane::sign(x),
        Phi::LeakyRelu(alpha) => lane::leaky_step(x, T::of(alpha)),
        Phi::Sqrt => T::of(0.5) / y,
    }
}

//! Functions of one number that a program gives.

use std::fmt;

/// A function `f` of one number that the program gives, for whatever [`Phi`](crate::Phi) has no map; and its slope `f'`, if it is known.
///
/// It is evaluated in double precision, of `f32` too, whose rounded results are then as good as an `f32` can be.
///
/// # Derivatives that are not given
///
/// They are central differences of eighth order over steps of `h = 1/64` (Fornberg 1988, table 1), of `f'` where it is given and of `f` else. The
/// error is `h⁸/630·|f⁽⁹⁾|`, which is `6e-18·|f⁽⁹⁾|`, for derivatives of a function that varies over lengths of 1 or more, and about `64·ε·|f|`
/// from rounding, ε = 2.2e-16: together 5e-14 for the slope of tanh. Each further derivative loses a factor of about 100 to rounding. Duals would
/// have no error here, but would ask for `f` in a form that is generic over numbers, where this takes any function of the standard library. The
/// differences span `x ± 1/16`: a function with kinks or jumps needs its slope.
///
/// ```
/// use autodiff::{Elementwise, Tape};
/// const SOFTSIGN: Elementwise = Elementwise::new("softsign", |x| x / (1.0 + x.abs())).with_slope(|x| (1.0 + x.abs()).powi(-2));
/// let mut tape = Tape::new();
/// let x = tape.input([2], &[1.0, -3.0]);
/// let y = tape.apply(SOFTSIGN, x);
/// assert_eq!(tape.value(y), [0.5, -0.75]);
/// ```
#[derive(Clone, Copy)]
pub struct Elementwise {
    name: &'static str,
    f: fn(f64) -> f64,
    slope: Option<fn(f64) -> f64>,
}

impl Elementwise {
    /// The function `f` under a name, for messages.
    pub const fn new(name: &'static str, f: fn(f64) -> f64) -> Self {
        Elementwise { name, f, slope: None }
    }

    /// With its slope `f'`. Where `f` has a kink it is up to `slope` what holds there.
    pub const fn with_slope(self, slope: fn(f64) -> f64) -> Self {
        Elementwise { slope: Some(slope), ..self }
    }

    /// The name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// `f(x)`.
    pub fn value(&self, x: f64) -> f64 {
        (self.f)(x)
    }

    /// `f'(x)`.
    pub fn slope(&self, x: f64) -> f64 {
        self.derivative(1, x)
    }

    /// The derivative of the given order at x; of order 0 it is `f(x)`.
    ///
    /// ```
    /// let tanh = autodiff::Elementwise::new("my tanh", f64::tanh);
    /// let t = 0.3_f64.tanh();
    /// assert!((tanh.slope(0.3) - (1.0 - t * t)).abs() < 1e-13);
    /// assert!((tanh.derivative(2, 0.3) + 2.0 * t * (1.0 - t * t)).abs() < 1e-11);
    /// ```
    pub fn derivative(&self, order: usize, x: f64) -> f64 {
        match (order, self.slope) {
            (0, _) => self.value(x),
            (1, Some(slope)) => slope(x),
            (_, _) => difference(|x| self.derivative(order - 1, x), x),
        }
    }
}

/// The derivative of a function by the central difference of eighth order.
fn difference(f: impl Fn(f64) -> f64, x: f64) -> f64 {
    // Beyond 2³⁴ steps grow with x, so that its neighbours remain other numbers.
    let h = (1.0 / 64.0_f64).max(x.abs() * 2f64.powi(-40));
    // The points are rounded where x is large: a quotient by their true distance loses nothing to first order.
    let quotient = |k: f64| {
        let (below, above) = (x - k * h, x + k * h);
        (f(above) - f(below)) / (above - below)
    };
    1.6 * quotient(1.0) - 0.8 * quotient(2.0) + 8.0 / 35.0 * quotient(3.0) - quotient(4.0) / 35.0
}

impl PartialEq for Elementwise {
    /// The same name and, by their addresses, the same functions.
    fn eq(&self, other: &Self) -> bool {
        let slopes = match (self.slope, other.slope) {
            (Some(one), Some(two)) => std::ptr::fn_addr_eq(one, two),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.name == other.name && std::ptr::fn_addr_eq(self.f, other.f) && slopes
    }
}

impl fmt::Debug for Elementwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slope = if self.slope.is_some() { "given" } else { "by differences" };
        f.debug_struct("Elementwise").field("name", &self.name).field("slope", &format_args!("{slope}")).finish()
    }
}

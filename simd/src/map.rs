//! Maps of arrays, alone and fused with the affine part of a layer.

use rayon::prelude::*;

use crate::lane::{self, Arith};
use crate::level::{Kernel, Level};
use crate::phi::derivative;
use crate::{Accumulate, Float, Phi};

/// Arrays longer than this are shared by the threads, in pieces of this length.
const PIECE: usize = 1 << 14;

/// What passes over an array that read it twice take at a time, so that it is still in the nearest cache the second time.
const BLOCK: usize = 1 << 10;

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
        return T::run_map(level, Map { phi, x, y });
    }
    x.par_chunks(PIECE).zip(y.par_chunks_mut(PIECE)).for_each(|(x, y)| T::run_map(level, Map { phi, x, y }));
}

/// z ← a·z + b·β and y ← φ(z) in one pass: what follows the product of a layer, with both arrays that its derivative needs.
///
/// z holds rows side by side, as long as β, whose element belongs to a column: z_ij ← a·z_ij + b·β_j. `bias` is (β, b); without
/// it z ← a·z. Both products and their sum are rounded, at every level, so z has the bits of plain arithmetic, and y those that
/// [`map`] gives for z.
///
/// ```
/// use simd::{Phi, map_affine};
/// // Two rows of two columns.
/// let (mut z, mut y) = ([1.0, 2.0, 3.0, -4.0], [f64::NAN; 4]);
/// map_affine(Phi::Relu, 0.5, &mut z, Some((&[10.0, -20.0], 0.1)), &mut y);
/// assert_eq!((z, y), ([1.5, -1.0, 2.5, -4.0], [1.5, 0.0, 2.5, 0.0]));
/// ```
///
/// # Panics
/// If the lengths of z and y differ, or that of z is no multiple of that of β.
#[track_caller]
pub fn map_affine<T: Float>(phi: Phi, a: T, z: &mut [T], bias: Option<(&[T], T)>, y: &mut [T]) {
    map_affine_at(Level::best(), phi, a, z, bias, y);
}

/// [`map_affine`] with the instructions of a given level.
///
/// # Panics
/// If the lengths of z and y differ, or that of z is no multiple of that of β.
#[track_caller]
pub fn map_affine_at<T: Float>(level: Level, phi: Phi, a: T, z: &mut [T], bias: Option<(&[T], T)>, y: &mut [T]) {
    assert!(z.len() == y.len(), "a map of {} elements into {}", z.len(), y.len());
    if let Some((beta, _)) = bias {
        assert!(z.len().is_multiple_of(beta.len()), "rows as long as a bias of {} in {} elements", beta.len(), z.len());
    }
    if z.len() <= PIECE {
        return T::run_map_affine(level, MapAffine { phi, a, z, start: 0, bias, y });
    }
    let pieces = z.par_chunks_mut(PIECE).zip(y.par_chunks_mut(PIECE)).enumerate();
    pieces.for_each(|(i, (z, y))| T::run_map_affine(level, MapAffine { phi, a, z, start: i * PIECE, bias, y }));
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
        return T::run_slope(level, Slope { phi, x, y, dx, to, dy });
    }
    let x = x.par_chunks(PIECE).zip(y.par_chunks(PIECE)).zip(dx.par_chunks(PIECE));
    x.zip(dy.par_chunks_mut(PIECE)).for_each(|(((x, y), dx), dy)| T::run_slope(level, Slope { phi, x, y, dx, to, dy }));
}

/// t ← acos c and s ← √(1 − c²) = sin t: the angle of a cosine and its sine, which the kernels of ReLU are made of.
///
/// Rounding takes cosines out of [−1, 1], so a c beyond an end counts as that end; NaN gives NaN. Errors are at most 1.3 ulp of
/// t and 1.3 ulp of s, near 1 and −1 too, where √(1 − c²) is taken as √((1 − c)(1 + c)).
///
/// ```
/// let (mut t, mut s) = ([f64::NAN; 3], [f64::NAN; 3]);
/// simd::acos_sin(&[1.0 + 1e-15, 0.6, -1.0], &mut t, &mut s);
/// assert_eq!((t[0], s[0]), (0.0, 0.0));
/// assert!((t[1] - 0.927_295_218_001_612_2).abs() < 1e-15 && (s[1] - 0.8).abs() < 1e-15);
/// assert_eq!((t[2], s[2]), (std::f64::consts::PI, 0.0));
/// ```
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn acos_sin<T: Float>(c: &[T], t: &mut [T], s: &mut [T]) {
    acos_sin_at(Level::best(), c, t, s);
}

/// [`acos_sin`] with the instructions of a given level.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn acos_sin_at<T: Float>(level: Level, c: &[T], t: &mut [T], s: &mut [T]) {
    assert!(c.len() == t.len() && c.len() == s.len(), "acos of {} elements into {} angles and {} sines", c.len(), t.len(), s.len());
    if c.len() <= PIECE {
        return T::run_acos_sin(level, AcosSin { c, t, s });
    }
    let pieces = c.par_chunks(PIECE).zip(t.par_chunks_mut(PIECE)).zip(s.par_chunks_mut(PIECE));
    pieces.for_each(|((c, t), s)| T::run_acos_sin(level, AcosSin { c, t, s }));
}

// The loops are macros and not functions of a function, since only a call of an `#[inline(always)]` function by its name is sure to
// be inlined, and what is not inlined runs without the instructions of the level: right, and 50 times as slow.

/// y ← f(x), where f is a function or the text of one.
macro_rules! each {
    (|$v:ident| $f:expr, $x:ident, $y:ident) => {
        for (y, &$v) in $y.iter_mut().zip($x) {
            *y = $f;
        }
    };
    ($f:expr, $x:ident, $y:ident) => {
        for (y, &x) in $y.iter_mut().zip($x) {
            *y = $f(x);
        }
    };
}

/// y ← f(x) for an f of arrays, a block at a time.
macro_rules! blocks {
    ($f:expr, $x:ident, $y:ident) => {
        for (x, y) in $x.chunks(BLOCK).zip($y.chunks_mut(BLOCK)) {
            $f(x, y);
        }
    };
}

pub struct Map<'a, T> {
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
            Phi::Relu => each!(lane::relu, x, y),
            Phi::Erf => each!(lane::erf::<T, A>, x, y),
            Phi::Tanh => each!(lane::tanh::<T, A>, x, y),
            Phi::Exp => each!(lane::exp::<T, A>, x, y),
            Phi::Ln => each!(lane::ln::<T, A>, x, y),
            Phi::Sigmoid => each!(lane::sigmoid::<T, A>, x, y),
            Phi::Softplus => each!(lane::softplus::<T, A>, x, y),
            Phi::Gelu => each!(lane::gelu::<T, A>, x, y),
            Phi::Silu => each!(lane::silu::<T, A>, x, y),
            Phi::Sin => blocks!(lane::turn::<T, A, { lane::SIN }>, x, y),
            Phi::Cos => blocks!(lane::turn::<T, A, { lane::COS }>, x, y),
            Phi::Abs => each!(T::abs, x, y),
            Phi::LeakyRelu(alpha) => {
                let alpha = T::of(alpha);
                each!(|v| lane::leaky_relu(v, alpha), x, y);
            }
            Phi::Sqrt => each!(T::sqrt, x, y),
        }
    }
}

pub struct MapAffine<'a, T> {
    phi: Phi,
    a: T,
    z: &'a mut [T],
    /// The place of the first element of `z` in the whole matrix.
    start: usize,
    bias: Option<(&'a [T], T)>,
    y: &'a mut [T],
}

impl<T: Float> Kernel for MapAffine<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(self, cpu: A) {
        let MapAffine { phi, a, z, start, bias, y } = self;
        // Many short rows are few long ones with the bias repeated, whose loops fill whole vectors.
        let mut repeated = [T::ZERO; BLOCK / 4];
        let bias = bias.map(|(beta, b)| {
            let n = beta.len();
            if n == 0 || 2 * n > repeated.len() {
                return (beta, b);
            }
            let whole = repeated.len() / n * n;
            for (j, r) in repeated[..whole].iter_mut().enumerate() {
                *r = beta[j % n];
            }
            (&repeated[..whole], b)
        });
        for (i, (z, y)) in z.chunks_mut(BLOCK).zip(y.chunks_mut(BLOCK)).enumerate() {
            affine(a, z, start + i * BLOCK, bias);
            Map { phi, x: z, y }.run(cpu);
        }
    }
}

/// z ← a·z + b·β, where z starts at this place of the matrix.
#[inline(always)]
fn affine<T: Float>(a: T, mut z: &mut [T], start: usize, bias: Option<(&[T], T)>) {
    let Some((beta, b)) = bias else {
        return z.iter_mut().for_each(|z| *z = a * *z);
    };
    let mut column = start % beta.len();
    while !z.is_empty() {
        let n = (beta.len() - column).min(z.len());
        let (row, rest) = std::mem::take(&mut z).split_at_mut(n);
        for (z, &beta) in row.iter_mut().zip(&beta[column..]) {
            *z = a * *z + b * beta;
        }
        (z, column) = (rest, 0);
    }
}

/// dy ← d·dx or dy ← dy + d·dx, where d is made of an x and its y.
macro_rules! each_slope {
    ($self:ident, |$x:ident, $y:ident| $d:expr) => {{
        let Slope { phi: _, x, y, dx, to, dy } = $self;
        let all = dy.iter_mut().zip(x).zip(y).zip(dx);
        match to {
            Accumulate::Set => {
                for (((dy, &$x), &$y), &dx) in all {
                    *dy = $d * dx;
                }
            }
            Accumulate::Add => {
                for (((dy, &$x), &$y), &dx) in all {
                    *dy += $d * dx;
                }
            }
        }
    }};
}

/// The same where d is s·f(x) for an f of arrays, a block at a time.
macro_rules! block_slopes {
    ($self:ident, $s:expr, $f:expr) => {{
        let Slope { phi: _, x, y: _, dx, to, dy } = $self;
        let (s, mut d) = ($s, [T::ZERO; BLOCK / 4]);
        for ((x, dx), dy) in x.chunks(BLOCK / 4).zip(dx.chunks(BLOCK / 4)).zip(dy.chunks_mut(BLOCK / 4)) {
            let d = &mut d[..x.len()];
            $f(x, d);
            let all = dy.iter_mut().zip(d).zip(dx);
            match to {
                Accumulate::Set => {
                    for ((dy, d), &dx) in all {
                        *dy = s * *d * dx;
                    }
                }
                Accumulate::Add => {
                    for ((dy, d), &dx) in all {
                        *dy += s * *d * dx;
                    }
                }
            }
        }
    }};
}

pub struct Slope<'a, T> {
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
            Phi::Relu => each_slope!(self, |x, y| derivative::<T, A>(Phi::Relu, x, y)),
            Phi::Erf => each_slope!(self, |x, y| derivative::<T, A>(Phi::Erf, x, y)),
            Phi::Tanh => each_slope!(self, |x, y| derivative::<T, A>(Phi::Tanh, x, y)),
            Phi::Exp => each_slope!(self, |x, y| derivative::<T, A>(Phi::Exp, x, y)),
            Phi::Ln => each_slope!(self, |x, y| derivative::<T, A>(Phi::Ln, x, y)),
            Phi::Sigmoid => each_slope!(self, |x, y| derivative::<T, A>(Phi::Sigmoid, x, y)),
            Phi::Softplus => each_slope!(self, |x, y| derivative::<T, A>(Phi::Softplus, x, y)),
            Phi::Gelu => each_slope!(self, |x, y| derivative::<T, A>(Phi::Gelu, x, y)),
            Phi::Silu => each_slope!(self, |x, y| derivative::<T, A>(Phi::Silu, x, y)),
            Phi::Sin => block_slopes!(self, T::ONE, lane::turn::<T, A, { lane::COS }>),
            Phi::Cos => block_slopes!(self, -T::ONE, lane::turn::<T, A, { lane::SIN }>),
            Phi::Abs => each_slope!(self, |x, y| derivative::<T, A>(Phi::Abs, x, y)),
            Phi::LeakyRelu(alpha) => {
                let alpha = T::of(alpha);
                each_slope!(self, |x, _y| lane::leaky_step(x, alpha));
            }
            Phi::Sqrt => each_slope!(self, |x, y| derivative::<T, A>(Phi::Sqrt, x, y)),
        }
    }
}

pub struct AcosSin<'a, T> {
    c: &'a [T],
    t: &'a mut [T],
    s: &'a mut [T],
}

impl<T: Float> Kernel for AcosSin<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        for ((t, s), &c) in self.t.iter_mut().zip(self.s).zip(self.c) {
            let c = lane::clamp(c);
            *t = lane::acos::<T, A>(c);
            *s = lane::sine_of_acos(c);
        }
    }
}

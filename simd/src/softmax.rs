//! The softmax of rows with its normalizer.

use rayon::prelude::*;

use crate::lane::{self, Arith};
use crate::level::{Kernel, Level};
use crate::{Float, Mat};

/// Partial sums of a row. Their number is part of the result, so it is the same at every level.
const LANES: usize = 16;

/// Rows are shared by the threads in pieces of about this many elements.
const PIECE: usize = 1 << 14;

/// For each row i of `x`: `log_sum_exp[i]` ← ln Σ_j e^(x_ij) and `softmax[i * cols + j]` ← e^(x_ij) / Σ_j e^(x_ij).
///
/// Rows are shifted by their maximum m first, so nothing overflows: ln Σ e^x = m + ln Σ e^(x − m). Limits are taken where the
/// formula is open: elements equal to an infinite maximum share the mass equally, so a row of −∞ (of n elements) has the
/// softmax 1/n and the normalizer −∞. A NaN makes its row NaN. An empty row has the normalizer −∞.
///
/// `x` is rows × cols with elements of a row side by side; `log_sum_exp` has rows, `softmax` rows · cols elements.
///
/// ```
/// let x = [1000.0, 1000.0, 0.0, f64::ln(3.0)];
/// let (mut lse, mut p) = ([0.0; 2], [0.0; 4]);
/// simd::softmax(simd::Mat::new(&x, 2, 2), &mut lse, &mut p);
/// assert!((lse[0] - 1000.0 - f64::ln(2.0)).abs() < 1e-12 && (lse[1] - f64::ln(4.0)).abs() < 1e-15);
/// assert!((p[0] - 0.5).abs() < 1e-15 && (p[3] - 0.75).abs() < 1e-15);
/// ```
///
/// # Panics
/// If a length does not fit, or if the elements of a row do not lie side by side.
#[track_caller]
pub fn softmax<T: Float>(x: Mat<T>, log_sum_exp: &mut [T], softmax: &mut [T]) {
    softmax_at(Level::best(), x, log_sum_exp, softmax);
}

/// [`softmax`](softmax()) with the instructions of a given level.
///
/// # Panics
/// If a length does not fit, or if the elements of a row do not lie side by side.
#[track_caller]
pub fn softmax_at<T: Float>(level: Level, x: Mat<T>, log_sum_exp: &mut [T], softmax: &mut [T]) {
    let (rows, cols) = (x.rows(), x.cols());
    assert!(
        log_sum_exp.len() == rows && softmax.len() == rows * cols,
        "the softmax of {rows} × {cols} into {} normalizers and {} elements",
        log_sum_exp.len(),
        softmax.len()
    );
    assert!(cols <= 1 || x.col_stride() == 1, "the softmax of rows with a stride of {} between elements", x.col_stride());
    if cols == 0 {
        return log_sum_exp.fill(T::of(f64::NEG_INFINITY));
    }
    let some = (PIECE / cols).max(1);
    if rows <= some {
        return T::run_rows(level, Rows { x, log_sum_exp, p: softmax });
    }
    let pieces = log_sum_exp.par_chunks_mut(some).zip(softmax.par_chunks_mut(some * cols)).enumerate();
    pieces.for_each(|(c, (log_sum_exp, p))| {
        let x = x.row_range(c * some..c * some + log_sum_exp.len());
        T::run_rows(level, Rows { x, log_sum_exp, p });
    });
}

/// Some rows.
pub struct Rows<'a, T> {
    x: Mat<'a, T>,
    log_sum_exp: &'a mut [T],
    p: &'a mut [T],
}

impl<T: Float> Kernel for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let Rows { x, log_sum_exp, p } = self;
        let cols = x.cols();
        for (i, (max, p)) in log_sum_exp.iter_mut().zip(p.chunks_exact_mut(cols)).enumerate() {
            let x = x.row(i).expect("elements of a row lie side by side");
            *max = maximum(x);
            for (p, &x) in p.iter_mut().zip(x) {
                // Where both are the same infinity the difference is open; its limit for equal elements is 0.
                *p = if x == *max { T::ZERO } else { x - *max };
            }
        }
        // All rows at once, so that short rows fill whole vectors as well.
        for p in p.iter_mut() {
            *p = lane::exp::<T, A>(*p);
        }
        for (max, p) in log_sum_exp.iter_mut().zip(p.chunks_exact_mut(cols)) {
            let sum = sum(p);
            for p in p {
                *p = *p / sum;
            }
            *max += sum.ln();
        }
    }
}

/// The largest element; −∞ if there is none but NaN, which reaches the sum instead.
#[inline(always)]
fn maximum<T: Float>(x: &[T]) -> T {
    let larger = |m: T, x: T| if x > m { x } else { m };
    let mut m = [T::of(f64::NEG_INFINITY); LANES];
    let (whole, tail) = x.as_chunks::<LANES>();
    for x in whole {
        for l in 0..LANES {
            m[l] = larger(m[l], x[l]);
        }
    }
    m.iter().chain(tail).fold(T::of(f64::NEG_INFINITY), |m, &x| larger(m, x))
}

/// The sum in an order that depends on the length alone.
#[inline(always)]
fn sum<T: Float>(x: &[T]) -> T {
    let mut sums = [T::ZERO; LANES];
    let (whole, tail) = x.as_chunks::<LANES>();
    for x in whole {
        for l in 0..LANES {
            sums[l] += x[l];
        }
    }
    for (s, &x) in sums.iter_mut().zip(tail) {
        *s += x;
    }
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            sums[l] += sums[l + width];
        }
        width /= 2;
    }
    sums[0]
}

//! The other triangle of what is symmetric: a kernel, with all pairs of outputs, equals itself with both examples exchanged.

use crate::lane::Arith;
use crate::level::Kernel;
use crate::pack::transpose;
use crate::{Float, Mat, MatMut};

/// c[j, i, b, a] ← c[i, j, a, b] for i < j, and for i = j with a < b.
pub struct Mirror<'a, T> {
    pub(crate) c: MatMut<'a, T>,
    pub(crate) outputs: usize,
}

impl<T: Float> Kernel for Mirror<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(self, cpu: A) {
        let Mirror { mut c, outputs: o } = self;
        let n = c.rows();
        if o > 1 {
            for i in 0..n {
                for p in i * o * o..c.cols() {
                    let (j, a, b) = (p / (o * o), p / o % o, p % o);
                    if i < j || a < b {
                        let value = c.at(i, p);
                        c.set(j, (i * o + b) * o + a, value);
                    }
                }
            }
            return;
        }
        // Bands of eight rows: first what is right of the square on the diagonal, in whole vectors, then the square.
        for first in (0..n).step_by(8) {
            let end = n.min(first + 8);
            let (upper, lower) = c.reborrow().split_rows_at(end);
            let band = upper.row_range(first..end);
            transpose(cpu, band.as_mat().block(0..end - first, end..n), lower.block(0..n - end, first..end));
            for i in first..end {
                for j in i + 1..end {
                    let value = c.at(i, j);
                    c.set(j, i, value);
                }
            }
        }
    }
}

/// mirror[j, i, b, a] ← c[i, j, a, b].
pub struct Turn<'a, T> {
    pub(crate) c: Mat<'a, T>,
    pub(crate) mirror: MatMut<'a, T>,
    pub(crate) outputs: usize,
}

impl<T: Float> Kernel for Turn<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(self, cpu: A) {
        let Turn { c, mut mirror, outputs: o } = self;
        if o == 1 {
            return transpose(cpu, c, mirror);
        }
        for i in 0..c.rows() {
            for j in 0..mirror.rows() {
                for a in 0..o {
                    for b in 0..o {
                        mirror.set(j, (i * o + b) * o + a, c.at(i, (j * o + a) * o + b));
                    }
                }
            }
        }
    }
}

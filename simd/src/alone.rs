//! Products of so few multiply-adds that a tile would cost more than they do.

use crate::block::DEPTH;
use crate::lane::Arith;
use crate::level::Kernel;
use crate::{Accumulate, Float, Mat, MatMut};

/// Multiply-adds of a product whose elements are computed one by one.
const FEW: usize = 64;

/// Whether a product is one of those.
#[inline]
pub(crate) fn is_small(m: usize, k: usize, n: usize) -> bool {
    m.saturating_mul(n).saturating_mul(k) <= FEW
}

/// c ← a·b or c ← c + a·b, each element summed as a lane of a tile sums it, so that it has the same bits.
pub struct Alone<'a, T> {
    pub(crate) a: Mat<'a, T>,
    pub(crate) b: Mat<'a, T>,
    pub(crate) to: Accumulate,
    pub(crate) c: MatMut<'a, T>,
}

/// A sum over k is one piece here.
const _: () = assert!(FEW <= DEPTH);

impl<T: Float> Kernel for Alone<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arith>(self, _: A) {
        let Alone { a, b, to, mut c } = self;
        for i in 0..c.rows() {
            for j in 0..c.cols() {
                let sum = (0..a.cols()).fold(T::ZERO, |sum, k| A::mul_add(a.at(i, k), b.at(k, j), sum));
                c.set(i, j, if to == Accumulate::Add { c.at(i, j) + sum } else { sum });
            }
        }
    }
}

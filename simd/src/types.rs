//! What differs between `f32` and `f64`: bits and the microkernels' entry points.

use crate::lane::{Acos, Erf, Exp, Gelu, Ln, Tanh, Trig};
use crate::{Accumulate, Mat, MatMut};

/// What the texts of [`lane`](crate::lane) need to know of a type: its bits, and with each theme its coefficients.
pub trait Lane: Sized + Exp + Ln + Tanh + Erf + Gelu + Trig + Acos {
    /// 1.5·2^(p−1) with p bits of precision: x + SHIFTER rounds x to an integer, which then stands in the low bits.
    const SHIFTER: Self;

    /// a·b + c rounded once.
    fn fused(self, b: Self, c: Self) -> Self;
    /// |self| with the sign of another number.
    fn copysign(self, sign: Self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// The number without the lower half of its significand.
    fn high_half(self) -> Self;
    /// 2ᵏ, given k + SHIFTER.
    fn exp2_of_shifted(self) -> Self;
    /// Runs matrixmultiply's product of this type with α = 1.
    fn gemm(a: Mat<Self>, b: Mat<Self>, to: Accumulate, c: MatMut<Self>);
}

macro_rules! lane {
    ($t:ident, $gemm:path, significand: $significand:expr, bias: $bias:expr, low_half: $low_half:expr, shifter: $shifter:expr) => {
        impl Lane for $t {
            const SHIFTER: $t = $shifter;

            #[inline(always)]
            fn fused(self, b: Self, c: Self) -> Self {
                self.mul_add(b, c)
            }

            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                $t::copysign(self, sign)
            }

            #[inline(always)]
            fn ln(self) -> Self {
                $t::ln(self)
            }

            #[inline(always)]
            fn high_half(self) -> Self {
                $t::from_bits(self.to_bits() & !$low_half)
            }

            #[inline(always)]
            fn exp2_of_shifted(self) -> Self {
                // The low bits hold k; with the bias added and all else shifted out they are the exponent of 2ᵏ.
                $t::from_bits(self.to_bits().wrapping_add($bias) << $significand)
            }

            fn gemm(a: Mat<Self>, b: Mat<Self>, to: Accumulate, mut c: MatMut<Self>) {
                assert!(a.cols() == b.rows() && a.rows() == c.rows() && b.cols() == c.cols());
                let (m, k, n) = (a.rows(), a.cols(), b.cols());
                let beta = match to {
                    Accumulate::Set => 0.0,
                    Accumulate::Add => 1.0,
                };
                // A stride that is never taken may be any number, so it is replaced by one that fits into isize.
                let stride = |len: usize, stride: usize| if len > 1 { stride as isize } else { 1 };
                let (rsa, csa) = (stride(m, a.row_stride()), stride(k, a.col_stride()));
                let (rsb, csb) = (stride(k, b.row_stride()), stride(n, b.col_stride()));
                let (rsc, csc) = (stride(m, c.row_stride()), stride(n, c.col_stride()));
                // SAFETY: the sizes agree, as was just checked. By the invariants of the views every element that the product
                // reads or writes is valid, `c` alone reaches its own, and they do not share places. A stride taken lies
                // inside a slice, hence fits into isize.
                unsafe { $gemm(m, k, n, 1.0, a.as_ptr(), rsa, csa, b.as_ptr(), rsb, csb, beta, c.as_mut_ptr(), rsc, csc) }
            }
        }
    };
}

lane!(f32, matrixmultiply::sgemm, significand: 23, bias: 127, low_half: 0xfff, shifter: 12_582_912.0);
lane!(f64, matrixmultiply::dgemm, significand: 52, bias: 1023, low_half: 0x7ff_ffff, shifter: 6_755_399_441_055_744.0);

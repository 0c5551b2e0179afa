//! The crates matrixmultiply and gemm behind one signature.

use simd::{Float, Mat};

/// The element types, with the entry points of the other crates.
pub(crate) trait Rivals: Float {
    /// c ← a·b.
    fn matrixmultiply(a: Mat<Self>, b: Mat<Self>, c: &mut [Self]);
    /// c ← a·b, with the threads of the pool or alone.
    fn gemm(a: Mat<Self>, b: Mat<Self>, c: &mut [Self], parallel: bool);
}

macro_rules! rivals {
    ($t:ident, $gemm:path) => {
        impl Rivals for $t {
            fn matrixmultiply(a: Mat<$t>, b: Mat<$t>, c: &mut [$t]) {
                let (m, k, n) = (a.rows(), a.cols(), b.cols());
                let ([rsa, csa], [rsb, csb]) = (strides(a), strides(b));
                assert_eq!(c.len(), m * n);
                // SAFETY: the views and `c` have the sizes that are given, and `c` alone reaches its elements.
                unsafe { $gemm(m, k, n, 1.0, start(a), rsa, csa, start(b), rsb, csb, 0.0, c.as_mut_ptr(), n as isize, 1) }
            }

            fn gemm(a: Mat<$t>, b: Mat<$t>, c: &mut [$t], parallel: bool) {
                let (m, k, n) = (a.rows(), a.cols(), b.cols());
                let ([rsa, csa], [rsb, csb]) = (strides(a), strides(b));
                assert_eq!(c.len(), m * n);
                let threads = if parallel { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None };
                let c = c.as_mut_ptr();
                // SAFETY: as above.
                unsafe {
                    gemm::gemm(
                        m,
                        n,
                        k,
                        c,
                        1,
                        n as isize,
                        false,
                        start(a),
                        csa,
                        rsa,
                        start(b),
                        csb,
                        rsb,
                        0.0,
                        1.0,
                        false,
                        false,
                        false,
                        threads,
                    );
                }
            }
        }
    };
}

rivals!(f32, matrixmultiply::sgemm);
rivals!(f64, matrixmultiply::dgemm);

fn strides<T>(a: Mat<T>) -> [isize; 2] {
    [a.row_stride() as isize, a.col_stride() as isize]
}

fn start<T: Float>(a: Mat<T>) -> *const T {
    let first = a.row_range(0..1).col_range(0..1).as_slice().expect("a matrix with elements");
    first.as_ptr()
}

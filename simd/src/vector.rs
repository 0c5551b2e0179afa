//! A vector of each level and type: the few operations that products and convolutions are made of.
//!
//! A vector can only be made from the token of its level ([`Level`](crate::Level)), which is the proof that this CPU has the
//! instructions; what is done with a vector afterwards needs no further proof.

use std::marker::PhantomData;

/// [`LANES`](Self::LANES) numbers that are computed with at once.
///
/// `mul_add` rounds once where the level has a fused multiply-add, else twice; every lane is computed alike, so an element has
/// the same bits in any lane.
pub trait Vector: Copy {
    /// What a lane holds.
    type Element: Copy;
    /// The proof that the CPU has the instructions.
    type Cpu: Copy;
    /// The number of lanes.
    const LANES: usize;
    /// As many vectors as there are lanes: the rows of a square.
    type Square: AsRef<[Self]> + AsMut<[Self]>;

    /// `x` in every lane.
    fn splat(cpu: Self::Cpu, x: Self::Element) -> Self;
    /// self·b + c.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// self + b.
    fn add(self, b: Self) -> Self;
    /// A square of zeros.
    fn square(cpu: Self::Cpu) -> Self::Square;
    /// The rows as columns: lane l of vector k is lane k of vector l.
    fn transposed(square: Self::Square) -> Self::Square;

    /// The `LANES` numbers from `p` on.
    ///
    /// # Safety
    /// They must be valid to read.
    unsafe fn load(cpu: Self::Cpu, p: *const Self::Element) -> Self;
    /// The first `n` numbers from `p` on in the first lanes, 0 in the others.
    ///
    /// # Safety
    /// Those `n` must be valid to read, and `n` at most `LANES`. Nothing else is read.
    unsafe fn load_first(cpu: Self::Cpu, p: *const Self::Element, n: usize) -> Self;
    /// Writes the lanes from `p` on.
    ///
    /// # Safety
    /// `LANES` numbers must be valid to write.
    unsafe fn store(self, p: *mut Self::Element);
    /// Writes the first `n` lanes from `p` on.
    ///
    /// # Safety
    /// Those `n` must be valid to write, and `n` at most `LANES`. Nothing else is written.
    unsafe fn store_first(self, p: *mut Self::Element, n: usize);

    /// Writes eight rows of eight numbers as columns: `to[k·to_stride + r] ← from[r·from_stride + k]`, in the order of k, so that
    /// of columns that overlap the later ones stay.
    ///
    /// # Safety
    /// The places named must be valid to read and to write, and none may be read and written.
    #[inline(always)]
    unsafe fn turn(_: Self::Cpu, from: *const Self::Element, from_stride: usize, to: *mut Self::Element, to_stride: usize) {
        for k in 0..8 {
            for r in 0..8 {
                // SAFETY: the caller makes these places valid.
                unsafe { *to.add(k * to_stride + r) = *from.add(r * from_stride + k) }
            }
        }
    }
}

/// Asks for the cache line of `p`, which need not be a place that can be read.
#[inline(always)]
pub(crate) fn prefetch<T>(p: *const T) {
    ask::<T, FIRST>(p);
}

/// [`prefetch`] into the second cache, for what is needed later: of lines at a distance of a power of two the first one holds few.
#[inline(always)]
pub(crate) fn prefetch_far<T>(p: *const T) {
    ask::<T, SECOND>(p);
}

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T0 as FIRST, _MM_HINT_T1 as SECOND};
#[cfg(not(target_arch = "x86_64"))]
const FIRST: i32 = 1;
#[cfg(not(target_arch = "x86_64"))]
const SECOND: i32 = 2;

#[inline(always)]
fn ask<T, const CACHE: i32>(p: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint that never faults, and every x86-64 has it.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<CACHE>(p.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

/// Four numbers in plain arithmetic, which the compiler may hold in vectors of the target's own.
///
/// `C` is the token of the level that uses them: on targets without AVX every level does.
#[derive(Clone, Copy, Debug)]
pub struct Array<T, C>([T; 4], PhantomData<C>);

macro_rules! array {
    ($t:ident) => {
        impl<C: Copy> Vector for Array<$t, C> {
            type Element = $t;
            type Cpu = C;
            const LANES: usize = 4;
            type Square = [Self; 4];

            #[inline(always)]
            fn splat(_: C, x: $t) -> Self {
                Array([x; 4], PhantomData)
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                let mut sum = c.0;
                for l in 0..4 {
                    sum[l] = self.0[l] * b.0[l] + c.0[l];
                }
                Array(sum, PhantomData)
            }
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                let mut sum = b.0;
                for l in 0..4 {
                    sum[l] = self.0[l] + b.0[l];
                }
                Array(sum, PhantomData)
            }
            #[inline(always)]
            fn square(_: C) -> [Self; 4] {
                [Array([0.0; 4], PhantomData); 4]
            }
            #[inline(always)]
            fn transposed(square: [Self; 4]) -> [Self; 4] {
                let mut turned = square;
                for k in 0..4 {
                    for l in 0..4 {
                        turned[k].0[l] = square[l].0[k];
                    }
                }
                turned
            }
            #[inline(always)]
            unsafe fn load(_: C, p: *const $t) -> Self {
                // SAFETY: the caller makes four numbers readable; an array of them needs no alignment of its own.
                Array(unsafe { p.cast::<[$t; 4]>().read() }, PhantomData)
            }
            #[inline(always)]
            unsafe fn load_first(_: C, p: *const $t, n: usize) -> Self {
                let mut numbers = [0.0; 4];
                for l in 0..n {
                    // SAFETY: lanes below `n` alone are read, which the caller makes readable.
                    numbers[l] = unsafe { p.add(l).read() };
                }
                Array(numbers, PhantomData)
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t) {
                // SAFETY: the caller makes four places writable.
                unsafe { p.cast::<[$t; 4]>().write(self.0) }
            }
            #[inline(always)]
            unsafe fn store_first(self, p: *mut $t, n: usize) {
                for l in 0..n {
                    // SAFETY: the caller makes `n` places writable.
                    unsafe { p.add(l).write(self.0[l]) }
                }
            }
        }
    };
}

array!(f32);
array!(f64);

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{F32x8, F32x16, F64x4, F64x8};

/// The same operations by intrinsics.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Vector;
    use crate::level::{Avx2, Avx512};

    macro_rules! vector {
        (
            $(#[$doc:meta])* $name:ident, $register:ident, $t:ident * $lanes:literal, $cpu:ident,
            splat: $splat:ident, mul_add: $mul_add:ident, add: $add:ident, load: $load:ident, store: $store:ident,
            load_first: |$p:ident, $n:ident| $load_first:expr, store_first: |$q:ident, $m:ident, $v:ident| $store_first:expr,
            transposed: $transposed:ident, turn: $turn:ident
        ) => {
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $name($register);

            impl Vector for $name {
                type Element = $t;
                type Cpu = $cpu;
                const LANES: usize = $lanes;
                type Square = [Self; $lanes];

                #[inline(always)]
                fn splat(_: $cpu, x: $t) -> Self {
                    // SAFETY: the token proves that the CPU has the instruction.
                    $name(unsafe { $splat(x) })
                }
                #[inline(always)]
                fn mul_add(self, b: Self, c: Self) -> Self {
                    // SAFETY: `self` was made from the token, which proves that the CPU has the instruction.
                    $name(unsafe { $mul_add(self.0, b.0, c.0) })
                }
                #[inline(always)]
                fn add(self, b: Self) -> Self {
                    // SAFETY: as for `mul_add`.
                    $name(unsafe { $add(self.0, b.0) })
                }
                #[inline(always)]
                fn square(cpu: $cpu) -> [Self; $lanes] {
                    [Self::splat(cpu, 0.0); $lanes]
                }
                #[inline(always)]
                fn transposed(square: [Self; $lanes]) -> [Self; $lanes] {
                    let (mut rows, mut turned) = ([square[0].0; $lanes], square);
                    for l in 0..$lanes {
                        rows[l] = square[l].0;
                    }
                    // SAFETY: as for `mul_add`.
                    let rows = unsafe { $transposed(rows) };
                    for l in 0..$lanes {
                        turned[l] = $name(rows[l]);
                    }
                    turned
                }
                #[inline(always)]
                unsafe fn load(_: $cpu, p: *const $t) -> Self {
                    // SAFETY: the token proves the instruction, the caller that the numbers can be read; no alignment is needed.
                    $name(unsafe { $load(p) })
                }
                #[inline(always)]
                unsafe fn load_first(_: $cpu, $p: *const $t, $n: usize) -> Self {
                    debug_assert!($n <= $lanes);
                    // SAFETY: as for `load`; lanes that the mask leaves out are not read.
                    $name(unsafe { $load_first })
                }
                #[inline(always)]
                unsafe fn store(self, p: *mut $t) {
                    // SAFETY: `self` proves the instruction, the caller that the places can be written; no alignment is needed.
                    unsafe { $store(p, self.0) }
                }
                #[inline(always)]
                unsafe fn store_first(self, $q: *mut $t, $m: usize) {
                    debug_assert!($m <= $lanes);
                    let $v = self.0;
                    // SAFETY: as for `store`; lanes that the mask leaves out are not written.
                    unsafe { $store_first }
                }
                #[inline(always)]
                unsafe fn turn(_: $cpu, from: *const $t, from_stride: usize, to: *mut $t, to_stride: usize) {
                    // SAFETY: the token proves the instructions, the caller that the places are valid.
                    unsafe { $turn(from, from_stride, to, to_stride) }
                }
            }
        };
    }

    vector!(
        /// Eight `f32` of AVX2.
        F32x8, __m256, f32 * 8, Avx2,
        splat: _mm256_set1_ps, mul_add: _mm256_fmadd_ps, add: _mm256_add_ps, load: _mm256_loadu_ps, store: _mm256_storeu_ps,
        load_first: |p, n| _mm256_maskload_ps(p, first_of_8(n)), store_first: |p, n, v| store_first_of_8(p, n, v),
        transposed: transposed_f32x8, turn: turn_f32
    );
    vector!(
        /// Four `f64` of AVX2.
        F64x4, __m256d, f64 * 4, Avx2,
        splat: _mm256_set1_pd, mul_add: _mm256_fmadd_pd, add: _mm256_add_pd, load: _mm256_loadu_pd, store: _mm256_storeu_pd,
        load_first: |p, n| _mm256_maskload_pd(p, first_of_4(n)), store_first: |p, n, v| store_first_of_4(p, n, v),
        transposed: transposed_f64x4, turn: turn_f64
    );
    vector!(
        /// Sixteen `f32` of AVX-512.
        F32x16, __m512, f32 * 16, Avx512,
        splat: _mm512_set1_ps, mul_add: _mm512_fmadd_ps, add: _mm512_add_ps, load: _mm512_loadu_ps, store: _mm512_storeu_ps,
        load_first: |p, n| _mm512_maskz_loadu_ps(bits(n) as u16, p), store_first: |p, n, v| _mm512_mask_storeu_ps(p, bits(n) as u16, v),
        transposed: transposed_f32x16, turn: turn_f32
    );
    vector!(
        /// Eight `f64` of AVX-512.
        F64x8, __m512d, f64 * 8, Avx512,
        splat: _mm512_set1_pd, mul_add: _mm512_fmadd_pd, add: _mm512_add_pd, load: _mm512_loadu_pd, store: _mm512_storeu_pd,
        load_first: |p, n| _mm512_maskz_loadu_pd(bits(n) as u8, p), store_first: |p, n, v| _mm512_mask_storeu_pd(p, bits(n) as u8, v),
        transposed: transposed_f64x8, turn: turn_f64
    );

    /// Pairs of rows are interleaved, pairs of pairs, and halves.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn transposed_f32x8(r: [__m256; 8]) -> [__m256; 8] {
        let pair = |i: usize| (_mm256_unpacklo_ps(r[i], r[i + 1]), _mm256_unpackhi_ps(r[i], r[i + 1]));
        let four = |i: usize| {
            let ((a, b), (c, d)) = (pair(i), pair(i + 2));
            let (ac, bd) = (_mm256_shuffle_ps::<0x44>(a, c), _mm256_shuffle_ps::<0x44>(b, d));
            [ac, _mm256_shuffle_ps::<0xee>(a, c), bd, _mm256_shuffle_ps::<0xee>(b, d)]
        };
        let ([a, b, c, d], [e, f, g, h]) = (four(0), four(4));
        [
            _mm256_permute2f128_ps::<0x20>(a, e),
            _mm256_permute2f128_ps::<0x20>(b, f),
            _mm256_permute2f128_ps::<0x20>(c, g),
            _mm256_permute2f128_ps::<0x20>(d, h),
            _mm256_permute2f128_ps::<0x31>(a, e),
            _mm256_permute2f128_ps::<0x31>(b, f),
            _mm256_permute2f128_ps::<0x31>(c, g),
            _mm256_permute2f128_ps::<0x31>(d, h),
        ]
    }

    /// Pairs of rows are interleaved, then halves.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn transposed_f64x4([a, b, c, d]: [__m256d; 4]) -> [__m256d; 4] {
        let (ab, cd) = ((_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b)), (_mm256_unpacklo_pd(c, d), _mm256_unpackhi_pd(c, d)));
        [
            _mm256_permute2f128_pd::<0x20>(ab.0, cd.0),
            _mm256_permute2f128_pd::<0x20>(ab.1, cd.1),
            _mm256_permute2f128_pd::<0x31>(ab.0, cd.0),
            _mm256_permute2f128_pd::<0x31>(ab.1, cd.1),
        ]
    }

    /// Pairs of rows are interleaved and pairs of pairs, then quarters twice.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn transposed_f32x16(r: [__m512; 16]) -> [__m512; 16] {
        let pair = |i: usize| (_mm512_unpacklo_ps(r[i], r[i + 1]), _mm512_unpackhi_ps(r[i], r[i + 1]));
        // Vector c holds, in quarter q, column 4q + c of four rows.
        let four = |i: usize| {
            let ((a, b), (c, d)) = (pair(i), pair(i + 2));
            let (ac, bd) = (_mm512_shuffle_ps::<0x44>(a, c), _mm512_shuffle_ps::<0x44>(b, d));
            [ac, _mm512_shuffle_ps::<0xee>(a, c), bd, _mm512_shuffle_ps::<0xee>(b, d)]
        };
        let (a, b, c, d) = (four(0), four(4), four(8), four(12));
        // Even quarters of a pair, then odd ones.
        let even = |i: usize| (_mm512_shuffle_f32x4::<0x88>(a[i], b[i]), _mm512_shuffle_f32x4::<0x88>(c[i], d[i]));
        let odd = |i: usize| (_mm512_shuffle_f32x4::<0xdd>(a[i], b[i]), _mm512_shuffle_f32x4::<0xdd>(c[i], d[i]));
        let mut turned = r;
        for i in 0..4 {
            let ((ab, cd), (other_ab, other_cd)) = (even(i), odd(i));
            turned[i] = _mm512_shuffle_f32x4::<0x88>(ab, cd);
            turned[4 + i] = _mm512_shuffle_f32x4::<0x88>(other_ab, other_cd);
            turned[8 + i] = _mm512_shuffle_f32x4::<0xdd>(ab, cd);
            turned[12 + i] = _mm512_shuffle_f32x4::<0xdd>(other_ab, other_cd);
        }
        turned
    }

    /// Pairs of rows are interleaved, then quarters twice.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn transposed_f64x8(r: [__m512d; 8]) -> [__m512d; 8] {
        // Vector c of a pair holds, in quarter q, column 2q + c of two rows.
        let pair = |i: usize| [_mm512_unpacklo_pd(r[i], r[i + 1]), _mm512_unpackhi_pd(r[i], r[i + 1])];
        let (a, b, c, d) = (pair(0), pair(2), pair(4), pair(6));
        let even = |i: usize| (_mm512_shuffle_f64x2::<0x88>(a[i], b[i]), _mm512_shuffle_f64x2::<0x88>(c[i], d[i]));
        let odd = |i: usize| (_mm512_shuffle_f64x2::<0xdd>(a[i], b[i]), _mm512_shuffle_f64x2::<0xdd>(c[i], d[i]));
        let mut turned = r;
        for i in 0..2 {
            let ((ab, cd), (other_ab, other_cd)) = (even(i), odd(i));
            turned[i] = _mm512_shuffle_f64x2::<0x88>(ab, cd);
            turned[2 + i] = _mm512_shuffle_f64x2::<0x88>(other_ab, other_cd);
            turned[4 + i] = _mm512_shuffle_f64x2::<0xdd>(ab, cd);
            turned[6 + i] = _mm512_shuffle_f64x2::<0xdd>(other_ab, other_cd);
        }
        turned
    }

    /// # Safety
    /// As for [`Vector::turn`].
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn turn_f32(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        let mut rows = [_mm256_setzero_ps(); 8];
        for r in 0..8 {
            // SAFETY: the caller makes eight numbers of each of eight rows readable.
            rows[r] = unsafe { _mm256_loadu_ps(from.add(r * from_stride)) };
        }
        let columns = transposed_f32x8(rows);
        for k in 0..8 {
            // SAFETY: the caller makes these places writable.
            unsafe { _mm256_storeu_ps(to.add(k * to_stride), columns[k]) }
        }
    }

    /// # Safety
    /// As for [`Vector::turn`].
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn turn_f64(from: *const f64, from_stride: usize, to: *mut f64, to_stride: usize) {
        for k in [0, 4] {
            let (mut upper, mut lower) = ([_mm256_setzero_pd(); 4], [_mm256_setzero_pd(); 4]);
            for r in 0..4 {
                // SAFETY: the caller makes eight numbers of each of eight rows readable.
                unsafe {
                    upper[r] = _mm256_loadu_pd(from.add(r * from_stride + k));
                    lower[r] = _mm256_loadu_pd(from.add((r + 4) * from_stride + k));
                }
            }
            let (upper, lower) = (transposed_f64x4(upper), transposed_f64x4(lower));
            for l in 0..4 {
                // SAFETY: the caller makes these places writable.
                unsafe {
                    let column = to.add((k + l) * to_stride);
                    _mm256_storeu_pd(column, upper[l]);
                    _mm256_storeu_pd(column.add(4), lower[l]);
                }
            }
        }
    }

    /// The lowest `n` bits.
    #[inline(always)]
    fn bits(n: usize) -> u32 {
        (1 << n) - 1
    }

    /// The mask of the first `n` of eight lanes.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn first_of_8(n: usize) -> __m256i {
        _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }

    /// Writes the first `n` of eight lanes by halves, quarters and eighths: a store with a mask takes many times as long on AMD.
    ///
    /// # Safety
    /// `n` places from `p` on must be valid to write.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store_first_of_8(mut p: *mut f32, n: usize, v: __m256) {
        let mut x = _mm256_castps256_ps128(v);
        // SAFETY: the binary digits of `n` add up to it, and `p` moves on by as many places as were written.
        unsafe {
            if n & 8 != 0 {
                return _mm256_storeu_ps(p, v);
            }
            if n & 4 != 0 {
                _mm_storeu_ps(p, x);
                (p, x) = (p.add(4), _mm256_extractf128_ps::<1>(v));
            }
            if n & 2 != 0 {
                _mm_storel_epi64(p.cast(), _mm_castps_si128(x));
                (p, x) = (p.add(2), _mm_movehl_ps(x, x));
            }
            if n & 1 != 0 {
                _mm_store_ss(p, x);
            }
        }
    }

    /// [`store_first_of_8`] of four lanes.
    ///
    /// # Safety
    /// `n` places from `p` on must be valid to write.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store_first_of_4(mut p: *mut f64, n: usize, v: __m256d) {
        let mut x = _mm256_castpd256_pd128(v);
        // SAFETY: as above.
        unsafe {
            if n & 4 != 0 {
                return _mm256_storeu_pd(p, v);
            }
            if n & 2 != 0 {
                _mm_storeu_pd(p, x);
                (p, x) = (p.add(2), _mm256_extractf128_pd::<1>(v));
            }
            if n & 1 != 0 {
                _mm_store_sd(p, x);
            }
        }
    }

    /// The mask of the first `n` of four lanes.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn first_of_4(n: usize) -> __m256i {
        _mm256_cmpgt_epi64(_mm256_set1_epi64x(n as i64), _mm256_setr_epi64x(0, 1, 2, 3))
    }
}

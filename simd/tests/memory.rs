//! What the kernels touch: nothing behind a slice, nothing of the floating-point state, and no heap once they are warm.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{LAYS, Owned};
use simd::{
    Accumulate, Convolution, Factors, Float, Level, Mat, MatMut, Phi, Term, acos_sin_at, conv_at, conv_example_gradients_at,
    conv_input_gradient_at, conv_weight_gradient_at, gram_at, gram_hadamard_at, gram_hadamard_symmetric_at, map_affine_at, map_at,
    product_at, slope_at, softmax_at,
};

/// Counts what it hands out.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(p, layout) }
    }
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(p, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Memory that ends, and begins, flush against a page without access: a read or write past either end is a fault.
#[cfg(target_os = "linux")]
mod guarded {
    use std::ptr::NonNull;

    use simd::Float;

    const PAGE: usize = 4096;

    pub(crate) struct Guarded<T> {
        map: NonNull<u8>,
        bytes: usize,
        start: *mut T,
        len: usize,
    }

    impl<T: Float> Guarded<T> {
        /// `len` numbers that end `at_end` with the last accessible byte, or else begin with the first.
        pub(crate) fn new(len: usize, at_end: bool, value: impl Fn(usize) -> T) -> Self {
            let inside = (len * size_of::<T>()).next_multiple_of(PAGE).max(PAGE);
            let bytes = inside + 2 * PAGE;
            // SAFETY: a fresh private mapping of whole pages, of which the middle is made accessible; the numbers lie inside it.
            unsafe {
                let map = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
                assert!(map != libc::MAP_FAILED);
                let middle = map.cast::<u8>().add(PAGE);
                assert_eq!(libc::mprotect(middle.cast(), inside, libc::PROT_READ | libc::PROT_WRITE), 0);
                let start = middle.add(if at_end { inside - len * size_of::<T>() } else { 0 }).cast::<T>();
                for i in 0..len {
                    start.add(i).write(value(i));
                }
                Guarded { map: NonNull::new(map.cast()).expect("a mapping"), bytes, start, len }
            }
        }

        pub(crate) fn as_slice(&self) -> &[T] {
            // SAFETY: `len` numbers were written there, and they live as long as the mapping.
            unsafe { std::slice::from_raw_parts(self.start, self.len) }
        }

        pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
            // SAFETY: as above, and `&mut self` makes us alone.
            unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
        }
    }

    impl<T> Drop for Guarded<T> {
        fn drop(&mut self) {
            // SAFETY: the mapping is ours, and nothing borrows from it any more.
            unsafe { libc::munmap(self.map.as_ptr().cast(), self.bytes) };
        }
    }
}

fn number<T: Float>(i: usize) -> T {
    T::of(((i * 37) % 17) as f64 / 8.0 - 1.0)
}

/// A row times a matrix whose columns lie a page apart, which is read from the end of a line to the end of another.
#[cfg(target_os = "linux")]
fn columns_a_page_apart<T: Float>(level: Level) {
    use guarded::Guarded;
    let k = 4096 / size_of::<T>();
    for at_end in [true, false] {
        for (n, part) in [(16, k), (18, k), (33, k), (16, k - 3), (16, 5)] {
            let (a, b) = (Guarded::<T>::new(part, at_end, number), Guarded::<T>::new((n - 1) * k + part, at_end, number));
            let mut c = Guarded::<T>::new(n, at_end, number);
            let columns = Mat::strided(b.as_slice(), part, n, 1, k);
            product_at(level, Mat::new(a.as_slice(), 1, part), columns, Accumulate::Set, MatMut::new(c.as_mut_slice(), 1, n));
            for j in 0..n {
                let naive: f64 = (0..part).map(|p| a.as_slice()[p].to_f64() * b.as_slice()[j * k + p].to_f64()).sum();
                assert_eq!(c.as_slice()[j].to_f64(), naive, "{level} {} {part} × {n}, column {j}", T::NAME);
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn at_the_edge_of_a_page<T: Float>(level: Level) {
    use guarded::Guarded;
    let most = if T::NAME == "f32" { 16 } else { 8 };
    for at_end in [true, false] {
        let new = |len: usize| Guarded::<T>::new(len, at_end, number);
        let plain = |len: usize| (0..len).map(number::<T>).collect::<Vec<T>>();
        for n in (0..=4 * most + 3).chain([97, 193]) {
            for m in [1, 2, 3, 4, 6, 7] {
                for k in [0, 1, 3, 8, 17, if m < 4 { 41 } else { 9 }] {
                    let (a, b, bt, mut c) = (new(m * k), new(k * n), new(n * k), new(m * n));
                    let naive = |i: usize, j: usize, turned: bool| {
                        let b = |p: usize| if turned { bt.as_slice()[j * k + p] } else { b.as_slice()[p * n + j] };
                        (0..k).map(|p| a.as_slice()[i * k + p].to_f64() * b(p).to_f64()).sum::<f64>()
                    };
                    for turned in [false, true] {
                        let b = if turned { Mat::new(bt.as_slice(), n, k).t() } else { Mat::new(b.as_slice(), k, n) };
                        for to in [Accumulate::Set, Accumulate::Add] {
                            product_at(level, Mat::new(a.as_slice(), m, k), b, to, MatMut::new(c.as_mut_slice(), m, n));
                        }
                        for i in 0..m {
                            for j in 0..n {
                                assert_eq!(c.as_slice()[i * n + j].to_f64(), 2.0 * naive(i, j, turned), "{level} {m}×{k}×{n}");
                            }
                        }
                    }
                }
            }
            let (x, dx, mut y, mut dy) = (new(n), new(n), new(n), new(n));
            for phi in Phi::ALL {
                map_at(level, phi, x.as_slice(), y.as_mut_slice());
                slope_at(level, phi, x.as_slice(), y.as_slice(), dx.as_slice(), Accumulate::Add, dy.as_mut_slice());
            }
            let (mut t, mut z) = (new(n), new(n));
            acos_sin_at(level, x.as_slice(), t.as_mut_slice(), y.as_mut_slice());
            map_affine_at(level, Phi::Erf, T::ONE, z.as_mut_slice(), Some((x.as_slice(), T::ONE)), y.as_mut_slice());
            let mut lse = new(1);
            softmax_at(level, Mat::new(x.as_slice(), 1, n), lse.as_mut_slice(), y.as_mut_slice());

            let (x, mut c) = (new(n * 9), new(n * n));
            gram_at(level, Mat::new(x.as_slice(), n, 9), Accumulate::Set, MatMut::new(c.as_mut_slice(), n, n));
            let same = plain(n * 9);
            let mut expected = vec![T::ZERO; n * n];
            gram_at(level, Mat::new(&same, n, 9), Accumulate::Set, MatMut::new(&mut expected, n, n));
            assert!(c.as_slice().iter().zip(&expected).all(|(a, b)| a == b), "{level} {n}");

            let factors = Factors { x: Mat::new(x.as_slice(), n, 9), g: Mat::new(x.as_slice(), n * 3, 3) };
            let term = [Term { one: factors, two: factors, scale: T::ONE, shift: T::ONE }];
            let mut theta = new(n * n * 9);
            gram_hadamard_at(level, &term, 3, MatMut::new(theta.as_mut_slice(), n, n * 9));
            gram_hadamard_symmetric_at(level, &term, 3, MatMut::new(theta.as_mut_slice(), n, n * 9));

            // Images without a border are read where they lie, and so are weights.
            for c in [Convolution::valid([3, n + 2], 2, [3, 3], [1, 1], 5), Convolution::same([2, n + 1], 1, [3, 3], [1, 2], n + 1)] {
                let [height, width] = c.out();
                let (x, w) = (new(c.image[0] * c.image[1] * c.channels_in), new(9 * c.channels_in * c.channels_out));
                let (mut y, mut dx, mut dw) = (new(height * width * c.channels_out), new(x.as_slice().len()), new(w.as_slice().len()));
                conv_at(level, &c, 1, x.as_slice(), w.as_slice(), Accumulate::Set, y.as_mut_slice());
                conv_input_gradient_at(level, &c, 1, y.as_slice(), w.as_slice(), Accumulate::Add, dx.as_mut_slice());
                conv_weight_gradient_at(level, &c, 1, 1, x.as_slice(), y.as_slice(), Accumulate::Set, dw.as_mut_slice());
                conv_example_gradients_at(level, &c, 1, 1, x.as_slice(), y.as_slice(), Accumulate::Add, dw.as_mut_slice());
            }
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_is_read_or_written_past_the_end_or_before_the_start() {
    for level in Level::available() {
        at_the_edge_of_a_page::<f32>(level);
        at_the_edge_of_a_page::<f64>(level);
        columns_a_page_apart::<f32>(level);
        columns_a_page_apart::<f64>(level);
    }
}

fn warm_calls<T: Float>(level: Level) {
    let (m, k, n, o) = (90, 300, 70, 3);
    let lays = LAYS.map(|lay| (Owned::<T>::rough(m, k, lay, 1), Owned::<T>::rough(k, n, lay, 2), Owned::<T>::rough(m, n, lay, 3)));
    let g = Owned::<T>::rough(m * o, 40, LAYS[0], 4);
    let (mut square, mut full) = (vec![T::ZERO; m * m], vec![T::ZERO; m * m * o * o]);
    let mut lays = lays;
    let mut work = || {
        for (a, b, c) in &mut lays {
            product_at(level, a.mat(), b.mat(), Accumulate::Add, c.mat_mut());
            product_at(level, a.mat().row_range(0..1), b.mat(), Accumulate::Set, c.mat_mut().row_range(0..1));
            product_at(
                level,
                a.mat().row_range(0..5),
                b.mat().col_range(0..7),
                Accumulate::Set,
                c.mat_mut().row_range(0..5).col_range(0..7),
            );
            gram_at(level, a.mat(), Accumulate::Set, MatMut::new(&mut square, m, m));
            let factors = Factors { x: a.mat(), g: g.mat() };
            let term = Term { one: factors, two: factors, scale: T::ONE, shift: T::ONE };
            gram_hadamard_at(level, &[term, term], o, MatMut::new(&mut full, m, m * o * o));
            gram_hadamard_symmetric_at(level, &[term], o, MatMut::new(&mut full, m, m * o * o));
        }
    };
    // Twice, as the first call may find buffers that are too small for its last part.
    work();
    work();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work();
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "{level} {}", T::NAME);
}

/// On one thread, as the thread pool's own queues grow when they like. The other tests of this file run after or before, not beside:
/// they would be counted.
#[test]
fn a_warm_call_allocates_nothing() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("threads");
    // A child process with this test alone: other tests allocate beside it.
    if std::env::var_os("TANGENTS_TEST_ALONE").is_none() {
        let status = std::process::Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "a_warm_call_allocates_nothing", "--nocapture"])
            .env("TANGENTS_TEST_ALONE", "1")
            .status()
            .expect("the test starts itself");
        assert!(status.success());
        return;
    }
    pool.install(|| {
        for level in Level::available() {
            warm_calls::<f32>(level);
            warm_calls::<f64>(level);
        }
    });
}

/// Subnormal numbers are computed with, and the rounding mode and the flush bits are those that were before.
#[cfg(target_arch = "x86_64")]
#[test]
fn subnormal_numbers_stay_and_the_control_state_is_left_alone() {
    let tiny = f32::from_bits(3);
    for level in Level::available() {
        for (m, n) in [(1, 5), (8, 40)] {
            let (a, b) = (vec![tiny; m], vec![2.0f32; n]);
            let mut c = vec![f32::NAN; m * n];
            product_at(level, Mat::new(&a, m, 1), Mat::new(&b, 1, n), Accumulate::Set, MatMut::new(&mut c, m, n));
            assert!(c.iter().all(|&x| x.to_bits() == 6), "{level}");
        }
        assert_eq!(std::hint::black_box(tiny) / 3.0, f32::from_bits(1), "{level}");
        assert_eq!(std::hint::black_box(1.0f32) + f32::EPSILON / 2.0, 1.0, "{level}");
    }
}

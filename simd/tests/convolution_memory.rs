//! A warm call of a convolution allocates nothing: its working memory is kept by the thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use simd::{Accumulate, Convolution, conv, conv_example_gradients, conv_input_gradient, conv_weight_gradient};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The allocator of the system, which counts what a thread asks for.
struct Counting;

// SAFETY: every request is handed to the system's allocator as it is; counting touches a number of this thread alone, without memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn warm_calls_allocate_nothing() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    for c in [Convolution::same([14, 14], 8, [3, 3], [2, 2], 24), Convolution::circular([9, 9], 8, [3, 3], [1, 1], 24)] {
        let (n, [ho, wo]) = (70, c.out());
        let len = c.filter[0] * c.filter[1] * c.channels_in * c.channels_out;
        let (x, w) = (vec![1.0f32; n * c.image[0] * c.image[1] * c.channels_in], vec![1.0f32; len]);
        let (mut y, mut dx) = (vec![0.0f32; n * ho * wo * c.channels_out], x.clone());
        let (mut dw, mut each) = (w.clone(), vec![0.0f32; n * len]);
        pool.install(|| {
            let mut all = || {
                conv(&c, n, &x, &w, Accumulate::Set, &mut y);
                conv_input_gradient(&c, n, &y, &w, Accumulate::Set, &mut dx);
                conv_weight_gradient(&c, n, 1, &x, &y, Accumulate::Add, &mut dw);
                conv_example_gradients(&c, n, 1, &x, &y, Accumulate::Set, &mut each);
            };
            // Buffers grow until each call finds one that is large enough.
            all();
            all();
            let before = ALLOCATIONS.get();
            all();
            assert_eq!(ALLOCATIONS.get() - before, 0, "{c}");
        });
    }
}

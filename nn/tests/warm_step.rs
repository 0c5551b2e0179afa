//! A warm step allocates nothing.

use nn::{Loss, Network, Optimizer, Trainer, avg_pool, conv, dense, flatten, layer_norm, normals, relu, residual, softplus};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

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
fn warm_steps_allocate_nothing() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let image = [conv(8, [3, 3]), relu(), avg_pool([2, 2]), residual([layer_norm(), conv(8, [3, 3])]), flatten(), dense(10)];
    let networks = [
        Network::new([8], [dense(32), relu(), dense(32), relu(), dense(1)]).unwrap(),
        // A weight of several blocks.
        Network::new([300], [dense(400), softplus(), dense(3)]).unwrap(),
        Network::nchw([3, 12, 12], image).unwrap(),
    ];
    for network in &networks {
        let (x, y) = (normals::<f32>(0, 0, 16 * network.n_inputs()), normals::<f32>(0, 1, 16 * network.outputs()));
        for loss in [Loss::SquaredError, Loss::CrossEntropy] {
            for optimizer in [Optimizer::SGD, Optimizer::Sgd { momentum: 0.9 }, Optimizer::ADAM] {
                let mut trainer = Trainer::new(network, &network.init(1).unwrap(), loss).with_optimizer(optimizer);
                pool.install(|| {
                    // The last batch of an epoch is smaller. Buffers grow until each finds one that is large enough.
                    let mut epoch = || {
                        for n in [16, 16, 3] {
                            trainer.step(&x[..n * network.n_inputs()], &y[..n * network.outputs()], 1e-3).unwrap();
                        }
                    };
                    (0..3).for_each(|_| epoch());
                    let before = ALLOCATIONS.get();
                    (0..5).for_each(|_| epoch());
                    assert_eq!(ALLOCATIONS.get() - before, 0, "{optimizer:?}, {loss:?},\n{network}");
                });
            }
        }
    }
}

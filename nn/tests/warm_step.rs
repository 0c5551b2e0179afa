//! A warm step allocates nothing. There is one test, since the allocator counts what all threads ask for.

use nn::{Loss, Network, Optimizer, Trainer, avg_pool, conv, dense, flatten, layer_norm, normals, relu, residual, softplus};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

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
                    MEMORY.reset_peak_usage();
                    let before = MEMORY.current_usage();
                    (0..5).for_each(|_| epoch());
                    assert_eq!(MEMORY.peak_usage() - before, 0, "{optimizer:?}, {loss:?},\n{network}");
                });
            }
        }
    }
}

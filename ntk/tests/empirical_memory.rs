//! Working memory stays within what was planned, as an allocator counts it.

use nn::{Network, conv, dense, flatten, global_avg_pool, relu};
use ntk::{Finite, Outputs, Request, Strategy, kernel, plan};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One test, because the counts are those of the process.
#[test]
fn memory_stays_within_the_bound_to_five_per_cent() {
    let networks = [
        (Network::new([64], [dense(256), relu(), dense(256), relu(), dense(8)]).unwrap(), 24),
        (Network::new([12, 12, 2], [conv(24, [3, 3]), relu(), conv(24, [3, 3]), relu(), global_avg_pool(), dense(6)]).unwrap(), 12),
        (Network::new([8, 8, 2], [conv(16, [3, 3]), relu(), conv(16, [3, 3]).stride([2, 2]), relu(), flatten(), dense(6)]).unwrap(), 14),
    ];
    for (network, n) in networks {
        let parameters = network.init::<f32>(3).unwrap();
        let f = Finite { network: &network, parameters: &parameters };
        let x = nn::normals::<f32>(1, 0, n * network.n_inputs());
        for kept in [Outputs::Full, Outputs::Trace, Outputs::Diagonal] {
            for strategy in [Strategy::Structured, Strategy::Jacobian, Strategy::Products] {
                let least = plan(&f, &x, None, &Request { strategy, ..Request::of(kept) }).unwrap().least;
                for times in [2, 5] {
                    let memory = times * least;
                    let request = Request { strategy, memory: Some(memory), ..Request::of(kept) };
                    // Threads of their own, so that nothing is left from before.
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
                    let (bytes, result) = pool.install(|| {
                        let before = MEMORY.current_usage();
                        MEMORY.reset_peak_usage();
                        let theta = kernel(&f, &x, None, &request, |_, _| ()).unwrap();
                        (MEMORY.peak_usage() - before, theta.values.len() * size_of::<f32>())
                    });
                    let beyond = bytes.saturating_sub(result);
                    let used = beyond as f64 / memory as f64;
                    println!("{strategy:?} {kept:?} {n}: {beyond} of {memory} bytes, {:.2}", used);
                    assert!(used <= 1.05, "{strategy:?}, {kept:?}, {network}: {beyond} bytes of {memory}");
                }
            }
        }
    }
}

//! Tiles of any size, and threads, give the same bits.

use crate::common::{STRATEGIES, assert_close, inputs, slow};
use crate::tied::Tied;
use nn::{Network, conv, dense, flatten, global_avg_pool, relu, residual, tanh};
use ntk::{Finite, Function, Kernel, Outputs, Request, Strategy, Tile, diagonal, empirical_ntk, empirical_ntk_in_blocks, kernel};

#[test]
fn bits_depend_neither_on_blocks_nor_on_threads() {
    let layers = [dense(40).std(1.5, 0.2), residual([relu(), dense(40).std(1.2, 0.1)]), relu(), dense(3).std(1.0, 0.1)];
    let network = Network::new([20], layers).unwrap();
    let parameters = network.init::<f32>(3).unwrap();
    let f = Finite { network: &network, parameters: &parameters };
    let (x1, x2) = (inputs::<f32>(150, 20, 1), inputs::<f32>(13, 20, 2));
    for kept in [Outputs::Trace, Outputs::Full] {
        for strategy in STRATEGIES {
            for x2 in [None, Some(&x2[..])] {
                let x1 = if strategy == Strategy::Structured { &x1[..] } else { &x1[..40 * 20] };
                let whole = empirical_ntk(&f, x1, x2, kept, strategy).unwrap();
                for block in [1, 7, 64] {
                    let tiled = empirical_ntk_in_blocks(&f, x1, x2, kept, strategy, Some(block), |_, _| ()).unwrap();
                    assert!(whole == tiled, "{kept:?}, {strategy:?}, blocks of {block}");
                }
                for threads in [1, 2, 3, 7] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let same = pool.install(|| empirical_ntk(&f, x1, x2, kept, strategy).unwrap());
                    assert!(whole == same, "{kept:?}, {strategy:?}, {threads} threads");
                }
            }
        }
    }
}

#[test]
fn blocks_of_any_size_give_the_kernel_of_every_kind_of_output() {
    let network = Network::new([4], [dense(5).std(1.5, 0.2), relu(), dense(3).std(1.0, 0.1)]).unwrap();
    let parameters = network.init::<f64>(3).unwrap();
    // More examples than one tile of the full kernel has rows, and fewer; a shared weight, and one that is written out.
    let network = Finite { network: &network, parameters: &parameters };
    let (x1, x2) = (inputs::<f64>(35, 4, 1), inputs::<f64>(18, 4, 2));
    for (a, b) in [(&x1, &x2), (&x2, &x1)] {
        for kept in Outputs::ALL {
            blocks_agree(&network, a, b, kept);
            blocks_agree(&Tied::Mixed, a, b, kept);
        }
    }
}

fn blocks_agree(f: &impl Function<f64>, x1: &[f64], x2: &[f64], kept: Outputs) {
    let (same, other) = (slow(f, x1, x1, 4, kept), slow(f, x1, x2, 4, kept));
    for strategy in STRATEGIES {
        for block in [5, 17, 100] {
            let in_blocks = |right| empirical_ntk_in_blocks(f, x1, right, kept, strategy, Some(block), |_, _| ()).unwrap();
            let what = format!("{kept:?}, {strategy:?}, blocks of {block}");
            let symmetric = in_blocks(None);
            assert_close(&symmetric, &same, 1e-12, &what);
            assert_close(&in_blocks(Some(x2)), &other, 1e-12, &what);
            // Example by example the transpose, to the bit.
            let (n, o, m) = (symmetric.n1, symmetric.outputs, kept.entries(symmetric.outputs));
            for (i, j, e) in (0..n * n * m).map(|e| (e / m / n, e / m % n, e % m)) {
                let swapped = if kept == Outputs::Full { e % o * o + e / o } else { e };
                let (here, there) = (symmetric.values[(i * n + j) * m + e], symmetric.values[(j * n + i) * m + swapped]);
                assert_eq!(here.to_bits(), there.to_bits(), "{what}: {i}, {j}, {e}");
            }
        }
    }
}

/// What progress said, which ends with the whole and never goes back.
fn told(work: impl FnOnce(&mut dyn FnMut(usize, usize))) -> Vec<usize> {
    let mut seen = Vec::new();
    work(&mut |done, of| {
        assert_eq!(of, 1000);
        seen.push(done);
    });
    assert!(seen.is_sorted() && seen.last() == Some(&1000), "{seen:?}");
    seen
}

#[test]
fn progress_is_told_of_every_tile() {
    let network = Network::new([2], [dense(1)]).unwrap();
    let parameters = network.init::<f64>(3).unwrap();
    let f = Finite { network: &network, parameters: &parameters };
    for strategy in STRATEGIES {
        for (x2, tiles) in [(None, 6), (Some(&[1.0; 6][..]), 6)] {
            let of = |progress: &mut dyn FnMut(usize, usize)| {
                empirical_ntk_in_blocks(&f, &[1.0; 10], x2, Outputs::Trace, strategy, Some(2), progress).unwrap();
            };
            assert!(told(of).len() > tiles, "{strategy:?}");
        }
    }
}

/// The work here is large enough for a tile to be contracted in bands: by one thread, since plans expect less time of several.
#[test]
fn progress_is_told_within_a_tile_and_changes_no_bit() {
    let wide = Network::new([8], [dense(1024), relu(), dense(1024), relu(), dense(3)]).unwrap();
    let narrow = Network::new([8], [dense(128), relu(), dense(3)]).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (network, n, kept, strategy) in
        [(wide, 1000, Outputs::Full, Strategy::Structured), (narrow, 2100, Outputs::Trace, Strategy::Jacobian)]
    {
        let parameters = network.init::<f64>(3).unwrap();
        let f = Finite { network: &network, parameters: &parameters };
        let x = inputs::<f64>(n, 8, 1);
        let of = |examples: usize, progress: &mut (dyn FnMut(usize, usize) + Send)| {
            let request = Request { strategy, tile: Some(Tile { examples, outputs: 3 }), ..Request::of(kept) };
            pool.install(|| kernel(&f, &x, None, &request, progress).unwrap())
        };
        let mut calls = Vec::new();
        let whole = of(n, &mut |done, _| calls.push(done));
        assert!(calls.is_sorted() && calls.last() == Some(&1000), "{strategy:?}: {calls:?}");
        // Once when all is ready, once for the one band, and at the end.
        assert!(calls.len() > 4, "{strategy:?}: {calls:?}");
        assert!(whole == of(600, &mut |_, _| ()), "{strategy:?}: bits differ");
    }
}

#[test]
fn progress_is_told_of_a_diagonal() {
    let network = Network::new([2], [dense(1)]).unwrap();
    let parameters = network.init::<f64>(3).unwrap();
    let f = Finite { network: &network, parameters: &parameters };
    told(|progress| assert_eq!(diagonal(&f, &[1.0; 10], &Request::default(), progress).unwrap().len(), 5));
}

fn bits(kernel: &Kernel<f32>) -> Vec<u32> {
    kernel.values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn bits_depend_neither_on_tiles_of_examples_and_outputs_nor_on_threads() {
    let pooled = Network::new([6, 5, 2], [conv(8, [3, 3]), relu(), conv(6, [3, 3]), tanh(), global_avg_pool(), dense(19)]);
    let flat = Network::new([4, 4, 2], [conv(6, [2, 2]).stride([2, 2]), tanh(), flatten(), dense(19).std(1.0, 0.3)]);
    for network in [pooled.unwrap(), flat.unwrap()] {
        let parameters = network.init::<f32>(3).unwrap();
        let f = Finite { network: &network, parameters: &parameters };
        let (x1, x2) = (inputs::<f32>(9, network.n_inputs(), 1), inputs::<f32>(5, network.n_inputs(), 2));
        for kept in Outputs::ALL {
            for strategy in [Strategy::Jacobian, Strategy::Products, Strategy::Structured] {
                for x2 in [None, Some(&x2[..])] {
                    let of = |tile, threads| {
                        let request = Request { strategy, tile, ..Request::of(kept) };
                        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                        bits(&pool.install(|| kernel(&f, &x1, x2, &request, |_, _| ()).unwrap()))
                    };
                    let whole = of(None, 2);
                    for (examples, outputs, threads) in [(1, 1, 1), (1, 19, 2), (7, 7, 7), (9, 7, 2), (4, 16, 1), (9, 19, 7)] {
                        let same = of(Some(Tile { examples, outputs }), threads) == whole;
                        assert!(same, "{kept:?}, {strategy:?}, tiles of {examples} and {outputs}, {threads} threads");
                    }
                }
            }
        }
    }
}

//! The bits of kernels at infinite width in every way to compute them, and what a call tells.

use super::infinite_laws::{D, evaluate, networks};
use nn::{Layer, Network, dense, relu};
use ntk::InfiniteKernel;
use simd::Mat;

#[test]
fn bits_do_not_depend_on_threads_or_on_the_other_inputs() {
    let n = 700;
    let x: Vec<f64> = (0..n * D).map(|k| ((k * k % 7919) as f64).sin()).collect();
    let single: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    for network in networks() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| (evaluate(&network, &x, None), evaluate(&network, &single, Some(&single[..D * 13]))))
        };
        let one = run(1);
        for threads in [2, 3, 7] {
            assert!(run(threads) == one, "{threads} threads");
        }
        // The first 37 inputs alone.
        let part = evaluate(&network, &x[..37 * D], None);
        for i in 0..37 {
            assert_eq!(part.ntk[i * 37..(i + 1) * 37], one.0.ntk[i * n..i * n + 37]);
            assert_eq!(part.nngp[i * 37..(i + 1) * 37], one.0.nngp[i * n..i * n + 37]);
        }
    }
}

#[test]
fn blocks_of_rows_have_the_bits_of_the_whole_kernel() {
    let n = 83;
    let x: Vec<f64> = (0..n * D).map(|k| ((k * k % 7919) as f64).sin()).collect();
    let view = |x| Mat::new(x, x.len() / D, D);
    for network in networks() {
        let kernel = InfiniteKernel::new(&network).unwrap();
        for other in [None, Some(view(&x[..37 * D]))] {
            let whole = kernel.evaluate(view(&x), other);
            for rows in [1, 7, 32, 200] {
                let (mut nngp, mut ntk, mut next) = (Vec::new(), Vec::new(), 0);
                let done = kernel.in_blocks(view(&x), other, rows, |range, block| {
                    assert_eq!((range.start, range.len(), block.n2), (next, block.n1, whole.n2));
                    next = range.end;
                    nngp.extend(block.nngp);
                    ntk.extend(block.ntk);
                    if next > 60 { Err(next) } else { Ok(()) }
                });
                // It ended at the first error.
                assert_eq!(done, Err(next));
                assert!(next >= 61 && next < 61 + rows && nngp.len() == next * whole.n2, "{next}");
                assert!(nngp[..] == whole.nngp[..nngp.len()] && ntk[..] == whole.ntk[..ntk.len()], "blocks of {rows}");
            }
        }
    }
}

/// Of sizes that several blocks of a Gram matrix make, and whole vectors do not divide.
fn one_kernel_is_that_of_both<T: simd::Float>() {
    for n in [1, 95, 331] {
        let x: Vec<T> = (0..n * D).map(|k| T::of(((k * k % 7919) as f64).sin())).collect();
        let view = |rows: usize| Mat::new(&x[..rows * D], rows, D);
        for network in networks() {
            let kernel = InfiniteKernel::new(&network).unwrap();
            for other in [None, Some(view(n.min(37)))] {
                let both = kernel.evaluate(view(n), other);
                assert!(kernel.ntk(view(n), other) == both.ntk, "{} inputs of {}", n, T::NAME);
                assert!(kernel.nngp(view(n), other) == both.nngp, "{} inputs of {}", n, T::NAME);
            }
        }
    }
}

#[test]
fn one_kernel_alone_has_the_bits_of_both_together() {
    one_kernel_is_that_of_both::<f32>();
    one_kernel_is_that_of_both::<f64>();
}

#[test]
fn repeated_rows_have_the_entries_of_the_diagonal_to_the_bit() {
    let mut x: Vec<f64> = (0..90 * D).map(|k| (k as f64 * 1.7).sin()).collect();
    let row = x[3 * D..4 * D].to_vec();
    for i in [17, 64, 65, 89] {
        x[i * D..(i + 1) * D].copy_from_slice(&row);
    }
    for network in networks() {
        let k = evaluate(&network, &x, None);
        for i in [3, 17, 64, 65, 89] {
            for j in [3, 17, 64, 65, 89] {
                assert_eq!((k.ntk[i * 90 + j], k.nngp[i * 90 + j]), (k.ntk[3 * 91], k.nngp[3 * 91]));
            }
        }
    }
}

/// Of more pairs and layers than one band of rows has.
#[test]
fn progress_is_told_in_order_and_bits_do_not_show_the_bands() {
    let n = 500;
    let x: Vec<f32> = (0..n * D).map(|k| ((k * k % 7919) as f32).sin()).collect();
    let view = Mat::new(&x, n, D);
    let mut layers: Vec<Layer> = (0..60).flat_map(|_| [dense(4).std(2f64.sqrt(), 0.1), relu()]).collect();
    layers.push(dense(1));
    let kernel = InfiniteKernel::new(&Network::new([D], layers).unwrap()).unwrap();
    for (other, pairs) in [(None, n * (n + 1) / 2), (Some(Mat::new(&x[..D * 400], 400, D)), n * 400)] {
        let mut told = vec![0];
        let both = kernel.try_evaluate_with(view, other, |done, all| {
            assert_eq!(all, pairs as u64);
            told.push(done);
        });
        let both = both.unwrap();
        assert!(told.len() > 2 && told.is_sorted_by(|a, b| a < b), "{told:?}");
        assert_eq!(told.last(), Some(&(pairs as u64)));
        assert!(kernel.ntk(view, other) == both.ntk && kernel.nngp(view, other) == both.nngp);
    }
}

#[test]
fn no_examples_give_empty_kernels() {
    for network in networks() {
        let k = evaluate::<f64>(&network, &[], Some(&[1.0; D]));
        assert_eq!((k.n1, k.n2, k.nngp.len(), k.ntk.len()), (0, 1, 0, 0));
        let k = evaluate::<f64>(&network, &[1.0; D], Some(&[]));
        assert_eq!((k.n1, k.n2, k.nngp.len()), (1, 0, 0));
        assert_eq!(evaluate::<f32>(&network, &[], None).ntk.len(), 0);
    }
}

#[test]
#[should_panic(expected = "the network reads 5 features, and the inputs are 2 × 3")]
fn inputs_of_another_width_are_refused() {
    InfiniteKernel::new(&networks()[0]).unwrap().evaluate(Mat::new(&[0.0; 6], 2, 3), None);
}

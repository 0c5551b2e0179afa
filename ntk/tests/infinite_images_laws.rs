//! Laws of the kernels of images at infinite width: symmetry, images that coincide, are black or near, threads, blocks and layouts.

use crate::infinite_images::{check, double, evaluate, hidden, single};
use crate::naive_images::kernels;
use nn::{
    Layer, Network, Padding, Parameterization, avg_pool, conv, dense, erf, flatten, gelu, global_avg_pool, layer_norm, leaky_relu, normals,
    relu, residual, residual_with_shortcut, tanh,
};
use ntk::{InfiniteKernel, Kernels};
use simd::{Float, Mat};

/// Networks for images of 5 × 4 with three channels, of every kind of end.
fn small() -> Vec<Network> {
    let c = || hidden([3, 3]);
    let layers: Vec<Vec<Layer>> = vec![
        vec![c(), relu(), c(), relu(), flatten(), dense(1)],
        vec![c().without_bias(), relu(), c().padding(Padding::Circular), leaky_relu(0.2), global_avg_pool(), dense(1)],
        vec![c(), relu(), avg_pool([2, 2]), c(), gelu(), global_avg_pool(), dense(5), relu(), dense(1)],
        vec![c(), residual([layer_norm(), relu(), c()]), erf(), c().stride([2, 1]), relu(), flatten(), dense(1)],
        vec![c(), tanh(), c(), relu(), global_avg_pool(), dense(1)],
    ];
    layers.into_iter().map(|layers| Network::new([5, 4, 3], layers).unwrap()).collect()
}

const D: usize = 60;

fn bits<T: Float>(k: &Kernels<T>) -> Vec<u64> {
    k.nngp.iter().chain(&k.ntk).map(|x| x.to_f64().to_bits()).collect()
}

/// More images than a block of lanes holds, the third and the last one equal to the first.
fn some(n: usize) -> Vec<f64> {
    let mut x: Vec<f64> = normals(5, 0, n * D);
    x.copy_within(0..D, 2 * D);
    x.copy_within(0..D, (n - 1) * D);
    x
}

fn laws<T: Float>(network: &Network, x: &[T]) {
    let (n, what) = (x.len() / D, format!("{} in {:?}", T::NAME, network.layers()));
    let k = evaluate(network, x, None);
    let cross = evaluate(network, x, Some(x));
    let kernel = InfiniteKernel::new(network).unwrap();
    let diagonal = kernel.diagonal(Mat::new(x, n, D));
    for (own, both, diagonal) in [(&k.nngp, &cross.nngp, &diagonal.nngp), (&k.ntk, &cross.ntk, &diagonal.ntk)] {
        for i in 0..n {
            assert!(own[i * n + i] == diagonal[i], "{what}");
            for j in 0..n {
                assert!(own[i * n + j] == own[j * n + i], "symmetric: {what}");
                let (a, b) = (own[i * n + j].to_f64(), both[i * n + j].to_f64());
                assert!((a - b).abs() <= 4096.0 * T::EPSILON.to_f64() * a.abs(), "{a} and {b}: {what}");
            }
        }
        // Images that coincide have the entries of the diagonal, and the same ones with all others.
        for same in [2, n - 1] {
            assert!(own[same] == own[0] && own[same * n + same] == own[0] && both[same] == own[0], "{what}");
            assert!((3..n - 1).all(|j| own[same.min(j) * n + same.max(j)] == own[j]) || same == n - 1, "{what}");
        }
    }
    // Blocks have the bits of the whole, and so has one thread.
    for rows in [1, 7, n] {
        let (mut nngp, mut ntk) = (Vec::new(), Vec::new());
        let done = kernel.in_blocks(Mat::new(x, n, D), None, rows, |_, block| {
            nngp.extend(block.nngp);
            ntk.extend(block.ntk);
            Ok::<(), ()>(())
        });
        done.unwrap();
        assert_eq!(bits(&Kernels { n1: n, n2: n, nngp, ntk }), bits(&k), "blocks of {rows}: {what}");
    }
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(bits(&pool.install(|| evaluate(network, x, None))), bits(&k), "{threads} threads: {what}");
    }
}

#[test]
fn kernels_are_symmetric_and_coincident_images_exact_at_any_number_of_threads_and_in_blocks() {
    let x = some(19);
    for network in small() {
        laws(&network, &x);
        laws(&network, &single(&x));
    }
}

#[test]
fn images_that_coincide_at_some_places_are_exact_there() {
    // The left columns are equal. Behind a filter of width 1 the places there coincide, and only these.
    let layers = |end: Layer| [conv(4, [3, 1]).std(1.4, 0.0), relu(), conv(4, [3, 1]).std(1.4, 0.0), relu(), end, dense(1)];
    let mut x: Vec<f64> = normals(6, 0, 2 * D);
    for p in 0..20 {
        if p % 4 < 2 {
            x.copy_within(p * 3..(p + 1) * 3, D + p * 3);
        }
    }
    // Black places, whose variance is 0 in both.
    for p in [0, 1, 4, 5, 8, 9] {
        x[p * 3..(p + 1) * 3].fill(0.0);
        x[D + p * 3..D + (p + 1) * 3].fill(0.0);
    }
    for end in [flatten(), global_avg_pool()] {
        let network = Network::new([5, 4, 3], layers(end)).unwrap();
        check(&network, &x[..D], &x[D..], 1e-13);
        // Images of the left columns alone.
        let left = |x: &[f64]| x.chunks(12).flat_map(|row| row[..6].to_vec()).collect::<Vec<_>>();
        let narrow = Network::new([5, 2, 3], network.layers().to_vec()).unwrap();
        let (own, both) = (evaluate(&narrow, &left(&x[..D]), None), evaluate(&narrow, &left(&x[..D]), Some(&left(&x[D..]))));
        assert_eq!(bits(&own), bits(&both));
        let f = single(&left(&x[..D]));
        assert_eq!(bits(&evaluate(&narrow, &f, None)), bits(&evaluate(&narrow, &f, Some(&single(&left(&x[D..]))))));
    }
}

#[test]
fn images_that_coincide_keep_their_digits_in_single_precision() {
    // An angle that is read from a rounded covariance would be off by the root of its error, and κ̇ of a kink with it.
    let c = || hidden([3, 3]);
    let layers = [c(), nn::abs(), c(), leaky_relu(0.2), flatten(), dense(1)];
    let network = Network::new([5, 4, 3], layers).unwrap();
    let x = single(&normals(8, 0, 4 * D));
    let kernel = InfiniteKernel::new(&network).unwrap();
    let (single, double) = (kernel.diagonal(Mat::new(&x, 4, D)), kernel.diagonal(Mat::new(&double(&x), 4, D)));
    for (single, double) in single.ntk.iter().zip(&double.ntk) {
        assert!((f64::from(*single) / double - 1.0).abs() < 1e-5, "{single} and {double}");
    }
}

#[test]
fn black_images_are_exact() {
    for network in small() {
        let mut x = some(4);
        x[..D].fill(0.0);
        for k in [evaluate(&network, &x, None), evaluate(&network, &x, Some(&x))] {
            assert!(k.nngp.iter().chain(&k.ntk).all(|k| k.is_finite()), "{:?}", network.layers());
        }
        let k = evaluate(&network, &single(&x), None);
        assert!(k.nngp.iter().chain(&k.ntk).all(|k| k.is_finite()), "{:?}", network.layers());
    }
    // Without a bias nothing comes out, and relu has the slope 0 at 0.
    let network = |first: Layer| Network::new([5, 4, 3], [first, relu(), flatten(), dense(1).without_bias()]).unwrap();
    // In the standard parameterization one that is 0 has a gradient.
    let standard = network(hidden([3, 3]).std(1.3, 0.0)).parameterized(Parameterization::Standard);
    for network in [network(hidden([3, 3]).without_bias()), standard] {
        let k = evaluate(&network, &[0.0; D], Some(&some(3)));
        assert!(k.nngp.iter().chain(&k.ntk).all(|&k| k == 0.0), "{:?}", network.layers());
        let k = evaluate(&network, &[0.0; D], Some(&single(&some(3))));
        assert!(k.nngp.iter().chain(&k.ntk).all(|&k| k == 0.0), "{:?}", network.layers());
    }
}

#[test]
fn near_images_keep_their_digits() {
    // Along a line x + h u the kernel Θ of relu falls by a multiple of h, the angle. A Θ that is good to √ε only would not do so below 1e-8.
    let c = || hidden([3, 3]);
    for end in [flatten(), global_avg_pool()] {
        let network = Network::new([5, 4, 3], [c(), relu(), c(), relu(), end, dense(1)]).unwrap();
        let (x, u): (Vec<f64>, Vec<f64>) = (normals(7, 0, D), normals(8, 0, D));
        let own = evaluate(&network, &x, None).ntk[0];
        let fall = |h: f64| {
            let y: Vec<f64> = x.iter().zip(&u).map(|(x, u)| x + h * u).collect();
            let other = evaluate(&network, &y, None).ntk[0];
            // What the norms differ by is smooth, and taken off.
            (0.5 * (own + other) - evaluate(&network, &x, Some(&y)).ntk[0]) / h / own
        };
        let slope = fall(1e-4);
        for h in [1e-5, 1e-6, 1e-7, 1e-8, 1e-9] {
            let off = (fall(h) / slope - 1.0).abs();
            assert!(off * h * slope.abs() <= 2e-13 + 1e-3 * h * slope.abs(), "h = {h:e}: {} and {slope}", fall(h));
        }
        assert!(slope > 1e-3, "{slope}");
    }
}

#[test]
fn near_images_agree_with_the_slow_recursion() {
    // What it reads off a rounded K12 is good to ε/h there.
    let c = || hidden([3, 3]);
    let branches: [Vec<Layer>; 3] = [
        vec![c(), residual([relu(), c()]), relu(), c(), relu(), global_avg_pool(), dense(1)],
        vec![c(), residual_with_shortcut([relu(), c().std(0.4, 0.7)], [conv(6, [1, 1]).std(1.5, 0.1)]), relu(), flatten(), dense(1)],
        vec![c(), avg_pool([2, 2]), relu(), c(), relu(), flatten(), dense(1)],
    ];
    for layers in branches {
        let network = Network::new([5, 4, 3], layers).unwrap();
        let (x, u): (Vec<f64>, Vec<f64>) = (normals(7, 0, D), normals(8, 0, D));
        for h in [1e-1, 1e-2, 1e-3, 1e-4] {
            let y: Vec<f64> = x.iter().zip(&u).map(|(x, u)| x + h * u).collect();
            let (found, wanted) = (evaluate(&network, &x, Some(&y)), kernels(&network, &x, &y));
            for (found, wanted) in [(found.nngp[0], wanted[0]), (found.ntk[0], wanted[1])] {
                let off = (found / wanted - 1.0).abs();
                assert!(off <= 1e-13 + 3e-15 / h, "h = {h:e}: {found} and {wanted} in {:?}", network.layers());
            }
        }
    }
}

#[test]
fn the_layout_of_images_does_not_matter() {
    let layers = [hidden([3, 2]), relu(), hidden([2, 3]).stride([2, 1]), gelu(), flatten(), dense(1)];
    let (last, first) = (Network::new([5, 4, 3], layers.clone()).unwrap(), Network::nchw([3, 5, 4], layers).unwrap());
    let x: Vec<f64> = normals(9, 0, 3 * D);
    let turned: Vec<f64> = x.chunks(D).flat_map(|x| (0..3).flat_map(move |c| (0..20).map(move |p| x[p * 3 + c]))).collect();
    assert_eq!(bits(&evaluate(&last, &x, None)), bits(&evaluate(&first, &turned, None)));
}

#[test]
fn a_network_that_flattens_first_is_one_of_features() {
    let layers = [dense(4).std(1.2, 0.3), relu(), dense(1)];
    let flat = Network::new([5, 4, 3], [vec![flatten()], layers.to_vec()].concat()).unwrap();
    let x: Vec<f64> = normals(10, 0, 4 * D);
    let features = Network::new([D], layers).unwrap();
    assert_eq!(bits(&evaluate(&flat, &x, None)), bits(&evaluate(&features, &x, None)));
}

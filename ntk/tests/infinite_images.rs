//! Kernels of images at infinite width against reference values and against a slow recursion over all pairs of sites.

use crate::naive_images::kernels;
use nn::{
    Layer, Network, NormAxes, Padding, Parameterization, avg_pool, conv, dense, erf, flatten, gelu, global_avg_pool, layer_norm,
    leaky_relu, normals, parse_model, relu, residual, residual_with_shortcut, sin_of, sum_pool, tanh,
};
use ntk::{InfiniteKernel, Kernels};
use proptest::prelude::*;
use serde_json::Value;
use simd::{Float, Mat};

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(rows) => rows.iter().flat_map(numbers).collect(),
        Value::Number(x) => vec![x.as_f64().unwrap()],
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Object(_) => panic!("{value} is no array of numbers"),
    }
}

fn evaluate<T: Float>(network: &Network, x1: &[T], x2: Option<&[T]>) -> Kernels<T> {
    let d = network.n_inputs();
    let view = |x| Mat::new(x, x.len() / d, d);
    InfiniteKernel::new(network).unwrap_or_else(|error| panic!("{error}")).evaluate(view(x1), x2.map(view))
}

fn single(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&x| x as f32).collect()
}

fn double(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// The largest distance of two matrices in units of the largest entry.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0.0, |m: f64, b| m.max(b.abs()));
    // Windows that see nothing but cells beyond the edge have a kernel of zeros.
    a.iter().zip(b).fold(0.0, |m: f64, (a, b)| if a.is_nan() { f64::NAN } else { m.max((a - b).abs()) }) / largest.max(1e-300)
}

/// Both kernels in both precisions against the slow recursion.
#[track_caller]
fn check(network: &Network, x1: &[f64], x2: &[f64], tolerance: f64) {
    check_both(network, x1, x2, tolerance, [1e-5; 2]);
}

#[track_caller]
fn check_both(network: &Network, x1: &[f64], x2: &[f64], tolerance: f64, allowed: [f64; 2]) {
    let d = network.n_inputs();
    let found = evaluate(network, x1, Some(x2));
    let (f1, f2) = (single(x1), single(x2));
    let narrow = evaluate(network, &f1, Some(&f2));
    let reference = |x1: &[f64], x2: &[f64]| -> Vec<[f64; 2]> {
        x1.chunks(d).flat_map(|a| x2.chunks(d).map(move |b| kernels(network, a, b))).collect()
    };
    let wanted = reference(x1, x2);
    let rounded = reference(&double(&f1), &double(&f2));
    for (i, name, wide, single) in [(0, "K", &found.nngp, &narrow.nngp), (1, "Θ", &found.ntk, &narrow.ntk)] {
        let off = distance(wide, &wanted.iter().map(|k| k[i]).collect::<Vec<_>>());
        assert!(off <= tolerance, "{name} is off by {off:e} in {:?} for {:?}", network.layers(), network.input());
        let off = distance(&double(single), &rounded.iter().map(|k| k[i]).collect::<Vec<_>>());
        assert!(off <= allowed[i], "{name} in f32 is off by {off:e} in {:?} for {:?}", network.layers(), network.input());
    }
}

/// A model file of the layers of a reference case.
fn model(case: &Value) -> Network {
    let model = &case["model"];
    let mut text = format!("input = {}\nparameterization = {}\n", model["input"], model["parameterization"]);
    for layer in model["layers"].as_array().unwrap() {
        text.push_str("[[layers]]\n");
        for (key, value) in layer.as_object().unwrap() {
            text.push_str(&format!("{key} = {value}\n"));
        }
    }
    parse_model(&text).unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

#[test]
fn networks_of_images_agree_with_the_reference_values() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/infinite_width_images.json");
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let network = model(case);
        let (x1, x2) = (numbers(&case["x1"]), numbers(&case["x2"]));
        let (own, cross) = (evaluate(&network, &x1, None), evaluate(&network, &x1, Some(&x2)));
        let (y1, y2) = (single(&x1), single(&x2));
        let (own_32, cross_32) = (evaluate(&network, &y1, None), evaluate(&network, &y1, Some(&y2)));
        for (key, wide, narrow) in [
            ("nngp_11", &own.nngp, &own_32.nngp),
            ("ntk_11", &own.ntk, &own_32.ntk),
            ("nngp_12", &cross.nngp, &cross_32.nngp),
            ("ntk_12", &cross.ntk, &cross_32.ntk),
        ] {
            let reference = numbers(&case[key]);
            let (off, off_32) = (distance(wide, &reference), distance(&double(narrow), &reference));
            assert!(off <= 1e-12, "{name} {key}: {off:e}");
            assert!(off_32 <= 1e-5, "{name} {key} in f32: {off_32:e}");
        }
        // x2[0] is x1[1]: the entry between them is that on the diagonal, to the bit.
        assert_eq!((cross.nngp[3], cross.ntk[3]), (own.nngp[5], own.ntk[5]), "{name}");
        assert_eq!((cross_32.nngp[3], cross_32.ntk[3]), (own_32.nngp[5], own_32.ntk[5]), "{name}");
    }
}

fn hidden(filter: [usize; 2]) -> Layer {
    conv(6, filter).std(1.3, 0.2)
}

/// Every layer, in all its kinds, in networks for images of 6 × 5 with two channels.
fn networks() -> Vec<Vec<Layer>> {
    let c = || hidden([3, 3]);
    vec![
        vec![c(), relu(), c().padding(Padding::Valid), erf(), flatten(), dense(1)],
        vec![c().stride([2, 1]), relu(), c().stride([1, 2]).padding(Padding::Cells([2, 0])), gelu(), global_avg_pool(), dense(2)],
        vec![c().padding(Padding::Circular), relu(), c().padding(Padding::Circular).stride([2, 2]), relu(), global_avg_pool(), dense(1)],
        vec![c().padding(Padding::Circular), relu(), c(), leaky_relu(0.3), global_avg_pool(), dense(4), relu(), dense(1)],
        vec![c(), relu(), avg_pool([2, 2]), c(), relu(), global_avg_pool(), dense(1)],
        vec![
            c(),
            avg_pool([3, 2]).stride([1, 1]).padding(Padding::Same),
            relu(),
            c(),
            erf(),
            sum_pool([2, 3]),
            relu_after_dense(),
            dense(1),
        ],
        vec![sum_pool([2, 2]).stride([2, 1]), c(), relu(), flatten(), dense(3).std(1.1, 0.3), relu(), dense(1)],
        vec![c(), layer_norm(), relu(), c(), layer_norm().over(NormAxes::All), relu(), flatten(), dense(1)],
        vec![c(), layer_norm().over(NormAxes::All), relu(), c(), relu(), global_avg_pool(), dense(3), layer_norm(), relu(), dense(1)],
        vec![c(), residual([relu(), c(), relu(), c().std(0.7, 0.0)]), relu(), flatten(), dense(1)],
        vec![
            c(),
            residual_with_shortcut([relu(), c().stride([2, 2]), relu(), c()], [conv(6, [1, 1]).stride([2, 2]).std(0.9, 0.3)]),
            relu(),
            global_avg_pool(),
            dense(1),
        ],
        vec![
            c(),
            residual_with_shortcut([relu(), c(), avg_pool([2, 2])], [avg_pool([2, 2]), conv(6, [1, 1]).std(0.9, 0.1)]),
            residual([layer_norm(), relu(), c(), residual([erf(), c()]), relu(), c()]),
            relu(),
            global_avg_pool(),
            dense(1),
        ],
        vec![c(), relu(), c(), avg_pool([2, 2]), relu(), avg_pool([2, 1]), c(), relu(), flatten(), dense(1)],
        vec![hidden([1, 4]), sin_of(1.3, 0.7, 0.4), hidden([4, 1]).without_bias(), tanh(), global_avg_pool(), dense(1)],
        vec![hidden([2, 2]), tanh(), hidden([2, 2]).padding(Padding::Valid), relu(), flatten(), dense(2), tanh(), dense(1)],
    ]
}

fn relu_after_dense() -> Layer {
    // A block that makes what a pool gives Gaussian again: a sum of two convolutions.
    residual_with_shortcut([hidden([1, 1]), relu(), hidden([1, 1]), global_avg_pool()], [hidden([2, 1]), global_avg_pool()])
}

#[test]
fn every_layer_agrees_with_the_slow_recursion() {
    let (x1, x2): (Vec<f64>, Vec<f64>) = (normals(1, 0, 3 * 60), normals(2, 0, 2 * 60));
    for layers in networks() {
        for parameterization in Parameterization::ALL {
            let network = Network::new([6, 5, 2], layers.clone()).unwrap().parameterized(parameterization);
            check(&network, &x1, &x2, 2e-12);
        }
    }
}

#[test]
fn every_activation_agrees_with_the_slow_recursion() {
    let (x1, x2): (Vec<f64>, Vec<f64>) = (normals(3, 0, 2 * 24), normals(4, 0, 2 * 24));
    for phi in nn::ACTIVATIONS {
        let c = || hidden([3, 2]).std(0.9, 0.3);
        for end in [flatten(), global_avg_pool()] {
            let network = Network::new([4, 3, 2], [c(), phi.into(), c(), phi.into(), end, dense(1)]).unwrap();
            check(&network, &x1, &x2, 1e-11);
        }
    }
}

fn padding() -> impl Strategy<Value = Padding> {
    prop_oneof![Just(Padding::Same), Just(Padding::Valid), Just(Padding::Circular), [0usize..3, 0..3].prop_map(Padding::Cells),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_geometry_agrees_with_the_slow_recursion(
        image in [1usize..6, 1..6],
        channels in 1usize..4,
        windows in prop::collection::vec(([1usize..4, 1..4], [1usize..4, 1..4], padding(), 0u8..5), 1..4),
        flat in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut layers: Vec<Layer> = Vec::new();
        for (size, stride, padding, kind) in windows {
            let layer = match kind {
                0 => avg_pool(size),
                1 => sum_pool(size),
                _ => conv(4, size).std(1.2, 0.3),
            };
            let conv = kind > 1;
            layers.push(layer.stride(stride).padding(padding));
            if conv {
                layers.push(relu());
            }
        }
        layers.extend([if flat { flatten() } else { global_avg_pool() }, dense(1)]);
        // Windows that do not fit make no network.
        let Ok(network) = Network::new([image[0], image[1], channels], layers) else { return Ok(()) };
        let d = network.n_inputs();
        let (x1, x2): (Vec<f64>, Vec<f64>) = (normals(seed, 0, 2 * d), normals(seed, 1, 2 * d));
        // Where an image itself is pooled its numbers may cancel: what single precision promises is a part of the kernel of their sizes.
        let largest = |x1: &[f64], x2: &[f64]| {
            let pairs = x1.chunks(d).flat_map(|a| x2.chunks(d).map(move |b| (a, b)));
            pairs.fold(0.0, |largest: f64, (a, b)| largest.max(kernels(&network, a, b)[0].abs()))
        };
        let sizes = |x: &[f64]| x.iter().map(|x| x.abs()).collect::<Vec<_>>();
        let cancelled = (largest(&sizes(&x1), &sizes(&x2)) / largest(&x1, &x2).max(1e-300)).max(1.0);
        // Places of such small images may be close to parallel, for which √ε is promised in single precision.
        check_both(&network, &x1, &x2, (1e-13 * cancelled).max(1e-10), [1e-5 * cancelled, 3.5e-4 * cancelled]);
    }
}

#[test]
fn networks_of_images_without_a_limit_are_refused_by_name() {
    use nn::max_pool;
    let refusal = |layers: Vec<Layer>| InfiniteKernel::new(&Network::new([6, 5, 2], layers).unwrap()).unwrap_err().to_string();
    let c = || hidden([3, 3]);
    for (layers, start) in [
        (vec![relu(), c(), flatten()], "layers[0] (relu): an activation needs a Gaussian input, and here it reads the network's input"),
        (vec![flatten(), relu(), dense(1)], "layers[1] (relu): an activation needs a Gaussian input"),
        (vec![avg_pool([2, 2]), layer_norm(), c(), flatten()], "layers[1] (layer_norm): a layer norm needs a Gaussian input"),
        (vec![c(), relu(), avg_pool([2, 2]), relu(), flatten(), dense(1)], "layers[3] (relu): an activation needs a Gaussian input"),
        (vec![c(), relu(), max_pool([2, 2]), flatten(), dense(1)], "layers[2] (max_pool): the largest of several Gaussian cells"),
        (vec![c(), residual([c(), relu()]), flatten()], "layers[1].layers: a residual branch must end in a dense layer or a convolution"),
        (vec![c(), residual_with_shortcut([c()], [relu(), avg_pool([1, 1])]), flatten()], "layers[1].shortcut: a residual branch must end"),
    ] {
        let text = refusal(layers);
        assert!(text.starts_with(start), "{text}");
    }
    let network = Network::new([6, 5, 2], [c(), relu(), conv(6, [3, 3]), relu(), flatten(), dense(1)]).unwrap().mup(6).unwrap();
    assert_eq!(InfiniteKernel::new(&network).unwrap_err(), ntk::NoLimit::FeaturesMove);
}

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

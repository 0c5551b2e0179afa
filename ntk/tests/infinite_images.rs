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

pub(crate) fn evaluate<T: Float>(network: &Network, x1: &[T], x2: Option<&[T]>) -> Kernels<T> {
    let d = network.n_inputs();
    let view = |x| Mat::new(x, x.len() / d, d);
    InfiniteKernel::new(network).unwrap_or_else(|error| panic!("{error}")).evaluate(view(x1), x2.map(view))
}

pub(crate) fn single(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&x| x as f32).collect()
}

pub(crate) fn double(x: &[f32]) -> Vec<f64> {
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
pub(crate) fn check(network: &Network, x1: &[f64], x2: &[f64], tolerance: f64) {
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

pub(crate) fn hidden(filter: [usize; 2]) -> Layer {
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

/// The size, stride and padding of a window, and what it does: 0 a mean, 1 a sum, and else a convolution with a ReLU.
type Window = ([usize; 2], [usize; 2], Padding, u8);

fn geometry(image: [usize; 2], channels: usize, windows: &[Window], flat: bool, seed: u64) {
    let mut layers: Vec<Layer> = Vec::new();
    for (size, stride, padding, kind) in windows {
        let layer = match kind {
            0 => avg_pool(*size),
            1 => sum_pool(*size),
            _ => conv(4, *size).std(1.2, 0.3),
        };
        layers.push(layer.stride(*stride).padding(*padding));
        if *kind > 1 {
            layers.push(relu());
        }
    }
    layers.extend([if flat { flatten() } else { global_avg_pool() }, dense(1)]);
    // Windows that do not fit make no network.
    let Ok(network) = Network::new([image[0], image[1], channels], layers) else { return };
    let d = network.n_inputs();
    let (x1, x2): (Vec<f64>, Vec<f64>) = (normals(seed, 0, 2 * d), normals(seed, 1, 2 * d));
    // Where an image itself is pooled its numbers may cancel: what single precision promises then is a part of the kernel of their sizes.
    let cancelled = if windows[0].3 <= 1 {
        let largest = |x1: &[f64], x2: &[f64]| {
            let pairs = x1.chunks(d).flat_map(|a| x2.chunks(d).map(move |b| (a, b)));
            pairs.fold(0.0, |largest: f64, (a, b)| largest.max(kernels(&network, a, b)[0].abs()))
        };
        let sizes = |x: &[f64]| x.iter().map(|x| x.abs()).collect::<Vec<_>>();
        (largest(&sizes(&x1), &sizes(&x2)) / largest(&x1, &x2).max(1e-300)).max(1.0)
    } else {
        1.0
    };
    // Places of such small images may be close to parallel, for which √ε is promised in single precision.
    check_both(&network, &x1, &x2, 1e-10, [1e-5 * cancelled, 3.5e-4 * cancelled]);
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
        geometry(image, channels, &windows, flat, seed);
    }
}

#[test]
fn a_pool_of_numbers_that_cancel_agrees_with_the_slow_recursion() {
    let windows = [([3, 3], [3, 1], Padding::Valid, 1), ([1, 1], [1, 1], Padding::Same, 2)];
    geometry([5, 3], 1, &windows, false, 842_015_270_459_981_551);
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

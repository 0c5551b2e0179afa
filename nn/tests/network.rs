//! The forward pass against loops written out, shapes, names and messages.

use crate::naive::assert_forward;
use nn::{
    ACTIVATIONS, Layer, ModelError, Network, Parameterization, Role, abs, avg_pool, conv, cos, cos_of, dense, erf, flatten, gaussian, gelu,
    global_avg_pool, identity, layer_norm, leaky_relu, max_pool, rbf, relu, residual, residual_with_shortcut, sigmoid, silu, sin, sin_of,
    softplus, sum_pool, tanh,
};
use proptest::prelude::*;

#[test]
fn every_layer_is_its_formula() {
    assert_forward(&Network::new([3], [dense(4).std(1.5, 0.2)]).unwrap(), 1);
    assert_forward(&Network::new([3], [dense(4).without_bias()]).unwrap(), 2);
    assert_forward(&Network::new([1], [dense(1)]).unwrap(), 3);
    for activation in ACTIVATIONS.map(Layer::from) {
        let network = Network::new([4], [activation.clone(), dense(5).std(0.7, 0.3), activation, dense(2).without_bias()]);
        assert_forward(&network.unwrap(), 4);
    }
    let identity = residual([relu(), dense(6).std(1.2, 0.4), tanh(), dense(6)]);
    assert_forward(&Network::new([3], [dense(6), identity, relu(), dense(2)]).unwrap(), 5);
    let shortcut = residual_with_shortcut([relu(), dense(7), erf(), dense(5).std(1.2, 0.4)], [dense(5).without_bias()]);
    assert_forward(&Network::new([3], [dense(6), shortcut, dense(2)]).unwrap(), 6);
    let nested = residual([dense(4), residual_with_shortcut([tanh(), dense(4)], [residual([dense(4)]), tanh()]), relu()]);
    assert_forward(&Network::new([4], [nested.clone(), dense(3), residual([dense(3)])]).unwrap(), 7);
    // An empty branch doubles.
    assert_forward(&Network::new([4], [residual([]), dense(3)]).unwrap(), 8);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn random_networks_are_their_formulas(
        widths in prop::collection::vec((1_usize..9, 0.1..2.0_f64, 0.0..1.0_f64, any::<bool>(), 0_usize..20, any::<bool>()), 1..4),
        n_in in 1_usize..9, seed in any::<u64>(),
    ) {
        let activation = [
            relu(), erf(), tanh(), relu(), sigmoid(), softplus(), gelu(), silu(), sin(), cos(), abs(), leaky_relu(0.2), leaky_relu(-1.5),
            rbf(0.7), rbf(0.0), gaussian(), identity(), layer_norm(), sin_of(1.5, -0.7, 0.3), cos_of(-0.5, 2.0, 1.0),
        ];
        let mut layers = Vec::new();
        for (out, w_std, b_std, bias, i, skip) in widths {
            let layer = dense(out).std(w_std, b_std);
            layers.push(if bias { layer } else { layer.without_bias() });
            if skip {
                layers.push(residual([activation[i].clone(), dense(out).std(0.5, 0.5)]));
            }
            layers.push(activation[i].clone());
        }
        layers.push(dense(2));
        assert_forward(&Network::new([n_in], layers).unwrap(), seed);
    }
}

#[test]
fn both_parameterizations_are_one_function_of_rescaled_parameters() {
    let block = residual([relu(), dense(8).std(0.8, 0.3)]);
    let ntk = Network::new([5], [dense(8).std(1.5, 0.1), block, tanh(), dense(3).std(1.1, 0.7)]).unwrap();
    let standard = ntk.clone().parameterized(Parameterization::Standard);
    let parameters = ntk.init::<f64>(3).unwrap();
    let rescaled: Vec<Vec<f64>> =
        ntk.parameters().iter().zip(&parameters).map(|(p, v)| v.iter().map(|v| p.scaling.multiplier * v).collect()).collect();
    let x = nn::normals::<f64>(3, 50, 4 * 5);
    for (a, b) in ntk.apply(&parameters, &x).iter().zip(standard.apply(&rescaled, &x)) {
        assert!((a - b).abs() < 1e-14, "{a} and {b}");
    }
    // Initial values of one seed are the same function too.
    for (a, b) in rescaled.iter().flatten().zip(standard.init::<f64>(3).unwrap().iter().flatten()) {
        assert!((a - b).abs() <= 1e-15 * a.abs(), "{a} and {b}");
    }
}

#[test]
fn examples_do_not_touch_each_other() {
    let network = Network::new([5], [dense(40), erf(), residual([dense(40), relu()]), dense(3)]).unwrap();
    let parameters = network.init::<f64>(1).unwrap();
    let x = nn::normals::<f64>(2, 0, 7 * 5);
    let all = network.apply(&parameters, &x);
    for i in 0..7 {
        let alone = network.apply(&parameters, &x[i * 5..][..5]);
        for (a, b) in alone.iter().zip(&all[i * 3..]) {
            assert!((a - b).abs() < 1e-13, "example {i}: {a} alone, {b} among others");
        }
    }
}

#[test]
fn names_count_every_layer_but_the_residual_itself() {
    let block = residual_with_shortcut([relu(), dense(3), tanh(), dense(4).without_bias()], [dense(4)]);
    let network = Network::new([2], [dense(3), block, erf(), dense(1)]).unwrap();
    let got: Vec<(String, Vec<usize>, Role)> =
        network.parameters().iter().map(|p| (p.name.clone(), p.shape.dims().to_vec(), p.role)).collect();
    let want = [
        ("0.weight", vec![2, 3], Role::InputWeight),
        ("0.bias", vec![3], Role::HiddenBias),
        ("2.weight", vec![3, 3], Role::HiddenWeight),
        ("2.bias", vec![3], Role::HiddenBias),
        ("4.weight", vec![3, 4], Role::HiddenWeight),
        ("5.weight", vec![3, 4], Role::HiddenWeight),
        ("5.bias", vec![4], Role::HiddenBias),
        ("7.weight", vec![4, 1], Role::OutputWeight),
        ("7.bias", vec![1], Role::OutputBias),
    ];
    assert_eq!(got, want.map(|(name, shape, role)| (name.to_owned(), shape, role)));
    assert_eq!(network.n_parameters(), 6 + 3 + 9 + 3 + 12 + 12 + 4 + 4 + 1);
    assert_eq!((network.input(), network.n_inputs(), network.outputs()), (&[2][..], 2, 1));
}

#[test]
fn names_count_as_pytorch_s_sequential_counts() {
    let names = |layers: Vec<Layer>| -> Vec<String> {
        let network = Network::nchw([1, 8, 8], layers).unwrap();
        network.parameters().iter().filter(|p| p.role.is_weight()).map(|p| p.name.clone()).collect()
    };
    // Conv2d, ReLU, AvgPool2d, Conv2d, AdaptiveAvgPool2d, Flatten, Linear.
    let layers = vec![conv(2, [3, 3]), relu(), avg_pool([2, 2]), conv(2, [3, 3]), global_avg_pool(), dense(1)];
    assert_eq!(names(layers), ["0.weight", "3.weight", "6.weight"]);
    // MaxPool2d, Flatten, LayerNorm, Identity, Linear.
    assert_eq!(names(vec![max_pool([2, 2]), flatten(), layer_norm(), identity(), dense(1)]), ["4.weight"]);
}

#[test]
fn a_network_of_one_layer_has_an_output_and_no_input_role() {
    let network = Network::new([2], [relu(), dense(3)]).unwrap();
    let roles: Vec<Role> = network.parameters().iter().map(|p| p.role).collect();
    assert_eq!(roles, [Role::OutputWeight, Role::OutputBias]);
    assert_eq!(network.parameters()[0].name, "1.weight");
}

fn message(input: impl Into<Vec<usize>>, layers: impl Into<Vec<Layer>>) -> String {
    Network::new(input, layers).unwrap_err().to_string()
}

#[test]
fn errors_name_the_layer_and_both_shapes() {
    assert_eq!(message([8, 6, 3], [relu(), dense(4)]), "layers[1] (dense) reads features, [n], and it is given [8, 6, 3]");
    assert_eq!(
        message([3], [dense(4), residual([relu(), dense(5)])]),
        "layers[1] (residual): the layers give [5] and the shortcut gives [4], and only equal shapes add up"
    );
    assert_eq!(
        message([3], [dense(4), residual([residual_with_shortcut([dense(5)], [relu(), dense(6)])])]),
        "layers[1].layers[0] (residual): the layers give [5] and the shortcut gives [6], and only equal shapes add up"
    );
    assert_eq!(
        message([3], [residual_with_shortcut([dense(2)], [tanh(), dense(0)])]),
        "layers[0].shortcut[1] (dense): `out` must be at least 1"
    );
    assert_eq!(
        message([8, 6, 3], [conv(4, [3, 3]), residual([conv(5, [3, 3])]), flatten(), dense(1)]),
        "layers[1] (residual): the layers give [8, 6, 5] and the shortcut gives [8, 6, 4], and only equal shapes add up"
    );
    assert_eq!(message([3], [conv(4, [3, 3])]), "layers[0] (conv) reads an image, [height, width, channels], and it is given [3]");
    assert_eq!(
        message([8, 6, 3], [flatten(), max_pool([2, 2])]),
        "layers[1] (max_pool) reads an image, [height, width, channels], and it is given [144]"
    );
    assert_eq!(
        message([3], [global_avg_pool()]),
        "layers[0] (global_avg_pool) reads an image, [height, width, channels], and it is given [3]"
    );
    let first = |error: ModelError| error.to_string();
    let nchw = |layers: Vec<Layer>| first(Network::nchw([3, 8, 6], layers).unwrap_err());
    assert_eq!(nchw(vec![relu(), dense(4)]), "layers[1] (dense) reads features, [n], and it is given [3, 8, 6]");
    assert_eq!(nchw(vec![flatten(), conv(4, [3, 3])]), "layers[1] (conv) reads an image, [channels, height, width], and it is given [144]");
    assert_eq!(
        nchw(vec![conv(4, [3, 3]), residual([conv(5, [3, 3])]), flatten(), dense(1)]),
        "layers[1] (residual): the layers give [5, 8, 6] and the shortcut gives [4, 8, 6], and only equal shapes add up"
    );
    assert_eq!(nchw(vec![relu()]), "a network ends in a row of outputs, [n], and this one ends in [3, 8, 6]");
    assert_eq!(message([8, 6, 3], [relu()]), "a network ends in a row of outputs, [n], and this one ends in [8, 6, 3]");
    assert_eq!(message([3], [relu()]), "the network has no parameters: add a dense layer");
    assert_eq!(message([3], []), "the network has no parameters: add a dense layer");
    for input in [vec![], vec![0], vec![2, 2], vec![4, 0, 1], vec![1, 1, 1, 1]] {
        assert_eq!(
            message(input.clone(), [dense(1)]),
            format!("input must be [features] or an image of three extents, all at least 1, and it is {input:?}")
        );
    }
    let n = usize::MAX;
    assert_eq!(message([n], [dense(n)]), format!("layers[0] (dense): a weight from {n} to {n} features is too large"));
    assert_eq!(message([1 << 21], [dense(1 << 20)]), "layers[0] (dense): a weight from 2097152 to 1048576 features is too large");
    for bad in [-1.0, f64::NAN, f64::INFINITY, -f64::INFINITY] {
        assert_eq!(
            message([3], [dense(2).std(bad, 0.0)]),
            format!("layers[0] (dense): `w_std` must be a finite number of at least 0, and it is {bad}")
        );
        assert_eq!(
            message([3], [dense(2).std(1.0, bad)]),
            format!("layers[0] (dense): `b_std` must be a finite number of at least 0, and it is {bad}")
        );
    }
    for bad in [f64::NAN, f64::INFINITY, -f64::INFINITY] {
        assert_eq!(
            message([3], [dense(2), residual([leaky_relu(bad)])]),
            format!("layers[1].layers[0] (leaky_relu): `alpha` must be a finite number, and it is {bad}")
        );
    }
    let typed = Network::new([3], [dense(4), residual([dense(5)])]).unwrap_err();
    assert_eq!(typed, ModelError::Residual { place: "layers[1] (residual)".into(), branch: vec![5], shortcut: vec![4] });
}

#[test]
fn windows_that_do_not_fit_are_refused() {
    use nn::Padding::{Cells, Circular, Same, Valid};
    let image = |layer: Layer| message([8, 6, 3], [relu(), layer, flatten(), dense(1)]);
    assert_eq!(image(conv(4, [9, 2]).padding(Valid)), "layers[1] (conv): a filter of [9, 2] does not fit into [8, 6, 3] with this padding");
    assert_eq!(image(avg_pool([2, 7])), "layers[1] (avg_pool): a window of [2, 7] does not fit into [8, 6, 3] with this padding");
    assert_eq!(
        image(conv(4, [11, 2]).padding(Cells([1, 0]))),
        "layers[1] (conv): a filter of [11, 2] does not fit into [8, 6, 3] with this padding"
    );
    for fits in [conv(4, [10, 2]).padding(Cells([1, 0])), conv(4, [99, 99]), conv(4, [99, 99]).padding(Circular)] {
        assert!(Network::new([8, 6, 3], [fits, flatten(), dense(1)]).is_ok());
    }
    let sizes = "must be two whole numbers from 1 to 2^32 − 1, and it is";
    assert_eq!(image(conv(4, [0, 3])), format!("layers[1] (conv): `filter` {sizes} [0, 3]"));
    assert_eq!(image(conv(4, [1 << 32, 3])), format!("layers[1] (conv): `filter` {sizes} [4294967296, 3]"));
    assert_eq!(image(conv(4, [1, 3]).stride([1, 0])), format!("layers[1] (conv): `stride` {sizes} [1, 0]"));
    assert_eq!(image(sum_pool([3, 0])), format!("layers[1] (sum_pool): `window` {sizes} [3, 0]"));
    assert_eq!(
        image(conv(4, [1, 3]).padding(Cells([0, usize::MAX]))),
        format!("layers[1] (conv): `padding` must be two whole numbers from 0 to 2^32 − 1, and it is [0, {}]", usize::MAX)
    );
    assert_eq!(
        image(max_pool([3, 2]).padding(Cells([2, 2]))),
        "layers[1] (max_pool): the largest number of a window [3, 2] needs less than a window of padding, and that is [2, 2]"
    );
    assert!(
        Network::new([8, 6, 3], [max_pool([3, 2]).padding(Cells([2, 1])), max_pool([9, 9]).padding(Same), flatten(), dense(1)]).is_ok()
    );
    // Sizes that no memory holds, before and behind.
    assert_eq!(message([1 << 20, 1 << 20, 2], [flatten(), dense(1)]), "input: an image of shape [1048576, 1048576, 2] is too large");
    assert_eq!(
        message([1 << 33, 1, 1], [conv(1, [1, 1]), flatten(), dense(1)]),
        "layers[0] (conv): an image of shape [8589934592, 1, 1] is too large"
    );
    assert_eq!(
        message([1 << 20, 1 << 15, 1], [conv(64, [1, 1]), flatten(), dense(1)]),
        "layers[0] (conv): an image of shape [1048576, 32768, 64] is too large"
    );
    let padded = sum_pool([1, 1]).padding(Cells([u32::MAX as usize, u32::MAX as usize]));
    assert!(image(padded).ends_with("is too large"));
    assert_eq!(image(conv(1 << 40, [3, 3])), "layers[1] (conv): a weight from 27 to 1099511627776 features is too large");
    assert_eq!(image(conv(0, [3, 3])), "layers[1] (conv): `out` must be at least 1");
}

#[test]
fn parameters_of_layers_are_in_their_range() {
    let with = |layer: Layer| message([3], [dense(2), layer, dense(1)]);
    for bad in [0.0, -1e-12, f64::NAN, f64::INFINITY] {
        assert_eq!(with(layer_norm().eps(bad)), format!("layers[1] (layer_norm): `eps` must be a finite number above 0, and it is {bad}"));
    }
    for bad in [-1e-300, f64::NAN, f64::INFINITY] {
        assert_eq!(with(rbf(bad)), format!("layers[1] (rbf): `gamma` must be a finite number of at least 0, and it is {bad}"));
    }
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(with(sin_of(bad, 1.0, 0.0)), format!("layers[1] (sin): `a` must be a finite number, and it is {bad}"));
        assert_eq!(with(cos_of(1.0, bad, 0.0)), format!("layers[1] (cos): `b` must be a finite number, and it is {bad}"));
        assert_eq!(with(cos_of(1.0, 1.0, bad)), format!("layers[1] (cos): `c` must be a finite number, and it is {bad}"));
    }
}

#[test]
#[should_panic(expected = "`stride` is for layers with windows, and `dense` has none of its own")]
fn stride_of_a_dense_layer_panics() {
    let _ = dense(1).stride([2, 2]);
}

#[test]
#[should_panic(expected = "`eps` is for layers with means, and `flatten` has none of its own")]
fn eps_of_another_layer_panics() {
    let _ = flatten().eps(1e-3);
}

#[test]
#[should_panic(expected = "inputs of shape [3] have 3 entries each, and 7 are not whole ones")]
fn ragged_inputs_panic() {
    let network = Network::new([3], [dense(2)]).unwrap();
    network.apply(&network.init::<f64>(0).unwrap(), &[0.0; 7]);
}

#[test]
#[should_panic(expected = "the network has 2 parameters, 1 were given")]
fn missing_parameters_panic() {
    let network = Network::new([3], [dense(2)]).unwrap();
    network.apply(&[vec![0.0; 6]], &[0.0; 3]);
}

#[test]
#[should_panic(expected = "the network has 2 parameters, 3 were given")]
fn spare_variables_panic() {
    let network = Network::new([1], [dense(1)]).unwrap();
    let mut tape = autodiff::Tape::new();
    let mut leaves = network.leaves(&mut tape, &[vec![1.0], vec![1.0]]);
    leaves.push(tape.parameter([1], &[1.0]));
    let x = tape.input([1, 1], &[1.0]);
    network.record(&mut tape, &leaves, x);
}

#[test]
#[should_panic(expected = "shape [3, 2] needs 6 values, 5 were given")]
fn short_parameters_panic() {
    let network = Network::new([3], [dense(2)]).unwrap();
    network.apply(&[vec![0.0; 5], vec![0.0; 2]], &[0.0; 3]);
}

#[test]
#[should_panic(expected = "`std` is for layers with weights, and `relu` has none of its own")]
fn std_of_an_activation_panics() {
    let _ = relu().std(1.0, 1.0);
}

#[test]
#[should_panic(expected = "`without_bias` is for layers with weights, and `residual` has none of its own")]
fn without_bias_of_a_residual_panics() {
    let _ = residual([dense(1)]).without_bias();
}

#[test]
fn display_is_a_table_of_layers() {
    let block = residual_with_shortcut([relu(), conv(6, [3, 3])], [conv(6, [1, 1]).without_bias()]);
    let layers = [conv(4, [3, 3]).stride([2, 2]), block, layer_norm(), max_pool([2, 1]), flatten(), dense(3).without_bias()];
    let network = Network::nchw([2, 8, 6], layers).unwrap();
    let want = "\
layer                       output           parameters            FLOPs
input                       [2, 8, 6]
layers[0] conv              [4, 4, 3]                76             1776
layers[1].layers[0] relu    [4, 4, 3]                 0               48
layers[1].layers[1] conv    [6, 4, 3]               222             5256
layers[1].shortcut[0] conv  [6, 4, 3]                24              576
layers[1] residual          [6, 4, 3]                 0               72
layers[2] layer_norm        [6, 4, 3]                 0              408
layers[3] max_pool          [6, 2, 3]                 0               72
layers[4] flatten           [36]                      0                0
layers[5] dense             [3]                     108              216
in all, ntk parameterization                        430             8424";
    assert_eq!(network.to_string(), want);
    assert_eq!((network.flops(), network.n_parameters()), (8424, 430));
    // A name that is longer than its column makes it wider, in every line.
    let deep = Network::new([3], [residual([residual([residual([residual([relu()])])])]), dense(1)]).unwrap();
    let widths: Vec<usize> = deep.to_string().lines().filter(|line| !line.starts_with("input")).map(|line| line.chars().count()).collect();
    assert!(widths.iter().all(|&n| n == widths[0]), "{deep}");
    let standard = deep.parameterized(Parameterization::Standard).to_string();
    assert!(standard.lines().last().unwrap().starts_with("in all, standard parameterization"));
}

#[test]
fn operations_are_those_of_the_formulas() {
    let flops =
        |input: &[usize], layer: Layer| Network::new(input, [layer, flatten(), dense(1).without_bias()]).unwrap().summary()[0].flops;
    assert_eq!(flops(&[5], dense(7)), (2 * 5 + 1) * 7);
    assert_eq!(flops(&[5], dense(7).without_bias()), 2 * 5 * 7);
    // Every tap counts, on the edge as well.
    assert_eq!(flops(&[4, 6, 2], conv(3, [3, 5]).stride([2, 1])), (2 * 2 * 15 + 1) * 3 * 2 * 6);
    assert_eq!(flops(&[4, 6, 2], avg_pool([2, 3])), 6 * 2 * 2 * 2);
    assert_eq!(flops(&[4, 6, 2], global_avg_pool()), 48);
    assert_eq!(flops(&[4, 6, 2], relu()), 48);
    assert_eq!(flops(&[4, 6, 2], identity()), 0);
    assert_eq!(flops(&[4, 6, 2], flatten()), 0);
    assert_eq!(flops(&[4, 6, 2], layer_norm()), 5 * 48 + 4 * 24);
    // Too many to count.
    let huge = Network::new([1 << 20, 1 << 19, 1], [conv(1, [1 << 20, 1 << 19]), global_avg_pool()]).unwrap();
    assert_eq!(huge.flops(), u64::MAX);
}

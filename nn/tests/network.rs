//! The forward pass against loops written out, shapes, names and messages.

use nn::{
    ACTIVATIONS, Layer, ModelError, Network, Parameterization, Phi, Residual, Role, abs, cos, dense, erf, gelu, leaky_relu, relu, residual,
    residual_with_shortcut, sigmoid, silu, sin, softplus, tanh,
};
use proptest::prelude::*;
use std::f64::consts::PI;

/// `erf(x) = 2/√π e^{−x²} Σ_n 2ⁿ x^{2n+1}/(2n+1)!!` (Abramowitz and Stegun 7.1.6): all terms have one sign, so nothing cancels.
fn erf_series(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / (2 * n + 1) as f64;
        sum += term;
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

fn phi(phi: Phi, x: f64) -> f64 {
    match phi {
        Phi::Relu => x.max(0.0),
        Phi::Erf => erf_series(x),
        Phi::Tanh => x.tanh(),
        Phi::Exp => x.exp(),
        Phi::Ln => x.ln(),
        Phi::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Phi::Softplus => x.exp().ln_1p(),
        Phi::Gelu => 0.5 * x * (1.0 + erf_series(x / 2.0_f64.sqrt())),
        Phi::Silu => x / (1.0 + (-x).exp()),
        Phi::Sin => x.sin(),
        Phi::Cos => x.cos(),
        Phi::Abs => x.max(-x),
        Phi::LeakyRelu(alpha) => x.max(0.0) + alpha * x.min(0.0),
        Phi::Sqrt => x.sqrt(),
    }
}

/// One example through the layers, entry by entry, from the formulas alone.
fn naive(layers: &[Layer], parameterization: Parameterization, parameters: &mut std::slice::Iter<'_, Vec<f64>>, x: &[f64]) -> Vec<f64> {
    let mut x = x.to_vec();
    for layer in layers {
        x = match layer {
            Layer::Dense(d) => {
                let (m, m_b) = match parameterization {
                    Parameterization::Ntk => (d.w_std / (x.len() as f64).sqrt(), d.b_std),
                    Parameterization::Standard => (1.0, 1.0),
                };
                let w = parameters.next().unwrap();
                let mut z = vec![0.0; d.out];
                for j in 0..d.out {
                    for i in 0..x.len() {
                        z[j] += m * x[i] * w[i * d.out + j];
                    }
                }
                if d.bias {
                    let b = parameters.next().unwrap();
                    z.iter_mut().zip(b).for_each(|(z, b)| *z += m_b * b);
                }
                z
            }
            Layer::Activation(p) => x.iter().map(|&x| phi(*p, x)).collect(),
            Layer::Residual(Residual { layers, shortcut }) => {
                let branch = naive(layers, parameterization, parameters, &x);
                let around = naive(shortcut, parameterization, parameters, &x);
                branch.iter().zip(&around).map(|(a, b)| a + b).collect()
            }
        };
    }
    x
}

fn assert_forward(network: &Network, seed: u64) {
    let n_in = network.n_inputs();
    for parameterization in Parameterization::ALL {
        let network = network.clone().parameterized(parameterization);
        // Unlike fresh parameters, all entries are nonzero, so that a bias with b_std = 0 shows in the standard parameterization.
        let parameters: Vec<Vec<f64>> =
            network.parameters().iter().enumerate().map(|(i, p)| nn::normals(seed, i as u64, p.shape.len())).collect();
        let scale = match parameterization {
            Parameterization::Ntk => 1.0,
            Parameterization::Standard => 0.3,
        };
        let parameters: Vec<Vec<f64>> = parameters.iter().map(|p| p.iter().map(|v| scale * v).collect()).collect();
        for examples in [0, 1, 2, 5] {
            let x: Vec<f64> = nn::normals::<f64>(seed, 1000, examples * n_in).iter().map(|v| 0.5 * v).collect();
            let got = network.apply(&parameters, &x);
            let want: Vec<f64> =
                x.chunks(n_in).flat_map(|x| naive(network.layers(), parameterization, &mut parameters.iter(), x)).collect();
            assert_eq!(got.len(), examples * network.outputs());
            assert_eq!(got.len(), want.len());
            for (g, w) in got.iter().zip(&want) {
                assert!((g - w).abs() <= 1e-13 * (1.0 + w.abs()), "{parameterization:?}: {g} is not {w}\n{network}");
            }
        }
    }
}

#[test]
fn every_layer_is_its_formula() {
    assert_forward(&Network::new([3], [dense(4).std(1.5, 0.2)]).unwrap(), 1);
    assert_forward(&Network::new([3], [dense(4).without_bias()]).unwrap(), 2);
    assert_forward(&Network::new([1], [dense(1)]).unwrap(), 3);
    for activation in ACTIVATIONS.map(Layer::Activation) {
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
        widths in prop::collection::vec((1_usize..9, 0.1..2.0_f64, 0.0..1.0_f64, any::<bool>(), 0_usize..13, any::<bool>()), 1..4),
        n_in in 1_usize..9, seed in any::<u64>(),
    ) {
        let activation = [
            relu(), erf(), tanh(), relu(), sigmoid(), softplus(), gelu(), silu(), sin(), cos(), abs(), leaky_relu(0.2), leaky_relu(-1.5),
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
fn display_is_a_table_of_parameters() {
    let network = Network::new([4], [dense(16).std(1.5, 0.1), relu(), dense(3).without_bias()]).unwrap();
    let want = "\
input [4], ntk parameterization
0.weight     [4, 16]                  64  multiplier 0.750000, std 1.000000
0.bias       [16]                     16  multiplier 0.100000, std 1.000000
2.weight     [16, 3]                  48  multiplier 0.250000, std 1.000000
3 outputs, 128 parameters";
    assert_eq!(network.to_string(), want);
    let want = "\
input [4], standard parameterization
0.weight     [4, 16]                  64  multiplier 1.000000, std 0.750000
0.bias       [16]                     16  multiplier 1.000000, std 0.100000
2.weight     [16, 3]                  48  multiplier 1.000000, std 0.250000
3 outputs, 128 parameters";
    assert_eq!(network.parameterized(Parameterization::Standard).to_string(), want);
}

//! μP: the table, its exponents in the width, and the widths that it refuses.

use nn::{ModelError, Network, Parameterization, Role, conv, dense, global_avg_pool, relu, residual};

const BASE: usize = 8;

fn dense_network(width: usize) -> Network {
    Network::new([5], [dense(width).std(1.5, 0.3), relu(), dense(width).std(1.2, 0.2), relu(), dense(3).std(0.7, 0.1)]).unwrap()
}

fn conv_network(width: usize) -> Network {
    let layers = [conv(width, [3, 3]).std(1.5, 0.3), relu(), conv(width, [3, 1]).std(1.2, 0.2), global_avg_pool(), dense(3).std(0.7, 0.1)];
    Network::new([4, 4, 2], layers).unwrap()
}

/// The table of the documentation, row by row, of two networks with the fan-ins of their three layers.
#[test]
fn dense_layers_and_convolutions_have_the_entries_of_the_table() {
    for (width, r) in [(8, 1.0_f64), (16, 2.0), (32, 4.0), (4, 0.5)] {
        let fan_ins = [(dense_network(width), [5, width, width]), (conv_network(width), [18, 3 * width, width])];
        for (network, n_in) in fan_ins {
            let network = network.mup(BASE).unwrap();
            let (w, b) = ([1.5, 1.2, 0.7], [0.3, 0.2, 0.1]);
            let n = n_in.map(|n| (n as f64).sqrt());
            let want = [
                (Role::InputWeight, r.sqrt(), w[0] / n[0] / r.sqrt(), 1.0 / r.sqrt()),
                (Role::HiddenBias, r.sqrt(), b[0] / r.sqrt(), 1.0 / r.sqrt()),
                (Role::HiddenWeight, 1.0, w[1] / n[1], 1.0 / r),
                (Role::HiddenBias, r.sqrt(), b[1] / r.sqrt(), 1.0 / r.sqrt()),
                (Role::OutputWeight, 1.0 / r.sqrt(), w[2] / n[2], 1.0 / r.sqrt()),
                (Role::OutputBias, 1.0, b[2], 1.0),
            ];
            assert_eq!(network.parameters().len(), want.len());
            for (p, (role, multiplier, std, adam)) in network.parameters().iter().zip(want) {
                assert_eq!(p.role, role, "{}", p.name);
                for (got, want) in [(p.scaling.multiplier, multiplier), (p.scaling.std, std), (p.scaling.adam, adam)] {
                    assert!((got - want).abs() <= 1e-15 * want, "{} at r = {r}: {got} is not {want}", p.name);
                }
            }
        }
    }
}

#[test]
fn at_the_base_width_it_is_the_standard_parameterization() {
    for network in [dense_network(BASE), conv_network(BASE)] {
        let standard = network.clone().parameterized(Parameterization::Standard);
        let mup = network.mup(BASE).unwrap();
        assert_eq!(mup.parameters(), standard.parameters());
        assert_eq!(mup.init::<f64>(1).unwrap(), standard.init::<f64>(1).unwrap());
    }
}

/// The abc form of Yang and Hu 2021, `W = n^−a w`, `w ~ N(0, n^−2b)`, trained at a rate `η n^−c`, for the input, hidden and output weight: their
/// tables of the standard, NTK and maximal update parameterizations. Ours have c = 0, so that no use is made of the symmetry. A bias is the
/// weight of an input that is always 1.
#[test]
fn the_exponents_in_the_width_are_those_of_the_abc_form() {
    let half = 0.5;
    for network in [dense_network as fn(usize) -> Network, conv_network] {
        let all = |width| {
            let standard = network(width).parameterized(Parameterization::Standard);
            let ntk = network(width).parameterized(Parameterization::Ntk);
            [standard, ntk, network(width).mup(BASE).unwrap()]
        };
        let (one, four) = (all(16), all(64));
        // By weight: a, b and the exponent of Adam's rate. By bias of a hidden layer and of the output: a and b.
        let tables = [
            ([[0.0, 0.0, 0.0], [0.0, half, 0.0], [0.0, half, 0.0]], [[0.0, 0.0], [0.0, 0.0]]),
            ([[0.0, 0.0, 0.0], [half, 0.0, 0.0], [half, 0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]),
            ([[-half, half, half], [0.0, half, 1.0], [half, half, half]], [[-half, half], [0.0, 0.0]]),
        ];
        for (which, (weights, biases)) in tables.into_iter().enumerate() {
            let (small, large) = (one[which].parameters(), four[which].parameters());
            let exponent = |f: fn(&nn::Scaling) -> f64, i: usize| -(f(&large[i].scaling) / f(&small[i].scaling)).log(4.0);
            for (layer, [a, b, c]) in weights.into_iter().enumerate() {
                let name = (which, &small[2 * layer].name);
                assert!((exponent(|s| s.multiplier, 2 * layer) - a).abs() < 1e-14, "a of {name:?}");
                assert!((exponent(|s| s.std, 2 * layer) - b).abs() < 1e-14, "b of {name:?}");
                assert!((exponent(|s| s.adam, 2 * layer) - c).abs() < 1e-14, "Adam's rate of {name:?}");
                let [a, b] = biases[usize::from(layer == 2)];
                assert!((exponent(|s| s.multiplier, 2 * layer + 1) - a).abs() < 1e-14, "a of the bias of {name:?}");
                assert!((exponent(|s| s.std, 2 * layer + 1) - b).abs() < 1e-14, "b of the bias of {name:?}");
            }
        }
    }
}

#[test]
fn a_network_of_one_layer_has_no_width() {
    let standard = Network::new([5], [relu(), dense(3).std(1.5, 0.2)]).unwrap().parameterized(Parameterization::Standard);
    assert_eq!(standard.clone().mup(64).unwrap().parameters(), standard.parameters());
}

#[test]
fn hidden_layers_of_several_widths_are_refused() {
    let block = residual([relu(), dense(9), relu(), dense(8)]);
    let error = Network::new([5], [dense(8), block, dense(3)]).unwrap().mup(BASE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "layers[1].layers[1] (dense): in \"mup\" all hidden layers are of one width, and `out` is 9 here and 8 in layers[0] (dense)"
    );
    for base in [0, (1 << 40) + 1] {
        assert_eq!(dense_network(8).mup(base).unwrap_err(), ModelError::BaseWidth);
    }
}

#[test]
#[should_panic(expected = "`base_width` must be a whole number from 1 to 2^40")]
fn asking_for_a_base_width_that_is_none_panics() {
    let _ = dense_network(8).parameterized(Parameterization::Mup { base_width: 0 });
}

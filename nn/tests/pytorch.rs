//! Networks of PyTorch: their outputs, their kernels, and the order of the numbers in their files.

use autodiff::{Flow, Gradient, Scalar, Tape, Wrt};
use nn::{Network, Parameterization, conv, dense, flatten, parse_model, relu, tanh};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// A network of PyTorch: model, weights, inputs, outputs and tangent kernel.
macro_rules! golden {
    ($name:literal) => {
        Golden {
            model: include_str!(concat!("golden/", $name, ".toml")),
            weights: include_bytes!(concat!("golden/", $name, ".safetensors")),
            x: include_bytes!(concat!("golden/", $name, ".x.npy")),
            f: include_bytes!(concat!("golden/", $name, ".f.npy")),
            ntk: include_bytes!(concat!("golden/", $name, ".ntk.npy")),
        }
    };
}

struct Golden {
    model: &'static str,
    weights: &'static [u8],
    x: &'static [u8],
    f: &'static [u8],
    ntk: &'static [u8],
}

const GOLDEN: [Golden; 4] = [golden!("mlp_relu"), golden!("mlp_tanh"), golden!("cnn_gap"), golden!("cnn_flatten")];

/// The values of a version 1 `.npy` file of little-endian doubles in C order.
fn npy(bytes: &[u8]) -> Vec<f64> {
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..start]).unwrap();
    assert!(header.contains("'descr': '<f8'") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let len: usize = shape.split(',').filter_map(|n| n.trim().parse::<usize>().ok()).product();
    let values: Vec<f64> = bytes[start..].chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(values.len(), len);
    values
}

fn assert_outputs<T: Scalar>(golden: &Golden, bound: f64) {
    let network = parse_model(golden.model).unwrap();
    assert_eq!(network.parameterization(), Parameterization::Standard);
    let parameters = network.load_weights::<T>(golden.weights).unwrap();
    let x: Vec<T> = npy(golden.x).into_iter().map(T::of).collect();
    let (got, want) = (network.apply(&parameters, &x), npy(golden.f));
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!((got.primal() - want).abs() <= bound, "{} is not {want}", got.primal());
    }
}

#[test]
fn networks_of_pytorch_give_pytorch_s_outputs() {
    for golden in &GOLDEN {
        assert_outputs::<f64>(golden, 1e-12);
        assert_outputs::<f32>(golden, 1e-5);
    }
}

/// The gradient of every output of one example, one list of all parameters' entries each.
fn gradients(network: &Network, parameters: &[Vec<f64>], x: &[f64]) -> Vec<Vec<f64>> {
    let mut tape = Tape::new();
    let leaves = network.leaves(&mut tape, parameters);
    let x = tape.input(network.input_shape(x.len()), x);
    let f = network.record(&mut tape, &leaves, x);
    let gradient = |a: usize| {
        let mut seed = vec![0.0; network.outputs()];
        seed[a] = 1.0;
        let mut gradient = Gradient::new(Wrt::PARAMETERS);
        tape.pull(f, 1, &seed, &mut Flow::new(), &mut gradient).unwrap();
        gradient.parameters().flatten().copied().collect()
    };
    (0..network.outputs()).map(gradient).collect()
}

#[test]
fn gradients_give_pytorch_s_tangent_kernel() {
    for golden in &GOLDEN {
        let network = parse_model(golden.model).unwrap();
        let parameters = network.load_weights::<f64>(golden.weights).unwrap();
        let rows: Vec<_> = npy(golden.x).chunks(network.n_inputs()).map(|x| gradients(&network, &parameters, x)).collect();
        let mut want = npy(golden.ntk).into_iter();
        for left in &rows {
            for right in &rows {
                for da in left {
                    for db in right {
                        let (got, want) = (da.iter().zip(db).map(|(a, b)| a * b).sum::<f64>(), want.next().unwrap());
                        assert!((got - want).abs() < 1e-12 * (1.0 + want.abs()), "{got} is not {want}");
                    }
                }
            }
        }
        assert_eq!(want.next(), None);
    }
}

#[test]
fn names_and_shapes_are_pytorch_s() {
    let names = [
        &["0.bias", "0.weight", "2.bias", "2.weight", "4.bias", "4.weight"][..],
        &["0.bias", "0.weight", "2.bias", "2.weight"],
        &["0.bias", "0.weight", "2.bias", "2.weight", "6.bias", "6.weight"],
        &["0.bias", "0.weight", "3.bias", "3.weight"],
    ];
    for (golden, names) in GOLDEN.iter().zip(names) {
        let network = parse_model(golden.model).unwrap();
        let saved = network.save_weights(&network.load_weights::<f64>(golden.weights).unwrap());
        let (theirs, ours) = (SafeTensors::deserialize(golden.weights).unwrap(), SafeTensors::deserialize(&saved).unwrap());
        let mut found = theirs.names();
        found.sort_unstable();
        assert_eq!(found, names);
        assert_eq!(ours.len(), names.len());
        for name in names {
            assert_eq!(ours.tensor(name).unwrap(), theirs.tensor(name).unwrap(), "{name}");
        }
    }
}

/// The entries of a tensor in a file, numbered in its order.
fn numbered(network: &Network) -> Vec<u8> {
    let views: Vec<(String, Vec<usize>, Vec<u8>)> = network
        .parameters()
        .iter()
        .map(|p| (p.name.clone(), p.file_shape.clone(), (0..p.shape.len()).flat_map(|i| (i as f64).to_le_bytes()).collect()))
        .collect();
    let views = views.iter().map(|(name, shape, data)| (name, TensorView::new(Dtype::F64, shape.clone(), data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn filters_are_permuted_and_nothing_else_of_an_image_with_its_channels_last() {
    let network = Network::new([3, 4, 5], [conv(7, [2, 3]), flatten(), dense(6)]).unwrap();
    let loaded = network.load_weights::<f64>(&numbered(&network)).unwrap();
    assert_eq!(network.parameters()[0].file_shape, [7, 5, 2, 3]);
    for (o, c, dy, dx) in [(0, 0, 0, 1), (0, 0, 1, 0), (0, 3, 0, 0), (2, 0, 0, 0), (6, 4, 1, 2), (5, 1, 1, 1)] {
        let (here, there) = (((dy * 3 + dx) * 5 + c) * 7 + o, ((o * 5 + c) * 2 + dy) * 3 + dx);
        assert_eq!(loaded[0][here], there as f64, "[{o}, {c}, {dy}, {dx}]");
    }
    for (o, k) in [(0, 1), (1, 0), (5, 83), (3, 40)] {
        assert_eq!(loaded[2][k * 6 + o], (o * 84 + k) as f64);
    }
}

#[test]
fn rows_behind_a_flattened_image_are_permuted_where_its_channels_come_first() {
    let layers = [conv(5, [1, 1]), relu(), flatten(), tanh(), dense(6), dense(2)];
    let network = Network::nchw([2, 3, 4], layers).unwrap();
    let loaded = network.load_weights::<f64>(&numbered(&network)).unwrap();
    assert_eq!(network.parameters()[2].file_shape, [6, 60]);
    for (o, c, p, q) in [(0, 0, 0, 1), (0, 0, 1, 0), (0, 1, 0, 0), (1, 0, 0, 0), (5, 4, 2, 3), (2, 3, 1, 2)] {
        let (here, there) = (((p * 4 + q) * 5 + c) * 6 + o, o * 60 + (c * 3 + p) * 4 + q);
        assert_eq!(loaded[2][here], there as f64, "[{o}, {c}, {p}, {q}]");
    }
    // The dense layer after it reads features.
    assert_eq!(loaded[4][1], 6.0);
    // A mean over the image leaves its channels.
    let pooled = Network::nchw([2, 3, 4], [nn::global_avg_pool(), dense(3).without_bias()]).unwrap();
    assert_eq!(pooled.load_weights::<f64>(&numbered(&pooled)).unwrap(), [[0.0, 2.0, 4.0, 1.0, 3.0, 5.0]]);
}

#[test]
fn filters_of_another_shape_are_refused_with_both_shapes() {
    let load = |filter: [usize; 2], n_in: usize| {
        let network = |n_in, filter| Network::new([4, 4, n_in], [conv(3, filter), nn::global_avg_pool(), dense(1)]).unwrap();
        network(2, [2, 3]).load_weights::<f64>(&numbered(&network(n_in, filter)))
    };
    assert!(load([2, 3], 2).is_ok());
    assert_eq!(
        load([3, 2], 2).unwrap_err().to_string(),
        "tensor `0.weight` has shape [3, 2, 3, 2], and the network's 0.weight needs [3, 2, 2, 3]"
    );
    assert_eq!(
        load([2, 3], 1).unwrap_err().to_string(),
        "tensor `0.weight` has shape [3, 1, 2, 3], and the network's 0.weight needs [3, 2, 2, 3]"
    );
}

//! Files of weights: PyTorch's networks, round trips, and files from strangers.

use autodiff::{Flow, Gradient, Scalar, Tape, Wrt};
use nn::{Network, Parameterization, WeightsError, dense, normals, parse_model, relu, residual_with_shortcut, tanh};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

const RELU: [&[u8]; 3] =
    [include_bytes!("golden/mlp_relu.safetensors"), include_bytes!("golden/mlp_relu.x.npy"), include_bytes!("golden/mlp_relu.f.npy")];
const TANH: [&[u8]; 3] =
    [include_bytes!("golden/mlp_tanh.safetensors"), include_bytes!("golden/mlp_tanh.x.npy"), include_bytes!("golden/mlp_tanh.f.npy")];

fn relu_network() -> Network {
    parse_model(include_str!("golden/mlp_relu.toml")).unwrap()
}

fn tanh_network() -> Network {
    parse_model(include_str!("golden/mlp_tanh.toml")).unwrap()
}

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

fn assert_outputs<T: Scalar>(network: &Network, [weights, x, f]: [&[u8]; 3], bound: f64) {
    let parameters = network.load_weights::<T>(weights).unwrap();
    let x: Vec<T> = npy(x).into_iter().map(T::of).collect();
    let (got, want) = (network.apply(&parameters, &x), npy(f));
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!((got.primal() - want).abs() <= bound, "{} is not {want}", got.primal());
    }
}

#[test]
fn networks_of_pytorch_give_pytorch_s_outputs() {
    for (network, files) in [(relu_network(), RELU), (tanh_network(), TANH)] {
        assert_eq!(network.parameterization(), Parameterization::Standard);
        assert_outputs::<f64>(&network, files, 1e-12);
        assert_outputs::<f32>(&network, files, 1e-5);
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
    let kernels: [&[u8]; 2] = [include_bytes!("golden/mlp_relu.ntk.npy"), include_bytes!("golden/mlp_tanh.ntk.npy")];
    for ((network, files), kernel) in [(relu_network(), RELU), (tanh_network(), TANH)].into_iter().zip(kernels) {
        let parameters = network.load_weights::<f64>(files[0]).unwrap();
        let rows: Vec<_> = npy(files[1]).chunks(network.n_inputs()).map(|x| gradients(&network, &parameters, x)).collect();
        let mut want = npy(kernel).into_iter();
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
    let network = relu_network();
    let saved = network.save_weights(&network.load_weights::<f64>(RELU[0]).unwrap());
    let (theirs, ours) = (SafeTensors::deserialize(RELU[0]).unwrap(), SafeTensors::deserialize(&saved).unwrap());
    let mut names = theirs.names();
    names.sort_unstable();
    assert_eq!(names, ["0.bias", "0.weight", "2.bias", "2.weight", "4.bias", "4.weight"]);
    assert_eq!(ours.len(), names.len());
    for name in names {
        assert_eq!(ours.tensor(name).unwrap(), theirs.tensor(name).unwrap(), "{name}");
    }
}

fn assert_round_trip<T: Scalar + autodiff::Float>(network: &Network, seed: u64) {
    let parameters: Vec<Vec<T>> = network.init(seed).unwrap();
    let loaded = network.load_weights::<T>(&network.save_weights(&parameters)).unwrap();
    let bits = |p: &[Vec<T>]| p.iter().map(|p| p.iter().map(|v| v.primal().to_bits()).collect()).collect::<Vec<Vec<u64>>>();
    assert_eq!(bits(&loaded), bits(&parameters));
}

#[test]
fn saved_weights_load_bit_for_bit() {
    let block = residual_with_shortcut([relu(), dense(7), tanh(), dense(5).without_bias()], [dense(5)]);
    // More than ten layers, so that names sorted as text would be out of order.
    let deep: Vec<_> = (1..15).map(dense).collect();
    for layers in [vec![dense(1)], vec![dense(3), block, dense(2).without_bias()], deep] {
        let network = Network::new([4], layers).unwrap();
        for network in Parameterization::ALL.map(|p| network.clone().parameterized(p)) {
            assert_round_trip::<f64>(&network, 3);
            assert_round_trip::<f32>(&network, 3);
        }
    }
    let network = Network::new([2], [dense(1)]).unwrap();
    let extremes = vec![vec![-0.0, 5e-324], vec![f64::MAX]];
    let loaded = network.load_weights::<f64>(&network.save_weights(&extremes)).unwrap();
    assert!(loaded == extremes && loaded[0][0].is_sign_negative());
}

#[test]
fn weights_are_rounded_to_the_type_that_reads_them() {
    let network = tanh_network();
    let double = network.load_weights::<f64>(TANH[0]).unwrap();
    let single = network.load_weights::<f32>(TANH[0]).unwrap();
    assert!(double.iter().flatten().zip(single.iter().flatten()).all(|(d, s)| *d as f32 == *s));
    let widened = network.load_weights::<f64>(&network.save_weights(&single)).unwrap();
    assert!(widened.iter().flatten().zip(single.iter().flatten()).all(|(d, s)| *d == f64::from(*s)));
}

/// A file of float64 tensors, zeros but for the given first values.
fn file(tensors: &[(&str, &[usize], &[f64])]) -> Vec<u8> {
    let data: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, shape, first)| {
            let mut values = vec![0.0; shape.iter().product()];
            values[..first.len()].copy_from_slice(first);
            values.iter().flat_map(|v: &f64| v.to_le_bytes()).collect()
        })
        .collect();
    let views =
        tensors.iter().zip(&data).map(|((name, shape, _), data)| (*name, TensorView::new(Dtype::F64, shape.to_vec(), data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// `[3] → dense(2) → relu → dense(4)`.
fn small() -> Network {
    Network::new([3], [dense(2), relu(), dense(4)]).unwrap()
}

fn refused(bytes: &[u8]) -> String {
    let (double, single) = (small().load_weights::<f64>(bytes).unwrap_err(), small().load_weights::<f32>(bytes).unwrap_err());
    assert_eq!(double.to_string(), single.to_string());
    double.to_string()
}

#[test]
fn names_are_matched_in_the_order_of_their_numbers() {
    let fits: [(&str, &[usize], &[f64]); 4] = [
        ("10.bias", &[4], &[1.0, 2.0, 3.0, 4.0]),
        ("9.weight", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ("10.weight", &[4, 2], &[]),
        ("9.bias", &[2], &[7.0]),
    ];
    let parameters = small().load_weights::<f64>(&file(&fits)).unwrap();
    assert_eq!(parameters, [vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0], vec![7.0, 0.0], vec![0.0; 8], vec![1.0, 2.0, 3.0, 4.0]]);
}

#[test]
fn shapes_counts_and_names_that_do_not_fit_are_refused() {
    let bias: (&str, &[usize], &[f64]) = ("0.bias", &[2], &[]);
    let rest: [(&str, &[usize], &[f64]); 2] = [("2.weight", &[4, 2], &[]), ("2.bias", &[4], &[])];
    let with = |name: &'static str, shape: &'static [usize]| file(&[(name, shape, &[]), bias, rest[0], rest[1]]);
    assert!(small().load_weights::<f64>(&with("0.weight", &[2, 3])).is_ok());

    assert_eq!(refused(&with("0.weight", &[2, 4])), "tensor `0.weight` has shape [2, 4], and the network's 0.weight needs [2, 3]");
    assert_eq!(refused(&with("0.weight", &[3, 2])), "tensor `0.weight` has shape [3, 2], and the network's 0.weight needs [2, 3]");
    assert_eq!(refused(&with("0.weight", &[6])), "tensor `0.weight` has shape [6], and the network's 0.weight needs [2, 3]");
    assert_eq!(refused(&with("0.weight", &[2, 3, 1])), "tensor `0.weight` has shape [2, 3, 1], and the network's 0.weight needs [2, 3]");
    assert_eq!(refused(&with("0.weight", &[0, 3])), "tensor `0.weight` has shape [0, 3], and the network's 0.weight needs [2, 3]");
    assert_eq!(refused(&with("3.weight", &[2, 3])), "tensor `0.bias` has shape [2], and the network's 0.weight needs [2, 3]");

    for name in ["weight", "0.gamma", "0.weight.1", "layers.0.weight", "-1.weight", "+0.weight", "00.weight", " 0.weight", "0x0.weight", ""]
    {
        let error = small().load_weights::<f64>(&with(name, &[2, 3])).unwrap_err();
        assert_eq!(error, WeightsError::Name(name.into()));
    }
    assert_eq!(
        refused(&with("99999999999999999999.weight", &[2, 3])),
        "tensor `99999999999999999999.weight` is neither `N.weight` nor `N.bias` with a number N"
    );
    assert_eq!(
        refused(&with("\u{1b}[31m.weight", &[2, 3])),
        "tensor `\\u{1b}[31m.weight` is neither `N.weight` nor `N.bias` with a number N"
    );

    assert_eq!(
        refused(&file(&[bias, rest[0], rest[1]])),
        "the network has 4 parameters (0.weight, 0.bias, 2.weight, 2.bias) and the file has 3 tensors (0.bias, 2.weight, 2.bias)"
    );
    assert_eq!(
        refused(&file(&[("0.weight", &[2, 3], &[]), bias, rest[0], rest[1], ("3.bias", &[1], &[])])),
        "the network has 4 parameters (0.weight, 0.bias, 2.weight, 2.bias) and the file has 5 tensors (0.weight, 0.bias, 2.weight, 2.bias, 3.bias)"
    );
    assert_eq!(refused(&file(&[])), "the network has 4 parameters (0.weight, 0.bias, 2.weight, 2.bias) and the file has 0 tensors ()");
}

#[test]
fn a_bias_is_not_taken_for_a_weight_of_its_shape() {
    let network = Network::new([1], [dense(1).without_bias(), dense(1).without_bias()]).unwrap();
    let error = network.load_weights::<f64>(&file(&[("0.weight", &[1, 1], &[]), ("0.bias", &[1, 1], &[])])).unwrap_err();
    assert!(matches!(error, WeightsError::Shape { ref name, .. } if name == "0.bias"), "{error}");
}

#[test]
fn values_that_are_not_finite_are_refused_with_their_place() {
    let with = |value: f64| {
        file(&[("0.weight", &[2, 3], &[0.0, 1.0, 2.0, value]), ("0.bias", &[2], &[]), ("2.weight", &[4, 2], &[]), ("2.bias", &[4], &[])])
    };
    for (value, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (-f64::INFINITY, "-inf")] {
        assert_eq!(
            refused(&with(value)),
            format!("tensor `0.weight`: entry 3 is {shown}, and weights must be finite numbers of the type that they are read into")
        );
    }
    // 1e300 is a double and no single.
    assert!(small().load_weights::<f64>(&with(1e300)).is_ok());
    let error = small().load_weights::<f32>(&with(1e300)).unwrap_err();
    assert_eq!(error, WeightsError::NotFinite { name: "0.weight".into(), index: 3, value: 1e300 });
}

#[test]
fn other_types_of_numbers_are_refused_by_name() {
    for (dtype, name) in [(Dtype::F8_E4M3, "F8_E4M3"), (Dtype::I64, "I64"), (Dtype::U8, "U8"), (Dtype::BOOL, "BOOL")] {
        let bytes = vec![0; 3 * dtype.bitsize() / 8];
        let view = TensorView::new(dtype, vec![1, 3], &bytes).unwrap();
        let network = Network::new([3], [dense(1).without_bias()]).unwrap();
        let error = network.load_weights::<f64>(&safetensors::serialize([("0.weight", view)], None).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), format!("tensor `0.weight` holds {name}, and only F16, BF16, F32 and F64 are read"));
    }
}

#[test]
fn checkpoints_of_torch_save_are_named() {
    let zip = [b"PK\x03\x04".as_slice(), &[0; 100]].concat();
    let mut pickles: Vec<Vec<u8>> = (2..=5).map(|protocol| [&[0x80, protocol, b'}'][..], &[b'q'; 50]].concat()).collect();
    pickles.push(vec![0x80, 2]);
    pickles.push(zip);
    for bytes in pickles {
        assert_eq!(small().load_weights::<f64>(&bytes).unwrap_err(), WeightsError::Pickle);
    }
    assert!(refused(b"PK\x03\x04").starts_with("this is a PyTorch checkpoint and not a safetensors file; convert it with: python"));
}

#[test]
fn a_header_as_long_as_a_pickle_s_magic_number_is_no_pickle() {
    // A header of 640 = 0x280 bytes begins with 0x80 0x02.
    let network = small();
    let saved = network.save_weights(&network.init::<f64>(1).unwrap());
    let n = u64::from_le_bytes(saved[..8].try_into().unwrap()) as usize;
    let header = [&saved[8..8 + n], &vec![b' '; 640 - n]].concat();
    let padded = [&640_u64.to_le_bytes()[..], &header, &saved[8 + n..]].concat();
    assert_eq!(padded[..2], [0x80, 2]);
    assert_eq!(network.load_weights::<f64>(&padded), network.load_weights::<f64>(&saved));
}

fn raw(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn files_that_lie_are_refused() {
    let entry =
        |name: &str, shape: &str, from: u64, to: u64| format!(r#""{name}":{{"dtype":"F64","shape":{shape},"data_offsets":[{from},{to}]}}"#);
    let rest = [entry("0.bias", "[2]", 48, 64), entry("2.weight", "[4,2]", 64, 128), entry("2.bias", "[4]", 128, 160)].join(",");
    let with = |first: &str| raw(&format!("{{{first},{rest}}}"), 160);
    assert!(small().load_weights::<f64>(&with(&entry("0.weight", "[2,3]", 0, 48))).is_ok());

    let huge = u64::MAX;
    let lies = [
        with(&entry("0.weight", "[2,3]", 16, 64)),
        with(&entry("0.weight", "[2,3]", 0, 40)),
        with(&entry("0.weight", "[2,3]", 48, 0)),
        with(&entry("0.weight", "[2,3]", 0, huge)),
        with(&entry("0.weight", "[2,3]", huge - 48, huge)),
        with(&entry("0.weight", "[4294967296,4294967296]", 0, 48)),
        with(&entry("0.weight", "[-2,-3]", 0, 48)),
        with(&entry("0.weight", "[2.0,3.0]", 0, 48)),
        with(&entry("0.weight", "[2,3]", 0, 48).replace("F64", "F65")),
        raw(&format!("{{{},{rest}}}", entry("0.weight", "[2,3]", 0, 48)), 159),
        raw(&format!("{{{},{rest}}}", entry("0.weight", "[2,3]", 0, 48)), 161),
        raw("", 0),
        raw("[]", 0),
        raw("{", 0),
        raw("null", 0),
        raw("\u{0}", 0),
        raw(&"[".repeat(100_000), 0),
        raw(&format!("{{\"a\":{}", "{\"a\":".repeat(100_000)), 0),
        [&(1_u64 << 60).to_le_bytes()[..], b"{}"].concat(),
        [&u64::MAX.to_le_bytes()[..], b"{}"].concat(),
        [&1000_u64.to_le_bytes()[..], b"{}"].concat(),
        [&4_u64.to_le_bytes()[..], &[0xff, 0xfe, 0xfd, 0xfc]].concat(),
        vec![],
        vec![0; 7],
        vec![0; 8],
    ];
    for (i, bytes) in lies.iter().enumerate() {
        let error = small().load_weights::<f64>(bytes).unwrap_err();
        assert!(matches!(error, WeightsError::Format(_)), "file {i}: {error}");
    }
    assert_eq!(refused(&lies[18]), "not a valid safetensors file: header too large");
}

#[test]
fn duplicates_in_a_header_never_give_weights_twice() {
    let entry = |from: u64| format!(r#""0.weight":{{"dtype":"F64","shape":[1,3],"data_offsets":[{from},{}]}}"#, from + 24);
    let network = Network::new([3], [dense(1).without_bias()]).unwrap();
    let error = network.load_weights::<f64>(&raw(&format!("{{{},{}}}", entry(0), entry(24)), 48)).unwrap_err();
    assert!(matches!(error, WeightsError::Format(_)), "{error}");
}

#[test]
fn truncated_files_are_refused_at_every_length() {
    let network = tanh_network();
    for len in 0..TANH[0].len() {
        let error = network.load_weights::<f64>(&TANH[0][..len]).unwrap_err();
        assert!(matches!(error, WeightsError::Format(_)), "{len} bytes: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn mutated_files_never_panic(changes in prop::collection::vec((0_usize..1568, any::<u8>()), 1..4)) {
        let network = tanh_network();
        let mut bytes = TANH[0].to_vec();
        for (place, byte) in changes {
            bytes[place % TANH[0].len()] = byte;
        }
        if let Ok(parameters) = network.load_weights::<f64>(&bytes) {
            prop_assert!(parameters.iter().flatten().all(|v| v.is_finite()));
        }
    }

    #[test]
    fn mutated_headers_never_panic(changes in prop::collection::vec((0_usize..300, any::<u8>()), 1..4)) {
        let mut bytes = TANH[0].to_vec();
        for (place, byte) in changes {
            bytes[place] = byte;
        }
        let _ = tanh_network().load_weights::<f64>(&bytes);
    }

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(small().load_weights::<f64>(&bytes).is_err());
    }

    #[test]
    fn random_weights_survive(sizes in prop::collection::vec((1_usize..6, any::<bool>()), 1..5), n_in in 1_usize..6, seed in any::<u64>()) {
        let layers: Vec<_> = sizes.into_iter().map(|(out, bias)| if bias { dense(out) } else { dense(out).without_bias() }).collect();
        let network = Network::new([n_in], layers).unwrap();
        assert_round_trip::<f64>(&network, seed);
        assert_round_trip::<f32>(&network, seed);
    }
}

#[test]
#[should_panic(expected = "the network has 4 parameters, 1 were given")]
fn saving_too_few_parameters_panics() {
    small().save_weights(&[vec![0.0; 6]]);
}

#[test]
#[should_panic(expected = "0.bias has shape [2], and 3 values were given")]
fn saving_a_parameter_of_another_length_panics() {
    small().save_weights(&[vec![0.0; 6], vec![0.0; 3], vec![0.0; 8], vec![0.0; 4]]);
}

#[test]
fn a_file_holds_weights_before_any_multiplier() {
    let network = Network::new([4], [dense(1).std(3.0, 0.0).without_bias()]).unwrap();
    let parameters = vec![normals::<f64>(1, 0, 4)];
    let bytes = network.save_weights(&parameters);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let view = tensors.tensor("0.weight").unwrap();
    assert_eq!(view.shape(), [1, 4]);
    assert_eq!(view.data(), parameters[0].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
}

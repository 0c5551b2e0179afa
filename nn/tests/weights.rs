//! Files of weights: round trips, types of numbers, and what has to fit.

use autodiff::Scalar;
use nn::{
    Network, Padding, Parameterization, WeightsError, conv, dense, flatten, normals, parse_model, relu, residual_with_shortcut, tanh,
};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

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
    let features = [vec![dense(1)], vec![dense(3), block, dense(2).without_bias()], deep].map(|layers| Network::new([4], layers));
    let layers = [conv(3, [2, 3]), relu(), conv(2, [1, 2]).padding(Padding::Valid).without_bias(), flatten(), tanh(), dense(5), dense(2)];
    let images = [Network::new([3, 5, 2], layers.clone()), Network::nchw([2, 3, 5], layers)];
    for network in features.into_iter().chain(images).map(Result::unwrap) {
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
    let network = parse_model(include_str!("golden/mlp_tanh.toml")).unwrap();
    let file = include_bytes!("golden/mlp_tanh.safetensors");
    let (double, single) = (network.load_weights::<f64>(file).unwrap(), network.load_weights::<f32>(file).unwrap());
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

/// Half and bfloat numbers by their definitions: a sign, 5 or 8 bits of exponent, and 10 or 7 of a fraction.
fn decoded(bits: u16, exponent_bits: u32) -> f64 {
    let fraction_bits = 15 - exponent_bits;
    let bias = (1 << (exponent_bits - 1)) - 1;
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> fraction_bits) & ((1 << exponent_bits) - 1);
    let fraction = f64::from(bits & ((1 << fraction_bits) - 1)) / f64::from(1 << fraction_bits);
    let power = |e: i32| 2.0_f64.powi(e);
    match exponent {
        0 => sign * power(1 - bias) * fraction,
        e if e == (1 << exponent_bits) - 1 => f64::NAN,
        e => sign * power(e - bias) * (1.0 + fraction),
    }
}

#[test]
fn every_half_and_every_bfloat_is_read() {
    for (dtype, exponent_bits) in [(Dtype::F16, 5), (Dtype::BF16, 8)] {
        let finite: Vec<u16> = (0..=u16::MAX).filter(|&bits| !decoded(bits, exponent_bits).is_nan()).collect();
        let data: Vec<u8> = finite.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let network = Network::new([finite.len()], [dense(1).without_bias()]).unwrap();
        let file = |data: &[u8]| safetensors::serialize([("0.weight", TensorView::new(dtype, vec![1, finite.len()], data).unwrap())], None);
        let double = network.load_weights::<f64>(&file(&data).unwrap()).unwrap();
        let single = network.load_weights::<f32>(&file(&data).unwrap()).unwrap();
        for ((&bits, double), single) in finite.iter().zip(&double[0]).zip(&single[0]) {
            let want = decoded(bits, exponent_bits);
            assert!(double.to_bits() == want.to_bits() && f64::from(*single) == want, "{dtype:?} {bits:#x}: {double} is not {want}");
        }
        // Those that are not finite are refused with their place.
        let mut infinite = data.clone();
        infinite[6..8].copy_from_slice(&(((1_u16 << exponent_bits) - 1) << (15 - exponent_bits)).to_le_bytes());
        let error = network.load_weights::<f64>(&file(&infinite).unwrap()).unwrap_err();
        assert_eq!(error, WeightsError::NotFinite { name: "0.weight".into(), index: 3, value: f64::INFINITY });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]
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

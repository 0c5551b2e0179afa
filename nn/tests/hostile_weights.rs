//! Files of weights from strangers: whatever they say, they are refused or read, and nothing is asked for on their word.

use nn::{Network, WeightsError, dense, parse_model, relu};
use proptest::prelude::*;

const TANH: &[u8] = include_bytes!("golden/mlp_tanh.safetensors");

fn tanh_network() -> Network {
    parse_model(include_str!("golden/mlp_tanh.toml")).unwrap()
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
fn duplicates_in_a_header_are_refused() {
    let entry = |name: &str, from: u64| format!(r#""{name}":{{"dtype":"F64","shape":[1,3],"data_offsets":[{from},{}]}}"#, from + 24);
    let network = Network::new([3], [dense(1).without_bias()]).unwrap();
    let load = |first: String, second: String, data| network.load_weights::<f64>(&raw(&format!("{{{first},{second}}}"), data)).unwrap_err();
    let error = load(entry("0.weight", 0), entry("0.weight", 24), 48);
    assert!(matches!(error, WeightsError::Format(_)), "{error}");
    // Two that agree, and two that are written in different ways.
    for twice in ["0.weight", r"0.\u0077eight"] {
        let error = load(entry("0.weight", 0), entry(twice, 0), 24);
        assert_eq!(error, WeightsError::Duplicate("0.weight".into()));
        assert_eq!(error.to_string(), "tensor `0.weight` is in the file twice");
    }
    let twice = raw(r#"{"0.weight":{"dtype":"F64","dtype":"F64","shape":[1,3],"data_offsets":[0,24]}}"#, 24);
    assert!(matches!(network.load_weights::<f64>(&twice), Err(WeightsError::Format(_))));
}

#[test]
fn truncated_files_are_refused_at_every_length() {
    let network = tanh_network();
    for len in 0..TANH.len() {
        let error = network.load_weights::<f64>(&TANH[..len]).unwrap_err();
        assert!(matches!(error, WeightsError::Format(_)), "{len} bytes: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn mutated_files_never_panic(changes in prop::collection::vec((0_usize..1568, any::<u8>()), 1..4)) {
        let network = tanh_network();
        let mut bytes = TANH.to_vec();
        for (place, byte) in changes {
            bytes[place % TANH.len()] = byte;
        }
        if let Ok(parameters) = network.load_weights::<f64>(&bytes) {
            prop_assert!(parameters.iter().flatten().all(|v| v.is_finite()));
        }
    }

    #[test]
    fn mutated_headers_never_panic(changes in prop::collection::vec((0_usize..300, any::<u8>()), 1..4)) {
        let mut bytes = TANH.to_vec();
        for (place, byte) in changes {
            bytes[place] = byte;
        }
        let _ = tanh_network().load_weights::<f64>(&bytes);
    }

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(small().load_weights::<f64>(&bytes).is_err());
    }
}

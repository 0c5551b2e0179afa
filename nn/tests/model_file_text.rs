//! The model file as text: round trips, nesting, and text from strangers.

use crate::model_file::{layers, message};
use nn::{
    ACTIVATIONS, Layer, ModelError, Network, Parameterization, dense, leaky_relu, parse_model, relu, residual, residual_with_shortcut,
};
use proptest::prelude::*;

/// Models and values that nest as deep as text can make them; the answer may be any, but there must be one.
#[test]
fn deep_nesting_is_an_answer_and_no_stack_overflow() {
    for depth in [10, 30, 50, 100, 1000, 100_000] {
        let (open, close) = ("{type = 'residual', layers = [".repeat(depth), "]}".repeat(depth));
        let answer = layers(&format!("{open}{close}, {{type = 'dense', out = 3}}"));
        match answer {
            Ok(network) => assert!(depth <= 50 && network.parameters().len() == 2),
            Err(error) => assert!(depth > 30 && matches!(error, ModelError::Syntax(_)), "{depth}: {error}"),
        }

        let lists = message(&format!("input = {}{}\nlayers = []", "[".repeat(depth), "]".repeat(depth)));
        assert!(lists.contains("a whole number") || lists.contains("not valid TOML"), "{lists}");
    }
    // Headers nest without brackets, and inline tables below dotted keys nest deepest of all.
    for depth in [10, 60, 78, 79, 80, 81, 400] {
        let headers: String = (1..=depth).map(|n| format!("[[layers{}]]\ntype = 'residual'\n", ".layers".repeat(n - 1))).collect();
        let answer = parse_model(&format!("input = [3]\n{headers}"));
        assert!(answer.is_err());
        let dotted = format!("{}a = ", "a.".repeat(78));
        let tables = format!("input = {}1{}\nlayers = []", format!("{{{dotted}").repeat(depth), "}".repeat(depth));
        assert!(parse_model(&tables).is_err());
    }
}

#[test]
fn a_model_nests_as_deep_written_as_read() {
    let mut layer = relu();
    for depth in 1..=30 {
        layer = residual([layer]);
        let network = Network::new([3], [layer.clone(), dense(1)]).unwrap();
        assert_eq!(parse_model(&network.to_toml().unwrap()), Ok(network), "depth {depth}");
    }
}

/// A layer that keeps `n` features.
fn keeping(n: usize) -> impl Strategy<Value = Layer> {
    let std = || prop_oneof![Just(0.0), Just(1.0), Just(5e-324), Just(f64::MAX), 0.0..1e3];
    let dense = (std(), std(), any::<bool>()).prop_map(move |(w, b, bias)| {
        let layer = dense(n).std(w, b);
        if bias { layer } else { layer.without_bias() }
    });
    let alpha = prop_oneof![Just(-0.0), Just(f64::MIN), Just(5e-324), -10.0..10.0];
    let leaf = prop_oneof![
        4 => prop::sample::select(ACTIVATIONS.to_vec()).prop_map(Layer::from),
        1 => alpha.prop_map(leaky_relu),
        4 => dense,
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        let list = || prop::collection::vec(inner.clone(), 0..4);
        (list(), list()).prop_map(|(layers, shortcut)| residual_with_shortcut(layers, shortcut))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn every_model_survives_its_file(
        (n, list) in (1_usize..2000).prop_flat_map(|n| (Just(n), prop::collection::vec(keeping(n), 0..6))),
        n_in in prop_oneof![1_usize..1000, Just(1_usize << 20)], outputs in 1_usize..100, standard in any::<bool>(),
    ) {
        let layers = [vec![dense(n)], list, vec![dense(outputs)]].concat();
        let network = Network::new([n_in], layers).unwrap();
        let network = if standard { network.parameterized(Parameterization::Standard) } else { network };
        let text = network.to_toml().unwrap();
        let read = parse_model(&text);
        prop_assert_eq!(read.as_ref(), Ok(&network), "{}", text);
        prop_assert_eq!(read.unwrap().to_toml().unwrap(), text);
    }
}

const MODEL: &str = r#"input = [64]
parameterization = "standard"
[[layers]]
type = "dense"
out = 512
w_std = 1.5
bias = false
[[layers]]
type = "residual"
layers = [{ type = "relu" }, { type = "dense", out = 512 }]
shortcut = []
[[layers]]
type = "dense"
out = 10
"#;

const IMAGES: &str = r#"input = [2, 8, 7]
layout = "nchw"
[[layers]]
type = "conv"
out = 3
filter = [3, 2]
padding = [1, 0]
[[layers]]
type = "max_pool"
window = [2, 2]
padding = "same"
[[layers]]
type = "rbf"
gamma = 0.5
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
out = 10
"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]
    #[test]
    fn random_text_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(parse_model(&String::from_utf8_lossy(&bytes)).is_err());
    }

    #[test]
    fn mutated_models_never_panic(
        changes in prop::collection::vec((0..MODEL.len(), 0_usize..12, any::<u8>(), 0_usize..3), 1..4), images in any::<bool>(),
    ) {
        let mut bytes = if images { IMAGES } else { MODEL }.as_bytes().to_vec();
        for (from, len, byte, kind) in changes {
            let from = from.min(bytes.len());
            let to = (from + len).min(bytes.len());
            match kind {
                0 => bytes[from..to].fill(byte),
                1 => { bytes.drain(from..to); }
                _ => { let copy = bytes[from..to].to_vec(); bytes.splice(from..from, copy); }
            }
        }
        if let Err(error) = parse_model(&String::from_utf8_lossy(&bytes)) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

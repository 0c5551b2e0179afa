//! The model file of networks of images: defaults, round trips and errors.

use nn::{
    Conv, Layer, ModelError, Network, NormAxes, Padding, avg_pool, conv, dense, flatten, global_avg_pool, layer_norm, max_pool,
    parse_model, rbf, residual_with_shortcut, sin_of, sum_pool,
};
use proptest::prelude::*;

/// A model of an image with one list of layers.
fn image(list: &str) -> Result<Network, ModelError> {
    parse_model(&format!("input = [6, 7, 2]\nlayers = [{list}, {{type = 'flatten'}}, {{type = 'dense', out = 1}}]"))
}

#[test]
fn layers_of_images_are_what_they_say_and_have_the_defaults_of_the_documentation() {
    let layer = |text: &str| image(text).unwrap().layers()[0].clone();
    let plain = Conv { out: 4, filter: [3, 2], stride: [1, 1], padding: Padding::Same, w_std: 1.0, b_std: 0.0, bias: true };
    assert_eq!(layer("{type = 'conv', out = 4, filter = [3, 2]}"), Layer::Conv(plain));
    assert_eq!(layer("{type = 'conv', out = 4, filter = [3, 2]}"), conv(4, [3, 2]));
    assert_eq!(
        layer("{type = 'conv', out = 4, filter = [3, 2], stride = [2, 1], padding = 'valid', w_std = 2, b_std = 0.5, bias = false}"),
        conv(4, [3, 2]).stride([2, 1]).padding(Padding::Valid).std(2.0, 0.5).without_bias()
    );
    for (text, padding) in [
        ("'same'", Padding::Same),
        ("'valid'", Padding::Valid),
        ("'circular'", Padding::Circular),
        ("[1, 2]", Padding::Cells([1, 2])),
        ("[0, 0]", Padding::Cells([0, 0])),
    ] {
        assert_eq!(layer(&format!("{{type = 'conv', out = 4, filter = [3, 2], padding = {text}}}")), conv(4, [3, 2]).padding(padding));
        for (name, pool) in [("avg_pool", avg_pool([3, 2])), ("sum_pool", sum_pool([3, 2])), ("max_pool", max_pool([4, 4]))] {
            let window = if name == "max_pool" { "[4, 4]" } else { "[3, 2]" };
            let text = format!("{{type = '{name}', window = {window}, stride = [1, 2], padding = {text}}}");
            assert_eq!(layer(&text), pool.stride([1, 2]).padding(padding));
        }
    }
    // The stride of a pool is its window.
    assert_eq!(layer("{type = 'avg_pool', window = [2, 3]}"), avg_pool([2, 3]));
    assert_eq!(layer("{type = 'max_pool', window = [2, 3]}"), max_pool([2, 3]).stride([2, 3]).padding(Padding::Valid));
    assert_eq!(layer("{type = 'layer_norm'}"), layer_norm());
    assert_eq!(layer("{type = 'layer_norm', axes = 'channels', eps = 1e-12}"), layer_norm());
    assert_eq!(layer("{type = 'layer_norm', axes = 'all', eps = 1e-5}"), layer_norm().over(NormAxes::All).eps(1e-5));
    assert_eq!(layer("{type = 'flatten'}"), flatten());
    let pooled = parse_model("input = [6, 7, 2]\nlayers = [{type = 'global_avg_pool'}, {type = 'dense', out = 1}]").unwrap();
    assert_eq!(pooled.layers(), [global_avg_pool(), dense(1)]);
    // The input is [channels, height, width].
    let first = parse_model(
        "input = [2, 6, 7]\nlayout = 'nchw'\nlayers = [{type = 'conv', out = 1, filter = [6, 7], padding = 'valid'}, {type = 'flatten'}]",
    );
    assert_eq!(first, Network::nchw([2, 6, 7], [conv(1, [6, 7]).padding(Padding::Valid), flatten()]));
    assert!(first.unwrap().to_toml().unwrap().contains("layout = \"nchw\""));
}

#[test]
fn sizes_of_windows_and_paddings_that_are_none_are_refused() {
    let message = |text: &str| image(text).unwrap_err().to_string();
    let conv = |keys: &str| message(&format!("{{type = 'conv', out = 4{keys}}}"));
    assert_eq!(conv(""), "layers[0]: the key `filter` is missing");
    assert_eq!(message("{type = 'conv', filter = [3, 3]}"), "layers[0]: the key `out` is missing");
    assert_eq!(message("{type = 'max_pool'}"), "layers[0]: the key `window` is missing");
    for (given, shown) in [("3", "3 (integer)"), ("[3]", "a list of 1"), ("[3, 3, 3]", "a list of 3"), ("'3x3'", "\"3x3\"")] {
        assert_eq!(
            conv(&format!(", filter = {given}")),
            format!("layers[0]: `filter` must be two sizes, such as [3, 3], and it is {shown}")
        );
    }
    let wanted = "must be a whole number from 1 to 2^40, and it is";
    assert_eq!(conv(", filter = [3, 0]"), format!("layers[0]: `filter` {wanted} 0 (integer)"));
    assert_eq!(conv(", filter = [3, 1.5]"), format!("layers[0]: `filter` {wanted} 1.5 (float)"));
    assert_eq!(conv(", filter = [3, 3], stride = [1, -1]"), format!("layers[0]: `stride` {wanted} -1 (integer)"));
    assert_eq!(message("{type = 'sum_pool', window = [0, 1]}"), format!("layers[0]: `window` {wanted} 0 (integer)"));
    let wanted = "must be \"same\", \"valid\", \"circular\" or the cells on either side of [rows, columns], such as [1, 1], and it is";
    for (given, shown) in
        [("'SAME'", "\"SAME\""), ("1", "1 (integer)"), ("[1]", "a list of 1"), ("[1, -1]", "a list of 2"), ("[1, 0.5]", "a list of 2")]
    {
        assert_eq!(conv(&format!(", filter = [3, 3], padding = {given}")), format!("layers[0]: `padding` {wanted} {shown}"));
    }
    assert_eq!(conv(", filter = [3, 3], strides = 1"), "layers[0]: unknown key `strides`; did you mean `stride`?");
    assert_eq!(message("{type = 'avg_pool', windows = [3, 3]}"), "layers[0]: unknown key `windows`; did you mean `window`?");
    assert_eq!(message("{type = 'flatten', out = 3}"), "layers[0]: unknown key `out`; did you mean `type`?");
    assert_eq!(message("{type = 'layer_norm', epsilon = 1}"), "layers[0]: unknown key `epsilon`; did you mean `eps`?");
    assert_eq!(message("{type = 'layer_norm', axes = 'rows'}"), "layers[0]: `axes` must be \"channels\" or \"all\", and it is \"rows\"");
    for eps in ["0", "-1e-12", "nan", "inf", "'1e-5'"] {
        assert!(message(&format!("{{type = 'layer_norm', eps = {eps}}}")).starts_with("layers[0]: `eps` must be a finite number above 0"));
    }
    // What only the network can tell is said with the shapes.
    assert_eq!(
        message("{type = 'conv', out = 4, filter = [7, 3], padding = 'valid'}"),
        "layers[0] (conv): a filter of [7, 3] does not fit into [6, 7, 2] with this padding"
    );
}

/// A layer that keeps the shape of an image with `n` channels.
fn keeping_an_image(n: usize) -> impl Strategy<Value = Layer> {
    let odd = || (0_usize..3).prop_map(|k| 2 * k + 1);
    let padding = prop::sample::select(vec![Padding::Same, Padding::Circular]);
    let leaf = prop_oneof![
        (odd(), odd(), prop::bool::ANY).prop_map(move |(h, w, bias)| {
            let layer = conv(n, [h, w]).padding(Padding::Cells([h / 2, w / 2])).std(0.5, 0.25);
            if bias { layer } else { layer.without_bias() }
        }),
        (1_usize..5, 1_usize..5, padding.clone()).prop_map(move |(h, w, padding)| conv(n, [h, w]).padding(padding)),
        (prop::sample::select(vec![avg_pool as fn([usize; 2]) -> Layer, sum_pool, max_pool]), odd(), odd(), padding)
            .prop_map(|(pool, h, w, padding)| pool([h, w]).stride([1, 1]).padding(padding)),
        (prop::sample::select(vec![NormAxes::Channels, NormAxes::All]), 1e-12..1.0_f64)
            .prop_map(|(axes, eps)| layer_norm().over(axes).eps(eps)),
        (-2.0..2.0_f64, -2.0..2.0_f64, -2.0..2.0_f64).prop_map(|(a, b, c)| sin_of(a, b, c)),
        (0.0..2.0_f64).prop_map(rbf),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let list = || prop::collection::vec(inner.clone(), 0..4);
        (list(), list()).prop_map(|(layers, shortcut)| residual_with_shortcut(layers, shortcut))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn every_model_of_images_survives_its_file(
        (n, list) in (1_usize..5).prop_flat_map(|n| (Just(n), prop::collection::vec(keeping_an_image(n), 0..6))),
        (height, width, channels) in (1_usize..9, 1_usize..9, 1_usize..4), pooled in any::<bool>(), first in any::<bool>(), mup in any::<bool>(),
    ) {
        let end = if pooled { global_avg_pool() } else { flatten() };
        let layers = [vec![conv(n, [3, 3])], list, vec![end, dense(3)]].concat();
        let network = if first { Network::nchw([channels, height, width], layers) } else { Network::new([height, width, channels], layers) };
        let network = network.unwrap();
        let network = if mup { network.mup(4).unwrap() } else { network };
        let text = network.to_toml().unwrap();
        let read = parse_model(&text);
        prop_assert_eq!(read.as_ref(), Ok(&network), "{}", text);
        prop_assert_eq!(read.unwrap().to_toml().unwrap(), text);
    }
}

//! The model file: what it says, defaults, and every error.

use nn::{
    Activation, Dense, Layer, ModelError, Network, Parameterization, Phi, abs, cos_of, dense, exp, gaussian, identity, leaky_relu,
    parse_model, rbf, relu, residual, residual_with_shortcut, sin_of, tanh,
};

/// A model with one list of layers behind `input = [3]`.
pub(crate) fn layers(list: &str) -> Result<Network, ModelError> {
    parse_model(&format!("input = [3]\nlayers = [{list}]"))
}

pub(crate) fn message(text: &str) -> String {
    parse_model(text).unwrap_err().to_string()
}

fn layer_message(layer: &str) -> String {
    layers(&format!("{layer}, {{type = 'dense', out = 1}}")).unwrap_err().to_string()
}

#[test]
fn a_model_is_what_it_says() {
    let text = r#"
        input = [64]
        parameterization = "standard"
        layout = "nhwc"

        [[layers]]
        type = "dense"
        out = 512
        w_std = 1.25
        b_std = 0.1
        bias = false

        [[layers]]
        type = "residual"
        layers = [{ type = "relu" }, { type = "dense", out = 5 }]
        shortcut = [{ type = "dense", out = 5, w_std = 2 }]

        [[layers]]
        type = "residual"
          [[layers.layers]]
          type = "tanh"
          [[layers.layers]]
          type = "dense"
          out = 5

        [[layers]]
        type = "erf"
        [[layers]]
        type = "exp"
    "#;
    let want = [
        dense(512).std(1.25, 0.1).without_bias(),
        residual_with_shortcut([relu(), dense(5)], [dense(5).std(2.0, 0.0)]),
        residual([tanh(), dense(5)]),
        nn::erf(),
        exp(),
    ];
    assert_eq!(parse_model(text).unwrap(), Network::new([64], want).unwrap().parameterized(Parameterization::Standard));
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let network = parse_model("input = [3]\n[[layers]]\ntype = 'dense'\nout = 4").unwrap();
    assert_eq!(network.parameterization(), Parameterization::Ntk);
    assert_eq!(network.layers(), [Layer::Dense(Dense { out: 4, w_std: 1.0, b_std: 0.0, bias: true })]);
    assert_eq!(network.layers(), [dense(4)]);
    for layout in ["nhwc", "nchw"] {
        assert_eq!(parse_model(&format!("input = [3]\nlayout = '{layout}'\nlayers = [{{type = 'dense', out = 4}}]")).unwrap(), network);
    }
    let explicit = layers("{type = 'residual', layers = [], shortcut = []}, {type = 'dense', out = 4, w_std = 1, b_std = 0}").unwrap();
    assert_eq!(explicit.layers(), [residual([]), dense(4)]);
}

#[test]
fn whole_numbers_are_scales() {
    let network = layers("{type = 'dense', out = 1, w_std = 2, b_std = 0}").unwrap();
    assert_eq!(network.layers(), [dense(1).std(2.0, 0.0)]);
    let network = layers("{type = 'dense', out = 1, w_std = 0, b_std = 3}").unwrap();
    assert_eq!(network.layers(), [dense(1).std(0.0, 3.0)]);
}

#[test]
fn a_leaky_rectifier_has_a_slope_and_a_default() {
    let layer = |keys: &str| layers(&format!("{{type = 'leaky_relu'{keys}}}, {{type = 'dense', out = 1}}")).unwrap().layers()[0].clone();
    assert_eq!(layer(""), leaky_relu(0.01));
    for (given, alpha) in [("0.2", 0.2), ("0", 0.0), ("1", 1.0), ("-3", -3.0), ("-0.5", -0.5), ("1e300", 1e300), ("5e-324", 5e-324)] {
        assert_eq!(layer(&format!(", alpha = {given}")), leaky_relu(alpha));
    }
    assert_eq!(layers("{type = 'abs'}, {type = 'dense', out = 1}").unwrap().layers(), [abs(), dense(1)]);
    let message = |alpha: &str| layer_message(&format!("{{type = 'leaky_relu', alpha = {alpha}}}"));
    for (given, shown) in [
        ("nan", "nan (float)"),
        ("inf", "inf (float)"),
        ("-inf", "-inf (float)"),
        ("true", "true (boolean)"),
        ("'0.1'", "\"0.1\""),
        ("[0.1]", "a list of 1"),
    ] {
        assert_eq!(message(given), format!("layers[0]: `alpha` must be a finite number, and it is {shown}"));
    }
    // The slope is written even where it is the default.
    let text = Network::new([3], [leaky_relu(0.01), abs(), dense(1)]).unwrap().to_toml().unwrap();
    assert!(text.contains("alpha = 0.01") && text.matches("alpha").count() == 1, "{text}");
}

#[test]
fn activations_have_the_parameters_of_the_documentation() {
    let layer = |text: &str| layers(&format!("{{{text}}}, {{type = 'dense', out = 1}}")).unwrap().layers()[0].clone();
    assert_eq!(layer("type = 'sin'"), sin_of(1.0, 1.0, 0.0));
    assert_eq!(layer("type = 'cos', b = 2"), cos_of(1.0, 2.0, 0.0));
    assert_eq!(layer("type = 'sin', a = 1.3, b = -0.7, c = 0.4"), sin_of(1.3, -0.7, 0.4));
    assert_eq!(layer("type = 'rbf', gamma = 0.5"), rbf(0.5));
    assert_eq!([layer("type = 'gaussian'"), layer("type = 'identity'")], [gaussian(), identity()]);
    assert_eq!(layer_message("{type = 'rbf'}"), "layers[0]: the key `gamma` is missing");
    assert_eq!(
        layer_message("{type = 'rbf', gamma = -1}"),
        "layers[0]: `gamma` must be a finite number of at least 0, and it is -1 (integer)"
    );
    assert_eq!(layer_message("{type = 'sin', a = inf}"), "layers[0]: `a` must be a finite number, and it is inf (float)");
    assert_eq!(layer_message("{type = 'cos', d = 1}"), "layers[0]: unknown key `d`; did you mean `a`?");
}

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    let with = |key: &str| message(&format!("input = [3]\n{key} = 1\nlayers = []"));
    assert_eq!(with("layer"), "the model: unknown key `layer`; did you mean `layers`?");
    assert_eq!(with("imput"), "the model: unknown key `imput`; did you mean `input`?");
    assert_eq!(with("parametrization"), "the model: unknown key `parametrization`; did you mean `parameterization`?");
    assert_eq!(with("base_widht"), "the model: unknown key `base_widht`; did you mean `base_width`?");
    assert_eq!(layer_message("{type = 'dense', out = 2, wstd = 1.0}"), "layers[0]: unknown key `wstd`; did you mean `w_std`?");
    assert_eq!(layer_message("{type = 'relu', alpha = 1.0}"), "layers[0]: unknown key `alpha`; did you mean `type`?");
    assert_eq!(layer_message("{type = 'abs', alpha = 1.0}"), "layers[0]: unknown key `alpha`; did you mean `type`?");
    assert_eq!(layer_message("{type = 'leaky_relu', alhpa = 1.0}"), "layers[0]: unknown key `alhpa`; did you mean `alpha`?");
    assert_eq!(layer_message("{type = 'leaky_relu', types = 1.0}"), "layers[0]: unknown key `types`; did you mean `type`?");
    assert_eq!(
        layer_message("{type = 'residual', layers = [], shortcuts = []}"),
        "layers[0]: unknown key `shortcuts`; did you mean `shortcut`?"
    );
    assert_eq!(
        layer_message("{type = 'residual', layers = [{type = 'relu'}, {type = 'dense', outs = 3}]}"),
        "layers[0].layers[1]: unknown key `outs`; did you mean `out`?"
    );
    assert_eq!(
        layer_message("{type = 'residual', layers = [], shortcut = [{type = 'dense', out = 3, b = 3}]}"),
        "layers[0].shortcut[0]: unknown key `b`; did you mean `out`?"
    );
    // A name may hold anything, and a message is one line of a terminal.
    assert_eq!(with(r#""\u001b[31m\n""#), r"the model: unknown key `\u{1b}[31m\n`; did you mean `input`?");
    let long = with(&"x".repeat(100_000));
    assert_eq!(long, format!("the model: unknown key `{}…`; did you mean `input`?", "x".repeat(40)));
}

#[test]
fn missing_keys_are_named() {
    assert_eq!(message(""), "the model: the key `input` is missing");
    assert_eq!(message("input = [3]"), "the model: the key `layers` is missing");
    assert_eq!(layer_message("{out = 3}"), "layers[0]: the key `type` is missing");
    assert_eq!(layer_message("{type = 'dense'}"), "layers[0]: the key `out` is missing");
    assert_eq!(layer_message("{type = 'residual'}"), "layers[0]: the key `layers` is missing");
    assert_eq!(layer_message("{type = 'residual', shortcut = []}"), "layers[0]: the key `layers` is missing");
}

#[test]
fn sizes_are_whole_numbers_of_at_least_one() {
    for (given, shown) in [
        ("0", "0 (integer)"),
        ("-1", "-1 (integer)"),
        ("1099511627777", "1099511627777 (integer)"),
        ("9223372036854775807", "9223372036854775807 (integer)"),
        ("1.5", "1.5 (float)"),
        ("2.0", "2.0 (float)"),
        ("true", "true (boolean)"),
        ("'7'", "\"7\""),
        ("2020-01-01", "2020-01-01 (datetime)"),
        ("[2]", "a list of 1"),
        ("{}", "a table"),
    ] {
        let want = format!("must be a whole number from 1 to 2^40, and it is {shown}");
        assert_eq!(layer_message(&format!("{{type = 'dense', out = {given}}}")), format!("layers[0]: `out` {want}"));
        assert_eq!(message(&format!("input = [{given}]\nlayers = []")), format!("the model: `input` {want}"));
        assert_eq!(message(&format!("input = [4, 4, {given}]\nlayers = []")), format!("the model: `input` {want}"));
    }
    assert_eq!(
        layer_message("{type = 'dense', out = 1099511627776}"),
        "layers[0] (dense): a weight from 3 to 1099511627776 features is too large"
    );
    let beyond = message("input = [9223372036854775808]\nlayers = []");
    assert!(beyond.starts_with("the model is not valid TOML: ") || beyond.contains("whole number"), "{beyond}");
}

#[test]
fn input_is_features_or_an_image() {
    let dense = "layers = [{type = 'dense', out = 1}]";
    assert_eq!(message(&format!("input = 3\n{dense}")), "the model: `input` must be a list of sizes, such as [64], and it is 3 (integer)");
    assert_eq!(message(&format!("input = '3'\n{dense}")), "the model: `input` must be a list of sizes, such as [64], and it is \"3\"");
    for (list, shown) in [("", "[]"), ("2, 2", "[2, 2]")] {
        assert_eq!(
            message(&format!("input = [{list}]\n{dense}")),
            format!("input must be [features] or an image of three extents, all at least 1, and it is {shown}")
        );
    }
    let wanted = "the model: `input` must be [features] or an image of three extents, and it is a list of 4";
    assert_eq!(message(&format!("input = [1, 1, 1, 1]\n{dense}")), wanted);
    for layout in ["nhwc", "nchw"] {
        assert_eq!(
            message(&format!("input = [28, 3, 1]\nlayout = '{layout}'\n{dense}")),
            "layers[0] (dense) reads features, [n], and it is given [28, 3, 1]"
        );
    }
}

#[test]
fn scales_are_finite_and_not_negative() {
    for key in ["w_std", "b_std"] {
        for (given, shown) in [
            ("nan", "nan (float)"),
            ("inf", "inf (float)"),
            ("-inf", "-inf (float)"),
            ("-1e-300", ""),
            ("-1", "-1 (integer)"),
            ("true", "true (boolean)"),
            ("'1.0'", "\"1.0\""),
            ("[1.0]", "a list of 1"),
        ] {
            let got = layer_message(&format!("{{type = 'dense', out = 2, {key} = {given}}}"));
            let want = format!("layers[0]: `{key}` must be a finite number of at least 0, and it is {shown}");
            assert!(if shown.is_empty() { got.starts_with(&want) } else { got == want }, "{got}");
        }
    }
}

#[test]
fn values_of_another_type_are_refused() {
    assert_eq!(layer_message("{type = 'dense', out = 2, bias = 1}"), "layers[0]: `bias` must be true or false, and it is 1 (integer)");
    assert_eq!(layer_message("{type = 'dense', out = 2, bias = 'no'}"), "layers[0]: `bias` must be true or false, and it is \"no\"");
    assert_eq!(layer_message("{type = 3}"), "layers[0]: `type` must be a string, and it is 3 (integer)");
    assert_eq!(layer_message("'relu'"), "the model: `layers` must be a list of layers, and it is a list of 2");
    assert_eq!(message("input = [3]\nlayers = 3"), "the model: `layers` must be a list of layers, and it is 3 (integer)");
    assert_eq!(message("input = [3]\n[layers]\ntype = 'relu'"), "the model: `layers` must be a list of layers, and it is a table");
    assert_eq!(layer_message("{type = 'residual', layers = {}}"), "layers[0]: `layers` must be a list of layers, and it is a table");
    assert_eq!(
        layer_message("{type = 'residual', layers = [], shortcut = 'identity'}"),
        "layers[0]: `shortcut` must be a list of layers, and it is \"identity\""
    );
    assert_eq!(
        message("input = [3]\nparameterization = 1\nlayers = []"),
        "the model: `parameterization` must be a string, and it is 1 (integer)"
    );
    assert_eq!(
        message("input = [3]\nparameterization = 'NTK'\nlayers = []"),
        "the model: `parameterization` must be \"ntk\", \"standard\" or \"mup\", and it is \"NTK\""
    );
    assert_eq!(message("input = [3]\nlayout = 'hwc'\nlayers = []"), "the model: `layout` must be \"nhwc\" or \"nchw\", and it is \"hwc\"");
}

#[test]
fn a_base_width_belongs_to_mup_and_to_nothing_else() {
    let dense = "layers = [{type = 'dense', out = 128}, {type = 'relu'}, {type = 'dense', out = 128}, {type = 'dense', out = 2}]";
    let network = parse_model(&format!("input = [3]\nparameterization = 'mup'\nbase_width = 64\n{dense}")).unwrap();
    assert_eq!(network.parameterization(), Parameterization::Mup { base_width: 64 });
    assert_eq!(message(&format!("input = [3]\nparameterization = 'mup'\n{dense}")), "the model: the key `base_width` is missing");
    assert_eq!(
        message(&format!("input = [3]\nparameterization = 'mup'\nbase_width = 0\n{dense}")),
        "the model: `base_width` must be a whole number from 1 to 2^40, and it is 0 (integer)"
    );
    assert_eq!(
        message(&format!("input = [3]\nparameterization = 'mup'\nbase_width = 64\n{}", dense.replacen("out = 128", "out = 100", 1))),
        "layers[2] (dense): in \"mup\" all hidden layers are of one width, and `out` is 128 here and 100 in layers[0] (dense)"
    );
    for text in ["base_width = 64", "parameterization = 'standard'\nbase_width = 64"] {
        assert_eq!(
            message(&format!("input = [3]\n{text}\nlayers = []")),
            "the model: `base_width` must be absent unless parameterization is \"mup\", and it is given"
        );
    }
}

#[test]
fn a_function_of_the_programs_is_no_part_of_a_model_file() {
    let own = || nn::elementwise("relu", |x| x.max(0.0), Some(|x| f64::from(u8::from(x > 0.0))));
    let inner = |phi: Layer| Network::new([3], [dense(3), residual_with_shortcut([dense(3)], [relu(), dense(3), phi]), dense(2)]).unwrap();
    for (network, place) in [(Network::new([3], [own(), dense(2)]).unwrap(), "layers[0]"), (inner(own()), "layers[1].shortcut[2]")] {
        let error = network.to_toml().unwrap_err();
        assert_eq!(error, ModelError::Unnamed { place: place.into(), name: "relu" });
        assert!(error.to_string().starts_with(&format!("{place}: `relu` is a function of the program")), "{error}");
        assert!(network.to_string().contains("relu"));
    }
    // It is another one than the layer of its name, which a file can name, and equal to itself.
    assert_ne!(inner(own()), inner(relu()));
    assert_eq!(inner(own()), inner(own()).clone());
    assert!(inner(relu()).to_toml().is_ok());
    // By differences it is another one again.
    assert_ne!(nn::elementwise("sin", f64::sin, None), nn::elementwise("sin", f64::sin, Some(f64::cos)));
    assert_ne!(nn::elementwise("sin", f64::sin, None), nn::elementwise("sin", f64::cos, None));
    assert_eq!(nn::elementwise("sin", f64::sin, Some(f64::cos)), nn::elementwise("sin", f64::sin, Some(f64::cos)));
}

#[test]
fn a_function_of_the_tape_that_is_no_activation_is_refused() {
    for phi in [Phi::Ln, Phi::Sqrt, Phi::Sin, Phi::Cos] {
        let (error, name) = (Network::new([3], [dense(2), residual([Activation::Phi(phi).into()])]).unwrap_err(), phi.name());
        let place = format!("layers[1].layers[0] ({name})");
        assert_eq!(error.to_string(), format!("{place}: `{name}` is no activation of a network; put one of nn::ACTIVATIONS there"));
        // In a model file there are `sin` and `cos`, which are activations with parameters.
        if phi == Phi::Ln || phi == Phi::Sqrt {
            assert!(layer_message(&format!("{{type = '{name}'}}")).contains("must be a known layer type"));
        }
    }
}

#[test]
fn unknown_types_name_the_nearest_known_one() {
    for (given, nearest) in
        [("denze", "dense"), ("ReLU", "relu"), ("resdual", "residual"), ("tahn", "tanh"), ("convv", "conv"), ("gelo", "gelu"), ("", "erf")]
    {
        assert_eq!(
            layer_message(&format!("{{type = '{given}'}}")),
            format!("layers[0]: `type` must be a known layer type, perhaps \"{nearest}\", and it is \"{given}\"")
        );
    }
    assert!(layer_message(r#"{type = "\u001b[2J"}"#).ends_with(r#"and it is "\u{1b}[2J""#));
    assert!(layer_message(&format!("{{type = '{}'}}", "é".repeat(100_000))).len() < 200);
}

#[test]
fn models_without_parameters_or_with_shapes_that_do_not_fit_are_refused() {
    assert_eq!(message("input = [3]\nlayers = []"), "the network has no parameters: add a dense layer");
    assert_eq!(layers("{type = 'relu'}").unwrap_err(), ModelError::NoParameters);
    assert_eq!(
        layer_message("{type = 'residual', layers = [{type = 'dense', out = 4}]}"),
        "layers[0] (residual): the layers give [4] and the shortcut gives [3], and only equal shapes add up"
    );
}

#[test]
fn syntax_errors_show_the_line() {
    let error = message("input = [3]\nlayers = [");
    assert!(error.starts_with("the model is not valid TOML: TOML parse error at line 2, column "), "{error}");
    assert!(message("input = [3]\ninput = [4]").contains("duplicate key"));
    assert!(!message("input = [3]\n\u{1b}[2J = 1").contains('\u{1b}'));
    assert!(message(&format!("input = [3]\n{} = = 1", "x".repeat(100_000))).len() < 2000);
    assert!(matches!(parse_model("\u{feff}\u{0}"), Err(ModelError::Syntax(_))));
}

#[test]
fn the_file_that_is_written_is_readable() {
    let network = Network::new([64], [dense(512).std(1.5, 0.1), relu(), dense(10).without_bias()]).unwrap();
    let text = network.to_toml().unwrap();
    for part in ["input = [64]", "parameterization = \"ntk\"", "[[layers]]", "type = \"dense\"", "out = 512", "w_std = 1.5", "bias = false"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

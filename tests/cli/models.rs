//! Model files from strangers, and sizes that no memory holds.

use crate::run::{Folder, MODEL};

/// Kernels of a model that cannot be used, at infinite width and of a finite network.
#[track_caller]
fn refused(model: &str, parts: &[&str]) {
    let folder = Folder::new();
    folder.text("m.toml", model);
    for kind in ["ntk", "empirical-ntk --seed 0"] {
        folder.kernel_fails(&format!("--model m.toml --x1 x.npy --kind {kind}"), &[parts, &["\"m.toml\""]].concat());
    }
}

/// The usual model with one text for another.
#[track_caller]
fn refused_with(from: &str, to: &str, parts: &[&str]) {
    assert!(MODEL.contains(from));
    refused(&MODEL.replacen(from, to, 1), parts);
}

#[test]
fn unknown_keys_and_layers_are_named_with_the_nearest_known_one() {
    refused_with("w_std", "w_sdt", &["layers[0]", "`w_sdt`", "`w_std`"]);
    refused_with("input", "inptu", &["`inptu`", "`input`"]);
    refused_with("\"dense\"", "\"dens\"", &["layers[0]", "\"dens\"", "\"dense\""]);
    refused_with("\"relu\"", "\"relu6\"", &["layers[1]", "\"relu6\"", "\"relu\""]);
    refused_with("\"relu\"", "\"convv\"", &["layers[1]", "\"convv\"", "\"conv\""]);
    refused_with("\"relu\"", "\"max_pool\"\nwindow = [2, 2]", &["layers[1] (max_pool)", "an image", "[8]"]);
    refused_with("\"relu\"", "\"relu\"\nalpha = 1", &["layers[1]", "`alpha`"]);
}

#[test]
fn values_out_of_range_are_named_with_their_key() {
    for size in ["0", "-1", "1.5", "\"8\"", "[8]", "1099511627777", "9223372036854775807", "true", "nan"] {
        refused_with("out = 8", &format!("out = {size}"), &["layers[0]", "`out`", "from 1 to 2^40"]);
    }
    for std in ["-0.1", "nan", "inf", "-inf", "\"1\"", "{}"] {
        refused_with("w_std = 1.4", &format!("w_std = {std}"), &["`w_std`", "at least 0"]);
    }
    for input in ["[0]", "[-3]", "[]", "3", "[3, 3]", "[1, 1, 1, 3]", "[1e9]", "[\"a\"]"] {
        refused_with("input = [3]", &format!("input = {input}"), &["input"]);
    }
    refused_with("input = [3]", "input = [1, 3, 1]", &["layers[0] (dense)", "[1, 3, 1]"]);
    refused_with("input = [3]", "input = [3]\nparameterization = \"mup\"", &["`base_width`", "missing"]);
    refused_with("input = [3]", "input = [3]\nparameterization = \"mup\"\nbase_width = 0", &["`base_width`", "from 1 to 2^40"]);
    refused_with("input = [3]", "input = [3]\nparameterization = \"ntkk\"", &["`parameterization`", "ntkk"]);
    refused("input = [3]\nlayers = []", &["dense"]);
    refused("input = [3]", &["`layers`", "missing"]);
    refused("", &["`input`", "missing"]);
}

#[test]
fn networks_without_a_limit_are_refused_by_name_and_stay_finite_networks() {
    let folder = Folder::new();
    folder.text("m.toml", &MODEL.replace("type = \"relu\"", "type = \"relu\"\n[[layers]]\ntype = \"tanh\""));
    folder.kernel_fails("--model m.toml --x1 x.npy --kind ntk", &["\"m.toml\"", "layers[2] (tanh)", "Gaussian", "layers[1] (relu)"]);
    assert_eq!(folder.kernel("--model m.toml --x1 x.npy --kind empirical-ntk --seed 0").0, [4, 4]);
    folder.text("m.toml", &MODEL.replace("type = \"dense\"\nout = 8", "type = \"relu\"\n[[layers]]\ntype = \"dense\"\nout = 8"));
    folder.kernel_fails("--model m.toml --x1 x.npy --kind nngp", &["\"m.toml\"", "layers[0]", "Gaussian"]);
}

#[test]
fn mup_has_finite_networks_and_no_limit() {
    let folder = Folder::new();
    folder.text("m.toml", &MODEL.replace("input = [3]", "input = [3]\nparameterization = \"mup\"\nbase_width = 4"));
    folder.kernel_fails("--model m.toml --x1 x.npy --kind ntk", &["\"m.toml\"", "mup", "features move"]);
    assert_eq!(folder.kernel("--model m.toml --x1 x.npy --kind empirical-ntk --seed 0").0, [4, 4]);
}

#[test]
fn what_is_not_toml_is_shown_where_it_breaks() {
    let folder = Folder::new();
    for (text, shown) in [("input = [3", "line 1"), ("input = [3]\n[[layers]\n", "line 2"), ("input = [3]\ninput = [4]\n", "input")] {
        folder.text("m.toml", text);
        let run = folder.run("kernel --model m.toml --x1 x.npy --kind ntk --out k.npy --quiet");
        assert_eq!((run.code, &run.stdout[..]), (Some(1), ""));
        assert!(run.stderr.starts_with("error: \"m.toml\": the model is not valid TOML: ") && run.stderr.contains(shown), "{}", run.stderr);
        assert!(run.stderr.lines().count() < 8, "{}", run.stderr);
    }
    folder.bytes("m.toml", b"input = [3] # \xff\n");
    folder.kernel_fails("--model m.toml --x1 x.npy --kind ntk", &["\"m.toml\"", "UTF-8", "byte 14"]);
    let deep = format!("input = {}3{}", "[".repeat(100_000), "]".repeat(100_000));
    folder.text("m.toml", &deep);
    assert_eq!(folder.run("kernel --model m.toml --x1 x.npy --kind ntk --out k.npy").code, Some(1));
    let nested = "[[layers]]\ntype = \"residual\"\n".to_owned() + &"layers = [{ type = \"residual\", ".repeat(50);
    folder.text("m.toml", &nested);
    assert_eq!(folder.run("kernel --model m.toml --x1 x.npy --kind ntk --out k.npy").code, Some(1));
}

#[test]
fn networks_that_no_memory_holds_are_refused_before_any_is_asked_for() {
    let folder = Folder::new();
    folder.npy("x.npy", &[2, 1], &[1.0, 2.0]);
    let dense = |out: u64| format!("[[layers]]\ntype = \"dense\"\nout = {out}\n");
    let wide = 1_u64 << 40;
    let models = [
        // One weight of 2^40 entries; 2^40 outputs, whose full kernel has 2^80 entries a pair of examples.
        format!("input = [1]\n{}", dense(wide)),
        // A weight of 2^40 entries between two layers.
        format!("input = [1]\n{}{}{}", dense(1 << 20), dense(1 << 20), dense(1)),
        // Many large layers.
        format!("input = [1]\n{}", dense(1 << 20).repeat(100)),
    ];
    for model in &models {
        folder.text("m.toml", model);
        for kind in ["empirical-ntk", "empirical-nngp"] {
            for outputs in ["full", "trace", "diagonal", "sum"] {
                let arguments = format!("--model m.toml --x1 x.npy --kind {kind} --seed 0 --outputs {outputs}");
                folder.kernel_fails(&arguments, &["GiB of memory"]);
            }
        }
    }
    // A network that is held easily, with cotangents of every output at every output: 2·10^5 squared.
    folder.text("m.toml", &format!("input = [1]\n{}", dense(200_000)));
    for strategy in ["auto", "jacobian", "products", "structured"] {
        let arguments = format!("--model m.toml --x1 x.npy --kind empirical-ntk --seed 0 --strategy {strategy}");
        folder.kernel_fails(&arguments, &["this kernel", "GiB of memory", "fewer outputs"]);
    }
    // Few parameters, and images of 500 GB between the layers.
    let image =
        "input = [4000, 4000, 1]\n[[layers]]\ntype = \"conv\"\nout = 4096\nfilter = [1, 1]\n[[layers]]\ntype = \"global_avg_pool\"\n";
    folder.text("m.toml", &format!("{image}{}", dense(1)));
    folder.npy("image.npy", &[0, 4000, 4000, 1], &[] as &[f64]);
    let arguments = "--model m.toml --x1 image.npy --kind empirical-ntk --seed 0";
    folder.kernel_fails(arguments, &["this kernel", "GiB of memory"]);
    folder.text("m.toml", &format!("input = [1]\n{}{}", dense(wide), dense(2)));
    folder.kernel_fails("--model m.toml --x1 x.npy --kind ntk", &["\"m.toml\"", "layers[1]", "too large"]);
}

#[test]
fn widths_do_not_matter_at_infinite_width() {
    let folder = Folder::new();
    let wanted = folder.kernel("--model m.toml --x1 x.npy --kind ntk");
    folder.text("m.toml", &MODEL.replace("out = 8", "out = 200000000000"));
    folder.run_with_little_memory("kernel --model m.toml --x1 x.npy --kind ntk --out k.npy").success();
    assert_eq!(folder.array("k.npy"), wanted);
}

#[test]
fn kernels_that_no_memory_holds_are_refused_before_any_is_asked_for() {
    let folder = Folder::new();
    folder.text(
        "m.toml",
        "input = [1]\n[[layers]]\ntype = \"dense\"\nout = 4\n[[layers]]\ntype = \"relu\"\n[[layers]]\ntype = \"dense\"\nout = 1",
    );
    folder.npy("x.npy", &[200_000, 1], &vec![0.0_f32; 200_000]);
    for kind in ["ntk", "nngp", "empirical-ntk --seed 0", "empirical-nngp --seed 0"] {
        folder.kernel_fails(&format!("--model m.toml --x1 x.npy --kind {kind}"), &["200000 by 200000", "GiB of memory", "fewer examples"]);
    }
    // Memory is planned for all that is held at once and not for the result alone: this one has 2.2 GiB in double precision, and so has the other one of the two.
    folder.npy("x.npy", &[17_000, 1], &vec![0.0_f32; 17_000]);
    if cfg!(target_os = "linux") {
        folder.kernel_fails("--model m.toml --x1 x.npy --kind ntk", &["17000 by 17000", "GiB of memory"]);
    }
}

#[test]
fn variances_beyond_the_series_of_a_function_are_refused_with_the_function() {
    let folder = Folder::new();
    for name in ["tanh", "sigmoid"] {
        folder.text("m.toml", &MODEL.replace("\"relu\"", &format!("\"{name}\"")).replace("w_std = 1.4", "w_std = 1e4"));
        let tick = format!("`{name}` at a variance of");
        folder.kernel_fails("--model m.toml --x1 x.npy --kind ntk", &[&tick, "scale the inputs or the weights down"]);
    }
}

#[test]
fn absurd_scales_overflow_with_a_message() {
    let folder = Folder::new();
    folder.text("m.toml", &MODEL.replace("w_std = 1.4", "w_std = 1e200"));
    for kind in ["ntk", "nngp", "empirical-ntk --seed 0", "empirical-nngp --seed 0"] {
        folder.kernel_fails(&format!("--model m.toml --x1 x.npy --kind {kind}"), &["overflows f64"]);
    }
    folder.text("m.toml", &MODEL.replace("w_std = 1.4", "w_std = 1e30"));
    for kind in ["ntk", "empirical-ntk --seed 0"] {
        folder.kernel_fails(&format!("--model m.toml --x1 x.npy --kind {kind} --dtype f32"), &["overflows f32", "--dtype f64"]);
    }
}

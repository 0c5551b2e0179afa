//! `tangents kernel` computes what the library computes, and writes it in the shape and the precision that were asked for.

use crate::run::{Folder, MODEL, distance, inputs};
use nn::Network;
use ntk::{Finite, InfiniteKernel, Outputs, Real, Strategy, empirical_nngp, empirical_ntk};
use simd::Mat;
use std::path::PathBuf;
use tangents::files::npy;

const OUTPUTS: [(&str, Outputs); 4] =
    [("full", Outputs::Full), ("trace", Outputs::Trace), ("diagonal", Outputs::Diagonal), ("sum", Outputs::Sum)];
const STRATEGIES: [(&str, Strategy); 4] =
    [("auto", Strategy::Auto), ("jacobian", Strategy::Jacobian), ("products", Strategy::Products), ("structured", Strategy::Structured)];
/// Examples along the rows and the columns, features, outputs.
const SIZES: (usize, usize, usize, usize) = (4, 3, 3, 2);

/// A folder with a second set of inputs.
fn folder() -> Folder {
    let (_, n2, d, _) = SIZES;
    let folder = Folder::new();
    folder.npy("y.npy", &[n2, d], &inputs(100)[50..50 + n2 * d]);
    folder
}

fn x<T: Real>(name: &str) -> Vec<T> {
    let (n1, n2, d, _) = SIZES;
    let values = if name == "x" { inputs(n1 * d) } else { inputs(100)[50..50 + n2 * d].to_vec() };
    values.into_iter().map(<T as autodiff::Scalar>::of).collect()
}

fn shape(kept: Outputs, n2: usize) -> Vec<usize> {
    let (n1, _, _, o) = SIZES;
    match kept {
        Outputs::Full => vec![n1, n2, o, o],
        Outputs::Diagonal => vec![n1, n2, o],
        Outputs::Trace | Outputs::Sum => vec![n1, n2],
    }
}

fn double<T: Real>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| autodiff::Scalar::primal(*v)).collect()
}

/// All empirical kernels in one precision.
fn empirical<T: Real>(dtype: &str) {
    let folder = folder();
    let network = nn::parse_model(MODEL).unwrap();
    let parameters = network.init::<T>(5).unwrap();
    let f = Finite { network: &network, parameters: &parameters };
    let (x1, y) = (x::<T>("x"), x::<T>("y"));
    for (two, x2) in [("", None), (" --x2 y.npy", Some(&y[..]))] {
        let n2 = if x2.is_some() { SIZES.1 } else { SIZES.0 };
        for (outputs, kept) in OUTPUTS {
            let common = format!("--model m.toml --x1 x.npy{two} --seed 5 --outputs {outputs} --dtype {dtype}");
            for (name, strategy) in STRATEGIES {
                let written = folder.kernel(&format!("{common} --kind empirical-ntk --strategy {name}"));
                let kernel = empirical_ntk(&f, &x1, x2, kept, strategy).unwrap();
                assert_eq!(written, (shape(kept, n2), T::NAME, double(&kernel.values)), "{outputs} {name} {two}");
            }
            let written = folder.kernel(&format!("{common} --kind empirical-nngp"));
            let kernel = empirical_nngp(&f, &x1, x2, kept).unwrap();
            assert_eq!(written, (shape(kept, n2), T::NAME, double(&kernel.values)), "{outputs} nngp {two}");
        }
    }
}

#[test]
fn empirical_kernels_are_those_of_the_library_in_double_precision() {
    empirical::<f64>("f64");
}

#[test]
fn empirical_kernels_are_those_of_the_library_in_single_precision() {
    empirical::<f32>("f32");
}

fn infinite<T: Real>(dtype: &str) {
    let folder = folder();
    let kernel = InfiniteKernel::new(&nn::parse_model(MODEL).unwrap()).unwrap();
    let (n1, n2, d, _) = SIZES;
    let (x1, y) = (x::<T>("x"), x::<T>("y"));
    for (two, x2, n2) in [("", None, n1), (" --x2 y.npy", Some(Mat::new(&y, n2, d)), n2)] {
        let kernels = kernel.evaluate(Mat::new(&x1, n1, d), x2);
        for (kind, values) in [("ntk", &kernels.ntk), ("nngp", &kernels.nngp)] {
            let written = folder.kernel(&format!("--model m.toml --x1 x.npy{two} --kind {kind} --dtype {dtype}"));
            assert_eq!(written, (vec![n1, n2], T::NAME, double(values)), "{kind}");
        }
    }
}

#[test]
fn infinite_kernels_are_those_of_the_library() {
    infinite::<f64>("f64");
    infinite::<f32>("f32");
}

/// Networks of PyTorch with the shapes of their kernels.
const GOLDEN: [(&str, [usize; 4]); 4] =
    [("mlp_relu", [5, 5, 3, 3]), ("mlp_tanh", [5, 5, 2, 2]), ("cnn_gap", [5, 5, 3, 3]), ("cnn_flatten", [5, 5, 2, 2])];

#[test]
fn a_network_of_pytorch_has_the_kernel_that_pytorch_computes() {
    let golden = |name: &str| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("nn/tests/golden").join(name);
    let folder = Folder::new();
    for (name, shape) in GOLDEN {
        for ending in ["toml", "safetensors", "x.npy", "ntk.npy"] {
            let file = format!("{name}.{ending}");
            std::fs::copy(golden(&file), folder.path(&file)).unwrap();
        }
        let wanted = npy::read(&golden(&format!("{name}.ntk.npy"))).unwrap().values.into_f64();
        let common = format!("--model {name}.toml --x1 {name}.x.npy --weights {name}.safetensors --kind empirical-ntk --outputs full");
        for (dtype, bound) in [("f64", 1e-11), ("f32", 1e-4)] {
            for (strategy, _) in STRATEGIES {
                let (found, _, values) = folder.kernel(&format!("{common} --dtype {dtype} --strategy {strategy}"));
                assert_eq!(found, shape);
                let error = distance(&values, &wanted);
                assert!(error <= bound, "{name} {dtype} {strategy}: {error:e}");
            }
        }
    }
}

/// A network of images, with the axes of its input in the place of `INPUT`.
const IMAGES: &str = r#"
INPUT
[[layers]]
type = "conv"
out = 3
filter = [3, 2]
padding = [1, 0]
[[layers]]
type = "layer_norm"
[[layers]]
type = "residual"
layers = [{ type = "sin", b = 0.7 }, { type = "conv", out = 3, filter = [3, 3], padding = "circular" }]
[[layers]]
type = "max_pool"
window = [2, 2]
stride = [1, 1]
[[layers]]
type = "rbf"
gamma = 0.4
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
out = 2
"#;

const CONV_RBF: &str = r#"[[layers]]
type = "conv"
out = 3
filter = [1, 2]
[[layers]]
type = "rbf""#;

#[test]
fn images_are_read_in_both_layouts_by_every_strategy() {
    let folder = Folder::new();
    let (n, [height, width, channels]) = (3, [4, 5, 2]);
    let images = inputs(n * height * width * channels);
    let place = |i: usize, p: usize, q: usize, c: usize| ((i * height + p) * width + q) * channels + c;
    let mut transposed = Vec::new();
    for i in 0..n {
        for c in 0..channels {
            for p in 0..height {
                transposed.extend((0..width).map(|q| images[place(i, p, q, c)]));
            }
        }
    }
    folder.npy("last.npy", &[n, height, width, channels], &images);
    folder.npy("first.npy", &[n, channels, height, width], &transposed);
    folder.text("last.toml", &IMAGES.replace("INPUT", "input = [4, 5, 2]"));
    folder.text("first.toml", &IMAGES.replace("INPUT", "input = [2, 4, 5]\nlayout = \"nchw\""));
    let network = nn::parse_model(&IMAGES.replace("INPUT", "input = [4, 5, 2]")).unwrap();
    let parameters = network.init::<f64>(5).unwrap();
    let wanted = empirical_ntk(&Finite { network: &network, parameters: &parameters }, &images, None, Outputs::Full, Strategy::Jacobian);
    let wanted = wanted.unwrap().values;
    for layout in ["last", "first"] {
        let common = format!("--model {layout}.toml --x1 {layout}.npy --seed 5 --outputs full");
        for (strategy, _) in STRATEGIES {
            let (shape, _, values) = folder.kernel(&format!("{common} --kind empirical-ntk --strategy {strategy}"));
            assert_eq!(shape, [n, n, 2, 2]);
            let error = distance(&values, &wanted);
            assert!(error <= 1e-12, "{layout} {strategy}: {error:e}");
        }
        assert_eq!(folder.kernel(&format!("{common} --kind empirical-nngp")).0, [n, n, 2, 2]);
        let kernel = format!("--model {layout}.toml --x1 {layout}.npy --kind ntk");
        folder.kernel_fails(&kernel, &["\"", "layers[3] (max_pool)", "use avg_pool or sum_pool"]);
        // Behind an average pool a convolution makes the image Gaussian again.
        let model = IMAGES.replace("max_pool", "avg_pool").replace("[[layers]]\ntype = \"rbf\"", CONV_RBF);
        let input = if layout == "last" { "input = [4, 5, 2]" } else { "input = [2, 4, 5]\nlayout = \"nchw\"" };
        folder.text("average.toml", &model.replace("INPUT", input));
        let (shape, _, values) = folder.kernel(&format!("--model average.toml --x1 {layout}.npy --kind ntk"));
        let network = nn::parse_model(&model.replace("INPUT", "input = [4, 5, 2]")).unwrap();
        let wanted = InfiniteKernel::new(&network).unwrap().ntk(Mat::new(&images, n, height * width * channels), None);
        assert_eq!((shape, values), (vec![n, n], wanted));
    }
    folder.kernel_fails(
        "--model first.toml --x1 last.npy --kind empirical-ntk --seed 5",
        &["[3, 4, 5, 2]", "[N, 2, 4, 5]", "\"first.toml\""],
    );
    folder.kernel_fails("--model last.toml --x1 x.npy --kind empirical-ntk --seed 5", &["[4, 3]", "[N, 4, 5, 2]", "\"last.toml\""]);
}

#[test]
fn threads_do_not_change_a_bit() {
    let folder = Folder::new();
    // More than one tile and more than one chunk of random numbers.
    folder.npy("x.npy", &[150, 3], &inputs(450));
    folder.text("m.toml", &MODEL.replace("out = 8", "out = 700"));
    for kind in ["ntk", "nngp", "empirical-ntk --seed 1 --outputs full", "empirical-nngp --seed 1", "empirical-ntk --seed 1 --dtype f32"] {
        let bytes = |threads: usize| {
            folder.kernel(&format!("--model m.toml --x1 x.npy --kind {kind} --threads {threads}"));
            std::fs::read(folder.path("k.npy")).unwrap()
        };
        let one = bytes(1);
        assert!(one == bytes(2) && one == bytes(7), "{kind}");
    }
    folder.npy("x.npy", &[12, 16, 16, 2], &inputs(12 * 16 * 16 * 2));
    folder.text("m.toml", &IMAGES.replace("INPUT", "input = [16, 16, 2]").replace("out = 3", "out = 24"));
    for strategy in ["jacobian", "products", "structured"] {
        let bytes = |threads: usize| {
            let kernel = "--model m.toml --x1 x.npy --kind empirical-ntk --seed 1 --outputs full";
            folder.kernel(&format!("{kernel} --strategy {strategy} --threads {threads}"));
            std::fs::read(folder.path("k.npy")).unwrap()
        };
        let one = bytes(1);
        assert!(one == bytes(2) && one == bytes(7), "{strategy}");
    }
}

#[test]
fn what_is_not_given_has_the_value_of_the_contract() {
    let folder = Folder::new();
    let common = "--model m.toml --x1 x.npy --seed 3 --kind empirical-ntk";
    let said = folder.kernel(&format!("{common} --outputs trace --strategy auto --dtype f64"));
    assert_eq!(folder.kernel(common), said);
    assert_eq!(said.1, "f64");
    assert_ne!(folder.kernel(&common.replace("--seed 3", "--seed 4")), said);
    // The precision of the result is that of --dtype, not that of the inputs.
    let single: Vec<f32> = inputs(12).into_iter().map(|v| v as f32).collect();
    folder.npy("x.npy", &[4, 3], &single);
    assert_eq!(folder.kernel(common).1, "f64");
}

#[test]
fn weights_that_were_saved_give_the_kernel_of_their_seed() {
    let folder = Folder::new();
    let network: Network = nn::parse_model(MODEL).unwrap();
    folder.bytes("w.safetensors", &network.save_weights(&network.init::<f64>(9).unwrap()));
    let common = "--model m.toml --x1 x.npy --kind empirical-ntk --outputs full";
    assert_eq!(folder.kernel(&format!("{common} --weights w.safetensors")), folder.kernel(&format!("{common} --seed 9")));
}

#[test]
fn a_bound_of_memory_streams_the_same_kernel_at_infinite_width() {
    let folder = folder();
    for kind in ["ntk", "nngp"] {
        for two in ["", " --x2 y.npy"] {
            let common = format!("--model m.toml --x1 x.npy{two} --kind {kind}");
            let whole = folder.kernel(&common);
            // Four blocks of one row, and of three rows.
            let row = 8 * whole.0[1];
            for rows in [1, 3] {
                assert_eq!(folder.kernel(&format!("{common} --memory {}", 4 * row * rows)), whole, "{kind}{two}, {rows} rows");
            }
            folder.kernel_fails(&format!("{common} --memory {row}"), &[&row.to_string(), &(4 * row).to_string(), "--memory"]);
        }
    }
    // What is found out on the way leaves no file.
    folder.npy("x.npy", &[4, 3], &[1e200; 12]);
    folder.kernel_fails("--model m.toml --x1 x.npy --kind ntk --memory 128", &["overflows f64"]);
}

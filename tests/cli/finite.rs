//! What `tangents kernel --kind empirical-ntk` has besides a whole kernel: plans, memory, parts, diagonals, estimates, eigenvalues, training.

use crate::run::{Folder, MODEL, distance, inputs};
use ntk::{Finite, Outputs, Request, Spectrum};
use serde_json::Value;
use simd::Mat;
use tangents::files::npy;

const KERNEL: &str = "--model m.toml --x1 x.npy --kind empirical-ntk --seed 5";

/// A kernel of the library for what the files of a [`Folder`] hold.
fn wanted(request: &Request) -> Vec<f64> {
    let network = nn::parse_model(MODEL).unwrap();
    let parameters = network.init::<f64>(5).unwrap();
    ntk::kernel(&Finite { network: &network, parameters: &parameters }, &inputs(12), None, request, |_, _| ()).unwrap().values
}

#[test]
fn a_dry_run_shows_the_plan_and_writes_nothing() {
    let folder = Folder::new();
    let before = folder.names();
    let text = folder.run(&format!("kernel {KERNEL} --outputs full --dry-run")).success();
    for part in ["0.weight", "2.bias", "gram", "GFLOP", "strategy structured of:", "working memory"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let plan: Value = serde_json::from_str(&folder.run(&format!("kernel {KERNEL} --outputs full --dry-run --json")).success()).unwrap();
    assert_eq!((&plan["strategy"], &plan["tile"]["examples"], &plan["tiles"]), (&"structured".into(), &4.into(), &1.into()));
    let parameters = plan["parameters"].as_array().unwrap();
    assert_eq!(parameters.iter().map(|p| p["name"].as_str().unwrap()).collect::<Vec<_>>(), ["0.weight", "0.bias", "2.weight", "2.bias"]);
    // Ten pairs of four examples: (3 + 4·8) and (8 + 4·2) multiply-adds each.
    assert_eq!(parameters[0]["gflop"].as_f64().unwrap(), 2.0 * 10.0 * 35.0 * 1e-9);
    assert_eq!(parameters[2]["gflop"].as_f64().unwrap(), 2.0 * 10.0 * 16.0 * 1e-9);
    assert_eq!(folder.names(), before);
    let summary: Value = serde_json::from_str(&folder.run(&format!("kernel {KERNEL} --json --quiet --out k.npy")).success()).unwrap();
    assert_eq!(summary["plan"]["strategy"], "structured");
}

#[test]
fn memory_is_a_bound_that_changes_no_bit() {
    let folder = Folder::new();
    let whole = folder.kernel(&format!("{KERNEL} --outputs full"));
    let plan: Value = serde_json::from_str(&folder.run(&format!("kernel {KERNEL} --outputs full --dry-run --json")).success()).unwrap();
    let least = plan["least_memory"].as_u64().unwrap();
    assert_eq!(folder.kernel(&format!("{KERNEL} --outputs full --memory {least}")), whole);
    assert_eq!(folder.kernel(&format!("{KERNEL} --outputs full --memory 0.5GiB")), whole);
    folder.kernel_fails(&format!("{KERNEL} --outputs full --memory 1KiB"), &["1024 bytes", &least.to_string(), "structured"]);
}

#[test]
fn layers_parameters_and_rates_choose_and_weigh() {
    let folder = Folder::new();
    let of = |rates: [f64; 4]| wanted(&Request { rates: Some(rates.to_vec()), ..Request::default() });
    for (arguments, rates) in [
        ("--layers 0", [1.0, 1.0, 0.0, 0.0]),
        ("--layers 0,2", [1.0; 4]),
        ("--parameters 0.bias,2.weight", [0.0, 1.0, 1.0, 0.0]),
        ("--rates 0=0.5,2.bias=3", [0.5, 0.5, 1.0, 3.0]),
        ("--rates 2=0.25 --layers 2", [0.0, 0.0, 0.25, 0.25]),
        ("--rates adam", [1.0; 4]),
    ] {
        assert_eq!(folder.kernel(&format!("{KERNEL} {arguments}")).2, of(rates), "{arguments}");
    }
    for (arguments, parts) in [
        ("--layers 1", ["--layers", "1", "0.weight, 0.bias, 2.weight, 2.bias"]),
        ("--parameters w", ["--parameters", "w", "0.weight"]),
        ("--rates 0", ["--rates", "NAME=RATE", "\"0\""]),
        ("--rates 0=-1", ["--rates", "at least 0", "\"0=-1\""]),
    ] {
        let message = folder.run(&format!("kernel {KERNEL} {arguments} --out k.npy")).misuse();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn diagonals_and_norms_are_those_of_the_kernel() {
    let folder = Folder::new();
    for (outputs, kept, shape) in
        [("full", Outputs::Full, vec![4, 2, 2]), ("trace", Outputs::Trace, vec![4]), ("diagonal", Outputs::Diagonal, vec![4, 2])]
    {
        let m = kept.entries(2);
        let all = wanted(&Request::of(kept));
        let diagonal: Vec<f64> = (0..4).flat_map(|i| all[(i * 4 + i) * m..][..m].to_vec()).collect();
        let (found, _, values) = folder.kernel(&format!("{KERNEL} --outputs {outputs} --diagonal-only"));
        assert_eq!(found, shape);
        assert!(distance(&values, &diagonal) < 1e-13);
        if kept == Outputs::Diagonal {
            let (shape, _, norms) = folder.kernel(&format!("{KERNEL} --gradient-norms"));
            assert_eq!(shape, [4, 2]);
            assert!(distance(&norms, &diagonal.iter().map(|d| d.sqrt()).collect::<Vec<_>>()) < 1e-13);
        }
    }
}

#[test]
fn estimates_come_with_errors_and_eigenvalues_without_the_kernel() {
    let folder = Folder::new();
    let exact = wanted(&Request::default());
    let summary = folder.run(&format!("kernel {KERNEL} --estimate 300 --standard-error e.npy --out k.npy --quiet --json")).success();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let (found, errors) = (folder.array("k.npy").2, folder.array("e.npy").2);
    assert!(found.iter().zip(&exact).zip(&errors).all(|((f, w), e)| (f - w).abs() < 6.0 * e));
    assert!(summary["relative_standard_error"].as_f64().unwrap() < 0.2 && summary["samples"] == 300);
    let spectrum = Spectrum::of(Mat::new(&exact, 4, 4)).unwrap();
    let (shape, _, top) = folder.kernel(&format!("{KERNEL} --top 2"));
    assert_eq!(shape, [2]);
    assert!(distance(&top, &spectrum.values()[..2]) < 1e-10);
}

#[test]
fn the_kernel_multiplies_vectors_without_being_there() {
    let folder = Folder::new();
    let v: Vec<f64> = (0..24).map(|i| (f64::from(i) * 0.7).sin()).collect();
    for (outputs, kept, columns) in [("trace", Outputs::Trace, vec![4]), ("full", Outputs::Full, vec![4, 2])] {
        let (n, m) = (columns.iter().product::<usize>(), kept.entries(2));
        let theta = wanted(&Request::of(kept));
        // The entry of the kernel for row and column, which are an example and one of its outputs.
        let o = n / 4;
        let at = |r: usize, c: usize| theta[((r / o) * 4 + c / o) * m + (r % o) * o + c % o];
        let product = |v: &[f64]| (0..n).map(|r| (0..n).map(|c| at(r, c) * v[c]).sum()).collect::<Vec<f64>>();
        folder.npy("one.npy", &columns, &v[..n]);
        folder.npy("three.npy", &[vec![3], columns.clone()].concat(), &v[..3 * n]);
        let (shape, _, one) = folder.kernel(&format!("{KERNEL} --outputs {outputs} --times one.npy"));
        assert_eq!(shape, columns);
        assert!(distance(&one, &product(&v[..n])) < 1e-12);
        let (shape, _, three) = folder.kernel(&format!("{KERNEL} --outputs {outputs} --times three.npy"));
        assert_eq!(shape, [vec![3], columns].concat());
        let wanted: Vec<f64> = v[..3 * n].chunks(n).flat_map(product).collect();
        assert!(distance(&three, &wanted) < 1e-12);
    }
    folder.kernel_fails(&format!("{KERNEL} --times three.npy"), &["three.npy", "[3, 4, 2]", "[4]", "[V, 4]"]);
}

#[test]
fn kernels_along_training_stand_one_behind_the_other() {
    let folder = Folder::new();
    let network = nn::parse_model(MODEL).unwrap();
    for seed in [6, 7] {
        folder.bytes(&format!("w{seed}.safetensors"), &network.save_weights(&network.init::<f64>(seed).unwrap()));
    }
    let text = folder.run(&format!("kernel {KERNEL} --along w6.safetensors,w7.safetensors --out k.npy --quiet --json")).success();
    let (shape, _, all) = folder.array("k.npy");
    assert_eq!(shape, [3, 4, 4]);
    for (k, seed) in [5, 6, 7].into_iter().enumerate() {
        assert_eq!(folder.kernel(&KERNEL.replace("--seed 5", &format!("--seed {seed}"))).2, all[k * 16..][..16]);
    }
    let summary: Value = serde_json::from_str(&text).unwrap();
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let difference: Vec<f64> = (0..16).map(|e| all[16 + e] - all[e]).collect();
    assert!((summary["distance"][1].as_f64().unwrap() - norm(&difference) / norm(&all[..16])).abs() < 1e-12);
    assert!(summary["distance"][0] == 0.0 && summary["alignment"][2].as_f64().unwrap() < 1.0);
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    let folder = Folder::new();
    npy::write(&folder.path("y.npy"), &[4, 3], &inputs(12)).unwrap();
    for (arguments, parts) in [
        ("--kind empirical-nngp --seed 1 --memory 1GiB", ["--memory", "empirical-ntk"]),
        ("--kind empirical-nngp --seed 1 --layers 0", ["--layers", "empirical-ntk"]),
        ("--kind empirical-ntk --seed 1 --x2 y.npy --top 1", ["--top", "--x2"]),
        ("--kind empirical-ntk --seed 1 --strategy jacobian --estimate 5", ["--estimate", "--strategy"]),
        ("--kind empirical-ntk --seed 1 --top 1 --diagonal-only", ["--top", "--diagonal-only"]),
        ("--kind empirical-ntk --seed 1 --top 1 --times v.npy", ["--top", "--times"]),
        ("--kind empirical-nngp --seed 1 --times v.npy", ["--times", "empirical-nngp"]),
        ("--kind empirical-ntk --seed 1 --top 1 --outputs diagonal", ["--top", "--outputs diagonal"]),
        ("--kind empirical-ntk --seed 1 --memory 12parsec", ["--memory", "512MiB"]),
        ("--kind empirical-ntk --seed 1 --estimate 1", ["--estimate", "1"]),
        ("--kind empirical-ntk --seed 1 --layers 0 --parameters 0.bias", ["--layers", "--parameters"]),
    ] {
        let message = folder.run(&format!("kernel --model m.toml --x1 x.npy --out k.npy {arguments}")).misuse();
        assert!(parts.iter().all(|part| message.contains(part)), "{arguments}: {message}");
    }
}

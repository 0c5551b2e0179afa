//! Ensembles and posteriors against reference values.

use ntk::{Blocks, Gaussian, Time, nngp_ensemble, ntk_ensemble, ntkgp_posterior};
use serde_json::Value;
use simd::Mat;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().flat_map(|row| if row.is_array() { numbers(row) } else { vec![row.as_f64().unwrap()] }).collect()
}

#[track_caller]
fn assert_close(what: &str, found: &Gaussian, wanted: &Value) {
    for (found, wanted) in [(&found.mean, numbers(&wanted["mean"])), (&found.covariance, numbers(&wanted["covariance"]))] {
        assert_eq!(found.len(), wanted.len(), "{what}");
        for (a, b) in found.iter().zip(&wanted) {
            assert!((a - b).abs() <= 1e-9, "{what}: {a}, the reference is {b}");
        }
    }
}

fn blocks([train, test_train, test]: &[Vec<f64>; 3], m: usize, n: usize) -> Blocks<'_> {
    Blocks { train: Mat::new(train, n, n), test_train: Mat::new(test_train, m, n), test: Mat::new(test, m, m) }
}

#[test]
fn ensembles_and_posteriors_agree_with_the_reference_values() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/predict.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let y = numbers(&golden["y_train"]);
    let (n, o) = (12, 2);
    let m = numbers(&golden["f0_test"]).len() / o;
    let block = |which: &str, kind: &str| numbers(&golden["kernels"][which][kind]);
    let [theta, k] = ["ntk", "nngp"].map(|kind| ["dd", "td", "tt"].map(|which| block(which, kind)));
    let (theta, k) = (blocks(&theta, m, n), blocks(&k, m, n));
    let y = Mat::new(&y, n, o);
    let (mut flows, mut posteriors) = (0, 0);
    for case in golden["cases"].as_array().unwrap() {
        let Some(ridge) = case["diag_reg"].as_f64() else { continue };
        if let Some(wanted) = case.get("gp_inference") {
            posteriors += 1;
            assert_close("nngp", &nngp_ensemble(k, ridge, Time::Infinite, y).unwrap(), &wanted["nngp"]);
            assert_close("ntk", &ntk_ensemble(theta, k, ridge, Time::Infinite, y).unwrap(), &wanted["ntk"]);
            assert_close("ntkgp", &ntkgp_posterior(theta, ridge, y).unwrap(), &wanted["ntkgp"]);
        } else {
            flows += 1;
            // Those times are of the mean over examples and outputs.
            let time = case["t"].as_f64().map_or(Time::Infinite, |t| Time::At(t / (n * o) as f64));
            let what = format!("ridge {ridge}, {time:?}");
            assert_close(&what, &ntk_ensemble(theta, k, ridge, time, y).unwrap(), &case["ensemble_ntk"]);
            assert_close(&what, &nngp_ensemble(k, ridge, time, y).unwrap(), &case["ensemble_nngp"]);
        }
    }
    assert_eq!((flows, posteriors), (10, 2));
}

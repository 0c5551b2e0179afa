//! Predictions, and the kernels behind them, against reference values; `golden/README.md` says where they come from.

use nn::Network;
use ntk::{Flow, InfiniteKernel, Time};
use serde_json::Value;
use simd::Mat;

const PREDICTIONS: &str = include_str!("golden/predict.json");

fn matrix(value: &Value) -> (usize, Vec<f64>) {
    let rows = value.as_array().expect("a list of rows");
    let values = rows.iter().flat_map(|row| row.as_array().expect("a row").iter().map(|x| x.as_f64().expect("a number"))).collect();
    (rows.len(), values)
}

fn assert_close(values: &[f64], want: &[f64], bound: f64, what: &str) {
    assert_eq!(values.len(), want.len(), "{what}");
    let largest = want.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
    for (i, (v, w)) in values.iter().zip(want).enumerate() {
        assert!((v - w).abs() <= bound * largest, "{what}: entry {i} is {v} and should be {w}");
    }
}

#[test]
fn predictions_of_the_flow() {
    let file: Value = serde_json::from_str(PREDICTIONS).expect("valid JSON");
    let kernels = &file["kernels"];
    let (n, k_dd) = matrix(&kernels["dd"]["ntk"]);
    let (m, k_td) = matrix(&kernels["td"]["ntk"]);
    let [(_, y), (_, f0), (_, f0_test)] = ["y_train", "f0_train", "f0_test"].map(|key| matrix(&file[key]));
    let o = y.len() / n;
    let (y, f0, f0_test) = (Mat::new(&y, n, o), Mat::new(&f0, n, o), Mat::new(&f0_test, m, o));
    let mut checked = 0;
    for case in file["cases"].as_array().expect("a list of cases") {
        // Plain gradient flow; posteriors, momentum and cross-entropy are other cases.
        if case.get("diag_reg").is_none() || case.get("mean_train").is_none() {
            continue;
        }
        let flow = Flow::new(Mat::new(&k_dd, n, n), case["diag_reg"].as_f64().unwrap_or(0.0)).unwrap();
        // The loss there is the mean over examples and outputs.
        let time = case["t"].as_f64().map_or(Time::Infinite, |t| Time::At(t / (n * o) as f64));
        let what = format!("t = {}, ridge {}", case["t"], case["diag_reg"]);
        assert_close(&flow.train(time, f0, y).unwrap(), &matrix(&case["mean_train"]).1, 1e-9, &what);
        assert_close(&flow.test(time, Mat::new(&k_td, m, n), f0, f0_test, y).unwrap(), &matrix(&case["mean_test"]).1, 1e-9, &what);
        checked += 1;
    }
    assert_eq!(checked, 10);
    let rate = file["cases"].as_array().and_then(|cases| cases.iter().find(|c| c["momentum"] == 0.0)).expect("a largest rate");
    let flow = Flow::new(Mat::new(&k_dd, n, n), 0.0).unwrap();
    let rate = rate["max_learning_rate"].as_f64().expect("a number");
    assert!((flow.largest_stable_rate() * (n * o) as f64 / rate - 1.0).abs() < 1e-9);
}

#[test]
fn the_kernels_behind_the_predictions_are_ours() {
    let file: Value = serde_json::from_str(PREDICTIONS).expect("valid JSON");
    let hidden = || nn::dense(9).std(1.5, 0.1);
    let network = Network::new([5], [hidden(), nn::relu(), hidden(), nn::relu(), hidden()]).unwrap();
    let kernel = InfiniteKernel::new(&network).unwrap();
    let ((n, x), (m, x_test)) = (matrix(&file["x_train"]), matrix(&file["x_test"]));
    let (x, x_test) = (Mat::new(&x, n, 5), Mat::new(&x_test, m, 5));
    for (name, kernels) in
        [("dd", kernel.evaluate(x, None)), ("td", kernel.evaluate(x_test, Some(x))), ("tt", kernel.evaluate(x_test, None))]
    {
        assert_close(&kernels.ntk, &matrix(&file["kernels"][name]["ntk"]).1, 1e-11, name);
        assert_close(&kernels.nngp, &matrix(&file["kernels"][name]["nngp"]).1, 1e-11, name);
    }
}

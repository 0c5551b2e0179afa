//! Kernels at infinite width and predictions against reference values; `golden/README.md` says where they come from.

use nn::{Network, Parameterization, parse_model};
use ntk::{Flow, InfiniteKernel, MatrixError, Real, Time};
use serde_json::Value;
use simd::Mat;

const KERNELS: &str = include_str!("golden/infinite_width.json");
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

/// The model of a case: it is a model file in JSON.
fn model(case: &Value) -> Network {
    let table: toml::Table = serde_json::from_value(case["model"].clone()).expect("the keys of a model file");
    parse_model(&table.to_string()).expect("a model")
}

fn check_kernels<T: Real>(bound: f64) {
    let file: Value = serde_json::from_str(KERNELS).expect("valid JSON");
    let cases = file["cases"].as_array().expect("a list of cases");
    assert_eq!(cases.len(), 7);
    for case in cases {
        let name = case["name"].as_str().expect("a name");
        let kernel = InfiniteKernel::new(&model(case)).unwrap();
        let read = |key: &str| {
            let (n, x) = matrix(&case[key]);
            (n, x.iter().map(|&x| <T as autodiff::Scalar>::of(x)).collect::<Vec<T>>())
        };
        let ((n1, x1), (n2, x2)) = (read("x1"), read("x2"));
        let d = x1.len() / n1;
        let (x1, x2) = (Mat::new(&x1, n1, d), Mat::new(&x2, n2, d));
        for (right, suffix) in [(None, "11"), (Some(x1), "11"), (Some(x2), "12")] {
            let kernels = kernel.evaluate(x1, right);
            for (kind, values) in [("nngp", &kernels.nngp), ("ntk", &kernels.ntk)] {
                let (_, want) = matrix(&case[format!("{kind}_{suffix}")]);
                let values: Vec<f64> = values.iter().map(|v| v.primal()).collect();
                assert_close(&values, &want, bound, &format!("{kind}_{suffix} of {name}"));
            }
        }
    }
}

#[test]
fn kernels_at_infinite_width_in_double_precision() {
    check_kernels::<f64>(1e-12);
}

#[test]
fn kernels_at_infinite_width_in_single_precision() {
    check_kernels::<f32>(1e-5);
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
    let network = Network::new([5], [hidden(), nn::relu(), hidden(), nn::relu(), hidden()]).unwrap().parameterized(Parameterization::Ntk);
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

#[test]
fn a_singular_kernel_predicts_at_any_finite_time_and_asks_for_a_ridge_at_infinity() {
    // The same example twice, with different targets: the flow ends at their mean.
    let k = [2.0, 2.0, 2.0, 2.0];
    let (f0, y) = (Mat::new(&[0.0, 0.0], 2, 1), Mat::new(&[1.0, 3.0], 2, 1));
    let flow = Flow::new(Mat::new(&k, 2, 2), 0.0).unwrap();
    for (t, want) in [(0.0, 0.0), (0.25, 2.0 * (1.0 - (-1.0_f64).exp())), (1e9, 2.0)] {
        let f = flow.test(Time::At(t), Mat::new(&[2.0, 2.0], 1, 2), f0, Mat::new(&[0.0], 1, 1), y).unwrap();
        assert!((f[0] - want).abs() < 1e-12, "t = {t}: {f:?}");
    }
    let error = flow.train(Time::Infinite, f0, y).unwrap_err();
    assert!(matches!(error, MatrixError::NotPositiveDefinite { .. }) && error.to_string().contains("ridge"), "{error}");
    let flow = Flow::new(Mat::new(&k, 2, 2), 1e-3).unwrap();
    assert!(flow.train(Time::Infinite, f0, y).is_ok());
}

//! Trainings of PyTorch: optimizers, weight decay, losses and schedules by its numbers. `golden/training.py` made them.

use nn::{Course, Decay, Loss, Network, Optimizer, Parameterization, Plan, Schedule, Trainer, dense, silu, tanh, train};
use serde_json::Value;
use std::ops::ControlFlow::Continue;

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Weights from `[out, in]` to `[in, out]`.
fn parameters(network: &Network, v: &Value) -> Vec<Vec<f64>> {
    let each = network.parameters().iter().zip(v.as_array().unwrap());
    each.map(|(p, v)| {
        let values = numbers(v);
        let (n_in, out) = (p.shape.len() / p.shape.cols(), p.shape.cols());
        (0..values.len()).map(|i| values[(i % out) * n_in + i / out]).collect()
    })
    .collect()
}

#[test]
fn trainings_are_those_of_pytorch() {
    let file: Value = serde_json::from_str(include_str!("golden/training.json")).unwrap();
    let network = Network::new([3], [dense(4), tanh(), dense(4), silu(), dense(2)]).unwrap();
    let network = network.parameterized(Parameterization::Standard);
    let (x, y, start) = (numbers(&file["x"]), numbers(&file["y"]), parameters(&network, &file["start"]));
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 20);
    for case in cases {
        let (optimizer, decay, rate) = match case["optimizer"].as_str().unwrap() {
            "sgd" => (Optimizer::SGD, Decay::NONE, 0.1),
            "sgd_momentum" => (Optimizer::Sgd { momentum: 0.9 }, Decay::NONE, 0.1),
            "sgd_momentum_decay" => (Optimizer::Sgd { momentum: 0.9 }, Decay::L2(0.05), 0.1),
            "adam" => (Optimizer::ADAM, Decay::NONE, 0.02),
            "adam_decay" => (Optimizer::Adam { beta1: 0.8, beta2: 0.95, eps: 1e-3 }, Decay::L2(0.05), 0.02),
            "adamw" => (Optimizer::ADAM, Decay::Decoupled(0.05), 0.02),
            other => panic!("{other}"),
        };
        let loss = if case["loss"] == "mse" { Loss::SquaredError } else { Loss::CrossEntropy };
        let course = match case["schedule"].as_str().unwrap() {
            "constant" => Course::Constant,
            "step" => Course::Step { every: 5, factor: 0.3 },
            "cosine" => Course::Cosine,
            other => panic!("{other}"),
        };
        let losses = numbers(&case["losses"]);
        let plan = Plan { rate, schedule: Schedule { warmup: 0, course }, steps: losses.len(), ..Plan::default() };
        let mut trainer = Trainer::new(&network, &start, loss).with_optimizer(optimizer).with_decay(decay);
        train(&mut trainer, &x, &y, &plan, |step, trainer| {
            if let Some(want) = losses.get(step) {
                let got = trainer.loss(&x, &y);
                assert!((got - want).abs() < 1e-12, "step {step} of {case}: {got} is not {want}");
            }
            Continue(())
        })
        .unwrap();
        for (p, (got, want)) in trainer.parameters().iter().zip(parameters(&network, &case["parameters"])).enumerate() {
            assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-12), "parameter {p} of {case}: {got:?} is not {want:?}");
        }
    }
}

//! What the width does to the first steps: exponents that theory gives.

use nn::{Optimizer, Parameterization};
use tangents::data::Dataset;
use tangents::experiments::{CoordinateCheck, CoordinateSettings, Problem, coordinate_check};
use tangents::progress::Progress;

const MUP: Parameterization = Parameterization::Mup { base_width: 64 };

fn check(parameterization: Parameterization, rate: f64, optimizer: Optimizer) -> CoordinateCheck {
    let problem = Problem::new(&Dataset::digits(), 40, 0, 0).unwrap();
    let settings = CoordinateSettings { widths: vec![64, 128, 256, 512, 1024, 2048], seeds: 2, steps: 5, rate, optimizer, examples: 40 };
    coordinate_check(&problem, parameterization, &settings, &Progress::hidden()).unwrap()
}

/// `[steps, layers]`, of dense, relu, dense, relu, dense.
fn slopes(check: &CoordinateCheck) -> Vec<Vec<f64>> {
    check.slopes.iter().map(|layers| layers.iter().map(|line| line.slope).collect()).collect()
}

/// By theory the movement of all layers has the exponent 0. The output has a share of its initial values in it, which shrink with the width.
#[test]
fn under_mup_no_layer_moves_more_or_less_with_the_width() {
    for (rate, optimizer) in [(0.002, Optimizer::SGD), (0.001, Optimizer::Sgd { momentum: 0.5 }), (3e-4, Optimizer::ADAM)] {
        for (step, slopes) in slopes(&check(MUP, rate, optimizer)).iter().enumerate() {
            for (layer, slope) in slopes.iter().enumerate() {
                assert!(slope.abs() < 0.15, "{optimizer:?}, step {}, layer {layer}: exponent {slope}", step + 1);
            }
        }
    }
}

/// By theory the first step moves the output like W and a layer between hidden features like W^½, until the outputs are so far off that all
/// layers follow them.
#[test]
fn in_the_standard_parameterization_a_constant_rate_moves_wide_networks_ever_more() {
    for slopes in slopes(&check(Parameterization::Standard, 0.002, Optimizer::SGD)) {
        assert!(slopes[2..4].iter().all(|&slope| slope > 0.2) && slopes[4] > 0.6, "{slopes:?}");
    }
    let last = slopes(&check(Parameterization::Standard, 0.005, Optimizer::SGD)).pop().unwrap();
    assert!(last.iter().all(|&slope| slope > 0.3), "{last:?}");
}

/// By theory hidden layers move like W^−½ and the output like 1: the kernel regime.
#[test]
fn in_the_ntk_parameterization_hidden_layers_move_less_with_the_width() {
    for slopes in slopes(&check(Parameterization::Ntk, 100.0, Optimizer::SGD)) {
        assert!(slopes[..4].iter().all(|slope| (slope + 0.5).abs() < 0.1), "{slopes:?}");
        assert!(slopes[4].abs() < 0.15, "{slopes:?}");
    }
}

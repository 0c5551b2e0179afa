//! The laws of derivatives on every operation and on random graphs.

use crate::catalog::Case;
use crate::graphs::{graph, has_kinks, values};
use autodiff::{Differentiable, Leaves, Linearized, Point, Taylor, Wrt, check_grads};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_graphs_obey_every_law(graph in graph(), seed in any::<u64>()) {
        let Some(at) = graph.point() else { return Err(TestCaseError::reject("a kink is near everywhere")) };
        if let Err(e) = check_grads(&graph, &at, seed) {
            return Err(TestCaseError::fail(e.to_string()));
        }
    }
}

#[test]
fn every_operation_obeys_every_law() {
    for case in Case::all() {
        for examples in [0, 1, 3] {
            for seed in 0..10 {
                let checked = check_grads(&case, &case.point(examples, seed), seed);
                assert!(checked.is_ok(), "{case:?}, {examples} examples, seed {seed}: {}", checked.unwrap_err());
            }
        }
    }
}

/// Tangents for all leaves.
fn directions(at: &Point, seed: u64) -> Leaves<f64> {
    let draw = |leaves: &[(autodiff::Shape, Vec<f64>)], seed: u64| (seed..).zip(leaves).map(|(s, (_, x))| values(x.len(), s)).collect();
    Leaves { inputs: draw(&at.inputs, seed), parameters: draw(&at.parameters, seed + 50) }
}

/// `a·s + b·t`.
fn combined(a: f64, s: &Leaves<f64>, b: f64, t: &Leaves<f64>) -> Leaves<f64> {
    let both =
        |s: &[Vec<f64>], t: &[Vec<f64>]| s.iter().zip(t).map(|(s, t)| s.iter().zip(t).map(|(s, t)| a * s + b * t).collect()).collect();
    Leaves { inputs: both(&s.inputs, &t.inputs), parameters: both(&s.parameters, &t.parameters) }
}

fn flat(leaves: &Leaves<f64>) -> Vec<f64> {
    leaves.inputs.iter().chain(&leaves.parameters).flatten().copied().collect()
}

/// `|found − want|` relative to 1 + the norm of what was added up.
fn assert_close(found: &[f64], want: &[f64], what: &str) {
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let difference: Vec<f64> = found.iter().zip(want).map(|(f, w)| f - w).collect();
    assert_eq!(found.len(), want.len(), "{what}");
    assert!(norm(&difference) <= 1e-13 * (1.0 + norm(want)), "{what}: {found:?} should be {want:?}");
}

/// `J(a·s + b·t) = a·J s + b·J t`, and the same of `Jᵀ`.
fn check_linearity(f: &impl Differentiable, at: &Point, seed: u64) {
    let (a, b) = (0.7, -1.3);
    let (s, t) = (directions(at, seed), directions(at, seed + 1000));
    let mut linear = Linearized::new(f, at);
    let sum = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| a * x + b * y).collect::<Vec<_>>();
    let both = linear.jvp(1, &combined(a, &s, b, &t)).to_vec();
    let first = linear.jvp(1, &s).to_vec();
    let apart = sum(&first, linear.jvp(1, &t));
    assert_close(&both, &apart, "tangents");
    let n = linear.value().len();
    let (c, d) = (values(n, seed + 7), values(n, seed + 8));
    let mut pulled = |c: &[f64]| {
        let gradient = linear.vjp(1, c, Wrt::BOTH);
        let inputs = (0..at.inputs.len()).map(|i| gradient.input(i).to_vec()).collect();
        flat(&Leaves { inputs, parameters: gradient.parameters().map(<[f64]>::to_vec).collect() })
    };
    let both = pulled(&sum(&c, &d));
    assert_close(&both, &sum(&pulled(&c), &pulled(&d)), "cotangents");
}

/// What is left without the Taylor model of an order shrinks by one order more, at some step: a wrong term of the model shows at all small steps,
/// while a right model may have the next two terms of its remainder cancel at one.
fn check_taylor(f: &impl Differentiable, at: &Point, seed: u64) {
    let d = directions(at, seed);
    let still = Leaves {
        inputs: d.inputs.iter().map(|v| vec![0.0; v.len()]).collect(),
        parameters: d.parameters.iter().map(|v| vec![0.0; v.len()]).collect(),
    };
    let mut model = Taylor::new(f, at);
    let n = Linearized::new(f, at).value().len();
    let c = values(n, seed + 9);
    let dot = |y: &[f64]| y.iter().zip(&c).map(|(y, c)| y * c).sum::<f64>();
    let mut remainder = |h: f64, order: usize| {
        let step = combined(h, &d, 0.0, &still);
        let mut there = at.clone();
        for ((_, x), d) in there.inputs.iter_mut().zip(&step.inputs).chain(there.parameters.iter_mut().zip(&step.parameters)) {
            x.iter_mut().zip(d).for_each(|(x, d)| *x += d);
        }
        let y = if order == 1 { model.first(1, &step) } else { model.second(1, &step) };
        (dot(Linearized::new(f, &there).value()) - dot(&y)).abs()
    };
    for (order, steps) in [(1, [4e-4, 1e-4, 3e-5]), (2, [1e-2, 4e-3, 1e-3])] {
        let found = steps.map(|h| (remainder(h, order), remainder(h / 2.0, order)));
        let right = |&(large, small): &(f64, f64)| large < 2e-13 * (1 + n) as f64 || (large / small).log2() >= order as f64 + 0.9;
        assert!(found.iter().any(right), "order {order}: remainders {found:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn derivatives_of_random_graphs_are_linear_and_leave_remainders_of_slopes_two_and_three(graph in graph(), seed in 0u64..1000) {
        let at = graph.point();
        prop_assume!(at.is_some());
        let at = at.unwrap_or_default();
        check_linearity(&graph, &at, seed);
        if !has_kinks(&graph, &at) {
            check_taylor(&graph, &at, seed);
        }
    }
}

#[test]
fn derivatives_of_every_operation_are_linear() {
    for case in Case::all() {
        for (examples, seed) in [(0, 0), (1, 1), (3, 2), (3, 3)] {
            check_linearity(&case, &case.point(examples, seed), seed);
        }
    }
}

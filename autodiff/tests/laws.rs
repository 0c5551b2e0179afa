//! The laws of derivatives on every operation and on random graphs.

use autodiff::{Differentiable, Phi, Point, Scalar, Shape, Tape, Var, check_grads};
use proptest::prelude::*;

/// One instruction of a random program over values of shape `[examples, width]`.
#[derive(Clone, Debug)]
enum Step {
    /// `a·X·W + b·β` with a weight, perhaps transposed, and perhaps a bias.
    Affine {
        x: usize,
        w: usize,
        transposed: bool,
        bias: bool,
    },
    Add(usize, usize),
    Sub(usize, usize),
    Scale(usize, f64),
    Map(Phi, usize),
    /// A product of two weights, used as a weight.
    Compose {
        x: usize,
        w: usize,
        v: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum End {
    Values,
    RowDot(usize),
    LogSumExp,
    HalfSquares,
}

#[derive(Clone, Debug)]
struct Program {
    examples: usize,
    width: usize,
    steps: Vec<Step>,
    end: End,
}

const WEIGHTS: usize = 3;

impl Differentiable for Program {
    fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], parameters: &[Var]) -> Var {
        let (weights, bias) = parameters.split_at(WEIGHTS);
        let mut values = vec![inputs[0]];
        let pick = |values: &[Var], i: usize| values[values.len() - 1 - i % values.len().min(4)];
        for step in &self.steps {
            let next = match *step {
                Step::Affine { x, w, transposed, bias: with } => {
                    let mut w = weights[w % WEIGHTS];
                    if transposed {
                        w = tape.transpose(w);
                    }
                    let x = pick(&values, x);
                    tape.affine(x, w, 0.7, with.then_some((bias[0], 0.3)))
                }
                Step::Add(x, y) => tape.add(pick(&values, x), pick(&values, y)),
                Step::Sub(x, y) => tape.sub(pick(&values, x), pick(&values, y)),
                Step::Scale(x, a) => tape.scale(pick(&values, x), a),
                // The tangent hyperbolic first keeps the exponential in bounds.
                Step::Map(Phi::Exp, x) => {
                    let y = tape.map(Phi::Tanh, pick(&values, x));
                    tape.map(Phi::Exp, y)
                }
                // And the exponential of that keeps the logarithm and the root where they are numbers.
                Step::Map(phi @ (Phi::Ln | Phi::Sqrt), x) => {
                    let y = tape.map(Phi::Tanh, pick(&values, x));
                    let y = tape.map(Phi::Exp, y);
                    tape.map(phi, y)
                }
                Step::Map(phi, x) => tape.map(phi, pick(&values, x)),
                Step::Compose { x, w, v } => {
                    let u = tape.transpose(weights[w % WEIGHTS]);
                    let u = tape.affine(u, weights[v % WEIGHTS], 0.5, None);
                    let u = tape.map(Phi::Tanh, u);
                    tape.affine(pick(&values, x), u, 0.9, None)
                }
            };
            values.push(next);
        }
        let last = pick(&values, 0);
        match self.end {
            End::Values => last,
            End::RowDot(y) => tape.row_dot(last, pick(&values, y)),
            End::LogSumExp => tape.log_sum_exp(last),
            End::HalfSquares => {
                let squares = tape.row_dot(last, last);
                tape.sum(squares, 0.5 / self.examples.max(1) as f64)
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let i = || 0usize..4;
    prop_oneof![
        (i(), i(), any::<bool>(), any::<bool>()).prop_map(|(x, w, transposed, bias)| Step::Affine { x, w, transposed, bias }),
        (i(), i()).prop_map(|(x, y)| Step::Add(x, y)),
        (i(), i()).prop_map(|(x, y)| Step::Sub(x, y)),
        (i(), -1.5..1.5f64).prop_map(|(x, a)| Step::Scale(x, a)),
        (prop::sample::select(Phi::ALL.to_vec()), i()).prop_map(|(phi, x)| Step::Map(phi, x)),
        (i(), i(), i()).prop_map(|(x, w, v)| Step::Compose { x, w, v }),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Values), (0usize..4).prop_map(End::RowDot), Just(End::LogSumExp), Just(End::HalfSquares)]
}

fn values(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn point(program: &Program, seed: u64) -> Point {
    let (n, c) = (program.examples, program.width);
    let weight = |k: u64| (Shape::from([c, c]), values(c * c, seed ^ (k << 32)));
    Point {
        inputs: vec![(Shape::from([n, c]), values(n * c, seed.wrapping_add(1)))],
        parameters: vec![weight(1), weight(2), weight(3), (Shape::from([c]), values(c, seed.wrapping_add(2)))],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_programs_obey_every_law(
        steps in prop::collection::vec(step(), 1..20),
        end in end(),
        examples in 0usize..4,
        width in 1usize..5,
        seed in any::<u64>(),
    ) {
        let program = Program { examples, width, steps, end };
        if let Err(e) = check_grads(&program, &point(&program, seed), seed) {
            return Err(TestCaseError::fail(e.to_string()));
        }
    }
}

fn check(steps: &[Step], end: End) {
    for examples in [0, 1, 3] {
        for width in [1, 4] {
            let program = Program { examples, width, steps: steps.to_vec(), end };
            for seed in 0..5 {
                let checked = check_grads(&program, &point(&program, seed), seed);
                assert!(checked.is_ok(), "{program:?}, seed {seed}: {}", checked.unwrap_err());
            }
        }
    }
}

#[test]
fn every_operation_obeys_every_law() {
    check(&[Step::Affine { x: 0, w: 0, transposed: false, bias: false }], End::Values);
    check(&[Step::Affine { x: 0, w: 0, transposed: false, bias: true }], End::Values);
    check(&[Step::Affine { x: 0, w: 0, transposed: true, bias: true }], End::Values);
    check(&[Step::Add(0, 0)], End::Values);
    check(&[Step::Scale(0, 2.5), Step::Sub(0, 1)], End::Values);
    for phi in Phi::ALL {
        check(&[Step::Map(phi, 0)], End::Values);
    }
    check(&[Step::Compose { x: 0, w: 0, v: 1 }], End::Values);
    check(&[Step::Compose { x: 0, w: 2, v: 2 }], End::Values);
    check(&[Step::Scale(0, 2.5)], End::RowDot(1));
    check(&[Step::Scale(0, 2.5)], End::RowDot(0));
    check(&[Step::Scale(0, 2.5)], End::LogSumExp);
    check(&[Step::Scale(0, 2.5)], End::HalfSquares);
}

#[test]
fn a_value_used_many_times_collects_all_its_cotangents() {
    let reuse = [
        Step::Affine { x: 0, w: 0, transposed: false, bias: false },
        Step::Map(Phi::Tanh, 0),
        Step::Affine { x: 0, w: 0, transposed: false, bias: true },
        Step::Add(0, 2),
        Step::Affine { x: 0, w: 0, transposed: true, bias: true },
        Step::Sub(0, 1),
    ];
    check(&reuse, End::Values);
    check(&reuse, End::RowDot(3));
}

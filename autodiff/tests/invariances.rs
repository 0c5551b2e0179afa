//! What must not change a derivative: scaling and adding directions, strides, what a buffer held before.

use autodiff::{Accumulate, Differentiable, Factors, Flow, Gradient, Leaf, Linear, Mat, PerExample, Phi, Point, Scalar, Scratch, Shape};
use autodiff::{Tape, Var, Wrt, check_grads};
use proptest::prelude::*;

/// A weight used straight, transposed and straight again, around residual sums, and an output of each kind.
#[derive(Clone, Copy, Debug)]
enum Output {
    Values,
    RowDot,
    LogSumExp,
}

const OUTPUTS: [Output; 3] = [Output::Values, Output::RowDot, Output::LogSumExp];
/// Columns of the input, and of the hidden layer.
const N_IN: usize = 5;
const HIDDEN: usize = 3;

impl Differentiable for Output {
    fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], parameters: &[Var]) -> Var {
        let ([x], [w, b]) = (inputs, parameters) else { panic!("one input and two parameters are needed") };
        let h = tape.affine(*x, *w, 0.7, Some((*b, 0.3)));
        let h = tape.map(Phi::Tanh, h);
        let back = tape.transpose(*w);
        let u = tape.affine(h, back, 0.6, None);
        let u = tape.add(u, *x);
        let (e, r) = (tape.map(Phi::Erf, u), tape.map(Phi::Relu, u));
        let r = tape.scale(r, 0.4);
        let s = tape.sub(e, r);
        let s = tape.affine(s, *w, 0.9, Some((*b, 1.1)));
        let s = tape.map(Phi::Exp, s);
        let y = tape.affine(s, back, 0.2, None);
        match self {
            Output::Values => y,
            Output::RowDot => tape.row_dot(y, u),
            Output::LogSumExp => tape.log_sum_exp(y),
        }
    }
}

fn values<T: Scalar>(len: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..len).map(|_| T::of(next())).collect()
}

/// The function at `x`, `[examples, N_IN]`, with the parameters of a fixed seed.
fn record<T: Scalar>(f: Output, x: &[T]) -> (Tape<T>, Var) {
    let mut tape = Tape::new();
    let w = tape.parameter([N_IN, HIDDEN], &values(N_IN * HIDDEN, 1));
    let b = tape.parameter([HIDDEN], &values(HIDDEN, 2));
    let x = tape.input([x.len() / N_IN, N_IN], x);
    let y = f.record(&mut tape, &[x], &[w, b]);
    (tape, y)
}

/// Tangents of input, weight and bias.
fn directions<T: Scalar>(examples: usize, seed: u64) -> [Vec<T>; 3] {
    [values(examples * N_IN, seed), values(N_IN * HIDDEN, seed + 100), values(HIDDEN, seed + 200)]
}

fn pushed<T: Scalar>(tape: &Tape<T>, y: Var, t: &[Vec<T>; 3]) -> Vec<T> {
    let tangent = |leaf: Leaf| match leaf {
        Leaf::Constant => None,
        Leaf::Input(_) => Some(&t[0][..]),
        Leaf::Parameter(i) => Some(&t[1 + i][..]),
    };
    tape.push(y, 1, tangent, &mut Flow::new()).unwrap().to_vec()
}

fn pulled<T: Scalar>(tape: &Tape<T>, y: Var, c: &[T]) -> [Vec<T>; 3] {
    let mut gradient = Gradient::new(Wrt::BOTH);
    tape.pull_once(y, c, &mut gradient).unwrap();
    [gradient.input(0).to_vec(), gradient.parameter(0).to_vec(), gradient.parameter(1).to_vec()]
}

fn combine<T: Scalar>(a: T, x: &[T], b: T, y: &[T]) -> Vec<T> {
    x.iter().zip(y).map(|(&x, &y)| a * x + b * y).collect()
}

fn assert_close(found: &[f64], want: &[f64], bound: f64) {
    let size = want.iter().fold(1.0_f64, |m, w| m.max(w.abs()));
    assert_eq!(found.len(), want.len());
    for (f, w) in found.iter().zip(want) {
        assert!((f - w).abs() <= bound * size, "{found:?} should be {want:?}");
    }
}

fn dot<T: Scalar>(x: &[T], y: &[T]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x.primal() * y.primal()).sum()
}

/// Every kind of map that holds a matrix.
fn maps(w: Mat<'_, f64>, a: f64, k: usize) -> [Linear<'_, f64>; 4] {
    [Linear::right(w, a, k), Linear::left(w, a, k), Linear::RowDot { w }, Linear::RowSpread { w }]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// `J(a·s + b·t) = a·J s + b·J t`, and the same of `Jᵀ`.
    #[test]
    fn derivatives_are_linear_in_tangent_and_in_cotangent(n in 1usize..20, a in -2.0..2.0f64, b in -2.0..2.0f64, seed in 0u64..1000) {
        for f in OUTPUTS {
            let (tape, y) = record::<f64>(f, &values(n * N_IN, seed));
            let (s, t) = (directions(n, seed + 1), directions(n, seed + 2));
            let both = [0, 1, 2].map(|i| combine(a, &s[i], b, &t[i]));
            let apart = combine(a, &pushed(&tape, y, &s), b, &pushed(&tape, y, &t));
            assert_close(&pushed(&tape, y, &both), &apart, 1e-14);

            let len = tape.value(y).len();
            let (c, d) = (values(len, seed + 3), values(len, seed + 4));
            let both = pulled(&tape, y, &combine(a, &c, b, &d));
            let (c, d) = (pulled(&tape, y, &c), pulled(&tape, y, &d));
            for i in 0..3 {
                assert_close(&both[i], &combine(a, &c[i], b, &d[i]), 1e-13);
            }
        }
    }

    /// `⟨c, J t⟩ = ⟨Jᵀ c, t⟩` in single precision, relative to `1 + |J t||c|`.
    #[test]
    fn modes_are_adjoint_in_single_precision(n in 1usize..20, seed in 0u64..1000) {
        for f in OUTPUTS {
            let (tape, y) = record::<f32>(f, &values(n * N_IN, seed));
            let t = directions(n, seed + 1);
            let c: Vec<f32> = values(tape.value(y).len(), seed + 3);
            let (jt, jc) = (pushed(&tape, y, &t), pulled(&tape, y, &c));
            let reverse: f64 = (0..3).map(|i| dot(&jc[i], &t[i])).sum();
            let error = (dot(&jt, &c) - reverse).abs() / (1.0 + (dot(&jt, &jt) * dot(&c, &c)).sqrt());
            prop_assert!(error <= 5e-6, "{f:?}: {error:e}");

            // And both modes are those of double precision, rounded.
            let (exact, y) = record::<f64>(f, &values(n * N_IN, seed));
            let double = pushed(&exact, y, &directions(n, seed + 1));
            assert_close(&jt.iter().map(|&v| f64::from(v)).collect::<Vec<_>>(), &double, 1e-5);
        }
    }

    /// A map made from a strided factor is the map made from the same factor laid out row by row, to the bit.
    #[test]
    fn strided_and_contiguous_factors_give_the_same_bits(m in 1usize..20, n in 1usize..20, k in 1usize..20, a in 0usize..3, seed in 0u64..1000) {
        let memory: Vec<f64> = values(m * n, seed);
        let strided = Mat::new(&memory, n, m).t();
        let laid_out: Vec<f64> = (0..m).flat_map(|i| (0..n).map(move |j| strided.at(i, j))).collect();
        let contiguous = Mat::new(&laid_out, m, n);
        let a = [1.0, -1.0, 0.7][a];
        let mut scratch = Scratch::new();
        for (one, two) in maps(strided, a, k).into_iter().zip(maps(contiguous, a, k)) {
            for to in [Accumulate::Set, Accumulate::Add] {
                for (one, two) in [(one, two), (one.transpose(), two.transpose())] {
                    let dx: Vec<f64> = values(2 * one.inputs(), seed + 1);
                    let start: Vec<f64> = values(2 * one.outputs(), seed + 2);
                    let (mut dy, mut dy2) = (start.clone(), start);
                    one.apply(2, &dx, to, &mut dy, &mut scratch);
                    two.apply(2, &dx, to, &mut dy2, &mut scratch);
                    prop_assert_eq!(&dy, &dy2, "{}", one.name());
                }
            }
        }
    }
}

#[test]
fn rectangular_weights_obey_every_law() {
    for f in OUTPUTS {
        for examples in [0, 1, 4] {
            for seed in 0..10 {
                let at = Point {
                    inputs: vec![(Shape::from([examples, N_IN]), values(examples * N_IN, seed))],
                    parameters: vec![
                        (Shape::from([N_IN, HIDDEN]), values(N_IN * HIDDEN, seed + 1)),
                        (Shape::from([HIDDEN]), values(HIDDEN, seed + 2)),
                    ],
                };
                let checked = check_grads(&f, &at, seed);
                assert!(checked.is_ok(), "{f:?}, {examples} examples, seed {seed}: {}", checked.unwrap_err());
            }
        }
    }
}

/// `f(θ + h t) − f − h⟨∇f, t⟩` shrinks like `h²`, and without `½h²⟨t, H t⟩` like `h³`: the Hessian is held against values, not only
/// against other derivatives.
#[test]
fn taylor_remainders_have_slopes_two_and_three() {
    use autodiff::Dual;
    let (x, c, t): (Vec<f64>, Vec<f64>, Vec<f64>) = (values(3 * N_IN, 5), values(3, 6), values(3 * N_IN, 7));
    for f in [Output::RowDot, Output::LogSumExp] {
        let value = |h: f64| {
            let (tape, y) = record(f, &combine(1.0, &x, h, &t));
            dot(tape.value(y), &c)
        };
        let lifted: Vec<Dual<f64>> = x.iter().zip(&t).map(|(&re, &eps)| Dual { re, eps }).collect();
        let (tape, y) = record(f, &lifted);
        let along = pulled(&tape, y, &c.iter().map(|&c| Dual::of(c)).collect::<Vec<_>>());
        let slope: f64 = along[0].iter().zip(&t).map(|(g, t)| g.re * t).sum();
        let curvature: f64 = along[0].iter().zip(&t).map(|(g, t)| g.eps * t).sum();
        let remainder = |h: f64, order: usize| {
            let second = if order == 3 { 0.5 * h * h * curvature } else { 0.0 };
            (value(h) - value(0.0) - h * slope - second).abs()
        };
        // Steps small enough that no unit of relu changes sign, and large enough for the remainder to stand above rounding.
        for (order, h, tolerance) in [(2, 1e-4, 0.05), (3, 1e-3, 0.1)] {
            let found = (remainder(h, order) / remainder(h / 2.0, order)).log2();
            assert!((found - order as f64).abs() <= tolerance, "{f:?}: slope {found} should be {order}");
        }
    }
}

/// Buffers that other pulls have used, of other sizes and other functions, give the bits of fresh ones.
#[test]
fn what_a_buffer_held_before_does_not_matter() {
    let (mut flow, mut gradient) = (Flow::new(), Gradient::new(Wrt::BOTH));
    let (mut rows, mut factors) = (PerExample::new(), Factors::new());
    for round in 0..3 {
        for (k, f) in OUTPUTS.into_iter().enumerate() {
            let n = [4, 1, 7][(round + k) % 3];
            let (tape, y) = record::<f64>(f, &values(n * N_IN, round as u64));
            let (lanes, len) = (1 + (round + k) % 2, tape.value(y).len());
            let seed: Vec<f64> = values(lanes * len, 9 + round as u64);
            tape.pull(y, lanes, &seed, &mut flow, &mut gradient).unwrap();
            tape.pull(y, lanes, &seed, &mut flow, &mut rows).unwrap();
            tape.pull(y, lanes, &seed, &mut flow, &mut factors).unwrap();
            let (mut fresh, mut fresh_rows, mut fresh_factors) = (Gradient::new(Wrt::BOTH), PerExample::new(), Factors::new());
            tape.pull(y, lanes, &seed, &mut Flow::new(), &mut fresh).unwrap();
            tape.pull(y, lanes, &seed, &mut Flow::new(), &mut fresh_rows).unwrap();
            tape.pull(y, lanes, &seed, &mut Flow::new(), &mut fresh_factors).unwrap();
            assert_eq!(gradient.input(0), fresh.input(0));
            for p in 0..2 {
                assert_eq!(gradient.parameter(p), fresh.parameter(p));
                assert_eq!(rows.parameter(p), fresh_rows.parameter(p));
            }
            assert_eq!(format!("{factors:?}"), format!("{fresh_factors:?}"));

            let t = directions::<f64>(n, 3);
            let again = tape.push(y, 1, |leaf| (leaf == Leaf::Parameter(1)).then_some(&t[2][..]), &mut flow).unwrap().to_vec();
            let once = tape.push(y, 1, |leaf| (leaf == Leaf::Parameter(1)).then_some(&t[2][..]), &mut Flow::new()).unwrap().to_vec();
            assert_eq!(again, once);
        }
    }
}

#[test]
fn the_gradient_of_what_the_output_does_not_use_is_zero_and_of_its_shape() {
    let (mut flow, mut gradient) = (Flow::new(), Gradient::new(Wrt::BOTH));
    let mut tape = Tape::new();
    let w = tape.parameter([2], &[1.0, 2.0]);
    let unused = tape.parameter([3], &[1.0, 2.0, 3.0]);
    let x = tape.input([2, 1], &[1.0, 2.0]);
    let (uses_all, uses_one) = (tape.sum(unused, 2.0), tape.sum(w, 3.0));
    let of_x = tape.sum(x, 5.0);
    let start = tape.add(uses_all, of_x);
    // The first pull leaves something behind, which the second must not show.
    tape.pull(start, 1, &[1.0], &mut flow, &mut gradient).unwrap();
    assert_eq!((gradient.parameter(0), gradient.parameter(1), gradient.input(0)), (&[0.0; 2][..], &[2.0; 3][..], &[5.0; 2][..]));
    tape.pull(uses_one, 1, &[1.0], &mut flow, &mut gradient).unwrap();
    assert_eq!((gradient.parameter(0), gradient.parameter(1), gradient.input(0)), (&[3.0; 2][..], &[0.0; 3][..], &[0.0; 2][..]));
}

#[test]
fn a_tangent_that_reaches_one_branch_does_not_leak_into_the_other() {
    let mut tape = Tape::new();
    let (v, w) = (tape.parameter([2], &[1.0, 2.0]), tape.parameter([2], &[3.0, 4.0]));
    let (a, b) = (tape.scale(v, 2.0), tape.scale(w, 5.0));
    let y = tape.add(a, b);
    let (t, mut flow) = ([1.0, -1.0], Flow::new());
    for (leaf, want) in [(0, [2.0, -2.0]), (1, [5.0, -5.0]), (0, [2.0, -2.0])] {
        let dy = tape.push(y, 1, |l| (l == Leaf::Parameter(leaf)).then_some(&t[..]), &mut flow);
        assert_eq!(dy, Some(&want[..]));
    }
}

/// Ten thousand steps on a rewound tape: the same bits, and nothing that the tape or the buffers hold has grown.
#[test]
fn ten_thousand_steps_of_a_rewound_tape_leave_no_trace() {
    let mut tape = Tape::new();
    let w = tape.parameter([N_IN, HIDDEN], &values(N_IN * HIDDEN, 1));
    let b = tape.parameter([HIDDEN], &values(HIDDEN, 2));
    let x: Vec<f64> = values(2 * N_IN, 3);
    let (mark, mut flow, mut gradient) = (tape.mark(), Flow::new(), Gradient::new(Wrt::BOTH));
    let mut first: Option<(Vec<f64>, String)> = None;
    for step in 0..10_000 {
        tape.rewind(mark);
        let x = tape.input([2, N_IN], &x);
        let y = Output::LogSumExp.record(&mut tape, &[x], &[w, b]);
        tape.pull(y, 1, &[1.0, -2.0], &mut flow, &mut gradient).unwrap();
        if step % 3333 != 0 {
            continue;
        }
        // Printed whole, memory that is kept for later use included.
        let (found, held) = (gradient.parameter(0).to_vec(), format!("{tape:?} {flow:?} {gradient:?}"));
        let (bits, start) = first.get_or_insert_with(|| (found.clone(), held.clone()));
        assert_eq!((&found, held.len()), (&*bits, start.len()), "step {step}");
    }
}

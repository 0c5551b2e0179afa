//! Every operation computes its formula, and every operator of dual numbers its derivative, against plain loops and known numbers.
//!
//! The laws of derivatives cannot see an error that value and derivative share; these tests can.

use autodiff::{
    Contribution, Dual, Elementwise, Factors, Flow, Gradient, Leaf, Linear, Mat, PerExample, Phi, Planes, Refusal, Scalar, Scratch, Sink,
    Tape, Use, Wrt,
};
use std::f64::consts::LN_2;

const X: [f64; 6] = [0.3, -0.5, 0.9, 0.2, -1.1, 0.4];
const Y: [f64; 6] = [-0.7, 0.8, 0.1, 1.3, 0.6, -0.2];

fn assert_close(found: &[f64], want: &[f64], what: &str) {
    assert_eq!(found.len(), want.len(), "{what}");
    for (f, w) in found.iter().zip(want) {
        assert!((f - w).abs() <= 1e-15 * (1.0 + w.abs()), "{what}: {found:?} should be {want:?}");
    }
}

#[test]
fn every_operation_computes_its_formula() {
    let mut tape = Tape::new();
    let x = tape.input([3, 2], &X);
    let y = tape.input([3, 2], &Y);
    let w = tape.parameter([2, 3], &Y);
    let b = tape.parameter([3], &[0.5, -0.25, 2.0]);

    let product = |scale: f64, bias: f64| -> Vec<f64> {
        let beta = [0.5, -0.25, 2.0];
        let entry = |i: usize, j: usize| scale * (X[2 * i] * Y[j] + X[2 * i + 1] * Y[3 + j]) + bias * beta[j];
        (0..9).map(|e| entry(e / 3, e % 3)).collect()
    };
    for scale in [1.0, 0.7] {
        let z = tape.affine(x, w, scale, None);
        assert_close(tape.value(z), &product(scale, 0.0), "affine");
        let z = tape.affine(x, w, scale, Some((b, 0.3)));
        assert_close(tape.value(z), &product(scale, 0.3), "affine with a bias");
    }
    let t = tape.transpose(w);
    assert_eq!(tape.value(t), [Y[0], Y[3], Y[1], Y[4], Y[2], Y[5]]);
    assert_eq!(tape.shape(t).dims(), [3, 2]);

    let both = |f: fn(f64, f64) -> f64| -> Vec<f64> { X.iter().zip(Y).map(|(&x, y)| f(x, y)).collect() };
    let z = tape.add(x, y);
    assert_close(tape.value(z), &both(|x, y| x + y), "add");
    let z = tape.sub(x, y);
    assert_close(tape.value(z), &both(|x, y| x - y), "sub");
    let z = tape.scale(x, -2.5);
    assert_close(tape.value(z), &both(|x, _| -2.5 * x), "scale");
    let z = tape.sum(x, 0.5);
    assert_close(tape.value(z), &[0.5 * X.iter().sum::<f64>()], "sum");
    let z = tape.row_dot(x, y);
    assert_close(tape.value(z), &[0, 2, 4].map(|i| X[i] * Y[i] + X[i + 1] * Y[i + 1]), "row_dot");
    let z = tape.log_sum_exp(x);
    assert_close(tape.value(z), &[0, 2, 4].map(|i| (X[i].exp() + X[i + 1].exp()).ln()), "log_sum_exp");
}

#[test]
fn every_function_has_its_value_and_slope_at_known_points() {
    // erf(½) and e from tables (Abramowitz and Stegun 1964, table 7.1), tanh(½) = (e − 1)/(e + 1).
    let e = std::f64::consts::E;
    let erf = 0.520_499_877_813_046_5;
    // σ(½) = √e/(1 + √e); sin ½ and cos ½ (Abramowitz and Stegun 1964, table 4.6).
    let s = e.sqrt() / (1.0 + e.sqrt());
    let (sin, cos) = (0.479_425_538_604_203, 0.877_582_561_890_372_7);
    let known = |phi: Phi| match phi {
        Phi::Relu => [(0.5, 1.0), (0.0, 0.0), (0.0, 0.0)],
        Phi::Erf => {
            let slope = std::f64::consts::FRAC_2_SQRT_PI;
            [(erf, slope * (-0.25_f64).exp()), (0.0, slope), (-erf, slope * (-0.25_f64).exp())]
        }
        Phi::Tanh => {
            let t = (e - 1.0) / (e + 1.0);
            [(t, 1.0 - t * t), (0.0, 1.0), (-t, 1.0 - t * t)]
        }
        Phi::Exp => [(e.sqrt(), e.sqrt()), (1.0, 1.0), (1.0 / e.sqrt(), 1.0 / e.sqrt())],
        // At ½, 1 and 2.
        Phi::Ln => [(-LN_2, 2.0), (0.0, 1.0), (LN_2, 0.5)],
        Phi::Sigmoid => [(s, s * (1.0 - s)), (0.5, 0.25), (1.0 - s, s * (1.0 - s))],
        Phi::Softplus => {
            // ln(1 + eˣ) = x − ln σ(x), and its odd part is x/2.
            let y = 0.5 - s.ln();
            [(y, s), (LN_2, 0.5), (y - 0.5, 1.0 - s)]
        }
        Phi::Gelu => {
            // Φ(½) from tables (Abramowitz and Stegun 1964, table 26.1), and the density there.
            let (normal, density) = (0.691_462_461_274_013_1, 0.352_065_326_764_299_5);
            let slope = |x: f64, normal: f64| normal + x * density;
            [(0.5 * normal, slope(0.5, normal)), (0.0, 0.5), (-0.5 * (1.0 - normal), slope(-0.5, 1.0 - normal))]
        }
        Phi::Silu => [(0.5 * s, s * (1.5 - 0.5 * s)), (0.0, 0.5), (-0.5 * (1.0 - s), (1.0 - s) * (1.0 - 0.5 * s))],
        Phi::Sin => [(sin, cos), (0.0, 1.0), (-sin, cos)],
        Phi::Cos => [(cos, -sin), (1.0, 0.0), (cos, sin)],
        Phi::Abs => [(0.5, 1.0), (0.0, 0.0), (0.5, -1.0)],
        Phi::LeakyRelu(alpha) => [(0.5, 1.0), (0.0, alpha), (-0.5 * alpha, alpha)],
        // At ¼, 1 and 4.
        Phi::Sqrt => [(0.5, 1.0), (1.0, 0.5), (2.0, 0.25)],
    };
    for phi in Phi::ALL {
        let mut tape = Tape::new();
        let points = match phi {
            Phi::Ln => [0.5, 1.0, 2.0],
            Phi::Sqrt => [0.25, 1.0, 4.0],
            _ => [0.5, 0.0, -0.5],
        };
        let x = tape.input([3], &points);
        let y = tape.map(phi, x);
        assert_close(tape.value(y), &known(phi).map(|(value, _)| value), phi.name());
        let mut gradient = Gradient::new(Wrt::INPUTS);
        tape.pull_once(y, &[1.0; 3], &mut gradient).unwrap();
        assert_close(gradient.input(0), &known(phi).map(|(_, slope)| slope), phi.name());
        // The kinks included: a dual has the slope that the tape has.
        for (x, (value, slope)) in points.into_iter().zip(known(phi)) {
            let y = <Dual<f64> as Scalar>::phi(phi, Dual { re: x, eps: 1.0 });
            assert_close(&[y.re, y.eps], &[value, slope], phi.name());
        }
    }
}

#[test]
fn arithmetic_of_duals_obeys_the_rules_of_differentiation() {
    let (x, y) = (Dual { re: 1.5, eps: 0.25 }, Dual { re: -0.5, eps: 2.0 });
    let mut sum = x;
    sum += y;
    for (found, re, eps, what) in [
        (x + y, 1.0, 2.25, "sum"),
        (sum, 1.0, 2.25, "sum in place"),
        (x - y, 2.0, -1.75, "difference"),
        (x * y, -0.75, 1.5 * 2.0 - 0.5 * 0.25, "product"),
        // (x' y − x y')/y² = (−0.125 − 3)/0.25
        (x / y, -3.0, -12.5, "quotient"),
        (-x, -1.5, -0.25, "negative"),
        (x.ln(), 1.5_f64.ln(), 0.25 / 1.5, "logarithm"),
        (Dual::of(3.0), 3.0, 0.0, "constant"),
    ] {
        assert_close(&[found.re, found.eps], &[re, eps], what);
    }
    assert_eq!(x.primal(), 1.5);
}

#[test]
fn products_and_slopes_of_duals_add_to_what_is_there() {
    use autodiff::Accumulate;
    let dual = |re: f64, eps: f64| Dual { re, eps };
    // x ↦ x·W + x·W on one example: W is pulled twice, and the second time is added.
    let mut tape = Tape::new();
    let w = tape.parameter([1, 1], &[dual(2.0, 1.0)]);
    let x = tape.input([1, 1], &[dual(3.0, 0.5)]);
    let z = tape.affine(x, w, 1.0, None);
    let z = tape.affine(z, w, 1.0, None);
    let mut gradient = Gradient::new(Wrt::BOTH);
    tape.pull_once(z, &[Dual::of(1.0)], &mut gradient).unwrap();
    // f = x w²: ∂f/∂w = 2 x w = 12, along (x', w') = (½, 1): 2 (x' w + x w') = 8; ∂f/∂x = w² = 4, along w' = 1: 2 w = 4.
    assert_eq!(gradient.parameter(0), [dual(12.0, 8.0)]);
    assert_eq!(gradient.input(0), [dual(4.0, 4.0)]);
    let mut dy = [dual(10.0, 20.0)];
    let (x, y, dx) = ([dual(0.0, 0.0)], [dual(1.0, 0.0)], [dual(3.0, 4.0)]);
    Dual::slope(Phi::Exp, &x, &y, &dx, Accumulate::Add, &mut dy, &mut Planes::default());
    assert_eq!(dy, [dual(13.0, 24.0)]);
}

#[test]
fn log_sum_exp_of_duals_survives_extreme_logits() {
    let logits = [1000.0, -1000.0, -1000.0, -1000.0, 1000.0, 1000.0];
    let x: Vec<Dual<f64>> = logits.iter().enumerate().map(|(i, &re)| Dual { re, eps: i as f64 }).collect();
    let mut tape = Tape::new();
    let x = tape.input([3, 2], &x);
    let l = tape.log_sum_exp(x);
    let ln2 = std::f64::consts::LN_2;
    let want = [Dual { re: 1000.0, eps: 0.0 }, Dual { re: -1000.0 + ln2, eps: 2.5 }, Dual { re: 1000.0 + ln2, eps: 4.5 }];
    assert_eq!(tape.value(l), want);
    let mut gradient = Gradient::new(Wrt::INPUTS);
    tape.pull_once(l, &[Dual::of(1.0); 3], &mut gradient).unwrap();
    let found = gradient.input(0);
    assert_eq!([0, 1, 2, 3, 4, 5].map(|i| found[i].re), [1.0, 0.0, 0.5, 0.5, 0.5, 0.5]);
    // d p_0 = p_0 p_1 (x'_0 − x'_1) = −¼ where the logits are equal.
    assert_eq!([0, 1, 2, 3, 4, 5].map(|i| found[i].eps), [0.0, 0.0, -0.25, 0.25, -0.25, 0.25]);
}

#[test]
fn log_sum_exp_of_a_row_of_minus_infinity_is_minus_infinity_for_duals_too() {
    let none = f64::NEG_INFINITY;
    let mut real = Tape::new();
    let x = real.input([1, 2], &[none, none]);
    let l = real.log_sum_exp(x);
    let mut dual = Tape::new();
    let x = dual.input([1, 2], &[Dual::of(none), Dual::of(none)]);
    let d = dual.log_sum_exp(x);
    assert_eq!((real.value(l)[0], dual.value(d)[0].re), (none, none));
}

#[test]
fn a_value_that_mixes_examples_stays_mixed() {
    let mut tape = Tape::new();
    let x = tape.input([3, 2], &X);
    let loss = tape.sum(x, 0.5);
    let scaled = tape.scale(loss, 2.0);
    let error = tape.pull_once(scaled, &[1.0], &mut PerExample::new()).unwrap_err();
    assert_eq!(error, Refusal::MixesExamples { op: "sum" });
}

#[test]
fn what_depends_on_a_leaf_is_found_through_either_input() {
    let mut tape = Tape::new();
    let w = tape.parameter([2, 2], &X[..4]);
    let x = tape.input([3, 2], &X);
    let target = tape.target([3, 2], &Y);
    let z = tape.affine(x, w, 1.0, None);
    let (left, right) = (tape.sub(z, target), tape.sub(target, z));
    let mut gradient = Gradient::new(Wrt::BOTH);
    for (residual, sign) in [(left, 1.0), (right, -1.0)] {
        tape.pull_once(residual, &[1.0; 6], &mut gradient).unwrap();
        // ∂/∂W of Σ x·W is the sum of the rows of x, in every column; ∂/∂x the sum of the columns of W.
        let (first, second) = (X[0] + X[2] + X[4], X[1] + X[3] + X[5]);
        assert_close(gradient.parameter(0), &[first, first, second, second].map(|v| sign * v), "parameter");
        assert_close(&gradient.input(0)[..2], &[X[0] + X[1], X[2] + X[3]].map(|v| sign * v), "input");
    }
}

#[test]
fn strided_features_are_kept_in_the_order_of_their_rows() {
    // The features are the transpose of what lies in memory.
    let x = Mat::new(&X, 2, 3).t();
    let g = [1.0, 2.0, 3.0];
    let mut tape = Tape::new();
    tape.parameter([2, 1], &[0.0, 0.0]);
    let mut factors = Factors::new();
    factors.start(&tape, 1, Some(3));
    let edge = Linear::left(x, 0.5, 1);
    factors.take(Contribution { leaf: Leaf::Parameter(0), edge, lanes: 1, examples: Some(3), g: &g }, &mut Scratch::new());
    let [Use::Outer { x, n_in: 2, n_out: 1, scale: 0.5, .. }] = &factors.uses()[0][..] else { panic!("{:?}", factors.uses()) };
    assert_eq!(x[..], [X[0], X[3], X[1], X[4], X[2], X[5]]);
}

#[test]
fn a_transposed_weight_is_written_out_for_each_example() {
    let mut tape = Tape::new();
    let w = tape.parameter([2, 3], &X);
    let back = tape.transpose(w);
    let x = tape.input([2, 3], &Y);
    let z = tape.affine(x, back, 0.5, None);
    let seed = [1.0, 2.0, 3.0, 4.0];
    let mut factors = Factors::new();
    // Twice: what an earlier pull left is forgotten.
    for _ in 0..2 {
        tape.pull(z, 1, &seed, &mut Flow::new(), &mut factors).unwrap();
    }
    let [Use::Rows(rows)] = &factors.uses()[0][..] else { panic!("{:?}", factors.uses()) };
    // ∂f/∂W[c, k] = ½ g_c x_k for z = ½ x·Wᵀ.
    let want: Vec<f64> = (0..12).map(|e| 0.5 * seed[e / 3] * Y[e / 6 * 3 + e % 3]).collect();
    assert_close(rows, &want, "rows");
}

#[test]
fn rewinding_forgets_parameters_that_came_after_the_mark() {
    let mut tape = Tape::new();
    tape.parameter([2], &X[..2]);
    let mark = tape.mark();
    tape.parameter([3], &X[..3]);
    assert_eq!(tape.parameters().len(), 2);
    tape.rewind(mark);
    assert_eq!(tape.parameters().len(), 1);
}

#[test]
fn a_convolution_is_the_affine_map_of_its_patches() {
    use autodiff::Windows;
    let images: Vec<f64> = (0..2 * 5 * 4 * 3).map(|i| f64::from(i).sin()).collect();
    let filters: Vec<f64> = (0..2 * 3 * 3 * 2).map(|i| f64::from(i).cos()).collect();
    let (image, filter) = ([5, 4], [2, 3]);
    for windows in [
        Windows::same(image, 3, filter, [2, 1]),
        Windows::valid(image, 3, filter, [1, 2]),
        Windows::circular(image, 3, filter, [1, 1]),
        Windows::same(image, 3, filter, [3, 3]),
    ] {
        for scale in [1.0, 0.7] {
            let mut tape = Tape::new();
            let x = tape.input([2, 5, 4, 3], &images);
            let w = tape.parameter([18, 2], &filters);
            let b = tape.parameter([2], &[0.5, -0.25]);
            let direct = tape.conv(x, w, windows, scale, Some((b, 0.3)));
            let seen = tape.patches(x, windows);
            let through = tape.affine(seen, w, scale, Some((b, 0.3)));
            assert_eq!(tape.shape(direct), tape.shape(through));
            assert_close_to(tape.value(direct), tape.value(through), 1e-14);
            // Both derivatives, two lanes at once, and those of each example.
            let seed: Vec<f64> = (0..2 * tape.value(direct).len()).map(|i| (i as f64 * 0.7).sin()).collect();
            let pull = |y| {
                let (mut gradient, mut rows, mut factors) = (Gradient::new(Wrt::BOTH), PerExample::new(), Factors::new());
                tape.pull(y, 2, &seed, &mut Flow::new(), &mut gradient).unwrap();
                tape.pull(y, 2, &seed, &mut Flow::new(), &mut rows).unwrap();
                tape.pull(y, 2, &seed, &mut Flow::new(), &mut factors).unwrap();
                let leaves =
                    [gradient.input(0), gradient.parameter(0), gradient.parameter(1), rows.parameter(0), rows.parameter(1)].concat();
                let Use::Outer { x, g, .. } = &factors.uses()[0][0] else { panic!("{:?}", factors.uses()[0]) };
                [leaves, x.clone(), g.clone()].concat()
            };
            assert_close_to(&pull(direct), &pull(through), 1e-13);
        }
    }
}

/// `tanh` and its first three derivatives.
fn tanh_derivatives(x: f64) -> [f64; 4] {
    let t = x.tanh();
    let slope = 1.0 - t * t;
    [t, slope, -2.0 * t * slope, slope * (6.0 * t * t - 2.0)]
}

#[test]
fn a_function_of_the_programs_has_its_derivatives_to_the_stated_errors() {
    let own = Elementwise::new("my tanh", f64::tanh);
    let given = own.with_slope(|x| 1.0 - x.tanh() * x.tanh());
    // |f⁽⁹⁾| is 8e3 and |f⁽¹⁰⁾| 4e4 at most, of which 6e-18 is left; and each further derivative has a hundred times the rounding.
    for (f, bounds) in [(own, [0.0, 1e-13, 1e-11, 1e-9]), (given, [0.0, 0.0, 5e-13, 2e-11])] {
        for x in (-400..=400).map(|i| f64::from(i) * 0.05).chain([1e3, -1e8, 1e15, 1e300]) {
            for ((order, want), bound) in tanh_derivatives(x).into_iter().enumerate().zip(bounds) {
                let found = f.derivative(order, x);
                assert!((found - want).abs() <= bound, "{f:?}, order {order} at {x}: {found:e}, and not {want:e}");
            }
        }
    }
    // At large arguments the points of a difference are rounded, which the true distances make good for a straight line.
    let line = Elementwise::new("3x + 1", |x| 3.0 * x + 1.0);
    for x in [0.3, 1234.567, 1.0e7 / 3.0] {
        assert!((line.slope(x) - 3.0).abs() <= 1e-13 * f64::max(1.0, x), "{x}: {}", line.slope(x) - 3.0);
    }
}

#[test]
fn a_function_of_the_programs_is_its_map_on_every_scalar() {
    fn check<T: Scalar>(x: &[T], tangents: impl Fn(T) -> [f64; 2], bound: f64) {
        let own = Elementwise::new("my tanh", f64::tanh).with_slope(|x| 1.0 - x.tanh() * x.tanh());
        let mut tape = Tape::new();
        let v = tape.input([x.len()], x);
        let [found, want] = [tape.apply(own, v), tape.map(Phi::Tanh, v)].map(|y| {
            let (mut gradient, ones) = (Gradient::new(Wrt::INPUTS), vec![T::ONE; x.len()]);
            tape.pull(y, 1, &ones, &mut Flow::new(), &mut gradient).unwrap();
            tape.value(y).iter().chain(gradient.input(0)).flat_map(|&y| tangents(y)).collect::<Vec<f64>>()
        });
        assert_close_to(&found, &want, bound);
    }
    // More than one piece, so that several threads share them.
    let x: Vec<f64> = (0..20_000).map(|i| f64::from(i % 977) * 0.01 - 4.0).collect();
    check(&x, |y| [y, 0.0], 1e-15);
    check(&x.iter().map(|&x| x as f32).collect::<Vec<_>>(), |y| [f64::from(y), 0.0], 2e-7);
    // The derivative of the slope is by differences.
    check(&x.iter().map(|&re| Dual { re, eps: 0.3 }).collect::<Vec<_>>(), |y| [y.re, y.eps], 1e-13);
}

fn assert_close_to(found: &[f64], want: &[f64], bound: f64) {
    assert_eq!(found.len(), want.len());
    for (f, w) in found.iter().zip(want) {
        assert!((f - w).abs() <= bound * (1.0 + w.abs()), "{found:?} should be {want:?}");
    }
}

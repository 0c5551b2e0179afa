//! What the tape promises besides the laws of derivatives.

use autodiff::{Dual, Examples, Factors, Flow, Gradient, Leaf, PerExample, Phi, Refusal, Scalar, Sink, Tape, Use, Var, Wrt};

/// `tanh(x·w)·wᵀ`: a shared weight, once straight and once transposed.
fn autoencoder<T: Scalar>(tape: &mut Tape<T>, w: Var, x: Var) -> Var {
    let h = tape.affine(x, w, 0.8, None);
    let h = tape.map(Phi::Tanh, h);
    let back = tape.transpose(w);
    tape.affine(h, back, 0.6, None)
}

const W: [f64; 6] = [0.3, -0.5, 0.9, 0.2, -1.1, 0.4];
const X: [f64; 9] = [1.0, -0.4, 0.3, 0.2, 0.8, -0.6, -0.9, 0.5, 0.7];

#[test]
fn gradients_of_a_shared_and_transposed_weight_are_those_of_each_example_alone() {
    let mut tape = Tape::new();
    let w = tape.parameter([3, 2], &W);
    let x = tape.input([3, 3], &X);
    let y = autoencoder(&mut tape, w, x);
    let mut rows = PerExample::new();
    // Two lanes: the first and the last output.
    let mut seed = [0.0; 18];
    for i in 0..3 {
        seed[3 * i] = 1.0;
        seed[9 + 3 * i + 2] = 1.0;
    }
    tape.pull(y, 2, &seed, &mut Flow::new(), &mut rows).unwrap();
    for (lane, output) in [(0, 0), (1, 2)] {
        for i in 0..3 {
            let mut one = Tape::new();
            let w = one.parameter([3, 2], &W);
            let x = one.input([1, 3], &X[3 * i..3 * i + 3]);
            let y = autoencoder(&mut one, w, x);
            let mut seed = [0.0; 3];
            seed[output] = 1.0;
            let mut gradient = Gradient::new(Wrt::PARAMETERS);
            one.pull_once(y, &seed, &mut gradient).unwrap();
            let row = &rows.parameter(0)[(lane * 3 + i) * 6..][..6];
            for (a, b) in row.iter().zip(gradient.parameter(0)) {
                assert!((a - b).abs() < 1e-15, "lane {lane}, example {i}: {row:?} against {:?}", gradient.parameter(0));
            }
        }
    }
}

#[test]
fn factors_multiply_out_to_per_example_gradients() {
    let mut tape = Tape::new();
    let w = tape.parameter([3, 2], &W);
    let b = tape.parameter([2], &[0.1, -0.2]);
    let x = tape.input([3, 3], &X);
    let z = tape.affine(x, w, 0.8, Some((b, 0.3)));
    let z = tape.map(Phi::Erf, z);
    let seed: Vec<f64> = (0..12).map(|i| (f64::from(i)).sin()).collect();
    let (mut rows, mut factors) = (PerExample::new(), Factors::new());
    tape.pull(z, 2, &seed, &mut Flow::new(), &mut rows).unwrap();
    tape.pull(z, 2, &seed, &mut Flow::new(), &mut factors).unwrap();
    assert_eq!((factors.lanes(), factors.examples()), (2, 3));
    let [Use::Outer { x, g, n_in: 3, n_out: 2, scale }] = &factors.uses()[0][..] else { panic!("{:?}", factors.uses()[0]) };
    for k in 0..2 {
        for i in 0..3 {
            for a in 0..3 {
                for c in 0..2 {
                    let want = rows.parameter(0)[((k * 3 + i) * 3 + a) * 2 + c];
                    assert!((scale * x[i * 3 + a] * g[(k * 3 + i) * 2 + c] - want).abs() < 1e-15);
                }
            }
        }
    }
    let [Use::Ones { g, n_out: 2, scale }] = &factors.uses()[1][..] else { panic!("{:?}", factors.uses()[1]) };
    for (g, want) in g.iter().zip(rows.parameter(1)) {
        assert!((scale * g - want).abs() < 1e-15);
    }
}

#[test]
fn what_mixes_examples_is_refused_by_name() {
    let mut tape = Tape::new();
    let w = tape.parameter([3, 2], &W);
    let x = tape.input([3, 3], &X);
    let z = tape.affine(x, w, 1.0, None);
    let squares = tape.row_dot(z, z);
    let loss = tape.sum(squares, 0.5);
    let error = tape.pull_once(loss, &[1.0], &mut PerExample::new()).unwrap_err();
    assert_eq!(error, Refusal::MixesExamples { op: "sum" });
    let penalty = tape.row_dot(w, w);
    let error = tape.pull_once(penalty, &[1.0; 3], &mut PerExample::new()).unwrap_err();
    assert_eq!(error, Refusal::NoExamples { op: "row_dot", shape: "[3]".into() });
    // The gradient of both is well defined.
    for (output, n) in [(loss, 1), (penalty, 3)] {
        tape.pull_once(output, &vec![1.0; n], &mut Gradient::new(Wrt::BOTH)).unwrap();
    }
    assert!(tape.pull_once(squares, &[1.0; 3], &mut PerExample::new()).is_ok());
}

#[test]
fn an_axis_of_examples_is_known_by_its_flag_and_not_by_its_extent() {
    let mut tape = Tape::new();
    let w = tape.parameter([1, 1], &[2.0]);
    let shared = tape.transpose(w);
    let x = tape.input([1, 1], &[3.0]);
    let y = tape.affine(x, shared, 1.0, None);
    assert!(!tape.node(shared).per_example && tape.node(y).per_example);
    assert_eq!(tape.examples(y), Ok(1));
    assert!(tape.examples(shared).is_err());
}

#[test]
fn pulling_twice_gives_the_same_and_an_unused_parameter_has_gradient_zero() {
    let mut tape = Tape::new();
    let w = tape.parameter([3, 2], &W);
    let unused = tape.parameter([2], &[7.0, 8.0]);
    let x = tape.input([3, 3], &X);
    let z = tape.affine(x, w, 1.0, None);
    let z = tape.sub(z, z);
    let z = tape.map(Phi::Exp, z);
    assert_eq!(tape.value(z), [1.0; 6]);
    let _dead = tape.map(Phi::Tanh, unused);
    let (mut flow, mut gradient) = (Flow::new(), Gradient::new(Wrt::BOTH));
    for _ in 0..3 {
        tape.pull(z, 1, &[1.0; 6], &mut flow, &mut gradient).unwrap();
        // x − x cancels exactly.
        assert_eq!(gradient.parameter(0), [0.0; 6]);
        assert_eq!(gradient.parameter(1), [0.0; 2]);
        assert_eq!(gradient.input(0), [0.0; 9]);
    }
}

#[test]
fn the_gradient_of_a_leaf_is_its_cotangent() {
    let mut tape = Tape::new();
    let w = tape.parameter([2], &[1.0, 2.0]);
    let mut gradient = Gradient::new(Wrt::BOTH);
    tape.pull_once(w, &[3.0, 4.0], &mut gradient).unwrap();
    assert_eq!(gradient.parameter(0), [3.0, 4.0]);
    let mut flow = Flow::new();
    assert_eq!(tape.push(w, 1, |_| Some(&[5.0, 6.0]), &mut flow), Some(&[5.0, 6.0][..]));
}

#[test]
fn a_tangent_of_zero_is_none() {
    let mut tape = Tape::new();
    let w = tape.parameter([3, 2], &W);
    let x = tape.input([3, 3], &X);
    let y = tape.affine(x, w, 1.0, None);
    let dw = [1.0; 6];
    let mut flow = Flow::new();
    assert!(tape.push(y, 1, |_| None, &mut flow).is_none());
    let dy = tape.push(y, 1, |leaf| (leaf == Leaf::Parameter(0)).then_some(&dw[..]), &mut flow).unwrap();
    for i in 0..3 {
        let sum: f64 = X[3 * i..3 * i + 3].iter().sum();
        assert!((dy[2 * i] - sum).abs() < 1e-15 && (dy[2 * i + 1] - sum).abs() < 1e-15);
    }
}

#[test]
fn rewinding_keeps_parameters_and_gives_the_same_bits() {
    let mut tape = Tape::new();
    let w = tape.parameter([3, 2], &W);
    let mark = tape.mark();
    let run = |tape: &mut Tape<f64>| {
        let x = tape.input([3, 3], &X);
        let y = autoencoder(tape, w, x);
        let l = tape.log_sum_exp(y);
        tape.value(l).to_vec()
    };
    let first = run(&mut tape);
    tape.rewind(mark);
    assert_eq!(tape.n_inputs(), 0);
    let second = run(&mut tape);
    assert_eq!(first, second);
    tape.rewind(mark);
    tape.leaf_mut(w)[0] += 1.0;
    assert_ne!(first, run(&mut tape));
}

#[test]
fn perturbations_of_nested_derivatives_are_not_confused() {
    // d/dx [x · d/dy (x + y)] = 1, at any x and y; confusion gives 2.
    let x = Dual { re: 3.0, eps: 1.0 };
    let inner = Dual { re: x, eps: Dual::of(0.0) } + Dual { re: Dual::of(5.0), eps: Dual::of(1.0) };
    assert_eq!((x * inner.eps).eps, 1.0);
}

#[test]
fn cross_entropy_survives_extreme_logits() {
    let mut tape = Tape::new();
    let x = tape.input([3, 2], &[1000.0, -1000.0, -1000.0, -1000.0, 1000.0, 1000.0]);
    let l = tape.log_sum_exp(x);
    let ln2 = std::f64::consts::LN_2;
    assert_eq!(tape.value(l), [1000.0, -1000.0 + ln2, 1000.0 + ln2]);
    let mut gradient = Gradient::new(Wrt::INPUTS);
    tape.pull_once(l, &[1.0; 3], &mut gradient).unwrap();
    assert_eq!(gradient.input(0), [1.0, 0.0, 0.5, 0.5, 0.5, 0.5]);
}

#[test]
#[should_panic(expected = "add needs two equal shapes, given [3, 2] and [2, 3]")]
fn wrong_shapes_panic_with_both() {
    let mut tape = Tape::new();
    let x = tape.input([3, 2], &W);
    let y = tape.input([2, 3], &W);
    tape.add(x, y);
}

#[test]
#[should_panic(expected = "must be shared by the examples")]
fn a_weight_that_belongs_to_examples_panics() {
    let mut tape = Tape::new();
    let x = tape.input([3, 2], &W);
    let y = tape.input([2, 3], &W);
    tape.affine(x, y, 1.0, None);
}

#[test]
fn a_sink_may_count_what_arrives() {
    struct Count(usize);
    impl Sink<f64> for Count {
        const EXAMPLES: Examples = Examples::Summed;
        fn wrt(&self) -> Wrt {
            Wrt::PARAMETERS
        }
        fn start(&mut self, _: &Tape<f64>, _: usize, _: Option<usize>) {
            self.0 = 0;
        }
        fn take(&mut self, contribution: autodiff::Contribution<'_, f64>, _: &mut autodiff::Scratch<f64>) {
            assert_eq!(contribution.edge.outputs(), contribution.g.len());
            self.0 += 1;
        }
        fn finish(&mut self) {}
    }
    let mut tape = Tape::new();
    let w = tape.parameter([3, 2], &W);
    let x = tape.input([3, 3], &X);
    let y = autoencoder(&mut tape, w, x);
    let mut count = Count(0);
    tape.pull_once(y, &[1.0; 9], &mut count).unwrap();
    assert_eq!(count.0, 2);
    assert_eq!(tape.to_string().lines().nth(4), Some("%4 = transpose %0 : [2, 3]"));
    // Forward: 3·3·2 and 3·2·3 products for each of two edges, tanh, transposes free.
    assert_eq!(tape.flops(), 2 * (18 * 2 + 6 + 18 * 2));
}

#[test]
fn any_number_of_tensors_is_joined_along_any_axis_the_examples_included() {
    let mut tape = Tape::new();
    let x = tape.input([1, 3], &X[..3]);
    let y = tape.input([2, 3], &X[3..]);
    for parts in [&[x, y, x][..], &[y, x, x, y, x]] {
        let z = tape.concat(parts, 0);
        let want: Vec<f64> = parts.iter().flat_map(|&v| tape.value(v).to_vec()).collect();
        assert_eq!(tape.value(z), want);
        assert_eq!(tape.examples(z), Err(Refusal::MixesExamples { op: "concat" }));
    }
    let z = tape.concat(&[x, x, x], 1);
    assert_eq!(tape.shape(z).dims(), [1, 9]);
    assert_eq!(tape.examples(z), Ok(1));
}

#[test]
fn a_refusal_names_the_operation_below_the_output_and_not_another_one_of_the_tape() {
    let mut tape = Tape::new();
    let x = tape.input([3, 3], &X);
    let _other = tape.sum(x, 1.0);
    let some = tape.slice(x, 0, 1..3);
    let z = tape.map(Phi::Tanh, some);
    assert_eq!(tape.examples(z), Err(Refusal::MixesExamples { op: "slice" }));
}

#[test]
#[should_panic(expected = "axis 0 of [3] is the examples: the product with [3, 2] would mix them")]
fn one_number_for_each_example_is_no_row_of_a_product() {
    let mut tape = Tape::new();
    let x = tape.input([3], &X[..3]);
    let w = tape.parameter([3, 2], &W);
    tape.affine(x, w, 1.0, None);
}

/// `∂/∂y f(x, y)` by a tape of its own, backward and forward.
fn derivatives<T: Scalar>(x: T, y: T, f: impl Fn(&mut Tape<T>, Var, Var) -> Var) -> [T; 2] {
    let mut tape = Tape::new();
    let (x, y) = (tape.target([1], &[x]), tape.input([1], &[y]));
    let z = f(&mut tape, x, y);
    let mut gradient = Gradient::new(Wrt::INPUTS);
    tape.pull_once(z, &[T::ONE], &mut gradient).unwrap();
    let one = [T::ONE];
    let pushed = tape.push(z, 1, |_| Some(&one), &mut Flow::new()).unwrap()[0];
    [gradient.input(0)[0], pushed]
}

#[test]
fn a_function_that_takes_a_derivative_by_a_tape_can_itself_be_differentiated() {
    let x = Dual { re: 3.0, eps: 1.0 };
    // d/dx [x · d/dy (x + y)] = 1, at any x and y; confusion gives 2.
    for inner in derivatives(x, Dual::of(5.0), |tape, x, y| tape.add(x, y)) {
        assert_eq!((x * inner).eps, 1.0);
    }
    // d/dx [d/dy (x y²) at y = x] = d/dx 2x² = 4x, with x in both places.
    for inner in derivatives(x, x, |tape, x, y| {
        let square = tape.mul(y, y);
        tape.mul(x, square)
    }) {
        assert_eq!((inner.re, inner.eps), (18.0, 12.0));
    }
    // And once more: d/dx (x · d/dy (y · d/dz (x y z))) = d/dx (x · 2xy) = 4xy, a tape in a tape under a dual.
    let second = |x: Dual<f64>, y: f64| {
        let y = Dual { re: Dual::of(y), eps: Dual::of(1.0) };
        let outer = Dual { re: x, eps: Dual::of(0.0) };
        let [inner, _] = derivatives(outer, Dual::of(7.0), |tape, x, z| {
            let y = tape.target([1], &[y]);
            let xy = tape.mul(x, y);
            tape.mul(xy, z)
        });
        x * (y * inner).eps
    };
    assert_eq!(second(x, 5.0), Dual { re: 90.0, eps: 60.0 });
}

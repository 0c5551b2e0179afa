//! The conventions that the documentation of the crate states, and extreme values: each by value, in both modes, and for duals.

use autodiff::{Border, Differentiable, Dual, Flow, Gradient, Padding, PerExample, Phi, Point, Scalar, Shape, Tape, Var, Windows, Wrt};

/// One operation on one input.
#[derive(Clone, Copy, Debug)]
enum Function {
    Map(Phi),
    Power(f64),
    /// The first column divided by the second.
    Div,
    /// And multiplied with it.
    Mul,
    Norm,
    LogSumExp,
    Softmax,
    /// With targets that are 1 in the first column.
    CrossEntropy,
    Sum,
    Mean,
    MaxPool(Windows),
    AvgPool(Windows),
    SumPool(Windows),
    Patches(Windows),
}

impl Differentiable for Function {
    fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], _: &[Var]) -> Var {
        let x = inputs[0];
        let rank = tape.shape(x).rank();
        match *self {
            Function::Map(phi) => tape.map(phi, x),
            Function::Power(p) => tape.powf(x, p),
            Function::Div | Function::Mul => {
                let [a, b] = [0, 1].map(|column| tape.slice(x, 1, column..column + 1));
                if let Function::Div = self { tape.div(a, b) } else { tape.mul(a, b) }
            }
            Function::Norm => tape.norm(x),
            Function::LogSumExp => tape.log_sum_exp(x),
            Function::Softmax => tape.softmax(x),
            Function::CrossEntropy => {
                let (shape, cols) = (*tape.shape(x), tape.shape(x).cols());
                let hits: Vec<T> = (0..shape.len()).map(|i| T::of(f64::from(u8::from(i % cols == 0)))).collect();
                let hits = tape.target(shape, &hits);
                tape.cross_entropy(x, hits)
            }
            Function::Sum => tape.sum_axes(x, rank - 1..rank, 1.0),
            Function::Mean => tape.mean_axes(x, rank - 1..rank),
            Function::MaxPool(windows) => tape.max_pool(x, windows),
            Function::AvgPool(windows) => tape.avg_pool(x, windows),
            Function::SumPool(windows) => tape.sum_pool(x, windows, 1.0),
            Function::Patches(windows) => tape.patches(x, windows),
        }
    }
}

/// What is found of a function by every route.
#[derive(Debug)]
struct Found {
    value: Vec<f64>,
    /// Along tangents of 1.
    pushed: Vec<f64>,
    /// Of cotangents of 1.
    pulled: Vec<f64>,
    dual_value: Vec<f64>,
    /// Along tangents of 1.
    dual: Vec<f64>,
    /// By a reverse pass over duals: the gradient and its derivative along tangents of 1.
    dual_pulled: Vec<f64>,
    hessian: Vec<f64>,
}

fn found(f: Function, shape: &[usize], x: &[f64]) -> Found {
    let ones = vec![1.0; x.len()];
    let mut tape = Tape::new();
    let leaf = tape.input(shape, x);
    let y = f.record(&mut tape, &[leaf], &[]);
    let n = tape.value(y).len();
    let pushed = tape.push(y, 1, |_| Some(&ones), &mut Flow::new()).unwrap().to_vec();
    let mut gradient = Gradient::new(Wrt::INPUTS);
    tape.pull_once(y, &vec![1.0; n], &mut gradient).unwrap();

    let lifted: Vec<Dual<f64>> = x.iter().map(|&re| Dual { re, eps: 1.0 }).collect();
    let mut duals = Tape::new();
    let leaf = duals.input(shape, &lifted);
    let d = f.record(&mut duals, &[leaf], &[]);
    let mut over = Gradient::new(Wrt::INPUTS);
    duals.pull_once(d, &vec![Dual::of(1.0); n], &mut over).unwrap();
    Found {
        value: tape.value(y).to_vec(),
        pushed,
        pulled: gradient.input(0).to_vec(),
        dual_value: duals.value(d).iter().map(|d| d.re).collect(),
        dual: duals.value(d).iter().map(|d| d.eps).collect(),
        dual_pulled: over.input(0).iter().map(|d| d.re).collect(),
        hessian: over.input(0).iter().map(|d| d.eps).collect(),
    }
}

/// Equal up to rounding, where NaN is equal to NaN.
#[track_caller]
fn assert_same(found: &[f64], want: &[f64], what: &str) {
    let same = |f: f64, w: f64| f == w || (f.is_nan() && w.is_nan()) || (f - w).abs() <= 2e-15 * w.abs();
    assert!(found.len() == want.len() && found.iter().zip(want).all(|(&f, &w)| same(f, w)), "{what}: {found:?} should be {want:?}");
}

/// Values, and the gradient of their sum for every entry, where every value reads as many entries.
#[track_caller]
fn check(f: Function, shape: &[usize], x: &[f64], value: &[f64], gradient: &[f64]) -> Found {
    let what = format!("{f:?} at {x:?}");
    let found = found(f, shape, x);
    assert_same(&found.value, value, &what);
    assert_same(&found.dual_value, value, &format!("{what}, duals"));
    assert_same(&found.pulled, gradient, &format!("{what}, pulled"));
    assert_same(&found.dual_pulled, gradient, &format!("{what}, pulled over duals"));
    // Rows and windows that do not overlap: the tangent of a value is the sum of its part of the gradient.
    let reads = x.len().checked_div(value.len()).unwrap_or(0);
    let pushed: Vec<f64> = (0..value.len()).map(|i| gradient[i * reads..(i + 1) * reads].iter().sum()).collect();
    assert_same(&found.pushed, &pushed, &format!("{what}, pushed"));
    assert_same(&found.dual, &pushed, &format!("{what}, duals' derivative"));
    found
}

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

#[test]
fn functions_have_their_conventional_slopes_at_kinks_and_at_the_ends_of_their_domains() {
    for (f, x, value, slope) in [
        (Function::Map(Phi::Relu), 0.0, 0.0, 0.0),
        (Function::Map(Phi::Relu), -0.0, 0.0, 0.0),
        (Function::Map(Phi::Relu), NAN, NAN, NAN),
        (Function::Map(Phi::Relu), INF, INF, 1.0),
        (Function::Map(Phi::Relu), -INF, 0.0, 0.0),
        (Function::Map(Phi::Abs), 0.0, 0.0, 0.0),
        (Function::Map(Phi::Abs), -INF, INF, -1.0),
        (Function::Map(Phi::LeakyRelu(0.25)), 0.0, 0.0, 0.25),
        (Function::Map(Phi::LeakyRelu(0.25)), -4.0, -1.0, 0.25),
        (Function::Map(Phi::Sqrt), 0.0, 0.0, INF),
        (Function::Map(Phi::Sqrt), -1.0, NAN, NAN),
        (Function::Map(Phi::Ln), 0.0, -INF, INF),
        (Function::Power(0.0), 0.0, 1.0, 0.0),
        (Function::Power(0.0), -3.0, 1.0, 0.0),
        (Function::Power(0.0), NAN, 1.0, 0.0),
        (Function::Power(1.0), 0.0, 0.0, 1.0),
        (Function::Power(1.0), -3.0, -3.0, 1.0),
        (Function::Power(2.0), 0.0, 0.0, 0.0),
        (Function::Power(3.0), -2.0, -8.0, 12.0),
        (Function::Power(1.5), 0.0, 0.0, 0.0),
        (Function::Power(0.5), 0.0, 0.0, INF),
        (Function::Power(-1.0), 0.0, INF, -INF),
        (Function::Power(0.5), -2.0, NAN, NAN),
        (Function::Power(2.0), NAN, NAN, NAN),
    ] {
        check(f, &[1], &[x], &[value], &[slope]);
    }
}

#[test]
fn a_function_of_nan_is_nan_with_its_slope() {
    for phi in Phi::ALL {
        check(Function::Map(phi), &[1], &[NAN], &[NAN], &[NAN]);
    }
}

#[test]
fn norms_of_zeros_and_of_nothing_are_zero_with_derivative_zero() {
    let zero = check(Function::Norm, &[2, 2], &[0.0, -0.0, 3.0, 4.0], &[0.0, 5.0], &[0.0, 0.0, 0.6, 0.8]);
    assert_same(&zero.hessian, &[0.0, 0.0, (1.0 - 0.6 * 1.4) / 5.0, (1.0 - 0.8 * 1.4) / 5.0], "second derivative of the norm");
    check(Function::Norm, &[2, 0], &[], &[0.0, 0.0], &[]);
    check(Function::Norm, &[1, 2], &[1.0, NAN], &[NAN], &[NAN, NAN]);
}

#[test]
fn a_quotient_by_zero_is_infinite_with_infinite_derivatives() {
    for (x, y, value, by_x, by_y) in
        [(1.0, 0.0, INF, INF, -INF), (-1.0, 0.0, -INF, INF, INF), (1.0, -0.0, -INF, -INF, -INF), (0.0, 0.0, NAN, INF, NAN)]
    {
        let found = found(Function::Div, &[1, 2], &[x, y]);
        assert_same(&found.value, &[value], "quotient");
        assert_same(&found.dual_value, &[value], "quotient of duals");
        assert_same(&found.pulled, &[by_x, by_y], "derivatives of the quotient");
        assert_same(&found.dual_pulled, &[by_x, by_y], "derivatives of the quotient over duals");
    }
}

#[test]
fn sums_and_means_of_nothing_are_zero_and_nan() {
    check(Function::Sum, &[2, 0], &[], &[0.0, 0.0], &[]);
    let mean = found(Function::Mean, &[2, 0], &[]);
    for route in [&mean.value, &mean.dual_value, &mean.pushed, &mean.dual] {
        assert_same(route, &[NAN, NAN], "mean of nothing");
    }
    check(Function::LogSumExp, &[2, 0], &[], &[-INF, -INF], &[]);
    check(Function::Softmax, &[2, 0], &[], &[], &[]);
}

#[test]
fn infinite_logits_share_the_derivative_of_the_logarithm_of_the_sum() {
    check(Function::LogSumExp, &[1, 2], &[-INF, -INF], &[-INF], &[0.5, 0.5]);
    check(Function::LogSumExp, &[1, 2], &[0.0, -INF], &[0.0], &[1.0, 0.0]);
    check(Function::LogSumExp, &[1, 3], &[INF, 7.0, INF], &[INF], &[0.5, 0.0, 0.5]);
    check(Function::LogSumExp, &[1, 2], &[0.0, NAN], &[NAN], &[NAN, NAN]);
    // What is masked out of a softmax has probability and derivative zero; if everything is, nothing is known.
    let masked = found(Function::Softmax, &[1, 3], &[1.0, -INF, 1.0]);
    assert_same(&masked.value, &[0.5, 0.0, 0.5], "masked softmax");
    for derivative in [&masked.pushed, &masked.pulled, &masked.dual, &masked.dual_pulled, &masked.hessian] {
        assert!(derivative.iter().all(|d| d.abs() <= 1e-16), "{masked:?}");
    }
    let nothing = found(Function::Softmax, &[1, 2], &[-INF, -INF]);
    assert_same(&nothing.value, &[NAN, NAN], "softmax of −∞ alone");
    assert_same(&nothing.dual_value, &[NAN, NAN], "softmax of −∞ alone, duals");
}

/// One row of `n` cells, with windows of two cells side by side.
fn pairs(n: usize) -> Windows {
    Windows::valid([1, n], 1, [1, 2], [1, 2])
}

#[test]
fn the_first_of_equal_cells_is_the_largest() {
    let image = [1, 1, 4, 1];
    check(Function::MaxPool(pairs(4)), &image, &[2.0, 2.0, 1.0, 3.0], &[2.0, 3.0], &[1.0, 0.0, 0.0, 1.0]);
    check(Function::MaxPool(pairs(4)), &image, &[0.0, -0.0, -INF, -INF], &[0.0, -INF], &[1.0, 0.0, 1.0, 0.0]);
    check(Function::MaxPool(pairs(4)), &image, &[NAN, 5.0, 5.0, NAN], &[NAN, NAN], &[1.0, 0.0, 0.0, 1.0]);
    check(Function::MaxPool(pairs(2)), &[1, 1, 2, 1], &[NAN, NAN], &[NAN], &[1.0, 0.0]);
}

#[test]
fn windows_beyond_the_edge_see_zeros_or_for_the_maximum_nothing() {
    // Two cells of padding before two cells: the first window sees nothing but padding.
    let padding = Padding { rows: [0, 0], cols: [2, 0], border: Border::Zeros };
    let windows = Windows::padded([1, 2], 1, [1, 2], [1, 2], padding);
    let (shape, x) = ([1, 1, 2, 1], [-4.0, -2.0]);
    for (f, value, gradient) in [
        (Function::MaxPool(windows), [-INF, -2.0], [0.0, 1.0]),
        (Function::AvgPool(windows), [0.0, -3.0], [0.5, 0.5]),
        (Function::SumPool(windows), [0.0, -6.0], [1.0, 1.0]),
    ] {
        let found = found(f, &shape, &x);
        let tangents = [0.0, gradient.iter().sum()];
        for (found, want) in [
            (&found.value, value),
            (&found.dual_value, value),
            (&found.pulled, gradient),
            (&found.dual_pulled, gradient),
            (&found.pushed, tangents),
            (&found.dual, tangents),
        ] {
            assert_same(found, &want, &format!("{f:?}"));
        }
    }
    let found = found(Function::Patches(windows), &shape, &x);
    assert_same(&found.value, &[0.0, 0.0, -4.0, -2.0], "patches");
    assert_same(&found.pulled, &[1.0, 1.0], "patches, pulled");
    assert_same(&found.pushed, &[0.0, 0.0, 1.0, 1.0], "patches, pushed");
}

#[test]
fn conventions_hold_per_example_too() {
    // relu(x·w) and the norm of x·w at w = 0, for two examples.
    for f in [Function::Map(Phi::Relu), Function::Norm] {
        let mut tape = Tape::new();
        let w = tape.parameter([1, 2], &[0.0, 0.0]);
        let x = tape.input([2, 1], &[1.0, -2.0]);
        let z = tape.affine(x, w, 1.0, None);
        let y = f.record(&mut tape, &[z], &[]);
        let mut rows = PerExample::new();
        tape.pull_once(y, &vec![1.0; tape.value(y).len()], &mut rows).unwrap();
        assert_same(rows.parameter(0), &[0.0; 4], &format!("{f:?}"));
    }
}

#[test]
fn logits_of_a_thousand_give_finite_values_and_derivatives_by_every_route() {
    let (shape, x) = ([4, 2], [1000.0, -1000.0, -1000.0, 1000.0, 1000.0, 1000.0, -1000.0, -1000.0]);
    let smooth = [Phi::Sigmoid, Phi::Softplus, Phi::Tanh, Phi::Erf, Phi::Silu, Phi::Gelu, Phi::Relu, Phi::Sin, Phi::Cos];
    let rows = [Function::LogSumExp, Function::Softmax, Function::CrossEntropy, Function::Norm];
    for f in smooth.into_iter().map(Function::Map).chain(rows) {
        let found = found(f, &shape, &x);
        let routes = [&found.value, &found.pushed, &found.pulled, &found.dual_value, &found.dual, &found.dual_pulled, &found.hessian];
        assert!(routes.iter().all(|route| route.iter().all(|v| v.is_finite())), "{found:?}");
        assert_same(&found.value, &found.dual_value, &format!("{f:?}"));
        assert_same(&found.pulled, &found.dual_pulled, &format!("{f:?}"));
        assert_same(&found.pushed, &found.dual, &format!("{f:?}"));
    }
    let ln2 = std::f64::consts::LN_2;
    check(Function::LogSumExp, &shape, &x, &[1000.0, 1000.0, 1000.0 + ln2, -1000.0 + ln2], &[1.0, 0.0, 0.0, 1.0, 0.5, 0.5, 0.5, 0.5]);
    let loss = found(Function::CrossEntropy, &shape, &x);
    // A difference of numbers of a thousand, and as exact as these.
    for (value, want) in loss.value.iter().zip([0.0, 2000.0, ln2, ln2]) {
        assert!((value - want).abs() <= 1000.0 * f64::EPSILON, "{loss:?}");
    }
    assert_same(&loss.pulled, &[0.0, 0.0, -1.0, 1.0, -0.5, 0.5, -0.5, 0.5], "cross entropy");
    let softmax = found(Function::Softmax, &shape, &x);
    for (value, want) in softmax.value.iter().zip([1.0, 0.0, 0.0, 1.0, 0.5, 0.5, 0.5, 0.5]) {
        assert!((value - want).abs() <= 1000.0 * f64::EPSILON, "{softmax:?}");
    }
    for (phi, low, high) in [
        (Phi::Sigmoid, (0.0, 0.0), (1.0, 0.0)),
        (Phi::Softplus, (0.0, 0.0), (1000.0, 1.0)),
        (Phi::Tanh, (-1.0, 0.0), (1.0, 0.0)),
        (Phi::Erf, (-1.0, 0.0), (1.0, 0.0)),
        (Phi::Silu, (0.0, 0.0), (1000.0, 1.0)),
        (Phi::Gelu, (0.0, 0.0), (1000.0, 1.0)),
        (Phi::Exp, (0.0, 0.0), (INF, INF)),
    ] {
        check(Function::Map(phi), &[2], &[-1000.0, 1000.0], &[low.0, high.0], &[low.1, high.1]);
    }
}

#[test]
fn norms_products_and_quotients_keep_their_digits_at_extreme_sizes() {
    for size in [1e150, 1e-150, 1e300, 1e-300, 2.0_f64.powi(-1060), 1.0] {
        let found = check(Function::Norm, &[1, 2], &[3.0 * size, 4.0 * size], &[5.0 * size], &[0.6, 0.8]);
        assert!(found.hessian.iter().all(|h| !h.is_nan()), "{found:?}");
    }
    check(Function::Norm, &[1, 2], &[5e-324, 0.0], &[5e-324], &[1.0, 0.0]);
    let check_pair = |f: Function, x: f64, y: f64, value: f64, by_x: f64, by_y: f64| {
        check(f, &[1, 2], &[x, y], &[value], &[by_x, by_y]);
    };
    check_pair(Function::Mul, 1e150, 1e-150, 1.0, 1e-150, 1e150);
    check_pair(Function::Mul, 1e-150, 1e-150, 1e-300, 1e-150, 1e-150);
    check_pair(Function::Mul, 1e-200, 1e-200, 0.0, 1e-200, 1e-200);
    check_pair(Function::Mul, 5e-324, 2.0, 1e-323, 2.0, 5e-324);
    check_pair(Function::Div, 1e150, 1e150, 1.0, 1e-150, -1e-150);
    check_pair(Function::Div, 1e-150, 1e150, 1e-300, 1e-150, 0.0);
    check_pair(Function::Div, 1e-150, 1e-150, 1.0, 1e150, -1e150);
    check_pair(Function::Div, 1e150, 1.0, 1e150, 1.0, -1e150);
    check_pair(Function::Div, 5e-324, 2.0, 0.0, 0.5, 0.0);
    // The derivative 1/norm of the unit vector and 2·x/y³ of the quotient are finite here too.
    let f = found(Function::Div, &[1, 2], &[1e-100, 1e100]);
    assert!(f.hessian.iter().all(|h| h.is_finite()), "{f:?}");
}

#[test]
fn products_of_matrices_keep_extreme_sizes_apart() {
    let mut tape = Tape::new();
    let x = tape.input([1, 2], &[1e150, 1e-150]);
    let w = tape.parameter([2, 1], &[1e-150, 1e150]);
    let z = tape.affine(x, w, 1.0, None);
    assert_same(tape.value(z), &[2.0], "product");
    let mut gradient = Gradient::new(Wrt::BOTH);
    tape.pull_once(z, &[1.0], &mut gradient).unwrap();
    assert_same(gradient.input(0), &[1e-150, 1e150], "with respect to x");
    assert_same(gradient.parameter(0), &[1e150, 1e-150], "with respect to w");
}

#[test]
fn every_law_holds_at_the_points_where_a_convention_rules_in_a_constant_direction() {
    // Along inputs that do not move, the convention is what remains: x − x is 0 wherever x is.
    struct Still(Function);
    impl Differentiable for Still {
        fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], _: &[Var]) -> Var {
            let zero = tape.sub(inputs[0], inputs[0]);
            let y = self.0.record(tape, &[zero], &[]);
            let x = self.0.record(tape, inputs, &[]);
            tape.add(x, y)
        }
    }
    for f in [Function::Map(Phi::Relu), Function::Norm, Function::LogSumExp, Function::Softmax, Function::Power(2.0)] {
        let at = Point { inputs: vec![(Shape::from([2, 2]), vec![0.4, -0.7, 1.2, 0.3])], parameters: vec![] };
        let checked = autodiff::check_grads(&Still(f), &at, 3);
        assert!(checked.is_ok(), "{f:?}: {}", checked.unwrap_err());
    }
}

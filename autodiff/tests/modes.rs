//! Every mode, on every operation of the catalog, against a slower way to the same numbers.

use crate::catalog::Case;
use autodiff::{Differentiable, Hessian, Leaf, Leaves, Linearized, Mode, Point, Scalar, Shape, Tape, Taylor, Var, Wrt, value_and_gradient};

const SEED: u64 = 11;

fn values(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn directions(at: &Point, lanes: usize, seed: u64) -> Leaves<f64> {
    let draw = |leaves: &[(Shape, Vec<f64>)], seed: u64| {
        leaves.iter().enumerate().map(|(i, (_, x))| values(lanes * x.len(), seed + i as u64)).collect()
    };
    Leaves { inputs: draw(&at.inputs, seed), parameters: draw(&at.parameters, seed + 100) }
}

/// A lane of every leaf.
fn lane(all: &Leaves<f64>, k: usize, lanes: usize) -> Leaves<f64> {
    let pick = |leaves: &[Vec<f64>]| leaves.iter().map(|v| v[k * v.len() / lanes..(k + 1) * v.len() / lanes].to_vec()).collect();
    Leaves { inputs: pick(&all.inputs), parameters: pick(&all.parameters) }
}

fn flat(leaves: &Leaves<f64>) -> Vec<f64> {
    leaves.inputs.iter().chain(&leaves.parameters).flatten().copied().collect()
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn close(found: &[f64], want: &[f64], bound: f64, what: &str) {
    assert_eq!(found.len(), want.len(), "{what}");
    let size = 1.0 + want.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
    for (f, w) in found.iter().zip(want) {
        assert!((f - w).abs() <= bound * size, "{what}: {found:?} should be {want:?}");
    }
}

/// `f` moved by `h` times a direction.
fn moved(at: &Point, d: &Leaves<f64>, h: f64) -> Point {
    let mut at = at.clone();
    for ((_, x), d) in at.inputs.iter_mut().zip(&d.inputs).chain(at.parameters.iter_mut().zip(&d.parameters)) {
        x.iter_mut().zip(d).for_each(|(x, d)| *x += h * d);
    }
    at
}

#[test]
fn jacobians_by_columns_and_by_rows_are_made_of_pushes_and_pulls() {
    for case in Case::all() {
        let at = case.point(3, SEED);
        let mut linear = Linearized::new(&case, &at);
        let n = linear.value().len();
        let (forward, reverse) = (linear.jacobian_by(Mode::Forward, Wrt::BOTH), linear.jacobian_by(Mode::Reverse, Wrt::BOTH));
        close(&flat(&forward.blocks), &flat(&reverse.blocks), 1e-14, &format!("{case:?}"));
        // J·t and Jᵀ·c from the blocks, two lanes at once.
        let t = directions(&at, 2, 7);
        let pushed = linear.jvp(2, &t).to_vec();
        for k in 0..2 {
            let t = flat(&lane(&t, k, 2));
            let jt: Vec<f64> = (0..n).map(|row| dot(&row_of(&forward.blocks, row, n), &t)).collect();
            close(&pushed[k * n..(k + 1) * n], &jt, 1e-14, &format!("{case:?}"));
        }
        let c = values(2 * n, 8);
        let pulled = linear.vjp(2, &c, Wrt::BOTH).leaves();
        for k in 0..2 {
            let mut jc = vec![0.0; flat(&t).len() / 2];
            for row in 0..n {
                let weight = c[k * n + row];
                jc.iter_mut().zip(row_of(&forward.blocks, row, n)).for_each(|(s, j)| *s += weight * j);
            }
            close(&flat(&lane(&pulled, k, 2)), &jc, 1e-14, &format!("{case:?}"));
        }
    }
}

fn row_of(blocks: &Leaves<f64>, row: usize, rows: usize) -> Vec<f64> {
    flat(&lane(blocks, row, rows))
}

#[test]
fn a_jacobian_has_more_rows_than_fit_into_one_pass() {
    struct Wide;
    impl Differentiable for Wide {
        fn record<T: Scalar>(&self, tape: &mut Tape<T>, x: &[Var], p: &[Var]) -> Var {
            let z = tape.affine(x[0], p[0], 0.5, None);
            tape.map(autodiff::Phi::Tanh, z)
        }
    }
    let at = Point { inputs: vec![(Shape::from([2, 3]), values(6, 1))], parameters: vec![(Shape::from([3, 75]), values(225, 2))] };
    let mut linear = Linearized::new(&Wide, &at);
    assert_eq!((linear.cheaper(Wrt::INPUTS), linear.cheaper(Wrt::PARAMETERS)), (Mode::Forward, Mode::Reverse));
    let (forward, reverse) = (linear.jacobian_by(Mode::Forward, Wrt::BOTH), linear.jacobian_by(Mode::Reverse, Wrt::BOTH));
    assert_eq!((reverse.rows, reverse.blocks.parameters[0].len()), (150, 150 * 225));
    close(&flat(&forward.blocks), &flat(&reverse.blocks), 1e-15, "wide");
    assert_eq!(linear.jacobian(Wrt::INPUTS).blocks.parameters, Vec::<Vec<f64>>::new());
}

#[test]
fn per_example_jacobians_are_the_jacobians_of_the_examples_alone() {
    for case in Case::all() {
        let at = case.point(4, SEED);
        let found = Linearized::new(&case, &at).per_example_jacobian(Wrt::BOTH);
        // The words of an example depend on its place, which is no input.
        let mixes = matches!(case, Case::SumExamples | Case::SliceExamples | Case::ConcatExamples | Case::Gather);
        let Ok(found) = found else {
            assert!(mixes, "{case:?} is refused");
            continue;
        };
        if mixes {
            continue;
        }
        for i in 0..4 {
            let one = Point {
                inputs: at.inputs.iter().map(|(s, x)| (example(s), x[i * x.len() / 4..(i + 1) * x.len() / 4].to_vec())).collect(),
                parameters: at.parameters.clone(),
            };
            let alone = Linearized::new(&case, &one).jacobian_by(Mode::Reverse, Wrt::BOTH).blocks;
            close(&flat(&lane(&found.blocks, i, 4)), &flat(&alone), 1e-14, &format!("{case:?}, example {i}"));
        }
    }
}

fn example(shape: &Shape) -> Shape {
    let mut dims = shape.dims().to_vec();
    dims[0] = 1;
    Shape::from(&dims[..])
}

#[test]
fn outputs_of_several_axes_are_lanes_of_one_pull() {
    struct Rows;
    impl Differentiable for Rows {
        fn record<T: Scalar>(&self, tape: &mut Tape<T>, x: &[Var], p: &[Var]) -> Var {
            let z = tape.product(p[0], x[0], 1.0);
            tape.map(autodiff::Phi::Tanh, z)
        }
    }
    let at = Point { inputs: vec![(Shape::from([3, 2, 2]), values(12, 1))], parameters: vec![(Shape::from([3, 2]), values(6, 2))] };
    let found = Linearized::new(&Rows, &at).per_example_jacobian(Wrt::BOTH).unwrap();
    assert_eq!((found.rows, found.blocks.parameters[0].len(), found.blocks.inputs[0].len()), (18, 18 * 6, 18 * 4));
    for i in 0..3 {
        let one =
            Point { inputs: vec![(Shape::from([1, 2, 2]), at.inputs[0].1[4 * i..4 * i + 4].to_vec())], parameters: at.parameters.clone() };
        let alone = Linearized::new(&Rows, &one).jacobian_by(Mode::Forward, Wrt::BOTH).blocks;
        close(&flat(&lane(&found.blocks, i, 3)), &flat(&alone), 1e-15, "rows");
    }
}

#[test]
fn gauss_newton_products_are_those_of_the_written_out_matrices() {
    for case in Case::all() {
        let at = case.point(3, SEED);
        let mut linear = Linearized::new(&case, &at);
        let n = linear.value().len();
        let (t, b) = (directions(&at, 2, 3), values(n, 4));
        let blocks = linear.jacobian(Wrt::BOTH).blocks;
        let curve = |jt: &mut [f64]| jt.iter_mut().zip(b.iter().cycle()).for_each(|(d, b)| *d *= b);
        let found = linear.gauss_newton(2, &t, curve, Wrt::BOTH).leaves();
        for k in 0..2 {
            let t = flat(&lane(&t, k, 2));
            let mut want = vec![0.0; t.len()];
            for row in 0..n {
                let j = row_of(&blocks, row, n);
                let weight = b[row] * dot(&j, &t);
                want.iter_mut().zip(&j).for_each(|(w, j)| *w += weight * j);
            }
            close(&flat(&lane(&found, k, 2)), &want, 1e-13, &format!("{case:?}"));
        }
    }
}

#[test]
fn hessian_products_are_differences_of_gradients() {
    for case in Case::all() {
        let at = case.point(3, SEED);
        let c = values(Linearized::new(&case, &at).value().len(), 5);
        let gradient = |at: &Point| flat(&Linearized::new(&case, at).vjp(1, &c, Wrt::BOTH).leaves());
        let t = directions(&at, 2, 6);
        let mut hessian = Hessian::new(&case, &at, Wrt::BOTH);
        let both = hessian.products(2, &c, &t);
        for k in 0..2 {
            let t = lane(&t, k, 2);
            let product = hessian.product(&c, &t);
            assert_eq!(product, lane(&both, k, 2), "{case:?}");
            // Of three steps the best one counts, so that a kink nearby does no harm.
            let error = [1e-3, 1e-4, 1e-5].map(|h| {
                let g = [-2.0, -1.0, 1.0, 2.0].map(|s| gradient(&moved(&at, &t, s * h)));
                let slope = (0..g[0].len()).map(|i| (g[0][i] - 8.0 * g[1][i] + 8.0 * g[2][i] - g[3][i]) / (12.0 * h));
                slope.zip(flat(&product)).map(|(d, p)| (d - p).abs() / (1.0 + p.abs())).fold(0.0, f64::max)
            });
            let error = error.into_iter().fold(f64::INFINITY, f64::min);
            assert!(error <= 1e-8, "{case:?}: {error:e}");
        }
    }
}

/// What is left of a function without its Taylor model of first order shrinks like h², and of second order like h³.
#[test]
fn taylor_models_leave_remainders_of_slopes_two_and_three() {
    for case in Case::all() {
        // What has kinks or is a polynomial of small degree has no such remainder everywhere.
        let at = case.point(3, SEED);
        let d = directions(&at, 1, 9);
        let mut model = Taylor::new(&case, &at);
        let c = values(Linearized::new(&case, &at).value().len(), 10);
        let scaled = |h: f64| {
            let scale = |leaves: &[Vec<f64>]| leaves.iter().map(|v| v.iter().map(|x| h * x).collect()).collect();
            Leaves { inputs: scale(&d.inputs), parameters: scale(&d.parameters) }
        };
        let mut remainder = |h: f64, order: usize| {
            let f = dot(Linearized::new(&case, &moved(&at, &d, h)).value(), &c);
            let y = if order == 1 { model.first(1, &scaled(h)) } else { model.second(1, &scaled(h)) };
            (f - dot(&y, &c)).abs()
        };
        for (order, h, tolerance) in [(1, 1e-4, 0.05), (2, 2e-3, 0.1)] {
            let (large, small) = (remainder(h, order), remainder(h / 2.0, order));
            let slope = (large / small).log2();
            // Rounding of values of size 10 is what remains where the next term of the series happens to be small.
            let rounding = large < 1e-12;
            assert!(
                rounding || (slope - (order + 1) as f64).abs() <= tolerance,
                "{case:?}: slope {slope} of order {order}, from {large:e}"
            );
        }
    }
}

#[test]
fn taylor_models_take_several_displacements_at_once() {
    let case = Case::CrossEntropy;
    let at = case.point(3, SEED);
    let d = directions(&at, 3, 9);
    let mut model = Taylor::new(&case, &at);
    let (first, second) = (model.first(3, &d), model.second(3, &d));
    let n = first.len() / 3;
    for k in 0..3 {
        let d = lane(&d, k, 3);
        assert_eq!(model.first(1, &d), first[k * n..(k + 1) * n]);
        assert_eq!(model.second(1, &d), second[k * n..(k + 1) * n]);
    }
    // A network in its parameters alone: the inputs stay.
    let case = Case::Affine { scale: 0.7, bias: true };
    let at = case.point(3, SEED);
    let d = directions(&at, 1, 9);
    let still = Leaves { inputs: at.inputs.iter().map(|(_, x)| vec![0.0; x.len()]).collect(), parameters: d.parameters.clone() };
    let mut model = Taylor::new(&case, &at);
    assert_eq!(model.second(1, &Leaves::of_parameters(d.parameters)), model.second(1, &still));
}

#[test]
fn the_gradient_of_one_number_comes_with_its_value() {
    struct Loss;
    impl Differentiable for Loss {
        fn record<T: Scalar>(&self, tape: &mut Tape<T>, x: &[Var], p: &[Var]) -> Var {
            let y = tape.mul(x[0], x[0]);
            let y = tape.sum(y, 0.5);
            let z = tape.sum(p[0], 3.0);
            tape.add(y, z)
        }
    }
    let at = Point { inputs: vec![(Shape::from([2]), vec![1.0, 2.0])], parameters: vec![(Shape::from([1]), vec![0.5])] };
    let (value, gradient) = value_and_gradient(&Loss, &at);
    assert_eq!((value, gradient), (4.0, Leaves { inputs: vec![vec![1.0, 2.0]], parameters: vec![vec![3.0]] }));
}

#[test]
#[should_panic(expected = "a gradient is of one number, and the output has shape [3]")]
fn the_gradient_of_several_numbers_panics_with_their_shape() {
    value_and_gradient(&Case::Add, &Case::Add.point(3, SEED));
}

#[test]
#[should_panic(expected = "2 tangents of a leaf of shape [3, 3], given 9 entries")]
fn tangents_of_a_wrong_length_panic_with_the_shape() {
    let at = Case::Add.point(3, SEED);
    let t = directions(&at, 1, 1);
    Linearized::new(&Case::Add, &at).jvp(2, &t);
}

#[test]
fn leaves_that_are_not_given_do_not_move() {
    let at = Case::Add.point(3, SEED);
    let mut linear = Linearized::new(&Case::Add, &at);
    assert_eq!(linear.jvp(2, &Leaves::default()), vec![0.0; 6]);
    assert_eq!(Leaves::of_inputs(vec![vec![1.0]]).get(Leaf::Parameter(0)), None);
}

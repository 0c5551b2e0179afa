//! Examples do not feel each other, and what mixes them is refused.

use crate::catalog::Case;
use crate::graphs::{Graph, graph, record, values};
use autodiff::{Differentiable, Flow, Gradient, Leaf, PerExample, Phi, Point, Refusal, Scalar, Tape, Var, Wrt};
use proptest::prelude::*;

/// Some of `n` rows, in any order and as often as one likes.
fn select(rows: &[f64], n: usize, picks: &[usize]) -> Vec<f64> {
    let len = rows.len().checked_div(n).unwrap_or(0);
    picks.iter().flat_map(|&i| &rows[i * len..(i + 1) * len]).copied().collect()
}

fn selected(at: &Point, n: usize, picks: &[usize]) -> Point {
    let pick = |(shape, x): &(autodiff::Shape, Vec<f64>)| {
        let dims = [&[picks.len()], &shape.dims()[1..]].concat();
        (autodiff::Shape::from(&dims[..]), select(x, n, picks))
    };
    Point { inputs: at.inputs.iter().map(pick).collect(), parameters: at.parameters.clone() }
}

/// Tangents for all leaves, the inputs' first.
fn directions(at: &Point, seed: u64) -> [Vec<Vec<f64>>; 2] {
    let draw = |leaves: &[(autodiff::Shape, Vec<f64>)], seed: u64| (seed..).zip(leaves).map(|(s, (_, x))| values(x.len(), s)).collect();
    [draw(&at.inputs, seed), draw(&at.parameters, seed + 50)]
}

fn pushed(tape: &Tape<f64>, y: Var, t: &[Vec<Vec<f64>>; 2]) -> Vec<f64> {
    let tangent = |leaf: Leaf| match leaf {
        Leaf::Constant => None,
        Leaf::Input(i) => Some(&t[0][i][..]),
        Leaf::Parameter(i) => Some(&t[1][i][..]),
    };
    tape.push(y, 1, tangent, &mut Flow::new()).map_or(vec![0.0; tape.value(y).len()], <[f64]>::to_vec)
}

/// Values, tangents, cotangents of inputs and per-example gradients of a selection of examples (permuted, repeated, left out, one set behind
/// another) are the selection of the derivatives, to the bit. `f` is the function of all examples and `g` that of the selected ones.
fn check_selection(f: &impl Differentiable, g: &impl Differentiable, at: &Point, n: usize, picks: &[usize], seed: u64) {
    let at2 = selected(at, n, picks);
    let ((tape, y), (tape2, y2)) = (record(f, at), record(g, &at2));
    let operations = |tape: &Tape<f64>| tape.vars().map(|v| tape.node(v).op).collect::<Vec<_>>();
    assert_eq!(operations(&tape2), operations(&tape), "the same operations");
    assert_eq!(tape2.value(y2), select(tape.value(y), n, picks), "values");

    let t = directions(at, seed);
    let t2 = [t[0].iter().map(|t| select(t, n, picks)).collect(), t[1].clone()];
    assert_eq!(pushed(&tape2, y2, &t2), select(&pushed(&tape, y, &t), n, picks), "tangents");

    // Two lanes.
    let c = [1, 2].map(|k| values(tape.value(y).len(), seed + 100 + k));
    let c2 = c.each_ref().map(|c| select(c, n, picks)).concat();
    let c = c.concat();
    let ((mut whole, mut whole2), mut flow) = ((Gradient::new(Wrt::BOTH), Gradient::new(Wrt::BOTH)), Flow::new());
    tape.pull(y, 2, &c, &mut flow, &mut whole).unwrap();
    tape2.pull(y2, 2, &c2, &mut flow, &mut whole2).unwrap();
    let lanes = |rows: &[f64]| -> Vec<f64> { rows.chunks((rows.len() / 2).max(1)).flat_map(|lane| select(lane, n, picks)).collect() };
    for i in 0..at.inputs.len() {
        assert_eq!(whole2.input(i), lanes(whole.input(i)), "cotangents of input {i}");
    }
    let (mut rows, mut rows2) = (PerExample::new(), PerExample::new());
    tape.pull(y, 2, &c, &mut flow, &mut rows).unwrap();
    tape2.pull(y2, 2, &c2, &mut flow, &mut rows2).unwrap();
    for (p, (_, parameter)) in at.parameters.iter().enumerate() {
        assert_eq!(rows2.parameter(p), lanes(rows.parameter(p)), "per-example gradients of parameter {p}");
        // The gradient of the selection is the sum of what was selected.
        let (len, m) = (parameter.len(), picks.len());
        for (lane, j) in (0..2).flat_map(|lane| (0..len).map(move |j| (lane, j))) {
            let sum: f64 = (0..m).map(|i| rows2.parameter(p)[(lane * m + i) * len + j]).sum();
            let whole = whole2.parameter(p)[lane * len + j];
            assert!((sum - whole).abs() <= 1e-13 * (1.0 + whole.abs()), "gradient of parameter {p}: {whole} should be {sum}");
        }
    }
}

fn mixes(tape: &Tape<f64>) -> bool {
    tape.vars().any(|v| tape.node(v).mixes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn selecting_examples_selects_the_derivatives_of_every_operation_to_the_bit(
        n in 1usize..12,
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        seed in 0u64..1000,
    ) {
        let picks: Vec<usize> = picks.iter().map(|p| p.index(n)).collect();
        for case in Case::all() {
            let at = case.point(n, seed);
            if !mixes(&record(&case, &at).0) {
                check_selection(&case, &case, &at, n, &picks, seed);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn selecting_examples_selects_the_derivatives_of_random_graphs_to_the_bit(
        graph in graph(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..9),
        seed in 0u64..1000,
    ) {
        let n = graph.examples.len();
        let picks: Vec<usize> = if n == 0 { Vec::new() } else { picks.iter().map(|p| p.index(n)).collect() };
        let at = graph.point().unwrap_or_default();
        prop_assume!(!at.inputs.is_empty());
        let (tape, y) = record(&graph, &at);
        prop_assume!(!mixes(&tape) && tape.node(y).per_example);
        let some = Graph { examples: picks.iter().map(|&i| graph.examples[i]).collect(), ..graph.clone() };
        check_selection(&graph, &some, &at, n, &picks, seed);
    }
}

/// Ways for an example to hear of the others.
#[derive(Clone, Copy, Debug)]
enum Mixing {
    /// `z − mean z`: a batch that is centred.
    Centred,
    /// A mean over the batch, used as a weight.
    Weight,
    Slice,
    Concat,
    Sum,
}

const MIXING: [(Mixing, &str); 5] =
    [(Mixing::Centred, "sum"), (Mixing::Weight, "sum"), (Mixing::Slice, "slice"), (Mixing::Concat, "concat"), (Mixing::Sum, "sum")];

impl Differentiable for Mixing {
    fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], parameters: &[Var]) -> Var {
        let z = tape.affine(inputs[0], parameters[0], 1.0, None);
        let y = match self {
            Mixing::Centred => {
                let mean = tape.mean_axes(z, 0..1);
                let mean = tape.broadcast(mean, 0..1, z);
                tape.sub(z, mean)
            }
            Mixing::Weight => {
                let mean = tape.mean_axes(z, 0..1);
                let weight = tape.reshape(mean, [2, 1]);
                tape.affine(z, weight, 1.0, None)
            }
            Mixing::Slice => tape.slice(z, 0, 0..2),
            Mixing::Concat => tape.concat(&[z, z], 0),
            Mixing::Sum => tape.sum(z, 0.5),
        };
        // The refusal is not about the last operation, but about the one that mixes.
        tape.map(Phi::Tanh, y)
    }
}

#[test]
fn what_mixes_examples_refuses_per_example_derivatives_by_name_and_has_a_gradient() {
    for (f, op) in MIXING {
        let leaf = |dims: [usize; 2], seed: u64| (autodiff::Shape::from(dims), values(dims[0] * dims[1], seed));
        let at = Point { inputs: vec![leaf([3, 2], 1)], parameters: vec![leaf([2, 2], 2)] };
        let (tape, y) = record(&f, &at);
        let seed = vec![1.0; tape.value(y).len()];
        let refusal = tape.pull_once(y, &seed, &mut PerExample::new()).unwrap_err();
        assert_eq!(refusal, Refusal::MixesExamples { op }, "{f:?}");
        assert!(refusal.to_string().starts_with(&format!("`{op}` mixes examples, so there is no derivative of one example alone")));
        let refusal = tape.pull_once(y, &seed, &mut autodiff::Factors::new()).unwrap_err();
        assert_eq!(refusal, Refusal::MixesExamples { op }, "{f:?}");
        for seed in 0..5 {
            let checked = autodiff::check_grads(&f, &at, seed);
            assert!(checked.is_ok(), "{f:?}: {}", checked.unwrap_err());
        }
    }
}

//! Every way for examples to share a parameter: its per-example derivatives are the gradients of tapes that hold one example alone, and its
//! factors multiply out to them.

use crate::graphs::{record, values};
use autodiff::{Differentiable, Factors, Flow, Gradient, PerExample, Phi, Point, Scalar, Shape, Tape, Use, Var, Windows, Wrt, check_grads};

/// A use of the parameters `W` `[3, 3]`, `V` `[3, 3]`, `b` `[3]` and `s` `[]` on sites `[n, 3, 3]`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shared {
    Right,
    Left,
    /// Left of one product and right of another.
    BothSides,
    Transposed,
    Reshaped,
    Sliced,
    /// The weight is two parameters side by side.
    Concatenated,
    Gathered,
    /// Its rows are gathered by each example.
    Embedded,
    BroadcastScalar,
    BroadcastRow,
    BroadcastMatrix,
    Twice,
    /// `W` and then `Wᵀ`.
    Tied,
    Scaled,
    /// A product of two weights.
    Composed,
    /// A product of stacks of weights, one of which is transposed.
    Stacked,
    Mapped,
    Normalized,
    Bias,
    /// A bias that is one column of a weight.
    SlicedBias,
    Filter,
    /// A filter made of two slices, turned around.
    TurnedFilter,
    /// The same filters without patches.
    Convolution,
    TurnedConvolution,
    /// One parameter everywhere.
    Everywhere,
}

const SHARED: [Shared; 26] = [
    Shared::Right,
    Shared::Left,
    Shared::BothSides,
    Shared::Transposed,
    Shared::Reshaped,
    Shared::Sliced,
    Shared::Concatenated,
    Shared::Gathered,
    Shared::Embedded,
    Shared::BroadcastScalar,
    Shared::BroadcastRow,
    Shared::BroadcastMatrix,
    Shared::Twice,
    Shared::Tied,
    Shared::Scaled,
    Shared::Composed,
    Shared::Stacked,
    Shared::Mapped,
    Shared::Normalized,
    Shared::Bias,
    Shared::SlicedBias,
    Shared::Filter,
    Shared::TurnedFilter,
    Shared::Convolution,
    Shared::TurnedConvolution,
    Shared::Everywhere,
];

impl Differentiable for Shared {
    fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], parameters: &[Var]) -> Var {
        let (x, [w, v, b, s]) = (inputs[0], parameters) else { panic!("there are four parameters") };
        let (w, v, b, s) = (*w, *v, *b, *s);
        let n = tape.shape(x).dims()[0];
        let pair = Windows::valid([3, 1], 3, [2, 1], [1, 1]);
        let image = |tape: &mut Tape<T>| tape.reshape(x, [n, 3, 1, 3]);
        let patches = |tape: &mut Tape<T>| {
            let image = image(tape);
            tape.patches(image, pair)
        };
        let y = match self {
            Shared::Right => tape.product(x, w, 0.7),
            Shared::Left => tape.product(w, x, 0.7),
            Shared::BothSides => {
                let left = tape.product(w, x, 0.7);
                tape.product(left, w, 0.9)
            }
            Shared::Transposed => {
                let t = tape.transpose(w);
                let left = tape.product(t, x, 0.7);
                tape.affine(left, t, 0.9, None)
            }
            Shared::Reshaped => {
                let flat = tape.reshape(w, [9, 1]);
                let rows = tape.reshape(x, [n, 9]);
                tape.affine(rows, flat, 0.7, None)
            }
            Shared::Sliced => {
                let some = tape.slice(w, 1, 1..3);
                let left = tape.slice(w, 0, 0..2);
                let y = tape.product(left, x, 0.7);
                tape.affine(y, some, 0.9, None)
            }
            Shared::Concatenated => {
                let both = tape.concat(&[w, v, w], 1);
                tape.affine(x, both, 0.7, None)
            }
            Shared::Gathered => {
                let rows = tape.constant([4], &[2.0, 0.0, 2.0, 1.0].map(T::of));
                let left = tape.gather(w, rows);
                tape.product(left, x, 0.7)
            }
            Shared::Embedded => {
                let word = |x: &[T]| T::of((1.5 * (x[0].primal() + 1.0)).floor().clamp(0.0, 2.0));
                let words: Vec<T> = tape.value(x).chunks(3).map(word).collect();
                let words = tape.target([n, 3], &words);
                let rows = tape.gather(w, words);
                tape.mul(rows, x)
            }
            Shared::BroadcastScalar => {
                let s = tape.broadcast(s, 0..3, x);
                tape.mul(s, x)
            }
            Shared::BroadcastRow => {
                let b = tape.broadcast(b, 0..2, x);
                tape.mul(b, x)
            }
            Shared::BroadcastMatrix => {
                let w = tape.broadcast(w, 0..1, x);
                tape.div(x, w)
            }
            Shared::Twice => {
                let h = tape.affine(x, w, 0.7, None);
                let h = tape.map(Phi::Tanh, h);
                tape.affine(h, w, 0.9, None)
            }
            Shared::Tied => {
                let h = tape.affine(x, w, 0.7, None);
                let h = tape.map(Phi::Tanh, h);
                let back = tape.transpose(w);
                tape.affine(h, back, 0.9, Some((b, 0.3)))
            }
            Shared::Scaled => {
                let half = tape.scale(w, 0.5);
                tape.affine(x, half, 0.7, None)
            }
            Shared::Composed => {
                let u = tape.affine(w, v, 0.7, Some((b, 0.3)));
                let left = tape.product(u, x, 0.8);
                tape.affine(left, u, 0.9, None)
            }
            Shared::Stacked => {
                let stack = tape.concat(&[w, v], 0);
                let stack = tape.reshape(stack, [2, 3, 3]);
                let turned = tape.transpose(stack);
                let both = tape.product(stack, turned, 0.5);
                let one = tape.product(w, both, 0.5);
                let one = tape.sum_axes(one, 0..1, 1.0);
                tape.affine(x, one, 0.7, None)
            }
            Shared::Mapped => {
                let u = tape.map(Phi::Tanh, w);
                tape.affine(x, u, 0.7, None)
            }
            Shared::Normalized => {
                let norms = tape.norm(w);
                let norms = tape.broadcast(norms, 1..2, w);
                let u = tape.div(w, norms);
                let u = tape.softmax(u);
                tape.affine(x, u, 0.7, None)
            }
            Shared::Bias => tape.affine(x, w, 0.7, Some((b, 0.3))),
            Shared::SlicedBias => {
                let column = tape.slice(v, 1, 1..2);
                let bias = tape.reshape(column, [3]);
                tape.affine(x, w, 0.7, Some((bias, 0.3)))
            }
            Shared::Filter => {
                let (patches, filter) = (patches(tape), tape.concat(&[w, v], 0));
                tape.affine(patches, filter, 0.7, Some((b, 0.3)))
            }
            Shared::TurnedFilter => {
                let (patches, both) = (patches(tape), tape.concat(&[v, w], 1));
                let filter = tape.transpose(both);
                tape.affine(patches, filter, 0.7, None)
            }
            Shared::Convolution => {
                // A parameter by itself, and one that is computed.
                let image = image(tape);
                let one = Windows::same([3, 1], 3, [1, 1], [1, 1]);
                let h = tape.conv(image, w, one, 0.7, Some((b, 0.3)));
                let filter = tape.concat(&[w, v], 0);
                tape.conv(h, filter, pair, 0.9, None)
            }
            Shared::TurnedConvolution => {
                let (image, both) = (image(tape), tape.concat(&[v, w], 1));
                let filter = tape.transpose(both);
                let around = Windows::circular([3, 1], 3, [2, 1], [2, 1]);
                tape.conv(image, filter, around, 0.7, Some((b, 0.3)))
            }
            Shared::Everywhere => {
                let back = tape.transpose(w);
                let h = tape.product(back, x, 0.7);
                let h = tape.affine(h, w, 0.9, None);
                let column = tape.slice(w, 1, 0..1);
                let bias = tape.reshape(column, [3]);
                let row = tape.broadcast(bias, 0..2, h);
                let h = tape.add(h, row);
                tape.affine(h, back, 0.5, Some((bias, 0.3)))
            }
        };
        tape.map(Phi::Tanh, y)
    }
}

const PARAMETERS: [&[usize]; 4] = [&[3, 3], &[3, 3], &[3], &[]];

fn point(x: &[f64], seed: u64) -> Point {
    let parameter = |(i, dims): (usize, &[usize])| (Shape::from(dims), values(dims.iter().product(), seed + 10 + i as u64));
    Point {
        inputs: vec![(Shape::from([x.len() / 9, 3, 3]), x.to_vec())],
        parameters: PARAMETERS.into_iter().enumerate().map(parameter).collect(),
    }
}

/// The per-example derivatives of a parameter, multiplied out of its factors.
fn multiplied(uses: &[Use<f64>], lanes: usize, examples: usize, len: usize) -> Vec<f64> {
    let mut sum = vec![0.0; lanes * examples * len];
    for one in uses {
        match one {
            Use::Rows(rows) => sum.iter_mut().zip(rows).for_each(|(s, r)| *s += r),
            Use::Ones { g, n_out, scale } => {
                for (row, g) in g.chunks(g.len() / (lanes * examples)).enumerate() {
                    g.iter().enumerate().for_each(|(e, g)| sum[row * len + e % n_out] += scale * g);
                }
            }
            Use::Outer { x, g, n_in, n_out, scale } => {
                let sites = x.len() / n_in / examples;
                for (row, site) in (0..lanes * examples).flat_map(|row| (0..sites).map(move |site| (row, site))) {
                    let x = &x[(row % examples * sites + site) * n_in..][..*n_in];
                    let g = &g[(row * sites + site) * n_out..][..*n_out];
                    for (a, c) in (0..*n_in).flat_map(|a| (0..*n_out).map(move |c| (a, c))) {
                        sum[row * len + a * n_out + c] += scale * x[a] * g[c];
                    }
                }
            }
        }
    }
    sum
}

fn assert_close(found: &[f64], want: &[f64], bound: f64, what: &str) {
    assert_eq!(found.len(), want.len(), "{what}");
    let largest = want.iter().fold(1.0_f64, |m, w| m.max(w.abs()));
    assert!(found.iter().zip(want).all(|(f, w)| (f - w).abs() <= bound * largest), "{what}: {found:?} should be {want:?}");
}

#[test]
fn per_example_derivatives_are_the_gradients_of_one_example_alone() {
    for f in SHARED {
        for (examples, seed) in [(3, 1), (1, 2), (3, 3)] {
            let x = values(9 * examples, seed);
            let (tape, y) = record(&f, &point(&x, seed));
            assert_eq!(tape.examples(y), Ok(examples), "{f:?}");
            let outputs = tape.value(y).len() / examples;
            for lanes in [1, 2] {
                let seeds = values(lanes * examples * outputs, seed + 30);
                let (mut rows, mut factors, mut flow) = (PerExample::new(), Factors::new(), Flow::new());
                tape.pull(y, lanes, &seeds, &mut flow, &mut rows).unwrap();
                tape.pull(y, lanes, &seeds, &mut flow, &mut factors).unwrap();
                for row in 0..lanes * examples {
                    let (alone, y) = record(&f, &point(&x[row % examples * 9..][..9], seed));
                    let mut gradient = Gradient::new(Wrt::PARAMETERS);
                    alone.pull_once(y, &seeds[row * outputs..][..outputs], &mut gradient).unwrap();
                    for p in 0..PARAMETERS.len() {
                        let want = gradient.parameter(p);
                        let found = &rows.parameter(p)[row * want.len()..][..want.len()];
                        assert_close(found, want, 1e-14, &format!("{f:?}, {lanes} lanes, row {row}, parameter {p}"));
                    }
                }
                for (p, uses) in factors.uses().iter().enumerate() {
                    let found = multiplied(uses, lanes, examples, PARAMETERS[p].iter().product());
                    assert_close(&found, rows.parameter(p), 1e-14, &format!("{f:?}, {lanes} lanes, factors of parameter {p}"));
                }
            }
        }
    }
}

#[test]
fn every_use_obeys_every_law() {
    for f in SHARED {
        for (examples, seed) in [(0, 0), (1, 1), (3, 2), (3, 3)] {
            let checked = check_grads(&f, &point(&values(9 * examples, seed), seed), seed);
            assert!(checked.is_ok(), "{f:?}, {examples} examples: {}", checked.unwrap_err());
        }
    }
}

#[test]
fn a_weight_on_the_right_keeps_its_factors_whatever_the_sites() {
    let (tape, y) = record(&Shared::Right, &point(&values(27, 1), 1));
    let mut factors = Factors::new();
    tape.pull_once(y, &values(27, 2), &mut factors).unwrap();
    let [Use::Outer { x, n_in: 3, n_out: 3, .. }] = &factors.uses()[0][..] else { panic!("{:?}", factors.uses()[0]) };
    assert_eq!(x[..], values(27, 1));
}

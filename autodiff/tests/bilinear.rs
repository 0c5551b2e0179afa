//! Operations that are linear in each of two operands: differences with step 1 are exact there, up to rounding.

use crate::graphs::{record, values};
use autodiff::{Differentiable, Dual, Flow, Gradient, Leaf, Point, Scalar, Shape, Tape, Var, Windows, Wrt};
use proptest::prelude::*;

/// A bilinear function of the leaves 0 and 1, where a leaf is an input if it has examples.
#[derive(Clone, Copy, Debug)]
enum Bilinear {
    Affine,
    /// With a bias, that the weight carries in its last row.
    Bias,
    /// A product for each example.
    Product,
    /// One left factor for all examples.
    LeftParameter,
    /// One right factor for all examples and sites.
    RightParameter,
    /// A weight used transposed.
    Transposed,
    /// Products of matrices that no example owns.
    Shared,
    Mul,
    RowDot,
    /// A filter over windows, by the product of what they see and by itself.
    Patches(Windows),
    Convolution(Windows),
}

impl Bilinear {
    fn all() -> Vec<Bilinear> {
        let (image, c) = ([4, 3], 2);
        let windows = [
            Windows::same(image, c, [2, 3], [2, 1]),
            Windows::valid(image, c, [2, 2], [1, 1]),
            Windows::circular(image, c, [3, 2], [1, 2]),
        ];
        let others = [
            Bilinear::Affine,
            Bilinear::Bias,
            Bilinear::Product,
            Bilinear::LeftParameter,
            Bilinear::RightParameter,
            Bilinear::Transposed,
            Bilinear::Shared,
            Bilinear::Mul,
            Bilinear::RowDot,
        ];
        others.into_iter().chain(windows.map(Bilinear::Patches)).chain(windows.map(Bilinear::Convolution)).collect()
    }

    /// Shapes of the operands, and whether they are inputs.
    fn shapes(self, [n, m, k, c]: [usize; 4]) -> [(Vec<usize>, bool); 2] {
        match self {
            Bilinear::Affine => [(vec![n, k], true), (vec![k, c], false)],
            Bilinear::Bias => [(vec![n, k], true), (vec![k + 1, c], false)],
            Bilinear::Product => [(vec![n, m, k], true), (vec![n, k, c], true)],
            Bilinear::LeftParameter => [(vec![n, k, c], true), (vec![m, k], false)],
            Bilinear::RightParameter => [(vec![n, m, k], true), (vec![k, c], false)],
            Bilinear::Transposed => [(vec![n, k], true), (vec![c, k], false)],
            Bilinear::Shared => [(vec![n, m, k], false), (vec![n, k, c], false)],
            Bilinear::Mul | Bilinear::RowDot => [(vec![n, m, k], true), (vec![n, m, k], true)],
            Bilinear::Patches(windows) | Bilinear::Convolution(windows) => {
                let ([h, w], channels) = (windows.image(), windows.channels());
                [(vec![n, h, w, channels], true), (vec![windows.cells() * channels, c], false)]
            }
        }
    }

    fn point(self, sizes: [usize; 4], seed: u64) -> Point {
        let mut at = Point::default();
        for (i, (dims, input)) in self.shapes(sizes).into_iter().enumerate() {
            let leaf = (Shape::from(&dims[..]), values(dims.iter().product(), seed + i as u64));
            if input { at.inputs.push(leaf) } else { at.parameters.push(leaf) }
        }
        at
    }
}

impl Differentiable for Bilinear {
    fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], parameters: &[Var]) -> Var {
        let leaves: Vec<Var> = inputs.iter().chain(parameters).copied().collect();
        let (x, y) = (leaves[0], leaves[1]);
        match self {
            Bilinear::Affine | Bilinear::RightParameter => tape.affine(x, y, 0.7, None),
            Bilinear::Bias => {
                let k = tape.shape(x).cols();
                let (w, b) = (tape.slice(y, 0, 0..k), tape.slice(y, 0, k..k + 1));
                let c = tape.shape(y).cols();
                let b = tape.reshape(b, [c]);
                // Bilinear in the weight and x with a column of ones; the ones do not move.
                tape.affine(x, w, 1.0, Some((b, 0.3)))
            }
            Bilinear::Product | Bilinear::Shared => tape.product(x, y, 0.7),
            Bilinear::LeftParameter => tape.product(y, x, 0.7),
            Bilinear::Transposed => {
                let w = tape.transpose(y);
                tape.affine(x, w, 0.7, None)
            }
            Bilinear::Mul => tape.mul(x, y),
            Bilinear::RowDot => tape.row_dot(x, y),
            Bilinear::Convolution(windows) => tape.conv(x, y, *windows, 0.7, None),
            Bilinear::Patches(windows) => {
                let patches = tape.patches(x, *windows);
                tape.affine(patches, y, 1.0, None)
            }
        }
    }
}

/// The leaves of a point in the order of the operands.
fn leaves(at: &Point) -> Vec<Leaf> {
    let inputs = (0..at.inputs.len()).map(Leaf::Input);
    inputs.chain((0..at.parameters.len()).map(Leaf::Parameter)).collect()
}

fn moved(at: &Point, leaf: Leaf, by: f64, t: &[f64]) -> Point {
    let mut at = at.clone();
    let x = match leaf {
        Leaf::Input(i) => &mut at.inputs[i].1,
        Leaf::Parameter(i) => &mut at.parameters[i].1,
        Leaf::Constant => unreachable!("constants do not move"),
    };
    x.iter_mut().zip(t).for_each(|(x, t)| *x += by * t);
    at
}

fn value(f: Bilinear, at: &Point) -> Vec<f64> {
    let (tape, y) = record(&f, at);
    tape.value(y).to_vec()
}

fn pushed(f: Bilinear, at: &Point, along: Leaf, t: &[f64]) -> Vec<f64> {
    let (tape, y) = record(&f, at);
    let tangent = |leaf: Leaf| (leaf == along).then_some(t);
    tape.push(y, 1, tangent, &mut Flow::new()).map_or(vec![0.0; tape.value(y).len()], <[f64]>::to_vec)
}

fn assert_close(found: &[f64], want: &[f64], what: &str) {
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let difference: Vec<f64> = found.iter().zip(want).map(|(f, w)| f - w).collect();
    assert_eq!(found.len(), want.len(), "{what}");
    assert!(norm(&difference) <= 1e-13 * (1.0 + norm(want)), "{what}: {found:?} should be {want:?}");
}

fn check(f: Bilinear, sizes: [usize; 4], seed: u64) {
    let at = f.point(sizes, seed);
    let [one, two] = leaves(&at)[..] else { unreachable!("there are two operands") };
    let len = |leaf: Leaf| match leaf {
        Leaf::Input(i) => at.inputs[i].1.len(),
        Leaf::Parameter(i) => at.parameters[i].1.len(),
        Leaf::Constant => 0,
    };
    let (t, s) = (values(len(one), seed + 10), values(len(two), seed + 20));
    // In either operand alone.
    for (leaf, t) in [(one, &t), (two, &s)] {
        let (above, below) = (value(f, &moved(&at, leaf, 1.0, t)), value(f, &moved(&at, leaf, -1.0, t)));
        let central: Vec<f64> = above.iter().zip(&below).map(|(a, b)| 0.5 * (a - b)).collect();
        assert_close(&pushed(f, &at, leaf, t), &central, &format!("{f:?} {sizes:?}, {leaf:?}"));
    }
    // In both: B(t, s), by values, by the tangent in one operand at two places of the other, and by a reverse pass over duals.
    let there = moved(&at, two, 1.0, &s);
    let corners = [moved(&there, one, 1.0, &t), there.clone(), moved(&at, one, 1.0, &t), at.clone()].map(|at| value(f, &at));
    let n = corners[0].len();
    let mixed: Vec<f64> = (0..n).map(|i| corners[0][i] - corners[1][i] - corners[2][i] + corners[3][i]).collect();
    let (far, near) = (pushed(f, &there, one, &t), pushed(f, &at, one, &t));
    let by_tangents: Vec<f64> = far.iter().zip(&near).map(|(a, b)| a - b).collect();
    assert_close(&by_tangents, &mixed, &format!("{f:?} {sizes:?}, both"));

    let c = values(n, seed + 30);
    let mut tape = Tape::new();
    let lift = |x: &[f64], leaf: Leaf| -> Vec<Dual<f64>> {
        let along = |i: usize| if leaf == one { t[i] } else { 0.0 };
        x.iter().enumerate().map(|(i, &re)| Dual { re, eps: along(i) }).collect()
    };
    let parameters: Vec<Var> =
        at.parameters.iter().enumerate().map(|(i, (shape, x))| tape.parameter(*shape, &lift(x, Leaf::Parameter(i)))).collect();
    let inputs: Vec<Var> = at.inputs.iter().enumerate().map(|(i, (shape, x))| tape.input(*shape, &lift(x, Leaf::Input(i)))).collect();
    let y = f.record(&mut tape, &inputs, &parameters);
    let mut gradient = Gradient::new(Wrt::BOTH);
    tape.pull_once(y, &c.iter().map(|&c| Dual::of(c)).collect::<Vec<_>>(), &mut gradient).unwrap();
    let of_two = match two {
        Leaf::Input(i) => gradient.input(i),
        Leaf::Parameter(i) => gradient.parameter(i),
        Leaf::Constant => unreachable!("constants have no gradient"),
    };
    let found: f64 = of_two.iter().zip(&s).map(|(g, s)| g.eps * s).sum();
    let want: f64 = mixed.iter().zip(&c).map(|(b, c)| b * c).sum();
    assert_close(&[found], &[want], &format!("{f:?} {sizes:?}, both, in reverse"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn differences_with_step_one_are_the_derivatives_of_bilinear_operations(sizes in [0usize..5, 0usize..5, 0usize..5, 0usize..5], seed in 0u64..1000) {
        for f in Bilinear::all() {
            check(f, sizes, seed);
        }
    }
}

#[test]
fn they_are_so_for_sums_that_are_cut_into_pieces_too() {
    for f in Bilinear::all() {
        check(f, [3, 7, 300, 5], 1);
        check(f, [2, 300, 3, 9], 2);
    }
}

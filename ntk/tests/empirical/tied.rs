//! Functions that share weights in every way that a tape can.

use crate::common::check_all;
use autodiff::{Phi, Scalar, Shape, Tape, Var};
use ntk::Function;

/// Functions that share weights in every way that a tape can.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tied {
    /// One weight in two layers.
    Twice,
    /// `tanh(x·W)·Wᵀ`.
    Transposed,
    /// One weight straight, transposed, and straight again, around a residual sum.
    Mixed,
    /// The weight of a layer is the product of two parameters.
    Composed,
    /// One bias in two layers, and a bias that is the image of a parameter.
    Biases,
    /// Two sites for each example, summed by a product of rows.
    Sites,
    /// A weight on the left of the sites, and the same on their right.
    Left,
    /// Weights that are slices, gathered rows, and reshapes of parameters, side by side.
    Pieces,
    /// A parameter repeated for all examples, and a scaled and transposed one.
    Repeated,
    /// An embedding of two tokens, with one layer for both.
    Embedded,
    /// An embedding whose table is the weight of the last layer too.
    EmbeddedTwice,
}

const TIED: [Tied; 11] = [
    Tied::Twice,
    Tied::Transposed,
    Tied::Mixed,
    Tied::Composed,
    Tied::Biases,
    Tied::Sites,
    Tied::Left,
    Tied::Pieces,
    Tied::Repeated,
    Tied::Embedded,
    Tied::EmbeddedTwice,
];

/// Rows of a table for the three tokens that the signs of an example's first three numbers are.
fn embed<T: Scalar>(tape: &mut Tape<T>, table: Var, x: Var) -> Var {
    let positive = |x: T| f64::from(u8::from(x.primal() > 0.0));
    let tokens = |x: &[T]| [positive(x[0]), positive(x[1]), 1.0 + positive(x[2])];
    let tokens: Vec<T> = tape.value(x).chunks(4).flat_map(tokens).map(T::of).collect();
    let rows = tape.target([tokens.len() / 3, 3], &tokens);
    tape.gather(table, rows)
}

impl<T: Scalar> Function<T> for Tied {
    fn input_shape(&self, entries: usize) -> Shape {
        match self {
            Tied::Sites | Tied::Left => Shape::from([entries / 4, 2, 2]),
            Tied::Twice
            | Tied::Transposed
            | Tied::Mixed
            | Tied::Composed
            | Tied::Biases
            | Tied::Pieces
            | Tied::Repeated
            | Tied::Embedded
            | Tied::EmbeddedTwice => Shape::from([entries / 4, 4]),
        }
    }

    fn parameters(&self, tape: &mut Tape<T>) -> Vec<Var> {
        let n = match self {
            Tied::Sites | Tied::Left => 2,
            Tied::Twice
            | Tied::Transposed
            | Tied::Mixed
            | Tied::Composed
            | Tied::Biases
            | Tied::Pieces
            | Tied::Repeated
            | Tied::Embedded
            | Tied::EmbeddedTwice => 4,
        };
        vec![
            tape.parameter([n, n], &nn::normals::<T>(5, 0, n * n)),
            tape.parameter([n, n], &nn::normals::<T>(5, 1, n * n)),
            tape.parameter([n], &nn::normals::<T>(5, 2, n)),
        ]
    }

    fn record(&self, tape: &mut Tape<T>, parameters: &[Var], x: Var) -> Var {
        let [w, v, b] = parameters[..] else { panic!("three parameters were recorded") };
        match self {
            Tied::Twice => {
                let h = tape.affine(x, w, 0.5, Some((b, 0.3)));
                let h = tape.map(Phi::Tanh, h);
                let h = tape.affine(h, w, 0.7, None);
                let h = tape.map(Phi::Erf, h);
                tape.affine(h, v, 0.9, None)
            }
            Tied::Transposed => {
                let h = tape.affine(x, w, 0.5, None);
                let h = tape.map(Phi::Tanh, h);
                let back = tape.transpose(w);
                tape.affine(h, back, 0.8, Some((b, 0.4)))
            }
            Tied::Mixed => {
                let h = tape.affine(x, w, 0.5, None);
                let back = tape.transpose(w);
                let g = tape.map(Phi::Tanh, h);
                let g = tape.affine(g, back, 0.8, None);
                let g = tape.affine(g, w, 0.6, Some((b, 1.0)));
                tape.add(g, h)
            }
            Tied::Composed => {
                let u = tape.affine(w, v, 0.5, Some((b, 0.2)));
                let u = tape.map(Phi::Tanh, u);
                let h = tape.affine(x, u, 0.8, None);
                tape.affine(h, w, 0.4, None)
            }
            Tied::Biases => {
                let shifted = tape.map(Phi::Tanh, b);
                let h = tape.affine(x, w, 0.5, Some((b, 0.3)));
                let h = tape.map(Phi::Erf, h);
                let h = tape.affine(h, v, 0.5, Some((b, 0.6)));
                tape.affine(h, v, 0.5, Some((shifted, 0.6)))
            }
            Tied::Sites => {
                let h = tape.affine(x, w, 0.5, Some((b, 0.3)));
                let h = tape.map(Phi::Tanh, h);
                let g = tape.affine(h, v, 0.5, None);
                tape.row_dot(h, g)
            }
            Tied::Left => {
                let h = tape.product(w, x, 0.5);
                let h = tape.map(Phi::Tanh, h);
                let h = tape.product(h, w, 0.7);
                let h = tape.product(v, h, 0.9);
                tape.sum_axes(h, 1..2, 0.6)
            }
            Tied::Pieces => {
                let half = tape.slice(w, 1, 1..3);
                let rows = tape.constant([4], &[3.0, 0.0, 3.0, 1.0].map(T::of));
                let gathered = tape.gather(v, rows);
                let both = tape.concat(&[half, gathered, w], 1);
                let h = tape.affine(x, both, 0.5, None);
                let h = tape.map(Phi::Tanh, h);
                let h = tape.slice(h, 1, 1..9);
                let filter = tape.reshape(w, [8, 2]);
                tape.affine(h, filter, 0.7, None)
            }
            Tied::Embedded => {
                let h = embed(tape, w, x);
                let h = tape.affine(h, v, 0.5, Some((b, 0.3)));
                let h = tape.map(Phi::Tanh, h);
                tape.sum_axes(h, 1..2, 0.5)
            }
            Tied::EmbeddedTwice => {
                let h = embed(tape, w, x);
                let h = tape.sum_axes(h, 1..2, 0.5);
                let h = tape.map(Phi::Tanh, h);
                tape.affine(h, w, 0.5, Some((b, 0.3)))
            }
            Tied::Repeated => {
                let row = tape.broadcast(b, 0..1, x);
                let h = tape.mul(row, x);
                let scaled = tape.scale(w, 0.5);
                let back = tape.transpose(scaled);
                let h = tape.affine(h, back, 0.7, Some((b, 0.3)));
                let row = tape.row_dot(w, v);
                let row = tape.broadcast(row, 0..1, h);
                tape.add(h, row)
            }
        }
    }
}

#[test]
fn every_strategy_is_right_for_shared_and_transposed_weights() {
    for tied in TIED {
        check_all::<f64>(&tied, 4, 1e-12, &format!("{tied:?}"));
        check_all::<f32>(&tied, 4, 2e-5, &format!("{tied:?}"));
    }
}

//! Every recording method refuses what does not fit, and says the shapes that it was given.

use autodiff::{Phi, Shape, Tape, Var, Windows};
use std::panic::{AssertUnwindSafe, catch_unwind};

type Record = fn(&mut Tape<f64>);

fn input(tape: &mut Tape<f64>, dims: &[usize]) -> Var {
    tape.input(Shape::from(dims), &vec![0.5; dims.iter().product()])
}

fn parameter(tape: &mut Tape<f64>, dims: &[usize]) -> Var {
    tape.parameter(Shape::from(dims), &vec![0.5; dims.iter().product()])
}

/// Two values, the first of which belongs to examples if the shape is given so, with a method of both.
fn both(tape: &mut Tape<f64>, x: (&[usize], bool), y: (&[usize], bool), f: impl Fn(&mut Tape<f64>, Var, Var)) {
    let mut leaf = |(dims, per_example): (&[usize], bool)| if per_example { input(tape, dims) } else { parameter(tape, dims) };
    let (x, y) = (leaf(x), leaf(y));
    f(tape, x, y);
}

const EXAMPLES: bool = true;
const SHARED: bool = false;

/// What is recorded, and what the message must say.
const REFUSED: &[(Record, &str)] = &[
    (|t| _ = t.input([2, 3], &[1.0; 5]), "shape [2, 3] needs 6 values, 5 were given"),
    (|t| _ = t.input(Shape::scalar(), &[1.0]), "axis 0 is the examples, and a scalar has no axis"),
    (|t| _ = t.target(Shape::scalar(), &[1.0]), "axis 0 is the examples, and a scalar has no axis"),
    (|t| _ = t.parameter([1, 1, 1, 1, 1], &[1.0]), "a tensor has at most four axes, and [1, 1, 1, 1, 1] are 5"),
    // Products.
    (
        |t| both(t, (&[2, 3], EXAMPLES), (&[4, 5], SHARED), |t, x, w| _ = t.affine(x, w, 1.0, None)),
        "affine needs [.., n_in] and [n_in, n_out], given [2, 3] and [4, 5]",
    ),
    (
        |t| both(t, (&[2, 3], EXAMPLES), (&[3], SHARED), |t, x, w| _ = t.affine(x, w, 1.0, None)),
        "affine needs [.., n_in] and [n_in, n_out], given [2, 3] and [3]",
    ),
    (
        |t| both(t, (&[], SHARED), (&[3, 2], SHARED), |t, x, w| _ = t.affine(x, w, 1.0, None)),
        "affine needs [.., n_in] and [n_in, n_out], given [] and [3, 2]",
    ),
    (
        |t| both(t, (&[2, 3], EXAMPLES), (&[3, 2], EXAMPLES), |t, x, w| _ = t.affine(x, w, 1.0, None)),
        "the weight of an affine map, [3, 2], must be shared by the examples",
    ),
    (
        |t| both(t, (&[3], EXAMPLES), (&[3, 2], SHARED), |t, x, w| _ = t.affine(x, w, 1.0, None)),
        "axis 0 of [3] is the examples: the product with [3, 2] would mix them",
    ),
    (
        |t| both(t, (&[3, 2], SHARED), (&[3], SHARED), |t, w, b| _ = t.affine(w, w, 1.0, Some((b, 1.0)))),
        "affine needs [.., n_in] and [n_in, n_out], given [3, 2] and [3, 2]",
    ),
    (
        |t| both(t, (&[2, 2], SHARED), (&[3], SHARED), |t, w, b| _ = t.affine(w, w, 1.0, Some((b, 1.0)))),
        "the bias of [2, 2] has shape [2], given [3]",
    ),
    (
        |t| both(t, (&[2, 2], SHARED), (&[2], EXAMPLES), |t, w, b| _ = t.affine(w, w, 1.0, Some((b, 1.0)))),
        "the bias of an affine map, [2], must be shared by the examples",
    ),
    (
        |t| both(t, (&[2, 3, 4], EXAMPLES), (&[2, 3, 4], EXAMPLES), |t, x, y| _ = t.product(x, y, 1.0)),
        "product needs [.., m, k] and [.., k, n], given [2, 3, 4] and [2, 3, 4]",
    ),
    (
        |t| both(t, (&[4], SHARED), (&[2, 4, 3], EXAMPLES), |t, x, y| _ = t.product(x, y, 1.0)),
        "product needs [.., m, k] and [.., k, n], given [4] and [2, 4, 3]",
    ),
    (
        |t| both(t, (&[3, 3, 4], EXAMPLES), (&[2, 4, 3], EXAMPLES), |t, x, y| _ = t.product(x, y, 1.0)),
        "with equal leading axes, or a left factor [m, k] that the examples share, given [3, 3, 4] and [2, 4, 3]",
    ),
    (
        |t| both(t, (&[2, 3, 4], SHARED), (&[2, 4, 3], EXAMPLES), |t, x, y| _ = t.product(x, y, 1.0)),
        "with equal leading axes, or a left factor [m, k] that the examples share, given [2, 3, 4] and [2, 4, 3]",
    ),
    (
        |t| both(t, (&[3, 4], EXAMPLES), (&[4, 2], EXAMPLES), |t, x, y| _ = t.product(x, y, 1.0)),
        "the product of [3, 4] and [4, 2] would mix examples",
    ),
    (
        |t| both(t, (&[3, 4], SHARED), (&[4, 2], EXAMPLES), |t, x, y| _ = t.product(x, y, 1.0)),
        "the product of [3, 4] and [4, 2] would mix examples",
    ),
    (
        |t| both(t, (&[2, 3], EXAMPLES), (&[3, 2], EXAMPLES), |t, x, y| _ = t.row_dot(x, y)),
        "row_dot needs two equal shapes, given [2, 3] and [3, 2]",
    ),
    (
        |t| both(t, (&[3], EXAMPLES), (&[3], EXAMPLES), |t, x, y| _ = t.row_dot(x, y)),
        "row_dot sums the last axis away, and [3] has none to spare",
    ),
    // Entry by entry.
    (|t| both(t, (&[2, 3], EXAMPLES), (&[3], SHARED), |t, x, y| _ = t.add(x, y)), "add needs two equal shapes, given [2, 3] and [3]"),
    (
        |t| both(t, (&[2, 3], EXAMPLES), (&[3, 2], EXAMPLES), |t, x, y| _ = t.sub(x, y)),
        "sub needs two equal shapes, given [2, 3] and [3, 2]",
    ),
    (
        |t| both(t, (&[2, 3], EXAMPLES), (&[3, 2], EXAMPLES), |t, x, y| _ = t.mul(x, y)),
        "mul needs two equal shapes, given [2, 3] and [3, 2]",
    ),
    (
        |t| both(t, (&[2, 3], EXAMPLES), (&[3, 2], EXAMPLES), |t, x, y| _ = t.div(x, y)),
        "div needs two equal shapes, given [2, 3] and [3, 2]",
    ),
    (
        |t| both(t, (&[2, 3], EXAMPLES), (&[2, 3], SHARED), |t, x, y| _ = t.mul(x, y)),
        "mul of [2, 3] and [2, 3]: the first axis of one is the examples, of the other it is not",
    ),
    // Along axes.
    (
        |t| {
            let x = input(t, &[2, 3]);
            t.sum_axes(x, 1..3, 1.0);
        },
        "axes 1..3 of [2, 3], which has 2",
    ),
    (
        |t| {
            let x = input(t, &[2, 3]);
            t.mean_axes(x, 2..3);
        },
        "axes 2..3 of [2, 3], which has 2",
    ),
    (
        |t| both(t, (&[3], SHARED), (&[2, 4], EXAMPLES), |t, x, like| _ = t.broadcast(x, 0..1, like)),
        "broadcast along the axes 0..1 of [2, 4] needs [4], given [3]",
    ),
    (
        |t| both(t, (&[2], SHARED), (&[2, 4], EXAMPLES), |t, x, like| _ = t.broadcast(x, 1..2, like)),
        "broadcast of [2] along the axes 1..2 of [2, 4]: the examples of one are not those of the other",
    ),
    (
        |t| both(t, (&[4], EXAMPLES), (&[2, 4], EXAMPLES), |t, x, like| _ = t.broadcast(x, 0..1, like)),
        "broadcast of [4] along the axes 0..1 of [2, 4]: the examples of one are not those of the other",
    ),
    (
        |t| {
            let x = input(t, &[3]);
            t.norm(x);
        },
        "norm sums the last axis away, and [3] has none to spare",
    ),
    (
        |t| {
            let x = parameter(t, &[]);
            t.log_sum_exp(x);
        },
        "log_sum_exp sums the last axis away, and [] has none to spare",
    ),
    (
        |t| {
            let x = input(t, &[3]);
            t.softmax(x);
        },
        "log_sum_exp sums the last axis away, and [3] has none to spare",
    ),
    (
        |t| both(t, (&[2, 3], EXAMPLES), (&[3, 2], EXAMPLES), |t, x, p| _ = t.cross_entropy(x, p)),
        "row_dot needs two equal shapes, given [3, 2] and [2, 3]",
    ),
    // Other shapes and places.
    (
        |t| {
            let x = input(t, &[2, 3]);
            t.transpose(x);
        },
        "axis 0 of [2, 3] is the examples: transposing would mix them",
    ),
    (
        |t| {
            let x = parameter(t, &[3]);
            t.transpose(x);
        },
        "transpose exchanges two axes, and [3] has not two",
    ),
    (
        |t| {
            let x = input(t, &[2, 3]);
            t.reshape(x, [2, 4]);
        },
        "[2, 3] cannot be reshaped to [2, 4]: the numbers of entries differ",
    ),
    (
        |t| {
            let x = input(t, &[2, 3]);
            t.reshape(x, [3, 2]);
        },
        "axis 0 of [2, 3] is the examples: reshaping to [3, 2] would mix them",
    ),
    (
        |t| {
            let x = input(t, &[2, 3]);
            t.slice(x, 1, 2..4);
        },
        "the places 2..4 along axis 1 of [2, 3]",
    ),
    (
        |t| {
            let x = input(t, &[2, 3]);
            t.slice(x, 2, 0..1);
        },
        "the places 0..1 along axis 2 of [2, 3]",
    ),
    (|t| _ = t.concat(&[], 0), "concat needs at least one tensor"),
    (|t| both(t, (&[2, 3], EXAMPLES), (&[3, 3], EXAMPLES), |t, x, y| _ = t.concat(&[x, y], 1)), "concat along axis 1 of [2, 3] and [3, 3]"),
    (
        |t| both(t, (&[2, 3], EXAMPLES), (&[2, 3], SHARED), |t, x, y| _ = t.concat(&[x, x, y], 1)),
        "concat of [2, 3] and [2, 3]: the first axis of one is the examples, of the other it is not",
    ),
    (
        |t| {
            let x = input(t, &[2, 3]);
            t.concat(&[x], 2);
        },
        "concat along axis 2 of [2, 3] and [2, 3]",
    ),
    (
        |t| {
            let (table, rows) = (parameter(t, &[3, 2]), t.target([2], &[0.0, 3.0]));
            t.gather(table, rows);
        },
        "gather of row 3 from a table [3, 2] of 3 rows",
    ),
    (
        |t| {
            let (table, rows) = (parameter(t, &[3, 2]), t.target([2], &[0.0, 0.5]));
            t.gather(table, rows);
        },
        "gather of row 0.5 from a table [3, 2] of 3 rows",
    ),
    (
        |t| {
            let (table, rows) = (input(t, &[3, 2]), t.target([2], &[0.0, 1.0]));
            t.gather(table, rows);
        },
        "gather needs a table that the examples share, given [3, 2]",
    ),
    (
        |t| both(t, (&[3, 2], SHARED), (&[2], EXAMPLES), |t, table, rows| _ = t.gather(table, rows)),
        "gather needs numbers of rows that are constant, given `input`",
    ),
    // Windows.
    (
        |t| {
            let x = input(t, &[2, 4, 3, 1]);
            t.patches(x, Windows::valid([4, 3], 2, [2, 2], [1, 1]));
        },
        "patches needs images [n, 4, 3, 2], given [2, 4, 3, 1]",
    ),
    (
        |t| {
            let x = input(t, &[2, 4, 3]);
            t.sum_pool(x, Windows::valid([4, 3], 1, [2, 2], [1, 1]), 1.0);
        },
        "sum_pool needs images [n, 4, 3, 1], given [2, 4, 3]",
    ),
    (
        |t| {
            let x = input(t, &[2, 3, 4, 1]);
            t.max_pool(x, Windows::valid([4, 3], 1, [2, 2], [1, 1]));
        },
        "max_pool needs images [n, 4, 3, 1], given [2, 3, 4, 1]",
    ),
    (
        |t| {
            let x = input(t, &[2, 4, 3, 1]);
            let w = parameter(t, &[3, 2]);
            t.conv(x, w, Windows::valid([4, 3], 1, [2, 2], [1, 1]), 1.0, None);
        },
        "a convolution that sees 4 numbers needs filters [4, out], given [3, 2]",
    ),
    (
        |t| {
            let (x, w) = (input(t, &[2, 4, 3, 2]), parameter(t, &[4, 2]));
            t.conv(x, w, Windows::valid([4, 3], 1, [2, 2], [1, 1]), 1.0, None);
        },
        "conv needs images [n, 4, 3, 1], given [2, 4, 3, 2]",
    ),
    (
        |t| {
            let (x, w, b) = (input(t, &[2, 4, 3, 1]), parameter(t, &[4, 2]), parameter(t, &[3]));
            t.conv(x, w, Windows::valid([4, 3], 1, [2, 2], [1, 1]), 1.0, Some((b, 1.0)));
        },
        "the bias of filters [4, 2] has shape [2], given [3]",
    ),
    (
        |t| {
            let (x, w) = (input(t, &[2, 4, 3, 1]), input(t, &[4, 2]));
            t.conv(x, w, Windows::valid([4, 3], 1, [2, 2], [1, 1]), 1.0, None);
        },
        "the filters of a convolution, [4, 2], must be shared by the examples",
    ),
    // What was computed is not changed.
    (
        |t| {
            let x = input(t, &[2]);
            let y = t.map(Phi::Tanh, x);
            t.leaf_mut(y);
        },
        "only a leaf can be changed, and this is tanh",
    ),
];

#[test]
fn what_does_not_fit_is_refused_with_both_shapes() {
    for (record, text) in REFUSED {
        let panic = catch_unwind(AssertUnwindSafe(|| record(&mut Tape::new()))).expect_err(text);
        let message = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_string()));
        let message = message.unwrap_or_default();
        assert!(message.contains(text), "`{message}` should say `{text}`");
    }
}

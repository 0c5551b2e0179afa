//! Operations on tensors compute their formulas: against plain loops and known numbers. See `formulas.rs` for those on matrices.

use crate::graphs::values;
use autodiff::{Border, Padding, Phi, Tape, Windows};

fn assert_close(found: &[f64], want: &[f64], what: &str) {
    assert_eq!(found.len(), want.len(), "{what}");
    for (f, w) in found.iter().zip(want) {
        assert!((f - w).abs() <= 4e-15 * (1.0 + w.abs()), "{what}: {found:?} should be {want:?}");
    }
}

/// `x[i, j, k]` of `[.., n, m]`.
fn at(x: &[f64], [n, m]: [usize; 2], i: usize, j: usize, k: usize) -> f64 {
    x[(i * n + j) * m + k]
}

/// Every index of a tensor.
fn indices([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

#[test]
fn products_of_matrices_for_each_example_and_for_all() {
    let (x, y, w) = (values(2 * 3 * 4, 1), values(2 * 4 * 5, 2), values(3 * 4, 3));
    let mut tape = Tape::new();
    let (vx, vy, vw) = (tape.input([2, 3, 4], &x), tape.input([2, 4, 5], &y), tape.parameter([3, 4], &w));
    let each = tape.product(vx, vy, 0.7);
    let dot = |left: &dyn Fn(usize) -> f64, i: usize, k: usize| 0.7 * (0..4).map(|l| left(l) * at(&y, [4, 5], i, l, k)).sum::<f64>();
    let want: Vec<f64> = indices([2, 3, 5]).map(|(i, j, k)| dot(&|l| at(&x, [3, 4], i, j, l), i, k)).collect();
    assert_close(tape.value(each), &want, "product");
    assert_eq!(tape.shape(each).dims(), [2, 3, 5]);
    let one = tape.product(vw, vy, 0.7);
    let want: Vec<f64> = indices([2, 3, 5]).map(|(i, j, k)| dot(&|l| w[j * 4 + l], i, k)).collect();
    assert_close(tape.value(one), &want, "product with one left factor");
    // With one right factor it is the affine map.
    let v = tape.parameter([4, 2], &values(8, 4));
    let (right, affine) = (tape.product(vx, v, 0.7), tape.affine(vx, v, 0.7, None));
    assert_eq!(tape.value(right), tape.value(affine));
}

#[test]
fn entries_change_their_places() {
    let x = values(2 * 3 * 4, 1);
    let mut tape = Tape::new();
    let v = tape.input([2, 3, 4], &x);
    let t = tape.transpose(v);
    let want: Vec<f64> = indices([2, 4, 3]).map(|(i, j, k)| at(&x, [3, 4], i, k, j)).collect();
    assert_eq!((tape.value(t), tape.shape(t).dims()), (&want[..], &[2, 4, 3][..]));
    let r = tape.reshape(v, [2, 2, 6]);
    assert_eq!((tape.value(r), tape.shape(r).dims()), (&x[..], &[2, 2, 6][..]));
    let middle = tape.slice(v, 1, 1..3);
    let want: Vec<f64> = indices([2, 2, 4]).map(|(i, j, k)| at(&x, [3, 4], i, 1 + j, k)).collect();
    assert_eq!((tape.value(middle), tape.shape(middle).dims()), (&want[..], &[2, 2, 4][..]));
    let last = tape.slice(v, 2, 3..4);
    let want: Vec<f64> = indices([2, 3, 1]).map(|(i, j, _)| at(&x, [3, 4], i, j, 3)).collect();
    assert_eq!(tape.value(last), want);
    let nothing = tape.slice(v, 1, 3..3);
    assert_eq!((tape.value(nothing), tape.shape(nothing).dims()), (&[][..], &[2, 0, 4][..]));
    let both = tape.concat(&[last, v, last], 2);
    let want: Vec<f64> = indices([2, 3, 6]).map(|(i, j, k)| at(&x, [3, 4], i, j, [3, 0, 1, 2, 3, 3][k])).collect();
    assert_eq!((tape.value(both), tape.shape(both).dims()), (&want[..], &[2, 3, 6][..]));
    let along = tape.concat(&[middle, v], 1);
    let want: Vec<f64> = indices([2, 5, 4]).map(|(i, j, k)| at(&x, [3, 4], i, [1, 2, 0, 1, 2][j], k)).collect();
    assert_eq!(tape.value(along), want);
}

#[test]
fn rows_of_a_table_are_gathered_in_any_order_and_number() {
    let table = values(4 * 2 * 3, 1);
    let mut tape = Tape::new();
    let v = tape.parameter([4, 2, 3], &table);
    let words = tape.target([3, 1], &[3.0, 0.0, 3.0]);
    let y = tape.gather(v, words);
    assert_eq!(tape.shape(y).dims(), [3, 1, 2, 3]);
    assert_eq!(tape.value(y), [&table[18..], &table[..6], &table[18..]].concat());
    assert!(tape.node(y).per_example);
    let one = tape.constant(autodiff::Shape::scalar(), &[2.0]);
    let y = tape.gather(v, one);
    assert_eq!((tape.value(y), tape.shape(y).dims()), (&table[12..18], &[2, 3][..]));
}

#[test]
fn arithmetic_goes_entry_by_entry() {
    let (x, y) = (values(6, 1), values(6, 2));
    let mut tape = Tape::new();
    let (a, b) = (tape.input([3, 2], &x), tape.input([3, 2], &y));
    let zip = |f: fn(f64, f64) -> f64| -> Vec<f64> { x.iter().zip(&y).map(|(&x, &y)| f(x, y)).collect() };
    let z = tape.mul(a, b);
    assert_eq!(tape.value(z), zip(|x, y| x * y));
    let z = tape.div(a, b);
    assert_eq!(tape.value(z), zip(|x, y| x / y));
    let z = tape.neg(a);
    assert_eq!(tape.value(z), zip(|x, _| -x));
    let e = tape.map(Phi::Exp, a);
    for p in [3.0, -1.5, 0.5, 1.0, 0.0] {
        let z = tape.powf(e, p);
        assert_close(tape.value(z), &x.iter().map(|&x| (p * x).exp()).collect::<Vec<_>>(), "power of an exponential");
    }
    let z = tape.powf(a, 3.0);
    assert_close(tape.value(z), &x.iter().map(|&x| x * x * x).collect::<Vec<_>>(), "cube");
}

#[test]
fn rows_have_norms_and_softmaxes() {
    let x = values(6, 1);
    let p = [0.2, 0.3, 0.5, 1.0, 0.0, 0.0];
    let mut tape = Tape::new();
    let (v, t) = (tape.input([2, 3], &x), tape.target([2, 3], &p));
    let rows = [&x[..3], &x[3..]];
    let z = tape.norm(v);
    assert_close(tape.value(z), &rows.map(|r| r.iter().map(|x| x * x).sum::<f64>().sqrt()), "norm");
    let total = rows.map(|r| r.iter().map(|x| x.exp()).sum::<f64>());
    let z = tape.softmax(v);
    assert_close(tape.value(z), &(0..6).map(|i| x[i].exp() / total[i / 3]).collect::<Vec<_>>(), "softmax");
    let z = tape.cross_entropy(v, t);
    let loss = |r: usize| (0..3).map(|c| -p[3 * r + c] * (x[3 * r + c].exp() / total[r]).ln()).sum::<f64>();
    assert_close(tape.value(z), &[loss(0), loss(1)], "cross entropy");
    // Of equal logits it is the logarithm of their number.
    let even = tape.input([1, 4], &[7.0; 4]);
    let hit = tape.target([1, 4], &[0.0, 0.0, 1.0, 0.0]);
    let z = tape.cross_entropy(even, hit);
    assert_close(tape.value(z), &[2.0 * std::f64::consts::LN_2], "cross entropy of equal logits");
}

#[test]
fn sums_means_and_copies_run_along_any_axes() {
    let x = values(2 * 3 * 4, 1);
    let mut tape = Tape::new();
    let v = tape.input([2, 3, 4], &x);
    for (axes, shape) in
        [(0..1, vec![3, 4]), (1..2, vec![2, 4]), (2..3, vec![2, 3]), (1..3, vec![2]), (0..3, vec![]), (1..1, vec![2, 3, 4])]
    {
        let inside = |axis: usize| axes.contains(&axis);
        let n: usize = [2, 3, 4].iter().enumerate().map(|(axis, n)| if inside(axis) { *n } else { 1 }).product();
        let len = shape.iter().product();
        let mut want = vec![0.0; len];
        let mut place = [0; 24];
        for (i, j, k) in indices([2, 3, 4]) {
            let kept = [i, j, k].into_iter().zip([2, 3, 4]).enumerate().filter(|(axis, _)| !inside(*axis));
            let at = kept.fold(0, |at, (_, (index, n))| at * n + index);
            want[at] += 0.5 * x[(i * 3 + j) * 4 + k];
            place[(i * 3 + j) * 4 + k] = at;
        }
        let sum = tape.sum_axes(v, axes.clone(), 0.5);
        assert_close(tape.value(sum), &want, &format!("sum along {axes:?}"));
        assert_eq!(tape.shape(sum).dims(), shape);
        let mean = tape.mean_axes(v, axes.clone());
        assert_close(tape.value(mean), &want.iter().map(|w| 2.0 * w / n as f64).collect::<Vec<_>>(), &format!("mean along {axes:?}"));
        // And back.
        let copies = if axes.start == 0 {
            let row = tape.parameter(&shape[..], &values(len, 5));
            tape.broadcast(row, axes.clone(), v)
        } else {
            tape.broadcast(sum, axes.clone(), v)
        };
        let from = if axes.start == 0 { values(len, 5) } else { tape.value(sum).to_vec() };
        assert_eq!(tape.value(copies), place.iter().map(|&at| from[at]).collect::<Vec<_>>(), "copies along {axes:?}");
    }
}

#[test]
fn windows_see_their_cells() {
    // One image of 3 × 4 cells with 2 channels; the windows stand where their definition says, cell by cell.
    let (h, w, c) = (3usize, 4usize, 2usize);
    let x = values(h * w * c, 1);
    let padding = Padding { rows: [1, 0], cols: [2, 1], border: Border::Zeros };
    for (windows, lo, out) in [
        (Windows::valid([h, w], c, [2, 3], [1, 1]), [0, 0], [2, 2]),
        // SAME: ⌈3/2⌉ and ⌈4/1⌉ windows; of the zeros that these need, the odd one is behind: 1 and 2, so 0 and 1 before.
        (Windows::same([h, w], c, [2, 3], [2, 1]), [0, 1], [2, 4]),
        (Windows::circular([h, w], c, [2, 3], [2, 1]), [0, 1], [2, 4]),
        (Windows::padded([h, w], c, [2, 3], [1, 2], padding), [1, 2], [3, 3]),
    ] {
        let stride = if windows == Windows::valid([h, w], c, [2, 3], [1, 1]) {
            [1, 1]
        } else if out == [3, 3] {
            [1, 2]
        } else {
            [2, 1]
        };
        let around = windows == Windows::circular([h, w], c, [2, 3], [2, 1]);
        let cell = |p: usize, q: usize, dy: usize, dx: usize, channel: usize| -> Option<f64> {
            let place = |site: usize, stride: usize, tap: usize, lo: usize, n: usize| {
                let place = (site * stride + tap) as isize - lo as isize;
                if around { Some(place.rem_euclid(n as isize) as usize) } else { usize::try_from(place).ok().filter(|&i| i < n) }
            };
            let (row, col) = (place(p, stride[0], dy, lo[0], h)?, place(q, stride[1], dx, lo[1], w)?);
            Some(x[(row * w + col) * c + channel])
        };
        let sites: Vec<(usize, usize)> = (0..out[0]).flat_map(|p| (0..out[1]).map(move |q| (p, q))).collect();
        let taps: Vec<(usize, usize)> = (0..2).flat_map(|dy| (0..3).map(move |dx| (dy, dx))).collect();
        let seen = |&(p, q): &(usize, usize), channel: usize| -> Vec<Option<f64>> {
            taps.iter().map(|&(dy, dx)| cell(p, q, dy, dx, channel)).collect()
        };
        let mut tape = Tape::new();
        let v = tape.input([1, h, w, c], &x);
        let patches = tape.patches(v, windows);
        let want: Vec<f64> = (sites.iter())
            .flat_map(|&(p, q)| taps.iter().flat_map(move |&(dy, dx)| (0..c).map(move |channel| (p, q, dy, dx, channel))))
            .map(|(p, q, dy, dx, channel)| cell(p, q, dy, dx, channel).unwrap_or(0.0))
            .collect();
        assert_eq!(tape.value(patches), want, "{windows:?}");
        assert_eq!(tape.shape(patches).dims(), [1, out[0], out[1], 6 * c]);
        let (filters, bias) = (tape.parameter([6 * c, 2], &values(12 * c, 3)), tape.parameter([2], &[0.5, -0.25]));
        let (conv, product) =
            (tape.conv(v, filters, windows, 0.7, Some((bias, 0.3))), tape.affine(patches, filters, 0.7, Some((bias, 0.3))));
        assert_close(tape.value(conv), tape.value(product), "a convolution is the product with what windows see");
        assert_eq!(tape.shape(conv).dims(), [1, out[0], out[1], 2]);
        let each = |f: &dyn Fn(Vec<Option<f64>>) -> f64| -> Vec<f64> {
            sites.iter().flat_map(|site| (0..c).map(|channel| f(seen(site, channel)))).collect()
        };
        let sum = tape.sum_pool(v, windows, 0.3);
        assert_close(tape.value(sum), &each(&|cells| 0.3 * cells.iter().flatten().sum::<f64>()), "sum_pool");
        let mean = tape.avg_pool(v, windows);
        assert_close(tape.value(mean), &each(&|cells| cells.iter().flatten().sum::<f64>() / 6.0), "avg_pool");
        let max = tape.max_pool(v, windows);
        assert_eq!(tape.value(max), each(&|cells| cells.into_iter().flatten().fold(f64::NEG_INFINITY, f64::max)), "max_pool");
    }
}

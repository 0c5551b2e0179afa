//! Convolutions against loops over the indices of the definition, at every level: any geometry, poisoned targets, exact adjoints, and
//! the same bits at any number of threads and of images.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::same_with_any_number_of_threads;
use proptest::prelude::*;
use simd::{
    Accumulate, Border, Convolution, Float, Level, Mat, MatMut, Padding, conv_at, conv_example_gradients_at, conv_input_gradient_at,
    conv_weight_gradient_at, patches, product_at,
};

/// Small multiples of 1/8, so that sums are exact and the order of a sum does not matter.
fn exact<T: Float>(n: usize, seed: usize) -> Vec<T> {
    (0..n).map(|i| T::of(((i * 31 + i / 7 * 5 + seed * 11) % 13) as f64 / 8.0 - 0.75)).collect()
}

/// Numbers whose sums round.
fn rough<T: Float>(n: usize, seed: usize) -> Vec<T> {
    (0..n).map(|i| T::of(((i * 7919 + seed) as f64 * 0.618_033_988_749).sin())).collect()
}

fn bits<T: Float>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.to_f64().to_bits()).collect()
}

/// What a target holds before, as numbers and as what is added to.
fn target<T: Float>(n: usize, to: Accumulate) -> (Vec<T>, Vec<f64>) {
    match to {
        Accumulate::Set => (vec![T::of(f64::NAN); n], vec![0.0; n]),
        Accumulate::Add => (exact(n, 5), exact::<f64>(n, 5)),
    }
}

/// The index along an axis that an output reads with a tap, if there is one.
fn read(n: usize, lo: usize, border: Border, place: usize) -> Option<usize> {
    let i = place as i64 - lo as i64;
    match border {
        Border::Zeros => (0..n as i64).contains(&i).then_some(i as usize),
        Border::Circular => Some(i.rem_euclid(n as i64) as usize),
    }
}

/// Calls `f` with the flat places in x [n, h, w, ci], w [kh, kw, ci, co] and y [n, ho, wo, co] of every product of the definition.
fn each_product(c: &Convolution, n: usize, mut f: impl FnMut(usize, usize, usize, usize)) {
    let ([ho, wo], [h, w], [kh, kw], (ci, co)) = (c.out(), c.image, c.filter, (c.channels_in, c.channels_out));
    for image in 0..n {
        for (p, q) in (0..ho).flat_map(|p| (0..wo).map(move |q| (p, q))) {
            for (dy, dx) in (0..kh).flat_map(|dy| (0..kw).map(move |dx| (dy, dx))) {
                let i = read(h, c.padding.rows[0], c.padding.border, c.stride[0] * p + dy);
                let j = read(w, c.padding.cols[0], c.padding.border, c.stride[1] * q + dx);
                let Some((i, j)) = i.zip(j) else { continue };
                for (a, b) in (0..ci).flat_map(|a| (0..co).map(move |b| (a, b))) {
                    let x = ((image * h + i) * w + j) * ci + a;
                    let y = ((image * ho + p) * wo + q) * co + b;
                    f(image, x, ((dy * kw + dx) * ci + a) * co + b, y);
                }
            }
        }
    }
}

fn equal<T: Float>(what: &str, level: Level, c: &Convolution, got: &[T], wanted: &[f64]) {
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!(got.to_f64() == *wanted, "{level} {} {what} of {c}: {got} and not {wanted} at {i}", T::NAME);
    }
}

/// Every function against the definition, patches and a product against the outputs, and the adjoint identities.
fn check<T: Float>(c: &Convolution, n: usize, lanes: usize, to: Accumulate) {
    let [ho, wo] = c.out();
    let k = c.filter[0] * c.filter[1] * c.channels_in;
    let (xs, ws, ys) = (n * c.image[0] * c.image[1] * c.channels_in, k * c.channels_out, n * ho * wo * c.channels_out);
    let (x, w, g) = (exact::<T>(xs, 1), exact::<T>(ws, 2), exact::<T>(lanes * ys, 3));
    let [xf, wf, gf] = [&x, &w, &g].map(|v| v.iter().map(|v| v.to_f64()).collect::<Vec<_>>());
    let (start_y, mut y) = target::<T>(ys, to);
    let (start_dx, mut dx) = target::<T>(lanes * xs, to);
    let (start_dw, mut dw) = target::<T>(lanes * ws, to);
    let (start_each, mut each) = target::<T>(lanes * n * ws, to);
    each_product(c, n, |image, i, j, o| {
        y[o] += xf[i] * wf[j];
        for l in 0..lanes {
            let g = gf[l * ys + o];
            dx[l * xs + i] += g * wf[j];
            dw[l * ws + j] += g * xf[i];
            each[(l * n + image) * ws + j] += g * xf[i];
        }
    });
    let inner = |a: &[T], b: &[T]| a.iter().zip(b).map(|(a, b)| a.to_f64() * b.to_f64()).sum::<f64>();
    for level in Level::available() {
        let [mut y_at, mut dx_at, mut dw_at, mut each_at] = [&start_y, &start_dx, &start_dw, &start_each].map(|v| v.clone());
        conv_at(level, c, n, &x, &w, to, &mut y_at);
        equal("outputs", level, c, &y_at, &y);
        conv_input_gradient_at(level, c, lanes * n, &g, &w, to, &mut dx_at);
        equal("input gradient", level, c, &dx_at, &dx);
        conv_weight_gradient_at(level, c, n, lanes, &x, &g, to, &mut dw_at);
        equal("weight gradient", level, c, &dw_at, &dw);
        conv_example_gradients_at(level, c, n, lanes, &x, &g, to, &mut each_at);
        equal("example gradients", level, c, &each_at, &each);
        let mut matrix = vec![T::of(f64::NAN); n * ho * wo * k];
        patches(c, n, &x, &mut matrix);
        let mut by_product = start_y.clone();
        let (rows, cols) = (n * ho * wo, c.channels_out);
        product_at(level, Mat::new(&matrix, rows, k), Mat::new(&w, k, cols), to, MatMut::new(&mut by_product, rows, cols));
        equal("patches", level, c, &by_product, &y);
        if to == Accumulate::Set && lanes == 1 {
            let along = inner(&y_at, &g);
            assert!(along == inner(&x, &dx_at) && along == inner(&w, &dw_at), "{level} {}: the adjoint of {c}", T::NAME);
        }
    }
}

fn check_types(c: &Convolution, n: usize, lanes: usize, to: Accumulate) {
    check::<f32>(c, n, lanes, to);
    check::<f64>(c, n, lanes, to);
}

fn explicit(
    image: [usize; 2],
    ci: usize,
    filter: [usize; 2],
    stride: [usize; 2],
    co: usize,
    sides: [[usize; 2]; 2],
    border: Border,
) -> Convolution {
    let padding = Padding { rows: sides[0], cols: sides[1], border };
    Convolution { image, channels_in: ci, filter, stride, channels_out: co, padding }
}

#[test]
fn geometries_of_many_kinds() {
    let shapes = [
        ([1, 1], [1, 1], [1, 1]),
        ([1, 1], [3, 3], [1, 1]),
        ([2, 3], [5, 5], [1, 1]),
        ([5, 4], [3, 3], [1, 1]),
        ([7, 6], [3, 3], [2, 2]),
        ([6, 7], [2, 3], [3, 1]),
        ([9, 8], [2, 1], [3, 4]),
        ([1, 13], [1, 3], [1, 2]),
        ([13, 1], [3, 1], [1, 1]),
        ([14, 14], [5, 5], [1, 1]),
        ([0, 3], [3, 3], [1, 1]),
    ];
    for (i, (image, filter, stride)) in shapes.into_iter().enumerate() {
        for (j, (ci, co)) in [(1, 1), (2, 7), (3, 8), (9, 9)].into_iter().enumerate() {
            let to = if (i + j) % 2 == 0 { Accumulate::Set } else { Accumulate::Add };
            check_types(&Convolution::same(image, ci, filter, stride, co), 2, 1 + i % 2, to);
            check_types(&Convolution::valid(image, ci, filter, stride, co), 2, 2 - j % 2, to);
            check_types(&Convolution::circular(image, ci, filter, stride, co), 1, 1, to);
        }
    }
}

/// Numbers of channels around the widths of vectors and tiles, on either side.
#[test]
fn channels_around_the_widths_of_vectors() {
    for co in [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40] {
        for to in [Accumulate::Set, Accumulate::Add] {
            check_types(&Convolution::same([3, 4], 2, [3, 3], [1, 1], co), 1, 1, to);
            check_types(&Convolution::same([3, 4], co, [2, 3], [2, 1], 3), 2, 2, to);
        }
    }
}

/// Rows of every number of sites, so tiles of every height, for images and for filter rows.
#[test]
fn rows_of_every_length() {
    for width in 1..=19 {
        check_types(&Convolution::same([2, width], 1, [3, 3], [1, 1], 17), 1, 1, Accumulate::Set);
        check_types(&Convolution::same([width, 2], width, [1, 2], [1, 1], 5), 1, 1, Accumulate::Add);
    }
}

/// Long enough that sums over sites are cut into pieces, and that images are summed in several.
#[test]
fn many_sites_and_many_images() {
    check_types(&Convolution::same([28, 28], 2, [3, 3], [1, 1], 5), 7, 1, Accumulate::Set);
    check_types(&Convolution::same([1, 300], 2, [1, 3], [1, 1], 5), 1, 1, Accumulate::Add);
    check_types(&Convolution::same([300, 1], 2, [3, 1], [2, 1], 5), 1, 1, Accumulate::Set);
    for to in [Accumulate::Set, Accumulate::Add] {
        check_types(&Convolution::same([2, 2], 2, [3, 3], [1, 1], 3), 150, 2, to);
        check_types(&Convolution::circular([6, 5], 8, [3, 3], [1, 1], 16), 20, 1, to);
    }
}

#[test]
fn nothing_to_compute() {
    for to in [Accumulate::Set, Accumulate::Add] {
        check_types(&Convolution::same([3, 3], 2, [3, 3], [1, 1], 4), 0, 2, to);
        check_types(&Convolution::same([3, 3], 0, [3, 3], [1, 1], 4), 2, 1, to);
        check_types(&Convolution::same([3, 3], 2, [3, 3], [1, 1], 0), 2, 1, to);
        check_types(&Convolution::same([3, 3], 2, [3, 3], [1, 1], 4), 2, 0, to);
        check_types(&Convolution::valid([3, 2], 2, [2, 3], [1, 1], 4), 2, 2, to);
        check_types(&explicit([0, 0], 2, [2, 2], [1, 1], 3, [[2, 1], [1, 2]], Border::Zeros), 2, 1, to);
    }
}

fn padded() -> impl Strategy<Value = Convolution> {
    let two = |range: std::ops::Range<usize>| [range.clone(), range];
    let sides = [two(0..5), two(0..5)];
    (two(1..9), 1usize..4, two(1..6), two(1..5), 1usize..19, sides, 0usize..5).prop_map(|(image, ci, filter, stride, co, sides, kind)| {
        match kind {
            0 => Convolution::same(image, ci, filter, stride, co),
            1 => Convolution::circular(image, ci, filter, stride, co),
            2 => Convolution::valid(image, ci, filter, stride, co),
            3 => explicit(image, ci, filter, stride, co, sides, Border::Zeros),
            _ => explicit(image, ci, filter, stride, co, sides, Border::Circular),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn convolutions_of_any_geometry(c in padded(), n in 0usize..4, lanes in 1usize..3, add: bool) {
        check_types(&c, n, lanes, if add { Accumulate::Add } else { Accumulate::Set });
    }
}

/// The results of all functions, as bits.
fn results<T: Float>(level: Level, c: &Convolution, n: usize, lanes: usize, x: &[T], w: &[T], g: &[T]) -> [Vec<T>; 4] {
    let (mut y, mut dx) = (rough(g.len() / lanes, 7), rough(lanes * x.len(), 8));
    let (mut dw, mut each) = (rough(lanes * w.len(), 9), rough(lanes * n * w.len(), 10));
    conv_at(level, c, n, x, w, Accumulate::Set, &mut y);
    conv_input_gradient_at(level, c, lanes * n, g, w, Accumulate::Set, &mut dx);
    conv_weight_gradient_at(level, c, n, lanes, x, g, Accumulate::Add, &mut dw);
    conv_example_gradients_at(level, c, n, lanes, x, g, Accumulate::Set, &mut each);
    [y, dx, dw, each]
}

fn sizes_of_threads() -> Vec<(Convolution, usize, usize)> {
    vec![
        (Convolution::same([12, 13], 6, [3, 3], [1, 1], 17), 1, 2),
        (Convolution::same([28, 28], 3, [3, 3], [2, 2], 20), 5, 1),
        // Summed in three parts, of which two threads share the last.
        (Convolution::same([28, 28], 3, [3, 3], [1, 1], 20), 9, 1),
        (Convolution::circular([17, 9], 5, [5, 3], [3, 2], 33), 13, 2),
        (Convolution::same([6, 6], 8, [3, 3], [1, 1], 16), 200, 1),
        (Convolution::valid([40, 1], 16, [3, 1], [1, 1], 24), 5, 1),
    ]
}

fn threads<T: Float>(level: Level) {
    for (c, n, lanes) in sizes_of_threads() {
        let [ho, wo] = c.out();
        let x = rough::<T>(n * c.image[0] * c.image[1] * c.channels_in, 1);
        let w = rough::<T>(c.filter[0] * c.filter[1] * c.channels_in * c.channels_out, 2);
        let g = rough::<T>(lanes * n * ho * wo * c.channels_out, 3);
        let work = || results(level, &c, n, lanes, &x, &w, &g).map(|v| bits(&v));
        same_with_any_number_of_threads(&format!("{level} {} {c}", T::NAME), work);

        // One lane of one image alone, for all results that belong to an image.
        let [y, dx, _, each] = results(level, &c, n, lanes, &x, &w, &g);
        for i in [0, n / 2, n - 1] {
            for l in 0..lanes {
                let x = &x[x.len() / n * i..x.len() / n * (i + 1)];
                let k = l * n + i;
                let len = g.len() / lanes / n;
                let [y1, dx1, _, each1] = results(level, &c, 1, 1, x, &w, &g[k * len..(k + 1) * len]);
                assert!(bits(&y1) == bits(&y[i * len..(i + 1) * len]), "{level} {}: image {i} of {c}", T::NAME);
                assert!(bits(&dx1) == bits(&dx[k * dx1.len()..(k + 1) * dx1.len()]), "{level} {}: input {i} of {c}", T::NAME);
                assert!(bits(&each1) == bits(&each[k * w.len()..(k + 1) * w.len()]), "{level} {}: filter {i} of {c}", T::NAME);
            }
        }
    }
}

#[test]
fn the_same_bits_at_any_number_of_threads_and_images() {
    for level in Level::available() {
        threads::<f32>(level);
        threads::<f64>(level);
    }
}

#[test]
fn patches_are_what_the_definition_reads() {
    let c = explicit([3, 2], 2, [2, 3], [2, 1], 1, [[1, 0], [4, 1]], Border::Circular);
    let x = exact::<f64>(2 * 12, 1);
    let [ho, wo] = c.out();
    let mut matrix = vec![f64::NAN; 2 * ho * wo * 12];
    patches(&c, 2, &x, &mut matrix);
    let mut wanted = matrix.clone();
    each_product(&c, 2, |_, i, j, o| wanted[o * 12 + j] = x[i]);
    assert!(wanted.iter().all(|x| !x.is_nan()) && matrix == wanted);
}

#[test]
fn sizes_of_the_conventions() {
    let sizes = |n, f, s| {
        let same = Convolution::same([n, 1], 1, [f, 1], [s, 1], 1);
        (same.out()[0], same.padding.rows, Convolution::valid([n, 1], 1, [f, 1], [s, 1], 1).out()[0])
    };
    // From the rules of SAME: ⌈n/s⌉ outputs, max((⌈n/s⌉ − 1)·s + f − n, 0) cells.
    assert_eq!(sizes(28, 3, 1), (28, [1, 1], 26));
    assert_eq!(sizes(28, 3, 2), (14, [0, 1], 13));
    assert_eq!(sizes(5, 3, 2), (3, [1, 1], 2));
    assert_eq!(sizes(1, 5, 1), (1, [2, 2], 0));
    assert_eq!(sizes(7, 2, 1), (7, [0, 1], 6));
    assert_eq!(sizes(7, 2, 3), (3, [0, 1], 2));
    assert_eq!(sizes(0, 3, 1), (0, [0, 0], 0));
    assert_eq!(Convolution::same([28, 28], 32, [3, 3], [1, 1], 64).flops(), 2 * 28 * 28 * 9 * 32 * 64);
}

fn message(work: impl FnOnce()) -> String {
    *catch_unwind(AssertUnwindSafe(work)).expect_err("this must panic").downcast::<String>().expect("a message")
}

#[test]
fn wrong_shapes_are_refused_with_all_sizes() {
    let c = Convolution::same([4, 5], 2, [3, 3], [1, 1], 7);
    let [x, w, y] = [40, 126, 140].map(|n| vec![0.0f32; n]);
    let level = Level::Portable;
    let set = Accumulate::Set;
    let text = message(|| conv_at(level, &c, 2, &x, &w, set, &mut y.clone()));
    let sizes = "a convolution of 4 × 5 × 2 by 3 × 3 × 2 × 7 with strides [1, 1] and zero padding [1, 1], [1, 1] of 2 images and 1 lanes";
    assert_eq!(text, format!("{sizes}: the lengths are x 40 of 80, w 126 of 126, y 140 of 280"));
    let text = message(|| conv_input_gradient_at(level, &c, 1, &y, &w[1..], set, &mut x.clone()));
    assert!(text.ends_with("g 140 of 140, w 125 of 126, dx 40 of 40"), "{text}");
    let text = message(|| conv_weight_gradient_at(level, &c, 1, 3, &x, &y, set, &mut w.clone()));
    assert!(text.ends_with("x 40 of 40, g 140 of 420, dw 126 of 378"), "{text}");
    let text = message(|| conv_example_gradients_at(level, &c, usize::MAX, 3, &x, &y, set, &mut w.clone()));
    assert!(text.ends_with("x 40 of too many, g 140 of too many, dw 126 of too many"), "{text}");
    let text = message(|| patches(&c, 1, &x, &mut w.clone()));
    assert!(text.ends_with("patches 126 of 360"), "{text}");
    for (filter, stride) in [([0, 3], [1, 1]), ([3, 3], [1, 0])] {
        let c = Convolution::valid([4, 5], 2, filter, stride, 7);
        let text = message(|| conv_at(level, &c, 1, &x, &w, set, &mut y.clone()));
        assert!(text.ends_with("a filter and its strides are at least 1"), "{text}");
    }
    let c = explicit([0, 5], 2, [3, 3], [1, 1], 7, [[1, 1], [0, 0]], Border::Circular);
    let text = message(|| assert!(c.out()[0] > 0));
    assert!(text.ends_with("nothing to continue around"), "{text}");
}

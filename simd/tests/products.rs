//! Products against the naive sum, at every level: any strides and sizes, poisoned targets, and the same bits however they are cut.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{LAYS, Lay, Owned, same_with_any_number_of_threads};
use proptest::prelude::*;
use simd::{Accumulate, Float, Level, Mat, MatMut, product, product_at};

fn naive<T: Float>(a: &Owned<T>, b: &Owned<T>, i: usize, j: usize) -> f64 {
    (0..a.cols).map(|k| a.at(i, k) * b.at(k, j)).sum()
}

fn check_product<T: Float>(level: Level, m: usize, k: usize, n: usize, lays: [Lay; 3], to: Accumulate) {
    let (a, b) = (Owned::<T>::exact(m, k, lays[0], 1), Owned::<T>::exact(k, n, lays[1], 2));
    let before = match to {
        Accumulate::Set => Owned::<T>::nan(m, n, lays[2]),
        Accumulate::Add => Owned::<T>::exact(m, n, lays[2], 3),
    };
    let mut c = before.clone();
    product_at(level, a.mat(), b.mat(), to, c.mat_mut());
    for i in 0..m {
        for j in 0..n {
            let start = if to == Accumulate::Add { before.at(i, j) } else { 0.0 };
            assert_eq!(c.at(i, j), start + naive(&a, &b, i, j), "{level} {} {m}×{k}×{n} {lays:?} {to:?} at {i}, {j}", T::NAME);
        }
    }
    assert!(c.gaps_are_untouched(), "{level} {} {m}×{k}×{n} {lays:?}", T::NAME);
}

/// Sizes around the edges of tiles: registers hold 6 rows by 2 vectors (of 4, 8 or 16 numbers), sums are cut at 256.
#[test]
fn products_around_the_edges_of_tiles() {
    let sizes = [
        (0, 0, 0),
        (0, 3, 2),
        (3, 0, 2),
        (2, 3, 0),
        (1, 1, 1),
        (1, 300, 1),
        (5, 9, 15),
        (6, 16, 16),
        (7, 17, 17),
        (12, 256, 32),
        (13, 257, 33),
        (64, 64, 64),
        (65, 70, 129),
        (129, 33, 66),
        (1, 40, 193),
        (2, 40, 97),
        (3, 40, 65),
        (3, 7, 64),
        // More columns than sums of few rows are kept for at a time.
        (2, 5, 9001),
        (6, 257, 96),
        (7, 40, 224),
        (64, 70, 192),
        (70, 40, 1),
        (70, 40, 3),
        (300, 20, 150),
        (97, 513, 97),
    ];
    for level in Level::available() {
        for (m, k, n) in sizes {
            for to in [Accumulate::Set, Accumulate::Add] {
                for a in LAYS {
                    for b in LAYS {
                        check_product::<f32>(level, m, k, n, [a, b, Lay::Gaps], to);
                        check_product::<f64>(level, m, k, n, [a, b, Lay::Cols], to);
                        check_product::<f32>(level, m, k, n, [a, b, Lay::Rows], to);
                    }
                }
            }
        }
    }
}

/// Every number of rows and columns that a tile can have, at its edge and inside, with the lengths that leave a tail.
#[test]
fn every_shape_of_tile() {
    for level in Level::available() {
        for m in 1..=13 {
            for n in 1..=70 {
                let lays = [LAYS[m % 3], LAYS[n % 3], LAYS[(m + n) % 3]];
                check_product::<f32>(level, m, 3, n, lays, Accumulate::Set);
                check_product::<f64>(level, m, 5, n, lays, Accumulate::Add);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn products_of_any_shape(m in 0usize..90, k in 0usize..90, n in 0usize..90, a in 0usize..3, b in 0usize..3, c in 0usize..3, add: bool) {
        let to = if add { Accumulate::Add } else { Accumulate::Set };
        for level in Level::available() {
            check_product::<f32>(level, m, k, n, [LAYS[a], LAYS[b], LAYS[c]], to);
            check_product::<f64>(level, m, k, n, [LAYS[a], LAYS[b], LAYS[c]], to);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Few rows have ways of their own, by rows or by columns of the right factor, over several pieces of a long sum.
    #[test]
    fn products_of_few_rows(m in 1usize..5, k in 0usize..700, n in 0usize..300, a in 0usize..3, b in 0usize..3, c in 0usize..3, add: bool) {
        let to = if add { Accumulate::Add } else { Accumulate::Set };
        for level in Level::available() {
            check_product::<f32>(level, m, k, n, [LAYS[a], LAYS[b], LAYS[c]], to);
            check_product::<f64>(level, m, k, n, [LAYS[a], LAYS[b], LAYS[c]], to);
        }
    }
}

/// Rows and columns of the right factor at a distance of a page, from every place in a cache line on, are summed in the same order.
fn pages_keep_bits<T: Float>(level: Level) {
    let (stride, n) = (4096 / size_of::<T>(), 37);
    let numbers: Vec<T> = (0..n * stride + 64).map(|i| T::of((i as f64 * 0.618_033_988_749).sin())).collect();
    for m in 1..=3 {
        for k in [1, 15, 16, 300, stride] {
            let x = Owned::<T>::rough(m, k, Lay::Rows, 1);
            let result = |b: Mat<T>| {
                let mut c = Owned::<T>::nan(m, n, Lay::Rows);
                product_at(level, x.mat(), b, Accumulate::Set, c.mat_mut());
                c.bits()
            };
            for start in 0..17 {
                let columns = Mat::strided(&numbers[start..], k, n, 1, stride);
                let close = Owned::<T>::new(k, n, Lay::Rows, |i, j| columns.at(i, j));
                assert!(result(columns) == result(close.mat()), "{level} {} {m} × {k} × {n} from {start} on", T::NAME);
            }
        }
    }
}

#[test]
fn columns_a_page_apart_keep_bits() {
    for level in Level::available() {
        pages_keep_bits::<f32>(level);
        pages_keep_bits::<f64>(level);
    }
}

fn threads<T: Float>(level: Level) {
    let few = [(1, 700, 800), (1, 300, 9000), (3, 300, 2100)];
    let short = [(900, 1, 701), (601, 4, 400)];
    let others = [(300, 530, 270), (100, 300, 400), (40, 300, 416), (7, 600, 900), (900, 600, 7)];
    for (m, k, n) in others.into_iter().chain(few).chain(short) {
        for lay in LAYS {
            let (a, b) = (Owned::<T>::rough(m, k, lay, 1), Owned::<T>::rough(k, n, lay, 2));
            same_with_any_number_of_threads(&format!("{level} {} {lay:?}", T::NAME), || {
                let mut c = Owned::<T>::rough(m, n, lay, 3);
                product_at(level, a.mat(), b.mat(), Accumulate::Add, c.mat_mut());
                c.bits()
            });
        }
    }
}

#[test]
fn the_same_bits_at_any_number_of_threads() {
    for level in Level::available() {
        threads::<f32>(level);
        threads::<f64>(level);
    }
}

/// An element has the same bits however the product is cut, down to a single row, column or element, and wherever it is written.
fn cuts_keep_bits<T: Float>(level: Level) {
    // 64 columns fill panels, which the first tile of a few rows packs on the way, and of many rows not. Short sums are written by rows.
    for (k, n) in [(600, 64), (1, 77), (4, 70)] {
        cuts_of_one_size_keep_bits::<T>(level, 70, k, n);
    }
}

fn cuts_of_one_size_keep_bits<T: Float>(level: Level, m: usize, k: usize, n: usize) {
    for (la, lb) in [(Lay::Rows, Lay::Rows), (Lay::Cols, Lay::Gaps), (Lay::Gaps, Lay::Cols)] {
        for to in [Accumulate::Set, Accumulate::Add] {
            let (a, b) = (Owned::<T>::rough(m, k, la, 1), Owned::<T>::rough(k, n, lb, 2));
            let start = Owned::<T>::rough(m, n, Lay::Rows, 3);
            let mut whole = start.clone();
            product_at(level, a.mat(), b.mat(), to, whole.mat_mut());
            for (rows, cols) in [(1, n), (2, n), (3, n), (m, 1), (m, 3), (1, 1), (7, 3), (13, n), (64, 64)] {
                let mut cut = start.clone();
                for i in (0..m).step_by(rows) {
                    for j in (0..n).step_by(cols) {
                        let (i, j) = (i..(i + rows).min(m), j..(j + cols).min(n));
                        let c = cut.mat_mut().row_range(i.clone()).col_range(j.clone());
                        product_at(level, a.mat().row_range(i), b.mat().col_range(j), to, c);
                    }
                }
                assert!(whole.bits() == cut.bits(), "{level} {} {to:?}, sums over {k}, in pieces of {rows} × {cols}", T::NAME);
            }
            let mut turned = Owned::<T>::rough(m, n, Lay::Rows, 3);
            let mut other = Owned::<T>::new(n, m, Lay::Rows, |j, i| T::of(start.at(i, j)));
            product_at(level, b.mat().t(), a.mat().t(), to, other.mat_mut());
            for i in 0..m {
                for j in 0..n {
                    turned.mat_mut().set(i, j, T::of(other.at(j, i)));
                }
            }
            assert!(whole.bits() == turned.bits(), "{level} {} {to:?}: the transposed product", T::NAME);
        }
    }
}

#[test]
fn cuts_of_rows_and_columns_keep_bits() {
    for level in Level::available() {
        cuts_keep_bits::<f32>(level);
        cuts_keep_bits::<f64>(level);
    }
}

/// Products so large that the right factor is packed a strip at a time, for all rows, against some of their rows and columns alone.
fn strips_keep_bits<T: Float>(level: Level) {
    for (m, k, n) in [(205, 1300, 900), (250, 300, 2070), (1200, 260, 40), (100, 300, 1100)] {
        for (a, b, to) in
            [(Lay::Rows, Lay::Rows, Accumulate::Set), (Lay::Cols, Lay::Cols, Accumulate::Add), (Lay::Gaps, Lay::Rows, Accumulate::Add)]
        {
            let (a, b) = (Owned::<T>::rough(m, k, a, 1), Owned::<T>::rough(k, n, b, 2));
            let start = match to {
                Accumulate::Set => Owned::<T>::nan(m, n, Lay::Rows),
                Accumulate::Add => Owned::<T>::rough(m, n, Lay::Rows, 3),
            };
            let (mut whole, mut cut) = (start.clone(), start);
            product_at(level, a.mat(), b.mat(), to, whole.mat_mut());
            let rows: Vec<_> = (0..m).step_by(m / 3).map(|i| i..(i + 7).min(m)).collect();
            for i in rows.iter().cloned() {
                product_at(level, a.mat().row_range(i.clone()), b.mat(), to, cut.mat_mut().row_range(i));
            }
            for i in rows.into_iter().flatten() {
                for j in 0..n {
                    let (whole, cut) = (whole.at(i, j), cut.at(i, j));
                    assert!(whole.to_bits() == cut.to_bits(), "{level} {} {m}×{k}×{n} {to:?} at {i}, {j}: {whole} and {cut}", T::NAME);
                }
            }
        }
    }
}

#[test]
fn strips_of_large_products_keep_bits() {
    for level in Level::available() {
        strips_keep_bits::<f32>(level);
        strips_keep_bits::<f64>(level);
    }
}

/// The bits are those of the definition: sums of 256 summands each, in order, which are added in order.
fn bits_of_the_definition<T: Float>(level: Level) {
    let (m, k, n) = (9, 700, 21);
    let (a, b) = (Owned::<T>::rough(m, k, Lay::Rows, 1), Owned::<T>::rough(k, n, Lay::Rows, 2));
    let mut c = Owned::<T>::nan(m, n, Lay::Rows);
    product_at(level, a.mat(), b.mat(), Accumulate::Set, c.mat_mut());
    let fused = |x: T, y: T, z: T| {
        if level == Level::Portable {
            x * y + z
        } else if T::NAME == "f32" {
            T::of(f64::from((x.to_f64() as f32).mul_add(y.to_f64() as f32, z.to_f64() as f32)))
        } else {
            T::of(x.to_f64().mul_add(y.to_f64(), z.to_f64()))
        }
    };
    for i in 0..m {
        for j in 0..n {
            let piece = |first: usize| (first..k.min(first + 256)).fold(T::ZERO, |s, k| fused(a.mat().at(i, k), b.mat().at(k, j), s));
            let sum = [256, 512].iter().fold(piece(0), |s, &first| s + piece(first));
            assert_eq!(c.at(i, j).to_bits(), sum.to_f64().to_bits(), "{level} {} at {i}, {j}", T::NAME);
        }
    }
}

#[test]
fn sums_run_in_the_order_that_the_documentation_names() {
    for level in Level::available() {
        bits_of_the_definition::<f32>(level);
        bits_of_the_definition::<f64>(level);
    }
}

#[test]
fn infinities_and_nan_stay_where_they_belong() {
    for level in Level::available() {
        for (m, n) in [(3, 5), (40, 70)] {
            let mut a = vec![1.0f32; m * 4];
            a[4] = f32::NAN;
            a[9] = f32::INFINITY;
            let b = vec![1.0f32; 4 * n];
            let mut c = vec![0.0f32; m * n];
            product_at(level, Mat::new(&a, m, 4), Mat::new(&b, 4, n), Accumulate::Set, MatMut::new(&mut c, m, n));
            for (i, row) in c.chunks(n).enumerate() {
                for &x in row {
                    assert!(if i == 1 { x.is_nan() } else { x == if i == 2 { f32::INFINITY } else { 4.0 } }, "{level}: row {i} has {x}");
                }
            }
        }
    }
}

#[test]
fn wrong_shapes_are_refused_with_all_sizes() {
    let a = Owned::<f64>::exact(2, 3, Lay::Rows, 1);
    let mut c = Owned::<f64>::nan(2, 2, Lay::Rows);
    let payload = catch_unwind(AssertUnwindSafe(|| product(a.mat(), a.mat(), Accumulate::Set, c.mat_mut()))).expect_err("this must panic");
    let text = payload.downcast::<String>().expect("a message");
    assert!(text.contains("2 × 3 and 2 × 3 into 2 × 2"), "{text}");
}

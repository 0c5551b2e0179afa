//! Products against the naive sum: any strides, poisoned targets, and the same bits at any number of threads.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use simd::{Accumulate, Float, Mat, MatMut, gram, gram_hadamard, gram_hadamard_symmetric, product};

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lay {
    Rows,
    Cols,
    Gaps,
}

const LAYS: [Lay; 3] = [Lay::Rows, Lay::Cols, Lay::Gaps];

/// A matrix with its memory; what is not an element is NaN.
#[derive(Clone)]
struct Owned<T> {
    data: Vec<T>,
    rows: usize,
    cols: usize,
    strides: (usize, usize),
}

impl<T: Float> Owned<T> {
    fn new(rows: usize, cols: usize, lay: Lay, mut value: impl FnMut(usize, usize) -> T) -> Self {
        let strides = match lay {
            Lay::Rows => (cols, 1),
            Lay::Cols => (1, rows),
            Lay::Gaps => (2 * cols + 3, 2),
        };
        let mut data = vec![T::of(f64::NAN); rows * strides.0.max(1) + cols * strides.1 + 5];
        for i in 0..rows {
            for j in 0..cols {
                data[i * strides.0 + j * strides.1] = value(i, j);
            }
        }
        Owned { data, rows, cols, strides }
    }

    /// Small multiples of 1/8, so that sums are exact and the order of a sum does not matter.
    fn exact(rows: usize, cols: usize, lay: Lay, seed: usize) -> Self {
        Self::new(rows, cols, lay, |i, j| T::of(((i * 31 + j * 17 + seed * 7 + i * j) % 13) as f64 / 8.0 - 0.75))
    }

    /// Numbers whose sums round.
    fn rough(rows: usize, cols: usize, lay: Lay, seed: usize) -> Self {
        Self::new(rows, cols, lay, |i, j| T::of(((i * 7919 + j * 104_729 + seed) as f64 * 0.618_033_988_749).sin()))
    }

    fn nan(rows: usize, cols: usize, lay: Lay) -> Self {
        Self::new(rows, cols, lay, |_, _| T::of(f64::NAN))
    }

    fn mat(&self) -> Mat<'_, T> {
        Mat::strided(&self.data, self.rows, self.cols, self.strides.0, self.strides.1)
    }

    fn mat_mut(&mut self) -> MatMut<'_, T> {
        MatMut::strided(&mut self.data, self.rows, self.cols, self.strides.0, self.strides.1)
    }

    fn at(&self, i: usize, j: usize) -> f64 {
        self.mat().at(i, j).to_f64()
    }

    fn bits(&self) -> Vec<u64> {
        self.data.iter().map(|x| x.to_f64().to_bits()).collect()
    }

    /// Every place that is no element still holds the NaN that it was filled with.
    fn gaps_are_untouched(&self) -> bool {
        let mut gaps = self.data.clone();
        for i in 0..self.rows {
            for j in 0..self.cols {
                gaps[i * self.strides.0 + j * self.strides.1] = T::of(f64::NAN);
            }
        }
        gaps.iter().all(|x| x.to_f64().is_nan())
    }
}

fn naive<T: Float>(a: &Owned<T>, b: &Owned<T>, i: usize, j: usize) -> f64 {
    (0..a.cols).map(|k| a.at(i, k) * b.at(k, j)).sum()
}

fn check_product<T: Float>(m: usize, k: usize, n: usize, lays: [Lay; 3], to: Accumulate) {
    let (a, b) = (Owned::<T>::exact(m, k, lays[0], 1), Owned::<T>::exact(k, n, lays[1], 2));
    let before = match to {
        Accumulate::Set => Owned::<T>::nan(m, n, lays[2]),
        Accumulate::Add => Owned::<T>::exact(m, n, lays[2], 3),
    };
    let mut c = before.clone();
    product(a.mat(), b.mat(), to, c.mat_mut());
    for i in 0..m {
        for j in 0..n {
            let start = if to == Accumulate::Add { before.at(i, j) } else { 0.0 };
            assert_eq!(c.at(i, j), start + naive(&a, &b, i, j), "{} {m}×{k}×{n} {lays:?} {to:?} at {i}, {j}", T::NAME);
        }
    }
    assert!(c.gaps_are_untouched(), "{} {m}×{k}×{n} {lays:?}", T::NAME);
}

#[test]
fn products_around_the_edges_of_tiles() {
    for (m, k, n) in [
        (0, 0, 0),
        (0, 3, 2),
        (3, 0, 2),
        (2, 3, 0),
        (1, 1, 1),
        (1, 300, 1),
        (15, 16, 17),
        (16, 256, 16),
        (17, 257, 31),
        (64, 64, 64),
        (65, 70, 129),
        (129, 33, 66),
        (1, 40, 70),
        (70, 40, 1),
        (300, 20, 150),
    ] {
        for to in [Accumulate::Set, Accumulate::Add] {
            for a in LAYS {
                for b in LAYS {
                    check_product::<f32>(m, k, n, [a, b, Lay::Gaps], to);
                    check_product::<f64>(m, k, n, [a, b, Lay::Cols], to);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn products_of_any_shape(m in 0usize..90, k in 0usize..90, n in 0usize..90, a in 0usize..3, b in 0usize..3, c in 0usize..3, add: bool) {
        let to = if add { Accumulate::Add } else { Accumulate::Set };
        check_product::<f32>(m, k, n, [LAYS[a], LAYS[b], LAYS[c]], to);
        check_product::<f64>(m, k, n, [LAYS[a], LAYS[b], LAYS[c]], to);
    }

    #[test]
    fn grams_of_any_shape(m in 0usize..300, n in 0usize..150, k in 0usize..40, l in 0usize..40, x in 0usize..3, g in 0usize..3, t in 0usize..3, add: bool) {
        check_grams::<f32>(m, n, k, l, [LAYS[x], LAYS[g], LAYS[t]], add);
        check_grams::<f64>(m, n, k, l, [LAYS[x], LAYS[g], LAYS[t]], add);
    }
}

fn check_grams<T: Float>(m: usize, n: usize, k: usize, l: usize, lays: [Lay; 3], add: bool) {
    let (x1, x2) = (Owned::<T>::exact(m, k, lays[0], 1), Owned::<T>::exact(n, k, lays[1], 2));
    let (g1, g2) = (Owned::<T>::exact(m, l, lays[1], 3), Owned::<T>::exact(n, l, lays[0], 4));
    let dot = |a: &Owned<T>, i: usize, b: &Owned<T>, j: usize| (0..a.cols).map(|k| a.at(i, k) * b.at(j, k)).sum::<f64>();
    let close = |y: f64, r: f64| (y - r).abs() <= 4.0 * T::EPSILON.to_f64() * (1.0 + r.abs());

    let start = Owned::<T>::exact(m, m, lays[2], 5);
    let mut c = if add { start.clone() } else { Owned::nan(m, m, lays[2]) };
    gram(x1.mat(), if add { Accumulate::Add } else { Accumulate::Set }, c.mat_mut());
    let mut theta = start.clone();
    gram_hadamard_symmetric(x1.mat(), g1.mat(), T::of(0.5), theta.mat_mut());
    for i in 0..m {
        for j in 0..m {
            assert_eq!(c.at(i, j), dot(&x1, i, &x1, j) + if add { start.at(i, j) } else { 0.0 });
            assert!(close(theta.at(i, j), start.at(i, j) + 0.5 * dot(&x1, i, &x1, j) * dot(&g1, i, &g1, j)));
        }
    }
    assert!(c.gaps_are_untouched() && theta.gaps_are_untouched());

    let start = Owned::<T>::exact(m, n, lays[2], 6);
    let mut theta = start.clone();
    gram_hadamard(x1.mat(), g1.mat(), x2.mat(), g2.mat(), T::of(0.5), theta.mat_mut());
    for i in 0..m {
        for j in 0..n {
            assert!(close(theta.at(i, j), start.at(i, j) + 0.5 * dot(&x1, i, &x2, j) * dot(&g1, i, &g2, j)));
        }
    }
    assert!(theta.gaps_are_untouched());
}

fn symmetry_and_threads<T: Float>() {
    let (m, n, k, l) = (300, 270, 530, 90);
    for lay in LAYS {
        let x = Owned::<T>::rough(m, k, lay, 1);
        let g = Owned::<T>::rough(m, l, lay, 2);
        let y = Owned::<T>::rough(n, k, lay, 3);
        let h = Owned::<T>::rough(n, l, lay, 4);
        let all = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                let mut set = Owned::<T>::nan(m, n, lay);
                product(x.mat(), y.mat().t(), Accumulate::Set, set.mat_mut());
                let mut tall = Owned::<T>::rough(m, 7, lay, 5);
                product(x.mat(), y.mat().row_range(0..7).t(), Accumulate::Add, tall.mat_mut());
                let mut symmetric = Owned::<T>::nan(m, m, lay);
                gram(x.mat(), Accumulate::Set, symmetric.mat_mut());
                gram_hadamard_symmetric(x.mat(), g.mat(), T::of(0.3), symmetric.mat_mut());
                gram(g.mat(), Accumulate::Add, symmetric.mat_mut());
                for i in 0..m {
                    for j in 0..m {
                        assert_eq!(symmetric.at(i, j).to_bits(), symmetric.at(j, i).to_bits(), "{i}, {j}");
                    }
                }
                let mut theta = Owned::<T>::rough(m, n, lay, 6);
                gram_hadamard(x.mat(), g.mat(), y.mat(), h.mat(), T::of(0.3), theta.mat_mut());
                [set.bits(), tall.bits(), symmetric.bits(), theta.bits()]
            })
        };
        let one = all(1);
        for threads in [2, 3, 7] {
            assert!(one == all(threads), "{} {lay:?}: other bits with {threads} threads", T::NAME);
        }
    }
}

#[test]
fn symmetric_to_the_bit_and_the_same_at_any_number_of_threads() {
    symmetry_and_threads::<f32>();
    symmetry_and_threads::<f64>();
}

/// An element has the same bits however the product is cut, down to a single row, column or element.
fn cuts_keep_bits<T: Float>() {
    let (m, k, n) = (70, 600, 50);
    for (la, lb) in [(Lay::Rows, Lay::Rows), (Lay::Cols, Lay::Gaps), (Lay::Gaps, Lay::Cols)] {
        for to in [Accumulate::Set, Accumulate::Add] {
            let (a, b) = (Owned::<T>::rough(m, k, la, 1), Owned::<T>::rough(k, n, lb, 2));
            let start = Owned::<T>::rough(m, n, Lay::Rows, 3);
            let mut whole = start.clone();
            product(a.mat(), b.mat(), to, whole.mat_mut());
            for (rows, cols) in [(1, n), (m, 1), (1, 1), (7, 3), (64, 64)] {
                let mut cut = start.clone();
                for i in (0..m).step_by(rows) {
                    for j in (0..n).step_by(cols) {
                        let (i, j) = (i..(i + rows).min(m), j..(j + cols).min(n));
                        let c = cut.mat_mut().row_range(i.clone()).col_range(j.clone());
                        product(a.mat().row_range(i), b.mat().col_range(j), to, c);
                    }
                }
                assert!(whole.bits() == cut.bits(), "{} {to:?} in pieces of {rows} × {cols}", T::NAME);
            }
        }
    }
}

#[test]
fn cuts_of_rows_and_columns_keep_bits() {
    cuts_keep_bits::<f32>();
    cuts_keep_bits::<f64>();
}

#[test]
fn wrong_shapes_are_refused_with_all_sizes() {
    let a = Owned::<f64>::exact(2, 3, Lay::Rows, 1);
    let message = |f: &mut dyn FnMut()| {
        let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("this must panic");
        *payload.downcast::<String>().expect("a message")
    };
    let mut c = Owned::<f64>::nan(2, 2, Lay::Rows);
    let text = message(&mut || product(a.mat(), a.mat(), Accumulate::Set, c.mat_mut()));
    assert!(text.contains("2 × 3 and 2 × 3 into 2 × 2"), "{text}");
    let text = message(&mut || gram(a.mat().t(), Accumulate::Set, c.mat_mut()));
    assert!(text.contains("3 × 2 into 2 × 2"), "{text}");
    let text = message(&mut || gram_hadamard_symmetric(a.mat(), a.mat().t(), 1.0, c.mat_mut()));
    assert!(text.contains("2 × 3 and of 3 × 2 into 2 × 2"), "{text}");
    let text = message(&mut || gram_hadamard(a.mat(), a.mat(), a.mat(), a.mat().t(), 1.0, c.mat_mut()));
    assert!(text.contains("2 × 3") && text.contains("3 × 2") && text.contains("2 × 2"), "{text}");
}

//! Gram matrices and kernels of layers against the naive sums, at every level.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{LAYS, Lay, Owned, same_with_any_number_of_threads};
use proptest::prelude::*;
use simd::{
    Accumulate, Factors, Float, Level, Mat, MatMut, Term, gram, gram_at, gram_hadamard, gram_hadamard_at, gram_hadamard_symmetric_at,
    gram_panels, gram_then_at, product_at,
};

fn dot<T: Float>(a: &Owned<T>, i: usize, b: &Owned<T>, j: usize) -> f64 {
    (0..a.cols).map(|k| a.at(i, k) * b.at(j, k)).sum()
}

fn check_gram<T: Float>(level: Level, m: usize, k: usize, lays: [Lay; 2], to: Accumulate) {
    let a = Owned::<T>::exact(m, k, lays[0], 1);
    // Below the diagonal the target is never read.
    let before = Owned::<T>::new(m, m, lays[1], |i, j| T::of(if i > j || to == Accumulate::Set { f64::NAN } else { (i + 2 * j) as f64 }));
    let mut c = before.clone();
    gram_at(level, a.mat(), to, c.mat_mut());
    for i in 0..m {
        for j in 0..m {
            let start = if to == Accumulate::Add { before.at(i.min(j), i.max(j)) } else { 0.0 };
            assert_eq!(c.at(i, j), start + dot(&a, i, &a, j), "{level} {} {m} × {k} {lays:?} {to:?} at {i}, {j}", T::NAME);
        }
    }
    assert!(c.gaps_are_untouched());

    // A map of blocks, which may spoil what lies below the diagonal.
    let of_pair = |i: usize, j: usize| (3 * i + 5 * j) as f64;
    let mut c = before.clone();
    gram_then_at(level, a.mat(), c.mat_mut(), &|rows, columns, mut block: MatMut<T>| {
        assert_eq!((block.rows(), block.cols()), (rows.len(), columns.len()));
        for (r, i) in rows.clone().enumerate() {
            for (s, j) in columns.clone().enumerate() {
                let value = if i > j { T::of(f64::NAN) } else { block.at(r, s) + T::of(of_pair(i, j)) };
                block.set(r, s, value);
            }
        }
    });
    for i in 0..m {
        for j in 0..m {
            let wanted = dot(&a, i, &a, j) + of_pair(i.min(j), i.max(j));
            assert_eq!(c.at(i, j), wanted, "{level} {} {m} × {k} {lays:?} mapped at {i}, {j}", T::NAME);
        }
    }
    assert!(c.gaps_are_untouched());
}

/// The factors of two terms, for some examples with `o` outputs.
fn factors<T: Float>(n: usize, [k, l]: [usize; 2], o: usize, lays: [Lay; 2], seed: usize) -> [[Owned<T>; 2]; 2] {
    [0, 1].map(|t| [Owned::exact(n, k + t, lays[t], seed + t), Owned::exact(n * o, l + t, lays[1 - t], seed + 5 + t)])
}

fn terms<'a, T: Float>(one: &'a [[Owned<T>; 2]; 2], two: &'a [[Owned<T>; 2]; 2]) -> [Term<'a, T>; 2] {
    [0, 1].map(|t| {
        let of = |f: &'a [Owned<T>; 2]| Factors { x: f[0].mat(), g: f[1].mat() };
        Term { one: of(&one[t]), two: of(&two[t]), scale: T::of([0.5, 0.25][t]), shift: T::of([0.0, 1.5][t]) }
    })
}

fn naive_kernel<T: Float>(one: &[[Owned<T>; 2]; 2], two: &[[Owned<T>; 2]; 2], o: usize, [i, j, a, b]: [usize; 4]) -> f64 {
    let term = |t: usize, scale: f64, shift: f64| {
        let (f, h) = (&one[t], &two[t]);
        (scale * dot(&f[0], i, &h[0], j) + shift) * dot(&f[1], i * o + a, &h[1], j * o + b)
    };
    term(0, 0.5, 0.0) + term(1, 0.25, 1.5)
}

fn check_kernels<T: Float>(level: Level, [m, n]: [usize; 2], kl: [usize; 2], o: usize, lays: [Lay; 3]) {
    let close = |y: f64, r: f64| (y - r).abs() <= 8.0 * T::EPSILON.to_f64() * (1.0 + r.abs());
    let one = factors::<T>(m, kl, o, [lays[0], lays[1]], 1);
    let two = factors::<T>(n, kl, o, [lays[1], lays[0]], 3);
    let start = Owned::<T>::exact(m, n * o * o, lays[2], 6);
    let mut theta = start.clone();
    gram_hadamard_at(level, &terms(&one, &two), o, theta.mat_mut());
    for i in 0..m {
        for j in 0..n {
            for a in 0..o {
                for b in 0..o {
                    let place = (j * o + a) * o + b;
                    let expected = start.at(i, place) + naive_kernel(&one, &two, o, [i, j, a, b]);
                    assert!(close(theta.at(i, place), expected), "{level} {} {m} {n} {kl:?} {o} {lays:?} {i} {j} {a} {b}", T::NAME);
                }
            }
        }
    }
    assert!(theta.gaps_are_untouched());

    // Below the diagonal of pairs, and of outputs on it, the target is never read.
    let below = |i: usize, p: usize| i > p / (o * o) || (i == p / (o * o) && p / o % o > p % o);
    let start = Owned::<T>::new(m, m * o * o, lays[2], |i, p| T::of(if below(i, p) { f64::NAN } else { (i + p) as f64 / 8.0 }));
    let mut theta = start.clone();
    gram_hadamard_symmetric_at(level, &terms(&one, &one), o, theta.mat_mut());
    for i in 0..m {
        for j in i..m {
            for a in 0..o {
                for b in if i == j { a..o } else { 0..o } {
                    let (place, mirror) = ((j * o + a) * o + b, (i * o + b) * o + a);
                    let expected = start.at(i, place) + naive_kernel(&one, &one, o, [i, j, a, b]);
                    assert!(close(theta.at(i, place), expected), "{level} {} {m} {kl:?} {o} {lays:?} {i} {j} {a} {b}", T::NAME);
                    assert_eq!(theta.at(i, place).to_bits(), theta.at(j, mirror).to_bits(), "{level} {m} {o} {i} {j} {a} {b}");
                }
            }
        }
    }
    assert!(theta.gaps_are_untouched());
}

#[test]
fn around_the_edges_of_blocks() {
    for level in Level::available() {
        for m in [0, 1, 5, 6, 31, 32, 33, 63, 64, 65, 96, 127, 128, 129, 191, 192, 193, 290] {
            for (k, lay) in [(0, Lay::Rows), (1, Lay::Cols), (7, Lay::Gaps), (33, Lay::Rows)] {
                for to in [Accumulate::Set, Accumulate::Add] {
                    check_gram::<f32>(level, m, k, [lay, LAYS[m % 3]], to);
                    check_gram::<f64>(level, m, k, [lay, LAYS[k % 3]], to);
                }
            }
            let n = [m + 1, m / 2][m % 2];
            check_kernels::<f32>(level, [m, n], [3, 9], 1, [Lay::Rows, Lay::Rows, Lay::Rows]);
            check_kernels::<f64>(level, [n, m], [0, 17], 1, [Lay::Rows, Lay::Gaps, Lay::Cols]);
        }
        for o in [0, 2, 3, 7, 10, 33] {
            for m in [0, 1, 7, 33, 40] {
                check_kernels::<f32>(level, [m, m + 3], [4, 3], o, [Lay::Rows, Lay::Rows, Lay::Rows]);
                check_kernels::<f64>(level, [m, 5], [1, 2], o, [Lay::Cols, Lay::Gaps, LAYS[m % 3]]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn of_any_shape(m in 0usize..300, n in 0usize..150, k in 0usize..40, l in 0usize..40, x in 0usize..3, g in 0usize..3, t in 0usize..3, add: bool) {
        let to = if add { Accumulate::Add } else { Accumulate::Set };
        for level in Level::available() {
            check_gram::<f32>(level, m, k, [LAYS[x], LAYS[t]], to);
            check_gram::<f64>(level, m, l, [LAYS[g], LAYS[t]], to);
            check_kernels::<f32>(level, [m, n], [k, l], 1, [LAYS[x], LAYS[g], LAYS[t]]);
        }
    }

    #[test]
    fn of_any_number_of_outputs(m in 0usize..40, n in 0usize..40, o in 0usize..14, k in 0usize..9, l in 0usize..9, x in 0usize..3, g in 0usize..3, t in 0usize..3) {
        for level in Level::available() {
            check_kernels::<f64>(level, [m, n], [k, l], o, [LAYS[x], LAYS[g], LAYS[t]]);
        }
    }
}

fn symmetry_and_threads<T: Float>(level: Level) {
    let (n, k, l) = (300, 530, 90);
    for lay in LAYS {
        let x = Owned::<T>::rough(n, k, lay, 1);
        let g = Owned::<T>::rough(n, l, lay, 2);
        let h = Owned::<T>::rough(n * 3, 40, lay, 3);
        same_with_any_number_of_threads(&format!("{level} {} {lay:?}", T::NAME), || {
            let of = |x: &'_ Owned<T>| gram_of(level, x, lay);
            let mut theta = of(&x);
            let factors = Factors { x: x.mat(), g: g.mat() };
            let term = Term { one: factors, two: factors, scale: T::of(0.3), shift: T::of(0.1) };
            gram_hadamard_symmetric_at(level, &[term, term], 1, theta.mat_mut());
            for i in 0..n {
                for j in 0..n {
                    assert_eq!(theta.at(i, j).to_bits(), theta.at(j, i).to_bits(), "{i}, {j}");
                }
            }
            let mut full = Owned::<T>::rough(n, n * 9, lay, 6);
            let factors = Factors { x: x.mat(), g: h.mat() };
            gram_hadamard_at(level, &[Term { one: factors, two: factors, ..term }], 3, full.mat_mut());
            [theta.bits(), full.bits()]
        });
    }
}

fn gram_of<T: Float>(level: Level, x: &Owned<T>, lay: Lay) -> Owned<T> {
    let mut c = Owned::<T>::nan(x.rows, x.rows, lay);
    gram_at(level, x.mat(), Accumulate::Set, c.mat_mut());
    c
}

/// Rows of which the panels are made a piece at a time: the bits of a product, which has no panels of the whole.
fn long_rows<T: Float>(level: Level) {
    let m = 130;
    let k = (1 << 23) / size_of::<T>() / m + 300;
    assert_eq!(gram_panels(m, k, size_of::<T>()), gram_panels(m, 2 * k, size_of::<T>()), "not longer than what is packed at once");
    let a = Owned::<T>::rough(m, k, Lay::Rows, 1);
    let before = |to| Owned::<T>::new(m, m, Lay::Rows, |i, j| T::of(if to == Accumulate::Set { f64::NAN } else { (i + j) as f64 }));
    for to in [Accumulate::Set, Accumulate::Add] {
        let (mut c, mut wanted) = (before(to), before(to));
        gram_at(level, a.mat(), to, c.mat_mut());
        product_at(level, a.mat(), a.mat().t(), to, wanted.mat_mut());
        let mut then = before(Accumulate::Set);
        gram_then_at(level, a.mat(), then.mat_mut(), &|_, _, mut block: MatMut<T>| {
            let (rows, cols) = (block.rows(), block.cols());
            (0..rows * cols).for_each(|e| block.set(e / cols, e % cols, block.at(e / cols, e % cols) + T::ONE));
        });
        for (i, j) in (0..m * m).map(|e| (e / m, e % m)) {
            let above = wanted.at(i.min(j), i.max(j));
            assert_eq!(c.at(i, j).to_bits(), above.to_bits(), "{level} {} {to:?} at {i}, {j}", T::NAME);
            if to == Accumulate::Set {
                assert_eq!(then.at(i, j), (T::of(above) + T::ONE).to_f64(), "{level} {} mapped once, at {i}, {j}", T::NAME);
            }
        }
    }
}

#[test]
fn rows_longer_than_what_is_packed_at_once() {
    for level in Level::available() {
        long_rows::<f32>(level);
        long_rows::<f64>(level);
    }
}

#[test]
fn symmetric_to_the_bit_and_the_same_at_any_number_of_threads() {
    for level in Level::available() {
        symmetry_and_threads::<f32>(level);
        symmetry_and_threads::<f64>(level);
    }
}

/// A kernel has the same bits whole, in blocks of examples, and with the triangle mirrored.
fn cuts_keep_bits<T: Float>(level: Level, o: usize) {
    let n = 70;
    let f = [[Owned::<T>::rough(n, 300, Lay::Rows, 1), Owned::<T>::rough(n * o, 280, Lay::Rows, 2)]; 1];
    let term = |i: std::ops::Range<usize>, j: std::ops::Range<usize>| {
        let of = |r: std::ops::Range<usize>| Factors {
            x: f[0][0].mat().row_range(r.clone()),
            g: f[0][1].mat().row_range(r.start * o..r.end * o),
        };
        Term { one: of(i), two: of(j), scale: T::of(0.7), shift: T::of(0.2) }
    };
    let mut whole = Owned::<T>::new(n, n * o * o, Lay::Rows, |_, _| T::ZERO);
    let (mut symmetric, mut cut) = (whole.clone(), whole.clone());
    gram_hadamard_at(level, &[term(0..n, 0..n)], o, whole.mat_mut());
    gram_hadamard_symmetric_at(level, &[term(0..n, 0..n)], o, symmetric.mat_mut());
    for i in (0..n).step_by(13) {
        for j in (0..n).step_by(29) {
            let (i, j) = (i..n.min(i + 13), j..n.min(j + 29));
            let theta = cut.mat_mut().row_range(i.clone()).col_range(j.start * o * o..j.end * o * o);
            gram_hadamard_at(level, &[term(i, j)], o, theta);
        }
    }
    assert!(whole.bits() == cut.bits(), "{level} {} in pieces", T::NAME);
    assert!(whole.bits() == symmetric.bits(), "{level} {} mirrored", T::NAME);
}

#[test]
fn cuts_of_examples_keep_bits() {
    for level in Level::available() {
        for o in [1, 4] {
            cuts_keep_bits::<f32>(level, o);
            cuts_keep_bits::<f64>(level, o);
        }
    }
}

#[test]
fn wrong_shapes_are_refused_with_all_sizes() {
    let a = Owned::<f64>::exact(2, 3, Lay::Rows, 1);
    let message = |f: &mut dyn FnMut()| {
        let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("this must panic");
        *payload.downcast::<String>().expect("a message")
    };
    let mut c = Owned::<f64>::nan(2, 2, Lay::Rows);
    let text = message(&mut || gram(a.mat().t(), Accumulate::Set, c.mat_mut()));
    assert!(text.contains("3 × 2 into 2 × 2"), "{text}");
    let (one, two) = (Factors { x: a.mat(), g: a.mat() }, Factors { x: a.mat(), g: a.mat().t() });
    let text = message(&mut || gram_hadamard(&[Term { one, two, scale: 1.0, shift: 0.0 }], 1, c.mat_mut()));
    assert!(text.contains("2 × 3 and 2 × 3") && text.contains("2 × 3 and 3 × 2") && text.contains("2 × 2"), "{text}");
    let mut empty: [f64; 0] = [];
    gram_at(Level::best(), Mat::new(&[], 0, 4), Accumulate::Set, MatMut::new(&mut empty, 0, 0));
}

//! Views: indices, sub-views, and what is refused.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use simd::{Mat, MatMut};

/// The message of the panic that `f` must end in.
fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).err().expect("this must panic");
    payload.downcast::<String>().map_or_else(|p| p.downcast::<&str>().expect("a message").to_string(), |s| *s)
}

#[test]
fn wrong_sizes_are_refused_with_both() {
    let mut data = [0.0; 6];
    let message = panic_of(|| Mat::new(&data, 2, 4));
    assert!(message.contains("2 × 4") && message.contains('6'), "{message}");
    let message = panic_of(|| Mat::strided(&data, 2, 3, 4, 1));
    assert!(message.contains("2 × 3") && message.contains("4, 1") && message.contains('6'), "{message}");
    panic_of(|| Mat::strided(&data, usize::MAX, 2, usize::MAX, 1));
    panic_of(|| Mat::new(&data, usize::MAX, usize::MAX));
    panic_of(|| Mat::new(&data, 2, 3).at(2, 0));
    panic_of(|| Mat::new(&data, 2, 3).at(0, 3));
    panic_of(|| Mat::new(&data, 2, 3).row_range(1..3));
    #[allow(clippy::reversed_empty_ranges)]
    let _ = panic_of(|| Mat::new(&data, 2, 3).col_range(2..1));
    panic_of(|| Mat::new(&data, 2, 3).row(2));
    panic_of(|| MatMut::new(&mut data, 2, 3).set(2, 0, 1.0));
    panic_of(|| MatMut::new(&mut data, 2, 3).split_rows_at(3));
    panic_of(|| MatMut::new(&mut data, 2, 3).split_cols_at(4));
}

#[test]
fn empty_views_never_reach_for_data() {
    let data: [f32; 0] = [];
    for (rows, cols) in [(0, 0), (0, 5), (5, 0)] {
        let a = Mat::strided(&data, rows, cols, usize::MAX, usize::MAX);
        assert_eq!((a.row_range(0..rows).rows(), a.t().rows()), (rows, cols));
        assert_eq!(a.row_range(rows..rows).col_range(cols..cols).as_slice(), Some(&data[..]));
    }
    // A row that no element follows may have any stride.
    assert_eq!(Mat::strided(&[7.0], 1, 1, usize::MAX, usize::MAX).at(0, 0), 7.0);
}

#[test]
fn slices_only_where_there_are_no_gaps() {
    let data: Vec<u32> = (0..12).collect();
    let a = Mat::new(&data, 3, 4);
    assert_eq!(a.as_slice(), Some(&data[..]));
    assert_eq!(a.row_range(1..3).as_slice(), Some(&data[4..]));
    assert_eq!(a.col_range(1..3).as_slice(), None);
    assert_eq!(a.col_range(1..3).row(2), Some(&data[9..11]));
    assert_eq!(a.t().as_slice(), None);
    assert_eq!(a.t().row(0), None);
    assert_eq!(a.row_range(0..1).t().as_slice(), Some(&data[..4]));
    let mut data = data.clone();
    assert_eq!(MatMut::new(&mut data, 3, 4).row_mut(1), Some(&mut [4, 5, 6, 7][..]));
    assert!(MatMut::new(&mut data, 3, 4).col_range(0..2).as_mut_slice().is_none());
}

#[test]
fn halves_are_written_by_two_threads() {
    let mut data = [0; 35];
    let (mut left, mut right) = MatMut::new(&mut data, 5, 7).split_cols_at(3);
    let fill = |m: &mut MatMut<i32>, value: i32| {
        for i in 0..m.rows() {
            for j in 0..m.cols() {
                m.set(i, j, value * 100 + (i * 10 + j) as i32);
            }
        }
    };
    rayon::join(|| fill(&mut left, 1), || fill(&mut right, 2));
    assert_eq!((left.at(4, 2), right.at(4, 3)), (142, 243));
    assert_eq!((data[4 * 7 + 2], data[4 * 7 + 3], data[34]), (142, 240, 243));
}

proptest! {
    /// `MatMut` refuses exactly those strides under which two elements coincide.
    #[test]
    fn coinciding_elements_are_refused(rows in 0usize..6, cols in 0usize..6, rs in 0usize..12, cs in 0usize..12) {
        let mut places: Vec<usize> = (0..rows).flat_map(|i| (0..cols).map(move |j| i * rs + j * cs)).collect();
        let n = places.len();
        places.sort_unstable();
        places.dedup();
        let mut data = vec![0u8; 200];
        let made = catch_unwind(AssertUnwindSafe(|| { MatMut::strided(&mut data, rows, cols, rs, cs); })).is_ok();
        prop_assert_eq!(made, places.len() == n);
    }

    /// Every sub-view finds the elements that the arithmetic of strides finds.
    #[test]
    fn sub_views_agree_with_arithmetic(rows in 1usize..7, cols in 1usize..7, rs in 0usize..9, cs in 0usize..9, a in 0usize..7, b in 0usize..7, c in 0usize..7, d in 0usize..7) {
        let data: Vec<usize> = (0..=(rows - 1) * rs + (cols - 1) * cs).collect();
        let (a, b, c, d) = (a.min(rows), b.min(rows), c.min(cols), d.min(cols));
        let (r, q) = (a.min(b)..a.max(b), c.min(d)..c.max(d));
        let m = Mat::strided(&data, rows, cols, rs, cs).row_range(r.clone()).t().row_range(q.clone());
        prop_assert_eq!((m.rows(), m.cols()), (q.len(), r.len()));
        for (y, j) in q.clone().enumerate() {
            for (x, i) in r.clone().enumerate() {
                prop_assert_eq!(m.at(y, x), i * rs + j * cs);
            }
        }
    }
}

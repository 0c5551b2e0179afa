//! The checks that a strided view stays inside its data and within itself: what [`Mat`](crate::Mat) relies on.

use std::ops::Range;

/// Whether the elements lie row after row without gaps.
pub(crate) fn is_contiguous(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> bool {
    rows == 0 || cols == 0 || ((cols == 1 || col_stride == 1) && (rows == 1 || row_stride == cols))
}

/// Whether two elements share a place: with positive strides, i·row_stride = j·col_stride has the smallest solution
/// i = col_stride/g, j = row_stride/g, where g is the greatest common divisor.
pub(crate) fn coincide(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> bool {
    if rows == 0 || cols == 0 {
        return false;
    }
    if (rows > 1 && row_stride == 0) || (cols > 1 && col_stride == 0) {
        return true;
    }
    if rows == 1 || cols == 1 {
        return false;
    }
    let (mut g, mut r) = (row_stride, col_stride);
    while r != 0 {
        (g, r) = (r, g % r);
    }
    col_stride / g < rows && row_stride / g < cols
}

#[track_caller]
pub(crate) fn check_whole(len: usize, rows: usize, cols: usize) {
    assert!(rows.checked_mul(cols) == Some(len), "a matrix of {rows} × {cols} over {len} elements");
}

#[track_caller]
#[inline(always)]
pub(crate) fn check_inside(len: usize, rows: usize, cols: usize, row_stride: usize, col_stride: usize) {
    if rows == 0 || cols == 0 {
        return;
    }
    let down = (rows - 1).checked_mul(row_stride);
    let last = down.and_then(|down| (cols - 1).checked_mul(col_stride).and_then(|across| down.checked_add(across)));
    if last.is_none_or(|last| last >= len) {
        no_inside(len, rows, cols, row_stride, col_stride);
    }
}

#[track_caller]
#[cold]
fn no_inside(len: usize, rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> ! {
    panic!("a matrix of {rows} × {cols} with strides {row_stride}, {col_stride} leaves its {len} elements");
}

#[track_caller]
#[inline]
pub(crate) fn check_index(i: usize, j: usize, rows: usize, cols: usize) {
    assert!(i < rows && j < cols, "element ({i}, {j}) of a matrix of {rows} × {cols}");
}

#[track_caller]
#[inline(always)]
pub(crate) fn check_block(i: &Range<usize>, j: &Range<usize>, rows: usize, cols: usize) {
    let inside = i.start <= i.end && i.end <= rows && j.start <= j.end && j.end <= cols;
    if !inside {
        no_block(i, j, rows, cols);
    }
}

#[track_caller]
#[cold]
fn no_block(i: &Range<usize>, j: &Range<usize>, rows: usize, cols: usize) -> ! {
    panic!("rows {i:?} and columns {j:?} of a matrix of {rows} × {cols}");
}

#[track_caller]
pub(crate) fn check_range(what: &str, range: &Range<usize>, len: usize) {
    assert!(range.start <= range.end && range.end <= len, "{what} {range:?} of a matrix that has {len} {what}");
}

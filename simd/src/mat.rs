//! Strided matrix views.
//!
//! Element (i, j) lies `i·row_stride + j·col_stride` elements behind the first one. Everything that an access relies on is
//! proved once, when the view is made; indexing, sub-views and transposes then only check themselves.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use crate::bounds::{check_block, check_index, check_inside, check_range, check_whole, coincide, is_contiguous};

/// A matrix that is read.
///
/// Strides may be anything that stays inside the data; a stride of 0 repeats one row or column.
///
/// ```
/// let data = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let a = simd::Mat::new(&data, 2, 3);
/// assert_eq!(a.at(1, 0), 4.0);
/// assert_eq!(a.t().at(0, 1), 4.0);
/// assert_eq!(a.col_range(1..3).at(1, 1), 6.0);
/// ```
pub struct Mat<'a, T> {
    /// Invariant: for `i < rows` and `j < cols` the element at `start + i·row_stride + j·col_stride` is valid to read for `'a`.
    start: *const T,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
    data: PhantomData<&'a [T]>,
}

/// A matrix that is written.
///
/// No two of its elements share a place, and the view alone may touch them; the gaps between them may belong to others.
pub struct MatMut<'a, T> {
    /// Invariant: as for [`Mat`], valid to write as well, the places all different and no other view's for `'a`.
    start: *mut T,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
    data: PhantomData<&'a mut [T]>,
}

// SAFETY: a `Mat` gives out shared references and copies only, as `&[T]` does.
unsafe impl<T: Sync> Send for Mat<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Mat<'_, T> {}
// SAFETY: a `MatMut` alone reaches its elements, as `&mut [T]` does.
unsafe impl<T: Send> Send for MatMut<'_, T> {}
// SAFETY: a shared `MatMut` is read only, as `&&mut [T]` is.
unsafe impl<T: Sync> Sync for MatMut<'_, T> {}

impl<T> Clone for Mat<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Mat<'_, T> {}

impl<'a, T> Mat<'a, T> {
    /// All of `data` as a matrix, row after row.
    ///
    /// # Panics
    /// Unless `data.len() == rows * cols`.
    #[track_caller]
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        check_whole(data.len(), rows, cols);
        Self::strided(data, rows, cols, cols, 1)
    }

    /// The matrix whose element (i, j) is `data[i * row_stride + j * col_stride]`.
    ///
    /// # Panics
    /// Unless the last element lies inside `data` (an empty matrix always does).
    #[track_caller]
    #[inline(always)]
    pub fn strided(data: &'a [T], rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Self {
        check_inside(data.len(), rows, cols, row_stride, col_stride);
        // `check_inside` is the invariant: offsets grow with i and j, so the last element bounds them all.
        Mat { start: data.as_ptr(), rows, cols, row_stride, col_stride, data: PhantomData }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// How many elements of the data lie between (i, j) and (i + 1, j).
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// How many elements of the data lie between (i, j) and (i, j + 1).
    pub fn col_stride(&self) -> usize {
        self.col_stride
    }

    /// The transpose, a view of the same data.
    pub fn t(self) -> Self {
        Mat {
            start: self.start,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            data: PhantomData,
        }
    }

    /// Element (i, j).
    ///
    /// # Panics
    /// If the matrix has no such element.
    #[track_caller]
    #[inline]
    pub fn at(&self, i: usize, j: usize) -> T
    where
        T: Copy,
    {
        check_index(i, j, self.rows, self.cols);
        // SAFETY: the index was just checked, and the invariant makes such elements readable.
        unsafe { *self.start.add(i * self.row_stride + j * self.col_stride) }
    }

    /// Some consecutive rows.
    ///
    /// # Panics
    /// If the range leaves the matrix.
    #[track_caller]
    pub fn row_range(self, range: Range<usize>) -> Self {
        check_range("rows", &range, self.rows);
        let start = advance(self.start.cast_mut(), &range, self.row_stride, self.cols).cast_const();
        Mat { start, rows: range.len(), ..self }
    }

    /// Some consecutive columns.
    ///
    /// # Panics
    /// If the range leaves the matrix.
    #[track_caller]
    pub fn col_range(self, range: Range<usize>) -> Self {
        self.t().row_range(range).t()
    }

    /// Some consecutive rows and columns.
    ///
    /// # Panics
    /// If a range leaves the matrix.
    #[track_caller]
    #[inline(always)]
    pub(crate) fn block(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        check_block(&rows, &cols, self.rows, self.cols);
        let start = corner(self.start.cast_mut(), &rows, &cols, self.row_stride, self.col_stride).cast_const();
        Mat { start, rows: rows.len(), cols: cols.len(), ..self }
    }

    /// Row `i` as a slice, if its elements lie side by side.
    ///
    /// # Panics
    /// If there is no such row.
    #[track_caller]
    #[inline]
    pub fn row(&self, i: usize) -> Option<&'a [T]> {
        assert!(i < self.rows, "row {i} of a matrix of {} × {}", self.rows, self.cols);
        self.row_range(i..i + 1).as_slice()
    }

    /// The whole matrix as a slice, if its elements lie row after row without gaps.
    pub fn as_slice(&self) -> Option<&'a [T]> {
        is_contiguous(self.rows, self.cols, self.row_stride, self.col_stride).then(|| {
            // SAFETY: the elements fill `rows · cols` places from `start` on, all readable for 'a by the invariant.
            unsafe { std::slice::from_raw_parts(self.start, self.rows * self.cols) }
        })
    }

    /// The first element, for the products.
    pub(crate) fn as_ptr(&self) -> *const T {
        self.start
    }
}

impl<'a, T> MatMut<'a, T> {
    /// All of `data` as a matrix, row after row.
    ///
    /// # Panics
    /// Unless `data.len() == rows * cols`.
    #[track_caller]
    pub fn new(data: &'a mut [T], rows: usize, cols: usize) -> Self {
        check_whole(data.len(), rows, cols);
        Self::strided(data, rows, cols, cols, 1)
    }

    /// The matrix whose element (i, j) is `data[i * row_stride + j * col_stride]`.
    ///
    /// # Panics
    /// Unless the last element lies inside `data` and all elements have places of their own.
    #[track_caller]
    pub fn strided(data: &'a mut [T], rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Self {
        check_inside(data.len(), rows, cols, row_stride, col_stride);
        assert!(
            !coincide(rows, cols, row_stride, col_stride),
            "two elements of a matrix of {rows} × {cols} share a place under the strides {row_stride}, {col_stride}"
        );
        MatMut { start: data.as_mut_ptr(), rows, cols, row_stride, col_stride, data: PhantomData }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// How many elements of the data lie between (i, j) and (i + 1, j).
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// How many elements of the data lie between (i, j) and (i, j + 1).
    pub fn col_stride(&self) -> usize {
        self.col_stride
    }

    /// The same view for a shorter time, so that this one can be used again afterwards.
    pub fn reborrow(&mut self) -> MatMut<'_, T> {
        MatMut { data: PhantomData, ..*self }
    }

    /// The same as [`reborrow`](Self::reborrow).
    pub fn as_mut(&mut self) -> MatMut<'_, T> {
        self.reborrow()
    }

    /// The matrix as one that is read.
    pub fn as_mat(&self) -> Mat<'_, T> {
        Mat {
            start: self.start,
            rows: self.rows,
            cols: self.cols,
            row_stride: self.row_stride,
            col_stride: self.col_stride,
            data: PhantomData,
        }
    }

    /// The transpose, a view of the same data.
    pub fn t(self) -> Self {
        MatMut {
            start: self.start,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            data: PhantomData,
        }
    }

    /// Element (i, j).
    ///
    /// # Panics
    /// If the matrix has no such element.
    #[track_caller]
    #[inline]
    pub fn at(&self, i: usize, j: usize) -> T
    where
        T: Copy,
    {
        self.as_mat().at(i, j)
    }

    /// Writes element (i, j).
    ///
    /// # Panics
    /// If the matrix has no such element.
    #[track_caller]
    #[inline]
    pub fn set(&mut self, i: usize, j: usize, value: T)
    where
        T: Copy,
    {
        check_index(i, j, self.rows, self.cols);
        // SAFETY: the index was just checked, the invariant makes such elements writable, and `&mut self` makes us alone.
        unsafe { *self.start.add(i * self.row_stride + j * self.col_stride) = value }
    }

    /// Some consecutive rows.
    ///
    /// # Panics
    /// If the range leaves the matrix.
    #[track_caller]
    pub fn row_range(self, range: Range<usize>) -> Self {
        check_range("rows", &range, self.rows);
        let start = advance(self.start, &range, self.row_stride, self.cols);
        MatMut { start, rows: range.len(), ..self }
    }

    /// Some consecutive columns.
    ///
    /// # Panics
    /// If the range leaves the matrix.
    #[track_caller]
    pub fn col_range(self, range: Range<usize>) -> Self {
        self.t().row_range(range).t()
    }

    /// Some consecutive rows and columns.
    ///
    /// # Panics
    /// If a range leaves the matrix.
    #[track_caller]
    #[inline(always)]
    pub(crate) fn block(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        check_block(&rows, &cols, self.rows, self.cols);
        let start = corner(self.start, &rows, &cols, self.row_stride, self.col_stride);
        MatMut { start, rows: rows.len(), cols: cols.len(), ..self }
    }

    /// The rows before `i` and those from `i` on.
    ///
    /// # Panics
    /// If `i` is larger than the number of rows.
    #[track_caller]
    pub fn split_rows_at(self, i: usize) -> (Self, Self) {
        check_range("rows", &(i..self.rows.max(i)), self.rows);
        // Both halves hold different rows, and different elements have different places, so each is alone with its own.
        let below = MatMut { data: PhantomData, ..self };
        let rows = self.rows;
        (self.row_range(0..i), below.row_range(i..rows))
    }

    /// The columns before `j` and those from `j` on.
    ///
    /// # Panics
    /// If `j` is larger than the number of columns.
    #[track_caller]
    pub fn split_cols_at(self, j: usize) -> (Self, Self) {
        let (left, right) = self.t().split_rows_at(j);
        (left.t(), right.t())
    }

    /// Row `i` as a slice, if its elements lie side by side.
    ///
    /// # Panics
    /// If there is no such row.
    #[track_caller]
    #[inline]
    pub fn row_mut(&mut self, i: usize) -> Option<&mut [T]> {
        assert!(i < self.rows, "row {i} of a matrix of {} × {}", self.rows, self.cols);
        self.reborrow().row_range(i..i + 1).as_mut_slice()
    }

    /// The whole matrix as a slice, if its elements lie row after row without gaps.
    pub fn as_mut_slice(self) -> Option<&'a mut [T]> {
        is_contiguous(self.rows, self.cols, self.row_stride, self.col_stride).then(|| {
            // SAFETY: the elements fill `rows · cols` places from `start` on, all ours for 'a by the invariant, and there are no gaps.
            unsafe { std::slice::from_raw_parts_mut(self.start, self.rows * self.cols) }
        })
    }

    /// The first element, for the products.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut T {
        self.start
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for Mat<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |i| (0..self.cols).map(move |j| self.at(i, j)).collect::<Vec<_>>();
        f.debug_list().entries((0..self.rows).map(row)).finish()
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for MatMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_mat().fmt(f)
    }
}

/// Where the rows of `range` begin. An empty view never reads, so it stays where it is and no offset is formed past the data.
fn advance<T>(start: *mut T, range: &Range<usize>, stride: usize, others: usize) -> *mut T {
    if range.is_empty() || others == 0 {
        return start;
    }
    // SAFETY: row `range.start` is a row of the view and has an element, so by the invariant the offset stays inside the data.
    unsafe { start.add(range.start * stride) }
}

/// Where a block of a view begins; an empty block stays where the view is, as above.
#[inline(always)]
fn corner<T>(start: *mut T, rows: &Range<usize>, cols: &Range<usize>, row_stride: usize, col_stride: usize) -> *mut T {
    if rows.start == rows.end || cols.start == cols.end {
        return start;
    }
    // SAFETY: the ranges lie in the view and are not empty, so this is where one of its elements is, by the invariant inside the data.
    unsafe { start.add(rows.start * row_stride + cols.start * col_stride) }
}

//! What a linear map holds besides numbers: the other factors of products, and places along an axis.

use crate::windows::Windows;
use simd::Mat;
use std::ops::Range;

/// Where a product [`Right`](crate::Linear::Right) takes its `dX`, and where it leaves its `dY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fan {
    /// Each product has its own `dX` and its own `dY`.
    Each,
    /// All products take the same `dX`.
    Out,
    /// All products add to the same `dY`.
    In,
    /// The rows of `dX` are what windows see of images: a convolution.
    See(Windows),
    /// What `dY` has in its rows is added to the cells that windows see: the transpose of a convolution.
    Seen(Windows),
}

/// The left factors of products, as matrices or as what windows see of images, `[images · windows, taps · channels]`.
#[derive(Clone, Copy, Debug)]
pub enum Features<'t, T: Copy> {
    /// Matrices.
    Stack(Stack<'t, T>),
    /// What windows see, written nowhere.
    Windows {
        /// The images.
        images: &'t [T],
        /// Their number.
        n: usize,
        /// The windows.
        windows: Windows,
        /// Whether the matrix is transposed.
        transposed: bool,
    },
}

impl<T: Copy> Features<'_, T> {
    /// Rows of a matrix.
    pub fn rows(&self) -> usize {
        match *self {
            Features::Stack(stack) => stack.rows(),
            Features::Windows { windows, transposed: true, .. } => windows.cells() * windows.channels(),
            Features::Windows { windows, n, transposed: false, .. } => n * windows.sites(),
        }
    }

    /// Columns of a matrix.
    pub fn cols(&self) -> usize {
        self.t().rows()
    }

    /// The transposed matrices.
    #[must_use]
    pub fn t(self) -> Self {
        match self {
            Features::Stack(stack) => Features::Stack(stack.t()),
            Features::Windows { images, n, windows, transposed } => Features::Windows { images, n, windows, transposed: !transposed },
        }
    }

    /// What the `i`-th of `n` examples has in its rows, of one matrix.
    #[must_use]
    pub(crate) fn example(self, i: usize, n: usize) -> Self {
        match self {
            Features::Stack(stack) => {
                let rows = each(stack.rows(), n);
                Features::Stack(stack.row_range(i * rows..(i + 1) * rows))
            }
            Features::Windows { images, n: all, windows, transposed } => {
                let some = each(all, n);
                let len = some * windows.image_len();
                Features::Windows { images: &images[i * len..(i + 1) * len], n: some, windows, transposed }
            }
        }
    }
}

/// The share of each example.
#[track_caller]
pub(crate) fn each(extent: usize, n: usize) -> usize {
    assert_eq!(extent % n, 0, "{extent} rows do not hold {n} examples alike");
    extent / n
}

/// Places along an axis.
#[derive(Clone, Copy, Debug)]
pub enum Take<'t, T> {
    /// The places from `start` on.
    Range {
        /// The first of them.
        start: usize,
        /// Their number.
        len: usize,
    },
    /// Any places, in any order and as often as one likes, as whole numbers.
    List(&'t [T]),
}

impl<T> Take<'_, T> {
    /// Number of places.
    pub fn len(&self) -> usize {
        match self {
            Take::Range { len, .. } => *len,
            Take::List(list) => list.len(),
        }
    }

    /// Whether no place is taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Matrices of one shape, one below the other in memory, or one matrix that stands for any number of equal ones.
#[derive(Clone, Copy, Debug)]
pub struct Stack<'t, T: Copy> {
    all: Mat<'t, T>,
    /// Rows of a matrix as it lies in memory.
    rows: usize,
    one: bool,
    transposed: bool,
}

impl<'t, T: Copy> Stack<'t, T> {
    /// One matrix for all products.
    pub fn one(matrix: Mat<'t, T>) -> Self {
        Stack { all: matrix, rows: matrix.rows(), one: true, transposed: false }
    }

    /// The matrices of `rows` rows that lie one below the other in `all`.
    ///
    /// # Panics
    /// If the last one is not whole.
    #[track_caller]
    pub fn many(all: Mat<'t, T>, rows: usize) -> Self {
        assert!(all.rows().is_multiple_of(rows.max(1)), "{} rows are no matrices of {rows} rows", all.rows());
        Stack { all, rows, one: false, transposed: false }
    }

    /// Rows of a matrix.
    pub fn rows(&self) -> usize {
        if self.transposed { self.all.cols() } else { self.rows }
    }

    /// Columns of a matrix.
    pub fn cols(&self) -> usize {
        if self.transposed { self.rows } else { self.all.cols() }
    }

    /// The matrix of product `b`.
    pub fn matrix(&self, b: usize) -> Mat<'t, T> {
        let first = if self.one { 0 } else { b * self.rows };
        let matrix = self.all.row_range(first..first + self.rows);
        if self.transposed { matrix.t() } else { matrix }
    }

    /// The transposed matrices.
    #[must_use]
    pub fn t(self) -> Self {
        Stack { transposed: !self.transposed, ..self }
    }

    /// The matrices of some of the products.
    #[must_use]
    pub(crate) fn some(self, b: Range<usize>) -> Self {
        if self.one { self } else { Stack { all: self.all.row_range(b.start * self.rows..b.end * self.rows), ..self } }
    }

    /// The same rows of one matrix.
    #[must_use]
    fn row_range(self, rows: Range<usize>) -> Self {
        let matrix = self.matrix(0).row_range(rows);
        Stack::one(matrix)
    }
}

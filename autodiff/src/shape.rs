//! Shapes of up to four axes, and how an operation sees one of them.

use std::fmt;
use std::ops::Range;

/// The most axes that a tensor has.
const AXES: usize = 4;

/// The extents of a tensor, row-major, held inline.
///
/// ```
/// use autodiff::Shape;
/// let shape = Shape::from([32, 7, 5]);
/// assert_eq!((shape.len(), shape.rows(), shape.cols()), (1120, 224, 5));
/// assert_eq!(Shape::scalar().len(), 1);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The extents, and ones behind them.
    dims: [usize; AXES],
    rank: u8,
}

/// A tensor seen from one of its axes, or from several that lie side by side: `[outer, n, inner]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Product of the extents before.
    pub outer: usize,
    /// Extent of the axis.
    pub n: usize,
    /// Product of the extents behind.
    pub inner: usize,
}

impl Axis {
    /// Number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.outer * self.n * self.inner
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shape {
    /// No axes, one entry.
    #[inline]
    pub fn scalar() -> Self {
        Shape { dims: [1; AXES], rank: 0 }
    }

    /// The extents, outermost first.
    #[inline]
    pub fn dims(&self) -> &[usize] {
        &self.dims[..usize::from(self.rank)]
    }

    /// Number of axes.
    #[inline]
    pub fn rank(&self) -> usize {
        usize::from(self.rank)
    }

    /// Number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Extent of the last axis (1 for a scalar): the columns, when the tensor is read as a matrix.
    #[inline]
    pub fn cols(&self) -> usize {
        self.dims().last().copied().unwrap_or(1)
    }

    /// Product of all extents but the last: the rows, when the tensor is read as a matrix.
    #[inline]
    pub fn rows(&self) -> usize {
        self.dims[..self.rank().saturating_sub(1)].iter().product()
    }

    /// The shape with another last extent.
    ///
    /// # Panics
    /// If it has no axis.
    #[inline]
    #[track_caller]
    pub fn with_cols(&self, cols: usize) -> Self {
        assert!(self.rank > 0, "a scalar has no last axis");
        self.with(self.rank() - 1, cols)
    }

    /// The shape without its last axis, or the scalar as it is.
    pub fn without_cols(&self) -> Self {
        let last = self.rank().saturating_sub(1);
        self.without(last..self.rank())
    }

    /// The tensor seen from some axes that lie side by side.
    ///
    /// ```
    /// use autodiff::{Axis, Shape};
    /// assert_eq!(Shape::from([2, 3, 5, 7]).axes(1..3), Axis { outer: 2, n: 15, inner: 7 });
    /// ```
    ///
    /// # Panics
    /// If there are no such axes.
    #[track_caller]
    pub fn axes(&self, axes: Range<usize>) -> Axis {
        assert!(axes.start <= axes.end && axes.end <= self.rank(), "axes {axes:?} of {self}, which has {}", self.rank());
        let (dims, product) = (self.dims(), |dims: &[usize]| dims.iter().product());
        Axis { outer: product(&dims[..axes.start]), n: product(&dims[axes.clone()]), inner: product(&dims[axes.end..]) }
    }

    /// The shape without some axes that lie side by side.
    ///
    /// # Panics
    /// If there are no such axes.
    #[track_caller]
    pub fn without(&self, axes: Range<usize>) -> Self {
        assert!(axes.start <= axes.end && axes.end <= self.rank(), "axes {axes:?} of {self}, which has {}", self.rank());
        let mut left = Shape::scalar();
        for &n in self.dims()[..axes.start].iter().chain(&self.dims()[axes.end..]) {
            left.dims[left.rank()] = n;
            left.rank += 1;
        }
        left
    }

    /// The shape with further axes behind.
    ///
    /// # Panics
    /// If there are more than four then.
    #[track_caller]
    pub(crate) fn and(&self, more: &[usize]) -> Self {
        let rank = self.rank() + more.len();
        assert!(rank <= AXES, "a tensor has at most four axes, and {self} with {more:?} behind it has {rank}");
        let mut shape = Shape { rank: rank as u8, ..*self };
        shape.dims[self.rank()..rank].copy_from_slice(more);
        shape
    }

    /// The shape with another extent along one axis.
    #[inline]
    pub(crate) fn with(&self, axis: usize, extent: usize) -> Self {
        let mut shape = *self;
        shape.dims[axis] = extent;
        shape
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Shape::from(&dims[..])
    }
}

impl From<&[usize]> for Shape {
    /// # Panics
    /// If there are more than four axes.
    #[track_caller]
    fn from(dims: &[usize]) -> Self {
        assert!(dims.len() <= AXES, "a tensor has at most four axes, and {dims:?} are {}", dims.len());
        let mut shape = Shape { dims: [1; AXES], rank: dims.len() as u8 };
        shape.dims[..dims.len()].copy_from_slice(dims);
        shape
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.dims(), f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.dims(), f)
    }
}

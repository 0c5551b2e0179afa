//! Shapes of up to four axes, and how an operation sees one of them.

use smallvec::SmallVec;
use std::fmt;
use std::ops::Range;

/// The extents of a tensor, row-major, held inline.
///
/// ```
/// use autodiff::Shape;
/// let shape = Shape::from([32, 7, 5]);
/// assert_eq!((shape.len(), shape.rows(), shape.cols()), (1120, 224, 5));
/// assert_eq!(Shape::scalar().len(), 1);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Shape(SmallVec<[usize; 4]>);

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
    pub fn scalar() -> Self {
        Shape(SmallVec::new())
    }

    /// The extents, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.iter().product()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Extent of the last axis (1 for a scalar): the columns, when the tensor is read as a matrix.
    pub fn cols(&self) -> usize {
        self.0.last().copied().unwrap_or(1)
    }

    /// Product of all extents but the last: the rows, when the tensor is read as a matrix.
    pub fn rows(&self) -> usize {
        self.0.iter().rev().skip(1).product()
    }

    /// The shape with another last extent.
    pub fn with_cols(&self, cols: usize) -> Self {
        let mut dims = self.0.clone();
        dims.pop();
        dims.push(cols);
        Shape(dims)
    }

    /// The shape without its last axis.
    pub fn without_cols(&self) -> Self {
        let mut dims = self.0.clone();
        dims.pop();
        Shape(dims)
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
        let product = |dims: &[usize]| dims.iter().product();
        Axis { outer: product(&self.0[..axes.start]), n: product(&self.0[axes.clone()]), inner: product(&self.0[axes.end..]) }
    }

    /// The shape without some axes that lie side by side.
    ///
    /// # Panics
    /// If there are no such axes.
    #[track_caller]
    pub fn without(&self, axes: Range<usize>) -> Self {
        assert!(axes.start <= axes.end && axes.end <= self.rank(), "axes {axes:?} of {self}, which has {}", self.rank());
        let mut dims = self.0.clone();
        dims.drain(axes);
        Shape(dims)
    }

    /// The shape with another extent along one axis.
    pub(crate) fn with(&self, axis: usize, extent: usize) -> Self {
        let mut dims = self.0.clone();
        dims[axis] = extent;
        Shape(dims)
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
        assert!(dims.len() <= 4, "a tensor has at most four axes, and {dims:?} are {}", dims.len());
        Shape(SmallVec::from_slice(dims))
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

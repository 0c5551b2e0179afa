//! Shapes of up to four axes.

use smallvec::SmallVec;
use std::fmt;

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

impl Shape {
    /// No axes, one entry.
    pub fn scalar() -> Self {
        Shape(SmallVec::new())
    }

    /// The extents, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.0
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

//! Kernels that are larger than memory, rows by rows.

use super::hermite::SeriesTooLong;
use super::images::{Images, Precision};
use super::inputs::{Inputs, both};
use super::rows::Strip;
use super::stage::{Affine, Stage};
use super::{Body, InfiniteKernel, Kernels};
use rayon::prelude::*;
use simd::{Accumulate, Float, Mat, MatMut, product};
use std::ops::Range;

impl InfiniteKernel {
    /// Both kernels as [`evaluate`](Self::evaluate) gives them, to the bit, in blocks of so many rows: `each` gets them in order, with
    /// the rows that they are, `[rows, n2]`. An error of it ends the work.
    ///
    /// Besides the inputs, their norms and the series of smooth functions, memory holds four blocks at most. The price is that of
    /// a symmetric kernel both triangles are computed.
    ///
    /// ```
    /// use nn::{Network, dense, relu};
    /// use ntk::InfiniteKernel;
    /// use simd::Mat;
    /// let kernel = InfiniteKernel::new(&Network::new([1], [dense(8), relu(), dense(1)]).unwrap())?;
    /// let x = Mat::new(&[1.0, 2.0, -1.0], 3, 1);
    /// let mut theta = Vec::new();
    /// kernel.in_blocks(x, None, 2, |rows, block| {
    ///     println!("rows {rows:?} of 3");
    ///     theta.extend(block.ntk);
    ///     Ok::<(), std::convert::Infallible>(())
    /// }).unwrap();
    /// assert_eq!(theta, kernel.ntk(x, None));
    /// # Ok::<(), ntk::NoLimit>(())
    /// ```
    ///
    /// # Errors
    /// The first error of `each`.
    ///
    /// # Panics
    /// As `evaluate`, and if a block has no rows.
    #[track_caller]
    pub fn in_blocks<T: Float, E>(
        &self,
        x1: Mat<T>,
        x2: Option<Mat<T>>,
        rows: usize,
        mut each: impl FnMut(Range<usize>, Kernels<T>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.try_in_blocks(x1, x2, rows, |rows, block| each(rows, block).map_err(Stop::Each)) {
            Ok(()) => Ok(()),
            Err(Stop::Each(error)) => Err(error),
            Err(Stop::Series(error)) => panic!("{error}"),
        }
    }

    /// [`in_blocks`](Self::in_blocks) for inputs of any size.
    ///
    /// # Errors
    /// The first error of `each`, or that the variance of a preactivation is too large for the series of a function that has one.
    ///
    /// # Panics
    /// If the inputs have not as many features as the network reads, or if a block has no rows.
    #[track_caller]
    pub fn try_in_blocks<T: Float, E: From<SeriesTooLong>>(
        &self,
        x1: Mat<T>,
        x2: Option<Mat<T>>,
        rows: usize,
        mut each: impl FnMut(Range<usize>, Kernels<T>) -> Result<(), E>,
    ) -> Result<(), E> {
        assert!(rows > 0, "a block has at least one row");
        self.check(x1);
        x2.iter().for_each(|&x2| self.check(x2));
        match &self.body {
            Body::Features(stages) => {
                let one = Inputs::new(x1, stages)?;
                let two = x2.map(|x2| Inputs::new(x2, stages)).transpose()?;
                for start in (0..one.rows).step_by(rows) {
                    let rows = start..(start + rows).min(one.rows);
                    let kernels = match &two {
                        Some(two) => block(stages, &one, rows.clone(), two, 0),
                        None => block(stages, &one, rows.clone(), &one, start),
                    };
                    each(rows, kernels)?;
                }
            }
            Body::Images(images) => {
                for start in (0..x1.rows()).step_by(rows) {
                    let rows = start..(start + rows).min(x1.rows());
                    let block = block_of_images(images, x1, rows.clone(), x2, self.channels_first());
                    each(rows, block?)?;
                }
            }
        }
        Ok(())
    }
}

/// Why blocks end early.
enum Stop<E> {
    Each(E),
    Series(SeriesTooLong),
}

impl<E> From<SeriesTooLong> for Stop<E> {
    fn from(error: SeriesTooLong) -> Self {
        Stop::Series(error)
    }
}

fn block_of_images<T: Float>(
    images: &Images,
    x1: Mat<T>,
    rows: Range<usize>,
    x2: Option<Mat<T>>,
    channels_first: bool,
) -> Result<Kernels<T>, SeriesTooLong> {
    let (n1, n2) = (rows.len(), x2.map_or(x1.rows(), |x2| x2.rows()));
    let mut block = Kernels { n1, n2, nngp: vec![T::ZERO; n1 * n2], ntk: vec![T::ZERO; n1 * n2] };
    let mut write = |i: usize, j: usize, k: f64, theta: f64| {
        let at = (i - rows.start) * n2 + j;
        (block.nngp[at], block.ntk[at]) = (T::of(k), T::of(theta));
    };
    let precision = Precision::of::<T>();
    let one = super::images::Inputs { number: &|i, k| x1.at(i, k).to_f64(), channels_first };
    let quiet = &mut |_| ();
    if let Some(x2) = x2 {
        let two = super::images::Inputs { number: &|i, k| x2.at(i, k).to_f64(), channels_first };
        images.pairs(precision, (&one, rows.clone()), Some((&two, 0..n2)), &mut write, quiet)?;
        return Ok(block);
    }
    // A pair has the example with the larger number first, here as in the whole kernel.
    images.pairs(precision, (&one, rows.clone()), Some((&one, 0..rows.start)), &mut write, quiet)?;
    let mut both = |i: usize, j: usize, k: f64, theta: f64| {
        write(i, j, k, theta);
        write(j, i, k, theta);
    };
    images.pairs(precision, (&one, rows.clone()), None, &mut both, quiet)?;
    let mut turned = |i: usize, j: usize, k: f64, theta: f64| write(j, i, k, theta);
    images.pairs(precision, (&one, rows.end..n2), Some((&one, rows.clone())), &mut turned, quiet)?;
    Ok(block)
}

/// Rows of the kernel; columns before `first` are computed as the other triangle, and so are those of the block below its diagonal.
fn block<T: Float>(stages: &[Stage<Affine>], one: &Inputs<T>, block: Range<usize>, two: &Inputs<T>, first: usize) -> Kernels<T> {
    let (n1, n2) = (block.len(), two.rows);
    let symmetric = std::ptr::eq(one, two);
    let mut kernels = Kernels { n1, n2, nngp: vec![T::ZERO; n1 * n2], ntk: vec![T::ZERO; n1 * n2] };
    product(one.rows_of(block.clone()), two.directions().t(), Accumulate::Set, MatMut::new(&mut kernels.nngp, n1, n2));
    let rows = kernels.nngp.par_chunks_mut(n2.max(1)).zip(kernels.ntk.par_chunks_mut(n2.max(1))).enumerate();
    rows.with_max_len(4).for_each_init(Strip::default, |strip, (k, (nngp, ntk))| {
        let i = block.start + k;
        let from = if symmetric { i } else { 0 };
        both(strip, stages, (one, i), (two, from), &mut nngp[from..], &mut ntk[from..]);
    });
    if symmetric {
        // The columns before: row j of the kernel at the columns of the block, turned over.
        let end = block.end;
        let mut turned = Kernels { n1: end, n2: n1, nngp: vec![T::ZERO; end * n1], ntk: vec![T::ZERO; end * n1] };
        product(one.rows_of(0..end), one.rows_of(block.clone()).t(), Accumulate::Set, MatMut::new(&mut turned.nngp, end, n1));
        let columns = turned.nngp.par_chunks_mut(n1).zip(turned.ntk.par_chunks_mut(n1)).enumerate();
        columns.with_max_len(4).for_each_init(Strip::default, |strip, (j, (nngp, ntk))| {
            let from = j.max(first) - first;
            both(strip, stages, (one, j), (one, first + from), &mut nngp[from..], &mut ntk[from..]);
        });
        for k in 0..n1 {
            for j in 0..first + k {
                kernels.nngp[k * n2 + j] = turned.nngp[j * n1 + k];
                kernels.ntk[k * n2 + j] = turned.ntk[j * n1 + k];
            }
        }
    }
    kernels
}

impl<T: Float> Inputs<T> {
    /// The directions of some rows.
    fn rows_of(&self, rows: Range<usize>) -> Mat<'_, T> {
        Mat::new(&self.directions[rows.start * self.features..rows.end * self.features], rows.len(), self.features)
    }
}

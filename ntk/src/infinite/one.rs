//! One of the two kernels, in one array.

use super::inputs::{Inputs, LANES, row};
use super::rows::{Pairs, Strip};
use super::{Body, InfiniteKernel, Kernels, SeriesTooLong};
use rayon::prelude::*;
use simd::{Accumulate, Float, Mat, MatMut, gram_then, product};

impl InfiniteKernel {
    /// `Θ`, `[n1, n2]`, row-major, to the bit as in [`evaluate`](Self::evaluate), with half its memory.
    ///
    /// # Panics
    /// If the inputs have not as many features as the network reads, or as `evaluate`.
    #[track_caller]
    pub fn ntk<T: Float>(&self, x1: Mat<T>, x2: Option<Mat<T>>) -> Vec<T> {
        self.try_ntk(x1, x2).unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`ntk`](Self::ntk) for inputs of any size.
    ///
    /// # Errors
    /// If the variance of a preactivation is too large for the series of a function that has one.
    ///
    /// # Panics
    /// If the inputs have not as many features as the network reads.
    #[track_caller]
    pub fn try_ntk<T: Float>(&self, x1: Mat<T>, x2: Option<Mat<T>>) -> Result<Vec<T>, SeriesTooLong> {
        self.one(x1, x2, |kernels| kernels.ntk, |strip, _, ntk| strip.ntk(ntk))
    }

    /// `K`, `[n1, n2]`, row-major, to the bit as in [`evaluate`](Self::evaluate), with half its memory.
    ///
    /// # Panics
    /// If the inputs have not as many features as the network reads, or as `evaluate`.
    #[track_caller]
    pub fn nngp<T: Float>(&self, x1: Mat<T>, x2: Option<Mat<T>>) -> Vec<T> {
        self.try_nngp(x1, x2).unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`nngp`](Self::nngp) for inputs of any size.
    ///
    /// # Errors
    /// If the variance of a preactivation is too large for the series of a function that has one.
    ///
    /// # Panics
    /// If the inputs have not as many features as the network reads.
    #[track_caller]
    pub fn try_nngp<T: Float>(&self, x1: Mat<T>, x2: Option<Mat<T>>) -> Result<Vec<T>, SeriesTooLong> {
        self.one(x1, x2, |kernels| kernels.nngp, |strip, pairs, nngp| strip.nngp(pairs, nngp))
    }

    /// `Θ` or `K`: `write` gets pairs behind all layers, and writes down what is kept of them. Of a symmetric kernel a block goes through all
    /// layers before it leaves the second cache. Networks of images compute both, and `kept` chooses.
    #[track_caller]
    fn one<T: Float>(
        &self,
        x1: Mat<T>,
        x2: Option<Mat<T>>,
        kept: impl FnOnce(Kernels<T>) -> Vec<T>,
        write: impl Fn(&Strip<T>, &Pairs<T>, &mut [T]) + Sync,
    ) -> Result<Vec<T>, SeriesTooLong> {
        let stages = match &self.body {
            Body::Features(stages) => stages,
            Body::Images(_) => return self.try_evaluate(x1, x2).map(kept),
        };
        self.check(x1);
        x2.iter().for_each(|&x2| self.check(x2));
        let one = Inputs::new(x1, stages)?;
        let two = x2.map(|x2| Inputs::new(x2, stages)).transpose()?;
        let n1 = one.rows;
        let n2 = two.as_ref().map_or(n1, |two| two.rows);
        let mut kernel = simd::zeros(T::ZERO, n1.checked_mul(n2).expect("a kernel has no more entries than memory can hold"));
        let target = MatMut::new(&mut kernel, n1, n2);
        let each = |strip: &mut Strip<T>, i: usize, two: &Inputs<T>, first: usize, kernel: &mut [T]| {
            row(strip, stages, (&one, i), (two, first), kernel, &write);
        };
        match &two {
            Some(two) => {
                product(one.directions(), two.directions().t(), Accumulate::Set, target);
                let rows = kernel.par_chunks_mut(n2.max(1)).enumerate();
                rows.with_max_len(4).for_each_init(Strip::default, |strip, (i, kernel)| each(strip, i, two, 0, kernel));
            }
            None => gram_then(one.directions(), target, &|rows, columns, mut block| {
                let mut strip = Strip::default();
                for i in rows.clone() {
                    // From a whole vector on: what is below the diagonal does not count.
                    let first = (i.max(columns.start) / LANES * LANES).max(columns.start);
                    let kernel = block.row_mut(i - rows.start).expect("rows of a kernel have no gaps");
                    each(&mut strip, i, &one, first, &mut kernel[first - columns.start..]);
                }
            }),
        }
        Ok(kernel)
    }
}

//! Matrices with their memory, in several layouts, with NaN wherever there is no element.
#![allow(dead_code)]

use simd::{Float, Mat, MatMut};

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lay {
    Rows,
    Cols,
    Gaps,
}

pub(crate) const LAYS: [Lay; 3] = [Lay::Rows, Lay::Cols, Lay::Gaps];

/// A matrix with its memory; what is not an element is NaN.
#[derive(Clone)]
pub(crate) struct Owned<T> {
    data: Vec<T>,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    strides: (usize, usize),
}

impl<T: Float> Owned<T> {
    pub(crate) fn new(rows: usize, cols: usize, lay: Lay, mut value: impl FnMut(usize, usize) -> T) -> Self {
        let strides = match lay {
            Lay::Rows => (cols, 1),
            Lay::Cols => (1, rows),
            Lay::Gaps => (2 * cols + 3, 2),
        };
        let mut data = vec![T::of(f64::NAN); rows * strides.0.max(1) + cols * strides.1 + 5];
        for i in 0..rows {
            for j in 0..cols {
                data[i * strides.0 + j * strides.1] = value(i, j);
            }
        }
        Owned { data, rows, cols, strides }
    }

    /// Small multiples of 1/8, so that sums are exact and the order of a sum does not matter.
    pub(crate) fn exact(rows: usize, cols: usize, lay: Lay, seed: usize) -> Self {
        Self::new(rows, cols, lay, |i, j| T::of(((i * 31 + j * 17 + seed * 7 + i * j) % 13) as f64 / 8.0 - 0.75))
    }

    /// Numbers whose sums round.
    pub(crate) fn rough(rows: usize, cols: usize, lay: Lay, seed: usize) -> Self {
        Self::new(rows, cols, lay, |i, j| T::of(((i * 7919 + j * 104_729 + seed) as f64 * 0.618_033_988_749).sin()))
    }

    pub(crate) fn nan(rows: usize, cols: usize, lay: Lay) -> Self {
        Self::new(rows, cols, lay, |_, _| T::of(f64::NAN))
    }

    pub(crate) fn mat(&self) -> Mat<'_, T> {
        Mat::strided(&self.data, self.rows, self.cols, self.strides.0, self.strides.1)
    }

    pub(crate) fn mat_mut(&mut self) -> MatMut<'_, T> {
        MatMut::strided(&mut self.data, self.rows, self.cols, self.strides.0, self.strides.1)
    }

    pub(crate) fn at(&self, i: usize, j: usize) -> f64 {
        self.mat().at(i, j).to_f64()
    }

    pub(crate) fn bits(&self) -> Vec<u64> {
        self.data.iter().map(|x| x.to_f64().to_bits()).collect()
    }

    /// Every place that is no element still holds the NaN that it was filled with.
    pub(crate) fn gaps_are_untouched(&self) -> bool {
        let mut gaps = self.data.clone();
        for i in 0..self.rows {
            for j in 0..self.cols {
                gaps[i * self.strides.0 + j * self.strides.1] = T::of(f64::NAN);
            }
        }
        gaps.iter().all(|x| x.to_f64().is_nan())
    }
}

/// The same work on pools of 1, 2, 3 and 7 threads must give the same result.
pub(crate) fn same_with_any_number_of_threads<R: PartialEq + Send>(what: &str, work: impl Fn() -> R + Sync) {
    let with = |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads").install(&work);
    let one = with(1);
    for threads in [2, 3, 7] {
        assert!(one == with(threads), "{what}: other bits with {threads} threads");
    }
}

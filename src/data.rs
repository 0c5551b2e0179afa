//! Classification data sets: inputs, labels, and what a kernel method needs of them.

use std::path::Path;

use thiserror::Error;

use crate::files::FileError;
use crate::files::csv::{Table, read_table};

/// Labelled examples.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// What to call it in tables and figures.
    pub name: String,
    /// Inputs, `[n, d]`, row-major.
    pub x: Vec<f64>,
    /// Number of examples.
    pub n: usize,
    /// Number of features of an example.
    pub d: usize,
    /// For each example an index into `classes`.
    pub labels: Vec<usize>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Height and width, where an input is an image of one channel; `d` is their product.
    pub image: Option<(usize, usize)>,
}

/// Why a data set cannot do what is asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DataError {
    /// More examples are asked for than there are.
    #[error("{n_train} training and {n_test} test examples are more than the {n} of {name:?}; ask for fewer")]
    TooFewExamples {
        /// The data set.
        name: String,
        /// Training examples asked for.
        n_train: usize,
        /// Test examples asked for.
        n_test: usize,
        /// Examples that there are.
        n: usize,
    },
}

/// Pixels of all images, then all labels, one byte each; `data/README.md` describes it.
static DIGITS: &[u8] = include_bytes!("../data/digits.bin");

impl Dataset {
    /// The 1797 handwritten digits of 8×8 pixels, integers from 0 to 16, that are embedded in the library.
    ///
    /// Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
    /// 1998 (CC BY 4.0), its test part, as scikit-learn's `load_digits` gives it.
    pub fn digits() -> Self {
        let (height, width) = (8, 8);
        let d = height * width;
        let n = DIGITS.len() / (d + 1);
        let (pixels, labels) = DIGITS.split_at(n * d);
        Dataset {
            name: "digits".to_string(),
            x: pixels.iter().map(|&p| f64::from(p)).collect(),
            n,
            d,
            labels: labels.iter().map(|&label| usize::from(label)).collect(),
            classes: (0..10).map(|digit: u8| digit.to_string()).collect(),
            image: Some((height, width)),
        }
    }

    /// A table of comma-separated values, by the rules of [`read_table`]. It is called by the file's name.
    ///
    /// # Errors
    ///
    /// As [`read_table`].
    pub fn from_csv(path: &Path) -> Result<Self, FileError> {
        let Table { features, n_rows, n_features, labels, classes, columns: _ } = read_table(path)?;
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Dataset { name, x: features, n: n_rows, d: n_features, labels, classes, image: None })
    }

    /// Training and test rows: disjoint, of the sizes asked for, every class in its share of the data.
    ///
    /// The rows of each class are shuffled; the k-th of the n_c rows of class c gets the place (k + ½)/n_c, and all rows
    /// are ordered by place, ties by class. So every stretch of this order holds every class by its share, to about one
    /// example. Training takes its beginning and testing its end: at one seed, a smaller training set is part of a
    /// larger one, and the test set is the same for all. The shuffle is Fisher and Yates's with SplitMix64 (Steele, Lea
    /// and Flood 2014), so the same seed gives the same rows on every machine.
    ///
    /// # Errors
    ///
    /// Where `n_train + n_test` is more than the examples that there are.
    pub fn split(&self, n_train: usize, n_test: usize, seed: u64) -> Result<(Vec<usize>, Vec<usize>), DataError> {
        if n_train > self.n || n_test > self.n - n_train {
            return Err(DataError::TooFewExamples { name: self.name.clone(), n_train, n_test, n: self.n });
        }
        let mut random = SplitMix64(seed);
        let mut places = Vec::with_capacity(self.n);
        for class in 0..self.classes.len() {
            let mut rows: Vec<usize> = (0..self.n).filter(|&i| self.labels[i] == class).collect();
            for last in (1..rows.len()).rev() {
                rows.swap(last, random.below(last + 1));
            }
            // (k + ½)/n_c as a fraction of integers, so that no rounding decides an order.
            places.extend(rows.iter().enumerate().map(|(k, &row)| (2 * k + 1, 2 * rows.len(), row)));
        }
        // The sort is stable and the classes come in order, which settles ties.
        places.sort_by(|a, b| (a.0 as u128 * b.1 as u128).cmp(&(b.0 as u128 * a.1 as u128)));
        let order: Vec<usize> = places.into_iter().map(|(_, _, row)| row).collect();
        Ok((order[..n_train].to_vec(), order[self.n - n_test..].to_vec()))
    }

    /// Shifts every feature to mean 0 and scales to mean square 1, both over the training rows; test rows follow.
    /// Without training rows nothing changes.
    ///
    /// - A table: each feature is divided by its own standard deviation. A feature that is constant over the training
    ///   rows becomes 0 everywhere, as training can learn nothing of it.
    /// - An image: all pixels are divided by one standard deviation, the root of the mean over rows and pixels of the
    ///   squared distance to the pixel's mean. Pixels at the border are nearly always 0, and to divide each by its own
    ///   deviation would blow up a few strokes.
    ///
    /// Either way the input kernel x·x/d is 1 on average over the training rows (in a table, the share of features that
    /// are not constant), which is the scale that the initial weights of a network are made for.
    ///
    /// ```
    /// let mut digits = tangents::data::Dataset::digits();
    /// let (train, _) = digits.split(500, 500, 0)?;
    /// digits.standardize(&train);
    /// let x = digits.rows(&train);
    /// let mean_square = x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64;
    /// assert!((mean_square - 1.0).abs() < 1e-12);
    /// # Ok::<(), tangents::data::DataError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// Where a row is not one of the data set.
    #[track_caller]
    pub fn standardize(&mut self, train: &[usize]) {
        if let Some(row) = train.iter().find(|&&row| row >= self.n) {
            panic!("row {row} is beyond the {} examples", self.n);
        }
        if train.is_empty() {
            return;
        }
        let d = self.d;
        // Dividing by the largest magnitude first changes nothing in the result, but no square can overflow.
        let mut scales = vec![0f64; d];
        for &i in train {
            for j in 0..d {
                scales[j] = scales[j].max(self.x[i * d + j].abs());
            }
        }
        if self.image.is_some() {
            let largest = scales.iter().copied().fold(0.0, f64::max);
            scales.fill(largest);
        }
        let n = train.len() as f64;
        let (mut means, mut variances) = (vec![0.0; d], vec![0.0; d]);
        for j in 0..d {
            let column = || train.iter().map(|&i| self.x[i * d + j] / scales[j]);
            let first = self.x[train[0] * d + j];
            // Decided on the values themselves: the rounded mean of equal values need not be equal to them.
            if train.iter().all(|&i| self.x[i * d + j] == first) {
                means[j] = if first == 0.0 { 0.0 } else { first / scales[j] };
                continue;
            }
            means[j] = column().sum::<f64>() / n;
            variances[j] = column().map(|v| (v - means[j]).powi(2)).sum::<f64>() / n;
        }
        if self.image.is_some() {
            let mean = variances.iter().sum::<f64>() / d as f64;
            variances.fill(mean);
        }
        for row in self.x.chunks_exact_mut(d.max(1)) {
            for j in 0..d {
                row[j] = if variances[j] > 0.0 { (row[j] / scales[j] - means[j]) / variances[j].sqrt() } else { 0.0 };
            }
        }
    }

    /// Targets of regression on classes, `[rows, C]`: 1 − 1/C at the class of the row and −1/C elsewhere.
    ///
    /// Each row sums to 0, so that a network of mean 0, or a kernel without bias, has nothing to learn of the offset.
    ///
    /// ```
    /// let digits = tangents::data::Dataset::digits();
    /// let y = digits.one_hot(&[0, 1]); // the first images are a zero and a one
    /// assert_eq!(y[..3], [0.9, -0.1, -0.1]);
    /// assert_eq!(y[10..13], [-0.1, 0.9, -0.1]);
    /// ```
    ///
    /// # Panics
    ///
    /// Where a row is not one of the data set.
    #[track_caller]
    pub fn one_hot(&self, rows: &[usize]) -> Vec<f64> {
        let n_classes = self.classes.len();
        let share = 1.0 / n_classes as f64;
        let mut y = vec![-share; rows.len() * n_classes];
        for (target, &row) in y.chunks_exact_mut(n_classes.max(1)).zip(rows) {
            assert!(row < self.n, "row {row} is beyond the {} examples", self.n);
            target[self.labels[row]] = 1.0 - share;
        }
        y
    }

    /// The inputs of some rows, `[rows, d]`.
    ///
    /// # Panics
    ///
    /// Where a row is not one of the data set.
    #[track_caller]
    pub fn rows(&self, rows: &[usize]) -> Vec<f64> {
        let mut x = Vec::with_capacity(rows.len() * self.d);
        for &row in rows {
            assert!(row < self.n, "row {row} is beyond the {} examples", self.n);
            x.extend_from_slice(&self.x[row * self.d..(row + 1) * self.d]);
        }
        x
    }
}

/// Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators", figure 17.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`: the high word of a product (Lemire 2019), whose bias of n/2⁶⁴ is of no account here.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests;

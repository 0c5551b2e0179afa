//! A plane of pairs of places, and where it lies.

use super::super::stage::Stage;
use super::lanes::{ColumnSums, Places, RowSums};
use super::linear::Linear;
use super::plan::{Pairs, Taps};
use super::side::{Lanes, Norms};
use simd::{Float, Level};

/// `K`, `Θ` and, in double precision, `√(K11 K22) − K12` of pairs of places, row by row, for L pairs of images.
#[derive(Clone, Debug, Default)]
pub(super) struct Plane<T, const L: usize> {
    pub(super) k: Vec<Lanes<T, L>>,
    /// Empty where it is 0.
    pub(super) theta: Vec<Lanes<T, L>>,
    /// Empty in single precision, and where no layer behind reads an angle.
    pub(super) distance: Vec<Lanes<T, L>>,
}

impl<T: Float, const L: usize> Plane<T, L> {
    pub(super) fn each_plane(&mut self, f: impl FnMut(&mut Vec<Lanes<T, L>>)) {
        [&mut self.k, &mut self.theta, &mut self.distance].into_iter().for_each(f);
    }

    /// Adds both kernels of a smaller plane, whose rows and columns have these numbers here, where rows are `width` wide.
    pub(super) fn add_at(&mut self, (rows, columns): (impl Iterator<Item = usize> + Clone, &[usize]), width: usize, part: &Plane<T, L>) {
        if columns.is_empty() {
            // A pool of which no window sees a cell.
            return;
        }
        for (sum, part) in [(&mut self.k, &part.k), (&mut self.theta, &part.theta)] {
            for (y, part) in rows.clone().zip(part.chunks_exact(columns.len())) {
                for (&x, part) in columns.iter().zip(part) {
                    let sum = &mut sum[y * width + x];
                    for l in 0..L {
                        sum[l] += part[l];
                    }
                }
            }
        }
    }
}

/// What the layers behind a stage read of a pair besides both kernels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reads {
    pub(super) angles: bool,
    pub(super) variances: bool,
}

impl Reads {
    pub(super) const NOTHING: Reads = Reads { angles: false, variances: false };

    pub(super) fn of(stages: &[Stage<Linear>], behind: Reads) -> Reads {
        stages.iter().fold(behind, |reads, stage| match stage {
            Stage::Linear(_) => reads,
            Stage::Activation(_) => Reads { angles: true, variances: true },
            Stage::Norm { .. } => Reads { variances: true, ..reads },
            Stage::Sum(branch, around) => Reads::of(around, Reads::of(branch, reads)),
        })
    }
}

/// The variances in a plane of images with themselves.
pub(super) fn own<T: Float, const L: usize>(places: Places, n_places: usize, k: &[Lanes<T, L>]) -> Norms<T, L> {
    let mut variance = vec![[T::ZERO; L]; n_places + 1];
    places.each_own(|at, p| variance[p] = k[at]);
    Norms::new(variance)
}

/// Where a plane lies: the lists of its pairs along both axes, and height and width of the images.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) y: &'p Pairs,
    pub(super) x: &'p Pairs,
    pub(super) image: [usize; 2],
}

impl<'p> Place<'p> {
    pub(super) fn places(self) -> Places<'p> {
        Places { y: self.y, x: self.x, width: self.image[1] }
    }

    pub(super) fn n_places(self) -> usize {
        self.image[0] * self.image[1]
    }
}

pub(super) fn plus<T: Float, const L: usize>(a: &mut Vec<Lanes<T, L>>, b: &[Lanes<T, L>]) {
    if a.is_empty() {
        a.extend_from_slice(b);
        return;
    }
    for (a, b) in a.iter_mut().zip(b) {
        for l in 0..L {
            a[l] += b[l];
        }
    }
}

/// Sums over windows of a plane that is `width` pairs wide, first along the width and then along the height; none where there is nothing.
pub(super) fn sums<T: Float, const L: usize>([y, x]: [&Taps; 2], width: usize, plane: &mut Vec<Lanes<T, L>>, rows: &mut Vec<Lanes<T, L>>) {
    if plane.is_empty() || y.len() * x.len() == 0 {
        plane.clear();
        return;
    }
    rows.resize(plane.len() / width * x.len(), [T::ZERO; L]);
    Level::best().run(RowSums { taps: x, from: plane, width, to: rows });
    plane.resize(y.len() * x.len(), [T::ZERO; L]);
    Level::best().run(ColumnSums { taps: y, from: rows, width: x.len(), to: plane });
}

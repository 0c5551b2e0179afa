//! What a few images bring to their pairs: their pixels, and the variances of every place behind every stage.

use super::super::hermite::{Row, SeriesTooLong, Smooth};
use super::super::pair::Norm;
use super::super::series::Series;
use super::relu::TURN;
use simd::Float;
use std::sync::{Arc, OnceLock};

/// One number for each of L images, or pairs of images, side by side.
pub(super) type Lanes<T, const L: usize> = [T; L];

/// Variances behind one stage, `[places + 1, L]`: a place beyond the edge, the last one, has variance 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Norms<T, const L: usize> {
    pub(super) variance: Vec<Lanes<T, L>>,
    pub(super) root: Vec<Lanes<T, L>>,
    /// 1/√K11, or 0. See [`for_relu`](Self::for_relu).
    pub(super) inverse: Vec<Lanes<T, L>>,
    /// Behind a layer norm: what it multiplies by.
    pub(super) factor: Vec<Lanes<T, L>>,
    /// Behind a function with a Hermite series: the series of every place of every lane, and the lane from which this one came.
    pub(super) series: Option<(Arc<Series<T>>, [usize; L])>,
}

/// L images, one in each lane. The first side of a pair may have one lane for all pairs.
#[derive(Clone, Debug)]
pub(super) struct Side<T, const L: usize> {
    /// `[channels, places, L]`.
    pub(super) pixels: Vec<Lanes<T, L>>,
    /// In the order of a walk through the network, that of the input first; a sum comes behind its branches. Written once, on a walk of
    /// the images with themselves.
    pub(super) norms: Vec<OnceLock<Norms<T, L>>>,
}

/// The norms of both sides of pairs.
pub(super) type Both<'a, T, const M: usize, const L: usize> = (&'a Norms<T, M>, &'a Norms<T, L>);

impl<T: Float, const L: usize> Norms<T, L> {
    pub(super) fn new(variance: Vec<Lanes<T, L>>) -> Self {
        let root: Vec<_> = variance.iter().map(|v| v.map(T::sqrt)).collect();
        let inverse = root.iter().map(|root| root.map(|root| if root > T::ZERO { T::ONE / root } else { T::ZERO })).collect();
        Norms { variance, root, inverse, factor: Vec::new(), series: None }
    }

    /// Behind a function with a series.
    pub(super) fn of_series(smooth: &Smooth, before: &[Lanes<T, L>]) -> Result<Self, SeriesTooLong> {
        let rows: Result<Vec<Row>, _> = before.iter().flatten().map(|v| smooth.try_row(v.to_f64())).collect();
        let rows = rows?;
        let mut variance: Vec<_> = rows.chunks_exact(L).map(|rows| std::array::from_fn(|l| T::of(rows[l].variance))).collect();
        // Beyond the edge there is nothing.
        *variance.last_mut().expect("a place beyond the edge") = [T::ZERO; L];
        let series = Some((Arc::new(Series::new(&rows)), std::array::from_fn(|l| l)));
        Ok(Norms { series, ..Norms::new(variance) })
    }

    /// What a ReLU reads in single precision: in place of the roots `√(K11/2π)`, and inverses that are infinite where K11 is 0.
    pub(super) fn for_relu(&mut self) {
        let root = T::of(TURN.sqrt());
        self.inverse = self.root.iter().map(|r| r.map(|r| T::ONE / r)).collect();
        self.root.iter_mut().flatten().for_each(|r| *r = root * *r);
    }

    #[inline(always)]
    pub(super) fn at(&self, place: usize, l: usize) -> Norm<T> {
        Norm { variance: self.variance[place][l], root: self.root[place][l] }
    }
}

impl<T: Float, const L: usize> Side<T, L> {
    /// Images whose variances are not known yet, behind so many stages.
    pub(super) fn new(pixels: Vec<Lanes<T, L>>, stages: usize) -> Self {
        Side { pixels, norms: (0..=stages).map(|_| OnceLock::new()).collect() }
    }

    /// The norms behind the stage with this number.
    pub(super) fn at(&self, stage: usize) -> &Norms<T, L> {
        self.norms[stage].get().expect("what is read is written before")
    }

    /// The images of the given lanes of others. Behind a function with a series all lanes come from one side.
    pub(super) fn gather<const N: usize>(from: [(&Side<T, N>, usize); L]) -> Self {
        let pixels = pick(from.map(|(side, lane)| (&side.pixels[..], lane)));
        let norms = (0..from[0].0.norms.len()).map(|at| {
            let cell = OnceLock::new();
            if from[0].0.norms[at].get().is_some() {
                let norms = from.map(|(side, lane)| (side.at(at), lane));
                let series = norms[0].0.series.as_ref();
                let _ = cell.set(Norms {
                    variance: pick(norms.map(|(norms, lane)| (&norms.variance[..], lane))),
                    root: pick(norms.map(|(norms, lane)| (&norms.root[..], lane))),
                    inverse: pick(norms.map(|(norms, lane)| (&norms.inverse[..], lane))),
                    factor: pick(norms.map(|(norms, lane)| (&norms.factor[..], lane))),
                    series: series.map(|(series, lanes)| (series.clone(), norms.map(|(_, lane)| lanes[lane]))),
                });
            }
            cell
        });
        Side { pixels, norms: norms.collect() }
    }
}

fn pick<T: Float, const N: usize, const L: usize>(from: [(&[Lanes<T, N>], usize); L]) -> Vec<Lanes<T, L>> {
    (0..from[0].0.len()).map(|k| std::array::from_fn(|l| from[l].0[k][from[l].1])).collect()
}

//! What a few images bring to their pairs: their pixels, and the variances of every place behind every stage.

use super::super::hermite::{Row, SeriesTooLong, Smooth};
use super::super::pair::Norm;
use super::super::series::Series;
use simd::Float;
use std::sync::Arc;

/// One number for each of L images, or pairs of images, side by side.
pub(super) type Lanes<T, const L: usize> = [T; L];

/// Variances behind one stage, `[places + 1, L]`: a place beyond the edge, the last one, has variance 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Norms<T, const L: usize> {
    pub(super) variance: Vec<Lanes<T, L>>,
    pub(super) root: Vec<Lanes<T, L>>,
    /// 1/√K11, or 0.
    pub(super) inverse: Vec<Lanes<T, L>>,
    /// Behind a layer norm: what it multiplies by.
    pub(super) factor: Vec<Lanes<T, L>>,
    /// Behind a function with a Hermite series: the series of every place of every lane, and the lane from which this one came.
    pub(super) series: Option<(Arc<Series<T>>, [usize; L])>,
}

/// L images, one in each lane.
#[derive(Clone, Debug)]
pub(super) struct Side<T, const L: usize> {
    /// `[channels, places, L]`.
    pub(super) pixels: Vec<Lanes<T, L>>,
    /// In the order of a walk through the network, that of the input first; a sum comes behind its branches.
    pub(super) norms: Vec<Norms<T, L>>,
}

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

    #[inline(always)]
    pub(super) fn at(&self, place: usize, l: usize) -> Norm<T> {
        Norm { variance: self.variance[place][l], root: self.root[place][l] }
    }
}

impl<T: Float, const L: usize> Side<T, L> {
    /// The images of the given lanes of others. Behind a function with a series all lanes come from one side.
    pub(super) fn gather(from: [(&Side<T, L>, usize); L]) -> Self {
        let collect = |array: fn(&Side<T, L>) -> &Vec<Lanes<T, L>>| -> Vec<Lanes<T, L>> {
            let sources = from.map(|(side, lane)| (&array(side)[..], lane));
            (0..sources[0].0.len()).map(|k| std::array::from_fn(|l| sources[l].0[k][sources[l].1])).collect()
        };
        let norms = (0..from[0].0.norms.len())
            .map(|at| {
                let collect = |array: fn(&Norms<T, L>) -> &Vec<Lanes<T, L>>| -> Vec<Lanes<T, L>> {
                    let sources = from.map(|(side, lane)| (&array(&side.norms[at])[..], lane));
                    (0..sources[0].0.len()).map(|k| std::array::from_fn(|l| sources[l].0[k][sources[l].1])).collect()
                };
                Norms {
                    variance: collect(|norms| &norms.variance),
                    root: collect(|norms| &norms.root),
                    inverse: collect(|norms| &norms.inverse),
                    factor: collect(|norms| &norms.factor),
                    series: from[0].0.norms[at].series.as_ref().map(|(series, lanes)| (series.clone(), from.map(|(_, lane)| lanes[lane]))),
                }
            })
            .collect();
        Side { pixels: collect(|side| &side.pixels), norms }
    }
}

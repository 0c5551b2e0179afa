//! The coordinate check: how far features move in the first steps.

use super::{Diverged, Trainer};
use autodiff::Scalar;

/// How far the features of every layer have moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Coordinates {
    /// The layers, by their place in the model and their type, in the order of [`Network::summary`](crate::Network::summary).
    pub layers: Vec<String>,
    /// `[steps, layers]`: after step `t = 1, 2, …` the root mean square of `h_t − h_0` over the examples and coordinates of a layer.
    pub changes: Vec<Vec<f64>>,
}

/// Takes some steps on one batch and watches the features of every layer: the coordinate check of Yang et al. 2022 (Tensor Programs V,
/// appendix D.1). Done at several widths, the changes grow or shrink like a power of the width, which the parameterization decides: under μP
/// with one rate for all widths none does.
///
/// ```
/// use nn::{Loss, Network, Trainer, coordinate_change, dense};
/// // f = w·x with w = 0, x = 2 and y = 1: after one step at the rate 0.1, f = 0.1·(y·x)·x.
/// let network = Network::new([1], [dense(1).without_bias()])?;
/// let mut trainer = Trainer::new(&network, &[vec![0.0]], Loss::SquaredError);
/// let seen = coordinate_change(&mut trainer, &[2.0], &[1.0], 0.1, 1)?;
/// assert_eq!(seen.layers, ["layers[0] (dense)"]);
/// assert!((seen.changes[0][0] - 0.4_f64).abs() < 1e-15);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If a number is no longer finite.
///
/// # Panics
/// If `x` and `y` do not fit the network.
#[track_caller]
pub fn coordinate_change<T: Scalar>(
    trainer: &mut Trainer<'_, T>,
    x: &[T],
    y: &[T],
    rate: f64,
    steps: usize,
) -> Result<Coordinates, Diverged> {
    let layers = trainer.network().summary().iter().map(|row| row.named()).collect();
    let start: Vec<Vec<T>> = trainer.features(x).map(<[T]>::to_vec).collect();
    let mut changes = Vec::with_capacity(steps);
    for _ in 0..steps {
        trainer.step(x, y, rate)?;
        changes.push(trainer.features(x).zip(&start).map(|(h, h0)| distance(h, h0)).collect());
    }
    Ok(Coordinates { layers, changes })
}

/// Root mean square of a difference.
fn distance<T: Scalar>(h: &[T], h0: &[T]) -> f64 {
    let squares: f64 = h.iter().zip(h0).map(|(h, h0)| (h.primal() - h0.primal()).powi(2)).sum();
    (squares / h.len().max(1) as f64).sqrt()
}

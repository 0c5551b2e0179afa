//! One rate for all widths: how far features move in the first steps, and which rate is best.

use super::{ExperimentError, Line, Problem, single};
use crate::progress::Progress;
use nn::{Loss, ModelError, Network, Optimizer, Parameterization, Plan, Trainer, coordinate_change, dense, relu, train};
use serde::Serialize;
use std::ops::ControlFlow;

/// The network of both experiments: two hidden layers, ReLU, `w_std² = 2` before a ReLU, small initial outputs, and no bias.
///
/// Initial outputs shrink with the width under μP and do not under the others. They are small here, so that what is learnt from is the target at
/// any width.
fn network(problem: &Problem, parameterization: Parameterization, width: usize) -> Result<Network, ModelError> {
    let hidden = || dense(width).std(std::f64::consts::SQRT_2, 0.0).without_bias();
    let layers = [hidden(), relu(), hidden(), relu(), dense(problem.classes).std(1.0 / 64.0, 0.0).without_bias()];
    let network = Network::new([problem.features], layers)?;
    match parameterization {
        Parameterization::Ntk | Parameterization::Standard => Ok(network.parameterized(parameterization)),
        Parameterization::Mup { base_width } => network.mup(base_width),
    }
}

/// What to run.
#[derive(Clone, Debug, PartialEq)]
pub struct CoordinateSettings {
    /// Widths of the hidden layers.
    pub widths: Vec<usize>,
    /// Networks of each width.
    pub seeds: u64,
    /// Steps, all on the same examples.
    pub steps: usize,
    /// The rate, for all widths.
    pub rate: f64,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Training examples.
    pub examples: usize,
}

/// How far the features of each layer have moved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CoordinateCheck {
    /// The name of the parameterization.
    pub parameterization: &'static str,
    /// Widths of the hidden layers.
    pub widths: Vec<usize>,
    /// The layers, by place and type.
    pub layers: Vec<String>,
    /// `[steps, layers, widths]`: root mean square over examples, coordinates and networks of `h_t − h_0` after `t = 1, 2, …` steps.
    pub changes: Vec<Vec<Vec<f64>>>,
    /// `[steps, layers]`: the power of the width that these follow.
    pub slopes: Vec<Vec<Line>>,
}

/// The coordinate check of Yang et al. 2022 (appendix D.1): how the movement of the features depends on the width, at one rate for all widths.
///
/// By theory, under gradient descent, the exponents are 0 everywhere under μP; −½ in the hidden layers and 0 in the output under the NTK
/// parameterization; and 1 in the output, ½ in a hidden layer after the first, of the standard one (Yang and Hu 2021, section 3 and table 1).
///
/// # Errors
/// If a network cannot be made, or training diverges.
pub fn coordinate_check(
    problem: &Problem,
    parameterization: Parameterization,
    settings: &CoordinateSettings,
    progress: &Progress,
) -> Result<CoordinateCheck, ExperimentError> {
    let n = settings.examples.min(problem.train.n);
    let (x, y) = (single(&problem.train.x[..n * problem.features]), single(&problem.train.y[..n * problem.classes]));
    let stage = progress.stage(&format!("coordinate check, {}", parameterization.name()), settings.widths.len() as u64);
    let mut layers = Vec::new();
    // [widths, steps, layers], sums of squares.
    let mut squares: Vec<Vec<Vec<f64>>> = Vec::new();
    for &width in &settings.widths {
        let network = network(problem, parameterization, width)?;
        layers = network.summary().iter().map(nn::Row::named).collect();
        let mut sums = vec![vec![0.0; layers.len()]; settings.steps];
        for seed in 0..settings.seeds {
            let mut trainer = Trainer::new(&network, &network.init::<f32>(seed)?, Loss::SquaredError).with_optimizer(settings.optimizer);
            let seen = coordinate_change(&mut trainer, &x, &y, settings.rate, settings.steps)?;
            for (sums, changes) in sums.iter_mut().zip(&seen.changes) {
                sums.iter_mut().zip(changes).for_each(|(sum, change)| *sum += change.powi(2));
            }
        }
        squares.push(sums);
        stage.step();
    }
    let change = |step: usize, layer: usize| -> Vec<f64> {
        squares.iter().map(|of_width| (of_width[step][layer] / settings.seeds as f64).sqrt()).collect()
    };
    let each = |step: usize| (0..layers.len()).map(|layer| change(step, layer)).collect();
    let changes: Vec<Vec<Vec<f64>>> = (0..settings.steps).map(each).collect();
    let widths: Vec<f64> = settings.widths.iter().map(|&w| w as f64).collect();
    let slopes = changes.iter().map(|layers| layers.iter().map(|change| Line::power_law(&widths, change)).collect()).collect();
    Ok(CoordinateCheck { parameterization: parameterization.name(), widths: settings.widths.clone(), layers, changes, slopes })
}

/// What to run.
#[derive(Clone, Debug, PartialEq)]
pub struct TransferSettings {
    /// Widths of the hidden layers.
    pub widths: Vec<usize>,
    /// Rates, ascending by equal factors.
    pub rates: Vec<f64>,
    /// Networks of each width and rate.
    pub seeds: u64,
    /// Steps of a training.
    pub steps: usize,
    /// Examples a step.
    pub batch: usize,
    /// The optimizer.
    pub optimizer: Optimizer,
}

/// Losses by width and rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Transfer {
    /// The name of the parameterization.
    pub parameterization: &'static str,
    /// Widths of the hidden layers.
    pub widths: Vec<usize>,
    /// Rates.
    pub rates: Vec<f64>,
    /// `[widths, rates]`: the loss of all training examples at the end, the geometric mean over networks; infinite where one diverged.
    pub losses: Vec<Vec<f64>>,
    /// The best rate of each width: the lowest point of the parabola through the lowest loss and its neighbours, in logarithms.
    pub best: Vec<f64>,
    /// The power of the width that the best rate follows.
    pub slope: Line,
}

/// Trains networks of several widths at several rates, and finds the best rate of each width (Yang et al. 2022, figure 1). Under μP it is the same for
/// all widths, so that it can be found on a narrow network.
///
/// # Errors
/// If a network cannot be made.
pub fn transfer(
    problem: &Problem,
    parameterization: Parameterization,
    settings: &TransferSettings,
    progress: &Progress,
) -> Result<Transfer, ExperimentError> {
    let (x, y) = (single(&problem.train.x), single(&problem.train.y));
    let runs = settings.widths.len() * settings.rates.len();
    let stage = progress.stage(&format!("rates, {}", parameterization.name()), runs as u64);
    let mut losses = Vec::new();
    for &width in &settings.widths {
        let network = network(problem, parameterization, width)?;
        let mut of_width = Vec::new();
        for &rate in &settings.rates {
            let plan = Plan { rate, batch: Some(settings.batch), steps: settings.steps, ..Plan::default() };
            let mut sum = 0.0;
            for seed in 0..settings.seeds {
                let mut trainer =
                    Trainer::new(&network, &network.init::<f32>(seed)?, Loss::SquaredError).with_optimizer(settings.optimizer);
                let done = train(&mut trainer, &x, &y, &plan, |_, _| ControlFlow::Continue(()));
                let loss = f64::from(trainer.loss(&x, &y));
                sum += if done.is_ok() && loss.is_finite() { loss.ln() } else { f64::INFINITY };
            }
            of_width.push((sum / settings.seeds as f64).exp());
            stage.step();
        }
        losses.push(of_width);
    }
    let best: Vec<f64> = losses.iter().map(|losses| lowest(&settings.rates, losses)).collect();
    let widths: Vec<f64> = settings.widths.iter().map(|&w| w as f64).collect();
    let slope = Line::power_law(&widths, &best);
    let (widths, rates) = (settings.widths.clone(), settings.rates.clone());
    Ok(Transfer { parameterization: parameterization.name(), widths, rates, losses, best, slope })
}

/// Where the parabola through the lowest point and its neighbours, in logarithms, is lowest. The point itself at an end, or beside a loss that is
/// not finite.
fn lowest(rates: &[f64], losses: &[f64]) -> f64 {
    let at = (0..losses.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap_or_default();
    let inside = at > 0 && at + 1 < losses.len() && losses[at + 1].is_finite() && losses[at - 1].is_finite();
    if !inside {
        return rates[at];
    }
    let [before, here, after] = [losses[at - 1].ln(), losses[at].ln(), losses[at + 1].ln()];
    let bend = before - 2.0 * here + after;
    let shift = if bend > 0.0 { 0.5 * (before - after) / bend } else { 0.0 };
    rates[at] * (rates[at + 1] / rates[at]).powf(shift)
}

#[cfg(test)]
mod tests {
    use super::lowest;

    #[test]
    fn the_lowest_point_of_a_parabola_is_found() {
        let rates = [0.25, 0.5, 1.0, 2.0];
        // ln L = (log2 η + 0.8)².
        let losses = rates.map(|rate: f64| (rate.log2() + 0.8).powi(2).exp());
        assert!((lowest(&rates, &losses).log2() + 0.8).abs() < 1e-12);
        assert_eq!(lowest(&rates, &[3.0, 2.0, 1.0, f64::INFINITY]), 1.0);
        assert_eq!(lowest(&rates, &[3.0, 2.0, 1.0, 0.5]), 2.0);
    }
}

//! Training: a network, an order of examples, and a rate for every step.

mod batches;
mod checkpoint;
mod coordinates;
mod diverged;
mod optimizer;
mod schedule;
mod trainer;

use autodiff::Scalar;
use batches::{Batches, gather};
use serde::Serialize;
use std::ops::ControlFlow;

pub use checkpoint::CheckpointError;
pub use coordinates::{Coordinates, coordinate_change};
pub use diverged::{Diverged, Place};
pub use optimizer::{Decay, Optimizer};
pub use schedule::{Course, Schedule};
pub use trainer::Trainer;

/// How long to train, in which order, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The rate `η`, before the schedule.
    pub rate: f64,
    /// What becomes of it over time.
    pub schedule: Schedule,
    /// Examples a step, or `None` for all of them. Every epoch visits each example once, in an order drawn from `seed` and its number; its
    /// last batch holds what is left.
    pub batch: Option<usize>,
    /// Number of steps, counted from the start of the trainer.
    pub steps: usize,
    /// What the order of the examples is drawn from.
    pub seed: u64,
}

impl Default for Plan {
    /// One step at the rate 0.1 on all examples.
    fn default() -> Self {
        Plan { rate: 0.1, schedule: Schedule::default(), batch: None, steps: 1, seed: 0 }
    }
}

impl Plan {
    /// The rate of a step, counted from 0.
    pub fn rate_of(&self, step: usize) -> f64 {
        self.rate * self.schedule.factor(step, self.steps)
    }
}

/// Trains on inputs `x` of the network and `y`, `[examples, outputs]`, until the trainer has taken the steps of the plan; one that was restored
/// from a [checkpoint](Trainer::checkpoint) goes on where it was. Before every step, and once more after the last, `observe` sees the
/// number of steps that were taken and the trainer, with its weights, gradients, features and outputs, and may end the training.
///
/// The same seed gives the same bits at any number of threads, and however often the training was cut short and resumed.
///
/// ```
/// use nn::{Course, Loss, Network, Plan, Schedule, Trainer, dense, tanh, train};
/// use std::ops::ControlFlow;
/// let network = Network::new([1], [dense(8).std(2.0, 1.0), tanh(), dense(1)])?;
/// let (x, y) = ([-1.0, -0.5, 0.0, 0.5, 1.0], [1.0, 0.25, 0.0, 0.25, 1.0]);
/// let mut trainer = Trainer::new(&network, &network.init::<f64>(1)?, Loss::SquaredError);
/// let schedule = Schedule { warmup: 10, course: Course::Cosine };
/// let plan = Plan { rate: 0.3, schedule, batch: Some(2), steps: 300, seed: 1 };
/// let mut losses = Vec::new();
/// train(&mut trainer, &x, &y, &plan, |step, trainer| {
///     if step % 100 == 0 {
///         losses.push(trainer.loss(&x, &y));
///     }
///     ControlFlow::Continue(())
/// })?;
/// assert!(losses.len() == 4 && losses[3] < 0.2 * losses[0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If a number is no longer finite, with the step and the layer; the trainer keeps its last finite parameters.
///
/// # Panics
/// If `x` and `y` do not fit the network or each other, or if a batch is to be empty.
#[track_caller]
pub fn train<T: Scalar>(
    trainer: &mut Trainer<'_, T>,
    x: &[T],
    y: &[T],
    plan: &Plan,
    mut observe: impl FnMut(usize, &mut Trainer<'_, T>) -> ControlFlow<()>,
) -> Result<(), Diverged> {
    let (n_in, n_out) = (trainer.network().n_inputs(), trainer.network().outputs());
    let examples = x.len() / n_in;
    assert!(
        x.len() == examples * n_in && y.len() == examples * n_out,
        "{} inputs of {n_in} and {} targets of {n_out} do not fit",
        x.len(),
        y.len()
    );
    let batch = plan.batch.unwrap_or(examples).min(examples);
    assert!(batch > 0 || examples == 0, "a batch holds at least one example");
    let mut batches = Batches::new(plan.seed, examples, batch);
    let (mut batch_x, mut batch_y) = (Vec::new(), Vec::new());
    while trainer.steps() < plan.steps {
        let step = trainer.steps();
        if observe(step, trainer).is_break() {
            return Ok(());
        }
        let rate = plan.rate_of(step);
        match batches.of_step(step) {
            None => trainer.step(x, y, rate)?,
            Some(picked) => {
                gather(picked, x, n_in, &mut batch_x);
                gather(picked, y, n_out, &mut batch_y);
                trainer.step(&batch_x, &batch_y, rate)?
            }
        };
    }
    // Whether it ends here is no longer a question.
    let _ = observe(trainer.steps(), trainer);
    Ok(())
}

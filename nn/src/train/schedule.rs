//! Schedules: the rate as a function of the step.

use serde::Serialize;
use std::f64::consts::PI;

/// How the rate rises at the start, and what becomes of it then.
///
/// ```
/// use nn::{Course, Schedule};
/// let schedule = Schedule { warmup: 4, course: Course::Cosine };
/// let factors: Vec<f64> = (0..8).map(|step| schedule.factor(step, 8)).collect();
/// let half = 0.5_f64.sqrt();
/// let want = [0.25, 0.5, 0.75, 1.0, 1.0, 0.5 + 0.5 * half, 0.5, 0.5 - 0.5 * half];
/// assert!(factors.iter().zip(want).all(|(f, w)| (f - w).abs() < 1e-15));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Schedule {
    /// Steps in which the rate rises linearly: step `s = 0, 1, …` takes `(s + 1)/warmup` of it. 0 for none.
    pub warmup: usize,
    /// What comes after these.
    pub course: Course,
}

/// What becomes of the rate after the warm-up, `s` steps behind it with `n` steps from there to the end of the training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Course {
    /// It stays.
    #[default]
    Constant,
    /// `1 − s/n`: a line to 0.
    Linear,
    /// `½(1 + cos(πs/n))` (Loshchilov and Hutter 2017, equation 5, without restarts).
    Cosine,
    /// `factor^⌊s/every⌋`, as `torch.optim.lr_scheduler.StepLR`.
    Step {
        /// Steps between two changes, at least 1.
        every: usize,
        /// What the rate is multiplied by then.
        factor: f64,
    },
}

impl Schedule {
    /// What the rate is multiplied by in a step of a training of so many steps, both counted from 0.
    pub fn factor(self, step: usize, steps: usize) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        let (s, n) = (step - self.warmup, steps.saturating_sub(self.warmup).max(1));
        let share = (s as f64 / n as f64).min(1.0);
        match self.course {
            Course::Constant => 1.0,
            Course::Linear => 1.0 - share,
            Course::Cosine => 0.5 * (1.0 + (PI * share).cos()),
            Course::Step { every, factor } => factor.powf((s / every.max(1)) as f64),
        }
    }

    /// Whether the rate of a step depends on how long the training is.
    pub(super) fn looks_at_the_end(self) -> bool {
        match self.course {
            Course::Linear | Course::Cosine => true,
            Course::Constant | Course::Step { .. } => false,
        }
    }
}

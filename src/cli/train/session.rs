//! One training, from its start or a checkpoint to its weights, or to the signal that ends it.

use super::arguments::Arguments;
use super::in_file;
use super::targets::Examples;
use crate::cli::kernel::Number;
use crate::cli::{Failure, print_line};
use autodiff::Tape;
use nn::{Loss, Plan, Trainer, train};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use tangents::files;
use tangents::progress::{Progress, Stage};

pub(super) struct Session<'s, T: Number> {
    pub(super) a: &'s Arguments,
    pub(super) plan: Plan,
    pub(super) trainer: Trainer<'s, T>,
    pub(super) training: &'s Examples<T>,
    pub(super) test: Option<&'s Examples<T>>,
    pub(super) json: bool,
    pub(super) progress: &'s Progress,
}

/// How well a network does on some examples.
#[derive(Clone, Copy)]
struct Score {
    loss: f64,
    accuracy: Option<f64>,
}

/// What is said about a step.
#[derive(Clone, Copy)]
pub(super) struct Measured {
    step: usize,
    rate: f64,
    training: Score,
    test: Option<Score>,
}

/// Examples whose outputs are computed at a time.
const BLOCK: usize = 512;
/// Files of checkpoints hold each parameter and two moments in double precision, and a header that the format limits.
const NUMBERS_OF_A_PARAMETER: u64 = 3;

/// Set by Ctrl-C and its kin. The step that is being taken ends first.
static STOP: AtomicBool = AtomicBool::new(false);

impl<T: Number> Session<'_, T> {
    /// Takes over the checkpoint, if one is named.
    pub(super) fn resume(&mut self) -> Result<(), Failure> {
        let Some(path) = &self.a.resume else { return Ok(()) };
        let numbers = NUMBERS_OF_A_PARAMETER * self.trainer.network().n_parameters() as u64;
        let bytes = files::read_bytes(path, (8 * numbers).saturating_add(100_000_008))?;
        let data = self.data();
        self.trainer.restore(&bytes, &self.plan, &[("data", &data)]).map_err(|e| in_file(path, e))
    }

    /// Trains to the end, and writes the weights.
    pub(super) fn run(&mut self) -> Result<Measured, Failure> {
        // A second handler, or none at all, is no reason not to train.
        let _ = ctrlc::set_handler(|| STOP.store(true, Ordering::Relaxed));
        let data = self.data();
        let Session { a, plan, trainer, training, test, json, progress } = self;
        let first = trainer.steps();
        let stage = progress.stage("training", plan.steps.saturating_sub(first) as u64);
        let (mut last, mut stopped) = (None, None);
        let done = train(trainer, &training.x, &training.y, plan, |step, trainer| {
            let is_end = step >= plan.steps;
            let mut look = || -> Result<(), Stop> {
                // Where a training goes on it was measured, and kept, before.
                let is_due = |every: usize| step.is_multiple_of(every) && (step > first || step == 0);
                if is_due(a.log_every()) || is_end {
                    let measured = Measured::of(trainer, plan, training, *test);
                    last = Some(measured);
                    measured.report(*json, &stage, progress)?;
                }
                if (is_due(a.checkpoint_every()) || is_end) && step > first {
                    write_checkpoint(a, trainer, plan, &data)?;
                }
                if STOP.load(Ordering::Relaxed) && !is_end { Err(Stop::Asked) } else { Ok(()) }
            };
            if let Err(stop) = look() {
                stopped = Some(stop);
                return ControlFlow::Break(());
            }
            if step > first {
                stage.step();
            }
            ControlFlow::Continue(())
        });
        done.map_err(Failure::failed)?;
        match stopped {
            Some(Stop::Failed(failure)) => Err(failure),
            Some(stop @ (Stop::Asked | Stop::ClosedPipe)) => {
                // What has been done is kept.
                let kept = if let Some(path) = a.checkpoint() {
                    write_checkpoint(a, trainer, plan, &data)?;
                    format!("go on with --resume {path:?}")
                } else {
                    write_weights(a, trainer)?;
                    format!("the weights so far are in {:?}", a.out)
                };
                let message = format!("training was interrupted after {} of {} steps; {kept}", trainer.steps(), plan.steps);
                Err(if matches!(stop, Stop::ClosedPipe) { Failure::ClosedPipe } else { Failure::Failed(message) })
            }
            None => {
                stage.finish();
                write_weights(a, trainer)?;
                Ok(last.expect("the end is measured"))
            }
        }
    }

    /// What tells these examples from others: FNV-1a of all bits.
    fn data(&self) -> String {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for v in self.training.x.iter().chain(&self.training.y) {
            for byte in autodiff::Scalar::primal(*v).to_bits().to_le_bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        format!("{hash:016x}")
    }
}

/// Why a training ends before its end.
enum Stop {
    /// By a signal.
    Asked,
    /// Whoever read the log has gone.
    ClosedPipe,
    /// By a file that cannot be written.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::ClosedPipe => Stop::ClosedPipe,
            Failure::Usage(_) | Failure::Failed(_) => Stop::Failed(failure),
        }
    }
}

fn write_checkpoint<T: Number>(a: &Arguments, trainer: &Trainer<'_, T>, plan: &Plan, data: &str) -> Result<(), Failure> {
    let Some(path) = a.checkpoint() else { return Ok(()) };
    let bytes = trainer.checkpoint(plan, &[("data", data)]);
    Ok(files::write_atomically(path, |out| out.write_all(&bytes))?)
}

fn write_weights<T: Number>(a: &Arguments, trainer: &Trainer<'_, T>) -> Result<(), Failure> {
    let bytes = trainer.network().save_weights(&trainer.parameters());
    Ok(files::write_atomically(&a.out, |out| out.write_all(&bytes))?)
}

impl Measured {
    fn of<T: Number>(trainer: &mut Trainer<'_, T>, plan: &Plan, training: &Examples<T>, test: Option<&Examples<T>>) -> Self {
        let step = trainer.steps();
        let rate = plan.rate_of(step.min(plan.steps.saturating_sub(1)));
        Measured { step, rate, training: Score::of(trainer, training), test: test.map(|test| Score::of(trainer, test)) }
    }

    /// One line of JSON on stdout, or one for people on stderr.
    fn report(&self, json: bool, stage: &Stage<'_>, progress: &Progress) -> Result<(), Failure> {
        let Score { loss, accuracy } = self.training;
        let share = accuracy.map(|a| format!(", accuracy {:.1} %", 100.0 * a)).unwrap_or_default();
        stage.message(&format!("loss {loss:.4e}{share}"));
        if json {
            return print_line(self.json().to_string());
        }
        let text = self.lines().replace('\n', "; ");
        progress.note(&format!("step {}: {text}", self.step));
        Ok(())
    }

    pub(super) fn json(&self) -> Value {
        let mut line = json!({ "step": self.step, "rate": self.rate, "loss": self.training.loss });
        if let Some(accuracy) = self.training.accuracy {
            line["accuracy"] = accuracy.into();
        }
        if let Some(test) = self.test {
            line["test_loss"] = test.loss.into();
            if let Some(accuracy) = test.accuracy {
                line["test_accuracy"] = accuracy.into();
            }
        }
        line
    }

    /// For people: a line for the training examples, and one for the others.
    pub(super) fn lines(&self) -> String {
        let score = |name: &str, score: Score| {
            let share = score.accuracy.map(|a| format!(", accuracy {:.2} %", 100.0 * a)).unwrap_or_default();
            format!("{name} loss {:.6}{share}", score.loss)
        };
        let test = self.test.map(|test| format!("\n{}", score("test", test))).unwrap_or_default();
        format!("{}{test}", score("training", self.training))
    }
}

impl Score {
    /// The mean loss over examples, and the share of them whose largest output is that of their class. NaN and none without examples.
    fn of<T: Number>(trainer: &mut Trainer<'_, T>, examples: &Examples<T>) -> Self {
        let (n_in, n_out, loss) = (trainer.network().n_inputs(), trainer.network().outputs(), trainer.loss_function());
        let (mut sum, mut right) = (0.0, 0);
        for (i, (x, y)) in examples.x.chunks(BLOCK * n_in).zip(examples.y.chunks(BLOCK * n_out)).enumerate() {
            let f = trainer.outputs(x);
            sum += value(loss, f, y, n_out) * (y.len() / n_out) as f64;
            let labels = examples.labels.iter().flat_map(|labels| &labels[i * BLOCK..]);
            right += f.chunks(n_out).zip(labels).filter(|(f, label)| largest(f) == **label).count();
        }
        let n = examples.n as f64;
        Score { loss: sum / n, accuracy: examples.labels.as_ref().map(|_| right as f64 / n) }
    }
}

/// The mean loss of outputs.
fn value<T: Number>(loss: Loss, f: &[T], y: &[T], n_out: usize) -> f64 {
    let mut tape = Tape::new();
    let shape = [f.len() / n_out, n_out];
    let (f, y) = (tape.input(shape, f), tape.target(shape, y));
    let loss = loss.record(&mut tape, f, y);
    autodiff::Scalar::primal(tape.value(loss)[0])
}

/// The place of the largest, the first of several.
fn largest<T: Number>(row: &[T]) -> usize {
    let mut best = 0;
    for (i, v) in row.iter().enumerate() {
        if autodiff::Scalar::primal(*v) > autodiff::Scalar::primal(row[best]) {
            best = i;
        }
    }
    best
}

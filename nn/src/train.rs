//! Training by stochastic gradient descent.

use crate::loss::Loss;
use crate::network::Network;
use autodiff::{Flow, Gradient, Mark, Scalar, Tape, Var, Wrt};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::ops::ControlFlow;
use thiserror::Error;

/// How to descend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The rate `η` in `θ ← θ − η ∂L/∂θ`.
    pub rate: f64,
    /// Examples a step, or `None` for all of them. Every epoch visits each example once, in an order drawn from `seed`; its last
    /// batch holds what is left.
    pub batch: Option<usize>,
    /// Number of steps.
    pub steps: usize,
    /// What the order of the examples is drawn from.
    pub seed: u64,
}

/// The loss is no longer a finite number, or the step to the next parameters is not.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[error("training diverged: the loss is {loss} at step {step}; lower the rate, which is {rate}")]
pub struct Diverged {
    /// The step, counted from 0, that was not taken.
    pub step: usize,
    /// The loss there, or infinity where the loss is finite and the step is not.
    pub loss: f64,
    /// The rate.
    pub rate: f64,
}

/// A network that is being trained: its parameters live on a tape that every step records anew.
#[derive(Clone, Debug)]
pub struct Trainer<'n, T: Scalar> {
    network: &'n Network,
    loss: Loss,
    tape: Tape<T>,
    parameters: Vec<Var>,
    start: Mark,
    flow: Flow<T>,
    gradient: Gradient<T>,
}

impl<'n, T: Scalar> Trainer<'n, T> {
    /// Starts from the given parameters.
    ///
    /// # Panics
    /// If the parameters are not those of the network.
    #[track_caller]
    pub fn new(network: &'n Network, parameters: &[Vec<T>], loss: Loss) -> Self {
        let mut tape = Tape::new();
        let parameters = network.leaves(&mut tape, parameters);
        let start = tape.mark();
        Trainer { network, loss, tape, parameters, start, flow: Flow::new(), gradient: Gradient::new(Wrt::PARAMETERS) }
    }

    /// One step of gradient descent on a batch `x` of inputs of the network, with targets `y`, `[examples, outputs]`. Returns the loss
    /// before the step. If that is not finite, or if the step would make a parameter not finite (then infinity is returned), the
    /// parameters stay as they are.
    ///
    /// # Panics
    /// If the lengths of `x` and `y` do not fit the network.
    #[track_caller]
    pub fn step(&mut self, x: &[T], y: &[T], rate: f64) -> T {
        let f = self.forward(x);
        let loss = self.loss.of_batch(&mut self.tape, f, y);
        let value = self.tape.value(loss)[0];
        if !value.primal().is_finite() {
            return value;
        }
        let pulled = self.tape.pull(loss, 1, &[T::ONE], &mut self.flow, &mut self.gradient);
        pulled.expect("a gradient sums over examples and is never refused");
        let rate = T::of(rate);
        let finite = self.parameters.iter().enumerate().all(|(i, &p)| {
            // Without a short cut, so that the loop runs in vectors.
            let stepped = self.tape.value(p).iter().zip(self.gradient.parameter(i));
            stepped.fold(true, |finite, (&p, &g)| finite & (p - rate * g).primal().is_finite())
        });
        if !finite {
            return T::of(f64::INFINITY);
        }
        for (i, &p) in self.parameters.iter().enumerate() {
            let gradient = self.gradient.parameter(i);
            self.tape.leaf_mut(p).iter_mut().zip(gradient).for_each(|(p, &g)| *p = *p - rate * g);
        }
        value
    }

    /// The outputs `[examples, outputs]` with the parameters as they are now.
    #[track_caller]
    pub fn outputs(&mut self, x: &[T]) -> &[T] {
        let f = self.forward(x);
        self.tape.value(f)
    }

    /// The parameters as they are now.
    pub fn parameters(&self) -> Vec<Vec<T>> {
        self.parameters.iter().map(|&p| self.tape.value(p).to_vec()).collect()
    }

    fn forward(&mut self, x: &[T]) -> Var {
        self.tape.rewind(self.start);
        let x = self.tape.input(self.network.input_shape(x.len()), x);
        self.network.record(&mut self.tape, &self.parameters, x)
    }
}

/// Trains on inputs `x` of the network and `y`, `[examples, outputs]`. Before every step, and once more after the last, `observe` sees the
/// number of steps that were taken and the trainer, and may end the training.
///
/// The same seed gives the same bits at any number of threads.
///
/// # Errors
/// If the loss is no longer finite, with the step; the trainer keeps its last finite parameters.
///
/// # Panics
/// If `x` and `y` do not fit the network or each other, or if a batch is to be empty.
#[track_caller]
pub fn train<T: Scalar>(
    trainer: &mut Trainer<'_, T>,
    x: &[T],
    y: &[T],
    sgd: Sgd,
    mut observe: impl FnMut(usize, &mut Trainer<'_, T>) -> ControlFlow<()>,
) -> Result<(), Diverged> {
    let (n_in, n_out) = (trainer.network.n_inputs(), trainer.network.outputs());
    let examples = x.len() / n_in;
    assert!(
        x.len() == examples * n_in && y.len() == examples * n_out,
        "{} inputs of {n_in} and {} targets of {n_out} do not fit",
        x.len(),
        y.len()
    );
    let batch = sgd.batch.unwrap_or(examples).min(examples);
    assert!(batch > 0 || examples == 0, "a batch holds at least one example");
    let mut rng = ChaCha8Rng::seed_from_u64(sgd.seed);
    // Streams from 0 upwards belong to initial values.
    rng.set_stream(u64::MAX);
    let mut order: Vec<usize> = (0..examples).collect();
    let mut next = examples;
    let (mut batch_x, mut batch_y) = (Vec::new(), Vec::new());
    for step in 0..sgd.steps {
        if observe(step, trainer).is_break() {
            return Ok(());
        }
        let loss = if batch == examples {
            trainer.step(x, y, sgd.rate)
        } else {
            if next >= examples {
                order.shuffle(&mut rng);
                next = 0;
            }
            let picked = &order[next..(next + batch).min(examples)];
            next += batch;
            gather(picked, x, n_in, &mut batch_x);
            gather(picked, y, n_out, &mut batch_y);
            trainer.step(&batch_x, &batch_y, sgd.rate)
        };
        let loss = loss.primal();
        if !loss.is_finite() {
            return Err(Diverged { step, loss, rate: sgd.rate });
        }
    }
    // Whether it ends here is no longer a question.
    let _ = observe(sgd.steps, trainer);
    Ok(())
}

fn gather<T: Copy>(rows: &[usize], from: &[T], n: usize, to: &mut Vec<T>) {
    to.clear();
    rows.iter().for_each(|&i| to.extend_from_slice(&from[i * n..(i + 1) * n]));
}

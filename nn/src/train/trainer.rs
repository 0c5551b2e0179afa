//! A network that is being trained.

use super::diverged::{Diverged, Place};
use super::optimizer::{Decay, Optimizer, Update, is_finite};
use crate::loss::Loss;
use crate::network::Network;
use autodiff::{Flow, Gradient, Mark, Scalar, Tape, Var, Wrt};

/// A network that is being trained: its parameters live on a tape that every step records anew. Once its memory has grown to what a batch
/// needs, a step allocates nothing.
///
/// ```
/// use nn::{Loss, Network, Optimizer, Trainer, dense, relu};
/// let network = Network::new([2], [dense(16), relu(), dense(1)])?;
/// let (x, y) = ([0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0]);
/// let mut trainer = Trainer::new(&network, &network.init::<f64>(1)?, Loss::SquaredError).with_optimizer(Optimizer::ADAM);
/// let first = trainer.step(&x, &y, 0.05)?;
/// for _ in 0..200 {
///     trainer.step(&x, &y, 0.05)?;
/// }
/// assert!(trainer.loss(&x, &y) < 0.01 * first);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Trainer<'n, T: Scalar> {
    pub(super) network: &'n Network,
    pub(super) loss: Loss,
    pub(super) optimizer: Optimizer,
    pub(super) decay: Decay,
    /// The factor that the user gave each parameter; 0 of a frozen one.
    pub(super) factors: Vec<f64>,
    tape: Tape<T>,
    leaves: Vec<Var>,
    start: Mark,
    flow: Flow<T>,
    gradient: Gradient<T>,
    /// What the optimizer keeps of each parameter.
    pub(super) moments: Vec<[Vec<T>; 2]>,
    /// What each layer gave in the last pass, in the order of [`Network::summary`].
    layers: Vec<Var>,
    pub(super) steps: usize,
}

impl<'n, T: Scalar> Trainer<'n, T> {
    /// Starts from the given parameters, with plain gradient descent.
    ///
    /// # Panics
    /// If the parameters are not those of the network.
    #[track_caller]
    pub fn new(network: &'n Network, parameters: &[Vec<T>], loss: Loss) -> Self {
        let mut tape = Tape::new();
        let leaves = network.leaves(&mut tape, parameters);
        let start = tape.mark();
        let (flow, gradient, factors) = (Flow::new(), Gradient::new(Wrt::PARAMETERS), vec![1.0; leaves.len()]);
        let (optimizer, decay, moments) = (Optimizer::SGD, Decay::NONE, vec![Default::default(); leaves.len()]);
        Trainer { network, loss, optimizer, decay, factors, tape, leaves, start, flow, gradient, moments, layers: Vec::new(), steps: 0 }
    }

    /// Another optimizer, which has seen no step yet.
    ///
    /// # Panics
    /// If momentum, `beta1` or `beta2` is not in `0..1`, or `eps` negative.
    #[track_caller]
    #[must_use]
    pub fn with_optimizer(mut self, optimizer: Optimizer) -> Self {
        if let Some(refusal) = optimizer.refusal() {
            panic!("{refusal}");
        }
        self.optimizer = optimizer;
        self.start_moments();
        self
    }

    /// Weight decay.
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    #[must_use]
    pub fn with_decay(mut self, decay: Decay) -> Self {
        if let Some(refusal) = decay.refusal() {
            panic!("{refusal}");
        }
        self.decay = decay;
        self
    }

    /// A factor of the rate for each parameter, beside that of the table of [`scaling`](crate::scaling), which Adam reads. A factor of 0 freezes a
    /// parameter: it keeps its value, decays no more, and no gradient is computed for it.
    ///
    /// ```
    /// use nn::{Loss, Network, Trainer, dense, relu};
    /// let network = Network::new([2], [dense(3), relu(), dense(1)])?;
    /// let start = network.init::<f64>(1)?;
    /// // The first layer stays, and the last bias is ten times as fast.
    /// let mut trainer = Trainer::new(&network, &start, Loss::SquaredError).with_rates(&[0.0, 0.0, 1.0, 10.0]);
    /// trainer.step(&[1.0, 2.0], &[5.0], 0.1)?;
    /// assert_eq!(trainer.parameters()[..2], start[..2]);
    /// assert_ne!(trainer.parameters()[2..], start[2..]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If there are more or fewer factors than parameters, or if one is negative or not finite.
    #[track_caller]
    #[must_use]
    pub fn with_rates(mut self, factors: &[f64]) -> Self {
        self.network.assert_count(factors.len());
        for (p, factor) in self.network.parameters().iter().zip(factors) {
            assert!(*factor >= 0.0 && factor.is_finite(), "the factor of {} must be a number of at least 0, and it is {factor}", p.name);
        }
        let parameters = self.parameters();
        self.factors = factors.to_vec();
        self.tape = Tape::new();
        let each = self.network.parameters().iter().zip(&parameters).zip(factors);
        self.leaves = each
            .map(
                |((p, values), &factor)| {
                    if factor == 0.0 { self.tape.constant(p.shape, values) } else { self.tape.parameter(p.shape, values) }
                },
            )
            .collect();
        self.start = self.tape.mark();
        self.start_moments();
        self
    }

    fn start_moments(&mut self) {
        let kept = self.optimizer.moments().len();
        for (moments, p) in self.moments.iter_mut().zip(self.network.parameters()) {
            for (k, moment) in moments.iter_mut().enumerate() {
                moment.clear();
                moment.resize(if k < kept { p.shape.len() } else { 0 }, T::ZERO);
            }
        }
    }

    /// One step on a batch `x` of inputs of the network, with targets `y`, `[examples, outputs]`. Returns the loss before the step.
    ///
    /// # Errors
    /// If a number is not finite, with its place. Then the parameters stay as they are.
    ///
    /// # Panics
    /// If the lengths of `x` and `y` do not fit the network.
    #[track_caller]
    pub fn step(&mut self, x: &[T], y: &[T], rate: f64) -> Result<T, Diverged> {
        let loss = self.record(x, y);
        let value = self.tape.value(loss)[0];
        let step = self.steps;
        let stopped = |place| Diverged { step, loss: value.primal(), rate, place };
        if !is_finite(value) {
            return Err(stopped(self.place_in_the_pass(x, y)));
        }
        let pulled = self.tape.pull(loss, 1, &[T::ONE], &mut self.flow, &mut self.gradient);
        pulled.expect("a gradient sums over examples and is never refused");
        if !self.each_update(rate, |update, p, g, moments| update.is_finite(p, g, moments)) {
            return Err(stopped(self.place_in_the_step(rate)));
        }
        self.each_update(rate, |update, p, g, moments| {
            update.apply(p, g, moments);
            true
        });
        self.steps += 1;
        Ok(value)
    }

    /// Calls `f` for every parameter that is trained, as long as it returns true.
    fn each_update(&mut self, rate: f64, mut f: impl FnMut(Update<T>, &mut [T], &[T], &mut [Vec<T>; 2]) -> bool) -> bool {
        let trained = (0..self.leaves.len()).filter(|&i| self.factors[i] > 0.0);
        trained.enumerate().all(|(slot, i)| {
            let adam = self.network.parameters()[i].scaling.adam;
            let update = Update::new(self.optimizer, self.decay, rate * self.factors[i], adam, self.steps + 1);
            f(update, self.tape.leaf_mut(self.leaves[i]), self.gradient.parameter(slot), &mut self.moments[i])
        })
    }

    /// Where the recording first left the finite numbers.
    fn place_in_the_pass(&self, x: &[T], y: &[T]) -> Place {
        let broken = |values: &[T]| values.iter().any(|&v| !is_finite(v));
        let layer = self.layers.iter().position(|&v| broken(self.tape.value(v)));
        match layer {
            _ if broken(x) => Place::Inputs,
            Some(layer) => Place::Layer(self.network.summary()[layer].named()),
            None if broken(y) => Place::Targets,
            None => Place::Loss,
        }
    }

    /// Where the gradient, which comes from the end, or else the step first left them.
    fn place_in_the_step(&mut self, rate: f64) -> Place {
        let trained: Vec<usize> = (0..self.leaves.len()).filter(|&i| self.factors[i] > 0.0).collect();
        let mut of_gradient = None;
        for (slot, &i) in trained.iter().enumerate() {
            if self.gradient.parameter(slot).iter().any(|&g| !is_finite(g)) {
                of_gradient = Some(i);
            }
        }
        let named = |i: usize| {
            let p = &self.network.parameters()[i];
            (p.name.clone(), self.network.summary()[p.layer].named())
        };
        if let Some((parameter, layer)) = of_gradient.map(named) {
            return Place::Gradient { parameter, layer };
        }
        let mut finite = Vec::new();
        self.each_update(rate, |update, p, g, moments| {
            finite.push(update.is_finite(p, g, moments));
            true
        });
        let (parameter, layer) = named(trained[finite.iter().position(|&ok| !ok).unwrap_or_default()]);
        Place::Parameter { parameter, layer }
    }

    /// The number of steps that were taken.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The network.
    pub fn network(&self) -> &'n Network {
        self.network
    }

    /// The loss that is made small.
    pub fn loss_function(&self) -> Loss {
        self.loss
    }

    /// The loss of a batch with the parameters as they are now.
    #[track_caller]
    pub fn loss(&mut self, x: &[T], y: &[T]) -> T {
        let loss = self.record(x, y);
        self.tape.value(loss)[0]
    }

    /// The outputs `[examples, outputs]` with the parameters as they are now.
    #[track_caller]
    pub fn outputs(&mut self, x: &[T]) -> &[T] {
        let f = self.forward(x);
        self.tape.value(f)
    }

    /// What every layer gives with the parameters as they are now, one layer after the other as in [`Network::summary`]: features `[examples, n]`,
    /// or images with their channels last.
    #[track_caller]
    pub fn features(&mut self, x: &[T]) -> impl ExactSizeIterator<Item = &[T]> {
        self.forward(x);
        self.layers.iter().map(|&v| self.tape.value(v))
    }

    /// The parameters as they are now.
    pub fn parameters(&self) -> Vec<Vec<T>> {
        self.leaves.iter().map(|&p| self.tape.value(p).to_vec()).collect()
    }

    /// The `i`-th parameter as it is now.
    pub fn parameter(&self, i: usize) -> &[T] {
        self.tape.value(self.leaves[i])
    }

    /// The gradient of the `i`-th parameter in the last step; `None` before the first, or of a frozen parameter.
    pub fn gradient(&self, i: usize) -> Option<&[T]> {
        let slot = self.factors[..i].iter().filter(|&&factor| factor > 0.0).count();
        (self.factors[i] > 0.0).then(|| self.gradient.parameters().nth(slot)).flatten()
    }

    pub(super) fn set_parameter(&mut self, i: usize, values: &[T]) {
        self.tape.leaf_mut(self.leaves[i]).copy_from_slice(values);
    }

    #[track_caller]
    fn record(&mut self, x: &[T], y: &[T]) -> Var {
        let f = self.forward(x);
        self.loss.of_batch(&mut self.tape, f, y)
    }

    #[track_caller]
    fn forward(&mut self, x: &[T]) -> Var {
        self.tape.rewind(self.start);
        let x = self.tape.input(self.network.input_shape(x.len()), x);
        self.layers.clear();
        self.network.record_layers(&mut self.tape, &self.leaves, x, &mut self.layers)
    }
}

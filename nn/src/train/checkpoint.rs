//! Checkpoints: all that a training needs to go on, as bytes.

use super::{Plan, Trainer};
use crate::network::Parameter;
use crate::weights::{bytes_of, from_file, numbers, to_file};
use autodiff::{Float, Scalar};
use safetensors::tensor::{SafeTensors, TensorView};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use thiserror::Error;

/// Why a training cannot go on from a checkpoint.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The bytes are not a checkpoint.
    #[error("not a checkpoint of a training: {0}")]
    Format(String),
    /// The network that was saved is another one.
    #[error("it is of a training of another model")]
    Model,
    /// The training that was saved was another one.
    #[error("it is of a training with {what} {saved}, and this one has {given}")]
    Differs {
        /// What differs.
        what: String,
        /// In the checkpoint.
        saved: String,
        /// In the training that is to go on.
        given: String,
    },
}

/// The one entry of the header, so that the same state is the same bytes.
const KEY: &str = "training";
/// The setting that is too long for an error.
const MODEL: &str = "model";
/// What changes when checkpoints do.
const VERSION: &str = "tangents checkpoint 1";

fn broken(what: impl Into<String>) -> CheckpointError {
    CheckpointError::Format(what.into())
}

impl<T: Float + Scalar> Trainer<'_, T> {
    /// The state of a training as a safetensors file: parameters, what the optimizer keeps of them, and the number of steps; in its header the model,
    /// the loss, the optimizer and the plan, and `notes` that [`restore`](Trainer::restore) is to find again. The order of the examples needs no state:
    /// it follows from the plan and the step. Of an [`elementwise`](crate::elementwise()) function of
    /// the program's own it has the name.
    ///
    /// ```
    /// use nn::{Loss, Network, Optimizer, Plan, Trainer, dense, relu, train};
    /// use std::ops::ControlFlow::{Break, Continue};
    /// let network = Network::new([2], [dense(3), relu(), dense(1)])?;
    /// let fresh = || Trainer::new(&network, &network.init::<f64>(1).unwrap(), Loss::SquaredError).with_optimizer(Optimizer::ADAM);
    /// let (x, y) = ([1.0, 2.0, 3.0, -1.0, 0.5, 0.0], [1.0, 2.0, 3.0]);
    /// let plan = Plan { rate: 0.01, batch: Some(2), steps: 9, ..Plan::default() };
    /// let mut whole = fresh();
    /// train(&mut whole, &x, &y, &plan, |_, _| Continue(()))?;
    ///
    /// let mut first = fresh();
    /// train(&mut first, &x, &y, &plan, |step, _| if step == 4 { Break(()) } else { Continue(()) })?;
    /// let mut second = fresh();
    /// second.restore(&first.checkpoint(&plan, &[]), &plan, &[])?;
    /// train(&mut second, &x, &y, &plan, |_, _| Continue(()))?;
    /// assert_eq!(second.parameters(), whole.parameters());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn checkpoint(&self, plan: &Plan, notes: &[(&str, &str)]) -> Vec<u8> {
        let settings: Map<String, Value> = self.settings(plan, notes).into_iter().collect();
        let header = json!({ "version": VERSION, "step": self.steps, "settings": settings });
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .slots()
            .map(|(name, i, values)| {
                let p = &self.network.parameters()[i];
                (name, p.file_shape.clone(), bytes_of(&to_file(p, values)))
            })
            .collect();
        let views = tensors.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(crate::weights::dtype::<T>(), shape.clone(), bytes).expect("the bytes were made for this shape");
            (name, view)
        });
        let header = HashMap::from([(KEY.to_string(), header.to_string())]);
        safetensors::serialize(views, Some(header)).expect("names are distinct and every tensor fits its shape")
    }

    /// Takes over the state of a [checkpoint](Trainer::checkpoint). The trainer has to be one of the same network with the same loss, optimizer, decay
    /// and rates, and the plan and the notes have to be the same; only the number of steps may be another one, unless the schedule looks at it.
    ///
    /// # Errors
    /// If the bytes are no checkpoint, or one of another training. The trainer is as it was then.
    pub fn restore(&mut self, bytes: &[u8], plan: &Plan, notes: &[(&str, &str)]) -> Result<(), CheckpointError> {
        let unreadable = |e: safetensors::SafeTensorError| broken(e.to_string().escape_debug().to_string());
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
        let header = metadata.metadata().as_ref().and_then(|entries| entries.get(KEY));
        let header = header.ok_or_else(|| broken("its header does not say so; weights alone are read as weights"))?;
        let header: Value = serde_json::from_str(header).map_err(|e| broken(format!("its header is broken: {e}")))?;
        if header["version"] != VERSION {
            return Err(broken(format!("its version is {}, and \"{VERSION}\" is read", header["version"])));
        }
        let none = Map::new();
        let saved = header["settings"].as_object().unwrap_or(&none);
        let given = self.settings(plan, notes);
        for (what, given) in &given {
            let saved = saved.get(what.as_str()).unwrap_or(&Value::Null);
            if saved != given && what == MODEL {
                return Err(CheckpointError::Model);
            }
            if saved != given {
                let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), |text| format!("\"{}\"", text.escape_debug()));
                return Err(CheckpointError::Differs { what: what.clone(), saved: text(saved), given: text(given) });
            }
        }
        let step = header["step"].as_u64().and_then(|step| usize::try_from(step).ok()).ok_or_else(|| broken("it has no step"))?;
        let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
        let slots: Vec<(String, usize)> = self.slots().map(|(name, i, _)| (name, i)).collect();
        if file.len() != slots.len() {
            return Err(broken(format!("it has {} tensors and not {}", file.len(), slots.len())));
        }
        let read = |(name, i): &(String, usize)| self.read(&file, name, &self.network.parameters()[*i]);
        let values = slots.iter().map(read).collect::<Result<Vec<Vec<T>>, CheckpointError>>()?;
        let per_parameter = 1 + self.optimizer.moments().len();
        for (i, values) in values.chunks(per_parameter).enumerate() {
            self.set_parameter(i, &values[0]);
            for (moment, values) in self.moments[i].iter_mut().zip(&values[1..]) {
                moment.copy_from_slice(values);
            }
        }
        self.steps = step;
        Ok(())
    }

    fn read(&self, file: &SafeTensors<'_>, name: &str, p: &Parameter) -> Result<Vec<T>, CheckpointError> {
        let tensor = file.tensor(name).map_err(|_| broken(format!("tensor `{name}` is missing")))?;
        if tensor.shape() != p.file_shape || tensor.dtype() != crate::weights::dtype::<T>() {
            return Err(broken(format!("tensor `{name}` has shape {:?} and type {:?}", tensor.shape(), tensor.dtype())));
        }
        let values: Vec<T> = numbers(&tensor).map(|values| values.into_iter().map(<T as Scalar>::of).collect()).unwrap_or_default();
        if values.iter().any(|v| !v.primal().is_finite()) {
            return Err(broken(format!("tensor `{name}` has a value that is not finite")));
        }
        Ok(from_file(p, &values))
    }

    /// All that the next steps depend on, besides the examples, what tells most first.
    fn settings(&self, plan: &Plan, notes: &[(&str, &str)]) -> Vec<(String, Value)> {
        let mut settings = Vec::new();
        let mut put = |key: &str, value: Value| settings.push((key.to_string(), value));
        put(MODEL, json!(self.network.description()));
        put("dtype", json!(format!("{:?}", crate::weights::dtype::<T>())));
        put("loss", json!(format!("{:?}", self.loss)));
        put("optimizer", json!(self.optimizer));
        put("weight decay", json!(self.decay));
        put("factors of the rate", json!(self.factors));
        put("rate", json!(plan.rate));
        put("schedule", json!(plan.schedule));
        put("batch", json!(plan.batch));
        put("seed", json!(plan.seed));
        if plan.schedule.looks_at_the_end() {
            put("steps", json!(plan.steps));
        }
        for (key, value) in notes {
            put(key, json!(value));
        }
        settings
    }

    /// Names and values of all tensors: each parameter, then what is kept of it.
    fn slots(&self) -> impl Iterator<Item = (String, usize, &[T])> {
        self.network.parameters().iter().enumerate().flat_map(move |(i, p)| {
            let moments = self.optimizer.moments().iter().zip(&self.moments[i]);
            let kept = moments.map(move |(kind, values)| (format!("{}.{kind}", p.name), i, &values[..]));
            std::iter::once((p.name.clone(), i, self.parameter(i))).chain(kept)
        })
    }
}

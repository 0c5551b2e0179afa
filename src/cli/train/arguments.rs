//! The arguments, and what they mean together.

use crate::cli::Failure;
use crate::cli::kernel::{Precision, STDOUT};
use clap::ValueEnum;
use nn::{Course, Decay, Loss, Network, Optimizer, Schedule};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The model, a TOML file.
    #[arg(long, value_name = "M.toml")]
    pub(super) model: PathBuf,
    /// Inputs to train on, [N, features], or images in the layout of the model.
    #[arg(long, value_name = "X.npy")]
    pub(super) x_train: PathBuf,
    /// Targets: [N, outputs], or [N] whole numbers from 0, which are labels of classes. Rows of one 1 and zeros are labels too.
    #[arg(long, value_name = "Y.npy")]
    pub(super) y_train: PathBuf,
    /// Inputs to test on.
    #[arg(long, value_name = "X.npy", requires = "y_test")]
    pub(super) x_test: Option<PathBuf>,
    /// Targets to test on.
    #[arg(long, value_name = "Y.npy", requires = "x_test")]
    pub(super) y_test: Option<PathBuf>,
    /// mse is half the squared error, summed over outputs; xent the cross-entropy of softmax outputs. Both are means over the batch.
    #[arg(long, default_value = "mse")]
    loss: LossName,
    /// Gradient descent (sgd), or Adam with β = 0.9, 0.999 and ε = 1e-8.
    #[arg(long, default_value = "sgd")]
    optimizer: OptimizerName,
    /// The rate [default: half the largest stable one for sgd, 0.001 for adam].
    #[arg(long, value_name = "R", value_parser = positive)]
    pub(super) lr: Option<f64>,
    /// The rate of sgd as a fraction of the largest stable one, 2(1 + momentum)/λ with the largest curvature λ of the loss of all training examples
    /// at the start, which the kernel Θ gives.
    #[arg(long, value_name = "F", value_parser = positive, conflicts_with = "lr")]
    pub(super) rate_fraction: Option<f64>,
    /// Momentum of sgd: v ← M v + gradient, θ ← θ − rate · v.
    #[arg(long, value_name = "M", value_parser = below_one)]
    momentum: Option<f64>,
    /// Weight decay: W θ is added to the gradient, as in PyTorch's SGD and Adam.
    #[arg(long, value_name = "W", default_value_t = 0.0, value_parser = not_negative)]
    weight_decay: f64,
    /// Decay apart from the gradient, θ ← (1 − rate · W) θ, as in PyTorch's AdamW.
    #[arg(long)]
    decoupled: bool,
    /// What becomes of the rate: constant, linear (to 0), cosine (to 0), or step:EVERY:FACTOR.
    #[arg(long, value_name = "S", default_value = "constant", value_parser = course)]
    schedule: Course,
    /// Steps in which the rate rises from 0 at the start.
    #[arg(long, value_name = "N", default_value_t = 0)]
    warmup: usize,
    /// Layers or parameters that stay as they are, by their names in a file of weights: 0 or 0.weight, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    freeze: Vec<String>,
    /// A factor of the rate for some layers or parameters, such as 4=0.1 or 4.bias=2, separated by commas.
    #[arg(long, value_name = "NAME=F", value_delimiter = ',', value_parser = named_factor)]
    layer_rate: Vec<(String, f64)>,
    /// Examples a step [default: all]. Every epoch visits each example once, in an order drawn from the seed.
    #[arg(long, value_name = "B", value_parser = at_least_one)]
    batch: Option<usize>,
    /// Steps.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(super) steps: usize,
    /// What initial weights and the order of the examples are drawn from [default: 0].
    #[arg(long, value_name = "S")]
    pub(super) seed: Option<u64>,
    /// Initial weights, with PyTorch's names.
    #[arg(long, value_name = "W.safetensors")]
    pub(super) weights: Option<PathBuf>,
    /// The precision to compute in, and of the weights.
    #[arg(long, default_value = "f64")]
    pub(super) dtype: Precision,
    /// Steps between two measurements of loss and accuracy [default: a twentieth of all].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    log_every: Option<usize>,
    /// Where the state of the training is kept, to go on from with --resume.
    #[arg(long, value_name = "C.safetensors")]
    checkpoint: Option<PathBuf>,
    /// Steps between two checkpoints [default: as --log-every].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    checkpoint_every: Option<usize>,
    /// A checkpoint to go on from, to the same bits as if the training had never stopped. The other options have to be the same; it is also the
    /// --checkpoint, unless another one is named.
    #[arg(long, value_name = "C.safetensors")]
    pub(super) resume: Option<PathBuf>,
    /// Where the weights go.
    #[arg(long, value_name = "W.safetensors")]
    pub(super) out: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LossName {
    Mse,
    Xent,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum OptimizerName {
    Sgd,
    Adam,
}

impl Arguments {
    /// Refuses what makes no sense together.
    pub(super) fn check(&self, json: bool) -> Result<(), Failure> {
        let usage = |message: &str| Err(Failure::Usage(message.into()));
        if self.optimizer == OptimizerName::Adam && self.momentum.is_some() {
            return usage("--momentum is for --optimizer sgd; Adam has its own means");
        }
        if self.optimizer == OptimizerName::Adam && self.rate_fraction.is_some() {
            return usage(
                "--rate-fraction is for --optimizer sgd: the kernel sets a largest stable rate for gradient descent only; use --lr",
            );
        }
        if self.decoupled && self.weight_decay == 0.0 {
            return usage("--decoupled says how --weight-decay acts, and there is none: give one");
        }
        if self.checkpoint_every.is_some() && self.checkpoint().is_none() {
            return usage("--checkpoint-every needs a file: name it with --checkpoint");
        }
        if self.checkpoint() == Some(&self.out) {
            return usage("--checkpoint and --out are two files, and the same name is given for both");
        }
        if json && self.out_is_stdout() {
            return usage("--json puts the log on stdout, and --out the weights: name another file for these");
        }
        Ok(())
    }

    pub(super) fn out_is_stdout(&self) -> bool {
        STDOUT.iter().any(|name| self.out == Path::new(name))
    }

    pub(super) fn loss(&self) -> Loss {
        match self.loss {
            LossName::Mse => Loss::SquaredError,
            LossName::Xent => Loss::CrossEntropy,
        }
    }

    pub(super) fn optimizer(&self) -> Optimizer {
        match self.optimizer {
            OptimizerName::Sgd => Optimizer::Sgd { momentum: self.momentum.unwrap_or_default() },
            OptimizerName::Adam => Optimizer::ADAM,
        }
    }

    pub(super) fn decay(&self) -> Decay {
        if self.decoupled { Decay::Decoupled(self.weight_decay) } else { Decay::L2(self.weight_decay) }
    }

    pub(super) fn schedule(&self) -> Schedule {
        Schedule { warmup: self.warmup, course: self.schedule }
    }

    pub(super) fn batch(&self) -> Option<usize> {
        self.batch
    }

    pub(super) fn log_every(&self) -> usize {
        self.log_every.unwrap_or_else(|| self.steps.div_ceil(20).max(1))
    }

    pub(super) fn checkpoint_every(&self) -> usize {
        self.checkpoint_every.unwrap_or_else(|| self.log_every())
    }

    pub(super) fn checkpoint(&self) -> Option<&Path> {
        self.checkpoint.as_deref().or(self.resume.as_deref())
    }

    /// The factor of each parameter.
    pub(super) fn factors(&self, network: &Network) -> Result<Vec<f64>, Failure> {
        let names: Vec<&str> = network.parameters().iter().map(|p| p.name.as_str()).collect();
        let mut factors = vec![1.0; names.len()];
        let frozen = self.freeze.iter().map(|name| ("--freeze", name, 0.0));
        for (option, wanted, factor) in self.layer_rate.iter().map(|(name, factor)| ("--layer-rate", name, *factor)).chain(frozen) {
            let mut found = false;
            for (name, place) in names.iter().zip(&mut factors) {
                if name == wanted || name.split_once('.').is_some_and(|(layer, _)| layer == wanted) {
                    (*place, found) = (factor, true);
                }
            }
            if !found {
                let known = names.join(", ");
                return Err(Failure::Failed(format!("{option}: the model {:?} has no parameter {wanted:?}; it has {known}", self.model)));
            }
        }
        if factors.iter().all(|&factor| factor == 0.0) {
            return Err(Failure::Failed("--freeze leaves nothing to train; leave a layer out".into()));
        }
        Ok(factors)
    }
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|v: &f64| v.is_finite()).ok_or_else(|| "not a finite number".to_string())
}

fn positive(text: &str) -> Result<f64, String> {
    number(text).and_then(|v| if v > 0.0 { Ok(v) } else { Err("it must be more than 0".into()) })
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text).and_then(|v| if v >= 0.0 { Ok(v) } else { Err("it must be at least 0".into()) })
}

fn below_one(text: &str) -> Result<f64, String> {
    not_negative(text).and_then(|v| if v < 1.0 { Ok(v) } else { Err("it must be less than 1".into()) })
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "it must be a whole number of at least 1".into())
}

fn named_factor(text: &str) -> Result<(String, f64), String> {
    let (name, factor) = text.split_once('=').ok_or("it must be a name and a factor, such as 4=0.1")?;
    Ok((name.into(), not_negative(factor)?))
}

fn course(text: &str) -> Result<Course, String> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        ["constant"] => Ok(Course::Constant),
        ["linear"] => Ok(Course::Linear),
        ["cosine"] => Ok(Course::Cosine),
        ["step", every, factor] => Ok(Course::Step { every: at_least_one(every)?, factor: not_negative(factor)? }),
        _ => Err("it must be constant, linear, cosine or step:EVERY:FACTOR".into()),
    }
}

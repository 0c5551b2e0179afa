//! Optimizers: how a gradient moves a parameter.

use autodiff::Scalar;
use serde::Serialize;

/// What becomes of the gradient `g` of a parameter `θ` in step `t = 1, 2, …` at the rate `η`. Without weight decay:
///
/// | | |
/// |---|---|
/// | `Sgd` | `v ← μ v + g`, `θ ← θ − η v` |
/// | `Adam` | `m ← m + (1 − β₁)(g − m)`, `v ← β₂ v + (1 − β₂) g²`, `θ ← θ − (η/(1 − β₁ᵗ)) · m/(√(v/(1 − β₂ᵗ)) + ε)` |
///
/// `m` and `v` are 0 at the start. Adam is algorithm 1 of Kingma and Ba 2015. Both are those of PyTorch 2.15 (`torch.optim.SGD` without dampening
/// and Nesterov's variant, `torch.optim.Adam`), and are held to its numbers. With `ε = 0` a parameter whose gradient was always 0 stays where
/// it is; PyTorch makes it NaN.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Gradient descent, on mini-batches if the [`Plan`](crate::Plan) has such.
    Sgd {
        /// `μ`, the share of its velocity that a parameter keeps; 0 without momentum.
        momentum: f64,
    },
    /// Steps that do not depend on the size of the gradient.
    Adam {
        /// `β₁`, the share of the mean that is kept.
        beta1: f64,
        /// `β₂`, the share of the mean square that is kept.
        beta2: f64,
        /// `ε`, which keeps small gradients from large steps.
        eps: f64,
    },
}

impl Default for Optimizer {
    fn default() -> Self {
        Optimizer::SGD
    }
}

impl Optimizer {
    /// Gradient descent without momentum.
    pub const SGD: Optimizer = Optimizer::Sgd { momentum: 0.0 };
    /// Adam with the constants of Kingma and Ba, which are PyTorch's.
    pub const ADAM: Optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 };

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Optimizer::Sgd { .. } => "sgd",
            Optimizer::Adam { .. } => "adam",
        }
    }

    /// The names of what it keeps for every parameter, of which each is as large as the parameter.
    pub(super) fn moments(self) -> &'static [&'static str] {
        match self {
            Optimizer::Sgd { momentum: 0.0 } => &[],
            Optimizer::Sgd { .. } => &["momentum"],
            Optimizer::Adam { .. } => &["mean", "mean_square"],
        }
    }

    /// Why its numbers make no sense, if they do not.
    pub(super) fn refusal(self) -> Option<String> {
        let share = |name: &str, value: f64| {
            (!(0.0..1.0).contains(&value)).then(|| format!("{name} must be at least 0 and less than 1, and it is {value}"))
        };
        match self {
            Optimizer::Sgd { momentum } => share("momentum", momentum),
            Optimizer::Adam { beta1, beta2, eps } => share("beta1", beta1)
                .or_else(|| share("beta2", beta2))
                .or_else(|| (!(eps >= 0.0 && eps.is_finite())).then(|| format!("eps must be a number of at least 0, and it is {eps}"))),
        }
    }
}

/// Weight decay: what pulls parameters towards 0 beside the gradient. It acts on all that is trained, biases too, as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// `g ← g + λθ` before anything else: the gradient of the loss with `½λ‖θ‖²` added to it. The `weight_decay` of `torch.optim.SGD` and
    /// `torch.optim.Adam`. It is not the same function in two parameterizations, as `θ` is of another size in each.
    L2(f64),
    /// `θ ← (1 − ηλ)θ` before the step, which the gradient alone makes (Loshchilov and Hutter 2019, algorithm 2). The `weight_decay` of
    /// `torch.optim.AdamW`. `η` is the rate with its schedule and the factors that the user gave, without those of the table of
    /// [`scaling`](crate::scaling): so the decay does not depend on the width under μP.
    Decoupled(f64),
}

impl Default for Decay {
    fn default() -> Self {
        Decay::NONE
    }
}

impl Decay {
    /// No decay.
    pub const NONE: Decay = Decay::L2(0.0);

    fn is_none(self) -> bool {
        let (Decay::L2(value) | Decay::Decoupled(value)) = self;
        value == 0.0
    }

    pub(super) fn refusal(self) -> Option<String> {
        let (Decay::L2(value) | Decay::Decoupled(value)) = self;
        (!(value >= 0.0 && value.is_finite())).then(|| format!("weight decay must be a number of at least 0, and it is {value}"))
    }
}

/// One step of one parameter, its constants worked out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update<T> {
    rule: Rule<T>,
    /// What is left of the parameter under decoupled decay.
    keep: T,
    /// `λ` of the L2 term.
    pull: T,
}

#[derive(Clone, Copy, Debug)]
enum Rule<T> {
    /// Neither momentum nor decay: a third of the arithmetic, which shows where memory is fast.
    Plain {
        rate: T,
    },
    Sgd {
        rate: T,
    },
    Momentum {
        rate: T,
        momentum: T,
    },
    Adam {
        rate: T,
        fresh: T,
        beta2: T,
        fresh2: T,
        root: T,
        eps: T,
    },
}

/// Entries that one thread takes. Updates are entry by entry, so that threads do not show in the bits.
const BLOCK: usize = 1 << 15;

impl<T: Scalar> Update<T> {
    /// Of step `t`, counted from 1, at a rate that has all its factors, of which `adam` is the one of the table.
    pub(super) fn new(optimizer: Optimizer, decay: Decay, rate: f64, adam: f64, t: usize) -> Self {
        let rule = match optimizer {
            Optimizer::Sgd { momentum: 0.0 } if decay.is_none() => Rule::Plain { rate: T::of(rate) },
            Optimizer::Sgd { momentum: 0.0 } => Rule::Sgd { rate: T::of(rate) },
            Optimizer::Sgd { momentum } => Rule::Momentum { rate: T::of(rate), momentum: T::of(momentum) },
            Optimizer::Adam { beta1, beta2, eps } => {
                let [unbias1, unbias2] = [beta1, beta2].map(|beta| 1.0 - beta.powf(t as f64));
                Rule::Adam {
                    rate: T::of(rate * adam / unbias1),
                    fresh: T::of(1.0 - beta1),
                    beta2: T::of(beta2),
                    fresh2: T::of(1.0 - beta2),
                    root: T::of(1.0 / unbias2.sqrt()),
                    eps: T::of(eps),
                }
            }
        };
        let (keep, pull) = match decay {
            Decay::L2(lambda) => (1.0, lambda),
            Decay::Decoupled(lambda) => (1.0 - rate * lambda, 0.0),
        };
        Update { rule, keep: T::of(keep), pull: T::of(pull) }
    }

    /// Whether all numbers would be finite after the step.
    pub(super) fn is_finite(self, p: &mut [T], g: &[T], moments: &mut [Vec<T>; 2]) -> bool {
        let [m, v] = moments;
        self.sweep::<false>(p, g, m, v)
    }

    /// Takes the step.
    pub(super) fn apply(self, p: &mut [T], g: &[T], moments: &mut [Vec<T>; 2]) {
        let [m, v] = moments;
        self.sweep::<true>(p, g, m, v);
    }

    /// Goes over all entries, on several threads if there are many. One text serves the look ahead and the step itself, which therefore
    /// cannot disagree.
    fn sweep<const WRITE: bool>(self, p: &mut [T], g: &[T], m: &mut [T], v: &mut [T]) -> bool {
        if p.len() <= BLOCK {
            return self.block::<WRITE>(p, g, m, v);
        }
        let half = (p.len() / 2).next_multiple_of(BLOCK);
        let (p1, p2) = p.split_at_mut(half);
        let (g1, g2) = g.split_at(half);
        let (m1, m2) = m.split_at_mut(half.min(m.len()));
        let (v1, v2) = v.split_at_mut(half.min(v.len()));
        let halves = rayon::join(|| self.sweep::<WRITE>(p1, g1, m1, v1), || self.sweep::<WRITE>(p2, g2, m2, v2));
        halves.0 & halves.1
    }

    /// Loops without branches, so that they run in vectors.
    fn block<const WRITE: bool>(self, p: &mut [T], g: &[T], m: &mut [T], v: &mut [T]) -> bool {
        let Update { rule, keep, pull } = self;
        let mut finite = true;
        match rule {
            Rule::Plain { rate } => {
                for (p, &g) in p.iter_mut().zip(g) {
                    let new = *p - rate * g;
                    finite &= is_finite(new);
                    *p = if WRITE { new } else { *p };
                }
            }
            Rule::Sgd { rate } => {
                for (p, &g) in p.iter_mut().zip(g) {
                    let new = keep * *p - rate * (g + pull * *p);
                    finite &= is_finite(new);
                    *p = if WRITE { new } else { *p };
                }
            }
            Rule::Momentum { rate, momentum } => {
                for ((p, &g), v) in p.iter_mut().zip(g).zip(m) {
                    let velocity = momentum * *v + (g + pull * *p);
                    let new = keep * *p - rate * velocity;
                    finite &= is_finite(velocity) & is_finite(new);
                    (*p, *v) = if WRITE { (new, velocity) } else { (*p, *v) };
                }
            }
            Rule::Adam { rate, fresh, beta2, fresh2, root, eps } => {
                for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                    let g = g + pull * *p;
                    let mean = *m + fresh * (g - *m);
                    let square = beta2 * *v + fresh2 * (g * g);
                    let spread = square.sqrt() * root + eps;
                    // A mean square of 0 is that of gradients which all were 0.
                    let spread = if spread == T::ZERO { T::ONE } else { spread };
                    let new = keep * *p - rate * (mean / spread);
                    finite &= is_finite(square) & is_finite(new);
                    (*p, *m, *v) = if WRITE { (new, mean, square) } else { (*p, *m, *v) };
                }
            }
        }
        finite
    }
}

/// Whether it is a finite number, in the arithmetic of the scalar itself: 0 times any other is NaN.
pub(super) fn is_finite<T: Scalar>(x: T) -> bool {
    x * T::ZERO == T::ZERO
}

//! Parameterizations: one table that says, for every role a parameter can have, its multiplier and its initial spread.

/// How the scale of a layer is shared between a fixed multiplier and the spread of the initial values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Parameterization {
    /// `z = (w_std/√n_in)·W x + b_std·β` with `W, β ~ N(0, 1)` (Jacot, Gabriel and Hongler 2018, section 2).
    #[default]
    Ntk,
    /// `z = W x + b` with `W ~ N(0, w_std²/n_in)`, `b ~ N(0, b_std²)` (Park, Sohl-Dickstein, Le and Smith 2019, section 2.1;
    /// "naive standard" in Sohl-Dickstein, Novak, Schoenholz and Lee 2020, section 1).
    Standard,
}

impl Parameterization {
    /// All of them, in the order of the documentation.
    pub const ALL: [Parameterization; 2] = [Parameterization::Ntk, Parameterization::Standard];

    /// The name in a model file.
    pub fn name(self) -> &'static str {
        match self {
            Parameterization::Ntk => "ntk",
            Parameterization::Standard => "standard",
        }
    }
}

/// What a parameter is to its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A weight that reads the network's input.
    InputWeight,
    /// A weight between hidden features.
    HiddenWeight,
    /// The weight of the last dense layer; also that of a network with one layer only.
    OutputWeight,
    /// The bias of an input or hidden layer.
    HiddenBias,
    /// The bias of the last dense layer.
    OutputBias,
}

impl Role {
    /// Whether this is one of the weights.
    pub fn is_weight(self) -> bool {
        match self {
            Role::InputWeight | Role::HiddenWeight | Role::OutputWeight => true,
            Role::HiddenBias | Role::OutputBias => false,
        }
    }
}

/// One entry of the table: the layer uses `multiplier · θ` with `θ ~ N(0, std²)` at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// The fixed factor in front of the parameter.
    pub multiplier: f64,
    /// Standard deviation of the initial values.
    pub std: f64,
}

/// The table: `std` is the layer's `w_std` or `b_std`, `n_in` its fan-in.
///
/// | | weight: multiplier, std | bias: multiplier, std |
/// |---|---|---|
/// | ntk | `w_std/√n_in`, 1 | `b_std`, 1 |
/// | standard | 1, `w_std/√n_in` | 1, `b_std` |
///
/// ```
/// use nn::{Parameterization, Role, scaling};
/// let s = scaling(Parameterization::Ntk, Role::HiddenWeight, 1.5, 9);
/// assert_eq!((s.multiplier, s.std), (0.5, 1.0));
/// let s = scaling(Parameterization::Standard, Role::HiddenWeight, 1.5, 9);
/// assert_eq!((s.multiplier, s.std), (1.0, 0.5));
/// ```
pub fn scaling(parameterization: Parameterization, role: Role, std: f64, n_in: usize) -> Scaling {
    let spread = if role.is_weight() { std / (n_in as f64).sqrt() } else { std };
    match (parameterization, role) {
        (Parameterization::Ntk, Role::InputWeight | Role::HiddenWeight | Role::OutputWeight | Role::HiddenBias | Role::OutputBias) => {
            Scaling { multiplier: spread, std: 1.0 }
        }
        (Parameterization::Standard, Role::InputWeight | Role::HiddenWeight | Role::OutputWeight | Role::HiddenBias | Role::OutputBias) => {
            Scaling { multiplier: 1.0, std: spread }
        }
    }
}

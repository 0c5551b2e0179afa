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
    /// The maximal update parameterization μP: `z = m·W x + m_b·b` as the table of [`scaling`] says, with the ratio `r` of the width to a base
    /// width (Yang et al. 2022, Tensor Programs V, table 9). Equal rates then train networks of all widths alike, and features move at any
    /// width.
    Mup {
        /// The `out` of the first layer in the base network.
        base_width: usize,
    },
}

impl Parameterization {
    /// Those that no base width belongs to, in the order of the documentation.
    pub const ALL: [Parameterization; 2] = [Parameterization::Ntk, Parameterization::Standard];

    /// The name in a model file.
    pub fn name(self) -> &'static str {
        match self {
            Parameterization::Ntk => "ntk",
            Parameterization::Standard => "standard",
            Parameterization::Mup { .. } => "mup",
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
    /// The weight of the last layer with weights; also that of a network with one layer only.
    OutputWeight,
    /// The bias of an input or hidden layer.
    HiddenBias,
    /// The bias of the last layer with weights.
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
    /// What the rate of Adam is multiplied by. That of gradient descent is the same for all parameters.
    pub adam: f64,
}

/// The table: `std` is the layer's `w_std` or `b_std`, `n_in` its fan-in, and `r` the width of the hidden layers over the base width, which
/// only μP reads; it is 1 of a network with one layer.
///
/// | parameterization | parameter | multiplier | std | rate of Adam |
/// |---|---|---|---|---|
/// | ntk | weight | `w_std/√n_in` | 1 | 1 |
/// | | bias | `b_std` | 1 | 1 |
/// | standard | weight | 1 | `w_std/√n_in` | 1 |
/// | | bias | 1 | `b_std` | 1 |
/// | mup | input weight | `√r` | `w_std/√(n_in r)` | `1/√r` |
/// | | hidden weight | 1 | `w_std/√n_in` | `1/r` |
/// | | output weight | `1/√r` | `w_std/√n_in` | `1/√r` |
/// | | bias of input and hidden layers | `√r` | `b_std/√r` | `1/√r` |
/// | | output bias | 1 | `b_std` | 1 |
///
/// ```
/// use nn::{Parameterization, Role, Scaling, scaling};
/// let s = scaling(Parameterization::Ntk, Role::HiddenWeight, 1.5, 9, 1.0);
/// assert_eq!(s, Scaling { multiplier: 0.5, std: 1.0, adam: 1.0 });
/// let s = scaling(Parameterization::Standard, Role::HiddenWeight, 1.5, 9, 1.0);
/// assert_eq!(s, Scaling { multiplier: 1.0, std: 0.5, adam: 1.0 });
/// let s = scaling(Parameterization::Mup { base_width: 64 }, Role::OutputWeight, 1.5, 9, 4.0);
/// assert_eq!(s, Scaling { multiplier: 0.5, std: 0.5, adam: 0.5 });
/// ```
pub fn scaling(parameterization: Parameterization, role: Role, std: f64, n_in: usize, r: f64) -> Scaling {
    let spread = if role.is_weight() { std / (n_in as f64).sqrt() } else { std };
    match (parameterization, role) {
        (Parameterization::Ntk, Role::InputWeight | Role::HiddenWeight | Role::OutputWeight | Role::HiddenBias | Role::OutputBias) => {
            Scaling { multiplier: spread, std: 1.0, adam: 1.0 }
        }
        (Parameterization::Standard, Role::InputWeight | Role::HiddenWeight | Role::OutputWeight | Role::HiddenBias | Role::OutputBias) => {
            Scaling { multiplier: 1.0, std: spread, adam: 1.0 }
        }
        (Parameterization::Mup { .. }, Role::InputWeight | Role::HiddenBias) => {
            Scaling { multiplier: r.sqrt(), std: spread / r.sqrt(), adam: 1.0 / r.sqrt() }
        }
        (Parameterization::Mup { .. }, Role::HiddenWeight) => Scaling { multiplier: 1.0, std: spread, adam: 1.0 / r },
        (Parameterization::Mup { .. }, Role::OutputWeight) => Scaling { multiplier: 1.0 / r.sqrt(), std: spread, adam: 1.0 / r.sqrt() },
        (Parameterization::Mup { .. }, Role::OutputBias) => Scaling { multiplier: 1.0, std: spread, adam: 1.0 },
    }
}

//! A network: layers with an input, a parameterization, and the parameters that follow from them.

use crate::error::ModelError;
use crate::layer::{ACTIVATIONS, Dense, Layer, Residual, parameter};
use crate::parameterization::{Parameterization, Role, Scaling, scaling};
use autodiff::{Differentiable, Phi, Scalar, Shape, Tape, Var};
use std::fmt;

/// Layers whose shapes fit, from an input of a known shape to a row of outputs.
///
/// ```
/// use nn::{Network, Parameterization, dense, relu};
/// let network = Network::new([64], [dense(512), relu(), dense(10)])?.parameterized(Parameterization::Standard);
/// let parameters = network.init::<f64>(7)?;
/// let x = vec![0.1; 3 * 64];
/// assert_eq!(network.apply(&parameters, &x).len(), 3 * 10);
/// assert_eq!(network.n_parameters(), 64 * 512 + 512 + 512 * 10 + 10);
/// # Ok::<(), nn::ModelError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    input: Vec<usize>,
    outputs: usize,
    parameterization: Parameterization,
    layers: Vec<Layer>,
    parameters: Vec<Parameter>,
}

/// A parameter of a network: its name in a file of weights, its shape, and its entry in the table of the parameterization.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// `N.weight` or `N.bias`, where `N` counts the dense layers and activations before it in the order of the model, those inside residual layers included. A
    /// residual layer itself does not count.
    pub name: String,
    /// A weight is `[n_in, out]`, a bias `[out]`.
    pub shape: Shape,
    /// What it is to the network.
    pub role: Role,
    /// Its multiplier and the spread of its initial values.
    pub scaling: Scaling,
}

/// A dense layer as it was found in the walk through a model.
struct Found<'l> {
    dense: &'l Dense,
    number: usize,
    n_in: usize,
    reads_input: bool,
}

/// What flows from layer to layer while shapes are worked out.
#[derive(Clone)]
struct Signal {
    shape: Vec<usize>,
    /// Whether no dense layer has been passed yet.
    is_input: bool,
}

impl Network {
    /// A network in the NTK parameterization. `input` is `[features]`.
    ///
    /// # Errors
    /// If shapes do not fit, naming the layer and both shapes; if a size is 0 or absurd; if a scale is negative or not finite; if a
    /// function is not one of the [`ACTIVATIONS`](crate::ACTIVATIONS).
    pub fn new(input: impl Into<Vec<usize>>, layers: impl Into<Vec<Layer>>) -> Result<Self, ModelError> {
        let (input, layers) = (input.into(), layers.into());
        if !matches!(input.len(), 1 | 3) || input.contains(&0) {
            return Err(ModelError::Input { input });
        }
        let mut found = Vec::new();
        let mut number = 0;
        let end = walk(&layers, "layers", Signal { shape: input.clone(), is_input: true }, &mut number, &mut found)?;
        let [outputs] = end.shape[..] else { return Err(ModelError::Output { shape: end.shape }) };
        if found.is_empty() {
            return Err(ModelError::NoParameters);
        }
        let parameterization = Parameterization::default();
        let parameters = parameters(&found, parameterization);
        Ok(Network { input, outputs, parameterization, layers, parameters })
    }

    /// The same layers in another parameterization.
    #[must_use]
    pub fn parameterized(mut self, parameterization: Parameterization) -> Self {
        let mut found = Vec::new();
        let start = Signal { shape: self.input.clone(), is_input: true };
        walk(&self.layers, "layers", start, &mut 0, &mut found).expect("the shapes fitted when the network was built");
        self.parameters = parameters(&found, parameterization);
        self.parameterization = parameterization;
        self
    }

    /// The layers, in order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The shape of one input.
    pub fn input(&self) -> &[usize] {
        &self.input
    }

    /// Entries of one input.
    pub fn n_inputs(&self) -> usize {
        self.input.iter().product()
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The parameterization.
    pub fn parameterization(&self) -> Parameterization {
        self.parameterization
    }

    /// The parameters, in the order in which every function of this crate takes and gives them: each dense layer's weight, then its bias.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Number of entries of all parameters.
    pub fn n_parameters(&self) -> usize {
        self.parameters.iter().map(|p| p.shape.len()).sum()
    }

    /// Puts parameters on a tape.
    ///
    /// # Panics
    /// If there are more or fewer of them than the network has, or if one has another length.
    #[track_caller]
    pub fn leaves<T: Scalar>(&self, tape: &mut Tape<T>, parameters: &[Vec<T>]) -> Vec<Var> {
        self.assert_count(parameters.len());
        self.parameters.iter().zip(parameters).map(|(p, values)| tape.parameter(p.shape, values)).collect()
    }

    /// Records the network of an input `x`, `[examples, features]`, whose parameters are on the tape; returns the outputs `[examples, outputs]`.
    ///
    /// # Panics
    /// If there are more or fewer parameters than the network has, or if a shape does not fit.
    #[track_caller]
    pub fn record<T: Scalar>(&self, tape: &mut Tape<T>, parameters: &[Var], x: Var) -> Var {
        self.assert_count(parameters.len());
        let mut scaled = parameters.iter().copied().zip(self.parameters.iter().map(|p| p.scaling.multiplier));
        record(&self.layers, tape, &mut scaled, x)
    }

    /// The outputs `[examples, outputs]` for inputs `[examples, features]`.
    ///
    /// # Panics
    /// If `x` does not hold whole examples, or if the parameters are not those of the network.
    #[track_caller]
    pub fn apply<T: Scalar>(&self, parameters: &[Vec<T>], x: &[T]) -> Vec<T> {
        let mut tape = Tape::new();
        let leaves = self.leaves(&mut tape, parameters);
        let x = tape.input(self.input_shape(x.len()), x);
        let f = self.record(&mut tape, &leaves, x);
        tape.value(f).to_vec()
    }

    #[track_caller]
    pub(crate) fn assert_count(&self, given: usize) {
        let wanted = self.parameters.len();
        assert_eq!(given, wanted, "the network has {wanted} parameters, {given} were given");
    }

    /// The shape of `len` entries of inputs, with axis 0 the examples.
    ///
    /// # Panics
    /// If they are not whole examples.
    #[track_caller]
    pub fn input_shape(&self, len: usize) -> Shape {
        let n = self.n_inputs();
        assert_eq!(len % n, 0, "inputs of shape {:?} have {n} entries each, and {len} are not whole ones", self.input);
        let mut dims = vec![len / n];
        dims.extend_from_slice(&self.input);
        Shape::from(&dims[..])
    }
}

/// Works out shapes through layers and finds what has parameters.
fn walk<'l>(layers: &'l [Layer], place: &str, mut x: Signal, number: &mut usize, found: &mut Vec<Found<'l>>) -> Result<Signal, ModelError> {
    for (i, layer) in layers.iter().enumerate() {
        let here = || format!("{place}[{i}] ({})", layer.type_name());
        match layer {
            Layer::Dense(dense) => {
                let [n_in] = x.shape[..] else {
                    return Err(ModelError::Shape { place: here(), reads: "features, [n]".into(), given: x.shape });
                };
                check(dense, n_in, here)?;
                found.push(Found { dense, number: *number, n_in, reads_input: x.is_input });
                x = Signal { shape: vec![dense.out], is_input: false };
                *number += 1;
            }
            Layer::Activation(phi) => {
                check_activation(*phi, here)?;
                *number += 1;
            }
            Layer::Residual(Residual { layers, shortcut }) => {
                let branch = walk(layers, &format!("{place}[{i}].layers"), x.clone(), number, found)?;
                let around = walk(shortcut, &format!("{place}[{i}].shortcut"), x, number, found)?;
                if branch.shape != around.shape {
                    return Err(ModelError::Residual { place: here(), branch: branch.shape, shortcut: around.shape });
                }
                x = Signal { is_input: branch.is_input && around.is_input, ..branch };
            }
        }
    }
    Ok(x)
}

/// The most entries that one weight may have: 2⁴⁰, far beyond any memory.
const LARGEST: u128 = 1 << 40;

fn check(dense: &Dense, n_in: usize, place: impl Fn() -> String) -> Result<(), ModelError> {
    if dense.out == 0 {
        return Err(ModelError::NoOutputs { place: place() });
    }
    if dense.out as u128 * n_in as u128 > LARGEST {
        return Err(ModelError::TooLarge { place: place(), n_in, out: dense.out });
    }
    for (key, value) in [("w_std", dense.w_std), ("b_std", dense.b_std)] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(ModelError::Std { place: place(), key, value });
        }
    }
    Ok(())
}

fn check_activation(mut phi: Phi, place: impl Fn() -> String) -> Result<(), ModelError> {
    let name = phi.name();
    if !ACTIVATIONS.iter().any(|known| known.name() == name) {
        return Err(ModelError::NotAnActivation { place: place(), name });
    }
    match parameter(&mut phi) {
        Some((key, &mut value)) if !value.is_finite() => Err(ModelError::NotFinite { place: place(), key, value }),
        Some(_) | None => Ok(()),
    }
}

fn parameters(found: &[Found<'_>], parameterization: Parameterization) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    for (i, f) in found.iter().enumerate() {
        let is_output = i + 1 == found.len();
        let mut parameter = |kind: &str, shape: Shape, role: Role, std: f64| {
            let scaling = scaling(parameterization, role, std, f.n_in);
            parameters.push(Parameter { name: format!("{}.{kind}", f.number), shape, role, scaling });
        };
        let weight = match (is_output, f.reads_input) {
            (true, _) => Role::OutputWeight,
            (false, true) => Role::InputWeight,
            (false, false) => Role::HiddenWeight,
        };
        parameter("weight", Shape::from([f.n_in, f.dense.out]), weight, f.dense.w_std);
        if f.dense.bias {
            let bias = if is_output { Role::OutputBias } else { Role::HiddenBias };
            parameter("bias", Shape::from([f.dense.out]), bias, f.dense.b_std);
        }
    }
    parameters
}

fn record<T: Scalar>(layers: &[Layer], tape: &mut Tape<T>, parameters: &mut dyn Iterator<Item = (Var, f64)>, mut x: Var) -> Var {
    for layer in layers {
        x = match layer {
            Layer::Dense(dense) => {
                let mut next = || parameters.next().expect("one variable for each parameter of the network");
                let (w, scale) = next();
                let bias = dense.bias.then(next);
                tape.affine(x, w, scale, bias)
            }
            Layer::Activation(phi) => tape.map(*phi, x),
            Layer::Residual(Residual { layers, shortcut }) => {
                let branch = record(layers, tape, parameters, x);
                let around = record(shortcut, tape, parameters, x);
                tape.add(branch, around)
            }
        };
    }
    x
}

impl Differentiable for Network {
    fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], parameters: &[Var]) -> Var {
        Network::record(self, tape, parameters, inputs[0])
    }
}

/// A table of the parameters with their shapes, sizes, multipliers and initial standard deviations.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "input {:?}, {} parameterization", self.input, self.parameterization.name())?;
        for p in &self.parameters {
            writeln!(
                f,
                "{:<12} {:<14} {:>12}  multiplier {:.6}, std {:.6}",
                p.name,
                p.shape.to_string(),
                p.shape.len(),
                p.scaling.multiplier,
                p.scaling.std
            )?;
        }
        write!(f, "{} outputs, {} parameters", self.outputs, self.n_parameters())
    }
}

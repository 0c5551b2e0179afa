//! A network: layers with an input, a parameterization, and the parameters that follow from them.

use crate::error::ModelError;
use crate::layer::Layer;
use crate::parameterization::{Parameterization, Role, Scaling, scaling};
use crate::record::Recorder;
use crate::survey::{Found, Row, Survey};
use autodiff::{Differentiable, Scalar, Shape, Tape, Var};
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
    layout: Layout,
    outputs: usize,
    parameterization: Parameterization,
    layers: Vec<Layer>,
    parameters: Vec<Parameter>,
    rows: Vec<Row>,
}

/// The order of the axes of images, in inputs and in the model. What flows between layers has its channels last in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Layout {
    /// `[height, width, channels]`.
    #[default]
    Nhwc,
    /// `[channels, height, width]`, as in PyTorch: inputs are transposed on entry, and where an image is flattened, features are counted
    /// channel by channel in files of weights.
    Nchw,
}

impl Layout {
    /// The name in a model file.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Nhwc => "nhwc",
            Layout::Nchw => "nchw",
        }
    }

    /// The shape of an example with its channels last.
    pub(crate) fn to_inside(self, shape: &[usize]) -> Vec<usize> {
        match (self, shape) {
            (Layout::Nchw, &[channels, height, width]) => vec![height, width, channels],
            (Layout::Nchw | Layout::Nhwc, _) => shape.to_vec(),
        }
    }

    /// The shape of an example with its channels where the model has them.
    pub(crate) fn to_outside(self, shape: &[usize]) -> Vec<usize> {
        match (self, shape) {
            (Layout::Nchw, &[height, width, channels]) => vec![channels, height, width],
            (Layout::Nchw | Layout::Nhwc, _) => shape.to_vec(),
        }
    }
}

/// A parameter of a network: its name in a file of weights, its shape, and its entry in the table of the parameterization.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// `N.weight` or `N.bias`, where `N` counts the layers before it in the order of the model, those inside residual layers included, as
    /// PyTorch's `Sequential` does: a residual layer itself does not count, and a global average pool counts twice, since PyTorch takes a
    /// pool and a `Flatten` for it.
    pub name: String,
    /// A weight is `[n_in, out]`, a bias `[out]`.
    pub shape: Shape,
    /// The row of its layer in [`Network::summary`].
    pub layer: usize,
    /// What it is to the network.
    pub role: Role,
    /// Its multiplier and the spread of its initial values.
    pub scaling: Scaling,
    /// The shape in a file of weights: `[out, n_in]` for a dense layer, `[out, channels, height, width]` for a convolution.
    pub file_shape: Vec<usize>,
    /// The rows of a weight are `[sites, channels]`, and its columns in a file `[channels, sites]`.
    pub(crate) sites: usize,
}

impl Network {
    /// A network in the NTK parameterization. `input` is `[features]` or `[height, width, channels]`.
    ///
    /// # Errors
    /// If shapes do not fit, naming the layer and both shapes; if a size is 0 or absurd; if a scale is negative or not finite; if a
    /// function of the tape is not one of the [`ACTIVATIONS`](crate::ACTIVATIONS).
    pub fn new(input: impl Into<Vec<usize>>, layers: impl Into<Vec<Layer>>) -> Result<Self, ModelError> {
        Network::build(input.into(), Layout::Nhwc, layers.into(), Parameterization::default())
    }

    /// The same with PyTorch's order of axes: `input` is `[features]` or `[channels, height, width]`, and inputs are `[examples, channels,
    /// height, width]`.
    ///
    /// ```
    /// use nn::{Network, dense, flatten};
    /// // Two channels of 1 × 3: in a file the first dense layer reads the first channel, then the second.
    /// let network = Network::nchw([2, 1, 3], [flatten(), dense(1).std(6_f64.sqrt(), 0.0).without_bias()])?;
    /// let weights = vec![vec![1.0, 10.0, 2.0, 20.0, 3.0, 30.0]];
    /// assert_eq!(network.apply(&weights, &[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]), [6.0]);
    /// assert_eq!(network.load_weights::<f64>(&network.save_weights(&weights)).unwrap(), weights);
    /// # Ok::<(), nn::ModelError>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Network::new).
    pub fn nchw(input: impl Into<Vec<usize>>, layers: impl Into<Vec<Layer>>) -> Result<Self, ModelError> {
        Network::build(input.into(), Layout::Nchw, layers.into(), Parameterization::default())
    }

    pub(crate) fn build(
        input: Vec<usize>,
        layout: Layout,
        layers: Vec<Layer>,
        parameterization: Parameterization,
    ) -> Result<Self, ModelError> {
        if !matches!(input.len(), 1 | 3) || input.contains(&0) {
            return Err(ModelError::Input { input });
        }
        // Features have one order.
        let layout = if input.len() == 1 { Layout::Nhwc } else { layout };
        let (survey, end) = Survey::of(&input, layout, &layers)?;
        let [outputs] = end[..] else { return Err(ModelError::Output { shape: end }) };
        if survey.found.is_empty() {
            return Err(ModelError::NoParameters);
        }
        let parameters = parameters(&survey.found, parameterization)?;
        Ok(Network { input, layout, outputs, parameterization, layers, parameters, rows: survey.rows })
    }

    /// The same layers in another parameterization.
    ///
    /// # Panics
    /// If μP is asked for and refused; [`mup`](Network::mup) gives an error instead.
    #[track_caller]
    #[must_use]
    pub fn parameterized(self, parameterization: Parameterization) -> Self {
        let built = Network::build(self.input, self.layout, self.layers, parameterization);
        built.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same layers in μP, with the `out` that the first layer has in the base network.
    ///
    /// # Errors
    /// If the base width is 0, or if the hidden layers differ in width.
    pub fn mup(self, base_width: usize) -> Result<Self, ModelError> {
        Network::build(self.input, self.layout, self.layers, Parameterization::Mup { base_width })
    }

    /// The layers, in order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The order of the axes of images.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The layers one by one, those inside residual layers before these: shapes, parameters and floating-point operations.
    pub fn summary(&self) -> &[Row] {
        &self.rows
    }

    /// Floating-point operations of a forward pass of one example; see [`Row::flops`].
    ///
    /// ```
    /// use nn::{Network, dense, relu};
    /// let network = Network::new([3], [dense(4), relu(), dense(2).without_bias()])?;
    /// assert_eq!(network.flops(), (2 * 3 + 1) * 4 + 4 + 2 * 4 * 2);
    /// # Ok::<(), nn::ModelError>(())
    /// ```
    pub fn flops(&self) -> u64 {
        self.rows.iter().fold(0, |sum: u64, row| sum.saturating_add(row.flops))
    }

    /// The shape of one input, in the layout of the model.
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

    /// The parameters, in the order in which every function of this crate takes and gives them: each layer's weight, then its bias.
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

    /// Records the network of inputs `x`, of [`input_shape`](Network::input_shape), whose parameters are on the tape; returns the outputs
    /// `[examples, outputs]`.
    ///
    /// # Panics
    /// If there are more or fewer parameters than the network has, or if a shape does not fit.
    #[track_caller]
    pub fn record<T: Scalar>(&self, tape: &mut Tape<T>, parameters: &[Var], x: Var) -> Var {
        self.record_with(tape, parameters, x, None)
    }

    /// [`record`](Network::record), which also appends the output of every layer to `layers`, in the order of [`summary`](Network::summary). Inside,
    /// images have their channels last in either layout.
    ///
    /// # Panics
    /// As [`record`](Network::record).
    #[track_caller]
    pub fn record_layers<T: Scalar>(&self, tape: &mut Tape<T>, parameters: &[Var], x: Var, layers: &mut Vec<Var>) -> Var {
        self.record_with(tape, parameters, x, Some(layers))
    }

    #[track_caller]
    fn record_with<T: Scalar>(&self, tape: &mut Tape<T>, parameters: &[Var], x: Var, layers: Option<&mut Vec<Var>>) -> Var {
        self.assert_count(parameters.len());
        let mut scaled = parameters.iter().copied().zip(self.parameters.iter().map(|p| p.scaling.multiplier));
        let channels_first = self.layout == Layout::Nchw;
        Recorder { tape, parameters: &mut scaled, channels_first, layers }.network(&self.layers, x)
    }

    /// The outputs `[examples, outputs]` for inputs `[examples, features]` or images in the layout of the model.
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
        let (mut dims, rank) = ([len / n, 0, 0, 0], 1 + self.input.len());
        dims[1..rank].copy_from_slice(&self.input);
        Shape::from(&dims[..rank])
    }
}

/// The parameters of layers with weights, with the entries of the table.
fn parameters(found: &[Found], parameterization: Parameterization) -> Result<Vec<Parameter>, ModelError> {
    let ratio = match parameterization {
        Parameterization::Ntk | Parameterization::Standard => 1.0,
        Parameterization::Mup { base_width } => width_ratio(found, base_width)?,
    };
    let mut parameters = Vec::new();
    for (i, f) in found.iter().enumerate() {
        let is_output = i + 1 == found.len();
        let mut parameter = |kind: &str, shape: Shape, role: Role, std: f64, file_shape: &[usize], sites: usize| {
            let scaling = scaling(parameterization, role, std, f.n_in, ratio);
            let (name, file_shape) = (format!("{}.{kind}", f.number), file_shape.to_vec());
            parameters.push(Parameter { name, shape, layer: f.row, role, scaling, file_shape, sites });
        };
        let weight = match (is_output, f.reads_input) {
            (true, _) => Role::OutputWeight,
            (false, true) => Role::InputWeight,
            (false, false) => Role::HiddenWeight,
        };
        parameter("weight", Shape::from([f.n_in, f.out]), weight, f.w_std, &f.file_shape, f.sites);
        if f.bias {
            let bias = if is_output { Role::OutputBias } else { Role::HiddenBias };
            parameter("bias", Shape::from([f.out]), bias, f.b_std, &[f.out], 1);
        }
    }
    Ok(parameters)
}

/// The width of the hidden layers over the base width; 1 of a network that has none.
fn width_ratio(found: &[Found], base_width: usize) -> Result<f64, ModelError> {
    if !(1..=1 << 40).contains(&base_width) {
        return Err(ModelError::BaseWidth);
    }
    let [hidden @ .., _output] = found else { return Ok(1.0) };
    let [first, others @ ..] = hidden else { return Ok(1.0) };
    match others.iter().find(|f| f.out != first.out) {
        None => Ok(first.out as f64 / base_width as f64),
        Some(f) => Err(ModelError::Widths { place: f.place.clone(), out: f.out, first: first.place.clone(), width: first.out }),
    }
}

impl Differentiable for Network {
    fn record<T: Scalar>(&self, tape: &mut Tape<T>, inputs: &[Var], parameters: &[Var]) -> Var {
        Network::record(self, tape, parameters, inputs[0])
    }
}

/// A table of the layers: where they stand, the shape of their output, their parameters and their floating-point operations.
///
/// ```
/// use nn::{Network, conv, dense, global_avg_pool, relu};
/// let network = Network::new([28, 28, 1], [conv(64, [3, 3]), relu(), global_avg_pool(), dense(10)])?;
/// let table = "\
/// layer                      output           parameters            FLOPs
/// input                      [28, 28, 1]
/// layers[0] conv             [28, 28, 64]            640           953344
/// layers[1] relu             [28, 28, 64]              0            50176
/// layers[2] global_avg_pool  [64]                      0            50176
/// layers[3] dense            [10]                    650             1290
/// in all, ntk parameterization                      1290          1054986";
/// assert_eq!(network.to_string(), table);
/// # Ok::<(), nn::ModelError>(())
/// ```
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layer = |row: &Row| (format!("{} {}", row.place, row.layer), format!("{:?}", row.shape), row.parameters, row.flops);
        let rows: Vec<_> = self.rows.iter().map(layer).collect();
        let total = format!("in all, {} parameterization", self.parameterization.name());
        // A name and a shape share a line with two numbers; the last line has a name alone before these.
        let shapes = rows.iter().map(|row| row.1.len()).chain([format!("{:?}", self.input).len(), 15]).max().unwrap_or_default();
        let names = rows.iter().map(|row| row.0.len()).chain([25, total.len().saturating_sub(shapes + 2)]).max().unwrap_or_default();
        writeln!(f, "{:<names$}  {:<shapes$} {:>11}  {:>15}", "layer", "output", "parameters", "FLOPs")?;
        writeln!(f, "{:<names$}  {:?}", "input", self.input)?;
        for (name, shape, parameters, flops) in rows {
            writeln!(f, "{name:<names$}  {shape:<shapes$} {parameters:>11}  {flops:>15}")?;
        }
        let both = names + 2 + shapes;
        write!(f, "{total:<both$} {:>11}  {:>15}", self.n_parameters(), self.flops())
    }
}

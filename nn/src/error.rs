//! Errors of models and of their files.

use thiserror::Error;

/// Text from a file, made safe for a terminal and for one line: control characters escaped, at most 40 characters.
pub(crate) fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}

/// What is wrong with a model.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum ModelError {
    /// The file is not TOML.
    #[error("the model is not valid TOML: {0}")]
    Syntax(String),
    /// A key that no model has.
    #[error("{place}: unknown key `{}`; did you mean `{nearest}`?", shortened(key))]
    UnknownKey {
        /// Where.
        place: String,
        /// The key.
        key: String,
        /// The known key that is spelt most alike.
        nearest: String,
    },
    /// A key that must be there.
    #[error("{place}: the key `{key}` is missing")]
    MissingKey {
        /// Where.
        place: String,
        /// The key.
        key: &'static str,
    },
    /// A value that the key cannot have.
    #[error("{place}: `{key}` must be {wanted}, and it is {given}")]
    Value {
        /// Where.
        place: String,
        /// The key.
        key: String,
        /// What it must be.
        wanted: String,
        /// What it is.
        given: String,
    },
    /// An input shape that is none.
    #[error("input must be [features] or an image of three extents, all at least 1, and it is {input:?}")]
    Input {
        /// The shape given.
        input: Vec<usize>,
    },
    /// The network does not end in a row of outputs.
    #[error("a network ends in a row of outputs, [n], and this one ends in {shape:?}")]
    Output {
        /// The shape at the end.
        shape: Vec<usize>,
    },
    /// A function of the tape that is no activation of a network.
    #[error("{place}: `{name}` is no activation of a network; put one of nn::ACTIVATIONS there")]
    NotAnActivation {
        /// The layer.
        place: String,
        /// The function.
        name: &'static str,
    },
    /// A function of the program's own, where a model file is to be written.
    #[error("{place}: `{name}` is a function of the program, which a model file cannot name; only nn::ACTIVATIONS have a type there")]
    Unnamed {
        /// The layer.
        place: String,
        /// The name that the function was given.
        name: &'static str,
    },
    /// No layer has parameters.
    #[error("the network has no parameters: add a dense layer")]
    NoParameters,
    /// A layer cannot read the shape that it is given.
    #[error("{place} reads {reads}, and it is given {given:?}")]
    Shape {
        /// The layer.
        place: String,
        /// What it can read.
        reads: String,
        /// What it is given.
        given: Vec<usize>,
    },
    /// The branches of a residual layer have different shapes.
    #[error("{place}: the layers give {branch:?} and the shortcut gives {shortcut:?}, and only equal shapes add up")]
    Residual {
        /// The layer.
        place: String,
        /// The shape of the branch.
        branch: Vec<usize>,
        /// The shape of the shortcut.
        shortcut: Vec<usize>,
    },
    /// Sizes along two axes that are too small or too large.
    #[error("{place}: `{key}` must be two whole numbers from {least} to 2^32 − 1, and it is {value:?}")]
    Extents {
        /// The layer.
        place: String,
        /// Which sizes.
        key: &'static str,
        /// The smallest that is allowed.
        least: usize,
        /// What they are.
        value: [usize; 2],
    },
    /// A window that does not fit into its image even once.
    #[error("{place}: a {key} of {size:?} does not fit into {image:?} with this padding")]
    Window {
        /// The layer.
        place: String,
        /// What the window is called.
        key: &'static str,
        /// Its size.
        size: [usize; 2],
        /// The image.
        image: Vec<usize>,
    },
    /// Windows of a maximum that may lie beyond the edge altogether.
    #[error("{place}: the largest number of a window {window:?} needs less than a window of padding, and that is {padding:?}")]
    EmptyWindow {
        /// The layer.
        place: String,
        /// The size of the windows.
        window: [usize; 2],
        /// The cells of padding.
        padding: [usize; 2],
    },
    /// An image that no memory holds.
    #[error("{place}: an image of shape {shape:?} is too large")]
    TooLargeImage {
        /// The layer.
        place: String,
        /// The shape of the image.
        shape: Vec<usize>,
    },
    /// A layer normalization that could divide by 0.
    #[error("{place}: `eps` must be a finite number above 0, and it is {value}")]
    Eps {
        /// The layer.
        place: String,
        /// The value.
        value: f64,
    },
    /// A base width of μP that is none.
    #[error("`base_width` must be a whole number from 1 to 2^40")]
    BaseWidth,
    /// Hidden layers of several widths in μP.
    #[error("{place}: in \"mup\" all hidden layers are of one width, and `out` is {out} here and {width} in {first}")]
    Widths {
        /// The layer.
        place: String,
        /// Its width.
        out: usize,
        /// The first hidden layer.
        first: String,
        /// Its width.
        width: usize,
    },
    /// A layer without outputs.
    #[error("{place}: `out` must be at least 1")]
    NoOutputs {
        /// The layer.
        place: String,
    },
    /// A weight that no memory holds.
    #[error("{place}: a weight from {n_in} to {out} features is too large")]
    TooLarge {
        /// The layer.
        place: String,
        /// Its fan-in.
        n_in: usize,
        /// Its outputs.
        out: usize,
    },
    /// More parameters than memory should be asked for.
    #[error("the network has {parameters} parameters, and at most {most} are allocated: make the layers narrower")]
    TooManyParameters {
        /// How many there are.
        parameters: u128,
        /// How many there may be.
        most: u128,
    },
    /// A parameter of an activation that is infinite or NaN.
    #[error("{place}: `{key}` must be a finite number, and it is {value}")]
    NotFinite {
        /// The layer.
        place: String,
        /// Which parameter.
        key: &'static str,
        /// Its value.
        value: f64,
    },
    /// A scale that is negative, infinite or NaN.
    #[error("{place}: `{key}` must be a finite number of at least 0, and it is {value}")]
    Std {
        /// The layer.
        place: String,
        /// Which scale.
        key: &'static str,
        /// Its value.
        value: f64,
    },
}

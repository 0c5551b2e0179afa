//! The model file: a network as TOML.

use crate::activation::{ACTIVATIONS, Activation};
use crate::error::{ModelError, shortened};
use crate::layer::{Conv, Dense, Layer, LayerNorm, NormAxes, Pool, PoolKind, Residual};
use crate::network::{Layout, Network};
use crate::parameterization::Parameterization;
use crate::windows::Padding;
use toml::{Table, Value};

/// Reads a model file.
///
/// ```
/// let network = nn::parse_model(r#"
///     input = [64]
///     parameterization = "standard"   # "ntk" is the default
///     [[layers]]
///     type = "dense"                  # out; w_std = 1.0, b_std = 0.0, bias = true
///     out = 512
///     w_std = 1.5
///     [[layers]]
///     type = "relu"
///     [[layers]]
///     type = "dense"
///     out = 10
/// "#)?;
/// assert_eq!(nn::parse_model(&network.to_toml()?)?, network);
///
/// let error = nn::parse_model("input = [64]\nlayres = []").unwrap_err();
/// assert_eq!(error.to_string(), "the model: unknown key `layres`; did you mean `layers`?");
/// # Ok::<(), nn::ModelError>(())
/// ```
///
/// # Errors
/// Anything that is not a model, with the place and the key; an unknown key with the known one that is spelt most alike.
pub fn parse_model(text: &str) -> Result<Network, ModelError> {
    // The TOML reader allows 80 brackets and 80 dots in each key, together 6400 levels, and takes stack for each of them: more than
    // threads usually have.
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || read(text));
        reader.expect("a thread can be started").join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Ten kilobytes for each level that TOML can nest.
const STACK: usize = 64 << 20;

fn read(text: &str) -> Result<Network, ModelError> {
    let table: Table = text.parse().map_err(|e: toml::de::Error| ModelError::Syntax(first_lines(&e)))?;
    let model = Keys { table: &table, place: "the model".into() };
    model.only(&["input", "parameterization", "layout", "layers", "base_width"])?;
    let input = model.sizes("input")?;
    let parameterization = match model.string("parameterization", Some("ntk"))? {
        "ntk" => Parameterization::Ntk,
        "standard" => Parameterization::Standard,
        "mup" => Parameterization::Mup { base_width: model.size("base_width", model.get("base_width")?)? },
        other => return Err(model.value("parameterization", "\"ntk\", \"standard\" or \"mup\"", &quoted(other))),
    };
    match parameterization {
        Parameterization::Mup { .. } => (),
        Parameterization::Ntk | Parameterization::Standard if table.contains_key("base_width") => {
            return Err(model.value("base_width", "absent unless parameterization is \"mup\"", "given"));
        }
        Parameterization::Ntk | Parameterization::Standard => (),
    }
    let layout = match model.string("layout", Some("nhwc"))? {
        "nhwc" => Layout::Nhwc,
        "nchw" => Layout::Nchw,
        other => return Err(model.value("layout", "\"nhwc\" or \"nchw\"", &quoted(other))),
    };
    let layers = model.layers("layers", "layers", true)?;
    Network::build(input, layout, layers, parameterization)
}

fn first_lines(e: &toml::de::Error) -> String {
    let shown = |line: &str| line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(200).collect::<String>();
    e.to_string().lines().map(shown).collect::<Vec<_>>().join("\n  ")
}

/// A table with its place in the file, for messages.
struct Keys<'t> {
    table: &'t Table,
    place: String,
}

impl<'t> Keys<'t> {
    fn only(&self, known: &[&str]) -> Result<(), ModelError> {
        match self.table.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                let nearest = known.iter().min_by_key(|k| distance(key, k)).map_or(String::new(), |k| (*k).to_owned());
                Err(ModelError::UnknownKey { place: self.place.clone(), key: key.clone(), nearest })
            }
        }
    }

    fn get(&self, key: &'static str) -> Result<&'t Value, ModelError> {
        self.table.get(key).ok_or_else(|| ModelError::MissingKey { place: self.place.clone(), key })
    }

    fn value(&self, key: &str, wanted: &str, given: &str) -> ModelError {
        ModelError::Value { place: self.place.clone(), key: key.into(), wanted: wanted.into(), given: given.into() }
    }

    fn string(&self, key: &'static str, default: Option<&'static str>) -> Result<&'t str, ModelError> {
        if let (None, Some(default)) = (self.table.get(key), default) {
            return Ok(default);
        }
        let value = self.get(key)?;
        value.as_str().ok_or_else(|| self.value(key, "a string", &shown(value)))
    }

    fn size(&self, key: &str, value: &Value) -> Result<usize, ModelError> {
        let wanted = || self.value(key, "a whole number from 1 to 2^40", &shown(value));
        let size = value.as_integer().filter(|&n| (1..=1 << 40).contains(&n)).ok_or_else(wanted)?;
        usize::try_from(size).map_err(|_| wanted())
    }

    fn sizes(&self, key: &'static str) -> Result<Vec<usize>, ModelError> {
        let value = self.get(key)?;
        let list = value.as_array().ok_or_else(|| self.value(key, "a list of sizes, such as [64]", &shown(value)))?;
        if list.len() > 3 {
            return Err(self.value(key, "[features] or an image of three extents", &format!("a list of {}", list.len())));
        }
        list.iter().map(|v| self.size(key, v)).collect()
    }

    /// Two sizes, [down, across], of at least 1.
    fn pair(&self, key: &'static str, default: Option<[usize; 2]>) -> Result<[usize; 2], ModelError> {
        if let (None, Some(default)) = (self.table.get(key), default) {
            return Ok(default);
        }
        match self.get(key)? {
            Value::Array(list) if list.len() == 2 => Ok([self.size(key, &list[0])?, self.size(key, &list[1])?]),
            other => Err(self.value(key, "two sizes, such as [3, 3]", &shown(other))),
        }
    }

    fn padding(&self, default: Padding) -> Result<Padding, ModelError> {
        let Some(value) = self.table.get("padding") else { return Ok(default) };
        let cells = |v: &Value| v.as_integer().and_then(|n| usize::try_from(n).ok());
        let padding = match value {
            Value::String(name) => PADDINGS.into_iter().find(|(known, _)| known == name).map(|(_, padding)| padding),
            Value::Array(list) => match list[..] {
                [ref rows, ref cols] => cells(rows).zip(cells(cols)).map(|(rows, cols)| Padding::Cells([rows, cols])),
                _ => None,
            },
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => None,
        };
        let wanted = "\"same\", \"valid\", \"circular\" or the cells on either side of [rows, columns], such as [1, 1]";
        padding.ok_or_else(|| self.value("padding", wanted, &shown(value)))
    }

    fn scale(&self, key: &'static str, default: f64) -> Result<f64, ModelError> {
        self.number(key, default, AT_LEAST_0, |x| x.is_finite() && x >= 0.0)
    }

    fn number(&self, key: &str, default: f64, wanted: &str, is_wanted: impl Fn(f64) -> bool) -> Result<f64, ModelError> {
        let Some(value) = self.table.get(key) else { return Ok(default) };
        let number = value.as_float().or_else(|| value.as_integer().map(|i| i as f64));
        number.filter(|&x| is_wanted(x)).ok_or_else(|| self.value(key, wanted, &shown(value)))
    }

    fn boolean(&self, key: &'static str, default: bool) -> Result<bool, ModelError> {
        let Some(value) = self.table.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.value(key, "true or false", &shown(value)))
    }

    fn layers(&self, key: &'static str, place: &str, required: bool) -> Result<Vec<Layer>, ModelError> {
        if !required && !self.table.contains_key(key) {
            return Ok(Vec::new());
        }
        let value = self.get(key)?;
        let wanted = || self.value(key, "a list of layers", &shown(value));
        let list = value.as_array().ok_or_else(wanted)?;
        let layer = |(i, v): (usize, &'t Value)| match v.as_table() {
            Some(table) => Keys { table, place: format!("{place}[{i}]") }.layer(),
            None => Err(wanted()),
        };
        list.iter().enumerate().map(layer).collect()
    }

    /// An activation that comes with the defaults of its parameters, if it has any.
    fn activation(&self, mut activation: Activation) -> Result<Layer, ModelError> {
        let known: Vec<&str> = ["type"].into_iter().chain(activation.keys().iter().map(|key| key.name)).collect();
        self.only(&known)?;
        for key in activation.keys() {
            if key.required {
                self.get(key.name)?;
            }
            let wanted = if key.least == 0.0 { AT_LEAST_0 } else { "a finite number" };
            *key.value = self.number(key.name, *key.value, wanted, |x| x.is_finite() && x >= key.least)?;
        }
        Ok(Layer::Activation(activation))
    }

    fn pool(&self, kind: PoolKind) -> Result<Layer, ModelError> {
        self.only(&["type", "window", "stride", "padding"])?;
        let window = self.pair("window", None)?;
        Ok(Layer::Pool(Pool { kind, window, stride: self.pair("stride", Some(window))?, padding: self.padding(Padding::Valid)? }))
    }

    fn norm(&self) -> Result<Layer, ModelError> {
        self.only(&["type", "axes", "eps"])?;
        let axes = match self.string("axes", Some("channels"))? {
            "channels" => NormAxes::Channels,
            "all" => NormAxes::All,
            other => return Err(self.value("axes", "\"channels\" or \"all\"", &quoted(other))),
        };
        let eps = self.number("eps", 1e-12, "a finite number above 0", |x| x.is_finite() && x > 0.0)?;
        Ok(Layer::LayerNorm(LayerNorm { axes, eps }))
    }

    fn layer(&self) -> Result<Layer, ModelError> {
        let name = self.string("type", None)?;
        if let Some(activation) = ACTIVATIONS.into_iter().find(|activation| activation.name() == name) {
            return self.activation(activation);
        }
        if let Some(kind) = PoolKind::ALL.into_iter().find(|kind| kind.name() == name) {
            return self.pool(kind);
        }
        match name {
            "dense" => {
                self.only(&["type", "out", "w_std", "b_std", "bias"])?;
                let out = self.size("out", self.get("out")?)?;
                let (w_std, b_std, bias) = self.weights()?;
                Ok(Layer::Dense(Dense { out, w_std, b_std, bias }))
            }
            "conv" => {
                self.only(&["type", "out", "filter", "stride", "padding", "w_std", "b_std", "bias"])?;
                let out = self.size("out", self.get("out")?)?;
                let (filter, stride) = (self.pair("filter", None)?, self.pair("stride", Some([1, 1]))?);
                let padding = self.padding(Padding::Same)?;
                let (w_std, b_std, bias) = self.weights()?;
                Ok(Layer::Conv(Conv { out, filter, stride, padding, w_std, b_std, bias }))
            }
            "global_avg_pool" => self.only(&["type"]).map(|()| Layer::GlobalAvgPool),
            "flatten" => self.only(&["type"]).map(|()| Layer::Flatten),
            "layer_norm" => self.norm(),
            "residual" => {
                self.only(&["type", "layers", "shortcut"])?;
                let layers = self.layers("layers", &format!("{}.layers", self.place), true)?;
                let shortcut = self.layers("shortcut", &format!("{}.shortcut", self.place), false)?;
                Ok(Layer::Residual(Residual { layers, shortcut }))
            }
            other => {
                let nearest = known_types().min_by_key(|k| distance(other, k)).unwrap_or("dense");
                Err(self.value("type", &format!("a known layer type, perhaps \"{nearest}\""), &quoted(other)))
            }
        }
    }

    fn weights(&self) -> Result<(f64, f64, bool), ModelError> {
        Ok((self.scale("w_std", 1.0)?, self.scale("b_std", 0.0)?, self.boolean("bias", true)?))
    }
}

const AT_LEAST_0: &str = "a finite number of at least 0";

/// The paddings that have a name.
const PADDINGS: [(&str, Padding); 3] = [("same", Padding::Same), ("valid", Padding::Valid), ("circular", Padding::Circular)];

fn known_types() -> impl Iterator<Item = &'static str> {
    let layers = ["dense", "conv", "global_avg_pool", "flatten", "layer_norm", "residual"];
    layers.into_iter().chain(PoolKind::ALL.map(PoolKind::name)).chain(ACTIVATIONS.map(|activation| activation.name()))
}

/// A value for a message. Lists and tables are not written out: they nest as deep as a file likes, and writing them recurses.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Table(_) => "a table".into(),
        Value::String(text) => quoted(text),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => format!("{value} ({})", value.type_str()),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text))
}

/// Letters to insert, delete or replace until one word is the other (Levenshtein 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

impl Network {
    /// The model file of the network; [`parse_model`] reads it back.
    ///
    /// # Errors
    /// If a layer is an [`elementwise`](crate::elementwise()) function of the program's own, which a model file cannot name.
    pub fn to_toml(&self) -> Result<String, ModelError> {
        unnamed(self.layers(), "layers").map_or_else(|| Ok(self.description()), Err)
    }

    /// The model file, in which a function of the program's own stands under the name that it was given.
    pub(crate) fn description(&self) -> String {
        let mut model = Table::new();
        let sizes = self.input().iter().map(|&n| integer(n)).collect();
        model.insert("input".into(), Value::Array(sizes));
        model.insert("parameterization".into(), self.parameterization().name().into());
        match self.parameterization() {
            Parameterization::Ntk | Parameterization::Standard => (),
            Parameterization::Mup { base_width } => {
                model.insert("base_width".into(), integer(base_width));
            }
        }
        match self.layout() {
            Layout::Nhwc => (),
            Layout::Nchw => {
                model.insert("layout".into(), self.layout().name().into());
            }
        }
        model.insert("layers".into(), layers(self.layers()));
        model.to_string()
    }
}

/// The first function that a model file cannot name.
fn unnamed(list: &[Layer], place: &str) -> Option<ModelError> {
    list.iter().enumerate().find_map(|(i, layer)| match layer {
        Layer::Activation(Activation::Elementwise(f)) => Some(ModelError::Unnamed { place: format!("{place}[{i}]"), name: f.name() }),
        Layer::Residual(Residual { layers, shortcut }) => {
            unnamed(layers, &format!("{place}[{i}].layers")).or_else(|| unnamed(shortcut, &format!("{place}[{i}].shortcut")))
        }
        Layer::Dense(_)
        | Layer::Conv(_)
        | Layer::Pool(_)
        | Layer::GlobalAvgPool
        | Layer::Flatten
        | Layer::LayerNorm(_)
        | Layer::Activation(_) => None,
    })
}

fn integer(n: usize) -> Value {
    Value::Integer(i64::try_from(n).expect("sizes are at most 2^40"))
}

fn pair(sizes: [usize; 2]) -> Value {
    Value::Array(sizes.map(integer).to_vec())
}

fn padding(padding: Padding) -> Value {
    match padding {
        Padding::Same => "same".into(),
        Padding::Valid => "valid".into(),
        Padding::Circular => "circular".into(),
        Padding::Cells(cells) => pair(cells),
    }
}

fn layers(list: &[Layer]) -> Value {
    Value::Array(list.iter().map(layer).collect())
}

fn layer(layer: &Layer) -> Value {
    let mut table = Table::new();
    let mut set = |key: &str, value: Value| table.insert(key.into(), value);
    set("type", layer.type_name().into());
    match layer {
        Layer::Dense(Dense { out, w_std, b_std, bias }) => {
            set("out", integer(*out));
            set("w_std", (*w_std).into());
            set("b_std", (*b_std).into());
            set("bias", (*bias).into());
        }
        Layer::Conv(Conv { out, filter, stride, padding: beyond, w_std, b_std, bias }) => {
            set("out", integer(*out));
            set("filter", pair(*filter));
            set("stride", pair(*stride));
            set("padding", padding(*beyond));
            set("w_std", (*w_std).into());
            set("b_std", (*b_std).into());
            set("bias", (*bias).into());
        }
        Layer::Pool(Pool { kind: _, window, stride, padding: beyond }) => {
            set("window", pair(*window));
            set("stride", pair(*stride));
            set("padding", padding(*beyond));
        }
        Layer::GlobalAvgPool | Layer::Flatten => (),
        Layer::LayerNorm(LayerNorm { axes, eps }) => {
            set("axes", axes.name().into());
            set("eps", (*eps).into());
        }
        Layer::Activation(activation) => {
            let mut activation = *activation;
            if let Activation::Elementwise(_) = activation {
                set("elementwise", true.into());
            }
            for key in activation.keys() {
                set(key.name, (*key.value).into());
            }
        }
        Layer::Residual(Residual { layers: branch, shortcut }) => {
            set("layers", layers(branch));
            if !shortcut.is_empty() {
                set("shortcut", layers(shortcut));
            }
        }
    }
    Value::Table(table)
}

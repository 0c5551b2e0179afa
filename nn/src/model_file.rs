//! The model file: a network as TOML.

use crate::error::{ModelError, shortened};
use crate::layer::{ACTIVATIONS, Dense, Layer, Residual, parameter};
use crate::network::Network;
use crate::parameterization::Parameterization;
use autodiff::Phi;
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
/// assert_eq!(nn::parse_model(&network.to_toml())?, network);
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
        "mup" => return Err(model.missing_here("parameterization \"mup\"", "\"ntk\" and \"standard\"")),
        other => return Err(model.value("parameterization", "\"ntk\" or \"standard\"", &quoted(other))),
    };
    if table.contains_key("base_width") {
        return Err(model.value("base_width", "absent unless parameterization is \"mup\"", "given"));
    }
    match model.string("layout", Some("nhwc"))? {
        // The two layouts differ for images only, and no layer of this version reads one.
        "nhwc" | "nchw" => (),
        other => return Err(model.value("layout", "\"nhwc\" or \"nchw\"", &quoted(other))),
    }
    let layers = model.layers("layers", "layers", true)?;
    Ok(Network::new(input, layers)?.parameterized(parameterization))
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

    fn missing_here(&self, what: &str, instead: &str) -> ModelError {
        ModelError::NotInThisVersion { place: self.place.clone(), what: what.into(), instead: instead.into() }
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

    fn scale(&self, key: &'static str, default: f64) -> Result<f64, ModelError> {
        self.number(key, default, "a finite number of at least 0", |x| x.is_finite() && x >= 0.0)
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

    /// An activation that comes with the default of its parameter, if it has one.
    fn activation(&self, mut phi: Phi) -> Result<Layer, ModelError> {
        match parameter(&mut phi) {
            None => self.only(&["type"])?,
            Some((key, value)) => {
                self.only(&["type", key])?;
                *value = self.number(key, *value, "a finite number", f64::is_finite)?;
            }
        }
        Ok(Layer::Activation(phi))
    }

    fn layer(&self) -> Result<Layer, ModelError> {
        let name = self.string("type", None)?;
        if let Some(phi) = ACTIVATIONS.into_iter().find(|phi| phi.name() == name) {
            return self.activation(phi);
        }
        match name {
            "dense" => {
                self.only(&["type", "out", "w_std", "b_std", "bias"])?;
                let out = self.size("out", self.get("out")?)?;
                let (w_std, b_std) = (self.scale("w_std", 1.0)?, self.scale("b_std", 0.0)?);
                Ok(Layer::Dense(Dense { out, w_std, b_std, bias: self.boolean("bias", true)? }))
            }
            "residual" => {
                self.only(&["type", "layers", "shortcut"])?;
                let layers = self.layers("layers", &format!("{}.layers", self.place), true)?;
                let shortcut = self.layers("shortcut", &format!("{}.shortcut", self.place), false)?;
                Ok(Layer::Residual(Residual { layers, shortcut }))
            }
            other if PLANNED.contains(&other) => {
                let known: Vec<&str> = known_types().collect();
                Err(self.missing_here(&format!("the layer type \"{other}\""), &known.join(", ")))
            }
            other => {
                let nearest = known_types().chain(PLANNED).min_by_key(|k| distance(other, k)).unwrap_or("dense");
                Err(self.value("type", &format!("a known layer type, perhaps \"{nearest}\""), &quoted(other)))
            }
        }
    }
}

fn known_types() -> impl Iterator<Item = &'static str> {
    ["dense", "residual"].into_iter().chain(ACTIVATIONS.map(Phi::name))
}

/// Layer types of the model file that this version refuses by name.
const PLANNED: [&str; 12] = [
    "conv",
    "avg_pool",
    "sum_pool",
    "max_pool",
    "global_avg_pool",
    "flatten",
    "layer_norm",
    "rbf",
    "gaussian",
    "identity",
    "embedding",
    "dropout",
];

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
    pub fn to_toml(&self) -> String {
        let mut model = Table::new();
        let sizes = self.input().iter().map(|&n| integer(n)).collect();
        model.insert("input".into(), Value::Array(sizes));
        model.insert("parameterization".into(), self.parameterization().name().into());
        model.insert("layers".into(), layers(self.layers()));
        model.to_string()
    }
}

fn integer(n: usize) -> Value {
    Value::Integer(i64::try_from(n).expect("sizes are at most 2^40"))
}

fn layers(list: &[Layer]) -> Value {
    Value::Array(list.iter().map(layer).collect())
}

fn layer(layer: &Layer) -> Value {
    let mut table = Table::new();
    table.insert("type".into(), layer.type_name().into());
    match layer {
        Layer::Dense(Dense { out, w_std, b_std, bias }) => {
            table.insert("out".into(), integer(*out));
            table.insert("w_std".into(), (*w_std).into());
            table.insert("b_std".into(), (*b_std).into());
            table.insert("bias".into(), (*bias).into());
        }
        Layer::Activation(phi) => {
            let mut phi = *phi;
            if let Some((key, value)) = parameter(&mut phi) {
                table.insert(key.into(), (*value).into());
            }
        }
        Layer::Residual(Residual { layers: branch, shortcut }) => {
            table.insert("layers".into(), layers(branch));
            if !shortcut.is_empty() {
                table.insert("shortcut".into(), layers(shortcut));
            }
        }
    }
    Value::Table(table)
}

//! `tangents kernel`: a kernel between two sets of inputs, from files to a file.

mod arguments;
mod empirical;
mod infinite;

use super::{Failure, Summary};
pub(crate) use arguments::{Arguments, Contraction, Precision};
use arguments::{Kept, Kind, check};
use nn::Network;
use ntk::{Finite, Outputs, Real, empirical_nngp};
use serde_json::{Value, json};
use simd::Mat;
use std::path::Path;
use tangents::files::{self, npy};
use tangents::memory;
use tangents::progress::Progress;

/// A number in a file.
pub(super) trait Number: Real + npy::Element {
    /// The numbers of a file, rounded.
    fn from_values(values: npy::Values) -> Vec<Self>;
}

impl Number for f32 {
    fn from_values(values: npy::Values) -> Vec<f32> {
        values.into_f32()
    }
}

impl Number for f64 {
    fn from_values(values: npy::Values) -> Vec<f64> {
        values.into_f64()
    }
}

pub(crate) fn run(arguments: &Arguments, progress: &Progress) -> Result<Option<Summary>, Failure> {
    check(arguments)?;
    match arguments.dtype {
        Precision::F32 => compute::<f32>(arguments, progress),
        Precision::F64 => compute::<f64>(arguments, progress),
    }
}

fn compute<T: Number>(a: &Arguments, progress: &Progress) -> Result<Option<Summary>, Failure> {
    if let Some(out) = &a.out {
        files::check_writable(out)?;
    }
    let network = read_model(&a.model)?;
    let (n1, x1) = read_inputs::<T>(&a.x1, &network, &a.model)?;
    let x2 = a.x2.as_deref().map(|path| read_inputs::<T>(path, &network, &a.model)).transpose()?;
    let n2 = x2.as_ref().map_or(n1, |(n2, _)| *n2);
    let x2 = x2.as_ref().map(|(_, x)| &x[..]);
    let kept = a.outputs.outputs();
    let size = size_of::<T>() as u128;
    let outputs = network.outputs() as u128;
    let kept_of_a_pair = match kept {
        Outputs::Full => outputs * outputs,
        Outputs::Diagonal => outputs,
        Outputs::Trace | Outputs::Sum => 1,
    };
    let entries = n1 as u128 * n2 as u128 * kept_of_a_pair;
    // The result, and a block of it.
    let check = || {
        memory::check(
            2 * entries * size,
            &format!("a kernel of {n1} by {n2} examples"),
            "use fewer examples, --dtype f32, or --outputs trace",
        )
        .map_err(Failure::failed)
    };
    let name = format!("{} kernel, {n1} × {n2}", a.kind.name());
    let found = match a.kind {
        Kind::Ntk | Kind::Nngp => {
            let d = network.n_inputs();
            let inputs = (Mat::new(&x1, n1, d), x2.map(|x| Mat::new(x, n2, d)));
            let out = a.out.as_deref().expect("a kernel at infinite width has no dry run");
            infinite::write(a, &network, inputs, out, &name, progress)?;
            Found::of(vec![n1, n2], None)
        }
        Kind::EmpiricalNngp => {
            check()?;
            memory::check(outputs_memory(&network, n1 + n2) * size, "this kernel", "give the network fewer outputs or narrower layers")
                .map_err(Failure::failed)?;
            let stage = progress.stage(&name, 1);
            let parameters = weights::<T>(a, &network)?;
            let kernel = empirical_nngp(&Finite { network: &network, parameters: &parameters }, &x1, x2, kept).map_err(Failure::failed)?;
            stage.step();
            Found::of(kernel.shape(), kernel.values)
        }
        Kind::EmpiricalNtk => {
            if empirical::is_whole(&a.more) {
                check()?;
            }
            let bytes = examples_memory(a, &network) * size;
            memory::check(bytes, "this kernel", "give the network fewer outputs or narrower layers").map_err(Failure::failed)?;
            let parameters = weights::<T>(a, &network)?;
            let f = Finite { network: &network, parameters: &parameters };
            match empirical::compute(a, &f, (&x1, x2), &name, progress)? {
                empirical::Done::Found(found) => found,
                empirical::Done::Planned(summary) => return Ok(Some(summary)),
            }
        }
    };
    let Found { shape, values, text, json: more } = found;
    let out = a.out.as_deref().expect("a kernel that is computed has somewhere to go");
    if let Some(values) = values {
        infinite::finite(&values, 0, a)?;
        npy::write(out, &shape, &values)?;
    }
    if STDOUT.iter().any(|name| out == Path::new(name)) {
        return Ok(None);
    }
    let mut summary = json!({
        "out": out.to_string_lossy(), "kind": a.kind.name(), "shape": shape, "dtype": T::NAME, "outputs": network.outputs(),
        "parameters": network.n_parameters(), "cpu_level": simd::Level::best().to_string(),
    });
    for (key, value) in more {
        summary[key] = value;
    }
    let shown = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let text = format!("{}: {} kernel [{shown}], {}, {}{text}", out.display(), a.kind.name(), T::NAME, simd::Level::best());
    Ok(Some(Summary { text, json: summary }))
}

/// What goes into the file, and what is said about it besides.
struct Found<T> {
    shape: Vec<usize>,
    /// None if they were written already.
    values: Option<Vec<T>>,
    text: String,
    json: Vec<(&'static str, Value)>,
}

impl<T> Found<T> {
    fn of(shape: Vec<usize>, values: impl Into<Option<Vec<T>>>) -> Self {
        Found { shape, values: values.into(), text: String::new(), json: Vec::new() }
    }
}

/// Names of our own stdout. A kernel that goes there is followed by nothing, so that it can be read.
pub(super) const STDOUT: [&str; 3] = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/// What every layer gives for one example.
fn layer_values(network: &Network) -> u128 {
    let given = |row: &nn::Row| row.shape.iter().map(|&n| n as u128).product::<u128>();
    network.n_inputs() as u128 + network.summary().iter().map(given).sum::<u128>()
}

/// About as many numbers as the outputs of all examples take.
fn outputs_memory(network: &Network, examples: usize) -> u128 {
    examples as u128 * layer_values(network)
}

/// About what two examples take beside the weights, before anything is known of the plan: their values, with cotangents for all outputs. A bound of memory cuts
/// the outputs into tiles, of which sixteen at most are held at once.
fn examples_memory(a: &Arguments, network: &Network) -> u128 {
    let outputs = if a.more.memory.is_some() { network.outputs().min(16) } else { network.outputs() };
    let lanes = if a.outputs == Kept::Sum { 1 } else { outputs as u128 };
    2 * layer_values(network) * (1 + lanes)
}

pub(super) fn in_file(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::Failed(format!("{path:?}: {error}"))
}

pub(super) fn read_model(path: &Path) -> Result<Network, Failure> {
    let text = files::read_text(path)?;
    nn::parse_model(&text).map_err(|e| in_file(path, e))
}

/// Inputs of the network, as many as the file holds.
pub(super) fn read_inputs<T: Number>(path: &Path, network: &Network, model: &Path) -> Result<(usize, Vec<T>), Failure> {
    let array = npy::read(path)?;
    array.require_finite(path)?;
    let (shape, input) = (array.shape.clone(), network.input());
    if shape.len() != input.len() + 1 || shape[1..] != *input {
        let wanted: String = input.iter().map(|n| format!(", {n}")).collect();
        return Err(Failure::Failed(format!("{path:?} has shape {shape:?}, and the model {model:?} reads inputs of shape [N{wanted}]")));
    }
    let values = T::from_values(array.values);
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        return Err(Failure::Failed(format!("{path:?}: row {} is too large for {}", at / network.n_inputs(), T::NAME)));
    }
    Ok((shape[0], values))
}

fn weights<T: Number>(a: &Arguments, network: &Network) -> Result<Vec<Vec<T>>, Failure> {
    let bytes = 4 * network.parameters().iter().map(|p| p.shape.len() as u128).sum::<u128>() * size_of::<T>() as u128;
    memory::check(bytes, "the network", "make its layers narrower").map_err(Failure::failed)?;
    match (&a.weights, a.seed) {
        (Some(path), _) => network.load_weights(&files::read_bytes(path, largest_file(network))?).map_err(|e| in_file(path, e)),
        (None, seed) => network.init(seed.unwrap_or_default()).map_err(|e| in_file(&a.model, e)),
    }
}

/// The most bytes that a file of weights can have: its numbers in double precision, and a header, which the format limits to 100 MB.
pub(super) fn largest_file(network: &Network) -> u64 {
    let numbers: u128 = network.parameters().iter().map(|p| p.shape.len() as u128).sum();
    u64::try_from(8 * numbers).unwrap_or(u64::MAX).saturating_add(100_000_008)
}

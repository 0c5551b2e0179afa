//! `tangents kernel`: a kernel between two sets of inputs, from files to a file.

use super::{Failure, Summary};
use clap::ValueEnum;
use nn::Network;
use ntk::{Finite, InfiniteKernel, Outputs, Real, Strategy, empirical_nngp, empirical_ntk_in_blocks};
use serde_json::json;
use simd::Mat;
use std::path::{Path, PathBuf};
use tangents::files::{self, npy};
use tangents::memory;
use tangents::progress::Progress;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The model, a TOML file.
    #[arg(long, value_name = "M.toml")]
    model: PathBuf,
    /// Inputs, [N1, features], or images [N1, height, width, channels] (layout "nhwc") or [N1, channels, height, width] ("nchw").
    #[arg(long, value_name = "A.npy")]
    x1: PathBuf,
    /// Inputs, like those of --x1 [default: those of --x1].
    #[arg(long, value_name = "B.npy")]
    x2: Option<PathBuf>,
    /// Which kernel: at infinite width (ntk, nngp) or of one finite network.
    #[arg(long)]
    kind: Kind,
    /// The weights of the network, with PyTorch's names.
    #[arg(long, value_name = "W.safetensors", conflicts_with = "seed")]
    weights: Option<PathBuf>,
    /// Random weights from this seed.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// What is kept of the O outputs: full [N1, N2, O, O], trace [N1, N2], diagonal [N1, N2, O] or sum [N1, N2].
    #[arg(long, default_value = "trace")]
    outputs: Kept,
    /// How the empirical NTK is contracted [default: auto].
    #[arg(long)]
    strategy: Option<Contraction>,
    /// The precision to compute in, and of the result.
    #[arg(long, default_value = "f64")]
    dtype: Precision,
    /// Where the kernel goes.
    #[arg(long, value_name = "K.npy")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Kind {
    Ntk,
    Nngp,
    EmpiricalNtk,
    EmpiricalNngp,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Kept {
    Full,
    Trace,
    Diagonal,
    Sum,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Contraction {
    Auto,
    Jacobian,
    Products,
    Structured,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Precision {
    F32,
    F64,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Ntk => "ntk",
            Kind::Nngp => "nngp",
            Kind::EmpiricalNtk => "empirical-ntk",
            Kind::EmpiricalNngp => "empirical-nngp",
        }
    }

    fn is_empirical(self) -> bool {
        match self {
            Kind::Ntk | Kind::Nngp => false,
            Kind::EmpiricalNtk | Kind::EmpiricalNngp => true,
        }
    }
}

impl Kept {
    fn outputs(self) -> Outputs {
        match self {
            Kept::Full => Outputs::Full,
            Kept::Trace => Outputs::Trace,
            Kept::Diagonal => Outputs::Diagonal,
            Kept::Sum => Outputs::Sum,
        }
    }
}

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

/// Arguments that make no sense together.
fn check(a: &Arguments) -> Result<(), Failure> {
    let kind = a.kind.name();
    let usage = |message: String| Err(Failure::Usage(message));
    if a.kind.is_empirical() {
        if a.weights.is_none() && a.seed.is_none() {
            return usage(format!(
                "--kind {kind} is the kernel of one network: give its weights with --weights, or --seed for random ones"
            ));
        }
    } else {
        if a.weights.is_some() || a.seed.is_some() {
            return usage(format!("--kind {kind} is the limit of infinite width, which has no weights: leave --weights and --seed away"));
        }
        if a.outputs != Kept::Trace {
            return usage(format!("--kind {kind} has --outputs trace only: at infinite width the outputs are independent and alike"));
        }
    }
    if a.strategy.is_some() && a.kind != Kind::EmpiricalNtk {
        return usage(format!("--strategy is for --kind empirical-ntk, and --kind {kind} has no choice of strategies"));
    }
    Ok(())
}

fn compute<T: Number>(a: &Arguments, progress: &Progress) -> Result<Option<Summary>, Failure> {
    files::check_writable(&a.out)?;
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
    // The result, and the other of the two kernels at infinite width or a block of it.
    memory::check(2 * entries * size, &format!("a kernel of {n1} by {n2} examples"), "use fewer examples, --dtype f32, or --outputs trace")
        .map_err(Failure::failed)?;

    let pairs = if a.x2.is_some() { n1 as u64 * n2 as u64 } else { n1 as u64 * (n1 as u64 + 1) / 2 };
    let steps = if a.kind.is_empirical() { 1 } else { pairs.max(1) };
    let stage = progress.stage(&format!("{} kernel, {n1} × {n2}", a.kind.name()), steps);
    let (shape, values) = match a.kind {
        Kind::Ntk | Kind::Nngp => {
            let kernel = InfiniteKernel::new(&network).map_err(|e| in_file(&a.model, e))?;
            let d = network.n_inputs();
            let (x1, x2) = (Mat::new(&x1, n1, d), x2.map(|x| Mat::new(x, n2, d)));
            let kernels = kernel.try_evaluate_with(x1, x2, |done, _| stage.reach(done)).map_err(Failure::failed)?;
            (vec![n1, n2], if a.kind == Kind::Ntk { kernels.ntk } else { kernels.nngp })
        }
        Kind::EmpiricalNtk | Kind::EmpiricalNngp => {
            memory::check(working_memory(a, &network, n1 + n2) * size, "this kernel", "give the network fewer outputs or narrower layers")
                .map_err(Failure::failed)?;
            let parameters = weights::<T>(a, &network)?;
            let f = Finite { network: &network, parameters: &parameters };
            let kernel = if a.kind == Kind::EmpiricalNngp {
                empirical_nngp(&f, &x1, x2, kept)
            } else {
                let strategy = match a.strategy {
                    None | Some(Contraction::Auto) => Strategy::Auto,
                    Some(Contraction::Jacobian) => Strategy::Jacobian,
                    Some(Contraction::Products) => Strategy::Products,
                    Some(Contraction::Structured) => Strategy::Structured,
                };
                empirical_ntk_in_blocks(&f, &x1, x2, kept, strategy, None, |done, total| stage.message(&format!("block {done} of {total}")))
            };
            let kernel = kernel.map_err(Failure::failed)?;
            (kernel.shape(), kernel.values)
        }
    };
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        let advice = match a.dtype {
            Precision::F32 => "scale the inputs down or use --dtype f64",
            Precision::F64 => "scale the inputs down, or w_std in the model",
        };
        return Err(Failure::Failed(format!("the kernel overflows {}: entry {at} is {}; {advice}", T::NAME, values[at])));
    }
    stage.finish();
    npy::write(&a.out, &shape, &values)?;
    if STDOUT.iter().any(|name| a.out == Path::new(name)) {
        return Ok(None);
    }
    let summary = json!({
        "out": a.out.to_string_lossy(), "kind": a.kind.name(), "shape": shape, "dtype": T::NAME, "outputs": network.outputs(),
        "parameters": network.n_parameters(), "cpu_level": simd::Level::best().to_string(),
    });
    let shown = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let text = format!("{}: {} kernel [{shown}], {}, {}", a.out.display(), a.kind.name(), T::NAME, simd::Level::best());
    Ok(Some(Summary { text, json: summary }))
}

/// Names of our own stdout. A kernel that goes there is followed by nothing, so that it can be read.
pub(super) const STDOUT: [&str; 3] = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/// About as many numbers as an empirical kernel holds besides the network and the result, at least.
fn working_memory(a: &Arguments, network: &Network, examples: usize) -> u128 {
    let parameters = || network.parameters().iter();
    let n_parameters: u128 = parameters().map(|p| p.shape.len() as u128).sum();
    // What every layer gives.
    let given = |row: &nn::Row| row.shape.iter().map(|&n| n as u128).product::<u128>();
    let values = network.n_inputs() as u128 + network.summary().iter().map(given).sum::<u128>();
    let lanes = if a.outputs == Kept::Sum { 1 } else { network.outputs() as u128 };
    if a.kind == Kind::EmpiricalNngp {
        return examples as u128 * values;
    }
    // One example on either side, with cotangents for every output.
    match a.strategy.unwrap_or(Contraction::Auto) {
        Contraction::Auto | Contraction::Structured => 2 * values * (1 + lanes),
        Contraction::Jacobian => 2 * (values * (1 + lanes) + lanes * n_parameters),
        Contraction::Products => values * (1 + lanes) + lanes * n_parameters,
    }
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

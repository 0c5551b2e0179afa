//! The arguments of `tangents kernel`, and which of them make no sense together.

use crate::cli::Failure;
use clap::ValueEnum;
use ntk::{Outputs, Strategy};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The model, a TOML file.
    #[arg(long, value_name = "M.toml")]
    pub(super) model: PathBuf,
    /// Inputs, [N1, features], or images [N1, height, width, channels] (layout "nhwc") or [N1, channels, height, width] ("nchw").
    #[arg(long, value_name = "A.npy")]
    pub(super) x1: PathBuf,
    /// Inputs, like those of --x1 [default: those of --x1].
    #[arg(long, value_name = "B.npy")]
    pub(super) x2: Option<PathBuf>,
    /// Which kernel: at infinite width (ntk, nngp) or of one finite network.
    #[arg(long)]
    pub(super) kind: Kind,
    /// The weights of the network, with PyTorch's names.
    #[arg(long, value_name = "W.safetensors", conflicts_with = "seed")]
    pub(super) weights: Option<PathBuf>,
    /// Random weights from this seed.
    #[arg(long, value_name = "S")]
    pub(super) seed: Option<u64>,
    /// What is kept of the O outputs: full [N1, N2, O, O], trace [N1, N2], diagonal [N1, N2, O] or sum [N1, N2].
    #[arg(long, default_value = "trace")]
    pub(super) outputs: Kept,
    /// How the empirical NTK is contracted [default: auto].
    #[arg(long)]
    pub(super) strategy: Option<Contraction>,
    /// The precision to compute in, and of the result.
    #[arg(long, default_value = "f64")]
    pub(super) dtype: Precision,
    /// Where the kernel goes.
    #[arg(long, value_name = "K.npy", required_unless_present = "dry_run")]
    pub(super) out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) more: More,
}

/// What --kind empirical-ntk has besides, and a bound of memory.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Only for --kind empirical-ntk")]
pub(crate) struct More {
    /// Working memory beyond inputs, weights and the result, such as 512MiB or 2GB [default: about 512MiB]. With ntk and nngp a kernel that does not
    /// fit in twice goes block by block into the file [default: it must fit].
    #[arg(long, value_name = "SIZE", value_parser = bytes, help_heading = None)]
    pub(super) memory: Option<usize>,
    /// Print the plan, with what each parameter costs, and compute nothing.
    #[arg(long, group = "instead")]
    pub(super) dry_run: bool,
    /// The kernel of these layers alone: the numbers N of their N.weight and N.bias.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub(super) layers: Vec<usize>,
    /// The kernel of these parameters alone, by name, such as 0.weight,2.bias.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', conflicts_with = "layers")]
    pub(super) parameters: Vec<String>,
    /// What the part of each parameter is multiplied by, its learning rate: NAME=RATE,... where NAME is a parameter or the number of a
    /// layer and those that are not named have 1; or adam, the factors of the parameterization for Adam.
    #[arg(long, value_name = "RATES", value_delimiter = ',')]
    pub(super) rates: Vec<String>,
    /// Only pairs of an example with itself: [N1, O, O], [N1], [N1, O] or [N1], as --outputs says.
    #[arg(long, group = "instead")]
    pub(super) diagonal_only: bool,
    /// The norm of the gradient of every output of every example, [N1, O].
    #[arg(long, group = "instead")]
    pub(super) gradient_norms: bool,
    /// An estimate from random projections, with so many samples.
    #[arg(long, group = "instead", value_name = "SAMPLES", value_parser = clap::value_parser!(u32).range(2..))]
    pub(super) estimate: Option<u32>,
    /// Where the standard errors of the estimate go.
    #[arg(long, value_name = "E.npy", requires = "estimate")]
    pub(super) standard_error: Option<PathBuf>,
    /// The seed of the directions of --estimate and of the first vectors of --top.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(super) samples_seed: u64,
    /// The K largest eigenvalues of the kernel, without the kernel: [K].
    #[arg(long, group = "instead", value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) top: Option<u32>,
    /// The product of the kernel with vectors, without the kernel: [columns] or [V, columns], where the columns are [N2], or [N2, O] with
    /// --outputs full and diagonal; the result has N1 in the place of N2.
    #[arg(long, group = "instead", value_name = "V.npy")]
    pub(super) times: Option<PathBuf>,
    /// Weights of later steps, such as checkpoints: kernels of all of them, [1 + files, ...], with their distance to the first and their
    /// alignment with it.
    #[arg(long, group = "instead", value_name = "W.safetensors,...", value_delimiter = ',')]
    pub(super) along: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Kind {
    Ntk,
    Nngp,
    EmpiricalNtk,
    EmpiricalNngp,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Kept {
    Full,
    Trace,
    Diagonal,
    Sum,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Contraction {
    Auto,
    Jacobian,
    Products,
    Structured,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Precision {
    F32,
    F64,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Ntk => "ntk",
            Kind::Nngp => "nngp",
            Kind::EmpiricalNtk => "empirical-ntk",
            Kind::EmpiricalNngp => "empirical-nngp",
        }
    }

    pub(super) fn is_empirical(self) -> bool {
        match self {
            Kind::Ntk | Kind::Nngp => false,
            Kind::EmpiricalNtk | Kind::EmpiricalNngp => true,
        }
    }
}

impl Contraction {
    pub(crate) fn strategy(self) -> Strategy {
        match self {
            Contraction::Auto => Strategy::Auto,
            Contraction::Jacobian => Strategy::Jacobian,
            Contraction::Products => Strategy::Products,
            Contraction::Structured => Strategy::Structured,
        }
    }
}

impl Kept {
    pub(super) fn outputs(self) -> Outputs {
        match self {
            Kept::Full => Outputs::Full,
            Kept::Trace => Outputs::Trace,
            Kept::Diagonal => Outputs::Diagonal,
            Kept::Sum => Outputs::Sum,
        }
    }
}

/// Arguments that make no sense together.
pub(super) fn check(a: &Arguments) -> Result<(), Failure> {
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
    let m = &a.more;
    let given = [
        ("--memory", m.memory.is_some()),
        ("--dry-run", m.dry_run),
        ("--layers", !m.layers.is_empty()),
        ("--parameters", !m.parameters.is_empty()),
        ("--rates", !m.rates.is_empty()),
        ("--diagonal-only", m.diagonal_only),
        ("--gradient-norms", m.gradient_norms),
        ("--estimate", m.estimate.is_some()),
        ("--top", m.top.is_some()),
        ("--times", m.times.is_some()),
        ("--along", !m.along.is_empty()),
    ];
    let named = |wanted: &[&str]| given.iter().find(|(name, is)| *is && wanted.contains(name)).map(|(name, _)| *name);
    let elsewhere = |name: &str| a.kind == Kind::EmpiricalNtk || (name == "--memory" && !a.kind.is_empirical());
    if let Some((name, _)) = given.iter().find(|(name, is)| *is && !elsewhere(name)) {
        return usage(format!("{name} is for --kind empirical-ntk, and --kind {kind} has nothing of it"));
    }
    if let Some(name) = named(&["--diagonal-only", "--gradient-norms", "--top", "--along"]).filter(|_| a.x2.is_some()) {
        return usage(format!("{name} is of one set of examples: leave --x2 away"));
    }
    if let Some(name) = named(&["--diagonal-only", "--gradient-norms", "--estimate", "--top", "--times"]).filter(|_| a.strategy.is_some()) {
        return usage(format!("{name} has one way to be computed: leave --strategy away"));
    }
    if let Some(name) = named(&["--estimate", "--top", "--times"]).filter(|_| m.memory.is_some()) {
        return usage(format!("{name} needs memory for 64 examples whatever their number: leave --memory away"));
    }
    if m.top.is_some() && a.outputs == Kept::Diagonal {
        return usage("--top is of one matrix: --outputs diagonal has one for each output, so choose another".into());
    }
    Ok(())
}

/// A number of bytes, such as 512MiB.
fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err("a size is a number with KiB, MiB, GiB, KB, MB, GB or nothing behind it, such as 512MiB".into()),
    };
    let number: f64 = digits.trim().parse().map_err(|_| "a size begins with a number, such as 512MiB".to_string())?;
    if !(number > 0.0 && number * f64::from(unit) < 1e18) {
        return Err("a size is more than nothing and less than 10^18 bytes".into());
    }
    Ok((number * f64::from(unit)) as usize)
}

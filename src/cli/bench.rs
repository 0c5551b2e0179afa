//! `tangents bench`: times the work loads that other libraries are timed on.

use super::kernel::Contraction;
use super::{Failure, Summary, print_line};
use serde_json::json;
use std::path::PathBuf;
use tangents::files;
use tangents::memory;
use tangents::progress::Progress;
use tangents::workloads::{self, Case, Implementation, Kind};

/// One JSON line on stdout for each case and implementation: {"case", "implementation", "seconds", "gflop", "threads"}.
///
/// Seconds are the median of the repetitions; gflop is the least arithmetic that the best order known needs, whichever was timed.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The cases to time [default: all].
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// A file of cases [default: those that come with the program, benches/cases.json].
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,
    /// Only these strategies for kernels of finite networks [default: all that the case does not skip].
    #[arg(long, value_delimiter = ',')]
    strategy: Vec<Contraction>,
    /// How often each is timed, after one run that is not. The variable REPEATS says it too.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    repeats: Option<u16>,
    /// List the cases and their sizes, and time nothing.
    #[arg(long)]
    list: bool,
}

/// Repetitions that are timed where nothing else is said.
const REPEATS: u16 = 5;

pub(crate) fn run(a: &Arguments, progress: &Progress) -> Result<Option<Summary>, Failure> {
    let (place, text) = match &a.cases {
        Some(path) => (format!("{path:?}"), files::read_text(path)?),
        None => ("the cases of the program".into(), workloads::CASES.into()),
    };
    let cases = workloads::cases(&text).map_err(|e| Failure::Failed(format!("{place}: {e}")))?;
    let chosen = choose(&cases, &a.names, &place)?;
    let repeats = usize::from(repeats(a.repeats)?);
    if a.list {
        for case in chosen {
            let network = case.network().map_err(Failure::failed)?;
            let kind = match case.kind {
                Kind::Empirical => "empirical",
                Kind::Infinite => "infinite",
                Kind::Train => "train",
            };
            let line = json!({
                "case": case.name, "kind": kind, "n": case.n, "input": case.input, "outputs": case.outputs,
                "parameters": network.n_parameters(), "gflop": case.gflop(&network),
            });
            print_line(line.to_string())?;
        }
        return Ok(None);
    }
    let mut failed = 0;
    for case in chosen {
        let network = case.network().map_err(Failure::failed)?;
        enough_memory(case, &network)?;
        for implementation in case.implementations().into_iter().filter(|i| wanted(*i, &a.strategy)) {
            let stage = progress.stage(&format!("{} {}", case.name, implementation.name()), 1);
            let name = implementation.name();
            let line = match case.time(&network, implementation, repeats) {
                Ok(timing) => json!({
                    "case": case.name, "implementation": name, "seconds": timing.seconds, "gflop": case.gflop(&network),
                    "threads": rayon::current_num_threads(), "repeats": timing.repeats,
                }),
                Err(error) => {
                    failed += 1;
                    json!({"case": case.name, "implementation": name, "error": error.to_string()})
                }
            };
            print_line(line.to_string())?;
            stage.step();
        }
    }
    if failed > 0 { Err(Failure::Failed(format!("{failed} of the timings have an error in the place of seconds"))) } else { Ok(None) }
}

fn wanted(implementation: Implementation, strategies: &[Contraction]) -> bool {
    match implementation {
        Implementation::Strategy(strategy) => strategies.is_empty() || strategies.iter().any(|s| s.strategy() == strategy),
        Implementation::Closed | Implementation::Tape => true,
    }
}

/// The cases with the names, in the order of the file.
fn choose<'c>(cases: &'c [Case], names: &[String], place: &str) -> Result<Vec<&'c Case>, Failure> {
    let known = || cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>().join(", ");
    match names.iter().find(|name| cases.iter().all(|case| case.name != **name)) {
        Some(name) => Err(Failure::Usage(format!("{place} has no case {name:?}; it has {}", known()))),
        None => Ok(cases.iter().filter(|case| names.is_empty() || names.contains(&case.name)).collect()),
    }
}

fn repeats(given: Option<u16>) -> Result<u16, Failure> {
    match (given, std::env::var("REPEATS")) {
        (Some(repeats), _) => Ok(repeats),
        (None, Ok(text)) => match text.parse() {
            Ok(repeats) if repeats > 0 => Ok(repeats),
            Ok(_) | Err(_) => Err(Failure::Usage(format!("the variable REPEATS is {text:?}, and a positive number is wanted"))),
        },
        (None, Err(_)) => Ok(REPEATS),
    }
}

/// Inputs, weights and result in single precision, and as much to work with.
fn enough_memory(case: &Case, network: &nn::Network) -> Result<(), Failure> {
    let (n, outputs) = (case.n as u128, network.outputs() as u128);
    let result = match (case.kind, case.outputs_kept) {
        (Kind::Empirical, workloads::Kept::Full) => n * n * outputs * outputs,
        (Kind::Empirical, workloads::Kept::Trace) => n * n,
        (Kind::Infinite, _) => 2 * n * n,
        (Kind::Train, _) => n * outputs,
    };
    let parameters: u128 = network.parameters().iter().map(|p| p.shape.len() as u128).sum();
    let numbers = n * network.n_inputs() as u128 + 3 * parameters + 2 * result;
    memory::check(4 * numbers, &format!("case {}", case.name), "make it smaller").map_err(Failure::failed)
}

//! Arguments, exit codes, and what all commands have in common.

mod bench;
mod kernel;
mod report;
mod train;

use clap::{Parser, Subcommand};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use tangents::progress::Progress;

/// The neural tangent kernel, of finite networks and at infinite width.
///
/// Without a command: `tangents report`.
#[derive(Debug, Parser)]
#[command(
    name = "tangents",
    version,
    about,
    max_term_width = 110,
    override_usage = "tangents [OPTIONS] [COMMAND]",
    after_help = "`tangents COMMAND --help` lists the options of a command."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
struct Common {
    /// Threads to compute with [default: one for each core]. Results have the same bits at any number.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// No progress on stderr.
    #[arg(long, global = true)]
    quiet: bool,
    /// Print the summary as one JSON object, and the log of a training as one a line.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Hold the theory against networks that are really trained, and write a page about it.
    Report(report::Arguments),
    /// Compute a kernel between two sets of inputs.
    Kernel(Box<kernel::Arguments>),
    /// Train a network, from files to a file of weights.
    Train(Box<train::Arguments>),
    /// Time the work loads that other libraries are timed on.
    Bench(bench::Arguments),
}

/// Why a command did not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments make no sense together: exit code 2.
    Usage(String),
    /// The work could not be done: exit code 1.
    Failed(String),
    /// Whoever read our output has gone: a quiet end.
    ClosedPipe,
}

impl Failure {
    fn failed(error: impl std::fmt::Display) -> Self {
        Failure::Failed(error.to_string())
    }
}

impl From<tangents::files::FileError> for Failure {
    fn from(error: tangents::files::FileError) -> Self {
        if error.is_closed_pipe() { Failure::ClosedPipe } else { Failure::failed(error) }
    }
}

/// What a command says on stdout when it is done, unless its result is there.
pub(crate) struct Summary {
    /// For people.
    text: String,
    /// For programs.
    json: Value,
}

/// Runs the command that the arguments name.
pub(crate) fn run() -> ExitCode {
    let arguments = match Arguments::try_parse_from(with_default_command(std::env::args_os().collect())) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to stdout with code 0, mistakes to stderr with code 2. A reader that has gone is no error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    if let Err(error) = simd::Level::from_environment() {
        return fail(Failure::Usage(error.to_string()));
    }
    let Common { threads, quiet, json } = arguments.common;
    if let Some(threads) = threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads));
        if let Err(error) = pool.build_global() {
            return fail(Failure::Failed(format!("{threads} threads could not be started: {error}")));
        }
    }
    let progress = Progress::new(quiet);
    let done = match arguments.command {
        Command::Report(arguments) => report::run(&arguments, &progress),
        Command::Kernel(arguments) => kernel::run(&arguments, &progress),
        Command::Train(arguments) => train::run(&arguments, json, &progress),
        Command::Bench(arguments) => bench::run(&arguments, &progress),
    };
    match done.and_then(|summary| summary.map_or(Ok(()), |summary| print(&summary, json))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(failure),
    }
}

/// Puts `report` where no command is given: where the first argument after the options of every command is one of the report's, or where
/// there is none.
fn with_default_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let mut rest = arguments.iter().skip(1).map(|a| a.to_string_lossy());
    let first = loop {
        match rest.next() {
            Some(a) if a == "--threads" => drop(rest.next()),
            Some(a) if a == "--quiet" || a == "--json" || a.starts_with("--threads=") => (),
            other => break other,
        }
    };
    let is_of_report = match first.as_deref() {
        Some("--help" | "-h" | "--version" | "-V") => false,
        Some(argument) => argument.starts_with('-'),
        None => true,
    };
    if is_of_report {
        arguments.insert(arguments.len().min(1), "report".into());
    }
    arguments
}

fn print(summary: &Summary, json: bool) -> Result<(), Failure> {
    print_line(if json { summary.json.to_string() } else { summary.text.clone() })
}

/// A line on stdout, which whoever reads it sees at once.
fn print_line(mut text: String) -> Result<(), Failure> {
    text.push('\n');
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::ClosedPipe),
        Err(error) => Err(Failure::Failed(format!("the summary could not be written to stdout: {}", error.kind()))),
    }
}

fn fail(failure: Failure) -> ExitCode {
    let (code, message) = match failure {
        Failure::Usage(message) => (2, message),
        Failure::Failed(message) => (1, message),
        Failure::ClosedPipe => return ExitCode::SUCCESS,
    };
    // A stderr that is closed cannot be told anything.
    let _ = writeln!(io::stderr(), "error: {message}");
    ExitCode::from(code)
}

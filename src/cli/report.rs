//! `tangents report`: the experiments on a data set, and the page about them.

use super::{Failure, Summary};
use serde_json::json;
use std::path::{Path, PathBuf};
use tangents::data::Dataset;
use tangents::files;
use tangents::page::Finding;
use tangents::progress::Progress;
use tangents::report::report;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// `digits` (embedded), or a CSV file with a header and a label column.
    #[arg(long, default_value = "digits", value_name = "digits|FILE")]
    data: PathBuf,
    /// The folder for the page and its numbers.
    #[arg(long, default_value = "report", value_name = "DIR")]
    out: PathBuf,
    /// Smaller networks and fewer of them: seconds instead of minutes.
    #[arg(long)]
    quick: bool,
}

/// The fewest examples on which slopes and test errors mean anything.
const FEWEST: usize = 20;

pub(crate) fn run(arguments: &Arguments, progress: &Progress) -> Result<Option<Summary>, Failure> {
    let data = if arguments.data == Path::new("digits") { Dataset::digits() } else { Dataset::from_csv(&arguments.data)? };
    if data.n < FEWEST {
        return Err(Failure::Failed(format!(
            "{:?} has {} examples, and the report needs at least {FEWEST} to learn from four fifths and to test on one; add rows",
            arguments.data, data.n
        )));
    }
    // What cannot be written is found out before the work, not after it.
    files::create_folder(&arguments.out.join("data"))?;
    files::check_writable(&arguments.out.join("index.html"))?;
    let report = report(&data, arguments.quick, progress).map_err(Failure::failed)?;
    let page = report.write(&arguments.out)?;
    let findings = &report.page.findings;
    let json = json!({
        "page": page.to_string_lossy(),
        "data": data.name,
        "quick": arguments.quick,
        "findings": findings,
    });
    Ok(Some(Summary { text: format!("{}\nThe page is {}", table(findings), page.display()), json }))
}

/// Theory against measurement, one finding below the other.
fn table(findings: &[Finding]) -> String {
    let lines = findings.iter().map(|f| {
        let (sign, word) = f.agreement.sign_and_word();
        format!("{sign} {}\n    theory {}, measured {}: {word}", f.claim, f.theory, f.measured)
    });
    lines.collect::<Vec<_>>().join("\n")
}

//! The report: the [`experiments`] on one data set, as a page.
//!
//! A section is a function of a result to what is shown of it. To add one, write the experiment, then a function here, and a line in
//! [`report`].

mod convergence;
mod generalization;
mod learning;
mod linearization;

use crate::data::Dataset;
use crate::experiments::{
    self, ConvergenceSettings, ExperimentError, GeneralizationSettings, LearningSettings, LinearizationSettings, Problem,
};
use crate::files::{self, FileError};
use crate::page::{Agreement, Finding, Page, Section};
use crate::progress::Progress;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Fewer examples than this leave a test set of one or two and fits of nothing.
const LEAST_EXAMPLES: usize = 10;

/// A slope of ±1/2 can be told from no slope at all only if its two standard errors are no larger than this.
const LARGEST_DOUBLE_ERROR: f64 = 0.25;

/// The seed of the split of the data set. Networks have seeds of their own, 0 upwards.
const SPLIT_SEED: u64 = 0;

/// A section of the page with the rows that it adds to the table at the top.
struct Part {
    section: Section,
    findings: Vec<Finding>,
}

/// The page, and the results that it shows.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What is rendered.
    pub page: Page,
    /// The numbers of all experiments.
    pub results: Results,
}

/// The numbers of all experiments.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// Θ of finite networks against its limit.
    pub convergence: experiments::Convergence,
    /// Directions of Θ against how fast they are learnt.
    pub learning: experiments::Learning,
    /// Trained networks against their closed form.
    pub linearization: experiments::Linearization,
    /// Test errors.
    pub generalization: experiments::Generalization,
}

/// Runs all experiments on a data set: a few minutes on two cores, or under 20 seconds with `quick`.
///
/// # Errors
/// If the data set is too small, or if an experiment fails.
pub fn report(data: &Dataset, quick: bool, progress: &Progress) -> Result<Report, ExperimentError> {
    let (n, classes) = (data.n, data.classes.len());
    if n < LEAST_EXAMPLES || classes < 2 {
        return Err(ExperimentError::TooSmall { name: data.name.clone(), n, classes, least: LEAST_EXAMPLES });
    }
    // Four fifths are learnt from, but no more than the kernels of a few minutes can have.
    let (most_train, most_test) = if quick { (300, 200) } else { (1437, 360) };
    let n_test = (data.n / 5).clamp(1, most_test);
    let n_train = data.n.saturating_sub(n_test).min(most_train);
    let problem = Problem::new(data, n_train, n_test, SPLIT_SEED)?;
    let results = Results {
        convergence: experiments::convergence(&problem, &ConvergenceSettings::new(quick), progress)?,
        learning: experiments::learning(&problem, &LearningSettings::new(quick), progress)?,
        linearization: experiments::linearization(&problem, &LinearizationSettings::new(quick), progress)?,
        generalization: experiments::generalization(&problem, &GeneralizationSettings::new(quick), progress)?,
    };
    let parts = [
        convergence::part(&results.convergence),
        learning::part(&results.learning),
        linearization::part(&results.linearization, &data.classes),
        generalization::part(&results.generalization, data, &problem),
    ];
    Ok(Report { page: page(data, &problem, quick, parts.into()), results })
}

fn page(data: &Dataset, problem: &Problem, quick: bool, parts: Vec<Part>) -> Page {
    let (mut sections, mut findings) = (Vec::new(), Vec::new());
    for (i, part) in parts.into_iter().enumerate() {
        sections.push(part.section);
        findings.extend(part.findings.into_iter().map(|f| Finding { section: i, ..f }));
    }
    let fact = |name: &str, value: String| (name.to_owned(), value);
    Page {
        title: format!("What the neural tangent kernel says about {}, and what networks do", data.name),
        lead: format!(
            "The neural tangent kernel of a network with outputs f and parameters θ is Θ(x, x′) = ⟨∂f(x)/∂θ, ∂f(x′)/∂θ⟩: it says how far a small \
             step of gradient descent on the example x′ moves the output at x. In theory, as the width W of the hidden layers grows, Θ no longer \
             depends on the random initial weights and stays as it is during training, so that the trained network is a linear model with a \
             closed form. This page computes that theory for {} training and {} test examples with {} features and {} classes, and compares \
             it with random and trained networks of finite width. The table says what theory predicts, what was measured, and how well they \
             agree; the numbers behind every figure are in the folder data beside this page.",
            problem.train.n, problem.test.n, data.d, problem.classes
        ),
        findings,
        sections,
        facts: vec![
            fact(
                "data",
                format!(
                    "{}: {} examples, split {} / {} by class with seed {SPLIT_SEED}",
                    data.name, data.n, problem.train.n, problem.test.n
                ),
            ),
            fact(
                "network",
                format!("{} → W → W → {}, ReLU, NTK parameterization, w_std = √2, √2, 1, b_std = 0.1", problem.features, problem.classes),
            ),
            fact("seeds", "weights are drawn from seeds 0, 1, …; the same seed gives the same bits at any number of threads".into()),
            fact(
                "signs",
                "an exponent agrees if theory lies within two standard errors of the fit (or 0.03; 0.05 for bounds); it is for information where \
                 two standard errors exceed 0.25. Two test errors agree if each lies in the 95 % interval of the other; they are for information \
                 where the interval is wider than 20 points. Standard errors are of the scatter around the fitted line"
                    .into(),
            ),
            fact("precision", "networks and their kernels in single precision, spectra and predictions in double".into()),
            fact(
                "run",
                if quick { "tangents report --quick: smaller and noisier than the full report".into() } else { "tangents report".into() },
            ),
            fact("machine", format!("{} threads, SIMD level {}", rayon::current_num_threads(), simd::Level::best())),
            fact("version", format!("tangents {}", env!("CARGO_PKG_VERSION"))),
        ],
    }
}

impl Report {
    /// Writes `index.html`, `results.json`, and the folder `data` with a CSV and an SVG file for every figure. Each file is written whole
    /// or not at all, the page last. Returns the path of the page.
    ///
    /// # Errors
    /// If a folder or a file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<PathBuf, FileError> {
        let data = dir.join("data");
        files::create_folder(&data)?;
        let text = |path: &Path, text: &str| files::write_atomically(path, |w| w.write_all(text.as_bytes()));
        for (name, contents) in self.page.csv_files().iter().chain(&self.page.svg_files()) {
            text(&data.join(name), contents)?;
        }
        let json = serde_json::to_string_pretty(&self.results).expect("results are plain numbers and names");
        text(&dir.join("results.json"), &json)?;
        let page = dir.join("index.html");
        text(&page, &self.page.html())?;
        Ok(page)
    }
}

/// Whether a slope is known well enough to be held against ±1/2; one that is not finite is not.
fn decides(error: f64) -> bool {
    2.0 * error <= LARGEST_DOUBLE_ERROR
}

/// What is said of a fit that decides nothing.
const TOO_NOISY: &str = "The fit is too noisy to decide.";

/// How a measured exponent agrees with theory: within two standard errors or `tolerance`, within three times that, or not.
fn exponent(measured: f64, error: f64, theory: f64, tolerance: f64) -> Agreement {
    if !decides(error) {
        return Agreement::Informative;
    }
    let allowed = (2.0 * error).max(tolerance);
    match (measured - theory).abs() {
        d if d <= allowed => Agreement::Agrees,
        d if d <= 3.0 * allowed => Agreement::Roughly,
        _ => Agreement::Differs,
    }
}

/// A number with a real minus sign.
fn signed(value: f64, decimals: usize) -> String {
    format!("{value:.decimals$}").replace('-', "−")
}

fn slope(line: &experiments::Line) -> String {
    format!("{} ± {}", signed(line.slope, 2), signed(line.slope_error, 2))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn doubles(widths: &[usize]) -> Vec<f64> {
    widths.iter().map(|&w| w as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::{exponent, signed};
    use crate::page::Agreement;

    #[test]
    fn agreement_follows_the_error() {
        assert_eq!(exponent(-0.52, 0.005, -0.5, 0.03), Agreement::Agrees);
        assert_eq!(exponent(-0.58, 0.005, -0.5, 0.03), Agreement::Roughly);
        assert_eq!(exponent(-0.7, 0.005, -0.5, 0.03), Agreement::Differs);
        assert_eq!(exponent(-0.7, 0.1, -0.5, 0.03), Agreement::Agrees);
        // An error that hides everything is no agreement.
        assert_eq!(exponent(-0.3, 0.6, -0.5, 0.03), Agreement::Informative);
        assert_eq!(exponent(f64::NAN, f64::NAN, -0.5, 0.03), Agreement::Informative);
    }

    #[test]
    fn minus_signs_are_real() {
        assert_eq!(signed(-0.456, 2), "−0.46");
    }
}

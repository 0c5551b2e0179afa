//! The report on a tiny data set, with quick settings.

use std::collections::HashSet;
use std::path::Path;
use std::sync::OnceLock;

use tangents::data::Dataset;
use tangents::experiments::ExperimentError;
use tangents::files::FileError;
use tangents::page::Scale;
use tangents::progress::Progress;
use tangents::report::{Report, report};

/// Two classes on a grid, every row twice, with a constant feature: kernels of its training examples are singular.
fn grid(n: usize) -> Dataset {
    let x = (0..n).flat_map(|i| [((i / 2) % 5) as f64, ((i / 10) % 3) as f64, 1.0]).collect();
    let labels = (0..n).map(|i| usize::from((i / 2) % 5 > 2)).collect();
    Dataset { name: "grid".into(), x, n, d: 3, labels, classes: ["low", "high, \"really\""].map(String::from).into(), image: None }
}

/// Computed once, as it is what takes the time.
fn result() -> &'static Report {
    static REPORT: OnceLock<Report> = OnceLock::new();
    REPORT.get_or_init(|| report(&grid(12), true, &Progress::hidden()).unwrap())
}

#[test]
fn figures_have_names_of_their_own_and_findings_a_section() {
    let page = &result().page;
    let figures: Vec<&str> = page.sections.iter().flat_map(|s| &s.figures).map(|f| f.id.as_str()).collect();
    assert!(figures.len() >= 6, "{figures:?}");
    assert_eq!(figures.iter().collect::<HashSet<_>>().len(), figures.len(), "{figures:?}");
    assert_eq!(page.sections.iter().map(|s| &s.id).collect::<HashSet<_>>().len(), page.sections.len());
    let html = page.html();
    for finding in &page.findings {
        let section = &page.sections[finding.section];
        assert!(html.contains(&format!("id=\"section-{}\"", section.id)) && html.contains(&format!("#section-{}", section.id)));
        assert!(!finding.theory.is_empty() && !finding.measured.is_empty());
    }
    // Every section has a finding, and the kernel is explained before anything is said of it.
    let found: HashSet<usize> = page.findings.iter().map(|f| f.section).collect();
    assert_eq!(found.len(), page.sections.len());
    assert!(page.lead.contains("Θ(x, x′) = ⟨∂f(x)/∂θ, ∂f(x′)/∂θ⟩"));
}

#[test]
fn tables_of_figures_hold_their_numbers() {
    for figure in result().page.sections.iter().flat_map(|s| &s.figures) {
        let text = figure.csv();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap(), vec!["series", "x", "y", "low", "high"]);
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let mut next = rows.iter();
        for series in &figure.series {
            assert!(!series.name.is_empty(), "a series of {} has no name", figure.id);
            for (i, (x, y)) in series.x.iter().zip(&series.y).enumerate() {
                let row = next.next().unwrap();
                let same = |text: &str, value: f64| text.parse::<f64>().unwrap().to_bits() == value.to_bits();
                assert_eq!(row[0], series.name);
                match &figure.x.scale {
                    Scale::Category(names) => assert_eq!(row[1], names[i]),
                    Scale::Linear | Scale::Log10 | Scale::Log2 => assert!(same(&row[1], *x)),
                }
                assert!(same(&row[2], *y), "{}: {} and {y}", figure.id, &row[2]);
                match &series.spread {
                    Some(spread) => assert!(same(&row[3], spread[i].0) && same(&row[4], spread[i].1)),
                    None => assert!(row[3].is_empty() && row[4].is_empty()),
                }
            }
        }
        assert!(next.next().is_none(), "{} has rows too many", figure.id);
        let names: HashSet<&str> = figure.series.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names.len(), figure.series.len(), "series of {} share a name", figure.id);
    }
}

fn files_in(folder: &Path) -> HashSet<String> {
    std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_folder_is_complete_and_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("new/report");
    let report = result();
    let page = report.write(&dir).unwrap();
    assert_eq!(page, dir.join("index.html"));
    let top = ["index.html", "results.json", "data"].map(String::from);
    assert_eq!(files_in(&dir), HashSet::from(top.clone()));
    let files = report.page.csv_files().into_iter().chain(report.page.svg_files());
    let named: HashSet<String> = files.map(|(name, _)| name).collect();
    assert_eq!(files_in(&dir.join("data")), named);
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(dir.join("results.json")).unwrap()).unwrap();
    assert_eq!(json["convergence"]["widths"][0], 64);

    std::fs::write(&page, "old").unwrap();
    report.write(&dir).unwrap();
    assert_eq!(std::fs::read_to_string(&page).unwrap(), report.page.html());
    assert_eq!((files_in(&dir), files_in(&dir.join("data"))), (HashSet::from(top), named));
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let error: FileError = result().write(&file.join("report")).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a folder");
}

#[test]
fn too_few_examples_or_classes_are_an_error() {
    for n in [0, 1, 9] {
        let error = report(&grid(n), true, &Progress::hidden()).unwrap_err();
        assert!(matches!(&error, ExperimentError::TooSmall { n: given, classes: 2, least: 10, .. } if *given == n), "{error}");
    }
    let mut one = grid(12);
    (one.labels, one.classes) = (vec![0; 12], vec!["only".into()]);
    assert!(report(&one, true, &Progress::hidden()).unwrap_err().to_string().contains("classes"));
}

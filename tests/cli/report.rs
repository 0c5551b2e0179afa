//! `tangents report`: a page that needs nothing but itself, the numbers behind it, and the same of both at any number of threads.

use crate::run::Folder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Everything in a folder of numbers, by name.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read_to_string(e.path()).unwrap())).collect()
}

/// A table of `classes` clouds of points in four features.
fn table(rows: usize, classes: usize) -> String {
    let mut text = "a,b,c,d,label\n".to_owned();
    for i in 0..rows {
        let class = i % classes;
        let value = |j: usize| ((i * 7 + j * 13) as f64 * 0.61).sin() + if j == class { 2.0 } else { 0.0 };
        text += &format!("{},{},{},{},kind {class}\n", value(0), value(1), value(2), value(3));
    }
    text
}

#[test]
fn the_quick_report_of_the_digits_is_a_page_with_its_numbers() {
    let folder = Folder::new();
    // The command itself may be left away, and what is there already does not matter.
    let run = folder.run("--quick --out one --threads 1");
    assert!(!run.stderr.is_empty() && !run.stderr.contains('\u{1b}'), "{:?}", run.stderr);
    let text = run.success();
    let summary: Value = serde_json::from_str(&folder.run("report --quick --out two --threads 2 --quiet --json").success()).unwrap();

    let page = std::fs::read_to_string(folder.path("one/index.html")).unwrap();
    // The one link to a thing is an empty icon within the page, so that browsers do not ask for one.
    let page = page.replacen("<link rel=\"icon\" href=\"data:,\">", "", 1);
    for loaded in ["<script", "<link", "src=", "@import", "<iframe", "<object", "NaN"] {
        assert!(!page.contains(loaded), "the page has {loaded}");
    }
    assert!(page.match_indices("url(").all(|(at, _)| page[at..].starts_with("url(#")));
    for link in page.split("href=\"").skip(1).map(|rest| &rest[..rest.find('"').unwrap()]) {
        assert!(link.starts_with('#') || folder.path("one").join(link).is_file(), "{link} leads nowhere");
    }
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<meta charset=\"utf-8\">"));
    let drawings = page.matches("<svg").count();
    assert!(drawings >= 6, "{drawings} figures");

    let numbers = files(&folder.path("one/data"));
    let (svg, csv): (Vec<&String>, Vec<&String>) = numbers.keys().partition(|name| name.ends_with(".svg"));
    assert!(svg.len() >= 6 && csv.len() >= svg.len(), "{:?}", numbers.keys());
    for name in &svg {
        let table = format!("{}.csv", name.trim_end_matches(".svg"));
        assert!(page.contains(&format!("href=\"data/{table}\"")), "the page does not link {table}");
        assert!(numbers[&table].starts_with("series,x,y,low,high\n") && numbers[&table].lines().count() > 2, "{table}");
    }

    let json = std::fs::read_to_string(folder.path("one/results.json")).unwrap();
    let results: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(results.as_object().unwrap().len(), 4);
    assert!(!has_null(&results), "a number of the results is not finite");
    points_are_results(&numbers, &results);

    // The summary lists every finding, on paper and for programs.
    let findings = summary["findings"].as_array().unwrap();
    assert!(findings.len() >= 4, "{findings:?}");
    for finding in findings {
        for key in ["claim", "theory", "measured"] {
            assert!(text.contains(finding[key].as_str().unwrap()), "{finding} is not in the summary");
        }
    }
    assert!(text.ends_with(&format!("The page is {}\n", Path::new("one").join("index.html").display())));
    assert_eq!((&summary["data"], &summary["quick"]), (&Value::from("digits"), &Value::from(true)));
    assert_eq!(summary["page"], Path::new("two").join("index.html").to_str().unwrap());

    // One thread and two give the same bits.
    assert!(json == std::fs::read_to_string(folder.path("two/results.json")).unwrap());
    assert!(numbers == files(&folder.path("two/data")));
    assert_eq!(folder.names(), ["m.toml", "one", "two", "x.npy"]);
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The distances of Θ to its limit are drawn by the numbers that the results hold.
#[track_caller]
fn points_are_results(numbers: &BTreeMap<String, String>, results: &Value) {
    let mut errors = Vec::new();
    flatten(&results["convergence"]["errors"], &mut errors);
    assert!(errors.len() >= 4);
    let drawn: Vec<f64> = numbers
        .iter()
        .filter(|(name, _)| name.ends_with(".csv"))
        .flat_map(|(_, text)| text.lines().skip(1).flat_map(|line| line.split(',').filter_map(|cell| cell.parse().ok())))
        .collect();
    for error in errors {
        // The reader of JSON may be wrong in the last digit.
        assert!(drawn.iter().any(|d| (d - error).abs() <= 1e-15 * error.abs()), "{error} is in no table");
    }
}

/// All numbers of nested lists.
fn flatten(value: &Value, found: &mut Vec<f64>) {
    match value {
        Value::Array(values) => values.iter().for_each(|v| flatten(v, found)),
        Value::Number(number) => found.extend(number.as_f64()),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Object(_) => panic!("{value} is not a number"),
    }
}

#[test]
fn a_table_of_ones_own_is_reported_on() {
    let folder = Folder::new();
    folder.text("clouds & <co>.csv", &table(60, 3));
    let mut command = assert_cmd::Command::new(crate::run::program());
    command.args(["--quick", "--quiet", "--out", "r", "--data", "clouds & <co>.csv"]).current_dir(folder.path(""));
    crate::run::Run::of(&command.output().unwrap()).success();
    let page = std::fs::read_to_string(folder.path("r/index.html")).unwrap();
    assert!(page.contains("clouds &amp; &lt;co&gt;") && page.contains("48 training and 12 test examples with 4 features and 3 classes"));
    assert!(page.matches("<svg").count() >= 5);
}

#[test]
fn tables_that_cannot_be_used_are_refused_and_leave_nothing() {
    let folder = Folder::new();
    let good = table(60, 3);
    let cell = good.lines().nth(4).unwrap().split(',').nth(1).unwrap();
    let cases: [(&str, String, &[&str]); 9] = [
        ("ragged", good.replacen(&format!("{cell},"), "", 1), &["line 5", "4 cells", "5 are expected"]),
        ("nan", good.replacen(cell, "nan", 1), &["line 5", "\"b\"", "not finite"]),
        ("huge", good.replacen(cell, "1e999", 1), &["line 5", "\"b\"", "too large"]),
        ("word", good.replacen(cell, "red", 1), &["line 5", "\"b\"", "\"red\"", "not a number"]),
        ("hole", good.replacen(cell, "", 1), &["line 5", "\"b\"", "empty"]),
        ("one class", table(60, 1), &["\"label\"", "single class"]),
        ("header", "a,b,label\n".into(), &["no rows"]),
        ("empty", String::new(), &["empty"]),
        ("semicolons", good.replace(',', ";"), &["';'", "commas"]),
    ];
    for (name, text, parts) in cases {
        folder.text("t.csv", &text);
        let message = folder.fails("report --quick --quiet --data t.csv --out r");
        for part in parts.iter().chain(&["\"t.csv\""]) {
            assert!(message.contains(part), "{name}: {part:?} is not in {message:?}");
        }
    }
    folder.bytes("t.csv", b"a,b,label\n1,2,caf\xe9\n");
    assert!(folder.fails("report --quick --data t.csv --out r").contains("UTF-8"));
    assert!(folder.fails("report --quick --data none.csv --out r").contains("\"none.csv\""));
    assert!(folder.fails("report --quick --data . --out r").contains("is a folder"));
    if cfg!(unix) {
        assert!(folder.fails("report --quick --data /dev/zero --out r").contains("larger than 1024 MiB"));
    }
}

#[test]
fn tables_with_too_few_rows_are_refused() {
    let folder = Folder::new();
    for rows in [2, 6, 19] {
        folder.text("t.csv", &table(rows, 2));
        let message = folder.fails("report --quick --quiet --data t.csv --out r");
        assert!(message.contains("\"t.csv\"") && message.contains(&format!("{rows} examples")), "{message}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_found_before_the_work() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path("taken/index.html")).unwrap();
    std::fs::create_dir(folder.path("taken/data")).unwrap();
    for (out, part) in [("m.toml", "m.toml"), ("m.toml/deeper", "m.toml"), ("taken", "is a folder")] {
        let start = Instant::now();
        let message = folder.fails(&format!("report --quiet --out {out}"));
        // The full report would take minutes.
        assert!(start.elapsed() < Duration::from_secs(5));
        assert!(message.contains(part), "{message}");
    }
}

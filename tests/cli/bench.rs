//! `tangents bench` prints one line of JSON for each case and implementation, and says what is wrong with cases.

use crate::run::Folder;
use serde_json::Value;

/// One small case of each kind.
const CASES: &str = r#"{"about": "small", "cases": [
    {"name": "kernel", "kind": "empirical", "net": "fcn", "n": 5, "input": [3], "widths": [4], "outputs": 2, "outputs_kept": "trace",
     "skip": ["ntk_vector_products"]},
    {"name": "image", "kind": "empirical", "net": "cnn", "n": 2, "input": [4, 4, 1], "channels": [2], "readout": "gap", "outputs": 1},
    {"name": "limit", "kind": "infinite", "net": "fcn", "n": 5, "input": [3], "widths": [1, 1], "outputs": 1},
    {"name": "steps", "kind": "train", "net": "fcn", "n": 5, "input": [3], "widths": [4], "outputs": 2, "steps": 3}
]}"#;

fn lines(folder: &Folder, arguments: &str) -> Vec<Value> {
    let run = folder.run(arguments);
    assert_eq!(run.code, Some(0), "{arguments}: {}", run.stderr);
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(lines: &[Value]) -> Vec<(&str, &str)> {
    lines.iter().map(|line| (line["case"].as_str().unwrap(), line["implementation"].as_str().unwrap())).collect()
}

#[test]
fn every_case_is_timed_in_every_way_that_it_does_not_skip() {
    let folder = Folder::new();
    folder.text("cases.json", CASES);
    let all = lines(&folder, "bench --cases cases.json --repeats 1 --threads 2");
    let wanted = [
        ("kernel", "auto"),
        ("kernel", "structured"),
        ("kernel", "jacobian"),
        ("image", "auto"),
        ("image", "structured"),
        ("image", "jacobian"),
        ("image", "products"),
        ("limit", "closed-form"),
        ("steps", "tape"),
    ];
    assert_eq!(names(&all), wanted);
    for line in &all {
        assert!(line["seconds"].as_f64().unwrap() > 0.0 && line["gflop"].as_f64().unwrap() > 0.0, "{line}");
        assert_eq!(line["threads"], 2, "{line}");
    }
}

#[test]
fn names_and_strategies_choose() {
    let folder = Folder::new();
    folder.text("cases.json", CASES);
    let some = lines(&folder, "bench --cases cases.json --repeats 1 --strategy products,auto image steps");
    assert_eq!(names(&some), [("image", "auto"), ("image", "products"), ("steps", "tape")]);
    let listed = lines(&folder, "bench --cases cases.json --list limit");
    assert_eq!((&listed[0]["case"], &listed[0]["n"], listed.len()), (&"limit".into(), &5.into(), 1));
    // The cases of the program, and their least arithmetic: 64 inputs forward and 10 outputs back, and the Gram matrices of the layers.
    let listed = lines(&folder, "bench --list fcn_full");
    let (first, hidden, last) = (784.0 * 1024.0, 2.0 * 1024.0 * 1024.0, 1024.0 * 10.0);
    let passes = 64.0 * (first + hidden + last + 10.0 * (hidden + last));
    let gram = 64.0 * 65.0 / 2.0 * (784.0 + 3.0 * 1024.0 + 100.0 * (3.0 * 1024.0 + 10.0));
    assert!((listed[0]["gflop"].as_f64().unwrap() - 2e-9 * (passes + gram)).abs() < 1e-12, "{}", listed[0]);
}

#[test]
fn what_is_wrong_with_cases_is_said() {
    let folder = Folder::new();
    folder.text("cases.json", CASES);
    let run = folder.run("bench --cases cases.json kernels");
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("has no case \"kernels\"; it has kernel, image, limit, steps"), "{}", run.stderr);
    folder.text("typo.json", &CASES.replace("\"widths\"", "\"width\""));
    let run = folder.run("bench --cases typo.json");
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("typo.json") && run.stderr.contains("unknown field `width`"), "{}", run.stderr);
    folder.text("shapes.json", &CASES.replace("\"input\": [4, 4, 1]", "\"input\": [4]"));
    let run = folder.run("bench --cases shapes.json --list");
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("case image: layers[0] (conv)"), "{}", run.stderr);
}

//! The tests of the engine in one program, since each program compiles the tape again.

mod bilinear;
#[allow(dead_code, unreachable_pub, reason = "it is shared with the tests of the crate itself")]
mod catalog;
mod conventions;
mod examples;
mod formulas;
#[allow(unreachable_pub, reason = "it is shared with other tests")]
mod graphs;
mod invariances;
mod laws;
mod modes;
mod parameters;
mod shapes;
mod tape;
mod tensors;

/// A file that nobody names is not compiled, and its tests would not be run.
#[test]
fn every_file_is_named() {
    let apart = ["lean"];
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let code = path.extension().is_some_and(|kind| kind == "rs") || path.join("mod.rs").exists() || path.join("main.rs").exists();
        let named = name == "main" || apart.contains(&name) || include_str!("main.rs").contains(&format!("\nmod {name};"));
        assert!(!code || named, "tests/{name} is in no program of tests: name it in tests/main.rs");
    }
}

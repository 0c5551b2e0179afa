//! The tests of kernels and predictions in one program, since each program compiles the tape again. Those of `empirical` are one of their own.

mod ensemble;
mod infinite_bits;
mod infinite_images;
mod infinite_images_laws;
mod infinite_laws;
mod infinite_limits;
mod infinite_reference;
mod infinite_smooth;
mod naive_images;
mod predict_laws;
mod predict_reference;
mod pytorch;
mod spectrum_laws;
mod stability;

/// A file that nobody names is not compiled, and its tests would not be run.
#[test]
fn every_file_is_named() {
    let apart = ["empirical", "empirical_memory"];
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let code = path.extension().is_some_and(|kind| kind == "rs") || path.join("mod.rs").exists() || path.join("main.rs").exists();
        let named = name == "main" || apart.contains(&name) || include_str!("main.rs").contains(&format!("\nmod {name};"));
        assert!(!code || named, "tests/{name} is in no program of tests: name it in tests/main.rs");
    }
}

//! The tests of networks in one program, since each program compiles the tape again.

mod checkpoints;
mod hostile_weights;
mod image_models;
mod init;
mod layers;
mod model_file;
mod model_file_text;
mod mup;
mod naive;
mod network;
mod optimizers;
mod pytorch;
mod pytorch_training;
mod tables;
mod train;
mod weights;

/// A file that nobody names is not compiled, and its tests would not be run.
#[test]
fn every_file_is_named() {
    let apart = ["warm_step"];
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let code = path.extension().is_some_and(|kind| kind == "rs") || path.join("mod.rs").exists() || path.join("main.rs").exists();
        let named = name == "main" || apart.contains(&name) || include_str!("main.rs").contains(&format!("\nmod {name};"));
        assert!(!code || named, "tests/{name} is in no program of tests: name it in tests/main.rs");
    }
}

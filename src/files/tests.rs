//! Files from strangers and files half written.

mod csv_tables;
mod npy_arrays;
mod writing;

use std::path::PathBuf;

use super::FileError;

/// A folder that is removed at the end of a test, and a file in it.
fn file_with(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// The message of a refusal, which is one line and names the file.
#[track_caller]
fn message<T>(result: Result<T, FileError>) -> String {
    let Err(error) = result else { panic!("this should have been refused") };
    let text = error.to_string();
    assert!(!text.contains('\n'), "more than one line: {text}");
    assert!(text.starts_with("cannot "), "{text}");
    text
}

/// Checks that a refusal says everything in `parts`.
#[track_caller]
fn refuses<T>(result: Result<T, FileError>, parts: &[&str]) {
    let text = message(result);
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

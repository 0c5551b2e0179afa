//! Where results go: whole files or none, one summary on stdout, progress on stderr.

use crate::run::{Folder, Run, program};
use serde_json::Value;
use std::process::{Command, Stdio};

const KERNEL: &str = "kernel --model m.toml --x1 x.npy --kind empirical-ntk --seed 1";

#[test]
fn the_summary_is_one_json_object_and_nothing_else() {
    let folder = Folder::new();
    let text = folder.run(&format!("{KERNEL} --outputs diagonal --dtype f32 --out k.npy --json")).success();
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert_eq!(summary["out"], "k.npy");
    assert_eq!(summary["kind"], "empirical-ntk");
    assert_eq!(summary["shape"], serde_json::json!([4, 4, 2]));
    assert_eq!(summary["dtype"], "f32");
    assert_eq!(summary["outputs"], 2);
    assert_eq!(summary["parameters"], 3 * 8 + 8 + 8 * 2 + 2);
    assert!(summary["cpu_level"].is_string());
}

#[test]
fn results_are_on_stdout_and_progress_on_stderr() {
    let folder = Folder::new();
    let run = folder.run(&format!("{KERNEL} --out k.npy"));
    assert!(run.stderr.contains("empirical-ntk kernel") && !run.stderr.contains('\u{1b}'), "{:?}", run.stderr);
    let summary = format!("k.npy: empirical-ntk kernel [4, 4], f64, {}\n", tangents::simd::Level::best());
    assert_eq!(run.success(), summary);
    let quiet = folder.run(&format!("{KERNEL} --out k.npy --quiet"));
    assert_eq!((&quiet.stderr[..], &quiet.stdout[..]), ("", &summary[..]));
    assert_eq!(folder.names(), ["k.npy", "m.toml", "x.npy"]);
}

#[test]
fn an_existing_result_is_replaced_whole() {
    let folder = Folder::new();
    folder.run(&format!("{KERNEL} --out new.npy")).success();
    folder.bytes("k.npy", &[b'x'; 10_000]);
    folder.run(&format!("{KERNEL} --out k.npy")).success();
    assert_eq!(std::fs::read(folder.path("k.npy")).unwrap(), std::fs::read(folder.path("new.npy")).unwrap());
    // An input may be replaced by the result, as it is read before.
    folder.run(&format!("{KERNEL} --out x.npy")).success();
    assert_eq!(std::fs::read(folder.path("x.npy")).unwrap(), std::fs::read(folder.path("new.npy")).unwrap());
}

#[test]
fn a_run_that_fails_leaves_an_existing_result_as_it_was() {
    let folder = Folder::new();
    folder.text("k.npy", "precious");
    folder.npy("bad.npy", &[1, 3], &[f64::NAN; 3]);
    folder.npy("big.npy", &[1, 3], &[1e300; 3]);
    for (from, to) in
        [("x.npy", "none.npy"), ("x.npy", "bad.npy"), ("x.npy", "big.npy"), ("m.toml", "x.npy"), ("--seed 1", "--weights m.toml")]
    {
        folder.fails(&format!("{} --out k.npy --quiet", KERNEL.replace(from, to)));
        assert_eq!(std::fs::read(folder.path("k.npy")).unwrap(), b"precious");
    }
}

#[test]
fn places_that_cannot_be_written_are_found_before_the_work() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("folder")).unwrap();
    // The inputs are missing as well: the message is about what comes first.
    let kernel = KERNEL.replace("x.npy", "none.npy");
    for (out, parts) in [
        ("none/k.npy", ["\"none/k.npy\"", "does not exist"]),
        ("folder", ["\"folder\"", "is a folder"]),
        ("folder/", ["\"folder/\"", "ends like a folder"]),
        ("m.toml/k.npy", ["\"m.toml/k.npy\"", "folder"]),
        (".", ["\".\"", "is a folder"]),
    ] {
        let message = folder.fails(&format!("{kernel} --out {out}"));
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
    assert!(std::fs::read_dir(folder.path("folder")).unwrap().next().is_none());
    let long = "x".repeat(300);
    assert!(folder.fails(&format!("{kernel} --out {long}")).contains(&long));
}

/// A run whose stdout nobody reads any more.
fn into_a_closed_pipe(folder: &Folder, arguments: &str) -> Run {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(program());
    command.args(arguments.split(' ')).current_dir(folder.path("")).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    Run::of(&command.spawn().unwrap().wait_with_output().unwrap())
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let folder = Folder::new();
    for arguments in
        ["kernel --help", "--help", "--version", &format!("{KERNEL} --out k.npy --quiet"), &format!("{KERNEL} --out k.npy --json --quiet")]
    {
        let run = into_a_closed_pipe(&folder, arguments);
        assert_eq!((run.code, &run.stderr[..]), (Some(0), ""), "{arguments}");
    }
    if cfg!(target_os = "linux") {
        let run = into_a_closed_pipe(&folder, &format!("{KERNEL} --out /dev/stdout --quiet"));
        assert_eq!((run.code, &run.stderr[..]), (Some(0), ""));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let folder = Folder::new();
    let message = folder.fails(&format!("{KERNEL} --quiet --out /dev/full"));
    assert!(message.contains("\"/dev/full\"") && message.contains("the disk is full"), "{message}");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(program());
    let output =
        command.args(format!("{KERNEL} --quiet --out k.npy").split(' ')).current_dir(folder.path("")).stdout(full).output().unwrap();
    assert!(Run::of(&output).failure().contains("stdout"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_kernel_on_stdout_is_a_file_that_can_be_read() {
    let folder = Folder::new();
    let mut command = Command::new(program());
    let output = command.args(format!("{KERNEL} --quiet --out /dev/stdout").split(' ')).current_dir(folder.path("")).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    folder.bytes("piped.npy", &output.stdout);
    assert_eq!(folder.array("piped.npy"), folder.kernel("--model m.toml --x1 x.npy --kind empirical-ntk --seed 1"));
}

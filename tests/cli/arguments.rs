//! Arguments that cannot be meant: exit code 2, before anything is read or written.

use crate::run::{Folder, Run, program};

#[track_caller]
fn misuse(arguments: &str, parts: &[&str]) {
    let folder = Folder::new();
    let before = folder.names();
    let message = folder.run(arguments).misuse();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    assert_eq!(folder.names(), before, "{arguments}");
}

#[test]
fn unknown_commands_options_and_values_are_named_with_what_was_perhaps_meant() {
    misuse("kernle", &["kernle", "'kernel'"]);
    misuse("raport", &["raport", "'report'"]);
    misuse("report --quik", &["--quik", "--quick"]);
    misuse("--quik", &["--quik", "--quick"]);
    misuse("kernel --mode m.toml", &["--mode", "--model"]);
    misuse("kernel --model m.toml --x1 x.npy --out k.npy --kind empirical-ntkk", &["empirical-ntkk", "'empirical-ntk'"]);
    misuse("kernel --model m.toml --x1 x.npy --out k.npy --kind ntk --dtype f16", &["f16", "f32", "f64"]);
    misuse("kernel --model m.toml --x1 x.npy --out k.npy --kind empirical-ntk --seed 1 --outputs all", &["all", "diagonal"]);
    misuse("kernel --model m.toml --x1 x.npy --out k.npy --kind empirical-ntk --seed 1 --strategy fast", &["fast", "structured"]);
    misuse("report extra", &["extra"]);
}

#[test]
fn what_a_kernel_needs_is_named() {
    misuse("kernel", &["--model", "--x1", "--kind", "--out"]);
    misuse("kernel --x1 x.npy --kind ntk --out k.npy", &["--model"]);
    misuse("kernel --model m.toml --x1 x.npy --kind ntk", &["--out"]);
    misuse("kernel --model m.toml --x1 --kind ntk --out k.npy", &["--x1"]);
}

#[test]
fn numbers_have_a_range() {
    for threads in ["0", "-1", "1025", "two", "99999999999999999999", ""] {
        misuse(&format!("report --threads={threads}"), &["--threads"]);
    }
    for seed in ["-1", "1.5", "18446744073709551616", "x"] {
        misuse(&format!("kernel --model m.toml --x1 x.npy --kind empirical-ntk --out k.npy --seed={seed}"), &["--seed"]);
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let kernel = |rest: &str| format!("kernel --model m.toml --x1 x.npy --out k.npy {rest}");
    misuse(&kernel("--kind empirical-ntk --weights w.safetensors --seed 1"), &["--weights", "--seed"]);
    for kind in ["empirical-ntk", "empirical-nngp"] {
        misuse(&kernel(&format!("--kind {kind}")), &[kind, "--weights", "--seed"]);
    }
    for kind in ["ntk", "nngp"] {
        misuse(&kernel(&format!("--kind {kind} --seed 1")), &[kind, "--seed", "no weights"]);
        misuse(&kernel(&format!("--kind {kind} --weights w.safetensors")), &[kind, "--weights", "no weights"]);
        for outputs in ["full", "diagonal", "sum"] {
            misuse(&kernel(&format!("--kind {kind} --outputs {outputs}")), &[kind, "trace", "independent and alike"]);
        }
    }
    for kind in ["ntk", "nngp", "empirical-nngp --seed 1"] {
        misuse(&kernel(&format!("--kind {kind} --strategy auto")), &["--strategy", "empirical-ntk"]);
    }
}

#[test]
fn an_option_is_given_once() {
    misuse("kernel --model m.toml --model m.toml --x1 x.npy --kind ntk --out k.npy", &["--model"]);
}

#[test]
fn help_and_version_go_to_stdout() {
    let folder = Folder::new();
    for arguments in ["--help", "-h", "help", "help kernel", "kernel --help", "report --help", "--quick --help"] {
        let text = folder.run(arguments).success();
        assert!(text.contains("Usage: tangents") && text.contains("--threads"), "{arguments}: {text}");
    }
    assert_eq!(folder.run("--version").success(), format!("tangents {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn options_of_every_command_may_stand_before_it() {
    let folder = Folder::new();
    folder.run("--threads 2 --quiet kernel --model m.toml --x1 x.npy --kind ntk --out a.npy").success();
    folder.run("kernel --model m.toml --x1 x.npy --kind ntk --out b.npy --quiet --threads=1").success();
    assert_eq!(folder.array("a.npy"), folder.array("b.npy"));
}

#[test]
fn without_a_command_options_are_those_of_the_report_whatever_their_values() {
    let folder = Folder::new();
    // Values that are spelt like commands do not hide the command that is meant: each run ends at the missing table.
    for arguments in ["--out report --data none.csv", "--quiet --out kernel --data none.csv", "--data=none.csv --out help --quick"] {
        let message = folder.run(arguments).failure();
        assert!(message.contains("\"none.csv\""), "{arguments}: {message}");
    }
}

#[cfg(unix)]
#[test]
fn arguments_need_not_be_unicode() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    let name = std::ffi::OsStr::from_bytes(b"\xff\x1b[31m.toml");
    let mut command = assert_cmd::Command::new(program());
    command.args(["kernel", "--x1", "x.npy", "--kind", "ntk", "--out", "k.npy", "--model"]).arg(name).current_dir(folder.path(""));
    let message = Run::of(&command.output().unwrap()).failure();
    assert!(message.contains(r"\xFF\u{1b}[31m.toml"), "{message}");
}

#[test]
fn a_level_that_the_cpu_has_not_is_named_with_those_it_has() {
    let folder = Folder::new();
    let run = |level: &str| {
        let mut command = assert_cmd::Command::new(program());
        let arguments = "kernel --model m.toml --x1 x.npy --kind empirical-ntk --seed 1 --out k.npy --json";
        Run::of(&command.args(arguments.split(' ')).env("TANGENTS_SIMD", level).current_dir(folder.path("")).output().unwrap())
    };
    let message = run("neon").misuse();
    assert!(message.contains("TANGENTS_SIMD=neon") && message.contains("portable"), "{message:?}");
    assert!(run("portable").success().contains("\"cpu_level\":\"portable\""));
}

//! A folder of files to run the command in, and what a run left behind.

use std::path::{Path, PathBuf};
use std::process::Output;
use tangents::files::npy;

/// Virtual memory that a run may take where it is to prove that it asks for little: 4 GB, as `ulimit -v` counts.
const LIMIT_KIB: u64 = 4_000_000;

/// A folder for one test, removed at its end. Commands run in it, so that arguments are plain file names.
pub(crate) struct Folder(tempfile::TempDir);

/// How a command ended.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Folder {
    /// A folder with a model, and inputs that it can read.
    pub(crate) fn new() -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.text("m.toml", MODEL);
        folder.npy("x.npy", &[4, 3], &inputs(4 * 3));
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn text(&self, name: &str, text: &str) {
        self.bytes(name, text.as_bytes());
    }

    pub(crate) fn bytes(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn npy<T: npy::Element>(&self, name: &str, shape: &[usize], values: &[T]) {
        npy::write(&self.path(name), shape, values).unwrap();
    }

    /// The shape, the type and the values of a result.
    pub(crate) fn array(&self, name: &str) -> (Vec<usize>, &'static str, Vec<f64>) {
        let npy::Array { shape, values } = npy::read(&self.path(name)).unwrap();
        let dtype = match values {
            npy::Values::F32(_) => "f32",
            npy::Values::F64(_) => "f64",
        };
        (shape, dtype, values.into_f64())
    }

    /// Names in the folder, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Runs `tangents` with arguments that are separated by spaces.
    pub(crate) fn run(&self, arguments: &str) -> Run {
        Run::of(&assert_cmd::Command::new(program()).args(arguments.split(' ')).current_dir(self.0.path()).output().unwrap())
    }

    /// The same under a limit of memory, where the system can set one.
    pub(crate) fn run_with_little_memory(&self, arguments: &str) -> Run {
        if !cfg!(target_os = "linux") {
            return self.run(arguments);
        }
        let line = format!("ulimit -v {LIMIT_KIB} && exec \"$0\" \"$@\"");
        let mut shell = assert_cmd::Command::new("sh");
        shell.arg("-c").arg(line).arg(program()).args(arguments.split(' ')).current_dir(self.0.path());
        Run::of(&shell.output().unwrap())
    }

    /// Runs a command that must fail, under a limit of memory: its message, once it was seen that it is one sentence on one line and that
    /// the folder is as it was.
    #[track_caller]
    pub(crate) fn fails(&self, arguments: &str) -> String {
        let before = self.names();
        let message = self.run_with_little_memory(arguments).failure();
        assert_eq!(self.names(), before, "a run that failed left files: {arguments}");
        message
    }

    /// [`fails`](Folder::fails) for a kernel, with a message that says everything in `parts`.
    #[track_caller]
    pub(crate) fn kernel_fails(&self, arguments: &str, parts: &[&str]) {
        let message = self.fails(&format!("kernel {arguments} --out k.npy --quiet"));
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }

    /// Runs a kernel that must be computed.
    #[track_caller]
    pub(crate) fn kernel(&self, arguments: &str) -> (Vec<usize>, &'static str, Vec<f64>) {
        self.run(&format!("kernel {arguments} --out k.npy --quiet")).success();
        self.array("k.npy")
    }
}

impl Run {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("all output is UTF-8");
        Run { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// What is on stdout, of a run that must succeed.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        assert!(!self.stderr.lines().any(|line| line.starts_with("error")), "{}", self.stderr);
        self.stdout
    }

    /// The message of a run that must end with code 1: one line, with nothing beside it.
    #[track_caller]
    pub(crate) fn failure(self) -> String {
        assert_eq!(self.code, Some(1), "stdout {:?}, stderr {:?}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "");
        let message = self.stderr.strip_prefix("error: ").unwrap_or_else(|| panic!("no error: {:?}", self.stderr));
        assert_eq!(message.find('\n'), Some(message.len() - 1), "not one line: {message:?}");
        readable(message);
        message.trim_end().to_owned()
    }

    /// The message of a run that must end with code 2, which may show how the command is used on further lines.
    #[track_caller]
    pub(crate) fn misuse(self) -> String {
        assert_eq!(self.code, Some(2), "stdout {:?}, stderr {:?}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "");
        assert!(self.stderr.starts_with("error: "), "{:?}", self.stderr);
        readable(&self.stderr);
        self.stderr
    }
}

/// Refuses what a program says by accident.
#[track_caller]
fn readable(message: &str) {
    for noise in ["panicked", "Os {", "os error", "Some(", "Err(", "unwrap", "backtrace", "memory allocation", "\u{1b}", "\0"] {
        assert!(!message.contains(noise), "{noise:?} is in {message:?}");
    }
}

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tangents"))
}

/// A small network with outputs of different size, at infinite width in closed form.
pub(crate) const MODEL: &str = r#"
input = [3]
[[layers]]
type = "dense"
out = 8
w_std = 1.4
b_std = 0.3
[[layers]]
type = "relu"
[[layers]]
type = "dense"
out = 2
"#;

/// Numbers of no special size or sign.
pub(crate) fn inputs(n: usize) -> Vec<f64> {
    (0..n).map(|i| (i as f64 * 1.7 + 0.3).sin()).collect()
}

/// The largest distance of two arrays, as a share of the largest entry.
#[track_caller]
pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest
}

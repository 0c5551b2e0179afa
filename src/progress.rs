//! Progress on stderr: bars on a terminal, one plain line per finished stage elsewhere, nothing when quiet.
//!
//! Results go to stdout or to files, so nothing here writes to stdout. This is the only place that reads a clock. A
//! stderr that is closed or full never ends the program.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// Where progress is shown. Cheap to pass by reference; threads may share it.
#[derive(Debug)]
pub struct Progress {
    output: Output,
    bars: MultiProgress,
}

/// What stderr is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Hidden,
    Lines,
    Terminal,
}

/// One piece of work with a known number of steps. Threads may share it.
///
/// It ends when it is dropped. If all its steps were taken, or after [`Stage::finish`], a line with its name and time
/// stays; a stage that an error cut short leaves nothing.
#[derive(Debug)]
pub struct Stage<'a> {
    progress: &'a Progress,
    name: String,
    n_steps: u64,
    bar: ProgressBar,
    start: Instant,
    /// Set by [`Stage::finish`].
    finished: bool,
}

/// How long work takes, for benchmarks.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts to count.
    pub fn start() -> Self {
        Stopwatch(Instant::now())
    }

    /// Seconds since the start.
    pub fn seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

impl Progress {
    /// Bars on a terminal, lines elsewhere, and nothing at all if `quiet`.
    pub fn new(quiet: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self::to(match (quiet, io::stderr().is_terminal() && !dumb) {
            (true, _) => Output::Hidden,
            (false, true) => Output::Terminal,
            (false, false) => Output::Lines,
        })
    }

    /// Nothing at all, for tests and for use as a library.
    pub fn hidden() -> Self {
        Self::to(Output::Hidden)
    }

    fn to(output: Output) -> Self {
        let target = match output {
            Output::Terminal => ProgressDrawTarget::stderr(),
            Output::Hidden | Output::Lines => ProgressDrawTarget::hidden(),
        };
        Progress { output, bars: MultiProgress::with_draw_target(target) }
    }

    /// Starts a stage. With `n_steps` 0 their number is unknown, and no time left is shown.
    pub fn stage(&self, name: &str, n_steps: u64) -> Stage<'_> {
        let (bar, template) = match n_steps {
            0 => (ProgressBar::no_length(), "{spinner} {prefix} {elapsed} {wide_msg}"),
            _ => (ProgressBar::new(n_steps), "{prefix} [{bar:24}] {pos}/{len}, {eta} left {wide_msg}"),
        };
        let style = ProgressStyle::with_template(template).expect("the templates above are well formed");
        let bar = bar.with_style(style).with_prefix(name.to_string()).with_finish(ProgressFinish::AndClear);
        let bar = self.bars.add(bar);
        if self.output == Output::Terminal {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Stage { progress: self, name: name.to_string(), n_steps, bar, start: Instant::now(), finished: false }
    }

    /// Writes a line for the user, above the bars where there are any.
    pub fn note(&self, line: &str) {
        // Neither a closed nor a full stderr is a reason to lose the work.
        match self.output {
            Output::Hidden => {}
            Output::Lines => drop(writeln!(io::stderr(), "{line}")),
            Output::Terminal => self.bars.suspend(|| drop(writeln!(io::stderr(), "{line}"))),
        }
    }
}

impl Stage<'_> {
    /// Takes one step.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// So many steps are done.
    pub fn reach(&self, n_done: u64) {
        self.bar.set_position(n_done);
    }

    /// Shows a short text beside the bar. The last one stays on the finished line.
    pub fn message(&self, text: &str) {
        self.bar.set_message(text.to_string());
    }

    /// Ends the stage as done, also where fewer steps were needed than foreseen.
    pub fn finish(mut self) {
        self.finished = true;
    }

    /// The line that stays when the stage ends now.
    fn last_line(&self) -> Option<String> {
        let complete = self.n_steps > 0 && self.bar.position() >= self.n_steps;
        let done = (self.finished || complete) && !std::thread::panicking();
        done.then(|| finished_line(&self.name, self.start.elapsed(), &self.bar.message()))
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        // Read first: to clear a bar also moves it to its end.
        let line = self.last_line();
        self.bar.finish_and_clear();
        self.progress.bars.remove(&self.bar);
        if let Some(line) = line {
            self.progress.note(&line);
        }
    }
}

fn finished_line(name: &str, elapsed: Duration, message: &str) -> String {
    let seconds = elapsed.as_secs_f64();
    let time = match elapsed.as_secs() {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    };
    match message {
        "" => format!("{name} … {time}"),
        _ => format!("{name} … {time}, {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_name_time_and_last_message() {
        let line = |ms, message| finished_line("[3/8] kernels, width 512", Duration::from_millis(ms), message);
        assert_eq!(line(2_120, ""), "[3/8] kernels, width 512 … 2.1 s");
        assert_eq!(line(90_000, "loss 0.5"), "[3/8] kernels, width 512 … 1.5 min, loss 0.5");
        assert_eq!(line(7_200_000, ""), "[3/8] kernels, width 512 … 2.0 h");
    }

    #[test]
    fn threads_share_a_stage() {
        let progress = Progress::hidden();
        let stage = progress.stage("work", 400);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| stage.step()));
            }
        });
        stage.message("done");
        let line = stage.last_line().expect("all steps were taken");
        assert!(line.starts_with("work … ") && line.ends_with(", done"), "{line}");
    }

    #[test]
    fn only_stages_that_are_done_leave_a_line() {
        let progress = Progress::hidden();
        let mut stage = progress.stage("work", 2);
        stage.step();
        assert_eq!(stage.last_line(), None, "one step of two is a stage cut short");
        stage.finished = true;
        assert!(stage.last_line().is_some());
        stage.finished = false;
        stage.step();
        assert!(stage.last_line().is_some());
        let open_end = progress.stage("open end", 0);
        open_end.step();
        assert_eq!(open_end.last_line(), None, "an unknown number of steps is done by finish alone");
    }

    #[test]
    fn quiet_hides_everything() {
        assert_eq!(Progress::new(true).output, Output::Hidden);
    }
}

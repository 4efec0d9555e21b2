//! How far it is: bars on a terminal, lines elsewhere, on standard error.

use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Without a terminal, a line each time this many have been done.
const LINE_EVERY: u64 = 500;

/// What there is to be seen of the run.
pub struct Progress {
    look: Look,
    began: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Bars,
    Lines,
    Nothing,
}

impl Progress {
    pub fn new(silent: bool) -> Self {
        let look = match (silent, std::io::stderr().is_terminal()) {
            (true, _) => Look::Nothing,
            (false, true) => Look::Bars,
            (false, false) => Look::Lines,
        };
        Self { look, began: Instant::now() }
    }

    /// Says what is done next.
    pub fn say(&self, text: &str) {
        if self.look != Look::Nothing {
            eprintln!("{:6.1} s  {text}", self.began.elapsed().as_secs_f64());
        }
    }

    /// A task of `steps` steps.
    pub fn task(&self, what: &'static str, steps: usize) -> Task {
        let bar = match self.look {
            Look::Bars => ProgressBar::new(steps as u64),
            Look::Lines | Look::Nothing => ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::hidden()),
        };
        if let Ok(style) = ProgressStyle::with_template("{prefix:>12} [{bar:30}] {pos}/{len} {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what);
        Task { bar, what, lines: self.look == Look::Lines, began: self.began }
    }
}

/// One bar. Dropping it clears it away.
pub struct Task {
    bar: ProgressBar,
    what: &'static str,
    lines: bool,
    began: Instant,
}

impl Task {
    pub fn done(&self, steps: usize) {
        let before = self.bar.position();
        self.bar.inc(steps as u64);
        let now = self.bar.position();
        if self.lines && now / LINE_EVERY > before / LINE_EVERY {
            eprintln!("{:6.1} s  {} {now} of {}", self.began.elapsed().as_secs_f64(), self.what, self.bar.length().unwrap_or(0));
        }
    }

    /// What is going on within the task.
    pub fn now(&self, text: &str) {
        self.bar.set_message(text.to_owned());
        if self.lines {
            eprintln!("{:6.1} s  {text}", self.began.elapsed().as_secs_f64());
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

//! A run as it goes on: lines of steps with their names before them, and on a terminal what runs now.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidemill_core::StepState;
use tidemill_core::declare::Step;
use tidemill_pipeline::{Decision, Observer, Plan, Planned, StepReport};

use crate::output::{BAD, CAUTION, Console, FAINT, GOOD, STRONG, bytes, duration, plural};

/// Draws a run on standard error.
pub(crate) struct Display {
    bar: ProgressBar,
    color: bool,
    quiet: bool,
    width: usize,
    running: Mutex<BTreeSet<String>>,
}

impl Display {
    pub(crate) fn new(console: &Console, steps: &[Step]) -> Self {
        let shown = console.shows_progress();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} [{pos}/{len}] {wide_msg} {elapsed}") {
            bar.set_style(style);
        }
        Self {
            bar,
            color: console.err_color(),
            quiet: console.quiet(),
            width: steps.iter().map(|step| step.name.chars().count()).max().unwrap_or(0),
            running: Mutex::default(),
        }
    }

    fn paint(&self, style: anstyle::Style, text: impl std::fmt::Display) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_string() }
    }

    fn say(&self, text: &str) {
        use std::io::Write as _;

        if self.quiet {
            return;
        }
        if self.bar.is_hidden() {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        } else {
            self.bar.println(text);
        }
    }

    fn padded(&self, step: &str) -> String {
        let width = self.width;
        format!("{step:width$}")
    }

    fn now(&self, change: impl FnOnce(&mut BTreeSet<String>)) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut running);
        self.bar.set_message(running.iter().cloned().collect::<Vec<_>>().join(", "));
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Display {
    fn plan_ready(&self, plan: &Plan) {
        let todo = plan.steps.len() - plan.count(Decision::Unchanged);
        self.bar.set_length(todo as u64);
        self.bar.enable_steady_tick(Duration::from_millis(100));
    }

    fn step_started(&self, step: &Step, planned: &Planned) {
        self.now(|running| {
            running.insert(step.name.clone());
        });
        let why: Vec<String> = planned.reasons.iter().map(ToString::to_string).collect();
        let verb = if planned.decision == Decision::Restore { "restores" } else { "runs" };
        let name = self.paint(STRONG, self.padded(&step.name));
        self.say(&format!("{name}  {verb}: {}", why.join("; ")));
    }

    fn step_line(&self, step: &str, line: &str) {
        let name = self.paint(FAINT, self.padded(step));
        // A step's own control characters must not move the cursor or recolour what follows.
        let line: String =
            line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
        self.say(&format!("{name} {} {line}", self.paint(FAINT, "│")));
    }

    fn step_retry(&self, step: &str, failure: &str, attempt: u32, wait: Duration) {
        let name = self.padded(step);
        let text = format!("attempt {attempt} failed: {failure}; next in {}", duration(wait));
        self.say(&format!("{name}  {}", self.paint(CAUTION, text)));
    }

    fn step_finished(&self, report: &StepReport) {
        self.now(|running| {
            running.remove(&report.step);
        });
        let took = duration(Duration::from_millis(report.duration_ms));
        let size: u64 = report.outs.values().map(|out| out.bytes).sum();
        let (style, text) = match report.state {
            // Most steps of most runs: saying so for each would hide what happened.
            StepState::Unchanged => return,
            StepState::Ran => {
                let outs = plural(report.outs.len() as u64, "output");
                (GOOD, format!("✓ ran in {took}: {outs}, {}", bytes(size)))
            }
            StepState::Restored => (GOOD, format!("✓ restored in {took}: {}", bytes(size))),
            StepState::Failed => {
                // The reason follows below the plan's lines, in full.
                let code = report.failure.as_ref().and_then(|failure| failure.exit_code);
                let why = code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
                (BAD, format!("✗ failed after {took}{why}"))
            }
            StepState::Cancelled => (CAUTION, "stopped".to_owned()),
            StepState::Skipped => (FAINT, format!("skipped: {}", report.reasons.join("; "))),
        };
        self.bar.inc(1);
        let name = self.paint(STRONG, self.padded(&report.step));
        self.say(&format!("{name}  {}", self.paint(style, text)));
    }

    fn notice(&self, message: &str) {
        self.say(&format!("{}: {message}", self.paint(CAUTION, "note")));
    }
}

//! A progress bar on standard error, behind the vocabulary's `Progress`.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidemill_core::{Cancel, Progress, Unit};

use super::Console;

/// One bar that changes with the phase of the work. Shows nothing where standard error is not a terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
    cancel: Cancel,
}

impl Bar {
    /// A bar that has not begun.
    pub(crate) fn new(console: &Console, cancel: &Cancel) -> Self {
        let target = if console.shows_progress() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        Self { bar, cancel: cancel.clone() }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn begin(&self, phase: &str, total: Option<u64>, unit: Unit) {
        let template = match (unit, total.is_some()) {
            (Unit::Bytes, true) => {
                "{msg} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}"
            }
            (Unit::Bytes, false) => "{spinner} {msg} {decimal_bytes} {decimal_bytes_per_sec}",
            (Unit::Files | Unit::Rows | Unit::Items, true) => "{msg} [{bar:30}] {human_pos}/{human_len}",
            (Unit::Files | Unit::Rows | Unit::Items, false) => "{spinner} {msg} {human_pos}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("━╸ "));
        }
        self.bar.reset();
        match total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.bar.set_message(phase.to_owned());
        self.bar.enable_steady_tick(Duration::from_millis(100));
    }

    fn advance(&self, n: u64) {
        self.bar.inc(n);
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

//! How far a built-in step is, as lines of its log: seldom enough that a short step says nothing.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidemill_core::{Cancel, Progress, Unit};
use tidemill_pipeline::StepContext;

use crate::output::{bytes, count, plural};

/// Between two lines.
const EVERY: Duration = Duration::from_secs(5);

/// Stops with the step and tells its log how far the work is.
pub(super) struct StepProgress<'a> {
    cancel: &'a Cancel,
    log: &'a Mutex<dyn Write + Send + 'a>,
    every: Duration,
    began: Instant,
    /// Milliseconds after the beginning at which the next line is due.
    due: AtomicU64,
    done: AtomicU64,
    phase: Mutex<Phase>,
}

struct Phase {
    name: String,
    total: Option<u64>,
    unit: Unit,
}

impl<'a> StepProgress<'a> {
    pub(super) fn new(context: &StepContext<'a>) -> Self {
        Self::every(EVERY, context.cancel, context.log)
    }

    fn every(every: Duration, cancel: &'a Cancel, log: &'a Mutex<dyn Write + Send + 'a>) -> Self {
        let phase = Phase { name: String::new(), total: None, unit: Unit::Items };
        let due = AtomicU64::new(millis(every));
        let (began, done, phase) = (Instant::now(), AtomicU64::new(0), Mutex::new(phase));
        Self { cancel, log, every, began, due, done, phase }
    }

    /// Writes a line if one is due, from whichever thread comes first.
    fn tell(&self, line: impl FnOnce(&Phase) -> String) {
        let (now, due) = (millis(self.began.elapsed()), self.due.load(Ordering::Relaxed));
        let next = now.saturating_add(millis(self.every));
        let first =
            now >= due && self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if first && let Ok(mut log) = self.log.lock() {
            let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
            // A log that cannot be written must not fail the work it describes.
            let _ = writeln!(log, "{}", line(&phase));
        }
    }
}

impl Progress for StepProgress<'_> {
    fn begin(&self, phase: &str, total: Option<u64>, unit: Unit) {
        let new = Phase { name: phase.to_owned(), total, unit };
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = new;
        self.done.store(0, Ordering::Relaxed);
        self.tell(|phase| phase.name.clone());
    }

    fn advance(&self, n: u64) {
        let done = self.done.fetch_add(n, Ordering::Relaxed).saturating_add(n);
        self.tell(|phase| format!("{}: {}", phase.name, amount(done, phase)));
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

fn amount(done: u64, phase: &Phase) -> String {
    match (phase.unit, phase.total) {
        (Unit::Bytes, Some(total)) => format!("{} of {}", bytes(done), bytes(total)),
        (Unit::Bytes, None) => bytes(done),
        (Unit::Rows, Some(total)) => format!("{} of {}", count(done), plural(total, "row")),
        (Unit::Rows, None) => plural(done, "row"),
        (Unit::Files, Some(total)) => format!("{} of {}", count(done), plural(total, "file")),
        (Unit::Files, None) => plural(done, "file"),
        (Unit::Items, Some(total)) => format!("{} of {}", count(done), count(total)),
        (Unit::Items, None) => count(done),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(every: Duration) -> Vec<String> {
        let (cancel, log) = (Cancel::new(), Mutex::new(Vec::new()));
        let progress = StepProgress::every(every, &cancel, &log);
        progress.begin("binning", None, Unit::Items);
        progress.begin("boosting", Some(1200), Unit::Items);
        progress.advance(1);
        progress.advance(999);
        progress.begin("query", None, Unit::Rows);
        progress.advance(2500);
        assert!(!progress.cancelled());
        cancel.cancel();
        assert!(progress.cancelled());
        let text = String::from_utf8(log.into_inner().unwrap()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_long_step_says_how_far_it_is_and_a_short_one_nothing() {
        let all = [
            "binning",
            "boosting",
            "boosting: 1 of 1,200",
            "boosting: 1,000 of 1,200",
            "query",
            "query: 2,500 rows",
        ];
        assert_eq!(lines(Duration::ZERO), all);
        assert_eq!(lines(Duration::from_secs(600)), Vec::<String>::new());
    }
}

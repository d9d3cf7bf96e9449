//! Records finished steps on a thread of its own, in groups: logs are stored and the store is synced once for a group,
//! then its steps go into the journal. So the disk works on one step while the next one runs, and a recorded step always has its
//! outputs on disk.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fs_err as fs;
use tidemill_core::Cancel;

use crate::{Contents, Error, Journal, RunStarted, StepFinished};

/// Steps that may wait to be recorded before a worker waits too.
const QUEUE: usize = 256;
/// Short steps that end within this time are recorded together: a sync of the disk and a transaction cost as much as
/// such a step, and hold up the files that the next one makes. A run that is killed in between repeats them.
const GATHER: Duration = Duration::from_millis(50);
/// Where the disk is slow, steps are gathered for as long as it took to record those before, so that it is left to the
/// steps half of the time; and no longer than this.
const LONGEST_GATHER: Duration = Duration::from_millis(100);
/// Steps that took so long together, in milliseconds, are recorded at once: they are worth more than a sync.
const WORTH_A_SYNC: u64 = 100;

/// What is to be recorded.
pub(super) enum Entry {
    /// The run begins.
    Started(Box<RunStarted>),
    /// A step ended.
    Finished(Box<StepFinished>),
}

#[derive(Default)]
pub(super) struct Recorder {
    broken: AtomicBool,
    error: Mutex<Option<Error>>,
}

impl Recorder {
    /// The queue into the recorder.
    pub(super) fn queue() -> (SyncSender<Entry>, Receiver<Entry>) {
        sync_channel(QUEUE)
    }

    /// Whether recording failed; the run should end.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// What went wrong.
    pub(super) fn into_result(self) -> Result<(), Error> {
        match self.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Records until the queue is closed. After an error the rest is dropped: a step whose record is lost runs again.
    pub(super) fn work(
        &self,
        queue: &Receiver<Entry>,
        root: &Path,
        contents: &dyn Contents,
        journal: &dyn Journal,
    ) {
        let mut took = Duration::ZERO;
        while let Ok(first) = queue.recv() {
            let mut group = vec![first];
            // Waiting ends when no more can come.
            let (mut worth, since) = (worth(&group[0]), Instant::now());
            while group.len() < QUEUE
                && let Ok(next) = queue.recv_timeout(patience(took, worth, since.elapsed()))
            {
                worth = worth.saturating_add(self::worth(&next));
                group.push(next);
            }
            if self.is_broken() {
                continue;
            }
            let began = Instant::now();
            if let Err(error) = record(&mut group, root, contents, journal) {
                *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                self.broken.store(true, Ordering::SeqCst);
            }
            took = began.elapsed();
        }
    }
}

/// How much longer others are waited for, after it took so long to record those before and what is here has waited.
fn patience(took: Duration, worth: u64, waited: Duration) -> Duration {
    if worth >= WORTH_A_SYNC {
        return Duration::ZERO;
    }
    took.clamp(GATHER, LONGEST_GATHER).saturating_sub(waited)
}

/// How long it would take to repeat, in milliseconds. That the run began is not to wait at all.
fn worth(entry: &Entry) -> u64 {
    match entry {
        Entry::Started(_) => WORTH_A_SYNC,
        Entry::Finished(step) => step.duration_ms,
    }
}

fn record(
    group: &mut [Entry],
    root: &Path,
    contents: &dyn Contents,
    journal: &dyn Journal,
) -> Result<(), Error> {
    let logs = store_logs(group, root, contents)?;
    if logs || group.iter().any(|entry| matches!(entry, Entry::Finished(step) if step.cached().is_some())) {
        contents.sync()?;
    }
    for entry in group {
        match entry {
            Entry::Started(run) => journal.run_started(run)?,
            Entry::Finished(step) => journal.step_finished(step)?,
        }
    }
    Ok(())
}

/// Stores what the steps printed and notes it in their records; returns whether anything was stored.
fn store_logs(group: &mut [Entry], root: &Path, contents: &dyn Contents) -> Result<bool, Error> {
    let mut steps = Vec::new();
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in group {
        let Entry::Finished(step) = entry else { continue };
        let Some(path) = step.log.as_ref().map(|log| root.join(log)) else { continue };
        // A log that is gone or empty is worth neither an object nor an error.
        if fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
            paths.push(path);
            steps.push(step);
        }
    }
    // Asked to stop, the run still records how its steps ended.
    let stored = contents.keep(&paths, &Cancel::new())?;
    for (step, content) in steps.iter_mut().zip(&stored) {
        step.stored_log = Some(content.digest);
    }
    Ok(!stored.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_steps_wait_for_others_and_long_ones_do_not() {
        let ms = Duration::from_millis;
        for (took, worth, waited, left) in [
            (ms(0), 3, ms(0), GATHER),
            (ms(5), 3, ms(20), ms(30)),
            (ms(5), WORTH_A_SYNC - 1, ms(0), GATHER),
            // Worth a sync of their own.
            (ms(5), WORTH_A_SYNC, ms(0), ms(0)),
            (ms(80), 3_600_000, ms(0), ms(0)),
            // A slow disk has half of the time, up to a limit.
            (ms(80), 3, ms(10), ms(70)),
            (ms(5_000), 3, ms(0), LONGEST_GATHER),
            (ms(5_000), 3, ms(200), ms(0)),
        ] {
            assert_eq!(patience(took, worth, waited), left, "{took:?} {worth} {waited:?}");
        }
    }
}

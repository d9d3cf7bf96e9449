//! Carrying out the decision about one step, on its own thread: restore its outputs, or run it with retries.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fs_err as fs;
use tidemill_core::declare::{Action, Sandbox, Step};
use tidemill_core::{Cancel, StepState, Timestamp};

use super::access::Declared;
use super::environment::environment;
use super::log::{StepLog, log_file};
use super::outputs::{self, Placeholders};
use super::outside::{Outside, Programs};
use super::{RunOptions, Services, explain, unfinished};
use crate::executor::{Exit, Job};
use crate::{
    ActionRecord, Content, ContentKind, Decision, Error, Planned, Reason, StepContext, StepEnd, StepFailure,
};

/// The longest wait before another attempt.
const LONGEST_BACKOFF: Duration = Duration::from_mins(5);

/// One step to be carried out.
pub(super) struct Work<'a> {
    pub(super) root: &'a Path,
    pub(super) services: &'a Services<'a>,
    pub(super) options: &'a RunOptions,
    pub(super) step: &'a Step,
    pub(super) planned: &'a Planned,
    /// What it reads that no step writes.
    pub(super) inputs: Vec<String>,
    /// Distinguishes the scratch folders of a run.
    pub(super) position: usize,
    /// Whether the executor can enforce the sandbox.
    pub(super) sandbox: bool,
    /// What the steps of the run have found.
    pub(super) programs: &'a Programs,
    /// Threads for a built-in body.
    pub(super) threads: usize,
    pub(super) stop: &'a Cancel,
}

/// How it went.
pub(super) struct Outcome {
    pub(super) state: StepState,
    pub(super) outs: BTreeMap<String, Content>,
    pub(super) failure: Option<StepFailure>,
    pub(super) attempts: u32,
    pub(super) duration: Duration,
    pub(super) finished: Timestamp,
    pub(super) log: Option<String>,
    /// Why it did something else than was planned.
    pub(super) reasons: Vec<Reason>,
}

/// Why an attempt did not succeed.
enum Stop {
    /// The step failed; another attempt may follow.
    Failed(Box<StepFailure>),
    /// The store or the system failed.
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            Error::Cancelled => Self::Failed(Box::new(StepFailure::cancelled())),
            Error::Step { message, hint, .. } => {
                Self::Failed(Box::new(StepFailure { hint, ..StepFailure::new(message) }))
            }
            other => Self::Error(other),
        }
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Error(error.into())
    }
}

impl From<StepFailure> for Stop {
    fn from(failure: StepFailure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

impl Work<'_> {
    pub(super) fn carry_out(&self) -> Result<Outcome, Error> {
        let started = self.services.clock.now();
        self.services.observer.step_started(self.step, self.planned);
        let (mut attempts, mut log, mut reasons) = (0, None, Vec::new());
        let restored = match self.planned.decision {
            Decision::Restore => self.restore().map(|damaged| {
                reasons.extend(damaged.map(|path| Reason::Damaged { path: path.to_owned() }));
                damaged.is_none()
            }),
            Decision::Unchanged | Decision::Run | Decision::MayRun => Ok(false),
        };
        let result = match restored {
            Ok(true) => Ok((StepState::Restored, self.planned.outs.clone())),
            Ok(false) => {
                log = Some(log_file(self.options.run, &self.step.name));
                self.tracked(&mut attempts, log.as_deref()).map(|outs| (StepState::Ran, outs))
            }
            Err(stop) => Err(stop),
        };
        let (state, outs, failure) = match result {
            Ok((state, outs)) => (state, outs, None),
            Err(Stop::Error(error)) if self.stop.is_cancelled() => {
                (StepState::Cancelled, BTreeMap::new(), Some(StepFailure::new(error.to_string())))
            }
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Failed(failure)) => {
                let state = if failure.cancelled { StepState::Cancelled } else { StepState::Failed };
                (state, BTreeMap::new(), Some(*failure))
            }
        };
        let finished = self.services.clock.now();
        let duration = finished.since(started);
        Ok(Outcome { state, outs, failure, attempts, duration, finished, log, reasons })
    }

    /// Brings back the outputs that are not in place. Gives the first one of which the store has no whole copy any
    /// more: the step has to run then.
    fn restore(&self) -> Result<Option<&str>, Stop> {
        self.rescue(true)?;
        unfinished::begin(self.root, self.step, self.step.outs.iter());
        let result = self.bring_back();
        if !matches!(result, Ok(None)) {
            unfinished::remember(self.root, self.step);
        }
        unfinished::end(self.root, self.step);
        result
    }

    fn bring_back(&self) -> Result<Option<&str>, Stop> {
        let paths: Vec<PathBuf> = self.planned.outs.keys().map(|path| self.root.join(path)).collect();
        let now = self.services.contents.identify(&paths, self.stop)?;
        for ((path, (out, content)), now) in paths.iter().zip(&self.planned.outs).zip(now) {
            if now.is_some_and(|now| (now.digest, now.kind) == (content.digest, content.kind)) {
                continue;
            }
            let folder = content.kind == ContentKind::Folder;
            if fs::symlink_metadata(path).is_ok_and(|there| there.is_symlink() || there.is_dir() != folder) {
                outputs::remove(path)?;
            }
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            match self.services.contents.checkout(content, path, self.stop) {
                Err(Error::Damaged { message, .. }) => {
                    self.services.observer.notice(&format!(
                        "`{out}` cannot be restored, so step `{}` runs again: {message}; `tidemill data verify` \
                         looks for more damage",
                        self.step.name
                    ));
                    // What is damaged must not be taken for a copy when the step has written it again.
                    self.services.contents.mend(content, self.stop)?;
                    return Ok(Some(out.as_str()));
                }
                done => done?,
            }
        }
        Ok(None)
    }

    /// Runs the body between the two calls of the tracker, which sees every beginning and every end.
    fn tracked(&self, attempts: &mut u32, log: Option<&str>) -> Result<BTreeMap<String, Content>, Stop> {
        let variables = self.services.tracker.step_started(self.step)?;
        let result = self.run(&variables, attempts);
        let none = BTreeMap::new();
        let (state, outs, failure) = match &result {
            Ok(outs) => (StepState::Ran, outs, None),
            Err(Stop::Failed(failure)) if failure.cancelled => (StepState::Cancelled, &none, None),
            Err(Stop::Failed(failure)) => (StepState::Failed, &none, Some(failure.message.clone())),
            Err(Stop::Error(error)) => (StepState::Failed, &none, Some(error.to_string())),
        };
        let at = self.services.clock.now();
        let deps = self.planned.record.as_ref().map_or(&none, |record| &record.deps);
        let end = StepEnd { state, at, deps, outs, failure: failure.as_deref(), log };
        let told = self.services.tracker.step_ended(self.step, &end);
        // What made the step fail matters more than that it could not be told.
        let outs = result?;
        told?;
        Ok(outs)
    }

    fn run(
        &self,
        variables: &BTreeMap<String, OsString>,
        attempts: &mut u32,
    ) -> Result<BTreeMap<String, Content>, Stop> {
        let record = self.planned.record.as_ref();
        let record =
            record.ok_or_else(|| Error::Internal("a step without a record was started".to_owned()))?;
        self.save_inputs(record)?;
        self.rescue(false)?;
        // What persists is not only the step's: what was in it before has not been kept.
        unfinished::begin(self.root, self.step, self.step.outs.iter().filter(|out| !out.persist));
        let scratch =
            self.root.join(".tidemill/tmp").join(format!("{}-{}", self.options.run.short(), self.position));
        let path = self.root.join(log_file(self.options.run, &self.step.name));
        let log = Mutex::new(StepLog::create(&path, self.services.observer, &self.step.name)?);
        let mut backoff = self.step.retry.backoff;
        let result = loop {
            *attempts += 1;
            let failure = match self.attempt(record, variables, &scratch, &log, &path) {
                Err(Stop::Failed(failure)) if !failure.cancelled && *attempts <= self.step.retry.times => {
                    failure
                }
                other => break other,
            };
            let wait = backoff.min(LONGEST_BACKOFF);
            backoff = backoff.saturating_mul(2);
            self.services.observer.step_retry(&self.step.name, &failure.message, *attempts, wait);
            lock(&log).remark(&format!("[{}; attempt {} in {wait:?}]", failure.message, *attempts + 1))?;
            if !self.sleep(wait) {
                break Err(StepFailure::cancelled().into());
            }
        };
        // What is left in it is of no use to anybody; a failure to remove it does not make the step fail.
        let _ = fs::remove_dir_all(&scratch);
        if result.is_err() {
            unfinished::remember(self.root, self.step);
        }
        unfinished::end(self.root, self.step);
        result
    }

    /// Keeps what the step reads and no step writes, so that the run can be reproduced.
    fn save_inputs(&self, record: &ActionRecord) -> Result<(), Stop> {
        let local = |path: &&String| record.deps.get(*path).is_some_and(|c| c.kind != ContentKind::Remote);
        let inputs: Vec<&String> = self.inputs.iter().filter(local).collect();
        let paths: Vec<PathBuf> = inputs.iter().map(|path| self.root.join(path)).collect();
        let saved = self.services.contents.save(&paths, self.stop)?;
        for (path, saved) in inputs.into_iter().zip(saved) {
            if record.deps.get(path).is_none_or(|known| known.digest != saved.digest) {
                return Err(self.changed(path).into());
            }
        }
        Ok(())
    }

    fn changed(&self, path: &str) -> StepFailure {
        StepFailure::new(format!("`{path}` changed while step `{}` ran", self.step.name)).with_hint(
            "its result may be made of both versions; run again when nothing writes the file, and declare it in \
             `outs` if the step itself does",
        )
    }

    /// One attempt from clean outputs to stored ones.
    fn attempt(
        &self,
        record: &ActionRecord,
        variables: &BTreeMap<String, OsString>,
        scratch: &Path,
        log: &Mutex<StepLog<'_>>,
        log_path: &Path,
    ) -> Result<BTreeMap<String, Content>, Stop> {
        lock(log).begin_attempt();
        outputs::clear(self.root, self.step)?;
        outputs::remove(scratch)?;
        fs::create_dir_all(scratch)?;
        let placed = match &self.step.action {
            Action::Run { command } => {
                let env = environment(self.root, self.step, scratch, self.options, variables)?;
                self.command(command, record, env, scratch, log, log_path)?
            }
            Action::Sql { .. } | Action::Train(_) => {
                let env = environment(self.root, self.step, scratch, self.options, variables)?;
                self.builtin(&env, scratch, log)?;
                None
            }
        };
        let missing = outputs::missing(self.root, self.step, placed.as_ref());
        if let Some(first) = missing.first() {
            let names: Vec<String> = missing.iter().map(|path| format!("`{path}`")).collect();
            if let Some(placed) = &placed {
                placed.remove_untouched(self.root)?;
            }
            let message =
                format!("step `{}` ended without writing its output {}", self.step.name, names.join(", "));
            let hint = format!("write it, or remove `{first}` from `outs:` of the step ({})", self.place());
            return Err(self.failure(log, StepFailure::new(message).with_hint(hint)).into());
        }
        let reads: Vec<&String> =
            record.deps.iter().filter(|(_, c)| c.kind != ContentKind::Remote).map(|(path, _)| path).collect();
        let paths: Vec<PathBuf> = reads.iter().map(|path| self.root.join(path)).collect();
        let now = self.services.contents.identify(&paths, self.stop)?;
        for (path, now) in reads.into_iter().zip(now) {
            if now.map(|now| now.digest) != record.deps.get(path).map(|known| known.digest) {
                return Err(self.changed(path).into());
            }
        }
        let paths: Vec<PathBuf> = self.step.outs.iter().map(|out| self.root.join(&out.path)).collect();
        let saved = self.services.contents.save(&paths, self.stop)?;
        Ok(self.step.outs.iter().map(|out| out.path.clone()).zip(saved).collect())
    }

    /// Runs a command; the placeholders are those of a sandboxed one.
    fn command(
        &self,
        command: &str,
        record: &ActionRecord,
        env: BTreeMap<String, OsString>,
        scratch: &Path,
        log: &Mutex<StepLog<'_>>,
        log_path: &Path,
    ) -> Result<Option<Placeholders>, Stop> {
        let sandboxed = self.sandbox && self.step.sandbox == Sandbox::On;
        let declared = Declared::new(self.root, self.step, record);
        let outside = sandboxed.then(|| {
            Outside::new(self.root, command, &env, &self.step.reads, &declared.tools, self.programs)
        });
        let mut placed = sandboxed.then(|| Placeholders::new(self.step, self.planned.compared_with.as_ref()));
        let mut job = Job {
            step: self.step.name.clone(),
            key: record.key().to_string(),
            command: command.to_owned(),
            folder: self.root.to_owned(),
            env,
            timeout: self.step.timeout,
            grace: self.options.grace,
            access: None,
        };
        loop {
            if let (Some(placed), Some(outside)) = (&placed, &outside) {
                placed.create(self.root)?;
                job.access = Some(declared.access(self.root, scratch, outside));
            }
            let exit = {
                // The command's output is the only writer of the log while it runs.
                let mut log = lock(log);
                let exit = self.services.executor.run(&job, &mut *log, self.stop);
                log.finish_line();
                exit
            };
            let exit = exit.map_err(|error| {
                StepFailure::new(format!("step `{}` could not be run: {error}", self.step.name))
            })?;
            if exit.is_success() {
                return Ok(placed);
            }
            let output =
                if sandboxed { explain::end_of(log_path, lock(log).attempt_start()) } else { String::new() };
            if let Some(placed) = &mut placed
                && is_wrong_kind(&output)
                && placed.turn_guesses(self.root)
            {
                let mut log = lock(log);
                log.remark("[an output is a folder rather than a file, or the reverse: once more]")?;
                log.begin_attempt();
                outputs::clear(self.root, self.step)?;
                continue;
            }
            if let Some(placed) = &placed {
                placed.remove_untouched(self.root)?;
            }
            let mut failure = self.describe(exit);
            if sandboxed && matches!(exit, Exit::Code(_)) {
                let file = &self.options.project_file;
                if let Some((message, hint)) =
                    explain::explain(self.root, file, self.step, &declared, &output)
                {
                    (failure.message, failure.hint) = (message, Some(hint));
                } else if let Some(out) = explain::existing_out(self.step, &output) {
                    let hint = format!(
                        "Tidemill has made a place for the output `{out}`: use `mkdir -p`, or write into it"
                    );
                    failure.hint = Some(hint);
                }
            }
            return Err(self.failure(log, failure).into());
        }
    }

    /// Runs a built-in body on this thread. Its timeout is a request to stop.
    fn builtin(
        &self,
        env: &BTreeMap<String, OsString>,
        scratch: &Path,
        log: &Mutex<StepLog<'_>>,
    ) -> Result<(), Stop> {
        let own = Cancel::new();
        let timed_out = Mutex::new(false);
        let run = |cancel: &Cancel| {
            let context = StepContext {
                root: self.root,
                run: self.options.run,
                log,
                cancel,
                scratch,
                threads: self.threads.max(1),
                env,
            };
            catch_unwind(AssertUnwindSafe(|| self.services.builtin.run(self.step, &context))).unwrap_or_else(
                |_| Err(StepFailure::new("the built-in step panicked; this is a bug in Tidemill")),
            )
        };
        let result = match self.step.timeout {
            None => run(self.stop),
            Some(timeout) => std::thread::scope(|scope| {
                let (done, ended) = std::sync::mpsc::channel::<()>();
                let (own, timed_out) = (&own, &timed_out);
                scope.spawn(move || {
                    let until = Instant::now() + timeout;
                    let tick = Duration::from_millis(50);
                    while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) =
                        ended.recv_timeout(tick.min(until.saturating_duration_since(Instant::now())))
                    {
                        let late = Instant::now() >= until;
                        if late || self.stop.is_cancelled() {
                            *timed_out.lock().unwrap_or_else(PoisonError::into_inner) = late;
                            own.cancel();
                            break;
                        }
                    }
                });
                let result = run(own);
                drop(done);
                result
            }),
        };
        lock(log).finish_line();
        match result {
            Ok(()) => Ok(()),
            Err(failure) if failure.cancelled => {
                let late = *timed_out.lock().unwrap_or_else(PoisonError::into_inner);
                let failure = if late { self.describe(Exit::TimedOut) } else { failure };
                Err(self.failure(log, failure).into())
            }
            Err(failure) => {
                let message = format!("step `{}` failed: {}", self.step.name, failure.message);
                Err(self.failure(log, StepFailure { message, ..failure }).into())
            }
        }
    }

    fn describe(&self, exit: Exit) -> StepFailure {
        let name = &self.step.name;
        match exit {
            Exit::Cancelled => StepFailure::cancelled(),
            Exit::Code(code) => {
                let why = match code {
                    126 => " (the command cannot be executed)",
                    127 => " (command not found)",
                    _ => "",
                };
                let message = format!("step `{name}` failed with exit code {code}{why}");
                StepFailure { exit_code: Some(code), ..StepFailure::new(message) }
            }
            Exit::Signal(signal) => {
                let known = match signal {
                    6 => " (SIGABRT)",
                    9 => " (SIGKILL; perhaps the system ran out of memory)",
                    11 => " (SIGSEGV)",
                    15 => " (SIGTERM)",
                    _ => "",
                };
                StepFailure::new(format!("step `{name}` was killed by signal {signal}{known}"))
            }
            Exit::TimedOut => {
                let limit = self.step.timeout.unwrap_or_default();
                StepFailure::new(format!("step `{name}` did not end within {limit:?} and was killed"))
                    .with_hint(format!("raise `timeout:` of the step ({})", self.place()))
            }
        }
    }

    /// Adds the last lines of the log and how to go on.
    fn failure(&self, log: &Mutex<StepLog<'_>>, mut failure: StepFailure) -> StepFailure {
        failure.tail = lock(log).tail();
        if !failure.cancelled {
            let log = log_file(self.options.run, &self.step.name);
            let again = format!(
                "run just this step with `tidemill run {}`; its log is `{log}`",
                shell(&self.step.name)
            );
            failure.hint = Some(match failure.hint {
                Some(hint) => format!("{hint}; {again}"),
                None => again,
            });
        }
        failure
    }

    fn place(&self) -> String {
        format!("{}:{}", self.options.project_file, self.step.line)
    }

    /// Waits; false if stopped meanwhile.
    fn sleep(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        while !self.stop.is_cancelled() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(Duration::from_millis(20)));
        }
        false
    }
}

/// Whether a command's output says that something was a folder rather than a file, or the reverse.
fn is_wrong_kind(output: &str) -> bool {
    let output = output.to_lowercase();
    ["is a directory", "not a directory", "non-directory", "file exists", "eisdir", "enotdir", "eexist"]
        .iter()
        .any(|sign| output.contains(sign))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A word as it can be typed in a shell.
fn shell(word: &str) -> String {
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./@=,:".contains(c));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

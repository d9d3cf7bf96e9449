//! Some workers of one model: lent to callers, and started again when they break.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::session::PythonSettings;
use super::worker::{Worker, WorkerError};
use crate::priority::{OF_SHADOWS, give_way};

/// The workers.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    model: PathBuf,
    settings: PythonSettings,
    kind: Kind,
    state: Mutex<State>,
    /// Told when a worker has come free or has started.
    free: Condvar,
    /// Told when a worker is missing or the pool is closed.
    missing: Condvar,
}

/// For whom the workers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// For callers: they are there from the beginning, so that nobody waits for one to start.
    Callers,
    /// For shadows: started at their first call, ended when no shadow has called for long, and behind all others for the processor.
    Shadows,
}

struct State {
    idle: Vec<Worker>,
    /// Calls that have a worker or wait for one.
    calls: usize,
    /// Whether none is to run until the next call.
    is_resting: bool,
    /// When a call last began or ended.
    used: Instant,
    /// Workers that are to be started.
    missing: usize,
    /// Failures in a row, and when the next start may be.
    failures: u32,
    next_start: Instant,
    last_error: Option<String>,
    is_closed: bool,
    restarts: u64,
}

/// The pause after the first failure, doubled with each that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often the supervisor looks by itself.
const LOOK: Duration = Duration::from_secs(60);

impl Pool {
    /// With one worker that runs; the others are started in the background.
    pub(super) fn new(model: PathBuf, settings: PythonSettings, first: Worker) -> std::io::Result<Self> {
        let missing = settings.workers.max(1) - 1;
        Self::start(model, settings, Kind::Callers, State { idle: vec![first], missing, ..State::new() })
    }

    /// Of workers apart from those of callers, for shadows. None runs before the first call.
    pub(super) fn for_shadows(model: PathBuf, settings: PythonSettings) -> std::io::Result<Self> {
        Self::start(model, settings, Kind::Shadows, State { is_resting: true, ..State::new() })
    }

    fn start(model: PathBuf, settings: PythonSettings, kind: Kind, state: State) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            model,
            settings,
            kind,
            state: Mutex::new(state),
            free: Condvar::new(),
            missing: Condvar::new(),
        });
        let of_thread = shared.clone();
        // It ends by itself when the pool is closed. Nobody waits for it: it may be starting a worker, which takes its time.
        let name = "python-workers".to_owned();
        std::thread::Builder::new().name(name).spawn(move || of_thread.supervise())?;
        Ok(Self { shared })
    }

    /// Gives a call to a worker, waiting for one to come free. A caller that waits longer than the limit of calls is given that long.
    pub(super) fn call(&self, request: &[u8], until: Option<Instant>) -> Result<Vec<u8>, String> {
        let _call = self.shared.begin();
        let for_worker = match self.shared.kind {
            Kind::Callers => self.shared.settings.call_timeout,
            // The first one is to be started.
            Kind::Shadows => self.shared.settings.start_timeout + self.shared.settings.call_timeout,
        };
        let mut worker = self.shared.lend(patience(for_worker, until, Instant::now()))?;
        match worker.call(request, patience(self.shared.settings.call_timeout, until, Instant::now())) {
            Ok(answer) => {
                self.shared.give_back(worker);
                Ok(answer)
            }
            Err(WorkerError::Model(why)) => {
                self.shared.give_back(worker);
                Err(why)
            }
            Err(WorkerError::Broken(why)) => {
                drop(worker);
                self.shared.lost(&why);
                Err(why)
            }
        }
    }

    /// Processes that are idle.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.shared.lock().idle.iter().map(Worker::pid).collect()
    }

    /// Workers that run or are to run.
    pub(super) fn workers(&self) -> usize {
        if self.shared.lock().is_resting { 0 } else { self.shared.settings.workers.max(1) }
    }

    /// How often a worker was started again.
    pub(super) fn restarts(&self) -> u64 {
        self.shared.lock().restarts
    }
}

impl State {
    fn new() -> Self {
        Self {
            idle: Vec::new(),
            calls: 0,
            is_resting: false,
            used: Instant::now(),
            missing: 0,
            failures: 0,
            next_start: Instant::now(),
            last_error: None,
            is_closed: false,
            restarts: 0,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call, until the value goes. Workers that rest are started.
    fn begin(&self) -> Call<'_> {
        let mut state = self.lock();
        (state.calls, state.used) = (state.calls + 1, Instant::now());
        if std::mem::take(&mut state.is_resting) {
            state.missing = self.settings.workers.max(1);
            self.missing.notify_one();
        }
        drop(state);
        Call(self)
    }

    fn lend(&self, limit: Duration) -> Result<Worker, String> {
        let until = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            if let Some(worker) = state.idle.pop() {
                return Ok(worker);
            }
            if state.is_closed {
                return Err("the model is being unloaded".to_owned());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let seconds = limit.as_secs_f64();
                return Err(match &state.last_error {
                    Some(error) => {
                        format!("no worker came free within {seconds} seconds; the last one: {error}")
                    }
                    None => format!("no worker came free within {seconds} seconds"),
                });
            }
            state = self.free.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn give_back(&self, worker: Worker) {
        let mut state = self.lock();
        (state.failures, state.last_error) = (0, None);
        // Dropping a worker waits for its process, which is not for the lock.
        let surplus = if state.is_closed {
            Some(worker)
        } else {
            state.idle.push(worker);
            None
        };
        drop(state);
        drop(surplus);
        self.free.notify_one();
    }

    fn lost(&self, why: &str) {
        let mut state = self.lock();
        state.missing += 1;
        state.restarts += 1;
        self.failed(&mut state, why);
        drop(state);
        self.missing.notify_one();
    }

    fn failed(&self, state: &mut State, why: &str) {
        let pause = FIRST_PAUSE.saturating_mul(1 << state.failures.min(16)).min(LONGEST_PAUSE);
        state.failures = state.failures.saturating_add(1);
        state.next_start = Instant::now() + pause;
        state.last_error = Some(why.to_owned());
        tracing::warn!(
            model = %self.model.display(), failures = state.failures, pause_ms = pause.as_millis() as u64,
            "a worker of a Python model is to be started again: {why}"
        );
    }

    /// How often it is looked whether workers have nothing to do any more.
    fn look(&self) -> Duration {
        match self.kind {
            Kind::Callers => LOOK,
            Kind::Shadows => LOOK.min(self.settings.shadow_rest),
        }
    }

    /// Workers for shadows that nobody has asked for long: they end, and start again with the next call.
    fn rest(&self, state: &mut State) -> Option<Vec<Worker>> {
        let is_over = self.kind == Kind::Shadows
            && !state.is_resting
            && state.calls == 0
            && state.used.elapsed() >= self.settings.shadow_rest;
        if !is_over {
            return None;
        }
        (state.is_resting, state.missing) = (true, 0);
        Some(std::mem::take(&mut state.idle))
    }

    fn supervise(&self) {
        if self.kind == Kind::Shadows {
            give_way(OF_SHADOWS, "workers for shadows");
        }
        loop {
            let mut state = self.lock();
            loop {
                if state.is_closed {
                    return;
                }
                if let Some(idle) = self.rest(&mut state) {
                    drop(state);
                    drop(idle);
                    state = self.lock();
                    continue;
                }
                let pause = state.next_start.saturating_duration_since(Instant::now());
                if state.missing > 0 && pause.is_zero() {
                    break;
                }
                let wait = if state.missing > 0 { pause } else { self.look() };
                state = self.missing.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            }
            drop(state);
            let started = Worker::start(&self.model, &self.settings);
            let mut state = self.lock();
            match started {
                // Nobody waits for it any more, and its files may be gone.
                Err(_) if state.is_closed => return,
                Ok((worker, _)) if !state.is_closed => {
                    state.missing -= 1;
                    state.idle.push(worker);
                    drop(state);
                    self.free.notify_one();
                }
                Ok((worker, _)) => {
                    drop(state);
                    drop(worker);
                }
                Err(WorkerError::Model(why) | WorkerError::Broken(why)) => self.failed(&mut state, &why),
            }
        }
    }
}

/// A call that goes on.
struct Call<'a>(&'a Shared);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        (state.calls, state.used) = (state.calls.saturating_sub(1), Instant::now());
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_closed = true;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        self.shared.missing.notify_all();
        self.shared.free.notify_all();
        // Workers are waited for as they end. The last request of a model that was unloaded may be what lets go of it, on a thread that
        // answers connections.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(idle))),
            Err(_) => drop(idle),
        }
    }
}

/// How long a call may take from now on.
fn patience(call_timeout: Duration, until: Option<Instant>, now: Instant) -> Duration {
    until.map_or(call_timeout, |until| until.saturating_duration_since(now).max(call_timeout))
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("model", &self.shared.model).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_that_waits_longer_than_the_limit_is_given_that_long() {
        let (now, limit) = (Instant::now(), Duration::from_secs(30));
        assert_eq!(patience(limit, None, now), limit);
        assert_eq!(patience(limit, Some(now + Duration::from_secs(90)), now), Duration::from_secs(90));
        // One in a hurry hears of its deadline from the gateway; the worker is not ended for it.
        assert_eq!(patience(limit, Some(now + Duration::from_millis(10)), now), limit);
        assert_eq!(patience(limit, Some(now), now + Duration::from_secs(1)), limit);
    }
}

//! The way into a loaded model: at once on the caller's task where calls are short and nobody waits, else through a
//! bounded queue whose requests are joined into batches within a latency budget.

mod call;
mod decide;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidemill_runtime::{Session, Tensor};
use tokio::sync::oneshot;

pub use call::{Answer, call, call_joined, call_with, can_join};
use decide::{Decision, Mean, Pace, View, decide, expected_wait};

use super::metrics::LaneMeter;
use super::settings::ServingSettings;
use crate::InferError;

/// The longest call that is made on a thread which also answers connections.
const SHORT: Duration = Duration::from_micros(500);

/// The queue in front of one loaded model.
#[derive(Debug)]
pub struct Lane {
    session: Arc<dyn Session>,
    limits: Limits,
    /// Requests in the queue, readable without its lock.
    waiting: AtomicUsize,
    /// Nanoseconds of a row in short calls, measured.
    row_nanos: AtomicU64,
    queue: Mutex<Queue>,
    wake: Condvar,
    meter: Arc<LaneMeter>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    max_batch: usize,
    max_wait: Duration,
    workers: usize,
    max_queue: usize,
    is_joinable: bool,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    rows: usize,
    workers: usize,
    /// Whether a worker waits for its batch to fill.
    is_gathering: bool,
    newest: Option<Instant>,
    gap: Mean,
    /// Time of a worker for a request.
    each: Mean,
    pace: Pace,
}

#[derive(Debug)]
struct Job {
    inputs: Arc<Vec<Tensor>>,
    rows: usize,
    params: Option<Arc<str>>,
    came: Instant,
    deadline: Instant,
    answer: oneshot::Sender<Called>,
}

/// An answer, and when the call for it began; none where it was not made.
type Called = (Answer, Option<Instant>);

/// What became of a request.
#[derive(Debug)]
pub struct Ran {
    /// The answer.
    pub answer: Answer,
    /// The inputs; none where they are still in use by a call that took too long.
    pub inputs: Option<Vec<Tensor>>,
    /// When the call began; none where it did not.
    pub called: Option<Instant>,
}

impl Lane {
    /// In front of `session`; `is_joinable` says whether its rows may stand in one call.
    pub fn new(
        session: Arc<dyn Session>,
        settings: &ServingSettings,
        is_joinable: bool,
        meter: Arc<LaneMeter>,
    ) -> Arc<Self> {
        let limits = Limits {
            max_batch: if is_joinable { settings.max_batch.max(1) } else { 1 },
            max_wait: settings.max_wait,
            workers: settings.concurrency.max(1),
            max_queue: settings.max_queue.max(1),
            is_joinable,
        };
        Arc::new(Self {
            session,
            limits,
            waiting: AtomicUsize::new(0),
            row_nanos: AtomicU64::new(0),
            queue: Mutex::new(Queue::default()),
            wake: Condvar::new(),
            meter,
        })
    }

    /// The session behind it.
    pub fn session(&self) -> &Arc<dyn Session> {
        &self.session
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Rows that are joined at most.
    pub fn max_batch(&self) -> usize {
        self.limits.max_batch
    }

    /// Answers a request. One that is not answered at its deadline fails, and does not run if it has not begun.
    pub async fn run(self: &Arc<Self>, inputs: Vec<Tensor>, rows: usize, deadline: Instant) -> Ran {
        self.run_with(inputs, rows, None, deadline).await
    }

    /// The same with parameters; such a request is joined with no other.
    pub async fn run_with(
        self: &Arc<Self>,
        inputs: Vec<Tensor>,
        rows: usize,
        params: Option<Arc<str>>,
        deadline: Instant,
    ) -> Ran {
        if self.is_short(rows) {
            let begun = Instant::now();
            if begun >= deadline {
                return Ran { answer: Err(late()), inputs: Some(inputs), called: None };
            }
            let answer = call_with(&*self.session, &inputs, params.as_deref(), Some(deadline));
            self.measure(begun.elapsed(), rows);
            self.meter.batch(rows);
            return Ran { answer, inputs: Some(inputs), called: Some(begun) };
        }
        // In a box, or the calls that are made at once would be as large.
        Box::pin(self.wait(inputs, rows, params, deadline)).await
    }

    /// Answers a request in its turn.
    async fn wait(
        self: &Arc<Self>,
        inputs: Vec<Tensor>,
        rows: usize,
        params: Option<Arc<str>>,
        deadline: Instant,
    ) -> Ran {
        let inputs = Arc::new(inputs);
        let mut called = None;
        let answer = match self.enqueue(Arc::clone(&inputs), rows, params, deadline) {
            Ok(answer) => match tokio::time::timeout_at(deadline.into(), answer).await {
                Ok(Ok((answer, begun))) => {
                    called = begun;
                    answer
                }
                Ok(Err(_)) => Err(InferError::Internal("the call was cut off".to_owned())),
                Err(_) => Err(late()),
            },
            Err(error) => Err(error),
        };
        Ran { answer, inputs: Arc::try_unwrap(inputs).ok(), called }
    }

    /// Whether a call is short enough for the caller's own task. Nobody may wait, or the caller would jump the queue.
    fn is_short(&self, rows: usize) -> bool {
        if !self.session.is_quick() || self.waiting() > 0 {
            return false;
        }
        let row = self.row_nanos.load(Ordering::Relaxed);
        let expected = Duration::from_nanos(row.saturating_mul(rows as u64));
        rows <= self.limits.max_batch.max(64) && expected <= SHORT
    }

    /// Takes a call's time into the mean of a row's. A thread that had to wait for its processor makes one call look
    /// hundreds of times as long, so a call lifts the mean by a quarter at most; a model that really is slow gets there
    /// within some twenty calls.
    fn measure(&self, took: Duration, rows: usize) {
        let row = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / (rows.max(1) as u64);
        let before = self.row_nanos.load(Ordering::Relaxed);
        // Two that measure at once lose one of the measurements.
        let after = if before == 0 {
            row.max(1)
        } else if row > before {
            before + ((row - before) / 8).min(before / 4 + 1)
        } else {
            before - (before - row) / 8
        };
        self.row_nanos.store(after, Ordering::Relaxed);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(
        self: &Arc<Self>,
        inputs: Arc<Vec<Tensor>>,
        rows: usize,
        params: Option<Arc<str>>,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Called>, InferError> {
        let (answer, receiver) = oneshot::channel();
        let now = Instant::now();
        let mut queue = self.queue();
        let wait = expected_wait(queue.jobs.len(), queue.each.get(), self.limits.workers);
        if queue.jobs.len() >= self.limits.max_queue {
            let message = format!("{} requests wait for this model, which is all that may", queue.jobs.len());
            return Err(InferError::TooMany { message, retry_after: wait });
        }
        if now >= deadline {
            return Err(late());
        }
        let is_known = queue.each.get().is_some() && !queue.jobs.is_empty();
        if is_known && now + wait > deadline {
            let message = format!(
                "{} requests wait for this model: this one would not be answered in time",
                queue.jobs.len()
            );
            return Err(InferError::TooMany { message, retry_after: wait });
        }
        if let Some(newest) = queue.newest.replace(now) {
            queue.gap.add(now.saturating_duration_since(newest));
        }
        queue.rows += rows;
        queue.jobs.push_back(Job { inputs, rows, params, came: now, deadline, answer });
        self.count(queue.jobs.len());
        let enough = queue.rows >= self.limits.max_batch;
        // A worker that gathers looks again by itself; it is woken only for what it could not know.
        if queue.is_gathering && (enough || deadline <= now + self.limits.max_wait) {
            self.wake.notify_one();
        }
        if queue.workers == 0 || queue.workers < self.limits.workers && (enough || !queue.is_gathering) {
            self.start_worker(&mut queue);
        }
        Ok(receiver)
    }

    fn count(&self, waiting: usize) {
        self.waiting.store(waiting, Ordering::Relaxed);
        self.meter.waiting(waiting);
    }

    fn start_worker(self: &Arc<Self>, queue: &mut Queue) {
        queue.workers += 1;
        let lane = Arc::clone(self);
        tokio::task::spawn_blocking(move || lane.work());
    }

    /// Runs batches until nothing waits.
    fn work(self: &Arc<Self>) {
        while let Some(jobs) = self.next_batch() {
            let begun = Instant::now();
            let requests: Vec<&[Tensor]> = jobs.iter().map(|job| job.inputs.as_slice()).collect();
            let until = jobs.iter().map(|job| job.deadline).max();
            let answers = match jobs.as_slice() {
                [Job { inputs, params: Some(params), .. }] => {
                    vec![call_with(&*self.session, inputs, Some(params), until)]
                }
                _ => call_joined(&*self.session, &requests, until),
            };
            let took = begun.elapsed();
            let rows = jobs.iter().map(|job| job.rows).sum();
            self.meter.batch(rows);
            // Here too, or a model that was once slow would never be called on a caller's task again.
            self.measure(took, rows);
            let each = took / u32::try_from(jobs.len()).unwrap_or(u32::MAX).max(1);
            self.queue().each.add(each);
            for (job, answer) in jobs.into_iter().zip(answers) {
                let Job { inputs, answer: sender, .. } = job;
                // The caller takes its inputs back when nobody else holds them.
                drop(inputs);
                // A caller that has gone does not want the answer.
                let _ = sender.send((answer, Some(begun)));
            }
        }
    }

    /// The next requests to run together; none where the worker has nothing to do and ends.
    fn next_batch(self: &Arc<Self>) -> Option<Vec<Job>> {
        let mut queue = self.queue();
        let mut waited_from = None;
        loop {
            let now = Instant::now();
            self.drop_late(&mut queue, now);
            let view = queue.view(now);
            let decision = decide(view, self.limits.max_batch, self.limits.max_wait);
            match decision {
                Decision::Wait(time) if self.limits.is_joinable && !queue.is_gathering => {
                    waited_from.get_or_insert(view.requests);
                    queue.is_gathering = true;
                    queue = self.wake.wait_timeout(queue, time).unwrap_or_else(PoisonError::into_inner).0;
                    queue.is_gathering = false;
                }
                // Another worker waits for the batch to fill and will run it.
                Decision::Wait(_) if self.limits.is_joinable => {
                    queue.workers -= 1;
                    return None;
                }
                Decision::Idle => {
                    queue.workers -= 1;
                    return None;
                }
                Decision::Run | Decision::Wait(_) => {
                    queue.pace.after(waited_from.map(|requests| view.requests > requests));
                    let jobs = self.take(&mut queue);
                    if !queue.jobs.is_empty() && queue.workers < self.limits.workers {
                        self.start_worker(&mut queue);
                    }
                    return Some(jobs);
                }
            }
        }
    }

    /// The first request, and those after it that fit into one call with it.
    fn take(&self, queue: &mut Queue) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        let mut rows = 0;
        while let Some(next) = queue.jobs.front() {
            let fits = jobs.first().is_none_or(|first| {
                rows + next.rows <= self.limits.max_batch
                    && first.params.is_none()
                    && next.params.is_none()
                    && can_join(&first.inputs, &next.inputs)
            });
            let Some(job) = fits.then(|| queue.jobs.pop_front()).flatten() else { break };
            rows += job.rows;
            jobs.push(job);
        }
        queue.rows -= rows.min(queue.rows);
        self.count(queue.jobs.len());
        jobs
    }

    /// Drops requests whose deadline has passed or whose caller has gone.
    fn drop_late(&self, queue: &mut Queue, now: Instant) {
        let before = queue.jobs.len();
        let mut kept = VecDeque::with_capacity(before);
        for job in queue.jobs.drain(..) {
            if job.answer.is_closed() {
                continue;
            }
            if job.deadline <= now {
                let _ = job.answer.send((Err(late()), None));
                continue;
            }
            kept.push_back(job);
        }
        queue.jobs = kept;
        if queue.jobs.len() != before {
            queue.rows = queue.jobs.iter().map(|job| job.rows).sum();
            self.count(queue.jobs.len());
        }
    }
}

impl Queue {
    fn view(&self, now: Instant) -> View {
        let each = self.each.get().unwrap_or_default();
        let call = each.saturating_mul(u32::try_from(self.jobs.len()).unwrap_or(u32::MAX));
        let end = self.jobs.iter().map(|job| job.deadline).min();
        View {
            requests: self.jobs.len(),
            rows: self.rows,
            oldest: self.jobs.front().map_or(Duration::ZERO, |job| now.saturating_duration_since(job.came)),
            newest: self.newest.map_or(Duration::ZERO, |newest| now.saturating_duration_since(newest)),
            gap: self.gap.get(),
            slack: end.map_or(Duration::MAX, |end| end.saturating_duration_since(now).saturating_sub(call)),
            is_promising: self.pace.is_promising(),
        }
    }
}

fn late() -> InferError {
    InferError::Deadline("the request was not answered before its deadline".to_owned())
}

#[cfg(test)]
mod tests;

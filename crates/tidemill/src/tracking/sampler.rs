//! One thread that samples the machine and the steps at work, and logs to their runs.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tidemill_core::{Clock, RunId};
use tidemill_db::tracking::{Batch, Metric};

use super::queue::{Queue, Write};
use super::system::{Machine, Peaks, Reading, Rhythm};

/// How often it is asked whether a step is due.
const TICK: Duration = Duration::from_millis(250);

/// Samples until it is dropped. The thread begins with the first step that is at work for a tick: steps that are over
/// at once cost nothing.
pub(super) struct Sampler {
    shared: Arc<Shared>,
    stop: Mutex<Option<mpsc::Sender<()>>>,
}

struct Shared {
    queue: Queue,
    clock: Arc<dyn Clock>,
    watched: Mutex<Vec<Watched>>,
}

struct Watched {
    run: RunId,
    /// Identifier of the pipeline run.
    parent: String,
    step: String,
    /// Whether its body runs in this process.
    inside: bool,
    rhythm: Rhythm,
    samples: i64,
    peaks: Peaks,
}

impl Sampler {
    pub(super) fn new(queue: Queue, clock: Arc<dyn Clock>) -> Self {
        let shared = Arc::new(Shared { queue, clock, watched: Mutex::default() });
        Self { shared, stop: Mutex::new(None) }
    }

    /// A step is at work.
    pub(super) fn begin(&self, run: RunId, parent: &str, step: &str, inside: bool) {
        let watched = Watched {
            run,
            parent: parent.to_owned(),
            step: step.to_owned(),
            inside,
            rhythm: Rhythm::new(Instant::now()),
            samples: 0,
            peaks: Peaks::default(),
        };
        self.shared.watched().push(watched);
        let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        if stop.is_none() {
            let (sender, receiver) = mpsc::channel();
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("system metrics".to_owned());
            // Without the thread there are no system metrics, which is no reason to stop the work.
            if thread.spawn(move || shared.sample(&receiver)).is_ok() {
                *stop = Some(sender);
            }
        }
    }

    /// A step is over: its peaks are logged, where there was time for a sample.
    pub(super) fn end(&self, run: RunId) {
        let mut watched = self.shared.watched();
        let Some(at) = watched.iter().position(|watched| watched.run == run) else { return };
        let ended = watched.swap_remove(at);
        drop(watched);
        self.shared.log(run, &ended.peaks.readings(), ended.samples);
    }
}

impl Shared {
    fn watched(&self) -> std::sync::MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sample(&self, stop: &mpsc::Receiver<()>) {
        let mut machine: Option<Machine> = None;
        while let Err(mpsc::RecvTimeoutError::Timeout) = stop.recv_timeout(TICK) {
            let now = Instant::now();
            let due: Vec<(RunId, String, String, bool)> = self
                .watched()
                .iter_mut()
                .filter_map(|watched| {
                    let due = machine.is_none() || watched.samples == 0 || watched.rhythm.due(now);
                    due.then(|| (watched.run, watched.parent.clone(), watched.step.clone(), watched.inside))
                })
                .collect();
            if due.is_empty() {
                continue;
            }
            let Some(machine) = &mut machine else {
                // The first reading is what rates are measured against.
                machine = Some(Machine::new());
                continue;
            };
            let whole = machine.read();
            for (run, parent, step, inside) in due {
                let own = machine.read_step(&parent, &step, inside);
                let mut watched = self.watched();
                let Some(watched) = watched.iter_mut().find(|watched| watched.run == run) else { continue };
                watched.peaks.see(&own);
                let sample = watched.samples;
                watched.samples += 1;
                let readings: Vec<Reading> = whole.iter().cloned().chain(own).collect();
                self.log(run, &readings, sample);
            }
        }
    }

    fn log(&self, run: RunId, readings: &[Reading], sample: i64) {
        if readings.is_empty() {
            return;
        }
        let at = self.clock.now();
        let metrics = readings.iter().map(|(key, value)| Metric {
            key: key.clone(),
            value: *value,
            at,
            step: sample,
            dataset_name: None,
            dataset_digest: None,
            model_id: None,
            run_id: None,
        });
        self.queue.write(Write::Log(run, Box::new(Batch { metrics: metrics.collect(), ..Batch::default() })));
    }
}

//! Shadows: models that are shown requests and answer nobody.
//!
//! A caller is done before its request is shown, and pays for a copy of its inputs at most. A shadow has a thread of
//! its own of lower priority and a bounded queue; what does not fit is dropped and counted. A model whose places for calls
//! are few, as workers of Python are, has others for shadows. So one that is slow, hangs or crashes takes nothing but its
//! own turn, also where other callers are answered by the very same version.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_core::Timestamp;
use tidemill_runtime::Tensor;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::batch::{call_joined, can_join};
use super::decision::{self, Said};
use super::metrics::{ArmLabels, ArmMeter, ERROR_KINDS, Metrics, error_kind, is_refusal};
use super::model::Loaded;
use super::models::Models;
use super::plan::Prepared;
use super::slices::Mark;
use super::source::Which;
use crate::priority::{OF_SHADOWS, give_way};
use crate::{Failure, InferError, Named, Record, Recorder, Status};

/// How long a shadow's model may take to load.
const LOAD: Duration = Duration::from_secs(300);

/// A request that is shown.
#[derive(Debug)]
pub(super) struct Shown {
    /// The request's id.
    pub(super) id: Arc<str>,
    /// When it came.
    pub(super) time: Timestamp,
    /// What was given.
    pub(super) inputs: Vec<Named>,
    /// What it is about.
    pub(super) entity: Option<Arc<str>>,
    /// What is kept of its header.
    pub(super) headers: Vec<(Arc<str>, String)>,
    /// Whether the answer is recorded.
    pub(super) is_recorded: bool,
    /// The groups that it is counted in.
    pub(super) mark: Option<Mark>,
    /// What the caller was answered by another arm's model; none where no model answered.
    pub(super) said: Option<Arc<Said>>,
}

/// The queue in front of a shadow. Its thread ends after the value is dropped, when the queue is empty.
#[derive(Debug)]
pub(super) struct Shadow {
    queue: mpsc::Sender<Shown>,
    meter: Arc<ArmMeter>,
}

/// What a shadow needs to answer.
#[derive(Clone)]
pub(super) struct Stage {
    /// The models.
    pub(super) models: Arc<Models>,
    /// Where answers are recorded.
    pub(super) recorder: Option<Arc<dyn Recorder>>,
    /// Counters.
    pub(super) metrics: Arc<Metrics>,
    /// Where loads run.
    pub(super) runtime: Handle,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stage")
    }
}

/// Which arm of which endpoint a shadow is.
#[derive(Clone, Debug)]
pub(super) struct Role {
    /// The endpoint.
    pub(super) endpoint: Arc<str>,
    /// The arm.
    pub(super) arm: Arc<str>,
    /// The model.
    pub(super) model: Arc<str>,
    /// Which version.
    pub(super) which: Which,
    /// What is counted of it by the declaration that it belongs to.
    pub(super) counted: Arc<ArmMeter>,
    /// From which score on somebody would act on what it says.
    pub(super) threshold: Option<f64>,
}

impl Shadow {
    /// Starts a shadow with room for so many requests.
    pub(super) fn start(stage: Stage, role: Role, room: usize) -> Self {
        let (queue, shown) = mpsc::channel(room.max(1));
        let meter = stage.metrics.arm(&role.labels(&"".into()));
        let name = format!("shadow {}", role.arm);
        let thread = std::thread::Builder::new().name(name.chars().take(15).collect());
        if let Err(error) = thread.spawn(move || answer_all(&stage, &role, shown)) {
            // The queue is closed then: everything is dropped and counted.
            tracing::error!(%error, "a shadow cannot be started");
        }
        Self { queue, meter }
    }

    /// Counts a request that it was not shown.
    pub(super) fn drop_one(&self) {
        self.meter.shadow_dropped();
    }

    /// Whether a request would be taken now; spares a copy of its inputs where not.
    pub(super) fn has_room(&self) -> bool {
        !self.queue.is_closed() && self.queue.capacity() > 0
    }

    /// Shows a request; `false` if it was dropped.
    pub(super) fn show(&self, shown: Shown) -> bool {
        self.queue.try_send(shown).is_ok()
    }
}

fn answer_all(stage: &Stage, role: &Role, mut shown: mpsc::Receiver<Shown>) {
    give_way(OF_SHADOWS, "a shadow");
    while let Some(first) = next(&mut shown) {
        let came = Instant::now();
        let ready = stage.models.ready(&role.model, &role.which, false, came + LOAD);
        let loaded = match stage.runtime.block_on(ready) {
            Ok(loaded) => loaded,
            Err(error) => {
                stage.failed(role, first, &error, came.elapsed());
                continue;
            }
        };
        let mut batch = vec![first];
        while batch.len() < loaded.lane.max_batch() {
            let Ok(next) = shown.try_recv() else { break };
            batch.push(next);
        }
        stage.answer(role, &loaded, batch, came);
    }
}

/// The next request; none where no more come. While they come the queue is looked at now and then, and only at rest does the thread wait to be
/// woken: to wake it for each of them would cost callers more than the copy that they make.
fn next(shown: &mut mpsc::Receiver<Shown>) -> Option<Shown> {
    const LOOK: Duration = Duration::from_millis(1);
    const LOOKS: usize = 20;
    for _ in 0..LOOKS {
        match shown.try_recv() {
            Ok(next) => return Some(next),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => std::thread::sleep(LOOK),
        }
    }
    shown.blocking_recv()
}

impl Stage {
    /// Answers what was taken from the queue together: in as few calls as possible, since nobody waits.
    fn answer(&self, role: &Role, loaded: &Loaded, batch: Vec<Shown>, came: Instant) {
        let mut group: Vec<(Shown, Prepared)> = Vec::with_capacity(batch.len());
        for mut shown in batch {
            match loaded.plan.prepare(std::mem::take(&mut shown.inputs)) {
                Ok(prepared) => {
                    let joins = group.first().is_none_or(|(_, first)| {
                        loaded.plan.is_joinable && can_join(&first.tensors, &prepared.tensors)
                    });
                    if !joins {
                        self.run(role, loaded, std::mem::take(&mut group), came);
                    }
                    group.push((shown, prepared));
                }
                Err(error) => self.failed(role, shown, &error, came.elapsed()),
            }
        }
        self.run(role, loaded, group, came);
    }

    fn run(&self, role: &Role, loaded: &Loaded, group: Vec<(Shown, Prepared)>, came: Instant) {
        if group.is_empty() {
            return;
        }
        let inputs: Vec<&[Tensor]> = group.iter().map(|(_, prepared)| prepared.tensors.as_slice()).collect();
        let session = &**loaded.lane.session();
        let answers = call_joined(session.for_shadows().unwrap_or(session), &inputs, None);
        let took = came.elapsed();
        let meter = self.metrics.arm(&role.labels(&loaded.version));
        for ((shown, prepared), answer) in group.into_iter().zip(answers) {
            for meter in [&meter, &role.counted] {
                match &answer {
                    Ok(_) => meter.answered(took),
                    Err(error) => meter.failed(error, took),
                }
            }
            if let Some(mark) = &shown.mark {
                mark.count(&role.arm, answer.as_ref().err(), took);
            }
            let mut answer = answer.map(|tensors| name_outputs(loaded, tensors));
            if let Ok(outputs) = &mut answer
                && (role.threshold.is_some() || shown.said.is_some())
                && let Some(own) = Said::of(outputs, role.threshold)
            {
                if let Some(answered) = &shown.said {
                    role.counted.compare(&own, answered);
                }
                decision::add(outputs, own.output().as_ref());
            }
            self.record(role, loaded, shown, prepared, answer, took);
        }
    }

    fn record(
        &self,
        role: &Role,
        loaded: &Loaded,
        shown: Shown,
        prepared: Prepared,
        answer: Result<Vec<Named>, InferError>,
        latency: Duration,
    ) {
        let Some(recorder) = self.recorder.as_ref().filter(|_| shown.is_recorded) else { return };
        let (outputs, status) = match answer {
            Ok(outputs) => (outputs, Status::Answered),
            Err(error) => (Vec::new(), Status::Failed(failure(&error))),
        };
        recorder.record(Record {
            model: Arc::clone(&loaded.model),
            version: Arc::clone(&loaded.version),
            release: Arc::clone(&loaded.release),
            inputs: match (&prepared.originals, prepared.tensors.as_slice()) {
                (None, [matrix]) if loaded.plan.is_matrix() => loaded.plan.split(matrix),
                _ => named_inputs(prepared.originals, prepared.names, Some(prepared.tensors)),
            },
            outputs,
            status,
            ..role.record(shown, latency)
        });
    }

    /// A request that the shadow's model did not see.
    fn failed(&self, role: &Role, mut shown: Shown, error: &InferError, latency: Duration) {
        self.metrics.arm(&role.labels(&"".into())).failed(error, latency);
        role.counted.failed(error, latency);
        if let Some(mark) = shown.mark.as_ref().filter(|_| is_refusal(error)) {
            mark.count(&role.arm, Some(error), latency);
        }
        let Some(recorder) = self.recorder.as_ref().filter(|_| shown.is_recorded) else { return };
        let inputs = std::mem::take(&mut shown.inputs);
        let status = Status::Failed(failure(error));
        recorder.record(Record { inputs, status, ..role.record(shown, latency) });
    }
}

impl Role {
    fn labels(&self, version: &Arc<str>) -> ArmLabels {
        ArmLabels {
            endpoint: Arc::clone(&self.endpoint),
            arm: Arc::clone(&self.arm),
            model: Arc::clone(&self.model),
            version: Arc::clone(version),
        }
    }

    fn record(&self, shown: Shown, latency: Duration) -> Record {
        Record {
            id: shown.id,
            time: shown.time,
            endpoint: Arc::clone(&self.endpoint),
            model: Arc::clone(&self.model),
            version: "".into(),
            release: "".into(),
            arm: Some(Arc::clone(&self.arm)),
            is_shadow: true,
            latency,
            inputs: Vec::new(),
            outputs: Vec::new(),
            status: Status::Answered,
            warnings: Vec::new(),
            entity: shown.entity,
            headers: shown.headers,
        }
    }
}

/// An error as it is recorded.
pub(super) fn failure(error: &InferError) -> Failure {
    Failure { kind: ERROR_KINDS[error_kind(error)], message: error.to_string() }
}

/// Outputs with the model's names.
pub(super) fn name_outputs(loaded: &Loaded, tensors: Vec<Tensor>) -> Vec<Named> {
    let slots = loaded.lane.session().outputs();
    slots.iter().zip(tensors).map(|(slot, tensor)| Named { name: slot.name.clone(), tensor }).collect()
}

/// Inputs as they were given, or as the session took them.
pub(super) fn named_inputs(
    originals: Option<Vec<Named>>,
    names: Vec<String>,
    tensors: Option<Vec<Tensor>>,
) -> Vec<Named> {
    if let Some(originals) = originals {
        return originals;
    }
    let tensors = tensors.unwrap_or_default();
    names.into_iter().zip(tensors).map(|(name, tensor)| Named { name, tensor }).collect()
}

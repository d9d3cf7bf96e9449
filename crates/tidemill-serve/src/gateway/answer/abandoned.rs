//! Requests whose callers went before they were answered: what answered for them is dropped where it waits, and nothing behind that
//! point runs any more. They are counted and recorded here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Gateway, Kept};
use crate::gateway::endpoint::{ArmState, Endpoint};
use crate::gateway::metrics::CANCELLED;
use crate::{Failure, Record, Status};

/// A request that waits for its model.
pub(super) struct Waiting<'a> {
    gateway: &'a Gateway,
    endpoint: &'a Endpoint,
    arm: &'a ArmState,
    kept: &'a Kept,
    begun: Instant,
    is_over: bool,
}

impl<'a> Waiting<'a> {
    pub(super) const fn new(
        gateway: &'a Gateway,
        endpoint: &'a Endpoint,
        arm: &'a ArmState,
        kept: &'a Kept,
        begun: Instant,
    ) -> Self {
        Self { gateway, endpoint, arm, kept, begun, is_over: false }
    }

    /// The model has answered or failed, which is counted elsewhere.
    pub(super) fn is_over(mut self) {
        self.is_over = true;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.cancelled(self.begun.elapsed());
        }
    }
}

impl Waiting<'_> {
    fn cancelled(&self, latency: Duration) {
        let Self { endpoint, arm, kept, .. } = self;
        let stage = &self.gateway.inner.stage;
        let loaded = stage.models.loaded(&arm.model, &arm.which, Instant::now());
        // Names that nobody has would each be a row of metrics and a folder of the inference log for ever.
        if endpoint.spec.is_none() && loaded.is_none() {
            return;
        }
        match &loaded {
            Some(loaded) => endpoint.bound(arm, loaded, &stage.metrics).meter.cancelled(latency),
            None => endpoint.unbound(arm, &stage.metrics).cancelled(latency),
        }
        if !kept.is_asked {
            arm.counted.cancelled(latency);
        }
        if let (Some(mark), Some(arm), Some(_)) = (&kept.mark, &arm.name, &loaded) {
            mark.cancelled(arm, latency);
        }
        let Some(recorder) = stage.recorder.as_ref().filter(|_| kept.is_recorded) else { return };
        let message = "the caller went before the answer came".to_owned();
        let of_loaded = |part: fn(&crate::gateway::model::Loaded) -> &Arc<str>| {
            loaded.as_deref().map_or_else(|| "".into(), |loaded| Arc::clone(part(loaded)))
        };
        recorder.record(Record {
            id: kept.id.as_str().into(),
            time: kept.time,
            endpoint: Arc::clone(&endpoint.name),
            model: Arc::clone(&arm.model),
            version: of_loaded(|loaded| &loaded.version),
            release: of_loaded(|loaded| &loaded.release),
            arm: arm.name.clone(),
            is_shadow: false,
            latency,
            inputs: Vec::new(),
            outputs: Vec::new(),
            status: Status::Failed(Failure { kind: CANCELLED, message }),
            warnings: Vec::new(),
            entity: kept.entity.clone(),
            headers: kept.headers.clone(),
        });
    }
}

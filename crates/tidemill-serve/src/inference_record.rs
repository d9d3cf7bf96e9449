//! The seam between answering requests and keeping a record of them.

use std::sync::Arc;
use std::time::Duration;

use tidemill_core::Timestamp;

use crate::Named;
use crate::record::RecordsSpec;

/// The header field in which a caller says when what the request is about happened, as RFC 3339. It is kept with every record, and
/// is what windows of monitoring and the join of outcomes by entity go by; where it is absent, that is when the request came.
pub const EVENT_TIME_HEADER: &str = "tidemill-event-time";

/// A request that came to its end: answered, or refused by the model or its limits.
#[derive(Clone, Debug)]
pub struct Record {
    /// The request's id; the caller's answer and what a shadow answered have the same.
    pub id: Arc<str>,
    /// When the request came.
    pub time: Timestamp,
    /// The endpoint, or the registered model where it was asked for directly.
    pub endpoint: Arc<str>,
    /// The registered model that was asked.
    pub model: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// The digest of what was loaded (`b3:…`), by which a record can be led back to its training.
    pub release: Arc<str>,
    /// The arm of the endpoint; none where a model was asked directly.
    pub arm: Option<Arc<str>>,
    /// Whether the arm only mirrors: nobody was given this answer.
    pub is_shadow: bool,
    /// From the request's arrival in the gateway to its answer, waiting included.
    pub latency: Duration,
    /// What the model was given: columns by their names, in the order of the model; empty where it did not fit it.
    pub inputs: Vec<Named>,
    /// What was answered; empty where the request failed.
    pub outputs: Vec<Named>,
    /// How it ended.
    pub status: Status,
    /// The notes of the answer: values outside of the training range, a fallback that answered.
    pub warnings: Vec<String>,
    /// What the request is about, where the endpoint declares a header or input column for it: outcomes may be
    /// joined by it.
    pub entity: Option<Arc<str>>,
    /// The header fields that the endpoint declares to be kept, names in lower case, and [`EVENT_TIME_HEADER`].
    pub headers: Vec<(Arc<str>, String)>,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The model answered.
    Answered,
    /// The model failed or refused the request, and the declared fallback answered.
    FellBack(Failure),
    /// It was not answered.
    Failed(Failure),
}

/// Why a request was not answered by the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of error, from a small closed set: `invalid`, `too_many`, `unavailable`, `deadline`, `model`,
    /// `internal`, `cancelled`.
    pub kind: &'static str,
    /// The message that the caller was given.
    pub message: String,
}

/// Keeps records.
pub trait Recorder: Send + Sync {
    /// Whether this request is to be recorded. Asked once before the model runs, so that what is left out of a
    /// sample costs no copy of its tensors. `id` is the request's id: a sample drawn from it holds answer and
    /// shadow alike, and is the same in every process.
    fn wants(&self, endpoint: &str, id: &str) -> bool {
        let _ = (endpoint, id);
        true
    }

    /// What an endpoint declares about its records from now on. It holds for records that come after, also where the
    /// endpoint is deleted later.
    ///
    /// # Errors
    ///
    /// Where it cannot be performed; what was declared before goes on.
    fn declare(&self, endpoint: &str, records: &RecordsSpec) -> Result<(), String> {
        let _ = (endpoint, records);
        Ok(())
    }

    /// Takes a record. Never blocks and never fails: a recorder that cannot keep up counts what it drops.
    fn record(&self, record: Record);
}

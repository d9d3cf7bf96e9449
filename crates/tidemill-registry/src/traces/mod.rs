//! Traces: what clients may say about them, what follows from their spans, and how they are found.
//!
//! A client tells of a trace as a whole and sends its spans, in any order. What the client says itself stands; all
//! else is inferred from spans: state and previews from the root, tokens and costs from all of them.

mod assessments;
mod charts;
mod conventions;
mod page;
mod preview;
mod span;
mod text;

use std::collections::BTreeMap;

use serde_json::Value;
use tidemill_core::{Actor, EventKind, Timestamp, hex};
use tidemill_db::traces::{
    COST_KEY, NAME_TAG, NewTrace, SESSION_KEY, SpanBatch, StoredSpan, TOKENS_KEY, TraceInfo, TraceQuery,
    TraceState,
};
use tidemill_db::tracking::{KeyValue, Stage};

pub use self::assessments::{AssessmentChange, NewAssessment, Source};
pub use self::charts::{ChartRequest, Numbers};
pub use self::page::FoundTraces;
pub use self::span::{
    BodyStatus, NewSpan, SpanBody, SpanEvent, SpanGroup, SpanLink, SpanStatus, decoded, trace_id,
};
pub(crate) use self::text::spaced;
use crate::fresh::random_bytes;
use crate::{Error, Registry, Result, validate};

/// The tag that says where a trace's spans are.
const LOCATION_TAG: &str = "mlflow.trace.spansLocation";
/// Its value where they are rows of this server.
const STORED_HERE: &str = "TRACKING_STORE";
/// The tag with the URI of a trace's artifacts.
pub const ARTIFACTS_TAG: &str = "mlflow.artifactLocation";
/// The entry that a trace has once its client has told of it as a whole.
const FINAL_KEY: &str = "mlflow.trace.infoFinalized";
/// The entry in which a client says how many spans it sent.
const SIZE_KEY: &str = "mlflow.trace.sizeStats";
const USER_KEY: &str = "mlflow.trace.user";
/// Attributes of a root span that are tags of its trace.
const TAG_ATTRIBUTE: &str = "mlflow.traceTag.";
/// Traces that one request may link.
const MOST_LINKS: usize = 100;

/// A trace with its spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// What lists show of it.
    pub info: TraceInfo,
    /// Its spans as JSON texts, the root first; each can be read as a [`SpanBody`].
    pub spans: Vec<String>,
}

impl Trace {
    /// Its spans.
    pub fn bodies(&self) -> Result<Vec<SpanBody>> {
        self.spans.iter().map(|text| SpanBody::parse(text)).collect()
    }

    /// Whether its spans are rows of this server; else the client may have uploaded them as an artifact.
    pub fn is_stored_here(&self) -> bool {
        is_stored_here(&self.info)
    }
}

/// Which traces go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracesToDelete {
    /// The experiment.
    pub experiment: String,
    /// All that began up to this time.
    pub until: Option<Timestamp>,
    /// At most so many of them, the oldest first.
    pub limit: Option<i64>,
    /// Or these.
    pub ids: Vec<String>,
}

impl Registry {
    /// Stores what a client says about a whole trace; gives the trace as it is then.
    pub async fn start_trace(&self, mut info: TraceInfo) -> Result<TraceInfo> {
        check_trace_id(&info.id)?;
        let place = self.place_of_traces(info.experiment).await?;
        put_pair(&mut info.tags, ARTIFACTS_TAG, artifacts_of(&place, &info.id));
        put_pair(&mut info.metadata, FINAL_KEY, "true".to_owned());
        self.put_trace(info).await
    }

    async fn put_trace(&self, mut info: TraceInfo) -> Result<TraceInfo> {
        limit_name_and_session(&info)?;
        for pair in info.tags.iter_mut().chain(&mut info.metadata) {
            pair.key = span::without_nul(&pair.key);
            pair.value = span::without_nul(&pair.value);
        }
        let entry = |key| value_of(&info.metadata, key).map(Value::from);
        let usage = conventions::usage_of(entry(TOKENS_KEY).as_ref(), entry(COST_KEY).as_ref());
        for text in [&mut info.client_request_id, &mut info.request_preview, &mut info.response_preview] {
            *text = text.take().map(|text| span::without_nul(&text));
        }
        let (id, experiment) = (info.id.clone(), info.experiment);
        let stored = self.db.put_trace(NewTrace { info, usage }).await;
        stored.map_err(|error| no_experiment(error, &experiment.to_string()))?;
        self.trace_info(&id).await
    }

    /// Stores spans, all or none, and makes the traces that are not there. The traces whose root span is among them are
    /// linked to `run`.
    pub async fn put_spans(&self, experiment: &str, groups: Vec<SpanGroup>, run: Option<&str>) -> Result<()> {
        let experiment = validate::experiment_id(experiment)?;
        let place = self.place_of_traces(experiment).await?;
        // Asked for before anything is stored, so that all is stored or nothing.
        let run = match run {
            Some(run) => Some(self.run_info(run).await?.id.to_string()),
            None => None,
        };
        let mut batches: BTreeMap<String, SpanBatch> = BTreeMap::new();
        let mut roots = Vec::new();
        for group in &groups {
            for new in &group.spans {
                let trace = new.trace_id();
                let batch = batches.entry(trace.clone()).or_insert_with(|| SpanBatch {
                    experiment,
                    tags: vec![pair(LOCATION_TAG, STORED_HERE)],
                    default_tags: vec![pair(ARTIFACTS_TAG, &artifacts_of(&place, &trace))],
                    trace: trace.clone(),
                    ..SpanBatch::default()
                });
                if batch.spans.is_empty() {
                    batch.tags.extend(resource_tags(&group.resource));
                }
                let row = new.row()?;
                describe(batch, new, &row)?;
                batch.spans.push(row);
                if new.parent.is_none() {
                    roots.push(trace);
                }
            }
        }
        let stored = self.db.put_spans(batches.into_values().collect()).await;
        stored.map_err(|error| no_experiment(error, &experiment.to_string()))?;
        if let Some(run) = run {
            self.db.link_traces(&roots, "run", &run).await?;
        }
        Ok(())
    }

    /// A trace without its spans.
    pub async fn trace_info(&self, id: &str) -> Result<TraceInfo> {
        self.db.trace(id).await?.ok_or_else(|| missing(id))
    }

    /// Traces without their spans, in the order of `ids`; those that are not there, or not in `experiments`, are left out.
    pub async fn trace_infos(
        &self,
        ids: &[String],
        experiments: Option<&[String]>,
    ) -> Result<Vec<TraceInfo>> {
        let mut found = self.db.traces(ids).await?;
        if let Some(experiments) = experiments {
            let experiments =
                experiments.iter().map(|id| validate::experiment_id(id)).collect::<Result<Vec<_>>>()?;
            found.retain(|trace| experiments.contains(&trace.experiment));
        }
        Ok(found)
    }

    /// A trace with its spans. Unless `partial` is wanted, all spans that its client said it sent must be there.
    pub async fn trace(&self, id: &str, partial: bool) -> Result<Trace> {
        let info = self.db.trace(id).await?;
        let info = info.ok_or_else(|| Error::missing(format!("Trace with ID {id} is not found.")))?;
        let spans = self.db.spans(&[id.to_owned()]).await?;
        let trace = Trace { info, spans: spans.into_iter().map(|span| span.body).collect() };
        if !partial && trace.is_stored_here() && !is_complete(&trace) {
            return Err(Error::missing(format!(
                "Trace with ID {id} is not fully exported yet, please try again later."
            )));
        }
        Ok(trace)
    }

    /// Traces with their spans, in the order of `ids`; those that are not there, not in `experiments` or not complete are
    /// left out.
    pub async fn traces(&self, ids: &[String], experiments: Option<&[String]>) -> Result<Vec<Trace>> {
        let infos = self.trace_infos(ids, experiments).await?;
        let ids: Vec<String> = infos.iter().map(|info| info.id.clone()).collect();
        let mut spans: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for StoredSpan { trace, body } in self.db.spans(&ids).await? {
            spans.entry(trace).or_default().push(body);
        }
        let traces =
            infos.into_iter().map(|info| Trace { spans: spans.remove(&info.id).unwrap_or_default(), info });
        Ok(traces.filter(is_complete).collect())
    }

    /// Sets a tag of a trace.
    pub async fn set_trace_tag(&self, id: &str, key: &str, value: &str) -> Result<()> {
        check_changeable(key, "set")?;
        let tag = tag(key, value)?;
        if self.db.set_trace_tag(id, &tag).await? { Ok(()) } else { Err(missing(id)) }
    }

    /// Removes a tag of a trace.
    pub async fn delete_trace_tag(&self, id: &str, key: &str) -> Result<()> {
        check_changeable(key, "deleted")?;
        if self.db.delete_trace_tag(id, key).await? {
            return Ok(());
        }
        Err(Error::missing(format!("No trace tag with key '{key}' for trace with ID '{id}'")))
    }

    /// Links traces to a run.
    pub async fn link_traces(&self, ids: &[String], run: &str) -> Result<()> {
        if ids.len() > MOST_LINKS {
            return Err(Error::invalid(format!(
                "Cannot link more than {MOST_LINKS} traces to a run in a single request. Provided {} traces.",
                ids.len()
            )));
        }
        let run = self.run_info(run).await?.id;
        Ok(self.db.link_traces(ids, "run", &run.to_string()).await?)
    }

    /// Links a trace to versions of prompts.
    pub async fn link_prompts(&self, id: &str, prompts: &[(String, String)]) -> Result<()> {
        if !self.db.has_trace(id).await? {
            return Err(missing(id));
        }
        for (name, version) in prompts {
            if name.len() + version.len() > 500 {
                return Err(Error::invalid(format!("The name of the prompt '{name}' is too long.")));
            }
            self.db.link_traces(&[id.to_owned()], "prompt", &format!("{name}/{version}")).await?;
        }
        Ok(())
    }

    /// Deletes traces for good; gives their number.
    pub async fn delete_traces(&self, which: &TracesToDelete, actor: &Actor) -> Result<u64> {
        let invalid = |message: &str| Err(Error::invalid(message));
        match (which.until, which.limit, which.ids.is_empty()) {
            (None, _, true) => {
                return invalid("Either `max_timestamp_millis` or `trace_ids` must be specified.");
            }
            (Some(_), _, false) => {
                return invalid("Only one of `max_timestamp_millis` and `trace_ids` can be specified.");
            }
            (_, Some(_), false) => {
                return invalid("`max_traces` can't be specified if `trace_ids` is specified.");
            }
            (_, Some(limit), _) if limit <= 0 => {
                return invalid(&format!("`max_traces` must be a positive integer, received {limit}."));
            }
            _ => {}
        }
        let experiment = validate::experiment_id(&which.experiment)?;
        let ids = (!which.ids.is_empty()).then_some(which.ids.as_slice());
        let limit = which.limit.and_then(|limit| u64::try_from(limit).ok());
        let mut tx = self.db.begin().await?;
        let traces = tx.delete_traces(experiment, which.until, ids, limit).await?;
        if traces > 0 {
            tx.commit(vec![self.event(actor, EventKind::TracesDeleted { experiment, traces })]).await?;
        }
        Ok(traces)
    }

    /// A trace of an old client: told of twice, when it begins and when it ends.
    pub async fn begin_old_trace(&self, mut info: TraceInfo) -> Result<TraceInfo> {
        let place = self.place_of_traces(info.experiment).await?;
        info.id = random_hex()?;
        info.state = TraceState::InProgress;
        put_pair(&mut info.tags, ARTIFACTS_TAG, artifacts_of(&place, &info.id));
        self.put_trace(info).await
    }

    /// The end of a trace of an old client.
    pub async fn end_old_trace(
        &self,
        id: &str,
        ended_at: Timestamp,
        state: TraceState,
        metadata: Vec<KeyValue>,
        tags: Vec<KeyValue>,
    ) -> Result<TraceInfo> {
        let mut info = self.trace_info(id).await?;
        info.duration_ms = Some(ended_at.millis() - info.at.millis());
        info.state = state;
        metadata.into_iter().for_each(|entry| put_pair(&mut info.metadata, &entry.key, entry.value));
        tags.into_iter().for_each(|tag| put_pair(&mut info.tags, &tag.key, tag.value));
        info.assessments.clear();
        self.put_trace(info).await
    }

    /// One page of the traces of experiments that a filter finds.
    pub async fn search_traces(
        &self,
        experiments: &[String],
        filter: &str,
        order: &[String],
        limit: i64,
        token: Option<&str>,
    ) -> Result<FoundTraces> {
        let experiments =
            experiments.iter().map(|id| validate::experiment_id(id)).collect::<Result<Vec<_>>>()?;
        let conditions = crate::filter::traces(filter)?;
        let page = page::read(crate::filter::order_traces(order)?, limit, token)?;
        let query = TraceQuery { experiments, conditions, page };
        let mut traces = self.db.search_traces(&query).await.map_err(unsupported)?;
        Ok(page::cut(&query, &mut traces))
    }

    /// Where the artifacts of an experiment's traces are; it must be there, and not deleted.
    async fn place_of_traces(&self, experiment: i64) -> Result<String> {
        let found = self.db.place_of_traces(experiment).await?;
        let (place, stage) =
            found.ok_or_else(|| Error::missing(format!("No Experiment with id={experiment} exists")))?;
        if stage == Stage::Deleted {
            return Err(Error::invalid(format!(
                "The experiment {experiment} must be in the 'active' state. Current state is deleted."
            )));
        }
        Ok(place)
    }
}

/// What a span says about its trace.
fn describe(batch: &mut SpanBatch, new: &NewSpan, row: &tidemill_db::traces::Span) -> Result<()> {
    let mut attributes = new.attributes.clone();
    conventions::translate(&mut attributes);
    let text = |key: &str| match attributes.get(key) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(span::without_nul(text)),
        Some(other) => Some(other.to_string()),
    };
    let defaults = &mut batch.default_metadata;
    if value_of(defaults, SESSION_KEY).is_none()
        && let Some(session) = text("session.id").or_else(|| text("gen_ai.conversation.id"))
    {
        validate::length("Session ID", 250, &session)?;
        defaults.push(pair(SESSION_KEY, &session));
    }
    if value_of(defaults, USER_KEY).is_none()
        && let Some(user) = text("user.id")
    {
        defaults.push(pair(USER_KEY, &user));
    }
    if new.parent.is_some() {
        return Ok(());
    }
    batch.state = Some(if row.status == "ERROR" { TraceState::Error } else { TraceState::Ok });
    let preview = |key: &str, role: &str| {
        attributes
            .get(key)
            .and_then(|value| preview::preview(value, role))
            .map(|text| span::without_nul(&text))
    };
    batch.request_preview = batch.request_preview.take().or_else(|| preview(conventions::INPUTS, "user"));
    batch.response_preview =
        batch.response_preview.take().or_else(|| preview(conventions::OUTPUTS, "assistant"));
    for (key, value) in &attributes {
        let Some(key) = key.strip_prefix(TAG_ATTRIBUTE) else { continue };
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        // A tag that is not allowed must not cost the whole trace.
        batch.tags.extend(tag(key, &value).ok());
    }
    Ok(())
}

/// What a program says about itself, as tags; without what the libraries say about themselves.
fn resource_tags(resource: &serde_json::Map<String, Value>) -> impl Iterator<Item = KeyValue> + '_ {
    resource
        .iter()
        .filter(|(key, _)| !key.starts_with("telemetry.sdk.") && !key.starts_with("mlflow."))
        .filter_map(|(key, value)| {
            let value = value.as_str().map_or_else(|| spaced(value), str::to_owned);
            tag(key, &value).ok()
        })
}

/// Whether as many spans are there as the client said it sent, and at least one.
fn is_complete(trace: &Trace) -> bool {
    let expected = value_of(&trace.info.metadata, SIZE_KEY)
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .and_then(|stats| stats.get("num_spans")?.as_u64())
        .unwrap_or(0);
    !trace.spans.is_empty() && trace.spans.len() as u64 >= expected
}

fn is_stored_here(info: &TraceInfo) -> bool {
    value_of(&info.tags, LOCATION_TAG) == Some(STORED_HERE)
}

fn artifacts_of(place: &str, trace: &str) -> String {
    format!("{}/traces/{trace}/artifacts", place.trim_end_matches('/'))
}

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: value.to_owned() }
}

fn value_of<'a>(pairs: &'a [KeyValue], key: &str) -> Option<&'a str> {
    pairs.iter().find(|pair| pair.key == key).map(|pair| pair.value.as_str())
}

fn put_pair(pairs: &mut Vec<KeyValue>, key: &str, value: String) {
    pairs.retain(|pair| pair.key != key);
    pairs.push(KeyValue { key: key.to_owned(), value });
}

fn missing(id: &str) -> Error {
    Error::missing(format!("Trace with ID '{id}' not found."))
}

fn no_experiment(error: tidemill_db::Error, experiment: &str) -> Error {
    match error {
        tidemill_db::Error::NotFound { what: "experiment", .. } => {
            Error::missing(format!("No Experiment with id={experiment} exists"))
        }
        other => other.into(),
    }
}

/// A search that the database does not know is the client's fault.
fn unsupported(error: tidemill_db::Error) -> Error {
    match error {
        tidemill_db::Error::Unsupported { .. } => Error::invalid(error.to_string()),
        other => other.into(),
    }
}

fn check_trace_id(id: &str) -> Result<()> {
    if id.is_empty() || id.contains('\0') {
        return Err(Error::invalid(
            "Missing value for required parameter 'trace.trace_info.trace_id'. See the API docs for more information \
             about request parameters.",
        ));
    }
    validate::length("trace_id", 250, id)
}

/// A tag with a name that is allowed; a value that is too long is cut.
fn tag(key: &str, value: &str) -> Result<KeyValue> {
    let mut tag = KeyValue { key: key.to_owned(), value: span::without_nul(value) };
    validate::tag(&mut tag, "")?;
    Ok(tag)
}

fn limit_name_and_session(info: &TraceInfo) -> Result<()> {
    validate::length("Trace name", 4096, value_of(&info.tags, NAME_TAG).unwrap_or_default())?;
    validate::length("Session ID", 250, value_of(&info.metadata, SESSION_KEY).unwrap_or_default())
}

/// Tags that say where spans are belong to the server.
fn check_changeable(key: &str, operation: &str) -> Result<()> {
    if matches!(key, LOCATION_TAG | "mlflow.trace.archiveLocation")
        || key == "mlflow.trace.archivalFailure" && operation == "set"
    {
        return Err(Error::invalid(format!(
            "Tag '{key}' is immutable and cannot be {operation} on a trace."
        )));
    }
    Ok(())
}

/// 32 random hexadecimal digits.
pub(crate) fn random_hex() -> Result<String> {
    Ok(hex(&random_bytes::<16>()?))
}

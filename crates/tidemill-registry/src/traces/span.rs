//! A span as it arrives, and as it is stored: text with its attributes each as JSON inside of JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidemill_core::hex;

use crate::traces::conventions;
use crate::traces::text::spaced;
use crate::{Error, Result};

/// How a span ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpanStatus {
    /// Nobody has said.
    #[default]
    Unset,
    /// Well.
    Ok,
    /// With an error.
    Error,
}

/// A span as a client sends it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewSpan {
    /// The trace, in 16 bytes.
    pub trace: [u8; 16],
    /// The span, in 8 bytes.
    pub id: [u8; 8],
    /// The span that it is a part of.
    pub parent: Option<[u8; 8]>,
    /// Its name.
    pub name: String,
    /// Nanoseconds UTC.
    pub started_ns: u64,
    /// Nanoseconds UTC; 0 while it runs.
    pub ended_ns: u64,
    /// How it ended.
    pub status: SpanStatus,
    /// Why it ended so.
    pub message: String,
    /// By key.
    pub attributes: Map<String, Value>,
    /// What happened in it.
    pub events: Vec<SpanEvent>,
    /// Spans of other traces that it has to do with.
    pub links: Vec<SpanLink>,
}

/// Something that happened in a span.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpanEvent {
    /// Its name.
    pub name: String,
    /// Nanoseconds UTC.
    #[serde(rename = "time_unix_nano")]
    pub at_ns: u64,
    /// By key.
    #[serde(default)]
    pub attributes: Map<String, Value>,
}

/// A link to a span of another trace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpanLink {
    /// The other trace, `tr-…`.
    #[serde(rename = "trace_id")]
    pub trace: String,
    /// The other span, in hexadecimal digits.
    #[serde(rename = "span_id")]
    pub span: String,
    /// By key.
    #[serde(default)]
    pub attributes: Option<Map<String, Value>>,
}

/// Spans that one program sent, with what it says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanGroup {
    /// For example `service.name`.
    pub resource: Map<String, Value>,
    /// Its spans.
    pub spans: Vec<NewSpan>,
}

/// A stored span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanBody {
    /// In base64.
    pub trace_id: String,
    /// In base64.
    pub span_id: String,
    /// In base64.
    pub parent_span_id: Option<String>,
    /// Its name.
    pub name: String,
    /// Nanoseconds UTC.
    pub start_time_unix_nano: u64,
    /// Nanoseconds UTC; nothing while it runs.
    pub end_time_unix_nano: Option<u64>,
    /// What happened in it.
    #[serde(default)]
    pub events: Vec<SpanEvent>,
    /// How it ended.
    pub status: BodyStatus,
    /// The JSON text of each, by key.
    #[serde(default)]
    pub attributes: Map<String, Value>,
    /// Spans of other traces that it has to do with.
    #[serde(default)]
    pub links: Vec<SpanLink>,
}

/// How a stored span ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyStatus {
    /// `STATUS_CODE_OK`, `STATUS_CODE_ERROR` or `STATUS_CODE_UNSET`.
    pub code: String,
    /// Why.
    #[serde(default)]
    pub message: Option<String>,
}

/// The attribute that holds the trace's identifier.
const TRACE_ATTRIBUTE: &str = "mlflow.traceRequestId";

impl NewSpan {
    /// The identifier of its trace, `tr-…`.
    pub fn trace_id(&self) -> String {
        trace_id(&self.trace)
    }

    /// The row that is stored. What other conventions call by other names gets MLflow's names too.
    pub(crate) fn row(&self) -> Result<tidemill_db::traces::Span> {
        let nanos = |at: u64| {
            i64::try_from(at).map_err(|_| Error::invalid(format!("the time {at} of a span is too far away")))
        };
        let mut attributes = self.attributes.clone();
        conventions::translate(&mut attributes);
        attributes.insert(TRACE_ATTRIBUTE.to_owned(), Value::from(self.trace_id()));
        let text = |key: &str| attributes.get(key).and_then(Value::as_str).map(limited);
        let (started_ns, ended_ns) =
            (nanos(self.started_ns)?, (self.ended_ns > 0).then_some(self.ended_ns).map(nanos).transpose()?);
        let kind = text(conventions::KIND).unwrap_or_else(|| "UNKNOWN".to_owned());
        let (model, provider) = (text(conventions::MODEL), text(conventions::PROVIDER));
        let usage = conventions::usage(&attributes);
        let body = SpanBody {
            trace_id: STANDARD.encode(self.trace),
            span_id: STANDARD.encode(self.id),
            parent_span_id: self.parent.map(|parent| STANDARD.encode(parent)),
            name: self.name.clone(),
            start_time_unix_nano: self.started_ns,
            end_time_unix_nano: (self.ended_ns > 0).then_some(self.ended_ns),
            events: self.events.clone(),
            status: BodyStatus {
                code: format!("STATUS_CODE_{}", self.status.word()),
                message: Some(self.message.clone()),
            },
            attributes: attributes
                .iter()
                .map(|(key, value)| (key.clone(), Value::from(spaced(value))))
                .collect(),
            links: self.links.clone(),
        };
        Ok(tidemill_db::traces::Span {
            id: hex(&self.id),
            parent: self.parent.map(|parent| hex(&parent)),
            name: without_nul(&self.name),
            kind,
            status: self.status.word().to_owned(),
            started_ns,
            ended_ns,
            model,
            provider,
            usage,
            body: spaced(&body),
        })
    }
}

impl SpanBody {
    /// Reads a stored span.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| Error {
            code: crate::Code::InternalError,
            message: "a stored span cannot be read; the server's log says why".to_owned(),
            source: Some(Box::new(error)),
        })
    }

    /// An attribute as it was sent.
    pub fn attribute(&self, key: &str) -> Option<Value> {
        self.attributes.get(key).map(decoded)
    }
}

/// The value that a stored attribute stands for.
pub fn decoded(stored: &Value) -> Value {
    match stored {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| stored.clone()),
        other => other.clone(),
    }
}

impl SpanStatus {
    /// `UNSET`, `OK` or `ERROR`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unset => "UNSET",
            Self::Ok => "OK",
            Self::Error => "ERROR",
        }
    }
}

/// The identifier of a trace for MLflow.
pub fn trace_id(bytes: &[u8]) -> String {
    format!("tr-{}", hex(bytes))
}

/// PostgreSQL's texts cannot hold the character 0.
pub(crate) fn without_nul(text: &str) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_owned() }
}

/// For columns that charts tell things apart by.
fn limited(text: &str) -> String {
    without_nul(text).chars().take(500).collect()
}

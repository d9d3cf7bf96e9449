//! CloudEvents 1.0 over HTTP, in binary, structured and batched mode.
//!
//! Source: the CloudEvents specification 1.0.2, its JSON format and its HTTP protocol binding.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::hook::Header;
use crate::{Details, detail};

/// The most events in one batch.
pub const BATCH: usize = 1000;

/// What of an event matters to triggers. Its data are the sender's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudEvent {
    /// `id`: the same in every delivery of the event, and with `source` the only one.
    pub id: String,
    /// `source`.
    pub source: String,
    /// `type`.
    pub kind: String,
    /// `subject`.
    pub subject: Option<String>,
    /// `time`, as it was sent.
    pub time: Option<String>,
}

/// Why a request is no CloudEvent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCloudEvent {
    /// An attribute that every event has is missing or empty.
    #[error("the CloudEvent has no `{0}`")]
    Missing(&'static str),
    /// Another version of the specification.
    #[error("CloudEvents of version `{0}` are not understood, only of version 1.0")]
    Version(String),
    /// The body is not what its `Content-Type` says.
    #[error("the body is no CloudEvent in JSON: {0}")]
    Json(String),
    /// Neither mode.
    #[error("the request is no CloudEvent: it has neither `ce-` headers nor the content type of one")]
    Neither,
    /// Another format than JSON.
    #[error("CloudEvents in `{0}` are not understood, only in JSON")]
    Format(String),
    /// Too many at once.
    #[error("a batch holds at most {BATCH} CloudEvents, this one {0}")]
    Batch(usize),
}

/// The events in a request, which are several in batched mode.
pub fn parse(header: Header<'_>, body: &[u8]) -> Result<Vec<CloudEvent>, NoCloudEvent> {
    let kind = header("content-type").unwrap_or_default().to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let json = |body| serde_json::from_slice::<Value>(body).map_err(|e| NoCloudEvent::Json(e.to_string()));
    match kind {
        "application/cloudevents+json" => Ok(vec![structured(&json(body)?)?]),
        "application/cloudevents-batch+json" => {
            let Value::Array(events) = json(body)? else {
                return Err(NoCloudEvent::Json("a batch is a list".to_owned()));
            };
            if events.len() > BATCH {
                return Err(NoCloudEvent::Batch(events.len()));
            }
            events.iter().map(structured).collect()
        }
        other if other.starts_with("application/cloudevents") => Err(NoCloudEvent::Format(other.to_owned())),
        _ if header("ce-specversion").is_some() => Ok(vec![binary(header)?]),
        _ => Err(NoCloudEvent::Neither),
    }
}

fn structured(event: &Value) -> Result<CloudEvent, NoCloudEvent> {
    event_of(&|name| event.get(name).and_then(Value::as_str).map(str::to_owned))
}

/// Values of headers are percent-encoded where they are not printable ASCII.
fn binary(header: Header<'_>) -> Result<CloudEvent, NoCloudEvent> {
    event_of(&|name| {
        let value = header(&format!("ce-{name}"))?;
        Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
    })
}

fn event_of(attribute: &dyn Fn(&str) -> Option<String>) -> Result<CloudEvent, NoCloudEvent> {
    let needed = |name: &'static str| {
        attribute(name).filter(|text| !text.is_empty()).ok_or(NoCloudEvent::Missing(name))
    };
    let version = needed("specversion")?;
    if version != "1.0" {
        return Err(NoCloudEvent::Version(detail(&version)));
    }
    Ok(CloudEvent {
        id: needed("id")?,
        source: needed("source")?,
        kind: needed("type")?,
        subject: attribute("subject").filter(|text| !text.is_empty()),
        time: attribute("time").filter(|text| !text.is_empty()),
    })
}

impl CloudEvent {
    /// Whether it is of this type (`*` at the end stands for any rest) and source (any where none is given).
    pub fn is(&self, kind: &str, source: Option<&str>) -> bool {
        let fits = match kind.strip_suffix('*') {
            Some(begin) => self.kind.starts_with(begin),
            None => self.kind == kind,
        };
        fits && source.is_none_or(|source| self.source == source)
    }

    /// What tells it from every other one.
    pub fn key(&self) -> String {
        format!("{} {}", self.source, self.id)
    }

    /// What the log says of it.
    pub fn details(&self) -> Details {
        let all = [("type", Some(&self.kind)), ("event_source", Some(&self.source)), ("id", Some(&self.id))];
        all.into_iter()
            .chain([("subject", self.subject.as_ref()), ("time", self.time.as_ref())])
            .filter_map(|(key, value)| Some((key.to_owned(), detail(value?))))
            .collect()
    }
}

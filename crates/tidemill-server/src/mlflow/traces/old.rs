//! Traces as clients before 3.0 tell of them: once when they begin and once when they end. Their spans are artifacts.

use axum::extract::State;
use serde_json::{Value, json};
use tidemill_core::Timestamp;
use tidemill_db::traces::{TraceInfo, TraceState};
use tidemill_db::tracking::KeyValue;
use tidemill_registry::Result;
use tidemill_registry::traces::FoundTraces;

use super::shape::number_of;
use crate::App;
use crate::mlflow::entity::{Object, key_value};
use crate::mlflow::wire::{Answer, Call, Fields};

const STATES: [&str; 4] = ["OK", "ERROR", "IN_PROGRESS", "TRACE_STATUS_UNSPECIFIED"];

pub(super) async fn begin(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let new = TraceInfo {
        experiment: number_of(fields.str("experiment_id")?)?,
        at: Timestamp::from_millis(fields.int("timestamp_ms")?),
        metadata: pairs(&fields, "request_metadata")?,
        tags: pairs(&fields, "tags")?,
        ..TraceInfo::default()
    };
    let info = app.registry().begin_old_trace(new).await?;
    Ok(axum::Json(json!({"trace_info": shape(&info)})))
}

pub(super) async fn end(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let state = fields.opt_enum("status", &STATES)?.and_then(TraceState::from_word).unwrap_or_default();
    let ended_at = Timestamp::from_millis(fields.int("timestamp_ms")?);
    let (metadata, tags) = (pairs(&fields, "request_metadata")?, pairs(&fields, "tags")?);
    let info = app.registry().end_old_trace(fields.str("trace_id")?, ended_at, state, metadata, tags).await?;
    Ok(axum::Json(json!({"trace_info": shape(&info)})))
}

pub(super) async fn info(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let info = app.registry().trace_info(fields.str("trace_id")?).await?;
    Ok(axum::Json(json!({"trace_info": shape(&info)})))
}

pub(super) async fn search(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    if fields.get("experiment_ids").is_none() {
        return Err(fields.missing("experiment_ids").into());
    }
    let experiments = fields.strings("experiment_ids")?;
    let FoundTraces { traces, next } = super::find(&app, &fields, &experiments).await?;
    let answer = Object::default().list("traces", traces.iter().map(shape));
    Ok(axum::Json(answer.opt("next_page_token", next).done()))
}

/// A list of keys and values.
fn pairs(fields: &Fields, name: &str) -> Result<Vec<KeyValue>> {
    let pair = |entry: Fields| {
        Ok(KeyValue {
            key: entry.str("key")?.to_owned(),
            value: entry.opt_str("value")?.unwrap_or_default().to_owned(),
        })
    };
    fields.messages(name)?.into_iter().map(pair).collect()
}

fn shape(info: &TraceInfo) -> Value {
    let state = match info.state {
        TraceState::Unspecified => "TRACE_STATUS_UNSPECIFIED",
        other => other.word(),
    };
    Object::default()
        .set("request_id", info.id.as_str())
        .set("experiment_id", info.experiment.to_string())
        .set("timestamp_ms", info.at.millis())
        .opt("execution_time_ms", info.duration_ms)
        .set("status", state)
        .list("request_metadata", info.metadata.iter().map(key_value))
        .list("tags", info.tags.iter().map(key_value))
        .done()
}

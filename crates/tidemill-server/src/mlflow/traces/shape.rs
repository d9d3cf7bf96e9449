//! Traces and assessments as MLflow's JSON: times in RFC 3339, durations as `0.5s`.

use serde_json::{Map, Value, json};
use tidemill_core::Timestamp;
use tidemill_db::traces::{Assessment, AssessmentKind, TraceInfo, TraceState};
use tidemill_db::tracking::KeyValue;
use tidemill_registry::traces::{NewAssessment, Source};
use tidemill_registry::{Error, Result};

use crate::mlflow::entity::Object;
use crate::mlflow::wire::Fields;

/// Entries of the metadata are cut to so many characters when they are shown, as MLflow does.
const METADATA: usize = 250;
/// Values of tags are cut to so many characters when they are shown, as MLflow does.
const TAG: usize = 4096;

/// Reads what a client says about a whole trace.
pub(super) fn read_info(fields: &Fields, now: Timestamp) -> Result<TraceInfo> {
    let place = fields.message("trace_location")?.ok_or_else(|| fields.missing("trace_location"))?;
    let experiment = place.message("mlflow_experiment")?.ok_or_else(|| place.missing("mlflow_experiment"))?;
    let id = fields.str("trace_id")?.to_owned();
    let assessments = fields.messages("assessments")?;
    let assessments = assessments.iter().map(|one| read_assessment(one)?.of_trace(&id, now));
    let states = ["OK", "ERROR", "IN_PROGRESS", "STATE_UNSPECIFIED"];
    let state = fields.opt_enum("state", &states)?.and_then(TraceState::from_word).unwrap_or_default();
    Ok(TraceInfo {
        experiment: number_of(experiment.str("experiment_id")?)?,
        client_request_id: fields.opt_str("client_request_id")?.map(str::to_owned),
        state,
        at: time(fields, "request_time")?.unwrap_or_default(),
        duration_ms: duration(fields, "execution_duration")?,
        request_preview: fields.opt_str("request_preview")?.map(str::to_owned),
        response_preview: fields.opt_str("response_preview")?.map(str::to_owned),
        tags: pairs(fields, "tags")?,
        metadata: pairs(fields, "trace_metadata")?,
        assessments: assessments.collect::<Result<_>>()?,
        id,
    })
}

/// The number of an experiment.
pub(super) fn number_of(text: &str) -> Result<i64> {
    text.parse().map_err(|_| {
        Error::invalid(format!("Invalid experiment ID '{text}'. Experiment ID must be a valid integer."))
    })
}

/// A trace without its spans.
pub(super) fn info(info: &TraceInfo) -> Value {
    let place = json!({
        "type": "MLFLOW_EXPERIMENT",
        "mlflow_experiment": {"experiment_id": info.experiment.to_string()},
    });
    Object::default()
        .set("trace_id", info.id.as_str())
        .opt("client_request_id", info.client_request_id.as_deref())
        .set("trace_location", place)
        .opt("request_preview", info.request_preview.as_deref())
        .opt("response_preview", info.response_preview.as_deref())
        .set("request_time", time_text(info.at))
        .opt("execution_duration", info.duration_ms.map(duration_text))
        .set("state", info.state.word())
        .opt("trace_metadata", object(&info.metadata, METADATA))
        .list("assessments", info.assessments.iter().map(assessment))
        .opt("tags", object(&info.tags, TAG))
        .done()
}

fn object(pairs: &[KeyValue], longest: usize) -> Option<Value> {
    let fields: Map<String, Value> =
        pairs.iter().map(|pair| (cut(&pair.key, 250), Value::from(cut(&pair.value, longest)))).collect();
    (!fields.is_empty()).then_some(Value::Object(fields))
}

fn cut(text: &str, longest: usize) -> String {
    text.chars().take(longest).collect()
}

/// Reads an assessment.
pub(super) fn read_assessment(fields: &Fields) -> Result<NewAssessment> {
    let text =
        |name: &str| fields.opt_str(name).map(|text| text.filter(|t| !t.is_empty()).map(str::to_owned));
    let feedback = fields.message("feedback")?;
    let (feedback, error) = match &feedback {
        Some(feedback) => {
            let (value, error) = read_feedback(feedback)?;
            (Some(value), error)
        }
        None => (None, None),
    };
    let expectation = fields.message("expectation")?.map(|value| read_expectation(&value)).transpose()?;
    let issue =
        fields.message("issue")?.map(|issue| issue.str("issue_name").map(str::to_owned)).transpose()?;
    let source = match fields.message("source")? {
        Some(source) => Source {
            kind: source
                .opt_enum(
                    "source_type",
                    &["HUMAN", "LLM_JUDGE", "CODE", "AI_JUDGE", "SOURCE_TYPE_UNSPECIFIED"],
                )?
                .unwrap_or("SOURCE_TYPE_UNSPECIFIED")
                .to_owned(),
            id: source.opt_str("source_id")?.map(str::to_owned),
        },
        None => Source { kind: "SOURCE_TYPE_UNSPECIFIED".to_owned(), id: None },
    };
    Ok(NewAssessment {
        id: text("assessment_id")?,
        name: fields.opt_str("assessment_name")?.unwrap_or_default().to_owned(),
        feedback,
        error,
        expectation,
        issue,
        source,
        created_at: time(fields, "create_time")?,
        updated_at: time(fields, "last_update_time")?,
        rationale: text("rationale")?,
        metadata: metadata(fields)?.unwrap_or_default(),
        span: text("span_id")?,
        overrides: text("overrides")?,
        is_valid: fields.opt_bool("valid")?.unwrap_or(true),
    })
}

/// A judgement, and why there is none.
pub(super) fn read_feedback(fields: &Fields) -> Result<(Value, Option<Value>)> {
    let value = fields.get("value").cloned().map_or(Value::Null, floats);
    let error = fields.message("error")?;
    let error = error.map(|error| -> Result<Value> {
        Ok(Object::default()
            .set("error_code", error.opt_str("error_code")?.unwrap_or_default())
            .opt("error_message", error.opt_str("error_message")?)
            .opt("stack_trace", error.opt_str("stack_trace")?)
            .done())
    });
    Ok((value, error.transpose()?))
}

/// What was expected: a simple value, or the JSON text of one that is not.
pub(super) fn read_expectation(fields: &Fields) -> Result<Value> {
    let Some(text) = fields.message("serialized_value")? else {
        return Ok(fields.get("value").cloned().map_or(Value::Null, floats));
    };
    let format = text.opt_str("serialization_format")?.unwrap_or_default();
    if format != "JSON_FORMAT" {
        return Err(Error::invalid(format!(
            "Unknown serialization format: {format}. Only JSON_FORMAT is supported."
        )));
    }
    serde_json::from_str(text.str("value")?)
        .map_err(|error| Error::invalid(format!("The expectation is not JSON: {error}.")))
}

/// The metadata of an assessment; texts only.
pub(super) fn metadata(fields: &Fields) -> Result<Option<Map<String, Value>>> {
    if fields.get("metadata").is_none() {
        return Ok(None);
    }
    let pairs = pairs(fields, "metadata")?;
    Ok(Some(pairs.into_iter().map(|pair| (pair.key, Value::from(pair.value))).collect()))
}

/// MLflow's messages have one kind of number only.
fn floats(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        Value::Array(items) => Value::Array(items.into_iter().map(floats).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(key, value)| (key, floats(value))).collect())
        }
        other => other,
    }
}

/// An assessment.
pub(super) fn assessment(assessment: &Assessment) -> Value {
    let value: Value = serde_json::from_str(&assessment.value).unwrap_or_default();
    let parsed =
        |text: &Option<String>| text.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let source = Object::default()
        .set("source_type", assessment.source_kind.as_str())
        .opt("source_id", assessment.source.as_deref())
        .done();
    let (kind, said) = match assessment.kind {
        AssessmentKind::Feedback => {
            let said = Object::default().set("value", value).opt("error", parsed(&assessment.error));
            ("feedback", said.done())
        }
        AssessmentKind::Expectation if value.is_array() || value.is_object() => {
            let text = json!({"serialization_format": "JSON_FORMAT", "value": assessment.value});
            ("expectation", json!({"serialized_value": text}))
        }
        AssessmentKind::Expectation => ("expectation", json!({"value": value})),
        AssessmentKind::Issue => ("issue", value),
    };
    Object::default()
        .set("assessment_id", assessment.id.as_str())
        .set("assessment_name", assessment.name.as_str())
        .set("trace_id", assessment.trace.as_str())
        .opt("span_id", assessment.span.as_deref())
        .set("source", source)
        .set("create_time", time_text(assessment.created_at))
        .set("last_update_time", time_text(assessment.updated_at))
        .set(kind, said)
        .opt("rationale", assessment.rationale.as_deref())
        .opt("metadata", parsed(&assessment.metadata))
        .opt("overrides", assessment.overrides.as_deref())
        .set("valid", assessment.is_valid)
        .done()
}

/// A map of texts. Its keys are the client's own words, in whatever spelling.
pub(super) fn pairs(fields: &Fields, name: &str) -> Result<Vec<KeyValue>> {
    let Some(value) = fields.get(name) else { return Ok(Vec::new()) };
    let Value::Object(entries) = value else { return Err(fields.invalid(name, value)) };
    let pair = |(key, entry): (&String, &Value)| match entry {
        Value::String(text) => Ok(KeyValue { key: key.clone(), value: text.clone() }),
        _ => Err(fields.invalid(name, value)),
    };
    entries.iter().map(pair).collect()
}

/// A time in RFC 3339.
fn time(fields: &Fields, name: &str) -> Result<Option<Timestamp>> {
    let Some(text) = fields.opt_str(name)? else { return Ok(None) };
    Timestamp::parse(text).map(Some).ok_or_else(|| fields.invalid(name, &Value::from(text)))
}

/// A duration in seconds with an `s` behind, in milliseconds.
fn duration(fields: &Fields, name: &str) -> Result<Option<i64>> {
    let Some(text) = fields.opt_str(name)? else { return Ok(None) };
    let seconds = text.strip_suffix('s').and_then(|number| number.parse::<f64>().ok());
    let millis = seconds.map(|seconds| (seconds * 1000.0).round()).filter(|millis| millis.abs() < 9e15);
    millis.map(|millis| Some(millis as i64)).ok_or_else(|| fields.invalid(name, &Value::from(text)))
}

/// RFC 3339 with three places or none, as protobuf writes it.
fn time_text(at: Timestamp) -> String {
    let text = at.to_string();
    match text.strip_suffix('Z').and_then(|text| text.split_once('.')) {
        Some((whole, fraction)) => format!("{whole}.{fraction:0<3}Z"),
        None => text,
    }
}

fn duration_text(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let (seconds, rest) = (millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
    if rest == 0 { format!("{sign}{seconds}s") } else { format!("{sign}{seconds}.{rest:03}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_as_protobuf_writes_them() {
        for (millis, text) in [
            (1_795_664_680_392, "2026-11-26T03:44:40.392Z"),
            (1500, "1970-01-01T00:00:01.500Z"),
            (0, "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(time_text(Timestamp::from_millis(millis)), text);
        }
        for (millis, text) in [(313, "0.313s"), (2000, "2s"), (1005, "1.005s"), (-500, "-0.500s"), (0, "0s")]
        {
            assert_eq!(duration_text(millis), text);
            let body = json!({"d": text}).to_string();
            let fields = Fields::from_body(body.as_bytes()).unwrap();
            assert_eq!(duration(&fields, "d").unwrap(), Some(millis), "{text}");
        }
        for text in ["1", "s", "xs", "NaNs", "1e300s"] {
            let fields = Fields::from_body(json!({"d": text}).to_string().as_bytes()).unwrap();
            assert!(duration(&fields, "d").is_err(), "{text}");
        }
    }

    #[test]
    fn keys_of_maps_keep_their_spelling() {
        let body = br#"{"traceMetadata": {"mlflow.sourceRun": "r", "userId": "u"}}"#;
        let fields = Fields::from_body(body).unwrap();
        let keys: Vec<String> =
            pairs(&fields, "trace_metadata").unwrap().into_iter().map(|pair| pair.key).collect();
        assert_eq!(keys, ["mlflow.sourceRun", "userId"]);
        let wrong = Fields::from_body(br#"{"tags": {"a": 1}}"#).unwrap();
        assert!(pairs(&wrong, "tags").is_err());
    }

    #[test]
    fn assessments_are_shown_as_they_were_read() {
        let bodies = [
            json!({"assessment_name": "good", "feedback": {"value": true}, "rationale": "r", "metadata": {"aB": "c"},
                "source": {"source_type": "HUMAN", "source_id": "ana"}}),
            json!({"assessment_name": "e", "source": {"source_type": "CODE"},
                "feedback": {"value": null, "error": {"error_code": "E", "error_message": "m"}}}),
            json!({"assessment_name": "n", "source": {"source_type": "LLM_JUDGE"}, "expectation": {"value": 4.0}}),
            json!({"assessment_name": "o", "source": {"source_type": "HUMAN"},
                "expectation": {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": "{\"a\": [1, 2]}"}}}),
            json!({"assessment_name": "i", "source": {"source_type": "HUMAN"}, "issue": {"issue_name": "slow"}}),
        ];
        for body in bodies {
            let fields = Fields::from_body(body.to_string().as_bytes()).unwrap();
            let row =
                read_assessment(&fields).unwrap().of_trace("tr-1", Timestamp::from_millis(1000)).unwrap();
            let Value::Object(shown) = assessment(&row) else { panic!("no object") };
            let Value::Object(body) = body else { panic!("no object") };
            for (key, value) in body {
                assert_eq!(shown.get(&key), Some(&value), "{key}");
            }
            assert_eq!(shown["create_time"], "1970-01-01T00:00:01Z");
            assert_eq!(shown["valid"], true);
        }
    }
}

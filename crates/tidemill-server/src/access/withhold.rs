//! What answers name besides what they are about: the run behind a version of a model, the logged models of a run, both of a trace, and
//! what was said of a trace. Where all runs, all logged models or all assessments are denied to somebody, they are left out of what
//! stands around them, as MLflow's plugin does.

use axum::body::{Body, to_bytes};
use axum::http::header;
use axum::response::Response;
use serde_json::{Map, Value};
use tidemill_registry::access::{Action, Held, Need, Resource};
use tidemill_registry::{Code, Error};

use super::judge::is_run;
use super::rule::Rule;
use crate::App;
use crate::app::CROWDED;

/// The longest answer from which something is left out, in bytes. It is in memory as a whole.
const MOST: usize = 32 << 20;
/// What an answer takes as a tree, for each of its bytes, about.
const TREE: usize = 8;

/// What is denied as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hidden {
    runs: bool,
    logged_models: bool,
    assessments: bool,
}

impl Hidden {
    /// Of what somebody holds; nothing where none of them is denied.
    pub(super) fn of(held: &Held) -> Option<Self> {
        let hidden = Self {
            runs: is_denied(held, Resource::Run),
            logged_models: is_denied(held, Resource::LoggedModel),
            assessments: is_denied(held, Resource::Assessment),
        };
        (hidden.runs || hidden.logged_models || hidden.assessments).then_some(hidden)
    }

    /// Whether the answers of a route may show runs, logged models or assessments besides what they are about. Histories of metrics and files
    /// do not.
    pub(super) fn is_named_by(rule: &Rule, route: &str) -> bool {
        let names = matches!(
            rule,
            Rule::Run(_)
                | Rule::SearchRuns
                | Rule::CreateLoggedModel
                | Rule::LoggedModel(_)
                | Rule::SearchLoggedModels
                | Rule::Model(_)
                | Rule::CreateVersion
                | Rule::ReadVersion
                | Rule::Version(_)
                | Rule::SearchModels
                | Rule::BeginTrace
                | Rule::StartTrace
                | Rule::Trace(..)
                | Rule::Traces
                | Rule::SearchTraces
                | Rule::SearchOldTraces
                | Rule::ListFiles
        );
        names && !route.ends_with("/get-history") && !route.ends_with("/get-artifact")
    }

    /// An answer without what is hidden.
    pub(super) async fn withhold(self, app: &App, response: Response) -> Result<Response, Error> {
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !response.status().is_success() || !kind.is_some_and(|kind| kind.starts_with("application/json")) {
            return Ok(response);
        }
        let (mut head, body) = response.into_parts();
        let whole = to_bytes(body, MOST).await.map_err(|_| {
            Error::invalid(
                "The answer is too long to leave out of it what you may not see; ask for fewer results.",
            )
        })?;
        let crowded = || Error::new(Code::TemporarilyUnavailable, CROWDED);
        let _room = app.room(whole.len() * TREE).ok_or_else(crowded)?;
        let Ok(mut value) = serde_json::from_slice::<Value>(&whole) else {
            return Err(Error::new(Code::InternalError, "an answer is not the JSON that it says it is"));
        };
        if !self.strip(&mut value) {
            return Ok(Response::from_parts(head, Body::from(whole)));
        }
        head.headers.remove(header::CONTENT_LENGTH);
        Ok(Response::from_parts(head, Body::from(value.to_string())))
    }

    /// Takes out of an answer what is hidden; whether there was something.
    fn strip(self, value: &mut Value) -> bool {
        match value {
            Value::Array(items) => items.iter_mut().fold(false, |found, item| self.strip(item) | found),
            Value::Object(fields) => {
                let mut found = self.strip_assessments(fields);
                for (name, inner) in fields.iter_mut() {
                    found |= match name.as_str() {
                        "model_version" | "model_versions" | "latest_versions" => {
                            each(inner, |version| self.strip_version(version))
                        }
                        "run" | "runs" => each(inner, |run| self.strip_run(run)),
                        "model" | "models" => each(inner, |model| self.strip_logged_model(model)),
                        "trace_metadata" | "request_metadata" => self.strip_metadata(inner),
                        "files" => self.strip_folders(inner),
                        // What programs wrote into them is theirs.
                        "spans" | "tags" | "params" => continue,
                        _ => false,
                    };
                    found |= self.strip(inner);
                }
                found
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }

    fn strip_version(self, version: &mut Map<String, Value>) -> bool {
        let of_run = self.runs && remove(version, &["run_id", "run_link"]);
        let of_model = self.logged_models && remove(version, &["model_id", "model_params", "model_metrics"]);
        of_run | of_model
    }

    fn strip_run(self, run: &mut Map<String, Value>) -> bool {
        if !self.logged_models {
            return false;
        }
        let mut found = false;
        for (of, links) in [("inputs", "model_inputs"), ("outputs", "model_outputs")] {
            found |= run.get_mut(of).is_some_and(|of| each(of, |of| remove(of, &[links])));
        }
        found | strip_metrics(run, "model_id")
    }

    fn strip_logged_model(self, model: &mut Map<String, Value>) -> bool {
        if !self.runs {
            return false;
        }
        let source = |info: &mut Map<String, Value>| remove(info, &["source_run_id"]);
        let found = model.get_mut("info").is_some_and(|info| each(info, source));
        found | strip_metrics(model, "run_id")
    }

    /// A trace has them in a list. What somebody noted under that name is a text.
    fn strip_assessments(self, trace: &mut Map<String, Value>) -> bool {
        const NAME: &str = "assessments";
        self.assessments && trace.get(NAME).is_some_and(Value::is_array) && remove(trace, &[NAME])
    }

    /// Runs have a folder each among the artifacts of their experiment, by whose name they are called.
    fn strip_folders(self, files: &mut Value) -> bool {
        let Some(files) = files.as_array_mut().filter(|_| self.runs) else { return false };
        let before = files.len();
        files.retain(|file| !file["path"].as_str().is_some_and(is_run));
        files.len() < before
    }

    /// What is known of a trace: an object, or in old answers a list of pairs.
    fn strip_metadata(self, metadata: &mut Value) -> bool {
        let keys: Vec<&str> = [(self.runs, RUN), (self.logged_models, LOGGED_MODEL)]
            .into_iter()
            .filter_map(|(hidden, key)| hidden.then_some(key))
            .collect();
        match metadata {
            Value::Object(pairs) => remove(pairs, &keys),
            Value::Array(pairs) => {
                let before = pairs.len();
                pairs.retain(|pair| !pair["key"].as_str().is_some_and(|key| keys.contains(&key)));
                pairs.len() < before
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
}

/// Whether all of a kind are denied to somebody.
pub(super) fn is_denied(held: &Held, kind: Resource) -> bool {
    !held.meets(&Need::to_any(Action::NotDenied, kind))
}

/// Under which a trace says its run.
pub(super) const RUN: &str = "mlflow.sourceRun";
/// Under which a trace says its logged model.
pub(super) const LOGGED_MODEL: &str = "mlflow.modelId";

/// Does it with an object, or with each of a list of them; whether one of them changed.
fn each(value: &mut Value, change: impl Fn(&mut Map<String, Value>) -> bool) -> bool {
    match value {
        Value::Object(one) => change(one),
        Value::Array(items) => {
            items.iter_mut().filter_map(Value::as_object_mut).fold(false, |found, one| change(one) | found)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whether one of the fields was there and said something.
fn remove(fields: &mut Map<String, Value>, names: &[&str]) -> bool {
    names.iter().fold(false, |found, name| fields.remove(*name).is_some_and(|value| value != "") | found)
}

fn strip_metrics(of: &mut Map<String, Value>, field: &str) -> bool {
    let metrics = of.get_mut("data").and_then(|data| data.get_mut("metrics"));
    metrics.is_some_and(|metrics| each(metrics, |metric| remove(metric, &[field])))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn without(runs: bool, logged_models: bool, mut answer: Value) -> (bool, Value) {
        let found = Hidden { runs, logged_models, assessments: false }.strip(&mut answer);
        (found, answer)
    }

    #[test]
    fn what_was_said_of_a_trace_is_left_out_of_it() {
        let trace = json!({"trace": {"trace_info": {"trace_id": "t", "assessments": [{"assessment_name": "good"}],
            "tags": {"assessments": "kept"}, "trace_metadata": {"assessments": "kept"}}, "spans": [{"assessments": [1]}]}});
        let left = json!({"trace": {"trace_info": {"trace_id": "t", "tags": {"assessments": "kept"},
            "trace_metadata": {"assessments": "kept"}}, "spans": [{"assessments": [1]}]}});
        let assessments = Hidden { runs: false, logged_models: false, assessments: true };
        let mut answer = trace.clone();
        assert!(assessments.strip(&mut answer));
        assert_eq!(answer, left);
        assert!(!assessments.strip(&mut answer));
        assert_eq!(without(true, true, trace.clone()), (false, trace));
    }

    #[test]
    fn what_is_denied_is_left_out_of_what_stands_around_it() {
        let version = json!({"name": "m", "run_id": "r", "run_link": "l", "model_id": "g", "source": "s"});
        let named = json!({"registered_models": [{"name": "m", "latest_versions": [version]}],
            "model_version": version});
        let (found, left) = without(true, false, named.clone());
        let expected = json!({"name": "m", "model_id": "g", "source": "s"});
        assert_eq!((found, &left["model_version"]), (true, &expected));
        assert_eq!(left["registered_models"][0]["latest_versions"], json!([expected]));
        let (_, left) = without(false, true, named.clone());
        assert_eq!(
            left["model_version"],
            json!({"name": "m", "run_id": "r", "run_link": "l", "source": "s"})
        );
        assert_eq!(without(false, false, named.clone()), (false, named));

        let run = json!({"run": {"info": {"run_id": "r"}, "inputs": {"model_inputs": [{"model_id": "g"}]},
            "outputs": {"model_outputs": [{"model_id": "g", "step": 0}]},
            "data": {"metrics": [{"key": "k", "model_id": "g"}], "params": [{"key": "model_id", "value": "kept"}]}}});
        let left = json!({"run": {"info": {"run_id": "r"}, "inputs": {}, "outputs": {},
            "data": {"metrics": [{"key": "k"}], "params": [{"key": "model_id", "value": "kept"}]}}});
        assert_eq!(without(true, true, run.clone()), (true, left));
        assert_eq!(without(true, false, run.clone()), (false, run));

        let model = json!({"models": [{"info": {"model_id": "g", "source_run_id": "r"},
            "data": {"metrics": [{"key": "k", "run_id": "r", "model_id": "g"}]}}]});
        let left = json!({"models": [{"info": {"model_id": "g"},
            "data": {"metrics": [{"key": "k", "model_id": "g"}]}}]});
        assert_eq!(without(true, false, model.clone()), (true, left));
        assert_eq!(without(false, true, model.clone()), (false, model));

        let run = "0123456789abcdef0123456789abcdef";
        let files = json!({"files": [{"path": run, "is_dir": true}, {"path": "models", "is_dir": true}]});
        let left = json!({"files": [{"path": "models", "is_dir": true}]});
        assert_eq!(without(true, false, files.clone()), (true, left));
        assert_eq!(without(false, true, files.clone()), (false, files));

        let traces = json!({"traces": [{"trace_metadata": {"mlflow.sourceRun": "r", "mlflow.modelId": "g", "user": "u"}},
            {"request_metadata": [{"key": "mlflow.sourceRun", "value": "r"}, {"key": "user", "value": "u"}]}]});
        let (found, left) = without(true, false, traces);
        let expected = json!([{"trace_metadata": {"mlflow.modelId": "g", "user": "u"}},
            {"request_metadata": [{"key": "user", "value": "u"}]}]);
        assert_eq!((found, &left["traces"]), (true, &expected));
    }
}

//! States and things of the database in the words and colours of the pages.

use std::time::Duration;

use tidemill_core::{Event, RunState, StepState, Timestamp};
use tidemill_db::tracking::{KeyValue, RunInfo, RunStatus};
use tidemill_serve::ModelState;
use tidemill_ui::{Badge, Cell, Link, Tone, href, moment};

/// How a tracked run stands.
pub(super) fn run_badge(status: RunStatus) -> Badge {
    let (tone, word) = match status {
        RunStatus::Running => (Tone::Busy, "running"),
        RunStatus::Scheduled => (Tone::Busy, "scheduled"),
        RunStatus::Finished => (Tone::Good, "finished"),
        RunStatus::Failed => (Tone::Bad, "failed"),
        RunStatus::Killed => (Tone::Warn, "stopped"),
    };
    Badge::new(tone, word)
}

/// How a run of the pipeline stands.
pub(super) fn pipeline_badge(state: RunState) -> Badge {
    let (tone, word) = match state {
        RunState::Running => (Tone::Busy, "running"),
        RunState::Succeeded => (Tone::Good, "succeeded"),
        RunState::Failed => (Tone::Bad, "failed"),
        RunState::Cancelled => (Tone::Warn, "stopped"),
        RunState::Interrupted => (Tone::Warn, "interrupted"),
    };
    Badge::new(tone, word)
}

/// How a step ended.
pub(super) fn step_badge(state: StepState) -> Badge {
    let (tone, word) = match state {
        StepState::Ran => (Tone::Good, "ran"),
        StepState::Restored => (Tone::Calm, "restored from the store"),
        StepState::Unchanged => (Tone::Calm, "unchanged"),
        StepState::Failed => (Tone::Bad, "failed"),
        StepState::Cancelled => (Tone::Warn, "stopped"),
        StepState::Skipped => (Tone::Warn, "skipped"),
    };
    Badge::new(tone, word)
}

/// The phase of a rollout.
pub(super) fn phase_badge(name: &str) -> Badge {
    let tone = match name {
        "complete" => Tone::Good,
        "rolled-back" | "refused" => Tone::Bad,
        "awaiting" | "aborted" | "superseded" | "rolling-back" => Tone::Warn,
        "preflight" | "shadow" | "canary" | "certified" | "settling" => Tone::Busy,
        _ => Tone::Plain,
    };
    Badge::new(tone, name)
}

/// How a model of serving stands.
pub(super) fn model_badge(state: &ModelState) -> Badge {
    match state {
        ModelState::Ready => Badge::new(Tone::Good, "ready"),
        ModelState::Loading => Badge::new(Tone::Busy, "loading"),
        ModelState::Unloaded => Badge::new(Tone::Calm, "unloaded"),
        ModelState::Failed(_) => Badge::new(Tone::Bad, "failed"),
    }
}

/// A length of time in words.
pub(super) fn long(time: Duration) -> String {
    tidemill_ui::duration(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// How long something took, or has been going on.
pub(super) fn took(from: Option<Timestamp>, to: Option<Timestamp>, now: Timestamp) -> Cell {
    let Some(from) = from else { return Cell::None };
    Cell::Duration(u64::try_from(to.unwrap_or(now).since(from).as_millis()).unwrap_or(u64::MAX))
}

/// A run with its name; without one, the beginning of its identifier.
pub(super) fn run_link(info: &RunInfo) -> Link {
    let id = info.id.to_string();
    let name = if info.name.is_empty() { info.id.short() } else { info.name.clone() };
    Link::new(href(&["runs", &id], &[]), name)
}

/// The value of a pair.
pub(super) fn find<'a>(pairs: &'a [KeyValue], key: &str) -> Option<&'a str> {
    pairs.iter().find(|pair| pair.key == key).map(|pair| pair.value.as_str())
}

/// The page of what an event is about; the log of it where it has none.
pub(super) fn subject_link(subject: &str) -> Link {
    let address = match subject.split_once(':') {
        Some(("run", id)) => href(&["runs", id], &[]),
        Some(("dataset", name)) => href(&["data", name], &[]),
        Some(("experiment", id)) => href(&["experiments", id], &[]),
        Some(("model", name)) => href(&["models", name], &[]),
        Some(("endpoint", name)) => href(&["serving", name], &[]),
        Some(("rollout", id)) => href(&["delivery", "rollouts", id], &[]),
        Some(("release", digest)) => href(&["delivery", "releases", digest], &[]),
        Some(("environment" | "freeze", _)) => href(&["delivery"], &[]),
        Some(("alert", _)) => href(&["monitoring"], &[]),
        _ => href(&["log"], &[("subject", subject)]),
    };
    let text = match subject.split_once(':') {
        Some((kind @ ("run" | "logged_model"), id)) => {
            format!("{kind}:{}", id.chars().take(10).collect::<String>())
        }
        _ => subject.to_owned(),
    };
    Link::new(address, text)
}

/// What else an event says, in one line: the members of its record that are not in its subject.
pub(super) fn details(event: &Event) -> String {
    let Ok(serde_json::Value::Object(members)) = serde_json::to_value(&event.kind) else {
        return String::new();
    };
    let subject = event.kind.subject();
    let mut said = Vec::new();
    for (key, value) in &members {
        if value.is_null() {
            continue;
        }
        let text = said_of(key, value);
        if key == "kind" || subject.ends_with(&format!(":{text}")) {
            continue;
        }
        let short: String = match text.strip_prefix("b3:") {
            Some(digest) => digest.chars().take(10).collect(),
            None if text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
                text.chars().take(10).collect()
            }
            None => text.chars().take(120).collect(),
        };
        said.push(format!("{} {short}", key.replace('_', " ")));
    }
    said.join(", ")
}

/// A member of an event as text: times as such.
pub(super) fn said_of(key: &str, value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) if matches!(key, "since" | "until") => number
            .as_i64()
            .map_or_else(|| number.to_string(), |millis| moment(Timestamp::from_millis(millis)) + " UTC"),
        other => other.to_string(),
    }
}

/// The word of the project file for one of a few choices.
pub(super) fn choice(value: &impl serde::Serialize) -> Option<String> {
    serde_json::to_value(value).ok()?.as_str().map(str::to_owned)
}

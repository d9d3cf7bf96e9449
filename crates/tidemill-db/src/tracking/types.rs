//! The values that tracking reads and writes.

use tidemill_core::{RunId, Timestamp};

/// A key and its value: a parameter or a tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// Whether something was marked as deleted. What is deleted can still be read, and taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// There.
    #[default]
    Active,
    /// Marked as deleted.
    Deleted,
}

/// How a tracked run stands, in MLflow's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// At work.
    Running,
    /// Will begin.
    Scheduled,
    /// Ended well.
    Finished,
    /// Ended with an error.
    Failed,
    /// Was stopped.
    Killed,
}

/// A group of runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// Its number; 0 is the one called `Default`.
    pub id: i64,
    /// Its name, unique also among the deleted ones.
    pub name: String,
    /// Where artifacts of its runs go: a URI.
    pub artifact_location: String,
    /// Whether it is deleted.
    pub stage: Stage,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// By key.
    pub tags: Vec<KeyValue>,
}

/// What a list of runs shows of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInfo {
    /// Its identifier.
    pub id: RunId,
    /// Its experiment.
    pub experiment: i64,
    /// Its name; also the tag `mlflow.runName`.
    pub name: String,
    /// Who made it, as the client says; may be empty.
    pub user: String,
    /// How it stands.
    pub status: RunStatus,
    /// Whether it is deleted.
    pub stage: Stage,
    /// Where its artifacts are: a URI.
    pub artifact_uri: String,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A measured value of a run or of a logged model.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// What was measured.
    pub key: String,
    /// The value; NaN and infinities are kept.
    pub value: f64,
    /// When.
    pub at: Timestamp,
    /// The training step, or 0.
    pub step: i64,
    /// The dataset that it was measured on.
    pub dataset_name: Option<String>,
    /// That dataset's digest.
    pub dataset_digest: Option<String>,
    /// The logged model that it was measured on.
    pub model_id: Option<String>,
    /// The run that measured it; known for metrics of logged models.
    pub run_id: Option<RunId>,
}

/// One point of a metric's history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistoryPoint {
    /// The training step, or 0.
    pub step: i64,
    /// When.
    pub at: Timestamp,
    /// The value; NaN and infinities are kept.
    pub value: f64,
}

/// A dataset that a run read, as the client described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputDataset {
    /// Its name.
    pub name: String,
    /// Its digest, at most 36 characters.
    pub digest: String,
    /// For example `local` or `http`.
    pub source_type: String,
    /// JSON or text of the client.
    pub source: String,
    /// JSON of the client.
    pub schema: Option<String>,
    /// JSON of the client.
    pub profile: Option<String>,
    /// What the run used it for, for example `mlflow.data.context` = `training`.
    pub tags: Vec<KeyValue>,
}

/// A logged model that a run made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelOutput {
    /// The logged model.
    pub model_id: String,
    /// The training step.
    pub step: i64,
}

/// A tracked run with everything but the histories of its metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What lists show.
    pub info: RunInfo,
    /// The newest value of each metric, by key.
    pub metrics: Vec<Metric>,
    /// By key.
    pub params: Vec<KeyValue>,
    /// By key.
    pub tags: Vec<KeyValue>,
    /// Datasets that it read.
    pub datasets: Vec<InputDataset>,
    /// Logged models that it read.
    pub model_inputs: Vec<String>,
    /// Logged models that it made.
    pub model_outputs: Vec<ModelOutput>,
}

/// A tracked run that is about to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTrackedRun {
    /// Its identifier.
    pub id: RunId,
    /// Its experiment, which must be there and active.
    pub experiment: i64,
    /// Its name.
    pub name: String,
    /// Who made it, as the client says; may be empty.
    pub user: String,
    /// How it stands.
    pub status: RunStatus,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Where its artifacts are; below the experiment's location unless said.
    pub artifact_uri: Option<String>,
}

/// What one request writes to a run: all of it, or nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The new status.
    pub status: Option<RunStatus>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The new name.
    pub name: Option<String>,
    /// Parameters. One that is there already must have the same value.
    pub params: Vec<KeyValue>,
    /// Points of metrics. One that is there already is dropped. With a `model_id` also a metric of the logged model.
    pub metrics: Vec<Metric>,
    /// Tags, which replace those of the same key.
    pub tags: Vec<KeyValue>,
    /// Tags to remove; each must be there.
    pub removed_tags: Vec<String>,
    /// Datasets that it read. Within an experiment one of the same name and digest is stored once, as first described.
    pub datasets: Vec<InputDataset>,
    /// Logged models that it read.
    pub model_inputs: Vec<String>,
    /// Logged models that it made.
    pub model_outputs: Vec<ModelOutput>,
}

/// A parameter that a request would have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamChange {
    /// Its key.
    pub key: String,
    /// The value that it has.
    pub old: String,
    /// The value that was given.
    pub new: String,
}

impl Experiment {
    /// Where the artifacts of one of its runs go: `RUN/artifacts` at the end of the path of its own location.
    pub fn run_artifacts(&self, run: RunId) -> String {
        artifacts_below(&self.artifact_location, run)
    }
}

/// See [`Experiment::run_artifacts`]. A query, as some object stores take one, stays at the end.
pub(crate) fn artifacts_below(location: &str, run: RunId) -> String {
    let (path, query) = match location.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (location, String::new()),
    };
    let slash = if path.ends_with('/') { "" } else { "/" };
    format!("{path}{slash}{run}/artifacts{query}")
}

impl Stage {
    /// As stored and as MLflow writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deleted => "deleted",
        }
    }

    /// From [`Self::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Active, Self::Deleted].into_iter().find(|stage| stage.word() == word)
    }
}

impl RunStatus {
    /// All, in the order of MLflow's numbers, from 1.
    pub const ALL: [Self; 5] = [Self::Running, Self::Scheduled, Self::Finished, Self::Failed, Self::Killed];

    /// As stored and as MLflow writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Scheduled => "SCHEDULED",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Killed => "KILLED",
        }
    }

    /// From [`Self::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_of_a_run_are_below_those_of_its_experiment() {
        let run = RunId::from_entropy([1; 16]);
        for (location, uri) in [
            ("mlflow-artifacts:/3", format!("mlflow-artifacts:/3/{run}/artifacts")),
            ("/srv/x/", format!("/srv/x/{run}/artifacts")),
            ("s3://b/p?region=x", format!("s3://b/p/{run}/artifacts?region=x")),
        ] {
            assert_eq!(artifacts_below(location, run), uri);
        }
    }
}

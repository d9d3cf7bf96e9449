//! What an import reads: the things of another tracking store as plain values, and the seam to its three forms.

use async_trait::async_trait;
use tidemill_db::tracking::{InputDataset, KeyValue, ModelOutput, RunStatus};

use crate::Result;
use crate::artifacts::ArtifactWriter;

/// An experiment of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceExperiment {
    /// Its identifier there, a number of any length.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is deleted there.
    pub deleted: bool,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Milliseconds since the epoch.
    pub updated_at: i64,
    /// By key.
    pub tags: Vec<KeyValue>,
}

/// A run of the source without the histories of its metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRun {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Who made it.
    pub user: String,
    /// How it stands.
    pub status: RunStatus,
    /// Whether it is deleted there.
    pub deleted: bool,
    /// Milliseconds since the epoch.
    pub started_at: Option<i64>,
    /// Milliseconds since the epoch.
    pub ended_at: Option<i64>,
    /// Where its artifacts are, as the source says.
    pub artifact_uri: String,
    /// By key.
    pub params: Vec<KeyValue>,
    /// By key.
    pub tags: Vec<KeyValue>,
    /// Keys of its metrics.
    pub metrics: Vec<String>,
    /// Datasets that it read.
    pub datasets: Vec<InputDataset>,
    /// Logged models that it read.
    pub model_inputs: Vec<String>,
    /// Logged models that it made.
    pub model_outputs: Vec<ModelOutput>,
}

/// One point of a metric's history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourcePoint {
    /// Milliseconds since the epoch.
    pub at: i64,
    /// The value.
    pub value: f64,
    /// The training step.
    pub step: i64,
}

/// A logged model of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceLoggedModel {
    /// Its identifier, `m-…`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its kind, as the client says; may be empty.
    pub model_type: String,
    /// `LOGGED_MODEL_PENDING`, `LOGGED_MODEL_READY` or `LOGGED_MODEL_UPLOAD_FAILED`.
    pub status: String,
    /// The run that made it.
    pub source_run: Option<String>,
    /// Where its files are, as the source says.
    pub artifact_uri: String,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Milliseconds since the epoch.
    pub updated_at: i64,
    /// By key.
    pub params: Vec<KeyValue>,
    /// By key.
    pub tags: Vec<KeyValue>,
}

/// A point that was measured on a logged model.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceModelPoint {
    /// The metric.
    pub key: String,
    /// Its value.
    pub point: SourcePoint,
    /// The run that measured it.
    pub run: Option<String>,
    /// The dataset that it was measured on.
    pub dataset_name: Option<String>,
    /// Its digest.
    pub dataset_digest: Option<String>,
}

/// A registered model of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceModel {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// By key.
    pub tags: Vec<KeyValue>,
    /// Alias and version.
    pub aliases: Vec<(String, u64)>,
    /// In the order of their numbers.
    pub versions: Vec<SourceVersion>,
}

/// A version of a registered model of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceVersion {
    /// Its number, from 1.
    pub number: u64,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// For people.
    pub description: String,
    /// `None`, `Staging`, `Production` or `Archived`.
    pub stage: String,
    /// As it was registered: a URI, or `models:/m-…`.
    pub source: String,
    /// Where its files are, where the source says it beside `source`.
    pub storage: Option<String>,
    /// The run that made it.
    pub run: Option<String>,
    /// By key.
    pub tags: Vec<KeyValue>,
}

/// A file of an artifact folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceFile {
    /// Path below the folder, with `/` between parts.
    pub path: String,
    /// Its size in bytes, where known.
    pub bytes: Option<u64>,
}

/// What a store has that an import does not take over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// Traces.
    pub traces: u64,
    /// Datasets of evaluations, which are not those that runs read.
    pub evaluation_datasets: u64,
}

/// A tracking store that is read. Nothing is ever written to it.
#[async_trait]
pub trait Source: Send + Sync {
    /// Its address without credentials.
    fn place(&self) -> String;

    /// All experiments, deleted ones too.
    async fn experiments(&self) -> Result<Vec<SourceExperiment>>;

    /// Identifiers of the runs of an experiment, deleted ones too, oldest first.
    async fn runs(&self, experiment: &SourceExperiment) -> Result<Vec<String>>;

    /// One run.
    async fn run(&self, experiment: &SourceExperiment, id: &str) -> Result<SourceRun>;

    /// The history of one metric.
    async fn history(&self, experiment: &SourceExperiment, run: &str, key: &str) -> Result<Vec<SourcePoint>>;

    /// The logged models of an experiment.
    async fn logged_models(&self, experiment: &SourceExperiment) -> Result<Vec<SourceLoggedModel>>;

    /// What was measured on a logged model.
    async fn model_points(&self, experiment: &SourceExperiment, model: &str)
    -> Result<Vec<SourceModelPoint>>;

    /// All registered models with their versions.
    async fn models(&self) -> Result<Vec<SourceModel>>;

    /// The files below an artifact folder; `None` where this source cannot read that kind of place, as an object store
    /// that clients reach themselves.
    async fn files(&self, uri: &str) -> Result<Option<Vec<SourceFile>>>;

    /// What stays behind of these experiments.
    async fn behind(&self, experiments: &[SourceExperiment]) -> Result<Behind>;

    /// Writes the content of one of [`Source::files`].
    async fn fetch(&self, uri: &str, file: &SourceFile, into: &mut ArtifactWriter) -> Result<()>;
}

//! A pipeline step after templating: concrete names, paths and parameters.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Training;

/// One node of the pipeline's graph. Paths are relative to the project folder, with `/` between parts, without
/// `.` or `..` parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its name; steps of a matrix are called `name@key=value,key=value` in the matrix's order.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// Named tables that it reads: datasets of the project or outputs of other steps.
    pub inputs: Vec<Input>,
    /// Further files and folders that it reads. A folder stands for everything below it.
    pub deps: Vec<String>,
    /// The parameters that it names, dotted key to value. Only these enter its cache key.
    pub params: BTreeMap<String, Value>,
    /// Environment variables of its process, beside PATH, HOME and what Tidemill sets.
    pub env: BTreeMap<String, EnvSource>,
    /// What it writes.
    pub outs: Vec<Out>,
    /// When its process group is killed.
    pub timeout: Option<Duration>,
    /// What happens after a failure.
    pub retry: Retry,
    /// Whether undeclared reads and writes are refused.
    pub sandbox: Sandbox,
    /// What it may read outside of the project folder beside programs and their own files: absolute paths, paths that begin
    /// with `~/`, or paths relative to the project folder. Not in the cache key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<String>,
    /// One sentence for people; not in the cache key.
    pub description: Option<String>,
    /// Line of the step in the project file, from 1, for messages.
    pub line: usize,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Any command, run by `sh -c` in the project folder.
    Run {
        /// The command line.
        command: String,
    },
    /// A query; its result is the step's only output, a Parquet file.
    Sql {
        /// Where the text is from, for messages: a path, or the project file for inline text.
        source: String,
        /// Path of the file that holds the text, which is then also a dependency; `None` for inline text.
        file: Option<String>,
        /// The inline text, templated; empty where `file` is given (read when the step is planned).
        text: String,
    },
    /// The built-in trainer; its output is a folder.
    Train(Box<Training>),
}

/// A named table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// The name of the table in SQL.
    pub table: String,
    /// Files, folders or glob patterns relative to the project folder, or object-store URLs; the folder of [`RecordsInput::path`](super::RecordsInput::path)
    /// for records of an endpoint.
    pub paths: Vec<String>,
    /// The files' format where it is declared; told by each file's name otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DataFormat>,
}

/// A table's file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataFormat {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header line.
    Csv,
    /// Tab-separated values with a header line.
    Tsv,
    /// One JSON object a line.
    Jsonl,
    /// Arrow IPC files.
    Arrow,
}

impl DataFormat {
    /// Every format.
    pub const ALL: [Self; 5] = [Self::Parquet, Self::Csv, Self::Tsv, Self::Jsonl, Self::Arrow];

    /// The word for it in the project file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Jsonl => "jsonl",
            Self::Arrow => "arrow",
        }
    }
}

/// Where the value of an environment variable is from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvSource {
    /// Given in the project file.
    Value(String),
    /// Taken from Tidemill's own environment; the value is in the cache key, as a digest.
    Inherit,
    /// Taken from Tidemill's own environment and kept out of the cache key and every record.
    Secret,
}

/// A file or folder that a step writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Out {
    /// The path.
    pub path: String,
    /// A JSON file of metrics, shown after the run and by `diff`.
    pub metrics: bool,
    /// Kept in the workspace between runs and given to the step (checkpoints), instead of being removed first.
    pub persist: bool,
}

/// What happens after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Further attempts.
    pub times: u32,
    /// Wait before the first one; doubled for each one after, up to five minutes.
    pub backoff: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { times: 0, backoff: Duration::from_secs(1) }
    }
}

/// Whether undeclared reads and writes are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sandbox {
    /// Inside the project folder only what is declared; outside of it programs, libraries, settings and caches may be read,
    /// and neither people's files nor the places where data lie.
    #[default]
    On,
    /// Everything goes.
    Off,
}

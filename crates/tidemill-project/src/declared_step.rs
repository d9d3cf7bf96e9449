//! A pipeline step as it stands in the file: before templates, matrices and defaults.
//!
//! `resolve` makes `tidemill_core::declare::Step` of it.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_core::declare::Sandbox;

use crate::training::TrainDecl;
use crate::{Period, Templated};

/// A step of the pipeline. Exactly one of `sql`, `run` and `train` says what it does. `${key}` in any text of a
/// step stands for a parameter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StepDecl {
    /// A query: the path of a `.sql` file, or the text itself. Its result is the step's only output, a Parquet
    /// file. Tables are the names in `inputs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// A command line, run by `sh -c` in the project folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// A training with the built-in trainer; the step's only output is the model's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainDecl>,
    /// One sentence for people; changing it runs nothing again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tables that it reads: names of datasets, or outputs of other steps by their path (the table is then
    /// named after the file, without its extension), or `{table: dataset or output}`. `records:ENDPOINT` is the stored
    /// inference log of an endpoint with its outcomes, and `records:ENDPOINT@2026-01-01..2026-02-01` that of the days
    /// from the first to before the second, of which either may be left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputDecl>,
    /// Further files and folders that it reads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deps: Vec<String>,
    /// Parameters that it depends on: keys of the project's parameters, a parameter file, `{file: [keys]}`, or
    /// values of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<StepParams>,
    /// Environment variables of its process, beside PATH, HOME and what Tidemill sets.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub env: IndexMap<String, EnvDecl>,
    /// Files and folders that it writes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outs: Vec<OutDecl>,
    /// JSON files of metrics that it writes: outputs whose numbers are shown after the run and by `diff`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<String>,
    /// When its process group is killed, for example `30m`; never where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Templated<Period>>,
    /// What happens after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<RetriesDecl>,
    /// `off` lets the step read and write what it did not declare; `{read: [paths]}` lets it read files and folders outside of
    /// the project folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxDecl>,
    /// Makes one step for every combination of these lists, with `${matrix.key}` in its texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix: Option<IndexMap<String, Axis>>,
    /// Makes one step for every entry of this list or map, with `${item}` (and `${key}` of a map) in its texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreach: Option<Foreach>,
}

/// What a step may do beside what it declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SandboxDecl {
    /// Nothing, or everything.
    Word(Sandbox),
    /// Read these as well.
    Open(SandboxOpen),
}

/// What a step may read outside of the project folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SandboxOpen {
    /// Files and folders: absolute, or beginning with `~/`, or relative to the project folder, as in `../shared`. Their content
    /// is no part of the step's cache key.
    pub read: Vec<String>,
}

/// A named table: a dataset, an output of another step, or either under a name of one's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum InputDecl {
    /// A dataset's name, an output's path, or `records:ENDPOINT`.
    Source(String),
    /// Table name to any of these.
    Named(IndexMap<String, String>),
}

/// The parameters that a step depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum StepParams {
    /// The path of a parameter file; all of its keys.
    File(String),
    /// Keys of the project's parameters, or `{file: [keys]}`.
    Keys(Vec<ParamRef>),
    /// Values of the step's own, or `file: [keys]` where the key ends in `.yaml`, `.yml`, `.json` or `.toml`.
    Values(IndexMap<String, Value>),
}

/// One entry of a list of parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ParamRef {
    /// A key of the project's parameters, with dots for nested values; or the path of a parameter file.
    Key(String),
    /// Keys of a parameter file; all of them where there is no list.
    File(IndexMap<String, Option<Vec<String>>>),
}

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EnvDecl {
    /// Taken from Tidemill's own environment.
    From(EnvFrom),
    /// Given here.
    Text(String),
    /// A number given here.
    Number(serde_json::Number),
    /// A truth value given here.
    Bool(bool),
}

/// How a variable is taken from Tidemill's own environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvFrom {
    /// `{inherit: true}`: a change of the value runs the step again.
    Inherit(bool),
    /// `{secret: true}`: the value is kept out of the cache key and every record.
    Secret(bool),
}

/// A file or folder that a step writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OutDecl {
    /// Its path.
    Path(String),
    /// Its path and what is special about it.
    Detailed(OutDetails),
}

impl OutDecl {
    /// The path.
    pub fn path(&self) -> &str {
        match self {
            Self::Path(path) => path,
            Self::Detailed(details) => &details.path,
        }
    }
}

/// An output and what is special about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutDetails {
    /// Relative to the project folder.
    pub path: String,
    /// A JSON file of metrics, shown after the run and by `diff`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub metrics: bool,
    /// Kept between runs and given to the step (checkpoints), instead of being removed first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub persist: bool,
}

/// What happens after a failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetriesDecl {
    /// Further attempts, at most 100.
    pub times: Templated<u32>,
    /// Wait before the first one; doubled for each one after, up to five minutes. One second where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Templated<Period>>,
}

/// One dimension of a matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Axis {
    /// `${key}` of a parameter that holds a list.
    Param(String),
    /// The values.
    Values(Vec<Value>),
}

/// What a step is repeated for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Foreach {
    /// `${key}` of a parameter that holds a list or a map.
    Param(String),
    /// The values.
    List(Vec<Value>),
    /// Values by key.
    Map(IndexMap<String, Value>),
}

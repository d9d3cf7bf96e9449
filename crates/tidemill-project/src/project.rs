//! The root of the project file and its small sections: owner, datasets, parameters, the store.
//!
//! Plain data. What the file may say is decided here and in the sibling modules of types; whether what it says
//! makes sense is decided in `check`.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tidemill_core::Name;
use tidemill_core::declare::{DataFormat, Expectation, Objective};

use crate::quantity::{Period, Size};
use crate::source::Source;
use crate::{ModelTest, Monitor, Receiver, Release, ServedEndpoint, StepDecl, TriggerDecl};

/// A Tidemill project: the file `tidemill.yaml` at the root of a Git repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// The project's name.
    pub project: Name,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who answers for the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// The decision that the model supports, what errors cost, and the number it must move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// Datasets by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub data: IndexMap<Name, Dataset>,
    /// Parameters that steps name and templates use: values, or the path of a parameter file, or several
    /// paths merged in order (a later file wins).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Params>,
    /// Steps by name. They form a graph by what they read and write; their order in the file has no meaning.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub pipeline: IndexMap<Name, StepDecl>,
    /// What a trained model must pass before it can be released.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<ModelTest>,
    /// The rows on which the tests judge a model that a `run` step makes; a training holds out its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOut>,
    /// How a model gets to production.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// What is watched in production.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub monitors: Vec<Monitor>,
    /// Who is told of alerts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Receiver>,
    /// What starts work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<TriggerDecl>,
    /// Where data and models are kept, and where they are pushed to. An address alone, as in `store: s3://bucket/prefix`,
    /// is short for `store: {url: s3://bucket/prefix}`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "store_settings")]
    #[schemars(with = "Option<StoreDecl>")]
    pub store: Option<StoreSettings>,
    /// How models are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
    /// The text that the project was parsed from, for messages. Not part of the project's value.
    #[serde(skip)]
    pub source: Source,
}

/// The rows on which a model that a `run` step makes is tested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeldOut {
    /// The table with the model's inputs and the objective's target, of rows that the model did not learn from: a dataset, an output
    /// of a step, or a file.
    pub table: String,
    /// Column of row weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// The probability from which the model's answer counts as positive, for two classes; 0.5 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

/// Who answers for a project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The team or person.
    pub team: String,
    /// An address or channel that reaches them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

/// Named data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// A file, a folder or a glob pattern in the project folder, or an address (`s3://…`, `gs://…`, `az://…`,
    /// `file:///…`) of one, or several of them. Files of a table must have the same columns.
    pub path: OneOrMany,
    /// The file format; by the file's extension where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DataFormat>,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The column that says when a row happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Columns that identify a row; `data diff` then tells added, removed and changed rows apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// Columns whose values are not shown: not in samples of failing rows, not in profiles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
    /// What must hold of the data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Expectation>,
}

/// One text or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    /// All of them, in order.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// Parameters: values, or the path of a parameter file, or several paths merged in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Params {
    /// The path of a YAML, JSON or TOML file, by its extension.
    File(String),
    /// Paths of files, merged in order: maps key by key, everything else replaced by the later file.
    Files(Vec<String>),
    /// Values by key. Nested values are addressed with dots: `model.depth`.
    Values(IndexMap<String, Value>),
}

/// How models are served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Serving {
    /// What is kept of requests, where an endpoint declares nothing itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<RecordDefaults>,
    /// What belongs to endpoints, by their names.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub endpoints: IndexMap<Name, ServedEndpoint>,
}

/// What is kept of requests, and for how long; everything for good where not given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordDefaults {
    /// The share of requests that is recorded, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub sample: Option<f64>,
    /// Columns that are not kept as they are, by the name of the input, output or header; `entity` is what a request is
    /// about.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub redact: IndexMap<String, Redaction>,
    /// How long records and outcomes are kept, in whole days, as in `90d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Period>,
    /// The oldest records are removed while those of an endpoint have more bytes than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_bytes: Option<u64>,
}

/// What is done with a column that is not kept as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Redaction {
    /// Its values are replaced by keyed hashes.
    Hash,
    /// It is left out.
    Drop,
}

/// The store as it may be written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum StoreDecl {
    /// The address where the store is.
    Address(String),
    /// Everything that can be said of it.
    Settings(Box<StoreSettings>),
}

fn store_settings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<StoreSettings>, D::Error> {
    let written = Option::<StoreDecl>::deserialize(deserializer)?;
    Ok(written.map(|written| match written {
        StoreDecl::Address(url) => StoreSettings { url: Some(url), ..StoreSettings::default() },
        StoreDecl::Settings(settings) => *settings,
    }))
}

/// Where data and models are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    /// Where the store is, if not only in a folder of this machine: `s3://bucket/prefix`, `gs://…`, `az://…`, `file:///…` or
    /// a folder. The local folder is a cache of it then: what is added is there before it is acknowledged, and what is
    /// not here is fetched when it is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Settings of the object store of `url`, as those of a remote.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// The largest size of the local folder in front of `url`, for example `20 GB`: what was not used for longest leaves
    /// it first, and only what is at the address. Without it the folder grows until `tidemill gc` collects it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_size: Option<Size>,
    /// The folder of the local store; `.tidemill/store` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The remote that `data push` and `data pull` use when none is named; the only one where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Name>,
    /// Remotes by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub remotes: IndexMap<Name, Remote>,
}

impl StoreSettings {
    /// The remote that is used when none is named.
    pub fn default_remote(&self) -> Option<(&Name, &Remote)> {
        match &self.remote {
            Some(name) => self.remotes.get_key_value(name),
            None if self.remotes.len() == 1 => self.remotes.first(),
            None => None,
        }
    }
}

/// A place that data is pushed to and pulled from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// `s3://bucket/prefix`, `gs://…`, `az://…`, `file:///…` or a folder.
    pub url: String,
    /// Settings of the object store such as `endpoint` and `region`, by the names that its clients use. Secrets are
    /// taken from the environment and do not belong here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

//! The types that the four operations answer with: which fields there are, and of what kind.
//!
//! Names are as clients ask for them; in our own JSON the same field is written in snake_case.

/// A type with fields.
#[derive(Debug)]
pub(super) struct Type {
    pub(super) name: &'static str,
    pub(super) fields: &'static [(&'static str, Kind)],
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Text, and enumerations.
    Text,
    /// 64-bit integers are text in GraphQL, whose own integers have 32 bits.
    Long,
    /// A number; null where it is not a number.
    Float,
    One(&'static Type),
    Many(&'static Type),
}

use Kind::{Float, Long, Many, One, Text};

pub(super) const API_ERROR: Type =
    Type { name: "ApiError", fields: &[("code", Text), ("message", Text), ("helpUrl", Text)] };

const EXPERIMENT_TAG: Type = Type { name: "MlflowExperimentTag", fields: &[("key", Text), ("value", Text)] };

pub(super) const EXPERIMENT: Type = Type {
    name: "MlflowExperiment",
    fields: &[
        ("experimentId", Text),
        ("name", Text),
        ("artifactLocation", Text),
        ("lifecycleStage", Text),
        ("lastUpdateTime", Long),
        ("creationTime", Long),
        ("tags", Many(&EXPERIMENT_TAG)),
        ("workspace", Text),
        ("effectiveTraceArchivalRetention", Text),
    ],
};

const RUN_INFO: Type = Type {
    name: "MlflowRunInfo",
    fields: &[
        ("runId", Text),
        ("runUuid", Text),
        ("runName", Text),
        ("experimentId", Text),
        ("userId", Text),
        ("status", Text),
        ("startTime", Long),
        ("endTime", Long),
        ("artifactUri", Text),
        ("lifecycleStage", Text),
    ],
};

const METRIC: Type = Type {
    name: "MlflowMetric",
    fields: &[
        ("key", Text),
        ("value", Float),
        ("timestamp", Long),
        ("step", Long),
        ("datasetName", Text),
        ("datasetDigest", Text),
        ("modelId", Text),
        ("runId", Text),
    ],
};

const PARAM: Type = Type { name: "MlflowParam", fields: &[("key", Text), ("value", Text)] };
const RUN_TAG: Type = Type { name: "MlflowRunTag", fields: &[("key", Text), ("value", Text)] };

const RUN_DATA: Type = Type {
    name: "MlflowRunData",
    fields: &[("metrics", Many(&METRIC)), ("params", Many(&PARAM)), ("tags", Many(&RUN_TAG))],
};

const DATASET: Type = Type {
    name: "MlflowDataset",
    fields: &[
        ("name", Text),
        ("digest", Text),
        ("sourceType", Text),
        ("source", Text),
        ("schema", Text),
        ("profile", Text),
    ],
};

const INPUT_TAG: Type = Type { name: "MlflowInputTag", fields: &[("key", Text), ("value", Text)] };
const DATASET_INPUT: Type =
    Type { name: "MlflowDatasetInput", fields: &[("tags", Many(&INPUT_TAG)), ("dataset", One(&DATASET))] };
const MODEL_INPUT: Type = Type { name: "MlflowModelInput", fields: &[("modelId", Text)] };
const MODEL_OUTPUT: Type = Type { name: "MlflowModelOutput", fields: &[("modelId", Text), ("step", Long)] };

const RUN_INPUTS: Type = Type {
    name: "MlflowRunInputs",
    fields: &[("datasetInputs", Many(&DATASET_INPUT)), ("modelInputs", Many(&MODEL_INPUT))],
};
const RUN_OUTPUTS: Type = Type { name: "MlflowRunOutputs", fields: &[("modelOutputs", Many(&MODEL_OUTPUT))] };

const MODEL_VERSION_TAG: Type =
    Type { name: "MlflowModelVersionTag", fields: &[("key", Text), ("value", Text)] };

const MODEL_VERSION: Type = Type {
    name: "MlflowModelVersion",
    fields: &[
        ("name", Text),
        ("version", Text),
        ("creationTimestamp", Long),
        ("lastUpdatedTimestamp", Long),
        ("userId", Text),
        ("currentStage", Text),
        ("description", Text),
        ("source", Text),
        ("runId", Text),
        ("status", Text),
        ("statusMessage", Text),
        ("runLink", Text),
        ("modelId", Text),
        ("tags", Many(&MODEL_VERSION_TAG)),
    ],
};

pub(super) const RUN: Type = Type {
    name: "MlflowRunExtension",
    fields: &[
        ("info", One(&RUN_INFO)),
        ("data", One(&RUN_DATA)),
        ("inputs", One(&RUN_INPUTS)),
        ("outputs", One(&RUN_OUTPUTS)),
        ("experiment", One(&EXPERIMENT)),
        ("modelVersions", Many(&MODEL_VERSION)),
    ],
};

const GET_EXPERIMENT: Type = Type {
    name: "MlflowGetExperimentResponse",
    fields: &[("experiment", One(&EXPERIMENT)), ("apiError", One(&API_ERROR))],
};
const GET_RUN: Type =
    Type { name: "MlflowGetRunResponse", fields: &[("run", One(&RUN)), ("apiError", One(&API_ERROR))] };
const SEARCH_RUNS: Type = Type {
    name: "MlflowSearchRunsResponse",
    fields: &[("runs", Many(&RUN)), ("nextPageToken", Text), ("apiError", One(&API_ERROR))],
};
const METRIC_HISTORY: Type = Type {
    name: "MlflowGetMetricHistoryBulkIntervalResponse",
    fields: &[("metrics", Many(&METRIC)), ("apiError", One(&API_ERROR))],
};

/// The operations.
pub(super) const QUERY: Type = Type {
    name: "Query",
    fields: &[
        ("mlflowGetExperiment", One(&GET_EXPERIMENT)),
        ("mlflowGetRun", One(&GET_RUN)),
        ("mlflowSearchRuns", One(&SEARCH_RUNS)),
        ("mlflowGetMetricHistoryBulkInterval", One(&METRIC_HISTORY)),
    ],
};

impl Type {
    /// The kind of a field.
    pub(super) fn kind(&self, name: &str) -> Option<Kind> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, kind)| *kind)
    }
}

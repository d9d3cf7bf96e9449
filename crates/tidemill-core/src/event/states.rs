//! How runs, steps and jobs stand, and what may set one off.

use serde::{Deserialize, Serialize};

/// How a pipeline run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Steps are still to be done.
    Running,
    /// Every step of the plan is done.
    Succeeded,
    /// A step failed.
    Failed,
    /// A person or a signal stopped it.
    Cancelled,
    /// Its process ended without saying so; found by the next run.
    Interrupted,
}

impl RunState {
    /// The state as a predicate, for sentences: `succeeded`, `was stopped`.
    pub const fn past(self) -> &'static str {
        match self {
            Self::Running => "is running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "was stopped",
            Self::Interrupted => "was interrupted",
        }
    }
}

/// How one step of a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Its command ran and its outputs are stored.
    Ran,
    /// Its outputs came from the store.
    Restored,
    /// Its outputs were in the workspace already.
    Unchanged,
    /// Its command failed.
    Failed,
    /// It was stopped.
    Cancelled,
    /// A step that it needs failed.
    Skipped,
}

impl StepState {
    /// The state as a predicate, for sentences: `ran`, `was restored`.
    pub const fn past(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Restored => "was restored",
            Self::Unchanged => "was unchanged",
            Self::Failed => "failed",
            Self::Cancelled => "was stopped",
            Self::Skipped => "was skipped",
        }
    }
}

/// What kind of source may start work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// A time of a schedule has come; named by the trigger.
    Schedule,
    /// Files of a dataset have changed; named by the dataset.
    Data,
    /// A branch has a new commit; named by the branch.
    Git,
    /// A webhook was called; named by the trigger.
    Webhook,
    /// A CloudEvent arrived; named by the trigger.
    Cloudevent,
    /// Prometheus' Alertmanager says that an alert fires; named by the trigger.
    Alertmanager,
    /// A message of a broker arrived; named by the trigger.
    Message,
    /// A monitor of the project has fired; named by the monitor.
    Alert,
    /// Somebody asked for it; named by the trigger.
    Hand,
}

impl SourceKind {
    /// The word in subjects of events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Data => "data",
            Self::Git => "git",
            Self::Webhook => "webhook",
            Self::Cloudevent => "cloudevent",
            Self::Alertmanager => "alertmanager",
            Self::Message => "message",
            Self::Alert => "alert",
            Self::Hand => "hand",
        }
    }
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits for a worker.
    Waiting,
    /// A worker is on it.
    Running,
    /// Every action went well.
    Succeeded,
    /// An action failed.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// A newer job of the same trigger took its place.
    Superseded,
}

impl JobState {
    /// The word in the database and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        }
    }

    /// The state of this name.
    pub fn parse(name: &str) -> Option<Self> {
        use JobState::{Cancelled, Failed, Running, Succeeded, Superseded, Waiting};
        [Waiting, Running, Succeeded, Failed, Cancelled, Superseded].into_iter().find(|s| s.name() == name)
    }

    /// Whether it is still to be done or being done.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Running)
    }
}

//! The closed set of things that can happen, as they stand in the append-only log.

mod entry;
mod outcomes;
mod states;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::entry::{Event, NewEvent};
pub use self::outcomes::OutcomesOfDataset;
pub use self::states::{JobState, RunState, SourceKind, StepState};
use crate::{Digest, Facts, Identity, RunId, Timestamp};

/// What happened. Closed: a new kind is added here, and every `match` says what it does with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// A project got its database.
    ProjectOpened {
        /// The project's name.
        project: String,
    },
    /// A dataset got a new version.
    DatasetVersionCreated {
        /// The dataset.
        dataset: String,
        /// Its version number, from 1.
        version: u64,
        /// The root of the stored content.
        content: Digest,
        /// Size of the content in bytes.
        bytes: u64,
        /// Number of rows where the content is a table.
        rows: Option<u64>,
    },
    /// A pipeline run began.
    RunStarted {
        /// The run.
        run: RunId,
        /// Commit of the code, where the project is in Git.
        commit: Option<String>,
        /// Digest of the stored plan.
        plan: Digest,
    },
    /// A step of a run ended.
    StepFinished {
        /// The run.
        run: RunId,
        /// The step's name.
        step: String,
        /// How it ended.
        state: StepState,
        /// The step's cache key.
        key: Digest,
        /// Digest of the record of its outputs.
        outputs: Option<Digest>,
        /// Exit code, where a process ran.
        exit_code: Option<i32>,
        /// Duration in milliseconds.
        duration_ms: u64,
    },
    /// A pipeline run ended.
    RunFinished {
        /// The run.
        run: RunId,
        /// How.
        state: RunState,
        /// Digest of the lock file that it wrote.
        lock: Option<Digest>,
    },
    /// Data checks were evaluated.
    DataChecked {
        /// The dataset.
        dataset: String,
        /// Number of expectations that held.
        passed: u64,
        /// Number that did not, of severity `error`.
        failed: u64,
        /// Number that did not, of severity `warn`.
        warned: u64,
        /// Digest of the stored results, with the first rows that break them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Digest>,
    },
    /// Model tests were evaluated on a run.
    ModelTested {
        /// The run.
        run: RunId,
        /// Digest of the stored results.
        evidence: Digest,
        /// Number of tests that held.
        passed: u64,
        /// Number that did not.
        failed: u64,
        /// Number that there was nothing to judge on; not in events from before this was counted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_judged: Option<u64>,
        /// Of these, the number that compare with what a first version cannot have yet, such as a champion.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waiting: Option<u64>,
        /// Digest of the model that was tested; not in events from before this was recorded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<Digest>,
    },
    /// Objects that nothing refers to were removed.
    StoreSwept {
        /// Number of objects removed.
        objects: u64,
        /// Bytes freed.
        bytes: u64,
    },
    /// What nothing at a remote store refers to was removed there.
    RemoteSwept {
        /// The remote's address, without credentials.
        remote: String,
        /// Number of packs removed.
        packs: u64,
        /// Bytes freed.
        bytes: u64,
    },
    /// Objects went to a remote store.
    StorePushed {
        /// The remote's address, without credentials.
        remote: String,
        /// Bytes sent.
        bytes: u64,
    },
    /// Objects came from a remote store.
    StorePulled {
        /// The remote's address, without credentials.
        remote: String,
        /// Bytes received.
        bytes: u64,
    },
    /// A run was repeated and compared.
    RunReproduced {
        /// The run that was repeated.
        run: RunId,
        /// Whether every output was the same, byte for byte.
        identical: bool,
    },
    /// An experiment was made.
    ExperimentCreated {
        /// The experiment.
        experiment: i64,
        /// Its name.
        name: String,
    },
    /// An experiment got another name.
    ExperimentRenamed {
        /// The experiment.
        experiment: i64,
        /// Its new name.
        name: String,
    },
    /// An experiment and its runs were marked as deleted.
    ExperimentDeleted {
        /// The experiment.
        experiment: i64,
    },
    /// An experiment and its runs were taken back.
    ExperimentRestored {
        /// The experiment.
        experiment: i64,
    },
    /// An experiment that was marked as deleted was removed for good, with everything in it.
    ExperimentRemoved {
        /// The experiment; its number is not given again.
        experiment: i64,
        /// Its name, which is free again.
        name: String,
    },
    /// A tag of an experiment was set or removed.
    ExperimentTagged {
        /// The experiment.
        experiment: i64,
        /// The tag.
        key: String,
        /// Its value; none where it was removed.
        value: Option<String>,
    },
    /// A tracked run began.
    TrackingRunCreated {
        /// The run.
        run: RunId,
        /// Its experiment.
        experiment: i64,
        /// Its name.
        name: String,
    },
    /// A tracked run got another status.
    TrackingRunMoved {
        /// The run.
        run: RunId,
        /// The new status, for example `FINISHED`.
        status: String,
    },
    /// A tracked run was marked as deleted.
    TrackingRunDeleted {
        /// The run.
        run: RunId,
    },
    /// A tracked run was taken back.
    TrackingRunRestored {
        /// The run.
        run: RunId,
    },
    /// A tracked run that was marked as deleted was removed for good, with its artifacts.
    TrackingRunRemoved {
        /// The run.
        run: RunId,
    },
    /// A model was logged: its folder is about to be filled.
    LoggedModelCreated {
        /// The logged model, `m-…`.
        model: String,
        /// Its experiment.
        experiment: i64,
        /// The run that made it.
        run: Option<RunId>,
    },
    /// A logged model got another status, or was deleted.
    LoggedModelMoved {
        /// The logged model.
        model: String,
        /// The new status, for example `LOGGED_MODEL_READY`, or `DELETED`, or `REMOVED` for good.
        status: String,
    },
    /// A name for versions of a model was made.
    ModelRegistered {
        /// The model.
        model: String,
    },
    /// A registered model got another name.
    ModelRenamed {
        /// The old name.
        model: String,
        /// The new name.
        to: String,
    },
    /// A registered model or a version of it was described anew.
    ModelDescribed {
        /// The model.
        model: String,
        /// The version; none for the model itself.
        version: Option<u64>,
    },
    /// A registered model was deleted with all its versions.
    ModelDeleted {
        /// The model.
        model: String,
    },
    /// A tag of a registered model or of a version was set or removed.
    ModelTagged {
        /// The model.
        model: String,
        /// The version; none for the model itself.
        version: Option<u64>,
        /// The tag.
        key: String,
        /// Its value; none where it was removed.
        value: Option<String>,
    },
    /// A registered model got a version.
    VersionCreated {
        /// The model.
        model: String,
        /// The version's number, from 1.
        version: u64,
        /// Where its files are.
        source: String,
        /// The run that made it.
        run: Option<RunId>,
        /// Digest of its files, where they are in the store.
        content: Option<Digest>,
        /// How it was made, where a pipeline run registered it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        facts: Option<Box<Facts>>,
    },
    /// A version went to another stage.
    VersionStaged {
        /// The model.
        model: String,
        /// The version.
        version: u64,
        /// The stage before.
        from: String,
        /// The stage after.
        to: String,
    },
    /// A version was deleted; its number is never used again.
    VersionDeleted {
        /// The model.
        model: String,
        /// The version.
        version: u64,
    },
    /// An alias was pointed at a version, moved, or removed.
    AliasMoved {
        /// The model.
        model: String,
        /// The alias, for example `champion`.
        alias: String,
        /// The version before.
        from: Option<u64>,
        /// The version after.
        to: Option<u64>,
    },
    /// Artifacts were deleted.
    ArtifactsDeleted {
        /// The path, of a file or a folder.
        path: String,
        /// Number of files.
        files: u64,
    },
    /// Traces were deleted.
    TracesDeleted {
        /// The experiment.
        experiment: i64,
        /// Number of traces.
        traces: u64,
    },
    /// An evaluation dataset was made, changed or removed.
    EvaluationDatasetChanged {
        /// The dataset, `d-…`.
        dataset: String,
        /// `created`, `updated` or `deleted`.
        change: String,
    },
    /// A webhook was made, changed or removed.
    WebhookChanged {
        /// The webhook.
        webhook: String,
        /// `created`, `updated` or `deleted`.
        change: String,
    },
    /// A user who signs in with a password was made, changed or removed.
    UserChanged {
        /// The user's name.
        user: String,
        /// `created`, `password`, `admin`, `no admin` or `deleted`.
        change: String,
    },
    /// A role was made, changed or removed.
    RoleChanged {
        /// The role's name.
        role: String,
        /// The workspace in which it counts.
        workspace: String,
        /// `created`, `updated` or `deleted`.
        change: String,
    },
    /// A user got a role, or has it no more.
    RoleAssigned {
        /// The role's name.
        role: String,
        /// The user's name.
        user: String,
        /// Whether the user has it now.
        assigned: bool,
    },
    /// What a user or a role is permitted was changed.
    PermissionChanged {
        /// `user:NAME` or `role:NAME`.
        holder: String,
        /// What kind of thing, for example `experiment`.
        resource: String,
        /// Which one; `*` for all.
        pattern: String,
        /// For example `READ`; none where it was revoked.
        permission: Option<String>,
    },
    /// Something outside of Tidemill, or a hand, may start work: a time has come, files have changed, a message has
    /// arrived. What of it acts is decided by the triggers of the project, in a later event.
    SourceChanged {
        /// The project whose triggers listen.
        project: String,
        /// What kind of source.
        source: SourceKind,
        /// What it is about: a dataset, a branch, the name of a trigger.
        name: String,
        /// What else is known, for example `commit`. Short texts, never a secret.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        details: BTreeMap<String, String>,
    },
    /// A trigger started a job; the cause is the event that it fired on.
    TriggerFired {
        /// The project.
        project: String,
        /// The trigger.
        trigger: String,
        /// The job.
        job: u64,
        /// Number of events that count as this one.
        events: u64,
    },
    /// A trigger did not start anything on the event that is the cause.
    TriggerSuppressed {
        /// The project.
        project: String,
        /// The trigger.
        trigger: String,
        /// Why, in words.
        reason: String,
    },
    /// A worker began with a job.
    JobStarted {
        /// The job.
        job: u64,
        /// The trigger that asked for it.
        trigger: String,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// A job ended.
    JobFinished {
        /// The job.
        job: u64,
        /// The trigger that asked for it.
        trigger: String,
        /// How.
        state: JobState,
        /// Why, in words, where it did not go well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Runs and models came from another tracking store.
    TrackingImported {
        /// Where from, without credentials.
        from: String,
        /// Number of runs that were new.
        runs: u64,
        /// Number of versions of models that were new.
        versions: u64,
    },
    /// An endpoint of serving was made, or routes otherwise than before.
    EndpointSet {
        /// The endpoint.
        endpoint: String,
        /// Counts its changes, from 1.
        revision: u64,
        /// Digest of its declaration.
        spec: Digest,
        /// Its arms in words, for example `champion: churn@3, 95 %`.
        arms: Vec<String>,
        /// What it declares of its records in words, for example `sample: 10 %, email: hash, 90 days`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        records: Option<String>,
    },
    /// Records of requests became a part of the inference log in the store.
    RecordsStored {
        /// The endpoint, or the model that was asked directly.
        endpoint: String,
        /// The segment that they were in.
        segment: String,
        /// Number of files.
        parts: u64,
        /// Number of requests.
        requests: u64,
        /// Number of rows.
        rows: u64,
        /// Bytes of the files.
        bytes: u64,
    },
    /// Parts of the inference log were forgotten; their files leave the store with its next collection.
    RecordsRemoved {
        /// The endpoint.
        endpoint: String,
        /// Why: `age` or `bytes`.
        why: String,
        /// Number of files.
        parts: u64,
        /// Number of rows.
        rows: u64,
        /// Bytes of the files.
        bytes: u64,
    },
    /// Outcomes of requests came.
    OutcomesReceived {
        /// The endpoint.
        endpoint: String,
        /// Number of outcomes.
        outcomes: u64,
    },
    /// Outcomes found their requests.
    OutcomesJoined {
        /// The endpoint.
        endpoint: String,
        /// Joined with a request.
        matched: u64,
        /// Of these, how many were late.
        late: u64,
        /// Say what the request's outcome of the name says already.
        duplicate: u64,
        /// Outcomes that stand no longer, since one that is later by its time says otherwise; absent where there are none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        corrected: Option<u64>,
    },
    /// Outcomes found no request within the time that is declared, and are not tried any more.
    OutcomesUnmatched {
        /// The endpoint.
        endpoint: String,
        /// Number of outcomes.
        outcomes: u64,
    },
    /// Outcomes were removed since they were old.
    OutcomesRemoved {
        /// The endpoint.
        endpoint: String,
        /// Number of outcomes.
        outcomes: u64,
    },
    /// A version of a dataset was read as outcomes, since the project declares so.
    OutcomesRead(OutcomesOfDataset),
    /// A version of a dataset cannot be read as outcomes.
    OutcomesRefused {
        /// The endpoint.
        endpoint: String,
        /// The dataset.
        dataset: String,
        /// Its version.
        version: u64,
        /// Why, in words.
        why: String,
    },
    /// An endpoint of serving was deleted.
    EndpointDeleted {
        /// The endpoint.
        endpoint: String,
        /// The number of this change.
        revision: u64,
    },
    /// A release was made.
    ReleaseCreated {
        /// Its name: the digest of everything that belongs to it.
        release: Digest,
        /// The model.
        model: String,
        /// The model's version.
        version: u64,
    },
    /// A release began its way to an endpoint's requests, or waits for its turn.
    RolloutStarted {
        /// The rollout.
        rollout: u64,
        /// The endpoint.
        endpoint: String,
        /// The environment.
        environment: String,
        /// The release.
        release: Digest,
        /// Further ones, where the best of several is looked for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rivals: Vec<Digest>,
        /// The release that it is to take the place of.
        incumbent: Option<Digest>,
        /// Digest of the plan.
        plan: Digest,
    },
    /// A rollout went to another phase or stage.
    RolloutMoved {
        /// The rollout.
        rollout: u64,
        /// The phase before.
        from: String,
        /// The phase after.
        to: String,
        /// The stage of the plan, from 0.
        stage: u64,
        /// Why, in words.
        why: String,
        /// Digest of the record of what was seen, on which this was decided.
        evidence: Option<Digest>,
    },
    /// A gate looked at a rollout.
    RolloutGated {
        /// The rollout.
        rollout: u64,
        /// The gate.
        gate: String,
        /// Whether it passed; where not, a person must agree.
        passed: bool,
        /// What the gate found, in words.
        detail: String,
    },
    /// Somebody agreed to a rollout.
    RolloutApproved {
        /// The rollout.
        rollout: u64,
        /// The role in which they agreed.
        role: String,
        /// Digest of what they agreed to.
        inputs: Digest,
        /// How it is known who they are.
        #[serde(default, skip_serializing_if = "Identity::is_unknown")]
        identity: Identity,
    },
    /// An environment runs another release at an endpoint.
    EnvironmentMoved {
        /// The environment.
        environment: String,
        /// The endpoint.
        endpoint: String,
        /// The release before.
        from: Option<Digest>,
        /// The release after.
        to: Digest,
        /// The rollout that brought it there.
        rollout: u64,
    },
    /// What an environment runs after a rollout was committed to Git.
    EnvironmentRecorded {
        /// The rollout.
        rollout: u64,
        /// The environment.
        environment: String,
        /// The remote to which the commit was pushed, by its name; none where it is in the project's own repository.
        remote: Option<String>,
        /// The branch.
        branch: String,
        /// The commit.
        commit: String,
        /// What the remote said, such as the address at which a pull request is opened.
        said: Option<String>,
    },
    /// What an environment runs after a rollout could not be committed to Git yet.
    EnvironmentUnrecorded {
        /// The rollout.
        rollout: u64,
        /// The environment.
        environment: String,
        /// The remote.
        remote: Option<String>,
        /// The branch that says what environments run.
        branch: String,
        /// Why.
        reason: String,
    },
    /// A release did harm in an environment and must not run there again.
    ReleaseQuarantined {
        /// The release.
        release: Digest,
        /// The environment.
        environment: String,
        /// Why.
        reason: String,
    },
    /// Somebody said that a release may run in an environment again; another person has to say so, too.
    QuarantineLiftAsked {
        /// The release.
        release: Digest,
        /// The environment.
        environment: String,
        /// Why.
        reason: String,
    },
    /// A release may run in an environment again.
    QuarantineLifted {
        /// The release.
        release: Digest,
        /// The environment.
        environment: String,
        /// The two people who answer for it.
        by: Vec<String>,
        /// Why.
        reason: String,
    },
    /// For some time no release gets more requests.
    FreezeSet {
        /// The freeze.
        freeze: u64,
        /// The endpoint; all where not given.
        endpoint: Option<String>,
        /// Why.
        reason: String,
        /// From when, where that was still to come.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
        /// Until when; until it is lifted where not given.
        until: Option<Timestamp>,
    },
    /// A freeze ended before its time.
    FreezeLifted {
        /// The freeze.
        freeze: u64,
    },
    /// A commit was checked out, to be tested as code, data and model and, where that is declared, released.
    CiStarted {
        /// The project.
        project: String,
        /// The commit.
        commit: String,
        /// Who wrote what it brings.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        authors: Vec<String>,
    },
    /// It is known what became of a commit.
    CiFinished {
        /// The project.
        project: String,
        /// The commit.
        commit: String,
        /// The environment that it is for; none where it is only tested.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        environment: Option<String>,
        /// How it ended.
        state: JobState,
        /// The part of the work that was the last: `checkout`, `check`, `pipeline`, `tests`, `register` or `release`.
        part: String,
        /// What happened there, in words.
        what: String,
        /// What to do next, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
        /// The run of its pipeline.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<RunId>,
        /// The version that its model became: `late@4`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        /// The rollout that began with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rollout: Option<u64>,
    },
    /// It was declared what is watched at an endpoint.
    MonitorsDeclared {
        /// The endpoint.
        endpoint: String,
        /// Counts its changes, from 1.
        revision: u64,
        /// Digest of the declaration.
        spec: Digest,
        /// The monitors, by the names of their series, for example `quality:roc_auc`.
        monitors: Vec<String>,
    },
    /// Windows of predictions were judged, each once.
    WindowsEvaluated {
        /// The endpoint.
        endpoint: String,
        /// How many windows, over all monitors.
        windows: u64,
        /// In how many of them the rule is broken.
        broken: u64,
        /// How many say nothing.
        no_data: u64,
        /// The end of the last of them, in the time of predictions.
        until: Timestamp,
        /// Digest of the verdicts.
        evidence: Digest,
    },
    /// Windows of a series were judged again by outcomes that came later.
    WindowsRestated {
        /// The endpoint.
        endpoint: String,
        /// The monitor's series: `quality:roc_auc`.
        watch: String,
        /// How many windows.
        windows: u64,
        /// The end of the last of them, in the time of predictions.
        until: Timestamp,
        /// Digest of the verdicts.
        evidence: Digest,
    },
    /// An alert began to fire.
    AlertFiring {
        /// The alert.
        alert: u64,
        /// What it is known by, the same each time that it fires.
        fingerprint: Digest,
        /// The endpoint.
        endpoint: String,
        /// The kind of monitor, as it stands in the project file: `drift`.
        monitor: String,
        /// The monitor's series: `drift`, `quality:roc_auc`.
        watch: String,
        /// The begin of the first window in which the rule was broken, in the time of predictions.
        since: Timestamp,
        /// The end of the window with which it began to fire.
        until: Timestamp,
        /// Why, in words.
        why: String,
        /// What it may have cost in the last window, in hundredths of the currency.
        at_risk_cents: Option<i64>,
        /// The currency.
        currency: Option<String>,
        /// Digest of the verdict.
        evidence: Digest,
    },
    /// An alert does not fire any more.
    AlertResolved {
        /// The alert.
        alert: u64,
        /// What it is known by.
        fingerprint: Digest,
        /// The endpoint.
        endpoint: String,
        /// The kind of monitor.
        monitor: String,
        /// The monitor's series.
        watch: String,
        /// The end of the first window that is good again.
        until: Timestamp,
        /// Why, in words.
        why: String,
        /// Digest of the verdict.
        evidence: Digest,
    },
}

/// The dotted name of each kind, written once for all that need it.
macro_rules! names {
    ($($kind:ident => $name:literal,)*) => {
        impl EventKind {
            /// The dotted names of all kinds.
            pub const NAMES: &[&'static str] = &[$($name),*];

            /// The dotted name shown in the log, for example `run.started`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$kind { .. } => $name,)*
                }
            }
        }
    };
}

names! {
    ProjectOpened => "project.opened",
    DatasetVersionCreated => "dataset.version.created",
    RunStarted => "run.started",
    StepFinished => "step.finished",
    RunFinished => "run.finished",
    DataChecked => "data.checked",
    ModelTested => "model.tested",
    StoreSwept => "store.swept",
    RemoteSwept => "store.remote_swept",
    StorePushed => "store.pushed",
    StorePulled => "store.pulled",
    RunReproduced => "run.reproduced",
    ExperimentCreated => "experiment.created",
    ExperimentRenamed => "experiment.renamed",
    ExperimentDeleted => "experiment.deleted",
    ExperimentRestored => "experiment.restored",
    ExperimentRemoved => "experiment.removed",
    ExperimentTagged => "experiment.tagged",
    TrackingRunCreated => "tracking.run.created",
    TrackingRunMoved => "tracking.run.moved",
    TrackingRunDeleted => "tracking.run.deleted",
    TrackingRunRestored => "tracking.run.restored",
    TrackingRunRemoved => "tracking.run.removed",
    LoggedModelCreated => "logged_model.created",
    LoggedModelMoved => "logged_model.moved",
    ModelRegistered => "model.registered",
    ModelRenamed => "model.renamed",
    ModelDescribed => "model.described",
    ModelDeleted => "model.deleted",
    ModelTagged => "model.tagged",
    VersionCreated => "version.created",
    VersionStaged => "version.staged",
    VersionDeleted => "version.deleted",
    AliasMoved => "alias.moved",
    ArtifactsDeleted => "artifacts.deleted",
    TracesDeleted => "traces.deleted",
    EvaluationDatasetChanged => "evaluation_dataset.changed",
    WebhookChanged => "webhook.changed",
    UserChanged => "user.changed",
    RoleChanged => "role.changed",
    RoleAssigned => "role.assigned",
    PermissionChanged => "permission.changed",
    TrackingImported => "tracking.imported",
    EndpointSet => "endpoint.set",
    EndpointDeleted => "endpoint.deleted",
    RecordsStored => "records.stored",
    RecordsRemoved => "records.removed",
    OutcomesReceived => "outcomes.received",
    OutcomesJoined => "outcomes.joined",
    OutcomesUnmatched => "outcomes.unmatched",
    OutcomesRemoved => "outcomes.removed",
    OutcomesRead => "outcomes.read",
    OutcomesRefused => "outcomes.refused",
    ReleaseCreated => "release.created",
    RolloutStarted => "rollout.started",
    RolloutMoved => "rollout.moved",
    RolloutGated => "rollout.gated",
    RolloutApproved => "rollout.approved",
    EnvironmentMoved => "environment.moved",
    EnvironmentRecorded => "environment.recorded",
    EnvironmentUnrecorded => "environment.unrecorded",
    ReleaseQuarantined => "release.quarantined",
    QuarantineLiftAsked => "quarantine.lift_asked",
    QuarantineLifted => "quarantine.lifted",
    FreezeSet => "freeze.set",
    FreezeLifted => "freeze.lifted",
    SourceChanged => "source.changed",
    TriggerFired => "trigger.fired",
    TriggerSuppressed => "trigger.suppressed",
    JobStarted => "job.started",
    JobFinished => "job.finished",
    CiStarted => "ci.started",
    CiFinished => "ci.finished",
    MonitorsDeclared => "monitors.declared",
    WindowsEvaluated => "windows.evaluated",
    WindowsRestated => "windows.restated",
    AlertFiring => "alert.firing",
    AlertResolved => "alert.resolved",
}

impl EventKind {
    /// What it happened to, for filters: `run:…`, `dataset:…`, `store`, `project:…`, `experiment:…`, `model:…`,
    /// `trigger:…`, `job:…`, `commit:…`.
    pub fn subject(&self) -> String {
        match self {
            Self::ProjectOpened { project } => format!("project:{project}"),
            Self::DatasetVersionCreated { dataset, .. } | Self::DataChecked { dataset, .. } => {
                format!("dataset:{dataset}")
            }
            Self::RunStarted { run, .. }
            | Self::StepFinished { run, .. }
            | Self::RunFinished { run, .. }
            | Self::ModelTested { run, .. }
            | Self::RunReproduced { run, .. }
            | Self::TrackingRunCreated { run, .. }
            | Self::TrackingRunMoved { run, .. }
            | Self::TrackingRunDeleted { run }
            | Self::TrackingRunRestored { run }
            | Self::TrackingRunRemoved { run } => format!("run:{run}"),
            Self::ExperimentCreated { experiment, .. }
            | Self::ExperimentRenamed { experiment, .. }
            | Self::ExperimentDeleted { experiment }
            | Self::ExperimentRestored { experiment }
            | Self::ExperimentRemoved { experiment, .. }
            | Self::ExperimentTagged { experiment, .. }
            | Self::TracesDeleted { experiment, .. } => format!("experiment:{experiment}"),
            Self::LoggedModelCreated { model, .. } | Self::LoggedModelMoved { model, .. } => {
                format!("logged_model:{model}")
            }
            Self::ModelRegistered { model }
            | Self::ModelRenamed { model, .. }
            | Self::ModelDescribed { model, .. }
            | Self::ModelDeleted { model }
            | Self::ModelTagged { model, .. }
            | Self::VersionCreated { model, .. }
            | Self::VersionStaged { model, .. }
            | Self::VersionDeleted { model, .. }
            | Self::AliasMoved { model, .. } => format!("model:{model}"),
            Self::ArtifactsDeleted { path, .. } => format!("artifact:{path}"),
            Self::EvaluationDatasetChanged { dataset, .. } => format!("evaluation_dataset:{dataset}"),
            Self::WebhookChanged { webhook, .. } => format!("webhook:{webhook}"),
            Self::UserChanged { user, .. } => format!("user:{user}"),
            Self::RoleChanged { role, .. } | Self::RoleAssigned { role, .. } => format!("role:{role}"),
            Self::PermissionChanged { holder, .. } => holder.clone(),
            Self::SourceChanged { source, name, .. } => format!("{}:{name}", source.name()),
            Self::TriggerFired { trigger, .. } | Self::TriggerSuppressed { trigger, .. } => {
                format!("trigger:{trigger}")
            }
            Self::JobStarted { job, .. } | Self::JobFinished { job, .. } => format!("job:{job}"),
            Self::CiStarted { commit, .. } | Self::CiFinished { commit, .. } => format!("commit:{commit}"),
            Self::TrackingImported { .. } => "tracking".to_owned(),
            Self::EndpointSet { endpoint, .. }
            | Self::EndpointDeleted { endpoint, .. }
            | Self::RecordsStored { endpoint, .. }
            | Self::RecordsRemoved { endpoint, .. }
            | Self::OutcomesReceived { endpoint, .. }
            | Self::OutcomesJoined { endpoint, .. }
            | Self::OutcomesUnmatched { endpoint, .. }
            | Self::OutcomesRemoved { endpoint, .. }
            | Self::OutcomesRead(OutcomesOfDataset { endpoint, .. })
            | Self::OutcomesRefused { endpoint, .. }
            | Self::MonitorsDeclared { endpoint, .. }
            | Self::WindowsEvaluated { endpoint, .. }
            | Self::WindowsRestated { endpoint, .. } => format!("endpoint:{endpoint}"),
            Self::AlertFiring { alert, .. } | Self::AlertResolved { alert, .. } => format!("alert:{alert}"),
            Self::ReleaseCreated { release, .. }
            | Self::ReleaseQuarantined { release, .. }
            | Self::QuarantineLiftAsked { release, .. }
            | Self::QuarantineLifted { release, .. } => format!("release:{release}"),
            Self::RolloutStarted { rollout, .. }
            | Self::RolloutMoved { rollout, .. }
            | Self::RolloutGated { rollout, .. }
            | Self::EnvironmentRecorded { rollout, .. }
            | Self::EnvironmentUnrecorded { rollout, .. }
            | Self::RolloutApproved { rollout, .. } => format!("rollout:{rollout}"),
            Self::EnvironmentMoved { environment, .. } => format!("environment:{environment}"),
            Self::FreezeSet { freeze, .. } | Self::FreezeLifted { freeze } => format!("freeze:{freeze}"),
            Self::StoreSwept { .. }
            | Self::RemoteSwept { .. }
            | Self::StorePushed { .. }
            | Self::StorePulled { .. } => "store".to_owned(),
        }
    }
}

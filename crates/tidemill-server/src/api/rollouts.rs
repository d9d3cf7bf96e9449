//! Releases and rollouts: what there is, how it stands, and what people do to it.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidemill_core::{Actor, Digest, Event, EventKind, Timestamp};
use tidemill_db::delivery::{self as stored, RolloutFilter, RolloutTransition};
use tidemill_deliver::rollout::Agreement;
use utoipa::{IntoParams, ToSchema};

use super::envelope::{
    Limit, One, OneAnswer, Page, PageAnswer, Path, Position, Query, Text, Time, malformed, one,
};
use super::pages::ByNumber;
use super::{Failures, Problem};
use crate::App;
use crate::delivery::{Action, Known, act, plan_of, record_in_words, recorded, standing};

/// An immutable release.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Release {
    /// Its name: the digest of everything that belongs to it.
    digest: String,
    /// The model.
    model: String,
    /// The model's version.
    #[schema(minimum = 1)]
    version: u64,
    /// From which score on callers are meant to act on what it says; missing where it does not say. Scores are answered as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f64>,
    /// When it was made.
    created_at: Time,
    /// Who made it, for example `user:ada`.
    by: String,
}

/// A release on its way to an endpoint's requests.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rollout {
    /// Its number.
    #[schema(minimum = 1)]
    id: u64,
    /// The endpoint.
    endpoint: String,
    /// The environment.
    environment: String,
    /// The release that is to get the requests.
    release: String,
    /// Further ones that are tried at the same time; the best goes on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rivals: Vec<String>,
    /// The release that has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    incumbent: Option<String>,
    /// Where it is, for example `canary`.
    phase: String,
    /// Whether it waits for another rollout to be over.
    is_waiting: bool,
    /// Whether nothing happens any more.
    is_over: bool,
    /// When it was made.
    created_at: Time,
    /// When it was last changed.
    updated_at: Time,
}

/// A change of phase.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PhaseChange {
    /// When.
    at: Time,
    /// The phase before.
    from: String,
    /// The phase after.
    to: String,
    /// The stage after, from 0.
    stage: u64,
    /// Why.
    why: String,
}

/// What a gate said.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GateSaid {
    /// The gate: `preflight`, `power`.
    gate: String,
    /// Whether it let the rollout begin.
    passed: bool,
    /// What it found; a warning where it passed with one.
    detail: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
}

impl From<stored::GateResult> for GateSaid {
    fn from(result: stored::GateResult) -> Self {
        Self { gate: result.gate, passed: result.passed, detail: result.detail, at: Time(result.at) }
    }
}

/// A rollout with everything about it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RolloutDetail {
    #[serde(flatten)]
    rollout: Rollout,
    /// Who made the release, and cannot approve it.
    author: String,
    /// Who set the rollout off, as far as that is known, and cannot approve it either.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    started_by: Vec<String>,
    /// Digest of what people approve.
    inputs: String,
    /// The stages of its plan.
    #[schema(value_type = Vec<Object>)]
    stages: serde_json::Value,
    /// The stage that it is in, from 0.
    stage: u64,
    /// The part of the requests that the release gets, from 0 to 1; of several the one that was chosen, or else the first that is in.
    share: f64,
    /// Requests of the release in this stage; of several all of theirs.
    requests: u64,
    /// What keeps it from going on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    held: Option<serde_json::Value>,
    /// What gates said of it before its first request, oldest first.
    gates: Vec<GateSaid>,
    /// The judge's evidence for each metric; of several candidates that of the one whose share is said.
    #[schema(value_type = Vec<Object>)]
    metrics: serde_json::Value,
    /// How far the release agreed with the incumbent on the same requests, as a shadow; missing where it was none. Of several that of the one
    /// whose share is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<RolloutAgreement>,
    /// The candidates where there are several, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candidates: Vec<RolloutCandidate>,
    /// The metric by which the best of several is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    chosen_by: Option<String>,
    /// Its phases, oldest first.
    phases: Vec<PhaseChange>,
    /// What became of the record in Git of what the environment runs now; missing where none is kept, or it is not over.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<GitRecord>,
}

/// How far a shadow agreed with the release that answered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RolloutAgreement {
    /// Rows to which both decided the same, each by its own threshold.
    same: u64,
    /// Rows to which they decided differently.
    different: u64,
    /// The share of the same decisions, from 0 to 1; missing where nothing was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
    /// Rows to which both gave a score.
    scored: u64,
    /// The mean difference of their scores; missing where there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    score_difference: Option<f64>,
}

impl From<&Agreement> for RolloutAgreement {
    fn from(agreement: &Agreement) -> Self {
        Self {
            same: agreement.same,
            different: agreement.different,
            share: agreement.share(),
            scored: agreement.scored,
            score_difference: agreement.distance(),
        }
    }
}

/// One of several candidates of a rollout.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RolloutCandidate {
    /// Its release.
    release: String,
    /// Its model and version, for example `late@5`.
    name: String,
    /// Who made it; nobody who made one of them can approve.
    author: String,
    /// `in`, `dropped`, `not chosen` or `chosen`.
    fate: String,
    /// Why, where it is not just in.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// The part of the requests that it gets, from 0 to 1.
    share: f64,
    /// The part of the requests of which it gets copies, from 0 to 1.
    copies: f64,
    /// Its requests in this stage.
    requests: u64,
    /// How far it agreed with the incumbent on the same requests, as a shadow; missing where it was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<RolloutAgreement>,
    /// Its judge's evidence for each metric.
    #[schema(value_type = Vec<Object>)]
    metrics: serde_json::Value,
}

/// The record in Git of what an environment runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GitRecord {
    /// Whether it is written. Where not, it is tried again.
    written: bool,
    /// Where, or why not.
    detail: String,
    /// When this was so for the first time.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
}

impl GitRecord {
    fn of(event: &Event) -> Option<Self> {
        let written = matches!(event.kind, EventKind::EnvironmentRecorded { .. });
        Some(Self { written, detail: record_in_words(&event.kind)?, at: Time(event.at) })
    }
}

/// What somebody does to a rollout.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RolloutAction {
    /// `approve`, `proceed`, `abort`, `rollback` or `drop`.
    #[schema(pattern = "^(approve|proceed|abort|rollback|drop)$")]
    action: String,
    /// Why; needed for all but `approve`.
    #[serde(default)]
    reason: Option<String>,
    /// For `approve`: what was looked at. Refused where something else waits by now.
    #[serde(default)]
    #[schema(pattern = "^b3:[0-9a-f]{64}$")]
    inputs: Option<String>,
    /// For `drop`: which one of several candidates is taken out, for example `late@5`, or the digest of its release.
    #[serde(default)]
    candidate: Option<String>,
    /// For `drop`: whether harm was seen, for which its release goes into quarantine.
    #[serde(default)]
    harm: bool,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RolloutActed {
    /// The rollout.
    #[schema(minimum = 1)]
    id: u64,
    /// Where it is now.
    phase: String,
}

impl From<stored::Release> for Release {
    fn from(release: stored::Release) -> Self {
        // One that cannot be read says so where it is released.
        let body = serde_json::from_str::<tidemill_deliver::release::Release>(&release.body);
        Self {
            threshold: body.ok().and_then(|body| body.threshold),
            digest: release.digest.to_string(),
            model: release.model,
            version: release.version,
            created_at: Time(release.created_at),
            by: release.author.to_string(),
        }
    }
}

impl From<stored::Rollout> for Rollout {
    fn from(rollout: stored::Rollout) -> Self {
        // A plan that cannot be read says so where the rollout is asked for.
        let rivals = plan_of(&rollout).map(|plan| plan.rivals());
        Self {
            id: rollout.id,
            rivals: rivals.into_iter().flatten().map(|release| release.to_string()).collect(),
            endpoint: rollout.made.endpoint,
            environment: rollout.made.environment,
            release: rollout.made.candidate.to_string(),
            incumbent: rollout.made.incumbent.map(|digest| digest.to_string()),
            phase: rollout.phase,
            is_waiting: rollout.is_waiting,
            is_over: rollout.is_over,
            created_at: Time(rollout.made.at),
            updated_at: Time(rollout.updated_at),
        }
    }
}

impl From<RolloutTransition> for PhaseChange {
    fn from(one: RolloutTransition) -> Self {
        Self { at: Time(one.at), from: one.from, to: one.to, stage: one.stage, why: one.why }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Releases {
    /// Of this model
    #[param(value_type = Option<String>, min_length = 1, pattern = r"^[^\x00]+$")]
    model: Option<Text>,
    /// `next` of the page before
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,18}-b3:[0-9a-f]{64}$")]
    cursor: Option<Text>,
    /// How many
    #[serde(default)]
    #[param(value_type = u64, minimum = 1, maximum = 1000, required = false)]
    limit: Limit,
}

/// Releases, newest first
#[utoipa::path(get, path = "/api/v1/releases", operation_id = "listReleases", tag = "delivery", params(Releases),
    responses((status = 200, description = "A page of releases", body = Page<Release>), Failures))]
pub(super) async fn releases(State(app): State<App>, Query(wanted): Query<Releases>) -> PageAnswer<Release> {
    let before = wanted.cursor.as_ref().map(|cursor| place(&cursor.0)).transpose()?;
    let model = wanted.model.as_ref().map(|model| model.0.as_str());
    let found = app.registry().db().releases(model, before, wanted.limit.and_one()).await?;
    let cursor = |release: &stored::Release| format!("{}-{}", release.created_at.millis(), release.digest);
    Ok(Page::of(found, wanted.limit, cursor, Release::from))
}

fn place(text: &str) -> Result<(Timestamp, Digest), Problem> {
    let wrong = || {
        Problem::invalid(format!("`{text}` is no cursor of this list")).hint("send `next` of the page before")
    };
    let (at, digest) = text.split_once('-').ok_or_else(wrong)?;
    let at = at.parse().map_err(|_| wrong())?;
    Ok((Timestamp::from_millis(at), digest.parse().map_err(|_| wrong())?))
}

/// Rollouts, newest first
#[utoipa::path(get, path = "/api/v1/rollouts", operation_id = "listRollouts", tag = "delivery", params(ByNumber),
    responses((status = 200, description = "A page of rollouts", body = Page<Rollout>), Failures))]
pub(super) async fn list(State(app): State<App>, Query(wanted): Query<ByNumber>) -> PageAnswer<Rollout> {
    let filter = RolloutFilter { before: wanted.cursor.map(|cursor| cursor.0), ..RolloutFilter::default() };
    let found = app.registry().db().rollouts(&filter, wanted.limit.and_one()).await?;
    Ok(Page::of(found, wanted.limit, |rollout| rollout.id.to_string(), Rollout::from))
}

/// One rollout with its evidence
#[utoipa::path(get, path = "/api/v1/rollouts/{id}", operation_id = "getRollout", tag = "delivery",
    params(("id" = u64, Path, description = "The rollout", minimum = 0, maximum = 9_007_199_254_740_991_u64)),
    responses((status = 200, description = "The rollout", body = One<RolloutDetail>), Failures))]
pub(super) async fn get(State(app): State<App>, Path(id): Path<Position>) -> OneAnswer<RolloutDetail> {
    let (db, id) = (app.registry().db(), id.0);
    let found = db.rollout(id).await?.ok_or_else(|| no_rollout(id))?;
    let (plan, state) = (plan_of(&found)?, standing(&found, app.registry().clock().now())?);
    let phases = db.rollout_transitions(id).await?.into_iter().map(PhaseChange::from).collect();
    let gates = db.gate_results(id).await?.into_iter().map(GateSaid::from).collect();
    let metrics = state.judge().map(|judge| judge.view()).unwrap_or_default();
    let shown = |value: serde_json::Result<serde_json::Value>| {
        value.map_err(|error| {
            let message = format!("rollout {id} cannot be shown: {error}");
            Problem::from(tidemill_registry::Error::new(tidemill_registry::Code::InternalError, message))
        })
    };
    let mut candidates = Vec::new();
    for one in state.candidates(&plan) {
        let Some((name, fate)) = one.name.zip(one.fate) else { continue };
        let metrics = one.judge.map(|judge| judge.view()).unwrap_or_default();
        candidates.push(RolloutCandidate {
            release: one.release.to_string(),
            name: name.to_owned(),
            author: plan.author_of(one.release).to_owned(),
            fate: fate.name().to_owned(),
            why: fate.why().map(str::to_owned),
            share: f64::from(one.share) / 10_000.0,
            copies: f64::from(one.copies) / 10_000.0,
            requests: one.requests,
            agreement: state.agreement(one.release).map(RolloutAgreement::from),
            metrics: shown(serde_json::to_value(&metrics))?,
        });
    }
    one(RolloutDetail {
        inputs: state.inputs(&plan).to_string(),
        agreement: state.agreement(state.lead(&plan)).map(RolloutAgreement::from),
        share: f64::from(state.traffic.share(state.lead(&plan))) / 10_000.0,
        author: plan.author,
        started_by: plan.starters,
        candidates,
        chosen_by: plan.contest.map(|contest| contest.winner),
        stages: shown(serde_json::to_value(&plan.stages))?,
        stage: state.stage as u64,
        requests: state.requests,
        held: state.hold.as_ref().map(|hold| shown(serde_json::to_value(hold))).transpose()?,
        gates,
        metrics: shown(serde_json::to_value(&metrics))?,
        phases,
        record: recorded(db, id).await?.as_ref().and_then(GitRecord::of),
        rollout: found.into(),
    })
}

/// Approves a rollout, lets a stage pass that ran out of time, takes a candidate out, or ends it
///
/// The author of a release, and whoever set its rollout off, can neither approve it nor let it pass. `rollback` also takes a rollout back that
/// is complete, as long as what it brought runs.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/actions", operation_id = "actOnRollout", tag = "delivery",
    params(("id" = u64, Path, description = "The rollout", minimum = 0, maximum = 9_007_199_254_740_991_u64)),
    request_body = RolloutAction,
    responses((status = 200, description = "What came of it", body = One<RolloutActed>), Failures,
        (status = 409, description = "It may not be done: by this person, or not now", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body is too large")))]
pub(super) async fn action(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Known(identity): Known,
    Path(id): Path<Position>,
    body: Bytes,
) -> OneAnswer<RolloutActed> {
    let wanted: RolloutAction = serde_json::from_slice(&body).map_err(|error| malformed("action", &error))?;
    let registry = app.registry();
    // First: what is not there needs no better reason.
    registry.db().rollout(id.0).await?.ok_or_else(|| no_rollout(id.0))?;
    let reason = wanted.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    let reason = reason.filter(|reason| !reason.contains('\0')).map(ToOwned::to_owned);
    let why = || reason.clone().ok_or_else(|| Problem::invalid("`reason` is missing: it stands in the log"));
    let action = match wanted.action.as_str() {
        "approve" => {
            let inputs = wanted.inputs.as_deref().map(str::parse::<Digest>).transpose();
            Action::Approve { inputs: inputs.map_err(|error| Problem::invalid(error.to_string()))? }
        }
        "proceed" => Action::Proceed { why: why()? },
        "abort" => Action::Abort { why: why()? },
        "rollback" => Action::Rollback { why: why()? },
        "drop" => {
            let candidate = wanted.candidate.clone().ok_or_else(|| {
                Problem::invalid("`candidate` is missing: the model and version that is taken out")
            })?;
            Action::Drop { candidate, why: why()?, harm: wanted.harm }
        }
        other => {
            let message =
                format!("`{other}` is no action; expected approve, proceed, abort, rollback or drop");
            return Err(Problem::invalid(message));
        }
    };
    let state = act(registry.db(), registry.clock().as_ref(), (&actor, identity), id.0, &action).await?;
    one(RolloutActed { id: id.0, phase: state.phase.name().to_owned() })
}

fn no_rollout(id: u64) -> Problem {
    Problem::missing(format!("there is no rollout {id}")).hint("`/api/v1/rollouts` lists them")
}

//! Triggers of the project that the server works for.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use serde::Serialize;
use tidemill_core::declare::{Concurrency, TriggerAction, When};
use tidemill_core::{Actor, JobState};
use tidemill_db::jobs::Job;
use tidemill_db::sources::SourceStanding;
use tidemill_trigger::{Pending, Rule};
use utoipa::ToSchema;

use super::envelope::{One, OneAnswer, Path, Time, one};
use super::{Failures, Problem};
use crate::App;
use crate::triggers::Triggers;

/// An event and what it starts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Trigger {
    /// Its name.
    name: String,
    /// What kind of event, for example `schedule`.
    kind: &'static str,
    /// The event in words, for example `0 3 * * * Europe/Berlin`.
    event: String,
    /// What it starts, in order.
    #[schema(value_type = Vec<String>)]
    actions: Vec<TriggerAction>,
    /// The environment to which it releases, where it names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// What happens when the event comes while a job of it is open.
    #[schema(value_type = String, pattern = "^(queue|supersede|reject)$")]
    concurrency: Concurrency,
    /// Events within so many milliseconds of one another count as one.
    debounce_ms: u64,
    /// Where it can be called with POST.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<String>,
    /// When it fires next, where it does so by the clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_fire: Option<Time>,
    /// Events that wait for more of their kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<Waiting>,
    /// Jobs that wait.
    waiting: Vec<u64>,
    /// The job that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<u64>,
    /// Why the event is not listened for by this server.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Events that wait for more of their kind.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Waiting {
    /// How many.
    events: u64,
    /// When they fire, if no other comes.
    due: Time,
}

/// That somebody fired a trigger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fired {
    /// The trigger.
    trigger: String,
    /// The number of the event in the log; what comes of it has it as its cause.
    #[schema(minimum = 1)]
    event: u64,
}

impl Trigger {
    fn new(rule: &Rule, known: &Known, triggers: &Triggers) -> Self {
        let trigger = &rule.trigger;
        let (pending, open) = (known.pending.get(&trigger.name), &known.open);
        let (kind, event) = rule.words();
        let own = || open.iter().filter(|job| job.trigger == trigger.name);
        let problem = known.standings.iter().find(|standing| standing.trigger == trigger.name);
        let problem = problem
            .filter(|_| matches!(trigger.when, When::Message(_)))
            .and_then(|standing| standing.problem.clone());
        Self {
            name: trigger.name.clone(),
            kind,
            event,
            actions: trigger.actions.clone(),
            to: trigger.to.clone(),
            concurrency: trigger.concurrency,
            debounce_ms: u64::try_from(trigger.debounce.as_millis()).unwrap_or(u64::MAX),
            webhook: rule.has_webhook().then(|| format!("/hooks/{}", trigger.name)),
            next_fire: rule.schedule.as_ref().and_then(|(s, _)| s.next_fire(triggers.now())).map(Time),
            pending: pending.map(|pending| Waiting { events: pending.events, due: Time(pending.due) }),
            waiting: own().filter(|job| job.state == JobState::Waiting).map(|job| job.id).collect(),
            running: own().find(|job| job.state == JobState::Running).map(|job| job.id),
            problem,
        }
    }
}

/// The triggers, in the order of the project file
#[utoipa::path(get, path = "/api/v1/triggers", operation_id = "listTriggers", tag = "triggers",
    responses((status = 200, description = "The triggers", body = One<Vec<Trigger>>), Failures))]
pub(super) async fn list(State(app): State<App>) -> OneAnswer<Vec<Trigger>> {
    let Some(triggers) = &app.config().triggers else { return one(Vec::new()) };
    let known = Known::read(triggers).await?;
    let rules = triggers.rules();
    one(rules.rules.iter().map(|rule| Trigger::new(rule, &known, triggers)).collect())
}

/// One trigger
#[utoipa::path(get, path = "/api/v1/triggers/{name}", operation_id = "getTrigger", tag = "triggers",
    params(("name" = String, Path, description = "The trigger", min_length = 1, max_length = 128)),
    responses((status = 200, description = "The trigger", body = One<Trigger>), Failures))]
pub(super) async fn get(State(app): State<App>, Path(name): Path<String>) -> OneAnswer<Trigger> {
    let triggers = app.config().triggers.as_ref().ok_or_else(|| missing(&name))?;
    let rules = triggers.rules();
    let rule = rules.get(&name).ok_or_else(|| missing(&name))?;
    one(Trigger::new(rule, &Known::read(triggers).await?, triggers))
}

/// Fires a trigger by hand
///
/// It neither waits for more events nor is it limited; what happens while a job of it is open is as the trigger says.
#[utoipa::path(post, path = "/api/v1/triggers/{name}/fire", operation_id = "fireTrigger", tag = "triggers",
    params(("name" = String, Path, description = "The trigger", min_length = 1, max_length = 128)),
    responses((status = 200, description = "It is in the log", body = One<Fired>), Failures))]
pub(super) async fn fire(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> OneAnswer<Fired> {
    let triggers = app.config().triggers.as_ref().ok_or_else(|| missing(&name))?;
    if triggers.rules().get(&name).is_none() {
        return Err(missing(&name));
    }
    let event = triggers.fire(&actor, &name).await?;
    one(Fired { trigger: name, event })
}

/// What the database knows of the triggers of a project.
struct Known {
    pending: BTreeMap<String, Pending>,
    open: Vec<Job>,
    standings: Vec<SourceStanding>,
}

impl Known {
    async fn read(triggers: &Triggers) -> Result<Self, Problem> {
        let (pending, open) = triggers.standing().await?;
        let standings = triggers.db().source_standings(triggers.project()).await?;
        Ok(Self { pending, open, standings })
    }
}

fn missing(name: &str) -> Problem {
    Problem::missing(format!("there is no trigger `{name}`")).hint("`/api/v1/triggers` lists them")
}

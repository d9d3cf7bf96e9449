//! Takes rollouts on: looks at what happened, asks the engine, and brings about what it wants.
//!
//! All that matters is in the database before and after each effect, and each effect may be brought about twice, so the loop may be
//! killed anywhere and goes on where it was.

use std::collections::HashMap;
use std::time::Duration;

use tidemill_core::{Actor, EventKind, NewEvent, Timestamp};
use tidemill_db::delivery::{Environment, GateResult, Quarantine, Rollout, RolloutFilter};
use tidemill_deliver::rollout::{Due, Effect, Freeze, Input, Plan, State, decide};
use tidemill_registry::{Code, Error};
use tidemill_serve::gateway::endpoint::EndpointSpec;
use tidemill_serve::gateway::source::Which;
use tokio_util::sync::CancellationToken;

use super::command::begin_waiting;
use super::observe::Observer;
use super::step::{plan_of, state_of, take};
use super::traffic::{Names, names, spec};
use crate::{App, serving};

/// How often rollouts are taken on.
const ROUND: Duration = Duration::from_millis(250);
/// Rollouts that are taken on in one round.
const MOST: usize = 2_000;

/// Takes rollouts on until `stop`.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let mut driver = Driver { app, observer: Observer::default(), names: HashMap::new() };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = driver.round() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ROUND) => {}
        }
    }
}

struct Driver {
    app: App,
    observer: Observer,
    /// Models and versions of releases, per rollout; releases never change.
    names: HashMap<u64, Names>,
}

impl Driver {
    async fn round(&mut self) {
        if let Err(error) = self.try_round().await {
            tracing::error!(%error, "rollouts cannot be taken on");
        }
    }

    async fn try_round(&mut self) -> Result<(), Error> {
        let live = RolloutFilter { is_live: true, ..RolloutFilter::default() };
        let db = self.app.registry().db().clone();
        let mut rollouts = db.rollouts(&live, MOST).await?;
        // The oldest first: of those that wait, it is next.
        rollouts.reverse();
        let is_live = |id: u64| rollouts.iter().any(|rollout| rollout.id == id);
        self.observer.keep(is_live);
        self.names.retain(|id, _| is_live(*id));
        if rollouts.is_empty() {
            return Ok(());
        }
        let freezes: Vec<Freeze> = db.freezes().await?.into_iter().map(freeze).collect();
        for (at, rollout) in rollouts.iter().enumerate() {
            let is_same = |other: &&Rollout| {
                other.made.endpoint == rollout.made.endpoint
                    && other.made.environment == rollout.made.environment
            };
            let is_first = rollouts[..at].iter().find(is_same).is_none();
            let done = self.take_on(rollout, is_first, &freezes).await;
            if let Err(error) = done {
                tracing::error!(rollout.id = rollout.id, %error, "a rollout cannot be taken on; it is tried again");
            }
        }
        Ok(())
    }

    /// Takes one rollout on as far as it goes now.
    async fn take_on(&mut self, rollout: &Rollout, is_first: bool, freezes: &[Freeze]) -> Result<(), Error> {
        let state = state_of(rollout)?;
        if rollout.is_waiting && !state.phase.is_over() {
            if is_first {
                let mut tx = self.app.registry().db().begin().await?;
                let events = begin_waiting(&mut tx, rollout, self.now()).await?;
                tx.commit(events).await?;
            }
            return Ok(());
        }
        let plan = plan_of(rollout)?;
        if !self.names.contains_key(&rollout.id) {
            let names = names(self.app.registry().db(), &plan).await?;
            self.names.insert(rollout.id, names);
        }
        let names = self.names.get(&rollout.id).cloned().unwrap_or_default();
        let mut rollout = rollout.clone();
        for input in changed_freezes(&plan, &state, freezes) {
            self.input(&mut rollout, input).await?;
        }
        // What was seen belongs to the traffic that is about to be changed.
        if let Some(serving) = self.app.serving()
            && let Some((look, requests)) =
                self.observer.look(serving.gateway(), rollout.id, &plan, &state, &names)
        {
            let seq = state_of(&rollout)?.last_look() + 1;
            self.input(&mut rollout, Input::Look { seq, requests, look }).await?;
        }
        let state = state_of(&rollout)?;
        if !decide(&plan, &state, &Input::Tick, self.now()).transitions.is_empty() {
            self.input(&mut rollout, Input::Tick).await?;
        }
        // An effect may lead to the next one; a plan has so many stages, and a rollout never goes round.
        for _ in 0..plan.stages.len() + 4 {
            let Some(due) = state_of(&rollout)?.due.first().cloned() else { break };
            self.bring_about(&mut rollout, &plan, &names, due).await?;
        }
        Ok(())
    }

    async fn bring_about(
        &mut self,
        rollout: &mut Rollout,
        plan: &Plan,
        names: &Names,
        due: Due,
    ) -> Result<(), Error> {
        let done = Input::Done { id: due.id };
        match due.effect {
            Effect::Preflight => {
                let problems = self.preflight(plan, names).await;
                let result = GateResult {
                    gate: "preflight".to_owned(),
                    passed: problems.is_empty(),
                    detail: problems.join("; "),
                    evidence: None,
                    at: self.now(),
                };
                self.input_with(rollout, Input::Preflight { problems }, Beside::Gate(result)).await
            }
            Effect::Route { traffic } => {
                self.route(plan, &spec(self.declared(&plan.endpoint).await?, &traffic, names)).await?;
                self.input(rollout, done).await
            }
            Effect::Quarantine { release, reason } => {
                let environment = plan.environment.clone();
                let quarantine = Quarantine { release, environment, reason, at: self.now() };
                self.input_with(rollout, done, Beside::Quarantine(quarantine)).await
            }
            Effect::Record { release } => {
                let environment = Environment {
                    name: plan.environment.clone(),
                    endpoint: plan.endpoint.clone(),
                    release,
                    rollout: rollout.id,
                    updated_at: self.now(),
                };
                self.input_with(rollout, done, Beside::Environment(environment)).await
            }
        }
    }

    /// What is declared of an endpoint now; nothing where it is not there.
    async fn declared(&self, endpoint: &str) -> Result<EndpointSpec, Error> {
        let stored = self.app.registry().db().endpoint(endpoint).await?;
        stored.map_or_else(|| Ok(EndpointSpec::default()), |stored| serving::read_endpoint(&stored))
    }

    async fn route(&self, plan: &Plan, wanted: &EndpointSpec) -> Result<(), Error> {
        let actor = actor();
        if wanted.arms.is_empty() {
            serving::delete(&self.app, &actor, &plan.endpoint).await.map_err(|refusal| refusal.error)?;
            return Ok(());
        }
        let is_there = self.app.registry().db().endpoint(&plan.endpoint).await?.is_some();
        if is_there && self.declared(&plan.endpoint).await?.arms == wanted.arms {
            return Ok(());
        }
        serving::put(&self.app, &actor, &plan.endpoint, wanted.clone(), None)
            .await
            .map_err(|refusal| refusal.error)?;
        Ok(())
    }

    /// Whether the candidate can answer what the incumbent answers.
    async fn preflight(&self, plan: &Plan, names: &Names) -> Vec<String> {
        const LOAD: Duration = Duration::from_secs(300);
        let Some(serving) = self.app.serving() else {
            return vec!["this server does not serve models".to_owned()];
        };
        let models = serving.gateway().models();
        let mut loaded = Vec::new();
        for release in [Some(plan.candidate), plan.incumbent].into_iter().flatten() {
            let Some((model, version)) = names.get(&release) else { continue };
            let which = Which::parse(Some(&version.to_string()));
            let deadline = tokio::time::Instant::now() + LOAD;
            match models.ready(model, &which, false, deadline.into_std()).await {
                Ok(ready) => loaded.push(ready),
                Err(error) if release == plan.candidate => {
                    return vec![format!("{model}@{version}: {error}")];
                }
                // Then the candidate is all the more welcome.
                Err(_) => {}
            }
        }
        let [candidate, incumbent] = loaded.as_slice() else { return Vec::new() };
        let (candidate, incumbent) = (candidate.metadata.load(), incumbent.metadata.load());
        let mut problems = Vec::new();
        for input in &candidate.inputs {
            match incumbent.inputs.iter().find(|known| known.name == input.name) {
                None => {
                    problems.push(format!("it wants the input `{}`, which requests do not have", input.name))
                }
                Some(known) if known.element != input.element => {
                    problems.push(format!("its input `{}` is of another type", input.name));
                }
                Some(_) => {}
            }
        }
        for output in &incumbent.outputs {
            if !candidate.outputs.iter().any(|known| known.name == output.name) {
                problems.push(format!("it lacks the output `{}`, which callers get now", output.name));
            }
        }
        problems
    }

    async fn input(&self, rollout: &mut Rollout, input: Input) -> Result<(), Error> {
        self.input_with(rollout, input, Beside::Nothing).await
    }

    /// Takes the rollout one step on, together with what belongs to the step.
    async fn input_with(&self, rollout: &mut Rollout, input: Input, beside: Beside) -> Result<(), Error> {
        let db = self.app.registry().db();
        let at = self.now();
        let mut tx = db.begin().await?;
        // People may have acted since it was read; then it is taken on from there in the next round.
        let taken = take(&mut tx, rollout, &input, &actor(), at).await?;
        let mut events = taken.events;
        let event = |kind: EventKind| NewEvent { at, actor: actor(), kind, cause: None };
        match beside {
            Beside::Nothing => {}
            Beside::Gate(result) => tx.add_gate_result(rollout.id, &result).await?,
            Beside::Quarantine(quarantine) => {
                if tx.add_quarantine(&quarantine).await? {
                    events.push(event(EventKind::ReleaseQuarantined {
                        release: quarantine.release,
                        environment: quarantine.environment,
                        reason: quarantine.reason,
                    }));
                }
            }
            Beside::Environment(environment) => {
                let from = tx.environment_release(&environment.name, &environment.endpoint).await?;
                tx.set_environment(&environment).await?;
                events.push(event(EventKind::EnvironmentMoved {
                    environment: environment.name,
                    endpoint: environment.endpoint,
                    from,
                    to: environment.release,
                    rollout: rollout.id,
                }));
            }
        }
        tx.commit(events).await?;
        *rollout = db
            .rollout(rollout.id)
            .await?
            .ok_or_else(|| Error::new(Code::InternalError, "a rollout vanished"))?;
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.app.registry().clock().now()
    }
}

/// What is written together with a step.
enum Beside {
    Nothing,
    Gate(GateResult),
    Quarantine(Quarantine),
    Environment(Environment),
}

fn actor() -> Actor {
    Actor::system("rollouts")
}

fn freeze(stored: tidemill_db::delivery::Freeze) -> Freeze {
    let tidemill_db::delivery::Freeze { id, endpoint, reason, owner, from, until } = stored;
    Freeze { id, endpoint, reason, owner, from, until }
}

/// Freezes that a rollout does not know yet, and those that were lifted.
fn changed_freezes(plan: &Plan, state: &State, freezes: &[Freeze]) -> Vec<Input> {
    let concerns =
        |freeze: &&Freeze| freeze.endpoint.as_deref().is_none_or(|endpoint| endpoint == plan.endpoint);
    let new = freezes.iter().filter(concerns).filter(|freeze| !state.freezes().contains(freeze));
    let lifted = state.freezes().iter().filter(|known| !freezes.contains(known));
    new.map(|freeze| Input::Freeze { freeze: freeze.clone() })
        .chain(lifted.map(|known| Input::Lift { id: known.id }))
        .collect()
}

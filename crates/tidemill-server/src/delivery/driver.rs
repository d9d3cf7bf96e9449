//! Takes rollouts on: looks at what happened, asks the engine, and brings about what it wants.
//!
//! All that matters is in the database before and after each effect, and each effect may be brought about twice, so the loop may be
//! killed anywhere and goes on where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidemill_core::{Actor, EventKind, NewEvent, Timestamp};
use tidemill_db::delivery::{Environment, GateResult, Quarantine, Rollout};
use tidemill_db::{Db, EventFilter};
use tidemill_deliver::rollout::{Due, Effect, Freeze, Input, Plan, State, decide};
use tidemill_registry::{Code, Error};
use tidemill_serve::InferError;
use tidemill_serve::gateway::endpoint::EndpointSpec;
use tokio_util::sync::CancellationToken;

use super::command::begin_waiting;
use super::mature::mature;
use super::observe::Observer;
use super::power::Powers;
use super::preflight::{barred, preflight};
use super::slow::Slow;
use super::step::{plan_of, state_of, take_from};
use super::traffic::{Names, names, spec};
use super::turns::Turns;
use crate::{App, serving};

/// How often it is looked whether people did something.
const ROUND: Duration = Duration::from_millis(250);
/// Counters and clocks are looked at once in so many rounds.
const LOOK: u32 = 4;
/// Rollouts whose looks are written in one transaction: alone, each would wait for the disk, and all together would keep others waiting.
const TOGETHER: usize = 64;
/// Rollouts that are taken on.
const MOST: usize = 10_000;

/// Takes rollouts on until `stop`.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let mut driver = Driver::new(app);
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

/// Takes rollouts on, a round at a time. A server runs one by itself, unless [`Config::drives_rollouts`](crate::Config::drives_rollouts) says that somebody
/// else does it.
pub struct Driver {
    app: App,
    observer: Observer,
    turns: Turns,
    powers: Powers,
    /// Candidates that are loaded and checked.
    checks: Slow<Vec<String>>,
    /// Models that are loaded for a table of traffic.
    loads: Slow<Result<(), InferError>>,
    /// Whether what takes long is waited for, by somebody who takes one look at a time.
    waits: bool,
    /// Rollouts that are not over, as they were when they were last read.
    known: BTreeMap<u64, Known>,
    rounds: u32,
}

/// A rollout in memory.
struct Known {
    rollout: Rollout,
    plan: Plan,
    state: State,
    /// Models and versions of its releases, which never change.
    names: Names,
}

impl Driver {
    /// For the rollouts of a server. What is counted of requests counts from here on.
    pub fn new(app: App) -> Self {
        Self {
            app,
            observer: Observer::default(),
            turns: Turns::default(),
            powers: Powers::default(),
            checks: Slow::default(),
            loads: Slow::default(),
            waits: false,
            known: BTreeMap::new(),
            rounds: 0,
        }
    }

    /// Looks at everything now and takes each rollout on as far as it goes.
    ///
    /// # Errors
    ///
    /// Where the rollouts cannot be read; a single one that fails is logged and tried again in the next round.
    pub async fn look(&mut self) -> Result<(), Error> {
        (self.rounds, self.waits) = (0, true);
        let looked = self.try_round().await;
        self.waits = false;
        looked
    }

    async fn round(&mut self) {
        if let Err(error) = self.try_round().await {
            tracing::error!(%error, "rollouts cannot be taken on");
        }
        self.rounds = self.rounds.wrapping_add(1);
    }

    async fn try_round(&mut self) -> Result<(), Error> {
        let db = self.app.registry().db().clone();
        let looks = self.rounds.is_multiple_of(LOOK);
        // Between looks it is enough to know that nobody did anything.
        let ready: BTreeSet<u64> = self.checks.ready().chain(self.loads.ready()).collect();
        if !looks && ready.is_empty() && db.live_rollouts_mark().await? == self.mark() {
            return Ok(());
        }
        let live: BTreeMap<u64, u64> = db.live_rollouts(MOST).await?.into_iter().collect();
        self.known.retain(|id, _| live.contains_key(id));
        self.observer.keep(|id| live.contains_key(&id));
        self.powers.keep(|id| live.contains_key(&id));
        self.checks.keep(|id| live.contains_key(&id));
        self.loads.keep(|id| live.contains_key(&id));
        let mut acted = Vec::new();
        for (id, inputs) in &live {
            if self
                .known
                .get(id)
                .is_none_or(|known| known.rollout.inputs != *inputs || known.rollout.is_waiting)
            {
                self.read(*id).await?;
                acted.push(*id);
            } else if ready.contains(id) {
                acted.push(*id);
            }
        }
        if let Some(serving) = self.app.serving() {
            let is_sliced = |plan: &Plan| plan.judge.as_ref().is_some_and(|judge| judge.slices.is_some());
            let plans = || self.known.values().map(|known| &known.plan).filter(|plan| is_sliced(plan));
            serving.gateway().keep_slices(|endpoint| plans().any(|plan| plan.endpoint == endpoint));
            let tries = |endpoint: &str| self.known.values().any(|known| known.plan.endpoint == endpoint);
            serving.gateway().keep_units(tries);
        }
        if live.is_empty() || !looks && acted.is_empty() {
            return Ok(());
        }
        // What was seen belongs to the traffic that is about to be changed.
        let ids = if looks { self.whose_turn(&live, &acted) } else { acted.clone() };
        self.see(&ids).await;
        let freezes: Vec<Freeze> = db.freezes().await?.into_iter().map(freeze).collect();
        let (mut busy, mut all_known) = (BTreeSet::new(), true);
        for id in live.keys() {
            let Some(known) = self.known.get(id) else {
                // It may be the one that others wait for.
                all_known = false;
                continue;
            };
            let made = &known.rollout.made;
            let is_first = busy.insert(made.endpoint.clone()) && all_known;
            if (looks || acted.contains(id))
                // Where it fails it is read anew: people may have acted in between.
                && let Some(known) = self.known.remove(id)
                && let Err(error) = Box::pin(self.take_on(known, is_first, &freezes)).await
            {
                tracing::error!(rollout.id = id, %error, "a rollout cannot be taken on; it is tried again");
            }
        }
        Ok(())
    }

    /// How many rollouts are known and how many inputs they have had, which is how it is noticed that somebody else acted.
    fn mark(&self) -> (u64, u64) {
        (self.known.len() as u64, self.known.values().map(|known| known.rollout.inputs).sum())
    }

    /// The rollouts that are looked at in this round: those on which somebody acted, those that never were, and those whose turn it is.
    fn whose_turn(&mut self, live: &BTreeMap<u64, u64>, acted: &[u64]) -> Vec<u64> {
        let Some(serving) = self.app.serving() else { return Vec::new() };
        let (mut ids, mut news) = (acted.to_vec(), Vec::new());
        for id in live.keys().filter(|id| !acted.contains(id)) {
            let Some(known) = self.known.get(id).filter(|known| !known.rollout.is_waiting) else { continue };
            let Known { plan, state, .. } = known;
            match self.observer.unseen(serving.gateway(), *id, plan, state) {
                None => ids.push(*id),
                Some(0) => {}
                Some(requests) => news.push((*id, requests)),
            }
        }
        ids.extend(self.turns.take(&news));
        ids
    }

    /// What the gateway has counted of a rollout since its judge looked last.
    fn look_at(&mut self, known: &Known) -> Option<Input> {
        let (now, serving) = (self.now(), self.app.serving()?);
        let Known { rollout, plan, state, names } = known;
        self.turns.done(rollout.id);
        self.observer.look(serving.gateway(), rollout.id, plan, state, names, now)
    }

    /// Shows the judges of rollouts what the gateway has counted since they looked last.
    async fn see(&mut self, ids: &[u64]) {
        let mut looks = Vec::new();
        for id in ids {
            let Some(known) = self.known.remove(id) else { continue };
            if !known.rollout.is_waiting {
                looks.extend(self.look_at(&known).map(|input| (*id, input)));
            }
            self.known.insert(*id, known);
        }
        for some in looks.chunks(TOGETHER) {
            if let Err(error) = self.take_together(some).await {
                tracing::error!(%error, "what was counted of requests cannot be written down");
                some.iter().for_each(|(id, _)| drop(self.known.remove(id)));
            }
        }
    }

    /// Takes several rollouts a step on in one transaction. Those on which people acted since they were read are read anew.
    async fn take_together(&mut self, inputs: &[(u64, Input)]) -> Result<(), Error> {
        let at = self.now();
        let mut tx = self.app.registry().db().begin().await?;
        let (mut events, mut steps) = (Vec::new(), Vec::new());
        for (id, input) in inputs {
            let Some(known) = self.known.get(id) else { continue };
            let read = (&known.plan, &known.state);
            match take_from(&mut tx, &known.rollout, read, input, &actor(), at).await {
                Ok(mut taken) => {
                    events.append(&mut taken.events);
                    steps.push((*id, Some(taken)));
                }
                Err(error) if matches!(error.code, Code::ResourceConflict | Code::InvalidState) => {
                    steps.push((*id, None));
                }
                Err(error) => return Err(error),
            }
        }
        tx.commit(events).await?;
        for (id, taken) in steps {
            match (taken, self.known.get_mut(&id)) {
                (Some(taken), Some(known)) => {
                    (known.rollout, known.state) = (taken.rollout, taken.outcome.state);
                }
                _ => drop(self.known.remove(&id)),
            }
        }
        Ok(())
    }

    /// Reads a rollout into memory.
    async fn read(&mut self, id: u64) -> Result<(), Error> {
        let db = self.app.registry().db();
        let Some(rollout) = db.rollout(id).await? else { return Ok(()) };
        let (plan, state) = (plan_of(&rollout)?, state_of(&rollout)?);
        let names = match self.known.get(&id) {
            Some(known) if known.plan == plan => known.names.clone(),
            _ => names(db, &plan).await?,
        };
        self.known.insert(id, Known { rollout, plan, state, names });
        Ok(())
    }

    /// Takes one rollout on as far as it goes now, and keeps what is known of it then.
    async fn take_on(&mut self, mut known: Known, is_first: bool, freezes: &[Freeze]) -> Result<(), Error> {
        let id = known.rollout.id;
        if known.rollout.is_waiting && !known.state.phase.is_over() {
            if is_first {
                let db = self.app.registry().db();
                let mut tx = db.begin().await?;
                let events = begin_waiting(db, &mut tx, &known.rollout, self.now()).await?;
                tx.commit(events).await?;
            } else {
                self.known.insert(id, known);
            }
            return Ok(());
        }
        let mut inputs = changed_freezes(&known.plan, &known.state, freezes);
        inputs.extend(mature(&self.app, &known.plan, &known.state, self.now()).await?);
        let moves =
            |known: &Known, now| !decide(&known.plan, &known.state, &Input::Tick, now).transitions.is_empty();
        // Whatever may change its traffic comes after what was counted under the traffic before.
        if self.turns.waits(id) && (!inputs.is_empty() || moves(&known, self.now())) {
            inputs.splice(0..0, self.look_at(&known));
        }
        for input in inputs {
            self.input(&mut known, input).await?;
        }
        if moves(&known, self.now()) {
            self.input(&mut known, Input::Tick).await?;
        }
        // An effect may lead to the next one; a plan has so many stages, and a rollout never goes round.
        for _ in 0..known.plan.stages.len() + known.plan.candidates().len() + 3 {
            let Some(due) = known.state.due.first().cloned() else { break };
            if !self.bring_about(&mut known, due).await? {
                break;
            }
        }
        self.known.insert(id, known);
        Ok(())
    }

    /// Brings an effect about; `false` where that goes on in the background and is to be asked for again.
    async fn bring_about(&mut self, rollout: &mut Known, due: Due) -> Result<bool, Error> {
        let (plan, names, id) = (rollout.plan.clone(), rollout.names.clone(), rollout.rollout.id);
        let done = Input::Done { id: due.id };
        match due.effect {
            Effect::Preflight => {
                let power = match plan.power {
                    Some(power) => match self.powers.of(&self.app, id, &plan, power).await {
                        None => return Ok(false),
                        said => said,
                    },
                    None => None,
                };
                let hidden = match self.declared(&plan.endpoint).await {
                    Ok(declared) => Ok(declared.unwrap_or_default().records.redact.into_keys().collect()),
                    Err(error) => Err(format!("the endpoint cannot be read: {error}")),
                };
                // Whoever was taken out before is not looked at.
                let living = rollout.state.living(&plan);
                let found = {
                    let (app, plan, living) = (self.app.clone(), plan.clone(), living.clone());
                    let work = async move { preflight(&app, &plan, &living, &names, hidden).await };
                    self.checks.of((id, due.id), self.waits, || work).await
                };
                let Some(found) = found else { return Ok(false) };
                let mut problems =
                    found.unwrap_or_else(|why| vec![format!("the checks were cut off: {why}")]);
                problems.extend(barred(self.app.registry().db(), &plan, &living).await?);
                let mut results = vec![GateResult {
                    gate: "preflight".to_owned(),
                    passed: problems.is_empty(),
                    detail: problems.join("; "),
                    evidence: None,
                    at: self.now(),
                }];
                if let Some(said) = power {
                    problems.extend(said.problem);
                    results.push(said.result);
                }
                self.input_with(rollout, Input::Preflight { problems }, Beside::Gates(results)).await
            }
            Effect::Route { traffic } => {
                let declared = self.declared(&plan.endpoint).await?;
                let wanted = spec(declared.clone().unwrap_or_default(), &plan, &traffic, &names);
                if let Some(serving) = self.app.serving() {
                    let (gateway, spec) = (serving.gateway().clone(), wanted.clone());
                    let work = async move { gateway.prepare(&spec).await };
                    match self.loads.of((id, due.id), self.waits, || work).await {
                        None => return Ok(false),
                        Some(Ok(Ok(()))) => {}
                        Some(Ok(Err(error))) => {
                            return Err(Error::new(Code::InvalidState, error.to_string()));
                        }
                        Some(Err(why)) => return Err(Error::new(Code::InternalError, why)),
                    }
                }
                self.route(&plan, declared, wanted).await?;
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
                    rollout: id,
                    updated_at: self.now(),
                };
                // From the alias that moves and the environment back to the rollout, and to whatever set it off.
                let began = started(self.app.registry().db(), id).await?;
                let alias = plan.alias.clone().zip(names.get(&release).cloned());
                self.input_with(rollout, done, Beside::Environment { environment, began, alias }).await
            }
        }?;
        Ok(true)
    }

    /// What is declared of an endpoint now; nothing where it is not there.
    async fn declared(&self, endpoint: &str) -> Result<Option<EndpointSpec>, Error> {
        let stored = self.app.registry().db().endpoint(endpoint).await?;
        stored.as_ref().map(serving::read_endpoint).transpose()
    }

    async fn route(
        &self,
        plan: &Plan,
        declared: Option<EndpointSpec>,
        wanted: EndpointSpec,
    ) -> Result<(), Error> {
        let (actor, registry) = (actor(), self.app.registry());
        let gateway = self.app.serving().map(|serving| serving.gateway());
        if wanted.arms.is_empty() {
            serving::delete(registry, gateway, &actor, &plan.endpoint)
                .await
                .map_err(|refusal| refusal.error)?;
            return Ok(());
        }
        let is_same = |declared: EndpointSpec| {
            declared.arms == wanted.arms
                && declared.rules == wanted.rules
                && declared.answer_decision == wanted.answer_decision
        };
        if declared.is_some_and(is_same) {
            return Ok(());
        }
        serving::put(registry, gateway, &actor, &plan.endpoint, wanted, None)
            .await
            .map_err(|refusal| refusal.error)?;
        Ok(())
    }

    async fn input(&self, rollout: &mut Known, input: Input) -> Result<(), Error> {
        self.input_with(rollout, input, Beside::Nothing).await
    }

    /// Takes the rollout one step on, together with what belongs to the step.
    async fn input_with(&self, rollout: &mut Known, input: Input, beside: Beside) -> Result<(), Error> {
        let at = self.now();
        let mut tx = self.app.registry().db().begin().await?;
        // People may have acted since it was read; then it is taken on from there in the next round.
        let id = rollout.rollout.id;
        let known = (&rollout.plan, &rollout.state);
        let taken = take_from(&mut tx, &rollout.rollout, known, &input, &actor(), at).await?;
        let mut events = taken.events;
        let event = |kind: EventKind| NewEvent { at, actor: actor(), kind, cause: None };
        let registry = self.app.registry();
        match beside {
            Beside::Nothing => {}
            Beside::Gates(results) => {
                for result in &results {
                    tx.add_gate_result(id, result).await?;
                }
            }
            Beside::Quarantine(quarantine) => {
                if tx.add_quarantine(&quarantine).await? {
                    events.push(event(EventKind::ReleaseQuarantined {
                        release: quarantine.release,
                        environment: quarantine.environment,
                        reason: quarantine.reason,
                    }));
                }
            }
            Beside::Environment { environment, began, alias } => {
                let from = tx.environment_release(&environment.name, &environment.endpoint).await?;
                tx.set_environment(&environment).await?;
                let moved = tx.next_seq() + events.len() as u64;
                let kind = EventKind::EnvironmentMoved {
                    environment: environment.name,
                    endpoint: environment.endpoint,
                    from,
                    to: environment.release,
                    rollout: id,
                };
                events.push(NewEvent { cause: began, ..event(kind) });
                if let Some((alias, (model, version))) = alias {
                    let at = (model.as_str(), alias.as_str());
                    match registry.move_alias(&mut tx, &actor(), at, version, Some(moved)).await {
                        Ok(event) => events.extend(event),
                        // Somebody deleted or renamed what runs; that is no reason to keep the rollout from its end.
                        Err(error) if error.code == Code::ResourceDoesNotExist => {
                            tracing::warn!(rollout.id = id, %error, "the alias `{alias}` stays where it is");
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        registry.finish(tx, events).await?;
        rollout.rollout = taken.rollout;
        rollout.state = taken.outcome.state;
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.app.registry().clock().now()
    }
}

/// What is written together with a step.
enum Beside {
    Nothing,
    Gates(Vec<GateResult>),
    Quarantine(Quarantine),
    Environment {
        environment: Environment,
        /// The event with which the rollout began.
        began: Option<u64>,
        /// The alias that moves with it, and to which version of which model.
        alias: Option<(String, (String, u64))>,
    },
}

/// The event with which a rollout began.
async fn started(db: &Db, rollout: u64) -> Result<Option<u64>, Error> {
    let filter = EventFilter {
        subject: Some(format!("rollout:{rollout}")),
        kind: Some("rollout.started".to_owned()),
        limit: Some(1),
        ..EventFilter::default()
    };
    Ok(db.events(&filter).await?.first().map(|event| event.seq))
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

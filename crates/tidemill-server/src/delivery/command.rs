//! What may be done: release, approve, end, freeze. Each is one transaction with its events.

use std::time::Duration;

use tidemill_core::declare::Window;
use tidemill_core::{Actor, ActorKind, Clock, Digest, EventKind, Identity, NewEvent, Timestamp};
use tidemill_db::delivery::{self as stored, NewRollout, Rollout, RolloutFilter};
use tidemill_db::{Db, Tx};
use tidemill_deliver::approval::Approval;
use tidemill_deliver::envelope::Envelope;
use tidemill_deliver::judge::Spec;
use tidemill_deliver::outcome::Measures;
use tidemill_deliver::rollout::{
    Admission, Asked, Concurrency, Decides, Demand, Guards, Input, Phase, Plan, Policy, Route, Stage, State,
    start,
};
use tidemill_deliver::simulate::Power;
use tidemill_registry::{Code, Error};
use tidemill_serve::gateway::manifest::Described;

use super::before::{brought_by, hold, incumbent, starters};
use super::candidates::{Made, Version, candidate_of, make};
use super::fence::{fence, keep};
use super::quarantine::quarantined;
use super::step::{plan_of, release_of, state_of, take, write};
use super::tested::Required;
use crate::shell::NOBODY;

/// Rollouts of one endpoint that are looked at.
const MOST_LIVE: usize = 1_000;

/// A release that is wanted somewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The registered model.
    pub model: String,
    /// Its version.
    pub version: u64,
    /// From which score on the positive class is answered.
    pub threshold: Option<f64>,
    /// Commit of the code.
    pub commit: Option<String>,
    /// The endpoint, by the name under which requests find it.
    pub endpoint: String,
    /// The environment.
    pub environment: String,
    /// How it gets its requests, where another release has them now.
    pub stages: Vec<Stage>,
    /// What decides between stages.
    pub judge: Option<Spec>,
    /// How outcomes become what the judge looks at.
    pub measures: Option<Measures>,
    /// From which score on somebody acts on an answer, for a release without a threshold, and who is told; nobody where not given.
    pub decides: Option<Decides>,
    /// Whether recent requests must be enough to decide in some time.
    pub power: Option<Power>,
    /// When it may get more requests; always where there is none.
    pub windows: Vec<Window>,
    /// The part of requests that stays with the release before until it is complete, in ten thousandths.
    pub holdout: u32,
    /// Requests that it answers in every stage, and that are not judged.
    pub routes: Vec<Route>,
    /// Further versions that are tried at the same time, of which the best goes on.
    pub rivals: Vec<Version>,
    /// Of versions what their files say: signature and runtime. A release without it names neither.
    pub described: Vec<(Version, Described)>,
    /// The metric of the judge by which the best of several is chosen; the first that comes of outcomes where not given, else the first.
    pub winner: Option<String>,
    /// The alias of the model that points at the version once its rollout is complete.
    pub alias: Option<String>,
    /// What it must have passed.
    pub required: Required,
    /// What these tests ask for.
    pub demands: Vec<Demand>,
    /// What the project file says that triggers may release without anybody who looks, whoever asks now.
    pub declared_envelope: Option<Envelope>,
    /// What it may be without anybody who looks, where nobody has; not asked of releases by hand.
    pub envelope: Option<Envelope>,
    /// Why the project file asks for less than before. In place of people who were asked before two others agree to that.
    pub policy_change: Option<String>,
    /// What happens where another rollout is on its way.
    pub concurrency: Concurrency,
}

/// A rollout that was begun or waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its number.
    pub rollout: u64,
    /// The release.
    pub release: Digest,
    /// Releases of further candidates.
    pub rivals: Vec<Digest>,
    /// The release that has the requests now.
    pub incumbent: Option<Digest>,
    /// Whether it waits for another rollout to be over.
    pub is_waiting: bool,
    /// What the project file asks less of than before, in words, where people must agree to that first.
    pub held: Option<String>,
}

/// What a person does to a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Agrees to it, to exactly these inputs where they are named.
    Approve {
        /// The inputs that the person looked at; the ones that wait now where not given.
        inputs: Option<Digest>,
    },
    /// Lets a stage pass that has run out of time.
    Proceed {
        /// Why.
        why: String,
    },
    /// Ends it; the release may be tried again.
    Abort {
        /// Why.
        why: String,
    },
    /// Ends it; the release goes into quarantine. One that is complete is taken back: the environment runs what it ran before.
    Rollback {
        /// Why.
        why: String,
    },
    /// Takes one of several candidates out.
    Drop {
        /// Which: model and version, as in `late@5`, or the digest of its release.
        candidate: String,
        /// Why.
        why: String,
        /// Whether harm was seen, for which its release goes into quarantine.
        harm: bool,
    },
}

/// A time in which no release gets more requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFreeze {
    /// The endpoint; all where not given.
    pub endpoint: Option<String>,
    /// Why.
    pub reason: String,
    /// From when; from now on where not given.
    pub from: Option<Timestamp>,
    /// Until when; until it is lifted where not given.
    pub until: Option<Timestamp>,
}

/// The name under which requests find an endpoint: its own in the last environment of the project file, `NAME.ENVIRONMENT` in
/// those before it.
pub fn endpoint_name(endpoint: &str, environment: &str, is_last: bool) -> String {
    if is_last { endpoint.to_owned() } else { format!("{endpoint}.{environment}") }
}

/// Makes a release and begins its rollout.
///
/// # Errors
///
/// Where there is no such version, the plan makes no sense, one of its releases is in quarantine, or another rollout is on its way and
/// `concurrency` says `reject`.
pub async fn release(db: &Db, clock: &dyn Clock, actor: &Actor, wanted: &Wanted) -> Result<Placed, Error> {
    release_after(db, clock, actor, None, wanted).await
}

/// [`release`], as a consequence of the event `cause`.
///
/// # Errors
///
/// As [`release`].
pub async fn release_after(
    db: &Db,
    clock: &dyn Clock,
    actor: &Actor,
    cause: Option<u64>,
    wanted: &Wanted,
) -> Result<Placed, Error> {
    let at = clock.now();
    let mut tx = db.begin().await?;
    let event = |kind: EventKind| NewEvent { at, actor: actor.clone(), kind, cause };
    let mut made = make(db, &mut tx, wanted, (actor, cause, at)).await?;
    let mut events = std::mem::take(&mut made.events);
    let releases = made.releases();
    let (quarantine, Some(digest)) = (made.quarantine.take(), releases.first().copied()) else {
        return Err(Error::invalid("nothing is to be released"));
    };
    // Whatever the environment was called by then: an endpoint has one rollout at a time.
    let filter =
        RolloutFilter { endpoint: Some(wanted.endpoint.clone()), is_live: true, ..RolloutFilter::default() };
    let live = tx.rollouts(&filter, MOST_LIVE).await?;
    let place = (wanted.endpoint.as_str(), wanted.environment.as_str());
    let states = live.iter().map(state_of).collect::<Result<Vec<State>, Error>>()?;
    let brought = states.iter().filter(|state| state.phase.is_over()).find_map(brought_by);
    let (incumbent, by_hand) = match brought {
        Some(release) => (Some(release), Vec::new()),
        None => incumbent(db, &mut tx, place, &releases, (actor, cause, at)).await?,
    };
    events.extend(by_hand);
    let admission = wanted.concurrency.admit(!live.is_empty(), quarantine.is_some());
    match admission {
        Admission::Start | Admission::Wait => {}
        // All that is left of the other one is to be written down, which takes a moment.
        Admission::Busy if brought.is_some() && states.iter().all(|state| state.phase.is_over()) => {}
        Admission::EndOther => {
            for other in &live {
                let input = Input::Supersede { by: format!("release {}", digest.short()) };
                events.extend(take(&mut tx, other, &input, actor, at).await?.events);
            }
        }
        Admission::Busy => {
            let ids: Vec<String> = live.iter().map(|other| other.id.to_string()).collect();
            let why = format!("rollout {} of `{}` is on its way", ids.join(", "), wanted.endpoint);
            return Err(Error::new(Code::InvalidState, why));
        }
        Admission::Quarantined => {
            return Err(Error::new(Code::InvalidState, quarantine.unwrap_or_default()));
        }
    }
    if let Some(running) = made.contenders.iter().find(|one| Some(one.release) == incumbent) {
        let name = if releases.len() > 1 { format!("{}, ", running.name) } else { String::new() };
        let why = format!("`{}` runs {name}release {} already", wanted.environment, running.release.short());
        return Err(Error::new(Code::ResourceAlreadyExists, why));
    }
    let is_waiting = admission != Admission::Start;
    // What waits is compared with what runs when it begins: as far as is known, the release that it waits for.
    let before = live
        .iter()
        .filter(|_| is_waiting)
        .map(|other| other.made.candidate)
        .find(|other| !releases.contains(other));
    let mut plan = plan(wanted, &made, digest, incumbent.or(before))?;
    plan.starters = starters(db, actor, cause).await?;
    for author in made.authors {
        if !plan.starters.contains(&author) {
            plan.starters.push(author);
        }
    }
    let held = hold(&mut tx, &mut plan, wanted.policy_change.as_deref(), at).await?;
    let why = held.as_ref().map(|said| said.detail.clone());
    let said = fence(db, &mut tx, &mut plan, at).await?;
    seal(&mut tx, &mut plan).await?;
    let state = begin(&plan, at)?;
    let text = write(&plan)?;
    let new = NewRollout {
        endpoint: wanted.endpoint.clone(),
        environment: wanted.environment.clone(),
        candidate: digest,
        incumbent,
        plan: text.clone(),
        at,
    };
    let id = tx.add_rollout(&new, &write(&state)?, state.phase.name(), is_waiting).await?;
    let rivals: Vec<Digest> = plan.rivals().collect();
    tx.add_rivals(id, &rivals).await?;
    events.push(event(EventKind::RolloutStarted {
        rollout: id,
        endpoint: new.endpoint,
        environment: new.environment,
        release: digest,
        rivals: rivals.clone(),
        incumbent,
        plan: Digest::of(text.as_bytes()),
    }));
    for said in held.into_iter().chain(said) {
        events.push(keep(&mut tx, id, said, actor, cause).await?);
    }
    tx.commit(events).await?;
    Ok(Placed { rollout: id, release: digest, rivals, incumbent, is_waiting, held: why })
}

fn plan(wanted: &Wanted, made: &Made, candidate: Digest, incumbent: Option<Digest>) -> Result<Plan, Error> {
    let author = made.contenders.first().map(|one| one.author.clone()).unwrap_or_default();
    let mut plan = Plan {
        endpoint: wanted.endpoint.clone(),
        environment: wanted.environment.clone(),
        candidate,
        incumbent,
        contest: made.contest(wanted)?,
        holdout: wanted.holdout,
        routes: wanted.routes.clone(),
        author,
        starters: Vec::new(),
        policy: Some(Policy {
            asks: Asked::of(&wanted.stages),
            guards: Some(Guards {
                demands: wanted.demands.clone(),
                windows: wanted.windows.clone(),
                power: wanted.power,
                envelope: wanted.declared_envelope.clone(),
                ..Guards::of(&wanted.stages, wanted.judge.as_ref(), wanted.required.words())
            }),
            ..Policy::default()
        }),
        stages: wanted.stages.clone(),
        judge: wanted.judge.clone(),
        measures: wanted.measures.clone(),
        decides: wanted.decides.clone(),
        power: wanted.power,
        envelope: wanted.envelope.clone(),
        windows: wanted.windows.clone(),
        alias: wanted.alias.clone(),
        inputs: candidate,
    };
    if incumbent.is_none() && plan.contest.is_none() {
        compare_with_nothing(&mut plan);
    }
    plan.check().map_err(|error| Error::invalid(format!("the rollout cannot be: {error}")))?;
    Ok(plan)
}

/// Without a release that has the requests there is nothing to compare with: people may still have to agree.
fn compare_with_nothing(plan: &mut Plan) {
    (plan.judge, plan.measures, plan.power) = (None, None, None);
    plan.stages.retain(|stage| matches!(stage, Stage::Gate { .. } | Stage::Full { .. }));
    for stage in &mut plan.stages {
        if let Stage::Full { settle } = stage {
            *settle = Duration::ZERO;
        }
    }
    plan.routes.clear();
}

/// Names what people approve, which is the whole plan: another release, plan or incumbent makes their approval void.
async fn seal(tx: &mut Tx, plan: &mut Plan) -> Result<(), Error> {
    let releases: Vec<Digest> = plan.incumbent.into_iter().chain(plan.candidates()).collect();
    let mut thresholds = Vec::new();
    for release in releases {
        let Some(stored) = tx.release(release).await? else { continue };
        thresholds.extend(release_of(&stored)?.threshold.map(|threshold| (release, threshold)));
    }
    if let Some(measures) = &mut plan.measures {
        measures.thresholds.clone_from(&thresholds);
    }
    if !thresholds.is_empty() || plan.decides.is_some() {
        plan.decides.get_or_insert_default().thresholds = thresholds;
    }
    plan.inputs = plan.candidate;
    plan.inputs = Digest::of(write(plan)?.as_bytes());
    Ok(())
}

pub(super) fn begin(plan: &Plan, at: Timestamp) -> Result<State, Error> {
    start(plan, at).map_err(|error| Error::invalid(error.to_string()))
}

/// Lets a rollout that waited begin, compared with what runs by now.
pub(super) async fn begin_waiting(
    db: &Db,
    tx: &mut Tx,
    rollout: &Rollout,
    at: Timestamp,
) -> Result<Vec<NewEvent>, Error> {
    let mut plan = plan_of(rollout)?;
    let (place, actor) = ((plan.endpoint.as_str(), plan.environment.as_str()), Actor::system("rollouts"));
    let (runs, mut events) = incumbent(db, tx, place, &plan.candidates(), (&actor, None, at)).await?;
    plan.incumbent = runs;
    // Several candidates cannot be told apart then, which their preflight says.
    if plan.incumbent.is_none() && plan.contest.is_none() {
        compare_with_nothing(&mut plan);
    }
    // What runs may be another release by now, and the envelope may have ended.
    let said = fence(db, tx, &mut plan, at).await?;
    seal(tx, &mut plan).await?;
    let state = begin(&plan, at)?;
    let begun = tx.begin_rollout(rollout.id, plan.incumbent, &write(&plan)?, &write(&state)?, at).await?;
    let kind = EventKind::RolloutMoved {
        rollout: rollout.id,
        from: "waiting".to_owned(),
        to: state.phase.name().to_owned(),
        stage: 0,
        why: "no other rollout of the endpoint is on its way".to_owned(),
        evidence: None,
    };
    if !begun {
        return Ok(Vec::new());
    }
    events.push(NewEvent { at, actor: actor.clone(), kind, cause: None });
    if let Some(said) = said {
        events.push(keep(tx, rollout.id, said, &actor, None).await?);
    }
    Ok(events)
}

/// Does something to a rollout; gives its state after it.
///
/// # Errors
///
/// Where it may not be done: an author or a program that approves, somebody who is not known well enough, inputs that changed, a rollout that
/// is over.
pub async fn act(
    db: &Db,
    clock: &dyn Clock,
    (actor, identity): (&Actor, Identity),
    id: u64,
    action: &Action,
) -> Result<State, Error> {
    let at = clock.now();
    let mut tx = db.begin().await?;
    let rollout = tx.rollout(id).await?.ok_or_else(|| Error::missing(format!("there is no rollout {id}")))?;
    if matches!(action, Action::Approve { .. } | Action::Proceed { .. }) {
        person(actor)?;
    }
    let by = actor.name.clone();
    let input = match action {
        Action::Approve { inputs } => {
            let (plan, state) = (plan_of(&rollout)?, state_of(&rollout)?);
            let role = match plan.stages.get(state.stage) {
                Some(Stage::Gate { approve }) => approve.role.clone(),
                _ => String::new(),
            };
            let inputs = inputs.unwrap_or_else(|| state.inputs(&plan));
            Input::Approve { approval: Approval { by, role, inputs, at, identity } }
        }
        Action::Proceed { why } => Input::Proceed { by, why: why.clone(), identity },
        Action::Abort { why } => Input::Abort { by, why: why.clone() },
        Action::Rollback { why } => {
            let state = state_of(&rollout)?;
            if state.phase == Phase::Complete {
                let is_written = brought_by(&state).is_none();
                may_return(db, &mut tx, &rollout, is_written).await?;
            }
            Input::Rollback { by, why: why.clone() }
        }
        Action::Drop { candidate, why, harm } => {
            let candidate = candidate_of(&plan_of(&rollout)?, candidate)?;
            Input::Drop { candidate, by, why: why.clone(), harm: *harm }
        }
    };
    let taken = take(&mut tx, &rollout, &input, actor, at).await?;
    tx.commit(taken.events).await?;
    Ok(taken.outcome.state)
}

/// Whether a rollout that is complete can be taken back: what it brought still runs, nothing else is on its way, and what ran before has done
/// no harm. Nobody has to agree to it, since it was released before. Until it is written down what it brought, what runs is its own.
async fn may_return(db: &Db, tx: &mut Tx, rollout: &Rollout, is_written: bool) -> Result<(), Error> {
    let (id, made) = (rollout.id, &rollout.made);
    let refused = |why: String| Err(Error::new(Code::InvalidState, why));
    let is_here = |one: &stored::Environment| one.name == made.environment && one.endpoint == made.endpoint;
    let runs = db.environments().await?.into_iter().find(is_here);
    if let Some(other) = runs.filter(|runs| is_written && runs.rollout != id) {
        let environment = &made.environment;
        return refused(format!(
            "`{environment}` runs by now what rollout {} brought; roll that back",
            other.rollout
        ));
    }
    let filter =
        RolloutFilter { endpoint: Some(made.endpoint.clone()), is_live: true, ..RolloutFilter::default() };
    if let Some(other) = tx.rollouts(&filter, MOST_LIVE).await?.into_iter().find(|other| other.id != id) {
        let why = format!("rollout {} of `{}` is on its way; abort it first", other.id, made.endpoint);
        return refused(why);
    }
    let Some(before) = made.incumbent else {
        return refused(format!("nothing ran at `{}` before rollout {id}", made.endpoint));
    };
    let kept = tx.release(before).await?;
    let release = kept.as_ref().map(release_of).transpose()?;
    let Some(release) = release else { return refused(format!("release {} is not there", before.short())) };
    match quarantined(db, &release, &made.environment).await? {
        Some(why) => refused(format!("the release before it cannot come back: {why}")),
        None => Ok(()),
    }
}

/// Whether somebody is a person with a name: whoever agrees is told from the author by it, and counts once.
///
/// # Errors
///
/// Where it is a program, or somebody who gave the server's token alone.
pub(super) fn person(actor: &Actor) -> Result<(), Error> {
    if actor.kind == ActorKind::User && actor.name != NOBODY {
        return Ok(());
    }
    let why = "only a person agrees, under a name: send a user name with the server's token as its password, or sign in on the page \
               with one";
    Err(Error::new(Code::PermissionDenied, why))
}

/// Sets a freeze, from now on or from a time to come; gives its number.
///
/// # Errors
///
/// Where it has no reason, would have begun already, or ends before it begins.
pub async fn freeze(db: &Db, clock: &dyn Clock, actor: &Actor, new: &NewFreeze) -> Result<u64, Error> {
    let at = clock.now();
    if new.reason.trim().is_empty() {
        return Err(Error::invalid("a freeze needs a reason"));
    }
    if new.until.is_some_and(|until| until <= at) {
        return Err(Error::new(Code::InvalidState, "the freeze would be over already"));
    }
    if new.from.is_some_and(|from| from < at) {
        let why = "the freeze would have begun already; leave its beginning out to freeze from now on";
        return Err(Error::new(Code::InvalidState, why));
    }
    let from = new.from.unwrap_or(at);
    if new.until.is_some_and(|until| until <= from) {
        return Err(Error::new(Code::InvalidState, "the freeze would end before it begins"));
    }
    let mut tx = db.begin().await?;
    let freeze = stored::Freeze {
        id: 0,
        endpoint: new.endpoint.clone(),
        reason: new.reason.clone(),
        owner: actor.name.clone(),
        from,
        until: new.until,
    };
    let id = tx.add_freeze(&freeze).await?;
    let kind = EventKind::FreezeSet {
        freeze: id,
        endpoint: freeze.endpoint,
        reason: freeze.reason,
        since: new.from,
        until: freeze.until,
    };
    tx.commit(vec![NewEvent { at, actor: actor.clone(), kind, cause: None }]).await?;
    Ok(id)
}

/// Ends a freeze.
///
/// # Errors
///
/// Where there is none of this number.
pub async fn lift_freeze(db: &Db, clock: &dyn Clock, actor: &Actor, id: u64) -> Result<(), Error> {
    let mut tx = db.begin().await?;
    if !tx.lift_freeze(id).await? {
        return Err(Error::missing(format!("there is no freeze {id}")));
    }
    let kind = EventKind::FreezeLifted { freeze: id };
    tx.commit(vec![NewEvent { at: clock.now(), actor: actor.clone(), kind, cause: None }]).await?;
    Ok(())
}

/// The state of a rollout as it would be if it were looked at now: what keeps it from going on is of this moment.
///
/// # Errors
///
/// Where it cannot be read.
pub fn standing(rollout: &Rollout, now: Timestamp) -> Result<State, Error> {
    let (plan, state) = (plan_of(rollout)?, state_of(rollout)?);
    if rollout.is_waiting || state.phase.is_over() {
        return Ok(state);
    }
    Ok(tidemill_deliver::rollout::decide(&plan, &state, &Input::Tick, now).state)
}

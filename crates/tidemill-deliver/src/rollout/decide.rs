//! What a rollout does next: a pure function of plan, state, what happened, and the time.
//!
//! Precedence: people who end it, then proven harm, then freezes and windows, then approvals, the verdict, and time. A freeze stops whatever
//! gives a candidate more traffic; going back to the incumbent is never frozen.

use tidemill_core::{Digest, Identity, Timestamp};

use super::contend::may_drop;
use super::contest::Fate;
use super::plan::{Plan, Stage};
use super::state::{
    Due, Effect, Ending, Hold, Input, LookAt, Matured, Phase, Progress, Ripened, State, Traffic, Transition,
};
use super::window;
use crate::approval::{self, Refusal};
use crate::judge::{AGREEMENT, Judge, Look, SpecError, Why};
use crate::outcome::{COST, Epoch, PAIRED_COST};

/// What came of an input.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The state after it.
    pub state: State,
    /// Changes of phase, in order.
    pub transitions: Vec<Transition>,
}

/// Why an input of a person is not taken; it changes nothing and is not recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The approval does not count.
    #[error(transparent)]
    Approval(#[from] Refusal),
    /// The author would let their own release pass.
    #[error("`{0}` made this release or set it off, and cannot let it pass")]
    Author(String),
    /// Nothing to let pass.
    #[error("the stage has not run out of time; nothing waits for a person's word")]
    NotTimedOut,
    /// It is over.
    #[error("the rollout is over: {0}")]
    Over(&'static str),
    /// The candidate cannot be taken out.
    #[error("{0}")]
    Drop(String),
}

/// A rollout that has not begun.
///
/// # Errors
///
/// Where the judge cannot be; plans are to be checked first.
pub fn start(plan: &Plan, now: Timestamp) -> Result<State, SpecError> {
    Ok(State {
        phase: Phase::Pending,
        stage: 0,
        since: None,
        requests: 0,
        traffic: Traffic::default(),
        applied: 0,
        hold: None,
        due: Vec::new(),
        next_effect: 1,
        last_look: 0,
        proceed: false,
        proceeds: Vec::new(),
        checked: false,
        approvals: Vec::new(),
        freezes: Vec::new(),
        clock: now,
        judge: plan.judge.clone().filter(|_| plan.contest.is_none()).map(Judge::new).transpose()?,
        contestants: plan.contestants()?,
        matured: plan.measures.as_ref().map(|_| Matured {
            began: now,
            until: now,
            outcomes: 0,
            late: 0,
            epochs: Vec::new(),
            kpi: plan.measures.as_ref().and_then(|measures| measures.kpi_delay).map(|_| Ripened {
                until: now,
                outcomes: 0,
                late: 0,
            }),
        }),
        agreements: Vec::new(),
    })
}

/// Whether a person's input may be taken.
///
/// # Errors
///
/// Says why not.
pub fn permit(plan: &Plan, state: &State, input: &Input) -> Result<(), Denied> {
    let is_from_person = matches!(
        input,
        Input::Approve { .. }
            | Input::Proceed { .. }
            | Input::Abort { .. }
            | Input::Rollback { .. }
            | Input::Drop { .. }
    );
    if is_from_person
        && state.phase.is_over()
        && !(matches!(input, Input::Rollback { .. }) && returns(plan, state))
    {
        return Err(Denied::Over(state.phase.name()));
    }
    match input {
        Input::Approve { approval } => match plan.stages.get(state.stage) {
            Some(Stage::Gate { approve }) if state.phase == Phase::Awaiting => {
                if plan.authors().contains(&approval.by.as_str()) {
                    return Err(Refusal::Author(approval.by.clone()).into());
                }
                Ok(approval::admit(approve, &plan.author, state.inputs(plan), &state.approvals, approval)?)
            }
            _ => Err(Refusal::NotAwaited.into()),
        },
        Input::Drop { candidate, .. } => {
            if matches!(state.phase, Phase::GoingBack { .. }) {
                return Err(Denied::Drop("the rollout is going back already".to_owned()));
            }
            may_drop(plan, state, *candidate).map_err(Denied::Drop)
        }
        Input::Proceed { by, .. } if plan.authors().contains(&by.as_str()) => Err(Denied::Author(by.clone())),
        Input::Proceed { .. } if !matches!(state.hold, Some(Hold::TimedOut { .. })) => {
            Err(Denied::NotTimedOut)
        }
        Input::Proceed { by, identity, .. } => may_proceed(plan, state, by, *identity),
        _ => Ok(()),
    }
}

/// Whether somebody may let a stage pass that proved nothing: that takes who may agree to the release, and as many of them.
fn may_proceed(plan: &Plan, state: &State, by: &str, how: Identity) -> Result<(), Denied> {
    if state.proceeds.iter().any(|one| one == by) {
        return Err(Refusal::Twice(by.to_owned()).into());
    }
    match plan.gates().find(|rule| !rule.is_held_by(by)) {
        Some(rule) => Err(Refusal::Role { needed: rule.role.clone() }.into()),
        None => Ok(plan.gates().try_for_each(|rule| rule.knows(by, how))?),
    }
}

/// Whether a rollout that is complete can be taken back: the release before it is known.
fn returns(plan: &Plan, state: &State) -> bool {
    state.phase == Phase::Complete && plan.incumbent.is_some()
}

/// The state after an input. Inputs that mean nothing where the rollout is change nothing but the clock.
pub fn decide(plan: &Plan, state: &State, input: &Input, now: Timestamp) -> Outcome {
    let mut step = Step { plan, state: state.clone(), transitions: Vec::new() };
    if matches!(input, Input::Rollback { .. }) && returns(plan, state) {
        step.state.clock = step.state.clock.max(now);
        step.take(input);
    } else if !step.state.phase.is_over() {
        step.state.clock = step.state.clock.max(now);
        if permit(plan, state, input).is_ok() {
            step.take(input);
        }
        step.go_on();
    } else if let Input::Done { id } = input {
        step.state.due.retain(|due| due.id != *id);
    }
    Outcome { state: step.state, transitions: step.transitions }
}

/// The state that a log of inputs leads to.
///
/// # Errors
///
/// Where the judge cannot be.
pub fn replay<'a>(
    plan: &Plan,
    began: Timestamp,
    log: impl IntoIterator<Item = &'a (Timestamp, Input)>,
) -> Result<State, SpecError> {
    log.into_iter()
        .try_fold(start(plan, began)?, |state, (at, input)| Ok(decide(plan, &state, input, *at).state))
}

pub(super) struct Step<'a> {
    pub(super) plan: &'a Plan,
    pub(super) state: State,
    transitions: Vec<Transition>,
}

impl Step<'_> {
    fn take(&mut self, input: &Input) {
        match input {
            Input::Tick => {}
            Input::Done { id } => self.done(*id),
            Input::Preflight { problems } => {
                if self.state.phase != Phase::Preflight {
                    return;
                }
                self.state.due.retain(|due| due.effect != Effect::Preflight);
                self.state.checked = problems.is_empty();
                if self.state.checked {
                    // That it passed is told also where it is not its time yet.
                    if self.closed().is_some() {
                        self.go(Phase::Preflight, "the candidate passed its checks, and waits for its time");
                    }
                } else {
                    self.go(Phase::Refused, &problems.join("; "));
                }
            }
            Input::Look { seq, requests, look } => {
                if *seq <= self.state.last_look {
                    return;
                }
                self.state.last_look = *seq;
                if u64::from(look.traffic.stratum) == self.state.traffic.revision {
                    self.state.requests += requests;
                }
                self.state.agree(self.plan.candidate, look);
                let is_alone = self.is_alone(look);
                if let Some(judge) = &mut self.state.judge {
                    if is_alone { judge.look_alone(look) } else { judge.look(look) }
                }
            }
            Input::Looks { seq, looks } => {
                if *seq > self.state.last_look {
                    self.state.last_look = *seq;
                    self.see(looks, true);
                }
            }
            Input::Outcomes { until, outcomes, late, looks, of_each }
            | Input::Kpis { until, outcomes, late, looks, of_each } => {
                let new = Ripened { until: *until, outcomes: *outcomes, late: *late };
                self.ripen(matches!(input, Input::Kpis { .. }), new, looks, of_each);
            }
            Input::Approve { approval } => self.state.approvals.push(approval.clone()),
            Input::Proceed { by, .. } => {
                self.state.proceeds.push(by.clone());
                let needed = self.plan.gates().map(|rule| rule.count).max().unwrap_or_default().max(1);
                self.state.proceed = self.state.proceeds.len() >= needed as usize;
            }
            Input::Abort { by, why } => self.go_back(Ending::Aborted, &format!("{by}: {why}")),
            Input::Rollback { by, why } => self.go_back(Ending::RolledBack, &format!("{by}: {why}")),
            Input::Drop { .. } => self.drop_by(input),
            Input::Supersede { by } => self.go_back(Ending::Superseded, &format!("{by} takes its place")),
            Input::Freeze { freeze } => {
                self.state.freezes.retain(|known| known.id != freeze.id);
                self.state.freezes.push(freeze.clone());
            }
            Input::Lift { id } => self.state.freezes.retain(|known| known.id != *id),
        }
    }

    /// Shows the judges what became due, once.
    fn ripen(&mut self, is_kpi: bool, new: Ripened, looks: &[Look], of_each: &[LookAt]) {
        if !self.state.matured.as_mut().is_some_and(|matured| matured.take_up(is_kpi, new)) {
            return;
        }
        if let Some(judge) = &mut self.state.judge {
            looks.iter().for_each(|look| judge.look(look));
        }
        self.see(of_each, false);
    }

    fn done(&mut self, id: u64) {
        let Some(at) = self.state.due.iter().position(|due| due.id == id) else { return };
        let due = self.state.due.remove(at);
        let Effect::Route { traffic } = due.effect else { return };
        self.state.applied = self.state.applied.max(traffic.revision);
        if self.state.applied < self.state.traffic.revision {
            return;
        }
        // Where a candidate was taken out, the times of the stage go on for the others.
        self.state.since.get_or_insert(self.state.clock);
        self.begin_epoch();
        if let Phase::GoingBack { then } = self.state.phase {
            self.go(then.phase(), "the incumbent answers all requests");
        } else if self.state.phase == Phase::Certified {
            let why = match self.plan.holdout {
                0 => "the candidate answers all requests",
                _ => "the candidate answers all requests but those that are held out",
            };
            self.go(Phase::Settling, why);
        }
    }

    /// Goes on as far as it can.
    fn go_on(&mut self) {
        loop {
            self.state.hold = None;
            if self.state.phase.is_over() || matches!(self.state.phase, Phase::GoingBack { .. }) {
                return;
            }
            let harmed = self.harmed();
            if !harmed.is_empty() {
                self.take_out(&harmed);
                continue;
            }
            self.state.hold = match self.state.phase {
                Phase::Pending => {
                    self.due(Effect::Preflight);
                    self.go(Phase::Preflight, "the rollout began");
                    return;
                }
                Phase::Preflight if !self.state.checked => return,
                Phase::Preflight => self.closed(),
                _ => self.obstacle(),
            };
            if self.state.hold.is_some() {
                return;
            }
            if self.state.phase == Phase::Preflight {
                self.state.checked = false;
                self.enter(0, "the candidate passed its checks");
                continue;
            }
            if self.state.phase == Phase::Settling {
                if self.state.traffic.share(self.lead()) < 10_000 {
                    // Those that were held out are the last to get it, and that is more requests, too.
                    self.state.hold = self.closed();
                    if self.state.hold.is_some() {
                        return;
                    }
                    self.release_all();
                    continue;
                }
                self.due(Effect::Record { release: self.lead() });
                self.go(Phase::Complete, "nothing was found while it settled");
                return;
            }
            let Some(why) = self.settle() else { continue };
            self.enter(self.state.stage + 1, &why);
        }
    }

    /// Whether a look is at a candidate that has all requests: nothing is drawn to the incumbent that it could be compared with.
    pub(super) fn is_alone(&self, look: &Look) -> bool {
        let traffic = &self.state.traffic;
        let is_current =
            u64::from(look.traffic.stratum) == traffic.revision && self.state.applied == traffic.revision;
        self.plan.incumbent.is_some() && is_current && traffic.share(self.lead()) == 10_000
    }

    /// The candidate that goes on: the only one, or the one that was chosen.
    pub(super) fn lead(&self) -> Digest {
        self.state.lead(self.plan)
    }

    /// Why it is not the time to give the candidate more requests.
    fn closed(&self) -> Option<Hold> {
        let (plan, now) = (self.plan, self.state.clock);
        let frozen = self.state.freezes.iter().find(|freeze| freeze.holds(&plan.endpoint, now));
        if let Some(freeze) = frozen {
            return Some(Hold::Freeze { id: freeze.id, reason: freeze.reason.clone() });
        }
        let is_closed = !window::is_open(&plan.windows, now);
        is_closed.then(|| Hold::Window { opens: window::next_open(&plan.windows, now) })
    }

    /// What keeps the stage from being over.
    fn obstacle(&self) -> Option<Hold> {
        let state = &self.state;
        let settles = state.phase == Phase::Settling;
        if state.applied < state.traffic.revision {
            return Some(Hold::Traffic);
        }
        // When it settles it has all requests already.
        if !settles && let Some(closed) = self.closed() {
            return Some(closed);
        }
        let since = state.since.unwrap_or(state.clock);
        match self.plan.stages.get(state.stage)? {
            Stage::Gate { approve } => {
                let people = approval::counting(
                    approve,
                    &self.plan.author,
                    state.inputs(self.plan),
                    &state.approvals,
                    state.clock,
                );
                let (have, need) = (people.len() as u32, approve.count.max(1));
                (have < need).then(|| Hold::Approvals { have, need, role: approve.role.clone() })
            }
            Stage::Full { settle } => {
                let until = since.plus(*settle);
                // What was held out got it after the time had passed.
                let is_settled = self.plan.holdout > 0 && state.traffic.share(self.lead()) == 10_000;
                (!is_settled && state.clock < until).then_some(Hold::Time { until })
            }
            Stage::Shadow { until, .. } | Stage::Canary { until, .. } if self.plan.contest.is_some() => {
                self.candidates_hold(until, since)
            }
            Stage::Shadow { until, .. } | Stage::Canary { until, .. } => {
                let at = Progress { requests: state.requests, since, now: state.clock };
                until.obstacle(state.judge.as_ref(), at, state.proceed)
            }
        }
    }

    /// Enters a stage of the plan.
    fn enter(&mut self, stage: usize, why: &str) {
        let state = &mut self.state;
        state.stage = stage;
        (state.requests, state.proceed, state.since) = (0, false, Some(state.clock));
        state.proceeds.clear();
        state.contestants.iter_mut().for_each(|one| one.requests = 0);
        let phase = match self.plan.stages.get(stage) {
            Some(Stage::Shadow { share, .. }) => {
                self.route(0, *share);
                Phase::Shadow
            }
            Some(Stage::Canary { share, .. }) => {
                self.route(*share, 0);
                Phase::Canary { share: *share }
            }
            Some(Stage::Gate { .. }) => {
                // Whoever was not chosen before it has no request any more.
                self.withdraw();
                Phase::Awaiting
            }
            // A plan ends with `full`; what has none behaves like one.
            Some(Stage::Full { .. }) | None => {
                self.route_full();
                Phase::Certified
            }
        };
        self.go(phase, why);
    }

    /// Wants a traffic in which every candidate that is in gets a share of requests, or copies of so many.
    fn route(&mut self, share: u32, copies: u32) {
        let living = self.state.living(self.plan);
        let Some(incumbent) = self.plan.incumbent else { return self.release_all() };
        let given = share.saturating_mul(u32::try_from(living.len()).unwrap_or(u32::MAX));
        let mut arms = vec![(incumbent, 10_000_u32.saturating_sub(given))];
        let mut shown = living.iter().filter(|_| copies > 0).map(|release| (*release, copies));
        let (shadow, shadows) = (shown.next(), shown.collect());
        arms.extend(living.iter().filter(|_| share > 0).map(|release| (*release, share)));
        self.want(Traffic { arms, shadow, shadows, ..Traffic::default() });
    }

    /// All requests but those that are held out.
    fn route_full(&mut self) {
        match self.plan.incumbent {
            Some(incumbent) if self.plan.holdout > 0 => {
                let rest = 10_000_u32.saturating_sub(self.plan.holdout);
                let arms = vec![(incumbent, self.plan.holdout), (self.lead(), rest)];
                self.want(Traffic { arms, ..Traffic::default() });
            }
            _ => self.release_all(),
        }
    }

    /// All requests, while the incumbent is kept ready.
    fn release_all(&mut self) {
        let warm = self.plan.incumbent.into_iter().collect();
        let arms = vec![(self.lead(), 10_000)];
        self.want(Traffic { arms, warm, ..Traffic::default() });
    }

    pub(super) fn want(&mut self, mut traffic: Traffic) {
        traffic.revision = self.state.traffic.revision + 1;
        self.state.traffic = traffic.clone();
        self.state.since = None;
        // From here until the new table is in effect nobody knows by which one a request is routed.
        let clock = self.state.clock;
        if let Some(epoch) = self.state.matured.as_mut().and_then(|matured| matured.epochs.last_mut()) {
            epoch.until.get_or_insert(clock);
        }
        // An older table that is not in effect yet must not come into effect after this one.
        self.state.due.retain(|due| !matches!(due.effect, Effect::Route { .. }));
        self.due(Effect::Route { traffic });
    }

    /// The wanted table is in effect from now on.
    fn begin_epoch(&mut self) {
        let (plan, lead, state) = (self.plan, self.lead(), &mut self.state);
        let Some(matured) = &mut state.matured else { return };
        let incumbent = plan.incumbent.map_or(0, |incumbent| state.traffic.share(incumbent));
        matured.epochs.push(Epoch {
            revision: state.traffic.revision,
            from: state.clock,
            until: None,
            // Of several, all that are in have the same.
            candidate: state.traffic.share(lead),
            incumbent,
            shadow: state.traffic.copies(lead),
        });
    }

    /// Gives all requests back to the incumbent, by somebody's word; for harm, of whoever is in.
    fn go_back(&mut self, then: Ending, why: &str) {
        let harmed = if then == Ending::RolledBack { self.state.living(self.plan) } else { Vec::new() };
        let harmed: Vec<(Digest, String)> =
            harmed.into_iter().map(|release| (release, why.to_owned())).collect();
        self.go_back_for(then, why, &harmed);
    }

    /// The same for what these releases did, which go into quarantine.
    pub(super) fn go_back_for(&mut self, then: Ending, why: &str, harmed: &[(Digest, String)]) {
        if matches!(self.state.phase, Phase::GoingBack { .. }) {
            return;
        }
        for (release, why) in harmed {
            self.mark(*release, |at| Fate::Dropped { at, why: why.clone(), harm: true });
        }
        self.state.hold = None;
        let was_complete = self.state.phase == Phase::Complete;
        self.state.due.retain(|due| due.effect != Effect::Preflight);
        for (release, reason) in harmed {
            self.due(Effect::Quarantine { release: *release, reason: reason.clone() });
        }
        // What never had a request, perhaps because another rollout is on its way, has nothing to give back.
        if self.state.traffic.revision == 0 {
            self.go(then.phase(), why);
            return;
        }
        let arms = self.plan.incumbent.map(|incumbent| vec![(incumbent, 10_000)]).unwrap_or_default();
        // Without an incumbent the endpoint answers nothing rather than harm.
        self.want(Traffic { arms, ..Traffic::default() });
        if was_complete && let Some(release) = self.plan.incumbent {
            // What the environment was said to run, it runs no more.
            self.state.due.retain(|due| !matches!(due.effect, Effect::Record { .. }));
            self.due(Effect::Record { release });
        }
        self.go(Phase::GoingBack { then }, why);
    }

    pub(super) fn due(&mut self, effect: Effect) {
        self.state.due.push(Due { id: self.state.next_effect, effect });
        self.state.next_effect += 1;
    }

    pub(super) fn go(&mut self, to: Phase, why: &str) {
        let from = std::mem::replace(&mut self.state.phase, to.clone());
        self.transitions.push(Transition { from, to, stage: self.state.stage, why: why.to_owned() });
    }
}

/// Whether harm that was proven, by its reason in [`words`], is of decisions alone, which another threshold changes. Errors, refusals and
/// times are the model's, and what a person saw may be.
pub fn is_of_decisions(reason: &str) -> bool {
    let metric = |part: &str| {
        let quoted = part.strip_prefix('`')?.strip_suffix("` is proven to be harmed")?;
        Some(quoted.split(" in ").next().unwrap_or_default().to_owned())
    };
    reason
        .split("; ")
        .all(|part| metric(part).is_some_and(|name| [COST, PAIRED_COST, AGREEMENT].contains(&name.as_str())))
}

/// Reasons of a verdict in words.
pub fn words(why: &[Why]) -> String {
    let texts: Vec<String> = why
        .iter()
        .map(|why| match why {
            Why::NoData { metric } => format!("nothing was seen of `{metric}`"),
            Why::NotProven { metric } => format!("`{metric}` is not proven to be below its limit"),
            Why::Harm { metric, slice: None } => format!("`{metric}` is proven to be harmed"),
            Why::Harm { metric, slice: Some(slice) } => {
                format!("`{metric} in {slice}` is proven to be harmed")
            }
            Why::SampleRatio => "arms did not get their planned shares of requests".to_owned(),
        })
        .collect();
    texts.join("; ")
}

//! What a rollout does next: a pure function of plan, state, what happened, and the time.
//!
//! Precedence: people who end it, then proven harm, then freezes and windows, then approvals, the verdict, and time. A freeze stops whatever
//! gives a candidate more traffic; going back to the incumbent is never frozen.

use tidemill_core::Timestamp;

use super::plan::{Plan, Stage};
use super::state::{Due, Effect, Ending, Hold, Input, Matured, Phase, Progress, State, Traffic, Transition};
use super::window;
use crate::approval::{self, Refusal};
use crate::judge::{Decision, Judge, SpecError, Why};
use crate::outcome::Epoch;

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
    #[error("`{0}` made this release and cannot let it pass")]
    Author(String),
    /// Nothing to let pass.
    #[error("the stage has not run out of time; nothing waits for a person's word")]
    NotTimedOut,
    /// It is over.
    #[error("the rollout is over: {0}")]
    Over(&'static str),
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
        checked: false,
        approvals: Vec::new(),
        freezes: Vec::new(),
        clock: now,
        judge: plan.judge.clone().map(Judge::new).transpose()?,
        matured: plan.measures.as_ref().map(|_| Matured {
            began: now,
            until: now,
            outcomes: 0,
            late: 0,
            epochs: Vec::new(),
        }),
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
        Input::Approve { .. } | Input::Proceed { .. } | Input::Abort { .. } | Input::Rollback { .. }
    );
    if is_from_person && state.phase.is_over() {
        return Err(Denied::Over(state.phase.name()));
    }
    match input {
        Input::Approve { approval } => match plan.stages.get(state.stage) {
            Some(Stage::Gate { approve }) if state.phase == Phase::Awaiting => {
                Ok(approval::admit(approve, &plan.author, plan.inputs, &state.approvals, approval)?)
            }
            _ => Err(Refusal::NotAwaited.into()),
        },
        Input::Proceed { by, .. } if *by == plan.author => Err(Denied::Author(by.clone())),
        Input::Proceed { .. } if !matches!(state.hold, Some(Hold::TimedOut { .. })) => {
            Err(Denied::NotTimedOut)
        }
        _ => Ok(()),
    }
}

/// The state after an input. Inputs that mean nothing where the rollout is change nothing but the clock.
pub fn decide(plan: &Plan, state: &State, input: &Input, now: Timestamp) -> Outcome {
    let mut step = Step { plan, state: state.clone(), transitions: Vec::new() };
    if !step.state.phase.is_over() {
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

struct Step<'a> {
    plan: &'a Plan,
    state: State,
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
                if let Some(judge) = &mut self.state.judge {
                    judge.look(look);
                }
            }
            Input::Outcomes { until, outcomes, late, looks } => {
                let Some(matured) = self.state.matured.as_mut().filter(|known| known.until < *until) else {
                    return;
                };
                matured.until = *until;
                matured.outcomes += outcomes;
                matured.late = *late;
                // Tables of which every request was taken up are not needed any more.
                matured.epochs.retain(|epoch| epoch.until.is_none_or(|end| end > *until));
                if let Some(judge) = &mut self.state.judge {
                    looks.iter().for_each(|look| judge.look(look));
                }
            }
            Input::Approve { approval } => self.state.approvals.push(approval.clone()),
            Input::Proceed { .. } => self.state.proceed = true,
            Input::Abort { by, why } => self.go_back(Ending::Aborted, &format!("{by}: {why}")),
            Input::Rollback { by, why } => self.go_back(Ending::RolledBack, &format!("{by}: {why}")),
            Input::Supersede { by } => self.go_back(Ending::Superseded, &format!("{by} takes its place")),
            Input::Freeze { freeze } => {
                self.state.freezes.retain(|known| known.id != freeze.id);
                self.state.freezes.push(freeze.clone());
            }
            Input::Lift { id } => self.state.freezes.retain(|known| known.id != *id),
        }
    }

    fn done(&mut self, id: u64) {
        let Some(at) = self.state.due.iter().position(|due| due.id == id) else { return };
        let due = self.state.due.remove(at);
        let Effect::Route { traffic } = due.effect else { return };
        self.state.applied = self.state.applied.max(traffic.revision);
        if self.state.applied < self.state.traffic.revision {
            return;
        }
        self.state.since = Some(self.state.clock);
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
            if let Some(why) = self.harm() {
                return self.go_back(Ending::RolledBack, &why);
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
                if self.state.traffic.share(self.plan.candidate) < 10_000 {
                    // Those that were held out are the last to get it, and that is more requests, too.
                    self.state.hold = self.closed();
                    if self.state.hold.is_some() {
                        return;
                    }
                    self.release_all();
                    continue;
                }
                self.due(Effect::Record { release: self.plan.candidate });
                self.go(Phase::Complete, "nothing was found while it settled");
                return;
            }
            self.enter(self.state.stage + 1, "the stage is over");
        }
    }

    /// Proven harm, in words. Before the candidate had a request there is none.
    fn harm(&self) -> Option<String> {
        let verdict = self.state.judge.as_ref()?.verdict(&std::collections::BTreeSet::new());
        (verdict.decision == Decision::Rollback).then(|| words(&verdict.why))
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
                    self.plan.inputs,
                    &state.approvals,
                    state.clock,
                );
                let (have, need) = (people.len() as u32, approve.count.max(1));
                (have < need).then(|| Hold::Approvals { have, need, role: approve.role.clone() })
            }
            Stage::Full { settle } => {
                let until = since.plus(*settle);
                // What was held out got it after the time had passed.
                let is_settled = self.plan.holdout > 0 && state.traffic.share(self.plan.candidate) == 10_000;
                (!is_settled && state.clock < until).then_some(Hold::Time { until })
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
        let plan = self.plan;
        let (phase, routed) = match plan.stages.get(stage) {
            Some(Stage::Shadow { share, .. }) => {
                (Phase::Shadow, Some((0, Some((plan.candidate, *share)), false)))
            }
            Some(Stage::Canary { share, .. }) => {
                (Phase::Canary { share: *share }, Some((*share, None, false)))
            }
            Some(Stage::Gate { .. }) => (Phase::Awaiting, None),
            // A plan ends with `full`; what has none behaves like one.
            Some(Stage::Full { .. }) | None => (Phase::Certified, Some((10_000, None, true))),
        };
        if let Some((share, shadow, is_full)) = routed {
            self.route(share, shadow, is_full);
        }
        self.go(phase, why);
    }

    /// Wants another traffic.
    fn route(&mut self, share: u32, shadow: Option<(tidemill_core::Digest, u32)>, is_full: bool) {
        let plan = self.plan;
        let mut arms = Vec::new();
        match plan.incumbent {
            Some(incumbent) if !is_full => {
                let others = if share == 0 { &[][..] } else { &plan.others };
                let given: u32 = others.iter().map(|(_, share)| *share).sum::<u32>() + share;
                arms.push((incumbent, 10_000_u32.saturating_sub(given)));
                arms.extend((share > 0).then_some((plan.candidate, share)));
                arms.extend_from_slice(others);
            }
            Some(incumbent) if plan.holdout > 0 => {
                arms.push((incumbent, plan.holdout));
                arms.push((plan.candidate, 10_000_u32.saturating_sub(plan.holdout)));
            }
            _ => return self.release_all(),
        }
        self.want(Traffic { revision: 0, arms, shadow, warm: Vec::new() });
    }

    /// All requests, while the incumbent is kept ready.
    fn release_all(&mut self) {
        let warm = self.plan.incumbent.into_iter().collect();
        let arms = vec![(self.plan.candidate, 10_000)];
        self.want(Traffic { revision: 0, arms, shadow: None, warm });
    }

    fn want(&mut self, mut traffic: Traffic) {
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
        let (plan, state) = (self.plan, &mut self.state);
        let Some(matured) = &mut state.matured else { return };
        let incumbent = plan.incumbent.map_or(0, |incumbent| state.traffic.share(incumbent));
        matured.epochs.push(Epoch {
            revision: state.traffic.revision,
            from: state.clock,
            until: None,
            candidate: state.traffic.share(plan.candidate),
            incumbent,
            shadow: state.traffic.shadow.map_or(0, |(_, share)| share),
        });
    }

    /// Gives all requests back to the incumbent.
    fn go_back(&mut self, then: Ending, why: &str) {
        if matches!(self.state.phase, Phase::GoingBack { .. }) {
            return;
        }
        self.state.hold = None;
        self.state.due.retain(|due| due.effect != Effect::Preflight);
        if then == Ending::RolledBack {
            self.due(Effect::Quarantine { release: self.plan.candidate, reason: why.to_owned() });
        }
        // What never had a request, perhaps because another rollout is on its way, has nothing to give back.
        if self.state.traffic.revision == 0 {
            self.go(then.phase(), why);
            return;
        }
        let arms = self.plan.incumbent.map(|incumbent| vec![(incumbent, 10_000)]).unwrap_or_default();
        // Without an incumbent the endpoint answers nothing rather than harm.
        self.want(Traffic { revision: 0, arms, shadow: None, warm: Vec::new() });
        self.go(Phase::GoingBack { then }, why);
    }

    fn due(&mut self, effect: Effect) {
        self.state.due.push(Due { id: self.state.next_effect, effect });
        self.state.next_effect += 1;
    }

    fn go(&mut self, to: Phase, why: &str) {
        let from = std::mem::replace(&mut self.state.phase, to.clone());
        self.transitions.push(Transition { from, to, stage: self.state.stage, why: why.to_owned() });
    }
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

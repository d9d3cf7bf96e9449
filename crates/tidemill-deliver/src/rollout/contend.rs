//! What is particular to a step of a rollout with several candidates: one is taken out while the others stay, and the best is chosen.
//!
//! Whoever is out gets no request any more. What it had goes to the incumbent in one change of traffic, so nobody who stays with a
//! candidate that is in is moved to another one.

use tidemill_core::{Digest, Timestamp};

use super::contest::{Contestant, Fate, choose};
use super::decide::{Step, words};
use super::plan::{Plan, Stage, Until};
use super::state::{Effect, Ending, Hold, Input, LookAt, Progress, State, Waiting};
use crate::judge::{Decision, Why};

/// What becomes of the candidates at the end of a stage.
struct Passed {
    /// Those that are through.
    through: Vec<Digest>,
    /// Those that are not, though its longest time has passed, with what is missing.
    late: Vec<(Digest, String)>,
}

/// Whether one of several candidates may be taken out by somebody.
pub(super) fn may_drop(plan: &Plan, state: &State, candidate: Digest) -> Result<(), String> {
    let Some(contest) = &plan.contest else {
        return Err("the rollout has one candidate; abort it, or roll it back".to_owned());
    };
    let names = || contest.candidates.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = state.contestants.iter().find(|one| one.release == candidate);
    let Some(found) = found else {
        return Err(format!("the release is no candidate of it; they are {}", names()));
    };
    let name = plan.name_of(candidate).unwrap_or_default();
    match &found.fate {
        Fate::In => Ok(()),
        Fate::Chosen { .. } => Err(format!("{name} was chosen; abort the rollout, or roll it back")),
        fate => Err(format!("{name} is out already: {}", fate.why().unwrap_or_default())),
    }
}

impl Step<'_> {
    /// Takes up what was seen of each candidate that is in.
    pub(super) fn see(&mut self, looks: &[LookAt], counts: bool) {
        let (revision, lead) = (self.state.traffic.revision, self.lead());
        for LookAt { candidate, requests, look } in looks {
            let is_alone = counts && *candidate == lead && self.is_alone(look);
            self.state.agree(*candidate, look);
            let known = self.state.contestants.iter_mut().find(|one| one.release == *candidate);
            let Some(known) = known.filter(|one| one.fate.is_living()) else { continue };
            if counts && u64::from(look.traffic.stratum) == revision {
                known.requests += requests;
                self.state.requests += requests;
            }
            if is_alone {
                known.judge.look_alone(look);
            } else {
                known.judge.look(look);
            }
        }
    }

    /// Candidates of which harm is proven, with the proof in words.
    pub(super) fn harmed(&self) -> Vec<(Digest, String)> {
        let living = self.state.living(self.plan).into_iter();
        let harmed = living.filter_map(|release| {
            let verdict = self.state.judge_of(release)?.verdict(&std::collections::BTreeSet::new());
            (verdict.decision == Decision::Rollback).then(|| (release, words(&verdict.why)))
        });
        harmed.collect()
    }

    /// Takes candidates out for harm; the rollout ends where none is left.
    pub(super) fn take_out(&mut self, harmed: &[(Digest, String)]) {
        let all = self.state.living(self.plan).len() == harmed.len();
        if self.plan.contest.is_none() || all {
            let texts = harmed.iter().map(|(release, why)| self.of(*release, why));
            let why = texts.collect::<Vec<_>>().join("; ");
            for (release, why) in harmed {
                self.mark(*release, |at| Fate::Dropped { at, why: why.clone(), harm: true });
            }
            return self.go_back_for(Ending::RolledBack, &why, harmed);
        }
        for (release, why) in harmed {
            self.mark(*release, |at| Fate::Dropped { at, why: why.clone(), harm: true });
            self.due(Effect::Quarantine { release: *release, reason: why.clone() });
        }
        self.withdraw();
        for (release, why) in harmed {
            let why = format!("{}; the others go on", self.of(*release, why));
            self.go(self.state.phase.clone(), &why);
        }
    }

    /// Takes one out by somebody's word.
    pub(super) fn drop_by(&mut self, input: &Input) {
        let Input::Drop { candidate, by, why, harm } = input else { return };
        let reason = format!("{by}: {why}");
        let is_last = self.state.living(self.plan) == [*candidate];
        self.mark(*candidate, |at| Fate::Dropped { at, why: reason.clone(), harm: *harm });
        let said = self.of(*candidate, &reason);
        match (is_last, harm) {
            (true, true) => self.go_back_for(Ending::RolledBack, &said, &[(*candidate, reason)]),
            (true, false) => self.go_back_for(Ending::Aborted, &said, &[]),
            (false, _) => {
                if *harm {
                    self.due(Effect::Quarantine { release: *candidate, reason });
                }
                self.withdraw();
                self.go(self.state.phase.clone(), &format!("{said}; the others go on"));
            }
        }
    }

    /// What keeps candidates from being through a stage with traffic. Once its longest time has passed, those that are through wait for
    /// no other.
    pub(super) fn candidates_hold(&self, until: &Until, since: Timestamp) -> Option<Hold> {
        let held = self.held(until, since);
        let waiting: Vec<(&Contestant, Hold)> =
            held.iter().filter_map(|(one, hold)| Some((*one, hold.clone()?))).collect();
        let is_late = |hold: &Hold| matches!(hold, Hold::TimedOut { .. });
        if waiting.is_empty() || waiting.len() < held.len() && waiting.iter().all(|(_, hold)| is_late(hold)) {
            return None;
        }
        if waiting.iter().all(|(_, hold)| is_late(hold)) {
            // Nobody is through: a person must decide, as with one candidate.
            let mut all: Vec<Why> = Vec::new();
            for (_, hold) in waiting {
                let Hold::TimedOut { why } = hold else { continue };
                all.extend(why.into_iter().filter(|one| !all.contains(one)).collect::<Vec<_>>());
            }
            return Some(Hold::TimedOut { why: all });
        }
        let name = |one: &Contestant| self.plan.name_of(one.release).unwrap_or_default().to_owned();
        let waiting = waiting.into_iter().map(|(one, hold)| Waiting { name: name(one), hold });
        Some(Hold::Candidates { waiting: waiting.collect() })
    }

    /// The candidates that are in, with what keeps each from being through a stage.
    fn held(&self, until: &Until, since: Timestamp) -> Vec<(&Contestant, Option<Hold>)> {
        let living = self.state.contestants.iter().filter(|one| one.fate.is_living());
        let held = living.map(|one| {
            let at = Progress { requests: one.requests, since, now: self.state.clock };
            (one, until.obstacle(Some(&one.judge), at, self.state.proceed))
        });
        held.collect()
    }

    /// Settles who goes on after a stage that is over, and which one where it was the last that tells them apart; says so. None where
    /// some were taken out, who must have given back what they had before the others get more.
    pub(super) fn settle(&mut self) -> Option<String> {
        const OVER: &str = "the stage is over";
        let plan = self.plan;
        let (Some(contest), Some(spec)) = (&plan.contest, &plan.judge) else { return Some(OVER.to_owned()) };
        let Some(Stage::Shadow { until, .. } | Stage::Canary { until, .. }) =
            plan.stages.get(self.state.stage)
        else {
            return Some(OVER.to_owned());
        };
        let Passed { through, late } = self.passed(until);
        for (release, why) in &late {
            let why = format!("it was not decided in time: {why}");
            self.mark(*release, |at| Fate::NotChosen { at, why });
        }
        if !late.is_empty() {
            self.withdraw();
            for (release, why) in late {
                let why = format!("it was not decided in time: {why}; the others go on");
                self.go(self.state.phase.clone(), &self.of(release, &why));
            }
            return None;
        }
        let is_comparing = |stage: &Stage| matches!(stage, Stage::Shadow { .. } | Stage::Canary { .. });
        if plan.stages.iter().skip(self.state.stage + 1).any(is_comparing) {
            return Some(OVER.to_owned());
        }
        let is_through = |one: &&Contestant| one.fate.is_living() && through.contains(&one.release);
        let passed: Vec<&Contestant> = self.state.contestants.iter().filter(is_through).collect();
        let Some((winner, why)) = choose(contest, &passed, spec.error_budget) else {
            return Some(OVER.to_owned());
        };
        for release in through {
            let why = why.clone();
            self.mark(release, |at| {
                if release == winner { Fate::Chosen { at, why } } else { Fate::NotChosen { at, why } }
            });
        }
        Some(format!("{OVER}; {why}"))
    }

    fn passed(&self, until: &Until) -> Passed {
        let since = self.state.since.unwrap_or(self.state.clock);
        let mut passed = Passed { through: Vec::new(), late: Vec::new() };
        for (one, hold) in self.held(until, since) {
            match hold {
                None => passed.through.push(one.release),
                Some(Hold::TimedOut { why }) if !why.is_empty() => {
                    passed.late.push((one.release, words(&why)));
                }
                Some(_) => passed.late.push((one.release, "too few requests".to_owned())),
            }
        }
        passed
    }

    /// A reason with the candidate's name before it, where there are several.
    pub(super) fn of(&self, release: Digest, why: &str) -> String {
        match self.plan.name_of(release) {
            Some(name) => format!("{name} is out: {why}"),
            None => why.to_owned(),
        }
    }

    pub(super) fn mark(&mut self, release: Digest, fate: impl FnOnce(Timestamp) -> Fate) {
        let clock = self.state.clock;
        if let Some(one) = self.state.contestants.iter_mut().find(|one| one.release == release) {
            one.fate = fate(clock);
        }
    }

    /// Wants the same traffic without those that are out; the times of the stage go on for the others.
    pub(super) fn withdraw(&mut self) {
        let (plan, mut traffic) = (self.plan, self.state.traffic.clone());
        let Some(incumbent) = plan.incumbent.filter(|_| plan.contest.is_some() && traffic.revision > 0)
        else {
            return;
        };
        let living = self.state.living(plan);
        let is_out = |release: Digest| release != incumbent && !living.contains(&release);
        let freed: u32 = traffic.arms.iter().filter(|(arm, _)| is_out(*arm)).map(|(_, share)| *share).sum();
        traffic.arms.retain(|(arm, _)| !is_out(*arm));
        if let Some((_, share)) = traffic.arms.iter_mut().find(|(arm, _)| *arm == incumbent) {
            *share += freed;
        }
        let mut shown: Vec<(Digest, u32)> =
            traffic.shown().filter(|(release, _)| !is_out(*release)).collect();
        traffic.shadow = (!shown.is_empty()).then(|| shown.remove(0));
        traffic.shadows = shown;
        if traffic != self.state.traffic {
            let since = self.state.since;
            self.want(traffic);
            self.state.since = since;
        }
    }
}

//! Rollouts as stories, and as anything that can happen in any order.

mod properties;
mod several;
mod stories;

use std::collections::BTreeSet;
use std::time::Duration;

use tidemill_core::{Digest, Identity, Timestamp};

use super::*;
use crate::approval::{Approval, Refusal, Rule};
use crate::judge::{Kind, Look, Metric, Observation, Sample, Spec, Tier, Traffic as Under};

const HOUR: Duration = Duration::from_secs(3600);

fn candidate() -> Digest {
    Digest::of(b"candidate")
}

fn incumbent() -> Digest {
    Digest::of(b"incumbent")
}

fn at(hours: i64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000_000 + hours * 3_600_000)
}

fn judge() -> Spec {
    let errors = Metric {
        name: "errors".into(),
        kind: Kind::EventRate { tolerate: 1.25, reject: 2.0, negligible: None },
        tier: Tier::Operational,
        critical: true,
        required: true,
    };
    Spec { error_budget: 0.01, metrics: vec![errors], slices: None }
}

/// A freeze of all endpoints from the first moment on.
fn incident(id: u64, until: Timestamp) -> Freeze {
    Freeze {
        id,
        endpoint: None,
        reason: "incident".into(),
        owner: "ada".into(),
        from: at(0),
        until: Some(until),
    }
}

fn plan() -> Plan {
    let until = || Until { samples: 100, tiers: BTreeSet::from([Tier::Operational]), ..Until::default() };
    Plan {
        endpoint: "churn".into(),
        environment: "prod".into(),
        candidate: candidate(),
        incumbent: Some(incumbent()),
        contest: None,
        holdout: 100,
        routes: Vec::new(),
        author: "author".into(),
        stages: vec![
            Stage::Shadow { share: 10_000, until: Until { verdict: false, ..until() } },
            Stage::Canary { share: 1_000, until: Until { at_most: Some(48 * HOUR), ..until() } },
            Stage::Gate {
                approve: Rule {
                    role: "owner".into(),
                    people: vec![],
                    count: 1,
                    expires: Some(72 * HOUR),
                    authenticated: false,
                },
            },
            Stage::Canary { share: 5_000, until: Until { at_least: 2 * HOUR, ..until() } },
            Stage::Full { settle: 24 * HOUR },
        ],
        judge: Some(judge()),
        measures: None,
        decides: None,
        power: None,
        envelope: None,
        windows: vec![],
        alias: None,
        starters: Vec::new(),
        policy: None,
        inputs: Digest::of(b"inputs"),
    }
}

/// A plan of a file that protects with this.
pub(super) fn guarded(guards: Guards) -> Plan {
    let (stages, judge) = (guards.stages.clone(), guards.judge.clone());
    let policy = Some(Policy { guards: Some(guards), ..Policy::default() });
    Plan { policy, stages, judge, ..plan() }
}

/// A look in which both arms had so many requests, and so many of them failed.
fn look(seq: u64, revision: u64, candidate: (u64, u64), baseline: (u64, u64)) -> Input {
    Input::Look { seq, requests: candidate.0, look: seen(revision, candidate, baseline) }
}

fn seen(revision: u64, candidate: (u64, u64), baseline: (u64, u64)) -> Look {
    let counts = |(n, events)| Sample::Counts { n, events };
    Look {
        traffic: Under { stratum: revision as u32, share: Some(0.5) },
        assigned: None,
        observations: vec![Observation {
            metric: "errors".into(),
            slice: None,
            candidate: counts(candidate),
            baseline: counts(baseline),
        }],
    }
}

fn approve(by: &str, role: &str, inputs: &[u8], now: Timestamp) -> Input {
    Input::Approve {
        approval: Approval {
            by: by.into(),
            role: role.into(),
            inputs: Digest::of(inputs),
            at: now,
            identity: Identity::Unknown,
        },
    }
}

/// A rollout with its log, driven as a shell would.
struct Drive {
    plan: Plan,
    state: State,
    log: Vec<(Timestamp, Input)>,
    looks: u64,
}

impl Drive {
    fn new(plan: Plan) -> Self {
        plan.check().unwrap();
        let state = start(&plan, at(0)).unwrap();
        Self { plan, state, log: vec![], looks: 0 }
    }

    fn input(&mut self, now: Timestamp, input: Input) -> Vec<Transition> {
        let outcome = decide(&self.plan, &self.state, &input, now);
        self.log.push((now, input));
        self.state = outcome.state;
        outcome.transitions
    }

    /// Brings everything about that is due.
    fn effects(&mut self, now: Timestamp) {
        while let Some(due) = self.state.due.first().cloned() {
            let input = match due.effect {
                Effect::Preflight => Input::Preflight { problems: vec![] },
                Effect::Route { .. } | Effect::Quarantine { .. } | Effect::Record { .. } => {
                    Input::Done { id: due.id }
                }
            };
            self.input(now, input);
        }
    }

    fn look(&mut self, now: Timestamp, candidate: (u64, u64), baseline: (u64, u64)) {
        self.looks += 1;
        let input = look(self.looks, self.state.applied, candidate, baseline);
        self.input(now, input);
    }

    fn tick(&mut self, now: Timestamp) {
        self.input(now, Input::Tick);
        self.effects(now);
    }

    /// Up to the stage `stage`, with healthy traffic.
    fn reach(&mut self, stage: usize, now: Timestamp) {
        for _ in 0..2_000 {
            if self.state.stage >= stage && self.state.since.is_some() {
                return;
            }
            self.tick(now);
            if self.state.stage < stage {
                self.look(now, (1000, 5), (1000, 5));
            }
        }
        panic!("stage {stage} was not reached: {:?}", self.state.hold);
    }
}

//! What a rollout is to do, and whether that can be.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_core::Digest;
use tidemill_core::declare::Window;

use super::contest::{Contest, MOST_CANDIDATES};
use super::policy::Policy;
use super::route::Route;
use super::window;
use crate::approval::Rule;
use crate::envelope::Envelope;
use crate::judge::{Spec, SpecError, Tier};
use crate::outcome::Measures;
use crate::simulate::Power;

/// A rollout as it was declared. It never changes while it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The endpoint.
    pub endpoint: String,
    /// The environment.
    pub environment: String,
    /// The release that is to get the traffic.
    pub candidate: Digest,
    /// The release that has it; none where there was none, which leaves nothing to compare with and nothing to go back to.
    pub incumbent: Option<Digest>,
    /// All candidates where there are several (A/B/n); in each stage every one of them gets its share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contest: Option<Contest>,
    /// Requests that never reach the candidate before the rollout is complete, in ten thousandths, for measuring in the long run. They are
    /// the first slots of the endpoint's keys, so it is the same units in every stage, and in every rollout.
    #[serde(default)]
    pub holdout: u32,
    /// Requests that the candidate answers in every stage, and that are not judged; of several candidates the first one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Who made the release.
    pub author: String,
    /// Who set this rollout off, where that is known: by hand, or what a trigger acted on. They have no more say than who made the release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starters: Vec<String>,
    /// The agreements that the endpoint's next rollout asks for at least; those of its stages where not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// What decides between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<Spec>,
    /// How outcomes become what the judge looks at; none where it looks at answers alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measures: Option<Measures>,
    /// From which score on somebody acts on an answer; nobody does where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decides: Option<Decides>,
    /// Whether it must be able to decide in some time, by recent traffic, before it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<Power>,
    /// What the candidate may be without anybody who looks; nothing is asked where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Envelope>,
    /// When a release may get more requests; always where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// The alias of the candidate's model that points at its version once the rollout is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Digest of everything that people approve: release, plan and evidence.
    pub inputs: Digest,
}

/// How scores become decisions, and who is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decides {
    /// From which score on somebody acts, for releases that do not say so themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The same for releases that do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<(Digest, f64)>,
    /// Whether every answer holds the decision, not only those to callers who ask for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub always: bool,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// The candidate answers copies of requests, and nobody sees the answers.
    Shadow {
        /// Of how many requests, in ten thousandths.
        share: u32,
        /// When it is over.
        until: Until,
    },
    /// The candidate answers a share of requests.
    Canary {
        /// The share, in ten thousandths.
        share: u32,
        /// When it is over.
        until: Until,
    },
    /// People must agree.
    Gate {
        /// Who.
        approve: Rule,
    },
    /// The candidate answers all requests.
    Full {
        /// How long the incumbent is kept ready, so that going back takes one change of a table.
        settle: Duration,
    },
}

/// When a stage is over: all of it must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Until {
    /// Whether the judge must say `advance`.
    pub verdict: bool,
    /// So many requests of the candidate at least; one at least in any case.
    pub samples: u64,
    /// So long at least.
    pub at_least: Duration,
    /// After so long without being over a person must decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Duration>,
    /// On which tiers advancing needs proof.
    pub tiers: BTreeSet<Tier>,
}

impl Default for Until {
    fn default() -> Self {
        Self {
            verdict: true,
            samples: 1,
            at_least: Duration::ZERO,
            at_most: None,
            tiers: BTreeSet::from([
                Tier::Operational,
                Tier::Behavioural,
                Tier::Proxy,
                Tier::Label,
                Tier::Business,
            ]),
        }
    }
}

/// Why a plan cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// Nothing to do.
    #[error("the rollout has no stage")]
    NoStage,
    /// The last stage is not `full`.
    #[error("the last stage must be `full`, and only the last")]
    Full,
    /// Shares that do not grow.
    #[error("stage {stage}: its share of {share} is not above that of the stages before it")]
    Share {
        /// The stage, from 1.
        stage: usize,
        /// Its share, in ten thousandths.
        share: u32,
    },
    /// Shares that do not fit.
    #[error("stage {stage}: shares of candidate and holdout are {sum} of 10000 together")]
    Sum {
        /// The stage, from 1.
        stage: usize,
        /// The sum.
        sum: u32,
    },
    /// The same of several candidates.
    #[error(
        "stage {stage}: {candidates} candidates with {} % each and the holdout are {} % together, which leaves the incumbent nothing",
        f64::from(*share) / 100.0, f64::from(*sum) / 100.0
    )]
    Crowded {
        /// The stage, from 1.
        stage: usize,
        /// How many candidates.
        candidates: usize,
        /// The share of each, in ten thousandths.
        share: u32,
        /// All together.
        sum: u32,
    },
    /// Candidates that cannot be told apart, too many, or too few.
    #[error(
        "a rollout takes 2 to {MOST_CANDIDATES} different candidates of which none runs already, the first one being its own"
    )]
    Candidates,
    /// Several candidates and nothing that chooses.
    #[error(
        "several candidates are told apart by a verdict, so the last shadow or canary must wait for one (`until: verdict`)"
    )]
    NoChoice,
    /// Several candidates for an environment that runs nothing.
    #[error(
        "several candidates are compared with a release that runs, and none does; release one of them first"
    )]
    NothingRuns,
    /// The best is to be chosen by what nobody measures.
    #[error("the best candidate is chosen by `{0}`, which is no metric of the judge")]
    Winner(String),
    /// A comparison without anything to compare with.
    #[error("stage {stage} compares with the incumbent, but there is none")]
    NoIncumbent {
        /// The stage, from 1.
        stage: usize,
    },
    /// A verdict without a judge.
    #[error("stage {stage} waits for a verdict, but there is no judge")]
    NoJudge {
        /// The stage, from 1.
        stage: usize,
    },
    /// Hours of no place on earth.
    #[error("there is no time zone `{0}`")]
    Zone(String),
    /// A release against itself.
    #[error("candidate and incumbent are the same release")]
    Same,
    /// The judge cannot be.
    #[error(transparent)]
    Judge(#[from] SpecError),
}

impl Plan {
    /// From which score on somebody acts on what a release says; none where nobody decides.
    pub fn threshold_of(&self, release: Digest) -> Option<f64> {
        let decides = self.decides.as_ref()?;
        let own = decides.thresholds.iter().find(|(known, _)| *known == release);
        own.map(|(_, threshold)| *threshold).or(decides.threshold)
    }

    /// Whether the plan makes sense.
    ///
    /// # Errors
    ///
    /// Says what does not.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.stages.is_empty() {
            return Err(PlanError::NoStage);
        }
        let last = self.stages.len() - 1;
        if self
            .stages
            .iter()
            .enumerate()
            .any(|(at, stage)| matches!(stage, Stage::Full { .. }) != (at == last))
        {
            return Err(PlanError::Full);
        }
        if self.incumbent == Some(self.candidate) {
            return Err(PlanError::Same);
        }
        if let Some(judge) = &self.judge {
            judge.check()?;
        }
        if let Some(contest) = &self.contest {
            self.check_contest(contest)?;
        }
        if let Some(nowhere) = self.windows.iter().find(|window| window::zone(window).is_none()) {
            return Err(PlanError::Zone(nowhere.zone.clone()));
        }
        let mut highest = 0;
        for (at, stage) in self.stages.iter().enumerate() {
            let number = at + 1;
            let until = match stage {
                Stage::Shadow { share, until } => {
                    if *share == 0 || *share > 10_000 {
                        return Err(PlanError::Sum { stage: number, sum: *share });
                    }
                    until
                }
                Stage::Canary { share, until } => {
                    if *share <= highest {
                        return Err(PlanError::Share { stage: number, share: *share });
                    }
                    highest = *share;
                    let candidates = self.candidates().len();
                    let all = share.saturating_mul(u32::try_from(candidates).unwrap_or(u32::MAX));
                    let sum = all.saturating_add(self.holdout);
                    if sum >= 10_000 && candidates > 1 {
                        return Err(PlanError::Crowded { stage: number, candidates, share: *share, sum });
                    }
                    if sum >= 10_000 {
                        return Err(PlanError::Sum { stage: number, sum });
                    }
                    until
                }
                Stage::Gate { .. } | Stage::Full { .. } => continue,
            };
            if self.incumbent.is_none() {
                return Err(PlanError::NoIncumbent { stage: number });
            }
            if until.verdict && self.judge.is_none() {
                return Err(PlanError::NoJudge { stage: number });
            }
        }
        Ok(())
    }

    /// What several candidates need beyond what one does.
    fn check_contest(&self, contest: &Contest) -> Result<(), PlanError> {
        let releases = self.candidates();
        let different: BTreeSet<Digest> = releases.iter().copied().chain(self.incumbent).collect();
        let wanted = releases.len() + usize::from(self.incumbent.is_some());
        if !(2..=MOST_CANDIDATES).contains(&releases.len())
            || releases.first() != Some(&self.candidate)
            || different.len() != wanted
        {
            return Err(PlanError::Candidates);
        }
        if self.incumbent.is_none() {
            return Err(PlanError::NothingRuns);
        }
        let last = self.stages.iter().rev().find_map(|stage| match stage {
            Stage::Shadow { until, .. } | Stage::Canary { until, .. } => Some(until),
            Stage::Gate { .. } | Stage::Full { .. } => None,
        });
        let Some(judge) = self.judge.as_ref().filter(|_| last.is_some_and(|until| until.verdict)) else {
            return Err(PlanError::NoChoice);
        };
        if !judge.metrics.iter().any(|metric| metric.name == contest.winner) {
            return Err(PlanError::Winner(contest.winner.clone()));
        }
        Ok(())
    }
}

/// What a new rollout does where another one of the same endpoint is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concurrency {
    /// It waits.
    #[default]
    Queue,
    /// It takes the place of the other.
    Supersede,
    /// It does not start.
    Reject,
}

/// What becomes of a new rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It starts.
    Start,
    /// It waits until the other one is over.
    Wait,
    /// The other one is ended first.
    EndOther,
    /// It is refused: another one is on its way.
    Busy,
    /// It is refused: its release did harm before.
    Quarantined,
}

impl Concurrency {
    /// Decides on a new rollout.
    pub fn admit(self, is_busy: bool, is_quarantined: bool) -> Admission {
        match (is_quarantined, is_busy, self) {
            (true, ..) => Admission::Quarantined,
            (false, false, _) => Admission::Start,
            (false, true, Self::Queue) => Admission::Wait,
            (false, true, Self::Supersede) => Admission::EndOther,
            (false, true, Self::Reject) => Admission::Busy,
        }
    }
}

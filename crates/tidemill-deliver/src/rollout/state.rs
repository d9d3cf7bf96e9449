//! Where a rollout is. Everything that its next step depends on is here, so it can be written down and gone on with at any point.

use serde::{Deserialize, Serialize};
use tidemill_core::{Digest, Identity, Timestamp};

use super::agreement::Agreement;
use super::contest::Contestant;
use super::freeze::Freeze;
use super::plan::Until;
use crate::approval::Approval;
use crate::judge::{Decision, Judge, Look, Why};
use crate::outcome::Epoch;

/// A rollout's phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// It has not begun.
    Pending,
    /// Signature, schema, golden rows and resources of the candidate are being checked.
    Preflight,
    /// The candidate answers copies.
    Shadow,
    /// The candidate answers a share.
    Canary {
        /// The share, in ten thousandths.
        share: u32,
    },
    /// People must agree.
    Awaiting,
    /// The candidate has passed all stages and is about to get all requests.
    Certified,
    /// The candidate answers all requests, and the incumbent is kept ready.
    Settling,
    /// It is over, and the candidate stays.
    Complete,
    /// Traffic is going back to the incumbent; afterwards it is in the phase that `then` names.
    GoingBack {
        /// Where it ends.
        then: Ending,
    },
    /// It is over: the candidate did harm.
    RolledBack,
    /// It is over: somebody ended it.
    Aborted,
    /// It is over: another rollout took its place.
    Superseded,
    /// It is over: the candidate did not pass the checks before it got any request.
    Refused,
}

/// How a rollout ends whose traffic goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// With the candidate in quarantine.
    RolledBack,
    /// By somebody's word.
    Aborted,
    /// For another rollout.
    Superseded,
}

impl Ending {
    /// The phase in which it ends.
    pub(super) fn phase(self) -> Phase {
        match self {
            Self::RolledBack => Phase::RolledBack,
            Self::Aborted => Phase::Aborted,
            Self::Superseded => Phase::Superseded,
        }
    }
}

impl Phase {
    /// Whether nothing happens any more.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Complete | Self::RolledBack | Self::Aborted | Self::Superseded | Self::Refused)
    }

    /// The dotted name, for logs and lists.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Preflight => "preflight",
            Self::Shadow => "shadow",
            Self::Canary { .. } => "canary",
            Self::Awaiting => "awaiting",
            Self::Certified => "certified",
            Self::Settling => "settling",
            Self::Complete => "complete",
            Self::GoingBack { .. } => "rolling-back",
            Self::RolledBack => "rolled-back",
            Self::Aborted => "aborted",
            Self::Superseded => "superseded",
            Self::Refused => "refused",
        }
    }
}

/// What keeps a rollout from going on, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "held_by", rename_all = "snake_case")]
pub enum Hold {
    /// Nothing has been done yet about the last change of traffic.
    Traffic,
    /// A freeze.
    Freeze {
        /// Its name.
        id: u64,
        /// Its reason.
        reason: String,
    },
    /// It is not the time of the week.
    Window {
        /// When it will be; none where it will not be in the next two weeks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opens: Option<Timestamp>,
    },
    /// The judge.
    Verdict {
        /// What it says.
        why: Vec<Why>,
    },
    /// Too few requests.
    Samples {
        /// So many so far.
        have: u64,
        /// So many are needed.
        need: u64,
    },
    /// Too little time has passed.
    Time {
        /// Until when.
        until: Timestamp,
    },
    /// Some of several candidates are not through the stage.
    Candidates {
        /// They, with what keeps each.
        waiting: Vec<Waiting>,
    },
    /// Approvals are missing.
    Approvals {
        /// So many count now.
        have: u32,
        /// So many are needed.
        need: u32,
        /// Of this role.
        role: String,
    },
    /// The longest time of the stage has passed; somebody must decide.
    TimedOut {
        /// What was missing.
        why: Vec<Why>,
    },
}

/// One of several candidates that is not through the stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its name.
    pub name: String,
    /// What keeps it.
    #[serde(flatten)]
    pub hold: Hold,
}

/// How far a stage is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// Requests of the candidate in it.
    pub(crate) requests: u64,
    /// When it took effect.
    pub(crate) since: Timestamp,
    /// The time.
    pub(crate) now: Timestamp,
}

impl Until {
    /// What keeps a stage from being over; `proceed` is a person's word to let it pass when its time is.
    pub(crate) fn obstacle(&self, judge: Option<&Judge>, at: Progress, proceed: bool) -> Option<Hold> {
        let need = self.samples.max(1);
        let why = match judge {
            Some(judge) if self.verdict => {
                let verdict = judge.verdict(&self.tiers);
                if verdict.decision == Decision::Advance { Vec::new() } else { verdict.why }
            }
            _ => Vec::new(),
        };
        let earliest = at.since.plus(self.at_least);
        let hold = if at.requests < need {
            Hold::Samples { have: at.requests, need }
        } else if !why.is_empty() {
            Hold::Verdict { why: why.clone() }
        } else if at.now < earliest {
            Hold::Time { until: earliest }
        } else {
            return None;
        };
        let is_late = self.at_most.is_some_and(|at_most| at.now >= at.since.plus(at_most));
        match (is_late, proceed) {
            (false, _) => Some(hold),
            (true, false) => Some(Hold::TimedOut { why }),
            (true, true) => None,
        }
    }
}

/// Who answers requests. A table of shares that is put into effect as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Counts the changes of this rollout, from 1; 0 is before the first.
    pub revision: u64,
    /// Releases and their shares of 10,000; shares sum to 10,000.
    pub arms: Vec<(Digest, u32)>,
    /// The release that gets copies, and of how many of 10,000 requests.
    pub shadow: Option<(Digest, u32)>,
    /// Further releases that get copies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<(Digest, u32)>,
    /// Releases that are kept ready without requests.
    pub warm: Vec<Digest>,
}

impl Traffic {
    /// The share of a release, of 10,000.
    pub fn share(&self, release: Digest) -> u32 {
        self.arms.iter().find(|(arm, _)| *arm == release).map_or(0, |(_, share)| *share)
    }

    /// Releases that get copies, and of how many of 10,000 requests.
    pub fn shown(&self) -> impl Iterator<Item = (Digest, u32)> {
        self.shadow.iter().chain(&self.shadows).copied()
    }

    /// Of how many of 10,000 requests a release gets copies.
    pub fn copies(&self, release: Digest) -> u32 {
        self.shown().find(|(one, _)| *one == release).map_or(0, |(_, share)| share)
    }
}

/// Something that the world must be made to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Check the candidate.
    Preflight,
    /// Route like this.
    Route {
        /// The table.
        traffic: Traffic,
    },
    /// Never run this release again in this environment.
    Quarantine {
        /// The release.
        release: Digest,
        /// Why.
        reason: String,
    },
    /// Write down that the environment runs this release: registry alias, record in Git.
    Record {
        /// The release.
        release: Digest,
    },
}

/// An effect that is to be brought about until it is said to be done. Bringing it about twice does no harm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Due {
    /// Counts a rollout's effects, from 1.
    pub id: u64,
    /// The effect.
    #[serde(flatten)]
    pub effect: Effect,
}

/// Something that happened; with its time, all that a rollout's state depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "input", rename_all = "snake_case")]
pub enum Input {
    /// Time passed.
    Tick,
    /// An effect was brought about.
    Done {
        /// Its number.
        id: u64,
    },
    /// The checks of the candidate ended.
    Preflight {
        /// What did not hold; nothing where all did.
        problems: Vec<String>,
    },
    /// Requests were answered, or outcomes became known.
    Look {
        /// Counts looks, from 1; one that was taken up already is passed over.
        seq: u64,
        /// Requests of the candidate in this look.
        requests: u64,
        /// What was seen; its stratum is the revision of the traffic under which it was.
        look: Look,
    },
    /// The same where there are several candidates, of all of them at once.
    Looks {
        /// Counts looks, as above.
        seq: u64,
        /// One for each candidate that is in.
        looks: Vec<LookAt>,
    },
    /// Outcomes of requests became due.
    Outcomes {
        /// Requests up to this moment have now had their time. An input that does not go beyond what was taken up is passed over, so
        /// each request enters the judge once.
        until: Timestamp,
        /// Outcomes that were taken up.
        outcomes: u64,
        /// Outcomes of earlier requests that came too late to be judged, since the rollout began.
        late: u64,
        /// What was seen, one for each table of traffic under which the requests were.
        looks: Vec<Look>,
        /// The same where there are several candidates.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        of_each: Vec<LookAt>,
    },
    /// Business numbers of requests became due, where these have a time of their own.
    Kpis {
        /// As of outcomes.
        until: Timestamp,
        /// Business numbers that were taken up.
        outcomes: u64,
        /// Those of earlier requests that came too late to be judged, since the rollout began.
        late: u64,
        /// As of outcomes.
        looks: Vec<Look>,
        /// As of outcomes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        of_each: Vec<LookAt>,
    },
    /// Somebody agrees.
    Approve {
        /// Who, as what, to what.
        approval: Approval,
    },
    /// Somebody lets a stage end whose time is over.
    Proceed {
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// How it is known who they are.
        #[serde(default, skip_serializing_if = "Identity::is_unknown")]
        identity: Identity,
    },
    /// Somebody ends the rollout; the candidate may be tried again.
    Abort {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// Somebody saw harm. Also where it is complete: then the environment runs what it ran before.
    Rollback {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// Somebody takes one of several candidates out.
    Drop {
        /// Which.
        candidate: Digest,
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// Whether harm was seen, for which its release goes into quarantine.
        harm: bool,
    },
    /// Another rollout takes its place.
    Supersede {
        /// Its name.
        by: String,
    },
    /// A freeze began, or changed.
    Freeze {
        /// The freeze.
        freeze: Freeze,
    },
    /// A freeze was lifted.
    Lift {
        /// Its name.
        id: u64,
    },
}

/// What was seen of one of several candidates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LookAt {
    /// Which.
    pub candidate: Digest,
    /// Its requests; none where outcomes of earlier ones became known.
    #[serde(default)]
    pub requests: u64,
    /// What was seen.
    pub look: Look,
}

/// A change of phase or of stage, or of who is in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// The phase before.
    pub from: Phase,
    /// The phase after.
    pub to: Phase,
    /// The stage after, from 0.
    pub stage: usize,
    /// Why, in words.
    pub why: String,
}

/// How far outcomes were taken up, and under what traffic their requests were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matured {
    /// When the rollout began; earlier requests are not about it.
    pub began: Timestamp,
    /// Requests up to this moment were taken up.
    pub until: Timestamp,
    /// Outcomes that were taken up with them.
    pub outcomes: u64,
    /// Outcomes that came too late for it.
    pub late: u64,
    /// The tables of traffic that were in effect, oldest first.
    pub epochs: Vec<Epoch>,
    /// How far business numbers were taken up, where they have a time of their own; then the rest is about labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kpi: Option<Ripened>,
}

/// How far outcomes of one kind were taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ripened {
    /// Requests up to this moment were taken up.
    pub until: Timestamp,
    /// Outcomes that were taken up with them.
    pub outcomes: u64,
    /// Outcomes that came too late for it.
    pub late: u64,
}

impl Matured {
    /// Takes up outcomes until a moment, of business numbers or of the rest; `false` where they were taken up before.
    pub(super) fn take_up(&mut self, is_kpi: bool, new: Ripened) -> bool {
        if is_kpi {
            let Some(known) = self.kpi.as_mut().filter(|known| known.until < new.until) else { return false };
            *known = Ripened { outcomes: known.outcomes + new.outcomes, ..new };
        } else {
            if self.until >= new.until {
                return false;
            }
            (self.until, self.outcomes, self.late) = (new.until, self.outcomes + new.outcomes, new.late);
        }
        // Tables of which every request was taken up are not needed any more.
        let done = self.kpi.map_or(self.until, |kpi| kpi.until.min(self.until));
        self.epochs.retain(|epoch| epoch.until.is_none_or(|end| end > done));
        true
    }
}

/// Where a rollout is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The phase.
    pub phase: Phase,
    /// The stage of the plan, from 0.
    pub stage: usize,
    /// When the stage took effect; its times count from here. None while its traffic is not in effect.
    pub since: Option<Timestamp>,
    /// Requests of the candidate in this stage, or of all of several.
    pub requests: u64,
    /// The wanted traffic.
    pub traffic: Traffic,
    /// The revision of the traffic that is in effect.
    pub applied: u64,
    /// What keeps it from going on.
    pub hold: Option<Hold>,
    /// What is to be brought about.
    pub due: Vec<Due>,
    pub(super) next_effect: u64,
    pub(super) last_look: u64,
    pub(super) proceed: bool,
    /// Who has said that the stage may pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) proceeds: Vec<String>,
    /// It passed its checks, and waits for the time at which it may have requests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) checked: bool,
    pub(super) approvals: Vec<Approval>,
    pub(super) freezes: Vec<Freeze>,
    /// The latest time that was seen; a clock that goes back does not take time back.
    pub(super) clock: Timestamp,
    pub(super) judge: Option<Judge>,
    /// The candidates where there are several; they have judges of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) contestants: Vec<Contestant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) matured: Option<Matured>,
    /// How far candidates agreed with the incumbent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) agreements: Vec<(Digest, Agreement)>,
}

impl State {
    /// The judge with everything that it has seen; of several candidates that of the chosen one, or else of the first that is in.
    pub fn judge(&self) -> Option<&Judge> {
        self.leading().map(|one| &one.judge).or(self.judge.as_ref())
    }

    /// The number of the last look that was taken up.
    pub fn last_look(&self) -> u64 {
        self.last_look
    }

    /// How far outcomes were taken up; none where the judge looks at answers alone.
    pub fn matured(&self) -> Option<&Matured> {
        self.matured.as_ref()
    }

    /// Freezes that it knows of, whether they hold now or not.
    pub fn freezes(&self) -> &[Freeze] {
        &self.freezes
    }

    /// Approvals that were recorded, whether they still count or not.
    pub fn approvals(&self) -> &[Approval] {
        &self.approvals
    }
}

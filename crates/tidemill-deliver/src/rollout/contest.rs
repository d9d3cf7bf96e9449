//! Rollouts with several candidates (A/B/n): who is in, who is out and why, and which one is chosen.
//!
//! Each candidate has a judge of its own against the same incumbent, with an equal part of the error budget, so both promises of the budget
//! hold for all of them together: that no healthy one is dropped, and that none at its limit is shipped. Candidates are compared with one
//! another only once, when the best of those that passed is chosen; that they pass never depends on it.

use serde::{Deserialize, Serialize};
use tidemill_core::{Digest, Timestamp};

use super::plan::Plan;
use super::state::State;
use crate::judge::{Judge, MetricView, Spec, SpecError};

/// The most candidates of one rollout.
pub const MOST_CANDIDATES: usize = 8;

/// Several candidates in one rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contest {
    /// All of them, the plan's candidate first.
    pub candidates: Vec<Contender>,
    /// The metric of the judge by which the best is chosen.
    pub winner: String,
}

/// A candidate as it was declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contender {
    /// The release.
    pub release: Digest,
    /// Model and version, as in `late@5`, for texts.
    pub name: String,
    /// Who made the release.
    pub author: String,
}

/// A candidate of a rollout with several, as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contestant {
    /// The release.
    pub release: Digest,
    /// Its requests in this stage.
    pub requests: u64,
    /// What became of it.
    pub fate: Fate,
    /// What was seen of it; nothing more is after it is out.
    pub judge: Judge,
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// It is in.
    In,
    /// It was taken out.
    Dropped {
        /// When.
        at: Timestamp,
        /// Why.
        why: String,
        /// Whether it did harm, and is in quarantine for it.
        harm: bool,
    },
    /// Another one was better, or it was not decided in time; it may be tried again.
    NotChosen {
        /// When.
        at: Timestamp,
        /// Why.
        why: String,
    },
    /// It is the one that goes on.
    Chosen {
        /// When.
        at: Timestamp,
        /// Why.
        why: String,
    },
}

impl Fate {
    /// Whether it may have requests.
    pub fn is_living(&self) -> bool {
        matches!(self, Self::In | Self::Chosen { .. })
    }

    /// The word for lists.
    pub fn name(&self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Dropped { .. } => "dropped",
            Self::NotChosen { .. } => "not chosen",
            Self::Chosen { .. } => "chosen",
        }
    }

    /// When it was settled.
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Self::In => None,
            Self::Dropped { at, .. } | Self::NotChosen { at, .. } | Self::Chosen { at, .. } => Some(*at),
        }
    }

    /// Why, where there is a reason.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::In => None,
            Self::Dropped { why, .. } | Self::NotChosen { why, .. } | Self::Chosen { why, .. } => Some(why),
        }
    }
}

/// A candidate of any rollout, with everything that is shown of it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The release.
    pub release: Digest,
    /// Its name, where the rollout has several.
    pub name: Option<&'a str>,
    /// Its share of requests, in ten thousandths.
    pub share: u32,
    /// Of how many of ten thousand requests it gets copies.
    pub copies: u32,
    /// Its requests in this stage.
    pub requests: u64,
    /// What became of it, where the rollout has several.
    pub fate: Option<&'a Fate>,
    /// What was seen of it.
    pub judge: Option<&'a Judge>,
}

impl Plan {
    /// All candidates, in order.
    pub fn candidates(&self) -> Vec<Digest> {
        match &self.contest {
            Some(contest) => contest.candidates.iter().map(|one| one.release).collect(),
            None => vec![self.candidate],
        }
    }

    /// The candidates beside the plan's own, in order; none where the rollout has only one.
    pub fn rivals(&self) -> impl Iterator<Item = Digest> + use<> {
        self.candidates().into_iter().skip(1)
    }

    /// What stands before what is said of a candidate: its name, where there are several.
    pub fn prefix(&self, release: Digest) -> String {
        self.name_of(release).map(|name| format!("{name}: ")).unwrap_or_default()
    }

    /// What a candidate is called; nothing where the rollout has only one.
    pub fn name_of(&self, release: Digest) -> Option<&str> {
        let candidates = &self.contest.as_ref()?.candidates;
        candidates.iter().find(|one| one.release == release).map(|one| one.name.as_str())
    }

    /// Who made what is released here, and who set it off, each once: none of them can let it pass.
    pub fn authors(&self) -> Vec<&str> {
        let mut authors = vec![self.author.as_str()];
        let others = self.contest.iter().flat_map(|contest| &contest.candidates).map(|one| &one.author);
        for one in others.chain(&self.starters) {
            if !authors.contains(&one.as_str()) {
                authors.push(one);
            }
        }
        authors
    }

    /// Who made a candidate.
    pub fn author_of(&self, release: Digest) -> &str {
        let mut candidates = self.contest.iter().flat_map(|contest| &contest.candidates);
        candidates.find(|one| one.release == release).map_or(&self.author, |one| &one.author)
    }

    /// What the judge of each candidate is told: the budget of the rollout is split among them.
    pub fn judge_of_each(&self) -> Option<Spec> {
        let mut spec = self.judge.clone()?;
        spec.error_budget /= self.candidates().len() as f64;
        Some(spec)
    }

    /// The candidates as they stand before anything happened.
    pub(super) fn contestants(&self) -> Result<Vec<Contestant>, SpecError> {
        let (Some(contest), Some(spec)) = (&self.contest, self.judge_of_each()) else {
            return Ok(Vec::new());
        };
        let judge = Judge::new(spec)?;
        let contestant = |one: &Contender| Contestant {
            release: one.release,
            requests: 0,
            fate: Fate::In,
            judge: judge.clone(),
        };
        Ok(contest.candidates.iter().map(contestant).collect())
    }
}

impl State {
    /// All candidates as they stand, in the order of the plan.
    pub fn candidates<'a>(&'a self, plan: &'a Plan) -> Vec<Candidate<'a>> {
        let of = |release: Digest, requests: u64, fate, judge| Candidate {
            release,
            name: plan.name_of(release),
            share: self.traffic.share(release),
            copies: self.traffic.copies(release),
            requests,
            fate,
            judge,
        };
        if plan.contest.is_none() {
            return vec![of(plan.candidate, self.requests, None, self.judge.as_ref())];
        }
        let contestants = self.contestants.iter();
        contestants.map(|one| of(one.release, one.requests, Some(&one.fate), Some(&one.judge))).collect()
    }

    /// Releases that may have requests.
    pub fn living(&self, plan: &Plan) -> Vec<Digest> {
        if plan.contest.is_none() {
            return vec![plan.candidate];
        }
        let living = self.contestants.iter().filter(|one| one.fate.is_living());
        living.map(|one| one.release).collect()
    }

    fn chosen(&self) -> Option<&Contestant> {
        self.contestants.iter().find(|one| matches!(one.fate, Fate::Chosen { .. }))
    }

    /// The candidate that was chosen of several.
    pub fn winner(&self) -> Option<Digest> {
        self.chosen().map(|one| one.release)
    }

    /// Of several candidates the chosen one, else the first that is in, else the first.
    pub(super) fn leading(&self) -> Option<&Contestant> {
        let living = || self.contestants.iter().find(|one| one.fate.is_living());
        self.chosen().or_else(living).or(self.contestants.first())
    }

    /// The candidate that stands for the rollout where one must: of several the chosen one, else the first that is in.
    pub fn lead(&self, plan: &Plan) -> Digest {
        self.leading().map_or(plan.candidate, |one| one.release)
    }

    /// The candidate that did harm last.
    pub fn harmful(&self, plan: &Plan) -> Digest {
        let dropped = self.contestants.iter().filter_map(|one| match &one.fate {
            Fate::Dropped { at, harm: true, .. } => Some((*at, one.release)),
            _ => None,
        });
        dropped.max_by_key(|(at, _)| *at).map_or(plan.candidate, |(_, release)| release)
    }

    /// What was seen of a release.
    pub fn judge_of(&self, release: Digest) -> Option<&Judge> {
        let found = self.contestants.iter().find(|one| one.release == release);
        found.map(|one| &one.judge).or(self.judge.as_ref())
    }

    /// The part of requests that all candidates have together, in ten thousandths.
    pub fn given(&self, plan: &Plan) -> u32 {
        plan.candidates().into_iter().map(|release| self.traffic.share(release)).sum()
    }

    /// What people agree to now: the plan, and once one of several was chosen, the plan with that one.
    pub fn inputs(&self, plan: &Plan) -> Digest {
        match self.winner() {
            Some(winner) => Digest::of(format!("{} {winner}", plan.inputs).as_bytes()),
            None => plan.inputs,
        }
    }
}

/// Who is best by the metric of the contest, and how that is said: the estimates, and whether they prove it. Those of whom nothing is
/// estimated come last, and the order of the plan decides where nothing else does.
pub(super) fn choose(contest: &Contest, passed: &[&Contestant], budget: f64) -> Option<(Digest, String)> {
    let harm = |one: &Contestant| estimate(&one.judge, &contest.winner).and_then(|view| view.harm);
    let mut order: Vec<&Contestant> = passed.to_vec();
    order.sort_by(|a, b| match (harm(a), harm(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
    let (best, rest) = order.split_first()?;
    let name = |one: &Contestant| {
        let found = contest.candidates.iter().find(|known| known.release == one.release);
        found.map_or_else(|| one.release.short(), |known| known.name.clone())
    };
    let said = |one: &Contestant| harm(one).map_or_else(|| "unknown".to_owned(), significant);
    let metric = &contest.winner;
    let words = match rest.first() {
        None => format!("{} goes on: no other is left (`{metric}` {})", name(best), said(best)),
        Some(second) => {
            let others: Vec<String> = rest.iter().map(|one| format!("{} {}", name(one), said(one))).collect();
            // Any two of all could have been compared, so the budget is split among all ordered pairs.
            let all = contest.candidates.len() as f64;
            let needed = libm::log(all * (all - 1.0) / budget);
            let how = if harm(best) == harm(second) {
                format!("no difference from {} is seen, so their order decides", name(second))
            } else if best.judge.ln_better(&second.judge, metric).is_some_and(|ln| ln >= needed) {
                format!("proven to be better than {}", name(second))
            } else {
                format!("estimated to be better than {}, not proven", name(second))
            };
            let others = others.join(", ");
            format!("{} was chosen by `{metric}`: {} against {others}; {how}", name(best), said(best))
        }
    };
    Some((best.release, words))
}

fn estimate(judge: &Judge, metric: &str) -> Option<MetricView> {
    judge.view().into_iter().find(|view| view.slice.is_none() && view.metric == metric)
}

/// Three digits that mean something.
fn significant(value: f64) -> String {
    let size = if value == 0.0 { 0.0 } else { libm::floor(libm::log10(value.abs())) };
    let places = (2.0 - size).clamp(0.0, 8.0) as usize;
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::significant;

    #[test]
    fn numbers_have_three_digits() {
        let shown = [0.0, 1.234_5, -0.012_345, 123.4, 12_345.6, 0.000_123_4].map(significant);
        assert_eq!(shown, ["0.00", "1.23", "-0.0123", "123", "12346", "0.000123"]);
    }
}

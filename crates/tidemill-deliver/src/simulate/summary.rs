//! Many runs in figures: shares with exact intervals, and middle and late ones of times and requests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill_stats::interval::clopper_pearson;

use super::play::{Ending, Passed, Run};
use crate::judge::Spec;

/// Confidence of the intervals of shares.
const LEVEL: f64 = 0.95;

/// A share of runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// How many.
    pub count: u64,
    /// Of all, from 0 to 1.
    pub share: f64,
    /// Lower end of Clopper and Pearson's interval at 95 %.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Part {
    fn of(count: usize, all: usize) -> Self {
        let (count, all) = (count as u64, all as u64);
        let (share, low, high) = clopper_pearson(count, all, LEVEL)
            .map_or((0.0, 0.0, 1.0), |found| (found.estimate, found.low, found.high));
        Self { count, share, low, high }
    }
}

/// The middle and the late one of ten; none where so many were not decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half of all runs need no more.
    pub median: Option<f64>,
    /// Nine of ten need no more.
    pub p90: Option<f64>,
}

impl Quantiles {
    /// Of so many runs as there are numbers; none is a run that was not decided.
    fn of(mut numbers: Vec<Option<f64>>) -> Self {
        Self { median: quantile(&mut numbers, 0.5), p90: quantile(&mut numbers, 0.9) }
    }
}

/// The least number that at least this part of all is not above.
pub(super) fn quantile(numbers: &mut [Option<f64>], part: f64) -> Option<f64> {
    numbers.sort_by(|one, other| one.unwrap_or(f64::INFINITY).total_cmp(&other.unwrap_or(f64::INFINITY)));
    let at = libm::ceil(part * numbers.len() as f64) as usize;
    numbers.get(at.max(1) - 1).copied().flatten()
}

/// One stage over all runs that came to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageSummary {
    /// The stage of the plan, from 0.
    pub stage: usize,
    /// Runs that came to it.
    pub entered: u64,
    /// Runs that went on from it.
    pub advanced: u64,
    /// Runs that were rolled back in it.
    pub rolled_back: u64,
    /// Runs that it did not decide.
    pub undecided: u64,
    /// Hours to its end, of the runs that came to it.
    pub hours: Quantiles,
    /// Requests of the endpoint to its end.
    pub requests: Quantiles,
    /// Requests of the candidate to its end.
    pub candidate: Quantiles,
}

/// Runs of one candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many runs.
    pub repetitions: u64,
    /// Runs in which the candidate got all requests.
    pub shipped: Part,
    /// Runs in which it was rolled back.
    pub rolled_back: Part,
    /// Runs that waited for a person because the longest time of a stage was over.
    pub timed_out: Part,
    /// Runs in which nothing was decided until the horizon.
    pub undecided: Part,
    /// Hours to the end.
    pub hours: Quantiles,
    /// Requests of the endpoint to the end.
    pub requests: Quantiles,
    /// By stage, those that take time.
    pub stages: Vec<StageSummary>,
    /// Metrics that a stage waited for last, with in how many runs, most often first.
    pub waited_for: Vec<(String, u64)>,
    /// Slices for which it was rolled back, while all requests together were not proven to be harmed, with in how many runs, most often first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<(String, u64)>,
}

impl Summary {
    /// What runs of a judge with these metrics come to.
    pub fn of(spec: &Spec, runs: &[Run]) -> Self {
        let ended =
            |ending: Ending| Part::of(runs.iter().filter(|run| run.ending == ending).count(), runs.len());
        let decided = |run: &Run| matches!(run.ending, Ending::Shipped | Ending::RolledBack);
        let of = |number: &dyn Fn(&Run) -> f64| {
            Quantiles::of(runs.iter().map(|run| decided(run).then(|| number(run))).collect())
        };
        let mut numbers: Vec<usize> =
            runs.iter().flat_map(|run| run.stages.iter().map(|one| one.stage)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut waited: Vec<(String, u64)> = spec
            .metrics
            .iter()
            .enumerate()
            .map(|(at, metric)| {
                let waits = |stage: &Passed| stage.blocked_by & (1 << at.min(63)) != 0;
                let runs = runs.iter().filter(|run| {
                    let last = run.stages.len().saturating_sub(1);
                    // Where a run was rolled back its last stage names what was harmed.
                    let held = run.stages.iter().enumerate();
                    held.filter(|(at, _)| *at < last || run.ending != Ending::RolledBack)
                        .any(|(_, one)| waits(one))
                });
                (metric.name.clone(), runs.count() as u64)
            })
            .filter(|(_, runs)| *runs > 0)
            .collect();
        waited.sort_by(|(_, one), (_, other)| other.cmp(one));
        let mut slices: BTreeMap<String, u64> = BTreeMap::new();
        for slice in runs.iter().filter_map(|run| run.slice.as_ref()) {
            *slices.entry(slice.to_string()).or_default() += 1;
        }
        let mut slices: Vec<(String, u64)> = slices.into_iter().collect();
        slices.sort_by_key(|(_, runs)| std::cmp::Reverse(*runs));
        Self {
            repetitions: runs.len() as u64,
            shipped: ended(Ending::Shipped),
            rolled_back: ended(Ending::RolledBack),
            timed_out: ended(Ending::TimedOut),
            undecided: ended(Ending::Open),
            hours: of(&Run::hours),
            requests: of(&|run| run.requests() as f64),
            stages: numbers.into_iter().map(|stage| of_stage(stage, runs)).collect(),
            waited_for: waited,
            slices,
        }
    }
}

fn of_stage(stage: usize, runs: &[Run]) -> StageSummary {
    // With how the stage ended; none where the rollout went on.
    let seen: Vec<(&Passed, Option<Ending>)> = runs
        .iter()
        .filter_map(|run| {
            let at = run.stages.iter().position(|one| one.stage == stage)?;
            let is_last = at + 1 == run.stages.len() && run.ending != Ending::Shipped;
            Some((&run.stages[at], is_last.then_some(run.ending)))
        })
        .collect();
    let ended = |is: fn(Option<Ending>) -> bool| seen.iter().filter(|(_, ending)| is(*ending)).count() as u64;
    let decided = |ending: Option<Ending>| matches!(ending, None | Some(Ending::RolledBack));
    let of = |number: fn(&Passed) -> f64| {
        Quantiles::of(seen.iter().map(|(one, ending)| decided(*ending).then(|| number(one))).collect())
    };
    StageSummary {
        stage,
        entered: seen.len() as u64,
        advanced: ended(|ending| ending.is_none()),
        rolled_back: ended(|ending| ending == Some(Ending::RolledBack)),
        undecided: ended(|ending| matches!(ending, Some(Ending::TimedOut | Ending::Open))),
        hours: of(|one| one.hours),
        requests: of(|one| one.requests as f64),
        candidate: of(|one| one.candidate as f64),
    }
}

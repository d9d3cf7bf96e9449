//! One rollout from its first stage to its end, on drawn requests.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_core::Timestamp;
use tidemill_stats::random::Random;

use super::pace::Pace;
use super::sliced::{Column, Pending, SLICE_GROWTH, Within, fitted};
use super::source::{Distribution, Source};
use crate::judge::{Decision, Judge, Kind, Look, Observation, Sample, Slice, Spec, Traffic, Why};
use crate::rollout::{Hold, Progress, Stage, Until};

/// The time to the next look as a part of the time since a stage began. A server looks every second; evidence hardly changes from one
/// look to the next, so later ones may be rarer. What is lost of the time to the verdict is at most this part.
pub const GROWTH: f64 = 1.0 / 32.0;

/// A plan and the traffic that it is played on.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// The stages of the plan. At gates people agree at once.
    pub stages: Vec<Stage>,
    /// The judge of the plan.
    pub judge: Spec,
    /// How many candidates have a share each. One of them is played, with its part of the error budget; the others take requests from
    /// the incumbent.
    pub candidates: usize,
    /// What each metric of the judge is like without harm, in its order; none where nothing is known of it, and then nothing is seen of
    /// it.
    pub sources: Vec<Option<Source>>,
    /// Of the inputs that the judge has slices by, how requests are spread over their values; those that are not here are not played.
    pub slices: Vec<Column>,
    /// How many requests come.
    pub pace: Pace,
    /// The least time between two looks.
    pub round: Duration,
    /// After so long it is given up.
    pub horizon: Duration,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The candidate got all requests.
    Shipped,
    /// It was rolled back.
    RolledBack,
    /// The longest time of a stage was over, and a person had to decide.
    TimedOut,
    /// Nothing was decided until the horizon.
    Open,
}

/// One stage of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passed {
    /// The stage of the plan, from 0.
    pub stage: usize,
    /// How long it took, in hours.
    pub hours: f64,
    /// Requests of the endpoint in it.
    pub requests: u64,
    /// Requests of the candidate, or copies for it.
    pub candidate: u64,
    /// Metrics, as bits by their place, without which it would have been over at the look before its last one, or that kept it from
    /// being over.
    pub blocked_by: u64,
}

/// One rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// How it ended.
    pub ending: Ending,
    /// Stages that took time, in order; the last one is where it ended.
    pub stages: Vec<Passed>,
    /// The slice for which it was rolled back; none where it was for all requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
}

impl Run {
    /// How long it took, in hours.
    pub fn hours(&self) -> f64 {
        self.stages.iter().map(|stage| stage.hours).sum()
    }

    /// Requests of the endpoint in that time.
    pub fn requests(&self) -> u64 {
        self.stages.iter().map(|stage| stage.requests).sum()
    }
}

const HOUR_MS: f64 = 3_600_000.0;

/// Requests that were routed alike.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    from: i64,
    until: i64,
    share: f64,
    /// The share of all candidates.
    given: f64,
    is_shadow: bool,
}

impl Epoch {
    /// The candidate's part of the requests of both arms.
    fn of_both(self) -> f64 {
        if self.given > self.share { self.share / (self.share + 1.0 - self.given) } else { self.share }
    }
}

/// Plays a rollout of a candidate with these distributions, in the order of the judge's metrics; in one slice they may be others.
pub(super) fn play(
    scene: &Scene,
    judge: Judge,
    (candidate, within): (&[Option<Distribution>], Option<&Within>),
    random: &mut Random,
) -> Run {
    let horizon = millis(scene.horizon);
    let delays = delays(&scene.sources);
    let mut play = Play {
        scene,
        candidate,
        within,
        delays: &delays,
        random,
        judge,
        clock: 0,
        epochs: Vec::new(),
        pending: Pending::default(),
        sliced_at: 0,
    };
    let mut run = Run { ending: Ending::Shipped, stages: Vec::new(), slice: None };
    for (at, stage) in scene.stages.iter().enumerate() {
        let (share, until, is_shadow) = match stage {
            Stage::Gate { .. } => continue,
            Stage::Full { .. } => break,
            Stage::Shadow { share, until } => (*share, until, true),
            Stage::Canary { share, until } => (*share, until, false),
        };
        let share = f64::from(share) / 10_000.0;
        let given = share * scene.candidates.max(1) as f64;
        play.epochs.push(Epoch { from: play.clock, until: i64::MAX, share, given, is_shadow });
        let (passed, ending) = play.stage(at, until, horizon);
        run.stages.push(passed);
        if let Some(epoch) = play.epochs.last_mut() {
            epoch.until = play.clock;
        }
        if let Some(ending) = ending {
            run.ending = ending;
            run.slice = play.harmed_slice().filter(|_| ending == Ending::RolledBack);
            break;
        }
    }
    run
}

struct Play<'a> {
    scene: &'a Scene,
    candidate: &'a [Option<Distribution>],
    within: Option<&'a Within>,
    /// How long outcomes take, each length once.
    delays: &'a [f64],
    random: &'a mut Random,
    judge: Judge,
    /// Milliseconds since the beginning.
    clock: i64,
    epochs: Vec<Epoch>,
    /// What slices have not seen yet.
    pending: Pending,
    /// When slices were looked at.
    sliced_at: i64,
}

impl Play<'_> {
    /// One stage until it is over; says how the rollout ended where it did.
    fn stage(&mut self, at: usize, until: &Until, horizon: i64) -> (Passed, Option<Ending>) {
        let since = self.clock;
        let mut passed = Passed { stage: at, hours: 0.0, requests: 0, candidate: 0, blocked_by: 0 };
        let bounds = [
            Some(since.saturating_add(millis(until.at_least))),
            until.at_most.map(|most| since.saturating_add(millis(most))),
            Some(horizon),
        ];
        loop {
            let step = millis(self.scene.round).max(((self.clock - since) as f64 * GROWTH) as i64).max(1);
            let before = self.clock;
            let reach = bounds.iter().flatten().copied().filter(|bound| *bound > before).min();
            self.clock = before.saturating_add(step).min(reach.unwrap_or(i64::MAX));
            let (candidate, both) = self.look(before);
            (passed.candidate, passed.requests) = (passed.candidate + candidate, passed.requests + both);
            passed.hours = (self.clock - since) as f64 / HOUR_MS;
            self.look_at_slices(since);
            let harm = self.judge.verdict(&BTreeSet::new());
            if harm.decision == Decision::Rollback {
                passed.blocked_by = self.metrics(&harm.why);
                return (passed, Some(Ending::RolledBack));
            }
            let progress = Progress {
                requests: passed.candidate,
                since: Timestamp::from_millis(since),
                now: Timestamp::from_millis(self.clock),
            };
            let Some(hold) = until.obstacle(Some(&self.judge), progress, false) else {
                return (passed, None);
            };
            let (why, is_late) = match hold {
                Hold::Verdict { why } => (why, false),
                Hold::TimedOut { why } => (why, true),
                _ => (Vec::new(), false),
            };
            passed.blocked_by = self.metrics(&why);
            if is_late {
                return (passed, Some(Ending::TimedOut));
            }
            if self.clock >= horizon {
                return (passed, Some(Ending::Open));
            }
        }
    }

    /// Shows the judge the slices where that is due.
    fn look_at_slices(&mut self, since: i64) {
        if self.scene.slices.is_empty() {
            return;
        }
        let pause = ((self.clock - since) as f64 * SLICE_GROWTH) as i64;
        // A stage that begins looks at once at what came before it.
        if self.sliced_at >= since && self.clock - self.sliced_at < pause {
            return;
        }
        self.sliced_at = self.clock;
        let harmed = self.within.map(|within| &within.slice);
        let metrics = &self.scene.judge.metrics;
        for (place, observations) in self.pending.deal(&self.scene.slices, harmed, metrics, self.random) {
            let epoch = self.epochs[place];
            self.judge.look(&Look { traffic: traffic(place, epoch), assigned: None, observations });
        }
    }

    /// The first slice that is proven to be harmed, where nothing else is.
    fn harmed_slice(&self) -> Option<Slice> {
        let why = self.judge.verdict(&BTreeSet::new()).why;
        let harms = why.into_iter().filter_map(|why| match why {
            Why::Harm { slice, .. } => Some(slice),
            _ => None,
        });
        let slices: Option<Vec<Slice>> = harms.collect();
        slices?.into_iter().next()
    }

    /// Metrics that a verdict names, as bits by their place.
    fn metrics(&self, why: &[Why]) -> u64 {
        let metrics = &self.judge.spec().metrics;
        why.iter().fold(0, |bits, why| match why {
            Why::NoData { metric } | Why::NotProven { metric } | Why::Harm { metric, .. } => {
                let at = metrics.iter().position(|known| known.name == *metric).unwrap_or(63);
                bits | 1 << at.min(63)
            }
            Why::SampleRatio => bits,
        })
    }

    /// Shows the judge what came between `before` and now; gives the candidate's requests of this stage, and all of them.
    fn look(&mut self, before: i64) -> (u64, u64) {
        let Some((place, epoch)) = self.epochs.len().checked_sub(1).map(|last| (last, self.epochs[last]))
        else {
            return (0, 0);
        };
        let (requests, arms) = self.arrivals(epoch, before, self.clock);
        if requests > 0 {
            let now = |source: &Source| source.delay <= 0.0;
            let observations = self.observe((place, epoch), arms, &now);
            let assigned = (!epoch.is_shadow).then_some(arms);
            self.judge.look(&Look { traffic: traffic(place, epoch), assigned, observations });
        }
        self.late(before);
        (arms.0, requests)
    }

    /// Requests that come between two moments, and those that candidate and baseline answer.
    fn arrivals(&mut self, epoch: Epoch, from: i64, to: i64) -> (u64, (u64, u64)) {
        let expected = self.scene.pace.between(from as f64 / HOUR_MS, to as f64 / HOUR_MS);
        let requests = self.random.poisson(expected);
        let candidate = self.random.binomial(requests, epoch.share);
        let others = epoch.given - epoch.share;
        let rest = requests - candidate;
        // Nothing is drawn for others that are not there, so figures of one candidate stay as they were.
        let baseline = if epoch.is_shadow {
            requests
        } else if others <= 0.0 {
            rest
        } else {
            rest - self.random.binomial(rest, (others / (1.0 - epoch.share)).min(1.0))
        };
        (requests, (candidate, baseline))
    }

    /// What became known between `before` and now of requests that came earlier, under the traffic of then.
    fn late(&mut self, before: i64) {
        for &delay in self.delays {
            let back = (delay * HOUR_MS) as i64;
            for place in 0..self.epochs.len() {
                let epoch = self.epochs[place];
                let (from, to) = ((before - back).max(epoch.from), (self.clock - back).min(epoch.until));
                if from >= to {
                    continue;
                }
                let (_, arms) = self.arrivals(epoch, from, to);
                let then = |source: &Source| source.delay == delay;
                let observations = self.observe((place, epoch), arms, &then);
                if !observations.is_empty() {
                    self.judge.look(&Look { traffic: traffic(place, epoch), assigned: None, observations });
                }
            }
        }
    }

    /// Samples of the metrics whose sources are wanted.
    fn observe(
        &mut self,
        (place, epoch): (usize, Epoch),
        arms: (u64, u64),
        is_wanted: &dyn Fn(&Source) -> bool,
    ) -> Vec<Observation> {
        let mut observations = Vec::new();
        let known = self.scene.judge.metrics.iter().zip(&self.scene.sources).zip(self.candidate);
        for (at, ((metric, source), candidate)) in known.enumerate() {
            let (Some(source), Some(candidate)) = (source, candidate) else { continue };
            // Shadows answer the same requests, canaries different ones; events are counted in both.
            let fits = match metric.kind {
                Kind::Paired { .. } => epoch.is_shadow,
                Kind::EventRate { .. } | Kind::Event { .. } => true,
                Kind::Binary { .. } | Kind::Continuous { .. } | Kind::BoundedMean { .. } => !epoch.is_shadow,
            };
            if !fits || !is_wanted(source) {
                continue;
            }
            let is_paired = matches!(metric.kind, Kind::Paired { .. });
            let n = [
                values(self.random, arms.0, source.per_request),
                values(self.random, arms.1, source.per_request),
            ];
            let harmed = self.within.and_then(|within| Some((within, within.candidate.get(at)?.as_ref()?)));
            let (within, rest) = match harmed {
                None => ([nothing(), nothing()], drawn(self.random, (source, candidate), is_paired, n)),
                Some((within, harmed)) => {
                    let there = n.map(|n| self.random.binomial(n, within.share));
                    let elsewhere = [n[0] - there[0], n[1] - there[1]];
                    let within = drawn(self.random, (source, harmed), is_paired, there);
                    (within, drawn(self.random, (source, candidate), is_paired, elsewhere))
                }
            };
            if !self.scene.slices.is_empty() {
                self.pending.keep((place, at), &within, &rest);
            }
            let [candidate, baseline] = together(within, rest).map(|sample| fitted(sample, &metric.kind));
            if candidate.n() + baseline.n() > 0 {
                observations.push(Observation {
                    metric: metric.name.clone(),
                    slice: None,
                    candidate,
                    baseline,
                });
            }
        }
        observations
    }
}

fn nothing() -> Sample {
    Sample::Values(Vec::new())
}

/// What so many requests of candidate and baseline have.
fn drawn(
    random: &mut Random,
    (source, candidate): (&Source, &Distribution),
    is_paired: bool,
    [of_candidate, of_baseline]: [u64; 2],
) -> [Sample; 2] {
    let candidate = candidate.draw(random, of_candidate);
    [candidate, if is_paired { nothing() } else { source.distribution.draw(random, of_baseline) }]
}

/// Both parts of what was drawn, arm by arm.
fn together(within: [Sample; 2], rest: [Sample; 2]) -> [Sample; 2] {
    let [mut arms, other] = [rest, within];
    for (arm, more) in arms.iter_mut().zip(other) {
        match (&mut *arm, more) {
            (Sample::Counts { n, events }, Sample::Counts { n: more, events: some }) => {
                (*n, *events) = (*n + more, *events + some);
            }
            (Sample::Values(values), Sample::Values(more)) => {
                for (value, count) in more {
                    match values.iter_mut().find(|(known, _)| *known == value) {
                        Some((_, known)) => *known += count,
                        None => values.push((value, count)),
                    }
                }
            }
            _ => {}
        }
    }
    arms
}

/// How long outcomes take, each length once, in the order of the metrics.
fn delays(sources: &[Option<Source>]) -> Vec<f64> {
    let mut delays: Vec<f64> = Vec::new();
    for delay in sources.iter().flatten().map(|source| source.delay) {
        if delay > 0.0 && !delays.contains(&delay) {
            delays.push(delay);
        }
    }
    delays
}

fn traffic(place: usize, epoch: Epoch) -> Traffic {
    Traffic { stratum: place as u32 + 1, share: (!epoch.is_shadow).then(|| epoch.of_both()) }
}

/// How many values so many requests have.
fn values(random: &mut Random, requests: u64, per_request: f64) -> u64 {
    let whole = libm::floor(per_request.max(0.0));
    requests * whole as u64 + random.binomial(requests, per_request.max(0.0) - whole)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

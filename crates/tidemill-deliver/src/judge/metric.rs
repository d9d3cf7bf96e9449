//! One metric of a judge: what was seen of it, and how strong the evidence is on both sides.

use serde::{Deserialize, Serialize};
use tidemill_stats::exact;
use tidemill_stats::sequential::{Betting, Counts, Law, Way, ln_sum_exp};

use super::difference::{BURN_IN, Difference, Question, ln_mixture};
use super::means::{Limits, Means};
use super::sample::{Moments, Sample};
use super::spec::{Amount, Better, Kind};

/// Under what traffic a look was taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Counts changes of the share, so that looks of different shares are not pooled.
    pub stratum: u32,
    /// The planned share of the candidate among requests of both arms, above 0 and below 1; none where it is not known.
    pub share: Option<f64>,
}

/// Evidence so far; the largest ever counts, because evidence of these tests need not stay where it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Logarithm of the largest evidence that harm is above `tolerate`.
    #[serde(with = "exact::number")]
    pub ln_harm: f64,
    /// Logarithm of the largest evidence that harm is below `reject`.
    #[serde(with = "exact::number")]
    pub ln_safe: f64,
}

/// One metric and everything that was seen of it. Its size does not grow with requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricState {
    seen: Seen,
    evidence: Evidence,
    candidate: u64,
    baseline: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Seen {
    Rate {
        above: Counts,
        /// None where only harm is looked for.
        below: Option<Counts>,
        /// Evidence that the candidate's rate is negligible.
        rare: Option<Betting>,
        pending: [(u64, u64); 2],
        total: [(u64, u64); 2],
        /// What came when the incumbent had no requests any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alone: Option<Alone>,
    },
    Difference(Difference),
    Means(Means),
    Paired {
        above: Betting,
        below: Option<Betting>,
        differences: Moments,
    },
    Events(u64),
}

/// Requests of a candidate that answers all of them, held against a rate that was settled before the first of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Alone {
    /// The highest rate that is no harm.
    #[serde(with = "exact::number")]
    rate: f64,
    test: Betting,
}

impl Alone {
    /// Against what the incumbent had until now, of so many requests, and at most as sure as that is known: three standard deviations above
    /// what was seen. A rate that is negligible is no harm. Nothing where the incumbent was never seen.
    fn against((n, events): (u64, u64), tolerate: f64, negligible: Option<f64>) -> Option<Self> {
        let events = events as f64;
        let above = (events + 4.5 + 3.0 * libm::sqrt(events + 2.25)) / n as f64;
        let rate = (tolerate * above).max(negligible.unwrap_or(0.0));
        (n > 0 && rate < 1.0).then(|| Self { rate, test: Betting::default() })
    }

    fn update(&mut self, (n, events): (u64, u64)) {
        self.test.update(1.0 - self.rate, events, self.rate);
        self.test.update(-self.rate, n.saturating_sub(events), self.rate);
    }

    /// Evidence of harm. It is a second chance to find harm where none is, so it counts half: in place of the level itself, its square
    /// is added to how often that happens.
    fn ln_evidence(&self) -> f64 {
        0.5 * self.test.ln_evidence()
    }
}

impl MetricState {
    /// Nothing seen yet.
    pub fn new(kind: &Kind) -> Self {
        Self::made(kind, true)
    }

    /// Nothing seen yet, and only harm is looked for, which needs less room.
    pub(super) fn of_harm(kind: &Kind) -> Self {
        Self::made(kind, false)
    }

    fn made(kind: &Kind, proves_safety: bool) -> Self {
        let seen = match kind {
            Kind::EventRate { tolerate, reject, negligible } => Seen::Rate {
                rare: negligible.filter(|_| proves_safety).map(|_| Betting::default()),
                above: Counts::new(Law::Binomial, Way::Above, *tolerate, libm::log(reject / tolerate)),
                below: proves_safety
                    .then(|| Counts::new(Law::Binomial, Way::Below, *reject, libm::log(*reject))),
                pending: Default::default(),
                total: Default::default(),
                alone: None,
            },
            Kind::Binary { .. } | Kind::Continuous { .. } => Seen::Difference(Difference::default()),
            Kind::BoundedMean { .. } => Seen::Means(Means::new(proves_safety)),
            Kind::Paired { .. } => {
                let below = proves_safety.then(Betting::default);
                Seen::Paired { above: Betting::default(), below, differences: Moments::default() }
            }
            Kind::Event { .. } => Seen::Events(0),
        };
        Self { seen, evidence: Evidence::default(), candidate: 0, baseline: 0 }
    }

    /// Takes up one look. For paired metrics `candidate` holds the differences and `baseline` is not used.
    pub fn update(&mut self, kind: &Kind, traffic: Traffic, candidate: &Sample, baseline: &Sample) {
        self.candidate += candidate.n();
        self.baseline += baseline.n();
        let now = match (&mut self.seen, kind) {
            (Seen::Rate { above, below, rare, pending, total, .. }, Kind::EventRate { negligible, .. }) => {
                for (sums, sample) in [&mut *pending, &mut *total]
                    .into_iter()
                    .flat_map(|sums| sums.iter_mut().zip([candidate, baseline]))
                {
                    *sums = (sums.0 + sample.n(), sums.1 + sample.events());
                }
                let [c, b] = *pending;
                if c.0 > 0 && b.0 > 0 {
                    above.update(c, b);
                    if let Some(below) = below {
                        below.update(c, b);
                    }
                    *pending = Default::default();
                }
                let ratio = below.as_ref().map_or(0.0, Counts::ln_evidence);
                let safe = match (rare, negligible) {
                    (Some(rare), Some(rate)) => {
                        take_rare(rare, *rate, (candidate.n(), candidate.events()));
                        ln_either(ratio, rare)
                    }
                    _ => ratio,
                };
                (above.ln_evidence(), safe)
            }
            (Seen::Difference(difference), Kind::Binary { .. } | Kind::Continuous { .. }) => {
                let question = question(kind);
                difference.update(question, traffic.stratum, candidate, baseline);
                difference.ln_evidence(question)
            }
            (Seen::Means(means), Kind::BoundedMean { better, least, most, tolerate, reject }) => {
                let range = (*least, *most);
                let limits = Limits { better: *better, range, tolerate: *tolerate, reject: *reject };
                means.update(limits, traffic.share, candidate, baseline);
                means.ln_evidence()
            }
            (
                Seen::Paired { above, below, differences },
                Kind::Paired { better, least, most, tolerate, reject },
            ) => {
                if let Sample::Values(values) = candidate {
                    let (low, high) = match better {
                        Better::Lower => (*least, *most),
                        Better::Higher => (-most, -least),
                    };
                    for (value, count) in values {
                        let harm = (better.sign() * value).clamp(low, high);
                        above.update(harm - tolerate, *count, (tolerate - low).max(f64::MIN_POSITIVE));
                        if let Some(below) = below {
                            below.update(reject - harm, *count, (high - reject).max(f64::MIN_POSITIVE));
                        }
                    }
                }
                differences.add(candidate);
                (above.ln_evidence(), below.as_ref().map_or(0.0, Betting::ln_evidence))
            }
            (Seen::Events(events), Kind::Event { max }) => {
                *events += candidate.events();
                (if *events > *max { f64::INFINITY } else { 0.0 }, 0.0)
            }
            _ => (0.0, 0.0),
        };
        self.evidence.ln_harm = self.evidence.ln_harm.max(now.0);
        self.evidence.ln_safe = self.evidence.ln_safe.max(now.1);
    }

    /// Takes up what the candidate did when the incumbent had no requests any more. Only a rate can be held against one of before: what
    /// decisions cost and how good they are changes with the days.
    pub(super) fn update_alone(&mut self, kind: &Kind, candidate: &Sample) {
        let (Seen::Rate { total, alone, .. }, Kind::EventRate { tolerate, negligible, .. }) =
            (&mut self.seen, kind)
        else {
            return;
        };
        self.candidate += candidate.n();
        if alone.is_none() {
            *alone = Alone::against(total[1], *tolerate, *negligible);
        }
        if let Some(alone) = alone {
            alone.update((candidate.n(), candidate.events()));
            self.evidence.ln_harm = self.evidence.ln_harm.max(alone.ln_evidence());
        }
    }

    /// The largest evidence so far.
    pub fn evidence(&self) -> Evidence {
        self.evidence
    }

    /// Requests or values of candidate and baseline so far.
    pub fn samples(&self) -> (u64, u64) {
        (self.candidate, self.baseline)
    }

    /// The harm that is estimated, in the metric's unit (a ratio for rates), with its standard error where it has one.
    pub fn harm(&self, kind: &Kind) -> Option<(f64, Option<f64>)> {
        match (&self.seen, kind) {
            (Seen::Rate { total: [c, b], .. }, _) => (c.0 > 0 && b.0 > 0 && b.1 > 0)
                .then(|| ((c.1 as f64 / c.0 as f64) / (b.1 as f64 / b.0 as f64), None)),
            (Seen::Difference(difference), _) => {
                difference.harm(question(kind)).map(|(harm, error)| (harm, Some(error)))
            }
            (Seen::Means(means), Kind::BoundedMean { better, .. }) => {
                means.harm(*better).map(|(harm, error)| (harm, Some(error)))
            }
            (Seen::Paired { differences, .. }, Kind::Paired { better, .. }) => {
                (differences.n >= 2.0).then(|| {
                    (better.sign() * differences.mean, Some(libm::sqrt(differences.variance_of_mean())))
                })
            }
            (Seen::Events(events), _) => Some((*events as f64, None)),
            _ => None,
        }
    }

    /// Estimated harm, its variance and the effect that is expected, where harm is a difference of means.
    pub(crate) fn spread(&self, kind: &Kind) -> Option<(f64, f64, f64)> {
        if let Seen::Difference(difference) = &self.seen {
            return difference.spread(question(kind));
        }
        let (Kind::BoundedMean { least, most, tolerate, reject, .. }
        | Kind::Paired { least, most, tolerate, reject, .. }) = kind
        else {
            return None;
        };
        let (harm, error) = self.harm(kind)?;
        let variance = error? * error?;
        let effect = (reject - tolerate).max(1e-6 * (most - least));
        (variance > 0.0 && variance.is_finite()).then_some((harm, variance, effect))
    }

    /// Natural logarithm of the evidence that the candidate is better than that of `other`; see
    /// [`Judge::ln_better`](super::Judge::ln_better).
    pub(super) fn ln_better(&self, other: &Self, kind: &Kind) -> Option<f64> {
        if let (
            Seen::Rate { total: [mine, _], .. },
            Seen::Rate { total: [theirs, _], .. },
            Kind::EventRate { tolerate, reject, .. },
        ) = (&self.seen, &other.seen, kind)
        {
            if mine.0 == 0 || theirs.0 == 0 {
                return None;
            }
            let mut test = Counts::new(Law::Binomial, Way::Above, 1.0, libm::log(reject / tolerate));
            test.update(*theirs, *mine);
            return Some(test.ln_evidence());
        }
        let ((mine, own, effect), (theirs, their, _)) = self.spread(kind).zip(other.spread(kind))?;
        (self.candidate.min(other.candidate) as f64 >= BURN_IN && theirs > mine)
            .then(|| ln_mixture(theirs - mine, own + their, effect))
    }

    /// `tolerate` and `reject` in the unit of the estimated harm.
    pub(crate) fn limits(&self, kind: &Kind) -> (Option<f64>, Option<f64>) {
        let absolute = |amount: Amount| match (amount, &self.seen) {
            (Amount::Absolute(limit), _) => Some(limit),
            (Amount::Relative(part), Seen::Difference(difference)) => Some(part * difference.level()),
            (Amount::Relative(_), _) => None,
        };
        match kind {
            Kind::EventRate { tolerate, reject, .. }
            | Kind::BoundedMean { tolerate, reject, .. }
            | Kind::Paired { tolerate, reject, .. } => (Some(*tolerate), Some(*reject)),
            Kind::Binary { tolerate, reject, .. } | Kind::Continuous { tolerate, reject, .. } => {
                (absolute(*tolerate), absolute(*reject))
            }
            Kind::Event { max } => (None, Some(*max as f64)),
        }
    }
}

/// Takes up requests and events as evidence that a rate is below `rate`.
pub(super) fn take_rare(rare: &mut Betting, rate: f64, (n, events): (u64, u64)) {
    rare.update(rate - 1.0, events, 1.0 - rate);
    rare.update(rate, n.saturating_sub(events), 1.0 - rate);
}

/// A candidate at the limit has both a ratio and a rate that are too high, so the mean of both is evidence too.
pub(super) fn ln_either(ratio: f64, rare: &Betting) -> f64 {
    ln_sum_exp([ratio, rare.ln_evidence()].into_iter()) - std::f64::consts::LN_2
}

fn question(kind: &Kind) -> Question {
    match kind {
        Kind::Binary { better, tolerate, reject, effect } => {
            Question { share: true, better: *better, tolerate: *tolerate, reject: *reject, effect: *effect }
        }
        Kind::Continuous { better, tolerate, reject, effect } => {
            Question { share: false, better: *better, tolerate: *tolerate, reject: *reject, effect: *effect }
        }
        Kind::EventRate { .. } | Kind::BoundedMean { .. } | Kind::Paired { .. } | Kind::Event { .. } => {
            Question {
                share: false,
                better: Better::Lower,
                tolerate: Amount::Absolute(0.0),
                reject: Amount::Absolute(0.0),
                effect: Amount::Absolute(1.0),
            }
        }
    }
}

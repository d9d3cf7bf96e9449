//! What requests are like: how often an event happens, which values are seen, and how harm changes them.

use serde::{Deserialize, Serialize};
use tidemill_stats::random::Random;

use crate::judge::{Amount, Better, Kind, Sample};

/// The most distinct values of a distribution. More are put together without a change of mean and variance.
pub const MOST_POINTS: usize = 16;

/// What one metric is like without harm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// What is drawn; for paired metrics the differences between two answers to one request.
    pub distribution: Distribution,
    /// The incumbent's mean, of which a harm such as `5 %` is a part; a rate for events.
    pub level: f64,
    /// Values per request: 0.5 where an outcome becomes known of every second one.
    pub per_request: f64,
    /// How long after a request its value is known, in hours.
    pub delay: f64,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// An event with this chance.
    Rate(f64),
    /// These values with these chances.
    Values(Vec<(f64, f64)>),
}

/// How a candidate differs from the incumbent in one metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Harm {
    /// Not at all.
    None,
    /// As much as is tolerated.
    Tolerate,
    /// As much as must not pass.
    Reject,
    /// So many times the incumbent's rate or mean; for what is better when higher, by as much lower as this would be higher.
    Times(f64),
    /// So much worse in the metric's own unit; for rates in events per request.
    By(f64),
}

impl Distribution {
    /// The distribution of values, at most [`MOST_POINTS`] of them with the mean and the variance of all. Numbers that are not finite are
    /// left out; none where nothing is left.
    pub fn of(values: &[f64]) -> Option<Self> {
        Self::weighted(values.iter().map(|value| (*value, 1.0)).collect())
    }

    /// The same of values with how often each was seen.
    pub fn weighted(mut values: Vec<(f64, f64)>) -> Option<Self> {
        values.retain(|(value, weight)| value.is_finite() && *weight > 0.0);
        values.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let mut points: Vec<(f64, f64)> = Vec::new();
        for (value, weight) in values {
            match points.last_mut() {
                Some((known, sum)) if *known == value => *sum += weight,
                _ => points.push((value, weight)),
            }
        }
        if points.len() > MOST_POINTS {
            points = pooled(&points);
        }
        let all: f64 = points.iter().map(|(_, weight)| weight).sum();
        (!points.is_empty())
            .then(|| Self::Values(points.into_iter().map(|(value, weight)| (value, weight / all)).collect()))
    }

    /// The distribution of a number that is never below `least`, with this mean and standard deviation: as often as need be it is `least`,
    /// else one larger number. None where there is no such number up to `most`.
    pub fn skewed((mean, deviation): (f64, f64), (least, most): (f64, f64)) -> Option<Self> {
        let above = mean - least;
        if !(above >= 0.0 && mean <= most && deviation >= 0.0) {
            return None;
        }
        if deviation == 0.0 || above == 0.0 {
            return (deviation == 0.0).then_some(Self::Values(vec![(mean, 1.0)]));
        }
        let squares = deviation * deviation + above * above;
        let high = least + squares / above;
        let chance = above * above / squares;
        (high <= most * (1.0 + 1e-9))
            .then_some(Self::Values(vec![(least, 1.0 - chance), (high.min(most), chance)]))
    }

    /// Differences between two answers to one request whose values are like these, where the answers differ in this part of requests and
    /// then have nothing to do with each other.
    #[must_use]
    pub fn differences(&self, part: f64) -> Self {
        let Self::Values(points) = self else { return self.clone() };
        let mut pairs = vec![(0.0, 1.0 - part)];
        for (one, chance) in points {
            pairs.extend(points.iter().map(|(other, also)| (one - other, part * chance * also)));
        }
        Self::weighted(pairs).unwrap_or_else(|| Self::Values(vec![(0.0, 1.0)]))
    }

    /// Their mean.
    pub fn mean(&self) -> f64 {
        match self {
            Self::Rate(rate) => *rate,
            Self::Values(points) => points.iter().map(|(value, chance)| value * chance).sum(),
        }
    }

    /// A sample of `n`.
    pub(super) fn draw(&self, random: &mut Random, n: u64) -> Sample {
        let points = match self {
            Self::Rate(rate) => return Sample::Counts { n, events: random.binomial(n, *rate) },
            Self::Values(points) => points,
        };
        let (mut left, mut chance_left) = (n, 1.0);
        let mut counts = Vec::with_capacity(points.len());
        for (value, chance) in points {
            let count = random.binomial(left, (chance / chance_left).min(1.0));
            (left, chance_left) = (left - count, (chance_left - chance).max(f64::MIN_POSITIVE));
            if count > 0 {
                counts.push((*value, count));
            }
        }
        if left > 0
            && let Some((value, _)) = points.last()
        {
            // Chances that sum to a little less than one.
            counts.push((*value, left));
        }
        Sample::Values(counts)
    }
}

/// Groups of about the same weight, each as two points at the same distance from its mean.
fn pooled(sorted: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let bins = MOST_POINTS / 2;
    let all: f64 = sorted.iter().map(|(_, weight)| weight).sum();
    let mut groups: Vec<Vec<(f64, f64)>> = vec![Vec::new(); bins];
    let mut below = 0.0;
    for (value, weight) in sorted {
        let at = ((below + 0.5 * weight) / all * bins as f64) as usize;
        groups[at.min(bins - 1)].push((*value, *weight));
        below += weight;
    }
    let mut points = Vec::with_capacity(MOST_POINTS);
    for group in groups.iter().filter(|group| !group.is_empty()) {
        let weight: f64 = group.iter().map(|(_, weight)| weight).sum();
        let mean = group.iter().map(|(value, weight)| value * weight).sum::<f64>() / weight;
        let squares: f64 = group.iter().map(|(value, weight)| weight * (value - mean) * (value - mean)).sum();
        let spread = libm::sqrt(squares / weight);
        if spread > 0.0 {
            points.extend([(mean - spread, weight / 2.0), (mean + spread, weight / 2.0)]);
        } else {
            points.push((mean, weight));
        }
    }
    points
}

impl Source {
    /// The same with an amount of harm, as the metric measures it; none where the metric has no such harm.
    pub(super) fn harmed(&self, kind: &Kind, harm: Harm) -> Option<Distribution> {
        let level = self.level.abs();
        let amount = |amount: Amount| match amount {
            Amount::Absolute(number) => number,
            Amount::Relative(part) => part * level,
        };
        // The difference of the means in the direction of harm; for rates of that of the rates.
        let by = match (kind, harm) {
            (_, Harm::None) => 0.0,
            (_, Harm::Times(times)) => (times - 1.0) * level,
            (_, Harm::By(by)) => by,
            (Kind::EventRate { tolerate, .. }, Harm::Tolerate) => (tolerate - 1.0) * level,
            // A rate that is negligible is no harm, whatever it is a multiple of.
            (Kind::EventRate { reject, negligible, .. }, Harm::Reject) => {
                (reject * level).max(negligible.unwrap_or(0.0)) - level
            }
            (Kind::Binary { tolerate, .. } | Kind::Continuous { tolerate, .. }, Harm::Tolerate) => {
                amount(*tolerate)
            }
            (Kind::Binary { reject, .. } | Kind::Continuous { reject, .. }, Harm::Reject) => amount(*reject),
            (Kind::BoundedMean { tolerate, .. } | Kind::Paired { tolerate, .. }, Harm::Tolerate) => *tolerate,
            (Kind::BoundedMean { reject, .. } | Kind::Paired { reject, .. }, Harm::Reject) => *reject,
            (Kind::Event { .. }, Harm::Tolerate | Harm::Reject) => return None,
        };
        let (better, range) = match kind {
            Kind::EventRate { .. } | Kind::Event { .. } => (Better::Lower, None),
            Kind::Binary { better, .. } | Kind::Continuous { better, .. } => (*better, None),
            Kind::BoundedMean { better, least, most, .. } | Kind::Paired { better, least, most, .. } => {
                (*better, Some((*least, *most)))
            }
        };
        let by = better.sign() * by;
        Some(match &self.distribution {
            Distribution::Rate(rate) => Distribution::Rate((rate + by).clamp(0.0, 1.0)),
            Distribution::Values(points) => Distribution::Values(match range {
                None => points.iter().map(|(value, chance)| (value + by, *chance)).collect(),
                Some(range) => mixed(points, by, range),
            }),
        })
    }
}

/// Values whose mean is moved by so much and that stay in their range: some of them become the most extreme value that was seen, as when a
/// model makes more of the mistakes that it makes anyway, or the end of the range where that is not enough.
fn mixed(points: &[(f64, f64)], by: f64, (least, most): (f64, f64)) -> Vec<(f64, f64)> {
    let mean: f64 = points.iter().map(|(value, chance)| value * chance).sum();
    let seen = points.iter().map(|(value, _)| *value);
    let (extreme, end) =
        if by > 0.0 { (seen.fold(mean, f64::max), most) } else { (seen.fold(mean, f64::min), least) };
    let part = |to: f64| by / (to - mean);
    let to = if part(extreme) > 0.0 && part(extreme) <= 1.0 { extreme } else { end };
    let part = if by == 0.0 || to == mean { 0.0 } else { part(to).clamp(0.0, 1.0) };
    let mut mixed: Vec<(f64, f64)> =
        points.iter().map(|(value, chance)| (*value, chance * (1.0 - part))).collect();
    if part > 0.0 {
        match mixed.iter_mut().find(|(value, _)| *value == to) {
            Some((_, chance)) => *chance += part,
            None => mixed.push((to, part)),
        }
    }
    mixed
}

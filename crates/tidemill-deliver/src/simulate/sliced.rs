//! Slices in a simulation: what was drawn of all requests is dealt out to the values of each input, as often as a look at slices is due.
//!
//! Healthy requests are alike in every slice, so dealing them out by the slices' shares is what drawing each slice would give. Harm that is
//! in one slice alone is drawn apart and stays there. Inputs are dealt out independently of each other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill_stats::random::Random;

use super::source::Distribution;
use crate::judge::{Kind, Metric, Observation, Sample, Slice};

/// The time to the next look at slices as a part of the time since the stage began. There are many slices, and a look at each costs as
/// much as one at all requests, so it is rarer than theirs.
pub const SLICE_GROWTH: f64 = 1.0 / 8.0;

/// An input and the values that requests have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// The input.
    pub name: String,
    /// Values with their parts of requests; none is all other values. Together they are all requests.
    pub values: Vec<(Option<String>, f64)>,
}

impl Column {
    /// From how often values were seen: the `most` frequent ones by themselves, all others together. None where nothing was seen.
    pub fn of(name: &str, counts: &BTreeMap<Option<String>, u64>, most: usize) -> Option<Self> {
        let all: u64 = counts.values().sum();
        let mut named: Vec<(&String, u64)> =
            counts.iter().filter_map(|(value, count)| Some((value.as_ref()?, *count))).collect();
        named.sort_by(|(one, many), (other, more)| more.cmp(many).then(one.cmp(other)));
        named.truncate(most);
        let share = |count: u64| count as f64 / all as f64;
        let mut values: Vec<(Option<String>, f64)> =
            named.iter().map(|(value, count)| (Some((*value).clone()), share(*count))).collect();
        let rest = all - named.iter().map(|(_, count)| count).sum::<u64>();
        if rest > 0 {
            values.push((None, share(rest)));
        }
        (all > 0).then(|| Self { name: name.to_owned(), values })
    }

    /// The part of requests with a value.
    pub fn share(&self, value: Option<&str>) -> Option<f64> {
        self.values.iter().find(|(known, _)| known.as_deref() == value).map(|(_, share)| *share)
    }
}

/// A candidate that is harmful in one slice and healthy elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Within {
    pub(super) slice: Slice,
    /// The slice's part of requests.
    pub(super) share: f64,
    /// What it is like there, in the order of the judge's metrics.
    pub(super) candidate: Vec<Option<Distribution>>,
}

/// Values that were drawn, and how often each.
#[derive(Clone, Debug, Default)]
struct Drawn(Vec<(f64, u64)>);

impl Drawn {
    fn add(&mut self, sample: &Sample) {
        let mut one = |value: f64, count: u64| match self.0.iter_mut().find(|(known, _)| *known == value) {
            _ if count == 0 => {}
            Some((_, known)) => *known += count,
            None => self.0.push((value, count)),
        };
        match sample {
            Sample::Counts { n, events } => {
                one(1.0, (*events).min(*n));
                one(0.0, n.saturating_sub(*events));
            }
            Sample::Values(values) => values.iter().for_each(|(value, count)| one(*value, *count)),
            // Sums cannot be dealt out; nobody draws them.
            Sample::Moments { .. } => {}
        }
    }

    /// As a metric of this kind takes it.
    fn sample(self, kind: &Kind, is_rate: bool) -> Sample {
        if is_rate {
            let events = self.0.iter().filter(|(value, _)| *value == 1.0).map(|(_, count)| count).sum();
            return Sample::Counts { n: self.0.iter().map(|(_, count)| count).sum(), events };
        }
        fitted(Sample::Values(self.0), kind)
    }

    /// Deals everything out by these shares, which are parts of one.
    fn deal(&self, shares: &[f64], random: &mut Random) -> Vec<Self> {
        let mut hands = vec![Self::default(); shares.len()];
        let all: f64 = shares.iter().sum();
        for (value, count) in &self.0 {
            let (mut left, mut rest) = (*count, all);
            for (hand, share) in hands.iter_mut().zip(shares) {
                let part = if rest > 0.0 { (share / rest).min(1.0) } else { 0.0 };
                let dealt = random.binomial(left, part);
                (left, rest) = (left - dealt, rest - share);
                if dealt > 0 {
                    hand.0.push((*value, dealt));
                }
            }
            if left > 0
                && let Some(last) = hands.last_mut()
            {
                // Shares that sum to a little less than one.
                last.0.push((*value, left));
            }
        }
        hands
    }
}

/// A sample as a metric of this kind takes it.
pub(super) fn fitted(sample: Sample, kind: &Kind) -> Sample {
    match (&sample, kind) {
        (Sample::Values(_), Kind::Continuous { .. }) => {
            Sample::Moments { n: sample.n(), sum: sample.sum(), sumsq: sample.sumsq() }
        }
        _ => sample,
    }
}

/// What was drawn of a metric since slices were looked at.
#[derive(Clone, Debug, Default)]
struct Kept {
    is_rate: bool,
    /// Of the slice that is harmed: candidate and baseline.
    within: [Drawn; 2],
    /// Of everything else.
    rest: [Drawn; 2],
}

/// What was drawn since slices were looked at, by place of the traffic and of the metric.
#[derive(Debug, Default)]
pub(super) struct Pending(BTreeMap<(usize, usize), Kept>);

impl Pending {
    /// Keeps what was drawn of a metric, in the harmed slice and elsewhere.
    pub(super) fn keep(&mut self, at: (usize, usize), within: &[Sample; 2], rest: &[Sample; 2]) {
        let kept = self.0.entry(at).or_default();
        kept.is_rate = matches!(rest[0], Sample::Counts { .. });
        for (kept, drawn) in [(&mut kept.within, within), (&mut kept.rest, rest)] {
            kept.iter_mut().zip(drawn).for_each(|(arm, sample)| arm.add(sample));
        }
    }

    /// Deals everything out to the slices of all inputs; gives what each place of traffic saw.
    pub(super) fn deal(
        &mut self,
        columns: &[Column],
        harmed: Option<&Slice>,
        metrics: &[Metric],
        random: &mut Random,
    ) -> Vec<(usize, Vec<Observation>)> {
        let mut seen: BTreeMap<usize, Vec<Observation>> = BTreeMap::new();
        for ((place, at), kept) in std::mem::take(&mut self.0) {
            let Some(metric) = metrics.get(at) else { continue };
            // A hard limit holds for all requests already.
            if matches!(metric.kind, Kind::Event { .. }) {
                continue;
            }
            let observations = seen.entry(place).or_default();
            for column in columns {
                let home = harmed
                    .filter(|slice| slice.column == column.name)
                    .and_then(|slice| column.values.iter().position(|(value, _)| *value == slice.value));
                let [candidate, baseline] = [0, 1].map(|arm| kept.dealt(arm, column, home, random));
                for (((value, _), candidate), baseline) in column.values.iter().zip(candidate).zip(baseline) {
                    let candidate = candidate.sample(&metric.kind, kept.is_rate);
                    let baseline = match metric.kind {
                        Kind::Paired { .. } => Sample::Values(Vec::new()),
                        _ => baseline.sample(&metric.kind, kept.is_rate),
                    };
                    if candidate.n() + baseline.n() > 0 {
                        let slice = Slice { column: column.name.clone(), value: value.clone() };
                        let metric = metric.name.clone();
                        observations.push(Observation { metric, slice: Some(slice), candidate, baseline });
                    }
                }
            }
        }
        seen.into_iter().filter(|(_, observations)| !observations.is_empty()).collect()
    }
}

impl Kept {
    /// What an arm had in each slice of an input. What was drawn in the harmed slice is at home in one of them; of another input it is dealt out like
    /// everything else.
    fn dealt(&self, arm: usize, column: &Column, home: Option<usize>, random: &mut Random) -> Vec<Drawn> {
        let mut shares: Vec<f64> = column.values.iter().map(|(_, share)| *share).collect();
        if let Some(home) = home {
            shares[home] = 0.0;
            let mut hands = self.rest[arm].deal(&shares, random);
            let (at_home, within) = (std::mem::take(&mut hands[home]), &self.within[arm]);
            hands[home] = within.clone();
            at_home
                .0
                .iter()
                .for_each(|(value, count)| hands[home].add(&Sample::Values(vec![(*value, *count)])));
            return hands;
        }
        let mut all = self.rest[arm].clone();
        all.add(&Sample::Values(self.within[arm].0.clone()));
        all.deal(&shares, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_values_are_slices_and_all_others_are_one() {
        let counts = [("JFK", 50), ("LGA", 30), ("EWR", 15), ("BOS", 4)];
        let mut counts: BTreeMap<Option<String>, u64> =
            counts.into_iter().map(|(value, count)| (Some(value.to_owned()), count)).collect();
        counts.insert(None, 1);
        let column = Column::of("origin", &counts, 2).unwrap();
        let named = |value: &str, share| (Some(value.to_owned()), share);
        assert_eq!(column.values, [named("JFK", 0.5), named("LGA", 0.3), (None, 0.2)]);
        assert_eq!((column.share(Some("LGA")), column.share(Some("BOS"))), (Some(0.3), None));
        assert_eq!(Column::of("origin", &BTreeMap::new(), 2), None);
    }

    #[test]
    fn what_is_dealt_out_is_what_was_drawn() {
        let mut random = Random::new(3, 0);
        let column = Column {
            name: "origin".into(),
            values: vec![(Some("JFK".into()), 0.5), (Some("LGA".into()), 0.3), (None, 0.2)],
        };
        let counts = |n, events| Sample::Counts { n, events };
        let mut kept = Kept { is_rate: true, ..Kept::default() };
        kept.within[0].add(&counts(300, 150));
        kept.rest[0].add(&counts(700, 70));
        let sizes = |hands: &[Drawn]| -> Vec<(u64, u64)> {
            let of = |hand: &Drawn| {
                let Sample::Counts { n, events } = hand
                    .clone()
                    .sample(&Kind::EventRate { tolerate: 1.0, reject: 2.0, negligible: None }, true)
                else {
                    panic!()
                };
                (n, events)
            };
            hands.iter().map(of).collect()
        };
        // At home the harmed ones stay together, and the others go elsewhere.
        let home = sizes(&kept.dealt(0, &column, Some(1), &mut random));
        assert_eq!(home[1], (300, 150));
        assert_eq!((home[0].0 + home[2].0, home[0].1 + home[2].1), (700, 70));
        assert!((400..600).contains(&home[0].0), "{home:?}");
        // In another input they are everywhere.
        let other = sizes(&kept.dealt(0, &column, None, &mut random));
        assert_eq!(other.iter().map(|(n, _)| n).sum::<u64>(), 1_000);
        assert!((430..570).contains(&other[0].0) && (20..100).contains(&other[2].1), "{other:?}");
    }
}

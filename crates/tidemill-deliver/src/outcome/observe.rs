//! Rows of one stretch of traffic as observations.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_core::Digest;

use super::value::{Answer, Label};
use super::{COST, Epoch, KPI, Measures, PAIRED_COST, PAIRED_QUALITY, QUALITY};
use crate::judge::{Judge, Observation, Sample, Slice, Slices};

/// One row of a request whose time has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// What the candidate answered, to the caller or as a shadow.
    pub candidate: Option<Answer>,
    /// What the incumbent answered.
    pub incumbent: Option<Answer>,
    /// What was true; none where nobody said so.
    pub label: Option<Label>,
    /// The business number.
    pub kpi: Option<f64>,
    /// The values of the inputs by which the judge groups requests, in their order; none where it is no name of a group.
    pub slices: Vec<Option<String>>,
}

/// What rows say, all of them requests of one epoch; of all of them, and of each slice that `judge` asks for. Rows of which nothing is
/// known say nothing.
pub fn observations(
    measures: &Measures,
    epoch: &Epoch,
    candidate: Digest,
    incumbent: Digest,
    rows: &[Row],
    judge: Option<&Judge>,
) -> Vec<Observation> {
    let thresholds = [measures.threshold_of(candidate), measures.threshold_of(incumbent)];
    let of = |rows: &mut dyn Iterator<Item = &Row>, slice: Option<Slice>| {
        let mut seen = Seen::default();
        rows.for_each(|row| seen.take(measures, epoch, thresholds, row));
        seen.observations(epoch, slice)
    };
    let mut all = of(&mut rows.iter(), None);
    let Some((judge, limits)) = judge.and_then(|judge| Some((judge, judge.spec().slices.as_ref()?))) else {
        return all;
    };
    for (at, column) in limits.by.iter().enumerate() {
        let named = named(judge, limits, (at, column), rows);
        let mut groups: BTreeMap<Option<&str>, Vec<&Row>> = BTreeMap::new();
        for row in rows {
            let value = row.slices.get(at).and_then(Option::as_deref);
            groups.entry(value.filter(|value| named.contains(value))).or_default().push(row);
        }
        for (value, rows) in groups {
            let slice = Slice { column: column.clone(), value: value.map(str::to_owned) };
            all.extend(of(&mut rows.into_iter(), Some(slice)));
        }
    }
    all
}

/// The values of a column that are groups of their own: those that the judge knows, and the most frequent of the new ones as long as
/// there is room.
fn named<'a>(
    judge: &'a Judge,
    limits: &Slices,
    (at, column): (usize, &str),
    rows: &'a [Row],
) -> BTreeSet<&'a str> {
    let mut named: BTreeSet<&str> = judge.slice_values(column).collect();
    let mut new: BTreeMap<&str, usize> = BTreeMap::new();
    for value in rows.iter().filter_map(|row| row.slices.get(at)?.as_deref()) {
        if !named.contains(value) {
            *new.entry(value).or_default() += 1;
        }
    }
    let mut new: Vec<(&str, usize)> = new.into_iter().collect();
    new.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let room = (limits.most as usize).saturating_sub(named.len());
    named.extend(new.into_iter().take(room).map(|(value, _)| value));
    named
}

#[derive(Default)]
struct Seen {
    cost: Values,
    quality: Values,
    kpi: [Vec<f64>; 2],
}

/// Values of one metric.
#[derive(Default)]
struct Values {
    arms: [Vec<f64>; 2],
    differences: Vec<f64>,
}

impl Values {
    fn take(&mut self, epoch: &Epoch, candidate: Option<f64>, incumbent: Option<f64>) {
        match (candidate, incumbent) {
            (Some(candidate), Some(incumbent)) if epoch.shadow > 0 => {
                self.differences.push(candidate - incumbent);
            }
            // A shadow's answers alone are another set of requests than the incumbent's.
            _ if epoch.shadow > 0 => {}
            (Some(candidate), None) => self.arms[0].push(candidate),
            (None, Some(incumbent)) => self.arms[1].push(incumbent),
            _ => {}
        }
    }
}

impl Seen {
    fn take(&mut self, measures: &Measures, epoch: &Epoch, thresholds: [f64; 2], row: &Row) {
        let answers = [&row.candidate, &row.incumbent];
        if let Some(label) = &row.label {
            let is_positive = label.is(&measures.positive);
            let of = |at: usize, measure: &dyn Fn(&Answer, f64) -> Option<f64>| {
                answers[at].as_ref().and_then(|answer| measure(answer, thresholds[at]))
            };
            let money = |answer: &Answer, threshold: f64| {
                let acts = answer.acts(threshold, &measures.positive)?;
                measures.costs.as_ref().map(|costs| costs.of(is_positive, acts))
            };
            let badness = |answer: &Answer, threshold: f64| {
                answer.badness(measures.quality, is_positive, threshold, &measures.positive)
            };
            self.cost.take(epoch, of(0, &money), of(1, &money));
            self.quality.take(epoch, of(0, &badness), of(1, &badness));
        }
        // A shadow changes nothing in the world, so only who answered has a business number.
        if let Some(kpi) = row.kpi
            && epoch.shadow == 0
        {
            let place = usize::from(row.candidate.is_none());
            if answers[place].is_some() {
                self.kpi[place].push(kpi);
            }
        }
    }

    fn observations(self, epoch: &Epoch, slice: Option<Slice>) -> Vec<Observation> {
        let mut observations = Vec::new();
        let mut add = |metric: &str, candidate: Sample, baseline: Sample| {
            if candidate.n() + baseline.n() > 0 {
                observations.push(Observation {
                    metric: metric.to_owned(),
                    slice: slice.clone(),
                    candidate,
                    baseline,
                });
            }
        };
        let is_shared = epoch.share().is_some();
        for (metric, paired, values) in
            [(COST, PAIRED_COST, self.cost), (QUALITY, PAIRED_QUALITY, self.quality)]
        {
            add(paired, counted(values.differences), Sample::Values(Vec::new()));
            let [candidate, incumbent] = values.arms;
            if is_shared {
                add(metric, counted(candidate), counted(incumbent));
            }
        }
        let [candidate, incumbent] = self.kpi;
        if is_shared {
            add(KPI, moments(candidate), moments(incumbent));
        }
        observations
    }
}

/// Distinct values in their order with how often each is there, so that the order of rows does not matter.
fn counted(mut values: Vec<f64>) -> Sample {
    values.sort_by(f64::total_cmp);
    let mut counted: Vec<(f64, u64)> = Vec::new();
    for value in values {
        match counted.last_mut() {
            Some((known, count)) if *known == value => *count += 1,
            _ => counted.push((value, 1)),
        }
    }
    Sample::Values(counted)
}

/// Sums in the order of the values, for the same reason.
fn moments(mut values: Vec<f64>) -> Sample {
    values.sort_by(f64::total_cmp);
    let sum = values.iter().sum();
    let sumsq = values.iter().map(|value| value * value).sum();
    Sample::Moments { n: values.len() as u64, sum, sumsq }
}

//! Groups of requests that are judged by themselves, by the value of an input: a candidate may be good on average and bad on a few.
//!
//! Slices only look for harm. They can hold or end a rollout, and advancing asks nothing of them beyond that none is proven to be harmed:
//! proof of safety on every one would never come for those that are rare.
//!
//! The part of a metric's budget that is for slices is split by the order in which they have had enough requests: the k-th gets
//! `1/(k(k+1))` of it, which sums up to all of it however many come. Its evidence counts from there. So what a slice gets is settled
//! before anything is known of what came of the requests that it is judged by.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::metric::{MetricState, Traffic};
use super::sample::Sample;
use super::spec::{Kind, Metric, Slices};

/// The value of requests that were refused and of which it could not be read; it is judged beside those that the limit is about.
const UNREAD: &str = "(not read)";

/// Requests with one value of an input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slice {
    /// The input.
    pub column: String,
    /// Its value; none for all values that are not judged by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}", self.column),
            None => write!(f, "other values of {}", self.column),
        }
    }
}

/// All slices of a judge. Their number is bounded by the declaration, and what is kept of each does not grow with requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Slicing {
    /// Ordered, so that the same looks give the same bytes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    columns: BTreeMap<String, Column>,
    /// Of each metric, how many of its series have begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    begun: Vec<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Column {
    values: BTreeMap<String, Vec<Series>>,
    /// All other values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    other: Vec<Series>,
}

/// One metric of one slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Series {
    /// Requests of candidate and baseline before there were enough.
    before: (u64, u64),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    test: Option<Test>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Test {
    /// Which one of its metric it is, by when it began; from 1.
    rank: u64,
    state: MetricState,
}

/// A series that is judged.
pub(super) struct Judged<'a> {
    pub(super) slice: Slice,
    pub(super) state: &'a MetricState,
    /// Requests of candidate and baseline, those before it was judged among them.
    pub(super) samples: (u64, u64),
    /// Its part of what the metric has for slices.
    pub(super) weight: f64,
}

impl Slicing {
    /// Takes up what was seen of the metric at `at` in a slice; slices that are not declared are passed over.
    pub(super) fn look(
        &mut self,
        (metrics, limits): (&[Metric], &Slices),
        at: usize,
        slice: &Slice,
        traffic: Traffic,
        [candidate, baseline]: [&Sample; 2],
    ) {
        let Some(kind) = metrics.get(at).map(|metric| &metric.kind) else { return };
        // A hard limit holds for all requests already.
        if !limits.by.contains(&slice.column) || matches!(kind, Kind::Event { .. }) {
            return;
        }
        let column = self.columns.entry(slice.column.clone()).or_default();
        let is_read = |value: &&String| value.as_str() != UNREAD;
        let is_full = column.values.keys().filter(is_read).count() >= limits.most as usize;
        let series = match &slice.value {
            Some(value) if !is_full || value == UNREAD || column.values.contains_key(value) => {
                column.values.entry(value.clone()).or_default()
            }
            _ => &mut column.other,
        };
        series.resize_with(metrics.len(), Series::default);
        self.begun.resize(metrics.len(), 0);
        let (Some(series), Some(begun)) = (series.get_mut(at), self.begun.get_mut(at)) else { return };
        if let Some(test) = &mut series.test {
            test.state.update(kind, traffic, candidate, baseline);
            return;
        }
        series.before = (series.before.0 + candidate.n(), series.before.1 + baseline.n());
        let enough = match kind {
            Kind::Paired { .. } => series.before.0,
            _ => series.before.0.min(series.before.1),
        };
        if enough >= limits.min_samples {
            *begun += 1;
            series.test = Some(Test { rank: *begun, state: MetricState::of_harm(kind) });
        }
    }

    /// The series of the metric at `at` that are judged.
    pub(super) fn judged(&self, at: usize) -> impl Iterator<Item = Judged<'_>> {
        self.columns.iter().flat_map(move |(name, column)| {
            let slice = |value: Option<&String>| Slice { column: name.clone(), value: value.cloned() };
            let values = column.values.iter().map(move |(value, series)| (slice(Some(value)), series));
            let other = (Slice { column: name.clone(), value: None }, &column.other);
            values.chain([other]).filter_map(move |(slice, series)| {
                let Series { before, test } = series.get(at)?;
                let Test { rank, state } = test.as_ref()?;
                let (candidate, baseline) = state.samples();
                let rank = *rank as f64;
                Some(Judged {
                    slice,
                    state,
                    samples: (before.0 + candidate, before.1 + baseline),
                    weight: 1.0 / (rank * (rank + 1.0)),
                })
            })
        })
    }

    /// The values of a column that are judged by themselves, or will be.
    pub(super) fn values(&self, column: &str) -> impl Iterator<Item = &str> {
        self.columns.get(column).into_iter().flat_map(|column| column.values.keys().map(String::as_str))
    }
}

//! All metrics together: the budget is split, and their evidence becomes one verdict.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidemill_stats::exact;
use tidemill_stats::sequential::{REFUSE, SampleRatio};

use super::metric::{MetricState, Traffic};
use super::sample::Sample;
use super::slices::{Judged, Slice, Slicing};
use super::spec::{ERRORS, Metric, REFUSALS, Spec, SpecError, Tier};

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The candidate may have more traffic.
    Advance,
    /// Nothing is proven yet, or something must be looked at.
    Hold,
    /// The candidate does harm.
    Rollback,
}

/// One thing that led to a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Why {
    /// Nothing was seen of a metric.
    NoData {
        /// The metric.
        metric: String,
    },
    /// The metric is not proven to be below its `reject` limit.
    NotProven {
        /// The metric.
        metric: String,
    },
    /// Harm above `tolerate` is proven.
    Harm {
        /// The metric.
        metric: String,
        /// The slice, where it is not all requests.
        slice: Option<Slice>,
    },
    /// Arms did not get the traffic that they should have got; no comparison of them can be trusted.
    SampleRatio,
}

/// The judge's answer after a look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What happens next.
    pub decision: Decision,
    /// What led to it; empty for `advance`.
    pub why: Vec<Why>,
}

/// How a metric stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing was seen.
    NoData,
    /// Neither harm nor safety is proven.
    Open,
    /// Harm is proven to be below `reject`.
    Certified,
    /// Harm is proven to be above `tolerate`.
    Harmful,
}

/// A metric in numbers, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricView {
    /// The metric.
    pub metric: String,
    /// The slice, where it is not all requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
    /// How it stands.
    pub standing: Standing,
    /// Requests or values of the candidate.
    pub candidate: u64,
    /// Requests or values of the baseline.
    pub baseline: u64,
    /// Estimated harm, in the metric's unit; a ratio for rates.
    pub harm: Option<f64>,
    /// Its standard error.
    pub standard_error: Option<f64>,
    /// Natural logarithm of the evidence of harm, and what it needs to reach.
    pub ln_harm: f64,
    /// The limit of `ln_harm` from which harm is proven.
    pub ln_harm_needed: f64,
    /// Natural logarithm of the evidence of safety.
    pub ln_safe: f64,
    /// The limit of `ln_safe` from which safety is proven.
    pub ln_safe_needed: f64,
}

impl MetricView {
    /// How much there is of the evidence of harm that is needed; from 1 on it is proven.
    pub fn harm_proven(&self) -> f64 {
        self.ln_harm / self.ln_harm_needed
    }

    /// The same of safety.
    pub fn safety_proven(&self) -> f64 {
        self.ln_safe / self.ln_safe_needed
    }

    /// Those of slices, with the most evidence of harm first.
    pub fn of_slices(views: Vec<Self>) -> Vec<Self> {
        let mut views: Vec<Self> = views.into_iter().filter(|view| view.slice.is_some()).collect();
        views.sort_by(|a, b| b.harm_proven().total_cmp(&a.harm_proven()));
        views
    }
}

/// What was seen of one metric since the last look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The metric's name; a name that the judge does not know is passed over.
    pub metric: String,
    /// The slice; none for all requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
    /// What the candidate did; for paired metrics the differences.
    pub candidate: Sample,
    /// What the baseline did.
    pub baseline: Sample,
}

/// Everything that was seen since the last look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Under what traffic.
    pub traffic: Traffic,
    /// Requests that were assigned to candidate and baseline, for the check of their ratio; none where it cannot be checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned: Option<(u64, u64)>,
    /// Per metric and slice.
    pub observations: Vec<Observation>,
}

/// The judge: its metrics and everything that it has seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    spec: Spec,
    metrics: Vec<MetricState>,
    slices: Slicing,
    ratio: SampleRatio,
    /// The largest evidence against the planned split.
    #[serde(with = "exact::number")]
    ln_ratio: f64,
    looks: u64,
}

impl Judge {
    /// A judge that has seen nothing.
    pub fn new(spec: Spec) -> Result<Self, SpecError> {
        spec.check()?;
        let metrics = spec.metrics.iter().map(|metric| MetricState::new(&metric.kind)).collect();
        Ok(Self {
            spec,
            metrics,
            slices: Slicing::default(),
            ratio: SampleRatio::default(),
            ln_ratio: 0.0,
            looks: 0,
        })
    }

    /// What it was told.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// How many looks it has seen.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// The metrics over all requests, in the order of the specification.
    pub(super) fn states(&self) -> &[MetricState] {
        &self.metrics
    }

    /// Natural logarithm of the largest evidence against the planned split.
    pub(super) fn ln_ratio(&self) -> f64 {
        self.ln_ratio
    }

    /// Takes up a look.
    pub fn look(&mut self, look: &Look) {
        self.looks += 1;
        if let (Some((candidate, baseline)), Some(share)) = (look.assigned, look.traffic.share) {
            self.ratio.update(share, candidate, baseline);
            self.ln_ratio = self.ln_ratio.max(self.ratio.ln_evidence());
        }
        for observation in &look.observations {
            let Some(at) = self.spec.metrics.iter().position(|metric| metric.name == observation.metric)
            else {
                continue;
            };
            let Observation { slice, candidate, baseline, .. } = observation;
            match (slice, &self.spec.slices) {
                (None, _) => {
                    let kind = &self.spec.metrics[at].kind;
                    self.metrics[at].update(kind, look.traffic, candidate, baseline);
                }
                (Some(_), None) => {}
                (Some(slice), Some(limits)) => {
                    let declared = (self.spec.metrics.as_slice(), limits);
                    self.slices.look(declared, at, slice, look.traffic, [candidate, baseline]);
                }
            }
        }
    }

    /// Takes up a look at the candidate when nothing is drawn to the incumbent any more: its rates are held against those that the incumbent
    /// had until then.
    pub fn look_alone(&mut self, look: &Look) {
        self.looks += 1;
        for observation in look.observations.iter().filter(|observation| observation.slice.is_none()) {
            let mut metrics = self.spec.metrics.iter();
            if let Some(at) = metrics.position(|metric| metric.name == observation.metric) {
                self.metrics[at].update_alone(&self.spec.metrics[at].kind, &observation.candidate);
            }
        }
    }

    /// The values of an input that are judged by themselves, or will be when they have had enough requests.
    pub fn slice_values(&self, column: &str) -> impl Iterator<Item = &str> {
        self.slices.values(column)
    }

    /// Natural logarithm of the evidence that this candidate is better in a metric than that of another judge, which has looked at the
    /// same incumbent under the same shares. None where nothing can be said, or it is not better.
    ///
    /// Where shares are the same, requests of one are like those of the other, so rates are compared by who of the two had the events,
    /// and means by their estimated harms. What both owe to the incumbent cancels in the difference and is counted as noise of both, so
    /// the evidence is rather too small.
    pub fn ln_better(&self, other: &Self, metric: &str) -> Option<f64> {
        let at = self.spec.metrics.iter().position(|known| known.name == metric)?;
        self.metrics.get(at)?.ln_better(other.metrics.get(at)?, &self.spec.metrics.get(at)?.kind)
    }

    /// The verdict, where advancing needs proof on the required metrics of `tiers`.
    pub fn verdict(&self, tiers: &BTreeSet<Tier>) -> Verdict {
        let mut harms = Vec::new();
        let (mut holds, mut rollback) = (Vec::new(), false);
        for (at, metric) in self.spec.metrics.iter().enumerate() {
            for slice in self.harmed(at) {
                rollback |= metric.critical;
                harms.push(Why::Harm { metric: metric.name.clone(), slice });
            }
        }
        if rollback {
            return Verdict { decision: Decision::Rollback, why: harms };
        }
        if self.ln_ratio >= -libm::log(REFUSE) {
            holds.push(Why::SampleRatio);
        }
        let mut required = 0;
        for (metric, state) in self.spec.metrics.iter().zip(&self.metrics) {
            if !metric.needs_proof() || !tiers.contains(&metric.tier) {
                continue;
            }
            required += 1;
            if state.samples().0 == 0 {
                holds.push(Why::NoData { metric: metric.name.clone() });
            } else if state.evidence().ln_safe < self.ln_safe_needed() {
                holds.push(Why::NotProven { metric: metric.name.clone() });
            }
        }
        holds.extend(harms);
        // With nothing that needs proof there is still no advance before something was seen at all.
        if required == 0 && self.metrics.iter().all(|state| state.samples().0 == 0) {
            holds.extend(self.spec.metrics.iter().map(|metric| Why::NoData { metric: metric.name.clone() }));
        }
        let decision = if holds.is_empty() { Decision::Advance } else { Decision::Hold };
        Verdict { decision, why: holds }
    }

    /// Every metric in numbers, all requests first, then the slices that are judged.
    pub fn view(&self) -> Vec<MetricView> {
        let mut views = Vec::new();
        for (at, metric) in self.spec.metrics.iter().enumerate() {
            let state = &self.metrics[at];
            views.push(self.view_of(metric, None, state, (state.samples(), self.whole_weight())));
            views.extend(self.slices.judged(at).map(|Judged { slice, state, samples, weight }| {
                self.view_of(metric, Some(slice), state, (samples, weight * self.slices_weight()))
            }));
        }
        views
    }

    fn view_of(
        &self,
        metric: &Metric,
        slice: Option<Slice>,
        state: &MetricState,
        ((candidate, baseline), weight): ((u64, u64), f64),
    ) -> MetricView {
        let evidence = state.evidence();
        let standing = if self.is_harmful(metric, state, weight) {
            Standing::Harmful
        } else if candidate == 0 {
            Standing::NoData
        } else if evidence.ln_safe >= self.ln_safe_needed() {
            Standing::Certified
        } else {
            Standing::Open
        };
        let harm = state.harm(&metric.kind);
        MetricView {
            metric: metric.name.clone(),
            slice,
            standing,
            candidate,
            baseline,
            harm: harm.map(|(harm, _)| harm),
            standard_error: harm.and_then(|(_, error)| error).filter(|error| error.is_finite()),
            ln_harm: evidence.ln_harm.min(f64::MAX),
            ln_harm_needed: self.ln_harm_needed(metric, weight),
            ln_safe: evidence.ln_safe,
            ln_safe_needed: self.ln_safe_needed(),
        }
    }

    /// Where a metric is proven to be harmful: `None` for all requests, or slices.
    fn harmed(&self, at: usize) -> Vec<Option<Slice>> {
        let metric = &self.spec.metrics[at];
        let whole = self.is_harmful(metric, &self.metrics[at], self.whole_weight()).then_some(None);
        let slices = self
            .slices
            .judged(at)
            .filter(|judged| self.is_harmful(metric, judged.state, judged.weight * self.slices_weight()));
        whole.into_iter().chain(slices.map(|judged| Some(judged.slice))).collect()
    }

    fn is_harmful(&self, metric: &Metric, state: &MetricState, weight: f64) -> bool {
        state.evidence().ln_harm >= self.ln_harm_needed(metric, weight)
    }

    /// What evidence of harm must reach that has this part of a metric's budget.
    fn ln_harm_needed(&self, metric: &Metric, weight: f64) -> f64 {
        -libm::log(weight * self.metric_level(metric))
    }

    /// One metric's share of the budget. Errors and refusals are two ways of not answering, and have one share together.
    fn metric_level(&self, metric: &Metric) -> f64 {
        const PAIR: [&str; 2] = [ERRORS, REFUSALS];
        let has = |name: &str| self.spec.metrics.iter().any(|metric| metric.name == name);
        let is_pair = PAIR.into_iter().all(has);
        let parts = self.spec.metrics.len() - usize::from(is_pair);
        let level = self.spec.error_budget / parts as f64;
        if is_pair && PAIR.contains(&metric.name.as_str()) { level / 2.0 } else { level }
    }

    fn whole_weight(&self) -> f64 {
        if self.spec.slices.is_some() { 0.5 } else { 1.0 }
    }

    /// What all slices together have of a metric's budget.
    fn slices_weight(&self) -> f64 {
        1.0 - self.whole_weight()
    }

    /// Advancing needs every required metric, so each may use the whole budget: a candidate at a limit passes only if that metric errs.
    fn ln_safe_needed(&self) -> f64 {
        -libm::log(self.spec.error_budget)
    }
}

impl Metric {
    /// Whether advancing needs proof on it; a hard limit of events proves nothing.
    pub(crate) fn needs_proof(&self) -> bool {
        self.required && !matches!(self.kind, super::Kind::Event { .. })
    }
}

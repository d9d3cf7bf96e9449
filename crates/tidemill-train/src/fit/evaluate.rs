//! Metrics with intervals, and what decisions cost.

use tidemill_core::declare::{Costs, Metric};

use crate::frame::ClassLabel;
use crate::metric::{
    Decision, Interval, Measure, Scored, Threshold, Truth, calibrated_threshold, check, defaults, intervals,
};
use crate::report::{ChosenOn, CostReport, DecisionReport, MetricValue};
use crate::{Error, Result};

/// The metrics to report: those asked for, checked, or all that fit.
pub(super) fn chosen(asked: Option<&[Metric]>, truth: &Truth, costs: bool) -> Result<Vec<Metric>> {
    let Some(asked) = asked else { return Ok(defaults(truth, costs)) };
    let mut metrics = Vec::with_capacity(asked.len());
    for metric in asked {
        check(*metric, truth, costs)?;
        if !metrics.contains(metric) {
            metrics.push(*metric);
        }
    }
    if metrics.is_empty() { Ok(defaults(truth, costs)) } else { Ok(metrics) }
}

/// Metrics under the rows' weights, without intervals.
pub(super) fn plain(scored: &Scored, metrics: &[Metric], decision: &Decision) -> Result<Vec<MetricValue>> {
    let weights = scored.weights();
    let value = |measure: Measure| MetricValue {
        metric: measure.metric(),
        value: measure.value(&weights),
        interval: None,
    };
    Ok(Measure::prepare(scored, metrics, decision)?.into_iter().map(value).collect())
}

/// Metrics with intervals and, where costs are known, what decisions cost beside the baselines; one set of resamples
/// serves all of them.
pub(super) fn with_intervals(
    scored: &Scored,
    metrics: &[Metric],
    decision: &Decision,
    seed: u64,
) -> Result<(Vec<MetricValue>, Option<CostReport>)> {
    let weights = scored.weights();
    if !weights.iter().any(|weight| *weight > 0.0) {
        return Err(Error::NoWeight { side: "test" });
    }
    let mut measures = Measure::prepare(scored, metrics, decision)?;
    let costs = decision.costs.as_ref().and_then(|costs| Policies::new(scored, decision.threshold, costs));
    if let Some(policies) = &costs {
        measures.extend(policies.measures());
    }
    let known = intervals(&measures, &weights, seed);
    let values: Vec<Option<f64>> = measures.iter().map(|measure| measure.value(&weights)).collect();
    let report = costs.map(|policies| policies.report(&values[metrics.len()..], &known[metrics.len()..]));
    let metrics = metrics.iter().zip(values).zip(known);
    let value = |((metric, value), interval): ((&Metric, Option<f64>), Option<Interval>)| MetricValue {
        metric: *metric,
        value,
        interval,
    };
    Ok((metrics.map(value).collect(), report))
}

/// Cost of each row under the model, under never and always acting, and saved against the cheaper of these two.
struct Policies<'a> {
    costs: &'a Costs,
    model: Vec<f64>,
    never: Vec<f64>,
    always: Vec<f64>,
    saving: Vec<f64>,
    acted: f64,
}

impl<'a> Policies<'a> {
    fn new(scored: &Scored, threshold: f64, costs: &'a Costs) -> Option<Self> {
        let Truth::Classes { values, classes: 2 } = &scored.truth else { return None };
        let labels = scored.labels(threshold);
        let weights = scored.weights();
        let under = |act: &dyn Fn(usize) -> bool| -> Vec<f64> {
            values.iter().enumerate().map(|(row, class)| costs.of(*class == 1, act(row))).collect()
        };
        let sum =
            |losses: &[f64]| losses.iter().zip(&weights).map(|(loss, weight)| loss * weight).sum::<f64>();
        let (model, never, always) = (under(&|row| labels[row] == 1), under(&|_| false), under(&|_| true));
        let cheaper = if sum(&always) < sum(&never) { &always } else { &never };
        let saving = cheaper.iter().zip(&model).map(|(baseline, model)| baseline - model).collect();
        let acted: f64 = labels.iter().zip(&weights).filter(|(label, _)| **label == 1).map(|(_, w)| w).sum();
        let acted = acted / weights.iter().sum::<f64>();
        Some(Self { costs, model, never, always, saving, acted })
    }

    fn measures(&self) -> impl Iterator<Item = Measure> {
        [&self.model, &self.never, &self.always, &self.saving]
            .map(|losses| Measure::of_losses(Metric::Cost, losses.clone()))
            .into_iter()
    }

    fn report(&self, values: &[Option<f64>], intervals: &[Option<Interval>]) -> CostReport {
        let value = |at: usize| values.get(at).copied().flatten().unwrap_or(0.0);
        let interval = |at: usize| intervals.get(at).copied().flatten();
        CostReport {
            costs: self.costs.clone(),
            model: value(0),
            model_interval: interval(0),
            never: value(1),
            never_interval: interval(1),
            always: value(2),
            always_interval: interval(2),
            saving: value(3),
            saving_interval: interval(3),
            chosen_cost: value(0),
            calibrated_threshold: calibrated_threshold(self.costs),
            acted: self.acted,
        }
    }
}

/// The decision block of the report, for two classes.
pub(super) fn decision_report(
    classes: &[ClassLabel],
    decision: &Decision,
    chosen: Option<(Threshold, ChosenOn)>,
    cost: Option<CostReport>,
) -> Option<DecisionReport> {
    let [_, positive] = classes else { return None };
    let cost = cost.map(|cost| match chosen {
        Some((threshold, _)) => CostReport { chosen_cost: threshold.cost, ..cost },
        None => cost,
    });
    Some(DecisionReport {
        positive: positive.clone(),
        threshold: decision.threshold,
        chosen_on: chosen.map_or(ChosenOn::Fixed, |(_, on)| on),
        cost,
    })
}

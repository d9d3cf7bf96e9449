//! What is decided on held-out training rows: the parameters, the threshold, and the cross-validation's figures.

use tidemill_core::declare::{Costs, Metric, SplitBy, Training};
use tidemill_core::{Progress, Unit};

use super::learn::{Inner, check_sides, learn, named, score, split};
use super::source::{Data, Keys};
use crate::metric::{Decision, Measure, Scored, Threshold, Truth, best_threshold, is_better, name};
use crate::report::{ChosenOn, CvMetric, CvReport, FoldReport, MetricValue, SearchReport, TrialReport};
use crate::search::{Parameters, candidates};
use crate::split::{Draw, Sides, folds};
use crate::{Error, Result};

/// Share of the training rows that a single validation split holds out, for a search or a threshold without folds.
const VALIDATION: f64 = 0.2;

/// What the held-out training rows decided.
pub(super) struct Held {
    pub(super) parameters: Parameters,
    /// The answers that choose the threshold, with their origin; `None` where nothing was held out.
    pub(super) scored: Option<(Vec<Scored>, ChosenOn)>,
    pub(super) cv: Option<CvReport>,
    pub(super) search: Option<SearchReport>,
}

/// The training rows and how they are split further.
pub(super) struct Course<'a> {
    pub(super) training: &'a Training,
    pub(super) data: &'a Data,
    pub(super) keys: &'a Keys,
    pub(super) cv_keys: Option<&'a Keys>,
    /// Metrics of the report.
    pub(super) metrics: &'a [Metric],
    /// Costs, where they fit the task.
    pub(super) costs: Option<&'a Costs>,
    pub(super) progress: &'a dyn Progress,
}

impl Course<'_> {
    /// Searches, cross-validates, or holds out a part for the threshold, as far as each is needed.
    pub(super) fn run(&self) -> Result<Held> {
        let declared = Parameters::declared(self.training);
        let trials = match &self.training.search {
            Some(search) => {
                crate::metric::check(search.metric, &self.truth(), self.costs.is_some())?;
                candidates(search, self.training.seed)?
            }
            None => Vec::new(),
        };
        let stops = matches!(&declared, Parameters::Gbdt(params) if params.early_stopping.is_some());
        let needs_threshold = self.costs.is_some() && !stops;
        if self.training.cv.is_none() && trials.is_empty() && !needs_threshold {
            return Ok(Held { parameters: declared, scored: None, cv: None, search: None });
        }
        let sides = self.sides()?;
        let fits = sides.len() * trials.len().max(1);
        let phase = if trials.is_empty() { "validating" } else { "searching" };
        self.progress.begin(phase, Some(fits as u64), Unit::Items);
        let (parameters, scored, search) = match &self.training.search {
            Some(search) => self.search(search, &declared, &trials, &sides)?,
            None => (declared.clone(), self.hold(&declared, &sides)?, None),
        };
        let chosen_on = if self.training.cv.is_some() { ChosenOn::OutOfFold } else { ChosenOn::Validation };
        let cv = match &self.training.cv {
            Some(cv) => Some(self.cv_report(cv.by, &sides, &scored)?),
            None => None,
        };
        Ok(Held { parameters, scored: Some((scored, chosen_on)), cv, search })
    }

    fn truth(&self) -> Truth {
        match &self.data.target {
            crate::frame::Target::Regression(_) => Truth::Numbers(Vec::new()),
            crate::frame::Target::Classes { classes, .. } => {
                Truth::Classes { values: Vec::new(), classes: classes.len() }
            }
        }
    }

    /// The folds, or a single validation split.
    fn sides(&self) -> Result<Vec<Sides>> {
        let (seed, target) = (self.training.seed, &self.data.target);
        let (Some(cv), Some(keys)) = (&self.training.cv, self.cv_keys) else {
            return Ok(vec![split(self.keys, VALIDATION, seed, Draw::Validation, target)?]);
        };
        let sides = folds(keys.by(), cv.folds, seed).map_err(|error| named(error, target))?;
        for (fold, side) in sides.iter().enumerate() {
            check_sides(side, target, &format!("fold {}", fold + 1))?;
        }
        Ok(sides)
    }

    /// Fits on the training rows of each side and answers its held-out rows.
    fn hold(&self, parameters: &Parameters, sides: &[Sides]) -> Result<Vec<Scored>> {
        let inner = Inner(self.progress);
        sides
            .iter()
            .map(|sides| {
                let (train, keys) = (self.data.take(&sides.train), self.keys.take(&sides.train));
                let learned = learn(parameters, &train, &keys, self.training.seed, &inner)?;
                self.progress.advance(1);
                Ok(score(&learned.model, &self.data.take(&sides.test)))
            })
            .collect()
    }

    fn search(
        &self,
        search: &tidemill_core::declare::Search,
        declared: &Parameters,
        trials: &[crate::search::Candidate],
        sides: &[Sides],
    ) -> Result<(Parameters, Vec<Scored>, Option<SearchReport>)> {
        let mut best: Option<(usize, f64, Parameters, Vec<Scored>)> = None;
        let mut reports = Vec::with_capacity(trials.len());
        for (at, candidate) in trials.iter().enumerate() {
            let parameters = declared.with(candidate)?;
            let scored = self.hold(&parameters, sides)?;
            let values = self.values(search.metric, &scored)?;
            let value = mean(&values);
            reports.push(TrialReport { parameters: candidate.clone(), value, folds: values });
            if let Some(value) = value
                && best.as_ref().is_none_or(|(_, least, ..)| is_better(search.metric, value, *least))
            {
                best = Some((at, value, parameters, scored));
            }
        }
        let (at, _, parameters, scored) = best.ok_or(Error::MetricUndefined {
            metric: name(search.metric),
            reason: "no trial of the search has a value",
        })?;
        let report = SearchReport {
            method: search.method,
            metric: search.metric,
            folds: sides.len() as u64,
            trials: reports,
            best: at as u64,
        };
        Ok((parameters, scored, Some(report)))
    }

    /// A metric on each side, at the threshold that is best for all of them together.
    fn values(&self, metric: Metric, scored: &[Scored]) -> Result<Vec<Option<f64>>> {
        let decision = decision(scored, self.costs).0;
        let one = |scored: &Scored| {
            let measures = Measure::prepare(scored, &[metric], &decision)?;
            Ok(measures[0].value(&scored.weights()))
        };
        scored.iter().map(one).collect()
    }

    fn cv_report(&self, by: SplitBy, sides: &[Sides], scored: &[Scored]) -> Result<CvReport> {
        let mut reports: Vec<FoldReport> = sides
            .iter()
            .map(|sides| FoldReport {
                train_rows: sides.train.len() as u64,
                test_rows: sides.test.len() as u64,
                metrics: Vec::new(),
            })
            .collect();
        let mut metrics = Vec::with_capacity(self.metrics.len());
        for metric in self.metrics {
            let values = self.values(*metric, scored)?;
            for (fold, value) in reports.iter_mut().zip(&values) {
                fold.metrics.push(MetricValue { metric: *metric, value: *value, interval: None });
            }
            metrics.push(CvMetric { metric: *metric, mean: mean(&values), std: deviation(&values) });
        }
        Ok(CvReport { by, folds: reports, metrics })
    }
}

/// The decision for these answers: at the threshold of least cost over all of them, or at one half without costs.
pub(super) fn decision(scored: &[Scored], costs: Option<&Costs>) -> (Decision, Option<Threshold>) {
    let Some(costs) = costs else { return (Decision::default(), None) };
    let mut positive: Vec<bool> = Vec::new();
    let mut probability = Vec::new();
    let mut weights = Vec::new();
    for part in scored {
        if let Truth::Classes { values, classes: 2 } = &part.truth {
            positive.extend(values.iter().map(|class| *class == 1));
            probability.extend_from_slice(&part.answers);
            weights.extend(part.weights());
        }
    }
    let threshold = best_threshold(&positive, &probability, Some(&weights), costs);
    let value = threshold.map_or(0.5, |threshold| threshold.value);
    (Decision { threshold: value, costs: Some(costs.clone()) }, threshold)
}

fn mean(values: &[Option<f64>]) -> Option<f64> {
    let known: Vec<f64> = values.iter().flatten().copied().collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

fn deviation(values: &[Option<f64>]) -> Option<f64> {
    let known: Vec<f64> = values.iter().flatten().copied().collect();
    let mean = mean(values)?;
    let squares: f64 = known.iter().map(|value| (value - mean).powi(2)).sum();
    (known.len() > 1).then(|| (squares / (known.len() - 1) as f64).sqrt())
}

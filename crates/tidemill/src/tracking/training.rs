//! What a built-in training tells of itself, as parameters and metrics of a tracked run.
//!
//! Names are those of the report: `roc_auc` is on the test rows, `train_roc_auc` on the rows that were learnt from,
//! `cv_roc_auc_mean` over the folds; a curve has one point a round.

use std::path::Path;

use serde_json::Value;
use tidemill_db::tracking::KeyValue;
use tidemill_train::metric;
use tidemill_train::report::{Curve, MetricValue, Report, Signature};

use crate::step::train::file;

/// One value of a metric at a step of the training.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reported {
    pub(crate) key: String,
    pub(crate) step: i64,
    pub(crate) value: f64,
}

/// The report and the curves in a model's folder.
pub(crate) fn read(folder: &Path) -> anyhow::Result<(Report, Vec<Curve>)> {
    let report = crate::model_test::report(folder)?;
    let curves = fs_err::read(folder.join(file::CURVES))?;
    Ok((report, serde_json::from_slice(&curves)?))
}

/// What the model takes and gives.
pub(crate) fn signature(folder: &Path) -> anyhow::Result<Signature> {
    Ok(serde_json::from_slice(&fs_err::read(folder.join(file::SIGNATURE))?)?)
}

/// The parameters that were used, with what decides how the numbers came about.
pub(crate) fn params(report: &Report) -> Vec<KeyValue> {
    let mut params = Vec::new();
    let mut add = |key: &str, value: String| params.push(KeyValue { key: key.to_owned(), value });
    add("algorithm", word(&report.algorithm));
    add("seed", report.seed.to_string());
    add("target", report.task.target.clone());
    add("split", word(&report.split.by));
    for (key, value) in &report.parameters {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        add(key, text);
    }
    if let Some(decision) = &report.decision {
        add("threshold", decision.threshold.to_string());
        add("threshold_chosen_on", word(&decision.chosen_on));
    }
    params
}

/// Final values and curves.
pub(crate) fn metrics(report: &Report, curves: &[Curve]) -> Vec<Reported> {
    let mut metrics = Vec::new();
    let mut add = |key: String, value: Option<f64>| {
        metrics.extend(value.map(|value| Reported { key, step: 0, value }));
    };
    let mut all = |prefix: &str, values: &[MetricValue]| {
        for value in values {
            add(format!("{prefix}{}", metric::name(value.metric)), value.value);
            if let Some(interval) = &value.interval {
                add(format!("{prefix}{}_low", metric::name(value.metric)), Some(interval.lower));
                add(format!("{prefix}{}_high", metric::name(value.metric)), Some(interval.upper));
            }
        }
    };
    all("", &report.test);
    all("train_", &report.train);
    for value in report.cv.iter().flat_map(|cv| &cv.metrics) {
        add(format!("cv_{}_mean", metric::name(value.metric)), value.mean);
        add(format!("cv_{}_std", metric::name(value.metric)), value.std);
    }
    if let Some(cost) = report.decision.as_ref().and_then(|decision| decision.cost.as_ref()) {
        add("cost_per_decision".to_owned(), Some(cost.model));
        add("cost_saving".to_owned(), Some(cost.saving));
        add("acted_share".to_owned(), Some(cost.acted));
    }
    add("rounds".to_owned(), report.rounds.map(|rounds| rounds as f64));
    add("train_rows".to_owned(), Some(report.split.train_rows as f64));
    add("test_rows".to_owned(), Some(report.split.test_rows as f64));
    if let Some(search) = &report.search {
        // One point a trial, in the order they were made; what each trial tried is in the report beside the model.
        let key = format!("search/{}", metric::name(search.metric));
        let values =
            search.trials.iter().enumerate().filter_map(|(i, trial)| Some((i as i64 + 1, trial.value?)));
        metrics.extend(values.map(|(step, value)| Reported { key: key.clone(), step, value }));
    }
    for curve in curves {
        let points = curve.values.iter().enumerate().map(|(round, value)| Reported {
            // A curve and a final value of the same name are different things to look at.
            key: format!("curve/{}", curve.name),
            step: round as i64 + 1,
            value: *value,
        });
        metrics.extend(points);
    }
    metrics
}

/// The word by which a plain enum stands in the report.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

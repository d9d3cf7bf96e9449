//! One metric on one set of rows, ready to be evaluated under any weights.

use std::sync::Arc;

use tidemill_core::declare::{Costs, Metric};

use super::calibration::{Calibration, CalibrationBin};
use super::label::Labels;
use super::rank::Ranking;
use super::{Scored, Truth, name, sum};
use crate::{Error, Result};

/// How probabilities become decisions, and what those cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Act where the probability of class 1 reaches this; ignored for more classes and for regression.
    pub threshold: f64,
    /// Needed by [`Metric::Cost`].
    pub costs: Option<Costs>,
}

impl Default for Decision {
    fn default() -> Self {
        Self { threshold: 0.5, costs: None }
    }
}

/// A metric prepared for its rows.
pub struct Measure {
    metric: Metric,
    kind: Kind,
}

enum Kind {
    Mean(Vec<f64>),
    RootMean(Vec<f64>),
    RocAuc(Arc<Vec<Ranking>>),
    PrAuc(Arc<Vec<Ranking>>),
    F1(Labels),
    Calibration(Calibration),
    R2 { centred: Vec<f64>, squares: Vec<f64>, residuals: Vec<f64> },
}

impl Measure {
    /// Prepares metrics for the rows of `scored`.
    ///
    /// # Errors
    /// [`Error::MetricUnfit`] for a metric that does not fit the task.
    pub fn prepare(scored: &Scored, metrics: &[Metric], decision: &Decision) -> Result<Vec<Self>> {
        let mut rankings = None;
        metrics
            .iter()
            .map(|metric| {
                check(*metric, &scored.truth, decision.costs.is_some())?;
                let mut ranked = || Arc::clone(rankings.get_or_insert_with(|| Arc::new(rankings_of(scored))));
                let kind = match metric {
                    Metric::Accuracy => Kind::Mean(hits(scored, decision.threshold)),
                    Metric::LogLoss => Kind::Mean(log_losses(scored)),
                    Metric::Brier => Kind::Mean(brier_losses(scored)),
                    Metric::Cost => Kind::Mean(costs_of(scored, decision)),
                    Metric::Mae => Kind::Mean(residuals(scored).map(f64::abs).collect()),
                    Metric::Rmse => Kind::RootMean(residuals(scored).map(|r| r * r).collect()),
                    Metric::RocAuc => Kind::RocAuc(ranked()),
                    Metric::PrAuc => Kind::PrAuc(ranked()),
                    Metric::F1 => Kind::F1(labels_of(scored, decision.threshold)),
                    Metric::CalibrationError => Kind::Calibration(calibration_of(scored)),
                    Metric::R2 => r2_of(scored),
                };
                Ok(Self { metric: *metric, kind })
            })
            .collect()
    }

    /// The weighted mean of one number a row, under the name of `metric`.
    pub fn of_losses(metric: Metric, losses: Vec<f64>) -> Self {
        Self { metric, kind: Kind::Mean(losses) }
    }

    /// Which metric it is.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Its value under these weights, one a row; `None` where it is not defined, for example ROC AUC with one class.
    /// Averages over classes leave out classes for which it is not defined.
    pub fn value(&self, weights: &[f64]) -> Option<f64> {
        match &self.kind {
            Kind::Mean(losses) => sum::mean(losses, weights),
            Kind::RootMean(losses) => sum::mean(losses, weights).map(f64::sqrt),
            Kind::RocAuc(rankings) => average(rankings.iter().map(|r| r.roc_auc(weights))),
            Kind::PrAuc(rankings) => average(rankings.iter().map(|r| r.average_precision(weights))),
            Kind::F1(labels) => labels.f1(weights),
            Kind::Calibration(calibration) => calibration.error(weights),
            Kind::R2 { centred, squares, residuals } => {
                let (first, total) = sum::weighted(centred, weights);
                let (second, _) = sum::weighted(squares, weights);
                let (unexplained, _) = sum::weighted(residuals, weights);
                let spread = second - first * first / total;
                (spread > 1e-14 * second).then(|| 1.0 - unexplained / spread)
            }
        }
    }
}

/// The loss of each row: what log loss and root mean squared error are means of.
pub(crate) fn row_losses(scored: &Scored) -> Vec<f64> {
    match &scored.truth {
        Truth::Classes { .. } => log_losses(scored),
        Truth::Numbers(_) => residuals(scored).map(|r| r * r).collect(),
    }
}

/// How far each row is from right: 1 for a wrong class, the absolute error of a number.
pub(crate) fn row_errors(scored: &Scored, threshold: f64) -> Vec<f64> {
    match &scored.truth {
        Truth::Classes { .. } => hits(scored, threshold).into_iter().map(|hit| 1.0 - hit).collect(),
        Truth::Numbers(_) => residuals(scored).map(f64::abs).collect(),
    }
}

/// Each row's probability and whether it came true: of class 1 for two classes, of the answered class for more.
pub(crate) fn row_claims(scored: &Scored) -> (Vec<f64>, Vec<bool>) {
    let (truth, classes) = classes_of(scored);
    if classes == 2 {
        return (scored.answers.clone(), truth.iter().map(|class| *class == 1).collect());
    }
    let labels = scored.labels(0.5);
    let answered =
        labels.iter().enumerate().map(|(row, label)| scored.answers[row * classes + *label as usize]);
    (answered.collect(), truth.iter().zip(&labels).map(|(t, l)| t == l).collect())
}

/// The value of one metric under the rows' own weights.
///
/// # Errors
/// [`Error::MetricUnfit`], [`Error::MetricUndefined`].
pub fn measure(scored: &Scored, metric: Metric, decision: &Decision) -> Result<f64> {
    let prepared = Measure::prepare(scored, &[metric], decision)?;
    prepared[0].value(&scored.weights()).ok_or(Error::MetricUndefined {
        metric: name(metric),
        reason: "they hold one class only, a constant target, or no weight",
    })
}

/// The calibration table, [`super::BINS`] bins of equal width. For two classes of the probability of class 1, for
/// more of the probability of the answered class. Empty for regression.
pub fn calibration_table(scored: &Scored) -> Vec<CalibrationBin> {
    match scored.truth {
        Truth::Classes { .. } => calibration_of(scored).table(&scored.weights()),
        Truth::Numbers(_) => Vec::new(),
    }
}

/// All metrics that fit the task.
pub fn defaults(truth: &Truth, costs: bool) -> Vec<Metric> {
    const ALL: [Metric; 11] = [
        Metric::RocAuc,
        Metric::PrAuc,
        Metric::LogLoss,
        Metric::Brier,
        Metric::CalibrationError,
        Metric::Accuracy,
        Metric::F1,
        Metric::Rmse,
        Metric::Mae,
        Metric::R2,
        Metric::Cost,
    ];
    ALL.into_iter().filter(|metric| check(*metric, truth, costs).is_ok()).collect()
}

/// Whether a metric fits the task.
///
/// # Errors
/// [`Error::MetricUnfit`] with the reason.
pub fn check(metric: Metric, truth: &Truth, costs: bool) -> Result<()> {
    let reason = match (metric, truth) {
        (Metric::Rmse | Metric::Mae | Metric::R2, Truth::Classes { .. }) => "it is for regression",
        (Metric::Rmse | Metric::Mae | Metric::R2, Truth::Numbers(_)) => return Ok(()),
        (_, Truth::Numbers(_)) => "it is for classification",
        (Metric::Cost, Truth::Classes { classes: 3.., .. }) => "costs are for two classes",
        (Metric::Cost, Truth::Classes { .. }) if !costs => {
            "neither the training nor the objective has `costs`"
        }
        _ => return Ok(()),
    };
    Err(Error::MetricUnfit { metric: name(metric), reason })
}

fn average(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (sum, count) = values.flatten().fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// The classes of the rows; empty for regression, which `check` has refused.
fn classes_of(scored: &Scored) -> (&[u32], usize) {
    match &scored.truth {
        Truth::Classes { values, classes } => (values, *classes),
        Truth::Numbers(_) => (&[], 0),
    }
}

fn residuals(scored: &Scored) -> impl Iterator<Item = f64> {
    let truth: &[f64] = match &scored.truth {
        Truth::Numbers(values) => values,
        Truth::Classes { .. } => &[],
    };
    truth.iter().zip(&scored.answers).map(|(truth, answer)| truth - answer)
}

fn rankings_of(scored: &Scored) -> Vec<Ranking> {
    let (truth, classes) = classes_of(scored);
    if classes == 2 {
        return vec![Ranking::new(truth.len(), |row| scored.answers[row], |row| truth[row] == 1)];
    }
    (0..classes)
        .map(|class| {
            Ranking::new(
                truth.len(),
                |row| scored.answers[row * classes + class],
                |row| truth[row] as usize == class,
            )
        })
        .collect()
}

fn hits(scored: &Scored, threshold: f64) -> Vec<f64> {
    let (truth, _) = classes_of(scored);
    let labels = scored.labels(threshold);
    truth.iter().zip(&labels).map(|(truth, label)| if truth == label { 1.0 } else { 0.0 }).collect()
}

/// `-ln p` of the true class, `p` kept within machine epsilon of 0 and 1 as scikit-learn does.
fn log_losses(scored: &Scored) -> Vec<f64> {
    let (truth, classes) = classes_of(scored);
    let p_true = |(row, class): (usize, &u32)| match (classes, class) {
        (2, 0) => 1.0 - scored.answers[row],
        (2, _) => scored.answers[row],
        (_, class) => scored.answers[row * classes + *class as usize],
    };
    let loss = |p: f64| -p.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln();
    truth.iter().enumerate().map(p_true).map(loss).collect()
}

/// `(p - y)^2` for two classes; for more the sum over classes (Brier 1950), which ranges to 2.
fn brier_losses(scored: &Scored) -> Vec<f64> {
    let (truth, classes) = classes_of(scored);
    let square = |p: f64, hit: bool| (p - if hit { 1.0 } else { 0.0 }).powi(2);
    if classes == 2 {
        return truth.iter().zip(&scored.answers).map(|(class, p)| square(*p, *class == 1)).collect();
    }
    let row = |(class, row): (&u32, &[f64])| {
        row.iter().enumerate().map(|(other, p)| square(*p, other == *class as usize)).sum()
    };
    truth.iter().zip(scored.answers.chunks_exact(classes)).map(row).collect()
}

fn costs_of(scored: &Scored, decision: &Decision) -> Vec<f64> {
    let (truth, _) = classes_of(scored);
    let Some(costs) = &decision.costs else { return vec![0.0; truth.len()] };
    let cost = |(class, p): (&u32, &f64)| costs.of(*class == 1, *p >= decision.threshold);
    truth.iter().zip(&scored.answers).map(cost).collect()
}

fn labels_of(scored: &Scored, threshold: f64) -> Labels {
    let (truth, classes) = classes_of(scored);
    Labels { truth: truth.to_vec(), label: scored.labels(threshold), classes }
}

fn calibration_of(scored: &Scored) -> Calibration {
    let (probability, came_true) = row_claims(scored);
    Calibration::new(probability, came_true)
}

/// Centring on the weighted mean first keeps the spread exact for targets far from zero.
fn r2_of(scored: &Scored) -> Kind {
    let residuals = residuals(scored).map(|r| r * r).collect();
    let Truth::Numbers(truth) = &scored.truth else {
        return Kind::R2 { centred: Vec::new(), squares: Vec::new(), residuals };
    };
    let mean = sum::mean(truth, &scored.weights()).unwrap_or(0.0);
    let centred: Vec<f64> = truth.iter().map(|value| value - mean).collect();
    let squares = centred.iter().map(|value| value * value).collect();
    Kind::R2 { centred, squares, residuals }
}

//! How good a model is, by labels that came later; and how good it probably is while they are not there yet.

use serde::{Deserialize, Serialize};
use tidemill_core::declare::{Costs, Metric};
use tidemill_project::QualityMonitor;
use tidemill_stats::estimate::{ASSUMPTION, Isotonic, cbpe};
use tidemill_stats::interval::{Interval, auc, bootstrap, wilson};
use tidemill_stats::quality::Confusion;
use tidemill_stats::special::normal_quantile;

use crate::releases::AnsweredBy;
use crate::verdict::{Evidence, Exposure, State, Verdict, Without};

/// Answers of a window with their labels. All columns have the same rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Labels {
    /// Of a decision between two classes.
    Classes {
        /// Whether the label is the positive class.
        positive: Vec<bool>,
        /// Score of the positive class.
        scores: Vec<f64>,
        /// Whether the positive class was answered.
        said: Vec<bool>,
    },
    /// Of a choice among more classes, or among classes of which none is named as the positive one.
    Kinds {
        /// The class of each row, by its number.
        truth: Vec<u32>,
        /// The class that was answered.
        said: Vec<u32>,
    },
    /// Of numbers.
    Numbers {
        /// What was true.
        truth: Vec<f64>,
        /// What was answered.
        answers: Vec<f64>,
    },
}

impl Labels {
    /// Rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes { positive, .. } => positive.len(),
            Self::Kinds { truth, .. } => truth.len(),
            Self::Numbers { truth, .. } => truth.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A mature window.
#[derive(Clone, Debug, PartialEq)]
pub struct QualitySeen {
    /// Its predictions.
    pub predictions: u64,
    /// Those with a label.
    pub labels: Labels,
    /// What was estimated before the labels came.
    pub estimated: Option<f64>,
    /// The model and version that answered, where one answered them all.
    pub version: Option<(String, String)>,
}

/// What decisions of the window cost, for the version that made them all; nothing where several did, or the objective names no costs.
fn cost_of_version(seen: &QualitySeen, verdict: &Verdict) -> Vec<AnsweredBy> {
    let Some(Evidence::Quality { labelled, cost_per_decision: Some(cost), .. }) = &verdict.evidence else {
        return Vec::new();
    };
    let by = |(model, version): &(String, String)| AnsweredBy {
        model: model.clone(),
        version: version.clone(),
        sum: cost * *labelled as f64,
        outcomes: *labelled,
    };
    seen.version.iter().map(by).collect()
}

/// How an estimate did once the labels had come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// What was estimated.
    pub estimated: f64,
    /// Estimate minus what the labels say.
    pub error: f64,
}

/// What a figure probably is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimated {
    /// The figure.
    pub value: f64,
    /// Rows that it is of.
    pub rows: u64,
    /// Rows that the probabilities were calibrated on.
    pub calibrated_on: u64,
}

/// Labels from which on a window is judged, and of each class.
const ENOUGH: usize = 50;
/// Resamples where an interval has no formula.
const RESAMPLES: u32 = 400;
const SEED: u64 = 11;
/// Rows that are resampled; of more every so many is taken, which widens the interval and never narrows it.
const MOST_RESAMPLED: usize = 20_000;
/// Level of intervals.
const LEVEL: f64 = 0.95;

/// A metric of labelled rows with its 95 % interval: DeLong's for `roc_auc`, Wilson's for `accuracy`, the central limit theorem's
/// for means over rows (`brier`, `log_loss`, `mae`, `cost`; the root of it for `rmse`), percentiles of resamples for `f1`, `pr_auc`
/// and `r2`.
///
/// # Errors
///
/// Says why there is no figure.
pub fn measure(metric: Metric, labels: &Labels, costs: Option<&Costs>) -> Result<Interval, String> {
    let few = || format!("{} labels are fewer than {ENOUGH}", labels.len());
    if labels.len() < ENOUGH {
        return Err(few());
    }
    match labels {
        Labels::Classes { positive, scores, said } => classes(metric, positive, scores, said, costs),
        Labels::Kinds { truth, said } => kinds(metric, truth, said),
        Labels::Numbers { truth, answers } => numbers(metric, truth, answers),
    }
}

fn classes(
    metric: Metric,
    positive: &[bool],
    scores: &[f64],
    said: &[bool],
    costs: Option<&Costs>,
) -> Result<Interval, String> {
    let one_class = || "the labels are of one class only".to_owned();
    let rows =
        || positive.iter().zip(scores).map(|(positive, score)| (f64::from(u8::from(*positive)), *score));
    match metric {
        Metric::RocAuc => auc(positive, scores).map(|found| found.interval(LEVEL)).ok_or_else(one_class),
        Metric::Accuracy => {
            let right = positive.iter().zip(said).filter(|(truth, said)| truth == said).count();
            wilson(right as f64, positive.len() as f64, LEVEL).ok_or_else(one_class)
        }
        Metric::Brier => mean(rows().map(|(truth, score)| (truth - score).powi(2)).collect()),
        Metric::LogLoss => mean(rows().map(|(truth, score)| log_loss(truth, score)).collect()),
        Metric::Cost => {
            let costs = costs.ok_or_else(|| "the objective names no costs".to_owned())?;
            mean(positive.iter().zip(said).map(|(truth, said)| costs.of(*truth, *said)).collect())
        }
        Metric::F1 => {
            let truth = thinned(positive);
            let said = thinned(said);
            resampled(truth.len(), |index| {
                let mut confusion = Confusion::default();
                index.iter().for_each(|at| confusion.add(truth[*at as usize], said[*at as usize], 1.0));
                confusion.f1().unwrap_or(f64::NAN)
            })
            .ok_or_else(one_class)
        }
        Metric::PrAuc => {
            let (truth, scores) = (thinned(positive), thinned(scores));
            resampled(truth.len(), |index| average_precision(&truth, &scores, index)).ok_or_else(one_class)
        }
        Metric::CalibrationError | Metric::Rmse | Metric::Mae | Metric::R2 => Err(unfit(metric, "classes")),
    }
}

/// Of more classes than two: the share of rows whose class was answered, and the plain mean of each class's F1. Other metrics are of a
/// positive class and its score.
fn kinds(metric: Metric, truth: &[u32], said: &[u32]) -> Result<Interval, String> {
    let none = || "there is no class".to_owned();
    match metric {
        Metric::Accuracy => {
            let right = truth.iter().zip(said).filter(|(truth, said)| truth == said).count();
            wilson(right as f64, truth.len() as f64, LEVEL).ok_or_else(none)
        }
        Metric::F1 => {
            let (truth, said) = (thinned(truth), thinned(said));
            let classes = truth.iter().chain(&said).max().map_or(0, |most| *most as usize + 1);
            // Of each class: how often it was answered rightly, and how often it was true or answered.
            let mut counts = vec![(0.0_f64, 0.0_f64); classes];
            resampled(truth.len(), |index| {
                counts.fill((0.0, 0.0));
                for at in index {
                    let (truth, said) = (truth[*at as usize] as usize, said[*at as usize] as usize);
                    counts[truth].0 += f64::from(u8::from(truth == said));
                    counts[truth].1 += 1.0;
                    counts[said].1 += 1.0;
                }
                let each = counts.iter().filter(|(_, all)| *all > 0.0).map(|(right, all)| 2.0 * right / all);
                let (sum, classes) = each.fold((0.0, 0.0), |(sum, classes), f1| (sum + f1, classes + 1.0));
                sum / classes
            })
            .ok_or_else(none)
        }
        _ => {
            let name = name_of(metric);
            Err(format!(
                "`{name}` is of a positive class and its score: of two classes name one as `positive` in `objective.task`, of more watch `accuracy` or `f1`"
            ))
        }
    }
}

fn numbers(metric: Metric, truth: &[f64], answers: &[f64]) -> Result<Interval, String> {
    let errors = || truth.iter().zip(answers).map(|(truth, answer)| answer - truth);
    match metric {
        Metric::Mae => mean(errors().map(f64::abs).collect()),
        Metric::Rmse => {
            let squares = mean(errors().map(|error| error * error).collect())?;
            let root = |value: f64| value.max(0.0).sqrt();
            Ok(Interval {
                estimate: root(squares.estimate),
                low: root(squares.low),
                high: root(squares.high),
            })
        }
        Metric::R2 => {
            let (truth, answers) = (thinned(truth), thinned(answers));
            resampled(truth.len(), |index| r2(&truth, &answers, index))
                .ok_or_else(|| "the labels are all the same".to_owned())
        }
        Metric::Accuracy
        | Metric::LogLoss
        | Metric::RocAuc
        | Metric::PrAuc
        | Metric::F1
        | Metric::Brier
        | Metric::CalibrationError
        | Metric::Cost => Err(unfit(metric, "numbers")),
    }
}

fn unfit(metric: Metric, what: &str) -> String {
    format!("`{}` is not measured on windows of {what}; watch another metric", name_of(metric))
}

fn name_of(metric: Metric) -> String {
    let name = serde_json::to_value(metric).ok().and_then(|name| Some(name.as_str()?.to_owned()));
    name.unwrap_or_default()
}

fn mean(losses: Vec<f64>) -> Result<Interval, String> {
    let n = losses.len() as f64;
    let estimate = losses.iter().sum::<f64>() / n;
    let variance = losses.iter().map(|loss| (loss - estimate).powi(2)).sum::<f64>() / (n - 1.0);
    let width = normal_quantile(0.5 + LEVEL / 2.0) * (variance / n).sqrt();
    if !estimate.is_finite() {
        return Err("an answer is no number".to_owned());
    }
    Ok(Interval { estimate, low: estimate - width, high: estimate + width })
}

fn resampled(rows: usize, statistic: impl FnMut(&[u32]) -> f64) -> Option<Interval> {
    bootstrap(u32::try_from(rows).ok()?, RESAMPLES, SEED, statistic)?.percentile(LEVEL)
}

fn thinned<T: Copy>(rows: &[T]) -> Vec<T> {
    rows.iter().step_by(rows.len().div_ceil(MOST_RESAMPLED).max(1)).copied().collect()
}

/// Probabilities of exactly 0 and 1 are moved inside by the spacing of floats, as scikit-learn does.
fn log_loss(truth: f64, score: f64) -> f64 {
    let p = score.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
    -(truth * p.ln() + (1.0 - truth) * (1.0 - p).ln())
}

/// Σ (recall step × precision) over falling scores, ties as one step: scikit-learn's `average_precision_score`.
fn average_precision(positive: &[bool], scores: &[f64], index: &[u32]) -> f64 {
    let mut order = index.to_vec();
    order.sort_unstable_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]));
    let all = order.iter().filter(|at| positive[**at as usize]).count() as f64;
    let (mut hits, mut seen, mut area) = (0.0, 0.0, 0.0);
    for tied in order.chunk_by(|a, b| scores[*a as usize] == scores[*b as usize]) {
        let new = tied.iter().filter(|at| positive[**at as usize]).count() as f64;
        hits += new;
        seen += tied.len() as f64;
        area += new / all * (hits / seen);
    }
    if all > 0.0 { area } else { f64::NAN }
}

fn r2(truth: &[f64], answers: &[f64], index: &[u32]) -> f64 {
    let of = |values: &[f64], at: &u32| values[*at as usize];
    let mean = index.iter().map(|at| of(truth, at)).sum::<f64>() / index.len() as f64;
    let spread: f64 = index.iter().map(|at| (of(truth, at) - mean).powi(2)).sum();
    let error: f64 = index.iter().map(|at| (of(truth, at) - of(answers, at)).powi(2)).sum();
    if spread > 0.0 { 1.0 - error / spread } else { f64::NAN }
}

/// Judges a mature window, and says what its decisions cost for the version that made them.
pub(crate) fn judged(
    rule: &QualityMonitor,
    seen: &QualitySeen,
    costs: Option<&Costs>,
    exposure: Exposure,
) -> Verdict {
    let verdict = judge(rule, seen, costs, exposure);
    Verdict { counted: cost_of_version(seen, &verdict), ..verdict }
}

/// Judges a mature window: broken where the whole interval lies on the wrong side of a limit. A figure beyond the limit whose
/// interval holds it is said to be so, and is no alarm.
fn judge(rule: &QualityMonitor, seen: &QualitySeen, costs: Option<&Costs>, exposure: Exposure) -> Verdict {
    let labelled = seen.labels.len() as u64;
    let spent = measure(Metric::Cost, &seen.labels, costs).ok().map(|cost| cost.estimate);
    let found = metric_of(&rule.metric).and_then(|metric| measure(metric, &seen.labels, costs));
    let evidence = |estimate| {
        Some(Evidence::Quality {
            predictions: seen.predictions,
            labelled,
            cost_per_decision: spent,
            without: spent.and(costs).and_then(|costs| without(&seen.labels, costs)),
            estimate,
        })
    };
    let share = 100.0 * labelled as f64 / seen.predictions.max(1) as f64;
    let maturity = format!("{labelled} of {} predictions have a label ({share:.1} %)", seen.predictions);
    let found = match rule.min_labelled {
        Some(least) if (labelled as f64) < least * seen.predictions as f64 => {
            Err(format!("fewer than {} % of labels say nothing", 100.0 * least))
        }
        _ => found,
    };
    let found = match found {
        Ok(found) => found,
        Err(why) => {
            return Verdict { evidence: evidence(None), ..Verdict::no_data(format!("{why}; {maturity}")) };
        }
    };
    let checked = seen.estimated.map(|estimated| Checked { estimated, error: estimated - found.estimate });
    let name = &rule.metric;
    let low = rule.min.filter(|min| found.estimate < *min);
    let high = rule.max.filter(|max| found.estimate > *max);
    let (state, limit, words) = match (low, high) {
        (Some(min), _) if found.high < min => (State::Broken, Some(min), format!("below {min}")),
        (_, Some(max)) if found.low > max => (State::Broken, Some(max), format!("above {max}")),
        (Some(min), _) => (State::Ok, Some(min), format!("below {min}, which its interval holds")),
        (_, Some(max)) => (State::Ok, Some(max), format!("above {max}, which its interval holds")),
        (None, None) => (State::Ok, rule.min.or(rule.max), "within its limits".to_owned()),
    };
    let why = format!(
        "{name} is {:.4} ({:.4} to {:.4}), {words}; {maturity}",
        found.estimate, found.low, found.high
    );
    // What decisions cost more than they did on the rows that the model was tested on.
    let more = spent.zip(exposure.cost_per_decision).map(|(now, before)| (now - before).max(0.0));
    Verdict {
        value: Some(found.estimate),
        low: Some(found.low),
        high: Some(found.high),
        limit,
        at_risk: more.filter(|_| state == State::Broken).map(|more| more * exposure.decisions as f64),
        evidence: evidence(checked),
        ..Verdict::of(state, why)
    }
}

/// What decisions on labelled rows would have cost without a model.
fn without(labels: &Labels, costs: &Costs) -> Option<Without> {
    let Labels::Classes { positive, .. } = labels else { return None };
    let mean = |acts| {
        let all: f64 = positive.iter().map(|positive| costs.of(*positive, acts)).sum();
        all / positive.len() as f64
    };
    (!positive.is_empty()).then(|| Without { never: mean(false), always: mean(true) })
}

/// What makes probabilities of scores: isotonic regression on rows whose labels are known, which the model did not learn from.
#[derive(Clone, Debug)]
pub struct Calibration {
    map: Isotonic,
    rows: u64,
}

impl Calibration {
    /// From scores and labels; none where there are too few.
    pub fn fit(scores: &[f64], positive: &[bool]) -> Option<Self> {
        if scores.len() < ENOUGH || scores.len() != positive.len() {
            return None;
        }
        let truth: Vec<f64> = positive.iter().map(|positive| f64::from(u8::from(*positive))).collect();
        Some(Self { map: Isotonic::fit(scores, &truth, None)?, rows: scores.len() as u64 })
    }

    /// A metric of rows without labels, by confidence-based performance estimation.
    ///
    /// # Errors
    ///
    /// Says why there is no figure.
    pub fn estimate(
        &self,
        metric: Metric,
        scores: &[f64],
        said: &[bool],
        costs: Option<&Costs>,
    ) -> Result<Estimated, String> {
        if scores.len() < ENOUGH {
            return Err(format!("{} predictions are fewer than {ENOUGH}", scores.len()));
        }
        let chances = self.map.map(scores);
        let found = cbpe(&chances, scores, said).ok_or_else(|| "a score is no number".to_owned())?;
        let each = |loss: fn(f64, f64) -> f64| {
            let sum: f64 =
                chances.iter().zip(scores).map(|(p, s)| p * loss(1.0, *s) + (1.0 - p) * loss(0.0, *s)).sum();
            Some(sum / scores.len() as f64)
        };
        let value = match metric {
            Metric::RocAuc => found.auc,
            Metric::Accuracy => Some(found.accuracy),
            Metric::F1 => found.f1,
            Metric::Brier => each(|truth, score| (truth - score).powi(2)),
            Metric::LogLoss => each(log_loss),
            Metric::Cost => costs.map(|costs| {
                let spent = |p: f64, said: bool| p * costs.of(true, said) + (1.0 - p) * costs.of(false, said);
                chances.iter().zip(said).map(|(p, said)| spent(*p, *said)).sum::<f64>() / said.len() as f64
            }),
            Metric::PrAuc | Metric::CalibrationError | Metric::Rmse | Metric::Mae | Metric::R2 => {
                return Err("this metric cannot be estimated without labels".to_owned());
            }
        };
        let value = value.ok_or_else(|| "one class is not expected at all".to_owned())?;
        Ok(Estimated { value, rows: scores.len() as u64, calibrated_on: self.rows })
    }
}

/// What a window says of the metric before its labels are there. It is information, and never an alarm: the assumption cannot be
/// tested without labels.
pub(crate) fn estimate(rule: &QualityMonitor, found: &Result<Estimated, String>) -> Verdict {
    match found {
        Err(why) => Verdict::no_data(why.clone()),
        Ok(found) => Verdict {
            value: Some(found.value),
            limit: rule.min.or(rule.max),
            evidence: Some(Evidence::Estimate {
                predictions: found.rows,
                calibrated_on: found.calibrated_on,
                assumption: ASSUMPTION.to_owned(),
            }),
            ..Verdict::of(
                State::Ok,
                format!(
                    "{} is estimated at {:.4} from {} predictions without labels; {ASSUMPTION}",
                    rule.metric, found.value, found.rows
                ),
            )
        },
    }
}

/// A metric by its name in a project file.
///
/// # Errors
///
/// Where there is none of this name.
pub fn metric_of(name: &str) -> Result<Metric, String> {
    serde_json::from_value(serde_json::Value::from(name)).map_err(|_| format!("there is no metric `{name}`"))
}

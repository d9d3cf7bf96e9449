//! The whole training: split, cross-validation or search, fit, evaluation, outputs.
//!
//! The order of things: rows are held out for testing; a search and cross-validation see only the others; the
//! threshold is chosen on held-out training rows; the final model learns from all training rows (with early stopping
//! from all but the validation part); only then are the test rows scored. Nothing here reads files.

mod answered;
mod decisions;
mod evaluate;
mod held;
mod held_out;
mod learn;
mod notes;
mod outputs;
mod predictions;
mod slice;
mod source;

use arrow::array::RecordBatch;
use tidemill_core::declare::{Costs, Metric, Training};
use tidemill_core::{Progress, Unit};

pub use answered::with_answers;
pub use decisions::{CostCurve, CostPoint, Flips, cost_curve, flips};
pub use held_out::HeldOut;
pub use predictions::{Evaluation, PREDICTIONS_KEY, compare_costs, row_costs};
pub use slice::{Slice, by_slice};

pub(crate) use predictions::{read, same_rows, texts};

use crate::frame::{ClassLabel, Frame, Target};
use crate::importance::{REPEATS, Setting, permutation, sample};
use crate::metric::{Decision, Scored, Threshold, Truth, calibration_table, confusion, resamples};
use crate::model::{Model, Predictor, TrainedModel};
use crate::report::{
    ChosenOn, ClassReport, ColumnImportance, Curve, REPORT_VERSION, Report, Signature, SplitReport,
    TaskReport,
};
use crate::split::{Draw, Sides};
use crate::{Error, Result};
use held::{Course, Held, decision};
use learn::{Learned, learn, score, split};
use source::{Data, Source, answers, scored};

/// What a training gives.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The model.
    pub model: TrainedModel,
    /// Everything about it that people and gates ask for.
    pub report: Report,
    /// Metrics by boosting round; empty for other algorithms.
    pub curves: Vec<Curve>,
    /// The test rows with their answers: see [`predictions`](Evaluation::predictions).
    pub predictions: RecordBatch,
    /// The inputs of the first test rows and the trainer's answers, for parity checks: the model's input columns
    /// under their own names, then the columns `answer_0`, `answer_1`, … as 64-bit floats, one for regression and one
    /// a class for classification.
    pub golden: RecordBatch,
    /// What the model takes and gives.
    pub signature: Signature,
}

/// Trains as declared on a table given as record batches of one schema.
///
/// `golden_rows` test rows are kept for parity checks. Everything random follows from `training.seed`, and the result
/// does not depend on the number of threads. Progress counts fits while validating or searching, and rounds while the
/// final model is boosted.
///
/// # Errors
/// Whatever [`Error`] lists for a declaration or a table that cannot be used; [`Error::Cancelled`].
pub fn fit(
    batches: &[RecordBatch],
    training: &Training,
    golden_rows: usize,
    progress: &dyn Progress,
) -> Result<Fitted> {
    let source = Source::read(batches, training)?;
    let two_classes = matches!(&source.target, Target::Classes { classes, .. } if classes.len() == 2);
    let costs = training.costs.as_ref().filter(|_| two_classes);
    if let Some(costs) = costs {
        check_costs(costs)?;
    }
    let metrics =
        evaluate::chosen(training.metrics.as_deref(), &empty_truth(&source.target), costs.is_some())?;
    let sides = split(&source.keys, training.split.test, training.seed, Draw::Test, &source.target)?;
    let (schema, train, test) = read_sides(&source, &sides)?;
    cancelled(progress)?;

    let keys = source.keys.take(&sides.train);
    let cv_keys = source.cv_keys.as_ref().map(|keys| keys.take(&sides.train));
    let cv_keys = cv_keys.as_ref();
    let course = Course { training, data: &train, keys: &keys, cv_keys, metrics: &metrics, costs, progress };
    let held = course.run()?;
    progress.begin("fitting", None, Unit::Items);
    let learned = learn(&held.parameters, &train, &keys, training.seed, progress)?;
    cancelled(progress)?;

    progress.begin("evaluating", None, Unit::Items);
    let (decision, chosen) = decide(&held, &learned, &train, costs);
    let classes = source.target.classes().map(<[ClassLabel]>::to_vec);
    let draft = Draft { source: &source, training, metrics: &metrics, train: &train, test: &test, progress };
    let answers = score(&learned.model, &test);
    let report = draft.report(&sides, &held, &learned, &answers, &decision, chosen)?;
    let names = classes.clone().unwrap_or_default();
    let predictions =
        predictions::write(&source.table, &sides.test, &answers, &names, &decision, training.seed)?;
    let first: Vec<usize> = (0..test.rows().min(golden_rows)).collect();
    let golden_answers = learned.model.scores(&test.frame.take(&first));
    let golden = outputs::golden(&source.table, &schema, &sides.test[..first.len()], &golden_answers)?;
    let signature = outputs::signature(&schema, classes.as_deref());
    let model = TrainedModel { schema, target: source.task.target.clone(), classes, model: learned.model };
    Ok(Fitted { model, report, curves: learned.curves, predictions, golden, signature })
}

fn cancelled(progress: &dyn Progress) -> Result<()> {
    if progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
}

fn check_costs(costs: &Costs) -> Result<()> {
    let all = [
        ("false_negative", costs.false_negative),
        ("false_positive", costs.false_positive),
        ("true_positive", costs.true_positive),
        ("true_negative", costs.true_negative),
    ];
    match all.into_iter().find(|(_, cost)| !cost.is_finite()) {
        None => Ok(()),
        Some((name, cost)) => Err(Error::Parameter {
            parameter: format!("costs.{name}"),
            value: cost.to_string(),
            expected: "it must be a finite number".into(),
        }),
    }
}

/// A target without rows, to ask which metrics fit.
fn empty_truth(target: &Target) -> Truth {
    match target {
        Target::Regression(_) => Truth::Numbers(Vec::new()),
        Target::Classes { classes, .. } => Truth::Classes { values: Vec::new(), classes: classes.len() },
    }
}

fn read_sides(source: &Source<'_>, sides: &Sides) -> Result<(crate::frame::FrameSchema, Data, Data)> {
    let schema = source.schema(&sides.train)?;
    let frame = schema.frame(&source.table)?;
    let all = Data { frame, target: source.target.clone(), weights: source.weights.clone() };
    let (train, test) = (all.take(&sides.train), all.take(&sides.test));
    for (data, side) in [(&train, "training"), (&test, "test")] {
        if data.weights.as_ref().is_some_and(|weights| !weights.iter().any(|weight| *weight > 0.0)) {
            return Err(Error::NoWeight { side });
        }
    }
    Ok((schema, train, test))
}

/// The threshold: from held-out training rows, or from the rows that stopped the boosting.
fn decide(
    held: &Held,
    learned: &Learned,
    train: &Data,
    costs: Option<&Costs>,
) -> (Decision, Option<(Threshold, ChosenOn)>) {
    let (decision, chosen) = match (&held.scored, &learned.sides) {
        (Some((scored, on)), _) => {
            let (decision, threshold) = decision(scored, costs);
            (decision, threshold.map(|threshold| (threshold, *on)))
        }
        (None, Some(sides)) => {
            let scored = score(&learned.model, &train.take(&sides.test));
            let (decision, threshold) = decision(&[scored], costs);
            (decision, threshold.map(|threshold| (threshold, ChosenOn::Validation)))
        }
        (None, None) => (Decision { threshold: 0.5, costs: costs.cloned() }, None),
    };
    (decision, chosen)
}

/// What the report is made from.
struct Draft<'a> {
    source: &'a Source<'a>,
    training: &'a Training,
    metrics: &'a [Metric],
    train: &'a Data,
    test: &'a Data,
    progress: &'a dyn Progress,
}

impl Draft<'_> {
    fn report(
        &self,
        sides: &Sides,
        held: &Held,
        learned: &Learned,
        answers: &Scored,
        decision: &Decision,
        chosen: Option<(Threshold, ChosenOn)>,
    ) -> Result<Report> {
        let (training, seed) = (self.training, self.training.seed);
        let (test, cost) = evaluate::with_intervals(answers, self.metrics, decision, seed)?;
        cancelled(self.progress)?;
        let learnt_from = match &learned.sides {
            Some(sides) => score(&learned.model, &self.train.take(&sides.train)),
            None => score(&learned.model, self.train),
        };
        let train = evaluate::plain(&learnt_from, self.metrics, decision)?;
        let importance_metric = training.search.as_ref().map_or(self.metrics[0], |search| search.metric);
        let importance = self.importance(&learned.model, importance_metric, decision)?;
        let task = self.task();
        let warnings = self.warnings(&task, learned, cost.as_ref());
        let names = self.source.target.classes().unwrap_or_default();
        let (truth, classes) = match &answers.truth {
            Truth::Classes { values, classes } => (values.as_slice(), *classes),
            Truth::Numbers(_) => (&[][..], 0),
        };
        let labels = answers.labels(decision.threshold);
        Ok(Report {
            version: REPORT_VERSION,
            algorithm: training.algorithm,
            task,
            seed,
            parameters: held.parameters.to_map(),
            split: SplitReport {
                by: training.split.by,
                column: self.source.split_column().map(str::to_owned),
                rows: self.source.table.rows() as u64,
                train_rows: sides.train.len() as u64,
                validation_rows: learned.sides.as_ref().map_or(0, |sides| sides.test.len() as u64),
                test_rows: sides.test.len() as u64,
            },
            test,
            train,
            resamples: resamples(answers.rows()) as u64,
            decision: evaluate::decision_report(names, decision, chosen, cost),
            calibration: calibration_table(answers),
            confusion: confusion(truth, &labels, classes, answers.weights.as_deref()),
            importance,
            importance_metric,
            cv: held.cv.clone(),
            search: held.search.clone(),
            rounds: learned.rounds,
            warnings,
        })
    }

    fn importance(
        &self,
        model: &Model,
        metric: Metric,
        decision: &Decision,
    ) -> Result<Vec<ColumnImportance>> {
        let trees = if let Model::Gbdt(model) = model { model.trees.len() } else { 1 };
        let columns = self.test.frame.columns().len();
        let rows = sample(self.test.rows(), columns, trees, self.training.seed);
        let part = self.test.take(&rows);
        let known = part.scored(&model.scores(&part.frame));
        let setting = Setting { metric, decision, repeats: REPEATS, seed: self.training.seed };
        match permutation(model, &part.frame, &known, answers, setting, self.progress) {
            // A sample without one of the classes says nothing about columns.
            Err(Error::MetricUndefined { .. }) => Ok(Vec::new()),
            other => other,
        }
    }

    fn task(&self) -> TaskReport {
        let counts = |data: &Data| {
            let (mut rows, mut weight) = (Vec::new(), Vec::new());
            if let Target::Classes { codes, classes } = &data.target {
                rows = vec![0_u64; classes.len()];
                weight = vec![0.0; classes.len()];
                for (row, code) in codes.iter().enumerate() {
                    rows[*code as usize] += 1;
                    weight[*code as usize] += data.weights.as_ref().map_or(1.0, |w| w[row]);
                }
            }
            let total: f64 = weight.iter().sum();
            weight.iter_mut().for_each(|weight| *weight /= total);
            (rows, weight)
        };
        let ((train_rows, train_share), (test_rows, test_share)) = (counts(self.train), counts(self.test));
        let class = |(at, class): (usize, &ClassLabel)| ClassReport {
            class: class.clone(),
            train_rows: train_rows[at],
            test_rows: test_rows[at],
            train_share: train_share[at],
            test_share: test_share[at],
        };
        let classes = self.source.target.classes().unwrap_or_default();
        TaskReport {
            kind: self.source.task.kind,
            target: self.source.task.target.clone(),
            classes: classes.iter().enumerate().map(class).collect(),
            features: self.train.frame.columns().iter().map(|column| column.name.to_string()).collect(),
        }
    }

    fn warnings(
        &self,
        task: &TaskReport,
        learned: &Learned,
        cost: Option<&crate::report::CostReport>,
    ) -> Vec<String> {
        let mut all = learned.warnings.clone();
        all.extend(notes::columns(&self.train.frame, &self.train.target));
        all.extend(notes::unseen(&self.train.frame, &self.test.frame));
        all.extend(notes::few(&task.classes));
        all.extend(cost.and_then(notes::cost));
        if self.training.costs.is_some() && task.classes.len() != 2 {
            all.push("costs are for two classes: they were not used".into());
        }
        all
    }
}

/// How a further table is evaluated.
#[derive(Clone, Debug, Default)]
pub struct EvaluateOptions<'a> {
    /// Column of row weights.
    pub weight: Option<&'a str>,
    /// Metrics; all that fit where not given.
    pub metrics: Option<&'a [Metric]>,
    /// The threshold, and the costs where there are some.
    pub decision: Decision,
    /// Seed of the intervals.
    pub seed: u64,
}

/// Scores and measures a model on a table that has its inputs and its target.
///
/// # Errors
/// [`Error::Unfit`] or [`Error::UnknownColumn`] where the table lacks a column or has a class that the model does not
/// know, [`Error::MetricUnfit`], and what reading the target can give.
pub fn evaluate_on(
    model: &TrainedModel,
    batches: &[RecordBatch],
    options: &EvaluateOptions<'_>,
) -> Result<Evaluation> {
    let table = source::table_of(batches)?;
    let target = source::target_of(&table, model)?;
    let weights = options.weight.map(|column| source::weights(&table, column)).transpose()?;
    let frame: Frame = model.schema.frame(&table)?;
    let scored = scored(&target, weights, &model.model.scores(&frame));
    let costs = options.decision.costs.is_some();
    let metrics = evaluate::chosen(options.metrics, &scored.truth, costs)?;
    let (metrics, _) = evaluate::with_intervals(&scored, &metrics, &options.decision, options.seed)?;
    let rows: Vec<usize> = (0..table.rows()).collect();
    let names = model.classes.clone().unwrap_or_default();
    let predictions = predictions::write(&table, &rows, &scored, &names, &options.decision, options.seed)?;
    Ok(Evaluation { metrics, predictions })
}

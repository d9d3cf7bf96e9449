//! What is counted of the records of one window.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type, Schema};
use tidemill_core::declare::{Objective, TaskKind};
use tidemill_data::profile::{ProfileBuilder, SAMPLED};
use tidemill_data::{Profile, ProfileOptions};
use tidemill_monitor::{AnsweredBy, InputsSeen, Labels, ServiceSeen, StreamOf};
use tidemill_serve::record::answers::{Answers, positive, texts};

use super::stream::Values;

/// Names of the answers in profiles, beside those of the inputs.
pub(super) const SCORE: &str = "prediction.score";
pub(super) const LABEL: &str = "prediction.label";
/// Rows whose scores and labels are held. A window with more is judged on its first so many.
const MOST_ROWS: usize = 1_000_000;

/// What is asked of the records of a window.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// The classes and the target, where the project says them.
    pub(super) objective: Option<Arc<Objective>>,
    /// Whether inputs and answers are profiled.
    pub(super) profile: bool,
    /// Whether rows are sampled, so that pairs of columns can be compared.
    pub(super) pairs: bool,
    /// Inputs whose values are shown nowhere, so they are not in profiles.
    pub(super) secret: Arc<[String]>,
    /// The outcome that is the business number.
    pub(super) kpi: Option<String>,
    /// Streams whose values are taken.
    pub(super) streams: BTreeSet<StreamOf>,
}

/// Classes as they were answered and as they were, each by a number.
#[derive(Default)]
struct Classes {
    numbers: BTreeMap<String, u32>,
    /// Those that were answered.
    answered: BTreeSet<u32>,
    /// Of rows whose class is known.
    truth: Vec<u32>,
    said: Vec<u32>,
}

impl Classes {
    fn take(&mut self, said: &str, truth: Option<&str>) {
        let mut number = |class: &str| {
            if let Some(known) = self.numbers.get(class) {
                return *known;
            }
            let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
            self.numbers.insert(class.to_owned(), next);
            next
        };
        let said = number(said);
        if let Some(truth) = truth {
            self.truth.push(number(truth));
            self.said.push(said);
        }
        self.answered.insert(said);
    }

    /// Whether none of them is the positive one of two: there are more, or nobody names it and they are not 0 and 1.
    fn are_many(&self, is_named: bool) -> bool {
        self.answered.len() > 2
            || !is_named && !self.numbers.keys().all(|class| matches!(class.as_str(), "0" | "1"))
    }
}

/// What was counted.
#[derive(Default)]
pub(super) struct Rows {
    wanted: Wanted,
    pub(super) service: ServiceSeen,
    pub(super) inputs: InputsSeen,
    /// Rows by the model and version that answered them.
    pub(super) versions: BTreeMap<(String, String), u64>,
    /// Scores and answered classes, one a row that has a score.
    pub(super) scores: Vec<f64>,
    pub(super) said: Vec<bool>,
    labels: Option<Labels>,
    classes: Classes,
    /// Sum and number of outcomes that carry the business number, by the model and version that answered.
    kpi: BTreeMap<(String, String), (f64, u64)>,
    streams: BTreeMap<StreamOf, Values>,
    builder: Option<ProfileBuilder>,
}

impl Rows {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Adds rows of the window, with the columns `outcome_NAME` of what became known later.
    pub(super) fn take(&mut self, batch: &RecordBatch) -> Result<(), tidemill_data::Error> {
        let answers = Answers::of(batch);
        self.count(batch, &answers);
        self.label(batch, &answers);
        for of in &self.wanted.streams {
            self.streams.entry(of.clone()).or_default().take(of, batch, &answers);
        }
        if self.wanted.profile {
            let rows = profiled(batch, &answers, &self.wanted.secret);
            let builder = match &mut self.builder {
                Some(builder) => builder,
                none => {
                    let sample = if self.wanted.pairs { SAMPLED } else { 0 };
                    let options = ProfileOptions { relations: false, sample, ..ProfileOptions::window() };
                    none.insert(ProfileBuilder::new(rows.schema_ref(), &options)?)
                }
            };
            builder.update(&rows)?;
        }
        Ok(())
    }

    fn count(&mut self, batch: &RecordBatch, answers: &Answers) {
        let text = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let (status, kind) = (text("status"), text("error_kind"));
        let (model, version) = (text("model"), text("version"));
        let number = batch.column_by_name("row").and_then(|column| column.as_primitive_opt::<Int32Type>());
        let latency =
            batch.column_by_name("latency_us").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let warnings = batch.column_by_name("warnings").and_then(|column| column.as_list_opt::<i32>());
        for row in 0..batch.num_rows() {
            let status = at(status, row).unwrap_or_default();
            if number.is_none_or(|number| number.value(row) == 0) {
                self.inputs.requests += 1;
                self.service.requests += 1;
                if let Some(latency) = latency {
                    self.service.latencies_us.push(u64::try_from(latency.value(row)).unwrap_or(0));
                }
                let is_invalid = at(kind, row) == Some("invalid");
                self.inputs.invalid += u64::from(is_invalid);
                self.service.failed += u64::from(status == "failed" && !is_invalid);
                let noted =
                    warnings.is_some_and(|warnings| warnings.is_valid(row) && warnings.value_length(row) > 0);
                self.inputs.outside += u64::from(noted && status == "answered");
            }
            if status == "answered" {
                self.inputs.rows += 1;
                self.inputs.not_finite += u64::from(!answers.is_finite(row));
                let by = |column| at(column, row).unwrap_or_default().to_owned();
                *self.versions.entry((by(model), by(version))).or_default() += 1;
            }
        }
    }

    fn label(&mut self, batch: &RecordBatch, answers: &Answers) {
        if let Some(kpi) = &self.wanted.kpi
            && let Some(values) = batch.column_by_name(&format!("outcome_{kpi}"))
            && let Some(values) = values.as_primitive_opt::<Float64Type>()
        {
            let text =
                |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            let (model, version) = (text("model"), text("version"));
            for (row, value) in values.iter().enumerate() {
                let Some(value) = value.filter(|value| value.is_finite()) else { continue };
                let by = |column| at(column, row).unwrap_or_default().to_owned();
                let (sum, outcomes) = self.kpi.entry((by(model), by(version))).or_default();
                (*sum, *outcomes) = (*sum + value, *outcomes + 1);
            }
        }
        let Some(objective) = self.wanted.objective.clone() else { return };
        let truth = [objective.task.target.as_str(), "label", "value"]
            .into_iter()
            .find_map(|name| batch.column_by_name(&format!("outcome_{name}")));
        match objective.task.kind {
            TaskKind::Classification => self.classes(batch.num_rows(), answers, truth, &objective),
            TaskKind::Regression => self.numbers(batch.num_rows(), answers, truth),
        }
    }

    fn classes(&mut self, rows: usize, answers: &Answers, truth: Option<&ArrayRef>, objective: &Objective) {
        let wanted = positive(objective.task.positive.as_ref());
        let truth = truth.map(texts);
        let labels = self.labels.get_or_insert_with(|| Labels::Classes {
            positive: Vec::new(),
            scores: Vec::new(),
            said: Vec::new(),
        });
        let Labels::Classes { positive, scores, said } = labels else { return };
        for row in 0..rows {
            let (answer, score) = (answers.label(row), answers.score(row));
            if let Some(answer) = answer
                && self.scores.len() < MOST_ROWS
            {
                self.classes.take(answer, truth.as_ref().and_then(|truth| truth.get(row)?.as_deref()));
            }
            // Without a score there is only the class to order rows by.
            // What the release decided when it answered, where it has a threshold of its own.
            let is_said = answers.decision(row).or(answer.map(|answer| answer == wanted));
            let Some(score) = score.or_else(|| is_said.map(|said| f64::from(u8::from(said)))) else {
                continue;
            };
            if self.scores.len() >= MOST_ROWS || score.is_nan() {
                continue;
            }
            let is_said = is_said.unwrap_or(score >= 0.5);
            self.scores.push(score);
            self.said.push(is_said);
            if let Some(truth) = truth.as_ref().and_then(|truth| truth.get(row)?.as_ref()) {
                positive.push(*truth == wanted);
                scores.push(score);
                said.push(is_said);
            }
        }
    }

    fn numbers(&mut self, rows: usize, answers: &Answers, truth: Option<&ArrayRef>) {
        let truth = truth.and_then(|truth| truth.as_primitive_opt::<Float64Type>());
        let labels =
            self.labels.get_or_insert_with(|| Labels::Numbers { truth: Vec::new(), answers: Vec::new() });
        let Labels::Numbers { truth: known, answers: said } = labels else { return };
        for row in 0..rows {
            let Some(answer) = answers.score(row) else { continue };
            if self.scores.len() >= MOST_ROWS || !answer.is_finite() {
                continue;
            }
            self.scores.push(answer);
            if let Some(truth) = truth.filter(|truth| truth.is_valid(row)) {
                known.push(truth.value(row));
                said.push(answer);
            }
        }
    }

    /// Rows that were answered.
    pub(super) fn predictions(&self) -> u64 {
        self.inputs.rows
    }

    /// The model and version that answered most rows.
    pub(super) fn version(&self) -> Option<(String, String)> {
        self.versions.iter().max_by_key(|(_, rows)| **rows).map(|(version, _)| version.clone())
    }

    /// The model and version that answered, where one answered all rows.
    pub(super) fn only_version(&self) -> Option<(String, String)> {
        self.version().filter(|_| self.versions.len() == 1)
    }

    /// Answers whose label is there.
    pub(super) fn labels(&self) -> Labels {
        if self.has_no_positive() {
            return Labels::Kinds { truth: self.classes.truth.clone(), said: self.classes.said.clone() };
        }
        self.labels.clone().unwrap_or(Labels::Numbers { truth: Vec::new(), answers: Vec::new() })
    }

    /// Whether classes were answered of which none is the positive one of two.
    pub(super) fn has_no_positive(&self) -> bool {
        let task = self.wanted.objective.as_ref().map(|objective| &objective.task);
        task.is_some_and(|task| {
            task.kind == TaskKind::Classification && self.classes.are_many(task.positive.is_some())
        })
    }

    /// Outcomes that carry the business number.
    pub(super) fn kpi(&self) -> Vec<AnsweredBy> {
        let of = |((model, version), (sum, outcomes)): (&(String, String), &(f64, u64))| AnsweredBy {
            model: model.clone(),
            version: version.clone(),
            sum: *sum,
            outcomes: *outcomes,
        };
        self.kpi.iter().map(of).collect()
    }

    /// The values of a stream in the order in which their requests came.
    pub(super) fn stream(&self, of: &StreamOf) -> Vec<f64> {
        self.streams.get(of).map(Values::in_order).unwrap_or_default()
    }

    /// The profile of inputs and answers; `None` where none was asked for or there are no rows.
    pub(super) fn profile(&mut self) -> Result<Option<Profile>, tidemill_data::Error> {
        self.builder.take().map(ProfileBuilder::finish).transpose()
    }
}

/// The text of a row, where there is one.
fn at(column: Option<&StringArray>, row: usize) -> Option<&str> {
    column.filter(|column| column.is_valid(row)).map(|column| column.value(row))
}

/// Inputs by their own names but for secret ones, and the answers. In columns of text an empty one counts as missing, as it does when a model is trained.
fn profiled(batch: &RecordBatch, answers: &Answers, secret: &[String]) -> RecordBatch {
    let mut fields: Vec<Field> = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let Some(name) = field.name().strip_prefix("input_") else { continue };
        if field.data_type().is_nested() || secret.iter().any(|secret| secret == name) {
            continue;
        }
        let column: ArrayRef = match field.data_type() {
            DataType::Utf8 => {
                let texts = column.as_string::<i32>();
                Arc::new(
                    texts.iter().map(|text| text.filter(|text| !text.is_empty())).collect::<StringArray>(),
                )
            }
            _ => Arc::clone(column),
        };
        fields.push(Field::new(name, field.data_type().clone(), true));
        columns.push(column);
    }
    let rows = 0..batch.num_rows();
    if answers.has_scores() {
        fields.push(Field::new(SCORE, DataType::Float64, true));
        columns.push(Arc::new(rows.clone().map(|row| answers.score(row)).collect::<Float64Array>()));
    }
    if answers.has_labels() {
        fields.push(Field::new(LABEL, DataType::Utf8, true));
        columns.push(Arc::new(rows.map(|row| answers.label(row)).collect::<StringArray>()));
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .unwrap_or_else(|_| RecordBatch::new_empty(Arc::new(Schema::empty())))
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use serde_json::json;

    use super::*;

    /// Rows of a classification with these answers and labels.
    fn rows(positive: Option<&str>, said: ArrayRef, truth: ArrayRef) -> Rows {
        let mut task = json!({"kind": "classification", "target": "kind"});
        if let Some(positive) = positive {
            task["positive"] = json!(positive);
        }
        let objective: Objective = serde_json::from_value(json!({ "task": task })).unwrap();
        let count = said.len();
        let answered: ArrayRef = Arc::new(StringArray::from(vec!["answered"; count]));
        let scores: ArrayRef =
            Arc::new((0..count).map(|row| Some(row as f64 / 100.0)).collect::<Float64Array>());
        let batch = RecordBatch::try_from_iter([
            ("status", answered),
            ("input_email", Arc::new(StringArray::from(vec!["ada@example.org"; count])) as ArrayRef),
            ("output_label", said),
            ("output_probability", scores),
            ("outcome_kind", truth),
        ])
        .unwrap();
        let mut rows = Rows::new(Wanted {
            objective: Some(Arc::new(objective)),
            profile: true,
            secret: Arc::new(["email".to_owned()]),
            ..Wanted::default()
        });
        rows.take(&batch).unwrap();
        rows
    }

    fn texts(classes: &str) -> ArrayRef {
        Arc::new(classes.chars().map(|class| Some(class.to_string())).collect::<StringArray>())
    }

    #[test]
    fn classes_without_a_positive_one_are_compared_as_they_are() {
        let three = rows(None, texts("abcabc"), texts("abbacc"));
        let Labels::Kinds { truth, said } = three.labels() else { panic!("{:?}", three.labels()) };
        assert!(
            truth.iter().zip(&said).filter(|(truth, said)| truth == said).count() == 4 && truth.len() == 6
        );
        assert!(matches!(rows(None, texts("yn"), texts("nn")).labels(), Labels::Kinds { .. }));
        // One of two that is named, and 0 and 1 where none is.
        let Labels::Classes { positive, said, .. } = rows(Some("y"), texts("yn"), texts("nn")).labels()
        else {
            panic!()
        };
        assert_eq!((positive, said), (vec![false, false], vec![true, false]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 0]));
        assert!(matches!(rows(None, Arc::clone(&numbers), numbers).labels(), Labels::Classes { .. }));
        // A name does not make two classes of three.
        assert!(rows(Some("b"), texts("abc"), texts("abc")).has_no_positive());
    }

    #[test]
    fn secret_inputs_are_not_in_profiles() {
        let profile = rows(Some("y"), texts("yn"), texts("nn")).profile().unwrap().unwrap();
        assert_eq!(profile.columns().collect::<Vec<_>>(), [SCORE, LABEL]);
    }
}

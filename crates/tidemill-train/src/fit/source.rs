//! What a training reads from its table: features, target, weights, and the keys of its splits.

use arrow::array::RecordBatch;
use tidemill_core::declare::{Algorithm, SplitBy, Task, TaskKind, Training};

use crate::frame::{ClassLabel, Frame, FrameSchema, Selection, Table, Target};
use crate::metric::{Scored, Truth};
use crate::model::{Scores, TrainedModel};
use crate::split::By;
use crate::{Error, Result};

/// Rows to learn from or to score.
pub(super) struct Data {
    pub(super) frame: Frame,
    pub(super) target: Target,
    pub(super) weights: Option<Vec<f64>>,
}

impl Data {
    pub(super) fn rows(&self) -> usize {
        self.frame.rows()
    }

    pub(super) fn take(&self, rows: &[usize]) -> Self {
        Self {
            frame: self.frame.take(rows),
            target: self.target.take(rows),
            weights: self.weights.as_ref().map(|weights| rows.iter().map(|row| weights[*row]).collect()),
        }
    }

    /// These rows with a model's answers.
    pub(super) fn scored(&self, scores: &Scores) -> Scored {
        scored(&self.target, self.weights.clone(), scores)
    }
}

/// Rows with a model's answers.
pub(super) fn scored(target: &Target, weights: Option<Vec<f64>>, scores: &Scores) -> Scored {
    let truth = match target {
        Target::Regression(values) => Truth::Numbers(values.clone()),
        Target::Classes { codes, classes } => {
            Truth::Classes { values: codes.clone(), classes: classes.len() }
        }
    };
    Scored { truth, answers: answers(scores), weights }
}

/// The numbers that metrics want of each row: for two classes only the probability of the second one.
pub(super) fn answers(scores: &Scores) -> Vec<f64> {
    if scores.width == 2 { scores.column(1) } else { scores.values.clone() }
}

/// What rows are split by, one value a row.
pub(super) enum Keys {
    Time(Vec<i64>),
    Random(usize),
    Group(Vec<u32>),
    Stratified(Vec<u32>),
}

impl Keys {
    pub(super) fn by(&self) -> By<'_> {
        match self {
            Self::Time(times) => By::Time(times),
            Self::Random(rows) => By::Random(*rows),
            Self::Group(groups) => By::Group(groups),
            Self::Stratified(classes) => By::Stratified(classes),
        }
    }

    pub(super) fn take(&self, rows: &[usize]) -> Self {
        match self {
            Self::Time(times) => Self::Time(rows.iter().map(|row| times[*row]).collect()),
            Self::Random(_) => Self::Random(rows.len()),
            Self::Group(groups) => Self::Group(rows.iter().map(|row| groups[*row]).collect()),
            Self::Stratified(classes) => Self::Stratified(rows.iter().map(|row| classes[*row]).collect()),
        }
    }

    fn read(table: &Table, by: SplitBy, column: Option<&str>, target: &Target) -> Result<Self> {
        let needed = |by| column.ok_or(Error::SplitColumn { by });
        let missing = |column: &str, row| Error::SplitMissing { column: column.into(), row };
        match by {
            SplitBy::Random => Ok(Self::Random(table.rows())),
            SplitBy::Stratified => match target {
                Target::Classes { codes, .. } => Ok(Self::Stratified(codes.clone())),
                Target::Regression(_) => Err(Error::Parameter {
                    parameter: "by".into(),
                    value: "stratified".into(),
                    expected: "it needs classes; use `random` for regression".into(),
                }),
            },
            SplitBy::Time => {
                let column = needed("time")?;
                let times = table.times(column, "split")?;
                if let Some(row) = times.iter().position(Option::is_none) {
                    return Err(missing(column, row));
                }
                Ok(Self::Time(times.into_iter().flatten().collect()))
            }
            SplitBy::Group => {
                let column = needed("group")?;
                let groups = table.groups(column, "split")?;
                if let Some(row) = groups.iter().position(Option::is_none) {
                    return Err(missing(column, row));
                }
                Ok(Self::Group(groups.into_iter().flatten().collect()))
            }
        }
    }
}

/// The table of a training, read but for the features.
pub(super) struct Source<'a> {
    training: &'a Training,
    pub(super) task: &'a Task,
    pub(super) table: Table,
    pub(super) target: Target,
    pub(super) weights: Option<Vec<f64>>,
    pub(super) keys: Keys,
    /// Keys of the cross-validation, where there is one.
    pub(super) cv_keys: Option<Keys>,
}

impl<'a> Source<'a> {
    pub(super) fn read(batches: &[RecordBatch], training: &'a Training) -> Result<Self> {
        let task = training.task.as_ref().ok_or(Error::NoTask)?;
        check_algorithm(training.algorithm, task.kind)?;
        let table = table_of(batches)?;
        let target = positive_last(table.target(&task.target, task.kind)?, task)?;
        if let Target::Regression(values) = &target
            && values.iter().all(|value| *value == values[0])
        {
            let (column, value) = (task.target.clone(), values[0].to_string());
            return Err(Error::OneClass { column, value, side: "table" });
        }
        let weights = training.weight.as_deref().map(|column| weights(&table, column)).transpose()?;
        let column = training.split.column.as_deref();
        let keys = Keys::read(&table, training.split.by, column, &target)?;
        let cv_keys = training.cv.as_ref().map(|cv| {
            let own = |by| matches!(by, SplitBy::Time | SplitBy::Group);
            // The one split column is of times or of groups, not of both.
            let other = own(cv.by) && own(training.split.by) && cv.by != training.split.by;
            Keys::read(&table, cv.by, column.filter(|_| !other), &target)
        });
        Ok(Self { training, task, table, target, weights, keys, cv_keys: cv_keys.transpose()? })
    }

    /// The split column, where it is used.
    pub(super) fn split_column(&self) -> Option<&'a str> {
        let uses = |by| matches!(by, SplitBy::Time | SplitBy::Group);
        let used = uses(self.training.split.by) || self.training.cv.as_ref().is_some_and(|cv| uses(cv.by));
        self.training.split.column.as_deref().filter(|_| used)
    }

    /// The columns to learn from, with the categories of these rows.
    pub(super) fn schema(&self, rows: &[usize]) -> Result<FrameSchema> {
        let training = self.training;
        let known = || self.table.schema().fields().iter().map(|field| field.name().clone());
        for column in &training.drop {
            if !known().any(|name| name == *column) {
                return Err(Error::UnknownColumn {
                    role: "drop",
                    column: column.clone(),
                    known: known().collect(),
                });
            }
        }
        let mut roles: Vec<(&str, &'static str)> = vec![(&self.task.target, "the target")];
        roles.extend(training.weight.as_deref().map(|column| (column, "the weight")));
        if let Some(columns) = &training.columns {
            roles.extend(training.drop.iter().map(|column| (column.as_str(), "a dropped column")));
            if let Some((column, second)) = roles.iter().find(|(role, _)| columns.iter().any(|c| c == role)) {
                return Err(Error::ColumnTwice { column: (*column).into(), first: "a feature", second });
            }
        }
        let mut without: Vec<&str> = roles.iter().map(|(column, _)| *column).collect();
        without.extend(training.drop.iter().map(String::as_str));
        // Who names the time or the group as a feature means it.
        let named =
            |column: &&str| training.columns.as_ref().is_some_and(|all| all.iter().any(|c| c == column));
        without.extend(self.split_column().filter(|column| !named(column)));
        let selection = Selection {
            columns: training.columns.as_deref(),
            without: &without,
            categorical: &training.categorical,
        };
        FrameSchema::learn(&self.table, Some(rows), selection)
    }
}

/// A table of all batches.
pub(super) fn table_of(batches: &[RecordBatch]) -> Result<Table> {
    let Some(first) = batches.first() else {
        return Err(Error::TooFewRows { rows: 0, what: "a training", least: 1 });
    };
    Table::new(first.schema(), batches.to_vec())
}

/// Weights that are finite, not negative and not all zero.
pub(super) fn weights(table: &Table, column: &str) -> Result<Vec<f64>> {
    let weights = table.numbers(column, "weight")?;
    if let Some(row) = weights.iter().position(|weight| !weight.is_finite()) {
        let value = if weights[row].is_nan() { "nothing".into() } else { weights[row].to_string() };
        return Err(Error::NotFinite { role: "weight", column: column.into(), value, row });
    }
    if let Some(row) = weights.iter().position(|weight| *weight < 0.0) {
        return Err(Error::NegativeWeight { column: column.into(), value: weights[row], row });
    }
    Ok(weights)
}

fn check_algorithm(algorithm: Algorithm, kind: TaskKind) -> Result<()> {
    let (value, expected) = match (algorithm, kind) {
        (Algorithm::Ridge, TaskKind::Classification) => ("ridge", "it is for regression; use `logistic`"),
        (Algorithm::Logistic, TaskKind::Regression) => ("logistic", "it is for classification; use `ridge`"),
        _ => return Ok(()),
    };
    Err(Error::Parameter { parameter: "algorithm".into(), value: value.into(), expected: expected.into() })
}

/// Puts the positive class of two last, so that it is class 1.
fn positive_last(target: Target, task: &Task) -> Result<Target> {
    let (Target::Classes { codes, classes }, Some(positive)) = (&target, &task.positive) else {
        return Ok(target);
    };
    let text = match positive {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let known = || classes.iter().map(ToString::to_string).collect::<Vec<_>>();
    // A boolean may be written as a number and the other way round.
    let same = |class: &ClassLabel| match (class, text.as_str()) {
        (ClassLabel::Bool(class), "1" | "1.0") => *class,
        (ClassLabel::Bool(class), "0" | "0.0") => !*class,
        (ClassLabel::Int(1), "true") | (ClassLabel::Int(0), "false") => true,
        (ClassLabel::Int(class), text) => text.parse::<f64>().is_ok_and(|number| number == *class as f64),
        (class, text) => class.to_string() == text,
    };
    let Some(found) = classes.iter().position(same) else {
        return Err(Error::UnknownPositive { column: task.target.clone(), value: text, known: known() });
    };
    if classes.len() != 2 {
        return Err(Error::Parameter {
            parameter: "positive".into(),
            value: text,
            expected: format!("it is for two classes, and `{}` has {}", task.target, classes.len()),
        });
    }
    if found == 1 {
        return Ok(target);
    }
    Ok(Target::Classes {
        codes: codes.iter().map(|code| 1 - code).collect(),
        classes: vec![classes[1].clone(), classes[0].clone()],
    })
}

/// The target of a further table, in the classes of a model.
pub(super) fn target_of(table: &Table, model: &TrainedModel) -> Result<Target> {
    let Some(classes) = &model.classes else { return table.target(&model.target, TaskKind::Regression) };
    let code = |text: &str| {
        classes.iter().position(|class| class.to_string() == text).map(|code| code as u32).ok_or_else(|| {
            let known: Vec<String> = classes.iter().map(|class| format!("`{class}`")).collect();
            Error::Unfit(format!(
                "target column `{}` holds `{text}`; the model knows {}",
                model.target,
                known.join(", ")
            ))
        })
    };
    let codes = match table.target(&model.target, TaskKind::Classification) {
        Ok(Target::Classes { codes, classes: found }) => {
            let map = found.iter().map(|class| code(&class.to_string())).collect::<Result<Vec<u32>>>()?;
            codes.iter().map(|code| map[*code as usize]).collect()
        }
        // One class is too little to learn from, but enough to be measured on.
        Err(Error::OneClass { value, .. }) => vec![code(&value)?; table.rows()],
        Ok(Target::Regression(_)) => return Err(Error::Unfit("the target is a number".into())),
        Err(error) => return Err(error),
    };
    Ok(Target::Classes { codes, classes: classes.clone() })
}

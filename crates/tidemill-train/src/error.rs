//! What can go wrong while training, scoring or exporting, with a hint for each.
//!
//! One enum for the whole crate. It carries no paths: callers add the file or step that they were working on.

use tidemill_core::{Hint, did_you_mean};

/// Why a table could not be learnt from, scored or exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A column that the declaration names is not in the table.
    #[error("{role} column `{column}` is not in the table")]
    UnknownColumn {
        /// What the declaration uses it for: `target`, `weight`, `split`, `feature`, …
        role: &'static str,
        /// The name as it was given.
        column: String,
        /// The names that are there.
        known: Vec<String>,
    },
    /// A column has a type that its role cannot use.
    #[error("{role} column `{column}` has type {found}, which cannot be used: {expected} is needed")]
    ColumnType {
        /// What the declaration uses it for.
        role: &'static str,
        /// Its name.
        column: String,
        /// Its Arrow type.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// A column that is named twice, in one role or in two that exclude each other.
    #[error("column `{column}` is named twice: as {first} and as {second}")]
    ColumnTwice {
        /// Its name.
        column: String,
        /// The first role.
        first: &'static str,
        /// The second role.
        second: &'static str,
    },
    /// Two batches of one table disagree about their columns.
    #[error("batch {batch} has other columns than the first: {detail}")]
    SchemaChanges {
        /// Number of the batch, from 0.
        batch: usize,
        /// The first difference.
        detail: String,
    },
    /// Neither the step nor the objective says what is predicted.
    #[error("the training does not say what is predicted")]
    NoTask,
    /// The table has no rows, or too few for what was asked.
    #[error("{rows} rows are too few for {what}: at least {least} are needed")]
    TooFewRows {
        /// Rows that there are.
        rows: usize,
        /// What they were needed for.
        what: &'static str,
        /// The least number.
        least: usize,
    },
    /// Nothing is left to learn from.
    #[error("no column is left to learn from")]
    NoFeatures,
    /// The target has missing values.
    #[error("target column `{column}` is missing in {count} of {rows} rows, first in row {first}")]
    TargetMissing {
        /// Its name.
        column: String,
        /// Rows without a value.
        count: usize,
        /// All rows.
        rows: usize,
        /// The first such row, from 0.
        first: usize,
    },
    /// A column that must hold finite numbers holds something else.
    #[error("{role} column `{column}` holds {value} in row {row}, which is not a finite number")]
    NotFinite {
        /// What the declaration uses it for.
        role: &'static str,
        /// Its name.
        column: String,
        /// The value, as text.
        value: String,
        /// The row, from 0.
        row: usize,
    },
    /// A weight below zero.
    #[error("weight column `{column}` holds {value} in row {row}: weights must not be negative")]
    NegativeWeight {
        /// Its name.
        column: String,
        /// The value.
        value: f64,
        /// The row, from 0.
        row: usize,
    },
    /// All weights of a side are zero.
    #[error("all weights of the {side} rows are zero")]
    NoWeight {
        /// `training`, `test` or `validation`.
        side: &'static str,
    },
    /// A target with fewer than two different values.
    #[error("target column `{column}` has one value only, `{value}`, in the {side} rows")]
    OneClass {
        /// Its name.
        column: String,
        /// That value.
        value: String,
        /// `training`, `test`, `validation`, or `table` for all of them.
        side: &'static str,
    },
    /// A classification target with very many values.
    #[error("target column `{column}` has {classes} classes: at most {most} are supported")]
    TooManyClasses {
        /// Its name.
        column: String,
        /// How many it has.
        classes: usize,
        /// The limit.
        most: usize,
    },
    /// The positive value is not among the target's values.
    #[error("positive value `{value}` does not occur in target column `{column}`")]
    UnknownPositive {
        /// The column.
        column: String,
        /// The value as it was given.
        value: String,
        /// The values that occur.
        known: Vec<String>,
    },
    /// A class that training rows lack.
    #[error("class `{class}` has no rows on the {side} side of {what}")]
    EmptyClass {
        /// The class.
        class: String,
        /// `training` or `test`.
        side: &'static str,
        /// Which split: `the split`, `fold 3`.
        what: String,
    },
    /// A split that leaves a side without rows.
    #[error("{what} leaves no rows on the {side} side: {detail}")]
    EmptySide {
        /// Which split: `the split`, `fold 3`.
        what: String,
        /// `training` or `test`.
        side: &'static str,
        /// Why.
        detail: String,
    },
    /// A split that needs a column and has none.
    #[error("split by `{by}` needs a column")]
    SplitColumn {
        /// `time` or `group`.
        by: &'static str,
    },
    /// The split column has a missing value.
    #[error("split column `{column}` is missing in row {row}")]
    SplitMissing {
        /// Its name.
        column: String,
        /// The first such row, from 0.
        row: usize,
    },
    /// A parameter outside its range.
    #[error("parameter `{parameter}` is {value}: {expected}")]
    Parameter {
        /// Its name as in the project file.
        parameter: String,
        /// The value as it was given.
        value: String,
        /// What it must be.
        expected: String,
    },
    /// A parameter name that the algorithm does not have.
    #[error("`{parameter}` is not a parameter of `{algorithm}`")]
    UnknownParameter {
        /// The name as it was given.
        parameter: String,
        /// The algorithm.
        algorithm: &'static str,
        /// The names that it has.
        known: Vec<String>,
    },
    /// A metric that says nothing about the task.
    #[error("metric `{metric}` cannot be used: {reason}")]
    MetricUnfit {
        /// Its name.
        metric: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A metric that is not defined on the rows that there are.
    #[error("metric `{metric}` is not defined on these rows: {reason}")]
    MetricUndefined {
        /// Its name.
        metric: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A table to be scored that does not fit the model.
    #[error("the table does not fit the model: {0}")]
    Unfit(String),
    /// Two sets of predictions that cannot be compared row by row.
    #[error("the predictions cannot be compared: {0}")]
    Unpaired(String),
    /// The model cannot be written as ONNX.
    #[error("the model cannot be exported to ONNX: {0}")]
    Export(String),
    /// A stored model that cannot be read.
    #[error("the stored model cannot be read: {0}")]
    Stored(String),
    /// The work was asked to stop.
    #[error("training was cancelled")]
    Cancelled,
    /// Arrow refused an operation.
    #[error("the table cannot be read: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownColumn { column, known, .. } => {
                did_you_mean(column, known.iter().map(String::as_str))
            }
            Self::ColumnType { role: "feature", column, .. } => {
                Some(format!("cast it in the step that makes the table, or add `{column}` to `drop`"))
            }
            Self::ColumnType { .. } => Some("cast it in the step that makes the table".into()),
            Self::ColumnTwice { .. } => Some("leave it in one place".into()),
            Self::SchemaChanges { .. } => Some("write all files of the table with the same columns".into()),
            Self::NoTask => Some(
                "add `task: {kind: classification, target: COLUMN}` to the training or to the objective"
                    .into(),
            ),
            Self::TooFewRows { .. } => Some("give more rows, fewer folds, or a smaller `test` share".into()),
            Self::NoFeatures => Some("name columns in `columns`, or drop fewer in `drop`".into()),
            Self::TargetMissing { column, .. } => Some(format!(
                "leave such rows out in the step that makes the table, for example `where {column} is not null`"
            )),
            Self::NotFinite { .. } => Some("clean the column in the step that makes the table".into()),
            Self::NegativeWeight { .. } => Some("use weights of 0 or more".into()),
            Self::NoWeight { .. } => Some("give some rows a weight above 0".into()),
            Self::OneClass { .. } => {
                Some("there is nothing to learn; look at the rows that were selected and at the split".into())
            }
            Self::TooManyClasses { .. } => {
                Some("use `kind: regression` for a number, or group rare classes".into())
            }
            Self::UnknownPositive { value, known, .. } => {
                did_you_mean(value, known.iter().map(String::as_str))
            }
            Self::EmptyClass { .. } => {
                Some("use `by: stratified`, fewer folds, or merge classes with few rows".into())
            }
            Self::EmptySide { .. } => Some("change `test`, the number of folds, or the split column".into()),
            Self::SplitColumn { by: "time" } => {
                Some("add `column:` to the split, or `time:` to the objective".into())
            }
            Self::SplitColumn { .. } => Some("add `column:` to the split".into()),
            Self::SplitMissing { column, .. } => {
                Some(format!("leave such rows out, for example `where {column} is not null`"))
            }
            Self::UnknownParameter { parameter, known, .. } => {
                did_you_mean(parameter, known.iter().map(String::as_str))
            }
            Self::MetricUndefined { .. } => Some("use more rows, or another metric".into()),
            Self::Unfit(_) => Some("score a table with the columns that the model was trained on".into()),
            Self::Unpaired(_) => Some("score the same rows with both models".into()),
            Self::Stored(_) => Some("train it again".into()),
            Self::Parameter { .. }
            | Self::MetricUnfit { .. }
            | Self::Export(_)
            | Self::Cancelled
            | Self::Arrow(_) => None,
        }
    }
}

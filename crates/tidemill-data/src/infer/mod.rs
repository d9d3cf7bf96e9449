//! What a table seems to be: roles of columns, the task, expectations, a split. It proposes; people decide.
//!
//! It does not guess leaks (columns known only after the fact): no statistic tells them from good features.

mod expectations;
mod roles;
mod suggest;
mod task;

pub use suggest::suggest;

use serde::{Deserialize, Serialize};
use tidemill_core::declare::{Expectation, Split, SplitBy, Task, TaskKind};

use crate::profile::ColumnStats;
use crate::{ColumnType, Error, Profile, Table};

/// What a new project could look like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Number of rows.
    pub rows: u64,
    /// The task: kind, target, positive class.
    pub task: Task,
    /// Why this kind.
    pub task_reason: String,
    /// Every column with its role.
    pub columns: Vec<ColumnProposal>,
    /// Expectations that hold on the table, with slack for the data to come.
    pub expect: Vec<Expectation>,
    /// How to hold out test rows.
    pub split: Split,
    /// Why this split.
    pub split_reason: String,
    /// The column that says when a row happened.
    pub time: Option<String>,
    /// The column (or columns) that identify a row.
    pub key: Vec<String>,
    /// Columns to leave out of training.
    pub drop: Vec<String>,
    /// Columns of numbers to treat as categories.
    pub categorical: Vec<String>,
    /// Sentences for the user: what could not be decided, and what to look at.
    pub notes: Vec<String>,
}

/// A column and what it seems to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnProposal {
    /// The column.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Why.
    pub reason: String,
}

/// What a column seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// What is predicted.
    Target,
    /// When a row happened.
    Time,
    /// A number.
    Numeric,
    /// A number as text with a decimal comma.
    DecimalComma {
        /// With points between thousands.
        grouped: bool,
    },
    /// One of a few values.
    Categorical,
    /// Different in nearly every row, and only a name.
    Id,
    /// The same in every row.
    Constant,
    /// Free text.
    Text,
    /// A type that the trainer does not take.
    Unsupported,
}

/// Looks at `table` and proposes a project that predicts `target`.
///
/// # Errors
/// An unknown, constant or empty target, one of a type that cannot be predicted, or one with too many classes; what
/// reading gives.
pub fn propose(table: &Table, target: &str) -> Result<Proposal, Error> {
    table.column(target)?;
    let profile = Profile::of(table)?;
    let stats = profile.describe();
    let about = |name: &str| stats.iter().find(|column| column.name == name);
    let (task, task_reason) = task::task(&profile, &stats, target)?;
    let columns = roles::roles(&stats, target);
    let of_role = |wanted: &[Role]| -> Vec<String> {
        columns
            .iter()
            .filter(|column| wanted.contains(&column.role))
            .map(|column| column.name.clone())
            .collect()
    };
    let time = of_role(&[Role::Time]).into_iter().next();
    let key = key(&stats, &columns);
    let (split, split_reason) = split(time.as_deref(), &task);
    let categorical = columns.iter().filter(|column| column.role == Role::Categorical).filter(|column| {
        about(&column.name)
            .is_some_and(|stats| matches!(stats.column_type, ColumnType::Int | ColumnType::Float))
    });
    Ok(Proposal {
        rows: profile.rows(),
        expect: expectations::expectations(&profile, &stats, &columns, &key),
        notes: notes(&stats, &columns, target),
        drop: of_role(&[Role::Id, Role::Constant, Role::Text, Role::Unsupported]),
        categorical: categorical.map(|column| column.name.clone()).collect(),
        task,
        task_reason,
        columns,
        split,
        split_reason,
        time,
        key,
    })
}

/// The first column that is different in every row.
fn key(stats: &[ColumnStats], columns: &[ColumnProposal]) -> Vec<String> {
    let unique = |name: &str| {
        let found = stats.iter().find(|column| column.name == name);
        found.is_some_and(|stats| stats.nulls == 0 && roles::all_different(stats))
    };
    let found = columns.iter().find(|column| column.role == Role::Id && unique(&column.name));
    found.map(|column| column.name.clone()).into_iter().collect()
}

fn split(time: Option<&str>, task: &Task) -> (Split, String) {
    let (by, reason) = match (time, task.kind) {
        (Some(time), _) => (
            SplitBy::Time,
            format!(
                "the model will be used on rows later than those it learnt from, so the last fifth by `{time}` tests it"
            ),
        ),
        (None, TaskKind::Classification) => (
            SplitBy::Stratified,
            "there is no time column; both sides keep the shares of the classes".to_owned(),
        ),
        (None, TaskKind::Regression) => (SplitBy::Random, "there is no time column".to_owned()),
    };
    (Split { by, test: 0.2, column: time.map(str::to_owned) }, reason)
}

fn notes(stats: &[ColumnStats], columns: &[ColumnProposal], target: &str) -> Vec<String> {
    let mut notes = vec![format!(
        "columns that are known only after `{target}` cannot be told from good ones by their values: add them to `drop`"
    )];
    for stats in stats {
        let rows = stats.count + stats.nulls;
        if stats.name == target && stats.nulls > 0 {
            notes.push(format!(
                "`{target}` is null in {} of {rows} rows: leave them out in a step before training",
                stats.nulls
            ));
        } else if stats.nulls * 2 > rows && stats.count > 0 {
            notes.push(format!("`{}` is null in {} of {rows} rows", stats.name, stats.nulls));
        }
    }
    for column in columns.iter().filter(|column| matches!(column.role, Role::DecimalComma { .. })) {
        notes.push(format!("`{}` is {}", column.name, column.reason));
    }
    let other_times = columns.iter().filter(|column| column.role == Role::Unsupported);
    for column in other_times {
        notes.push(format!("`{}` is left out: {}", column.name, column.reason));
    }
    notes
}

//! What a table seems to be: roles of columns, the task, expectations, a split. It proposes; people decide.
//!
//! It does not guess leaks (columns known only after the fact): no statistic tells them from good features.

use serde::{Deserialize, Serialize};
use tidemill_core::declare::{Expectation, Split, Task};

use crate::{Error, Table};

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
/// An unknown, constant or empty target; what reading gives.
pub fn propose(table: &Table, target: &str) -> Result<Proposal, Error> {
    let _ = (table, target);
    Err(Error::Unusable("not there yet".to_owned()))
}

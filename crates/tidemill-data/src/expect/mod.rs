//! Expectations on a table, judged in one scan. Which expectations there are is declared in `tidemill-core`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidemill_core::declare::{Expectation, Severity};

use crate::{Error, Row, Table};

/// How one expectation came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The rule as it stands in a project file, on one line, for example `not_null: [carrier, origin]`.
    pub rule: String,
    /// Its name, for example `not_null`.
    pub name: String,
    /// How bad it is when it does not hold.
    pub severity: Severity,
    /// Whether it holds.
    pub passed: bool,
    /// Rows looked at.
    pub checked: u64,
    /// Rows that break it; for rules on the whole table 1 where it does not hold.
    pub failed: u64,
    /// The first rows that break it.
    pub sample: Vec<FailingRow>,
    /// What was found, in one sentence without a full stop.
    pub message: String,
    /// What to do, for example the column that was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A row that breaks a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailingRow {
    /// Its number in the table, from 1.
    pub row: u64,
    /// The cells that the rule looks at.
    pub cells: Row,
}

/// Bounds of an evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most rows of each sample.
    pub sample_rows: usize,
    /// Bytes that `unique` and `sql` rules may use in memory before they spill to files.
    pub memory: usize,
    /// Where they spill; the system's temporary folder where not given.
    pub spill_dir: Option<PathBuf>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sample_rows: 5, memory: 512 << 20, spill_dir: None }
    }
}

/// Judges `rules` on `table`, which `sql` rules know as `name`. All other rules share one scan. The results are in
/// the order of `rules`; a rule that cannot be judged (an unknown column, a malformed pattern, a failing query)
/// is a result that did not pass, with the reason as its message.
///
/// # Errors
/// What reading the table gives.
pub fn evaluate(
    table: &Table,
    name: &str,
    rules: &[Expectation],
    limits: &Limits,
) -> Result<Vec<CheckResult>, Error> {
    let _ = (table, name, rules, limits);
    Err(Error::Unusable("not there yet".to_owned()))
}

//! Expectations on a table, judged in one scan. Which expectations there are is declared in `tidemill-core`.

mod bound;
mod row;
mod text;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidemill_core::declare::{Expectation, Rule, Severity};
use tidemill_core::{Hint, did_you_mean};

use self::row::Scan;
use crate::{ColumnType, Error, Row, Table};

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
    let mut results: Vec<CheckResult> = rules.iter().map(CheckResult::open).collect();
    let unique = rules.iter().filter(|rule| matches!(rule.rule, Rule::Unique(_))).count().max(1);
    let mut scans: Vec<(usize, Scan)> = Vec::new();
    for (i, expectation) in rules.iter().enumerate() {
        match Scan::new(&expectation.rule, table, limits.sample_rows, limits.memory / unique) {
            Ok(Some(scan)) => scans.push((i, scan)),
            Ok(None) => whole(table, name, &expectation.rule, limits, &mut results[i]),
            Err(refused) => results[i].refuse(refused),
        }
    }
    if !scans.is_empty() {
        let columns: BTreeSet<usize> =
            scans.iter().flat_map(|(_, scan)| scan.columns.iter().copied()).collect();
        let columns: Vec<usize> = columns.into_iter().collect();
        let place = |column: &usize| columns.binary_search(column).unwrap_or_default();
        let places: Vec<Vec<usize>> =
            scans.iter().map(|(_, scan)| scan.columns.iter().map(place).collect()).collect();
        let mut start = 0;
        for batch in table.batches(Some(&columns))? {
            let batch = batch?;
            for ((_, scan), places) in scans.iter_mut().zip(&places) {
                scan.see(&batch, places, start)?;
            }
            start += batch.num_rows() as u64;
        }
    }
    for (i, scan) in scans {
        scan.finish(table, &mut results[i])?;
    }
    Ok(results)
}

/// Why a rule cannot be judged.
struct Refused {
    message: String,
    hint: Option<String>,
}

impl Refused {
    fn because(message: String) -> Self {
        Self { message, hint: None }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { message: error.to_string(), hint: error.hint() }
    }
}

impl CheckResult {
    fn open(expectation: &Expectation) -> Self {
        Self {
            rule: text::rule(&expectation.rule),
            name: expectation.rule.name().to_owned(),
            severity: expectation.severity,
            passed: false,
            checked: 0,
            failed: 0,
            sample: Vec::new(),
            message: String::new(),
            hint: None,
        }
    }

    fn refuse(&mut self, refused: Refused) {
        self.passed = false;
        self.failed = 1;
        self.message = refused.message;
        self.hint = refused.hint;
    }

    fn judge(&mut self, passed: bool, message: String) {
        self.passed = passed;
        self.failed = u64::from(!passed);
        self.message = message;
    }
}

/// Rules on the table as a whole.
fn whole(table: &Table, name: &str, rule: &Rule, limits: &Limits, result: &mut CheckResult) {
    result.checked = table.rows();
    match rule {
        Rule::RowCount { min, max } => {
            let rows = table.rows();
            let (low, high) = (min.is_some_and(|min| rows < min), max.is_some_and(|max| rows > max));
            let bound = match (min, max) {
                (Some(min), _) if low => format!(", fewer than {min}"),
                (_, Some(max)) if high => format!(", more than {max}"),
                _ => String::new(),
            };
            result.judge(!low && !high, format!("{rows} rows{bound}"));
        }
        Rule::Schema(columns) => schema(table, columns, result),
        Rule::Sql { assert } => match sql(table, name, assert, limits) {
            Ok((passed, answer)) => result.judge(passed, format!("the query answers {answer}")),
            Err(error) => result.refuse(error.into()),
        },
        Rule::NotNull(_)
        | Rule::Unique(_)
        | Rule::InSet { .. }
        | Rule::Between { .. }
        | Rule::Regex { .. } => {}
    }
}

fn schema(table: &Table, columns: &indexmap::IndexMap<String, String>, result: &mut CheckResult) {
    let mut wrong = Vec::new();
    let mut hint = None;
    for (column, expected) in columns {
        let Some(kind) = ColumnType::from_name(expected) else {
            wrong.push(format!("there is no type `{expected}`"));
            hint = did_you_mean(expected, ColumnType::NAMED.iter().map(|(name, _)| *name));
            continue;
        };
        match table.column(column) {
            Ok(index) => {
                let found = ColumnType::of(table.schema().field(index).data_type());
                if found != kind {
                    wrong.push(format!("`{column}` is {found}, not {kind}"));
                }
            }
            Err(error) => {
                wrong.push(error.to_string());
                hint = hint.or(error.hint());
            }
        }
    }
    let message = if wrong.is_empty() {
        format!("{} columns are as declared", columns.len())
    } else {
        wrong.join("; ")
    };
    result.judge(wrong.is_empty(), message);
    result.failed = wrong.len() as u64;
    result.checked = columns.len() as u64;
    result.hint = hint;
}

#[cfg(feature = "sql")]
fn sql(table: &Table, name: &str, query: &str, limits: &Limits) -> Result<(bool, String), Error> {
    let spill = limits.spill_dir.as_deref();
    // A thread of its own, because the caller's may already drive async work and must not wait for more of it.
    let answer = std::thread::scope(|scope| {
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Error::Unusable(format!("cannot run a query: {error}")))?;
            runtime.block_on(crate::sql::assert_table(query, name, table, limits.memory, spill))
        };
        scope.spawn(work).join()
    });
    let answer = answer.map_err(|_| Error::Unusable("the query engine stopped".to_owned()))??;
    Ok((answer.passed, answer.answer))
}

#[cfg(not(feature = "sql"))]
fn sql(_: &Table, _: &str, _: &str, _: &Limits) -> Result<(bool, String), Error> {
    Err(Error::Unusable("this build has no SQL engine, so the rule was not judged".to_owned()))
}

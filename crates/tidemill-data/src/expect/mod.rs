//! Expectations on a table, judged in one scan. Which expectations there are is declared in `tidemill-core`.
//!
//! Rules on rows look at each batch as it streams past (`row`); rules on figures of columns share one profile of the
//! columns that they name (`figure`); rules against another table are in `keys` and `shift`, and what needs no row is
//! in `whole`.

mod bound;
mod condition;
mod figure;
mod keys;
mod row;
mod shift;
mod stored;
mod text;
mod whole;

use std::collections::BTreeSet;
use std::path::PathBuf;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tidemill_core::declare::{Expectation, Rule, Severity};
use tidemill_core::{Progress, Quiet, Timestamp, Unit};

use self::condition::Conditions;
use self::figure::Figures;
use self::row::Scan;
pub use self::stored::Checked;
use crate::{Error, Profile, Row, Table};

/// How one expectation came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The rule as it stands in a project file, on one line, for example `not_null: [carrier, origin]`.
    pub rule: String,
    /// Its name, for example `not_null`.
    pub name: String,
    /// How bad it is when it does not hold.
    pub severity: Severity,
    /// What kind of trouble it would be.
    pub skew: Skew,
    /// Whether it holds.
    pub passed: bool,
    /// Rows looked at.
    pub checked: u64,
    /// Rows that break it; for rules on the whole table 1 where it does not hold.
    pub failed: u64,
    /// The figure that was found, for rules on a figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<f64>,
    /// The first rows that break it.
    pub sample: Vec<FailingRow>,
    /// What was found, in one sentence without a full stop.
    pub message: String,
    /// What to do, for example the column that was probably meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What a broken rule says of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skew {
    /// The table has another shape than the pipeline was written for.
    Schema,
    /// Values are not as they should be.
    Value,
    /// Values are distributed otherwise than before, which may call for training again.
    Distribution,
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
    /// Bytes that rules on keys and `sql` rules may use in memory before they spill to files.
    pub memory: usize,
    /// Where they spill; the system's temporary folder where not given.
    pub spill_dir: Option<PathBuf>,
    /// Columns whose values are not shown in samples.
    pub redact: Vec<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sample_rows: 20, memory: 512 << 20, spill_dir: None, redact: Vec::new() }
    }
}

/// The other datasets that rules name, as the caller finds them.
pub trait Others {
    /// The rows of the dataset called `name`, which may end in `@VERSION`.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    fn table(&self, name: &str) -> Result<Table, Error>;

    /// Its profile. Callers that keep profiles need not read the rows.
    ///
    /// # Errors
    /// As [`Others::table`].
    fn profile(&self, name: &str) -> Result<Profile, Error> {
        Profile::of(&self.table(name)?)
    }
}

/// No other datasets.
struct Alone;

impl Others for Alone {
    fn table(&self, name: &str) -> Result<Table, Error> {
        Err(Error::Unusable(format!("there is no dataset `{name}` here")))
    }
}

/// What an evaluation happens in.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The time, for `freshness`.
    pub now: Option<Timestamp>,
    /// Other datasets.
    pub others: &'a dyn Others,
    /// Who watches, and can stop it.
    pub progress: &'a dyn Progress,
}

impl Default for Surroundings<'_> {
    fn default() -> Self {
        Self { now: None, others: &Alone, progress: &Quiet }
    }
}

/// Judges `rules` on `table`, as [`evaluate_in`] does where there is nothing around it.
///
/// # Errors
/// What reading the table gives.
pub fn evaluate(
    table: &Table,
    name: &str,
    rules: &[Expectation],
    limits: &Limits,
) -> Result<Vec<CheckResult>, Error> {
    evaluate_in(table, name, rules, limits, &Surroundings::default())
}

/// Judges `rules` on `table`, which `sql` rules know as `name`. All other rules share one scan of the columns that they
/// name. The results are in the order of `rules`; a rule that cannot be judged (an unknown column, a malformed pattern, a
/// failing query) is a result that did not pass, with the reason as its message.
///
/// # Errors
/// What reading the table gives; [`Error::Cancelled`].
pub fn evaluate_in(
    table: &Table,
    name: &str,
    rules: &[Expectation],
    limits: &Limits,
    around: &Surroundings<'_>,
) -> Result<Vec<CheckResult>, Error> {
    let mut results: Vec<CheckResult> = rules.iter().map(CheckResult::open).collect();
    let mut conditions = Conditions::default();
    let mut figures = Figures::default();
    let mut scans: Vec<(usize, Scan, Option<usize>)> = Vec::new();
    let mut asked: Vec<(usize, usize)> = Vec::new();
    let keyed = |rule: &&Expectation| {
        matches!(rule.rule, Rule::Unique(_) | Rule::ForeignKey { .. } | Rule::NoLeakage { .. })
    };
    // A rule on the keys of two tables holds both.
    let memory = limits.memory / (2 * rules.iter().filter(keyed).count()).max(1);
    for (i, expectation) in rules.iter().enumerate() {
        let prepared = conditions.place(expectation, table).and_then(|condition| {
            let places = figure::columns(&expectation.rule, table, around)?;
            if let Some(places) = places {
                asked.push((i, figures.want(condition, places)));
                return Ok(());
            }
            match Scan::new(expectation, table, limits.sample_rows, memory, around)? {
                Some(scan) => scans.push((i, scan, condition)),
                None if condition.is_some() => {
                    let rule = expectation.rule.name();
                    return Err(Refused::because(format!("`where` has no meaning for `{rule}`")));
                }
                None => whole::judge(table, name, &expectation.rule, limits, &mut results[i]),
            }
            Ok(())
        });
        if let Err(refused) = prepared {
            results[i].refuse(refused);
        }
    }
    if !scans.is_empty() || !asked.is_empty() {
        run(table, &mut scans, &mut figures, &mut conditions, around)?;
    }
    for (i, scan, _) in scans {
        scan.finish(table, limits, rules[i].mostly, &mut results[i])?;
    }
    let profiles = figures.finish()?;
    for (i, group) in asked {
        if let Err(refused) =
            figure::judge(&rules[i].rule, &profiles[group], around, &limits.redact, &mut results[i])
        {
            results[i].refuse(refused);
        }
    }
    Ok(results)
}

/// The one pass over the columns that any rule looks at.
fn run(
    table: &Table,
    scans: &mut [(usize, Scan, Option<usize>)],
    figures: &mut Figures,
    conditions: &mut Conditions,
    around: &Surroundings<'_>,
) -> Result<(), Error> {
    let mut columns: BTreeSet<usize> =
        scans.iter().flat_map(|(_, scan, _)| scan.columns.iter().copied()).collect();
    columns.extend(figures.columns());
    columns.extend(conditions.columns());
    let columns: Vec<usize> = columns.into_iter().collect();
    let place = |column: &usize| columns.binary_search(column).unwrap_or_default();
    let places: Vec<Vec<usize>> =
        scans.iter().map(|(_, scan, _)| scan.columns.iter().map(place).collect()).collect();
    let batches = table.batches(Some(&columns))?;
    conditions.bind(batches.schema())?;
    figures.bind(batches.schema(), &columns)?;
    around.progress.begin("checking", Some(table.rows()), Unit::Rows);
    let mut start = 0;
    for batch in batches {
        let batch = batch?;
        if around.progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let masks = conditions.evaluate(&batch)?;
        let mask = |condition: Option<usize>| condition.and_then(|place| masks.get(place));
        scans.par_iter_mut().zip(&places).try_for_each(|((_, scan, condition), places)| {
            scan.see(&batch, places, start, mask(*condition))
        })?;
        figures.see(&batch, &masks)?;
        start += batch.num_rows() as u64;
        around.progress.advance(batch.num_rows() as u64);
    }
    Ok(())
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
        use tidemill_core::Hint as _;
        Self { message: error.to_string(), hint: error.hint() }
    }
}

impl CheckResult {
    fn open(expectation: &Expectation) -> Self {
        Self {
            rule: text::rule(expectation),
            name: expectation.rule.name().to_owned(),
            severity: expectation.severity(),
            skew: match expectation.rule {
                Rule::Schema(_) | Rule::ColumnCount { .. } => Skew::Schema,
                Rule::DriftBelow { .. } | Rule::NoNewCategories { .. } => Skew::Distribution,
                _ => Skew::Value,
            },
            passed: false,
            checked: 0,
            failed: 0,
            observed: None,
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

/// How a figure stands to its bounds.
fn within(found: f64, min: Option<f64>, max: Option<f64>) -> (bool, String) {
    match (min, max) {
        // NaN is within nothing.
        (Some(min), _) if found.is_nan() || found < min => (false, format!(", less than {min}")),
        (_, Some(max)) if found.is_nan() || found > max => (false, format!(", more than {max}")),
        _ => (true, String::new()),
    }
}

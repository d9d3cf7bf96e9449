//! Whether one table looks as another did: what the statistical core needs, taken from rows or from stored profiles.
//!
//! From rows every figure is exact. From profiles the quantile sketches' rank errors are handed on, and the battery takes
//! them off the distances that it tests; frequent values of columns with too many of them to count are compared, the others
//! as one. Nothing is decided here: that is `tidemill_stats::drift`.

pub(crate) mod inputs;
mod joint;
mod profiles;
mod sampled;
mod tables;

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};
use tidemill_core::Progress;
pub use tidemill_stats::drift::{ColumnDrift, DomainClassifier, Level, Rules, TestKind, Verdict};
use tidemill_stats::drift::{Measured, Pair, Sampled, judge};

pub use self::joint::{Samples, sampled_rows, samples};
use crate::{ColumnType, Error, Profile, SchemaDiff, SchemaField, Table};

/// What is compared, and how it is judged.
#[derive(Clone, Debug)]
pub struct DriftOptions {
    /// How significance and effects turn into levels.
    pub rules: Rules,
    /// Only these columns; all that both sides have where `None`.
    pub columns: Option<Vec<String>>,
    /// Not these columns, for example keys.
    pub skip: Vec<String>,
    /// Columns of numbers that are codes: they are compared as categories.
    pub categorical: Vec<String>,
    /// How much the model uses each column, in any unit.
    pub importance: BTreeMap<String, f64>,
    /// Whether correlations of numeric columns are compared too, on all rows.
    pub pairs: bool,
    /// Whether pairs of columns, those of categories among them, are compared by the samples of rows that two profiles have.
    pub sampled: bool,
    /// How well a classifier tells rows of the two sides apart, where somebody trained one; [`samples`] are what it takes, or
    /// [`sampled_rows`] of profiles.
    pub classifier: Option<DomainClassifier>,
    /// Bytes of values held at a time while rows are compared.
    pub memory: usize,
}

impl Default for DriftOptions {
    fn default() -> Self {
        Self {
            rules: Rules::default(),
            columns: None,
            skip: Vec::new(),
            categorical: Vec::new(),
            importance: BTreeMap::new(),
            pairs: true,
            sampled: false,
            classifier: None,
            memory: 256 << 20,
        }
    }
}

/// What came of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftReport {
    /// Rows of the reference.
    pub rows_reference: u64,
    /// Rows of what is compared with it.
    pub rows_current: u64,
    /// Whether every figure is exact, or comes from sketches.
    pub exact: bool,
    /// Columns that only one side has, or of another type: such a table cannot be used in the place of the other.
    pub schema: SchemaDiff,
    /// Columns that were not compared, with the reason.
    pub skipped: Vec<Skipped>,
    /// The decision.
    pub verdict: Verdict,
}

impl DriftReport {
    /// Takes the values of some columns out of the sentences; levels and figures stay.
    pub fn redact(&mut self, columns: &[String]) {
        for column in self.verdict.columns.iter_mut().filter(|column| columns.contains(&column.name)) {
            let word = match column.level {
                Level::Major => "it moved much",
                Level::Minor => "it moved a little",
                Level::None => "no test is significant",
                Level::NotJudged => "there are too few rows",
            };
            column.reason = format!("{word}; its values are not shown");
        }
        // The table's sentence quotes the reason of the column that moved most.
        if let Some(first) = self.verdict.columns.first().filter(|column| columns.contains(&column.name)) {
            let moved = self.verdict.columns.iter().filter(|column| column.level == Level::Major).count();
            let all = self.verdict.columns.len();
            self.verdict.reason = format!("{moved} of {all} columns moved much, first {}", first.name);
        }
    }
}

/// A column that was not compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The column.
    pub column: String,
    /// Why, in words.
    pub reason: String,
}

/// Compares the rows of two tables.
///
/// # Errors
/// A column of the options that is on neither side; what reading gives; [`Error::Cancelled`].
pub fn between_tables(
    reference: &Table,
    current: &Table,
    options: &DriftOptions,
    progress: &dyn Progress,
) -> Result<DriftReport, Error> {
    tables::compare(reference, current, options, progress)
}

/// Compares two profiles, without their rows.
///
/// # Errors
/// A column of the options that is on neither side.
pub fn between_profiles(
    reference: &Profile,
    current: &Profile,
    options: &DriftOptions,
) -> Result<DriftReport, Error> {
    profiles::compare(reference, current, options)
}

/// How a column is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Numeric,
    Categorical,
}

/// A column of both sides that is to be compared.
struct Chosen {
    name: String,
    role: Role,
}

/// The columns that are compared in this way.
fn of_role(chosen: &[Chosen], role: Role) -> Vec<&Chosen> {
    chosen.iter().filter(|column| column.role == role).collect()
}

/// Two columns with their correlation and the number of rows on either side.
struct FoundPair {
    columns: [String; 2],
    reference: (f64, f64),
    current: (f64, f64),
    /// What a test on samples found; none where the correlations are of all rows.
    sampled: Option<FoundSample>,
}

/// A test on samples of rows.
struct FoundSample {
    z: f64,
    p: f64,
    /// The categories that the correlation is of.
    of: [Option<String>; 2],
}

/// The decision on what was measured.
fn decide(measured: Vec<Measured>, found: &[FoundPair], options: &DriftOptions) -> Verdict {
    let pairs: Vec<Pair<'_>> = found
        .iter()
        .map(|pair| Pair {
            columns: (&pair.columns[0], &pair.columns[1]),
            reference: pair.reference,
            current: pair.current,
            sampled: pair.sampled.as_ref().map(|sampled| Sampled {
                z: sampled.z,
                p: sampled.p,
                of: (sampled.of[0].as_deref(), sampled.of[1].as_deref()),
            }),
        })
        .collect();
    judge(measured, &pairs, options.classifier.clone(), &options.rules)
}

/// The columns to compare, and those left out.
fn choose(
    reference: &Schema,
    current: &Schema,
    options: &DriftOptions,
) -> Result<(Vec<Chosen>, Vec<Skipped>), Error> {
    let known: Vec<String> = reference.fields().iter().map(|field| field.name().clone()).collect();
    for name in options.columns.iter().flatten() {
        if !known.contains(name) && current.index_of(name).is_err() {
            return Err(Error::UnknownColumn { column: name.clone(), table: None, known });
        }
    }
    let (mut chosen, mut skipped) = (Vec::new(), Vec::new());
    for field in reference.fields() {
        let name = field.name();
        if options.columns.as_ref().is_some_and(|wanted| !wanted.contains(name)) {
            continue;
        }
        let mut skip = |reason: &str| {
            skipped.push(Skipped { column: name.clone(), reason: reason.to_owned() });
        };
        if options.skip.contains(name) {
            skip("asked to leave it out");
            continue;
        }
        let Ok(other) = current.field_with_name(name) else {
            skip("the current side does not have it");
            continue;
        };
        let (before, after) = (ColumnType::of(field.data_type()), ColumnType::of(other.data_type()));
        let numbers = |kind| matches!(kind, ColumnType::Int | ColumnType::Float);
        let wanted = options.columns.is_some();
        let role = match (before, after) {
            (a, b) if numbers(a) && numbers(b) && options.categorical.contains(name) => Role::Categorical,
            (a, b) if numbers(a) && numbers(b) => Role::Numeric,
            (a, b) if a != b => {
                skip(&format!("it was {a} and is {b}"));
                continue;
            }
            (ColumnType::Timestamp | ColumnType::Date, _) if wanted => Role::Numeric,
            (ColumnType::Timestamp | ColumnType::Date, _) => {
                skip("times move on by themselves");
                continue;
            }
            (ColumnType::Other, _) => {
                skip("its type has no test");
                continue;
            }
            _ => Role::Categorical,
        };
        chosen.push(Chosen { name: name.clone(), role });
    }
    Ok((chosen, skipped))
}

/// A schema from names and Arrow's words for types, as profiles keep them.
fn schema_of(profile: &Profile) -> Schema {
    let fields: Vec<arrow::datatypes::Field> = profile
        .fields()
        .map(|(name, data_type)| {
            let kind = data_type.parse().unwrap_or(arrow::datatypes::DataType::Null);
            arrow::datatypes::Field::new(name, kind, true)
        })
        .collect();
    Schema::new(fields)
}

/// Differences that matter to a reader: names and classes of types, not widths.
fn skew(reference: &Schema, current: &Schema) -> SchemaDiff {
    let mut diff = crate::compare_schemas(reference, current);
    let class = |name: &str, schema: &Schema| {
        schema.field_with_name(name).map(|field| ColumnType::of(field.data_type())).ok()
    };
    diff.retyped.retain(|(SchemaField { name, .. }, _)| class(name, reference) != class(name, current));
    diff
}

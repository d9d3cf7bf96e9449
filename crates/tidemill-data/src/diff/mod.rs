//! What changed between two versions of a table: schema, rows, cells, statistics. It does not print.

mod compare;

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use tidemill_core::{Progress, Quiet, Unit};

use self::compare::Found;
use crate::column::compare_columns;
use crate::profile::{ColumnStats, ProfileBuilder, ProfileOptions};
use crate::records::{Hashed, Records};
use crate::{ColumnType, Error, Profile, Row, SchemaDiff, Table, Value};

/// Most rows of each sample.
pub const SAMPLE_ROWS: usize = 10;
/// What stands in the place of a value that is not shown.
pub const HIDDEN: &str = "(not shown)";

/// The differences between two tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableDiff {
    /// Columns added, removed, retyped.
    pub schema: SchemaDiff,
    /// Rows of both sides and what became of them.
    pub rows: RowDiff,
    /// The key that matched rows; `None` where rows were compared as a whole.
    pub key: Option<KeyDiff>,
    /// Number of matched rows whose cell differs, by column; only columns of both tables, only where it is not 0.
    /// Empty without a key.
    pub changed_cells: IndexMap<String, u64>,
    /// Statistics of every column of either side.
    pub columns: Vec<ColumnDiff>,
    /// The first rows that only the new table has.
    pub added_sample: Vec<Row>,
    /// The first rows that only the old table has.
    pub removed_sample: Vec<Row>,
    /// The first matched rows that differ.
    pub changed_sample: Vec<ChangedRow>,
}

/// Counts of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowDiff {
    /// Rows of the old table.
    pub old: u64,
    /// Rows of the new table.
    pub new: u64,
    /// Rows (with a key: keys) that only the new table has.
    pub added: u64,
    /// Rows (with a key: keys) that only the old table has.
    pub removed: u64,
    /// Matched rows that differ in a column of both tables; always 0 without a key.
    pub changed: u64,
    /// Rows that are the same in all columns of both tables.
    pub unchanged: u64,
}

/// How well the key identifies rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDiff {
    /// The columns.
    pub columns: Vec<String>,
    /// Rows of the old table whose key another row before it has. Such rows match in order of their position.
    pub duplicates_old: u64,
    /// The same of the new table.
    pub duplicates_new: u64,
}

/// One column on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnDiff {
    /// The column.
    pub name: String,
    /// Its numbers in the old table; `None` where it was not there.
    pub old: Option<ColumnStats>,
    /// Its numbers in the new table; `None` where it is gone.
    pub new: Option<ColumnStats>,
    /// Differences, new minus old, where both are there.
    pub change: Option<StatsChange>,
}

/// Differences of statistics, new minus old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatsChange {
    /// Of the number of nulls.
    pub nulls: i64,
    /// Of the share of nulls.
    pub null_share: f64,
    /// Of the number of different values.
    pub distinct: i64,
    /// Of the mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Of the standard deviation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
    /// Of the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median: Option<f64>,
    /// Of the mean text length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_length: Option<f64>,
}

/// A matched row that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangedRow {
    /// Its key.
    pub key: Row,
    /// The cells that differ, old values.
    pub old: Row,
    /// The same cells, new values.
    pub new: Row,
}

/// Bytes of hashes kept in memory for both tables together; beyond that they go to temporary files.
const MEMORY: usize = 256 << 20;

/// Compares `old` with `new`. With a `key`, rows are matched by these columns; without, the tables are compared
/// as bags of rows over the columns that both have.
///
/// Each table is read once, and once more as far as the rows of the samples. Rows are compared by hashes of 128 bits,
/// cells of matched rows by hashes of 32 bits. Memory is bounded: beyond 256 MiB of hashes they are kept in 64
/// temporary files a side, of which one is in memory at a time.
///
/// # Errors
/// A key column that one of the tables lacks; what reading gives; a temporary file that cannot be written.
pub fn diff(old: &Table, new: &Table, key: Option<&[String]>) -> Result<TableDiff, Error> {
    let profile = |table: &Table| ProfileBuilder::new(table.schema(), &ProfileOptions::columns());
    let (mut before, mut after) = (profile(old)?, profile(new)?);
    let mut seen = |side: Side, batch: &RecordBatch| match side {
        Side::Old => before.update(batch),
        Side::New => after.update(batch),
    };
    let found = compare_rows(old, new, key, MEMORY, &Quiet, &mut seen)?;
    Ok(TableDiff { columns: statistics(&before.finish()?.describe(), &after.finish()?.describe()), ..found })
}

/// As [`diff`], of rows alone: there are no statistics of columns. Of the hashes `memory` bytes are kept in memory.
///
/// # Errors
/// As [`diff`]; [`Error::Cancelled`].
pub fn diff_rows(
    old: &Table,
    new: &Table,
    key: Option<&[String]>,
    memory: usize,
    progress: &dyn Progress,
) -> Result<TableDiff, Error> {
    compare_rows(old, new, key, memory, progress, &mut |_, _| Ok(()))
}

/// The statistics of the columns of two profiles side by side, and how their schemas differ: what [`diff`] gives of them, without a
/// row being read.
pub fn diff_profiles(old: &Profile, new: &Profile) -> (SchemaDiff, Vec<ColumnDiff>) {
    let (before, after): (Vec<_>, Vec<_>) = (old.fields().collect(), new.fields().collect());
    (compare_columns(&before, &after), statistics(&old.describe(), &new.describe()))
}

/// One of the two tables.
#[derive(Clone, Copy)]
enum Side {
    Old,
    New,
}

/// Matches the rows of two tables; `seen` gets each batch of either as it is read.
fn compare_rows(
    old: &Table,
    new: &Table,
    key: Option<&[String]>,
    memory: usize,
    progress: &dyn Progress,
    seen: &mut dyn FnMut(Side, &RecordBatch) -> Result<(), Error>,
) -> Result<TableDiff, Error> {
    let plan = Plan::new(old, new, key)?;
    progress.begin("comparing", Some(old.rows() + new.rows()), Unit::Rows);
    let old_rows = scan(old, &plan.old, memory / 2, progress, &mut |batch| seen(Side::Old, batch))?;
    let new_rows = scan(new, &plan.new, memory / 2, progress, &mut |batch| seen(Side::New, batch))?;
    let mut found = Found::new(plan.cells.len());
    for (old, new) in old_rows.partitions_with(new_rows)? {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        found.compare(&old?, &new?, key.is_some());
    }
    let mut rows = found.rows;
    (rows.old, rows.new) = (old.rows(), new.rows());
    let changed_cells = plan.cells.iter().cloned().zip(found.changed_cells.iter().copied());
    Ok(TableDiff {
        schema: crate::compare_schemas(old.schema(), new.schema()),
        rows,
        key: key.map(|columns| KeyDiff {
            columns: columns.to_vec(),
            duplicates_old: found.duplicates_old,
            duplicates_new: found.duplicates_new,
        }),
        changed_cells: changed_cells.filter(|(_, count)| *count > 0).collect(),
        ..sample(old, new, &plan, &found)?
    })
}

impl TableDiff {
    /// Takes the values of some columns out; counts and moments stay.
    pub fn redact(&mut self, columns: &[String]) {
        let hide = |row: &mut Row| {
            for (_, value) in row.iter_mut().filter(|(name, _)| columns.contains(*name)) {
                *value = Value::from(HIDDEN);
            }
        };
        self.added_sample.iter_mut().chain(&mut self.removed_sample).for_each(hide);
        for changed in &mut self.changed_sample {
            [&mut changed.key, &mut changed.old, &mut changed.new].into_iter().for_each(hide);
        }
        for column in self.columns.iter_mut().filter(|column| columns.contains(&column.name)) {
            column.old.iter_mut().chain(&mut column.new).for_each(ColumnStats::redact);
        }
    }
}

/// The columns of both sides that are hashed, cast to a common type where the types differ.
struct Plan {
    key: Vec<String>,
    /// Columns compared cell by cell: those of both tables that are not in the key. Empty without a key.
    cells: Vec<String>,
    old: Hashed,
    new: Hashed,
}

impl Plan {
    fn new(old: &Table, new: &Table, key: Option<&[String]>) -> Result<Self, Error> {
        for (table, name) in [(old, "the old table"), (new, "the new table")] {
            for column in key.unwrap_or_default() {
                table.column(column).map_err(|error| match error {
                    Error::UnknownColumn { column, known, .. } => {
                        Error::UnknownColumn { column, known, table: Some(name.to_owned()) }
                    }
                    other => other,
                })?;
            }
        }
        let names = old.schema().fields().iter().map(|field| field.name().clone());
        let shared: Vec<String> = names.filter(|name| new.schema().index_of(name).is_ok()).collect();
        let (key, cells) = match key {
            Some(key) => (key.to_vec(), shared.into_iter().filter(|name| !key.contains(name)).collect()),
            None => (shared, Vec::new()),
        };
        let side = |table: &Table, other: &Table| -> Result<Hashed, Error> {
            let column = |name: &String| -> Result<(usize, Option<DataType>), Error> {
                let (here, there) = (table.column(name)?, other.column(name)?);
                let (a, b) =
                    (table.schema().field(here).data_type(), other.schema().field(there).data_type());
                Ok((here, common(a, b)))
            };
            Ok(Hashed {
                key: key.iter().map(column).collect::<Result<_, _>>()?,
                cells: cells.iter().map(column).collect::<Result<_, _>>()?,
            })
        };
        Ok(Self { old: side(old, new)?, new: side(new, old)?, key, cells })
    }
}

/// The type to cast to before hashing; `None` where equal values hash alike as they are.
fn common(a: &DataType, b: &DataType) -> Option<DataType> {
    let decimal = |kind: &DataType| matches!(kind, DataType::Decimal128(_, _) | DataType::Decimal256(_, _));
    match (ColumnType::of(a), ColumnType::of(b)) {
        (ColumnType::Float, ColumnType::Float) if a != b && (decimal(a) || decimal(b)) => {
            Some(DataType::Float64)
        }
        (x, y) if x == y => None,
        (ColumnType::Int | ColumnType::Float, ColumnType::Int | ColumnType::Float) => Some(DataType::Float64),
        (ColumnType::Date | ColumnType::Timestamp, ColumnType::Date | ColumnType::Timestamp) => {
            Some(ColumnType::Timestamp.arrow())
        }
        _ => Some(DataType::Utf8),
    }
}

/// Reads a table once, for its hashes and for `seen`.
fn scan(
    table: &Table,
    hashed: &Hashed,
    memory: usize,
    progress: &dyn Progress,
    seen: &mut dyn FnMut(&RecordBatch) -> Result<(), Error>,
) -> Result<Records, Error> {
    let mut records = Records::new(hashed.width(), memory);
    for batch in table.batches(None)? {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let batch = batch?;
        seen(&batch)?;
        records.push(&batch, hashed)?;
        progress.advance(batch.num_rows() as u64);
    }
    Ok(records)
}

fn statistics(old: &[ColumnStats], new: &[ColumnStats]) -> Vec<ColumnDiff> {
    let find = |side: &[ColumnStats], name: &str| side.iter().find(|stats| stats.name == name).cloned();
    let gone = old.iter().filter(|stats| find(new, &stats.name).is_none());
    new.iter()
        .chain(gone)
        .map(|stats| {
            let (old, new) = (find(old, &stats.name), find(new, &stats.name));
            let change = old.as_ref().zip(new.as_ref()).map(|(old, new)| StatsChange::between(old, new));
            ColumnDiff { name: stats.name.clone(), old, new, change }
        })
        .collect()
}

impl StatsChange {
    fn between(old: &ColumnStats, new: &ColumnStats) -> Self {
        let share = |stats: &ColumnStats| stats.nulls as f64 / (stats.count + stats.nulls).max(1) as f64;
        let median = |stats: &ColumnStats| stats.median()?.as_f64();
        let change = |of: &dyn Fn(&ColumnStats) -> Option<f64>| Some(of(new)? - of(old)?);
        Self {
            nulls: new.nulls as i64 - old.nulls as i64,
            null_share: share(new) - share(old),
            distinct: new.distinct.estimate as i64 - old.distinct.estimate as i64,
            mean: change(&|stats| stats.mean),
            std: change(&|stats| stats.std),
            median: change(&median),
            mean_length: change(&|stats| stats.mean_length),
        }
    }
}

/// A diff that holds nothing but the samples.
fn sample(old: &Table, new: &Table, plan: &Plan, found: &Found) -> Result<TableDiff, Error> {
    let before = old.fetch(found.removed.iter().copied().chain(found.changed.values().copied()))?;
    let after = new.fetch(found.added.iter().copied().chain(found.changed.keys().copied()))?;
    let take = |rows: &BTreeMap<u64, Row>, wanted: &BTreeSet<u64>| -> Vec<Row> {
        wanted.iter().filter_map(|row| rows.get(row).cloned()).collect()
    };
    let changed = found.changed.iter().filter_map(|(new_row, old_row)| {
        let (old, new) = (before.get(old_row)?, after.get(new_row)?);
        let differing: Vec<&String> =
            plan.cells.iter().filter(|name| old.get(*name) != new.get(*name)).collect();
        let pick = |row: &Row, names: &[&String]| -> Row {
            names.iter().filter_map(|name| Some(((*name).clone(), row.get(*name)?.clone()))).collect()
        };
        let key: Vec<&String> = plan.key.iter().collect();
        Some(ChangedRow { key: pick(new, &key), old: pick(old, &differing), new: pick(new, &differing) })
    });
    Ok(TableDiff {
        schema: SchemaDiff::default(),
        rows: RowDiff::default(),
        key: None,
        changed_cells: IndexMap::new(),
        columns: Vec::new(),
        added_sample: take(&after, &found.added),
        removed_sample: take(&before, &found.removed),
        changed_sample: changed.collect(),
    })
}

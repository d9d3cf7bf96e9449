//! Rules that are judged row by row while the table streams past.

use arrow::array::{Array, RecordBatch};
use regex::Regex;
use tidemill_core::declare::Rule;

use super::bound::{Allowed, Bound, beyond};
use super::{CheckResult, FailingRow, Refused};
use crate::plain::Plain;
use crate::records::{HEAD, Hashed, Records};
use crate::value::cell;
use crate::{ColumnType, Error, Row, Table};

/// A rule at work.
pub(super) struct Scan {
    /// Indices in the table of the columns that it looks at.
    pub(super) columns: Vec<usize>,
    test: Test,
    failed: u64,
    sample: Vec<FailingRow>,
    most: usize,
}

enum Test {
    NotNull,
    Unique(Records),
    InSet(Allowed),
    Between(Option<Bound>, Option<Bound>),
    Regex(Regex),
}

impl Scan {
    /// The rule ready to see rows; `None` for rules that need none.
    pub(super) fn new(
        rule: &Rule,
        table: &Table,
        sample: usize,
        memory: usize,
    ) -> Result<Option<Self>, Refused> {
        let (names, test) = match rule {
            Rule::NotNull(columns) => (columns.as_slice(), Test::NotNull),
            Rule::Unique(columns) => (columns.as_slice(), Test::Unique(Records::new(HEAD, memory))),
            Rule::InSet { column, values } => {
                let kind = kind(table, column)?;
                (
                    std::slice::from_ref(column),
                    Test::InSet(Allowed::of(values, kind).map_err(Refused::because)?),
                )
            }
            Rule::Between { column, min, max } => {
                let kind = kind(table, column)?;
                let bound = |value: &Option<serde_json::Value>| {
                    value.as_ref().map(|value| Bound::of(value, kind)).transpose().map_err(Refused::because)
                };
                (std::slice::from_ref(column), Test::Between(bound(min)?, bound(max)?))
            }
            Rule::Regex { column, pattern } => {
                let kind = kind(table, column)?;
                if kind != ColumnType::String {
                    return Err(Refused::because(format!("column `{column}` is {kind}, not text")));
                }
                let regex = Regex::new(pattern).map_err(|error| {
                    let last = error.to_string();
                    let last =
                        last.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                    Refused::because(format!("`{pattern}` is not a regular expression: {last}"))
                })?;
                (std::slice::from_ref(column), Test::Regex(regex))
            }
            Rule::RowCount { .. } | Rule::Schema(_) | Rule::Sql { .. } => return Ok(None),
        };
        if names.is_empty() {
            return Err(Refused::because("it names no column".to_owned()));
        }
        let columns = names.iter().map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Self { columns, test, failed: 0, sample: Vec::new(), most: sample }))
    }

    /// Looks at a batch; `places` are the rule's columns in it, `start` the number of its first row.
    pub(super) fn see(&mut self, batch: &RecordBatch, places: &[usize], start: u64) -> Result<(), Error> {
        let rows = match &mut self.test {
            Test::NotNull => {
                let nulls: Vec<_> =
                    places.iter().filter_map(|&place| batch.column(place).logical_nulls()).collect();
                if nulls.iter().all(|nulls| nulls.null_count() == 0) {
                    return Ok(());
                }
                (0..batch.num_rows()).filter(|&row| nulls.iter().any(|nulls| nulls.is_null(row))).collect()
            }
            Test::Unique(records) => {
                let key = places.iter().map(|&place| (place, None)).collect();
                return records.push(batch, &Hashed { key, cells: Vec::new() });
            }
            Test::InSet(allowed) => allowed.outside(batch.column(places[0]))?,
            Test::Between(min, max) => beyond(batch.column(places[0]), min.as_ref(), max.as_ref())?,
            Test::Regex(regex) => match Plain::of(batch.column(places[0]))? {
                Plain::Text(texts) => {
                    let miss = |text: Option<&str>| text.is_some_and(|text| !regex.is_match(text));
                    texts.iter().enumerate().filter(|(_, text)| miss(*text)).map(|(row, _)| row).collect()
                }
                Plain::Int(..) | Plain::Float(_) => Vec::new(),
            },
        };
        self.failed += rows.len() as u64;
        for row in rows.into_iter().take(self.most - self.sample.len()) {
            let name = |place: usize| batch.schema_ref().field(place).name().clone();
            let cells: Row =
                places.iter().map(|&place| (name(place), cell(batch.column(place), row))).collect();
            self.sample.push(FailingRow { row: start + row as u64 + 1, cells });
        }
        Ok(())
    }

    /// The verdict after the last row.
    pub(super) fn finish(mut self, table: &Table, result: &mut CheckResult) -> Result<(), Error> {
        result.checked = table.rows();
        let names: Vec<String> =
            self.columns.iter().map(|&column| format!("`{}`", table.schema().field(column).name())).collect();
        let names = names.join(", ");
        let what = match self.test {
            Test::NotNull => format!("have a null in {names}"),
            Test::Unique(records) => {
                let mut repeated = std::collections::BTreeSet::new();
                for piece in records.pieces()? {
                    let piece = piece?;
                    let mut place = 0;
                    while place < piece.len() {
                        let end = piece.run(place);
                        self.failed += (end - place - 1) as u64;
                        for again in place + 1..end {
                            repeated.insert(piece.record(again)[2]);
                            if repeated.len() > self.most {
                                repeated.pop_last();
                            }
                        }
                        place = end;
                    }
                }
                let rows = table.fetch(repeated.into_iter())?;
                let pick = |row: &Row| -> Row {
                    let name = |&column: &usize| table.schema().field(column).name().clone();
                    self.columns.iter().map(|column| (name(column), row[&name(column)].clone())).collect()
                };
                self.sample =
                    rows.iter().map(|(row, cells)| FailingRow { row: row + 1, cells: pick(cells) }).collect();
                format!("repeat the {names} of an earlier row")
            }
            Test::InSet(_) => format!("have a {names} that is not in the set"),
            Test::Between(..) => format!("have a {names} outside of the bounds"),
            Test::Regex(_) => format!("have a {names} that does not match"),
        };
        result.passed = self.failed == 0;
        result.failed = self.failed;
        result.sample = self.sample;
        result.message = match (self.failed, result.checked) {
            (0, checked) => format!("{checked} rows hold"),
            (failed, checked) => format!("{failed} of {checked} rows {what}"),
        };
        Ok(())
    }
}

fn kind(table: &Table, column: &str) -> Result<ColumnType, Refused> {
    Ok(ColumnType::of(table.schema().field(table.column(column)?).data_type()))
}

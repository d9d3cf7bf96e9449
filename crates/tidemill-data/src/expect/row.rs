//! Rules that are judged row by row while the table streams past.

use arrow::array::{Array, ArrayRef, BooleanArray, Datum, RecordBatch};
use arrow::compute::cast;
use arrow::compute::kernels::cmp;
use arrow::datatypes::DataType;
use regex::Regex;
use tidemill_core::declare::{Bounds, Comparison, Expectation, Order, Rule};
use twox_hash::XxHash3_64;

use super::bound::{Allowed, Bound, beyond};
use super::keys::{Keys, Want, present};
use super::{CheckResult, FailingRow, Limits, Refused, Surroundings};
use crate::plain::Plain;
use crate::value::cell;
use crate::{ColumnType, Error, Row, Table, Value};

/// What a redacted value is shown as.
const REDACTED: &str = "(redacted)";
/// Answers of a pattern that are kept.
const ANSWERS: usize = 4096;

/// A rule at work.
pub(super) struct Scan {
    /// Indices in the table of the columns that it looks at.
    pub(super) columns: Vec<usize>,
    test: Test,
    /// Rows that the condition leaves.
    seen: u64,
    /// Of these, rows with something to judge: nulls are passed over.
    considered: u64,
    failed: u64,
    sample: Vec<FailingRow>,
    most: usize,
}

enum Test {
    NotNull,
    Keys(Keys, &'static str),
    InSet(Allowed),
    NotInSet(Allowed),
    Between(Option<Bound>, Option<Bound>),
    Matches { regex: Regex, wanted: bool, answers: Vec<(u64, bool)> },
    Length(Option<f64>, Option<f64>),
    Monotonic { order: Order, strict: bool, last: Option<Last> },
    Compare(Comparison),
}

/// The last value of a column so far.
enum Last {
    Number(i64),
    Text(String),
}

impl Scan {
    /// The rule ready to see rows; `None` for rules that need none.
    pub(super) fn new(
        expectation: &Expectation,
        table: &Table,
        sample: usize,
        memory: usize,
        around: &Surroundings<'_>,
    ) -> Result<Option<Self>, Refused> {
        let kind = |column: &str| -> Result<ColumnType, Refused> { Ok(table.kind(table.column(column)?)) };
        let text = |column: &str| match kind(column)? {
            ColumnType::String => Ok(()),
            kind => Err(Refused::because(format!("column `{column}` is {kind}, not text"))),
        };
        let places = |names: &[String]| -> Result<Vec<usize>, Refused> {
            if names.is_empty() {
                return Err(Refused::because("it names no column".to_owned()));
            }
            Ok(names.iter().map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?)
        };
        let (columns, test) = match &expectation.rule {
            Rule::NotNull(names) => (places(names)?, Test::NotNull),
            Rule::Unique(names) => {
                (places(names)?, Test::Keys(Keys::once(memory), "repeat the {} of an earlier row"))
            }
            Rule::InSet { column, values } | Rule::NotInSet { column, values } => {
                let set = Allowed::of(values, kind(column)?).map_err(Refused::because)?;
                let inside = matches!(expectation.rule, Rule::InSet { .. });
                let test = if inside { Test::InSet(set) } else { Test::NotInSet(set) };
                (vec![table.column(column)?], test)
            }
            Rule::Between { column, min, max } => {
                let kind = kind(column)?;
                let bound = |value: &Option<Value>| {
                    value.as_ref().map(|value| Bound::of(value, kind)).transpose().map_err(Refused::because)
                };
                (vec![table.column(column)?], Test::Between(bound(min)?, bound(max)?))
            }
            Rule::Regex { column, pattern } | Rule::NotRegex { column, pattern } => {
                text(column)?;
                let wanted = matches!(expectation.rule, Rule::Regex { .. });
                let test =
                    Test::Matches { regex: compile(pattern)?, wanted, answers: vec![(0, wanted); ANSWERS] };
                (vec![table.column(column)?], test)
            }
            Rule::Length(Bounds { column, min, max }) => {
                text(column)?;
                (vec![table.column(column)?], Test::Length(*min, *max))
            }
            Rule::Monotonic { column, order, strict } => {
                let test = Test::Monotonic { order: *order, strict: *strict, last: None };
                (vec![table.column(column)?], test)
            }
            Rule::Compare { left, is, right } => {
                comparable(left, kind(left)?, right, kind(right)?)?;
                (vec![table.column(left)?, table.column(right)?], Test::Compare(*is))
            }
            Rule::ForeignKey { columns, to, key } => {
                let mine = places(columns)?;
                let key = if key.is_empty() { columns } else { key };
                if key.len() != columns.len() {
                    return Err(Refused::because(format!(
                        "{} columns cannot refer to {}",
                        columns.len(),
                        key.len()
                    )));
                }
                let other = around.others.table(to)?;
                let keys = Keys::against(table, &mine, (to, &other), key, Want::Has, memory, around)?;
                (mine, Test::Keys(keys, "have a {} that the other dataset does not have"))
            }
            Rule::NoLeakage { from, columns } => {
                let other = around.others.table(from)?;
                let names = shared(table, (from, &other), columns)?;
                let mine = places(&names)?;
                let keys = Keys::against(table, &mine, (from, &other), &names, Want::Lacks, memory, around)?;
                (mine, Test::Keys(keys, "have a {} that is in the other dataset too"))
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { columns, test, seen: 0, considered: 0, failed: 0, sample: Vec::new(), most: sample }))
    }

    /// Looks at a batch; `places` are the rule's columns in it, `start` the number of its first row.
    pub(super) fn see(
        &mut self,
        batch: &RecordBatch,
        places: &[usize],
        start: u64,
        mask: Option<&BooleanArray>,
    ) -> Result<(), Error> {
        let first = batch.column(places[0]);
        self.seen += mask.map_or(batch.num_rows(), BooleanArray::true_count) as u64;
        let mut rows: Vec<usize> = match &mut self.test {
            Test::Keys(keys, _) => {
                self.considered += keys.see(batch, places, mask)?;
                return Ok(());
            }
            Test::NotNull => match present(batch, places) {
                Some(nulls) if nulls.null_count() > 0 => {
                    (0..batch.num_rows()).filter(|&row| nulls.is_null(row)).collect()
                }
                _ => Vec::new(),
            },
            Test::InSet(allowed) => allowed.outside(first)?,
            Test::NotInSet(forbidden) => forbidden.inside(first)?,
            Test::Between(min, max) => beyond(first, min.as_ref(), max.as_ref())?,
            Test::Matches { regex, wanted, answers } => {
                texts(first, |text| answer(regex, answers, text) != *wanted)?
            }
            Test::Length(min, max) => texts(first, |text| {
                let length = if text.is_ascii() { text.len() } else { text.chars().count() } as f64;
                min.is_some_and(|min| length < min) || max.is_some_and(|max| length > max)
            })?,
            Test::Monotonic { order, strict, last } => monotonic(first, *order, *strict, last, mask)?,
            Test::Compare(is) => compare(first, *is, batch.column(places[1]))?,
        };
        if let Some(mask) = mask {
            rows.retain(|&row| mask.value(row));
        }
        self.considered += match &self.test {
            Test::NotNull => mask.map_or(batch.num_rows(), BooleanArray::true_count),
            _ => considered(batch, places, mask),
        } as u64;
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
    pub(super) fn finish(
        mut self,
        table: &Table,
        limits: &Limits,
        mostly: Option<f64>,
        result: &mut CheckResult,
    ) -> Result<(), Error> {
        let names: Vec<String> =
            self.columns.iter().map(|&column| format!("`{}`", table.schema().field(column).name())).collect();
        let names = names.join(", ");
        let what = match self.test {
            Test::NotNull => format!("have a null in {names}"),
            Test::Keys(keys, what) => {
                let (failed, rows) = keys.finish(self.most)?;
                self.failed = failed;
                let rows = table.fetch(rows.into_iter())?;
                let pick = |row: &Row| -> Row {
                    let name = |&column: &usize| table.schema().field(column).name().clone();
                    self.columns.iter().map(|column| (name(column), row[&name(column)].clone())).collect()
                };
                self.sample =
                    rows.iter().map(|(row, cells)| FailingRow { row: row + 1, cells: pick(cells) }).collect();
                what.replace("{}", &names)
            }
            Test::InSet(_) => format!("have a {names} that is not in the set"),
            Test::NotInSet(_) => format!("have a {names} that is in the set"),
            Test::Between(..) => format!("have a {names} outside of the bounds"),
            Test::Matches { wanted: true, .. } => format!("have a {names} that does not match"),
            Test::Matches { wanted: false, .. } => format!("have a {names} that matches"),
            Test::Length(..) => format!("have a {names} that is too short or too long"),
            Test::Monotonic { order: Order::Increasing, .. } => format!("have a {names} that goes down"),
            Test::Monotonic { order: Order::Decreasing, .. } => format!("have a {names} that goes up"),
            Test::Compare(_) => format!("have {names} that do not compare so"),
        };
        for row in &mut self.sample {
            for (_, value) in row.cells.iter_mut().filter(|(name, _)| limits.redact.contains(name)) {
                *value = Value::from(REDACTED);
            }
        }
        let share = self.failed as f64 / self.considered.max(1) as f64;
        result.passed = self.failed == 0 || mostly.is_some_and(|mostly| 1.0 - share >= mostly);
        result.checked = if mostly.is_some() { self.considered } else { self.seen };
        result.failed = self.failed;
        result.sample = self.sample;
        result.message = match (self.failed, result.checked) {
            (0, checked) => format!("{checked} rows hold"),
            (failed, checked) => format!("{failed} of {checked} rows {what}"),
        };
        if let Some(mostly) = mostly.filter(|_| self.failed > 0) {
            let held = (1.0 - share) * 100.0;
            result.message.push_str(&format!("; {held:.2} % hold, and {} % must", mostly * 100.0));
        }
        Ok(())
    }
}

/// Rows of the rule in which no column is null.
fn considered(batch: &RecordBatch, places: &[usize], mask: Option<&BooleanArray>) -> usize {
    match (present(batch, places), mask) {
        (None, None) => batch.num_rows(),
        (None, Some(mask)) => mask.true_count(),
        (Some(nulls), None) => batch.num_rows() - nulls.null_count(),
        (Some(nulls), Some(mask)) => (nulls.inner() & mask.values()).count_set_bits(),
    }
}

fn compile(pattern: &str) -> Result<Regex, Refused> {
    Regex::new(pattern).map_err(|error| {
        let last = error.to_string();
        let last = last.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Refused::because(format!("`{pattern}` is not a regular expression: {last}"))
    })
}

/// Whether `text` matches; texts that come again are not matched again. Two texts share an answer only if all 64 bits of
/// their hashes agree.
fn answer(regex: &Regex, answers: &mut [(u64, bool)], text: &str) -> bool {
    let hash = XxHash3_64::oneshot(text.as_bytes()) | 1;
    let kept = &mut answers[(hash >> 32) as usize % ANSWERS];
    if kept.0 != hash {
        *kept = (hash, regex.is_match(text));
    }
    kept.1
}

/// The rows whose text is not null and for which `test` holds.
fn texts(array: &ArrayRef, mut test: impl FnMut(&str) -> bool) -> Result<Vec<usize>, Error> {
    Ok(match Plain::of(array)? {
        Plain::Text(texts) => texts
            .iter()
            .enumerate()
            .filter_map(|(row, text)| text.is_some_and(&mut test).then_some(row))
            .collect(),
        Plain::Int(..) | Plain::Float(_) => Vec::new(),
    })
}

fn comparable(left: &str, a: ColumnType, right: &str, b: ColumnType) -> Result<(), Refused> {
    let class = |kind: ColumnType| match kind {
        ColumnType::Int | ColumnType::Float => 0,
        ColumnType::Date | ColumnType::Timestamp => 1,
        ColumnType::String => 2,
        ColumnType::Bool => 3,
        ColumnType::Other => 4,
    };
    if class(a) == class(b) && a != ColumnType::Other {
        return Ok(());
    }
    Err(Refused::because(format!("`{left}` is {a} and `{right}` is {b}, which do not compare")))
}

/// The rows in which both are there and do not compare so.
fn compare(left: &ArrayRef, is: Comparison, right: &ArrayRef) -> Result<Vec<usize>, Error> {
    let failed = || Error::arrow("compare columns");
    let common = match (ColumnType::of(left.data_type()), ColumnType::of(right.data_type())) {
        (ColumnType::Int, ColumnType::Int) => DataType::Int64,
        (ColumnType::Int | ColumnType::Float, _) => DataType::Float64,
        (ColumnType::Date | ColumnType::Timestamp, _) => {
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None)
        }
        (ColumnType::Bool, _) => DataType::Boolean,
        _ => DataType::Utf8,
    };
    let (a, b) = (cast(left, &common).map_err(failed())?, cast(right, &common).map_err(failed())?);
    let (a, b): (&dyn Datum, &dyn Datum) = (&a, &b);
    let holds = match is {
        Comparison::Less => cmp::lt(a, b),
        Comparison::AtMost => cmp::lt_eq(a, b),
        Comparison::Equal => cmp::eq(a, b),
        Comparison::NotEqual => cmp::neq(a, b),
        Comparison::AtLeast => cmp::gt_eq(a, b),
        Comparison::Greater => cmp::gt(a, b),
    }
    .map_err(failed())?;
    if holds.null_count() == 0 && holds.true_count() == holds.len() {
        return Ok(Vec::new());
    }
    Ok(holds.iter().enumerate().filter(|(_, holds)| *holds == Some(false)).map(|(row, _)| row).collect())
}

/// The rows whose value goes the wrong way from the one before it.
fn monotonic(
    array: &ArrayRef,
    order: Order,
    strict: bool,
    last: &mut Option<Last>,
    mask: Option<&BooleanArray>,
) -> Result<Vec<usize>, Error> {
    let seen = |row: usize| mask.is_none_or(|mask| mask.value(row));
    let breaks = |found: std::cmp::Ordering| match order {
        Order::Increasing => found.is_lt() || (strict && found.is_eq()),
        Order::Decreasing => found.is_gt() || (strict && found.is_eq()),
    };
    let mut rows = Vec::new();
    let mut numbers = |values: &mut dyn Iterator<Item = (usize, i64)>| {
        for (row, value) in values.filter(|(row, _)| seen(*row)) {
            if let Some(Last::Number(before)) = last
                && breaks(value.cmp(before))
            {
                rows.push(row);
            }
            *last = Some(Last::Number(value));
        }
    };
    match Plain::of(array)? {
        Plain::Int(values, _) => {
            numbers(&mut values.iter().enumerate().filter_map(|(row, value)| Some((row, value?))));
        }
        Plain::Float(values) => {
            let key = |value: f64| crate::profile::ordered(value + 0.0);
            let present = values.iter().enumerate().filter_map(|(row, value)| Some((row, value?)));
            numbers(&mut present.filter(|(_, value)| !value.is_nan()).map(|(row, value)| (row, key(value))));
        }
        Plain::Text(values) => {
            let mut before: Option<&str> = match last {
                Some(Last::Text(text)) => Some(text.as_str()),
                _ => None,
            };
            for (row, text) in values.iter().enumerate() {
                let Some(text) = text.filter(|_| seen(row)) else { continue };
                if before.is_some_and(|before| breaks(text.cmp(before))) {
                    rows.push(row);
                }
                before = Some(text);
            }
            let kept = before.map(|text| Last::Text(text.to_owned()));
            *last = kept;
        }
    }
    Ok(rows)
}

/// The columns of a leakage rule: those named, or all that both tables have with the same class of type.
fn shared(table: &Table, (from, other): (&str, &Table), columns: &[String]) -> Result<Vec<String>, Refused> {
    if !columns.is_empty() {
        return Ok(columns.to_vec());
    }
    let names: Vec<String> = table
        .schema()
        .fields()
        .iter()
        .filter(|field| {
            other
                .schema()
                .field_with_name(field.name())
                .is_ok_and(|theirs| ColumnType::of(theirs.data_type()) == ColumnType::of(field.data_type()))
        })
        .map(|field| field.name().clone())
        .collect();
    if names.is_empty() {
        return Err(Refused::because(format!("`{from}` has no column in common with this dataset")));
    }
    Ok(names)
}

//! Skew between training and serving, row by row: what a model was given, beside what a table says that it should have been given.
//!
//! A monitor of drift compares distributions. A feature that is computed otherwise online than offline may have the right distribution and
//! the wrong rows, so here each request is looked up by its key.

use std::collections::HashMap;
use std::path::Path;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::Serialize;
use tidemill_data::Table as Rows;

use crate::failure::{Exit, Failure, Said};
use crate::output::{Align, BAD, Console, Table, count, percent};

/// Requests that are looked up where no number is given, the newest ones.
pub(super) const REQUESTS: usize = 100_000;
/// By how much a number may be another: what 32-bit floats of a request lose.
const TOLERANCE: f64 = 1e-6;
/// What inputs are called in the log.
const INPUT: &str = "input_";

/// How one input compares.
#[derive(Debug, Serialize)]
struct Column {
    column: String,
    compared: u64,
    different: u64,
    /// Of those that were compared.
    share: f64,
    /// The first that is different: its key, and both values.
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<Example>,
}

#[derive(Debug, Serialize)]
struct Example {
    key: String,
    logged: String,
    table: String,
}

/// All inputs.
#[derive(Debug, Serialize)]
struct Skew {
    endpoint: String,
    requests: u64,
    /// Requests whose key the table has.
    found: u64,
    columns: Vec<Column>,
    /// Inputs that the table does not have.
    missing: Vec<String>,
}

/// Compares inputs of requests with a table, and fails where the share of a column that is different is above `allow`.
pub(super) fn compare(
    endpoint: &str,
    logged: &[RecordBatch],
    (path, keys): (&Path, &[String]),
    allow: f64,
    console: &Console,
) -> anyhow::Result<()> {
    let keys: Vec<(&str, &str)> = keys.iter().map(|key| key.split_once('=').unwrap_or((key, key))).collect();
    let table = Rows::open(&[path.to_owned()], None)?;
    let skew = skew(endpoint, logged, &table, &keys)?;
    let is_skewed = skew.columns.iter().any(|column| column.share > allow);
    print(&skew, path, console)?;
    if skew.found == 0 {
        return Err(Failure::new(format!(
            "none of {} requests has a key that is one of `{}`",
            count(skew.requests),
            path.display()
        ))
        .hint("`--key LOGGED=COLUMN,…` names inputs, `entity`, `request_id` or `row`, and the columns of the table")
        .into());
    }
    if is_skewed { Err(Said(Exit::Failed).into()) } else { Ok(()) }
}

fn skew(endpoint: &str, logged: &[RecordBatch], table: &Rows, keys: &[(&str, &str)]) -> anyhow::Result<Skew> {
    let logged_keys = |batch: &RecordBatch| {
        let column = |(name, _): &(&str, &str)| {
            let own = batch.column_by_name(name).or_else(|| batch.column_by_name(&format!("{INPUT}{name}")));
            own.cloned().ok_or_else(|| {
                Failure::usage(format!("the log has no `{name}`"))
                    .hint("a key is an input of the model, `entity`, `request_id` or `row`")
            })
        };
        joined(&keys.iter().map(column).collect::<Result<Vec<_>, _>>()?)
    };
    // Newest last, so of several requests of one key the newest counts.
    let mut places: HashMap<String, (usize, usize)> = HashMap::new();
    let mut requests = 0;
    for (at, batch) in logged.iter().enumerate() {
        requests += batch.num_rows() as u64;
        for (row, text) in logged_keys(batch)?.into_iter().enumerate() {
            if let Some(text) = text {
                places.insert(text, (at, row));
            }
        }
    }
    let known: Vec<&str> = table.schema().fields().iter().map(|field| field.name().as_str()).collect();
    let inputs: Vec<&str> = logged.first().map_or_else(Vec::new, |batch| {
        let schema = batch.schema_ref();
        let fields = schema.fields().iter().filter(|field| !field.data_type().is_nested());
        fields
            .filter_map(|field| field.name().strip_prefix(INPUT))
            .filter(|name| keys.iter().all(|(in_log, _)| in_log != name))
            .collect()
    });
    let (shared, missing): (Vec<&str>, Vec<&str>) = inputs.iter().partition(|name| known.contains(name));
    // A column may be a key and an input of another name.
    let mut wanted = Vec::new();
    for name in keys.iter().map(|(_, in_table)| in_table).chain(&shared) {
        let place = table.column(name)?;
        if !wanted.contains(&place) {
            wanted.push(place);
        }
    }
    let mut columns: Vec<Column> = shared
        .iter()
        .map(|name| Column {
            column: (*name).to_owned(),
            compared: 0,
            different: 0,
            share: 0.0,
            example: None,
        })
        .collect();
    let mut held: Vec<Vec<Values>> = Vec::with_capacity(logged.len());
    for batch in logged {
        let of = |name: &&str| {
            batch.column_by_name(&format!("{INPUT}{name}")).map_or(Ok(Values::Nothing), Values::of)
        };
        held.push(shared.iter().map(of).collect::<Result<_, _>>()?);
    }
    let mut found = 0;
    for batch in table.batches(Some(&wanted))? {
        let batch = batch?;
        let column = |name: &str| {
            let column = batch.column_by_name(name);
            column.cloned().ok_or_else(|| Failure::new(format!("`{name}` of the table cannot be read")))
        };
        let of_rows =
            joined(&keys.iter().map(|(_, in_table)| column(in_table)).collect::<Result<Vec<_>, _>>()?)?;
        let values = shared
            .iter()
            .map(|name| anyhow::Ok(Values::of(&column(name)?)?))
            .collect::<anyhow::Result<Vec<_>>>()?;
        for (row, key) in of_rows.into_iter().enumerate() {
            let Some(key) = key else { continue };
            // Each request is looked up once: a key that the table has twice is that of its first row.
            let Some((at, logged_row)) = places.remove(&key) else { continue };
            found += 1;
            for ((column, of_log), of_table) in columns.iter_mut().zip(&held[at]).zip(&values) {
                column.compared += 1;
                if of_log.is_same(logged_row, of_table, row) {
                    continue;
                }
                column.different += 1;
                column.example.get_or_insert_with(|| Example {
                    key: key.clone(),
                    logged: of_log.text(logged_row),
                    table: of_table.text(row),
                });
            }
        }
    }
    for column in &mut columns {
        column.share = column.different as f64 / column.compared.max(1) as f64;
    }
    columns.sort_by(|a, b| b.share.total_cmp(&a.share).then(a.column.cmp(&b.column)));
    let missing = missing.into_iter().map(str::to_owned).collect();
    Ok(Skew { endpoint: endpoint.to_owned(), requests, found, columns, missing })
}

/// The values of a column, as far as they are compared.
enum Values {
    Numbers(ArrayRef),
    Texts(Vec<Option<String>>),
    /// Requests of this kind do not have the input.
    Nothing,
}

impl Values {
    fn of(array: &ArrayRef) -> anyhow::Result<Self> {
        if array.data_type().is_numeric() || *array.data_type() == DataType::Boolean {
            return Ok(Self::Numbers(cast(array, &DataType::Float64)?));
        }
        Ok(Self::Texts(texts(array)?))
    }

    fn number(&self, row: usize) -> Option<f64> {
        match self {
            Self::Numbers(numbers) => {
                let numbers = numbers.as_primitive::<Float64Type>();
                // A missing number is NaN in a request.
                numbers.is_valid(row).then(|| numbers.value(row)).filter(|value| !value.is_nan())
            }
            Self::Texts(texts) => texts[row].as_ref()?.parse().ok(),
            Self::Nothing => None,
        }
    }

    /// Empty text counts as missing, as it does when a model is trained.
    fn text(&self, row: usize) -> String {
        match self {
            Self::Numbers(_) => {
                self.number(row).map_or_else(|| "missing".to_owned(), |number| number.to_string())
            }
            Self::Texts(texts) => texts[row].clone().unwrap_or_else(|| "missing".to_owned()),
            Self::Nothing => "missing".to_owned(),
        }
    }

    fn is_same(&self, row: usize, other: &Self, other_row: usize) -> bool {
        if let (Self::Texts(own), Self::Texts(others)) = (self, other) {
            return own[row] == others[other_row];
        }
        match (self.number(row), other.number(other_row)) {
            (Some(a), Some(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0),
            (None, None) => self.text(row) == other.text(other_row),
            _ => false,
        }
    }
}

/// Keys of several columns; nothing where a part is missing.
fn joined(columns: &[ArrayRef]) -> anyhow::Result<Vec<Option<String>>> {
    let parts = columns.iter().map(texts).collect::<anyhow::Result<Vec<_>>>()?;
    let rows = columns.first().map_or(0, |column| column.len());
    let key = |row: usize| -> Option<String> {
        let all: Option<Vec<&str>> = parts.iter().map(|part| part[row].as_deref()).collect();
        all.map(|all| all.join(", "))
    };
    Ok((0..rows).map(key).collect())
}

/// Values as text; nothing where they are missing or empty.
fn texts(array: &ArrayRef) -> anyhow::Result<Vec<Option<String>>> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options)?;
    Ok((0..array.len())
        .map(|row| {
            array.is_valid(row).then(|| formatter.value(row).to_string()).filter(|text| !text.is_empty())
        })
        .collect())
}

fn print(skew: &Skew, path: &Path, console: &Console) -> anyhow::Result<()> {
    if console.json() {
        return console.value(skew);
    }
    console.line(format!(
        "{}: {} of {} requests are in {}",
        skew.endpoint,
        count(skew.found),
        count(skew.requests),
        path.display()
    ));
    let mut table = Table::new(&[
        ("input", Align::Left),
        ("different", Align::Right),
        ("share", Align::Right),
        ("first of them", Align::Left),
    ]);
    for column in &skew.columns {
        let example = column.example.as_ref().map_or_else(String::new, |example| {
            format!("{}: {} was asked, {} is in the table", example.key, example.logged, example.table)
        });
        let different = count(column.different);
        let different = if column.different > 0 { console.out(BAD, &different) } else { different };
        table.row([column.column.clone(), different, percent(column.share), example]);
    }
    console.table(&table);
    if !skew.missing.is_empty() {
        console.note(format!("the table has no column {}", skew.missing.join(", ")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float32Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn each_request_is_looked_up_by_its_key() {
        let logged = RecordBatch::try_from_iter([
            ("request_id", Arc::new(StringArray::from(vec!["a", "b", "c", "d"])) as ArrayRef),
            ("entity", Arc::new(StringArray::from(vec![Some("1"), Some("2"), None, Some("2")]))),
            ("input_x", Arc::new(Float32Array::from(vec![0.1, 5.0, 1.0, f32::NAN]))),
            ("input_kind", Arc::new(StringArray::from(vec!["red", "", "red", ""]))),
            ("input_gone", Arc::new(StringArray::from(vec!["u"; 4]))),
        ])
        .unwrap();
        let offline = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![3, 2, 1, 1])) as ArrayRef),
            ("x", Arc::new(arrow::array::Float64Array::from(vec![Some(9.0), None, Some(0.1), Some(7.0)]))),
            ("kind", Arc::new(StringArray::from(vec![Some("red"), None, Some("blue"), None]))),
        ])
        .unwrap();
        let table = Rows::from_batches(offline.schema(), vec![offline]).unwrap();
        let found = skew("late", &[logged.clone()], &table, &[("entity", "id")]).unwrap();
        assert_eq!((found.requests, found.found), (4, 2), "{found:?}");
        assert_eq!(found.missing, ["gone"]);
        // What 32 bits lose is no difference; the newest request of `2` has no number, as the table has none.
        let numbers: Vec<(&str, u64, u64)> = found
            .columns
            .iter()
            .map(|column| (column.column.as_str(), column.compared, column.different))
            .collect();
        assert_eq!(numbers, [("kind", 2, 1), ("x", 2, 0)]);
        let example = found.columns[0].example.as_ref().unwrap();
        assert_eq!((&*example.key, &*example.logged, &*example.table), ("1", "red", "blue"));
        assert!(skew("late", &[logged], &table, &[("nobody", "id")]).is_err());
    }
}

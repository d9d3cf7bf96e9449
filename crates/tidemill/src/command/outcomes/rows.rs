//! Rows of a table as outcomes: which columns say what, and the lines in which a server takes them.

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use serde_json::{Map, Value};
use tidemill_data::Table;
use tidemill_project::{OUTCOME_FIELDS, OUTCOME_KEYS, OutcomeColumns};

use crate::failure::Failure;

/// Floats hold every whole number up to this one.
const LARGEST: f64 = 9_007_199_254_740_992.0;

/// Which columns say what: fields of an outcome, each with the place of its column.
#[derive(Debug)]
pub(in crate::command) struct Mapping {
    keys: Vec<(String, usize)>,
    time: Option<usize>,
    values: Vec<(String, usize)>,
}

/// Outcomes of a part of a table, as JSON lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) text: String,
    /// The rows of the part that are in it, counted from 0.
    pub(super) rows: Vec<usize>,
}

/// From `entity=customer` or `customer`, the name of a column, and `label=repaid` or `repaid`.
pub(super) fn columns(
    keys: &[String],
    time: Option<&str>,
    values: &[String],
) -> Result<OutcomeColumns, Failure> {
    let keys = keys
        .iter()
        .map(|text| match text.split_once('=') {
            Some((field, column)) => (field, column),
            None if OUTCOME_KEYS.contains(&text.as_str()) => (text.as_str(), text.as_str()),
            // A column of another name says what requests are about.
            None => ("entity", text.as_str()),
        })
        .collect::<Vec<_>>();
    if let Some((field, _)) = keys.iter().find(|(field, _)| !OUTCOME_KEYS.contains(field)) {
        return Err(Failure::usage(format!("`{field}` of `--key` is nothing that finds a request"))
            .hint("as in `--key customer`, `--key entity=customer` or `--key request_id=id,row=line`"));
    }
    if keys.iter().all(|(field, _)| *field == "row") {
        return Err(Failure::usage("the number of a row alone finds no request")
            .hint("as in `--key request_id=id,row=line`"));
    }
    let values: Vec<(&str, &str)> =
        values.iter().map(|text| text.split_once('=').unwrap_or((text, text))).collect();
    if let Some((name, column)) =
        values.iter().find(|(name, _)| name.is_empty() || OUTCOME_FIELDS.contains(name))
    {
        return Err(Failure::usage(format!("`{name}` cannot be the name of an outcome"))
            .hint(format!("give it another one, as in `--values label={column}`")));
    }
    let twice = |fields: &[(&str, &str)]| {
        let again = |at: usize| fields[..at].iter().any(|(name, _)| *name == fields[at].0);
        (0..fields.len()).find(|at| again(*at)).map(|at| fields[at].0.to_owned())
    };
    if let Some(name) = twice(&keys).or_else(|| twice(&values)) {
        return Err(Failure::usage(format!("`{name}` is named twice")));
    }
    let owned = |pairs: Vec<(&str, &str)>| -> Vec<(String, String)> {
        pairs.into_iter().map(|(field, column)| (field.to_owned(), column.to_owned())).collect()
    };
    Ok(OutcomeColumns { keys: owned(keys), time: time.map(str::to_owned), values: owned(values) })
}

impl Mapping {
    /// Of the columns that a table has.
    pub(in crate::command) fn new(table: &Table, columns: &OutcomeColumns) -> anyhow::Result<Self> {
        let place = |(field, column): &(String, String)| {
            let place = table.column(column)?;
            let kind = table.schema().field(place).data_type();
            if kind.is_nested() {
                let why =
                    format!("the column `{column}` holds {kind}, which is neither number, text nor time");
                return Err(anyhow::Error::from(Failure::usage(why)));
            }
            Ok((field.clone(), place))
        };
        let time = columns.time.as_ref().map(|column| place(&("time".to_owned(), column.clone())));
        Ok(Self {
            keys: columns.keys.iter().map(place).collect::<Result<_, _>>()?,
            time: time.transpose()?.map(|(_, place)| place),
            values: columns.values.iter().map(place).collect::<Result<_, _>>()?,
        })
    }

    /// The columns that are read, each once.
    pub(super) fn columns(&self) -> Vec<usize> {
        let keys = self.keys.iter().map(|(_, place)| *place);
        let values = self.values.iter().map(|(_, place)| *place);
        let mut columns: Vec<usize> = keys.chain(self.time).chain(values).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// The lines of a batch of these columns. Rows without a key, and those of which nothing is known yet, are left out.
    pub(super) fn lines(&self, batch: &RecordBatch, columns: &[usize]) -> anyhow::Result<Lines> {
        let column = |place: usize| {
            let at = columns.iter().position(|column| *column == place).unwrap_or_default();
            (batch.column(at), batch.schema_ref().field(at).name().clone())
        };
        let mut keys = Vec::with_capacity(self.keys.len());
        for (field, place) in &self.keys {
            let (array, name) = column(*place);
            let cells = if field == "row" { Cells::whole(array)? } else { Cells::key(array, &name)? };
            keys.push((field, cells));
        }
        let time = self.time.map(|place| Cells::time(column(place).0)).transpose()?;
        let mut values = Vec::with_capacity(self.values.len());
        for (name, place) in &self.values {
            values.push((name, Cells::value(column(*place).0)?));
        }
        let mut lines = Lines::default();
        for row in 0..batch.num_rows() {
            let mut fields = Map::new();
            for (field, cells) in &keys {
                fields.extend(cells.at(row).map(|value| ((*field).clone(), value)));
            }
            if !fields.keys().any(|field| field != "row") {
                continue;
            }
            let before = fields.len();
            for (name, cells) in &values {
                fields.extend(cells.at(row).map(|value| ((*name).clone(), value)));
            }
            if fields.len() == before {
                continue;
            }
            let time = time.as_ref().and_then(|cells| cells.at(row));
            fields.extend(time.map(|time| ("time".to_owned(), time)));
            lines.text.push_str(&Value::Object(fields).to_string());
            lines.text.push('\n');
            lines.rows.push(row);
        }
        Ok(lines)
    }
}

/// A column as JSON has it.
enum Cells {
    Text(StringArray),
    Number(Float64Array),
    Whole(Int64Array),
    Flag(BooleanArray),
}

impl Cells {
    /// Keys are texts. Whole numbers that were read as floats, because some are missing, are written as the whole numbers that they are.
    fn key(array: &ArrayRef, name: &str) -> anyhow::Result<Self> {
        if !array.data_type().is_floating() {
            return Self::text(array);
        }
        let floats = cast(array, &DataType::Float64)?;
        let floats = floats.as_primitive::<Float64Type>();
        let mut known = floats.iter().flatten().filter(|x| !x.is_nan());
        if let Some(broken) = known.find(|x| x.fract() != 0.0 || x.abs() > LARGEST) {
            let why = format!("the column `{name}` holds {broken}, and a key is a text or a whole number");
            return Err(Failure::new(why).into());
        }
        let texts = floats.iter().map(|x| x.filter(|x| !x.is_nan()).map(|x| (x as i64).to_string()));
        Ok(Self::Text(texts.collect()))
    }

    /// Times as milliseconds since 1970; what is no time in the table is left to the server to read.
    fn time(array: &ArrayRef) -> anyhow::Result<Self> {
        match array.data_type() {
            DataType::Timestamp(_, zone) => {
                let millis = cast(array, &DataType::Timestamp(TimeUnit::Millisecond, zone.clone()))?;
                Self::whole(&millis)
            }
            DataType::Date32 | DataType::Date64 => {
                Self::whole(&cast(array, &DataType::Timestamp(TimeUnit::Millisecond, None))?)
            }
            kind if kind.is_numeric() => Self::whole(array),
            _ => Self::text(array),
        }
    }

    fn value(array: &ArrayRef) -> anyhow::Result<Self> {
        match array.data_type() {
            DataType::Boolean => Ok(Self::Flag(array.as_boolean().clone())),
            kind if kind.is_numeric() => {
                Ok(Self::Number(cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone()))
            }
            _ => Self::text(array),
        }
    }

    fn whole(array: &ArrayRef) -> anyhow::Result<Self> {
        Ok(Self::Whole(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone()))
    }

    fn text(array: &ArrayRef) -> anyhow::Result<Self> {
        Ok(Self::Text(cast(array, &DataType::Utf8)?.as_string::<i32>().clone()))
    }

    /// The value of a row; none where nothing is known.
    fn at(&self, row: usize) -> Option<Value> {
        match self {
            Self::Text(texts) => {
                let text = texts.is_valid(row).then(|| texts.value(row))?;
                (!text.is_empty()).then(|| Value::from(text))
            }
            Self::Number(numbers) => {
                let number = numbers.is_valid(row).then(|| numbers.value(row))?;
                number.is_finite().then(|| Value::from(number))
            }
            Self::Whole(numbers) => numbers.is_valid(row).then(|| Value::from(numbers.value(row))),
            Self::Flag(flags) => flags.is_valid(row).then(|| Value::from(flags.value(row))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, TimestampMicrosecondArray};

    use super::*;

    fn table() -> Table {
        let columns: [(&str, ArrayRef); 6] = [
            ("customer", Arc::new(Float64Array::from(vec![Some(7.0), None, Some(8.0), Some(9.0)]))),
            ("id", Arc::new(StringArray::from(vec![Some("a"), Some("b"), None, Some("d")]))),
            ("due", Arc::new(Date32Array::from(vec![1, 1, 1, 1]))),
            ("seen", Arc::new(TimestampMicrosecondArray::from(vec![1_500, 0, 0, 0]).with_timezone("+02:00"))),
            ("repaid", Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(false), None]))),
            ("amount", Arc::new(Float64Array::from(vec![Some(2.5), None, Some(f64::NAN), None]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        Table::from_batches(batch.schema(), vec![batch]).unwrap()
    }

    fn lines(
        keys: &[&str],
        time: Option<&str>,
        values: &[&str],
    ) -> anyhow::Result<(Vec<String>, Vec<usize>)> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let table = table();
        let mapping = Mapping::new(&table, &super::columns(&owned(keys), time, &owned(values))?)?;
        let columns = mapping.columns();
        let batch = table.batches(Some(&columns))?.next().unwrap()?;
        let lines = mapping.lines(&batch, &columns)?;
        Ok((lines.text.lines().map(str::to_owned).collect(), lines.rows))
    }

    #[test]
    fn rows_become_lines_and_what_is_not_known_yet_is_left_out() {
        let (text, rows) = lines(&["customer"], Some("due"), &["label=repaid", "amount"]).unwrap();
        assert_eq!(rows, [0, 2], "one has no key, and of one nothing is known");
        let first: Value = serde_json::from_str(&text[0]).unwrap();
        let expected = serde_json::json!({"entity": "7", "time": 86_400_000, "label": true, "amount": 2.5});
        assert_eq!(first, expected);
        let second: Value = serde_json::from_str(&text[1]).unwrap();
        assert_eq!(second, serde_json::json!({"entity": "8", "time": 86_400_000, "label": false}));
        let (text, rows) = lines(&["request_id=id", "row=customer"], Some("seen"), &["repaid"]).unwrap();
        assert_eq!(rows, [0, 1]);
        let expected = serde_json::json!({"request_id": "a", "row": 7, "time": 1, "repaid": true});
        assert_eq!(serde_json::from_str::<Value>(&text[0]).unwrap(), expected);
        let expected = serde_json::json!({"request_id": "b", "time": 0, "repaid": false});
        assert_eq!(serde_json::from_str::<Value>(&text[1]).unwrap(), expected);
    }

    #[test]
    fn what_says_nothing_is_refused() {
        for (keys, values, why) in [
            (&["client=customer"][..], &["repaid"][..], "`client` of `--key` is nothing"),
            (&["row=customer"][..], &["repaid"][..], "alone finds no request"),
            (&["customer"][..], &["time=repaid"][..], "`time` cannot be the name"),
            (&["customer"][..], &["a=repaid", "a=amount"][..], "`a` is named twice"),
            (&["customer", "entity=id"][..], &["repaid"][..], "`entity` is named twice"),
            (&["nobody"][..], &["repaid"][..], "nobody"),
            (&["amount"][..], &["repaid"][..], "holds 2.5, and a key is a text"),
        ] {
            let error = lines(keys, None, values).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}

//! Golden rows: inputs with the answers that the trainer gave, for the parity check at load.

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, Float64Array, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tidemill_runtime::{Tensor, Values};

use crate::Named;

/// The most rows that are compared.
const ROWS: usize = 1_000;
/// What the columns of answers are called, before their number.
const ANSWER: &str = "answer_";

/// Rows with the trainer's answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    /// The inputs, a column each; missing numbers are NaN, missing text is empty.
    pub inputs: Vec<Named>,
    /// The answers, row by row.
    pub answers: Vec<Vec<f64>>,
}

/// An answer that differs from the trainer's.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// The row, from 1.
    pub row: usize,
    /// The number of the answer within the row, from 0.
    pub column: usize,
    /// What the trainer's model said.
    pub expected: f64,
    /// What the loaded model says.
    pub got: f64,
}

impl Golden {
    /// From the Parquet file that a built-in training writes: the inputs under their names, then `answer_0`,
    /// `answer_1`, …
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, has no answers or holds types that no model takes.
    pub fn from_parquet(bytes: Vec<u8>) -> Result<Self, String> {
        let wrong = |why: &dyn std::fmt::Display| format!("the golden rows cannot be read: {why}");
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).map_err(|e| wrong(&e))?;
        let schema = reader.schema().clone();
        let reader = reader.with_limit(ROWS).build().map_err(|e| wrong(&e))?;
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|e| wrong(&e))?;
        let table = concat_batches(&schema, &batches).map_err(|e| wrong(&e))?;
        Self::from_table(&table).map_err(|why| wrong(&why))
    }

    /// From a table of the inputs under their names, and `answer_0`, `answer_1`, …
    ///
    /// # Errors
    ///
    /// Where it has no answers or holds types that no model takes.
    pub fn from_table(table: &RecordBatch) -> Result<Self, String> {
        let (mut inputs, mut answers) = (Vec::new(), Vec::new());
        for (field, column) in table.schema().fields().iter().zip(table.columns()) {
            if field.name() == &format!("{ANSWER}{}", answers.len()) {
                let numbers = cast(column, &DataType::Float64).map_err(|error| error.to_string())?;
                answers.push(numbers.as_primitive::<Float64Type>().clone());
            } else {
                let values = values(column).map_err(|why| format!("column `{}`: {why}", field.name()))?;
                inputs.push(Named { name: field.name().clone(), tensor: Tensor::vector(values) });
            }
        }
        if answers.is_empty() {
            return Err(format!("there is no column `{ANSWER}0`"));
        }
        let rows =
            (0..table.num_rows()).map(|row| answers.iter().map(|column| number(column, row)).collect());
        Ok(Self { inputs, answers: rows.collect() })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.answers.len()
    }

    /// The inputs of rows `from..to`.
    pub fn slice(&self, from: usize, to: usize) -> Vec<Named> {
        let cut = |one: &Named| Named { name: one.name.clone(), tensor: one.tensor.slice(from, to) };
        self.inputs.iter().map(cut).collect()
    }

    /// Compares answers for the rows from `first` on with the trainer's, as many as there are. The difference may be `tolerance`, or that
    /// share of the trainer's number where it is above 1.
    pub fn compare(&self, first: usize, got: &[Vec<f64>], tolerance: f64) -> Result<(), Mismatch> {
        for (at, (expected, got)) in self.answers.iter().skip(first).zip(got).enumerate() {
            for (column, (expected, got)) in expected.iter().zip(got).enumerate() {
                if !is_close(*expected, *got, tolerance) {
                    return Err(Mismatch { row: first + at + 1, column, expected: *expected, got: *got });
                }
            }
        }
        Ok(())
    }

    /// The output that holds the answers: the first one of floats with as many numbers in a row as there are
    /// answers.
    pub fn pick(&self, outputs: &[Tensor]) -> Option<usize> {
        Self::find(outputs, self.answers.first().map_or(0, Vec::len))
    }

    /// The first output of floats with `width` numbers in a row.
    pub fn find(outputs: &[Tensor], width: usize) -> Option<usize> {
        outputs.iter().position(|output| {
            let floats = matches!(output.values(), Values::F32(_) | Values::F64(_));
            floats && output.row_len() == width
        })
    }
}

/// The numbers of an output, row by row.
pub fn rows_of(output: &Tensor) -> Vec<Vec<f64>> {
    let width = output.row_len().max(1);
    let numbers: Vec<f64> = match output.values() {
        Values::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        Values::F64(values) => values.clone(),
        _ => Vec::new(),
    };
    numbers.chunks(width).map(<[f64]>::to_vec).collect()
}

fn is_close(expected: f64, got: f64, tolerance: f64) -> bool {
    if expected.is_nan() || got.is_nan() {
        return expected.is_nan() == got.is_nan();
    }
    expected == got || (expected - got).abs() <= tolerance * expected.abs().max(1.0)
}

fn number(column: &Float64Array, row: usize) -> f64 {
    if column.is_null(row) { f64::NAN } else { column.value(row) }
}

/// A column as a model may take it.
fn values(column: &ArrayRef) -> Result<Values, String> {
    let fail = |error: arrow::error::ArrowError| error.to_string();
    let kind = match column.data_type() {
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        other => other.clone(),
    };
    let floats = || {
        let column = cast(column, &DataType::Float64).map_err(fail)?;
        let column = column.as_primitive::<Float64Type>();
        Ok::<_, String>(Values::F64((0..column.len()).map(|row| number(column, row)).collect()))
    };
    match kind {
        DataType::Boolean if column.null_count() == 0 => {
            let column: &BooleanArray = column.as_boolean();
            Ok(Values::Bool((0..column.len()).map(|row| column.value(row)).collect()))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let column = cast(column, &DataType::Utf8).map_err(fail)?;
            let column: &StringArray = column.as_string();
            let text = |row: usize| if column.is_null(row) { Vec::new() } else { column.value(row).into() };
            Ok(Values::Bytes((0..column.len()).map(text).collect()))
        }
        kind if kind.is_integer() && column.null_count() == 0 => {
            let column = cast(column, &DataType::Int64).map_err(fail)?;
            Ok(Values::I64(column.as_primitive::<Int64Type>().values().to_vec()))
        }
        DataType::Boolean => floats(),
        kind if kind.is_numeric() => floats(),
        other => Err(format!("no model takes {other}")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use arrow::array::Int32Array;
    use parquet::arrow::ArrowWriter;

    use super::*;

    /// A table as a Parquet file.
    pub(crate) fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
        let table = RecordBatch::try_from_iter(columns).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, table.schema(), None).unwrap();
        writer.write(&table).unwrap();
        writer.close().unwrap();
        bytes
    }

    #[test]
    fn columns_and_answers_are_told_apart() {
        let bytes = parquet(vec![
            ("age", Arc::new(Int32Array::from(vec![Some(3), Some(4)]))),
            ("income", Arc::new(Int32Array::from(vec![Some(3), None]))),
            ("plan", Arc::new(StringArray::from(vec![Some("a"), None]))),
            ("answer_0", Arc::new(Float64Array::from(vec![0.25, 0.5]))),
            ("answer_1", Arc::new(Float64Array::from(vec![0.75, 0.5]))),
        ]);
        let golden = Golden::from_parquet(bytes).unwrap();
        assert_eq!(golden.answers, [[0.25, 0.75], [0.5, 0.5]]);
        let values: Vec<_> = golden.inputs.iter().map(|input| input.tensor.values().clone()).collect();
        assert_eq!(values[0], Values::I64(vec![3, 4]));
        assert!(matches!(&values[1], Values::F64(v) if v[0] == 3.0 && v[1].is_nan()));
        assert_eq!(values[2], Values::Bytes(vec![b"a".to_vec(), Vec::new()]));
        let none = parquet(vec![("a", Arc::new(Int32Array::from(vec![1])))]);
        assert!(Golden::from_parquet(none).unwrap_err().contains("no column `answer_0`"));
        assert!(Golden::from_parquet(b"PAR1".to_vec()).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn a_difference_is_named_by_row_and_column() {
        let golden = Golden { inputs: Vec::new(), answers: vec![vec![0.5, 0.5], vec![0.1, 200.0]] };
        let good = vec![vec![0.5, 0.500_000_1], vec![0.1, 200.001]];
        assert_eq!(golden.compare(0, &good, 1e-5), Ok(()));
        let bad = vec![vec![0.1, 201.0]];
        let expect = Mismatch { row: 2, column: 1, expected: 200.0, got: 201.0 };
        assert_eq!(golden.compare(1, &bad, 1e-5), Err(expect));
        assert!(golden.compare(0, &[vec![f64::NAN, 0.5]], 1.0).is_err(), "a NaN is no answer");
    }
}

//! The golden rows and the signature.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, Schema};

use crate::Result;
use crate::frame::{ClassLabel, FrameSchema, Table};
use crate::model::Scores;
use crate::report::{InputSpec, OutputSpec, Signature};

/// The input columns of these rows and the model's answers to them.
pub(super) fn golden(
    table: &Table,
    schema: &FrameSchema,
    rows: &[usize],
    answers: &Scores,
) -> Result<RecordBatch> {
    let picker = Picker::new(table, rows);
    let mut fields = Vec::with_capacity(schema.columns.len() + answers.width);
    let mut columns = Vec::with_capacity(fields.capacity());
    for spec in &schema.columns {
        let index = table.schema().index_of(&spec.name)?;
        fields.push(table.schema().field(index).clone().with_nullable(true));
        columns.push(picker.column(index)?);
    }
    for output in 0..answers.width {
        fields.push(Field::new(format!("answer_{output}"), DataType::Float64, false));
        columns.push(Arc::new(Float64Array::from(answers.column(output))) as ArrayRef);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// What the model takes and gives.
pub(super) fn signature(schema: &FrameSchema, classes: Option<&[ClassLabel]>) -> Signature {
    let input = |spec: &crate::frame::ColumnSpec| InputSpec {
        name: spec.name.clone(),
        source: spec.source,
        categories: spec.levels().map(|levels| levels.to_vec()).unwrap_or_default(),
    };
    // The names in the exported graph, which gives way where a column has the same one.
    let free = |name: &str| {
        let mut name = name.to_owned();
        while schema.columns.iter().any(|column| column.name == name) {
            name.push('_');
        }
        name
    };
    let output = |name, width, classes: &[ClassLabel]| OutputSpec {
        name: free(name),
        width: width as u64,
        classes: classes.to_vec(),
    };
    let outputs = match classes {
        None => vec![output("variable", 1, &[])],
        Some(classes) => {
            vec![output("label", 1, &[]), output("probabilities", classes.len(), classes)]
        }
    };
    Signature { inputs: schema.columns.iter().map(input).collect(), outputs }
}

/// Picks rows out of the batches of a table.
pub(super) struct Picker<'a> {
    table: &'a Table,
    /// Batch and row within it.
    places: Vec<(usize, usize)>,
}

impl<'a> Picker<'a> {
    pub(super) fn new(table: &'a Table, rows: &[usize]) -> Self {
        let mut ends = Vec::with_capacity(table.batches().len());
        let mut total = 0;
        for batch in table.batches() {
            total += batch.num_rows();
            ends.push(total);
        }
        let place = |row: &usize| {
            let batch = ends.partition_point(|end| end <= row);
            (batch, row - if batch == 0 { 0 } else { ends[batch - 1] })
        };
        Self { table, places: rows.iter().map(place).collect() }
    }

    /// The picked rows of one column.
    pub(super) fn column(&self, index: usize) -> Result<ArrayRef> {
        let arrays: Vec<_> = self.table.batches().iter().map(|batch| batch.column(index).as_ref()).collect();
        Ok(interleave(&arrays, &self.places)?)
    }
}

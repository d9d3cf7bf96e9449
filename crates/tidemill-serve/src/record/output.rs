//! Records as files for other programs.

use std::io::Write;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::json::LineDelimitedWriter;
use tidemill_data::Written;

use super::{LogError, stored};

/// Writes rows as JSON, one object a line; columns without a value are left out. Gives the number of rows.
///
/// # Errors
///
/// What reading or writing refuses.
pub fn write_json_lines(
    rows: impl Iterator<Item = Result<RecordBatch, LogError>>,
    out: &mut dyn Write,
) -> Result<u64, LogError> {
    let mut count = 0;
    let mut writer = LineDelimitedWriter::new(out);
    for batch in rows {
        let batch = batch?;
        count += batch.num_rows() as u64;
        writer.write(&batch)?;
    }
    writer.finish()?;
    Ok(count)
}

/// Writes rows as a Parquet file, as a whole or not at all.
///
/// # Errors
///
/// What reading or writing refuses.
pub fn write_parquet(
    schema: &SchemaRef,
    rows: impl Iterator<Item = Result<RecordBatch, LogError>>,
    path: &Path,
) -> Result<Written, LogError> {
    stored::write_table(schema, rows, path)
}

//! Writing the result: Parquet, CSV or JSON lines, as a whole or not at all.

use std::io::{BufWriter, Write};
use std::path::Path;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::json::LineDelimitedWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tempfile::NamedTempFile;
use tidemill_data::{Format, write_parquet_deterministic};

use super::PredictError;

/// Formats that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputFormat {
    Parquet,
    Csv,
    JsonLines,
}

impl OutputFormat {
    pub(super) fn of(path: &Path) -> Result<Self, PredictError> {
        let is_packed = path.extension().is_some_and(|kind| kind == "gz" || kind == "zst");
        match Format::of_name(path).filter(|_| !is_packed) {
            Some(Format::Parquet) => Ok(Self::Parquet),
            Some(Format::Csv(options)) if options.delimiter.is_none() => Ok(Self::Csv),
            Some(Format::JsonLines(_)) => Ok(Self::JsonLines),
            _ => Err(PredictError::Format(path.to_owned())),
        }
    }
}

/// Writes batches; gives the number of bytes.
pub(super) fn write(
    format: OutputFormat,
    schema: &SchemaRef,
    batches: &mut dyn Iterator<Item = Result<RecordBatch, PredictError>>,
    path: &Path,
) -> Result<u64, PredictError> {
    if format == OutputFormat::Parquet {
        let mut failed = None;
        let batches = batches.map(|batch| {
            batch.map_err(|error| {
                failed = Some(error);
                tidemill_data::Error::Unusable("the rows ended early".to_owned())
            })
        });
        let written = write_parquet_deterministic(schema, batches, path);
        return match failed {
            Some(error) => Err(error),
            None => Ok(written?.bytes),
        };
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tidemill-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As any new file: the process's mask takes away what it must.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let failed = |error| PredictError::Io { action: "write", path: path.to_owned(), source: error };
    let file = builder.tempfile_in(folder).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    match format {
        OutputFormat::Csv => csv(schema, batches, &mut out, path)?,
        _ => json(batches, &mut out, path)?,
    }
    let file: NamedTempFile = out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.as_file().sync_all().map_err(failed)?;
    let bytes = file.as_file().metadata().map_err(failed)?.len();
    file.persist(path).map_err(|error| failed(error.error))?;
    fs_err::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(bytes)
}

fn json(
    batches: &mut dyn Iterator<Item = Result<RecordBatch, PredictError>>,
    out: &mut dyn Write,
    path: &Path,
) -> Result<(), PredictError> {
    let failed = |error: arrow::error::ArrowError| PredictError::Io {
        action: "write",
        path: path.to_owned(),
        source: std::io::Error::other(error),
    };
    let mut writer = LineDelimitedWriter::new(out);
    for batch in batches {
        writer.write(&batch?).map_err(failed)?;
    }
    writer.finish().map_err(failed)
}

/// Lists of a fixed length become columns `NAME_0`, `NAME_1`, …; others are written as text.
fn csv(
    schema: &SchemaRef,
    batches: &mut dyn Iterator<Item = Result<RecordBatch, PredictError>>,
    out: &mut dyn Write,
    path: &Path,
) -> Result<(), PredictError> {
    let failed = |error| PredictError::Io { action: "write", path: path.to_owned(), source: error };
    let mut line = String::new();
    for field in schema.fields() {
        match field.data_type() {
            DataType::FixedSizeList(_, width) => {
                (0..*width).for_each(|i| push_field(&mut line, &format!("{}_{i}", field.name())));
            }
            _ => push_field(&mut line, field.name()),
        }
    }
    end_line(&mut line);
    out.write_all(line.as_bytes()).map_err(failed)?;
    let options = FormatOptions::default().with_display_error(true);
    for batch in batches {
        let batch = batch?;
        let formatters = batch
            .columns()
            .iter()
            .map(|column| Cells::new(column, &options))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| failed(std::io::Error::other(error)))?;
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            let start = text.len();
            formatters.iter().for_each(|cells| cells.push(&mut text, row));
            // A row of one empty field would read as an empty line, which is no row.
            if text.len() == start + 1 && formatters.len() == 1 {
                text.truncate(start);
                text.push_str("\"\",");
            }
            end_line(&mut text);
        }
        out.write_all(text.as_bytes()).map_err(failed)?;
    }
    Ok(())
}

struct Cells<'a> {
    array: &'a ArrayRef,
    formatter: ArrayFormatter<'a>,
    /// Values in a row.
    width: usize,
    is_flat: bool,
}

impl<'a> Cells<'a> {
    fn new(array: &'a ArrayRef, options: &FormatOptions<'a>) -> Result<Self, arrow::error::ArrowError> {
        if let DataType::FixedSizeList(_, width) = array.data_type() {
            let items = array.as_fixed_size_list().values();
            let formatter = ArrayFormatter::try_new(items, options)?;
            return Ok(Self {
                array,
                formatter,
                width: usize::try_from(*width).unwrap_or_default(),
                is_flat: false,
            });
        }
        Ok(Self { array, formatter: ArrayFormatter::try_new(array, options)?, width: 1, is_flat: true })
    }

    fn push(&self, text: &mut String, row: usize) {
        for i in 0..self.width {
            if self.array.is_null(row) {
                text.push(',');
            } else if self.is_flat {
                push_field(text, &self.formatter.value(row).to_string());
            } else {
                let start = self.array.as_fixed_size_list().value_offset(row) as usize;
                push_field(text, &self.formatter.value(start + i).to_string());
            }
        }
    }
}

fn push_field(line: &mut String, field: &str) {
    let needs_quotes =
        field.contains([',', '"', '\n', '\r']) || field.starts_with(' ') || field.ends_with(' ');
    if needs_quotes {
        line.push('"');
        line.push_str(&field.replace('"', "\"\""));
        line.push('"');
    } else {
        line.push_str(field);
    }
    line.push(',');
}

fn end_line(line: &mut String) {
    if line.ends_with(',') {
        line.pop();
    }
    line.push('\n');
}

//! Parquet files: footer checks that name truncation, and a stream of batches. Writing is in `write`.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::Reader;
use super::guard::{Guarded, guarded};
use crate::{BATCH_ROWS, Error};

const FORMAT: &str = "Parquet";
const MAGIC: &[u8; 4] = b"PAR1";

type Builder = ParquetRecordBatchReaderBuilder<std::fs::File>;

/// The schema and number of rows that the footer tells.
pub(super) fn inspect(path: &Path) -> Result<(SchemaRef, u64), Error> {
    let builder = builder(path)?;
    let rows = builder.metadata().file_metadata().num_rows();
    let rows = u64::try_from(rows).map_err(|_| corrupt(path, format!("it says that it has {rows} rows")))?;
    Ok((builder.schema().clone(), rows))
}

/// The rows.
pub(super) fn read(path: &Path, wanted: &SchemaRef) -> Result<Reader, Error> {
    let builder = builder(path)?;
    let present: Vec<usize> =
        wanted.fields().iter().filter_map(|field| builder.schema().index_of(field.name()).ok()).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), present);
    let reader = guarded(path, FORMAT, || {
        let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
        reader.map_err(|error| describe(path, &error))
    })?;
    Ok(Box::new(Guarded { path: path.to_owned(), format: FORMAT, inner: Some(reader) }))
}

fn builder(path: &Path) -> Result<Builder, Error> {
    let mut file = fs_err::File::open(path).map_err(Error::io("open", path))?;
    check_frame(path, &mut file)?;
    let (file, _) = file.into_parts();
    guarded(path, FORMAT, || Builder::try_new(file).map_err(|error| describe(path, &error)))
}

/// Tells an empty or truncated file from one that is not Parquet at all: a Parquet file begins and ends with
/// the same four bytes, and the four bytes before the last four are the footer's length.
pub(crate) fn check_frame(path: &Path, file: &mut fs_err::File) -> Result<(), Error> {
    let truncated = |why: &str| Err(Error::Truncated { path: path.to_owned(), why: why.to_owned() });
    let io = |error| Error::Io { action: "read", path: path.to_owned(), source: error };
    let size = file.seek(SeekFrom::End(0)).map_err(io)?;
    if size == 0 {
        return truncated("it is empty");
    }
    let mut head = [0; 4];
    file.rewind().map_err(io)?;
    let count = usize::try_from(size.min(4)).unwrap_or(4);
    file.read_exact(&mut head[..count]).map_err(io)?;
    if head[..count] != MAGIC[..count] {
        return Err(corrupt(path, "it does not begin with `PAR1`".to_owned()));
    }
    if size < 12 {
        return truncated("it ends before its footer");
    }
    let mut tail = [0; 8];
    file.seek(SeekFrom::End(-8)).map_err(io)?;
    file.read_exact(&mut tail).map_err(io)?;
    file.rewind().map_err(io)?;
    if &tail[4..] != MAGIC {
        return truncated("its footer is missing");
    }
    let footer = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if footer + 12 > size {
        return truncated(&format!("its footer is {footer} bytes long and the file {size}"));
    }
    Ok(())
}

fn describe(path: &Path, error: &ParquetError) -> Error {
    match error {
        ParquetError::EOF(why) => Error::Truncated { path: path.to_owned(), why: why.clone() },
        ParquetError::General(why) | ParquetError::NYI(why) | ParquetError::ArrowError(why) => {
            corrupt(path, why.clone())
        }
        other => corrupt(path, other.to_string()),
    }
}

fn corrupt(path: &Path, why: String) -> Error {
    Error::Corrupt { path: path.to_owned(), format: FORMAT, why }
}

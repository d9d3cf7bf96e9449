//! Arrow IPC files: checks of the footer against the file, exact row counts, and a stream of batches.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::FileReaderBuilder;
use arrow::ipc::{Block, root_as_footer, root_as_message};

use super::Reader;
use super::guard::{Guarded, guarded};
use crate::Error;

const FORMAT: &str = "Arrow";
const MAGIC: &[u8; 6] = b"ARROW1";

/// The schema and number of rows that the footer and the headers of batches tell.
pub(super) fn inspect(path: &Path) -> Result<(SchemaRef, u64), Error> {
    let rows = check(path)?;
    guarded(path, FORMAT, || {
        let file = std::io::BufReader::new(fs_err::File::open(path).map_err(Error::io("open", path))?);
        let reader =
            FileReaderBuilder::new().build(file).map_err(|error| corrupt(path, error.to_string()))?;
        Ok((reader.schema(), rows))
    })
}

/// The rows.
pub(super) fn read(path: &Path, wanted: &SchemaRef) -> Result<Reader, Error> {
    check(path)?;
    let reader = guarded(path, FORMAT, || {
        let open = || Ok(std::io::BufReader::new(fs_err::File::open(path).map_err(Error::io("open", path))?));
        let fail = |error: arrow::error::ArrowError| corrupt(path, error.to_string());
        let schema = FileReaderBuilder::new().build(open()?).map_err(fail)?.schema();
        let present = wanted.fields().iter().filter_map(|field| schema.index_of(field.name()).ok()).collect();
        FileReaderBuilder::new().with_projection(present).build(open()?).map_err(fail)
    })?;
    Ok(Box::new(Guarded { path: path.to_owned(), format: FORMAT, inner: Some(reader) }))
}

/// Checks the frame and every block's place before anything is allocated for it; gives the number of rows.
fn check(path: &Path) -> Result<u64, Error> {
    let mut file = fs_err::File::open(path).map_err(Error::io("open", path))?;
    let size = file.metadata().map_err(Error::io("read", path))?.len();
    let truncated = |why: &str| Error::Truncated { path: path.to_owned(), why: why.to_owned() };
    if size == 0 {
        return Err(truncated("it is empty"));
    }
    let head = bytes(&mut file, path, 0, size.min(6))?;
    if head[..] != MAGIC[..head.len()] {
        return Err(corrupt(
            path,
            "it does not begin with `ARROW1` (the streaming format is not read)".to_owned(),
        ));
    }
    if size < 18 {
        return Err(truncated("it ends before its footer"));
    }
    let tail = bytes(&mut file, path, size - 10, 10)?;
    if tail[4..] != MAGIC[..] {
        return Err(truncated("its footer is missing"));
    }
    let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if length + 18 > size {
        return Err(truncated("its footer is longer than the file"));
    }
    let footer = bytes(&mut file, path, size - 10 - length, length)?;
    let footer = root_as_footer(&footer).map_err(|error| corrupt(path, error.to_string()))?;
    let mut rows = 0_u64;
    for block in footer.dictionaries().iter().flatten() {
        within(path, block, size)?;
    }
    for block in footer.recordBatches().iter().flatten() {
        let (offset, length) = within(path, block, size)?;
        rows += batch_rows(path, &bytes(&mut file, path, offset, length)?)?;
    }
    Ok(rows)
}

/// Offset and length of a block's header, if the whole block lies in the file.
fn within(path: &Path, block: &Block, size: u64) -> Result<(u64, u64), Error> {
    let parts = (|| {
        let offset = u64::try_from(block.offset()).ok()?;
        let header = u64::try_from(block.metaDataLength()).ok()?;
        let end = offset.checked_add(header)?.checked_add(u64::try_from(block.bodyLength()).ok()?)?;
        (end <= size).then_some((offset, header))
    })();
    parts.ok_or_else(|| corrupt(path, "a block lies outside of the file".to_owned()))
}

fn batch_rows(path: &Path, header: &[u8]) -> Result<u64, Error> {
    let start = if header.starts_with(&[0xff; 4]) { 8 } else { 4 };
    let message = header.get(start..).unwrap_or_default();
    let message = root_as_message(message).map_err(|error| corrupt(path, error.to_string()))?;
    let batch = message.header_as_record_batch();
    let rows = batch.and_then(|batch| u64::try_from(batch.length()).ok());
    rows.ok_or_else(|| corrupt(path, "a block is not a record batch".to_owned()))
}

fn bytes(file: &mut fs_err::File, path: &Path, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.seek(SeekFrom::Start(offset)).map_err(Error::io("read", path))?;
    file.read_exact(&mut bytes).map_err(Error::io("read", path))?;
    Ok(bytes)
}

fn corrupt(path: &Path, why: String) -> Error {
    Error::Corrupt { path: path.to_owned(), format: FORMAT, why }
}

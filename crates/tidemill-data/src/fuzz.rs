//! Entry points for fuzzing the readers of foreign bytes. They must return for any input.

use std::io::Write;

use crate::{CsvOptions, Format, JsonOptions, Profile, Table};

/// Reads `bytes` as delimited text.
pub fn fuzz_csv(bytes: &[u8]) {
    read(bytes, Format::Csv(CsvOptions::default()));
}

/// Reads `bytes` as JSON lines.
pub fn fuzz_json_lines(bytes: &[u8]) {
    read(bytes, Format::JsonLines(JsonOptions::default()));
}

/// Reads `bytes` as a Parquet file.
pub fn fuzz_parquet(bytes: &[u8]) {
    read(bytes, Format::Parquet);
}

/// Reads `bytes` as an Arrow IPC file.
pub fn fuzz_arrow(bytes: &[u8]) {
    read(bytes, Format::Arrow);
}

/// Reads `bytes` as a stored profile: as a whole, and as a body whose checksum is right. What is read is described, merged
/// with itself and written again.
pub fn fuzz_profile(bytes: &[u8]) {
    let found = [Profile::from_bytes(bytes).ok(), crate::profile::read_body(bytes).ok()];
    for profile in found.into_iter().flatten() {
        let stats = profile.stats();
        drop(stats);
        let again = Profile::from_bytes(&profile.to_bytes());
        drop(again);
    }
}

/// Through a file, as users do; what is read is thrown away.
fn read(bytes: &[u8], format: Format) {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    if file.write_all(bytes).is_err() {
        return;
    }
    if let Ok(table) = Table::open(&[file.path().to_owned()], Some(format))
        && let Ok(batches) = table.batches(None)
    {
        for batch in batches {
            if batch.is_err() {
                return;
            }
        }
    }
}

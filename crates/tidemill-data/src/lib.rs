//! Tables: read, describe, check, compare, and run SQL over them.
//!
//! Everything works on Arrow record batches in bounded memory and returns values. The crate knows nothing of
//! projects, stores or runs, writes only the Parquet files it is asked for, and leaves no task behind.

mod column;
mod error;
mod format;
mod hash;
mod plain;
mod read;
mod records;
mod table;
mod value;
mod write;

pub mod diff;
pub mod drift;
pub mod expect;
pub mod fuzz;
pub mod infer;
pub mod profile;
pub mod report;
#[cfg(feature = "sql")]
pub mod sql;

pub use column::{ColumnType, SchemaDiff, SchemaField, compare_schemas};
pub use diff::{TableDiff, diff, diff_profiles, diff_rows};
pub use error::Error;
pub use expect::{CheckResult, evaluate};
pub use format::{CsvOptions, Format, JsonOptions};
pub use infer::{Proposal, propose, suggest};
pub use profile::{Profile, ProfileOptions};
pub use table::{BATCH_ROWS, Batches, Table};
pub use value::{Row, Value};
pub use write::{Written, write_parquet_deterministic, write_parquet_often_read};

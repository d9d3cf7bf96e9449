//! The inference log: what was asked of models and what they answered, kept without slowing anybody down.
//!
//! ```text
//! Recorder::record ──▶ bounded queue ──▶ writer thread ──▶ segments ──▶ Parquet parts in the store, listed in
//!                      (full: counted,   (redacts, encodes, (append-only,  the database ([`Roller`])
//!                       never waits)      syncs in groups)   checksummed)
//! ```
//!
//! [`InferenceLog`] is the recorder. [`Roller`] turns segments that are full or old into Parquet, each exactly
//! once. [`Reader`] reads parts and segments as one table. [`outcome`] joins what became known later.

pub mod answers;
mod batch;
mod bytes;
mod codec;
mod columns;
mod declare;
mod error;
mod event_time;
mod laid_out;
mod log;
mod merge;
mod metrics;
pub mod outcome;
mod output;
mod plan;
mod query;
mod queue;
mod read;
mod redact;
mod roll;
mod segment;
mod settings;
mod stored;
mod unify;
mod whereabouts;
mod writer;

pub use declare::RecordsSpec;
pub use error::LogError;
pub use event_time::{EVENT_TIME_COLUMN, EventTimes};
pub use laid_out::{LaidOut, lay_out};
pub use log::{Counts, InferenceLog};
pub use metrics::RecordsPage;
pub use output::{write_json_lines, write_parquet};
pub use query::Query;
pub use read::{Found, Reader};
pub use redact::{Redact, RedactKey, Redactor};
pub use roll::{Rolled, Roller, Swept};
pub use settings::{EndpointRules, LogSettings, Roll, Rules};

#[cfg(test)]
mod tests;

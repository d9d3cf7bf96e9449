//! Metadata of Tidemill on SQLite (the default) or PostgreSQL (by URL), and the append-only event log.
//!
//! This is the only crate that contains SQL. It exposes functions over domain types, not tables, and knows
//! nothing of projects, plans or stored bytes: where it holds a digest or JSON text, its meaning is the caller's.
//!
//! * [`Db`] reads; [`Db::begin`] gives the one writer, [`Tx`]. **No event, no state change**: [`Tx::commit`] takes
//!   the events and refuses a change without one. [`Ingest`] groups many small concurrent writes into one commit.
//! * The log is an RFC 6962 Merkle tree over the canonical JSON of its events: [`Db::log_head`],
//!   [`Db::verify_log`], [`Db::inclusion_proof`], [`Db::consistency_proof`].
//! * Every acknowledged write survives a killed process and power failure (`synchronous=FULL`).
//!
//! One SQL text serves both databases. What differs is in `dialect.rs` and the two folders under `migrations/`.

pub mod access;
pub mod artifacts;
mod backend;
mod cache;
mod causes;
mod counts;
mod datasets;
mod db;
pub mod delivery;
mod dialect;
mod direct;
pub mod endpoints;
mod error;
pub mod evaluation;
mod events;
mod growth;
mod ingest;
pub mod jobs;
mod listing;
mod log;
pub mod logged_models;
mod migrate;
pub mod models;
pub mod monitoring;
mod open;
pub mod outcomes;
mod owner;
mod profiles;
mod pulse;
pub mod records;
mod retention;
mod runs;
pub mod search;
pub mod sources;
mod template;
pub mod traces;
pub mod tracking;
mod tx;
pub mod webhooks;
mod writer;

pub use cache::StepResult;
pub use counts::Listed;
pub use datasets::{Dataset, DatasetVersion, NewDatasetVersion, PutVersion};
pub use db::{Db, Options};
pub use error::Error;
pub use events::{EventFilter, Order};
pub use ingest::{Ingest, IngestLoad};
pub use log::{BadEntry, ConsistencyProof, Fault, Hash, InclusionProof, LogHead, LogVerdict, ProofError};
pub use open::without_password;
pub use owner::Owner;
pub use retention::{Keep, Pruned};
pub use runs::{NewRun, RunRecord, StepRun};
pub use tx::Tx;

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

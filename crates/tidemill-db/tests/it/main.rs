//! The behaviours of the database, each on SQLite and on PostgreSQL, through the public API.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

mod access;
mod artifacts;
mod causes;
mod crash;
mod curves;
mod datasets;
mod delivery;
mod endpoints;
mod evaluation;
mod experiments;
mod fixture;
mod history;
mod ingest;
mod jobs;
mod listing;
mod log;
mod logged_models;
mod models;
mod open;
mod outcome_tables;
mod profiles;
mod records;
mod removal;
mod runs;
mod schema;
mod search_experiments;
mod search_runs;
mod tamper;
mod trace_search;
mod traces;
mod tracking;
mod webhooks;

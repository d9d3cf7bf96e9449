//! The public API on real and generated tables, checked against independent programs.

mod diff;
mod expect;
mod fuzz;
mod infer;
mod python;
mod read;
#[cfg(feature = "sql")]
mod remote;
#[cfg(feature = "sql")]
mod sql;
mod summary;

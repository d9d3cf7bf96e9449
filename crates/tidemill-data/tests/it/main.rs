//! The public API on real and generated tables, checked against independent programs.

mod python;
mod sql;

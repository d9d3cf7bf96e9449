//! The trainer's public API against independent implementations.

mod metric;
mod python;
mod split;

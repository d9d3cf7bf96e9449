//! The trainer's public API against independent implementations.

mod fit;
mod linear;
mod metric;
mod python;
mod split;

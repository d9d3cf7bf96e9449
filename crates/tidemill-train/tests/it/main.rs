//! The trainer's public API against independent implementations.

mod fit;
mod flights;
mod gbdt;
mod linear;
mod metric;
mod onnx;
mod python;
mod split;

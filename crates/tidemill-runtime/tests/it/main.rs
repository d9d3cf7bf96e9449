//! Models of other people's libraries answer here as they do in ONNX Runtime.

mod files;
mod runtimes;
mod suite;

//! The protocols over a fake model server: unit cases in Rust, and the real clients as Python scripts.

mod fake;
mod grpc;
mod http;
mod mutate;
mod python;
mod scoring;

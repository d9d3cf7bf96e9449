//! Answers requests for predictions: protocols in front, models behind, and a record of what was answered.
//!
//! The way of a request: a protocol (`oip`, `scoring`) decodes it into a [`Request`]; an [`Inference`] answers
//! it, in a server the `gateway`, which routes to an arm of an endpoint, batches and runs the model; the answer
//! is recorded (`record`) and encoded again.

mod element;
pub mod gateway;
pub mod inference;
pub mod inference_record;
pub mod oip;
pub mod predict;
mod priority;
pub mod python;
pub mod record;
pub mod scoring;

pub use gateway::Gateway;
pub use inference::{
    IndexEntry, InferError, Inference, ModelMetadata, ModelState, NULLABLE_PROPERTY, Named, Request, Response,
};
pub use inference_record::{EVENT_TIME_HEADER, Failure, Record, Recorder, Status};

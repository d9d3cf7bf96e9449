//! Batch scoring: a table in, the model's answers out, in the order of the rows, on all cores and in bounded memory.
//!
//! Row groups of Parquet are decoded side by side; of other formats one thread at a time reads. Each batch of rows goes
//! through the model on the thread that read it, and the results are written in order. What waits for its turn is
//! bounded in bytes.

mod bind;
mod error;
mod input;
mod order;
mod output;
mod result;
mod run;

pub use error::PredictError;
pub use run::{Keep, Predict, Summary, predict};

#[cfg(test)]
mod tests;

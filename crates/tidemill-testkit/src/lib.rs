//! What the tests of several crates need from the machine: a PostgreSQL server, message brokers, an object store and a
//! Python interpreter; and inputs that are almost right.
//!
//! For `[dev-dependencies]` only. It never skips: where something is missing, it fails with one line that says
//! what to install.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::zombie_processes,
    reason = "support of tests fails loudly, and its watchdog outlives it on purpose"
)]

mod broker;
mod made;
mod objects;
mod postgres;
mod python;
mod random;

pub use broker::{Broker, BrokerKind};
pub use made::made_once;
pub use objects::object_store;
pub use postgres::{AnyDatabase, Database, Postgres};
pub use python::{mlflow_python, python, python_answer, triton_python};
pub use random::Random;

//! The server as its clients see it: the real binary, the real MLflow client, and kill -9 at any moment.

mod alone;
mod approvals;
mod client;
mod contests;
mod continuous;
mod contract;
mod crash;
mod import;
mod ledger;
mod listened;
mod load;
mod messages;
mod mlflow;
mod model_tests;
mod monitoring;
mod own_pages;
mod pages;
mod process;
mod registered;
mod rollouts;
mod serving;
mod soak;
mod tested;
mod tracked;
mod triggers;
mod why;

//! The server as its clients see it: the real binary, the real MLflow client, and kill -9 at any moment.

mod client;
mod contract;
mod crash;
mod import;
mod load;
mod mlflow;
mod own_pages;
mod pages;
mod process;
mod serving;
mod tracked;

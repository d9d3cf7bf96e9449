//! What the cases about servers share: the servers, their load, and what they use while they are under it.

mod crowd;
mod grpc;
mod http;
mod load;
mod pace;
mod process;
mod tree;

pub(crate) use grpc::Grpc;
pub(crate) use http::{Client, request};
pub(crate) use load::{Bulk, Connection, Taken, Window, own_cpu};
pub(crate) use pace::Pace;
pub(crate) use process::{Backend, Databases, Listens, OURS, PEER, Server, free_port};
pub(crate) use tree::Tree;

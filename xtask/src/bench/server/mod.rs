//! What the cases about the server share: the two servers, their load, and what they use while they are under it.

mod http;
mod load;
mod process;
mod tree;

pub(crate) use http::{Client, request};
pub(crate) use load::{Bulk, Taken, Window};
pub(crate) use process::{Backend, Databases, PEER, Server};
pub(crate) use tree::Tree;

//! API tests of the store, one binary.

mod bad_input;
mod checkout;
mod concurrent;
mod crash;
mod gc;
mod remote;
mod s3;
mod store;
mod support;
mod support_child;
mod verify;

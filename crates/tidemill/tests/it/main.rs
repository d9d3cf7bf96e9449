//! The real binary from outside: what users type, what they see, what is left behind.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where its helpers fail")]

mod bad_input;
mod crash;
mod data;
mod fixture;
mod flights;
mod hostile;
mod init;
mod log;
mod pipeline;
mod project_file;

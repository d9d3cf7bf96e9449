//! The real binary from outside: what users type, what they see, what is left behind.

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

//! The artifact routes.

mod lab;
mod multipart;
mod proxy;
mod run;
mod stream;

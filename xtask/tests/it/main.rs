//! Tests of this repository as it is: the rules of `cargo xtask tidy` and the fuzz entry points.

mod tidy;

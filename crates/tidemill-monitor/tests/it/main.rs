//! The crate from outside: windows judged one after another, and figures beside those of scikit-learn.

mod judge;
mod numbers;

//! Sequential tests that may be looked at after every batch: pure mathematics, no words of delivery.
//!
//! Each test accumulates evidence against one hypothesis as the logarithm of an e-process: a quantity whose chance of ever reaching
//! `ln(1/α)` is at most `α` where the hypothesis is true (Ville 1939). So looking often costs nothing, and a test may be stopped or
//! gone on with at any time.

mod betting;
mod counts;
mod half_normal;
mod ratio;
mod special;

pub use betting::Betting;
pub use counts::{Counts, Law, Way};
pub use half_normal::{ln_half_normal, lower_bound};
pub use ratio::SampleRatio;
pub use special::{ln_normal_cdf, ln_sum_exp};

//! Tests that may be looked at after every request: the judge of rollouts.
//!
//! A fixed test that is peeked at becomes a false alarm sooner or later. The figures here hold at all times at once: each
//! is the logarithm of an e-process, a quantity whose chance of ever reaching ln(1/α) is at most α where the hypothesis
//! is true (J. Ville 1939). So looking often costs nothing, and a test may be stopped or gone on with at any time.
//!
//! What a verdict is made of is computed with `libm` and stored to the last bit ([`crate::exact`]), so that a verdict
//! that is computed again elsewhere is the same.

mod betting;
mod counts;
mod guardrail;
mod half_normal;
mod mixture;
mod ratio;
mod shares;
mod tally;
mod two_by_two;

pub use betting::Betting;
pub use counts::{Counts, Law, Way};
pub use guardrail::{Decision, Guardrail, Plan, Reading};
pub use half_normal::{ln_evidence, radius};
pub use mixture::ln_sum_exp;
pub use ratio::SampleRatio;
pub use shares::{REFUSE, ShareCheck, sample_ratio};
pub use tally::Tally;
pub use two_by_two::TwoByTwo;

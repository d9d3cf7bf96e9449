//! Parameter search: which parameters are tried, and how they override the declared ones. Fitting and judging the
//! trials is the work of `crate::fit`.

mod candidates;
mod parameters;

pub use candidates::{Candidate, candidates};
pub use parameters::Parameters;

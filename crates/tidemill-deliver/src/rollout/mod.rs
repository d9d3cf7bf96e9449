//! Rollouts: how a release gets traffic, stage by stage, and goes back when it does harm.
//!
//! `pending → preflight → shadow → canary → certified → settling → complete`, with gates in between; from everywhere back to the incumbent.
//! A rollout's state is a fold over its inputs, so a log of inputs is all that has to survive; what it wants done is in the state until it
//! is said to be done, so a crash between any two steps loses nothing and does nothing twice that matters.

mod agreement;
mod contend;
mod contest;
mod decide;
mod demand;
mod freeze;
mod guards;
mod held;
mod plan;
mod policy;
mod route;
mod state;
#[cfg(test)]
mod tests;
mod window;

pub use agreement::{Agreement, decided};
pub use contest::{Candidate, Contender, Contest, Contestant, Fate, MOST_CANDIDATES};
pub use decide::{Denied, Outcome, decide, is_of_decisions, permit, replay, start, words};
pub use demand::{Ask, Demand};
pub use freeze::Freeze;
pub use guards::Guards;
pub use plan::{Admission, Concurrency, Decides, Plan, PlanError, Stage, Until};
pub use policy::{Asked, Policy};
pub use route::{Route, RouteKey};
pub(crate) use state::Progress;
pub use state::{
    Due, Effect, Ending, Hold, Input, LookAt, Matured, Phase, Ripened, State, Traffic, Transition, Waiting,
};

//! Delivery: what people and programs may do with releases and rollouts, and the loop that takes rollouts on.
//!
//! The functions of `command` are the one way in, for the command line as for HTTP: they look at rights and approvals, change state
//! and append events in one transaction. What a rollout does next is decided by `tidemill-deliver`; `driver` brings it about.

mod before;
mod candidates;
mod command;
mod driver;
mod fence;
mod headroom;
mod known;
mod ledger;
mod mature;
mod observe;
mod power;
mod preflight;
mod quarantine;
mod recent;
mod sliced;
mod slow;
mod step;
mod tested;
mod traffic;
mod turns;

pub use candidates::Version;
pub use command::{
    Action, NewFreeze, Placed, Wanted, act, endpoint_name, freeze, lift_freeze, release, release_after,
    standing,
};
pub use driver::Driver;
pub(crate) use driver::run;
pub(crate) use known::Known;
pub(crate) use ledger::run as keep_ledger;
pub use ledger::{Ledger, LedgerPlace, Written, record_in_words, recorded};
pub use quarantine::{Lift, Lifted, lift_quarantine, quarantines, word_ends};
pub use recent::{Asked, Recent, recent};
pub use step::{plan_of, state_of};
pub use tested::{MODEL_TESTS, Required};
pub(crate) use traffic::arm_name;

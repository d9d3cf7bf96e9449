//! Delivery of models: releases, gates, approvals, rollouts and the judge that decides between them.
//!
//! Every decision is a pure function of state, observations and time. This crate has no IO, no clock and no SQL: the server drives it,
//! the database keeps what it decided.

pub mod approval;
pub mod envelope;
pub mod filter;
pub mod judge;
pub mod outcome;
pub mod record;
pub mod release;
pub mod rollout;
pub mod simulate;

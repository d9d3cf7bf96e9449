//! A whole server on a loopback port, as clients see it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail where their helpers fail"
)]

mod access;
mod alerts;
mod api;
mod artifacts;
mod client;
mod datasets;
mod freezes;
mod models;
mod monitoring;
mod pages;
mod restated;
mod rollouts;
mod routes;
mod serving;
mod shell;
mod step_logs;
mod talk;
mod traces;
mod tracking;
mod ui;
mod ui_contest;
mod ui_delivery;
mod ui_difference;
mod ui_hostile;
mod ui_lists;
mod ui_projects;
mod webhooks;

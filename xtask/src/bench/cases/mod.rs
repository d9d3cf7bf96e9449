//! The tasks that are measured, one module each. The bars are those of the project's plan.

use anyhow::Result;

use crate::bench::peers::Environment::{self, Mlflow, Rules, Servers, Tables, Tools};
use crate::bench::report::Row;
use crate::bench::server::Backend::{Postgres, Sqlite};
use crate::bench::session::Session;

mod add_big;
mod add_small;
mod boosting;
mod deliver;
mod drift_level;
mod features;
mod judge;
mod memory;
mod remote;
mod serve;
mod server;
mod steps;
mod tables;

/// One task.
pub(super) struct Case {
    /// The name on the command line.
    pub(super) name: &'static str,
    /// Where its peers are.
    pub(super) peers: Environment,
    /// Measures it.
    pub(super) measure: fn(&Session) -> Result<Vec<Row>>,
}

const fn case(name: &'static str, peers: Environment, measure: fn(&Session) -> Result<Vec<Row>>) -> Case {
    Case { name, peers, measure }
}

/// All tasks, in the order in which a session measures them.
pub(super) const CASES: [Case; 39] = [
    case("add-big", Tools, add_big::measure),
    case("add-small", Tools, add_small::measure),
    case("steps", Tools, steps::measure),
    case("remote", Tools, remote::measure),
    case("features", Tools, features::measure),
    case("boosting", Tools, boosting::measure),
    case("memory", Tools, memory::measure),
    case("profile", Tables, tables::profile),
    case("profile-merge", Rules, tables::merge),
    case("expectations", Tables, tables::expectations),
    case("drift", Tables, tables::drift),
    case("drift-profiles", Tables, tables::drift_of_profiles),
    case("drift-level", Tables, drift_level::measure),
    case("judge", Rules, judge::measure),
    case("deliver-rollback", Rules, deliver::rollback::measure),
    case("deliver-rollouts", Rules, deliver::rollouts::measure),
    case("deliver-triggers", Rules, deliver::triggers::measure),
    case("deliver-demo", Rules, deliver::demo::measure),
    case("server-start", Mlflow, |session| server::start::measure(session, Sqlite)),
    case("server-metrics", Mlflow, |session| server::metrics::measure(session, Sqlite)),
    case("server-batch", Mlflow, |session| server::batch::measure(session, Sqlite)),
    case("server-runs", Mlflow, |session| server::runs::measure(session, Sqlite)),
    case("server-search", Mlflow, |session| server::search::measure(session, Sqlite)),
    case("server-history", Mlflow, |session| server::history::measure(session, Sqlite)),
    case("server-artifacts", Mlflow, |session| server::artifacts::measure(session, Sqlite)),
    case("server-pages", Mlflow, |session| server::pages::measure(session, Sqlite)),
    case("serve-latency", Servers, serve::latency::measure),
    case("serve-evaluator", Servers, serve::evaluator::measure),
    case("serve-shadow", Servers, serve::shadow::measure),
    case("serve-records", Servers, serve::records::measure),
    case("serve-change", Servers, serve::change::measure),
    case("serve-predict", Servers, serve::predict::measure),
    case("serve-start", Servers, serve::start::measure),
    case("postgres-start", Mlflow, |session| server::start::measure(session, Postgres)),
    case("postgres-metrics", Mlflow, |session| server::metrics::measure(session, Postgres)),
    case("postgres-batch", Mlflow, |session| server::batch::measure(session, Postgres)),
    case("postgres-runs", Mlflow, |session| server::runs::measure(session, Postgres)),
    case("postgres-search", Mlflow, |session| server::search::measure(session, Postgres)),
    case("postgres-history", Mlflow, |session| server::history::measure(session, Postgres)),
];

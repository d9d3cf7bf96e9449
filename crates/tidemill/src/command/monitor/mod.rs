//! `tidemill monitor`: what is watched in production, and how it stands.

mod backtest;
mod export;
mod status;

use clap::Subcommand;
use tidemill_monitor::Declaration;
use tidemill_monitor::window::Window;

use crate::cli::Global;
use crate::failure::Failure;
use crate::home::Home;
use crate::output::Console;

#[derive(Debug, Subcommand)]
pub(crate) enum Monitor {
    /// Show how each monitor stands, with its last window; those that fire first, by the money at risk
    Status(status::Status),
    /// Judge the windows of the past with the monitors of the project file, and say what would have fired
    Backtest(backtest::Backtest),
    /// Print a dashboard of Grafana or rules of Prometheus for the monitors of the project file
    Export(export::Export),
}

pub(crate) fn run(monitor: &Monitor, global: &Global, console: &Console) -> anyhow::Result<()> {
    match monitor {
        Monitor::Status(args) => status::run(args, global, console),
        Monitor::Backtest(args) => backtest::run(args, global, console),
        Monitor::Export(args) => export::run(args, global, console),
    }
}

/// What the project file watches, at this endpoint where one is named.
fn watched(home: &Home, endpoint: Option<&String>) -> Result<Declaration, Failure> {
    let Some(mut declaration) = home.watched.clone() else {
        return Err(Failure::usage("the project file watches nothing, or releases nothing")
            .hint("add the sections `monitors:` and `release:`"));
    };
    if let Some(endpoint) = endpoint {
        declaration.endpoint.clone_from(endpoint);
    }
    Ok(declaration)
}

/// A window in few characters: its day where it is one, else its begin and end.
fn short(window: Window) -> String {
    let (from, to) = (window.from.to_string(), window.to.to_string());
    let day = 86_400_000;
    match (from.strip_suffix("T00:00:00Z"), to.strip_suffix("T00:00:00Z")) {
        (Some(from), _) if window.to.millis() - window.from.millis() == day => from.to_owned(),
        (Some(from), Some(to)) => format!("{from} to {to}"),
        _ => format!("{from} to {to}"),
    }
}

//! `tidemill monitor export`: what Prometheus and Grafana are given to watch the same.

use clap::Args;
use tidemill_monitor::{grafana_dashboard, prometheus_rules};

use super::watched;
use crate::cli::Global;
use crate::home::Home;
use crate::output::Console;

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// For which tool
    what: What,
    /// The endpoint; that of the project's last environment where not given
    endpoint: Option<String>,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// A dashboard, as JSON
    Grafana,
    /// Alerting rules, as YAML
    Prometheus,
}

pub(super) fn run(args: &Export, global: &Global, console: &Console) -> anyhow::Result<()> {
    let declaration = watched(&Home::find(None, global, console)?, args.endpoint.as_ref())?;
    match args.what {
        What::Grafana => console.line(serde_json::to_string_pretty(&grafana_dashboard(&declaration))?),
        What::Prometheus => console.line(prometheus_rules(&declaration).trim_end()),
    }
    Ok(())
}

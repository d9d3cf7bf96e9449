//! `tidemill monitor status`: how each monitor stands.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use serde_json::json;
use tidemill_monitor::State;
use tidemill_monitor::alert::Phase;
use tidemill_server::monitoring::{OfReleases, Standing, over_releases, standing};

use super::short;
use crate::cli::Global;
use crate::home::Opened;
use crate::outcome_tables::{Standing as Read, standing_of_all};
use crate::output::{Align, BAD, CAUTION, Console, FAINT, GOOD, Table, count, number};

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Of this endpoint; of all where not given
    endpoint: Option<String>,
    /// The folder of database and store; `.tidemill` of the project, or of the current folder, where not given
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    home: Option<PathBuf>,
}

pub(super) fn run(args: &Status, global: &Global, console: &Console) -> anyhow::Result<()> {
    let app = Opened::at(args.home.as_deref(), global, console)?;
    let all = app.block(standing(app.registry.db(), args.endpoint.as_deref()))?;
    let releases = app.block(over_releases(app.registry.db(), args.endpoint.as_deref()))?;
    let outcomes = app.block(standing_of_all(app.registry.db(), args.endpoint.as_deref()))?;
    if console.json() {
        let rows: Vec<_> = all.iter().map(|standing| to_json(standing, &releases)).collect();
        let mut said = json!({ "monitors": rows });
        if !outcomes.is_empty() {
            said["outcomes"] = outcomes.iter().map(Read::json).collect();
        }
        return console.value(&said);
    }
    outcomes.iter().for_each(|read| console.line(read.line()));
    if all.is_empty() {
        console.note(
            "nothing is watched; `tidemill release` and `tidemill up` declare what the project file says",
        );
        return Ok(());
    }
    let mut table = Table::new(&[
        ("endpoint", Align::Left),
        ("monitor", Align::Left),
        ("state", Align::Left),
        ("value", Align::Right),
        ("limit", Align::Right),
        ("at risk", Align::Right),
        ("window", Align::Left),
        ("rows", Align::Right),
    ]);
    for standing in &all {
        let last = standing.last.as_ref();
        let figure = |value: Option<f64>| value.map(number).unwrap_or_default();
        table.row([
            standing.endpoint.clone(),
            standing.watch.clone(),
            state(standing, console),
            figure(last.and_then(|last| last.verdict.value)),
            figure(last.and_then(|last| last.verdict.limit)),
            figure(last.and_then(|last| last.verdict.at_risk)),
            last.map(|last| short(last.window)).unwrap_or_default(),
            last.map(|last| count(last.predictions)).unwrap_or_default(),
        ]);
    }
    table.lines(None).into_iter().for_each(|line| console.line(line));
    for standing in all.iter().filter(|standing| !matches!(standing.phase, Phase::Quiet)) {
        if let Some(last) = &standing.last {
            let word = standing.phase.name();
            console.line(format!("{} {word}: {}", console.out(BAD, &standing.watch), last.verdict.why));
        }
    }
    for standing in &all {
        if let Some(ago) = &standing.restated {
            let (watch, endpoint, window) = (&standing.watch, &standing.endpoint, short(ago.window));
            console.line(format!("{watch} of {endpoint} restated {window} at {}: {}", ago.at, ago.why));
        }
    }
    for OfReleases { endpoint, watch, found } in &releases {
        console.line(format!("{watch} of {endpoint} over releases: {}", found.why));
    }
    Ok(())
}

fn state(standing: &Standing, console: &Console) -> String {
    let style = match standing.phase {
        Phase::Firing { .. } => BAD,
        Phase::Pending { .. } => CAUTION,
        Phase::Quiet => match standing.last.as_ref().map(|last| last.verdict.state) {
            Some(State::Ok) => GOOD,
            Some(State::Broken) => CAUTION,
            Some(State::NoData) | None => FAINT,
        },
    };
    let word = match (standing.phase, standing.last.as_ref().map(|last| last.verdict.state)) {
        (Phase::Quiet, None) => "no window yet",
        (Phase::Quiet, Some(State::NoData)) => "no data",
        (phase, _) => phase.name(),
    };
    console.out(style, word)
}

fn to_json(standing: &Standing, releases: &[OfReleases]) -> serde_json::Value {
    let last = standing.last.as_ref();
    let releases = releases.iter().find(|of| of.endpoint == standing.endpoint && of.watch == standing.watch);
    json!({
        "endpoint": standing.endpoint,
        "watch": standing.watch,
        "monitor": standing.monitor,
        "state": standing.phase.name(),
        "since": standing.phase.since().map(|since| since.to_string()),
        "windows": standing.windows,
        "restated": standing.restated.as_ref().map(|ago| json!({
            "from": ago.window.from.to_string(),
            "to": ago.window.to.to_string(),
            "at": ago.at.to_string(),
            "times": ago.times,
            "why": ago.why,
        })),
        "releases": releases.map(|of| &of.found),
        "last": last.map(|last| json!({
            "from": last.window.from.to_string(),
            "to": last.window.to.to_string(),
            "evaluated_at": last.evaluated_at.to_string(),
            "model": last.version.as_ref().map(|(model, _)| model),
            "version": last.version.as_ref().map(|(_, version)| version),
            "predictions": last.predictions,
            "verdict": last.verdict,
        })),
    })
}

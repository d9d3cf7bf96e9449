//! `tidemill monitor backtest`: what would have fired over the records that are there.

use clap::Args;
use serde_json::json;
use tidemill_core::Timestamp;
use tidemill_monitor::State;
use tidemill_monitor::alert::Change;
use tidemill_serve::record::Reader;
use tidemill_server::monitoring::{Fired, backtest};

use super::{short, watched};
use crate::cli::Global;
use crate::failure::Failure;
use crate::home::Opened;
use crate::output::{Align, BAD, Console, GOOD, Table, count, number, plural};

#[derive(Debug, Args)]
pub(crate) struct Backtest {
    /// The endpoint; that of the project's last environment where not given
    endpoint: Option<String>,
    /// Only requests that came at or after this time: RFC 3339, a day, or how long ago, as in `2h`
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only requests that came before this time
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Every window, not only those with which something changes
    #[arg(long)]
    all: bool,
}

pub(super) fn run(args: &Backtest, global: &Global, console: &Console) -> anyhow::Result<()> {
    let app = Opened::at(None, global, console)?;
    let declaration = watched(&app.home, args.endpoint.as_ref())?;
    let now = app.registry.clock().now();
    let time = |text: &Option<String>| -> Result<Option<Timestamp>, Failure> {
        text.as_deref().map(|text| crate::command::records::moment(text, now)).transpose()
    };
    let between = (time(&args.from)?, time(&args.to)?);
    let reader = Reader::of_home(app.registry.db().clone(), app.registry.store().clone(), &app.home.dir);
    let scratch = app.home.dir.join("tmp");
    let found = app.block(backtest(&app.registry, &reader, scratch, &declaration, between))?;
    let fired = found.windows.iter().filter(|window| window.change == Some(Change::Firing)).count() as u64;
    if console.json() {
        let windows: Vec<_> = found.windows.iter().map(to_json).collect();
        return console.value(&json!({"endpoint": declaration.endpoint, "fired": fired, "windows": windows}));
    }
    if found.windows.is_empty() {
        console.note(format!("no window of `{}` is over", declaration.endpoint));
        return Ok(());
    }
    let mut table = Table::new(&[
        ("monitor", Align::Left),
        ("window", Align::Left),
        ("rows", Align::Right),
        ("value", Align::Right),
        ("alert", Align::Left),
        ("why", Align::Left),
    ]);
    for window in found.windows.iter().filter(|window| args.all || window.change.is_some()) {
        let change = match (window.change, window.verdict.state) {
            (Some(Change::Firing), _) => console.out(BAD, "firing"),
            (Some(Change::Resolved), _) => console.out(GOOD, "resolved"),
            (Some(change), _) => change.name().to_owned(),
            (None, State::NoData) => "no data".to_owned(),
            (None, _) => String::new(),
        };
        table.row([
            window.watch.clone(),
            short(window.window),
            count(window.predictions),
            window.verdict.value.map(number).unwrap_or_default(),
            change,
            window.verdict.why.clone(),
        ]);
    }
    if !table.is_empty() {
        table.lines(None).into_iter().for_each(|line| console.line(line));
    }
    let judged = plural(found.windows.len() as u64, "window");
    console.line(format!("{} in {judged}", plural(fired, "alert")));
    Ok(())
}

fn to_json(window: &Fired) -> serde_json::Value {
    json!({
        "watch": window.watch,
        "from": window.window.from.to_string(),
        "to": window.window.to.to_string(),
        "predictions": window.predictions,
        "alert": window.change.map(Change::name),
        "verdict": window.verdict,
    })
}

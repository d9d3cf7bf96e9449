//! `tidemill freeze`: for some time no release gets more requests.

use clap::Args;
use serde_json::json;
use tidemill_core::Timestamp;
use tidemill_server::delivery::{NewFreeze, freeze, lift_freeze};

use crate::app::App;
use crate::failure::Failure;
use crate::output::{Align, Table};

/// Stops every rollout from raising traffic, from now on or from a time to come, until a time or until the freeze is lifted. Going
/// back to the release before is never stopped. Without a reason, the freezes that there are are listed.
#[derive(Debug, Args)]
pub(crate) struct Freeze {
    /// Begin a freeze, for this reason
    #[arg(long, short, value_name = "TEXT")]
    reason: Option<String>,
    /// Only for this endpoint
    #[arg(long, value_name = "NAME", requires = "reason")]
    endpoint: Option<String>,
    /// From this time on, as in `2026-12-24T18:00:00Z`, instead of from now on
    #[arg(long, value_name = "TIME", requires = "reason")]
    from: Option<String>,
    /// Until this time, as in `2026-12-24T18:00:00Z`
    #[arg(long, value_name = "TIME", requires = "reason")]
    until: Option<String>,
    /// Lift the freeze of this number
    #[arg(long, value_name = "NUMBER", conflicts_with = "reason")]
    lift: Option<u64>,
}

pub(crate) fn run(args: &Freeze, app: &App<'_>) -> anyhow::Result<()> {
    let (db, console) = (app.db()?, app.console);
    if let Some(id) = args.lift {
        app.block(lift_freeze(db, app.clock.as_ref(), &app.actor, id))?;
        if console.json() {
            return console.value(&json!({"freeze": id, "lifted": true}));
        }
        console.line(format!("freeze {id} is lifted"));
        return Ok(());
    }
    let Some(reason) = &args.reason else { return list(app) };
    let (from, until) = (time(args.from.as_deref())?, time(args.until.as_deref())?);
    let new = NewFreeze { endpoint: args.endpoint.clone(), reason: reason.clone(), from, until };
    let id = app.block(freeze(db, app.clock.as_ref(), &app.actor, &new))?;
    if console.json() {
        return console.value(&json!({"freeze": id}));
    }
    let holds = from.map_or("holds".to_owned(), |from| format!("is planned from {from} on"));
    console.line(format!("freeze {id} {holds}: no release gets more requests"));
    console.hint(&format!("`tidemill freeze --lift {id}` ends it"));
    Ok(())
}

fn time(text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    let read = |text: &str| {
        Timestamp::parse(text).ok_or_else(|| {
            Failure::usage(format!("`{text}` is not a time")).hint("write it as in `2026-12-24T18:00:00Z`")
        })
    };
    text.map(read).transpose()
}

fn list(app: &App<'_>) -> anyhow::Result<()> {
    let (freezes, now) = (app.block(app.db()?.freezes())?, app.clock.now());
    let holding = freezes.into_iter().filter(|freeze| freeze.until.is_none_or(|until| now < until));
    let holding: Vec<_> = holding.collect();
    if app.console.json() {
        let rows: Vec<_> = holding
            .iter()
            .map(|freeze| {
                json!({
                    "freeze": freeze.id, "endpoint": freeze.endpoint, "reason": freeze.reason, "owner": freeze.owner,
                    "from": freeze.from.to_string(), "until": freeze.until.map(|until| until.to_string()),
                })
            })
            .collect();
        return app.console.value(&rows);
    }
    if holding.is_empty() {
        app.console.note("nothing is frozen");
        return Ok(());
    }
    let mut table = Table::new(&[
        ("freeze", Align::Right),
        ("endpoint", Align::Left),
        ("reason", Align::Left),
        ("owner", Align::Left),
        ("from", Align::Left),
        ("until", Align::Left),
    ]);
    for freeze in holding {
        table.row([
            freeze.id.to_string(),
            freeze.endpoint.unwrap_or_else(|| "all".to_owned()),
            freeze.reason,
            freeze.owner,
            if freeze.from > now { format!("{}, to come", freeze.from) } else { freeze.from.to_string() },
            freeze.until.map_or("lifted".to_owned(), |until| until.to_string()),
        ]);
    }
    app.console.table(&table);
    Ok(())
}

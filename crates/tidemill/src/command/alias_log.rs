//! `tidemill log alias`: where an alias of a registered model pointed over time, or at one moment. Read from the log, so it
//! also answers for models that are gone.

use serde_json::json;
use tidemill_core::Timestamp;
use tidemill_db::models::AliasMove;

use crate::app::App;
use crate::failure::Failure;
use crate::output::{Align, FAINT, Table};

/// A moment as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Time(Timestamp),
    Entry(u64),
}

pub(crate) fn run(model: &str, alias: &str, at: Option<&str>, app: &App<'_>) -> anyhow::Result<()> {
    match at {
        None => history(model, alias, app),
        Some(text) => moment(model, alias, text, app),
    }
}

fn history(model: &str, alias: &str, app: &App<'_>) -> anyhow::Result<()> {
    let mut moves = app.block(app.db()?.alias_history(model, alias))?;
    // As in the rest of the log, the newest is what people look for.
    moves.reverse();
    let console = app.console;
    if console.json() {
        let moves: Vec<_> = moves
            .iter()
            .map(|one| {
                json!({
                    "seq": one.seq, "at": one.at.to_string(), "actor": one.actor, "model": one.model,
                    "from": one.from, "to": one.to,
                })
            })
            .collect();
        return console.value(&moves);
    }
    if moves.is_empty() {
        console.note(format!("the log knows no alias `{alias}` of a model `{model}`"));
        return Ok(());
    }
    let mut table = Table::new(&[
        ("seq", Align::Right),
        ("time", Align::Left),
        ("who", Align::Left),
        ("from", Align::Left),
        ("to", Align::Left),
    ]);
    for AliasMove { seq, at, actor, model, from, to } in moves {
        let version =
            |number: Option<u64>| number.map_or("-".to_owned(), |number| format!("{model}@{number}"));
        table.row([seq.to_string(), console.out(FAINT, at), actor.name, version(from), version(to)]);
    }
    console.table(&table);
    Ok(())
}

fn moment(model: &str, alias: &str, text: &str, app: &App<'_>) -> anyhow::Result<()> {
    let moment = read(text).ok_or_else(|| {
        Failure::usage(format!("`{text}` is neither a time nor an entry of the log")).hint(
            "give a time as in `2026-11-26T04:30:00Z`, a day as in `2026-11-26`, or the number of an entry",
        )
    })?;
    let db = app.db()?;
    let version = match moment {
        Moment::Time(at) => app.block(db.alias_at_time(model, alias, at))?,
        Moment::Entry(seq) => app.block(db.alias_at_seq(model, alias, seq))?,
    };
    let console = app.console;
    if console.json() {
        return console.value(&json!({"model": model, "alias": alias, "at": text, "version": version}));
    }
    match version {
        Some(number) => console.line(format!("{model}@{number}")),
        None => console.note(format!("`{alias}` of `{model}` pointed at no version then")),
    }
    Ok(())
}

/// A time, a day (its beginning, UTC), or the number of an entry.
fn read(text: &str) -> Option<Moment> {
    if let Ok(seq) = text.parse() {
        return Some(Moment::Entry(seq));
    }
    Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z"))).map(Moment::Time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        let at = |millis| Some(Moment::Time(Timestamp::from_millis(millis)));
        for (text, moment) in [
            ("17", Some(Moment::Entry(17))),
            ("1970-01-01T00:00:01Z", at(1000)),
            ("1970-01-01T01:00:01+01:00", at(1000)),
            ("1970-01-02", at(86_400_000)),
            ("yesterday", None),
            ("", None),
            ("-3", None),
        ] {
            assert_eq!(read(text), moment, "{text}");
        }
    }
}

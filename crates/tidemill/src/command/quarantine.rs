//! `tidemill quarantine`: releases that did harm, and how two people let one of them run again.

use clap::{Args, Subcommand};
use serde_json::json;
use tidemill_core::Digest;
use tidemill_db::delivery::{Quarantine as Entry, QuarantineWord, Release};
use tidemill_server::delivery::{Lift as Wanted, lift_quarantine, quarantines, word_ends};

use super::signed_in::{SignIn, adopt};
use crate::app::App;
use crate::failure::Failure;
use crate::output::{Align, Table};

#[derive(Debug, Subcommand)]
pub(crate) enum Quarantine {
    /// List releases that must not run in an environment, and why
    List,
    /// Say that a release may run in an environment again; it may once another person has said so, too
    Lift(Lift),
}

#[derive(Debug, Args)]
pub(crate) struct Lift {
    /// The release: MODEL@VERSION, or the beginning of its digest
    #[arg(value_name = "MODEL@V|DIGEST")]
    release: String,
    /// The environment
    #[arg(long, short, value_name = "NAME")]
    environment: String,
    /// Why; stands in the log
    #[arg(long, short, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    who: SignIn,
}

pub(crate) fn run(command: &Quarantine, mut app: App<'_>) -> anyhow::Result<()> {
    match command {
        Quarantine::List => list(&app),
        Quarantine::Lift(args) => {
            adopt(&mut app, &args.who)?;
            lift(args, &app)
        }
    }
}

/// Quarantines with the releases that they are of, and the words for their end that count now.
fn known(app: &App<'_>) -> anyhow::Result<Vec<(Entry, Option<Release>, Vec<QuarantineWord>)>> {
    let db = app.db()?;
    let standing = app.block(quarantines(db, app.clock.now()))?;
    let digests: Vec<Digest> = standing.iter().map(|(entry, _)| entry.release).collect();
    let mut releases = Vec::new();
    for some in digests.chunks(500) {
        releases.extend(app.block(db.releases_of(some))?);
    }
    let with_releases = standing.into_iter().map(|(entry, words)| {
        let release = releases.iter().find(|release| release.digest == entry.release).cloned();
        (entry, release, words)
    });
    Ok(with_releases.collect())
}

fn name(release: Option<&Release>) -> String {
    release.map_or_else(String::new, |release| format!("{}@{}", release.model, release.version))
}

fn list(app: &App<'_>) -> anyhow::Result<()> {
    let known = known(app)?;
    if app.console.json() {
        let rows: Vec<_> = known
            .iter()
            .map(|(entry, release, words)| {
                json!({
                    "release": entry.release.to_string(), "model": release.as_ref().map(|release| &release.model),
                    "version": release.as_ref().map(|release| release.version), "environment": entry.environment,
                    "reason": entry.reason, "since": entry.at.to_string(),
                    "words": words.iter().map(|word| json!({
                        "by": word.by, "reason": word.reason, "until": word_ends(word).to_string(),
                    })).collect::<Vec<_>>(),
                })
            })
            .collect();
        return app.console.value(&rows);
    }
    if known.is_empty() {
        app.console.note("no release is in quarantine");
        return Ok(());
    }
    let mut table = Table::new(&[
        ("release", Align::Left),
        ("digest", Align::Left),
        ("environment", Align::Left),
        ("since", Align::Left),
        ("reason", Align::Left),
        ("would lift it", Align::Left),
    ]);
    for (entry, release, words) in known {
        let who: Vec<String> =
            words.iter().map(|word| format!("{}, until {}", word.by, word_ends(word))).collect();
        table.row([
            name(release.as_ref()),
            entry.release.short(),
            entry.environment,
            entry.at.to_string(),
            entry.reason,
            who.join("; "),
        ]);
    }
    app.console.table(&table);
    Ok(())
}

fn lift(args: &Lift, app: &App<'_>) -> anyhow::Result<()> {
    let known = known(app)?;
    let here = known.iter().filter(|(entry, ..)| entry.environment == args.environment);
    let meant: Vec<_> = here
        .filter(|(entry, release, _)| {
            let digest = entry.release.to_string();
            let hex = digest.split_once(':').map_or(digest.as_str(), |(_, hex)| hex);
            name(release.as_ref()) == args.release
                || args.release.len() >= 6
                    && (digest.starts_with(&args.release) || hex.starts_with(&args.release))
        })
        .collect();
    let (entry, release) = match meant.as_slice() {
        [(entry, release, _)] => (entry, release),
        [] => {
            let said = format!("`{}` is not in quarantine in `{}`", args.release, args.environment);
            return Err(Failure::usage(said).hint("`tidemill quarantine list` shows what is").into());
        }
        several => {
            let digests: Vec<String> = several.iter().map(|(entry, ..)| entry.release.short()).collect();
            let said = format!("`{}` is several releases in quarantine", args.release);
            return Err(Failure::usage(said)
                .hint(format!("name one by the beginning of its digest: {}", digests.join(", ")))
                .into());
        }
    };
    let wanted = Wanted {
        release: entry.release,
        environment: entry.environment.clone(),
        reason: args.reason.clone(),
    };
    let lifted = app.block(lift_quarantine(app.db()?, app.clock.as_ref(), &app.actor, &wanted))?;
    let name = name(release.as_ref());
    if app.console.json() {
        return app.console.value(&json!({
            "release": entry.release.to_string(), "environment": entry.environment, "by": lifted.by,
            "lifted": lifted.waits_until.is_none(),
            "waits_until": lifted.waits_until.map(|until| until.to_string()),
        }));
    }
    match lifted.waits_until {
        None => app.console.line(format!(
            "{name} may run in `{}` again: {} said so",
            entry.environment,
            lifted.by.join(" and ")
        )),
        Some(until) => {
            app.console.line(format!("{name} stays in quarantine until another person says so, too"));
            app.console.hint(&format!("the word of {} holds until {until}", lifted.by.join(" and ")));
        }
    }
    Ok(())
}

//! `tidemill outcomes`: what became known of requests, from a dataset or a file to a running server.
//!
//! The rows are read and sent part by part. A part that the server has from before is not stored again, so the command can be stopped and
//! run again, and a dataset can be sent after each new version of it. How outcomes find their requests, and how keys are hidden, is for the
//! server to decide. A server sends itself the datasets that its project declares in the same way (`up/outcomes.rs`).

mod rows;
mod send;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueHint};
use serde_json::json;
use tidemill_core::{Progress, Unit};
use tidemill_data::Table as Rows;

use crate::app::App;
use crate::cli::Global;
use crate::failure::Failure;
use crate::home::Home;
use crate::output::{Bar, Console, count, plural};
use crate::profile::Source;
pub(super) use rows::Mapping;
pub(super) use send::Receiver;
use send::Standing;

#[derive(Debug, Args)]
pub(crate) struct Outcomes {
    /// The endpoint, or the registered model where it is asked directly
    pub(crate) endpoint: String,
    /// The rows: a version of a dataset, as in `labels` or `labels@3`, or a file
    #[arg(long, value_name = "DATASET[@VERSION]|FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) from: String,
    /// What an outcome and its request have in common, and the column of the rows where it has another name: `entity`, `request_id` or `row`.
    /// A column of any other name holds the entity
    #[arg(long, value_name = "[KEY=]COLUMN,…", value_delimiter = ',', required = true)]
    pub(crate) key: Vec<String>,
    /// The column that says when it happened: an outcome about an entity belongs to the last request before. When it is sent, where not
    /// given
    #[arg(long, value_name = "COLUMN")]
    pub(crate) time: Option<String>,
    /// The columns with what became known, each with the outcome's name where that is another one, as in `label=repaid`
    #[arg(long, value_name = "[NAME=]COLUMN,…", value_delimiter = ',', required = true)]
    pub(crate) values: Vec<String>,
    /// Send to the Tidemill server at URL; to the one that runs on this project where not given
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) server: Option<String>,
    /// The secret that the server asks for, in a file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) server_token_file: Option<PathBuf>,
    /// How long to wait at most for the server to join what was sent; `0s` only sends
    #[arg(long, default_value = "1m", value_name = "TIME", value_parser = crate::cli::time)]
    pub(crate) wait: Duration,
}

/// How often it is asked how many were joined, and after how long without a change no more is hoped for: servers look every few seconds.
const ASK: Duration = Duration::from_millis(500);
const STILL: Duration = Duration::from_secs(15);
/// Rows that are named because they hold no outcome.
const NAMED: usize = 5;

/// What was sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) rows: u64,
    /// Rows without a key, and those of which nothing is known yet.
    pub(super) skipped: u64,
    pub(super) accepted: u64,
    pub(super) known: u64,
    pub(super) rejected: u64,
    /// Rows of the table, from 1, and why the server did not take them.
    problems: Vec<(u64, String)>,
}

/// Why not all of a table was sent.
pub(super) enum Unsent {
    /// Its rows are none that a server could take.
    Rows(anyhow::Error),
    /// The server does not take them, or somebody wants to stop.
    Server(Failure),
}

impl From<Unsent> for anyhow::Error {
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::Rows(error) => error,
            Unsent::Server(failure) => failure.into(),
        }
    }
}

pub(crate) fn run(args: &Outcomes, global: &Global, console: &Console) -> anyhow::Result<()> {
    let app = if Source::is_path(&args.from) { None } else { Some(App::open(global, console)?) };
    let cancel = match &app {
        Some(app) => app.cancel.clone(),
        None => crate::app::cancel_on_signals()?,
    };
    // A version that is checked out is there as long as its source.
    let mut source = app.as_ref().map(|app| Source::find(&args.from, app)).transpose()?;
    let table = match (&app, &mut source) {
        (Some(app), Some(source)) => source.open(app)?,
        _ => Rows::open(&[PathBuf::from(&args.from)], None)?,
    };
    let label = source.as_ref().map_or_else(|| args.from.clone(), |source| source.label.clone());
    let columns = rows::columns(&args.key, args.time.as_deref(), &args.values)?;
    let mapping = Mapping::new(&table, &columns)?;
    let server = match &args.server {
        Some(url) => url.clone(),
        None => here(global, console)?,
    };
    let token = args.server_token_file.as_deref().map(|file| super::up::secret::text(file, console));
    let receiver = Receiver::new(&server, &args.endpoint, token.transpose()?, cancel.clone())?;
    let runtime = crate::app::runtime()?;
    let (sent, standing) = runtime.block_on(async {
        let before = receiver.standing(None).await?;
        let newest = before.newest.ok_or_else(|| {
            Failure::new(format!(
                "the server at {server} is older than this command, and would store rows twice"
            ))
            .hint("use a newer server, or send a body with `curl` as before")
        })?;
        let bar = Bar::new(console, &cancel);
        let sent = send(&receiver, &table, &mapping, &bar).await?;
        drop(bar);
        let wait = if sent.accepted > 0 { args.wait } else { Duration::ZERO };
        let standing = settled(&receiver, newest, wait).await?;
        // Those that stand no longer came before as a rule, so they are told by all that there are.
        let corrected = if sent.accepted > 0 { receiver.standing(None).await?.corrected } else { 0 };
        let corrected = corrected.saturating_sub(before.corrected);
        anyhow::Ok((sent, Standing { corrected, ..standing }))
    })?;
    print(args, &label, &sent, &standing, console)
}

/// The address of the server that runs on the project here.
fn here(global: &Global, console: &Console) -> anyhow::Result<String> {
    let home = Home::find(None, global, console)?;
    let running = home.database_file().and_then(super::up::lock::noted);
    running.ok_or_else(|| {
        Failure::usage("no server runs here")
            .hint("start one with `tidemill up`, or name it with `--server URL`")
            .into()
    })
}

/// Sends all rows, part by part.
pub(super) async fn send(
    receiver: &Receiver,
    table: &Rows,
    mapping: &Mapping,
    progress: &dyn Progress,
) -> Result<Sent, Unsent> {
    progress.begin("sending", Some(table.rows()), Unit::Rows);
    let columns = mapping.columns();
    let mut sent = Sent::default();
    for batch in table.batches(Some(&columns)).map_err(|error| Unsent::Rows(error.into()))? {
        let batch = batch.map_err(|error| Unsent::Rows(error.into()))?;
        let rows = batch.num_rows() as u64;
        let lines = mapping.lines(&batch, &columns).map_err(Unsent::Rows)?;
        sent.skipped += rows - lines.rows.len() as u64;
        if !lines.rows.is_empty() {
            let taken = receiver.send(&lines.text).await.map_err(Unsent::Server)?;
            let room = NAMED.saturating_sub(sent.problems.len());
            sent.problems.extend(taken.problems.into_iter().take(room).map(|bad| {
                let row =
                    bad.row.checked_sub(1).and_then(|at| lines.rows.get(at)).copied().unwrap_or_default();
                (sent.rows + row as u64 + 1, bad.why)
            }));
            sent.accepted += taken.accepted;
            sent.known += taken.known;
            sent.rejected += taken.rejected;
        }
        sent.rows += rows;
        // Where the first part is wrong as a whole, so is the rest.
        if sent.rejected > 0 && sent.accepted + sent.known == 0 {
            let first = sent.problems.first().map(|(row, why)| format!("; row {row}: {why}"));
            let rows = count(sent.rows);
            let why = format!("none of the first {rows} rows holds an outcome{}", first.unwrap_or_default());
            let failure = Failure::new(why).hint("`--key`, `--time` and `--values` name the columns");
            return Err(Unsent::Rows(failure.into()));
        }
        progress.advance(rows);
    }
    Ok(sent)
}

/// How the outcomes after `newest` stand when the server has looked at them, or the time is over.
pub(super) async fn settled(receiver: &Receiver, newest: u64, wait: Duration) -> Result<Standing, Failure> {
    let begun = Instant::now();
    let mut standing = receiver.standing(Some(newest)).await?;
    let mut changed = begun;
    while standing.waiting > 0 && begun.elapsed() < wait && changed.elapsed() < STILL {
        receiver.pause(ASK).await?;
        let now = receiver.standing(Some(newest)).await?;
        if now.waiting != standing.waiting {
            changed = Instant::now();
        }
        standing = now;
    }
    Ok(standing)
}

fn print(
    args: &Outcomes,
    label: &str,
    sent: &Sent,
    standing: &Standing,
    console: &Console,
) -> anyhow::Result<()> {
    if console.json() {
        let problems: Vec<_> =
            sent.problems.iter().map(|(row, why)| json!({"row": row, "why": why})).collect();
        return console.value(&json!({
            "endpoint": args.endpoint, "from": label, "rows": sent.rows, "skipped": sent.skipped,
            "accepted": sent.accepted, "known": sent.known, "rejected": sent.rejected, "problems": problems,
            "joined": standing.matched, "late": standing.late, "duplicate": standing.duplicate,
            "corrected": standing.corrected, "unmatched": standing.unmatched, "waiting": standing.waiting,
        }));
    }
    let mut parts = vec![plural(sent.accepted, "new outcome")];
    let more = [
        (sent.known, "known from before"),
        (sent.skipped, "rows say nothing yet"),
        (sent.rejected, "rows rejected"),
    ];
    parts.extend(more.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(n))));
    console.line(format!("{label}: {} to {}: {}", plural(sent.rows, "row"), args.endpoint, parts.join(", ")));
    console.line(format!(
        "joined {}, late {}, duplicate {}, corrected {}, unmatched {}, waiting {}",
        count(standing.matched),
        count(standing.late),
        count(standing.duplicate),
        count(standing.corrected),
        count(standing.unmatched),
        count(standing.waiting)
    ));
    for (row, why) in &sent.problems {
        console.warn(format!("row {row}: {why}"));
    }
    if standing.waiting > 0 {
        console
            .note("what waits is joined when its request is found; `tidemill records` shows how it stands");
    }
    Ok(())
}

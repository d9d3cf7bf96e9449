//! `tidemill demo`: the whole loop on a year of real flights.
//!
//! Pipeline, registry, gateway, inference log, outcomes, monitors, triggers, rollouts and judge are the product's own; the demo is the
//! world around them. It sends the requests of each hour, tells outcomes when flights have landed, releases what triggers had trained,
//! and puts its clock forward.

mod calendar;
mod clock;
mod flights;
mod replay;
mod report;
mod tally;
mod trainer;
mod world;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueHint};
use tidemill_core::{Cancel, Clock, Timestamp};

use super::up::Stepped;
use crate::app::App;
use crate::cli::{ColorWhen, Global};
use crate::failure::Failure;
use crate::output::{Bar, Console};
use clock::Replayed;
use world::World;

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leave the server running at the end, until it is interrupted, and keep the project
    #[arg(long)]
    keep: bool,
    /// Make the project in this folder, which must not be there, and keep it; a temporary one where not given
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
    /// Of a hundred flights, how many are used
    #[arg(long, hide = true, default_value_t = 35, value_parser = clap::value_parser!(u32).range(1..=100))]
    share: u32,
    /// Months from April on
    #[arg(long, hide = true, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=9))]
    months: u32,
}

pub(crate) fn run(args: &Demo, global: &Global, console: &Console) -> anyhow::Result<()> {
    own_database(global.database.as_deref(), console)?;
    let folder = Folder::make(args)?;
    let quiet = silent();
    let silent = Console::new(&quiet);
    flights::unpack(&folder.path)?;
    let clock = Arc::new(Replayed::at(month_begin(world::FIRST)));
    let mut app = App::open_at(folder.path.clone(), None, &silent)?;
    app.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    let bar = Bar::new(console, &app.cancel);
    let world = World {
        app: &app,
        quiet: &quiet,
        clock: &clock,
        console,
        silent: &silent,
        bar: &bar,
        share: args.share,
    };
    let (told, mut server, trainer) = match world.run(args.months as usize) {
        Ok(done) => done,
        Err(_) if app.cancel.is_cancelled() => return Err(Failure::cancelled().into()),
        Err(error) => return Err(error),
    };
    drop(bar);
    report::print(&told, console)?;
    if args.keep {
        clock.let_go();
        console.note(format!(
            "the server answers on {} until it is interrupted; the project is in {}",
            server.url(),
            folder.path.display()
        ));
        app.block(go_on(&mut server, &app.cancel))?;
    }
    app.block(server.stop());
    trainer.stop();
    app.block(app.db()?.clone().close())?;
    Ok(())
}

/// Keeps the loop turning as `tidemill up` does: who explores the demo may release, approve and roll back, and send requests.
async fn go_on(server: &mut Stepped, cancel: &Cancel) -> anyhow::Result<()> {
    let mut rounds = 0_u32;
    while !cancel.is_cancelled() {
        server.go_on(world::MODEL, rounds.is_multiple_of(WATCH), cancel).await?;
        rounds = rounds.wrapping_add(1);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}

/// Rounds after which monitors and triggers have their turn.
const WATCH: u32 = 20;

/// The demo's year must not get into anybody's database: one that is asked for is refused, one that only stands in the environment is
/// left alone.
fn own_database(named: Option<&str>, console: &Console) -> anyhow::Result<()> {
    let Some(named) = named else { return Ok(()) };
    if std::env::var(DATABASE).is_ok_and(|set| set == named) {
        console.note(format!("the demo has a database of its own; {DATABASE} is not used"));
        return Ok(());
    }
    Err(Failure::usage("the demo has a database of its own, so --database cannot be given")
        .hint("leave it out; `--dir DIR` keeps the demo's database as DIR/.tidemill/tidemill.db")
        .into())
}

/// The variable that names a database.
const DATABASE: &str = "TIDEMILL_DATABASE";
/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// Options under which commands print nothing.
fn silent() -> Global {
    Global { project: None, json: false, database: None, quiet: true, color: ColorWhen::Never, job: None }
}

/// `2013-05-01`.
fn date(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// The name of a month.
fn name(month: usize) -> &'static str {
    const NAMES: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    NAMES[(month - 1) % 12]
}

/// The first moment of a month of 2013; the thirteenth is January 2014.
fn month_begin(month: usize) -> Timestamp {
    let (year, month) = if month > 12 { (2014, month - 12) } else { (2013, month) };
    Timestamp::parse(&format!("{year}-{month:02}-01T00:00:00Z")).unwrap_or_default()
}

/// The project's folder, which is gone at the end where nobody wants to keep it.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn make(args: &Demo) -> anyhow::Result<Self> {
        let path = args
            .dir
            .clone()
            .unwrap_or_else(|| std::env::temp_dir().join(format!("tidemill-demo-{}", std::process::id())));
        if path.exists() {
            return Err(Failure::usage(format!("`{}` is there already", path.display()))
                .hint("name a folder that is not there, or remove it")
                .into());
        }
        fs_err::create_dir_all(&path)?;
        let path = fs_err::canonicalize(&path)?;
        Ok(Self { path, keep: args.keep || args.dir.is_some() })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            drop(fs_err::remove_dir_all(&self.path));
        }
    }
}

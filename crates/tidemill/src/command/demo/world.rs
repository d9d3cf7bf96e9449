//! The world around the product: a project, a server, and a year.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Context as _;
use tidemill_core::{Progress as _, Unit};
use tidemill_registry::Registry;
use tidemill_server::triggers::Triggers;
use tidemill_train::metric::calibrated_threshold;

use super::calendar::Calendar;
use super::clock::Replayed;
use super::flights::{Flights, scores};
use super::replay::Replay;
use super::report::Told;
use super::trainer::{Trainer, train};
use super::{date, month_begin, name};
use crate::app::App;
use crate::cli::Global;
use crate::command::predict;
use crate::command::up::Stepped;
use crate::failure::Failure;
use crate::home::{Home, about};
use crate::output::{Bar, Console};

pub(super) const MODEL: &str = "flights-late";
/// The first month of the replay.
pub(super) const FIRST: usize = 4;

/// What the replay needs.
pub(super) struct World<'a> {
    pub(super) app: &'a App<'a>,
    pub(super) quiet: &'a Global,
    pub(super) clock: &'a Arc<Replayed>,
    pub(super) console: &'a Console,
    /// Where nothing is to be said.
    pub(super) silent: &'a Console,
    pub(super) bar: &'a Bar,
    pub(super) share: u32,
}

impl World<'_> {
    /// The year.
    pub(super) fn run(&self, months: usize) -> anyhow::Result<(Told, Stepped, Arc<Trainer>)> {
        let app = self.app;
        let objective = app.project.objective.as_ref().context("the project names no objective")?;
        let costs = objective.costs.clone().context("the objective names no costs")?;
        let threshold = calibrated_threshold(&costs).context("the costs give no threshold")?;
        let registry = Registry::new(app.db()?.clone(), app.store()?.clone(), Arc::clone(&app.clock));
        let end = FIRST + months;
        let begin = month_begin(FIRST);
        self.say("training on January to March");
        let replay =
            [format!("replay.to={}", date(month_begin(end))), format!("replay.share={}", self.share)];
        let first = train(app, &["replay", "train"], &replay, begin, self.share)?;
        let flights = Flights::read(&app.root.join("replay.parquet"), &app.root.join("model"))?;
        let never = self.score(&flights, &(0..flights.late.len()))?;
        let home = Home {
            dir: app.inside(""),
            store: app.inside("store"),
            database: crate::app::utf8(&app.inside("tidemill.db"))?.to_owned(),
            project: Some(app.root.clone()),
            named_database: None,
            records: None,
            watched: None,
            about: Some(about(&app.project, &app.root)),
            behind: None,
        };
        let declared = app.project.resolved_triggers();
        let trainer = Trainer::start(app.root.clone(), Arc::clone(self.clock), declared, self.share)?;
        let project = app.project.project.as_str();
        let triggers =
            Triggers::new(app.db()?.clone(), Arc::clone(&app.clock), project, Arc::clone(&trainer) as _)
                .map_err(Failure::new)?;
        let server = app.block(Stepped::start(registry.clone(), &home, triggers))?;
        let calendar = Calendar::open(&app.inside("tmp"), self.clock, (self.quiet, self.silent), self.share)?;
        let mut replay =
            Replay::begin(self, registry, &flights, server, trainer, (costs, threshold), (first, never))?;
        for month in FIRST..end {
            if month > FIRST {
                self.say(&format!("{}: what training by the calendar would have", name(month)));
                let (at, rows) = (month_begin(month), flights.from(month_begin(month)));
                replay.swap(rows.clone(), &calendar.retrain(at, &flights, &rows)?);
            }
            replay.month(month, month == FIRST + months / 2)?;
        }
        replay.end()
    }

    pub(super) fn say(&self, what: &str) {
        if !self.console.shows_progress() {
            self.console.note(what);
        }
        self.bar.begin(what, None, Unit::Items);
    }

    /// What the model that was just trained says of flights.
    pub(super) fn score(&self, flights: &Flights, rows: &Range<usize>) -> anyhow::Result<Vec<f64>> {
        score(self.app, (self.quiet, self.console), flights, rows)
    }

    pub(super) fn go_on(&self) -> anyhow::Result<()> {
        if self.app.cancel.is_cancelled() { Err(Failure::cancelled().into()) } else { Ok(()) }
    }
}

/// What the model that a project has just trained says of flights.
pub(super) fn score(
    app: &App<'_>,
    (quiet, console): (&Global, &Console),
    flights: &Flights,
    rows: &Range<usize>,
) -> anyhow::Result<Vec<f64>> {
    let folder = app.inside("tmp");
    fs_err::create_dir_all(&folder)?;
    let (input, output) = (folder.join("demo-rows.parquet"), folder.join("demo-scores.parquet"));
    flights.write(rows, &input)?;
    let task = predict::Predict {
        model: crate::app::utf8(&app.root.join("model"))?.to_owned(),
        input,
        output: output.clone(),
        keep: Some(vec!["known_after".to_owned()]),
        columns: None,
        jobs: None,
        python: None,
        onnxruntime: None,
    };
    predict::score(&task, quiet, console, &app.cancel)?;
    scores(&output)
}

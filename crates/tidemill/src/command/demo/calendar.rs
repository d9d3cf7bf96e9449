//! What everybody does who has no judge and no monitor: train once a month, and swap the new model in.
//!
//! It is trained in a project of its own, so that the log, the experiments and the registry of the demo hold nothing of it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemill_core::{Clock, Timestamp};

use super::clock::Replayed;
use super::flights::{self, Flights};
use super::trainer::train;
use super::world::score;
use crate::app::App;
use crate::cli::Global;
use crate::output::Console;

/// A model that is as old as the month.
pub(super) struct Calendar<'a> {
    app: App<'a>,
    folder: PathBuf,
    quiet: &'a Global,
    console: &'a Console,
    share: u32,
}

impl<'a> Calendar<'a> {
    /// With a project below `scratch`, which is gone at the end.
    pub(super) fn open(
        scratch: &Path,
        clock: &Arc<Replayed>,
        (quiet, console): (&'a Global, &'a Console),
        share: u32,
    ) -> anyhow::Result<Self> {
        let folder = scratch.join("monthly");
        fs_err::create_dir_all(&folder)?;
        flights::unpack(&folder)?;
        let mut app = App::open_at(folder.clone(), None, console)?;
        app.clock = Arc::clone(clock) as Arc<dyn Clock>;
        Ok(Self { app, folder, quiet, console, share })
    }

    /// What a model that is trained at `at` says of flights after it.
    pub(super) fn retrain(
        &self,
        at: Timestamp,
        flights: &Flights,
        rows: &Range<usize>,
    ) -> anyhow::Result<Vec<f64>> {
        train(&self.app, &["train"], &[], at, self.share)?;
        score(&self.app, (self.quiet, self.console), flights, rows)
    }
}

impl Drop for Calendar<'_> {
    fn drop(&mut self) {
        if let Ok(db) = self.app.db() {
            drop(self.app.block(db.clone().close()));
        }
        drop(fs_err::remove_dir_all(&self.folder));
    }
}

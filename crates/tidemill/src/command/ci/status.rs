//! What became of a commit: an event in the log, and a file for programs that show the state of commits.

use serde::Serialize;
use tidemill_core::{EventKind, JobState, RunId};

use super::checkout::short;
use crate::app::{App, Committed};

/// Files of commits that are kept: those of the newest.
const FILES: usize = 1_000;

/// The parts of the work, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    Checkout,
    Check,
    Pipeline,
    Tests,
    Register,
    Release,
}

impl Part {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Checkout => "checkout",
            Self::Check => "check",
            Self::Pipeline => "pipeline",
            Self::Tests => "tests",
            Self::Register => "register",
            Self::Release => "release",
        }
    }
}

/// What is known of a commit.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Status {
    /// The form of this document.
    format: u32,
    /// The project.
    project: String,
    /// The commit.
    pub(super) commit: String,
    /// Who wrote what it brings.
    authors: Vec<String>,
    /// The environment that it is for; none where it is only tested.
    pub(super) environment: Option<String>,
    /// How it stands.
    pub(super) state: JobState,
    /// The part of the work that goes on, or was the last.
    pub(super) part: Part,
    /// What happened there, in words.
    pub(super) what: String,
    /// What to do next, in words.
    pub(super) next: Option<String>,
    /// The run of its pipeline.
    pub(super) run: Option<RunId>,
    /// The version that its model became.
    pub(super) version: Option<String>,
    /// The rollout that began with it.
    pub(super) rollout: Option<u64>,
    /// When it was like this.
    at: String,
}

impl Status {
    /// What is known when it begins.
    pub(super) fn begin(app: &App<'_>, of: &Committed, environment: Option<String>) -> Self {
        Self {
            format: 1,
            project: app.project.project.to_string(),
            commit: of.commit.clone(),
            authors: of.authors.clone(),
            environment,
            state: JobState::Running,
            part: Part::Checkout,
            what: "it is tested".to_owned(),
            next: None,
            run: None,
            version: None,
            rollout: None,
            at: app.clock.now().to_string(),
        }
    }

    /// The event with which it began.
    pub(super) fn started(&self) -> EventKind {
        EventKind::CiStarted {
            project: self.project.clone(),
            commit: self.commit.clone(),
            authors: self.authors.clone(),
        }
    }

    /// The event with which it ended.
    pub(super) fn finished(&self) -> EventKind {
        EventKind::CiFinished {
            project: self.project.clone(),
            commit: self.commit.clone(),
            environment: self.environment.clone(),
            state: self.state,
            part: self.part.name().to_owned(),
            what: tidemill_trigger::detail(&self.what),
            next: self.next.as_deref().map(tidemill_trigger::detail),
            run: self.run,
            version: self.version.clone(),
            rollout: self.rollout,
        }
    }

    /// Writes the file, whole or not at all. It says nothing that the log does not say, so where it cannot be written that is told and no more.
    pub(super) fn write(&mut self, app: &App<'_>) {
        self.at = app.clock.now().to_string();
        let folder = app.inside("ci");
        let file = folder.join(format!("{}.json", self.commit));
        let written = || -> anyhow::Result<()> {
            fs_err::create_dir_all(&folder)?;
            let mut new = tempfile::NamedTempFile::new_in(&folder)?;
            serde_json::to_writer_pretty(&mut new, self)?;
            new.persist(&file)?;
            Ok(())
        };
        if let Err(error) = written() {
            app.console
                .warn(format!("the state of the commit cannot be written to `{}`: {error}", file.display()));
        }
        forget_old(&folder);
    }

    /// One line for people.
    pub(super) fn words(&self) -> String {
        format!("commit {}: {}", short(&self.commit), self.what)
    }
}

/// Removes the files of all commits but the newest.
fn forget_old(folder: &std::path::Path) {
    let files = fs_err::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> =
        files.filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path()))).collect();
    if files.len() <= FILES {
        return;
    }
    files.sort_unstable();
    for (_, file) in &files[..files.len() - FILES] {
        if let Err(error) = fs_err::remove_file(file) {
            tracing::warn!(%error, "an old state of a commit cannot be removed");
        }
    }
}

//! Taking over another tracking store: experiments, runs with their histories, artifacts, logged models, the registry.
//!
//! Runs keep their identifiers, and versions their numbers. Every part is written so that doing it again changes
//! nothing, and a run is marked when it is whole: an import that was interrupted goes on where it was, and a second one
//! imports only what is new.

mod copy;
mod database;
mod folder;
mod local;
mod registered;
mod server;
mod source;
mod tracked;

use futures::StreamExt as _;
use tidemill_core::{Actor, EventKind, Progress, Unit};

pub use self::database::Database;
pub use self::folder::Folder;
pub use self::server::{Credentials, Server};
pub use self::source::{
    Behind, Source, SourceExperiment, SourceFile, SourceLoggedModel, SourceModel, SourceModelPoint,
    SourcePoint, SourceRun, SourceVersion,
};
use crate::{Code, Error, Registry, Result};

/// States of logged models, in the order of MLflow's numbers, from 1.
const MODEL_STATUS: [&str; 3] = ["LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"];
/// Runs that are read and written at once: enough for their commits to be grouped.
const AT_ONCE: usize = 8;
/// Tag that says where something came from; its value is `PLACE`, once it is whole.
pub(crate) const FROM: &str = "tidemill.imported_from";
/// Tag of something whose import has begun and not ended.
pub(crate) const UNFINISHED: &str = "tidemill.import_unfinished";
/// Tag of a run that was at work at its source when it was last looked at; the next import looks again.
const AT_WORK: &str = "tidemill.import_at_work";

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// New experiments.
    pub experiments: u64,
    /// New runs.
    pub runs: u64,
    /// Runs that were there already.
    pub known_runs: u64,
    /// Points of metrics read, for new runs and for those that were at work when they were last looked at.
    pub points: u64,
    /// Files copied.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// New logged models.
    pub logged_models: u64,
    /// New registered models.
    pub models: u64,
    /// New versions of registered models.
    pub versions: u64,
    /// What the source has besides and keeps.
    pub behind: Behind,
    /// Places of artifacts that clients reach themselves and that stay where they are.
    pub left: Vec<String>,
    /// What could not be taken over, and why.
    pub problems: Vec<String>,
}

impl Imported {
    fn add(&mut self, part: Self) {
        self.experiments += part.experiments;
        self.runs += part.runs;
        self.known_runs += part.known_runs;
        self.points += part.points;
        self.files += part.files;
        self.bytes += part.bytes;
        self.logged_models += part.logged_models;
        self.models += part.models;
        self.versions += part.versions;
        self.problems.extend(part.problems);
        for place in part.left {
            if !self.left.contains(&place) {
                self.left.push(place);
            }
        }
    }
}

/// Imports everything from `source`. What is there already stays as it is.
///
/// A single thing that cannot be read is reported in [`Imported::problems`], and the rest goes on.
pub async fn import(
    registry: &Registry,
    source: &dyn Source,
    actor: &Actor,
    progress: &dyn Progress,
) -> Result<Imported> {
    let experiments = source.experiments().await?;
    let mut done = Imported { behind: source.behind(&experiments).await?, ..Imported::default() };
    let mut work = Vec::new();
    for experiment in &experiments {
        let ids = source.runs(experiment).await?;
        work.push((experiment, ids));
    }
    let total = work.iter().map(|(_, ids)| ids.len() as u64).sum();
    progress.begin("importing runs", Some(total), Unit::Items);
    let importer = Importer { registry, source, actor, place: source.place() };
    for (experiment, ids) in work {
        stop(progress)?;
        let (ours, new, unfinished) = importer.experiment(experiment).await?;
        done.experiments += u64::from(new);
        let mut runs = futures::stream::iter(ids)
            .map(|id| {
                let importer = &importer;
                async move { (importer.run(experiment, ours, &id).await, id) }
            })
            .buffer_unordered(AT_ONCE);
        while let Some((result, id)) = runs.next().await {
            stop(progress)?;
            progress.advance(1);
            match result {
                Ok(part) => done.add(part),
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) => done.problems.push(format!("run {id}: {error}")),
            }
        }
        drop(runs);
        for model in source.logged_models(experiment).await? {
            stop(progress)?;
            match importer.logged_model(experiment, ours, &model).await {
                Ok(part) => done.add(part),
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) => done.problems.push(format!("logged model {}: {error}", model.id)),
            }
        }
        if unfinished {
            importer.finish_experiment(ours, experiment.deleted).await?;
        }
    }
    for model in source.models().await? {
        stop(progress)?;
        match importer.model(&model).await {
            Ok(part) => done.add(part),
            Err(error) if is_fatal(&error) => return Err(error),
            Err(error) => done.problems.push(format!("model {}: {error}", model.name)),
        }
    }
    if done.runs + done.versions > 0 {
        let kind = EventKind::TrackingImported {
            from: importer.place.clone(),
            runs: done.runs,
            versions: done.versions,
        };
        registry.db.ingest().events(vec![registry.event(actor, kind)]).await?;
    }
    Ok(done)
}

/// What the parts of an import share.
struct Importer<'a> {
    registry: &'a Registry,
    source: &'a dyn Source,
    actor: &'a Actor,
    place: String,
}

fn stop(progress: &dyn Progress) -> Result<()> {
    if progress.cancelled() {
        let message = "stopped; what was imported is kept, and the same command goes on from there";
        return Err(Error::new(Code::ResourceConflict, message));
    }
    Ok(())
}

/// Whether going on makes no sense: our own database or disk failed, or the source is gone.
fn is_fatal(error: &Error) -> bool {
    matches!(
        error.code,
        Code::InternalError
            | Code::TemporarilyUnavailable
            | Code::ResourceExhausted
            | Code::Unauthenticated
            | Code::PermissionDenied
    )
}

//! `tidemill import`: takes over what another tool has kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use tidemill_core::{Actor, SystemClock};
use tidemill_db::Db;
use tidemill_registry::Registry;
use tidemill_registry::import::{self, Behind, Credentials, Database, Folder, Imported, Server, Source};

use crate::app::{cancel_on_signals, runtime, user_name};
use crate::cli::{Global, Import, ImportMlflow};
use crate::failure::{Exit, Failure, Said};
use crate::home::Home;
use crate::output::{Bar, Console, bytes, plural};

pub(crate) fn run(command: &Import, global: &Global, console: &Console) -> anyhow::Result<()> {
    match command {
        Import::Mlflow(args) => mlflow(args, global, console),
    }
}

fn mlflow(args: &ImportMlflow, global: &Global, console: &Console) -> anyhow::Result<()> {
    let cancel = cancel_on_signals()?;
    let runtime = runtime()?;
    let home = Home::find(args.home.as_deref(), global, console)?;
    let imported = runtime.block_on(async {
        // The source first: a wrong address must not leave an empty home behind.
        let source = open(&args.from, args.artifacts.clone()).await.map_err(refused)?;
        home.make()?;
        let clock = Arc::new(SystemClock);
        let db = Db::open(&home.database, clock.clone()).await?;
        let store = home.open_store()?;
        let registry = Registry::new(db.clone(), store, clock);
        let bar = Bar::new(console, &cancel);
        let imported = import::import(&registry, source.as_ref(), &Actor::user(user_name()), &bar).await;
        db.close().await?;
        imported
            .map_err(|error| if cancel.is_cancelled() { Failure::cancelled().into() } else { refused(error) })
    })?;
    report(&imported, console)
}

/// An address of a server, of a database or of a folder.
async fn open(from: &str, artifacts: Option<PathBuf>) -> tidemill_registry::Result<Box<dyn Source>> {
    if from.starts_with("http://") || from.starts_with("https://") {
        return Ok(Box::new(Server::connect(from, credentials()).await?));
    }
    if let Some(path) = from.strip_prefix("sqlite://") {
        // SQLAlchemy's form: three slashes before a relative path, four before an absolute one.
        let path = path.strip_prefix('/').unwrap_or(path);
        return Ok(Box::new(Database::open(Path::new(path), artifacts).await?));
    }
    let path = from.strip_prefix("file://").unwrap_or(from);
    if let Some((scheme, _)) = path.split_once("://") {
        return Err(tidemill_registry::Error::invalid(format!(
            "`{scheme}:` cannot be read; give a folder, `sqlite:///FILE` or the address of a running server"
        )));
    }
    if Path::new(path).is_file() {
        return Ok(Box::new(Database::open(Path::new(path), artifacts).await?));
    }
    Ok(Box::new(Folder::open(Path::new(path))?))
}

/// What MLflow's own client takes from the environment.
fn credentials() -> Credentials {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (variable("MLFLOW_TRACKING_TOKEN"), variable("MLFLOW_TRACKING_USERNAME")) {
        (Some(token), _) => Credentials::Bearer(token),
        (None, Some(user)) => {
            Credentials::Basic(user, variable("MLFLOW_TRACKING_PASSWORD").unwrap_or_default())
        }
        (None, None) => Credentials::None,
    }
}

fn refused(error: tidemill_registry::Error) -> anyhow::Error {
    let failure = Failure::new(error.message);
    let hint = match error.code {
        tidemill_registry::Code::Unauthenticated | tidemill_registry::Code::PermissionDenied => {
            "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        }
        tidemill_registry::Code::TemporarilyUnavailable => {
            "check that the server runs and the address is right"
        }
        _ => "--from takes a folder `mlruns`, `sqlite:///FILE`, or the address of a running server",
    };
    failure.hint(hint).into()
}

fn report(imported: &Imported, console: &Console) -> anyhow::Result<()> {
    if console.json() {
        console.value(&json!({
            "experiments": imported.experiments, "runs": imported.runs, "known_runs": imported.known_runs,
            "points": imported.points, "files": imported.files, "bytes": imported.bytes,
            "logged_models": imported.logged_models, "models": imported.models, "versions": imported.versions,
            "traces_left": imported.behind.traces,
            "evaluation_datasets_left": imported.behind.evaluation_datasets,
            "left": imported.left, "problems": imported.problems,
        }))?;
    } else {
        let parts = [
            plural(imported.experiments, "experiment"),
            plural(imported.runs, "run"),
            plural(imported.points, "metric point"),
            format!("{} ({})", plural(imported.files, "artifact"), bytes(imported.bytes)),
            plural(imported.logged_models, "logged model"),
            plural(imported.models, "registered model"),
            plural(imported.versions, "version"),
        ];
        console.line(format!("imported {}", parts.join(", ")));
        if imported.known_runs > 0 {
            console.line(format!("{} were here already", plural(imported.known_runs, "run")));
        }
        let Behind { traces, evaluation_datasets } = imported.behind;
        for (count, what) in [(traces, "trace"), (evaluation_datasets, "evaluation dataset")] {
            if count > 0 {
                console.note(format!("{} stay there; imports do not take them over", plural(count, what)));
            }
        }
        for place in &imported.left {
            console.note(format!("artifacts in {place} stay there; clients reach them as before"));
        }
        for problem in &imported.problems {
            console.warn(problem);
        }
    }
    if imported.problems.is_empty() { Ok(()) } else { Err(Said(Exit::Failed).into()) }
}

//! What is watched becomes known: declared by whoever releases a model or starts the server, kept in the database.

use tidemill_core::{Actor, Clock, Digest, EventKind, NewEvent};
use tidemill_db::Db;
use tidemill_db::monitoring::MonitorSet;
use tidemill_monitor::Declaration;
use tidemill_registry::{Code, Error};

/// Declares what is watched at an endpoint, in the place of what was declared before; gives whether that is a change. What is
/// remembered of monitors that stay goes on.
///
/// # Errors
///
/// What the database refuses.
pub async fn declare(
    db: &Db,
    clock: &dyn Clock,
    actor: &Actor,
    declaration: &Declaration,
) -> Result<bool, Error> {
    let body =
        serde_json::to_string(declaration).map_err(|error| unreadable(&declaration.endpoint, &error))?;
    let (spec, at) = (Digest::of(body.as_bytes()), clock.now());
    let mut tx = db.begin().await?;
    let Some(revision) = tx.put_monitor_set(&declaration.endpoint, spec, &body, at).await? else {
        return Ok(false);
    };
    let kind = EventKind::MonitorsDeclared {
        endpoint: declaration.endpoint.clone(),
        revision,
        spec,
        monitors: declaration
            .watches()
            .into_iter()
            .filter(|watch| watch.alert().is_some())
            .map(|watch| watch.id)
            .collect(),
    };
    tx.commit(vec![NewEvent { at, actor: actor.clone(), kind, cause: None }]).await?;
    Ok(true)
}

/// Everything that is declared, by endpoint.
///
/// # Errors
///
/// What the database refuses, and a declaration that cannot be read.
pub async fn declarations(db: &Db) -> Result<Vec<(MonitorSet, Declaration)>, Error> {
    let read = |set: MonitorSet| {
        let declaration =
            serde_json::from_str(&set.body).map_err(|error| unreadable(&set.endpoint, &error))?;
        Ok((set, declaration))
    };
    db.monitor_sets().await?.into_iter().map(read).collect()
}

fn unreadable(endpoint: &str, error: &serde_json::Error) -> Error {
    let why = format!("the monitors of endpoint `{endpoint}` cannot be read: {error}; release it anew");
    Error::new(Code::InternalError, why)
}

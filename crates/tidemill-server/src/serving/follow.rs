//! Keeps a gateway at what is declared: endpoints of the database at first, then every change that the log tells of,
//! also those that another server on the same database made.

use std::collections::BTreeSet;
use std::time::Duration;

use tidemill_core::{Event, EventKind};
use tidemill_db::{EventFilter, Order};
use tidemill_serve::gateway::Gateway;
use tidemill_serve::gateway::endpoint::EndpointSpec;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::endpoints::read;
use crate::App;

/// How often the log is looked at for what other servers did. What this one commits is told at once.
const LOOK: Duration = Duration::from_millis(100);
/// The shortest time between two looks, since a busy log grows a thousand times a second.
const REST: Duration = Duration::from_millis(10);
/// The most events that are read at once.
const STRIDE: usize = 500;
/// Endpoints that are read at once.
const PAGE: usize = 500;

/// Follows until `stop`.
pub(super) async fn follow(app: &App, gateway: &Gateway, stop: CancellationToken) {
    let mut after = None;
    let mut growth = app.registry().db().log_growth();
    loop {
        // Before the log is read: what is committed meanwhile is news.
        growth.borrow_and_update();
        let looked = Instant::now();
        let round = async {
            match after {
                None => after = Some(start(app, gateway).await?),
                Some(seen) => after = Some(catch_up(app, gateway, seen).await?),
            }
            Ok::<_, tidemill_db::Error>(())
        };
        let failed = tokio::select! {
            () = stop.cancelled() => return,
            round = round => round.err(),
        };
        if let Some(error) = &failed {
            tracing::error!(%error, "cannot follow the log for serving");
        }
        let pause = if failed.is_some() { LOOK * 20 } else { LOOK };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            Ok(()) = growth.changed(), if failed.is_none() => tokio::time::sleep_until(looked + REST).await,
        }
    }
}

/// Sets every endpoint that is declared; gives the place in the log up to which that is true.
async fn start(app: &App, gateway: &Gateway) -> Result<u64, tidemill_db::Error> {
    let db = app.registry().db();
    // Read first: what changes meanwhile is told of after it.
    let seen = db.log_head().await?.size;
    let mut after: Option<String> = None;
    loop {
        let page = db.endpoints_after(after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|endpoint| endpoint.name.clone());
        for endpoint in &page {
            set(gateway, &endpoint.name, endpoint.revision, declared(endpoint));
        }
        if is_last {
            return Ok(seen);
        }
    }
}

async fn catch_up(app: &App, gateway: &Gateway, seen: u64) -> Result<u64, tidemill_db::Error> {
    let filter = EventFilter {
        after: Some(seen),
        limit: Some(STRIDE),
        order: Order::OldestFirst,
        ..EventFilter::default()
    };
    let events = app.registry().db().events(&filter).await?;
    let mut models: BTreeSet<String> = BTreeSet::new();
    for Event { kind, .. } in &events {
        match kind {
            EventKind::EndpointSet { endpoint, revision, .. } => {
                let is_new = gateway.endpoint(endpoint).is_none_or(|known| known.revision < *revision);
                if is_new && let Some(stored) = app.registry().db().endpoint(endpoint).await? {
                    let spec = declared(&stored);
                    if let Ok(spec) = &spec {
                        prepare(gateway, &stored.name, spec).await;
                    }
                    set(gateway, &stored.name, stored.revision, spec);
                }
            }
            EventKind::EndpointDeleted { endpoint, revision }
                if gateway.endpoint(endpoint).is_some_and(|known| known.revision < *revision) =>
            {
                gateway.remove_endpoint(endpoint);
            }
            EventKind::AliasMoved { model, .. }
            | EventKind::VersionCreated { model, .. }
            | EventKind::VersionDeleted { model, .. }
            | EventKind::ModelDeleted { model }
            | EventKind::ModelRegistered { model } => {
                models.insert(model.clone());
            }
            EventKind::ModelRenamed { model, to } => models.extend([model.clone(), to.clone()]),
            _ => {}
        }
    }
    for model in models {
        gateway.refresh(&model).await;
    }
    Ok(events.last().map_or(seen, |last| last.seq))
}

/// Loads the models of a changed endpoint before requests go by it. Where that fails the change counts all the same: it
/// was decided, and requests say what is wrong.
pub(super) async fn prepare(gateway: &Gateway, name: &str, spec: &EndpointSpec) {
    if let Err(error) = gateway.prepare(spec).await {
        tracing::error!(endpoint = name, %error, "a model behind an endpoint cannot answer");
    }
}

/// Sets an endpoint, or says why that cannot be.
pub(super) fn set(gateway: &Gateway, name: &str, revision: u64, spec: Result<EndpointSpec, String>) {
    if let Err(error) = spec.and_then(|spec| gateway.set_endpoint(name, revision, spec)) {
        tracing::error!(endpoint = name, error, "an endpoint cannot be set");
    }
}

fn declared(endpoint: &tidemill_db::endpoints::Endpoint) -> Result<EndpointSpec, String> {
    read(endpoint).map_err(|error| error.to_string())
}

//! Says again to Alertmanager what fires: it ends an alert that its client is silent about, and a restarted one knows none.

use std::time::Duration;

use futures::future::join_all;
use tidemill_core::Timestamp;
use tidemill_db::monitoring::{Alert, AlertFilter};
use tidemill_monitor::{Message, Receiver};
use tidemill_registry::Error;

use super::declare::declarations;
use super::keep::still_firing;
use super::notify::alertmanager;
use crate::App;
use crate::outgoing::Sender;

/// Alerts of an endpoint that are said again, the newest first. There is one for each monitor at most.
const MOST: usize = 500;
/// How long all receivers have. One that is away is told the next time.
const PATIENCE: Duration = Duration::from_secs(10);

/// One request for each endpoint with an alert that fires and each Alertmanager.
pub(super) async fn say(app: &App, sender: &Sender, now: Timestamp) -> Result<(), Error> {
    let db = app.registry().db();
    let mut all: Vec<(String, Message)> = Vec::new();
    for (set, declaration) in declarations(db).await? {
        let managers: Vec<String> = declaration.receivers.iter().filter_map(url).collect();
        if managers.is_empty() {
            continue;
        }
        let filter = AlertFilter {
            state: Some("firing".to_owned()),
            endpoint: Some(set.endpoint.clone()),
            ..AlertFilter::default()
        };
        let firing = db.alerts(&filter, MOST).await?;
        // Of monitors that are not declared any more nobody will ever say that they are over.
        let watches: Vec<String> = declaration.watches().into_iter().map(|watch| watch.id).collect();
        let firing: Vec<(Alert, Timestamp)> = firing
            .into_iter()
            .filter(|alert| watches.contains(&alert.made.watch))
            .map(|alert| (alert, now))
            .collect();
        if !firing.is_empty() {
            let message = still_firing(&declaration, firing);
            all.extend(managers.into_iter().map(|url| (url, message.clone())));
        }
    }
    let told = all.iter().map(|(url, message)| async move {
        // Alertmanager keeps the earlier begin of an alert that it knows.
        let told = alertmanager(sender, url, message, now).await;
        if let Err(refused) = told {
            tracing::debug!(
                alert.endpoint = message.endpoint,
                "Alertmanager was not told again: {}",
                refused.reason
            );
        }
    });
    let _ = tokio::time::timeout(PATIENCE, join_all(told)).await;
    Ok(())
}

fn url(receiver: &Receiver) -> Option<String> {
    match receiver {
        Receiver::Alertmanager(manager) => Some(manager.url.clone()),
        Receiver::Webhook(_) | Receiver::Slack(_) | Receiver::Email(_) | Receiver::Cloudevents(_) => None,
    }
}

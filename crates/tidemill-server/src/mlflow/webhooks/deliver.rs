//! The task that empties the outbox of webhooks.
//!
//! What it takes is tried at least once: a server that dies in the middle leaves rows that another one, or the same
//! after its restart, takes when their time comes again. Receivers tell repetitions by `X-MLflow-Delivery-Id`.

use std::future::Future;
use std::time::Duration;

use futures::future::join_all;
use tidemill_core::Timestamp;
use tidemill_db::webhooks::{Attempt, Delivery};
use tidemill_registry::{Registry, Result};

use super::client::send;
use crate::App;
use crate::outgoing::{Sender, failed, is_passing};

/// Deliveries that are under way at once.
const AT_ONCE: usize = 16;
/// How long one attempt has before somebody else may try. More than a request can take.
const LEASE: Duration = Duration::from_secs(60);
/// How often the outbox is looked at if nobody says that there is something: another server may have put it there.
const IDLE: Duration = Duration::from_secs(5);
/// How long ended deliveries are kept.
const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often old ones are removed.
const PRUNE: Duration = Duration::from_secs(3600);

/// Delivers until `stop` resolves. What is under way then is finished first.
pub(crate) async fn deliver(app: App, stop: impl Future<Output = ()> + Send) {
    let registry = app.registry();
    let sender = Sender::new(app.config().webhook_reach);
    tokio::pin!(stop);
    let mut pruned = Timestamp::default();
    loop {
        let more = match round(registry, &sender).await {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(error.cause = ?error.source, "the outbox of webhooks cannot be read: {error}");
                false
            }
        };
        let now = registry.clock().now();
        if now.since(pruned) >= PRUNE {
            pruned = now;
            let before = Timestamp::from_millis(now.millis() - KEEP.as_millis() as i64);
            if let Err(error) = registry.db().prune_deliveries(before).await {
                tracing::warn!("old deliveries of webhooks cannot be removed: {error}");
            }
        }
        let wait = if more { Duration::ZERO } else { until_next(registry).await };
        tokio::select! {
            () = &mut stop => return,
            () = registry.changes().notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Takes what is due and tries it; says whether there may be more.
async fn round(registry: &Registry, sender: &Sender) -> Result<bool> {
    let now = registry.clock().now();
    // Taking needs the write lock, so it is not done for nothing.
    if registry.db().next_delivery().await?.is_none_or(|next| next > now) {
        return Ok(false);
    }
    let due = registry.db().claim_deliveries(now, now.plus(LEASE), AT_ONCE).await?;
    let full = due.len() == AT_ONCE;
    join_all(due.iter().map(|delivery| attempt(registry, sender, delivery))).await;
    Ok(full)
}

async fn attempt(registry: &Registry, sender: &Sender, delivery: &Delivery) {
    let sent = send(sender, delivery, registry.clock().now()).await;
    let outcome = match sent {
        Ok(answer) if answer.status.is_success() => Attempt::Delivered,
        Ok(answer) => {
            let status = answer.status.as_u16();
            let again = is_passing(answer.status);
            failed(
                registry.clock().now(),
                delivery.attempts,
                format!("the receiver answered {status}"),
                again,
            )
        }
        Err(reason) => failed(registry.clock().now(), delivery.attempts, reason, true),
    };
    if let Attempt::Failed(reason) = &outcome {
        tracing::warn!(
            webhook.id = delivery.webhook,
            delivery.id = delivery.id,
            delivery.attempts = delivery.attempts,
            "a delivery to a webhook failed for good: {reason}"
        );
    }
    if let Err(error) = registry.db().end_attempt(&delivery.id, &outcome).await {
        tracing::warn!(delivery.id = delivery.id, "the end of a delivery cannot be recorded: {error}");
    }
}

/// The time until the next delivery is due, at most [`IDLE`].
async fn until_next(registry: &Registry) -> Duration {
    match registry.db().next_delivery().await {
        Ok(Some(at)) => at.since(registry.clock().now()).min(IDLE),
        Ok(None) | Err(_) => IDLE,
    }
}

//! The task that tells receivers of alerts: empties the outbox, tries again, gives up after some hours.
//!
//! What it takes is tried at least once, also when the server dies in the middle; receivers tell repetitions by the message's id. Each
//! receiver is told in order, and not that something fires which is over. Alertmanager forgets what it is not told again, so it is.
//! Receivers stand in the project file of whoever runs the server, so unlike webhooks that clients make they may be anywhere.

use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use tidemill_core::Timestamp;
use tidemill_db::monitoring::AlertDelivery;
use tidemill_db::webhooks::{Attempt, Secret};
use tidemill_monitor::{AGAIN, Message, Receiver};
use tidemill_registry::Reach;
use tokio_util::sync::CancellationToken;

use super::{again, mail};
use crate::App;
use crate::outgoing::{Sender, failed, is_passing, signature};

/// Messages that are under way at once.
const AT_ONCE: usize = 8;
/// How long one attempt has before somebody else may try. More than a request can take.
const LEASE: Duration = Duration::from_secs(60);
/// How often the outbox is looked at.
const ROUND: Duration = Duration::from_secs(2);
/// How long ended messages are kept.
const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often old ones are removed.
const PRUNE: Duration = Duration::from_secs(3600);

/// Delivers until `stop`. What is under way then is finished first.
pub(crate) async fn deliver(app: App, stop: CancellationToken) {
    let sender = Sender::new(Reach::Anywhere);
    let (mut pruned, mut said_again) = (Timestamp::default(), Timestamp::default());
    loop {
        let now = app.registry().clock().now();
        if now.since(said_again) >= AGAIN {
            said_again = now;
            // In this loop and not beside it: what is over by then is not told before this is through.
            if let Err(error) = again::say(&app, &sender, now).await {
                tracing::warn!(%error, "alerts that fire cannot be read");
            }
        }
        let more = match round(&app, &sender).await {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(%error, "messages about alerts cannot be read");
                false
            }
        };
        let now = app.registry().clock().now();
        if now.since(pruned) >= PRUNE {
            pruned = now;
            let before = Timestamp::from_millis(now.millis() - KEEP.as_millis() as i64);
            if let Err(error) = app.registry().db().prune_alert_deliveries(before).await {
                tracing::warn!(%error, "old messages about alerts cannot be removed");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(if more { Duration::ZERO } else { ROUND }) => {}
        }
    }
}

/// Takes what is due and tries it; says whether there may be more.
async fn round(app: &App, sender: &Sender) -> Result<bool, tidemill_db::Error> {
    let now = app.registry().clock().now();
    let due = app.registry().db().claim_alert_deliveries(now, now.plus(LEASE), AT_ONCE).await?;
    join_all(due.iter().map(|delivery| attempt(app, sender, delivery))).await;
    // Whoever was told of the oldest may be told of the next.
    Ok(!due.is_empty())
}

async fn attempt(app: &App, sender: &Sender, delivery: &AlertDelivery) {
    let (made, clock) = (&delivery.made, app.registry().clock());
    let outcome = match send(app, sender, delivery).await {
        Ok(()) => Attempt::Delivered,
        Err(Refused { reason, again }) => failed(clock.now(), delivery.attempts, reason, again),
    };
    if let Attempt::Failed(reason) | Attempt::Later(_, reason) = &outcome {
        tracing::warn!(
            delivery.id = made.id,
            delivery.attempts = delivery.attempts,
            alert.endpoint = made.endpoint,
            "somebody could not be told of an alert: {reason}"
        );
    }
    if let Err(error) = app.registry().db().end_alert_attempt(&made.id, &outcome).await {
        tracing::warn!(delivery.id = made.id, %error, "the end of a delivery cannot be recorded");
    }
}

/// Why somebody was not told, and whether another attempt may help.
pub(super) struct Refused {
    pub(super) reason: String,
    pub(super) again: bool,
}

impl Refused {
    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), again: true }
    }

    pub(super) fn for_good(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), again: false }
    }
}

async fn send(app: &App, sender: &Sender, delivery: &AlertDelivery) -> Result<(), Refused> {
    let made = &delivery.made;
    let unreadable =
        |error: serde_json::Error| Refused::for_good(format!("what was queued cannot be read: {error}"));
    let receiver: Receiver = serde_json::from_str(&made.receiver).map_err(unreadable)?;
    let mut message: Message = serde_json::from_str(&made.body).map_err(unreadable)?;
    if delivery.attempts > 1 {
        // What could not be said in time, and is over by now, is not said any more.
        message = message.clone().without(&over(app, &message).await);
        if message.alerts.is_empty() {
            return Ok(());
        }
    }
    // Whoever sets the variable and starts the server again is told then.
    let secret = |name: &str| {
        app.config().secrets.read(name).ok_or_else(|| {
            Refused::passing(format!("the environment variable `{name}` of the server is not set"))
        })
    };
    match &receiver {
        Receiver::Webhook(webhook) => {
            let body = message.webhook(delivery.created_at).to_string();
            let seconds = app.registry().clock().now().millis().div_euclid(1000).to_string();
            let mut headers = vec![
                ("content-type", "application/json"),
                ("webhook-id", made.id.as_str()),
                ("webhook-timestamp", seconds.as_str()),
            ];
            let signed = match &webhook.secret_env {
                None => None,
                Some(name) => Some(signature(&Secret::new(secret(name)?), &made.id, &seconds, &body)),
            };
            headers.extend(signed.as_deref().map(|signed| ("webhook-signature", signed)));
            post(sender, &webhook.url, &headers, body).await
        }
        Receiver::Slack(slack) => {
            json(sender, &secret(&slack.url_env)?, "application/json", &message.slack()).await
        }
        Receiver::Cloudevents(events) => {
            let kind = "application/cloudevents-batch+json";
            json(sender, &events.url, kind, &message.cloudevents(&made.id)).await
        }
        Receiver::Alertmanager(manager) => {
            alertmanager(sender, &manager.url, &message, app.registry().clock().now()).await
        }
        Receiver::Email(email) => {
            let password = email.password_env.as_deref().map(secret).transpose()?;
            mail::send(email, password, &message, (&made.id, delivery.created_at)).await
        }
    }
}

/// Alerts of a message that fired and do not any more. Where that cannot be read, none: it is better to say too much.
async fn over(app: &App, message: &Message) -> Vec<u64> {
    let mut over = Vec::new();
    for notice in message.alerts.iter().filter(|notice| notice.firing) {
        let alert = app.registry().db().alert(notice.alert).await.ok().flatten();
        over.extend(alert.filter(|alert| alert.ended_at.is_some()).map(|alert| alert.id));
    }
    over
}

pub(super) async fn alertmanager(
    sender: &Sender,
    url: &str,
    message: &Message,
    now: Timestamp,
) -> Result<(), Refused> {
    let url = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
    json(sender, &url, "application/json", &message.alertmanager(now)).await
}

async fn json(sender: &Sender, url: &str, kind: &str, body: &Value) -> Result<(), Refused> {
    post(sender, url, &[("content-type", kind)], body.to_string()).await
}

async fn post(sender: &Sender, url: &str, headers: &[(&str, &str)], body: String) -> Result<(), Refused> {
    let answer = sender.post(url, headers, body).await.map_err(Refused::passing)?;
    if answer.status.is_success() {
        return Ok(());
    }
    let again = is_passing(answer.status);
    Err(Refused { reason: format!("the receiver answered {}", answer.status.as_u16()), again })
}

//! Making, changing and removing webhooks.

use tidemill_core::{Actor, EventKind};
use tidemill_db::webhooks::{NewWebhook, Secret, Webhook, WebhookEvent, WebhookPatch};

use super::address::{Reach, webhook_host};
use crate::fresh::uuid;
use crate::{Error, Registry, Result};

/// What is asked for when a webhook is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRequest {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Where deliveries go.
    pub url: String,
    /// What they are signed with.
    pub secret: Option<Secret>,
    /// Whether it is told anything.
    pub active: bool,
    /// What it is told of.
    pub events: Vec<WebhookEvent>,
}

/// The largest page of webhooks.
const PAGE: i64 = 1000;
/// Characters of a name.
const NAME: usize = 63;

impl Registry {
    /// Makes a webhook. Whether the host of its URL has addresses that it may have is the caller's to check.
    pub async fn create_webhook(
        &self,
        actor: &Actor,
        request: WebhookRequest,
        reach: Reach,
    ) -> Result<Webhook> {
        check_name(&request.name)?;
        webhook_host(&request.url, reach)?;
        check_events(&request.events)?;
        let new = NewWebhook {
            id: uuid(),
            name: request.name,
            description: request.description,
            url: request.url,
            secret: request.secret,
            active: request.active,
            events: request.events,
            created_at: self.clock.now(),
        };
        let mut tx = self.db.begin().await?;
        tx.create_webhook(&new).await?;
        let webhook = tx.webhook(&new.id).await?.ok_or_else(|| missing(&new.id))?;
        self.finish(tx, vec![self.webhook_changed(actor, &new.id, "created")]).await?;
        Ok(webhook)
    }

    /// A webhook.
    pub async fn webhook(&self, id: &str) -> Result<Webhook> {
        self.db.webhook(id).await?.ok_or_else(|| missing(id))
    }

    /// Webhooks, the newest first, and whether there are more.
    pub async fn webhooks(&self, offset: u64, limit: Option<i64>) -> Result<(Vec<Webhook>, bool)> {
        let limit = limit.filter(|limit| *limit != 0).unwrap_or(100);
        if !(1..=PAGE).contains(&limit) {
            return Err(Error::invalid("max_results must be between 1 and 1000."));
        }
        let limit = usize::try_from(limit).unwrap_or_default();
        let mut webhooks = self.db.webhooks(offset, limit + 1).await?;
        let more = webhooks.len() > limit;
        webhooks.truncate(limit);
        Ok((webhooks, more))
    }

    /// Changes a webhook. Whether the host of a new URL has addresses that it may have is the caller's to check.
    pub async fn update_webhook(
        &self,
        actor: &Actor,
        id: &str,
        patch: &WebhookPatch,
        reach: Reach,
    ) -> Result<Webhook> {
        patch.name.as_deref().map_or(Ok(()), check_name)?;
        patch.url.as_deref().map_or(Ok(()), |url| webhook_host(url, reach).map(drop))?;
        patch.events.as_deref().map_or(Ok(()), check_events)?;
        let mut tx = self.db.begin().await?;
        if !tx.update_webhook(id, patch, self.clock.now()).await? {
            return Err(missing(id));
        }
        let webhook = tx.webhook(id).await?.ok_or_else(|| missing(id))?;
        self.finish(tx, vec![self.webhook_changed(actor, id, "updated")]).await?;
        Ok(webhook)
    }

    /// Removes a webhook. What waits to be delivered to it goes with it.
    pub async fn delete_webhook(&self, actor: &Actor, id: &str) -> Result<()> {
        let mut tx = self.db.begin().await?;
        if !tx.delete_webhook(id).await? {
            return Err(missing(id));
        }
        self.finish(tx, vec![self.webhook_changed(actor, id, "deleted")]).await
    }

    fn webhook_changed(&self, actor: &Actor, id: &str, change: &str) -> tidemill_core::NewEvent {
        self.event(actor, EventKind::WebhookChanged { webhook: id.to_owned(), change: change.to_owned() })
    }
}

fn missing(id: &str) -> Error {
    Error::missing(format!("Webhook with ID {id} not found."))
}

fn check_name(name: &str) -> Result<()> {
    let outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let good = outer(name.chars().next()) && outer(name.chars().next_back()) && name.chars().all(inner);
    if good && name.len() <= NAME {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Webhook name '{name}' is invalid. It must start and end with a letter or digit, be less than 63 characters \
         long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-)."
    )))
}

fn check_events(events: &[WebhookEvent]) -> Result<()> {
    if events.is_empty() {
        return Err(Error::invalid("Webhook events must be a non-empty list of WebhookEvent objects: []."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_webhooks() {
        for good in ["a", "a-b", "A.b_c9", &"x".repeat(63)] {
            check_name(good).unwrap();
        }
        for bad in ["", "-a", "a-", "a b", "ä", &"x".repeat(64)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}

//! Webhooks, and what is to be delivered to them.
//!
//! A delivery is a row that is written in the transaction of the change that it tells of, so that neither can be lost
//! without the other. Which entities and actions there are, and what a delivery says, is the registry's matter.

mod delivery;
mod store;

pub use delivery::{Attempt, Delivery};
pub use store::{NewWebhook, Secret, Webhook, WebhookEvent, WebhookPatch};

//! Webhooks: who is told of which changes.
//!
//! A change puts what is to be told into the outbox in its own transaction ([`Notice`]); the server delivers it.

mod address;
mod kind;
mod manage;
mod notice;

pub use address::{Reach, check_address, webhook_host};
pub use kind::{ACTIONS, ENTITIES, webhook_event};
pub use manage::WebhookRequest;
pub use notice::example_data;

pub(crate) use notice::Notice;

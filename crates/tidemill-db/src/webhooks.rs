//! Webhooks and what is still to be delivered.

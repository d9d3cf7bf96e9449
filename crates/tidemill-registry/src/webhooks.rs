//! Webhooks of the registry.

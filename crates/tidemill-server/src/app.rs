//! What every handler shares.

use std::path::PathBuf;
use std::sync::Arc;

use tidemill_registry::{Reach, Registry};

/// Settings of a server. Read once, by the binary.
#[derive(Clone, Debug)]
pub struct Config {
    /// A folder for bodies that are being received.
    pub scratch: PathBuf,
    /// The largest JSON body, in bytes.
    pub json_limit: usize,
    /// The largest artifact, in bytes.
    pub artifact_limit: u64,
    /// Every route asks for it where it is set.
    pub token: Option<String>,
    /// Where webhooks may deliver to.
    pub webhook_reach: Reach,
}

impl Config {
    /// Settings with good defaults.
    pub fn new(scratch: PathBuf) -> Self {
        Self { scratch, json_limit: 32 << 20, artifact_limit: 1 << 40, token: None, webhook_reach: Reach::default() }
    }
}

/// A server's state. Clones share it.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    config: Config,
}

impl App {
    /// A server over `registry`.
    pub fn new(registry: Registry, config: Config) -> Self {
        Self { inner: Arc::new(Inner { registry, config }) }
    }

    /// The rules.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }
}

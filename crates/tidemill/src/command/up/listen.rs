//! The brokers that triggers of the project listen to.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tidemill_core::declare::{MessageSource, Trigger};
use tidemill_project::ListenAt;
use tidemill_trigger::message::{Incoming, Source};

/// Begins to listen for the messages of a trigger that count, under a name that stays the same.
pub(super) async fn connect(
    project: &str,
    trigger: &Trigger,
    source: &MessageSource,
    declared: ListenAt,
    password: Option<String>,
) -> Result<Box<dyn Source>, String> {
    let config = tidemill_brokers::Config {
        source: source.clone(),
        server: declared.server,
        name: format!("tidemill {project} {} {}", trigger.name, source.address),
        password,
    };
    let source = tidemill_brokers::connect(&config).await.map_err(|error| error.to_string())?;
    Ok(Box::new(Wanted { source, filter: declared.filter }))
}

/// Messages with what is declared in their bodies; the broker hears that the others need not come again.
struct Wanted {
    source: Box<dyn Source>,
    filter: BTreeMap<String, String>,
}

#[async_trait]
impl Source for Wanted {
    async fn next(&mut self) -> Result<Incoming, String> {
        loop {
            let message = self.source.next().await?;
            if message.is_cut() && !self.filter.is_empty() {
                tracing::warn!(
                    message.address = message.address,
                    message.bytes = message.size,
                    "a message is longer than 1 MiB, and its `filter` finds nothing in what is cut off"
                );
            }
            if message.is_wanted(&self.filter) {
                return Ok(message);
            }
            self.source.acknowledge().await?;
        }
    }

    async fn acknowledge(&mut self) -> Result<(), String> {
        self.source.acknowledge().await
    }

    async fn close(&mut self) {
        self.source.close().await;
    }
}

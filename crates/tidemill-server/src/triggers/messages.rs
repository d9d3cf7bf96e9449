//! Messages of brokers: one connection for each trigger that listens for them.
//!
//! A message becomes an event in the transaction that remembers its place, and is acknowledged after it. A broker that is
//! away, or an address that leads nowhere, stops nothing else: it is tried again, and how it stands is in the database.

use std::time::Duration;

use tidemill_core::SourceKind;
use tidemill_core::declare::{MessageSource, Trigger, When};
use tidemill_db::Result;
use tidemill_trigger::message::{Incoming, Place};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Triggers, hooks, system};

const SOURCE: &str = "message";
/// Between two attempts, at first and at most.
const SOON: Duration = Duration::from_millis(250);
const LATER: Duration = Duration::from_secs(30);
/// A connection that held so long was a good one.
const GOOD: Duration = Duration::from_secs(60);

pub(super) async fn run(triggers: Triggers, stop: CancellationToken) {
    let mut generation = triggers.inner.generation.subscribe();
    loop {
        let own = stop.child_token();
        let mut listeners = JoinSet::new();
        for rule in &triggers.rules().rules {
            if let When::Message(source) = &rule.trigger.when {
                let listener =
                    Listener { t: triggers.clone(), trigger: rule.trigger.clone(), source: source.clone() };
                listeners.spawn(listener.run(own.clone()));
            }
        }
        let changed = tokio::select! {
            () = stop.cancelled() => false,
            changed = generation.changed() => changed.is_ok(),
        };
        own.cancel();
        while listeners.join_next().await.is_some() {}
        if !changed {
            return;
        }
    }
}

struct Listener {
    t: Triggers,
    trigger: Trigger,
    source: MessageSource,
}

impl Listener {
    async fn run(self, stop: CancellationToken) {
        let mut pause = SOON;
        loop {
            let begun = tokio::time::Instant::now();
            let why = tokio::select! {
                // A message that is not recorded by then comes again.
                () = stop.cancelled() => return,
                why = self.listen() => why,
            };
            if begun.elapsed() > GOOD {
                pause = SOON;
            }
            tracing::warn!(
                trigger.name = self.trigger.name,
                retry_ms = pause.as_millis() as u64,
                "no messages: {why}"
            );
            self.note(Some(&why)).await;
            if !super::sleep(pause, &stop).await {
                return;
            }
            pause = (pause * 2).min(LATER);
        }
    }

    /// Listens until something fails; gives what.
    async fn listen(&self) -> String {
        let mut source = match self.t.host().connect(self.t.project(), &self.trigger, &self.source).await {
            Ok(source) => source,
            Err(why) => return why,
        };
        tracing::info!(trigger.name = self.trigger.name, "listening for messages");
        self.note(None).await;
        loop {
            let message = match source.next().await {
                Ok(message) => message,
                Err(why) => return why,
            };
            if let Err(error) = self.record(&message).await {
                // Not acknowledged, it comes again.
                return format!("a message cannot be recorded: {error}");
            }
            if let Err(why) = source.acknowledge().await {
                return why;
            }
        }
    }

    /// Makes the event of a message that has not acted yet.
    async fn record(&self, message: &Incoming) -> Result<()> {
        let (t, name) = (&self.t, self.trigger.name.as_str());
        let mut tx = t.db().begin().await?;
        if let Place::Id(id) = &message.place {
            let delivery = hooks::shortened(id);
            if !tx.add_delivery(t.project(), &format!("{SOURCE}:{name}"), &delivery, t.now()).await? {
                return Ok(());
            }
        }
        if let Some(part) = message.place.part() {
            // Another subject has places of its own.
            let part = format!("{name} {} {part}", self.source.address);
            let stored = tx.source_offset(t.project(), SOURCE, &part).await?;
            let Some(next) = message.place.advance(stored.as_deref()) else { return Ok(()) };
            tx.move_source(t.project(), SOURCE, &part, &next, t.now()).await?;
        }
        tx.commit(vec![t.changed(system(), SourceKind::Message, name, message.details())]).await.map(drop)
    }

    /// Writes down how the connection stands.
    async fn note(&self, problem: Option<&str>) {
        let noted =
            self.t.db().set_source_problem(self.t.project(), &self.trigger.name, problem, self.t.now());
        if let Err(error) = noted.await {
            tracing::warn!("how a broker stands cannot be written down: {error}");
        }
    }
}

//! Messages of brokers: one connection for each trigger that listens for them.
//!
//! A message becomes an event in the transaction that remembers its place, and is acknowledged after it. A broker that is
//! away, or an address that leads nowhere, stops nothing else: it is tried again, and how it stands is in the database.

use std::time::Duration;

use tidemill_core::SourceKind;
use tidemill_core::declare::{MessageSource, Trigger, When};
use tidemill_db::Result;
use tidemill_trigger::message::{Incoming, Place, Source};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Triggers, hooks, system};

const SOURCE: &str = "message";
/// Between two attempts, at first and at most.
const SOON: Duration = Duration::from_millis(250);
const LATER: Duration = Duration::from_secs(5);
/// A connection that held so long was a good one.
const GOOD: Duration = Duration::from_secs(60);

/// How a broker stands that nobody has connected to.
const NOT_YET: &str = "the broker has not answered yet";

/// Notes that nothing is listened to yet: what a server that was killed has noted holds no longer.
pub(super) async fn begin(t: &Triggers) -> Result<()> {
    for rule in &t.rules().rules {
        if matches!(rule.trigger.when, When::Message(_)) {
            t.db().set_source_problem(t.project(), &rule.trigger.name, Some(NOT_YET), t.now()).await?;
        }
    }
    Ok(())
}

pub(super) async fn run(triggers: Triggers, stop: CancellationToken) {
    let mut generation = triggers.inner.generation.subscribe();
    loop {
        let own = stop.child_token();
        let mut listeners = JoinSet::new();
        for rule in &triggers.rules().rules {
            if let When::Message(source) = &rule.trigger.when {
                let (t, trigger, source) = (triggers.clone(), rule.trigger.clone(), source.clone());
                let listener = Listener { t, trigger, source, owed: None };
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
        // A trigger that has changed may name another broker.
        if let Err(error) = begin(&triggers).await {
            tracing::warn!("how brokers stand cannot be written down: {error}");
        }
    }
}

struct Listener {
    t: Triggers,
    trigger: Trigger,
    source: MessageSource,
    /// The message that was delivered and could not be recorded.
    owed: Option<Place>,
}

impl Listener {
    async fn run(mut self, stop: CancellationToken) {
        let mut pause = SOON;
        let mut before = String::new();
        loop {
            let begun = tokio::time::Instant::now();
            let Some(why) = self.listen(&stop).await else { return };
            if begun.elapsed() > GOOD {
                (pause, before) = (SOON, String::new());
            }
            let (name, retry_ms) = (self.trigger.name.as_str(), pause.as_millis() as u64);
            if why == before {
                tracing::debug!(trigger.name = name, retry_ms, "no messages: {why}");
            } else {
                tracing::warn!(trigger.name = name, retry_ms, "no messages: {why}");
                before.clone_from(&why);
            }
            self.note(Some(&why)).await;
            if !super::sleep(pause, &stop).await {
                return;
            }
            pause = (pause * 2).min(LATER);
        }
    }

    /// Listens until something fails; gives what, or nothing where it is to stop.
    async fn listen(&mut self, stop: &CancellationToken) -> Option<String> {
        let connected = tokio::select! {
            () = stop.cancelled() => return None,
            connected = self.t.host().connect(self.t.project(), &self.trigger, &self.source) => connected,
        };
        let mut source = match connected {
            Ok(source) => source,
            Err(why) => return Some(why),
        };
        tracing::info!(trigger.name = self.trigger.name, "listening for messages");
        self.note(None).await;
        loop {
            let message = tokio::select! {
                // What has begun to arrive comes again.
                () = stop.cancelled() => {
                    source.close().await;
                    return None;
                }
                message = source.next() => message,
            };
            // What has arrived is brought to its end, also when all stops.
            let done = match message {
                Ok(message) => self.take(message, source.as_mut()).await,
                Err(why) => Err(why),
            };
            if let Err(why) = done {
                return Some(why);
            }
        }
    }

    /// Records a message, and tells the broker.
    async fn take(&mut self, mut message: Incoming, source: &mut dyn Source) -> Result<(), String> {
        if self.owed.take_if(|owed| owed.is_same(&message.place)).is_some() {
            message.place = message.place.owed();
        }
        if let Err(error) = self.record(&message).await {
            // Not acknowledged, it comes again.
            self.owed = Some(message.place);
            return Err(format!("a message cannot be recorded: {error}"));
        }
        source.acknowledge().await
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

//! Reads the log from where it stopped, and records what follows from it.

use std::time::Duration;

use tidemill_core::{Event, EventKind, JobState, NewEvent, Timestamp};
use tidemill_db::jobs::{NewJob, Stopped};
use tidemill_db::{EventFilter, Result, Tx};
use tidemill_trigger::{LOOP_LIMIT, Reaction, Rules, State, due, react, signals};
use tokio_util::sync::CancellationToken;

use super::{Triggers, consumer, pending, system};

/// How often the log is looked at for what other processes did. What this one commits is told at once.
const LOOK: Duration = Duration::from_millis(250);
/// The shortest time between two looks, since a busy log grows a thousand times a second.
const REST: Duration = Duration::from_millis(10);
/// The most events that are read at once.
const STRIDE: usize = 200;
/// So many events that nobody listens for are passed over before the place in the log is written down: reading them
/// again after a crash costs less than writing each time.
const LAZY: u64 = 500;
/// The longest chain of causes that is followed.
const CHAIN: usize = 64;

pub(super) async fn run(triggers: Triggers, stop: CancellationToken) {
    let mut growth = triggers.db().log_growth();
    let mut reader = Reader::new(triggers);
    loop {
        // Before the log is read: what is committed meanwhile is news.
        growth.borrow_and_update();
        let wait = match reader.round().await {
            Ok(true) => Duration::ZERO,
            Ok(false) => LOOK,
            Err(error) => {
                tracing::warn!("triggers cannot act on the log: {error}");
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            Ok(()) = growth.changed() => tokio::time::sleep(REST).await,
            () = tokio::time::sleep(wait) => {}
        }
    }
    reader.note().await;
}

pub(super) struct Reader {
    triggers: Triggers,
    /// Events up to here have been looked at.
    seen: Option<u64>,
    /// What of that is written down.
    written: u64,
    /// When something that waits at a trigger is to fire.
    next_due: Option<Timestamp>,
}

impl Reader {
    pub(super) fn new(triggers: Triggers) -> Self {
        Self { triggers, seen: None, written: 0, next_due: None }
    }

    /// Looks at what is new; says whether there may be more.
    pub(super) async fn round(&mut self) -> Result<bool> {
        let t = self.triggers.clone();
        let size = t.db().log_head().await?.size;
        let seen = match self.seen {
            Some(seen) => seen,
            None => self.begin().await?,
        };
        let mut events = Vec::new();
        if size > seen {
            let filter = EventFilter { after: Some(seen), limit: Some(STRIDE), ..EventFilter::default() };
            events = t.db().events(&filter).await?;
        }
        let last = events.last().map_or(seen, |event| event.seq);
        let rules = t.rules();
        let heard: Vec<Event> = events.into_iter().filter(|event| is_heard(event, &rules)).collect();
        let is_due = self.next_due.is_some_and(|due| due <= t.now());
        if !heard.is_empty() || is_due {
            self.next_due = handle(&t, &rules, &heard, last).await?;
            self.written = last;
        }
        self.seen = Some(last);
        if last - self.written > LAZY {
            self.note().await;
        }
        Ok(last < size)
    }

    /// The place in the log where reading stopped; [`Triggers::begin`] has seen to it that there is one.
    async fn begin(&mut self) -> Result<u64> {
        let (db, project) = (self.triggers.db(), self.triggers.project());
        let seen = db.log_cursor(&consumer(project)).await?.unwrap_or(0);
        self.next_due = pending(db, project).await?.values().map(|pending| pending.due).min();
        self.written = seen;
        Ok(seen)
    }

    /// Writes down where in the log reading stopped.
    pub(super) async fn note(&mut self) {
        let Some(seen) = self.seen.filter(|seen| *seen > self.written) else { return };
        let consumer = consumer(self.triggers.project());
        match self.triggers.db().move_log_cursor(&consumer, seen).await {
            Ok(()) => self.written = seen,
            Err(error) => tracing::warn!("the place in the log cannot be written down: {error}"),
        }
    }
}

fn is_heard(event: &Event, rules: &Rules) -> bool {
    signals(event, &rules.project).is_some_and(|signal| {
        rules.rules.iter().any(|rule| signal.is_for(&rule.trigger.name, &rule.trigger.when))
    })
}

pub(super) fn parse(text: &str) -> Option<tidemill_trigger::Pending> {
    serde_json::from_str(text).ok()
}

/// Records what follows from `events` and from what is due, and that the log has been read up to `last`: all in one
/// transaction. Gives when the next of what waits is due.
async fn handle(t: &Triggers, rules: &Rules, events: &[Event], last: u64) -> Result<Option<Timestamp>> {
    let mut lineages = Vec::with_capacity(events.len());
    for event in events {
        lineages.push(lineage(t, event).await?);
    }
    let consumer = consumer(t.project());
    let mut tx = t.db().begin().await?;
    // Another server on the same database may have been quicker.
    let done = tx.log_cursor(&consumer).await?.unwrap_or(0);
    let mut state = load(&mut tx, t, rules).await?;
    let mut batch = Batch { t, rules, tx, events: Vec::new(), fired: false };
    for reaction in due(rules, &state) {
        batch.perform(&reaction, &mut state).await?;
    }
    for (event, lineage) in events.iter().zip(lineages).filter(|(event, _)| event.seq > done) {
        state.lineage = lineage;
        for reaction in react(event, rules, &state) {
            batch.perform(&reaction, &mut state).await?;
        }
    }
    let Batch { mut tx, events, fired, .. } = batch;
    tx.move_log_cursor(&consumer, last).await?;
    tx.commit(events).await?;
    if fired {
        t.stopping();
    }
    Ok(state.triggers.values().filter_map(|known| known.pending.as_ref()).map(|pending| pending.due).min())
}

/// What is known of the triggers, as it stands in the transaction.
async fn load(tx: &mut Tx, t: &Triggers, rules: &Rules) -> Result<State> {
    let now = t.now();
    let mut state = State { now, ..State::default() };
    for (trigger, text) in tx.pending_triggers(t.project()).await? {
        // What waits at a trigger that the project no longer has waits for ever, and costs nothing.
        state.triggers.entry(trigger).or_default().pending = parse(&text);
    }
    for job in tx.open_jobs(t.project()).await? {
        let known = state.triggers.entry(job.trigger).or_default();
        known.open.push(job.id);
        known.running |= job.state == JobState::Running;
    }
    let limits = rules.rules.iter().filter_map(|rule| rule.trigger.limit).map(|limit| limit.per);
    let longest = limits.max().unwrap_or_default().max(LOOP_LIMIT.per);
    let since = now.millis().saturating_sub(i64::try_from(longest.as_millis()).unwrap_or(i64::MAX));
    for (trigger, at) in tx.jobs_made(t.project(), Timestamp::from_millis(since)).await? {
        state.triggers.entry(trigger).or_default().fired.push(at);
    }
    Ok(state)
}

struct Batch<'a> {
    t: &'a Triggers,
    rules: &'a Rules,
    tx: Tx,
    events: Vec<NewEvent>,
    fired: bool,
}

impl Batch<'_> {
    async fn perform(&mut self, reaction: &Reaction, state: &mut State) -> Result<()> {
        let project = self.t.project();
        let (trigger, job) = match reaction {
            Reaction::Wait { trigger, .. } => (trigger, None),
            Reaction::Suppress { trigger, cause, reason } => {
                tracing::info!(trigger.name = trigger, event = cause, "suppressed: {reason}");
                let kind = EventKind::TriggerSuppressed {
                    project: project.to_owned(),
                    trigger: trigger.clone(),
                    reason: reason.clone(),
                };
                self.events.push(self.t.event(system(), kind, Some(*cause)));
                (trigger, None)
            }
            Reaction::Fire { trigger, cause, events, details, supersedes } => {
                let seq = self.tx.next_seq() + self.events.len() as u64;
                let new = self.job(trigger, *cause, seq, details);
                let job = self.tx.add_job(&new).await?;
                if let Some(job) = job {
                    let kind = EventKind::TriggerFired {
                        project: project.to_owned(),
                        trigger: trigger.clone(),
                        job,
                        events: *events,
                    };
                    self.events.push(self.t.event(system(), kind, Some(*cause)));
                    self.supersede(trigger, supersedes, job, seq).await?;
                    self.fired = true;
                }
                (trigger, job)
            }
        };
        state.apply(reaction, job);
        let pending = state.triggers.get(trigger).and_then(|known| known.pending.as_ref());
        let text = pending.and_then(|pending| serde_json::to_string(pending).ok());
        self.tx.set_pending_trigger(project, trigger, text.as_deref()).await
    }

    fn job(&self, trigger: &str, cause: u64, seq: u64, details: &tidemill_trigger::Details) -> NewJob {
        let actions = self.rules.get(trigger).map_or_else(Vec::new, |rule| rule.trigger.actions.clone());
        NewJob {
            project: self.t.project().to_owned(),
            trigger: trigger.to_owned(),
            actions: serde_json::to_string(&actions).unwrap_or_default(),
            details: serde_json::to_string(details).unwrap_or_default(),
            // An event starts one job of a trigger, however often it is looked at.
            dedupe: format!("{trigger} {cause}"),
            cause: seq,
            at: self.t.now(),
        }
    }

    async fn supersede(&mut self, trigger: &str, old: &[u64], by: u64, seq: u64) -> Result<()> {
        for id in old {
            let reason = format!("job {by} of the same trigger took its place");
            let at = self.t.now();
            let stopped = self.tx.stop_job(*id, JobState::Superseded, &reason, at).await?;
            if stopped == Stopped::Ended {
                let kind = EventKind::JobFinished {
                    job: *id,
                    trigger: trigger.to_owned(),
                    state: JobState::Superseded,
                    reason: Some(reason),
                };
                self.events.push(self.t.event(system(), kind, Some(seq)));
            }
        }
        Ok(())
    }
}

/// The triggers whose jobs led to an event, by its chain of causes.
async fn lineage(t: &Triggers, event: &Event) -> Result<Vec<String>> {
    let causes = t.db().causes(event.cause, CHAIN).await?;
    Ok(causes
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::TriggerFired { trigger, .. } | EventKind::JobStarted { trigger, .. } => Some(trigger),
            _ => None,
        })
        .collect())
}

//! What follows from an event: wait for more, start a job, or say why not.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_core::declare::{Concurrency, RateLimit};
use tidemill_core::{Event, Timestamp};

use crate::rule::{Rule, Rules};
use crate::{Details, Signal, signals};

/// How often a trigger may start a job on what it may itself have set off, where the project file does not say.
pub const LOOP_LIMIT: RateLimit = RateLimit { count: 3, per: Duration::from_secs(24 * 3600) };

/// The most jobs of one trigger that wait.
pub const QUEUE: usize = 32;

/// A stream of events without a pause is not waited for longer than so many times the debounce.
const PATIENCE: u32 = 10;

/// What is known when an event is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The time now.
    pub now: Timestamp,
    /// Triggers whose jobs led to the event, by its chain of causes.
    pub lineage: Vec<String>,
    /// What is known of each trigger, by name.
    pub triggers: BTreeMap<String, TriggerState>,
}

/// What is known of a trigger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriggerState {
    /// Events that wait for more of their kind.
    pub pending: Option<Pending>,
    /// Jobs that wait or run, oldest first.
    pub open: Vec<u64>,
    /// When jobs were made, at least as far back as its limit reaches.
    pub fired: Vec<Timestamp>,
    /// Whether a job of it runs now.
    pub running: bool,
}

/// Events that wait for more of their kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The number of the last of them, which becomes the cause.
    pub event: u64,
    /// How many they are.
    pub events: u64,
    /// When the first of them came.
    pub since: Timestamp,
    /// When they fire, if no other comes.
    pub due: Timestamp,
    /// What the last of them says.
    pub details: Details,
    /// Whether one of them may have been set off by the trigger itself.
    pub own: bool,
}

/// What follows for one trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// The event waits for more of its kind.
    Wait {
        /// The trigger.
        trigger: String,
        /// All that waits now.
        pending: Pending,
    },
    /// A job is made.
    Fire {
        /// The trigger.
        trigger: String,
        /// The event that is the cause.
        cause: u64,
        /// How many events count as this one.
        events: u64,
        /// What the job is told.
        details: Details,
        /// Jobs whose place it takes.
        supersedes: Vec<u64>,
    },
    /// Nothing is started.
    Suppress {
        /// The trigger.
        trigger: String,
        /// The event that is the cause.
        cause: u64,
        /// Why, for people.
        reason: String,
    },
}

/// What `event` sets off.
pub fn react(event: &Event, rules: &Rules, state: &State) -> Vec<Reaction> {
    let Some(signal) = signals(event, &rules.project) else { return Vec::new() };
    let listening = rules.rules.iter().filter(|rule| signal.is_for(&rule.trigger.name, &rule.trigger.when));
    listening.map(|rule| one(event.seq, &signal, rule, state)).collect()
}

/// What has waited long enough.
pub fn due(rules: &Rules, state: &State) -> Vec<Reaction> {
    let nothing = TriggerState::default();
    rules
        .rules
        .iter()
        .filter_map(|rule| {
            let known = state.triggers.get(&rule.trigger.name).unwrap_or(&nothing);
            let pending = known.pending.as_ref().filter(|pending| pending.due <= state.now)?;
            let asked = Asked {
                cause: pending.event,
                events: pending.events,
                details: pending.details.clone(),
                own: pending.own,
                by_hand: false,
            };
            Some(decide(rule, known, state.now, asked))
        })
        .collect()
}

fn one(seq: u64, signal: &Signal, rule: &Rule, state: &State) -> Reaction {
    let nothing = TriggerState::default();
    let name = &rule.trigger.name;
    let known = state.triggers.get(name).unwrap_or(&nothing);
    let own = signal.is_alert() || state.lineage.contains(name) || (signal.is_of_ours() && known.running);
    let wait = rule.trigger.debounce;
    if wait.is_zero() || signal.is_by_hand() {
        let by_hand = signal.is_by_hand();
        let asked = Asked { cause: seq, events: 1, details: signal.details(), own, by_hand };
        return decide(rule, known, state.now, asked);
    }
    let before = known.pending.as_ref();
    let since = before.map_or(state.now, |pending| pending.since);
    let due = state.now.plus(wait).min(since.plus(wait * PATIENCE));
    let pending = Pending {
        event: seq,
        events: before.map_or(0, |pending| pending.events) + 1,
        since,
        due,
        details: signal.details(),
        own: own || before.is_some_and(|pending| pending.own),
    };
    Reaction::Wait { trigger: name.clone(), pending }
}

/// What a trigger is asked to start.
struct Asked {
    cause: u64,
    events: u64,
    details: Details,
    /// The trigger may have set it off itself.
    own: bool,
    by_hand: bool,
}

/// Whether a job is made: first how often, then what else is open.
fn decide(rule: &Rule, known: &TriggerState, now: Timestamp, asked: Asked) -> Reaction {
    let trigger = rule.trigger.name.clone();
    let Asked { cause, events, details, own, by_hand } = asked;
    let no = |reason: String| Reaction::Suppress { trigger: trigger.clone(), cause, reason };
    let (limit, is_loop) = match rule.trigger.limit {
        Some(limit) => (Some(limit), own),
        None => (own.then_some(LOOP_LIMIT), true),
    };
    if let Some(limit) = limit.filter(|_| !by_hand) {
        let recent = known.fired.iter().filter(|at| now.since(**at) < limit.per).count();
        if recent >= limit.count as usize {
            return no(over_limit(limit, is_loop));
        }
    }
    let supersedes = match rule.trigger.concurrency {
        Concurrency::Reject if !known.open.is_empty() => {
            let job = known.open[0];
            return no(format!("job {job} of this trigger is not done, and `concurrency` is `reject`"));
        }
        Concurrency::Queue if known.open.len() >= QUEUE => {
            return no(format!("{QUEUE} jobs of this trigger are not done; no more are queued"));
        }
        Concurrency::Supersede => known.open.clone(),
        Concurrency::Reject | Concurrency::Queue => Vec::new(),
    };
    Reaction::Fire { trigger: trigger.clone(), cause, events, details, supersedes }
}

fn over_limit(limit: RateLimit, is_loop: bool) -> String {
    let times = match limit.count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    };
    let per = words(limit.per);
    if is_loop {
        format!(
            "loop protection: what this trigger may have set off itself starts it at most {times} in {per}; \
             `limit` in the project file changes that, and `tidemill trigger fire` starts it at any time"
        )
    } else {
        format!("the trigger has started work {times} in {per}, which is its `limit`")
    }
}

/// `1d`, `90m`.
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    for (unit, size) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds >= size && seconds.is_multiple_of(size) {
            return format!("{}{unit}", seconds / size);
        }
    }
    if time.subsec_millis() == 0 { format!("{seconds}s") } else { format!("{}ms", time.as_millis()) }
}

impl State {
    /// Notes what was done about a reaction; `job` is the number of a job that was made.
    pub fn apply(&mut self, reaction: &Reaction, job: Option<u64>) {
        let now = self.now;
        match reaction {
            Reaction::Wait { trigger, pending } => {
                self.triggers.entry(trigger.clone()).or_default().pending = Some(pending.clone());
            }
            Reaction::Fire { trigger, cause, supersedes, .. } => {
                let known = self.triggers.entry(trigger.clone()).or_default();
                known.pending = known.pending.take().filter(|pending| pending.event != *cause);
                known.open.retain(|open| !supersedes.contains(open));
                known.open.extend(job);
                known.fired.push(now);
            }
            Reaction::Suppress { trigger, cause, .. } => {
                let known = self.triggers.entry(trigger.clone()).or_default();
                known.pending = known.pending.take().filter(|pending| pending.event != *cause);
            }
        }
    }
}

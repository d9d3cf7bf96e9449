//! Writes what windows came to: windows, what is remembered, alerts, messages and events, in one transaction.

use std::collections::BTreeMap;

use tidemill_core::declare::Objective;
use tidemill_core::{Actor, Digest, EventKind, NewEvent, Timestamp, hex};
use tidemill_db::monitoring::{Alert, NewAlert, NewAlertDelivery, NewJudged, RestsOn, Stream};
use tidemill_db::{Db, Tx};
use tidemill_monitor::alert::{Change, Phase, Weight, fingerprint, order};
use tidemill_monitor::window::Window;
use tidemill_monitor::{Declaration, Message, Notice, Remembered, State, Verdict, Watch};
use tidemill_registry::{Code, Error};

/// A window that was judged.
pub(super) struct Made {
    pub(super) watch: Watch,
    pub(super) window: Window,
    pub(super) version: Option<(String, String)>,
    pub(super) predictions: u64,
    pub(super) profile: Option<Digest>,
    /// The outcomes that it rests on, where it is judged again when there are others.
    pub(super) rests_on: Option<RestsOn>,
    pub(super) remembered: Remembered,
}

/// An alert that began to fire or is over, for those who are told.
pub(super) struct Told {
    pub(super) alert: Alert,
    pub(super) change: Change,
    pub(super) until: Timestamp,
}

/// Writes windows of an endpoint, in the order in which they were judged. `revisions` counts the windows of each series that the
/// verdicts rest on; where somebody else judged one in between nothing is written, and the caller looks again.
pub(super) async fn keep(
    db: &Db,
    declaration: &Declaration,
    revisions: &BTreeMap<String, u64>,
    made: &[Made],
    stream: Stream,
    at: Timestamp,
) -> Result<Vec<Told>, Error> {
    let endpoint = &declaration.endpoint;
    let mut tx = db.begin().await?;
    let (mut events, mut told, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
    let mut revisions = revisions.clone();
    for made in made {
        let revision = revisions.entry(made.watch.id.clone()).or_default();
        let memory = text(&made.remembered.memory)?;
        if !tx.put_monitor_series(endpoint, &made.watch.id, *revision, &memory).await? {
            return Err(overtaken(&made.watch.id));
        }
        *revision += 1;
        let verdict = text(&made.remembered.verdict)?;
        let evidence = Digest::of(verdict.as_bytes());
        let (model, version) = made.version.clone().unzip();
        let stored = NewJudged {
            endpoint: endpoint.clone(),
            watch: made.watch.id.clone(),
            from: made.window.from,
            to: made.window.to,
            state: made.remembered.verdict.state.name().to_owned(),
            model,
            version,
            predictions: made.predictions,
            verdict: verdict.clone(),
            profile: made.profile,
            rests_on: made.rests_on,
        };
        let Some(window) = tx.add_judged_window(&stored, at).await? else {
            return Err(overtaken(&made.watch.id));
        };
        verdicts.push(verdict);
        let turn = Turn {
            watch: &made.watch,
            verdict: &made.remembered.verdict,
            change: made.remembered.change,
            phase: made.remembered.memory.phase,
            window: made.window,
            id: window,
        };
        if let Some(alert) = alert(&mut tx, declaration, &turn).await? {
            events.extend(alert_event(&alert, evidence));
            told.push(alert);
        }
    }
    tell(&mut tx, declaration, &told, at).await?;
    tx.put_monitor_stream(endpoint, stream).await?;
    if let Some(until) = made.iter().map(|made| made.window.to).max() {
        let count =
            |state: State| made.iter().filter(|made| made.remembered.verdict.state == state).count() as u64;
        let kind = EventKind::WindowsEvaluated {
            endpoint: endpoint.clone(),
            windows: made.len() as u64,
            broken: count(State::Broken),
            no_data: count(State::NoData),
            until,
            evidence: Digest::of(verdicts.join("\n").as_bytes()),
        };
        events.insert(0, kind);
    }
    let events = events
        .into_iter()
        .map(|kind| NewEvent { at, actor: Actor::system("monitors"), kind, cause: None })
        .collect();
    tx.commit(events).await?;
    Ok(told)
}

/// A window with which an alert may change.
pub(super) struct Turn<'a> {
    pub(super) watch: &'a Watch,
    pub(super) verdict: &'a Verdict,
    /// What becomes of the alert.
    pub(super) change: Option<Change>,
    /// How it stands afterwards.
    pub(super) phase: Phase,
    pub(super) window: Window,
    /// The number of the window.
    pub(super) id: u64,
}

/// Takes the alert of a series on.
pub(super) async fn alert(
    tx: &mut Tx,
    declaration: &Declaration,
    turn: &Turn<'_>,
) -> Result<Option<Told>, Error> {
    let endpoint = &declaration.endpoint;
    let (watch, verdict, window) = (turn.watch, turn.verdict, turn.id);
    let Some(monitor) = watch.alert() else { return Ok(None) };
    let id = fingerprint(endpoint, &watch.id);
    let open = tx.open_alert(id).await?;
    let Some(change) = turn.change else {
        // While it is broken, the alert says what is known now of the last window that was.
        if let Some(mut open) =
            open.filter(|open| verdict.state == State::Broken && open.made.window <= window)
        {
            (open.made.why, open.made.at_risk, open.made.window) =
                (verdict.why.clone(), verdict.at_risk, window);
            tx.update_alert(&open).await?;
        }
        return Ok(None);
    };
    let since = turn.phase.since().unwrap_or(turn.window.from);
    let until = turn.window.to;
    let mut alert = match open {
        Some(open) => open,
        None => {
            let currency = declaration.objective.as_ref().and_then(currency);
            let new = NewAlert {
                fingerprint: id,
                endpoint: endpoint.clone(),
                watch: watch.id.clone(),
                monitor: monitor.to_owned(),
                since,
                why: verdict.why.clone(),
                at_risk: verdict.at_risk,
                currency,
                window,
            };
            let fired_at = (change == Change::Firing).then_some(until);
            let number = tx.add_alert(&new, change.name(), fired_at).await?;
            Alert { id: number, state: change.name().to_owned(), fired_at, ended_at: None, made: new }
        }
    };
    change.name().clone_into(&mut alert.state);
    match change {
        Change::Firing => alert.fired_at = Some(until),
        Change::Resolved | Change::Dropped => alert.ended_at = Some(until),
        Change::Pending => {}
    }
    alert.made.why.clone_from(&verdict.why);
    if verdict.state == State::Broken {
        (alert.made.at_risk, alert.made.window) = (verdict.at_risk, window);
    }
    tx.update_alert(&alert).await?;
    Ok(matches!(change, Change::Firing | Change::Resolved).then_some(Told { alert, change, until }))
}

/// Queues one message for each receiver about everything that changed.
pub(super) async fn tell(
    tx: &mut Tx,
    declaration: &Declaration,
    told: &[Told],
    at: Timestamp,
) -> Result<(), Error> {
    if told.is_empty() {
        return Ok(());
    }
    let mut sorted: Vec<&Told> = told.iter().collect();
    // Changes of one alert stay in their order.
    let (all, weight) =
        (told, |told: &Told| Weight { at_risk: told.alert.made.at_risk, since: told.alert.made.since });
    let last = |told: &Told| {
        let same = |other: &&Told| other.alert.made.fingerprint == told.alert.made.fingerprint;
        weight(all.iter().rfind(same).unwrap_or(told))
    };
    sorted.sort_by(|a, b| order(last(a), last(b)));
    let message = Message {
        project: declaration.project.clone(),
        endpoint: declaration.endpoint.clone(),
        alerts: sorted.into_iter().map(|told| notice(told, at)).collect(),
    };
    let body = text(&message)?;
    for receiver in &declaration.receivers {
        let delivery = NewAlertDelivery {
            id: fresh_id()?,
            endpoint: declaration.endpoint.clone(),
            receiver: text(receiver)?,
            body: body.clone(),
        };
        tx.queue_alert_delivery(&delivery, at).await?;
    }
    Ok(())
}

/// What is said again of alerts of an endpoint that fire.
pub(super) fn still_firing(declaration: &Declaration, alerts: Vec<(Alert, Timestamp)>) -> Message {
    let again = |(alert, at): (Alert, Timestamp)| {
        let until = alert.fired_at.unwrap_or(alert.made.since);
        notice(&Told { alert, change: Change::Firing, until }, at)
    };
    Message {
        project: declaration.project.clone(),
        endpoint: declaration.endpoint.clone(),
        alerts: alerts.into_iter().map(again).collect(),
    }
}

fn notice(told: &Told, at: Timestamp) -> Notice {
    let made = &told.alert.made;
    Notice {
        alert: told.alert.id,
        fingerprint: made.fingerprint,
        monitor: made.monitor.clone(),
        watch: made.watch.clone(),
        firing: told.change == Change::Firing,
        since: made.since,
        until: told.until,
        at,
        why: made.why.clone(),
        at_risk: made.at_risk,
        currency: made.currency.clone(),
    }
}

/// An identifier of a message that nobody had before.
fn fresh_id() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::new(Code::InternalError, format!("there is no randomness: {error}")))?;
    Ok(format!("msg_{}", hex(&bytes)))
}

pub(super) fn currency(objective: &Objective) -> Option<String> {
    objective.costs.as_ref()?.currency.clone()
}

pub(super) fn alert_event(told: &Told, evidence: Digest) -> Option<EventKind> {
    let Told { alert, until, .. } = told;
    let made = &alert.made;
    let (endpoint, monitor, watch) = (made.endpoint.clone(), made.monitor.clone(), made.watch.clone());
    match told.change {
        Change::Firing => Some(EventKind::AlertFiring {
            alert: alert.id,
            fingerprint: made.fingerprint,
            endpoint,
            monitor,
            watch,
            since: made.since,
            until: *until,
            why: made.why.clone(),
            at_risk_cents: made.at_risk.map(|money| (money * 100.0).round() as i64),
            currency: made.currency.clone(),
            evidence,
        }),
        Change::Resolved => Some(EventKind::AlertResolved {
            alert: alert.id,
            fingerprint: made.fingerprint,
            endpoint,
            monitor,
            watch,
            until: *until,
            why: made.why.clone(),
            evidence,
        }),
        Change::Pending | Change::Dropped => None,
    }
}

pub(super) fn text<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::new(Code::InternalError, error.to_string()))
}

pub(super) fn overtaken(watch: &str) -> Error {
    Error::new(Code::ResourceConflict, format!("another server judged a window of `{watch}` in between"))
}

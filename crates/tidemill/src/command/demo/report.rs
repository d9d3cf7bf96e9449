//! What happened, and against what.

use serde::Serialize;
use serde_json::json;

use super::name;
use super::tally::Policy;
use crate::output::{Align, Console, Table, count};

/// A release and how its rollout ended.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Ended {
    pub(super) version: u64,
    /// It learned from the ninety days before.
    pub(super) trained_until: String,
    /// What it was trained for.
    pub(super) why: String,
    /// Whether a feature of it was mis-joined.
    pub(super) is_harmful: bool,
    pub(super) began: String,
    pub(super) phase: String,
    pub(super) ended: Option<String>,
    /// Flights on which both models answered and whose outcome is known.
    pub(super) compared: u64,
    /// How much more a decision by it costs on these.
    pub(super) dearer: Option<f64>,
    /// What the envelope said; nothing of what somebody released by hand.
    pub(super) envelope: Option<Envelope>,
}

/// What the envelope of the project said of a release that a trigger made.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Envelope {
    /// Whether it went on by itself.
    pub(super) inside: bool,
    /// In words.
    pub(super) why: String,
}

/// An alert that fired.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Alarm {
    pub(super) monitor: String,
    pub(super) fired: String,
    pub(super) why: String,
    pub(super) ended: Option<String>,
}

/// Everything that is told.
pub(super) struct Told {
    pub(super) alerts: Vec<Alarm>,
    pub(super) currency: String,
    pub(super) asked: u64,
    pub(super) failed: u64,
    pub(super) outcomes: u64,
    pub(super) rollouts: Vec<Ended>,
    pub(super) policies: Vec<Policy>,
    /// The first month.
    pub(super) first: usize,
}

pub(super) fn print(told: &Told, console: &Console) -> anyhow::Result<()> {
    if console.json() {
        let policies: Vec<_> = told
            .policies
            .iter()
            .map(|policy| {
                let whole = policy.whole();
                let months: Vec<f64> = policy.months.iter().map(|month| month.mean()).collect();
                json!({
                    "policy": policy.name, "cost": whole.cost, "cost_per_flight": whole.mean(),
                    "missed": whole.missed, "false_alarms": whole.false_alarms, "brier": whole.brier(),
                    "months": months,
                })
            })
            .collect();
        return console.value(&json!({
            "currency": told.currency, "requests": told.asked, "failed": told.failed, "outcomes": told.outcomes,
            "alerts": told.alerts, "rollouts": told.rollouts, "policies": policies,
        }));
    }
    console.line(format!(
        "{} requests, {} failed; {} outcomes, each after its flight had landed",
        count(told.asked),
        told.failed,
        count(told.outcomes)
    ));
    console.line("");
    alerts(told, console);
    console.line("");
    rollouts(told, console);
    console.line("");
    money(told, console);
    console.line("");
    months(told, console);
    Ok(())
}

fn alerts(told: &Told, console: &Console) {
    let mut table = Table::new(&[
        ("alert", Align::Left),
        ("fired", Align::Left),
        ("until", Align::Left),
        ("why", Align::Left),
    ]);
    for alert in &told.alerts {
        let until = alert.ended.clone().unwrap_or_else(|| "-".to_owned());
        table.row([alert.monitor.clone(), alert.fired.clone(), until, alert.why.clone()]);
    }
    console.table(&table);
}

fn rollouts(told: &Told, console: &Console) {
    let mut table = Table::new(&[
        ("version", Align::Right),
        ("trained until", Align::Left),
        ("because", Align::Left),
        ("released", Align::Left),
        ("envelope", Align::Left),
        ("judge", Align::Left),
        ("until", Align::Left),
        ("compared on", Align::Right),
        ("dearer by", Align::Right),
    ]);
    for one in &told.rollouts {
        let verdict = match one.phase.as_str() {
            "complete" if one.compared == 0 => "first release",
            "complete" => "promoted",
            "rolled-back" => "rolled back",
            _ if one.is_outside() && one.ended.is_some() => "not asked; another took its place",
            _ if one.is_outside() => "not asked; it waits for a person",
            "superseded" => "not proven; another took its place",
            _ => "not proven yet",
        };
        let dearer = |amount: f64| format!("{} {amount:.2}", told.currency);
        table.row([
            one.version.to_string(),
            one.trained_until.clone(),
            one.why.clone(),
            one.began.clone(),
            match &one.envelope {
                None => "by hand".to_owned(),
                Some(envelope) if envelope.inside => "inside, went by itself".to_owned(),
                Some(_) => "outside, kept for a person".to_owned(),
            },
            verdict.to_owned(),
            one.ended.clone().unwrap_or_else(|| "-".to_owned()),
            count(one.compared),
            one.dearer.map_or_else(|| "-".to_owned(), dearer),
        ]);
    }
    console.table(&table);
    for one in told.rollouts.iter().filter(|one| one.is_outside()) {
        let why = one.envelope.as_ref().map_or("", |envelope| envelope.why.as_str());
        console.line(format!("version {} of {}: {why}", one.version, one.began));
    }
}

impl Ended {
    /// Whether it waited for a person.
    fn is_outside(&self) -> bool {
        self.envelope.as_ref().is_some_and(|envelope| !envelope.inside)
    }
}

fn money(told: &Told, console: &Console) {
    let mut table = Table::new(&[
        ("policy", Align::Left),
        ("cost", Align::Right),
        ("per flight", Align::Right),
        ("late, missed", Align::Right),
        ("false alarms", Align::Right),
        ("Brier score", Align::Right),
        ("against Tidemill", Align::Right),
    ]);
    let own = told.policies.first().map_or(0.0, |policy| policy.whole().cost);
    for policy in &told.policies {
        let whole = policy.whole();
        table.row([
            policy.name.to_owned(),
            format!("{} {}", told.currency, count(whole.cost.round() as u64)),
            format!("{:.2}", whole.mean()),
            count(whole.missed),
            count(whole.false_alarms),
            format!("{:.4}", whole.brier()),
            format!("{:+.0}", whole.cost - own),
        ]);
    }
    console.table(&table);
}

fn months(told: &Told, console: &Console) {
    let mut columns = vec![("cost per flight", Align::Left)];
    let months = told.policies.first().map_or(0, |policy| policy.months.len());
    columns.extend((0..months).map(|month| (&name(told.first + month)[..3], Align::Right)));
    let mut table = Table::new(&columns);
    for policy in &told.policies {
        let means = policy.months.iter().map(|month| format!("{:.2}", month.mean()));
        table.row(std::iter::once(policy.name.to_owned()).chain(means));
    }
    console.table(&table);
}

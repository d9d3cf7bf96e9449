//! The triggers of a project, ready to be asked.

use tidemill_core::declare::{Missed, Trigger, When};

use crate::schedule::{BadSchedule, Schedule};

/// One trigger.
#[derive(Clone, Debug)]
pub struct Rule {
    /// As it is declared.
    pub trigger: Trigger,
    /// When it fires, where it does so by the clock.
    pub schedule: Option<(Schedule, Missed)>,
}

/// The triggers of one project.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The project's name.
    pub project: String,
    /// Its triggers, in the order of the file.
    pub rules: Vec<Rule>,
}

impl Rules {
    /// Of these declarations. The first schedule that cannot be understood ends it.
    pub fn new(project: impl Into<String>, triggers: Vec<Trigger>) -> Result<Self, BadSchedule> {
        let rules = triggers.into_iter().map(Rule::new).collect::<Result<_, _>>()?;
        Ok(Self { project: project.into(), rules })
    }

    /// The trigger of this name.
    pub fn get(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.trigger.name == name)
    }
}

impl Rule {
    fn new(trigger: Trigger) -> Result<Self, BadSchedule> {
        let schedule = match &trigger.when {
            When::Schedule { cron, timezone, missed } => Some((Schedule::parse(cron, timezone)?, *missed)),
            _ => None,
        };
        Ok(Self { trigger, schedule })
    }

    /// Whether something is called over HTTP for it, at `/hooks/NAME`.
    pub fn has_webhook(&self) -> bool {
        match self.trigger.when {
            When::Git { .. } | When::Webhook | When::CloudEvent { .. } | When::Alertmanager { .. } => true,
            When::Schedule { .. }
            | When::Data { .. }
            | When::Expectations { .. }
            | When::Alert { .. }
            | When::Model { .. }
            | When::Environment { .. }
            | When::Message(_) => false,
        }
    }

    /// What kind of event it listens for, and which, in words.
    pub fn words(&self) -> (&'static str, String) {
        match &self.trigger.when {
            When::Schedule { cron, timezone, .. } => ("schedule", format!("{cron} {timezone}")),
            When::Data { dataset, .. } => ("data", dataset.clone()),
            When::Expectations { dataset } => ("expectations", dataset.clone()),
            When::Alert { monitor } => ("alert", monitor.clone()),
            When::Git { branch, remote, .. } => {
                ("git", remote.as_ref().map_or_else(|| branch.clone(), |remote| format!("{remote} {branch}")))
            }
            When::Model { model, alias } => {
                ("model", alias.as_ref().map_or_else(|| model.clone(), |alias| format!("{model}@{alias}")))
            }
            When::Environment { environment } => ("environment", environment.clone()),
            When::Message(source) => ("message", format!("{} {}", source.broker.name(), source.address)),
            When::Webhook => ("webhook", String::new()),
            When::CloudEvent { kind, source } => (
                "cloudevent",
                source.as_ref().map_or_else(|| kind.clone(), |source| format!("{kind} of {source}")),
            ),
            When::Alertmanager { alert } => ("alertmanager", alert.clone()),
        }
    }
}

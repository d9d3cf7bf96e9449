//! Triggers: times, names, and what a trigger can do with what it listens for.

use std::collections::BTreeMap;

use tidemill_core::declare::TriggerAction;
use tidemill_core::did_you_mean;

use super::{Check, cron};
use crate::node::Cursor;
use crate::{GitDecl, Listen, Message, Monitor, Schedule, TriggerDecl, WhenDecl};

impl Check<'_> {
    pub(super) fn triggers(&mut self) {
        let project = self.project;
        let mut named: BTreeMap<&str, usize> = BTreeMap::new();
        for (i, trigger) in project.triggers.iter().enumerate() {
            let at = self.root().key("triggers").item(i);
            self.when(trigger, &at.key("when"));
            self.trigger_name(trigger, &at, i, &mut named);
            let actions = at.key("actions");
            if trigger.actions.is_empty() {
                self.add(
                    &actions.span,
                    "nothing is started",
                    "at least one of `check`, `run`, `release`, `ci`, `test`",
                    None,
                );
            }
            let release = trigger.actions.iter().position(|a| *a == TriggerAction::Release);
            if let Some(i) = release
                && project.release.is_none()
            {
                let hint = "add the section `release:`".to_owned();
                self.add(&actions.item(i).span, "the project declares no release", "", Some(hint));
            }
            if let Some(i) = release
                && trigger.actions.contains(&TriggerAction::Ci)
            {
                let hint = "leave `release` out, or test the commit with `test`".to_owned();
                self.add(&actions.item(i).span, "`ci` releases what it has tested", "", Some(hint));
            }
            self.target(trigger, &at);
            if let Some(limit) = trigger.limit
                && (limit.count == 0 || limit.per.0.is_zero())
            {
                let expected = "at least once in a time above 0";
                self.add(&at.key("limit").span, "the trigger can never start anything", expected, None);
            }
            let has_use = has_webhook(&trigger.when) || matches!(trigger.when, WhenDecl::Message(_));
            if trigger.secret.is_some() && !has_use {
                let hint = "only `webhook`, `git`, `cloudevent` and `alertmanager` have a webhook that is called, and only \
                     `message` a broker";
                let span = at.key("secret").key;
                self.add(&span, "nothing is signed with this secret", "", Some(hint.to_owned()));
            }
        }
    }

    /// Where a trigger releases to: an environment that is there, and another one than the one that it hears of.
    fn target(&mut self, trigger: &TriggerDecl, at: &Cursor<'_>) {
        let Some(release) = &self.project.release else { return };
        let releases =
            trigger.actions.iter().any(|one| matches!(one, TriggerAction::Release | TriggerAction::Ci));
        let target = trigger.to.as_ref().or_else(|| release.environments.keys().next());
        if let Some(to) = &trigger.to {
            let known = release.environments.keys().map(|name| name.as_str());
            self.known("environment", to.as_str(), known, &at.key("to").span);
            if !releases {
                let message = "nothing is released, so `to` says nothing";
                self.add(&at.key("to").key, message, "the action `release` or `ci`", None);
            }
        }
        if let WhenDecl::Environment(heard) = &trigger.when
            && releases
            && target == Some(heard)
        {
            let message = format!("what `{heard}` runs would be released to `{heard}` again");
            let hint = "say with `to` which environment is next".to_owned();
            self.add(&at.key("when").key("environment").span, message, "", Some(hint));
        }
    }

    fn when(&mut self, trigger: &TriggerDecl, when: &Cursor<'_>) {
        let project = self.project;
        match &trigger.when {
            WhenDecl::Schedule(schedule) => {
                let place = when.key("schedule");
                let is_text = place.node.is_none_or(|n| n.as_str().is_some());
                let cron = if is_text { place.clone() } else { place.key("cron") };
                if let Some(message) = cron::problem(schedule.cron()) {
                    let expected =
                        "five fields: minute, hour, day of month, month, day of week; or six, seconds first";
                    self.add(&cron.span, message, expected, None);
                }
                if let Schedule::Zoned(zoned) = schedule
                    && let Some(zone) = &zoned.timezone
                {
                    self.timezone(zone, &place.key("timezone"));
                }
            }
            WhenDecl::Data(name) => {
                let known = project.data.keys().map(|n| n.as_str());
                self.known("dataset", name.as_str(), known, &when.key("data").span);
            }
            WhenDecl::Expectations(name) => {
                let known = project.data.keys().map(|n| n.as_str());
                let span = when.key("expectations").span;
                self.known("dataset", name.as_str(), known, &span);
                if project.data.get(name).is_some_and(|data| data.expect.is_empty()) {
                    let message = format!("`{name}` has no expectations");
                    self.add(&span, message, "a dataset with `expect`", None);
                }
            }
            WhenDecl::Alert(name) => {
                let declared: Vec<&str> = project.monitors.iter().map(Monitor::name).collect();
                let span = when.key("alert").span;
                if Monitor::NAMES.contains(&name.as_str()) && !declared.contains(&name.as_str()) {
                    let hint = Some(format!("add `- {name}: …` to `monitors`"));
                    self.add(&span, format!("no monitor `{name}` is declared"), "", hint);
                } else {
                    self.known("monitor", name, declared, &span);
                }
            }
            WhenDecl::Git(git) => {
                let place = when.key("git");
                let (branch, place) = match git {
                    GitDecl::Branch(branch) => (branch, place),
                    GitDecl::Of(of) => (&of.branch, place.key("branch")),
                };
                // What Git itself refuses in a name, and what it would take for an option.
                let bad = branch.starts_with('-')
                    || branch.contains("..")
                    || branch.chars().any(|c| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c));
                if branch.trim().is_empty() {
                    self.add(&place.span, "the branch is empty", "a branch such as `main`", None);
                } else if bad {
                    self.add(
                        &place.span,
                        format!("`{branch}` is no branch"),
                        "a branch such as `main`",
                        None,
                    );
                }
            }
            WhenDecl::Environment(name) => {
                let environments = project.release.iter().flat_map(|release| release.environments.keys());
                let span = when.key("environment").span;
                self.known("environment", name.as_str(), environments.map(|n| n.as_str()), &span);
            }
            WhenDecl::Message(message) => self.message(message, &when.key("message")),
            WhenDecl::Model(_)
            | WhenDecl::Webhook(_)
            | WhenDecl::CloudEvent(_)
            | WhenDecl::Alertmanager(_) => {}
        }
    }

    fn message(&mut self, message: &Message, at: &Cursor<'_>) {
        let (source, listen) = message.source();
        let server = match listen {
            Listen::At(at) => at.server.as_deref(),
            Listen::Address(_) => None,
        };
        let at = at.key(source.broker.name());
        if source.address.trim().is_empty() || source.address.chars().any(char::is_control) {
            let place =
                if at.node.is_none_or(|n| n.as_str().is_some()) { at.clone() } else { at.key("address") };
            self.add(&place.span, "nothing is listened for", "a subject, a topic or a queue", None);
        }
        let user = server.and_then(|server| server.rsplit_once('@'));
        if let Some((before, _)) = user
            && before.split_once("://").map_or(before, |(_, user)| user).contains(':')
        {
            let hint = "leave the password out and name its place with `secret`";
            self.add_secret(&at.key("server").span, "the address holds a password", hint);
        }
    }

    pub(super) fn timezone(&mut self, zone: &str, at: &Cursor<'_>) {
        if zone.parse::<chrono_tz::Tz>().is_ok() {
            return;
        }
        let hint = did_you_mean(zone, chrono_tz::TZ_VARIANTS.iter().map(|tz| tz.name()));
        // A list of all six hundred helps nobody.
        let hint = hint.filter(|hint| hint.starts_with("did you mean"));
        self.add(
            &at.span,
            format!("there is no time zone `{zone}`"),
            "a name of the IANA time zone database, for example `Europe/Berlin`",
            hint,
        );
    }

    fn trigger_name<'p>(
        &mut self,
        trigger: &'p TriggerDecl,
        at: &Cursor<'_>,
        number: usize,
        named: &mut BTreeMap<&'p str, usize>,
    ) {
        let webhook = match &trigger.when {
            WhenDecl::Webhook(name) => Some(name),
            _ => None,
        };
        if let (Some(name), Some(webhook)) = (&trigger.name, webhook)
            && name != webhook
        {
            let hint = "leave `name` out: the trigger is called as its webhook is".to_owned();
            let message = format!("the webhook is called `{webhook}` and the trigger `{name}`");
            self.add(&at.key("name").span, message, "", Some(hint));
        }
        let Some(name) = trigger.name.as_ref().or(webhook) else { return };
        if let Some(first) = named.insert(name.as_str(), number) {
            let span = if trigger.name.is_some() { at.key("name") } else { at.key("when").key("webhook") };
            let message = format!("two triggers are called `{name}`: number {} and this one", first + 1);
            self.add(&span.span, message, "a name of its own", None);
        }
    }
}

/// Whether something is called over HTTP for this event.
fn has_webhook(when: &WhenDecl) -> bool {
    match when {
        WhenDecl::Git(_) | WhenDecl::Webhook(_) | WhenDecl::CloudEvent(_) | WhenDecl::Alertmanager(_) => true,
        WhenDecl::Schedule(_)
        | WhenDecl::Data(_)
        | WhenDecl::Expectations(_)
        | WhenDecl::Alert(_)
        | WhenDecl::Model(_)
        | WhenDecl::Environment(_)
        | WhenDecl::Message(_) => false,
    }
}

//! What receivers of alerts are sent: one message for all that changed at once at an endpoint, in the words of each kind of receiver.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidemill_core::{Digest, Timestamp};

/// Alerts of an endpoint that began to fire or are over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The project.
    pub project: String,
    /// The endpoint.
    pub endpoint: String,
    /// The alerts, those with the most money at risk first.
    pub alerts: Vec<Notice>,
}

/// One alert of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Its number.
    pub alert: u64,
    /// What it is known by, the same each time that it fires.
    pub fingerprint: Digest,
    /// The kind of monitor.
    pub monitor: String,
    /// The monitor's series.
    pub watch: String,
    /// Whether it fires; else it is over.
    pub firing: bool,
    /// The begin of the first window in which the rule was broken.
    pub since: Timestamp,
    /// The end of the window with which it changed.
    pub until: Timestamp,
    /// When it changed, by the server's clock.
    pub at: Timestamp,
    /// Why, in words.
    pub why: String,
    /// What it may have cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_risk: Option<f64>,
    /// In which currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

impl Notice {
    const fn word(&self) -> &'static str {
        if self.firing { "firing" } else { "resolved" }
    }

    fn money(&self) -> Option<String> {
        let currency = self.currency.as_deref().unwrap_or_default();
        self.at_risk.map(|money| format!("{money:.2} {currency} at risk").replace("  ", " "))
    }

    /// `since` and `until` in words.
    fn time(&self) -> String {
        format!("since {}, window until {}", self.since, self.until)
    }
}

impl Message {
    /// One line: `flights-late: 2 alerts firing (drift, quality:roc_auc), 1 resolved (service)`.
    pub fn subject(&self) -> String {
        let named = |firing: bool| {
            let watches: Vec<&str> = self
                .alerts
                .iter()
                .filter(|notice| notice.firing == firing)
                .map(|notice| notice.watch.as_str())
                .collect();
            let word = if firing { "firing" } else { "resolved" };
            (!watches.is_empty()).then(|| format!("{} {word} ({})", watches.len(), watches.join(", ")))
        };
        let parts: Vec<String> = [named(true), named(false)].into_iter().flatten().collect();
        format!("{}: {}", self.endpoint, parts.join(", "))
    }

    /// Plain text for people, an alert a paragraph.
    pub fn text(&self) -> String {
        let mut text = format!("{}, endpoint {}\n", self.project, self.endpoint);
        for notice in &self.alerts {
            text.push_str(&format!("\n{} {}: {}\n", notice.watch, notice.word(), notice.why));
            text.push_str(&format!("{}\n", notice.time()));
            if let Some(money) = notice.money() {
                text.push_str(&format!("{money}\n"));
            }
        }
        text
    }

    /// The body of a plain webhook. `type` and `timestamp` are those of Standard Webhooks.
    pub fn webhook(&self, at: Timestamp) -> Value {
        json!({"type": "tidemill.alerts", "timestamp": at.to_string(), "data": self})
    }

    /// The body of an incoming webhook of Slack: a text for notifications and old clients, and blocks. Whatever stands in alerts is
    /// text and not markup (<https://api.slack.com/reference/surfaces/formatting#escaping>).
    pub fn slack(&self) -> Value {
        let mut blocks = vec![json!({
            "type": "header", "text": {"type": "plain_text", "text": clipped(&self.subject(), 150)},
        })];
        for notice in self.alerts.iter().take(SLACK_BLOCKS) {
            let sign = if notice.firing { ":rotating_light:" } else { ":white_check_mark:" };
            let mut words =
                format!("{sign} *{}* {}\n{}", escaped(&notice.watch), notice.word(), escaped(&notice.why));
            words.push_str(&format!("\n_{}_", notice.time()));
            if let Some(money) = notice.money() {
                words.push_str(&format!("\n{}", escaped(&money)));
            }
            blocks
                .push(json!({"type": "section", "text": {"type": "mrkdwn", "text": clipped(&words, 3_000)}}));
        }
        json!({"text": escaped(&self.subject()), "blocks": blocks})
    }

    /// One event of CloudEvents 1.0 an alert, in structured mode (`application/cloudevents-batch+json`). The id is that of the message
    /// and the alert, so that a repetition is one.
    pub fn cloudevents(&self, id: &str) -> Value {
        let event = |notice: &Notice| {
            json!({
                "specversion": "1.0",
                "id": format!("{id}-{}", notice.alert),
                "source": format!("/tidemill/{}/endpoints/{}", self.project, self.endpoint),
                "type": format!("tidemill.alert.{}", notice.word()),
                "subject": format!("alert:{}", notice.alert),
                "time": notice.at.to_string(),
                "datacontenttype": "application/json",
                "data": notice,
            })
        };
        Value::from(self.alerts.iter().map(event).collect::<Vec<_>>())
    }

    /// Leaves out alerts that fire no more by now. Whoever was not told of the begin of an alert need not be once it is over.
    #[must_use]
    pub fn without(mut self, over: &[u64]) -> Self {
        self.alerts.retain(|notice| !notice.firing || !over.contains(&notice.alert));
        self
    }

    /// The body of `POST /api/v2/alerts` of Alertmanager, sent at `now`. Times are those of the server's clock, since Alertmanager ends
    /// alerts by its own; the time of predictions is an annotation. An alert that fires ends soon unless it is sent again, as
    /// Alertmanager wants it of its clients; of one that began and is over only the latter is said.
    pub fn alertmanager(&self, now: Timestamp) -> Value {
        let alert = |notice: &Notice| {
            let labels = BTreeMap::from([
                ("alertname", format!("tidemill_{}", notice.monitor)),
                ("project", self.project.clone()),
                ("endpoint", self.endpoint.clone()),
                ("watch", notice.watch.clone()),
            ]);
            let mut annotations = BTreeMap::from([
                ("summary", format!("{} of {} {}", notice.watch, self.endpoint, notice.word())),
                ("description", notice.why.clone()),
                ("window", notice.time()),
            ]);
            if let Some(money) = notice.money() {
                annotations.insert("at_risk", money);
            }
            let mut alert = json!({"labels": labels, "annotations": annotations});
            if notice.firing {
                alert["startsAt"] = json!(notice.at.to_string());
                alert["endsAt"] = json!(now.plus(LIVES).to_string());
            } else {
                alert["endsAt"] = json!(notice.at.to_string());
            }
            alert
        };
        let is_over = |notice: &Notice| {
            self.alerts.iter().any(|other| {
                !other.firing && other.fingerprint == notice.fingerprint && other.until > notice.until
            })
        };
        Value::from(
            self.alerts
                .iter()
                .filter(|notice| !notice.firing || !is_over(notice))
                .map(alert)
                .collect::<Vec<_>>(),
        )
    }
}

/// How often an alert that fires is sent again to Alertmanager.
pub const AGAIN: std::time::Duration = std::time::Duration::from_secs(60);
/// How long it lives there from then on: more than a few that got lost.
const LIVES: std::time::Duration = std::time::Duration::from_secs(5 * 60);
/// A message of Slack has at most 50 blocks.
const SLACK_BLOCKS: usize = 40;
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn clipped(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        let notice = |watch: &str, firing, at_risk| Notice {
            alert: if firing { 7 } else { 8 },
            fingerprint: Digest::of(watch.as_bytes()),
            monitor: watch.split(':').next().unwrap().to_owned(),
            watch: watch.to_owned(),
            firing,
            since: Timestamp::from_millis(0),
            until: Timestamp::from_millis(86_400_000),
            at: Timestamp::from_millis(90_000_000),
            why: "inputs moved: <b>distance</b> & more".to_owned(),
            at_risk,
            currency: Some("EUR".to_owned()),
        };
        Message {
            project: "flights".to_owned(),
            endpoint: "late".to_owned(),
            alerts: vec![notice("drift", true, Some(3_200.0)), notice("quality:roc_auc", false, None)],
        }
    }

    #[test]
    fn every_receiver_gets_its_own_words() {
        let message = message();
        assert_eq!(message.subject(), "late: 1 firing (drift), 1 resolved (quality:roc_auc)");
        assert_eq!(
            message.text(),
            "flights, endpoint late\n\ndrift firing: inputs moved: <b>distance</b> & more\n\
             since 1970-01-01T00:00:00Z, window until 1970-01-02T00:00:00Z\n3200.00 EUR at risk\n\n\
             quality:roc_auc resolved: inputs moved: <b>distance</b> & more\n\
             since 1970-01-01T00:00:00Z, window until 1970-01-02T00:00:00Z\n"
        );
        let slack = message.slack();
        assert_eq!(slack["blocks"].as_array().unwrap().len(), 3);
        let first = slack["blocks"][1]["text"]["text"].as_str().unwrap();
        assert!(
            first.contains("&lt;b&gt;distance&lt;/b&gt; &amp; more") && !first.contains("<b>"),
            "{first}"
        );
        let events = message.cloudevents("m-1");
        assert_eq!(events[0]["type"], "tidemill.alert.firing");
        assert_eq!((&events[0]["specversion"], &events[1]["id"]), (&json!("1.0"), &json!("m-1-8")));
        // An hour later, since it did not arrive before.
        let alerts = message.alertmanager(Timestamp::from_millis(93_600_000));
        assert_eq!(alerts[0]["labels"]["alertname"], "tidemill_drift");
        assert_eq!(
            (&alerts[0]["startsAt"], &alerts[0]["endsAt"]),
            (&json!("1970-01-02T01:00:00Z"), &json!("1970-01-02T02:05:00Z"))
        );
        assert_eq!((&alerts[1]["endsAt"], alerts[1].get("startsAt")), (&json!("1970-01-02T01:00:00Z"), None));
        // What began and ended with the same look is over.
        let mut both = message.clone();
        let ended = Timestamp::from_millis(2 * 86_400_000);
        both.alerts.push(Notice { firing: false, until: ended, ..both.alerts[0].clone() });
        let alerts = both.alertmanager(Timestamp::from_millis(0));
        assert_eq!((alerts.as_array().unwrap().len(), alerts[1].get("startsAt")), (2, None));
        assert!(message.clone().without(&[8]) == message && message.clone().without(&[7]).alerts.len() == 1);
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&text).unwrap(), message);
        assert_eq!(message.webhook(Timestamp::from_millis(0))["data"]["alerts"][0]["at_risk"], 3_200.0);
        assert_eq!((clipped("abcdef", 4), clipped("äöü", 3)), ("abc…".to_owned(), "äöü".to_owned()));
    }
}

//! The envelope of continuous training: what a release that nobody has looked at may be. Outside of it a person must agree.
//!
//! It is about how a version was made, and says nothing of what becomes of it in production: that is the judge's.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidemill_core::declare::Between;
use tidemill_core::words::number;
use tidemill_core::{Facts, Timestamp};

/// What may be without anybody who looks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Names of what may be other data than those of the release that runs, with `*` for any text; everything where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Vec<String>>,
    /// Between which values parameters must be.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Between>,
    /// Between which values metrics must be.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, Between>,
    /// The largest share of decisions that were right and are wrong now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flips: Option<f64>,
    /// From when on everything is outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// A version, and what the log knows of how it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// The registered model.
    pub model: String,
    /// The version.
    pub version: u64,
    /// How it was made; nothing where no run has registered it.
    pub facts: Option<Facts>,
}

impl Version {
    fn name(&self) -> String {
        format!("{}@{}", self.model, self.version)
    }
}

impl Envelope {
    /// In which ways a version is outside; none where it is inside. Evidence that is missing is outside. `running` is what has the
    /// requests now.
    pub fn outside(&self, candidate: &Version, running: Option<&Version>, now: Timestamp) -> Vec<String> {
        let mut why = Vec::new();
        if let Some(expires) = self.expires.filter(|expires| *expires <= now) {
            why.push(format!("it expired on {expires}"));
        }
        let wants_facts = self.data.is_some()
            || self.flips.is_some()
            || !(self.params.is_empty() && self.metrics.is_empty());
        match &candidate.facts {
            Some(facts) => {
                self.data(facts, running, &mut why);
                self.params(facts, &mut why);
                self.metrics(facts, &mut why);
                self.flips(candidate, facts, running, &mut why);
            }
            None if wants_facts => {
                why.push(format!("nothing is recorded of how {} was made", candidate.name()));
            }
            None => {}
        }
        why
    }

    fn data(&self, facts: &Facts, running: Option<&Version>, why: &mut Vec<String>) {
        let Some(allowed) = &self.data else { return };
        let before = match running {
            None => BTreeMap::new(),
            Some(Version { facts: Some(facts), .. }) => facts.data.clone(),
            Some(unknown) => {
                return why
                    .push(format!("nothing is recorded of the data of {}, which runs", unknown.name()));
            }
        };
        let names: BTreeSet<&String> = facts.data.keys().chain(before.keys()).collect();
        let changed: Vec<String> = names
            .into_iter()
            .filter(|name| facts.data.get(*name) != before.get(*name))
            .filter(|name| !allowed.iter().any(|pattern| fits(pattern, name)))
            .map(|name| format!("`{name}`"))
            .collect();
        if !changed.is_empty() {
            let verb = if changed.len() == 1 { "is" } else { "are" };
            why.push(format!("{} {verb} not what the running release was made of", changed.join(", ")));
        }
    }

    fn params(&self, facts: &Facts, why: &mut Vec<String>) {
        for (name, bounds) in &self.params {
            let Some(text) = facts.params.get(name) else {
                why.push(format!("no parameter {name} is recorded"));
                continue;
            };
            // What is no number is between no two of them.
            let value = text.parse().unwrap_or(f64::NAN);
            why.extend(bounds.broken(value).map(|how| format!("{name} {text} {how}")));
        }
    }

    fn metrics(&self, facts: &Facts, why: &mut Vec<String>) {
        for (name, bounds) in &self.metrics {
            match facts.metrics.get(name) {
                None => why.push(format!("no metric {name} is recorded")),
                Some(value) => {
                    why.extend(bounds.broken(*value).map(|how| format!("{name} {} {how}", number(*value))));
                }
            }
        }
    }

    fn flips(&self, candidate: &Version, facts: &Facts, running: Option<&Version>, why: &mut Vec<String>) {
        let Some(most) = self.flips else { return };
        let Some(running) = running else {
            return why.push("nothing runs that decisions could flip against".to_owned());
        };
        let Some(flips) = facts.flips else {
            return why.push(format!("flips against {} were not measured", running.name()));
        };
        if running.model != candidate.model || running.version != flips.against {
            return why.push(format!(
                "flips were measured against {}@{}, and {} runs",
                candidate.model,
                flips.against,
                running.name()
            ));
        }
        if flips.share > most {
            let percent = |share: f64| number(share * 100.0);
            why.push(format!("{} % of decisions flip, more than {} %", percent(flips.share), percent(most)));
        }
    }
}

/// Whether a name is what a pattern says, in which `*` stands for any text.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(before) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        // The first place is the best one: it leaves the most for what follows.
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use tidemill_core::{Digest, Flips};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn facts(change: impl FnOnce(&mut Facts)) -> Facts {
        let data =
            ["flights", "weather", "sql/features.sql"].map(|name| (name.to_owned(), Digest::of(b"old")));
        let mut facts = Facts {
            step: "train".to_owned(),
            content: None,
            data: data.into(),
            params: [("learning_rate", "0.05"), ("split", "time")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            metrics: [("roc_auc".to_owned(), 0.71)].into(),
            flips: Some(Flips { share: 0.015, against: 3 }),
            ..Facts::default()
        };
        change(&mut facts);
        facts
    }

    fn version(version: u64, facts: Option<Facts>) -> Version {
        Version { model: "late".to_owned(), version, facts }
    }

    fn bounds(min: impl Into<Option<f64>>, max: impl Into<Option<f64>>) -> Between {
        Between { min: min.into(), max: max.into() }
    }

    fn envelope() -> Envelope {
        Envelope {
            data: Some(vec!["flights".to_owned(), "wea*".to_owned()]),
            params: [("learning_rate".to_owned(), bounds(0.01, 0.1))].into(),
            metrics: [("roc_auc".to_owned(), bounds(0.7, None))].into(),
            flips: Some(0.02),
            expires: Some(NOW.plus(std::time::Duration::from_millis(1))),
        }
    }

    fn said(envelope: &Envelope, made: Option<Facts>, running: Option<&Version>) -> String {
        envelope.outside(&version(4, made), running, NOW).join("; ")
    }

    #[test]
    fn what_is_outside() {
        let old = version(3, Some(facts(|_| {})));
        let other = || Digest::of(b"other");
        let table: [(&str, Facts, &str); 12] = [
            ("the same", facts(|_| {}), ""),
            (
                "data that may change",
                facts(|f| f.data.extend([("weather".into(), Digest::of(b"other"))])),
                "",
            ),
            (
                "a file that may not",
                facts(|f| f.data.extend([("sql/features.sql".into(), other())])),
                "`sql/features.sql` is not what the running release was made of",
            ),
            (
                "data that are new, and data that are gone",
                facts(|f| f.data = [("planes".into(), other()), ("flights".into(), other())].into()),
                "`planes`, `sql/features.sql` are not what the running release was made of",
            ),
            (
                "a parameter above",
                facts(|f| f.params.extend([("learning_rate".into(), "0.3".into())])),
                "learning_rate 0.3 is above 0.1",
            ),
            (
                "a parameter that is no number",
                facts(|f| f.params.extend([("learning_rate".into(), "auto".into())])),
                "learning_rate auto is no number",
            ),
            ("no parameter", facts(|f| f.params.clear()), "no parameter learning_rate is recorded"),
            (
                "a metric below",
                facts(|f| f.metrics.extend([("roc_auc".into(), 0.68)])),
                "roc_auc 0.68 is below 0.7",
            ),
            ("at the limit", facts(|f| f.metrics.extend([("roc_auc".into(), 0.7)])), ""),
            ("no metric", facts(|f| f.metrics.clear()), "no metric roc_auc is recorded"),
            ("no flips", facts(|f| f.flips = None), "flips against late@3 were not measured"),
            (
                "many flips",
                facts(|f| f.flips = Some(Flips { share: 0.03, against: 3 })),
                "3 % of decisions flip, more than 2 %",
            ),
        ];
        for (case, made, wanted) in table {
            assert_eq!(said(&envelope(), Some(made), Some(&old)), wanted, "{case}");
        }
        let nothing = "nothing is recorded of how late@4 was made";
        assert_eq!(said(&envelope(), None, Some(&old)), nothing);
        assert_eq!(said(&Envelope::default(), None, None), "");
    }

    #[test]
    fn what_runs_matters() {
        let made = || Some(facts(|_| {}));
        let newer = version(5, made());
        let elsewhere = Version { model: "other".to_owned(), ..version(3, made()) };
        for (running, wanted) in [
            (
                None,
                "`sql/features.sql` is not what the running release was made of; nothing runs that decisions could flip against",
            ),
            (Some(&newer), "flips were measured against late@3, and late@5 runs"),
            (Some(&elsewhere), "flips were measured against late@3, and other@3 runs"),
            (Some(&version(3, None)), "nothing is recorded of the data of late@3, which runs"),
        ] {
            assert_eq!(said(&envelope(), made(), running), wanted);
        }
    }

    #[test]
    fn from_its_end_on_everything_waits() {
        let ended = Envelope { expires: Some(NOW), ..Envelope::default() };
        assert_eq!(said(&ended, None, None), format!("it expired on {NOW}"));
        assert_eq!(ended.outside(&version(4, None), None, Timestamp::from_millis(NOW.millis() - 1)), [""; 0]);
    }

    #[test]
    fn patterns() {
        for (pattern, name, wanted) in [
            ("flights", "flights", true),
            ("flights", "flights2", false),
            ("*", "", true),
            ("fl*", "flights", true),
            ("*ts", "flights", true),
            ("f*g*s", "flights", true),
            ("f*x*s", "flights", false),
            ("ab*ba", "aba", false),
            ("sql/*.sql", "sql/features.sql", true),
            ("a**b", "ab", true),
        ] {
            assert_eq!(fits(pattern, name), wanted, "{pattern} {name}");
        }
    }
}

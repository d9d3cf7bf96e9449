//! What an endpoint declares about its records, as it is sent, stored and merged with the server's defaults.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::redact::Redact;
use super::settings::EndpointRules;

/// What is kept of requests and for how long. What is not declared is as the server's default says: everything, for
/// good.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordsSpec {
    /// The share of requests that is recorded, by a hash of the request's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub sample: Option<f64>,
    /// Columns that are not kept as they are, by the name of the input, output or header; `entity` is what the request
    /// is about.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub redact: BTreeMap<String, Redact>,
    /// Records and outcomes that are older than so many days are removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 36_500)]
    pub keep_days: Option<u32>,
    /// The oldest records are removed while those in the store have more bytes than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    pub keep_bytes: Option<u64>,
}

/// The most columns that are hidden.
const COLUMNS: usize = 1_000;

impl RecordsSpec {
    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it can be.
    ///
    /// # Errors
    ///
    /// Names what cannot.
    pub fn check(&self) -> Result<(), String> {
        if let Some(sample) = self.sample.filter(|sample| !(0.0..=1.0).contains(sample)) {
            return Err(format!("`records.sample` is {sample}; expected a share from 0 to 1"));
        }
        if let Some(days) = self.keep_days.filter(|days| !(1..=36_500).contains(days)) {
            return Err(format!("`records.keep_days` is {days}; expected 1 to 36500"));
        }
        if self.keep_bytes == Some(0) {
            return Err("`records.keep_bytes` is 0; `sample: 0` records nothing".to_owned());
        }
        if self.redact.len() > COLUMNS {
            let count = self.redact.len();
            return Err(format!("`records.redact` names {count} columns; at most {COLUMNS} can be hidden"));
        }
        if self.redact.keys().any(|column| column.is_empty()) {
            return Err("`records.redact` has a column without a name".to_owned());
        }
        Ok(())
    }

    /// This, and what `default` declares of what this does not. Columns that either hides are hidden.
    #[must_use]
    pub fn or(&self, default: &Self) -> Self {
        let mut redact = default.redact.clone();
        redact.extend(self.redact.iter().map(|(column, how)| (column.clone(), *how)));
        Self {
            sample: self.sample.or(default.sample),
            redact,
            keep_days: self.keep_days.or(default.keep_days),
            keep_bytes: self.keep_bytes.or(default.keep_bytes),
        }
    }

    /// As the log performs it.
    pub fn rules(&self) -> EndpointRules {
        EndpointRules {
            sample: self.sample.unwrap_or(1.0),
            redact: self.redact.clone(),
            keep: self.keep_days.map(|days| Duration::from_secs(u64::from(days) * 86_400)),
            keep_bytes: self.keep_bytes,
        }
    }

    /// In words, for the log of events; nothing where nothing is declared.
    pub fn words(&self) -> Option<String> {
        let sample = self.sample.map(|sample| format!("sample: {} %", (sample * 1e6).round() / 1e4));
        let redact = self.redact.iter().map(|(column, how)| format!("{column}: {}", how.word()));
        let days = self.keep_days.map(|days| format!("{days} days"));
        let bytes = self.keep_bytes.map(|bytes| format!("{bytes} bytes"));
        let words: Vec<String> = sample.into_iter().chain(redact).chain(days).chain(bytes).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> RecordsSpec {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_not_declared_is_the_servers_default() {
        let own = spec(r#"{"sample": 0.125, "redact": {"email": "drop"}, "keep_days": 30}"#);
        let default =
            spec(r#"{"sample": 0.5, "redact": {"email": "hash", "entity": "hash"}, "keep_bytes": 7}"#);
        let both = own.or(&default);
        assert_eq!(
            both.words().as_deref(),
            Some("sample: 12.5 %, email: drop, entity: hash, 30 days, 7 bytes")
        );
        let rules = both.rules();
        assert_eq!((rules.sample, rules.keep_bytes), (0.125, Some(7)));
        assert_eq!(rules.keep, Some(Duration::from_secs(30 * 86_400)));
        assert_eq!(RecordsSpec::default().rules(), EndpointRules::default());
        assert!(RecordsSpec::default().words().is_none());
    }

    #[test]
    fn what_cannot_be() {
        for (text, expected) in [
            (r#"{"sample": 1.5}"#, "`records.sample` is 1.5"),
            (r#"{"sample": -0.1}"#, "`records.sample` is -0.1"),
            (r#"{"keep_days": 0}"#, "`records.keep_days` is 0"),
            (r#"{"keep_bytes": 0}"#, "`records.keep_bytes` is 0"),
            (r#"{"redact": {"": "hash"}}"#, "a column without a name"),
        ] {
            let why = spec(text).check().unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
        assert!(serde_json::from_str::<RecordsSpec>(r#"{"redact": {"a": "blur"}}"#).is_err());
        assert!(serde_json::from_str::<RecordsSpec>(r#"{"keep": 3}"#).is_err());
        spec(r#"{"sample": 0, "keep_days": 1}"#).check().unwrap();
    }
}

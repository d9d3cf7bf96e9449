//! What triggers may release without anybody who looks.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_core::Timestamp;
use tidemill_core::declare::Between;

use crate::Share;

/// What a release that a trigger makes may be without anybody who looks. Outside of it, and where evidence is missing, a person must
/// agree. Releases by hand are not bound by it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// What may be other data than those of the release that runs: names of datasets, paths of other files that steps read, with `*`
    /// for any text. Everything may where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Vec<String>>,
    /// Between which values parameters of the step or the training must be.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub params: IndexMap<String, Between>,
    /// Between which values metrics on the held-out rows must be.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub metrics: IndexMap<String, Between>,
    /// How many decisions may be wrong now that the running release had right, by the test `flips`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flips: Option<MostFlips>,
    /// From this day (in UTC) or time on everything waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// How many decisions may flip.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MostFlips {
    /// Their share of the held-out rows.
    pub max: Share,
}

impl Envelope {
    /// When it ends: a day begins at midnight in UTC. `None` where it does not, or where the text is no time.
    pub fn ends(&self) -> Option<Timestamp> {
        let text = self.expires.as_deref()?.trim();
        Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times() {
        for (text, wanted) in [
            ("2027-06-01", Some("2027-06-01T00:00:00Z")),
            ("2027-06-01T12:00:00+02:00", Some("2027-06-01T10:00:00Z")),
            ("June", None),
            ("2027-02-30", None),
        ] {
            let envelope = Envelope { expires: Some(text.to_owned()), ..Envelope::default() };
            assert_eq!(envelope.ends(), wanted.and_then(Timestamp::parse), "{text}");
        }
        assert_eq!(Envelope::default().ends(), None);
    }
}

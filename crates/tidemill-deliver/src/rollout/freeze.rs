//! When nothing may get more traffic: freezes with a reason and an end.

use serde::{Deserialize, Serialize};
use tidemill_core::Timestamp;

/// A time in which no candidate gets more traffic. Stopping the line is a freeze without an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Its name, to lift it by.
    pub id: u64,
    /// The endpoint that it is for; all where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// From when.
    pub from: Timestamp,
    /// Until when; until it is lifted where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Freeze {
    /// Whether it holds for an endpoint now.
    pub fn holds(&self, endpoint: &str, now: Timestamp) -> bool {
        self.endpoint.as_deref().is_none_or(|one| one == endpoint)
            && now >= self.from
            && self.until.is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_ends_and_may_be_for_one_endpoint() {
        let at = Timestamp::from_millis;
        let mut freeze = Freeze {
            id: 1,
            endpoint: Some("churn".into()),
            reason: "quarter end".into(),
            owner: "ada".into(),
            from: at(10),
            until: Some(at(20)),
        };
        assert!(
            freeze.holds("churn", at(10)) && !freeze.holds("churn", at(20)) && !freeze.holds("churn", at(9))
        );
        assert!(!freeze.holds("late", at(15)));
        freeze.endpoint = None;
        assert!(freeze.holds("late", at(15)));
    }
}

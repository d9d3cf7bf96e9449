//! What an endpoint declares about its outcomes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::OutcomeRules;

/// How outcomes are joined with the requests of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomesSpec {
    /// An outcome about an entity belongs to the entity's last request before it, unless that is longer ago than so many
    /// seconds; 7 days where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3_153_600_000_u64)]
    pub tolerance_s: Option<u64>,
    /// An outcome that comes more seconds after its request is late: joined all the same, and counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3_153_600_000_u64)]
    pub late_after_s: Option<u64>,
    /// An outcome that found no request for so many seconds after it came is given up: kept, and not tried any more; 7 days where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3_153_600_000_u64)]
    pub give_up_after_s: Option<u64>,
}

/// A hundred years.
const LONGEST: u64 = 3_153_600_000;

impl OutcomesSpec {
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
        let declared = [
            ("tolerance_s", self.tolerance_s),
            ("late_after_s", self.late_after_s),
            ("give_up_after_s", self.give_up_after_s),
        ];
        for (name, seconds) in declared {
            if let Some(seconds) = seconds.filter(|seconds| !(1..=LONGEST).contains(seconds)) {
                return Err(format!("`outcomes.{name}` is {seconds}; expected 1 to {LONGEST} seconds"));
            }
        }
        Ok(())
    }

    /// As they are joined.
    pub fn rules(&self) -> OutcomeRules {
        let default = OutcomeRules::default();
        OutcomeRules {
            tolerance: self.tolerance_s.map_or(default.tolerance, Duration::from_secs),
            late_after: self.late_after_s.map(Duration::from_secs),
            give_up_after: self.give_up_after_s.map_or(default.give_up_after, Duration::from_secs),
        }
    }
}

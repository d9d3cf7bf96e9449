//! A range of numbers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::number;

/// From and to, both inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Between {
    /// The least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

impl Between {
    /// In which way a value is not between them; none where it is.
    pub fn broken(self, value: f64) -> Option<String> {
        let (min, max) = (self.min.unwrap_or(f64::NEG_INFINITY), self.max.unwrap_or(f64::INFINITY));
        if value < min {
            Some(format!("is below {}", number(min)))
        } else if value > max {
            Some(format!("is above {}", number(max)))
        } else if value.is_nan() {
            Some("is no number".to_owned())
        } else {
            None
        }
    }
}

//! How lists without further conditions are asked for: a page at a time, from a name or a number on.

use serde::Deserialize;
use utoipa::IntoParams;

use super::envelope::{Limit, Position, Text};

/// A page of a list that is ordered by name.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ByName {
    /// `next` of the page before
    #[param(value_type = Option<String>, min_length = 1, pattern = r"^[^\x00]+$")]
    pub(super) cursor: Option<Text>,
    /// How many
    #[serde(default)]
    #[param(value_type = u64, minimum = 1, maximum = 1000, required = false)]
    pub(super) limit: Limit,
}

/// A page of a list that is ordered by number.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ByNumber {
    /// `next` of the page before
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    pub(super) cursor: Option<Position>,
    /// How many
    #[serde(default)]
    #[param(value_type = u64, minimum = 1, maximum = 1000, required = false)]
    pub(super) limit: Limit,
}

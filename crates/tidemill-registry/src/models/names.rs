//! Which names, tags and aliases the registry of models takes, in MLflow's words.

use tidemill_db::tracking::KeyValue;

use crate::{Error, Result};

const TAG_KEY: usize = 250;
const TAG_VALUE: usize = 100_000;
const ALIAS: usize = 255;
/// The text of a prompt version.
const PROMPT_TEXT: &str = "mlflow.prompt.text";

pub(super) fn model(name: &str) -> Result<()> {
    named("name", name)
}

pub(super) fn new_name(name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(missing("new_name"));
    }
    model(name)
}

fn named(field: &str, name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(missing(field));
    }
    if name.contains(['/', ':']) {
        return Err(Error::invalid(format!("Invalid model name '{name}'. Names cannot contain '/' or ':'.")));
    }
    unique_path(field, name)
}

pub(super) fn model_tag(tag: &KeyValue) -> Result<()> {
    tag_key(&tag.key)?;
    within("key", TAG_KEY, &tag.key)?;
    within("value", TAG_VALUE, &tag.value)
}

pub(super) fn version_tag(tag: &KeyValue) -> Result<()> {
    tag_key(&tag.key)?;
    within("key", TAG_KEY, &tag.key)?;
    if tag.key == PROMPT_TEXT && tag.value.chars().count() > TAG_VALUE {
        return Err(Error::invalid(format!("Prompt text exceeds max length of {TAG_VALUE} characters.")));
    }
    within("value", TAG_VALUE, &tag.value)
}

pub(super) fn tag_key(key: &str) -> Result<()> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | ':' | '/');
    if !key.chars().all(allowed) {
        return Err(Error::invalid(format!(
            "Invalid value {} for parameter 'key' supplied: Names may only contain alphanumerics, underscores (_), \
             dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).",
            quoted(key)
        )));
    }
    unique_path("key", key)
}

pub(super) fn alias(alias: &str) -> Result<()> {
    if alias.is_empty() {
        return Err(Error::invalid("Registered model alias name cannot be empty."));
    }
    if !alias.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
        return Err(Error::invalid(format!(
            "Invalid alias name: '{alias}'. Names may only contain alphanumerics, underscores (_), and dashes (-)."
        )));
    }
    within("Registered model alias name", ALIAS, alias)
}

/// Refuses aliases that mean something already: `latest` and `v1`.
pub(super) fn free_alias(alias: &str) -> Result<()> {
    if is_latest(alias) {
        return Err(Error::invalid("'latest' alias name (case insensitive) is reserved."));
    }
    let digits = alias.strip_prefix(['v', 'V']).unwrap_or_default();
    if !digits.is_empty() && digits.chars().all(char::is_numeric) {
        return Err(Error::invalid(format!("Version alias name '{alias}' is reserved.")));
    }
    Ok(())
}

pub(super) fn is_latest(alias: &str) -> bool {
    alias.eq_ignore_ascii_case("latest")
}

/// The number of a version; `None` if no version can have it.
pub(super) fn version(text: &str) -> Result<Option<u64>> {
    let number: i64 = text
        .trim()
        .parse()
        .map_err(|_| Error::invalid(format!("Parameter 'version' must be an integer, got '{text}'.")))?;
    Ok(u64::try_from(number).ok())
}

fn within(what: &str, limit: usize, text: &str) -> Result<()> {
    // A text has at most as many characters as bytes, so most are counted without looking at them.
    if text.len() > limit && text.chars().count() > limit {
        return Err(Error::invalid(format!("'{what}' exceeds the maximum length of {limit} characters")));
    }
    Ok(())
}

fn missing(field: &str) -> Error {
    Error::invalid(format!("Missing value for required parameter '{field}'."))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Names may become file names: refuses those that another name would be the same file as.
fn unique_path(field: &str, name: &str) -> Result<()> {
    let resolved = resolve(name);
    if resolved == name && resolved != "." && !resolved.starts_with("..") && !resolved.starts_with('/') {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Invalid value {} for parameter '{field}' supplied: Names may be treated as files in certain cases, and must \
         not resolve to other names when treated as such. This name would resolve to '{resolved}'",
        quoted(name)
    )))
}

/// A POSIX path without `.`, `..` and doubled slashes.
pub(super) fn resolve(path: &str) -> String {
    let root = match path.bytes().take_while(|b| *b == b'/').count() {
        0 => "",
        // Two slashes at the start, and only two, are something of their own in POSIX.
        2 => "//",
        _ => "/",
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if !root.is_empty() => {}
            part => parts.push(part),
        }
    }
    let joined = format!("{root}{}", parts.join("/"));
    if joined.is_empty() { ".".to_owned() } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_resolve_as_posix_says() {
        for (path, resolved) in [
            ("a", "a"),
            ("", "."),
            ("./a", "a"),
            ("a//b/", "a/b"),
            ("a/../b", "b"),
            ("../a", "../a"),
            ("a/../..", ".."),
            ("/a/..", "/"),
            ("/..", "/"),
            ("//a", "//a"),
            ("///a", "/a"),
        ] {
            assert_eq!(resolve(path), resolved, "{path}");
        }
    }

    #[test]
    fn names_of_models() {
        for good in ["m", "a b", "ünï", "a.b", "...a", "x\ny"] {
            let refused = model(good).err().map(|error| error.message);
            // Three dots are a file name of their own, but one that begins as the way upwards does.
            assert_eq!(refused.is_some(), good.starts_with(".."), "{good}: {refused:?}");
        }
        for (bad, message) in [
            ("", "Missing value for required parameter 'name'."),
            ("  ", "Missing value for required parameter 'name'."),
            ("a/b", "Invalid model name 'a/b'. Names cannot contain '/' or ':'."),
            ("a:b", "Invalid model name 'a:b'. Names cannot contain '/' or ':'."),
        ] {
            assert_eq!(model(bad).unwrap_err().message, message);
        }
        assert!(model("..").unwrap_err().message.ends_with("This name would resolve to '..'"));
        assert_eq!(new_name(" ").unwrap_err().message, "Missing value for required parameter 'new_name'.");
    }

    #[test]
    fn aliases() {
        for good in ["champion", "a-b_c", "v", "v1a", "latest1", "ä"] {
            alias(good).and_then(|()| free_alias(good)).unwrap();
        }
        for (bad, message) in [
            ("", "Registered model alias name cannot be empty."),
            (
                "a b",
                "Invalid alias name: 'a b'. Names may only contain alphanumerics, underscores (_), and dashes (-).",
            ),
            ("Latest", "'latest' alias name (case insensitive) is reserved."),
            ("V12", "Version alias name 'V12' is reserved."),
        ] {
            assert_eq!(alias(bad).and_then(|()| free_alias(bad)).unwrap_err().message, message);
        }
        assert_eq!(
            alias(&"a".repeat(256)).unwrap_err().message,
            "'Registered model alias name' exceeds the maximum length of 255 characters"
        );
    }

    #[test]
    fn versions_are_numbers() {
        assert_eq!(version("12").unwrap(), Some(12));
        assert_eq!(version("-1").unwrap(), None);
        assert_eq!(version("x").unwrap_err().message, "Parameter 'version' must be an integer, got 'x'.");
    }

    #[test]
    fn tags_have_limits() {
        let tag = |key: &str, value: &str| KeyValue { key: key.to_owned(), value: value.to_owned() };
        model_tag(&tag("a/b.c: d-e_f", "")).unwrap();
        for (key, value, message) in [
            ("k".repeat(251), String::new(), "'key' exceeds the maximum length of 250 characters"),
            ("k".to_owned(), "v".repeat(100_001), "'value' exceeds the maximum length of 100000 characters"),
            (
                PROMPT_TEXT.to_owned(),
                "v".repeat(100_001),
                "Prompt text exceeds max length of 100000 characters.",
            ),
        ] {
            assert_eq!(version_tag(&tag(&key, &value)).unwrap_err().message, message);
        }
        assert!(
            model_tag(&tag("a$", ""))
                .unwrap_err()
                .message
                .starts_with("Invalid value \"a$\" for parameter 'key'")
        );
        assert!(model_tag(&tag("", "")).unwrap_err().message.ends_with("resolve to '.'"));
    }
}

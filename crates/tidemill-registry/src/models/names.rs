//! Which names, tags and aliases the registry of models takes, in MLflow's words.

use tidemill_db::tracking::KeyValue;

use crate::validate::{self, length};
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
    // Characters are free, but as a path the name must be its own normal form.
    validate::normal_name(name, || field.to_owned())
}

pub(super) fn model_tag(tag: &KeyValue) -> Result<()> {
    tag_key(&tag.key)?;
    length("key", TAG_KEY, &tag.key)?;
    length("value", TAG_VALUE, &tag.value)
}

pub(super) fn version_tag(tag: &KeyValue) -> Result<()> {
    tag_key(&tag.key)?;
    length("key", TAG_KEY, &tag.key)?;
    if tag.key == PROMPT_TEXT && tag.value.chars().count() > TAG_VALUE {
        return Err(Error::invalid(format!("Prompt text exceeds max length of {TAG_VALUE} characters.")));
    }
    length("value", TAG_VALUE, &tag.value)
}

pub(super) fn tag_key(key: &str) -> Result<()> {
    validate::name(key, || "key".to_owned())
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
    length("Registered model alias name", ALIAS, alias)
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

fn missing(field: &str) -> Error {
    Error::invalid(format!("Missing value for required parameter '{field}'."))
}

#[cfg(test)]
mod tests {
    use super::*;

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

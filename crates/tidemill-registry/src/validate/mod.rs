//! Which names, values and sizes are allowed, and what a refusal says.
//!
//! Lengths are counted in characters, as MLflow counts them.

mod batch;
mod location;
mod name;
mod quote;

use std::str::FromStr as _;

use tidemill_core::RunId;
use tidemill_db::tracking::{InputDataset, KeyValue};

pub use self::batch::batch_size;
pub(crate) use self::batch::{batch, metric};
pub(crate) use self::location::artifact_location;
pub(crate) use self::name::{name, normal, normal_name};
pub(crate) use self::quote::{json_text, python_text};
use crate::{Error, Result};

/// The longest key of a metric, parameter or tag.
pub(crate) const KEY: usize = 250;
/// The longest value of a parameter; longer ones are cut.
pub(crate) const PARAM_VALUE: usize = 6000;
/// The longest value of a run's tag; longer ones are cut.
pub(crate) const TAG_VALUE: usize = 8000;

/// Refuses text that is too long; `entity` is what the message calls it.
pub(crate) fn length(entity: &str, limit: usize, value: &str) -> Result<()> {
    // Bytes are at least as many as characters.
    if value.len() > limit && value.chars().count() > limit {
        return Err(Error::invalid(format!("'{entity}' exceeds the maximum length of {limit} characters")));
    }
    Ok(())
}

/// Cuts text that is too long.
pub(crate) fn cut(limit: usize, value: &mut String) {
    if value.len() > limit
        && let Some((end, _)) = value.char_indices().nth(limit)
    {
        value.truncate(end);
    }
}

/// The path of a field inside of the message at `at`: `key`, or `params[3].key`.
fn join(at: &str, field: &str) -> String {
    if at.is_empty() { field.to_owned() } else { format!("{at}.{field}") }
}

/// A parameter at `at`; its value is cut.
pub(crate) fn param(param: &mut KeyValue, at: &str) -> Result<()> {
    name(&param.key, || join(at, "key"))?;
    length("Param key", KEY, &param.key)?;
    cut(PARAM_VALUE, &mut param.value);
    Ok(())
}

/// A tag of a run at `at`; its value is cut.
pub(crate) fn tag(tag: &mut KeyValue, at: &str) -> Result<()> {
    name(&tag.key, || join(at, "key"))?;
    length(&join(at, "key"), KEY, &tag.key)?;
    cut(TAG_VALUE, &mut tag.value);
    Ok(())
}

/// A tag of an experiment.
pub(crate) fn experiment_tag(tag: &KeyValue) -> Result<()> {
    name(&tag.key, || "key".to_owned())?;
    length("key", 250, &tag.key)?;
    length("value", 20_000, &tag.value)
}

/// The name of an experiment.
pub(crate) fn experiment_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid("Invalid experiment name: ''"));
    }
    length("name", 500, name)
}

/// The number of an experiment; an empty text means the one called `Default`.
pub fn experiment_id(text: &str) -> Result<i64> {
    if text.is_empty() {
        return Ok(0);
    }
    let digits = text.trim();
    if let Ok(id) = digits.parse() {
        return Ok(id);
    }
    let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::missing(format!("No Experiment with id={digits} exists")));
    }
    Err(Error::invalid(format!("Invalid experiment ID '{text}'. Experiment ID must be a valid integer.")))
}

/// A run's identifier. Ours are 32 hexadecimal digits; anything else names no run.
pub(crate) fn run_id(text: &str) -> Result<RunId> {
    RunId::from_str(text).ok().filter(|id| id.to_string() == text).ok_or_else(|| no_run(text))
}

/// A run's identifier where MLflow also asks for its form.
pub(crate) fn formed_run_id(text: &str) -> Result<RunId> {
    let mut chars = text.chars();
    let good = chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && chars.all(|c| c.is_alphanumeric() || c == '_' || c == '-')
        && text.chars().count() <= 256;
    if !good {
        return Err(Error::invalid(format!(
            "Invalid value {} for parameter 'run_id' supplied.",
            json_text(text)
        )));
    }
    run_id(text)
}

pub(crate) fn no_run(id: impl std::fmt::Display) -> Error {
    Error::missing(format!("Run with id={id} not found"))
}

/// A dataset that a run read.
pub(crate) fn dataset(dataset: &InputDataset) -> Result<()> {
    length("name", 500, &dataset.name)?;
    length("digest", 36, &dataset.digest)?;
    length("source", 65_535, &dataset.source)?;
    length("schema", 1_048_575, dataset.schema.as_deref().unwrap_or_default())?;
    length("profile", 16_777_215, dataset.profile.as_deref().unwrap_or_default())?;
    for tag in &dataset.tags {
        length("key", 255, &tag.key)?;
        length("value", 500, &tag.value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_at_a_character() {
        for (limit, value, kept) in [(3, "abc", "abc"), (3, "abcd", "abc"), (2, "éèê", "éè"), (0, "x", "")]
        {
            let mut value = value.to_owned();
            cut(limit, &mut value);
            assert_eq!(value, kept);
        }
        assert!(length("k", 3, "éèê").is_ok());
        let refused = length("tags[0].key", 2, "abc").unwrap_err();
        assert_eq!(refused.message, "'tags[0].key' exceeds the maximum length of 2 characters");
    }

    #[test]
    fn numbers_of_experiments() {
        for (text, expected) in [
            ("", Ok(0)),
            ("17", Ok(17)),
            (" 5 ", Ok(5)),
            ("abc", Err("Invalid experiment ID 'abc'. Experiment ID must be a valid integer.")),
            ("1.5", Err("Invalid experiment ID '1.5'. Experiment ID must be a valid integer.")),
            ("99999999999999999999", Err("No Experiment with id=99999999999999999999 exists")),
        ] {
            assert_eq!(experiment_id(text).map_err(|error| error.message), expected.map_err(str::to_owned));
        }
    }

    #[test]
    fn identifiers_of_runs() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(run_id(id).unwrap().to_string(), id);
        for other in ["", "x", "0123456789ABCDEF0123456789abcdef", "0123456789abcdef0123456789abcdeg"] {
            assert_eq!(run_id(other).unwrap_err().message, format!("Run with id={other} not found"));
        }
        for bad in ["", "-a", "a b", &"a".repeat(257)] {
            let message = formed_run_id(bad).unwrap_err().message;
            assert_eq!(message, format!("Invalid value \"{bad}\" for parameter 'run_id' supplied."));
        }
        assert_eq!(formed_run_id("no-such-run").unwrap_err().message, "Run with id=no-such-run not found");
    }
}

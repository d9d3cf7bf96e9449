//! Where artifacts may go.

use std::path::Path;

use crate::{Error, Result};

/// The longest location.
const LENGTH: usize = 2048;

/// An artifact location as it is stored: a relative path is made absolute.
pub(crate) fn artifact_location(given: &str) -> Result<String> {
    let (before, fragment) = given.split_once('#').unwrap_or((given, ""));
    let (path, query) = before.split_once('?').unwrap_or((before, ""));
    let params = path.rsplit('/').next().is_some_and(|last| last.contains(';'));
    if !fragment.is_empty() || params {
        return Err(Error::invalid("'artifact_location' URL can't include fragments or params."));
    }
    if decoded(query).is_none_or(|query| query.contains("..")) {
        return Err(Error::invalid("Invalid query string"));
    }
    if given.starts_with("runs:") {
        return Err(Error::invalid(format!("Artifact location cannot be a runs:/ URI. Given: '{given}'")));
    }
    let location = resolved(given)?;
    if location.chars().count() > LENGTH {
        return Err(Error::invalid(format!(
            "Invalid artifact path length. The length of the artifact path cannot be greater than {LENGTH} characters."
        )));
    }
    Ok(location)
}

/// Decoded until nothing is encoded any more; none where that does not come to an end.
fn decoded(query: &str) -> Option<String> {
    let mut text = query.to_owned();
    for _ in 0..10 {
        let next = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if next == text {
            return Some(text);
        }
        text = next;
    }
    None
}

fn resolved(given: &str) -> Result<String> {
    let absolute = |path: &str| {
        std::path::absolute(Path::new(path)).map(|path| path.display().to_string()).map_err(|error| {
            Error::invalid(format!("The artifact location '{given}' is not a path: {error}."))
        })
    };
    match given.split_once(':') {
        Some(("file", path)) if !path.starts_with('/') => Ok(format!("file://{}", absolute(path)?)),
        Some((scheme, _)) if is_scheme(scheme) => Ok(given.to_owned()),
        _ => absolute(given),
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let here = std::env::current_dir().unwrap();
        for (given, stored) in [
            ("s3://bucket/path?region=x", "s3://bucket/path?region=x".to_owned()),
            ("mlflow-artifacts:/7", "mlflow-artifacts:/7".to_owned()),
            ("/srv/artifacts", "/srv/artifacts".to_owned()),
            ("relative/x", here.join("relative/x").display().to_string()),
            ("file:x", format!("file://{}", here.join("x").display())),
            ("file:///srv/x", "file:///srv/x".to_owned()),
        ] {
            assert_eq!(artifact_location(given).unwrap(), stored, "{given}");
        }
        let long = format!("s3://{}", "a".repeat(2048));
        for (given, message) in [
            ("s3://b/x#f", "'artifact_location' URL can't include fragments or params."),
            ("s3://b/x;p=1", "'artifact_location' URL can't include fragments or params."),
            ("s3://b/x?a=../y", "Invalid query string"),
            ("s3://b/x?a=%252e%252e/y", "Invalid query string"),
            ("runs:/abc/x", "Artifact location cannot be a runs:/ URI. Given: 'runs:/abc/x'"),
            (
                &long,
                "Invalid artifact path length. The length of the artifact path cannot be greater than 2048 characters.",
            ),
        ] {
            assert_eq!(artifact_location(given).unwrap_err().message, message);
        }
    }
}

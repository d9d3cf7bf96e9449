//! Names of metrics, parameters and tags: they may be paths of files, so each must be its own normal form.

use super::quote::{json_text, python_text};
use crate::{Error, Result};

/// Refuses a name that is not allowed; `path` says where in the request it stands.
pub(crate) fn name(name: &str, path: impl Fn() -> String) -> Result<()> {
    if !name.chars().all(|c| c.is_alphanumeric() || matches!(c, '/' | '_' | '.' | '-' | ' ' | ':')) {
        return Err(refused(
            &path(),
            name,
            "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) \
             and slashes (/).",
        ));
    }
    normal_name(name, path)
}

/// Refuses a name of any characters that, taken as a path, is not its own normal form.
pub(crate) fn normal_name(name: &str, path: impl Fn() -> String) -> Result<()> {
    if !names_one_path(name) {
        let why = format!(
            "Names may be treated as files in certain cases, and must not resolve to other names when treated as \
             such. This name would resolve to {}",
            python_text(&normal(name))
        );
        return Err(refused(&path(), name, &why));
    }
    Ok(())
}

/// Whether a name, taken as a path, stays where it is and is written in one way only.
fn names_one_path(name: &str) -> bool {
    // Nearly all names are without a slash and a dot at the beginning.
    if !name.is_empty() && !name.contains('/') && !name.starts_with('.') {
        return true;
    }
    let normal = normal(name);
    normal == name && normal != "." && !normal.starts_with("..") && !normal.starts_with('/')
}

fn refused(path: &str, value: &str, why: &str) -> Error {
    Error::invalid(format!("Invalid value {} for parameter '{path}' supplied: {why}", json_text(value)))
}

/// A path without empty and dot parts, and without those that `..` takes back.
pub(crate) fn normal(path: &str) -> String {
    // POSIX leaves the meaning of exactly two slashes at the beginning open.
    let root = match path.bytes().take_while(|b| *b == b'/').count() {
        0 => "",
        2 => "//",
        _ => "/",
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if parts.is_empty() && !root.is_empty() => {}
            part => parts.push(part),
        }
    }
    match format!("{root}{}", parts.join("/")) {
        empty if empty.is_empty() => ".".to_owned(),
        path => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_names() {
        for good in ["a", "a/b", "val loss", "épreuve", "日本", "a.b-c_d:e", "system/cpu", "a..b", "-", " "]
        {
            assert!(name(good, || "key".to_owned()).is_ok(), "{good}");
        }
    }

    #[test]
    fn refused_names() {
        const CHARACTERS: &str = "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), \
            spaces ( ), colon(:) and slashes (/).";
        const PATH: &str = "Names may be treated as files in certain cases, and must not resolve to other names when \
            treated as such. This name would resolve to ";
        for (bad, shown, why) in [
            ("a$b", "\"a$b\"", CHARACTERS.to_owned()),
            ("é\"", "\"\\u00e9\\\"\"", CHARACTERS.to_owned()),
            ("a\n", "\"a\\n\"", CHARACTERS.to_owned()),
            ("", "\"\"", format!("{PATH}'.'")),
            (".", "\".\"", format!("{PATH}'.'")),
            ("..", "\"..\"", format!("{PATH}'..'")),
            ("../x", "\"../x\"", format!("{PATH}'../x'")),
            ("/a", "\"/a\"", format!("{PATH}'/a'")),
            ("//a", "\"//a\"", format!("{PATH}'//a'")),
            ("///a", "\"///a\"", format!("{PATH}'/a'")),
            ("/../a", "\"/../a\"", format!("{PATH}'/a'")),
            ("a//b", "\"a//b\"", format!("{PATH}'a/b'")),
            ("a/", "\"a/\"", format!("{PATH}'a'")),
            ("a/../b", "\"a/../b\"", format!("{PATH}'b'")),
            ("./a", "\"./a\"", format!("{PATH}'a'")),
            ("a/..", "\"a/..\"", format!("{PATH}'.'")),
        ] {
            let message = name(bad, || "metrics[0].name".to_owned()).unwrap_err().message;
            assert_eq!(
                message,
                format!("Invalid value {shown} for parameter 'metrics[0].name' supplied: {why}")
            );
        }
    }
}

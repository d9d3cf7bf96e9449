//! Paths of artifacts. Whatever a request calls a path becomes one of these, or is refused.

use percent_encoding::percent_decode_str;

use crate::{Error, Result};

/// A relative path: names joined by single slashes, without `.`, `..`, backslashes or control characters. The empty path
/// is the root.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactPath(String);

/// The longest path in bytes; an entry of an index has a largest size on PostgreSQL.
const LONGEST: usize = 2000;
/// The longest name, which is what file systems of clients allow.
const LONGEST_NAME: usize = 255;
/// How many layers of percent-encoding are taken off.
const LAYERS: usize = 10;

impl ArtifactPath {
    /// The path that a request means. As MLflow does, takes off percent-encoding until nothing changes any more, so that
    /// no spelling of `..` gets through, and uses what remains.
    pub fn parse(text: &str) -> Result<Self> {
        let text = decode(text).ok_or_else(invalid)?;
        let drive = text.get(1..2) == Some(":") && text.as_bytes()[0].is_ascii_alphabetic();
        if text.starts_with('/')
            || text.contains(['#', '\\'])
            || text.contains(char::is_control)
            || text.len() > LONGEST
            || text.starts_with("file:")
            || (drive && text.get(2..3) == Some("/"))
        {
            return Err(invalid());
        }
        let names: Vec<&str> = text.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
        if names.iter().any(|name| *name == ".." || name.len() > LONGEST_NAME) {
            return Err(invalid());
        }
        Ok(Self(names.join("/")))
    }

    /// The root of all artifacts.
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// As text; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last name.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// `below` inside of this folder.
    pub fn join(&self, below: &Self) -> Result<Self> {
        let joined = match (self.is_root(), below.is_root()) {
            (true, _) => below.0.clone(),
            (_, true) => self.0.clone(),
            _ => format!("{}/{}", self.0, below.0),
        };
        if joined.len() > LONGEST { Err(invalid()) } else { Ok(Self(joined)) }
    }
}

fn invalid() -> Error {
    Error::invalid("Invalid path")
}

/// `None` if it never settles or is no UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut text = text.to_owned();
    for _ in 0..LAYERS {
        let decoded = percent_decode_str(&text).decode_utf8().ok()?.into_owned();
        if decoded == text {
            return Some(text);
        }
        text = decoded;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_leads_elsewhere_is_refused() {
        let long_name = "n".repeat(256);
        let long = vec!["name"; 500].join("/");
        let layers = |times: usize, text: &str| {
            (0..times).fold(text.to_owned(), |text, _| text.replace('%', "%25").replace('.', "%2E"))
        };
        let many = layers(12, "a/../b");
        let some = layers(6, "a/../b");
        for text in [
            "..",
            "../a",
            "a/..",
            "a/../b",
            "a/b/../../..",
            "./..",
            "..//a",
            "/a",
            "/",
            "//a",
            "/etc/passwd",
            "%2e%2e/a",
            "%2E%2E%2Fa",
            "a/%2e./b",
            "a/.%2e/b",
            "%252e%252e/a",
            "%25252e%25252e%25252fa",
            "a%2f..%2fb",
            "%2fetc/passwd",
            "%252fetc",
            "a\\b",
            "..\\a",
            "a%5cb",
            "%5c..%5ca",
            "a#b",
            "a%23b",
            "a%2523b",
            "a\0b",
            "a%00b",
            "a\nb",
            "a%0ab",
            "a%7fb",
            "file:///etc/passwd",
            "file:a",
            "C:/x",
            "c:/windows",
            "c%3a/x",
            "%ff",
            "%c3%28",
            "a/%e2%82",
            &long_name,
            &long,
            &many,
            &some,
        ] {
            let error = ArtifactPath::parse(text).unwrap_err();
            assert_eq!(error.to_string(), "Invalid path", "{text}");
        }
    }

    #[test]
    fn what_is_a_path_becomes_its_shortest_form() {
        for (text, path) in [
            ("", ""),
            (".", ""),
            ("a", "a"),
            ("a/", "a"),
            ("a//b", "a/b"),
            ("./a/./b", "a/b"),
            ("...", "..."),
            ("a/..b/c..", "a/..b/c.."),
            ("a b+c=d&e?f:g", "a b+c=d&e?f:g"),
            ("%C3%BC", "ü"),
            ("a%2520b", "a b"),
            ("100%", "100%"),
            ("50% off", "50% off"),
            ("model/MLmodel", "model/MLmodel"),
            ("c:x", "c:x"),
            ("日本/語.txt", "日本/語.txt"),
        ] {
            assert_eq!(ArtifactPath::parse(text).unwrap().as_str(), path, "{text}");
        }
    }

    #[test]
    fn joining() {
        let path = |text| ArtifactPath::parse(text).unwrap();
        assert_eq!(path("a").join(&path("b/c")).unwrap(), path("a/b/c"));
        assert_eq!(ArtifactPath::root().join(&path("b")).unwrap(), path("b"));
        assert_eq!(path("b").join(&ArtifactPath::root()).unwrap(), path("b"));
        assert_eq!((path("a/b").name(), path("").name()), ("b", ""));
        let long = path(&vec!["name"; 300].join("/"));
        assert!(long.join(&long).is_err());
    }

    proptest! {
        #[test]
        fn nothing_gets_out(text in "([./%2eEfF5cC\\\\a#:]|\\PC){0,40}") {
            if let Ok(path) = ArtifactPath::parse(&text) {
                let names: Vec<&str> = path.as_str().split('/').collect();
                prop_assert!(path.is_root() || names.iter().all(|name| !matches!(*name, "" | "." | "..")));
                prop_assert!(!path.as_str().contains(['\\', '#', '\0']));
                prop_assert_eq!(ArtifactPath::parse(path.as_str()).unwrap(), path);
            }
        }
    }
}

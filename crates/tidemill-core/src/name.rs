//! Names that people give to things, and the identifiers of runs.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::hex;

/// The name of a project, dataset, step, model or environment: 1–128 characters, beginning with an ASCII
/// letter, digit or `_`, then also `-`, `.`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a name must not be empty")]
    Empty,
    /// Over 128 characters.
    #[error("the name is {0} characters long; at most 128 are allowed")]
    TooLong(usize),
    /// A character that would not survive a file name, a URL or a shell.
    #[error("`{0}` is not allowed in a name; use letters, digits, `_`, `-` and `.`")]
    Character(char),
}

impl Name {
    /// Checks `text` and wraps it.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        let length = text.chars().count();
        if length == 0 {
            return Err(NameError::Empty);
        }
        if length > 128 {
            return Err(NameError::TooLong(length));
        }
        for (i, c) in text.chars().enumerate() {
            let good = c.is_ascii_alphanumeric() || c == '_' || (i > 0 && (c == '-' || c == '.'));
            if !good {
                return Err(NameError::Character(c));
            }
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Name {
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$",
            "description": "Letters, digits, `_`, `-` and `.`; at most 128 characters."
        })
    }
}

/// The identifier of a run: 16 random bytes, written as 32 hexadecimal digits (the form MLflow clients use).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId([u8; 16]);

impl RunId {
    /// Wraps 16 bytes that the caller drew at random.
    pub const fn from_entropy(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The first eight hexadecimal digits, for people.
    pub fn short(&self) -> String {
        hex(&self.0[..4])
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 16];
        let good = text.len() == 32
            && text.is_ascii()
            && bytes
                .iter_mut()
                .enumerate()
                .all(|(i, byte)| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map(|b| *byte = b).is_ok());
        if good {
            Ok(Self(bytes))
        } else {
            Err(format!("`{text}` is not a run id: expected 32 hexadecimal digits"))
        }
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "flights-late", "train.v2", "0", "_x", &"a".repeat(128)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", NameError::Empty),
            ("-a", NameError::Character('-')),
            ("../x", NameError::Character('.')),
            ("a/b", NameError::Character('/')),
            ("a b", NameError::Character(' ')),
            ("é", NameError::Character('é')),
            (&"a".repeat(129), NameError::TooLong(129)),
        ] {
            assert_eq!(Name::new(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn run_ids_round_trip() {
        let id = RunId::from_entropy(*b"0123456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.short(), "30313233");
        assert!("xyz".parse::<RunId>().is_err());
        assert!("+1".repeat(16).parse::<RunId>().is_err() || "+1".repeat(16).len() == 32);
    }
}

//! Values with a unit: `30m`, `5%`, `20 GB`; and values that may still be templates.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::node::{Kind, Node};

/// A length of time: numbers with `ms`, `s`, `m`, `h`, `d` or `w`, largest first, as in `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub Duration);

const UNITS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a length of time");
        let mut rest = text;
        let mut total: u64 = 0;
        let mut last = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let unit = &rest[..letters];
            let (_, size) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            rest = &rest[letters..];
            if *size >= last {
                return Err(wrong());
            }
            last = *size;
            total = number.checked_mul(*size).and_then(|ms| total.checked_add(ms)).ok_or_else(wrong)?;
        }
        if last == u64::MAX { Err(wrong()) } else { Ok(Self(Duration::from_millis(total))) }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        // Weeks are read but not written: `45d` is easier to grasp than `6w3d`.
        for (name, size) in UNITS[..5].iter().rev() {
            if rest >= *size {
                write!(f, "{}{name}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
            "minLength": 2,
            "description": "A length of time, for example `30s`, `5m`, `1h30m`, `12h`, `45d`.",
            "x-tidemill": "period"
        })
    }
}

/// A share: a percentage such as `5%`, or a number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a share");
        let percent = text.strip_suffix('%').ok_or_else(wrong)?;
        let plain = !percent.is_empty() && percent.chars().all(|c| c.is_ascii_digit() || c == '.');
        let value: f64 = if plain { percent.parse().map_err(|_| wrong())? } else { return Err(wrong()) };
        Self::checked(value / 100.0).ok_or_else(wrong)
    }
}

impl Share {
    fn checked(value: f64) -> Option<Self> {
        (0.0..=1.0).contains(&value).then_some(Self(value))
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(value) => {
                Self::checked(value).ok_or_else(|| format!("{value} is not from 0 to 1"))
            }
            Written::Text(text) => text.parse(),
        }
        .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["number", "string"],
            "minimum": 0,
            "maximum": 1,
            "pattern": "^[0-9]+(\\.[0-9]+)?%$",
            "description": "A percentage such as `5%`, or a number from 0 to 1.",
            "x-tidemill": "share"
        })
    }
}

/// A number of bytes: with a unit as in `20 GB` or `512MiB`, or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Size(pub u64);

const SIZES: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a size");
        let unit = SIZES.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
        let (number, bytes) = unit.ok_or_else(wrong)?;
        let number = number.trim_end();
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(bytes).map(Self).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Bytes(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 0,
            "pattern": "^[0-9]+ *(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$",
            "description": "A number of bytes, for example `512MiB`, `20 GB` or `1000000`.",
            "x-tidemill": "size"
        })
    }
}

/// A value, or a text with `${…}` that becomes one when the step is resolved.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Templated<T> {
    /// The value.
    Value(T),
    /// A text with `${…}`.
    Template(String),
}

impl<T> Templated<T> {
    /// The value, unless it is still a template.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Template(_) => None,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Templated<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let node = Node::deserialize(deserializer)?;
        match node.kind {
            Kind::String(text) if text.contains("${") => Ok(Self::Template(text)),
            _ => T::deserialize(node).map(Self::Value).map_err(serde::de::Error::custom),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Templated<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Templated_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [value, template_schema()] })
    }
}

/// The schema of a text with `${…}` in the place of another value.
pub(crate) fn template_schema() -> serde_json::Value {
    serde_json::json!({ "type": "string", "pattern": "\\$\\{", "x-tidemill": "template" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods() {
        for (text, ms) in [
            ("30m", 1_800_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("45d", 45 * 86_400_000),
            ("1w", 604_800_000),
            ("0s", 0),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.0.as_millis(), ms, "{text}");
            assert_eq!(period.to_string(), if text == "1w" { "7d" } else { text });
        }
        for bad in [
            "",
            "30",
            "m",
            "30 m",
            "30m1h",
            "1m1m",
            "-1s",
            "1.5h",
            "30M",
            "99999999999999999999s",
            "9999999999999999w",
        ] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("20 GB", 20_000_000_000),
            ("512MiB", 512 << 20),
            ("1kB", 1000),
            ("7B", 7),
            ("0 B", 0),
            ("2 TiB", 2 << 40),
        ] {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes), "{text}");
        }
        for bad in ["", "GB", "20", "20 gb", "1.5GB", "-1GB", " 1GB", "99999999TiB", "20 GB "] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn shares() {
        for (text, share) in [("5%", 0.05), ("100%", 1.0), ("0.5%", 0.005)] {
            assert_eq!(text.parse::<Share>().unwrap().0, share);
        }
        for bad in ["5", "%", "101%", "-1%", "1e1%", "nan%", "five%"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }
}

//! Numbers in JSON that are read back to the last bit.
//!
//! JSON readers may round numbers of many digits; a state that is written and read must not move by that, or a replay would not be
//! the same byte for byte. Such numbers stand as text, in the shortest form that names them alone.

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

fn read<E: serde::de::Error>(text: &str) -> Result<f64, E> {
    text.parse().map_err(|_| E::custom(format!("`{text}` is not a number")))
}

/// For a field of type `f64`.
pub mod number {
    use super::{Deserializer, Serializer};

    /// Writes it as text.
    pub fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    /// Reads it back.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        use serde::Deserialize as _;
        super::read(&String::deserialize(deserializer)?)
    }
}

/// For a field of type `Vec<f64>`: one text, numbers apart by blanks.
pub mod numbers {
    use super::{Deserializer, Serializer};

    /// Writes it as text.
    pub fn serialize<S: Serializer>(numbers: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        let texts: Vec<String> = numbers.iter().map(f64::to_string).collect();
        serializer.serialize_str(&texts.join(" "))
    }

    /// Reads it back.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        use serde::Deserialize as _;
        String::deserialize(deserializer)?.split_ascii_whitespace().map(super::read).collect()
    }
}

/// For a field of type `Vec<(f64, u64)>`: one text, `value*count` apart by blanks.
pub mod counted {
    use super::{Deserializer, Serializer};

    /// Writes it as text.
    pub fn serialize<S: Serializer>(values: &[(f64, u64)], serializer: S) -> Result<S::Ok, S::Error> {
        let texts: Vec<String> = values.iter().map(|(value, count)| format!("{value}*{count}")).collect();
        serializer.serialize_str(&texts.join(" "))
    }

    /// Reads it back.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(f64, u64)>, D::Error> {
        super::read_counted(deserializer)
    }
}

fn read_counted<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(f64, u64)>, D::Error> {
    String::deserialize(deserializer)?
        .split_ascii_whitespace()
        .map(|text| {
            let (value, count) = text
                .split_once('*')
                .ok_or_else(|| D::Error::custom(format!("`{text}` is not `value*count`")))?;
            let count =
                count.parse().map_err(|_| D::Error::custom(format!("`{count}` is not a whole number")))?;
            Ok((read(value)?, count))
        })
        .collect()
}

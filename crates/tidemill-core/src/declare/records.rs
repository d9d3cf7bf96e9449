//! The inference log of an endpoint as an input of a step.

use std::fmt;

use crate::Timestamp;

/// How such an input begins.
const SCHEME: &str = "records:";
/// Where the records lie when the step reads them, in the project folder.
const FOLDER: &str = ".tidemill/inputs/records/";

/// Records of an endpoint: `records:loans`, or those of some days, `records:loans@2026-01-01..2026-02-01`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordsInput {
    /// The endpoint.
    pub endpoint: String,
    /// From the beginning of this day in UTC; from the first record where absent.
    pub from: Option<Timestamp>,
    /// Before the beginning of this day in UTC; to the last record where absent.
    pub to: Option<Timestamp>,
}

impl RecordsInput {
    /// What is written in a project file; `None` for any other input.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn parse(source: &str) -> Option<Result<Self, String>> {
        let rest = source.strip_prefix(SCHEME)?;
        let range = rest.rsplit_once('@').and_then(|(name, days)| Some((name, days.split_once("..")?)));
        let (endpoint, (from, to)) = range.unwrap_or((rest, ("", "")));
        Some(Self::of_days(endpoint, from, to))
    }

    fn of_days(endpoint: &str, from: &str, to: &str) -> Result<Self, String> {
        if endpoint.is_empty() {
            return Err(format!("`{SCHEME}` names no endpoint"));
        }
        let input = Self { endpoint: endpoint.to_owned(), from: day(from)?, to: day(to)? };
        match (input.from, input.to) {
            (Some(first), Some(end)) if first >= end => Err(format!("`{to}` is not after `{from}`")),
            _ => Ok(input),
        }
    }

    /// The folder with the records, relative to that of the project. It says all that the input does, so that nothing else has to be kept.
    pub fn path(&self) -> String {
        let mut path = FOLDER.to_owned();
        for byte in self.endpoint.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => path.push(char::from(byte)),
                other => path.push_str(&format!("%{other:02X}")),
            }
        }
        path.push_str(&self.days());
        path
    }

    /// The input whose folder this is.
    pub fn of_path(path: &str) -> Option<Self> {
        let name = path.strip_prefix(FOLDER)?;
        let (endpoint, days) = name.split_once('@').unwrap_or((name, ".."));
        let (from, to) = days.split_once("..")?;
        let mut bytes = Vec::new();
        let mut rest = endpoint.bytes();
        while let Some(byte) = rest.next() {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            bytes.push(match byte {
                b'%' => u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?,
                other => other,
            });
        }
        Self::of_days(&String::from_utf8(bytes).ok()?, from, to).ok()
    }

    fn days(&self) -> String {
        let day = |at: Option<Timestamp>| {
            at.map(|at| at.to_string().chars().take(10).collect::<String>()).unwrap_or_default()
        };
        match (self.from, self.to) {
            (None, None) => String::new(),
            (from, to) => format!("@{}..{}", day(from), day(to)),
        }
    }
}

impl fmt::Display for RecordsInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}{}", self.endpoint, self.days())
    }
}

/// The beginning of a day; none of no text.
fn day(text: &str) -> Result<Option<Timestamp>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = (text.len() == 10).then(|| Timestamp::parse(&format!("{text}T00:00:00Z"))).flatten();
    parsed.map(Some).ok_or_else(|| format!("`{text}` is no day; write it as in 2026-01-31"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_found_again_from_its_folder() {
        for (text, path) in [
            ("records:loans", "loans"),
            ("records:flights-late@2026-01-01..2026-02-01", "flights-late@2026-01-01..2026-02-01"),
            ("records:a/b c@2026-01-01..", "a%2Fb%20c@2026-01-01.."),
            ("records:é@home@..2026-02-01", "%C3%A9%40home@..2026-02-01"),
            ("records:a@b", "a%40b"),
            ("records:..", "%2E%2E"),
        ] {
            let input = RecordsInput::parse(text).unwrap().unwrap();
            assert_eq!(input.path(), format!("{FOLDER}{path}"));
            assert_eq!(RecordsInput::of_path(&input.path()), Some(input.clone()));
            assert_eq!(input.to_string(), text);
        }
        assert_eq!(RecordsInput::parse("flights"), None);
        assert_eq!(RecordsInput::of_path("features.parquet"), None);
    }

    #[test]
    fn what_is_no_input() {
        for (text, why) in [
            ("records:", "names no endpoint"),
            ("records:a@2026-1-1..", "`2026-1-1` is no day"),
            ("records:a@..2026-02-31", "`2026-02-31` is no day"),
            ("records:a@2026-02-01..2026-02-01", "is not after"),
        ] {
            let error = RecordsInput::parse(text).unwrap().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}

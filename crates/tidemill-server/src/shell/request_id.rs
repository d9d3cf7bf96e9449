//! The name of a request, in the logs of both sides.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header that carries it, in both directions.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longer names are no names.
const MAX: usize = 128;

/// Taken over from the client, or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestId {
    Given(HeaderValue),
    /// Of the process and the request in it; its text is made where it is wanted.
    Made(u32, u64),
}

impl RequestId {
    /// The client's own, where it is a plain word; otherwise a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match headers.get(HEADER) {
            Some(given) if is_plain(given.as_bytes()) => Self::Given(given.clone()),
            _ => Self::make(),
        }
    }

    /// A random beginning for each process and a counter: unique without asking the system for randomness each time.
    fn make() -> Self {
        static PROCESS: LazyLock<u32> =
            LazyLock::new(|| getrandom::u32().unwrap_or_else(|_| std::process::id()));
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self::Made(*PROCESS, NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn header(&self) -> HeaderValue {
        match self {
            Self::Given(given) => given.clone(),
            // Hexadecimal digits are allowed in every header.
            Self::Made(process, number) => HeaderValue::try_from(text(*process, *number))
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
        }
    }
}

/// Eight hexadecimal digits for the process, a dash, and as many as it takes for the request; in memory of just that length.
fn text(process: u32, number: u64) -> String {
    let digit =
        |value: u64, place: u32| char::from_digit(((value >> (place * 4)) & 0xf) as u32, 16).unwrap_or('0');
    let length = number.checked_ilog2().unwrap_or(0) / 4 + 1;
    let mut text = String::with_capacity(9 + length as usize);
    text.extend((0..8).rev().map(|place| digit(process.into(), place)));
    text.push('-');
    text.extend((0..length).rev().map(|place| digit(number, place)));
    text
}

/// What may be written to a log as it stands.
fn is_plain(text: &[u8]) -> bool {
    !text.is_empty()
        && text.len() <= MAX
        && text.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(b))
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(given) => f.write_str(given.to_str().unwrap_or("unknown")),
            Self::Made(process, number) => f.write_str(&text(*process, *number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_are_taken_over_and_others_replaced() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HEADER, value);
            }
            RequestId::of(&headers).to_string()
        };
        assert_eq!(with("4bf92f3577b34da6-1"), "4bf92f3577b34da6-1");
        for bad in ["", "two words", "a\tb", "semi;colon", &"x".repeat(129)] {
            assert_ne!(with(bad), bad);
        }
        assert_ne!(RequestId::make(), RequestId::make());
    }

    #[test]
    fn a_made_name_is_hexadecimal() {
        for (process, number) in
            [(0, 0), (1, 1), (0xab, 15), (u32::MAX, 16), (0x1234_5678, 0xfff), (7, u64::MAX)]
        {
            let made = text(process, number);
            assert_eq!(made, format!("{process:08x}-{number:x}"));
            assert_eq!(made.capacity(), made.len());
        }
    }
}

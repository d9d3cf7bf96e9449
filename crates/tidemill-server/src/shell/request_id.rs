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
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The client's own, where it is a plain word; otherwise a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match headers.get(HEADER) {
            Some(given) if is_plain(given.as_bytes()) => Self(given.clone()),
            _ => Self::make(),
        }
    }

    /// A random beginning for each process and a counter: unique without asking the system for randomness each time.
    fn make() -> Self {
        static PROCESS: LazyLock<u32> =
            LazyLock::new(|| getrandom::u32().unwrap_or_else(|_| std::process::id()));
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let text = format!("{:08x}-{:x}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed));
        // Hexadecimal digits are allowed in every header.
        Self(HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown")))
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// What may be written to a log as it stands.
fn is_plain(text: &[u8]) -> bool {
    !text.is_empty()
        && text.len() <= MAX
        && text.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(b))
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or("unknown"))
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
}

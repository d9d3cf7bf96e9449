//! What is taken from the head of a request: fields that routing may look at, and how long the caller waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName};

/// The header field in which a caller says how many milliseconds it waits.
pub const TIMEOUT_HEADER: &str = "x-request-timeout-ms";

/// Names that are looked for in every request, so that they are not read as names each time.
const TIMEOUT: HeaderName = HeaderName::from_static(TIMEOUT_HEADER);
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// How many fields are handed on, and how long a value may be.
const MOST: (usize, usize) = (32, 1_024);

/// Fields that say something about the transport, which routing has no use for.
const TRANSPORT: [&str; 16] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "host",
    "inference-header-content-length",
    "keep-alive",
    "te",
    "transfer-encoding",
];

/// Parts of names of fields that hold credentials.
const SECRET: [&str; 8] =
    ["auth", "cookie", "token", "secret", "password", "api-key", "apikey", "credential"];

/// The fields that are handed on: texts of bounded length, none about the transport and none with a credential.
pub(crate) fn selected(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    for (name, value) in headers {
        let name = name.as_str();
        if TRANSPORT.contains(&name)
            || name.ends_with("-bin")
            || SECRET.iter().any(|part| name.contains(part))
        {
            continue;
        }
        let Ok(value) = value.to_str() else { continue };
        if value.len() <= MOST.1 && fields.len() < MOST.0 {
            // Of several values, the first.
            fields.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    fields
}

/// When the caller gives up: by the header field, by the protocol's `timeout` in µs, and never later than `longest`.
/// `None` where none of the caller's says anything, and for a field that is no number.
pub(crate) fn deadline(
    headers: &HeaderMap,
    timeout_us: Option<u64>,
    begin: Instant,
    longest: Duration,
) -> Option<Instant> {
    let field = headers.get(TIMEOUT).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    let waits =
        [field.map(Duration::from_millis), timeout_us.map(Duration::from_micros), grpc_timeout(headers)];
    let wait = waits.into_iter().flatten().min()?;
    begin.checked_add(wait.min(longest))
}

/// `grpc-timeout`: up to eight digits and a unit, by <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The request's place in a trace, where it is one by W3C's recommendation "Trace Context".
pub(super) fn traceparent(headers: &HeaderMap) -> Option<&axum::http::HeaderValue> {
    let value = headers.get(TRACEPARENT)?;
    let parts: Vec<&str> = value.to_str().ok()?.split('-').collect();
    let hex = |text: &str, length: usize| {
        text.len() == length
            && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let lengths = [2, 32, 16, 2];
    let fits = parts.len() >= 4 && parts.iter().zip(lengths).all(|(part, length)| hex(part, length));
    fits.then_some(value)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn credentials_and_transport_stay_behind() {
        let headers = map(&[
            ("x-cohort", "b"),
            ("x-cohort", "c"),
            ("traceparent", "00-1-2-01"),
            ("authorization", "Bearer x"),
            ("proxy-authorization", "x"),
            ("cookie", "s=1"),
            ("x-api-key", "x"),
            ("x-amz-security-token", "x"),
            ("content-type", "application/json"),
            ("x-umlaut", "ä"),
            ("x-data-bin", "AAAA"),
        ]);
        let expected = [("traceparent", "00-1-2-01"), ("x-cohort", "b")];
        let expected: BTreeMap<_, _> = expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(selected(&headers), expected);
    }

    #[test]
    fn the_shortest_wait_counts() {
        let begin = Instant::now();
        let longest = Duration::from_secs(60);
        let wait = |fields: &[(&'static str, &str)], timeout| {
            deadline(&map(fields), timeout, begin, longest).map(|deadline| deadline - begin)
        };
        let ms = Duration::from_millis;
        assert_eq!(wait(&[], None), None);
        assert_eq!(wait(&[(TIMEOUT_HEADER, "250")], None), Some(ms(250)));
        assert_eq!(wait(&[(TIMEOUT_HEADER, "250")], Some(100_000)), Some(ms(100)));
        assert_eq!(wait(&[("grpc-timeout", "2S")], None), Some(ms(2_000)));
        assert_eq!(wait(&[("grpc-timeout", "99999999H")], None), Some(longest));
        assert_eq!(wait(&[], Some(u64::MAX)), Some(longest));
        for wrong in ["", "S", "123456789S", "1x", "-1S", "1ß"] {
            assert_eq!(wait(&[("grpc-timeout", wrong)], None), None, "{wrong}");
        }
        assert_eq!(wait(&[(TIMEOUT_HEADER, "soon")], None), None);
    }

    #[test]
    fn a_trace_that_is_one() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(traceparent(&map(&[("traceparent", good)])).is_some());
        for wrong in ["", "00-x-y-z", &good[..50], &good.to_uppercase()] {
            assert!(traceparent(&map(&[("traceparent", wrong)])).is_none(), "{wrong}");
        }
    }
}

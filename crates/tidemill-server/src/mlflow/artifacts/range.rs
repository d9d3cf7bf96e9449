//! Which bytes of a file a request asks for (RFC 9110, sections 13 and 14). Pure.

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Everything: 200.
    All,
    /// A part: 206.
    Part(Range<u64>),
    /// A part that the file does not have: 416.
    Nothing,
    /// Nothing, because the client has it: 304.
    Unchanged,
}

/// Reads the headers of a request for a file of `length` bytes with the entity tag `tag` (with its quotation marks).
pub(super) fn wanted(headers: &HeaderMap, length: u64, tag: &str) -> Wanted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(known) = text(header::IF_NONE_MATCH) {
        let same = |one: &str| one == "*" || one.trim_start_matches("W/") == tag;
        if known.split(',').any(|one| same(one.trim())) {
            return Wanted::Unchanged;
        }
    }
    let Some(range) = text(header::RANGE) else { return Wanted::All };
    // A client that has a part of another version gets the whole of this one.
    if text(header::IF_RANGE).is_some_and(|known| known.trim() != tag) {
        return Wanted::All;
    }
    match parse(range, length) {
        // What is no single range of bytes may be ignored, and is.
        None => Wanted::All,
        Some(range) if range.is_empty() => Wanted::Nothing,
        Some(range) => Wanted::Part(range),
    }
}

/// The range that `bytes=…` names, clipped to the file; empty if there is nothing of it. `None` if it is malformed or
/// several.
fn parse(text: &str, length: u64) -> Option<Range<u64>> {
    let (unit, spec) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number that is too large to read is beyond every file's end.
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    if first.is_empty() {
        let suffix = number(last)?;
        return Some(length.saturating_sub(suffix)..length);
    }
    let first = number(first)?;
    let end = if last.is_empty() { length } else { number(last)?.saturating_add(1) };
    if end <= first && !last.is_empty() {
        return None;
    }
    Some(first.min(length)..end.min(length))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn ask(pairs: &[(header::HeaderName, &str)], length: u64) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        wanted(&headers, length, "\"t\"")
    }

    #[test]
    fn ranges() {
        use Wanted::{All, Nothing, Part};
        for (range, expected) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=0-99", Part(0..10)),
            ("bytes=3-5", Part(3..6)),
            ("Bytes = 3-5", Part(3..6)),
            ("bytes=9-", Part(9..10)),
            ("bytes=0-", Part(0..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-99", Part(0..10)),
            ("bytes=-99999999999999999999999", Part(0..10)),
            ("bytes=5-99999999999999999999999", Part(5..10)),
            ("bytes=10-", Nothing),
            ("bytes=10-20", Nothing),
            ("bytes=99999999999999999999999-", Nothing),
            ("bytes=-0", Nothing),
            ("bytes=5-3", All),
            ("bytes=a-3", All),
            ("bytes=1-b", All),
            ("bytes=+1-3", All),
            ("bytes=-", All),
            ("bytes=0-1,3-4", All),
            ("bytes", All),
            ("items=0-1", All),
            ("", All),
        ] {
            assert_eq!(ask(&[(header::RANGE, range)], 10), expected, "{range}");
        }
        assert_eq!(ask(&[(header::RANGE, "bytes=0-")], 0), Nothing);
        assert_eq!(ask(&[], 0), All);
    }

    #[test]
    fn conditions() {
        let range = (header::RANGE, "bytes=0-1");
        for tag in ["\"t\"", "W/\"t\"", "*", "\"x\", \"t\""] {
            assert_eq!(ask(&[(header::IF_NONE_MATCH, tag), range.clone()], 10), Wanted::Unchanged, "{tag}");
        }
        assert_eq!(ask(&[(header::IF_NONE_MATCH, "\"x\"")], 10), Wanted::All);
        assert_eq!(ask(&[(header::IF_RANGE, "\"t\""), range.clone()], 10), Wanted::Part(0..2));
        assert_eq!(ask(&[(header::IF_RANGE, "\"x\""), range], 10), Wanted::All);
    }
}

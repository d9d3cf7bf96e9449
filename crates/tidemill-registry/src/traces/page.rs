//! Pages of a search over traces.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tidemill_db::search::OrderBy;
use tidemill_db::traces::{After, Page, TraceInfo, TraceQuery};

use crate::{Error, Result};

/// One page.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundTraces {
    /// In order.
    pub traces: Vec<TraceInfo>,
    /// What gives the next page, if there may be one.
    pub next: Option<String>,
}

/// Reads where a page begins. The token holds the order's keys of the last row before, so a page costs the same however
/// far it is, and what is added meanwhile moves nothing.
pub(super) fn read(order: Vec<OrderBy>, limit: i64, token: Option<&str>) -> Result<Page> {
    let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0).ok_or_else(|| {
        Error::invalid(format!(
            "Invalid value {limit} for parameter 'max_results' supplied. It must be a positive integer"
        ))
    })?;
    let after = match token.filter(|token| !token.is_empty()) {
        None => Vec::new(),
        Some(token) => {
            decode(token).ok_or_else(|| Error::invalid("Invalid page token, could not base64-decode"))?
        }
    };
    // One more shows whether there is a next page.
    Ok(Page { order, after, limit: limit + 1 })
}

/// What was asked for, without the row too many.
pub(super) fn cut(query: &TraceQuery, traces: &mut Vec<TraceInfo>) -> FoundTraces {
    let mut traces = std::mem::take(traces);
    let more = traces.len() >= query.page.limit;
    traces.truncate(query.page.limit - 1);
    let next = traces.last().filter(|_| more).map(|last| encode(&query.page.keys(last)));
    FoundTraces { traces, next }
}

fn encode(keys: &[After]) -> String {
    let keys = keys.iter().map(|key| match key {
        After::Nothing => Value::Null,
        After::Int(number) => Value::from(*number),
        After::Text(text) => Value::from(text.as_str()),
    });
    STANDARD.encode(Value::Array(keys.collect()).to_string())
}

fn decode(token: &str) -> Option<Vec<After>> {
    let bytes = STANDARD.decode(token).ok()?;
    let Ok(Value::Array(keys)) = serde_json::from_slice(&bytes) else { return None };
    let keys = keys.into_iter().map(|key| match key {
        Value::Null => Some(After::Nothing),
        Value::Number(number) => number.as_i64().map(After::Int),
        Value::String(text) => Some(After::Text(text)),
        _ => None,
    });
    keys.collect::<Option<Vec<_>>>().filter(|keys| !keys.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_they_were_written() {
        let keys = vec![After::Nothing, After::Int(-5), After::Text("a\"b".to_owned())];
        assert_eq!(decode(&encode(&keys)), Some(keys));
        for token in ["xx", "", "e30=", "W10=", "W3t9XQ=="] {
            assert_eq!(decode(token), None, "{token}");
        }
        assert!(read(Vec::new(), 0, None).is_err());
        assert!(read(Vec::new(), 5, Some("xx")).is_err());
        assert_eq!(read(Vec::new(), 5, Some("")).unwrap().limit, 6);
    }
}

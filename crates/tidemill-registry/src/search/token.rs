//! Tokens of pages that go on from a place: Base64 of JSON, bound to what was asked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tidemill_core::Digest;
use tidemill_db::search::Cursor;

use crate::{Error, Result};

#[derive(Serialize, Deserialize)]
struct Token {
    /// A part of the digest of the question.
    asked: String,
    place: Cursor,
}

/// The token for the page behind `place`. `asked` says what was asked, without the page.
pub(crate) fn encode(asked: &str, place: Cursor) -> Result<String> {
    let token = serde_json::to_vec(&Token { asked: mark(asked), place })
        .map_err(|error| Error::new(crate::Code::InternalError, error.to_string()))?;
    Ok(STANDARD.encode(token))
}

/// The place that `token` goes on from; none where it is empty.
pub(crate) fn decode(asked: &str, token: &str) -> Result<Option<Cursor>> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes =
        STANDARD.decode(token).map_err(|_| Error::invalid("Invalid page token, could not base64-decode"))?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|_| {
        Error::invalid(format!("Invalid page token, decoded value={}", String::from_utf8_lossy(&bytes)))
    })?;
    if token.asked != mark(asked) {
        return Err(Error::invalid(FOREIGN));
    }
    Ok(Some(token.place))
}

/// What is said of a token that another search gave.
pub(crate) const FOREIGN: &str = "Invalid page token: it belongs to another search. The filter, the order and the experiments must stay the same from \
     page to page.";

fn mark(asked: &str) -> String {
    Digest::of(asked.as_bytes()).to_string().chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_belong_to_their_question() {
        let place: Cursor = serde_json::from_str(r#"[{"i":1},{"t":"x"}]"#).unwrap();
        let token = encode("a", place.clone()).unwrap();
        assert_eq!(decode("a", &token).unwrap(), Some(place));
        assert_eq!(decode("a", "").unwrap(), None);
        assert_eq!(decode("b", &token).unwrap_err().message, FOREIGN);
        assert_eq!(decode("a", "§").unwrap_err().message, "Invalid page token, could not base64-decode");
        assert_eq!(
            decode("a", "eyJvZmZzZXQiOiAxfQ==").unwrap_err().message,
            "Invalid page token, decoded value={\"offset\": 1}"
        );
    }
}

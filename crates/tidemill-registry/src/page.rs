//! Tokens of pages that are counted: MLflow's Base64 of `{"offset": N}`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::{Error, Result};

/// Where a page begins; the first one without a token.
pub fn page_offset(token: Option<&str>) -> Result<u64> {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(0) };
    let bytes =
        STANDARD.decode(token).map_err(|_| Error::invalid("Invalid page token, could not base64-decode"))?;
    let value: Option<Value> = serde_json::from_slice(&bytes).ok();
    let offset = value.as_ref().and_then(|value| value.get("offset")).and_then(|offset| match offset {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    });
    offset.ok_or_else(|| {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        Error::invalid(format!("Invalid page token, decoded value={shown}"))
    })
}

/// The token of a page that begins here.
pub fn page_token(offset: u64) -> String {
    STANDARD.encode(json!({"offset": offset}).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_they_are_written() {
        assert_eq!(page_offset(None).unwrap(), 0);
        assert_eq!(page_offset(Some("")).unwrap(), 0);
        assert_eq!(page_offset(Some(&page_token(7))).unwrap(), 7);
        // As MLflow itself writes it.
        assert_eq!(page_offset(Some("eyJvZmZzZXQiOiAxfQ==")).unwrap(), 1);
        for bad in ["xx", "!", "e30="] {
            let message = page_offset(Some(bad)).unwrap_err().message;
            assert!(message.starts_with("Invalid page token"), "{bad}: {message}");
        }
    }
}

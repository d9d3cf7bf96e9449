//! Identifiers that nobody used before, and what else comes by chance.

use tidemill_core::hex;

use crate::{Code, Error, Result};

/// Sixteen bytes by chance, as 32 hexadecimal digits.
pub(crate) fn hex_id() -> String {
    hex(&random())
}

/// A UUID of version 4.
pub fn uuid() -> String {
    let mut bytes = random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// Bytes by chance.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error {
        code: Code::InternalError,
        message: "the server has no random numbers".to_owned(),
        source: Some(error.to_string().into()),
    })?;
    Ok(bytes)
}

#[expect(clippy::expect_used, reason = "without a source of chance no identifier can be made")]
fn random() -> [u8; 16] {
    random_bytes().expect("the system gives random bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_their_form() {
        let id = uuid();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&id.as_bytes()[19]));
        assert_eq!(hex_id().len(), 32);
        assert_ne!(hex_id(), hex_id());
    }
}

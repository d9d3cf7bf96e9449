//! What is kept of passwords: PBKDF2 with SHA-256 over a salt of its own for each, slow on purpose (NIST SP 800-132; the rounds are
//! what OWASP's Password Storage Cheat Sheet asks for).

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::pbkdf2::{PBKDF2_HMAC_SHA256, derive, verify};
use tidemill_db::access::PasswordHash;

use crate::fresh::random_bytes;
use crate::{Error, Result};

/// Rounds of a new password.
pub const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(599_999);
/// What the text begins with.
const SCHEME: &str = "pbkdf2-sha256";
/// Bytes of a salt.
const SALT: usize = 16;
/// Bytes that come out.
const KEY: usize = 32;
/// Fewer characters can be guessed.
const SHORTEST: usize = 12;
/// More are nobody's password.
const LONGEST: usize = 1024;

/// Refuses what is too short for a password.
pub(super) fn check(password: &str) -> Result<()> {
    if password.chars().count() < SHORTEST {
        return Err(Error::invalid(format!("Password must be at least {SHORTEST} characters.")));
    }
    if password.len() > LONGEST {
        return Err(Error::invalid(format!("Password must be at most {LONGEST} bytes.")));
    }
    Ok(())
}

/// What is kept of a password. Takes its time: not for a thread that others wait for.
pub(super) fn hash(password: &str, rounds: NonZeroU32) -> Result<PasswordHash> {
    let salt = random_bytes::<SALT>()?;
    let mut key = [0; KEY];
    derive(PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut key);
    Ok(text(rounds, &salt, &key))
}

/// What is kept of a password that nobody has: comparing with it takes as long as with any other.
pub(super) fn nobodys(rounds: NonZeroU32) -> Result<PasswordHash> {
    Ok(text(rounds, &random_bytes::<SALT>()?, &random_bytes::<KEY>()?))
}

/// Whether it is this password. Takes its time, the same whatever is different.
pub(super) fn matches(kept: &PasswordHash, password: &str) -> bool {
    let read = || {
        let mut parts = kept.reveal().split('$');
        let (scheme, rounds) = (parts.next()?, parts.next()?.parse().ok()?);
        let (salt, key) = (parts.next()?, parts.next()?);
        let [salt, key] = [STANDARD_NO_PAD.decode(salt).ok()?, STANDARD_NO_PAD.decode(key).ok()?];
        (scheme == SCHEME && parts.next().is_none() && key.len() == KEY).then_some((rounds, salt, key))
    };
    let Some((rounds, salt, key)) = read() else { return false };
    password.len() <= LONGEST && verify(PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &key).is_ok()
}

fn text(rounds: NonZeroU32, salt: &[u8], key: &[u8]) -> PasswordHash {
    let [salt, key] = [salt, key].map(|bytes| STANDARD_NO_PAD.encode(bytes));
    PasswordHash::new(format!("{SCHEME}${rounds}${salt}${key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_what_is_kept_of_it() {
        let few = NonZeroU32::new(10).unwrap();
        let kept = hash("correct horse battery", few).unwrap();
        assert!(matches(&kept, "correct horse battery"));
        for wrong in ["", "correct horse batterz", "correct horse battery "] {
            assert!(!matches(&kept, wrong), "{wrong}");
        }
        assert_ne!(kept, hash("correct horse battery", few).unwrap());
        assert!(!format!("{kept:?}").contains(kept.reveal()));
        assert!(!matches(&nobodys(few).unwrap(), ""));
        for damaged in
            ["", "pbkdf2-sha256$10", "pbkdf2-sha256$0$AA$AA", "md5$10$AA$AA", "pbkdf2-sha256$1$AA$AA"]
        {
            assert!(!matches(&PasswordHash::new(damaged), "x"), "{damaged}");
        }
    }

    /// Made with Python's `hashlib.pbkdf2_hmac("sha256", b"password", b"salt" * 4, 1000)`.
    #[test]
    fn the_keys_are_those_of_pbkdf2() {
        let kept = PasswordHash::new(VECTOR);
        assert!(matches(&kept, "password") && !matches(&kept, "passwore"));
    }

    const VECTOR: &str =
        "pbkdf2-sha256$1000$c2FsdHNhbHRzYWx0c2FsdA$8nX7hwFEzIB8aPajJTYK8weHQc5Ngz0pFVAKvSu4jQA";

    #[test]
    fn short_ones_are_refused() {
        assert!(check("elevenchars").is_err() && check("twelve chars").is_ok());
        assert!(check(&"x".repeat(1025)).is_err());
    }
}

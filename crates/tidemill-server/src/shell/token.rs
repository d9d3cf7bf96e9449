//! The server's token, and who a request comes from.

use std::fmt;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tidemill_core::{Actor, ActorKind};

/// A secret that clients must know. Only its SHA-256 is kept.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// Of the secret's text.
    pub fn new(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// Whether the headers of a request carry it: as a bearer token, or as password with any user name.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        actor(Some(self), NOBODY, headers).is_some()
    }

    /// Takes the same time whatever is different: digests of equal length are compared.
    pub(crate) fn matches(&self, candidate: &str) -> bool {
        let candidate: [u8; 32] = Sha256::digest(candidate).into();
        self.0.ct_eq(&candidate).into()
    }

    /// What sessions of browsers are signed with: known to nobody who does not know the token.
    pub(crate) fn key(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Somebody who gave no name.
pub(crate) const NOBODY: &str = "anonymous";

/// What an `Authorization` header says.
pub(crate) enum Credentials {
    Bearer(String),
    Basic { user: String, password: String },
}

impl Credentials {
    /// Of a request; nothing where there are none, or none that are understood.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::AUTHORIZATION)?;
        credentials(value.to_str().ok()?)
    }
}

/// Whoever knows the server's token and gives no name.
pub(crate) fn bearer() -> Actor {
    Actor { kind: ActorKind::Service, name: "token".to_owned() }
}

/// Who sends a request, or nobody whom we know. Without a token everybody may, and a user name is believed; whoever gives none is `user`.
pub(super) fn actor(token: Option<&Token>, user: &str, headers: &HeaderMap) -> Option<Actor> {
    let given = Credentials::of(headers);
    let knows = |secret: &str| token.is_none_or(|token| token.matches(secret));
    match given {
        Some(Credentials::Bearer(secret)) if knows(&secret) => Some(bearer()),
        Some(Credentials::Basic { user, password }) if knows(&password) => {
            Some(Actor::user(user_name(&user)))
        }
        None if token.is_none() => Some(Actor::user(user)),
        _ => None,
    }
}

/// The scheme's name has no case (RFC 9110, section 11.1).
fn credentials(value: &str) -> Option<Credentials> {
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credentials::Bearer(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(Credentials::Basic { user: user.to_owned(), password: password.to_owned() })
}

/// A user name as it may stand in the log of events.
pub(crate) fn user_name(user: &str) -> String {
    let plain: String = user.chars().filter(|c| !c.is_control()).take(128).collect();
    if plain.trim().is_empty() { NOBODY.to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn who(token: Option<&str>, given: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(given) = given {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(given).unwrap());
        }
        actor(token.map(Token::new).as_ref(), NOBODY, &headers).map(|actor| actor.to_string())
    }

    #[test]
    fn who_is_who() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for (token, given, expect) in [
            (None, None, Some("user:anonymous")),
            (None, Some(basic("ada:")), Some("user:ada")),
            (None, Some("Bearer whatever".to_owned()), Some("service:token")),
            (None, Some("Digest x".to_owned()), Some("user:anonymous")),
            (Some("s3cret"), None, None),
            (Some("s3cret"), Some("Bearer s3cret".to_owned()), Some("service:token")),
            (Some("s3cret"), Some("bearer  s3cret".to_owned()), Some("service:token")),
            (Some("s3cret"), Some("Bearer s3cre".to_owned()), None),
            (Some("s3cret"), Some("Bearer s3crett".to_owned()), None),
            (Some("s3cret"), Some(basic("ada:s3cret")), Some("user:ada")),
            (Some("s3cret"), Some(basic(":s3cret")), Some("user:anonymous")),
            (Some("s3cret"), Some(basic("ada:other")), None),
            (Some("s3cret"), Some(basic("s3cret")), None),
            (Some("s3cret"), Some("Basic ***".to_owned()), None),
            (Some("s3cret"), Some("s3cret".to_owned()), None),
            (Some("a:b"), Some(basic("ada:a:b")), Some("user:ada")),
        ] {
            assert_eq!(who(token, given.as_deref()).as_deref(), expect, "{token:?} {given:?}");
        }
    }

    #[test]
    fn a_token_does_not_show_itself() {
        assert_eq!(format!("{:?}", Token::new("s3cret")), "Token(…)");
    }
}

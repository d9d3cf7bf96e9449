//! Who a browser is, and whether one of our own pages sent a form.
//!
//! A session is a cookie that only the server can write: a name and an end, signed with what the server keeps of its
//! token. So sessions outlive a restart, end with another token, and nothing of them is stored.

use axum::http::{HeaderMap, HeaderName, Method, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tidemill_core::{Actor, Timestamp};

use crate::Token;
use crate::shell::is_same;

/// The cookie's name.
const COOKIE: &str = "tidemill_session";
/// How long one stays signed in, in milliseconds: a working day.
const LENGTH: i64 = 12 * 3600 * 1000;

/// What forms are signed with, anew with each start of the server.
pub(crate) struct FormKey([u8; 32]);

impl Default for FormKey {
    fn default() -> Self {
        let mut key = [0; 32];
        // Without entropy there is no token that is accepted: forms are refused, nothing else.
        if getrandom::fill(&mut key).is_err() {
            key = [0; 32];
        }
        Self(key)
    }
}

impl FormKey {
    /// The token that a page for somebody puts into its forms. Pages of other origins cannot read it.
    pub(crate) fn token(&self, actor: &Actor) -> String {
        sign(&self.0, &format!("form\n{actor}"))
    }

    /// Whether a form carries the token of its sender.
    pub(crate) fn knows(&self, actor: &Actor, token: &str) -> bool {
        self.0 != [0; 32] && verify(&self.0, &format!("form\n{actor}"), token)
    }
}

fn mac(key: &[u8], text: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(mac)
}

fn sign(key: &[u8], text: &str) -> String {
    let signed = mac(key, text).map(|mac| mac.finalize().into_bytes());
    signed.map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).unwrap_or_default()
}

/// Takes the same time whatever is different.
fn verify(key: &[u8], text: &str, signature: &str) -> bool {
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
    mac(key, text).is_some_and(|mac| mac.verify_slice(&signature).is_ok())
}

/// The cookie of somebody who has just shown the secret that `key` was made of.
pub(super) fn begin(key: &[u8], name: &str, now: Timestamp, secure: bool) -> String {
    let until = now.millis().saturating_add(LENGTH);
    let name = URL_SAFE_NO_PAD.encode(name);
    let signature = sign(key, &format!("session\n{name}\n{until}"));
    let secure = if secure { "; Secure" } else { "" };
    let age = LENGTH / 1000;
    format!("{COOKIE}={name}.{until}.{signature}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
}

/// The cookie that ends a session.
pub(super) fn end() -> String {
    format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// Whom a cookie stands for, where the server has a token and no users.
pub(crate) fn actor(
    token: &Token,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    now: Timestamp,
) -> Option<Actor> {
    let claim = claim(method, path, headers).filter(|claim| claim.holds(token.key(), now))?;
    Some(Actor::user(claim.name))
}

/// Whom a cookie says that it stands for.
pub(crate) struct Claim {
    name: String,
    /// What was signed.
    text: String,
    until: i64,
    signature: String,
}

impl Claim {
    /// The name, which anybody can write.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the server wrote it with this key, and it still counts.
    pub(crate) fn holds(&self, key: &[u8], now: Timestamp) -> bool {
        verify(key, &self.text, &self.signature) && self.until > now.millis()
    }
}

/// What a cookie says. It counts for looking at things, and for the forms of our pages, which carry a token of their own; programs
/// that change something sign in with each request.
pub(crate) fn claim(method: &Method, path: &str, headers: &HeaderMap) -> Option<Claim> {
    if !(matches!(*method, Method::GET | Method::HEAD) || path.starts_with("/ui/")) {
        return None;
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let value = pairs.find(|(name, _)| *name == COOKIE)?.1;
    let mut parts = value.splitn(3, '.');
    let (name, until, signature) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Claim {
        text: format!("session\n{name}\n{until}"),
        name: String::from_utf8(URL_SAFE_NO_PAD.decode(name).ok()?).ok()?,
        until: until.parse().ok()?,
        signature: signature.to_owned(),
    })
}

/// Whether a form was sent from a page of this very server. The shell takes origins of the same machine as well, which is
/// right for programs and not enough for what a cookie allows.
pub(super) fn is_own_form(headers: &HeaderMap) -> bool {
    const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if text(SITE).is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return false;
    }
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => is_same(origin, host),
        (Some(_), None) => false,
        (None, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(token: &Token, cookie: &str, method: &Method, path: &str, at: i64) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookie.split("; Path").next().unwrap().parse().unwrap());
        actor(token, method, path, &headers, Timestamp::from_millis(at)).map(|actor| actor.to_string())
    }

    #[test]
    fn a_cookie_counts_until_it_ends_and_for_pages_only() {
        let (token, other) = (Token::new("s3cret"), Token::new("s3cre"));
        let cookie = begin(token.key(), "Ada; x=1", Timestamp::from_millis(1000), false);
        assert!(cookie.contains("HttpOnly; SameSite=Strict") && !cookie.contains("s3cret"), "{cookie}");
        assert_eq!(who(&token, &cookie, &Method::GET, "/", 2000).as_deref(), Some("user:Ada; x=1"));
        assert_eq!(who(&token, &cookie, &Method::POST, "/ui/logout", 2000).as_deref(), Some("user:Ada; x=1"));
        assert_eq!(who(&token, &cookie, &Method::POST, "/api/2.0/mlflow/runs/create", 2000), None);
        assert_eq!(who(&token, &cookie, &Method::GET, "/", 1000 + LENGTH), None);
        assert_eq!(who(&other, &cookie, &Method::GET, "/", 2000), None);
        let forged = cookie.replace(".43201000.", ".99999999999.");
        assert_ne!(forged, cookie);
        assert_eq!(who(&token, &forged, &Method::GET, "/", 2000), None);
        assert_eq!(who(&token, "tidemill_session=a.b", &Method::GET, "/", 2000), None);
    }

    #[test]
    fn tokens_of_forms_are_their_senders() {
        let (key, ada, bob) = (FormKey::default(), Actor::user("ada"), Actor::user("bob"));
        assert!(key.knows(&ada, &key.token(&ada)));
        assert!(!key.knows(&bob, &key.token(&ada)) && !key.knows(&ada, ""));
        assert!(!FormKey::default().knows(&ada, &key.token(&ada)));
        assert!(!FormKey([0; 32]).knows(&ada, &FormKey([0; 32]).token(&ada)));
    }

    #[test]
    fn forms_come_from_our_own_pages() {
        for (pairs, own) in [
            (&[("origin", "http://localhost:5000"), ("host", "localhost:5000")][..], true),
            (&[("origin", "http://localhost:3000"), ("host", "localhost:5000")], false),
            (&[("origin", "null"), ("host", "localhost:5000")], false),
            (&[("host", "localhost:5000")], true),
            (&[("host", "localhost:5000"), ("sec-fetch-site", "same-site")], false),
            (&[("host", "localhost:5000"), ("sec-fetch-site", "same-origin")], true),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            }
            assert_eq!(is_own_form(&headers), own, "{pairs:?}");
        }
    }
}

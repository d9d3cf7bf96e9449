//! Who may call a webhook: the signatures of GitHub, GitLab, Gitea and everybody else.
//!
//! | sender | header | signs |
//! | --- | --- | --- |
//! | GitHub | `X-Hub-Signature-256: sha256=HEX` | body |
//! | Gitea, Forgejo | `X-Gitea-Signature: HEX`, `X-Forgejo-Signature: HEX` | body |
//! | GitLab | `X-Gitlab-Token: SECRET` | nothing |
//! | GitLab with a signing token, Standard Webhooks | `webhook-signature: v1,BASE64` with `webhook-id`, `webhook-timestamp` | id, time, body |
//! | MLflow | `X-MLflow-Signature: v1,BASE64` with `X-MLflow-Delivery-Id`, `X-MLflow-Timestamp` | id, time, body |
//! | anybody | `Authorization: Bearer SECRET`, or Basic with it as password | nothing |
//!
//! Every HMAC is HMAC-SHA256. All comparisons take the same time whatever differs. A request with several of these
//! headers must be right in the strongest of them. Sources: the documentation of each sender; Standard Webhooks 1.0.

mod push;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tidemill_core::Timestamp;

pub use push::{Push, is_commit, pushes};

/// Reads a header of a request by its name in lower case.
pub type Header<'a> = &'a (dyn Fn(&str) -> Option<&'a str> + Sync);

/// How far the time of a signature may be from ours: within it, repetitions are told by what was signed.
pub const WINDOW: Duration = Duration::from_secs(300);

/// A request whose sender knows the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who signs like that.
    pub sender: &'static str,
    /// What is the same in every delivery of this request and, as far as it is signed, in no other; `None` where the sender says
    /// nothing like that, so that every request counts.
    pub key: Option<String>,
    /// Whether the key is of the body alone: another request of the same text has the same.
    pub is_of_text: bool,
    /// How the sender names this delivery, which is not signed.
    pub delivery: Option<String>,
}

impl Verified {
    /// The key by which a request is told from one with the same text: with the delivery that the sender names. Without one, the same text
    /// is the same request for the length of [`WINDOW`], as the clock divides time.
    pub fn request_key(&self, now: Timestamp) -> Option<String> {
        let key = self.key.as_ref()?;
        Some(match &self.delivery {
            _ if !self.is_of_text => key.clone(),
            Some(delivery) => format!("{key} {delivery}"),
            None => format!("{key} {}", u128::from(now.millis().unsigned_abs()) / WINDOW.as_millis()),
        })
    }

    fn signed(sender: &'static str, key: Option<String>) -> Self {
        Self { sender, key, is_of_text: false, delivery: None }
    }
}

/// Why a request is refused. Never says what would have been right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing was signed.
    #[error("the request is not signed")]
    Unsigned,
    /// It was signed with something else.
    #[error("the signature is not right")]
    Wrong,
    /// It was signed too long ago, or in the future.
    #[error("the signature is from another time: more than {} minutes away", WINDOW.as_secs() / 60)]
    Stale,
    /// A part of the signature is missing or unreadable.
    #[error("the signature cannot be read: `{0}` is missing or malformed")]
    Malformed(&'static str),
}

/// Whether the sender of a request knows `secret`.
pub fn verify(header: Header<'_>, body: &[u8], secret: &str, now: Timestamp) -> Result<Verified, Refusal> {
    for (sender, names) in TIMED {
        if let Some(signature) = header(names.signature) {
            let key = timed(header, names, signature, body, secret, now)?;
            return Ok(Verified::signed(sender, Some(key)));
        }
    }
    for (sender, name, prefix) in PLAIN {
        if let Some(signature) = header(name) {
            let hex = signature.strip_prefix(prefix).ok_or(Refusal::Malformed(name))?;
            let signature = unhex(hex.trim()).ok_or(Refusal::Malformed(name))?;
            mac(secret.as_bytes(), &[body]).verify_slice(&signature).map_err(|_| Refusal::Wrong)?;
            // The identifier of the delivery is not signed, so whoever repeats a request could change it, and it is no key by itself.
            let delivery = DELIVERIES.iter().find_map(|name| header(name)).filter(|id| !id.is_empty());
            let (key, delivery) = (Some(format!("{sender} {hex}")), delivery.map(str::to_owned));
            return Ok(Verified { sender, key, is_of_text: true, delivery });
        }
    }
    let given = match header("x-gitlab-token") {
        Some(token) => Some(("gitlab", token.to_owned())),
        None => header("authorization").and_then(password).map(|password| ("token", password)),
    };
    let (sender, given) = given.ok_or(Refusal::Unsigned)?;
    if !same(&given, secret) {
        return Err(Refusal::Wrong);
    }
    let id = ["x-gitlab-event-uuid", "idempotency-key", "webhook-id"].iter().find_map(|name| header(name));
    Ok(Verified::signed(sender, id.map(|id| format!("{sender} {id}"))))
}

/// Where senders that sign the body name a delivery; the same when it is sent again.
const DELIVERIES: [&str; 5] =
    ["x-github-delivery", "x-forgejo-delivery", "x-gitea-delivery", "idempotency-key", "webhook-id"];

struct Names {
    signature: &'static str,
    id: &'static str,
    time: &'static str,
}

const TIMED: [(&str, Names); 2] = [
    ("standard", Names { signature: "webhook-signature", id: "webhook-id", time: "webhook-timestamp" }),
    (
        "mlflow",
        Names { signature: "x-mlflow-signature", id: "x-mlflow-delivery-id", time: "x-mlflow-timestamp" },
    ),
];

const PLAIN: [(&str, &str, &str); 3] = [
    ("github", "x-hub-signature-256", "sha256="),
    ("gitea", "x-forgejo-signature", ""),
    ("gitea", "x-gitea-signature", ""),
];

/// `v1,BASE64`, of which there may be several while a secret is replaced, over `ID.TIME.BODY`.
fn timed(
    header: Header<'_>,
    names: Names,
    signatures: &str,
    body: &[u8],
    secret: &str,
    now: Timestamp,
) -> Result<String, Refusal> {
    let id = header(names.id).filter(|id| !id.is_empty()).ok_or(Refusal::Malformed(names.id))?;
    let time = header(names.time).ok_or(Refusal::Malformed(names.time))?;
    let seconds: i64 = time.trim().parse().map_err(|_| Refusal::Malformed(names.time))?;
    let key = signing_key(secret);
    let right = signatures.split([' ', '\t']).any(|one| {
        let Some(signature) = one.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok()) else {
            return false;
        };
        let parts = [id.as_bytes(), b".", time.as_bytes(), b".", body];
        mac(&key, &parts).verify_slice(&signature).is_ok()
    });
    if !right {
        return Err(Refusal::Wrong);
    }
    let away = now.millis().abs_diff(seconds.saturating_mul(1000));
    if u128::from(away) > WINDOW.as_millis() {
        return Err(Refusal::Stale);
    }
    Ok(id.to_owned())
}

/// Standard Webhooks writes keys as `whsec_` and Base64; anything else is the key itself.
fn signing_key(secret: &str) -> Vec<u8> {
    let encoded = secret.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
    encoded.unwrap_or_else(|| secret.as_bytes().to_vec())
}

#[expect(clippy::default_trait_access, reason = "the type of the key is longer than what it says")]
fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    // A key of any length is a key (RFC 2104); the default, of which no signature is right, is never reached.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Hmac::<Sha256>::new(&Default::default());
    };
    parts.iter().for_each(|part| mac.update(part));
    mac
}

fn same(a: &str, b: &str) -> bool {
    let (a, b): ([u8; 32], [u8; 32]) = (Sha256::digest(a).into(), Sha256::digest(b).into());
    a.ct_eq(&b).into()
}

/// The secret of an `Authorization` header.
fn password(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some((digit(pair[0])? * 16 + digit(*pair.get(1)?)?) as u8)).collect()
}

//! Requests that the server makes by itself: without redirects and proxies, and only to addresses that the settings allow.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, StatusCode, redirect};
use sha2::Sha256;
use tidemill_core::Timestamp;
use tidemill_db::webhooks::{Attempt, Secret};
use tidemill_registry::{Error, Reach, Result, check_address, webhook_host};

/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the name of its host may take to be looked up.
const LOOKUP: Duration = Duration::from_secs(5);
/// How much of a receiver's answer is read.
const ANSWER: usize = 4096;

/// What a receiver answered.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
}

/// Sends requests. Clones share connections.
#[derive(Clone)]
pub(crate) struct Sender {
    /// Made for the first request: it reads every certificate that the machine trusts, and most servers never send anything.
    client: Arc<OnceLock<Client>>,
    reach: Reach,
}

impl Sender {
    pub(crate) fn new(reach: Reach) -> Self {
        Self { client: Arc::default(), reach }
    }

    fn client(&self) -> Result<&Client, String> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let made = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            // Behind a proxy the address that is checked would be the proxy's.
            .no_proxy()
            .dns_resolver(Arc::new(Resolver { reach: self.reach }))
            .user_agent(concat!("tidemill/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("cannot make an HTTP client: {}", reason(&error)))?;
        Ok(self.client.get_or_init(|| made))
    }

    /// Posts a body once. The error is a short reason, without the URL, which may hold a token.
    pub(crate) async fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Answered, String> {
        // Addresses that are written as such are not looked up, so they are checked here.
        let host = webhook_host(url, self.reach).map_err(|error| error.message)?;
        if let Ok(address) = host.parse() {
            check_address(&host, address, self.reach).map_err(|error| error.message)?;
        }
        let client = self.client()?;
        let request =
            headers.iter().fold(client.post(url), |request, (name, value)| request.header(*name, *value));
        let mut answer = request.body(body).send().await.map_err(|error| reason(&error))?;
        let status = answer.status();
        let mut read = Vec::new();
        while read.len() < ANSWER {
            match answer.chunk().await {
                Ok(Some(chunk)) => read.extend_from_slice(&chunk),
                Ok(None) | Err(_) => break,
            }
        }
        read.truncate(ANSWER);
        Ok(Answered { status, body: String::from_utf8_lossy(&read).into_owned() })
    }
}

/// Refuses a URL whose host has an address where deliveries may not go.
pub(crate) async fn check_host(url: &str, reach: Reach) -> Result<()> {
    let host = webhook_host(url, reach)?;
    if reach == Reach::Anywhere {
        return Ok(());
    }
    for address in look_up(&host).await? {
        check_address(&host, address.ip(), reach)?;
    }
    Ok(())
}

async fn look_up(host: &str) -> Result<Vec<SocketAddr>> {
    let cannot = |why: String| Error::invalid(format!("Cannot resolve Webhook URL hostname '{host}': {why}"));
    match tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host, 443))).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(error)) => Err(cannot(error.to_string())),
        Err(_) => Err(cannot(format!("no answer in {} seconds", LOOKUP.as_secs()))),
    }
}

/// Looks names up for the client and gives it only addresses that are allowed: what was checked when the webhook was
/// made may have changed since.
struct Resolver {
    reach: Reach,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.reach;
        Box::pin(async move {
            let host = name.as_str();
            let mut allowed = Vec::new();
            for address in look_up(host).await? {
                check_address(host, address.ip(), reach)?;
                // The client puts the URL's own port in place of 0.
                allowed.push(SocketAddr::new(address.ip(), 0));
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// What went wrong, without the URL.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer in {} seconds", TIMEOUT.as_secs());
    }
    // The innermost cause says most: `connection refused`, or which address is not allowed.
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    if std::ptr::eq(cause, error as &dyn std::error::Error) {
        return "the request could not be sent".to_owned();
    }
    cause.to_string()
}

/// `v1,` and the Base64 of the HMAC-SHA256 of identifier, time and body, joined by dots.
pub(crate) fn signature(secret: &Secret, id: &str, seconds: &str, body: &str) -> String {
    // Any length of key will do.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()) else {
        return String::new();
    };
    for part in [id, ".", seconds, ".", body] {
        mac.update(part.as_bytes());
    }
    format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes()))
}

/// Whether an answer says that trying again may help.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

/// Attempts in all.
const ATTEMPTS: u32 = 9;

/// How an attempt ended that did not arrive, after so many; `again` where another one may help.
pub(crate) fn failed(now: Timestamp, attempts: u32, reason: String, again: bool) -> Attempt {
    match pause(attempts).filter(|_| again) {
        Some(pause) => Attempt::Later(now.plus(pause), reason),
        None => Attempt::Failed(reason),
    }
}

/// How long to wait after so many attempts: from two seconds four times as long each time, up to an hour; about three
/// and a half hours in all.
fn pause(attempts: u32) -> Option<Duration> {
    let seconds = 2_u64.saturating_mul(4_u64.saturating_pow(attempts.saturating_sub(1)));
    (attempts < ATTEMPTS).then(|| Duration::from_secs(seconds.min(3600)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_receivers_compute() {
        // python3 -c "import hmac,hashlib,base64; print(base64.b64encode(hmac.new(b'key', b'id.12.{}',
        // hashlib.sha256).digest()).decode())"
        let signed = signature(&Secret::new("key"), "id", "12", "{}");
        assert_eq!(signed, "v1,NpYJqeRn83gufU1q47yBVrZapcgogcUvE2otEmF9+AU=");
    }

    #[test]
    fn pauses_grow_and_end() {
        let pauses: Vec<u64> = (1..=ATTEMPTS).map_while(pause).map(|pause| pause.as_secs()).collect();
        assert_eq!(pauses, [2, 8, 32, 128, 512, 2048, 3600, 3600]);
        assert_eq!(pause(ATTEMPTS), None);
    }
}

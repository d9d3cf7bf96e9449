//! Outcomes to a running server: in parts, each of which is sent again until the server says that it has it.

use std::time::Duration;

use reqwest::{Client, StatusCode, Url, header, redirect};
use serde::Deserialize;
use serde_json::Value;
use tidemill_core::Cancel;

use crate::failure::Failure;

/// How long the server may take for a part.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a part is sent, with pauses from this one that double.
const ATTEMPTS: u32 = 7;
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause that a server can ask for.
const LONGEST: u64 = 60;
/// What to do where the server is away.
pub(super) const AGAIN: &str =
    "run the command again when the server is there: what it has from before is not stored again";
/// How often it is looked whether somebody wants to stop.
const TICK: Duration = Duration::from_millis(100);

/// The outcomes of an endpoint, at a server.
pub(super) struct Receiver {
    http: Client,
    url: Url,
    token: Option<String>,
    cancel: Cancel,
}

/// What became of a part.
#[derive(Debug, Deserialize)]
pub(super) struct Taken {
    pub(super) accepted: u64,
    #[serde(default)]
    pub(super) known: u64,
    pub(super) rejected: u64,
    #[serde(default)]
    pub(super) problems: Vec<BadRow>,
}

/// A row that holds no outcome.
#[derive(Debug, Deserialize)]
pub(super) struct BadRow {
    /// From 1.
    pub(super) row: usize,
    pub(super) why: String,
}

/// How outcomes stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Standing {
    pub(super) matched: u64,
    pub(super) late: u64,
    pub(super) waiting: u64,
    pub(super) duplicate: u64,
    pub(super) unmatched: u64,
    /// Older servers do not say it.
    #[serde(default)]
    pub(super) newest: Option<u64>,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

/// Why a part is not there.
enum Failed {
    /// Sent again, it may arrive; not before so many seconds, where the server says so.
    ForNow(String, Option<u64>),
    ForGood(Failure),
}

    /// Older servers do not say it, nor the number of the newest.
    #[serde(default)]
    pub(super) corrected: u64,
impl Receiver {
    pub(super) fn new(
        server: &str,
        endpoint: &str,
        token: Option<String>,
        cancel: Cancel,
    ) -> anyhow::Result<Self> {
        let wrong = || {
            Failure::usage(format!("`{server}` is no address of a server"))
                .hint("as in `--server http://127.0.0.1:5000`")
        };
        let mut url = Url::parse(server).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong().into());
        }
        let path = ["api", "v1", "endpoints", endpoint, "outcomes"];
        url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().extend(path);
        // A token must not follow a redirect to somebody else.
        let http = Client::builder().timeout(PATIENCE).redirect(redirect::Policy::none()).build()?;
        Ok(Self { http, url, token, cancel })
    }

    /// Sends lines of JSON, of which the server stores each that it has not from before.
    pub(super) async fn send(&self, lines: &str) -> Result<Taken, Failure> {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("once", "true");
        let request = || {
            let request = self.http.post(url.clone()).header(header::CONTENT_TYPE, "application/jsonl");
            request.body(lines.to_owned())
        };
        self.patiently(ATTEMPTS, request).await
    }

    /// How outcomes stand that came after the one of this number; all where none is given.
    pub(super) async fn standing(&self, after: Option<u64>) -> Result<Standing, Failure> {
        let mut url = self.url.clone();
        if let Some(after) = after {
            url.query_pairs_mut().append_pair("after", &after.to_string());
        }
        // Before anything is sent, a server that is not there is told at once.
        let attempts = if after.is_some() { ATTEMPTS } else { 1 };
        self.patiently(attempts, || self.http.get(url.clone())).await
    }

    /// Waits, unless somebody wants to stop.
    pub(super) async fn pause(&self, time: Duration) -> Result<(), Failure> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.stopped() => Err(Failure::cancelled()),
        }
    }

    async fn patiently<T: serde::de::DeserializeOwned>(
        &self,
        attempts: u32,
        request: impl Fn() -> reqwest::RequestBuilder,
    ) -> Result<T, Failure> {
        let mut attempt = 1;
        loop {
            let asked = tokio::select! {
                asked = self.ask(request()) => asked,
                () = self.stopped() => return Err(Failure::cancelled()),
            };
            match asked {
                Ok(value) => return Ok(value),
                Err(Failed::ForGood(failure)) => return Err(failure),
                Err(Failed::ForNow(why, _)) if attempt >= attempts => {
                    return Err(Failure::new(why).hint(AGAIN));
                }
                Err(Failed::ForNow(why, after)) => {
                    tracing::debug!(why = %why, attempt, "sending again");
                    let pause = after.map_or(PAUSE * 2_u32.pow(attempt - 1), Duration::from_secs);
                    self.pause(pause).await?;
                    attempt += 1;
                }
            }
        }
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        mut request: reqwest::RequestBuilder,
    ) -> Result<T, Failed> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|error| self.away(&error))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.map_err(|error| self.away(&error))?;
        if status.is_success() {
            let answer: Answer<T> = serde_json::from_slice(&body).map_err(|_| {
                Failed::ForGood(Failure::new(format!(
                    "what answers at {} is no Tidemill server",
                    self.host()
                )))
            })?;
            return Ok(answer.data);
        }
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let why = said["detail"].as_str().or_else(|| said["title"].as_str());
        let why = why.map_or_else(|| format!("the server answered {status}"), str::to_owned);
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            let after = headers.get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
            return Err(Failed::ForNow(why, after.map(|seconds: u64| seconds.min(LONGEST))));
        }
        let hint = match status {
            StatusCode::UNAUTHORIZED => {
                Some("`--server-token-file FILE` names the file with its token".to_owned())
            }
            _ => said["hint"].as_str().map(str::to_owned),
        };
        Err(Failed::ForGood(Failure::new(why).hint_maybe(hint)))
    }

    fn away(&self, error: &reqwest::Error) -> Failed {
        let why = if error.is_timeout() { "does not answer in time" } else { "cannot be reached" };
        Failed::ForNow(format!("the server at {} {why}", self.host()), None)
    }

    /// The address without what may be secret in it.
    fn host(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{port}", self.url.host_str().unwrap_or_default())
    }

    async fn stopped(&self) {
        while !self.cancel.is_cancelled() {
            tokio::time::sleep(TICK).await;
        }
    }
}

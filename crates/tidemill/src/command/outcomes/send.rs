//! Outcomes to a running server, or to the one that this process is: in parts, each of which is sent again until the server says that it
//! has it.

use std::time::Duration;

use reqwest::header::{self, HeaderMap};
use reqwest::{Client, StatusCode, Url, redirect};
use serde::Deserialize;
use serde_json::Value;
use tidemill_core::{Actor, Cancel};
use tidemill_server::OutcomeApi;

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
pub(in crate::command) struct Receiver {
    way: Way,
    cancel: Cancel,
}

/// How the server is asked.
enum Way {
    /// Over HTTP, at the address of the endpoint's outcomes.
    Http { http: Client, url: Url, token: Option<String> },
    /// It is in this process.
    Here { api: OutcomeApi, endpoint: String, actor: Actor },
}

/// What it is asked.
#[derive(Clone, Copy)]
enum Ask<'a> {
    /// To store each of these lines of JSON that it has not from before.
    Take(&'a str),
    /// How outcomes stand that came after the one of this number.
    Stand(Option<u64>),
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
pub(in crate::command) struct Standing {
    pub(super) matched: u64,
    pub(super) late: u64,
    pub(super) waiting: u64,
    pub(super) duplicate: u64,
    /// Older servers do not say it, nor the number of the newest.
    #[serde(default)]
    pub(super) corrected: u64,
    pub(super) unmatched: u64,
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
        Ok(Self { way: Way::Http { http, url, token }, cancel })
    }

    /// The server of this process.
    pub(in crate::command) fn here(api: OutcomeApi, endpoint: String, actor: Actor, cancel: Cancel) -> Self {
        Self { way: Way::Here { api, endpoint, actor }, cancel }
    }

    /// Sends lines of JSON, of which the server stores each that it has not from before.
    pub(super) async fn send(&self, lines: &str) -> Result<Taken, Failure> {
        self.patiently(ATTEMPTS, Ask::Take(lines)).await
    }

    /// How outcomes stand that came after the one of this number; all where none is given.
    pub(super) async fn standing(&self, after: Option<u64>) -> Result<Standing, Failure> {
        // Before anything is sent, a server that is not there is told at once.
        let attempts = if after.is_some() { ATTEMPTS } else { 1 };
        self.patiently(attempts, Ask::Stand(after)).await
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
        what: Ask<'_>,
    ) -> Result<T, Failure> {
        let mut attempt = 1;
        loop {
            let asked = tokio::select! {
                asked = self.ask(what) => asked,
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

    async fn ask<T: serde::de::DeserializeOwned>(&self, what: Ask<'_>) -> Result<T, Failed> {
        let (status, headers, body) = match &self.way {
            Way::Http { http, url, token } => {
                let asked = over_http(http, url, token.as_deref(), what).await;
                asked.map_err(|error| self.away(&error))?
            }
            Way::Here { api, endpoint, actor } => {
                let answer = match what {
                    Ask::Take(lines) => api.take_lines(actor.clone(), endpoint, lines.to_owned()).await,
                    Ask::Stand(after) => api.standing(endpoint, after).await,
                };
                let (parts, body) = answer.into_parts();
                (parts.status, parts.headers, body.to_vec())
            }
        };
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
        let Way::Http { url, .. } = &self.way else { return "this process".to_owned() };
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{port}", url.host_str().unwrap_or_default())
    }

    async fn stopped(&self) {
        while !self.cancel.is_cancelled() {
            tokio::time::sleep(TICK).await;
        }
    }
}

async fn over_http(
    http: &Client,
    url: &Url,
    token: Option<&str>,
    what: Ask<'_>,
) -> reqwest::Result<(StatusCode, HeaderMap, Vec<u8>)> {
    let mut url = url.clone();
    let mut request = match what {
        Ask::Take(lines) => {
            url.query_pairs_mut().append_pair("once", "true");
            http.post(url).header(header::CONTENT_TYPE, "application/jsonl").body(lines.to_owned())
        }
        Ask::Stand(after) => {
            if let Some(after) = after {
                url.query_pairs_mut().append_pair("after", &after.to_string());
            }
            http.get(url)
        }
    };
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    Ok((status, headers, answer.bytes().await?.to_vec()))
}

//! Spans of requests to a collector of OpenTelemetry: OTLP over HTTP, as JSON.
//!
//! The form is that of the protocol's specification ("OTLP/HTTP", JSON encoding): names of traces and spans in hexadecimal
//! digits, times as decimal text in nanoseconds. Spans wait in a bounded queue; those beyond, and those that the collector
//! does not take, are counted and lost.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tidemill_core::hex;
use tidemill_serve::gateway::metrics::Metrics;
use tidemill_serve::gateway::trace::{Phase, RequestSpan, Tracer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Spans of requests that wait.
const ROOM: usize = 4_096;
/// Spans of requests that are sent at once.
const BATCH: usize = 256;
/// How long spans wait for others.
const GATHER: Duration = Duration::from_secs(1);
/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends spans.
pub struct Otlp {
    spans: mpsc::Sender<RequestSpan>,
    /// Of 2^32 requests without a decision of their caller so many are traced.
    share: u64,
    random: RandomState,
    count: AtomicU64,
    metrics: Arc<Metrics>,
}

/// The end of the queue that sends.
pub struct Sending {
    spans: mpsc::Receiver<RequestSpan>,
    http: reqwest::Client,
    url: String,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Otlp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Otlp").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Sending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sending").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Otlp {
    /// To the collector at `address`, for example `http://127.0.0.1:4318`. `share` of the requests is traced whose caller
    /// did not decide it, 0 to 1. [`Sending::run`] must be run for anything to be sent.
    ///
    /// # Errors
    ///
    /// Where no client can be made.
    pub fn new(address: &str, share: f64, metrics: Arc<Metrics>) -> Result<(Self, Sending), reqwest::Error> {
        let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let (sender, receiver) = mpsc::channel(ROOM);
        let url = format!("{}/v1/traces", address.trim_end_matches('/'));
        let otlp = Self {
            spans: sender,
            share: (share.clamp(0.0, 1.0) * 2_f64.powi(32)) as u64,
            random: RandomState::new(),
            count: AtomicU64::new(0),
            metrics: Arc::clone(&metrics),
        };
        Ok((otlp, Sending { spans: receiver, http, url, metrics }))
    }
}

impl Tracer for Otlp {
    fn wants(&self, sampled: Option<bool>) -> bool {
        sampled.unwrap_or_else(|| {
            let number = self.random.hash_one(self.count.fetch_add(1, Ordering::Relaxed));
            number >> 32 < self.share
        })
    }

    fn span(&self, span: RequestSpan) {
        if self.spans.try_send(span).is_err() {
            self.metrics.spans_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Sending {
    /// Sends spans until `stop`, and then what waits.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut is_away = false;
        loop {
            let mut spans = Vec::new();
            let count = tokio::select! {
                count = self.spans.recv_many(&mut spans, BATCH) => count,
                () = stop.cancelled() => {
                    self.spans.close();
                    self.spans.recv_many(&mut spans, ROOM).await
                }
            };
            if count == 0 {
                return;
            }
            let sent = self.send(&spans).await;
            let counter = if sent.is_ok() { &self.metrics.spans_sent } else { &self.metrics.spans_dropped };
            counter.fetch_add(spans.len() as u64, Ordering::Relaxed);
            match sent {
                Err(why) if !is_away => {
                    tracing::warn!(
                        why,
                        "the collector of traces does not take spans; they are lost and counted"
                    );
                    is_away = true;
                }
                Err(_) => {}
                Ok(()) => is_away = false,
            }
            if spans.len() < BATCH {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(GATHER) => {}
                }
            }
        }
    }

    async fn send(&self, spans: &[RequestSpan]) -> Result<(), String> {
        let answer = self.http.post(&self.url).json(&body(spans)).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("{} answers {status}", self.url)) }
    }
}

/// What is sent.
fn body(spans: &[RequestSpan]) -> Value {
    let all: Vec<Value> = spans.iter().flat_map(whole).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": [
            text("service.name", "tidemill"),
            text("service.version", env!("CARGO_PKG_VERSION")),
        ]},
        "scopeSpans": [{"scope": {"name": "tidemill.serve"}, "spans": all}],
    }]})
}

/// A request and its parts.
fn whole(span: &RequestSpan) -> Vec<Value> {
    let mut attributes = vec![
        text("tidemill.endpoint", &span.endpoint),
        text("tidemill.request_id", &span.request_id),
        json!({"key": "tidemill.rows", "value": {"intValue": span.rows.to_string()}}),
    ];
    if !span.version.is_empty() {
        attributes.push(text("tidemill.version", &span.version));
    }
    if let Some(arm) = &span.arm {
        attributes.push(text("tidemill.arm", arm));
    }
    let status = match &span.error {
        Some(error) => json!({"code": 2, "message": error}),
        None => json!({}),
    };
    let mut request = json!({
        "traceId": hex(&span.trace), "spanId": hex(&span.span), "name": format!("infer {}", span.endpoint),
        // A server.
        "kind": 2, "attributes": attributes, "status": status,
        "startTimeUnixNano": nanos(span, Duration::ZERO), "endTimeUnixNano": nanos(span, span.took),
    });
    if let Some(parent) = span.parent {
        request["parentSpanId"] = Value::from(hex(&parent));
    }
    let part = |phase: &Phase| {
        json!({
            "traceId": hex(&span.trace), "spanId": hex(&phase.span), "parentSpanId": hex(&span.span), "name": phase.name,
            // Inside of a service.
            "kind": 1,
            "startTimeUnixNano": nanos(span, phase.from), "endTimeUnixNano": nanos(span, phase.to),
        })
    };
    std::iter::once(request).chain(span.phases.iter().map(part)).collect()
}

fn nanos(span: &RequestSpan, after: Duration) -> String {
    (i128::from(span.start.millis()) * 1_000_000 + after.as_nanos() as i128).to_string()
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::post;
    use tidemill_core::Timestamp;

    use super::*;

    fn span(error: Option<&str>) -> RequestSpan {
        let ms = Duration::from_millis;
        RequestSpan {
            trace: [0xab; 16],
            span: [1; 8],
            parent: Some([2; 8]),
            start: Timestamp::from_millis(1_700_000_000_000),
            took: ms(5),
            endpoint: "prices".to_owned(),
            arm: Some("champion".into()),
            version: "3".to_owned(),
            request_id: "r1".to_owned(),
            rows: 2,
            error: error.map(str::to_owned),
            phases: vec![Phase { name: "run", from: ms(1), to: ms(4), span: [3; 8] }],
        }
    }

    #[tokio::test]
    async fn a_collector_gets_spans_and_what_it_refuses_is_counted() {
        let (bodies, mut got) = mpsc::unbounded_channel::<Value>();
        let take = move |axum::Json(body): axum::Json<Value>| async move {
            let refused = body.to_string().contains("refuse me");
            bodies.send(body).unwrap();
            if refused { axum::http::StatusCode::BAD_REQUEST } else { axum::http::StatusCode::OK }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let web = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, web).await.unwrap() });

        let metrics = Arc::new(Metrics::default());
        let (otlp, sending) = Otlp::new(&address, 0.0, Arc::clone(&metrics)).unwrap();
        assert!(otlp.wants(Some(true)) && !otlp.wants(Some(false)) && !otlp.wants(None));
        otlp.span(span(None));
        let stop = CancellationToken::new();
        let task = tokio::spawn(sending.run(stop.clone()));
        let body = got.recv().await.unwrap();
        let spans = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
        assert_eq!(spans[0]["traceId"], "ab".repeat(16));
        assert_eq!(spans[0]["parentSpanId"], "02".repeat(8));
        assert_eq!(spans[0]["endTimeUnixNano"], "1700000000005000000");
        assert_eq!(spans[1]["parentSpanId"], spans[0]["spanId"]);
        assert_eq!(spans[1]["startTimeUnixNano"], "1700000000001000000");

        otlp.span(span(Some("refuse me")));
        stop.cancel();
        task.await.unwrap();
        assert_eq!(
            got.recv().await.unwrap()["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["status"]["code"],
            2
        );
        let counts = (&metrics.spans_sent, &metrics.spans_dropped);
        assert_eq!((counts.0.load(Ordering::Relaxed), counts.1.load(Ordering::Relaxed)), (1, 1));
        // Nobody sends any more.
        otlp.span(span(None));
        assert_eq!(counts.1.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_share_of_the_requests_is_traced() {
        let (otlp, _sending) = Otlp::new("http://127.0.0.1:1", 0.25, Arc::default()).unwrap();
        let traced = (0..4_000).filter(|_| otlp.wants(None)).count();
        assert!((800..1_200).contains(&traced), "{traced}");
    }
}

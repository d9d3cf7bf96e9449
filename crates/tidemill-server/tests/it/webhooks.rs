//! Webhooks: a receiver on loopback gets what it listens for, signed, once it answers well.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tidemill_core::{Clock as _, Timestamp};
use tidemill_registry::Reach;
use tokio::net::TcpListener;

use crate::client::Server;

/// What arrived, and what is answered to it.
#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    answers: Arc<Mutex<VecDeque<StatusCode>>>,
}

impl Receiver {
    /// Gives its URL.
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/hook", post(receive)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/hook")
    }

    async fn wait(&self, count: usize) -> Vec<(HeaderMap, Value)> {
        for _ in 0..400 {
            let got = self.got.lock().unwrap().clone();
            if got.len() >= count {
                return got
                    .into_iter()
                    .map(|(head, body)| (head, serde_json::from_str(&body).unwrap()))
                    .collect();
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{} of {count} deliveries arrived", self.got.lock().unwrap().len());
    }
}

async fn receive(
    State(receiver): State<Receiver>,
    head: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let answer = receiver.answers.lock().unwrap().pop_front().unwrap_or(StatusCode::OK);
    receiver.got.lock().unwrap().push((head, String::from_utf8(body.to_vec()).unwrap()));
    (answer, "thanks")
}

async fn anywhere() -> Server {
    Server::start_with(|config| config.webhook_reach = Reach::Anywhere).await
}

async fn ask(server: &Server, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let reply = server.ask(method, &format!("/api/2.0/mlflow/{path}"), &[], &text).await;
    (reply.status, reply.json())
}

async fn hook(server: &Server, url: &str, events: Value) -> String {
    let body = json!({"name": "hook", "url": url, "events": events, "secret": "s3cret"});
    let (status, answer) = ask(server, "POST", "webhooks", &body).await;
    assert_eq!(status, 200, "{answer}");
    assert!(!answer.to_string().contains("s3cret"));
    answer["webhook"]["webhook_id"].as_str().unwrap().to_owned()
}

/// Waits until the next attempt is at this time, or nothing waits.
async fn due(server: &Server, at: Option<Timestamp>) {
    let mut next = None;
    for _ in 0..400 {
        next = server.db.next_delivery().await.unwrap();
        if next == at {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the next attempt is at {next:?} instead of {at:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_gets_signed_deliveries() {
    let (receiver, server) = (Receiver::default(), anywhere().await);
    let url = receiver.start().await;
    let events = json!([
        {"entity": "REGISTERED_MODEL", "action": "CREATED"}, {"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"},
    ]);
    hook(&server, &url, events).await;
    let model = json!({"name": "m", "description": "d", "tags": [{"key": "a", "value": "1"}]});
    assert_eq!(ask(&server, "POST", "registered-models/create", &model).await.0, 200);
    let (head, body) = receiver.wait(1).await.pop().unwrap();
    assert_eq!(
        body,
        json!({
            "entity": "registered_model", "action": "created", "timestamp": "2023-11-14T22:13:20Z",
            "data": {"name": "m", "description": "d", "tags": {"a": "1"}},
        })
    );
    let header = |name: &str| head[name].to_str().unwrap().to_owned();
    let (id, seconds) = (header("x-mlflow-delivery-id"), header("x-mlflow-timestamp"));
    assert_eq!((id.len(), seconds.as_str()), (36, "1700000000"));
    assert_eq!(header("content-type"), "application/json");
    let text = receiver.got.lock().unwrap()[0].1.clone();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cret").unwrap();
    mac.update(format!("{id}.{seconds}.{text}").as_bytes());
    let expected = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    assert_eq!(header("x-mlflow-signature"), format!("v1,{expected}"));

    let version = json!({"name": "m", "source": "s3://b/1"});
    assert_eq!(ask(&server, "POST", "model-versions/create", &version).await.0, 200);
    let alias = json!({"name": "m", "alias": "champion", "version": "1"});
    assert_eq!(ask(&server, "POST", "registered-models/alias", &alias).await.0, 200);
    let (_, body) = receiver.wait(2).await.pop().unwrap();
    assert_eq!(body["data"], json!({"name": "m", "alias": "champion", "version": "1"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_is_tried_again_under_its_identifier() {
    let (receiver, server) = (Receiver::default(), anywhere().await);
    let url = receiver.start().await;
    receiver.answers.lock().unwrap().extend([StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS]);
    hook(&server, &url, json!([{"entity": "REGISTERED_MODEL", "action": "CREATED"}])).await;
    ask(&server, "POST", "registered-models/create", &json!({"name": "m"})).await;
    // The clock stands still: nothing is due until it moves, which it may not before a failed attempt is written down: its
    // pause would begin then.
    for (count, seconds) in [(1, 2), (2, 8)] {
        receiver.wait(count).await;
        let pause = Duration::from_secs(seconds);
        due(&server, Some(server.clock.now().plus(pause))).await;
        server.clock.advance(pause);
        // Any change wakes the task.
        ask(
            &server,
            "POST",
            "registered-models/set-tag",
            &json!({"name": "m", "key": "k", "value": count.to_string()}),
        )
        .await;
    }
    let got = receiver.wait(3).await;
    let ids: Vec<_> = got.iter().map(|(head, _)| head["x-mlflow-delivery-id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    due(&server, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_for_good_is_not_tried_again() {
    let (receiver, server) = (Receiver::default(), anywhere().await);
    let url = receiver.start().await;
    receiver.answers.lock().unwrap().extend([StatusCode::GONE]);
    hook(&server, &url, json!([{"entity": "REGISTERED_MODEL", "action": "CREATED"}])).await;
    ask(&server, "POST", "registered-models/create", &json!({"name": "m"})).await;
    receiver.wait(1).await;
    due(&server, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_can_be_tried_out() {
    let (receiver, server) = (Receiver::default(), anywhere().await);
    let url = receiver.start().await;
    let id = hook(&server, &url, json!([{"entity": 1, "action": 1}, {"entity": 3, "action": 4}])).await;
    let (_, answer) = ask(&server, "POST", &format!("webhooks/{id}/test"), &json!({})).await;
    assert_eq!(
        answer,
        json!({"result": {"success": true, "response_status": 200, "response_body": "thanks"}})
    );
    receiver.answers.lock().unwrap().extend([StatusCode::INTERNAL_SERVER_ERROR]);
    let event = json!({"event": {"entity": "PROMPT_TAG", "action": "SET"}});
    let (_, answer) = ask(&server, "POST", &format!("webhooks/{id}/test"), &event).await;
    assert_eq!(answer["result"]["success"], false);
    let got = receiver.wait(2).await;
    assert_eq!(
        (&got[0].1["entity"], &got[1].1["entity"]),
        (&json!("model_version_tag"), &json!("prompt_tag"))
    );
    assert_eq!(got[1].1["data"]["key"], "example_key");
    let closed = json!({"url": "http://127.0.0.1:9/"});
    ask(&server, "PATCH", &format!("webhooks/{id}"), &closed).await;
    let (status, answer) = ask(&server, "POST", &format!("webhooks/{id}/test"), &json!({})).await;
    assert_eq!((status, &answer["result"]["success"]), (200, &json!(false)));
    let message = answer["result"]["error_message"].as_str().unwrap();
    assert!(
        message.starts_with("Failed to test webhook: ") && !message.contains("127.0.0.1:9/"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_on_the_wire() {
    let server = anywhere().await;
    let mut text = String::new();
    let mut known: Vec<String> = Vec::new();
    let created = json!([{"entity": "REGISTERED_MODEL", "action": "CREATED"}]);
    for (method, path, body) in [
        (
            "POST",
            "webhooks",
            json!({"name": "w", "url": "http://h/x", "events": created, "description": "d"}),
        ),
        (
            "POST",
            "webhooks",
            json!({"name": "w2", "url": "https://h/x", "events": [{"entity": 2, "action": 1}], "status": "DISABLED"}),
        ),
        ("POST", "webhooks", json!({"name": "w", "url": "https://h/x", "events": []})),
        ("POST", "webhooks", json!({"name": "w", "url": "https://h/x"})),
        (
            "POST",
            "webhooks",
            json!({"name": "w", "url": "https://h/x", "events": [{"entity": "REGISTERED_MODEL", "action": "SET"}]}),
        ),
        (
            "POST",
            "webhooks",
            json!({"name": "w", "url": "https://h/x", "events": [{"entity": "FOO", "action": "SET"}]}),
        ),
        ("POST", "webhooks", json!({"name": "-w", "url": "https://h/x", "events": created})),
        ("POST", "webhooks", json!({"name": "w", "url": "ftp://h/x", "events": created})),
        ("GET", "webhooks", Value::Null),
        ("GET", "webhooks?max_results=1", Value::Null),
        ("GET", "webhooks?max_results=2000", Value::Null),
        ("GET", "webhooks/nope", Value::Null),
        (
            "PATCH",
            "webhooks/FIRST",
            json!({"name": "ww", "status": "DISABLED", "events": [{"entity": "PROMPT", "action": "CREATED"}]}),
        ),
        ("PATCH", "webhooks/FIRST", json!({"description": ""})),
        ("PATCH", "webhooks/nope", json!({"name": "x"})),
        ("POST", "webhooks/nope/test", json!({})),
        ("DELETE", "webhooks/FIRST", Value::Null),
        ("DELETE", "webhooks/FIRST", Value::Null),
    ] {
        let asked = known.first().map_or_else(|| path.to_owned(), |id| path.replace("FIRST", id));
        let (status, answer) = ask(&server, method, &asked, &body).await;
        if let Some(id) = answer["webhook"]["webhook_id"].as_str()
            && !known.iter().any(|before| before == id)
        {
            known.push(id.to_owned());
        }
        let shown = if body.is_null() { String::new() } else { format!(" {body}") };
        text += &format!("{method} {path}{shown}\n  {status} {answer}\n");
    }
    for (id, name) in known.iter().zip(["FIRST", "SECOND"]) {
        text = text.replace(id, name);
    }
    insta::assert_snapshot!(text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_of_the_own_network_are_refused() {
    let server = Server::start().await;
    let created = json!([{"entity": "REGISTERED_MODEL", "action": "CREATED"}]);
    for (url, message) in [
        (
            "https://127.0.0.1/x",
            "Webhook URL must not resolve to a non-public IP address. '127.0.0.1' resolves to 127.0.0.1.",
        ),
        (
            "https://127.1/x",
            "Webhook URL must not resolve to a non-public IP address. '127.0.0.1' resolves to 127.0.0.1.",
        ),
        (
            "https://[::ffff:10.0.0.1]/x",
            "Webhook URL must not resolve to a non-public IP address. '::ffff:10.0.0.1' resolves to ::ffff:10.0.0.1.",
        ),
        (
            "https://169.254.169.254/latest",
            "Webhook URL must not resolve to a non-public IP address. '169.254.169.254' resolves to 169.254.169.254.",
        ),
        ("http://1.1.1.1/x", "Invalid webhook URL scheme: 'http'. Allowed schemes are: https."),
    ] {
        let body = json!({"name": "w", "url": url, "events": created});
        let (status, answer) = ask(&server, "POST", "webhooks", &body).await;
        assert_eq!((status, answer["message"].as_str().unwrap()), (400, message), "{url}");
    }
    let body = json!({"name": "w", "url": "https://localhost/x", "events": created});
    let (status, answer) = ask(&server, "POST", "webhooks", &body).await;
    let message = answer["message"].as_str().unwrap();
    assert!(status == 400 && message.contains("must not resolve to a non-public IP address"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_became_private_is_not_reached() {
    let (receiver, server) = (Receiver::default(), Server::start().await);
    let url = receiver.start().await.replace("http://127.0.0.1", "https://localhost");
    // As if it had been made when the name still had another address.
    let mut tx = server.db.begin().await.unwrap();
    let webhook = tidemill_db::webhooks::NewWebhook {
        id: "w".to_owned(),
        name: "w".to_owned(),
        description: None,
        url,
        secret: None,
        active: true,
        events: vec![tidemill_registry::webhook_event("registered_model", "created").unwrap()],
        created_at: tidemill_core::Timestamp::from_millis(1),
    };
    tx.create_webhook(&webhook).await.unwrap();
    let kind =
        tidemill_core::EventKind::WebhookChanged { webhook: "w".to_owned(), change: "created".to_owned() };
    let event = tidemill_core::NewEvent {
        at: webhook.created_at,
        actor: tidemill_core::Actor::user("ana"),
        kind,
        cause: None,
    };
    tx.commit(vec![event]).await.unwrap();
    let (_, answer) = ask(&server, "POST", "webhooks/w/test", &json!({})).await;
    let message = answer["result"]["error_message"].as_str().unwrap();
    assert!(message.contains("must not resolve to a non-public IP address"), "{message}");
    assert!(receiver.got.lock().unwrap().is_empty());
}

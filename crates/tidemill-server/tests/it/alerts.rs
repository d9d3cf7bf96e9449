//! Receivers on loopback are told of alerts: signed, each in its own words, again until they take it, and by mail.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tidemill_core::{Actor, Digest, EventKind, NewEvent, Timestamp};
use tidemill_db::monitoring::NewAlertDelivery;
use tidemill_server::Secrets;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::client::Server;

#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(String, HeaderMap, String)>>>,
    answers: Arc<Mutex<VecDeque<StatusCode>>>,
}

impl Receiver {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(receive).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    async fn wait(&self, count: usize) -> Vec<(String, HeaderMap, String)> {
        for _ in 0..800 {
            let got = self.got.lock().unwrap().clone();
            if got.len() >= count {
                return got;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{} of {count} messages arrived", self.got.lock().unwrap().len());
    }
}

async fn receive(State(receiver): State<Receiver>, uri: Uri, head: HeaderMap, body: Bytes) -> StatusCode {
    let answer = receiver.answers.lock().unwrap().pop_front().unwrap_or(StatusCode::OK);
    let body = String::from_utf8(body.to_vec()).unwrap();
    receiver.got.lock().unwrap().push((uri.path().to_owned(), head, body));
    answer
}

fn message() -> String {
    json!({
        "project": "flights", "endpoint": "late", "alerts": [{
            "alert": 1, "fingerprint": Digest::of(b"drift"), "monitor": "drift", "watch": "drift", "firing": true,
            "since": 0, "until": 86_400_000, "at": 90_000_000, "why": "inputs moved: distance", "at_risk": 12.5,
            "currency": "EUR",
        }],
    })
    .to_string()
}

/// Puts messages into the outbox, as the change of an alert does.
async fn queue(server: &Server, receivers: &[Value]) {
    let at = Timestamp::from_millis(1_700_000_000_000);
    let mut tx = server.db.begin().await.unwrap();
    for (number, receiver) in receivers.iter().enumerate() {
        let made = NewAlertDelivery {
            id: format!("msg_{number}"),
            endpoint: "late".to_owned(),
            receiver: receiver.to_string(),
            body: message(),
        };
        tx.queue_alert_delivery(&made, at).await.unwrap();
    }
    let kind = EventKind::MonitorsDeclared {
        endpoint: "late".to_owned(),
        revision: 1,
        spec: Digest::of(b""),
        monitors: Vec::new(),
    };
    tx.commit(vec![NewEvent { at, actor: Actor::system("test"), kind, cause: None }]).await.unwrap();
}

#[tokio::test]
async fn every_kind_of_receiver_is_told_in_its_words() {
    let receiver = Receiver::default();
    let url = receiver.start().await;
    let slack = format!("{url}/slack");
    let server = Server::start_with(|config| {
        config.secrets = Secrets::of(move |name| match name {
            "SLACK" => Some(slack.clone()),
            "HOOK" => Some("whisper".to_owned()),
            _ => None,
        });
    })
    .await;
    receiver.answers.lock().unwrap().push_back(StatusCode::SERVICE_UNAVAILABLE);
    queue(&server, &[json!({"webhook": {"url": format!("{url}/hook"), "secret_env": "HOOK"}})]).await;
    receiver.wait(1).await;
    // Nobody is told twice before its time.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut got = receiver.got.lock().unwrap().clone();
    for _ in 0..400 {
        if got.len() > 1 {
            break;
        }
        server.clock.advance(Duration::from_secs(3));
        tokio::time::sleep(Duration::from_millis(50)).await;
        got = receiver.got.lock().unwrap().clone();
    }
    let [(_, first, _), (path, head, body), ..] = got.as_slice() else { panic!("{got:?}") };
    assert_eq!((path.as_str(), &head["webhook-id"]), ("/hook", &first["webhook-id"]));
    let mut mac = Hmac::<Sha256>::new_from_slice(b"whisper").unwrap();
    let (id, seconds) = (head["webhook-id"].to_str().unwrap(), head["webhook-timestamp"].to_str().unwrap());
    mac.update(format!("{id}.{seconds}.{body}").as_bytes());
    let expected =
        format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(head["webhook-signature"].to_str().unwrap(), expected);
    let said: Value = serde_json::from_str(body).unwrap();
    assert_eq!(said["data"]["alerts"][0]["why"], "inputs moved: distance");
}

#[tokio::test]
async fn slack_cloudevents_and_alertmanager() {
    let receiver = Receiver::default();
    let url = receiver.start().await;
    let slack = format!("{url}/slack");
    let server = Server::start_with(|config| {
        config.secrets = Secrets::of(move |name| (name == "SLACK").then(|| slack.clone()));
    })
    .await;
    let receivers = [
        json!({"slack": {"url_env": "SLACK"}}),
        json!({"cloudevents": {"url": format!("{url}/events")}}),
        json!({"alertmanager": {"url": format!("{url}/")}}),
        json!({"slack": {"url_env": "NOT_SET"}}),
    ];
    queue(&server, &receivers).await;
    let mut got = receiver.wait(3).await;
    got.sort_by(|a, b| a.0.cmp(&b.0));
    let body = |at: usize| -> Value { serde_json::from_str(&got[at].2).unwrap() };
    assert_eq!(got[0].0, "/api/v2/alerts");
    assert_eq!(body(0)[0]["labels"]["alertname"], "tidemill_drift");
    assert_eq!(
        (got[1].0.as_str(), &got[1].1["content-type"]),
        ("/events", &"application/cloudevents-batch+json".parse().unwrap())
    );
    assert_eq!(body(1)[0]["type"], "tidemill.alert.firing");
    assert_eq!(got[2].0, "/slack");
    assert!(body(2)["blocks"][1]["text"]["text"].as_str().unwrap().contains("12.50 EUR at risk"));
}

#[tokio::test]
async fn mail_arrives_over_smtp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let (mut said, mut is_data) = (Vec::new(), false);
        stream.get_mut().write_all(b"220-hello\r\n220 there\r\n").await.unwrap();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap() == 0 {
                return said;
            }
            let line = line.trim_end().to_owned();
            let answer = match line.as_str() {
                "." if is_data => {
                    is_data = false;
                    "250 kept\r\n"
                }
                _ if is_data => "",
                "DATA" => {
                    is_data = true;
                    "354 go on\r\n"
                }
                "QUIT" => "221 bye\r\n",
                hello if hello.starts_with("EHLO") => "250-here\r\n250 8BITMIME\r\n",
                _ => "250 fine\r\n",
            };
            stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
            said.push(line);
            if said.last().is_some_and(|line| line == "QUIT") {
                return said;
            }
        }
    });
    let server = Server::start().await;
    let email = json!({"email": {
        "host": "127.0.0.1", "port": port, "security": "none", "from": "Mill <mill@example.com>",
        "to": ["ada@example.com", "bob@example.com"],
    }});
    queue(&server, &[email]).await;
    let said = tokio::time::timeout(Duration::from_secs(60), serve).await.unwrap().unwrap();
    let commands: Vec<&str> = said
        .iter()
        .map(String::as_str)
        .filter(|line| line.contains('<') && line.contains("TO:<") || line.starts_with("MAIL"))
        .collect();
    assert_eq!(
        commands,
        ["MAIL FROM:<mill@example.com>", "RCPT TO:<ada@example.com>", "RCPT TO:<bob@example.com>"]
    );
    assert!(said.iter().any(|line| line == "Message-ID: <msg_0@example.com>"), "{said:?}");
    let blank = said.iter().position(String::is_empty).unwrap();
    let end = said.iter().position(|line| line == ".").unwrap();
    let text = base64::engine::general_purpose::STANDARD.decode(said[blank + 1..end].concat()).unwrap();
    assert!(String::from_utf8(text).unwrap().contains("drift firing: inputs moved: distance\r\n"));
}

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
use tidemill_core::{Actor, Clock as _, Digest, EventKind, NewEvent, Timestamp};
use tidemill_db::Tx;
use tidemill_db::monitoring::{NewAlert, NewAlertDelivery, NewJudged};
use tidemill_monitor::Declaration;
use tidemill_server::Secrets;
use tidemill_server::monitoring::declare;
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
    message_of(1, true)
}

fn message_of(alert: u64, firing: bool) -> String {
    json!({
        "project": "flights", "endpoint": "late", "alerts": [{
            "alert": alert, "fingerprint": Digest::of(b"drift"), "monitor": "drift", "watch": "drift", "firing": firing,
            "since": 0, "until": 86_400_000, "at": 90_000_000, "why": "inputs moved: distance", "at_risk": 12.5,
            "currency": "EUR",
        }],
    })
    .to_string()
}

/// Puts messages into the outbox, as the change of an alert does.
async fn queue(server: &Server, receivers: &[Value]) {
    let messages: Vec<(&Value, String)> = receivers.iter().map(|receiver| (receiver, message())).collect();
    queue_all(server, &messages).await;
}

async fn queue_all(server: &Server, messages: &[(&Value, String)]) {
    let at = Timestamp::from_millis(1_700_000_000_000);
    let mut tx = server.db.begin().await.unwrap();
    for (number, (receiver, body)) in messages.iter().enumerate() {
        let made = NewAlertDelivery {
            id: format!("msg_{number}"),
            endpoint: "late".to_owned(),
            receiver: receiver.to_string(),
            body: body.clone(),
        };
        tx.queue_alert_delivery(&made, at).await.unwrap();
    }
    commit(tx).await;
}

/// An alert of drift that fires, or is over; gives its number.
async fn alert(server: &Server, ended: Option<Timestamp>) -> u64 {
    let mut tx = server.db.begin().await.unwrap();
    let day = |number: i64| Timestamp::from_millis(number * 86_400_000);
    let window = NewJudged {
        endpoint: "late".to_owned(),
        watch: "drift".to_owned(),
        from: day(0),
        to: day(1),
        state: "broken".to_owned(),
        model: None,
        version: None,
        predictions: 1,
        verdict: json!({"state": "broken", "why": "inputs moved"}).to_string(),
        profile: None,
        rests_on: None,
    };
    let window = tx.add_judged_window(&window, day(1)).await.unwrap().unwrap();
    let made = NewAlert {
        fingerprint: Digest::of(b"drift"),
        endpoint: "late".to_owned(),
        watch: "drift".to_owned(),
        monitor: "drift".to_owned(),
        since: day(0),
        why: "inputs moved".to_owned(),
        at_risk: None,
        currency: None,
        window,
    };
    let id = tx.add_alert(&made, "firing", Some(day(1))).await.unwrap();
    if ended.is_some() {
        let mut alert = tx.open_alert(made.fingerprint).await.unwrap().unwrap();
        (alert.state, alert.ended_at) = ("resolved".to_owned(), ended);
        tx.update_alert(&alert).await.unwrap();
    }
    commit(tx).await;
    id
}

async fn commit(tx: Tx) {
    let at = Timestamp::from_millis(1_700_000_000_000);
    let kind = EventKind::MonitorsDeclared {
        endpoint: "late".to_owned(),
        revision: 1,
        spec: Digest::of(b""),
        monitors: Vec::new(),
    };
    tx.commit(vec![NewEvent { at, actor: Actor::system("test"), kind, cause: None }]).await.unwrap();
}

/// Lets time pass until so many messages arrived. A pause begins when the failure is written down, which may be after the
/// clock was moved once.
async fn later(server: &Server, receiver: &Receiver, count: usize) -> Vec<(String, HeaderMap, String)> {
    for _ in 0..400 {
        let got = receiver.got.lock().unwrap().clone();
        if got.len() >= count {
            return got;
        }
        server.clock.advance(Duration::from_secs(3));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} of {count} messages arrived", receiver.got.lock().unwrap().len());
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
    assert_eq!(receiver.got.lock().unwrap().len(), 1);
    let got = later(&server, &receiver, 2).await;
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
async fn a_receiver_hears_in_order_and_not_of_what_is_over() {
    let receiver = Receiver::default();
    let url = receiver.start().await;
    let server = Server::start().await;
    receiver.answers.lock().unwrap().push_back(StatusCode::SERVICE_UNAVAILABLE);
    let over = alert(&server, Some(Timestamp::from_millis(2 * 86_400_000))).await;
    let hook = json!({"webhook": {"url": format!("{url}/hook")}});
    let said = [message_of(over, true), message_of(99, true), message_of(over, false)];
    queue_all(&server, &said.map(|body| (&hook, body))).await;
    receiver.wait(1).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(receiver.got.lock().unwrap().len(), 1, "the others wait for the first");
    let heard: Vec<(Value, Value)> = later(&server, &receiver, 3)
        .await
        .iter()
        .map(|(_, _, body)| {
            let body: Value = serde_json::from_str(body).unwrap();
            let alert = &body["data"]["alerts"][0];
            (alert["alert"].clone(), alert["firing"].clone())
        })
        .collect();
    let expected = [(over, true), (99, true), (over, false)];
    assert_eq!(heard, expected.map(|(alert, firing)| (json!(alert), json!(firing))));
}

#[tokio::test]
async fn alertmanager_is_told_again_of_what_fires() {
    let receiver = Receiver::default();
    let url = receiver.start().await;
    let server = Server::start().await;
    let declaration: Declaration = serde_json::from_value(json!({
        "project": "flights", "endpoint": "late", "monitors": [{"drift": {"window": "1d"}}],
        "receivers": [{"alertmanager": {"url": url}}, {"webhook": {"url": format!("{url}/hook")}}],
    }))
    .unwrap();
    declare(&server.db, &*server.clock, &Actor::system("test"), &declaration).await.unwrap();
    alert(&server, None).await;
    let ends = |got: &[(String, HeaderMap, String)], at: usize| {
        let (path, _, body) = &got[at];
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!((path.as_str(), &body[0]["labels"]["watch"]), ("/api/v2/alerts", &json!("drift")));
        Timestamp::parse(body[0]["endsAt"].as_str().unwrap()).unwrap()
    };
    // The loop may look before the clock goes on, but never twice at one time.
    let begin = server.clock.now();
    let told = [0, 61, 122].map(|seconds| begin.plus(Duration::from_secs(seconds + 300)));
    server.clock.advance(Duration::from_secs(61));
    let first = ends(&receiver.wait(1).await, 0);
    server.clock.advance(Duration::from_secs(61));
    let second = ends(&receiver.wait(2).await, 1);
    assert!(told.contains(&first) && told.contains(&second) && second > first, "{first} {second}");
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

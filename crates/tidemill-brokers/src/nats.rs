//! NATS JetStream: a durable consumer that is asked for one message after the other.
//!
//! The place of a message is its number in the stream, so a message that comes again is known by it, whoever sends it
//! again and why.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tidemill_core::declare::BrokerKind;
use tidemill_trigger::message::{Incoming, Place, Source};

use crate::address::Address;
use crate::wire::Wire;
use crate::{BODY, Config, Error, random};

/// How long the broker keeps a request for a message open.
const PULL: Duration = Duration::from_secs(10);
/// After so long without a word the connection is dead, or the consumer is gone: a request that found nothing is answered
/// too.
const SILENCE: Duration = Duration::from_secs(15);
/// When a message that was not acknowledged is sent again.
const ACK_WAIT: Duration = Duration::from_secs(5);

pub(crate) struct Nats {
    wire: Wire,
    /// Answers arrive at `INBOX.WORD`.
    inbox: String,
    /// What to ask for a message.
    next: String,
    /// Name of the stream and the time it was made: another stream of the name counts from 1 again.
    part: String,
    address: String,
    /// Where to acknowledge the last message.
    reply: Option<String>,
    is_asked: bool,
}

/// A message as it is on the wire.
struct Message {
    subject: String,
    reply: Option<String>,
    /// The word and the text of the first line of its headers, for example `408 Request Timeout`.
    status: Option<String>,
    size: usize,
    body: Vec<u8>,
}

impl Nats {
    pub(crate) async fn connect(config: &Config, address: &Address, name: &str) -> Result<Self, Error> {
        let mut wire = Wire::plain(address).await?;
        let line = wire.line().await?;
        let info: Value = line
            .strip_prefix("INFO ")
            .and_then(|text| serde_json::from_str(text.trim()).ok())
            .ok_or_else(|| wire.refused("it does not speak NATS"))?;
        let is_encrypted = address.tls || info["tls_required"] == true;
        if is_encrypted {
            wire = wire.encrypt(address).await?;
        }
        let mut hello = json!({
            "verbose": false, "pedantic": false, "lang": "rust", "version": env!("CARGO_PKG_VERSION"), "name": name,
            "protocol": 1, "headers": true, "no_responders": true, "tls_required": is_encrypted,
        });
        match (&address.user, &config.password) {
            (Some(user), Some(password)) => {
                hello["user"] = user.as_str().into();
                hello["pass"] = password.as_str().into();
            }
            (None, Some(token)) => hello["auth_token"] = token.as_str().into(),
            (Some(user), None) => hello["user"] = user.as_str().into(),
            (None, None) => {}
        }
        wire.send(format!("CONNECT {hello}\r\nPING\r\n").as_bytes()).await?;
        loop {
            let line = wire.line().await?;
            if line == "PONG" {
                break;
            }
            if let Some(why) = line.strip_prefix("-ERR ") {
                return Err(wire.refused(why.trim_matches('\'')));
            }
        }
        // Nobody else listens at a name that nobody can guess.
        let inbox = format!("_INBOX.{}", random());
        wire.send(format!("SUB {inbox}.* 1\r\n").as_bytes()).await?;
        let mut nats = Self {
            wire,
            inbox,
            next: String::new(),
            part: String::new(),
            address: config.source.address.clone(),
            reply: None,
            is_asked: false,
        };
        nats.consume(name).await?;
        Ok(nats)
    }

    /// Finds the stream that keeps the subject, and the consumer in it.
    async fn consume(&mut self, name: &str) -> Result<(), Error> {
        let subject = self.address.clone();
        let found = self.ask("STREAM.NAMES", &json!({ "subject": subject })).await?;
        let stream = found["streams"][0].as_str().map(str::to_owned).ok_or_else(|| {
            self.wire.refused(format!(
                "no stream of JetStream keeps the subject `{subject}`; `nats stream add` makes one"
            ))
        })?;
        let info = self.ask(&format!("STREAM.INFO.{stream}"), &Value::Null).await?;
        self.part = format!("{stream} {}", info["created"].as_str().unwrap_or_default());
        let config = json!({
            "stream_name": stream,
            "config": {
                "durable_name": name, "ack_policy": "explicit", "deliver_policy": "new", "filter_subject": subject,
                "replay_policy": "instant", "max_ack_pending": 1, "ack_wait": nanos(ACK_WAIT),
            },
        });
        // One that is there goes on where it stopped.
        let existing = self.ask(&format!("CONSUMER.INFO.{stream}.{name}"), &Value::Null).await;
        if existing.is_err() {
            self.ask(&format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), &config).await?;
        }
        self.next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
        Ok(())
    }

    /// One question to JetStream.
    async fn ask(&mut self, what: &str, body: &Value) -> Result<Value, Error> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = format!("{}.api", self.inbox);
        request(&mut self.wire, &format!("$JS.API.{what}"), &reply, &body).await?;
        loop {
            let Some(message) = self.receive().await? else { continue };
            if message.subject != reply {
                continue;
            }
            if message.status.is_some_and(|status| status.starts_with("503")) {
                return Err(self
                    .wire
                    .refused("JetStream is not enabled; start it with `nats-server --jetstream`"));
            }
            let answer: Value = serde_json::from_slice(&message.body)
                .map_err(|error| self.wire.refused(format!("its answer cannot be read: {error}")))?;
            if let Some(why) = answer["error"]["description"].as_str() {
                return Err(self.wire.refused(why));
            }
            return Ok(answer);
        }
    }

    /// What comes next; nothing where it was no message.
    async fn receive(&mut self) -> Result<Option<Message>, Error> {
        let line = self.wire.line().await?;
        let mut words = line.split_ascii_whitespace();
        let kind = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        let number = |text: &str| text.parse::<usize>().ok();
        let broken = |wire: &Wire| wire.lost(format!("`{}` makes no sense", tidemill_trigger::detail(&line)));
        let (head, all) = match (kind, words.as_slice()) {
            ("PING", _) => {
                self.wire.send(b"PONG\r\n").await?;
                return Ok(None);
            }
            ("-ERR", _) => {
                let why = line.trim_start_matches("-ERR").trim().trim_matches('\'').to_owned();
                return Err(self.wire.refused(why));
            }
            ("MSG", [.., all]) => (Some(0), number(all)),
            ("HMSG", [.., head, all]) => (number(head), number(all)),
            // `INFO` about other servers, `PONG`, `+OK`.
            _ => return Ok(None),
        };
        let (Some(head), Some(all)) = (head, all) else { return Err(broken(&self.wire)) };
        let known = if kind == "HMSG" { 4 } else { 3 };
        let (Some(subject), true) = (words.first(), head <= all && words.len() >= known) else {
            return Err(broken(&self.wire));
        };
        let headers = self.wire.take(head, 4096).await?;
        let body = self.wire.take(all - head, BODY).await?;
        self.wire.take(2, 0).await?;
        let headers = String::from_utf8_lossy(&headers);
        let status = headers.lines().next().and_then(|first| first.strip_prefix("NATS/1.0"));
        Ok(Some(Message {
            subject: (*subject).to_owned(),
            reply: (words.len() > known).then(|| words[2].to_owned()),
            status: status.map(|status| status.trim().to_owned()).filter(|status| !status.is_empty()),
            size: all - head,
            body,
        }))
    }

    async fn message(&mut self) -> Result<Incoming, Error> {
        let reply = format!("{}.next", self.inbox);
        loop {
            if !self.is_asked {
                let body = json!({"batch": 1, "expires": nanos(PULL)}).to_string();
                request(&mut self.wire, &self.next, &reply, &body).await?;
                self.is_asked = true;
            }
            if !self.wire.wait(SILENCE).await? {
                return Err(self.wire.lost("the broker has fallen silent"));
            }
            let Some(message) = self.receive().await? else { continue };
            if let (true, Some(status)) = (message.subject == reply, &message.status) {
                self.is_asked = false;
                // Nothing has come: 404 and 408. Anything else may last.
                if !status.starts_with("404") && !status.starts_with("408") {
                    if status.contains("Deleted") || status.starts_with("503") {
                        return Err(self.wire.lost(format!("the consumer is gone: {status}")));
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                continue;
            }
            let Some(position) = message.reply.as_deref().and_then(sequence) else { continue };
            self.is_asked = false;
            self.reply = message.reply;
            return Ok(Incoming {
                broker: BrokerKind::Nats,
                address: message.subject,
                place: Place::Position { part: self.part.clone(), position },
                size: message.size as u64,
                body: message.body,
            });
        }
    }
}

#[async_trait]
impl Source for Nats {
    async fn next(&mut self) -> Result<Incoming, String> {
        self.message().await.map_err(|error| error.to_string())
    }

    async fn acknowledge(&mut self) -> Result<(), String> {
        let Some(reply) = self.reply.take() else { return Ok(()) };
        let sent = self.wire.send(format!("PUB {reply} 4\r\n+ACK\r\n").as_bytes()).await;
        sent.map_err(|error| error.to_string())
    }

    async fn close(&mut self) {
        self.wire.end().await;
    }
}

/// The number in the stream, from where a message is acknowledged:
/// `$JS.ACK.STREAM.CONSUMER.DELIVERED.NUMBER.…`, or with domain and account before the stream.
fn sequence(reply: &str) -> Option<u64> {
    let words: Vec<&str> = reply.split('.').collect();
    if words.len() < 9 || words[..2] != ["$JS", "ACK"] {
        return None;
    }
    words.get(if words.len() >= 11 { 7 } else { 5 })?.parse().ok()
}

/// Sends a question whose answer arrives at `reply`.
async fn request(wire: &mut Wire, subject: &str, reply: &str, body: &str) -> Result<(), Error> {
    let request = format!("PUB {subject} {reply} {}\r\n{body}\r\n", body.len());
    wire.send(request.as_bytes()).await
}

/// A time as JetStream writes it.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::sequence;

    #[test]
    fn numbers_of_messages() {
        assert_eq!(sequence("$JS.ACK.EVENTS.c.1.42.7.1700000000000000000.0"), Some(42));
        assert_eq!(sequence("$JS.ACK.hub.acc.EVENTS.c.2.43.8.1700000000000000000.0.rnd"), Some(43));
        assert_eq!(sequence("_INBOX.x.y"), None);
    }
}

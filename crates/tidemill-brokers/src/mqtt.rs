//! MQTT 3.1.1 with a session that the broker keeps: messages at quality of service 1, one after the other.
//!
//! The protocol numbers deliveries, not messages. One that comes again is marked as such and has its old number, so number
//! and content of those that acted last tell it.
//!
//! What a broker retains of a topic it sends at each subscription, so at each connection. That is no news: what was
//! published while we were away is in the session.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use tidemill_core::Digest;
use tidemill_core::declare::BrokerKind;
use tidemill_trigger::message::{Incoming, Place, Source};

use crate::address::Address;
use crate::wire::Wire;
use crate::{BODY, Config, Error};

/// After so long without a word the broker is asked whether it is there.
const QUIET: Duration = Duration::from_secs(20);
/// What the broker is told: after one and a half times this it gives us up.
const KEEP_ALIVE: u16 = 60;
/// So many messages may come before the broker has said that it listens for us; each is at most [`BODY`] long.
const EARLY: usize = 32;

pub(crate) struct Mqtt {
    wire: Wire,
    /// What came before the answer to the subscription.
    early: VecDeque<Publish>,
    /// The delivery that was given out last.
    last: Option<u16>,
}

/// What is received.
enum Packet {
    Connack { code: u8 },
    Suback { code: u8 },
    Publish(Publish),
    Other,
}

/// A message on its way.
struct Publish {
    again: bool,
    retained: bool,
    quality: u8,
    id: u16,
    topic: String,
    size: usize,
    body: Vec<u8>,
}

impl Mqtt {
    pub(crate) async fn connect(config: &Config, address: &Address, name: &str) -> Result<Self, Error> {
        let mut wire = Wire::connect(address).await?;
        wire.send(&hello(address.user.as_deref(), config.password.as_deref(), name)).await?;
        let mut mqtt = Self { wire, early: VecDeque::new(), last: None };
        match mqtt.receive().await? {
            Packet::Connack { code: 0 } => {}
            Packet::Connack { code } => return Err(mqtt.wire.refused(refusal(code))),
            _ => return Err(mqtt.wire.refused("it does not speak MQTT 3.1.1")),
        }
        // Asked for again, a subscription stays what it is.
        let topic = config.source.address.as_str();
        let mut body = vec![0, 1];
        text(&mut body, topic);
        body.push(1);
        mqtt.wire.send(&packet(0x82, &body)).await?;
        // A session that was there before may have messages waiting, which need not wait for the answer.
        while mqtt.early.len() < EARLY {
            match mqtt.receive().await? {
                Packet::Suback { code } => {
                    mqtt.granted(code)?;
                    break;
                }
                Packet::Publish(message) => mqtt.early.push_back(message),
                Packet::Connack { .. } | Packet::Other => {}
            }
        }
        Ok(mqtt)
    }

    /// Whether the broker listens as it was asked to.
    fn granted(&self, code: u8) -> Result<(), Error> {
        match code {
            1 | 2 => Ok(()),
            0 => Err(self
                .wire
                .refused("it keeps no messages of this topic for anybody (quality of service 0)")),
            _ => Err(self.wire.refused("this user may not listen for the topic")),
        }
    }

    async fn receive(&mut self) -> Result<Packet, Error> {
        let [first] = self.wire.array().await?;
        let mut left = self.length().await?;
        match (first >> 4, first & 0x0f) {
            (2, _) if left == 2 => {
                let [_, code] = self.wire.array().await?;
                Ok(Packet::Connack { code })
            }
            (9, _) if left == 3 => {
                let [.., code] = self.wire.array::<3>().await?;
                Ok(Packet::Suback { code })
            }
            (3, flags) => {
                let quality = flags >> 1 & 3;
                let broken = |wire: &Wire| wire.lost("a message that is shorter than it says");
                let length = usize::from(u16::from_be_bytes(self.wire.array().await?));
                let before = 2 + length + if quality > 0 { 2 } else { 0 };
                left = left.checked_sub(before).ok_or_else(|| broken(&self.wire))?;
                let topic = self.wire.take(length, length).await?;
                let id = if quality > 0 { u16::from_be_bytes(self.wire.array().await?) } else { 0 };
                let body = self.wire.take(left, BODY).await?;
                let topic = String::from_utf8_lossy(&topic).into_owned();
                let (again, retained) = (flags & 8 != 0, flags & 1 != 0);
                Ok(Packet::Publish(Publish { again, retained, quality, id, topic, size: left, body }))
            }
            _ => {
                self.wire.take(left, 0).await?;
                Ok(Packet::Other)
            }
        }
    }

    /// The length of the rest of a packet.
    async fn length(&mut self) -> Result<usize, Error> {
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let [byte] = self.wire.array().await?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(length);
            }
        }
        Err(self.wire.lost("a length that makes no sense"))
    }

    async fn message(&mut self) -> Result<Incoming, Error> {
        while let Some(message) = self.early.pop_front() {
            if let Some(message) = self.given(message).await? {
                return Ok(message);
            }
        }
        let mut is_asked = false;
        loop {
            if !self.wire.wait(QUIET).await? {
                if is_asked {
                    return Err(self.wire.lost("the broker has fallen silent"));
                }
                self.wire.send(&packet(0xc0, &[])).await?;
                is_asked = true;
                continue;
            }
            is_asked = false;
            let message = match self.receive().await? {
                Packet::Publish(message) => message,
                Packet::Suback { code } => {
                    self.granted(code)?;
                    continue;
                }
                Packet::Connack { .. } | Packet::Other => continue,
            };
            if let Some(message) = self.given(message).await? {
                return Ok(message);
            }
        }
    }

    /// The message as it is given out; nothing where it is no news.
    async fn given(&mut self, message: Publish) -> Result<Option<Incoming>, Error> {
        let Publish { again, retained, quality, id, topic, size, body } = message;
        self.last = (quality > 0).then_some(id);
        if retained {
            self.confirm().await?;
            return Ok(None);
        }
        // What was published without a promise comes without one.
        let place = if quality == 0 {
            Place::None
        } else {
            let content = [topic.as_bytes(), b"\0", &body].concat();
            Place::Recent { key: format!("{id}:{}", Digest::of(&content).short()), again }
        };
        Ok(Some(Incoming { broker: BrokerKind::Mqtt, address: topic, place, size: size as u64, body }))
    }

    async fn confirm(&mut self) -> Result<(), Error> {
        let Some(id) = self.last.take() else { return Ok(()) };
        self.wire.send(&packet(0x40, &id.to_be_bytes())).await
    }
}

#[async_trait]
impl Source for Mqtt {
    async fn next(&mut self) -> Result<Incoming, String> {
        self.message().await.map_err(|error| error.to_string())
    }

    async fn acknowledge(&mut self) -> Result<(), String> {
        self.confirm().await.map_err(|error| error.to_string())
    }

    async fn close(&mut self) {
        // Where it fails, the connection has ended without.
        drop(self.wire.send(&packet(0xe0, &[])).await);
        self.wire.end().await;
    }
}

/// The first packet: who we are, and that the session is to be kept.
fn hello(user: Option<&str>, password: Option<&str>, name: &str) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, "MQTT");
    // The protocol has no password without a user.
    let password = password.filter(|_| user.is_some());
    let flags = u8::from(user.is_some()) << 7 | u8::from(password.is_some()) << 6;
    body.extend([4, flags]);
    body.extend(KEEP_ALIVE.to_be_bytes());
    text(&mut body, name);
    for value in [user, password].into_iter().flatten() {
        text(&mut body, value);
    }
    packet(0x10, &body)
}

fn text(out: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
    out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(text);
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut left = body.len();
    loop {
        let byte = (left & 0x7f) as u8;
        left >>= 7;
        out.push(if left > 0 { byte | 0x80 } else { byte });
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

/// What the code in the answer to the first packet means.
fn refusal(code: u8) -> String {
    match code {
        1 => "it does not speak MQTT 3.1.1".to_owned(),
        2 => "it does not take the name of this client".to_owned(),
        3 => "it has no service at the moment".to_owned(),
        4 => "user or password are wrong".to_owned(),
        5 => "this user may not connect".to_owned(),
        code => format!("with the code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets() {
        assert_eq!(packet(0xc0, &[]), [0xc0, 0]);
        assert_eq!(packet(0x30, &[7; 200])[..3], [0x30, 0xc8, 1]);
        let hello = hello(Some("u"), Some("p"), "n");
        assert_eq!(hello, b"\x10\x13\0\x04MQTT\x04\xc0\0\x3c\0\x01n\0\x01u\0\x01p");
    }
}

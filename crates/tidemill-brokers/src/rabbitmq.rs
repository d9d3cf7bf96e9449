//! RabbitMQ, by AMQP 0-9-1: one consumer of one queue, one message at a time.
//!
//! Where the sender gives messages an identifier (`message-id`), it tells those that come again. Where not, a message that
//! is marked as delivered before and has the content of one that acted just now is that one.

mod frame;

use std::time::Duration;

use async_trait::async_trait;
use tidemill_core::Digest;
use tidemill_core::declare::BrokerKind;
use tidemill_trigger::message::{Incoming, Place, Source};

use self::frame::{Method, Properties, properties};
use crate::address::Address;
use crate::fields::{Fields, Out};
use crate::wire::{GOODBYE, Wire};
use crate::{BODY, Config, Error};

/// How often either side says that it is there.
const HEARTBEAT: u16 = 20;
/// The largest frame that we take, in bytes.
const FRAME: u32 = 128 << 10;
/// The largest frame that is not a part of a body, in bytes.
const SMALL: usize = 128 << 10;

pub(crate) struct Rabbitmq {
    wire: Wire,
    queue: String,
    /// The delivery that was given out last.
    last: Option<u64>,
}

/// A frame as it arrives; of bodies, what is looked at.
struct Frame {
    kind: u8,
    payload: Vec<u8>,
    /// How long it was.
    length: usize,
}

impl Rabbitmq {
    pub(crate) async fn connect(config: &Config, address: &Address, name: &str) -> Result<Self, Error> {
        let mut wire = Wire::connect(address).await?;
        wire.send(b"AMQP\x00\x00\x09\x01").await?;
        let mut rabbit = Self { wire, queue: config.source.address.clone(), last: None };
        rabbit.expect(Method::START).await?;
        let user = address.user.as_deref().unwrap_or("guest");
        let password =
            config.password.as_deref().unwrap_or(if address.user.is_none() { "guest" } else { "" });
        // A refusal is told to those who can hear it, and not by closing the connection.
        let capabilities = Out::new()
            .text8("authentication_failure_close")
            .raw(b"t\x01")
            .text8("consumer_cancel_notify")
            .raw(b"t\x01")
            .done();
        let properties = Out::new()
            .text8("product")
            .raw(b"S")
            .text32("Tidemill")
            .text8("connection_name")
            .raw(b"S")
            .text32(name)
            .text8("capabilities")
            .raw(b"F")
            .bytes32(&capabilities)
            .done();
        let hello = Out::new()
            .bytes32(&properties)
            .text8("PLAIN")
            .text32(&format!("\0{user}\0{password}"))
            .text8("en_US");
        rabbit.call(0, Method::START_OK, hello).await?;
        let tune = rabbit.expect(Method::TUNE).await?;
        let mut fields = Fields::new(&tune);
        let (_, theirs, beat) = (fields.u16(), fields.u32(), fields.u16());
        let largest = theirs.filter(|theirs| *theirs != 0).map_or(FRAME, |theirs| theirs.min(FRAME));
        let beat = beat.filter(|beat| *beat != 0).map_or(HEARTBEAT, |beat| beat.min(HEARTBEAT));
        rabbit.call(0, Method::TUNE_OK, Out::new().u16(1).u32(largest).u16(beat)).await?;
        let vhost = address.path.as_deref().unwrap_or("/");
        rabbit.call(0, Method::OPEN, Out::new().text8(vhost).text8("").u8(0)).await?;
        rabbit.expect(Method::OPEN_OK).await?;
        rabbit.call(1, Method::CHANNEL_OPEN, Out::new().text8("")).await?;
        rabbit.expect(Method::CHANNEL_OPEN_OK).await?;
        // Whoever sends makes the queue: nobody but them knows how it is to be.
        let queue = rabbit.queue.clone();
        let passive = Out::new().u16(0).text8(&queue).u8(1).bytes32(&[]);
        rabbit.call(1, Method::DECLARE, passive).await?;
        rabbit.expect(Method::DECLARE_OK).await?;
        rabbit.call(1, Method::QOS, Out::new().u32(0).u16(1).u8(0)).await?;
        rabbit.expect(Method::QOS_OK).await?;
        let consume = Out::new().u16(0).text8(&queue).text8(name).u8(0).bytes32(&[]);
        rabbit.call(1, Method::CONSUME, consume).await?;
        rabbit.expect(Method::CONSUME_OK).await?;
        Ok(rabbit)
    }

    async fn call(&mut self, channel: u16, method: Method, arguments: Out) -> Result<(), Error> {
        self.wire.send(&frame::method(channel, method, &arguments.done())).await
    }

    /// The arguments of the method that must come next.
    async fn expect(&mut self, method: Method) -> Result<Vec<u8>, Error> {
        loop {
            let frame = self.receive().await?;
            if let Some((found, arguments)) = self.method(&frame)?
                && found == method
            {
                return Ok(arguments.to_vec());
            }
        }
    }

    /// The method of a frame, where it is one. One that closes is an error.
    fn method<'f>(&self, frame: &'f Frame) -> Result<Option<(Method, &'f [u8])>, Error> {
        if frame.kind != 1 {
            return Ok(None);
        }
        let Some((method, arguments)) = Method::read(&frame.payload) else {
            return Err(self.wire.lost("a method that is cut short"));
        };
        if method == Method::CLOSE || method == Method::CHANNEL_CLOSE {
            let mut fields = Fields::new(arguments);
            let code = fields.u16().unwrap_or_default();
            let why = fields.text8().unwrap_or_default();
            return Err(self.wire.refused(format!("{} (code {code})", tidemill_trigger::detail(&why))));
        }
        if method == Method::CANCEL {
            let queue = &self.queue;
            return Err(self.wire.lost(format!("the queue `{queue}` is gone")));
        }
        Ok(Some((method, arguments)))
    }

    /// The next frame that is no heartbeat.
    async fn receive(&mut self) -> Result<Frame, Error> {
        loop {
            let head: [u8; 7] = self.wire.array().await?;
            // Who does not speak it answers with the greeting of what he speaks.
            if head.starts_with(b"AMQP") {
                return Err(self.wire.refused("it does not speak AMQP 0-9-1"));
            }
            let [kind, _, _, a, b, c, d] = head;
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            if !matches!(kind, 1..=3 | 8) || (kind != 3 && length > SMALL) {
                return Err(self.wire.refused("it does not speak AMQP 0-9-1"));
            }
            let payload = self.wire.take(length, BODY).await?;
            if self.wire.array().await? != [0xce] {
                return Err(self.wire.lost("a frame without its end"));
            }
            if kind != 8 {
                return Ok(Frame { kind, payload, length });
            }
        }
    }

    async fn message(&mut self) -> Result<Incoming, Error> {
        let (mut quiet, beat) = (0, Duration::from_secs(u64::from(HEARTBEAT) / 2));
        loop {
            if !self.wire.wait(beat).await? {
                quiet += 1;
                // The broker says that it is there at least once in two of its own times.
                if quiet > 5 {
                    return Err(self.wire.lost("the broker has fallen silent"));
                }
                self.wire.send(&frame::HEARTBEAT).await?;
                continue;
            }
            quiet = 0;
            // A heartbeat is no frame for anybody, so it must not be waited behind.
            let Some(frame) = self.any().await? else { continue };
            let Some((Method::DELIVER, arguments)) = self.method(&frame)? else { continue };
            let mut fields = Fields::new(arguments);
            let delivery = (|| {
                fields.text8()?;
                let (tag, flags) = (fields.u64()?, fields.u8()?);
                let (exchange, key) = (fields.text8()?, fields.text8()?);
                Some((tag, flags & 1 != 0, exchange, key))
            })();
            let Some((tag, again, exchange, key)) = delivery else {
                return Err(self.wire.lost("a delivery that is cut short"));
            };
            let head = self.receive().await?;
            let Properties { size, id, rest } = (head.kind == 2)
                .then(|| properties(&head.payload))
                .flatten()
                .ok_or_else(|| self.wire.lost("a message without its header"))?;
            let mut body = Vec::new();
            let mut left = size;
            while left > 0 {
                let part = self.receive().await?;
                if part.kind != 3 || part.length as u64 > left {
                    return Err(self.wire.lost("a body that is cut short"));
                }
                left -= part.length as u64;
                body.extend_from_slice(&part.payload[..part.payload.len().min(BODY - body.len())]);
            }
            self.last = Some(tag);
            let place = match id {
                Some(id) => Place::Id(id),
                None => {
                    let content = [exchange.as_bytes(), b"\0", key.as_bytes(), b"\0", &rest, &body].concat();
                    Place::Recent { key: Digest::of(&content).short(), again }
                }
            };
            let (broker, address) = (BrokerKind::Rabbitmq, self.queue.clone());
            return Ok(Incoming { broker, address, place, size, body });
        }
    }

    /// The frame that has begun to arrive; nothing where it is a heartbeat.
    async fn any(&mut self) -> Result<Option<Frame>, Error> {
        if self.wire.peek() == Some(8) {
            let _: [u8; 8] = self.wire.array().await?;
            return Ok(None);
        }
        self.receive().await.map(Some)
    }
}

#[async_trait]
impl Source for Rabbitmq {
    async fn next(&mut self) -> Result<Incoming, String> {
        self.message().await.map_err(|error| error.to_string())
    }

    async fn acknowledge(&mut self) -> Result<(), String> {
        let Some(tag) = self.last.take() else { return Ok(()) };
        let acknowledged = self.call(1, Method::ACK, Out::new().u64(tag).u8(0)).await;
        acknowledged.map_err(|error| error.to_string())
    }

    async fn close(&mut self) {
        let bye = Out::new().u16(200).text8("").u32(0);
        if self.call(0, Method::CLOSE, bye).await.is_ok() {
            // A connection that ends before the answer takes an acknowledgement that is on its way with it.
            drop(tokio::time::timeout(GOODBYE, self.expect(Method::CLOSE_OK)).await);
        }
    }
}

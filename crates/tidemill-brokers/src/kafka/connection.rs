//! A connection to one broker of a cluster: who we are, questions and answers.

use bytes::Bytes;

use super::protocol::{self, Api, Versions, code};
use super::sasl::{self, Mechanism, Scram};
use crate::address::Address;
use crate::fields::Out;
use crate::wire::Wire;
use crate::{Error, random};

/// The longest answer that is taken, in bytes. A broker sends a batch whole, however little it is asked for.
const ANSWER: usize = 64 << 20;

/// As whom we come in.
pub(super) struct Account {
    user: Option<String>,
    password: String,
    /// The way, where it was named or has been agreed upon.
    mechanism: Option<Mechanism>,
}

impl Account {
    /// Of the user in the address; what follows the port names a way.
    pub(super) fn new(address: &Address, password: Option<&str>) -> Result<Self, Error> {
        let bad = |why: String| Error::Address { address: address.shown(), why };
        let mechanism = match address.path.as_deref() {
            None => None,
            Some(name) => Some(Mechanism::named(name).ok_or_else(|| {
                let names = Mechanism::ALL.map(Mechanism::name).join(", ");
                bad(format!("is followed by `/{name}`, which is none of {names}"))
            })?),
        };
        let user = address.user.clone();
        if user.is_none() && password.is_some() {
            return Err(bad(
                "names no user, whose password `secret` is; write `USER@` before the host".to_owned()
            ));
        }
        Ok(Self { user, password: password.unwrap_or_default().to_owned(), mechanism })
    }
}

pub(super) struct Connection {
    pub(super) wire: Wire,
    /// How a topic is asked for here.
    metadata: Api,
    /// Of the last question.
    number: i32,
}

impl Connection {
    pub(super) async fn open(address: &Address, account: &mut Account) -> Result<Self, Error> {
        let mut connection = Self::begin(address).await?;
        let Some(user) = account.user.clone() else { return Ok(connection) };
        let wanted = account.mechanism.unwrap_or(Mechanism::Sha512);
        let (code, offered) = connection.handshake(wanted).await?;
        let mechanism = match code {
            0 => wanted,
            code::UNSUPPORTED_MECHANISM if account.mechanism.is_none() => {
                let known = offered.iter().filter_map(|name| Mechanism::named(name)).max();
                let Some(known) = known else { return Err(connection.unknown(&offered)) };
                // It hangs up on who begins otherwise.
                connection = Self::begin(address).await?;
                match connection.handshake(known).await? {
                    (0, _) => known,
                    _ => return Err(connection.unknown(&offered)),
                }
            }
            code::UNSUPPORTED_MECHANISM => return Err(connection.unknown(&offered)),
            code => return Err(connection.wire.refused(protocol::meaning(code, "", ""))),
        };
        account.mechanism = Some(mechanism);
        connection.prove(mechanism, &user, &account.password, &offered).await?;
        Ok(connection)
    }

    /// Connects, and asks what the broker answers.
    async fn begin(address: &Address) -> Result<Self, Error> {
        let wire = Wire::connect(address).await?;
        let mut connection = Self { wire, metadata: Api::METADATA, number: 0 };
        let answer = connection.call(Api::API_VERSIONS, Out::new()).await;
        let versions = answer.ok().and_then(|answer| Versions::read(&answer)).ok_or_else(|| {
            let encrypted = if address.tls { "" } else { ", or does so encrypted only (`kafkas://`)" };
            connection.wire.refused(format!("it does not speak Kafka's protocol{encrypted}"))
        })?;
        if let Some(missing) = versions.missing() {
            return Err(connection.wire.refused(missing));
        }
        if versions.has(Api::METADATA_ID) {
            connection.metadata = Api::METADATA_ID;
        }
        Ok(connection)
    }

    async fn handshake(&mut self, mechanism: Mechanism) -> Result<(i16, Vec<String>), Error> {
        let answer = self.call(Api::SASL_HANDSHAKE, Out::new().text16(mechanism.name())).await?;
        protocol::read_handshake(&answer).ok_or_else(|| self.broken())
    }

    fn unknown(&self, offered: &[String]) -> Error {
        let offered = tidemill_trigger::detail(&offered.join(", "));
        let ours = Mechanism::ALL.map(Mechanism::name).join(", ");
        self.wire.refused(format!("it lets users in by {offered}; name one of {ours} after the port"))
    }

    async fn prove(
        &mut self,
        mechanism: Mechanism,
        user: &str,
        password: &str,
        offered: &[String],
    ) -> Result<(), Error> {
        let others = tidemill_trigger::detail(&offered.join(", "));
        if mechanism == Mechanism::Plain {
            return self.say(&sasl::plain(user, password), mechanism, &others).await.map(drop);
        }
        let scram = Scram::new(mechanism, user, &random());
        let asked = self.say(&scram.hello(), mechanism, &others).await?;
        let (proof, expected) = scram.proof(password, &asked).map_err(|why| self.wire.refused(why))?;
        let answer = self.say(&proof, mechanism, &others).await?;
        if Scram::is_known(&answer, &expected) {
            Ok(())
        } else {
            Err(self.wire.refused("it does not know the password itself"))
        }
    }

    async fn say(&mut self, what: &[u8], mechanism: Mechanism, others: &str) -> Result<Vec<u8>, Error> {
        let answer = self.call(Api::SASL_AUTHENTICATE, Out::new().bytes32(what)).await?;
        let (code, why, said) = protocol::read_authenticated(&answer).ok_or_else(|| self.broken())?;
        if code == 0 {
            return Ok(said);
        }
        let (meaning, why) = (protocol::meaning(code, "", ""), tidemill_trigger::detail(&why));
        let name = mechanism.name();
        Err(self.wire.refused(format!("{meaning} ({name}; it offers {others}): {why}")))
    }

    /// One question, and its answer.
    pub(super) async fn call(&mut self, api: Api, question: Out) -> Result<Bytes, Error> {
        self.ask(api, question).await?;
        self.answer().await
    }

    pub(super) async fn ask(&mut self, api: Api, question: Out) -> Result<(), Error> {
        self.number = self.number.wrapping_add(1);
        let question = protocol::head(api, self.number).raw(&question.done()).done();
        self.wire.send(&Out::new().bytes32(&question).done()).await
    }

    /// The answer to the last question.
    pub(super) async fn answer(&mut self) -> Result<Bytes, Error> {
        let length = i32::from_be_bytes(self.wire.array().await?);
        let number = i32::from_be_bytes(self.wire.array().await?);
        let length = usize::try_from(length).ok().and_then(|length| length.checked_sub(4));
        let Some(length) = length.filter(|_| number == self.number) else {
            return Err(self.broken());
        };
        if length > ANSWER {
            return Err(self.wire.refused(format!(
                "an answer has {length} bytes, more than {ANSWER}; are there messages as long as that?"
            )));
        }
        self.wire.take(length, length).await.map(Bytes::from)
    }

    pub(super) fn broken(&self) -> Error {
        self.wire.lost("an answer that makes no sense")
    }

    /// What is known of a topic.
    pub(super) async fn topic(&mut self, topic: &str, group: &str) -> Result<protocol::Topic, Error> {
        let answer = self.call(self.metadata, protocol::metadata(self.metadata, topic)).await?;
        self.good(protocol::read_metadata(self.metadata, &answer), topic, group)
    }

    /// What was read, unless it is an error or makes no sense.
    pub(super) fn good<T>(&self, read: Option<Result<T, i16>>, topic: &str, group: &str) -> Result<T, Error> {
        match read {
            Some(Ok(read)) => Ok(read),
            Some(Err(code)) => Err(self.wire.refused(protocol::meaning(code, topic, group))),
            None => Err(self.broken()),
        }
    }
}

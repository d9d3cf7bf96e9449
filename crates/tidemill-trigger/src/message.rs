//! Messages of brokers, whichever they come from.
//!
//! An adapter gives each message a place in its stream. What remembers the place is stored in the same transaction as the
//! event that the message becomes, and a message whose place is remembered has acted already: so each acts once, however
//! often the broker delivers it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;
use tidemill_core::declare::BrokerKind;

use crate::{Details, detail};

/// How many of the latest deliveries are remembered where the broker numbers no messages. More than a broker has on their
/// way at a time.
const RECENT: usize = 64;

/// Where messages come from: a connection to a broker. Errors are for people and end it.
#[async_trait]
pub trait Source: Send {
    /// The next message. Waits until there is one.
    async fn next(&mut self) -> Result<Incoming, String>;

    /// Tells the broker that the last message has acted or is none of ours, and need not come again.
    async fn acknowledge(&mut self) -> Result<(), String>;

    /// Says goodbye, so that the broker does not wait for us. Takes at most a few seconds.
    async fn close(&mut self) {}
}

/// A message as an adapter hands it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// What kind of broker it comes from.
    pub broker: BrokerKind,
    /// Its subject, topic or queue.
    pub address: String,
    /// Where it stands.
    pub place: Place,
    /// How long its body is, in bytes.
    pub size: u64,
    /// The first bytes of its body.
    pub body: Vec<u8>,
}

/// Where a message stands in what its broker keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this position of a part that only grows: a stream's sequence number, a partition's offset.
    Position {
        /// The stream or partition.
        part: String,
        /// The position.
        position: u64,
    },
    /// The broker numbers nothing; the sender's own identifier tells repetitions.
    Id(String),
    /// The broker numbers nothing, and marks what it delivers again.
    Recent {
        /// What tells this delivery from others around it.
        key: String,
        /// Whether the broker says that it has delivered it before.
        again: bool,
    },
    /// There is nothing to tell repetitions by.
    None,
}

impl Place {
    /// The part of the source that is remembered; `None` where none is.
    pub fn part(&self) -> Option<&str> {
        match self {
            Self::Position { part, .. } => Some(part),
            Self::Recent { .. } => Some(""),
            Self::Id(_) | Self::None => None,
        }
    }

    /// The same place, of a message that is known not to have acted at its last delivery.
    #[must_use]
    pub fn owed(self) -> Self {
        match self {
            Self::Recent { key, .. } => Self::Recent { key, again: false },
            other => other,
        }
    }

    /// Whether both are the same message, whichever delivery.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Recent { key, .. }, Self::Recent { key: other, .. }) => key == other,
            _ => self == other,
        }
    }

    /// What is to be stored of the part after this message, where `stored` is what was stored after those before it;
    /// `None` where it has acted already.
    pub fn advance(&self, stored: Option<&str>) -> Option<String> {
        match self {
            Self::Position { position, .. } => {
                let acted = stored.and_then(|text| text.parse::<u64>().ok());
                acted.is_none_or(|acted| *position > acted).then(|| position.to_string())
            }
            Self::Recent { key, again } => {
                let recent = || stored.unwrap_or_default().split_ascii_whitespace();
                if *again && recent().any(|acted| acted == key) {
                    return None;
                }
                let all: Vec<&str> = std::iter::once(key.as_str())
                    .chain(recent().filter(|acted| acted != key))
                    .take(RECENT)
                    .collect();
                Some(all.join(" "))
            }
            Self::Id(_) | Self::None => Some(String::new()),
        }
    }
}

impl Incoming {
    /// What the log says of it.
    pub fn details(&self) -> Details {
        let mut details = Details::new();
        details.insert("broker".to_owned(), self.broker.name().to_owned());
        details.insert("address".to_owned(), detail(&self.address));
        match &self.place {
            Place::Position { part, position } => {
                details.insert("position".to_owned(), detail(&format!("{part}:{position}")));
            }
            Place::Id(id) => {
                details.insert("id".to_owned(), detail(id));
            }
            Place::Recent { .. } | Place::None => {}
        }
        details
    }

    /// Whether its end is missing, since it is longer than what is looked at.
    pub fn is_cut(&self) -> bool {
        self.size > self.body.len() as u64
    }

    /// Whether its body is JSON that has these values: texts, numbers or truth values at fields of the object, or at JSON
    /// pointers, which begin with `/`.
    pub fn is_wanted(&self, filter: &BTreeMap<String, String>) -> bool {
        if filter.is_empty() {
            return true;
        }
        let Ok(body) = serde_json::from_slice::<Value>(&self.body) else { return false };
        filter.iter().all(|(field, wanted)| {
            let found = if field.starts_with('/') { body.pointer(field) } else { body.get(field) };
            match found {
                Some(Value::String(text)) => text == wanted,
                Some(Value::Number(number)) => number.to_string() == *wanted,
                Some(Value::Bool(value)) => value.to_string() == *wanted,
                Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => false,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of these act, one after the other.
    fn acted(places: impl IntoIterator<Item = Place>) -> Vec<usize> {
        let mut stored: Option<String> = None;
        let mut acted = Vec::new();
        for (i, place) in places.into_iter().enumerate() {
            if let Some(next) = place.advance(stored.as_deref()) {
                acted.push(i);
                stored = Some(next);
            }
        }
        acted
    }

    #[test]
    fn each_position_acts_once() {
        // What was not acknowledged is delivered again, also from further back.
        let at = |position| Place::Position { part: "0".to_owned(), position };
        assert_eq!(acted([4, 5, 5, 4, 6, 10, 9, 11].map(at)), [0, 1, 4, 5, 7]);
    }

    #[test]
    fn what_is_delivered_again_acts_once() {
        let at = |(key, again): (&str, bool)| Place::Recent { key: key.to_owned(), again };
        // A delivery that is marked may be the first that arrives; the same content without the mark is another message.
        let places =
            [("1:x", false), ("1:x", true), ("2:x", true), ("2:x", true), ("1:x", true), ("3:x", false)];
        assert_eq!(acted(places.map(at)), [0, 2, 5]);
        assert_eq!(acted([("x", false), ("x", false)].map(at)), [0, 1]);
        // One that could not be recorded has not acted, though it is marked when it comes again.
        let (first, other) = (at(("1:x", false)), at(("1:x", true)));
        assert!(first.is_same(&other) && !first.is_same(&at(("2:x", true))));
        assert_eq!(other.clone().advance(Some("1:x")), None);
        assert_eq!(other.owed().advance(Some("1:x")).as_deref(), Some("1:x"));
        let many = (0..1000).map(|i| Place::Recent { key: i.to_string(), again: false });
        let stored = many.fold(None, |stored: Option<String>, place| place.advance(stored.as_deref()));
        assert_eq!(stored.unwrap().split(' ').count(), RECENT, "what is remembered is bounded");
    }

    #[test]
    fn bodies_that_are_wanted() {
        let body = br#"{"dataset": "flights", "rows": 7, "final": true, "at": {"hour": 3}, "tags": ["a"]}"#;
        let message = |body: &[u8]| Incoming {
            broker: BrokerKind::Nats,
            address: "data".to_owned(),
            place: Place::None,
            size: body.len() as u64,
            body: body.to_vec(),
        };
        for (filter, expected) in [
            (&[][..], true),
            (&[("dataset", "flights")], true),
            (&[("dataset", "flights"), ("rows", "7"), ("final", "true"), ("/at/hour", "3")], true),
            (&[("dataset", "weather")], false),
            (&[("dataset", "flights"), ("rows", "8")], false),
            (&[("none", "x")], false),
            (&[("tags", "a")], false),
            (&[("/tags/0", "a")], true),
        ] {
            let filter: BTreeMap<String, String> =
                filter.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            assert_eq!(message(body).is_wanted(&filter), expected, "{filter:?}");
        }
        let filter = [("dataset".to_owned(), "flights".to_owned())].into();
        assert!(!message(b"not JSON").is_wanted(&filter));
        assert!(message(b"not JSON").is_wanted(&BTreeMap::new()));
    }
}

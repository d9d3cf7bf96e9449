//! Messages of brokers, whichever they come from.
//!
//! An adapter gives each message a place in its stream. The place is stored in the same transaction as the event that the
//! message becomes, and a message whose place is not behind the stored one has acted already: so each acts once, however
//! often the broker delivers it.

use tidemill_core::declare::BrokerKind;

use crate::{Details, detail};

/// A message as an adapter hands it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// What kind of broker it comes from.
    pub broker: BrokerKind,
    /// Its subject, topic or queue.
    pub address: String,
    /// Where it stands.
    pub place: Place,
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
    /// There is nothing to tell repetitions by.
    None,
}

impl Place {
    /// Whether a message here comes after one at `stored`, which is what [`Place::text`] gave.
    pub fn is_after(&self, stored: Option<&str>) -> bool {
        match self {
            Self::Position { position, .. } => {
                stored.and_then(|text| text.parse::<u64>().ok()).is_none_or(|stored| *position > stored)
            }
            Self::Id(_) | Self::None => true,
        }
    }

    /// The position as it is stored.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Position { position, .. } => Some(position.to_string()),
            Self::Id(_) | Self::None => None,
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
            Place::None => {}
        }
        details
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_acts_once() {
        let at = |position| Place::Position { part: "0".to_owned(), position };
        let mut stored: Option<String> = None;
        let mut acted = Vec::new();
        // What was not acknowledged is delivered again, also from further back.
        for position in [4, 5, 5, 4, 6, 10, 9, 11] {
            if at(position).is_after(stored.as_deref()) {
                acted.push(position);
                stored = at(position).text();
            }
        }
        assert_eq!(acted, [4, 5, 6, 10, 11]);
        assert!(Place::None.is_after(Some("7")) && Place::None.text().is_none());
    }
}

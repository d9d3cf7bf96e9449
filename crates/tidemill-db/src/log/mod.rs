//! The log as a Merkle tree (RFC 6962): its head, proofs, and the check of every entry.

mod proof;
mod tree;
mod verify;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidemill_core::Progress;

use crate::backend::{Conn, on};
use crate::events::damaged;
use crate::{Db, Result};

pub use proof::{ConsistencyProof, InclusionProof, ProofError};
pub(crate) use tree::{Frontier, leaf};

/// A node of the tree: SHA-256, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub(crate) [u8; 32]);

/// The state of the log: together with the size, the root hash fixes every entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHead {
    /// Number of entries.
    pub size: u64,
    /// The root of the Merkle tree over them; SHA-256 of nothing for an empty log.
    pub root: Hash,
}

/// What [`Db::verify_log`] found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogVerdict {
    /// The stored head.
    pub head: LogHead,
    /// Entries that were recomputed and are right.
    pub checked: u64,
    /// The first entry that is not right; `None` if the log is whole.
    pub first_bad: Option<BadEntry>,
}

/// An entry that is not as it was appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadEntry {
    /// Its sequence number.
    pub seq: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// It is not there.
    Missing,
    /// Its content does not give the leaf hash that was stored with it.
    Altered,
    /// It was appended at another place.
    Moved {
        /// Where it belongs.
        from: u64,
    },
    /// A column used for searching does not say what the content says.
    Column {
        /// Which column.
        column: &'static str,
        /// What it says.
        stored: String,
        /// What it should say.
        expected: String,
    },
    /// Content and leaf hash agree but the tree does not: one of the entries from this one to `to` was rewritten
    /// with its hash.
    Rewritten {
        /// The last entry that the failed check covers.
        to: u64,
    },
    /// It was added behind the back of the log's head.
    Unexpected,
    /// The checkpoint that should stand after it is missing.
    NoCheckpoint,
    /// The stored head is missing or does not fit the entries.
    Head {
        /// What does not fit.
        detail: String,
    },
}

impl Db {
    /// The state of the log.
    pub async fn log_head(&self) -> Result<LogHead> {
        let mut reader = self.reader().await?;
        let head = stored_head(reader.conn()).await.map_err(self.ctx().fail("read the log's head"))?;
        match head {
            Some(StoredHead { head: Some(head), .. }) => Ok(head),
            _ => Err(damaged(self.ctx(), 0, "the stored head is missing or unreadable")),
        }
    }

    /// Recomputes every leaf from the stored columns, and the tree, the checkpoints and the head from the leaves.
    ///
    /// It proves that the log agrees with itself. That nobody replaced it as a whole is proven by keeping a
    /// [`LogHead`] elsewhere and asking for a [`ConsistencyProof`] from it.
    pub async fn verify_log(&self, progress: &dyn Progress) -> Result<LogVerdict> {
        verify::verify(self, progress).await
    }

    /// Proves that entry `seq` is in the log as it was with `size` entries.
    pub async fn inclusion_proof(&self, seq: u64, size: u64) -> Result<InclusionProof> {
        proof::inclusion(self, seq, size).await
    }

    /// Proves that the log with `old` entries (at least 1) is the beginning of the log with `new` entries.
    pub async fn consistency_proof(&self, old: u64, new: u64) -> Result<ConsistencyProof> {
        proof::consistency(self, old, new).await
    }
}

/// The row of `log_head`, as far as it can be read.
pub(crate) struct StoredHead {
    pub(crate) head: Option<LogHead>,
    pub(crate) frontier: Option<Frontier>,
}

pub(crate) async fn stored_head(conn: Conn<'_>) -> sqlx::Result<Option<StoredHead>> {
    const SQL: &str = "SELECT size, root, frontier FROM log_head WHERE id = 1";
    let row: Option<(i64, String, String)> = on!(conn, c => sqlx::query_as(SQL).fetch_optional(c).await)?;
    Ok(row.map(|(size, root, frontier)| {
        let size = u64::try_from(size).ok();
        StoredHead {
            head: size.and_then(|size| Some(LogHead { size, root: root.parse().ok()? })),
            frontier: size.and_then(|size| Frontier::from_text(size, &frontier)),
        }
    }))
}

impl Hash {
    /// The 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for BadEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seq = self.seq;
        match &self.fault {
            Fault::Missing => write!(f, "entry {seq} is missing"),
            Fault::Altered => write!(f, "entry {seq} was altered: its content does not give its stored hash"),
            Fault::Moved { from } => {
                write!(f, "entry {seq} was moved there: it was appended as entry {from}")
            }
            Fault::Column { column, stored, expected } => {
                write!(
                    f,
                    "entry {seq} was altered: column `{column}` says `{stored}`, its content `{expected}`"
                )
            }
            Fault::Rewritten { to } => write!(
                f,
                "an entry from {seq} to {to} was rewritten together with its hash: the tree does not fit"
            ),
            Fault::Unexpected => write!(f, "entry {seq} was added without the log's head"),
            Fault::NoCheckpoint => write!(f, "the checkpoint after entry {seq} is missing"),
            Fault::Head { detail } => write!(f, "the log's stored head is wrong after entry {seq}: {detail}"),
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Hash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a hash: expected 64 hexadecimal digits");
        let digest = tidemill_core::Digest::from_hex(text).map_err(|_| wrong())?;
        Ok(Self(*digest.as_bytes()))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

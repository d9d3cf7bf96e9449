//! The log as a Merkle tree (RFC 6962): its head, proofs, and the check of every entry.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidemill_core::Progress;

use crate::{Db, Result};

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

/// Proof that an entry is in the log with a certain head (RFC 6962, section 2.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InclusionProof {
    /// The entry's sequence number, from 1; its leaf index is one less.
    pub seq: u64,
    /// The entry's leaf hash.
    pub leaf: Hash,
    /// The head that the proof leads to.
    pub head: LogHead,
    /// The hashes beside the way up, from the leaf to the root.
    pub path: Vec<Hash>,
}

/// Proof that a log with one head is the beginning of the log with another (RFC 6962, section 2.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsistencyProof {
    /// The earlier head.
    pub old: LogHead,
    /// The later head.
    pub new: LogHead,
    /// The hashes, in the order of the RFC.
    pub path: Vec<Hash>,
}

/// Why a proof does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not hold: {0}")]
pub struct ProofError(pub(crate) String);

impl Db {
    /// The state of the log.
    pub async fn log_head(&self) -> Result<LogHead> {
        Err(self.unfinished())
    }

    /// Recomputes every leaf from the stored columns, and the tree, the checkpoints and the head from the leaves.
    pub async fn verify_log(&self, progress: &dyn Progress) -> Result<LogVerdict> {
        let _ = progress;
        Err(self.unfinished())
    }

    /// Proves that entry `seq` is in the log as it was with `size` entries.
    pub async fn inclusion_proof(&self, seq: u64, size: u64) -> Result<InclusionProof> {
        let _ = (seq, size);
        Err(self.unfinished())
    }

    /// Proves that the log with `old` entries (at least 1) is the beginning of the log with `new` entries.
    pub async fn consistency_proof(&self, old: u64, new: u64) -> Result<ConsistencyProof> {
        let _ = (old, new);
        Err(self.unfinished())
    }
}

impl InclusionProof {
    /// Whether the bytes of an entry (its canonical JSON) are proven to be in the log.
    pub fn verify(&self, entry: &[u8]) -> Result<(), ProofError> {
        let _ = entry;
        Err(ProofError(String::new()))
    }
}

impl ConsistencyProof {
    /// Whether the old log is proven to be the beginning of the new one.
    pub fn verify(&self) -> Result<(), ProofError> {
        Err(ProofError(String::new()))
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

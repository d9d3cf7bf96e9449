//! Inclusion and consistency proofs: made from the tiles and leaves that they need, checked by `ct-merkle`.

use std::collections::HashMap;

use ct_merkle::{RootHash, indices_for_consistency_proof, indices_for_inclusion_proof};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::tree::{TILE, node};
use super::{Hash, LogHead, stored_head};
use crate::backend::{Transact, on};
use crate::events::damaged;
use crate::{Db, Error, Result};

/// Larger sizes are no log of ours, and the arithmetic of tree positions must not overflow.
const MAX_SIZE: u64 = 1 << 48;

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
pub struct ProofError(String);

impl InclusionProof {
    /// Whether the bytes of an entry (its canonical JSON, see [`Db::log_lines`]) are proven to be in the log.
    pub fn verify(&self, entry: &[u8]) -> Result<(), ProofError> {
        if self.seq == 0 || self.seq > self.head.size || self.head.size > MAX_SIZE {
            return Err(ProofError(format!("a log of {} entries has no entry {}", self.head.size, self.seq)));
        }
        if super::leaf(entry) != self.leaf {
            return Err(ProofError("the entry does not have the leaf hash of the proof".to_owned()));
        }
        let path: Vec<_> = self.path.iter().map(|hash| hash.0.into()).collect();
        let proof = ct_merkle::InclusionProof::<Sha256>::from_digests(&path);
        root(&self.head)
            .verify_inclusion(&entry, self.seq - 1, &proof)
            .map_err(|error| ProofError(error.to_string()))
    }
}

impl ConsistencyProof {
    /// Whether the old log is proven to be the beginning of the new one.
    pub fn verify(&self) -> Result<(), ProofError> {
        let (old, new) = (self.old.size, self.new.size);
        if old == 0 || old > new || new > MAX_SIZE {
            return Err(ProofError(format!("{old} entries cannot be the beginning of {new}")));
        }
        if old == new {
            let same = self.old == self.new && self.path.is_empty();
            return if same { Ok(()) } else { Err(ProofError("the roots differ".to_owned())) };
        }
        let path: Vec<_> = self.path.iter().map(|hash| hash.0.into()).collect();
        let proof = ct_merkle::ConsistencyProof::<Sha256>::from_digests(&path);
        root(&self.new)
            .verify_consistency(&root(&self.old), &proof)
            .map_err(|error| ProofError(error.to_string()))
    }
}

fn root(head: &LogHead) -> RootHash<Sha256> {
    RootHash::new(head.root.0.into(), head.size)
}

pub(super) async fn inclusion(db: &Db, seq: u64, size: u64) -> Result<InclusionProof> {
    let mut tx = db.snapshot().await?;
    let asked = || format!("entry {seq} of {size} was asked for");
    check_range(&mut tx, seq >= 1 && seq <= size, size, asked).await?;
    let path: Vec<Range> =
        indices_for_inclusion_proof(size, seq - 1).into_iter().map(|index| Range::of(index, size)).collect();
    let (leaf, whole) = (Range { from: seq - 1, to: seq }, Range { from: 0, to: size });
    let hashes = Hashes::read(&mut tx, path.iter().chain([&leaf, &whole])).await?;
    let proof = InclusionProof {
        seq,
        leaf: hashes.of(leaf)?,
        head: LogHead { size, root: hashes.of(whole)? },
        path: path.into_iter().map(|range| hashes.of(range)).collect::<Result<_>>()?,
    };
    Ok(proof)
}

pub(super) async fn consistency(db: &Db, old: u64, new: u64) -> Result<ConsistencyProof> {
    let mut tx = db.snapshot().await?;
    let asked = || format!("a proof from {old} to {new} entries was asked for");
    check_range(&mut tx, old >= 1 && old <= new, new, asked).await?;
    let path: Vec<Range> = if old == new {
        Vec::new()
    } else {
        indices_for_consistency_proof(old, new - old).into_iter().map(|index| Range::of(index, new)).collect()
    };
    let (before, after) = (Range { from: 0, to: old }, Range { from: 0, to: new });
    let hashes = Hashes::read(&mut tx, path.iter().chain([&before, &after])).await?;
    let proof = ConsistencyProof {
        old: LogHead { size: old, root: hashes.of(before)? },
        new: LogHead { size: new, root: hashes.of(after)? },
        path: path.into_iter().map(|range| hashes.of(range)).collect::<Result<_>>()?,
    };
    Ok(proof)
}

async fn check_range(tx: &mut Transact, valid: bool, to: u64, asked: impl Fn() -> String) -> Result<()> {
    let ctx = std::sync::Arc::clone(&tx.ctx);
    let head = stored_head(tx.conn()).await.map_err(ctx.fail("read the log's head"))?;
    let size = head.and_then(|head| head.head).map_or(0, |head| head.size);
    if valid && to <= size && to <= MAX_SIZE {
        return Ok(());
    }
    Err(Error::ProofRange { size, asked: asked() })
}

/// Leaves `from..to`, counted from 0, that are one subtree.
#[derive(Clone, Copy, Debug)]
struct Range {
    from: u64,
    to: u64,
}

impl Range {
    /// The leaves below a node in `ct-merkle`'s numbering, which is that of RFC 9420, appendix C: a node's level is
    /// the number of its trailing one bits. At the right edge a subtree ends with the tree.
    fn of(index: u64, size: u64) -> Self {
        let level = index.trailing_ones();
        let position = index >> (level + 1);
        Self { from: position << level, to: ((position + 1) << level).min(size) }
    }

    /// Splits as RFC 6962 does: the left part has the largest power of two of leaves that is less than all.
    fn split(self) -> (Self, Self) {
        let middle = self.from + (self.to - self.from).next_power_of_two() / 2;
        (Self { to: middle, ..self }, Self { from: middle, ..self })
    }

    fn len(self) -> u64 {
        self.to - self.from
    }

    fn is_tile(self) -> bool {
        self.len() == TILE && self.from.is_multiple_of(TILE)
    }

    /// The parts that must be read: tiles and, where there is none, leaves.
    fn parts(self, parts: &mut Vec<Self>) {
        if self.len() <= TILE {
            parts.push(self);
            return;
        }
        let (left, right) = self.split();
        left.parts(parts);
        right.parts(parts);
    }
}

/// What was read of the tree.
struct Hashes {
    ctx: std::sync::Arc<crate::backend::Context>,
    leaves: HashMap<u64, Hash>,
    tiles: HashMap<u64, Hash>,
}

impl Hashes {
    async fn read<'a>(tx: &mut Transact, ranges: impl Iterator<Item = &'a Range>) -> Result<Self> {
        const LEAVES: &str = "SELECT seq, leaf FROM event WHERE seq > $1 AND seq <= $2";
        const TILES: &str = "SELECT size, node FROM log_checkpoint";
        let ctx = std::sync::Arc::clone(&tx.ctx);
        let mut parts = Vec::new();
        ranges.for_each(|range| range.parts(&mut parts));
        parts.sort_unstable_by_key(|part| (part.from, part.to));
        parts.dedup_by_key(|part| (part.from, part.to));
        let (tiles, leaves): (Vec<Range>, Vec<Range>) = parts.into_iter().partition(|part| part.is_tile());
        let mut hashes = Self { ctx: ctx.clone(), leaves: HashMap::new(), tiles: HashMap::new() };
        if !tiles.is_empty() {
            let rows: Vec<(i64, String)> = on!(tx.conn(), c => sqlx::query_as(TILES).fetch_all(c).await)
                .map_err(ctx.fail("read the log"))?;
            hashes.tiles = parse(rows);
        }
        for part in leaves {
            let rows: Vec<(i64, String)> = on!(tx.conn(), c => sqlx::query_as(LEAVES)
                .bind(part.from as i64).bind(part.to as i64).fetch_all(c).await)
            .map_err(ctx.fail("read the log"))?;
            hashes.leaves.extend(parse(rows));
        }
        Ok(hashes)
    }

    fn of(&self, range: Range) -> Result<Hash> {
        if range.is_tile() {
            return self.get(&self.tiles, range.to);
        }
        if range.len() == 1 {
            return self.get(&self.leaves, range.to);
        }
        let (left, right) = range.split();
        Ok(node(self.of(left)?, self.of(right)?))
    }

    fn get(&self, hashes: &HashMap<u64, Hash>, seq: u64) -> Result<Hash> {
        hashes.get(&seq).copied().ok_or_else(|| damaged(&self.ctx, seq, "its hash is missing or unreadable"))
    }
}

fn parse(rows: Vec<(i64, String)>) -> HashMap<u64, Hash> {
    rows.into_iter().filter_map(|(seq, hash)| Some((u64::try_from(seq).ok()?, hash.parse().ok()?))).collect()
}

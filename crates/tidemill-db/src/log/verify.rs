//! The check of the whole log, entry by entry, and the search for what is wrong with the first bad one.

use std::collections::{HashMap, VecDeque};

use tidemill_core::{Progress, Unit};

use super::tree::TILE;
use super::{BadEntry, Fault, Frontier, Hash, LogHead, LogVerdict, StoredHead, leaf, stored_head};
use crate::backend::{Transact, on};
use crate::events::{StoredEvent, page};
use crate::{Db, Error, Result};

const PAGE: usize = 2048;
/// An altered entry is compared with its forms at this many other places before it is called altered.
const PLACES: u64 = 100_000;

pub(super) async fn verify(db: &Db, progress: &dyn Progress) -> Result<LogVerdict> {
    let mut tx = db.snapshot().await?;
    let fail = || db.ctx().fail("read the log");
    let stored = stored_head(tx.conn()).await.map_err(fail())?;
    let mut check = Check {
        // Without a head no entry is one too many: what is missing is said at the end.
        size: stored.as_ref().and_then(|stored| stored.head).map_or(i64::MAX as u64, |head| head.size),
        frontier: Frontier::default(),
        checkpoints: checkpoints(&mut tx).await?,
        good_until: 0,
    };
    let total = stored.as_ref().and_then(|stored| stored.head).map(|head| head.size);
    progress.begin("verifying the log", total, Unit::Items);
    let mut first_bad = unnumbered(&mut tx).await?;
    while first_bad.is_none() {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let entries = page(tx.conn(), check.frontier.size(), PAGE).await.map_err(fail())?;
        if entries.is_empty() {
            break;
        }
        progress.advance(entries.len() as u64);
        first_bad = entries.iter().find_map(|entry| check.entry(entry));
        if let Some(BadEntry { seq, fault: Fault::Altered }) = first_bad {
            let place = match entries.iter().find(|entry| entry.seq == seq) {
                Some(entry) => original_place(&mut tx, entry, check.size).await?,
                None => None,
            };
            first_bad =
                Some(BadEntry { seq, fault: place.map_or(Fault::Altered, |from| Fault::Moved { from }) });
        }
    }
    let checked = check.frontier.size();
    let first_bad = first_bad.or_else(|| check.end(stored.as_ref()));
    let head = stored
        .and_then(|stored| stored.head)
        .unwrap_or_else(|| LogHead { size: checked, root: check.frontier.root() });
    Ok(LogVerdict { head, checked, first_bad })
}

struct Checkpoint {
    size: u64,
    root: Option<Hash>,
    node: Option<Hash>,
}

struct Check {
    /// What the stored head says.
    size: u64,
    /// The tree over the entries so far.
    frontier: Frontier,
    /// Those that were not reached yet.
    checkpoints: VecDeque<Checkpoint>,
    /// The last entry up to which the tree was found to be right.
    good_until: u64,
}

impl Check {
    fn entry(&mut self, entry: &StoredEvent) -> Option<BadEntry> {
        let seq = self.frontier.size() + 1;
        let bad = |fault| Some(BadEntry { seq, fault });
        if entry.seq > seq {
            return bad(if seq > self.size { Fault::Unexpected } else { Fault::Missing });
        }
        if seq > self.size {
            return bad(Fault::Unexpected);
        }
        let Some(bytes) = entry.entry(seq) else { return bad(Fault::Altered) };
        if leaf(&bytes) != entry.leaf {
            return bad(Fault::Altered);
        }
        if let Some(fault) = column_fault(entry) {
            return bad(fault);
        }
        let tile = self.frontier.push(entry.leaf)?;
        self.checkpoint(seq, tile)
    }

    fn checkpoint(&mut self, seq: u64, tile: Hash) -> Option<BadEntry> {
        while self.checkpoints.front().is_some_and(|checkpoint| checkpoint.size < seq) {
            self.checkpoints.pop_front();
        }
        if self.checkpoints.front().is_none_or(|checkpoint| checkpoint.size != seq) {
            return Some(BadEntry { seq, fault: Fault::NoCheckpoint });
        }
        let checkpoint = self.checkpoints.pop_front()?;
        if checkpoint.node != Some(tile) || checkpoint.root != Some(self.frontier.root()) {
            return Some(BadEntry { seq: self.good_until + 1, fault: Fault::Rewritten { to: seq } });
        }
        self.good_until = seq;
        None
    }

    /// What the head and the checkpoints say beyond the last entry.
    fn end(&self, stored: Option<&StoredHead>) -> Option<BadEntry> {
        let size = self.frontier.size();
        let head_fault = |detail: &str| {
            Some(BadEntry { seq: size.max(1), fault: Fault::Head { detail: detail.to_owned() } })
        };
        let Some(stored) = stored else { return head_fault("it is missing") };
        let Some(head) = stored.head else { return head_fault("its size or root cannot be read") };
        let beyond = self.checkpoints.iter().any(|checkpoint| checkpoint.size > size);
        if size < head.size || beyond {
            return Some(BadEntry { seq: size + 1, fault: Fault::Missing });
        }
        if head.root == self.frontier.root() {
            if stored.frontier.as_ref() == Some(&self.frontier) {
                return None;
            }
            return head_fault("its frontier does not fit the entries");
        }
        if stored.frontier.as_ref().is_some_and(|frontier| frontier.root() == head.root)
            && size > self.good_until
        {
            return Some(BadEntry { seq: self.good_until + 1, fault: Fault::Rewritten { to: size } });
        }
        head_fault("its root does not fit the entries")
    }
}

/// The columns for searching must say what the content says. A kind that this version does not know is left out.
fn column_fault(entry: &StoredEvent) -> Option<Fault> {
    let kind = entry.to_event().ok()?.kind;
    let fault = |column, stored: &str, expected: String| {
        (stored != expected).then(|| Fault::Column { column, stored: stored.to_owned(), expected })
    };
    fault("kind", &entry.kind, kind.name().to_owned())
        .or_else(|| fault("subject", &entry.subject, kind.subject()))
}

async fn checkpoints(tx: &mut Transact) -> Result<VecDeque<Checkpoint>> {
    const SQL: &str = "SELECT size, root, node FROM log_checkpoint ORDER BY size";
    let ctx = std::sync::Arc::clone(&tx.ctx);
    let rows: Vec<(i64, String, String)> =
        on!(tx.conn(), c => sqlx::query_as(SQL).fetch_all(c).await).map_err(ctx.fail("read the log"))?;
    Ok(rows
        .into_iter()
        .map(|(size, root, node)| Checkpoint {
            size: size as u64,
            root: root.parse().ok(),
            node: node.parse().ok(),
        })
        .filter(|checkpoint| checkpoint.size % TILE == 0)
        .collect())
}

/// An entry with a number below 1 would never be reached.
async fn unnumbered(tx: &mut Transact) -> Result<Option<BadEntry>> {
    const SQL: &str = "SELECT seq FROM event WHERE seq < 1 LIMIT 1";
    let ctx = std::sync::Arc::clone(&tx.ctx);
    let found: Option<(i64,)> =
        on!(tx.conn(), c => sqlx::query_as(SQL).fetch_optional(c).await).map_err(ctx.fail("read the log"))?;
    Ok(found.map(|_| BadEntry { seq: 0, fault: Fault::Unexpected }))
}

/// Where the content of an entry was appended, if that is another place of this log: the number with which it
/// gives the hash that stands beside it, or the hash that stands at that number.
async fn original_place(tx: &mut Transact, entry: &StoredEvent, size: u64) -> Result<Option<u64>> {
    const SQL: &str = "SELECT seq, leaf FROM event WHERE seq > $1 AND seq <= $2";
    let ctx = std::sync::Arc::clone(&tx.ctx);
    let from = entry.seq.saturating_sub(PLACES / 2);
    let to = size.min(entry.seq.saturating_add(PLACES / 2));
    let mut places = HashMap::new();
    for seq in from + 1..=to {
        let Some(bytes) = entry.entry(seq) else { return Ok(None) };
        let hash = leaf(&bytes);
        if hash == entry.leaf {
            return Ok(Some(seq));
        }
        places.insert(hash.to_string(), seq);
    }
    let leaves: Vec<(i64, String)> =
        on!(tx.conn(), c => sqlx::query_as(SQL).bind(from as i64).bind(to as i64).fetch_all(c).await)
            .map_err(ctx.fail("read the log"))?;
    Ok(leaves.into_iter().find_map(|(seq, leaf)| {
        let place = *places.get(&leaf)?;
        (place as i64 == seq && place != entry.seq).then_some(place)
    }))
}

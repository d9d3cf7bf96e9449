//! The parts of the inference log: which Parquet files in the store hold the records of which endpoint and hour.
//!
//! What is in a record is an observation; that a part was listed or forgotten is an event.

use std::collections::HashSet;
use std::sync::Arc;

use tidemill_core::{Actor, Digest, EventKind, NewEvent, Timestamp};

use crate::backend::on;
use crate::dialect::{self, Rows};
use crate::runs::parse;
use crate::{Db, Result};

/// A Parquet file of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPart {
    /// Grows with each part that is added.
    pub id: i64,
    /// The segment that it was made from.
    pub segment: String,
    /// Its number within the segment, from 0.
    pub number: u64,
    /// The endpoint.
    pub endpoint: String,
    /// Hours since 1970-01-01T00:00Z.
    pub hour: i64,
    /// The time of its first record.
    pub first_at: Timestamp,
    /// The time of its last record.
    pub last_at: Timestamp,
    /// Requests in it.
    pub requests: u64,
    /// Rows in it.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// The file.
    pub digest: Digest,
    /// The versions of models in it, sorted, as a JSON list.
    pub versions: String,
}

/// A part that is about to be listed. Fields as in [`RecordPart`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `RecordPart`")]
pub struct NewRecordPart {
    pub endpoint: String,
    pub hour: i64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub requests: u64,
    pub rows: u64,
    pub bytes: u64,
    pub digest: Digest,
    pub versions: String,
}

/// Which parts are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordFilter {
    /// Of this endpoint; of all where absent.
    pub endpoint: Option<String>,
    /// With records at or after this time.
    pub from: Option<Timestamp>,
    /// With records before this time.
    pub to: Option<Timestamp>,
    /// Listed after the part of this number.
    pub after: i64,
}

/// Milliseconds of an hour; the records of a part are of one.
pub const HOUR_MS: i64 = 3_600_000;

macro_rules! parts {
    ($($condition:literal),+) => {
        concat!(
            "SELECT p.id, s.name, p.number, p.endpoint, p.hour, p.first_at, p.last_at, p.requests,
                p.row_count, p.bytes, p.digest, p.versions
            FROM record_part p JOIN record_segment s ON s.id = p.segment_id WHERE ",
            $($condition),+
        )
    };
}

/// Parts with records of a stretch of time, after a number.
macro_rules! in_time {
    ($rest:literal) => {
        parts!("p.last_at >= $1 AND p.first_at < $2 AND p.id > $3 AND p.hour >= $4 AND p.hour <= $5 ", $rest)
    };
}

/// Parts of all endpoints in a stretch of time.
const ALL: &str = in_time!("ORDER BY p.endpoint, p.hour, p.id");
/// Those of one endpoint; found by their hour.
const OF_ENDPOINT: &str = in_time!("AND p.endpoint = $6 ORDER BY p.hour, p.id");
/// The same for what is new; found by the number. `COALESCE` keeps SQLite from reading all parts of the endpoint.
const NEW: &str = in_time!("AND COALESCE(p.endpoint, '') = $6 ORDER BY p.hour, p.id");

type Row = (i64, String, i64, String, i64, i64, i64, i64, i64, i64, String, String);

fn from_row(row: Row) -> Result<RecordPart> {
    let (id, segment, number, endpoint, hour, first, last, requests, rows, bytes, digest, versions) = row;
    Ok(RecordPart {
        id,
        segment,
        number: number as u64,
        endpoint,
        hour,
        first_at: Timestamp::from_millis(first),
        last_at: Timestamp::from_millis(last),
        requests: requests as u64,
        rows: rows as u64,
        bytes: bytes as u64,
        digest: parse("record_part", "digest", &digest, "a digest")?,
        versions,
    })
}

impl Db {
    /// Lists the parts of a segment, unless they are listed already: gives whether they were not.
    pub async fn add_record_parts(
        &self,
        segment: &str,
        at: Timestamp,
        parts: &[NewRecordPart],
    ) -> Result<bool> {
        const SEGMENT: &str =
            "INSERT INTO record_segment (name, rolled_at) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        const PARTS: &str = "INSERT INTO record_part (segment_id, number, endpoint, hour, first_at, last_at, requests,
                row_count, bytes, digest, versions)
            SELECT s.id, r.number, r.endpoint, r.hour, r.first_at, r.last_at, r.requests, r.row_count, r.bytes, r.digest,
                r.versions FROM {rows} JOIN record_segment s ON s.name = r.segment";
        let mut tx = self.begin().await?;
        let ctx = Arc::clone(&tx.transact.ctx);
        let fail = "list records";
        let added = on!(tx.transact.conn(), c => sqlx::query(SEGMENT).bind(segment).bind(at.millis())
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail(fail))?;
        if added == 0 {
            return Ok(false);
        }
        let digests: Vec<String> = parts.iter().map(|part| part.digest.to_string()).collect();
        let rows = Rows::new(parts.len())
            .text("segment", parts.iter().map(|_| segment))
            .int("number", 0..parts.len() as i64)
            .text("endpoint", parts.iter().map(|part| part.endpoint.as_str()))
            .int("hour", parts.iter().map(|part| part.hour))
            .int("first_at", parts.iter().map(|part| part.first_at.millis()))
            .int("last_at", parts.iter().map(|part| part.last_at.millis()))
            .int("requests", parts.iter().map(|part| part.requests as i64))
            .int("row_count", parts.iter().map(|part| part.rows as i64))
            .int("bytes", parts.iter().map(|part| part.bytes as i64))
            .text("digest", digests.iter().map(String::as_str))
            .text("versions", parts.iter().map(|part| part.versions.as_str()));
        dialect::write_rows(tx.transact.conn(), PARTS, &rows).await.map_err(ctx.fail(fail))?;
        tx.commit(stored(segment, parts).map(|kind| by_system(at, kind)).collect()).await?;
        Ok(true)
    }

    /// The parts that fit, by endpoint and hour, and which of `segments` are listed: both as of one moment, so that no
    /// record is seen twice or not at all.
    pub async fn record_parts(
        &self,
        filter: &RecordFilter,
        segments: &[String],
    ) -> Result<(Vec<RecordPart>, HashSet<String>)> {
        const LISTED: &str = "SELECT s.name FROM {rows} JOIN record_segment s ON s.name = r.name";
        let mut tx = self.snapshot().await?;
        let ctx = Arc::clone(&tx.ctx);
        let from = filter.from.map_or(i64::MIN, Timestamp::millis);
        let to = filter.to.map_or(i64::MAX, Timestamp::millis);
        let hour = |millis: i64| millis.div_euclid(HOUR_MS);
        let fail = "read which records there are";
        let parts: Vec<Row> = match &filter.endpoint {
            None => on!(tx.conn(), c => sqlx::query_as(ALL)
                .bind(from).bind(to).bind(filter.after).bind(hour(from)).bind(hour(to)).fetch_all(c).await),
            Some(endpoint) => {
                let sql = if filter.after > 0 { NEW } else { OF_ENDPOINT };
                on!(tx.conn(), c => sqlx::query_as(sql)
                    .bind(from).bind(to).bind(filter.after).bind(hour(from)).bind(hour(to)).bind(endpoint)
                    .fetch_all(c).await)
            }
        }
        .map_err(ctx.fail(fail))?;
        let mut listed = HashSet::new();
        if !segments.is_empty() {
            let rows = Rows::new(segments.len()).text("name", segments.iter().map(String::as_str));
            let found: Vec<(String,)> =
                dialect::read_rows(tx.conn(), LISTED, &rows).await.map_err(ctx.fail(fail))?;
            listed.extend(found.into_iter().map(|(name,)| name));
        }
        Ok((parts.into_iter().map(from_row).collect::<Result<_>>()?, listed))
    }

    /// The parts of these numbers that are still listed, by number.
    pub async fn record_parts_by_number(&self, ids: &[i64]) -> Result<Vec<RecordPart>> {
        const SQL: &str = parts!("p.id IN (SELECT r.id FROM {rows})");
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = Rows::new(ids.len()).int("id", ids.iter().copied());
        let mut tx = self.snapshot().await?;
        let ctx = Arc::clone(&tx.ctx);
        let found: Vec<Row> = dialect::read_rows(tx.conn(), SQL, &rows)
            .await
            .map_err(ctx.fail("read which records there are"))?;
        let mut parts = found.into_iter().map(from_row).collect::<Result<Vec<_>>>()?;
        parts.sort_unstable_by_key(|part| part.id);
        Ok(parts)
    }

    /// Endpoints that have records, by name.
    pub async fn record_endpoints(&self) -> Result<Vec<String>> {
        const SQL: &str = "SELECT DISTINCT endpoint FROM record_part ORDER BY endpoint";
        let mut reader = self.reader().await?;
        on!(reader.conn(), c => sqlx::query_scalar(SQL).fetch_all(c).await)
            .map_err(self.ctx().fail("read which endpoints have records"))
    }

    /// Forgets the parts of an endpoint whose records are all before `before`; gives their number. The next collection
    /// of the store removes the files. `at` is the time of the event.
    pub async fn drop_record_parts(&self, endpoint: &str, before: Timestamp, at: Timestamp) -> Result<u64> {
        const OLD: &str =
            "DELETE FROM record_part WHERE endpoint = $1 AND last_at < $2 RETURNING row_count, bytes";
        self.drop_parts(OLD, endpoint, before.millis(), "age", at).await
    }

    /// Forgets the oldest parts of an endpoint until all that are left have at most `keep` bytes together; gives their
    /// number. `at` is the time of the event.
    pub async fn drop_record_parts_beyond(&self, endpoint: &str, keep: u64, at: Timestamp) -> Result<u64> {
        const BEYOND: &str = "DELETE FROM record_part WHERE id IN (SELECT kept.id FROM (SELECT id,
                SUM(bytes) OVER (ORDER BY last_at DESC, id DESC) AS total FROM record_part WHERE endpoint = $1) kept
            WHERE kept.total > $2) RETURNING row_count, bytes";
        self.drop_parts(BEYOND, endpoint, i64::try_from(keep).unwrap_or(i64::MAX), "bytes", at).await
    }

    async fn drop_parts(
        &self,
        sql: &'static str,
        endpoint: &str,
        limit: i64,
        why: &str,
        at: Timestamp,
    ) -> Result<u64> {
        let mut tx = self.begin().await?;
        let gone: Vec<(i64, i64)> = on!(tx.transact.conn(), c => sqlx::query_as(sql)
            .bind(endpoint).bind(limit).fetch_all(c).await)
        .map_err(self.ctx().fail("remove old records"))?;
        let parts = gone.len() as u64;
        if parts == 0 {
            return Ok(0);
        }
        let kind = EventKind::RecordsRemoved {
            endpoint: endpoint.to_owned(),
            why: why.to_owned(),
            parts,
            rows: gone.iter().map(|(rows, _)| *rows as u64).sum(),
            bytes: gone.iter().map(|(_, bytes)| *bytes as u64).sum(),
        };
        tx.commit(vec![by_system(at, kind)]).await?;
        Ok(parts)
    }

    /// Forgets that segments were listed, of which no part is left and no file either; gives their number.
    pub async fn drop_record_segments(&self, before: Timestamp, present: &[String]) -> Result<u64> {
        const OLD: &str = "SELECT s.id, s.name FROM record_segment s WHERE s.rolled_at < $1
            AND NOT EXISTS (SELECT 1 FROM record_part p WHERE p.segment_id = s.id) ORDER BY s.id LIMIT 10000";
        const DROP: &str = "DELETE FROM record_segment WHERE id IN (SELECT r.id FROM {rows})";
        let present: HashSet<&str> = present.iter().map(String::as_str).collect();
        let mut tx = self.write().await?;
        let ctx = Arc::clone(&tx.ctx);
        let fail = "remove old segments";
        let old: Vec<(i64, String)> =
            on!(tx.conn(), c => sqlx::query_as(OLD).bind(before.millis()).fetch_all(c).await)
                .map_err(ctx.fail(fail))?;
        let gone: Vec<i64> =
            old.into_iter().filter(|(_, name)| !present.contains(name.as_str())).map(|(id, _)| id).collect();
        if gone.is_empty() {
            return Ok(0);
        }
        let rows = Rows::new(gone.len()).int("id", gone.iter().copied());
        let removed = dialect::write_rows(tx.conn(), DROP, &rows).await.map_err(ctx.fail(fail))?;
        tx.commit().await?;
        Ok(removed)
    }
}

/// An event of what the server does by itself.
pub(crate) fn by_system(at: Timestamp, kind: EventKind) -> NewEvent {
    NewEvent { at, actor: Actor::system("inference-log"), kind, cause: None }
}

/// An event for each endpoint of these parts: of a segment there is one.
fn stored<'a>(segment: &'a str, parts: &'a [NewRecordPart]) -> impl Iterator<Item = EventKind> + 'a {
    parts.chunk_by(|one, next| one.endpoint == next.endpoint).map(|parts| {
        let sum = |of: fn(&NewRecordPart) -> u64| parts.iter().map(of).sum();
        EventKind::RecordsStored {
            endpoint: parts.first().map(|part| part.endpoint.clone()).unwrap_or_default(),
            segment: segment.to_owned(),
            parts: parts.len() as u64,
            requests: sum(|part| part.requests),
            rows: sum(|part| part.rows),
            bytes: sum(|part| part.bytes),
        }
    })
}

#[cfg(test)]
mod tests;

//! Reading traces and their spans.

use std::collections::HashMap;

use tidemill_core::Timestamp;

use crate::backend::{Conn, on};
use crate::dialect::{self, Rows};
use crate::traces::{StoredSpan, TraceInfo, TraceState};
use crate::tracking::{KeyValue, Stage};
use crate::{Db, Result};

/// The columns of a trace `t`, as [`InfoRow`] reads them.
pub(super) const COLUMNS: &str =
    "t.id, t.uuid, t.experiment_id, t.client_request_id, t.state, t.at, t.duration,
    t.request_preview, t.response_preview";

pub(super) type InfoRow =
    (i64, String, i64, Option<String>, String, i64, Option<i64>, Option<String>, Option<String>);

impl Db {
    /// A trace without its spans.
    pub async fn trace(&self, id: &str) -> Result<Option<TraceInfo>> {
        Ok(self.traces(&[id.to_owned()]).await?.pop())
    }

    /// Traces without their spans, in the order of `ids`; those that are not there are left out.
    pub async fn traces(&self, ids: &[String]) -> Result<Vec<TraceInfo>> {
        const SQL: &str = "SELECT {trace} FROM {rows} JOIN trace t ON t.uuid = r.uuid";
        let fail = "read traces";
        let order: HashMap<&str, usize> =
            ids.iter().enumerate().rev().map(|(i, id)| (id.as_str(), i)).collect();
        let rows = Rows::new(order.len()).text("uuid", order.keys().copied());
        let mut tx = self.snapshot().await?;
        let found = dialect::read_rows(tx.conn(), &SQL.replace("{trace}", COLUMNS), &rows).await;
        let mut found: Vec<InfoRow> = found.map_err(self.ctx().fail(fail))?;
        found.sort_by_key(|row| order.get(row.1.as_str()).copied());
        complete(tx.conn(), found).await.map_err(self.ctx().fail(fail))
    }

    /// Where the artifacts of an experiment are, and whether it is deleted; nothing where it is not there.
    pub async fn place_of_traces(&self, experiment: i64) -> Result<Option<(String, Stage)>> {
        const SQL: &str = "SELECT artifact_location, stage FROM experiment WHERE id = $1";
        let mut reader = self.reader().await?;
        let found: Option<(String, String)> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(experiment).fetch_optional(c).await)
                .map_err(self.ctx().fail("read an experiment"))?;
        Ok(found.map(|(place, stage)| (place, Stage::from_word(&stage).unwrap_or_default())))
    }

    /// Whether a trace is there.
    pub async fn has_trace(&self, id: &str) -> Result<bool> {
        const SQL: &str = "SELECT id FROM trace WHERE uuid = $1";
        let mut reader = self.reader().await?;
        let found: Option<i64> =
            on!(reader.conn(), c => sqlx::query_scalar(SQL).bind(id).fetch_optional(c).await)
                .map_err(self.ctx().fail("read traces"))?;
        Ok(found.is_some())
    }

    /// The spans of traces: of each the roots first, then by time.
    pub async fn spans(&self, traces: &[String]) -> Result<Vec<StoredSpan>> {
        const SQL: &str = "SELECT t.uuid, s.body, s.parent, s.started, s.span_id
            FROM {rows} JOIN trace t ON t.uuid = r.uuid JOIN span s ON s.trace_id = t.id";
        let traces: std::collections::BTreeSet<&str> = traces.iter().map(String::as_str).collect();
        let rows = Rows::new(traces.len()).text("uuid", traces.iter().copied());
        let mut reader = self.reader().await?;
        let found = dialect::read_rows(reader.conn(), SQL, &rows).await;
        let mut found: Vec<(String, String, Option<String>, i64, String)> =
            found.map_err(self.ctx().fail("read spans"))?;
        found.sort_by(|a, b| (&a.0, a.2.is_some(), a.3, &a.4).cmp(&(&b.0, b.2.is_some(), b.3, &b.4)));
        Ok(found.into_iter().map(|(trace, body, ..)| StoredSpan { trace, body }).collect())
    }
}

/// Adds tags, metadata and assessments to rows of traces.
pub(super) async fn complete(mut conn: Conn<'_>, rows: Vec<InfoRow>) -> sqlx::Result<Vec<TraceInfo>> {
    let ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut tags = read_pairs(conn.reborrow(), "trace_tag", &ids).await?;
    let mut metadata = read_pairs(conn.reborrow(), "trace_metadata", &ids).await?;
    let mut assessments: HashMap<String, Vec<_>> = HashMap::new();
    for assessment in super::assessments::read(conn, &ids).await? {
        assessments.entry(assessment.trace.clone()).or_default().push(assessment);
    }
    let infos =
        rows.into_iter().map(|(id, uuid, experiment, client, state, at, duration_ms, asked, answered)| {
            TraceInfo {
                experiment,
                client_request_id: client,
                state: TraceState::from_word(&state).unwrap_or_default(),
                at: Timestamp::from_millis(at),
                duration_ms,
                request_preview: asked,
                response_preview: answered,
                tags: tags.remove(&id).unwrap_or_default(),
                metadata: metadata.remove(&id).unwrap_or_default(),
                assessments: assessments.remove(&uuid).unwrap_or_default(),
                id: uuid,
            }
        });
    Ok(infos.collect())
}

async fn read_pairs(
    conn: Conn<'_>,
    table: &'static str,
    ids: &[i64],
) -> sqlx::Result<HashMap<i64, Vec<KeyValue>>> {
    const SQL: &str = "SELECT g.trace_id, g.key, g.value FROM {rows} JOIN {table} g ON g.trace_id = r.id";
    let rows = Rows::new(ids.len()).int("id", ids.iter().copied());
    let mut found: Vec<(i64, String, String)> =
        dialect::read_rows(conn, &SQL.replace("{table}", table), &rows).await?;
    found.sort();
    let mut pairs: HashMap<i64, Vec<KeyValue>> = HashMap::new();
    for (id, key, value) in found {
        pairs.entry(id).or_default().push(KeyValue { key, value });
    }
    Ok(pairs)
}

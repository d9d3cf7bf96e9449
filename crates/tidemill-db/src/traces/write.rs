//! Writing: traces as a whole, spans, tags, links, deletion.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidemill_core::Timestamp;

use crate::backend::{Conn, on};
use crate::dialect::{self, Rows};
use crate::traces::usage::{self, Node};
use crate::traces::{NAME_TAG, NewTrace, SESSION_KEY, Span, SpanBatch, TraceState, Usage};
use crate::tracking::KeyValue;
use crate::{Db, Result, Tx};

/// What may be written for traces in one go.
#[derive(Clone, Debug, Default)]
pub(crate) struct TraceWork {
    pub(crate) traces: Vec<NewTrace>,
    pub(crate) spans: Vec<SpanBatch>,
}

impl Db {
    /// Sets a tag of a trace; `false` where there is no such trace.
    pub async fn set_trace_tag(&self, trace: &str, tag: &KeyValue) -> Result<bool> {
        const SQL: &str = "INSERT INTO trace_tag (trace_id, key, value)
            SELECT id, $2, $3 FROM trace WHERE uuid = $1
            ON CONFLICT (trace_id, key) DO UPDATE SET value = excluded.value";
        const NAME: &str = "UPDATE trace SET name = $2 WHERE uuid = $1";
        let mut tx = self.write().await?;
        let fail = "set a tag of a trace";
        let rows = on!(tx.conn(), c => sqlx::query(SQL).bind(trace).bind(&tag.key).bind(&tag.value)
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(self.ctx().fail(fail))?;
        if tag.key == NAME_TAG {
            on!(tx.conn(), c => sqlx::query(NAME).bind(trace).bind(&tag.value).execute(c).await.map(|_| ()))
                .map_err(self.ctx().fail(fail))?;
        }
        tx.commit().await?;
        Ok(rows > 0)
    }

    /// Removes a tag of a trace; `false` where there is no such tag.
    pub async fn delete_trace_tag(&self, trace: &str, key: &str) -> Result<bool> {
        const SQL: &str =
            "DELETE FROM trace_tag WHERE key = $2 AND trace_id = (SELECT id FROM trace WHERE uuid = $1)";
        const NAME: &str = "UPDATE trace SET name = NULL WHERE uuid = $1";
        let mut tx = self.write().await?;
        let fail = "remove a tag of a trace";
        let rows = on!(tx.conn(), c => sqlx::query(SQL).bind(trace).bind(key)
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(self.ctx().fail(fail))?;
        if key == NAME_TAG {
            on!(tx.conn(), c => sqlx::query(NAME).bind(trace).execute(c).await.map(|_| ()))
                .map_err(self.ctx().fail(fail))?;
        }
        tx.commit().await?;
        Ok(rows > 0)
    }

    /// Links traces to a thing of a kind: `run`, or `prompt`. Traces that are not there are passed over.
    pub async fn link_traces(&self, traces: &[String], kind: &str, target: &str) -> Result<()> {
        const SQL: &str = "INSERT INTO trace_link (trace_id, kind, target)
            SELECT t.id, r.kind, r.target FROM {rows} JOIN trace t ON t.uuid = r.trace WHERE TRUE
            ON CONFLICT (trace_id, kind, target) DO NOTHING";
        if traces.is_empty() {
            return Ok(());
        }
        let rows = Rows::new(traces.len())
            .text("trace", traces.iter().map(String::as_str))
            .text("kind", traces.iter().map(|_| kind))
            .text("target", traces.iter().map(|_| target));
        let mut tx = self.write().await?;
        dialect::write_rows(tx.conn(), SQL, &rows).await.map_err(self.ctx().fail("link traces"))?;
        tx.commit().await
    }
}

impl Tx {
    /// Removes the oldest traces of an experiment: those that began up to `until`, those of `ids`, at most `limit`.
    /// Gives their number. Commit it with a `TracesDeleted` event.
    pub async fn delete_traces(
        &mut self,
        experiment: i64,
        until: Option<Timestamp>,
        ids: Option<&[String]>,
        limit: Option<u64>,
    ) -> Result<u64> {
        const OLD: &str = "DELETE FROM trace WHERE id IN (SELECT id FROM trace
            WHERE experiment_id = $1 AND at <= $2 ORDER BY at, uuid LIMIT $3)";
        const NAMED: &str = "SELECT t.id, t.at, t.uuid FROM {rows} JOIN trace t ON t.uuid = r.uuid
            WHERE t.experiment_id = r.experiment_id AND t.at <= r.until";
        const BY_ID: &str = "DELETE FROM trace WHERE id IN (SELECT r.id FROM {rows})";
        let ctx = Arc::clone(&self.transact.ctx);
        let until = until.map_or(i64::MAX, Timestamp::millis);
        let limit = limit.map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        let removed = match ids {
            None => on!(self.transact.conn(), c => sqlx::query(OLD).bind(experiment).bind(until).bind(limit)
                .execute(c).await.map(|done| done.rows_affected())),
            Some(ids) => {
                let ids: std::collections::BTreeSet<&str> = ids.iter().map(String::as_str).collect();
                let rows = Rows::new(ids.len())
                    .text("uuid", ids.iter().copied())
                    .int("experiment_id", ids.iter().map(|_| experiment))
                    .int("until", ids.iter().map(|_| until));
                let found = dialect::read_rows(self.transact.conn(), NAMED, &rows).await;
                let mut found: Vec<(i64, i64, String)> = found.map_err(ctx.fail("find traces"))?;
                found.sort_by(|a, b| (a.1, &a.2).cmp(&(b.1, &b.2)));
                found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
                let rows = Rows::new(found.len()).int("id", found.iter().map(|(id, ..)| *id));
                dialect::write_rows(self.transact.conn(), BY_ID, &rows).await
            }
        };
        let removed = removed.map_err(ctx.fail("delete traces"))?;
        self.changed |= removed > 0;
        Ok(removed)
    }
}

/// Writes traces as the client tells of them, then spans. Everything goes in the order of identifiers, so that two
/// servers that write the same traces do not wait for each other.
pub(crate) async fn put(mut conn: Conn<'_>, work: &TraceWork) -> sqlx::Result<()> {
    if !work.traces.is_empty() {
        put_traces(conn.reborrow(), &work.traces).await?;
    }
    if !work.spans.is_empty() {
        put_spans(conn, &work.spans).await?;
    }
    Ok(())
}

fn value_of<'a>(pairs: &'a [KeyValue], key: &str) -> Option<&'a str> {
    pairs.iter().rev().find(|pair| pair.key == key).map(|pair| pair.value.as_str())
}

async fn put_traces(mut conn: Conn<'_>, traces: &[NewTrace]) -> sqlx::Result<()> {
    const SQL: &str = "INSERT INTO trace ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
        ON CONFLICT (uuid) DO UPDATE SET experiment_id = excluded.experiment_id,
            client_request_id = excluded.client_request_id, state = excluded.state, at = excluded.at,
            duration = excluded.duration, is_final = 1,
            name = COALESCE(excluded.name, trace.name), session = COALESCE(excluded.session, trace.session),
            request_preview = COALESCE(excluded.request_preview, trace.request_preview),
            response_preview = COALESCE(excluded.response_preview, trace.response_preview),
            input_tokens = COALESCE(excluded.input_tokens, trace.input_tokens),
            output_tokens = COALESCE(excluded.output_tokens, trace.output_tokens),
            total_tokens = COALESCE(excluded.total_tokens, trace.total_tokens),
            cache_read_tokens = COALESCE(excluded.cache_read_tokens, trace.cache_read_tokens),
            cache_write_tokens = COALESCE(excluded.cache_write_tokens, trace.cache_write_tokens),
            cache_write_long_tokens = COALESCE(excluded.cache_write_long_tokens, trace.cache_write_long_tokens),
            input_cost = COALESCE(excluded.input_cost, trace.input_cost),
            output_cost = COALESCE(excluded.output_cost, trace.output_cost),
            total_cost = COALESCE(excluded.total_cost, trace.total_cost)
        RETURNING uuid, id";
    // The same trace twice in a group: what came last holds.
    let traces: BTreeMap<&str, &NewTrace> =
        traces.iter().map(|trace| (trace.info.id.as_str(), trace)).collect();
    let info = || traces.values().map(|trace| &trace.info);
    let rows = Rows::new(traces.len())
        .text("uuid", traces.keys().copied())
        .int("experiment_id", info().map(|info| info.experiment))
        .opt_text("client_request_id", info().map(|info| info.client_request_id.as_deref()))
        .opt_text("name", info().map(|info| value_of(&info.tags, NAME_TAG)))
        .opt_text("session", info().map(|info| value_of(&info.metadata, SESSION_KEY)))
        .text("state", info().map(|info| info.state.word()))
        .int("at", info().map(|info| info.at.millis()))
        .opt_int("duration", info().map(|info| info.duration_ms))
        .opt_text("request_preview", info().map(|info| info.request_preview.as_deref()))
        .opt_text("response_preview", info().map(|info| info.response_preview.as_deref()))
        .int("is_final", info().map(|_| 1));
    let rows = with_usage(rows, traces.values().map(|trace| &trace.usage));
    let ids: HashMap<String, i64> =
        dialect::read_rows::<(String, i64)>(conn.reborrow(), SQL, &rows).await?.into_iter().collect();
    let id = |uuid: &str| ids.get(uuid).copied().ok_or(sqlx::Error::RowNotFound);
    let (mut tags, mut metadata, mut assessments) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for (uuid, trace) in traces {
        let id = id(uuid)?;
        tags.extend(trace.info.tags.iter().map(|tag| ((id, tag.key.as_str()), tag.value.as_str())));
        metadata
            .extend(trace.info.metadata.iter().map(|pair| ((id, pair.key.as_str()), pair.value.as_str())));
        assessments.extend(trace.info.assessments.iter().map(|assessment| (id, assessment)));
    }
    put_pairs(conn.reborrow(), "trace_tag", &tags, true).await?;
    put_pairs(conn.reborrow(), "trace_metadata", &metadata, true).await?;
    super::assessments::put(conn, &assessments).await
}

/// All batches of one trace as one.
struct Merged<'a> {
    id: i64,
    experiment: i64,
    state: Option<TraceState>,
    started_ms: i64,
    ended_ms: Option<i64>,
    request_preview: Option<&'a str>,
    response_preview: Option<&'a str>,
    name: Option<&'a str>,
    session: Option<&'a str>,
    spans: BTreeMap<&'a str, &'a Span>,
    batches: Vec<&'a SpanBatch>,
}

async fn put_spans(mut conn: Conn<'_>, batches: &[SpanBatch]) -> sqlx::Result<()> {
    let mut traces: BTreeMap<&str, Merged<'_>> = BTreeMap::new();
    for batch in batches.iter().filter(|batch| !batch.spans.is_empty()) {
        traces.entry(batch.trace.as_str()).or_insert_with(|| Merged::new(batch)).add(batch);
    }
    if traces.is_empty() {
        return Ok(());
    }
    let sums = put_traces_of_spans(conn.reborrow(), &mut traces).await?;
    put_span_rows(conn.reborrow(), traces.values()).await?;
    let (mut tags, mut default_tags, mut metadata) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for trace in traces.values() {
        let pair = |pair: &'_ KeyValue| ((trace.id, pair.key.clone()), pair.value.clone());
        for batch in &trace.batches {
            tags.extend(batch.tags.iter().map(pair));
            default_tags.extend(batch.default_tags.iter().map(pair));
            metadata.extend(batch.default_metadata.iter().map(pair));
        }
    }
    put_pairs(conn.reborrow(), "trace_tag", &borrowed(&tags), true).await?;
    put_pairs(conn.reborrow(), "trace_tag", &borrowed(&default_tags), false).await?;
    put_pairs(conn.reborrow(), "trace_metadata", &borrowed(&metadata), false).await?;
    sum_up(conn, &sums).await
}

fn borrowed(pairs: &BTreeMap<(i64, String), String>) -> BTreeMap<(i64, &str), &str> {
    pairs.iter().map(|((id, key), value)| ((*id, key.as_str()), value.as_str())).collect()
}

impl<'a> Merged<'a> {
    fn new(batch: &SpanBatch) -> Self {
        Self {
            id: 0,
            experiment: batch.experiment,
            state: None,
            started_ms: i64::MAX,
            ended_ms: None,
            request_preview: None,
            response_preview: None,
            name: None,
            session: None,
            spans: BTreeMap::new(),
            batches: Vec::new(),
        }
    }

    fn add(&mut self, batch: &'a SpanBatch) {
        for span in &batch.spans {
            self.started_ms = self.started_ms.min(span.started_ns.div_euclid(1_000_000));
            self.ended_ms = self.ended_ms.max(span.ended_ns.map(|ns| ns.div_euclid(1_000_000)));
            let known = self.spans.entry(span.id.as_str()).or_insert(span);
            if span.ended_ns.is_some() || known.ended_ns.is_none() {
                *known = span;
            }
        }
        self.state = batch.state.or(self.state);
        self.request_preview = self.request_preview.or(batch.request_preview.as_deref());
        self.response_preview = self.response_preview.or(batch.response_preview.as_deref());
        self.name = value_of(&batch.tags, NAME_TAG).or(self.name);
        self.session = self.session.or(value_of(&batch.default_metadata, SESSION_KEY));
        self.batches.push(batch);
    }
}

/// Makes or widens the traces and gives each its number. Gives the numbers of those whose tokens and whose costs are
/// to be summed up: what the client itself says of a trace stands.
async fn put_traces_of_spans(
    conn: Conn<'_>,
    traces: &mut BTreeMap<&str, Merged<'_>>,
) -> sqlx::Result<BTreeMap<i64, (bool, bool)>> {
    const SQL: &str = "INSERT INTO trace ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
        ON CONFLICT (uuid) DO UPDATE SET
            at = CASE WHEN {earlier} THEN excluded.at ELSE trace.at END,
            duration = CASE WHEN trace.is_final = 1 OR COALESCE(trace.duration, excluded.duration) IS NULL
                THEN trace.duration ELSE {end} - CASE WHEN {earlier} THEN excluded.at ELSE trace.at END END,
            state = CASE WHEN trace.state IN ('IN_PROGRESS', 'STATE_UNSPECIFIED') THEN excluded.state
                ELSE trace.state END,
            name = COALESCE(excluded.name, trace.name), session = COALESCE(trace.session, excluded.session),
            request_preview = COALESCE(trace.request_preview, excluded.request_preview),
            response_preview = COALESCE(trace.response_preview, excluded.response_preview)
        RETURNING uuid, id, is_final,
            CAST(CASE WHEN COALESCE(input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens,
                cache_write_long_tokens) IS NULL THEN 0 ELSE 1 END AS BIGINT) AS has_tokens,
            CAST(CASE WHEN COALESCE(input_cost, output_cost, total_cost) IS NULL THEN 0 ELSE 1 END AS BIGINT)
                AS has_costs";
    const EARLIER: &str = "trace.is_final = 0 AND excluded.at < trace.at";
    const END: &str = "CASE WHEN trace.duration IS NULL THEN excluded.at + excluded.duration
        WHEN excluded.duration IS NULL THEN trace.at + trace.duration
        WHEN excluded.at + excluded.duration > trace.at + trace.duration THEN excluded.at + excluded.duration
        ELSE trace.at + trace.duration END";
    let rows = Rows::new(traces.len())
        .text("uuid", traces.keys().copied())
        .int("experiment_id", traces.values().map(|trace| trace.experiment))
        .opt_text("name", traces.values().map(|trace| trace.name))
        .opt_text("session", traces.values().map(|trace| trace.session))
        .text("state", traces.values().map(|trace| trace.state.unwrap_or(TraceState::InProgress).word()))
        .int("at", traces.values().map(|trace| trace.started_ms))
        .opt_int("duration", traces.values().map(|t| t.ended_ms.map(|ended| ended - t.started_ms)))
        .opt_text("request_preview", traces.values().map(|trace| trace.request_preview))
        .opt_text("response_preview", traces.values().map(|trace| trace.response_preview))
        .int("is_final", traces.values().map(|_| 0));
    let sql = SQL.replace("{earlier}", EARLIER).replace("{end}", END);
    let found: Vec<(String, i64, i64, i64, i64)> = dialect::read_rows(conn, &sql, &rows).await?;
    let mut sums = BTreeMap::new();
    for (uuid, id, is_final, has_tokens, has_costs) in found {
        let trace = traces.get_mut(uuid.as_str()).ok_or(sqlx::Error::RowNotFound)?;
        trace.id = id;
        let any = |has: fn(&Usage) -> bool| trace.spans.values().any(|span| has(&span.usage));
        let tokens = any(Usage::has_tokens) && !(is_final == 1 && has_tokens == 1);
        let costs = any(Usage::has_costs) && !(is_final == 1 && has_costs == 1);
        if tokens || costs {
            sums.insert(id, (tokens, costs));
        }
    }
    if traces.values().any(|trace| trace.id == 0) {
        return Err(sqlx::Error::RowNotFound);
    }
    Ok(sums)
}

async fn put_span_rows<'a>(conn: Conn<'_>, traces: impl Iterator<Item = &'a Merged<'a>>) -> sqlx::Result<()> {
    // A span that has ended does not run again, in whatever order its reports arrive.
    const SQL: &str = "INSERT INTO span ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
        ON CONFLICT (trace_id, span_id) DO UPDATE SET parent = excluded.parent, name = excluded.name,
            kind = excluded.kind, status = excluded.status, started = excluded.started, ended = excluded.ended,
            model = excluded.model, provider = excluded.provider, input_tokens = excluded.input_tokens,
            output_tokens = excluded.output_tokens, total_tokens = excluded.total_tokens,
            cache_read_tokens = excluded.cache_read_tokens, cache_write_tokens = excluded.cache_write_tokens,
            cache_write_long_tokens = excluded.cache_write_long_tokens, input_cost = excluded.input_cost,
            output_cost = excluded.output_cost, total_cost = excluded.total_cost, body = excluded.body
        WHERE span.ended IS NULL OR excluded.ended IS NOT NULL";
    let spans: Vec<(i64, &Span)> =
        traces.flat_map(|trace| trace.spans.values().map(|span| (trace.id, *span))).collect();
    let all = || spans.iter().map(|(_, span)| *span);
    let rows = Rows::new(spans.len())
        .int("trace_id", spans.iter().map(|(trace, _)| *trace))
        .text("span_id", all().map(|span| span.id.as_str()))
        .opt_text("parent", all().map(|span| span.parent.as_deref()))
        .text("name", all().map(|span| span.name.as_str()))
        .text("kind", all().map(|span| span.kind.as_str()))
        .text("status", all().map(|span| span.status.as_str()))
        .int("started", all().map(|span| span.started_ns))
        .opt_int("ended", all().map(|span| span.ended_ns))
        .opt_text("model", all().map(|span| span.model.as_deref()))
        .opt_text("provider", all().map(|span| span.provider.as_deref()))
        .text("body", all().map(|span| span.body.as_str()));
    let rows = with_usage(rows, all().map(|span| &span.usage));
    dialect::write_rows(conn, SQL, &rows).await.map(|_| ())
}

/// The columns that a trace and a span have in common.
fn with_usage<'a, 'u>(rows: Rows<'a>, usage: impl Iterator<Item = &'u Usage> + Clone) -> Rows<'a> {
    const TOKENS: [&str; 6] = [
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "cache_write_long_tokens",
    ];
    const COSTS: [&str; 3] = ["input_cost", "output_cost", "total_cost"];
    let rows = TOKENS
        .into_iter()
        .enumerate()
        .fold(rows, |rows, (i, name)| rows.opt_int(name, usage.clone().map(|usage| usage.tokens[i])));
    COSTS
        .into_iter()
        .enumerate()
        .fold(rows, |rows, (i, name)| rows.opt_float(name, usage.clone().map(|usage| usage.costs[i])))
}

/// Tags or entries of the metadata: set, or only where there is none yet.
async fn put_pairs(
    conn: Conn<'_>,
    table: &'static str,
    pairs: &BTreeMap<(i64, &str), &str>,
    replace: bool,
) -> sqlx::Result<()> {
    const SQL: &str = "INSERT INTO {table} ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
        ON CONFLICT (trace_id, key) DO {action}";
    if pairs.is_empty() {
        return Ok(());
    }
    let action = if replace { "UPDATE SET value = excluded.value" } else { "NOTHING" };
    let rows = Rows::new(pairs.len())
        .int("trace_id", pairs.keys().map(|(trace, _)| *trace))
        .text("key", pairs.keys().map(|(_, key)| *key))
        .text("value", pairs.values().copied());
    let sql = SQL.replace("{table}", table).replace("{action}", action);
    dialect::write_rows(conn, &sql, &rows).await.map(|_| ())
}

type NodeRow = ((i64, String, Option<String>), [Option<i64>; 6], [Option<f64>; 3]);

/// Sums up what traces used over all of their spans, of this request and of earlier ones.
async fn sum_up(mut conn: Conn<'_>, sums: &BTreeMap<i64, (bool, bool)>) -> sqlx::Result<()> {
    const SQL: &str = "UPDATE trace SET input_tokens = COALESCE(r.input_tokens, trace.input_tokens),
            output_tokens = COALESCE(r.output_tokens, trace.output_tokens),
            total_tokens = COALESCE(r.total_tokens, trace.total_tokens),
            cache_read_tokens = COALESCE(r.cache_read_tokens, trace.cache_read_tokens),
            cache_write_tokens = COALESCE(r.cache_write_tokens, trace.cache_write_tokens),
            cache_write_long_tokens = COALESCE(r.cache_write_long_tokens, trace.cache_write_long_tokens),
            input_cost = COALESCE(r.input_cost, trace.input_cost),
            output_cost = COALESCE(r.output_cost, trace.output_cost),
            total_cost = COALESCE(r.total_cost, trace.total_cost)
        FROM {rows} WHERE trace.id = r.id";
    if sums.is_empty() {
        return Ok(());
    }
    let mut nodes: BTreeMap<i64, Vec<Node>> = BTreeMap::new();
    for ((trace, id, parent), tokens, costs) in read_nodes(conn.reborrow(), sums.keys().copied()).await? {
        nodes.entry(trace).or_default().push(Node { id, parent, usage: Usage { tokens, costs } });
    }
    let totals: Vec<(i64, Usage)> = sums
        .iter()
        .map(|(trace, (tokens, costs))| {
            let total = nodes.get(trace).map(|nodes| usage::total(nodes)).unwrap_or_default();
            let usage = Usage {
                tokens: if *tokens { total.tokens } else { [None; 6] },
                costs: if *costs { total.costs } else { [None; 3] },
            };
            (*trace, usage)
        })
        .collect();
    let rows = Rows::new(totals.len()).int("id", totals.iter().map(|(id, _)| *id));
    let rows = with_usage(rows, totals.iter().map(|(_, usage)| usage));
    dialect::write_rows(conn.reborrow(), SQL, &rows).await?;
    let metadata: BTreeMap<(i64, String), String> = totals
        .iter()
        .flat_map(|(id, usage)| usage.metadata().into_iter().map(|pair| ((*id, pair.key), pair.value)))
        .collect();
    put_pairs(conn, "trace_metadata", &borrowed(&metadata), true).await
}

async fn read_nodes(conn: Conn<'_>, traces: impl Iterator<Item = i64>) -> sqlx::Result<Vec<NodeRow>> {
    const SQL: &str =
        "SELECT s.trace_id, s.span_id, s.parent, s.input_tokens, s.output_tokens, s.total_tokens,
            s.cache_read_tokens, s.cache_write_tokens, s.cache_write_long_tokens, s.input_cost, s.output_cost,
            s.total_cost
        FROM {rows} JOIN span s ON s.trace_id = r.id";
    type Row = (
        i64,
        String,
        Option<String>,
        Option<i64>,
        Option<i64>,
        Option<i64>,
        Option<i64>,
        Option<i64>,
        Option<i64>,
        Option<f64>,
        Option<f64>,
        Option<f64>,
    );
    let ids: Vec<i64> = traces.collect();
    let rows = Rows::new(ids.len()).int("id", ids.iter().copied());
    let found: Vec<Row> = dialect::read_rows(conn, SQL, &rows).await?;
    Ok(found
        .into_iter()
        .map(|(trace, id, parent, a, b, c, d, e, f, x, y, z)| {
            ((trace, id, parent), [a, b, c, d, e, f], [x, y, z])
        })
        .collect())
}

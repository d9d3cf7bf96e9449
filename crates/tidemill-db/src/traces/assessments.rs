//! What people and programs say about traces.

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};
use tidemill_core::Timestamp;

use crate::backend::{Conn, on};
use crate::dialect::{self, Rows};
use crate::traces::{Assessment, AssessmentKind};
use crate::{Db, Error, Result};

/// The columns of an assessment `a` of a trace `t`, as [`AssessmentRow`] reads them.
macro_rules! columns {
    () => {
        "a.uuid, t.uuid, a.kind, a.name, a.value, a.number, a.is_number, a.error, a.source_kind, a.source,
         a.run_uuid, a.span_id, a.rationale, a.overrides, a.is_valid, a.metadata, a.created_at, a.updated_at"
    };
}

const ONE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM assessment a JOIN trace t ON t.id = a.trace_id WHERE t.uuid = $1 AND a.uuid = $2"
);

impl Db {
    /// Adds an assessment. The one that it overrides no longer counts.
    ///
    /// Fails with [`Error::NotFound`] of a `trace`, or of an `assessment` that it would override; with
    /// [`Error::Exists`] where its identifier is taken.
    pub async fn create_assessment(&self, assessment: &Assessment) -> Result<()> {
        const TRACE: &str = "SELECT id FROM trace WHERE uuid = $1";
        const TAKEN: &str = "SELECT id FROM assessment WHERE uuid = $1";
        const OVERRIDE: &str = "UPDATE assessment SET is_valid = 0 WHERE trace_id = $1 AND uuid = $2";
        let fail = "store an assessment";
        let mut tx = self.write().await?;
        let trace: Option<i64> = on!(tx.conn(), c => sqlx::query_scalar(TRACE).bind(&assessment.trace)
            .fetch_optional(c).await)
        .map_err(self.ctx().fail(fail))?;
        let trace = trace.ok_or_else(|| Error::NotFound { what: "trace", name: assessment.trace.clone() })?;
        let taken: Option<i64> = on!(tx.conn(), c => sqlx::query_scalar(TAKEN).bind(&assessment.id)
            .fetch_optional(c).await)
        .map_err(self.ctx().fail(fail))?;
        if taken.is_some() {
            return Err(Error::Exists { what: "assessment", name: assessment.id.clone() });
        }
        if let Some(overridden) = &assessment.overrides {
            let rows = on!(tx.conn(), c => sqlx::query(OVERRIDE).bind(trace).bind(overridden)
                .execute(c).await.map(|done| done.rows_affected()))
            .map_err(self.ctx().fail(fail))?;
            if rows == 0 {
                return Err(Error::NotFound { what: "assessment", name: overridden.clone() });
            }
        }
        put(tx.conn(), &[(trace, assessment)]).await.map_err(self.ctx().fail(fail))?;
        tx.commit().await
    }

    /// An assessment of a trace.
    pub async fn assessment(&self, trace: &str, id: &str) -> Result<Option<Assessment>> {
        let mut reader = self.reader().await?;
        let row: Option<AssessmentRow> =
            on!(reader.conn(), c => sqlx::query_as(ONE).bind(trace).bind(id).fetch_optional(c).await)
                .map_err(self.ctx().fail("read an assessment"))?;
        Ok(row.map(|row| row.0))
    }

    /// Changes what an assessment says; gives it as it is then, or nothing where it is not there. Trace, kind, source,
    /// span and times of making stay.
    pub async fn change_assessment(
        &self,
        trace: &str,
        id: &str,
        change: impl FnOnce(&mut Assessment) + Send,
    ) -> Result<Option<Assessment>> {
        const LOCK: &str = "UPDATE assessment SET updated_at = updated_at WHERE uuid = $1";
        const SQL: &str =
            "UPDATE assessment SET name = $2, value = $3, number = $4, is_number = $5, error = $6,
                rationale = $7, metadata = $8, updated_at = $9 WHERE uuid = $1";
        let fail = "change an assessment";
        let mut tx = self.write().await?;
        on!(tx.conn(), c => sqlx::query(LOCK).bind(id).execute(c).await.map(|_| ()))
            .map_err(self.ctx().fail(fail))?;
        let row: Option<AssessmentRow> =
            on!(tx.conn(), c => sqlx::query_as(ONE).bind(trace).bind(id).fetch_optional(c).await)
                .map_err(self.ctx().fail(fail))?;
        let Some(AssessmentRow(mut new)) = row else { return Ok(None) };
        change(&mut new);
        on!(tx.conn(), c => sqlx::query(SQL).bind(id).bind(&new.name).bind(&new.value).bind(new.number)
            .bind(i64::from(new.is_number)).bind(&new.error).bind(&new.rationale).bind(&new.metadata)
            .bind(new.updated_at.millis()).execute(c).await.map(|_| ()))
        .map_err(self.ctx().fail(fail))?;
        tx.commit().await?;
        Ok(Some(new))
    }

    /// Removes an assessment where it is there; the one that it overrode counts again.
    pub async fn delete_assessment(&self, trace: &str, id: &str) -> Result<()> {
        const RESTORE: &str = "UPDATE assessment SET is_valid = 1
            WHERE uuid = (SELECT overrides FROM assessment WHERE uuid = $2)
            AND trace_id = (SELECT id FROM trace WHERE uuid = $1)";
        const SQL: &str =
            "DELETE FROM assessment WHERE uuid = $2 AND trace_id = (SELECT id FROM trace WHERE uuid = $1)";
        let mut tx = self.write().await?;
        for sql in [RESTORE, SQL] {
            on!(tx.conn(), c => sqlx::query(sql).bind(trace).bind(id).execute(c).await.map(|_| ()))
                .map_err(self.ctx().fail("delete an assessment"))?;
        }
        tx.commit().await
    }
}

/// Writes assessments of traces that are there. One that is there already is written anew.
pub(super) async fn put(conn: Conn<'_>, assessments: &[(i64, &Assessment)]) -> sqlx::Result<()> {
    const SQL: &str = "INSERT INTO assessment ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
        ON CONFLICT (uuid) DO UPDATE SET name = excluded.name, value = excluded.value, number = excluded.number,
            is_number = excluded.is_number, error = excluded.error, rationale = excluded.rationale,
            metadata = excluded.metadata, updated_at = excluded.updated_at
        WHERE assessment.trace_id = excluded.trace_id";
    // One statement may not write a row twice.
    let by_id: std::collections::BTreeMap<&str, (i64, &Assessment)> =
        assessments.iter().map(|(trace, one)| (one.id.as_str(), (*trace, *one))).collect();
    if by_id.is_empty() {
        return Ok(());
    }
    let all = || by_id.values().map(|(_, assessment)| *assessment);
    let rows = Rows::new(by_id.len())
        .text("uuid", by_id.keys().copied())
        .int("trace_id", by_id.values().map(|(trace, _)| *trace))
        .text("kind", all().map(|one| one.kind.word()))
        .text("name", all().map(|one| one.name.as_str()))
        .text("value", all().map(|one| one.value.as_str()))
        .opt_float("number", all().map(|one| one.number))
        .int("is_number", all().map(|one| i64::from(one.is_number)))
        .opt_text("error", all().map(|one| one.error.as_deref()))
        .text("source_kind", all().map(|one| one.source_kind.as_str()))
        .opt_text("source", all().map(|one| one.source.as_deref()))
        .opt_text("run_uuid", all().map(|one| one.run.as_deref()))
        .opt_text("span_id", all().map(|one| one.span.as_deref()))
        .opt_text("rationale", all().map(|one| one.rationale.as_deref()))
        .opt_text("overrides", all().map(|one| one.overrides.as_deref()))
        .int("is_valid", all().map(|one| i64::from(one.is_valid)))
        .opt_text("metadata", all().map(|one| one.metadata.as_deref()))
        .int("created_at", all().map(|one| one.created_at.millis()))
        .int("updated_at", all().map(|one| one.updated_at.millis()));
    dialect::write_rows(conn, SQL, &rows).await.map(|_| ())
}

/// The assessments of traces, by time.
pub(super) async fn read(conn: Conn<'_>, traces: &[i64]) -> sqlx::Result<Vec<Assessment>> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM {rows} JOIN trace t ON t.id = r.id JOIN assessment a ON a.trace_id = t.id"
    );
    let rows = Rows::new(traces.len()).int("id", traces.iter().copied());
    let found: Vec<AssessmentRow> = dialect::read_rows(conn, SQL, &rows).await?;
    let mut found: Vec<Assessment> = found.into_iter().map(|row| row.0).collect();
    found.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    Ok(found)
}

struct AssessmentRow(Assessment);

impl<'r, R> FromRow<'r, R> for AssessmentRow
where
    R: Row,
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    f64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        let kind: String = row.try_get(2)?;
        let kind = AssessmentKind::from_word(&kind)
            .ok_or_else(|| sqlx::Error::Decode(format!("`{kind}` is no kind of assessment").into()))?;
        Ok(Self(Assessment {
            id: row.try_get(0)?,
            trace: row.try_get(1)?,
            kind,
            name: row.try_get(3)?,
            value: row.try_get(4)?,
            number: row.try_get(5)?,
            is_number: row.try_get::<i64, _>(6)? != 0,
            error: row.try_get(7)?,
            source_kind: row.try_get(8)?,
            source: row.try_get(9)?,
            run: row.try_get(10)?,
            span: row.try_get(11)?,
            rationale: row.try_get(12)?,
            overrides: row.try_get(13)?,
            is_valid: row.try_get::<i64, _>(14)? != 0,
            metadata: row.try_get(15)?,
            created_at: Timestamp::from_millis(row.try_get(16)?),
            updated_at: Timestamp::from_millis(row.try_get(17)?),
        }))
    }
}

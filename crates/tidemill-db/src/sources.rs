//! How far sources and readers of the log have come, and what waits at triggers.
//!
//! All of this is written in the transaction of the event that comes of it, so that nothing is read twice and nothing is
//! left out, whenever a process dies.

use tidemill_core::Timestamp;

use crate::backend::{Conn, Context, on};
use crate::{Db, Result, Tx};

/// The kind under which it is noted how sources stand.
const PROBLEM: &str = "problem";

/// How the source of a trigger stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStanding {
    /// The trigger.
    pub trigger: String,
    /// What is wrong; nothing where it is listened to.
    pub problem: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

impl Db {
    /// Up to which event `consumer` has acted; `None` where it never has.
    pub async fn log_cursor(&self, consumer: &str) -> Result<Option<u64>> {
        let mut reader = self.reader().await?;
        cursor(reader.conn(), self.ctx(), consumer).await
    }

    /// Notes that `consumer` need not look at events up to `seq` again. Goes forward only.
    pub async fn move_log_cursor(&self, consumer: &str, seq: u64) -> Result<()> {
        let mut tx = self.write().await?;
        let ctx = tx.ctx.clone();
        move_cursor(tx.conn(), &ctx, consumer, seq).await?;
        tx.commit().await
    }

    /// Up to where a part of a source has been read.
    pub async fn source_offset(&self, project: &str, source: &str, part: &str) -> Result<Option<String>> {
        let mut reader = self.reader().await?;
        offset(reader.conn(), self.ctx(), project, source, part).await
    }

    /// Notes where a source is that is looked at for the first time: nothing has changed by that.
    pub async fn begin_source(
        &self,
        project: &str,
        source: &str,
        part: &str,
        position: &str,
        at: Timestamp,
    ) -> Result<()> {
        const SQL: &str = "INSERT INTO source_offset (project, source, part, position, at)
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT (project, source, part) DO NOTHING";
        let mut tx = self.write().await?;
        let ctx = tx.ctx.clone();
        on!(tx.conn(), c => sqlx::query(SQL)
            .bind(project).bind(source).bind(part).bind(position).bind(at.millis()).execute(c).await.map(drop))
        .map_err(ctx.fail("note where a source is"))?;
        tx.commit().await
    }

    /// Notes where a source begins that is another one now under the same name, unless somebody has noted it since `seen` was read.
    pub async fn begin_source_anew(
        &self,
        project: &str,
        source: &str,
        part: &str,
        seen: &str,
        position: &str,
        at: Timestamp,
    ) -> Result<()> {
        const SQL: &str = "UPDATE source_offset SET position = $1, at = $2
            WHERE project = $3 AND source = $4 AND part = $5 AND position = $6";
        let mut tx = self.write().await?;
        let ctx = tx.ctx.clone();
        on!(tx.conn(), c => sqlx::query(SQL)
            .bind(position).bind(at.millis()).bind(project).bind(source).bind(part).bind(seen)
            .execute(c).await.map(drop))
        .map_err(ctx.fail("note where a source is"))?;
        tx.commit().await
    }

    /// What waits at the triggers of a project: JSON by the trigger's name.
    pub async fn pending_triggers(&self, project: &str) -> Result<Vec<(String, String)>> {
        let mut reader = self.reader().await?;
        pending(reader.conn(), self.ctx(), project).await
    }

    /// Notes how the source of a trigger stands that is not there all the time: what is wrong with it, or nothing. Since
    /// when it is so stays where it was so before.
    pub async fn set_source_problem(
        &self,
        project: &str,
        trigger: &str,
        problem: Option<&str>,
        at: Timestamp,
    ) -> Result<()> {
        const SQL: &str = "INSERT INTO source_offset (project, source, part, position, at)
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT (project, source, part) DO UPDATE SET
            position = excluded.position, at = excluded.at WHERE source_offset.position <> excluded.position";
        let mut tx = self.write().await?;
        let ctx = tx.ctx.clone();
        on!(tx.conn(), c => sqlx::query(SQL)
            .bind(project).bind(PROBLEM).bind(trigger).bind(problem.unwrap_or_default()).bind(at.millis())
            .execute(c).await.map(drop))
        .map_err(ctx.fail("note how a source stands"))?;
        tx.commit().await
    }

    /// How the sources of a project's triggers stand, of those that are not there all the time.
    pub async fn source_standings(&self, project: &str) -> Result<Vec<SourceStanding>> {
        const SQL: &str =
            "SELECT part, position, at FROM source_offset WHERE project = $1 AND source = $2 ORDER BY part";
        let mut reader = self.reader().await?;
        let rows: Vec<(String, String, i64)> = on!(reader.conn(), c => sqlx::query_as(SQL)
            .bind(project).bind(PROBLEM).fetch_all(c).await)
        .map_err(self.ctx().fail("read how sources stand"))?;
        Ok(rows
            .into_iter()
            .map(|(trigger, problem, at)| SourceStanding {
                trigger,
                problem: Some(problem).filter(|problem| !problem.is_empty()),
                since: Timestamp::from_millis(at),
            })
            .collect())
    }

    /// Forgets deliveries that came before `before`; gives their number.
    pub async fn prune_deliveries_of_sources(&self, before: Timestamp) -> Result<u64> {
        const SQL: &str = "DELETE FROM source_delivery WHERE at < $1";
        let mut tx = self.write().await?;
        let ctx = tx.ctx.clone();
        let removed = on!(tx.conn(), c => sqlx::query(SQL)
            .bind(before.millis()).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("forget deliveries"))?;
        tx.commit().await?;
        Ok(removed)
    }
}

impl Tx {
    /// Up to which event `consumer` has acted; `None` where it never has.
    pub async fn log_cursor(&mut self, consumer: &str) -> Result<Option<u64>> {
        let ctx = self.transact.ctx.clone();
        cursor(self.transact.conn(), &ctx, consumer).await
    }

    /// Notes that `consumer` has acted on events up to `seq`. Goes forward only.
    pub async fn move_log_cursor(&mut self, consumer: &str, seq: u64) -> Result<()> {
        let ctx = self.transact.ctx.clone();
        move_cursor(self.transact.conn(), &ctx, consumer, seq).await
    }

    /// What waits at the triggers of a project: JSON by the trigger's name.
    pub async fn pending_triggers(&mut self, project: &str) -> Result<Vec<(String, String)>> {
        let ctx = self.transact.ctx.clone();
        pending(self.transact.conn(), &ctx, project).await
    }

    /// Sets what waits at a trigger. The events themselves are in the log; this is how far they have been counted.
    pub async fn set_pending_trigger(
        &mut self,
        project: &str,
        trigger: &str,
        pending: Option<&str>,
    ) -> Result<()> {
        const SET: &str = "INSERT INTO trigger_pending (project, trigger_name, pending) VALUES ($1, $2, $3)
            ON CONFLICT (project, trigger_name) DO UPDATE SET pending = excluded.pending";
        const UNSET: &str = "DELETE FROM trigger_pending WHERE project = $1 AND trigger_name = $2";
        let ctx = self.transact.ctx.clone();
        match pending {
            Some(pending) => on!(self.transact.conn(), c => sqlx::query(SET)
                .bind(project).bind(trigger).bind(pending).execute(c).await.map(drop)),
            None => on!(self.transact.conn(), c => sqlx::query(UNSET)
                .bind(project).bind(trigger).execute(c).await.map(drop)),
        }
        .map_err(ctx.fail("note what waits at a trigger"))
    }

    /// Up to where a part of a source has been read.
    pub async fn source_offset(&mut self, project: &str, source: &str, part: &str) -> Result<Option<String>> {
        let ctx = self.transact.ctx.clone();
        offset(self.transact.conn(), &ctx, project, source, part).await
    }

    /// Notes up to where a part of a source has been read: the event that the caller commits came of it.
    pub async fn move_source(
        &mut self,
        project: &str,
        source: &str,
        part: &str,
        position: &str,
        at: Timestamp,
    ) -> Result<()> {
        const SQL: &str = "INSERT INTO source_offset (project, source, part, position, at)
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT (project, source, part) DO UPDATE SET
            position = excluded.position, at = excluded.at";
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(project).bind(source).bind(part).bind(position).bind(at.millis()).execute(c).await.map(drop))
        .map_err(ctx.fail("note where a source is"))?;
        self.changed = true;
        Ok(())
    }

    /// Notes a delivery; `false` where it has come before.
    pub async fn add_delivery(
        &mut self,
        project: &str,
        source: &str,
        delivery: &str,
        at: Timestamp,
    ) -> Result<bool> {
        const SQL: &str =
            "INSERT INTO source_delivery (project, source, delivery, at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (project, source, delivery) DO NOTHING";
        let ctx = self.transact.ctx.clone();
        let added = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(project).bind(source).bind(delivery).bind(at.millis())
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("note a delivery"))?;
        self.changed |= added > 0;
        Ok(added > 0)
    }
}

async fn cursor(conn: Conn<'_>, ctx: &Context, consumer: &str) -> Result<Option<u64>> {
    const SQL: &str = "SELECT seq FROM log_cursor WHERE consumer = $1";
    let seq: Option<i64> = on!(conn, c => sqlx::query_scalar(SQL).bind(consumer).fetch_optional(c).await)
        .map_err(ctx.fail("read how far the log has been read"))?;
    Ok(seq.map(|seq| seq as u64))
}

async fn move_cursor(conn: Conn<'_>, ctx: &Context, consumer: &str, seq: u64) -> Result<()> {
    const SQL: &str = "INSERT INTO log_cursor (consumer, seq) VALUES ($1, $2)
        ON CONFLICT (consumer) DO UPDATE SET seq = excluded.seq WHERE log_cursor.seq < excluded.seq";
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    on!(conn, c => sqlx::query(SQL).bind(consumer).bind(seq).execute(c).await.map(drop))
        .map_err(ctx.fail("note how far the log has been read"))
}

async fn pending(conn: Conn<'_>, ctx: &Context, project: &str) -> Result<Vec<(String, String)>> {
    const SQL: &str =
        "SELECT trigger_name, pending FROM trigger_pending WHERE project = $1 ORDER BY trigger_name";
    on!(conn, c => sqlx::query_as(SQL).bind(project).fetch_all(c).await)
        .map_err(ctx.fail("read what waits at triggers"))
}

async fn offset(
    conn: Conn<'_>,
    ctx: &Context,
    project: &str,
    source: &str,
    part: &str,
) -> Result<Option<String>> {
    const SQL: &str = "SELECT position FROM source_offset WHERE project = $1 AND source = $2 AND part = $3";
    on!(conn, c => sqlx::query_scalar(SQL).bind(project).bind(source).bind(part).fetch_optional(c).await)
        .map_err(ctx.fail("read where a source is"))
}

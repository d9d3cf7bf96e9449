//! Reading tracked runs, and marking them as deleted.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt as _;
use tidemill_core::{RunId, Timestamp};

use super::experiments::parse_stage;
use super::load::{LoadError, load};
use crate::backend::{Either, Hand, on};
use crate::dialect::Rows;
use crate::runs::parse;
use crate::tracking::{Run, RunInfo, RunStatus, Stage};
use crate::{Db, Error, Result, Tx};

/// The columns of the table `run`, as [`InfoRow`].
macro_rules! select_info {
    ($rest:literal) => {
        concat!(
            "SELECT t.id, t.uuid, t.experiment_id, t.name, t.user_name, t.status, t.stage, t.artifact_uri,
                t.started_at, t.ended_at ",
            $rest
        )
    };
}
pub(crate) use select_info;

pub(crate) type InfoRow =
    (i64, String, i64, String, String, String, String, String, Option<i64>, Option<i64>);

/// The row's number and what it says.
pub(crate) fn info_from_row(row: InfoRow) -> Result<(i64, RunInfo)> {
    let (id, uuid, experiment, name, user, status, stage, artifact_uri, started_at, ended_at) = row;
    let info = RunInfo {
        id: parse("run", "uuid", &uuid, "a run id")?,
        experiment,
        name,
        user,
        status: RunStatus::from_word(&status)
            .ok_or_else(|| Error::value("run", "status", &status, "a status"))?,
        stage: parse_stage("run", &stage)?,
        artifact_uri,
        started_at: started_at.map(Timestamp::from_millis),
        ended_at: ended_at.map(Timestamp::from_millis),
    };
    Ok((id, info))
}

/// Runs in the order of their identifiers.
async fn by_uuid(mut hand: Hand<'_>, uuids: &[String]) -> Result<Vec<Run>, LoadError> {
    const SQL: &str = "SELECT t.id, t.uuid FROM {rows} JOIN run t ON t.uuid = r.wanted";
    let rows = Rows::new(uuids.len()).text("wanted", uuids.iter().map(String::as_str));
    let mut found: Vec<(i64, String)> = hand.reborrow().read_rows(SQL, &rows).await?;
    if found.len() > 1 {
        let place: HashMap<&str, usize> =
            uuids.iter().enumerate().map(|(i, text)| (text.as_str(), i)).collect();
        found.sort_by_key(|(_, uuid)| place.get(uuid.as_str()));
    }
    let numbers: Vec<i64> = found.into_iter().map(|(number, _)| number).collect();
    load(hand, &numbers).await
}

impl Db {
    /// What lists show of a run, whether deleted or not.
    pub async fn tracked_run_info(&self, id: RunId) -> Result<Option<RunInfo>> {
        const SQL: &str = select_info!("FROM run t WHERE t.uuid = $1");
        let mut reader = self.reader().await?;
        let row: Option<InfoRow> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(id.to_string()).fetch_optional(c).await)
                .map_err(self.ctx().fail("read runs"))?;
        Ok(row.map(info_from_row).transpose()?.map(|(_, info)| info))
    }

    /// A run with everything but the histories of its metrics, whether deleted or not.
    pub async fn tracked_run(&self, id: RunId) -> Result<Option<Run>> {
        Ok(self.tracked_runs(&[id]).await?.pop())
    }

    /// Many runs, in the order of `ids`; those that are not there are left out.
    pub async fn tracked_runs(&self, ids: &[RunId]) -> Result<Vec<Run>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
        self.view("read runs", move |hand| async move { by_uuid(hand, &texts).await }.boxed()).await
    }
}

impl Db {
    /// Gives a tag of a run another value that depends on the one it has. Nobody else does so in between.
    ///
    /// Fails with [`Error::NotFound`] if there is no such run, and with [`Error::Deleted`] if it is deleted.
    pub async fn change_run_tag(
        &self,
        id: RunId,
        key: &str,
        change: impl FnOnce(Option<&str>) -> String,
    ) -> Result<()> {
        const READ: &str = "SELECT value FROM run_tag WHERE run_id = $1 AND key = $2";
        const WRITE: &str = "INSERT INTO run_tag (run_id, key, value) VALUES ($1, $2, $3)
            ON CONFLICT (run_id, key) DO UPDATE SET value = excluded.value";
        let fail = || self.ctx().fail("change a tag");
        let mut tx = self.write().await?;
        // There may be no tag to lock, so the run is.
        let found: Option<(i64, String)> = match tx.conn() {
            Either::Sqlite(c) => {
                let sql = "SELECT id, stage FROM run WHERE uuid = $1";
                sqlx::query_as(sql).bind(id.to_string()).fetch_optional(c).await
            }
            Either::Postgres(c) => {
                let sql = "SELECT id, stage FROM run WHERE uuid = $1 FOR UPDATE";
                sqlx::query_as(sql).bind(id.to_string()).fetch_optional(c).await
            }
        }
        .map_err(fail())?;
        let (run, stage) = found.ok_or_else(|| Error::no_tracked_run(id))?;
        if parse_stage("run", &stage)? == Stage::Deleted {
            return Err(Error::Deleted { what: "tracked run", name: id.to_string() });
        }
        let before: Option<String> =
            on!(tx.conn(), c => sqlx::query_scalar(READ).bind(run).bind(key).fetch_optional(c).await)
                .map_err(fail())?;
        let value = change(before.as_deref());
        on!(tx.conn(), c => sqlx::query(WRITE).bind(run).bind(key).bind(&value).execute(c).await.map(drop))
            .map_err(fail())?;
        tx.commit().await
    }
}

impl Tx {
    /// Marks a run as deleted, or takes it back; says whether that changed anything.
    ///
    /// Fails with [`Error::NotFound`] if there is no such run.
    pub async fn move_tracked_run(&mut self, id: RunId, to: Stage, at: Timestamp) -> Result<bool> {
        const FIND: &str = "SELECT stage FROM run WHERE uuid = $1";
        const SQL: &str = "UPDATE run SET stage = $1, deleted_at = $2 WHERE uuid = $3 AND stage <> $1";
        let ctx = Arc::clone(&self.transact.ctx);
        let uuid = id.to_string();
        let found: Option<String> =
            on!(self.transact.conn(), c => sqlx::query_scalar(FIND).bind(&uuid).fetch_optional(c).await)
                .map_err(ctx.fail("read runs"))?;
        if found.is_none() {
            return Err(Error::no_tracked_run(id));
        }
        let deleted_at = (to == Stage::Deleted).then_some(at.millis());
        let done = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(to.word()).bind(deleted_at).bind(&uuid).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("move a run"))?;
        self.changed |= done > 0;
        Ok(done > 0)
    }
}

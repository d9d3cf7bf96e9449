//! Jobs: what triggers start, who works on it, and how it ended.
//!
//! A worker holds a job by a lease, which it renews. A job whose lease is over, or whose worker is known to be dead, is
//! another's to take: that is the next attempt, and what the old worker still says of its own one is not heard.

use tidemill_core::{JobState, Timestamp};

use crate::backend::{Conn, Context, on};
use crate::{Db, Error, Owner, Result, Tx};

/// A job as a trigger asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// The project.
    pub project: String,
    /// The trigger.
    pub trigger: String,
    /// What is to be done: JSON.
    pub actions: String,
    /// What is known of the event: JSON.
    pub details: String,
    /// A project has one job of this key: a second one is not made.
    pub dedupe: String,
    /// The event that it was asked for with.
    pub cause: u64,
    /// When.
    pub at: Timestamp,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// The project.
    pub project: String,
    /// The trigger.
    pub trigger: String,
    /// What is to be done: JSON.
    pub actions: String,
    /// What is known of the event: JSON.
    pub details: String,
    /// How it stands.
    pub state: JobState,
    /// The event that it was asked for with.
    pub cause: u64,
    /// How often a worker began with it.
    pub attempts: u32,
    /// Who works on it.
    pub owner: Option<Owner>,
    /// Until when nobody else may take it.
    pub lease_until: Option<Timestamp>,
    /// It is to be stopped, and to end like this.
    pub stop_as: Option<JobState>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Not before this time.
    pub run_at: Timestamp,
    /// When a worker began with it last.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it did not go well.
    pub reason: Option<String>,
}

impl Job {
    /// Whether a worker may take it now.
    pub fn is_free(&self, now: Timestamp) -> bool {
        match self.state {
            JobState::Waiting => self.run_at <= now,
            JobState::Running => {
                let is_over = self.lease_until.is_none_or(|until| until <= now);
                is_over || self.owner.as_ref().is_some_and(|owner| owner.is_alive() == Some(false))
            }
            JobState::Succeeded | JobState::Failed | JobState::Cancelled | JobState::Superseded => false,
        }
    }
}

/// How a worker stands to the job that it works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// It is another's now, or over.
    Lost,
    /// It is his.
    Held,
    /// It is his, and to be stopped so that it ends like this.
    Stop(JobState),
}

/// What stopping a job came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It waited, and has ended.
    Ended,
    /// It runs, and its worker is told.
    Asked,
    /// It was over.
    Over,
}

type Row = (
    i64,
    String,
    String,
    String,
    String,
    String,
    i64,
    i64,
    Option<String>,
    Option<i64>,
    Option<String>,
    i64,
    i64,
    Option<i64>,
    Option<i64>,
    Option<String>,
);

const COLUMNS: &str =
    "SELECT id, project, trigger_name, actions, details, state, cause, attempts, owner, lease_until,
    stop_as, created_at, run_at, started_at, ended_at, reason FROM job";

fn from_row(row: Row) -> Result<Job> {
    let (
        id,
        project,
        trigger,
        actions,
        details,
        state,
        cause,
        attempts,
        owner,
        lease,
        stop_as,
        created_at,
        run_at,
        started_at,
        ended_at,
        reason,
    ) = row;
    let parse = |text: &str| {
        JobState::parse(text).ok_or_else(|| Error::value("job", "state", text, "a state of a job"))
    };
    Ok(Job {
        id: id as u64,
        project,
        trigger,
        actions,
        details,
        state: parse(&state)?,
        cause: cause as u64,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        owner: owner.and_then(|text| serde_json::from_str(&text).ok()),
        lease_until: lease.map(Timestamp::from_millis),
        stop_as: stop_as.as_deref().map(parse).transpose()?,
        created_at: Timestamp::from_millis(created_at),
        run_at: Timestamp::from_millis(run_at),
        started_at: started_at.map(Timestamp::from_millis),
        ended_at: ended_at.map(Timestamp::from_millis),
        reason,
    })
}

impl Db {
    /// Jobs of a project that wait or run, oldest first.
    pub async fn open_jobs(&self, project: &str) -> Result<Vec<Job>> {
        let mut reader = self.reader().await?;
        open_jobs(reader.conn(), self.ctx(), project).await
    }

    /// The job of this number.
    pub async fn job(&self, id: u64) -> Result<Option<Job>> {
        let mut reader = self.reader().await?;
        job(reader.conn(), self.ctx(), id).await
    }

    /// Jobs, newest first, those before `before`; of one project, of one trigger or in one state, where that is given.
    pub async fn jobs(
        &self,
        project: Option<&str>,
        trigger: Option<&str>,
        state: Option<JobState>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Job>> {
        let sql = format!(
            "{COLUMNS} WHERE id < $1 AND trigger_name = COALESCE($2, trigger_name)
             AND state = COALESCE($3, state) AND project = COALESCE($4, project) ORDER BY id DESC LIMIT $5"
        );
        let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let state = state.map(JobState::name);
        let mut reader = self.reader().await?;
        let rows: Vec<Row> = on!(reader.conn(), c => sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(before).bind(trigger).bind(state).bind(project).bind(limit).fetch_all(c).await)
        .map_err(self.ctx().fail("read jobs"))?;
        rows.into_iter().map(from_row).collect()
    }

    /// Holds a job until `until`, for the worker of this attempt.
    pub async fn renew_job(&self, id: u64, attempt: u32, until: Timestamp) -> Result<Lease> {
        const SQL: &str =
            "UPDATE job SET lease_until = $1 WHERE id = $2 AND attempts = $3 AND state = 'running'
            RETURNING COALESCE(stop_as, '')";
        let mut tx = self.write().await?;
        let ctx = tx.ctx.clone();
        let stop: Option<String> = on!(tx.conn(), c => sqlx::query_scalar(SQL)
            .bind(until.millis()).bind(id as i64).bind(i64::from(attempt)).fetch_optional(c).await)
        .map_err(ctx.fail("hold a job"))?;
        tx.commit().await?;
        Ok(stop.map_or(Lease::Lost, |text| JobState::parse(&text).map_or(Lease::Held, Lease::Stop)))
    }

    /// Gives a job back that its worker was told to leave, because the server stops: whoever serves next begins with it at once, and
    /// this attempt does not count as one at which a worker died.
    pub async fn give_back_job(&self, id: u64, attempt: u32) -> Result<()> {
        const SQL: &str =
            "UPDATE job SET state = 'waiting', attempts = attempts - 1, owner = NULL, lease_until = NULL
            WHERE id = $1 AND attempts = $2 AND state = 'running' AND stop_as IS NULL";
        let mut tx = self.write().await?;
        let ctx = tx.ctx.clone();
        on!(tx.conn(), c => sqlx::query(SQL).bind(id as i64).bind(i64::from(attempt)).execute(c).await.map(drop))
            .map_err(ctx.fail("give a job back"))?;
        tx.commit().await
    }

    /// Asks the worker of a job that runs to stop it, so that it ends as `state`. Its end is what the log will tell.
    pub async fn ask_job_to_stop(&self, id: u64, state: JobState) -> Result<bool> {
        let mut tx = self.write().await?;
        let ctx = tx.ctx.clone();
        let asked = ask_to_stop(tx.conn(), &ctx, id, state).await?;
        tx.commit().await?;
        Ok(asked)
    }
}

impl Tx {
    /// Jobs of a project that wait or run, oldest first.
    pub async fn open_jobs(&mut self, project: &str) -> Result<Vec<Job>> {
        let ctx = self.transact.ctx.clone();
        open_jobs(self.transact.conn(), &ctx, project).await
    }

    /// When jobs of a project were made since `since`, with their triggers.
    pub async fn jobs_made(&mut self, project: &str, since: Timestamp) -> Result<Vec<(String, Timestamp)>> {
        const SQL: &str = "SELECT trigger_name, created_at FROM job
            WHERE project = $1 AND created_at >= $2 ORDER BY id";
        let ctx = self.transact.ctx.clone();
        let rows: Vec<(String, i64)> = on!(self.transact.conn(), c => sqlx::query_as(SQL)
            .bind(project).bind(since.millis()).fetch_all(c).await)
        .map_err(ctx.fail("read jobs"))?;
        Ok(rows.into_iter().map(|(trigger, at)| (trigger, Timestamp::from_millis(at))).collect())
    }

    /// Makes a job that waits; gives its number, or `None` where there is one of its key.
    pub async fn add_job(&mut self, job: &NewJob) -> Result<Option<u64>> {
        const SQL: &str = "INSERT INTO job
            (project, trigger_name, actions, details, state, dedupe, cause, attempts, created_at, run_at)
            VALUES ($1, $2, $3, $4, 'waiting', $5, $6, 0, $7, $7) ON CONFLICT (project, dedupe) DO NOTHING
            RETURNING id";
        let ctx = self.transact.ctx.clone();
        let id: Option<i64> = on!(self.transact.conn(), c => sqlx::query_scalar(SQL)
            .bind(&job.project).bind(&job.trigger).bind(&job.actions).bind(&job.details).bind(&job.dedupe)
            .bind(job.cause as i64).bind(job.at.millis()).fetch_optional(c).await)
        .map_err(ctx.fail("make a job"))?;
        self.changed |= id.is_some();
        Ok(id.map(|id| id as u64))
    }

    /// Begins the next attempt at a job that had `attempts` of them; `false` where somebody else was first.
    pub async fn start_job(
        &mut self,
        id: u64,
        attempts: u32,
        owner: &Owner,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<bool> {
        const SQL: &str =
            "UPDATE job SET state = 'running', attempts = attempts + 1, owner = $1, started_at = $2,
            lease_until = $3 WHERE id = $4 AND attempts = $5 AND state IN ('waiting', 'running')";
        let owner = serde_json::to_string(owner).map_err(Error::Json)?;
        let ctx = self.transact.ctx.clone();
        let taken = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(owner).bind(now.millis()).bind(lease_until.millis()).bind(id as i64).bind(i64::from(attempts))
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("take a job"))?;
        self.changed |= taken > 0;
        Ok(taken > 0)
    }

    /// Ends the attempt of this number at a job; `false` where it is no longer that worker's.
    pub async fn end_job(
        &mut self,
        id: u64,
        attempt: u32,
        state: JobState,
        reason: Option<&str>,
        at: Timestamp,
    ) -> Result<bool> {
        const SQL: &str =
            "UPDATE job SET state = $1, reason = $2, ended_at = $3, owner = NULL, lease_until = NULL
            WHERE id = $4 AND attempts = $5 AND state IN ('waiting', 'running')";
        let ctx = self.transact.ctx.clone();
        let ended = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(state.name()).bind(reason).bind(at.millis()).bind(id as i64).bind(i64::from(attempt))
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("end a job"))?;
        self.changed |= ended > 0;
        Ok(ended > 0)
    }

    /// Stops a job: at once where it waits, and by its worker where it runs.
    pub async fn stop_job(
        &mut self,
        id: u64,
        state: JobState,
        reason: &str,
        at: Timestamp,
    ) -> Result<Stopped> {
        let ctx = self.transact.ctx.clone();
        let Some(found) = job(self.transact.conn(), &ctx, id).await? else { return Ok(Stopped::Over) };
        if found.state == JobState::Waiting {
            self.end_job(id, found.attempts, state, Some(reason), at).await?;
            return Ok(Stopped::Ended);
        }
        let asked = ask_to_stop(self.transact.conn(), &ctx, id, state).await?;
        Ok(if asked { Stopped::Asked } else { Stopped::Over })
    }
}

async fn ask_to_stop(conn: Conn<'_>, ctx: &Context, id: u64, state: JobState) -> Result<bool> {
    const SQL: &str = "UPDATE job SET stop_as = $1 WHERE id = $2 AND state = 'running'";
    let asked = on!(conn, c => sqlx::query(SQL).bind(state.name()).bind(id as i64)
        .execute(c).await.map(|done| done.rows_affected()))
    .map_err(ctx.fail("stop a job"))?;
    Ok(asked > 0)
}

async fn open_jobs(conn: Conn<'_>, ctx: &Context, project: &str) -> Result<Vec<Job>> {
    let sql = format!("{COLUMNS} WHERE project = $1 AND state IN ('waiting', 'running') ORDER BY id");
    let rows: Vec<Row> =
        on!(conn, c => sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(project).fetch_all(c).await)
            .map_err(ctx.fail("read jobs"))?;
    rows.into_iter().map(from_row).collect()
}

async fn job(conn: Conn<'_>, ctx: &Context, id: u64) -> Result<Option<Job>> {
    let sql = format!("{COLUMNS} WHERE id = $1");
    let id = i64::try_from(id).unwrap_or(-1);
    let row: Option<Row> =
        on!(conn, c => sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id).fetch_optional(c).await)
            .map_err(ctx.fail("read a job"))?;
    row.map(from_row).transpose()
}

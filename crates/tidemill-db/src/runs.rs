//! Pipeline runs and the steps that they did.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;

use tidemill_core::{Digest, Event, RunId, RunState, StepState, Timestamp};

use crate::backend::{Context, Hand, on};
use crate::cache::put_results;
use crate::dialect::{self, Rows};
use crate::{Db, Error, Owner, Result, StepResult, Tx, events};

/// A pipeline run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Its identifier.
    pub id: RunId,
    /// The project's name.
    pub project: String,
    /// How it stands.
    pub state: RunState,
    /// Digest of the stored plan.
    pub plan: Digest,
    /// Commit of the code, where the project is in Git.
    pub commit: Option<String>,
    /// Digest of the lock file that it wrote.
    pub lock: Option<Digest>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The sequence number of the event that led to it.
    pub cause: Option<u64>,
    /// The process that runs it, or ran it.
    pub owner: Owner,
}

/// A run that is about to begin. Fields as in [`RunRecord`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `RunRecord`")]
pub struct NewRun {
    pub id: RunId,
    pub project: String,
    pub plan: Digest,
    pub commit: Option<String>,
    pub started_at: Timestamp,
    pub cause: Option<u64>,
    pub owner: Owner,
}

/// One attempt at one step of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRun {
    /// The run.
    pub run: RunId,
    /// The step's name.
    pub step: String,
    /// The step's cache key.
    pub key: Digest,
    /// How it ended.
    pub state: StepState,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Exit code, where a process ran.
    pub exit_code: Option<i32>,
    /// Digest of the record of its outputs.
    pub outputs: Option<Digest>,
    /// Digest of its stored log.
    pub log: Option<Digest>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Why it ran or did not, in the caller's words or JSON.
    pub reason: Option<String>,
}

type RunRow = (
    String,
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    i64,
    Option<i64>,
    Option<i64>,
    String,
    i64,
    String,
    i64,
);

fn run_from_row(row: RunRow) -> Result<RunRecord> {
    let (id, project, state, plan, commit, lock, started_at, ended_at, cause, host, pid, boot, started) = row;
    Ok(RunRecord {
        id: parse("pipeline_run", "id", &id, "a run id")?,
        project,
        state: run_state(&state)?,
        plan: parse("pipeline_run", "plan", &plan, "a digest")?,
        commit,
        lock: lock.map(|lock| parse("pipeline_run", "lock_digest", &lock, "a digest")).transpose()?,
        started_at: Timestamp::from_millis(started_at),
        ended_at: ended_at.map(Timestamp::from_millis),
        cause: cause.map(|seq| seq as u64),
        owner: Owner { host, pid: pid as u32, boot, started: started as u64 },
    })
}

type StepRow = (
    String,
    String,
    i64,
    String,
    String,
    Option<i64>,
    Option<String>,
    Option<String>,
    i64,
    i64,
    Option<String>,
);

fn step_from_row(row: StepRow) -> Result<StepRun> {
    let (run, step, attempt, key, state, exit_code, outputs, log, started_at, ended_at, reason) = row;
    Ok(StepRun {
        run: parse("step_run", "run_id", &run, "a run id")?,
        step,
        key: parse("step_run", "cache_key", &key, "a digest")?,
        state: step_state(&state)?,
        attempt: attempt as u32,
        exit_code: exit_code.map(|code| code as i32),
        outputs: outputs.map(|text| parse("step_run", "outputs", &text, "a digest")).transpose()?,
        log: log.map(|text| parse("step_run", "log", &text, "a digest")).transpose()?,
        started_at: Timestamp::from_millis(started_at),
        ended_at: Timestamp::from_millis(ended_at),
        reason,
    })
}

pub(crate) fn parse<T: FromStr>(
    table: &'static str,
    column: &'static str,
    text: &str,
    expected: &'static str,
) -> Result<T> {
    text.parse().map_err(|_| Error::value(table, column, text, expected))
}

/// The states as they stand in the tables; the same words as in the events.
const RUN_STATES: [(RunState, &str); 5] = [
    (RunState::Running, "running"),
    (RunState::Succeeded, "succeeded"),
    (RunState::Failed, "failed"),
    (RunState::Cancelled, "cancelled"),
    (RunState::Interrupted, "interrupted"),
];
const STEP_STATES: [(StepState, &str); 6] = [
    (StepState::Ran, "ran"),
    (StepState::Restored, "restored"),
    (StepState::Unchanged, "unchanged"),
    (StepState::Failed, "failed"),
    (StepState::Cancelled, "cancelled"),
    (StepState::Skipped, "skipped"),
];

fn run_state(text: &str) -> Result<RunState> {
    let found = RUN_STATES.iter().find(|(_, word)| *word == text).map(|(state, _)| *state);
    found.ok_or_else(|| Error::value("pipeline_run", "state", text, "a state of a run"))
}

fn step_state(text: &str) -> Result<StepState> {
    let found = STEP_STATES.iter().find(|(_, word)| *word == text).map(|(state, _)| *state);
    found.ok_or_else(|| Error::value("step_run", "state", text, "a state of a step"))
}

fn run_word(state: RunState) -> &'static str {
    RUN_STATES.iter().find(|(known, _)| *known == state).map_or("", |(_, word)| word)
}

fn step_word(state: StepState) -> &'static str {
    STEP_STATES.iter().find(|(known, _)| *known == state).map_or("", |(_, word)| word)
}

macro_rules! select_runs {
    ($rest:literal) => {
        concat!(
            "SELECT id, project, state, plan, commit_sha, lock_digest, started_at, ended_at, cause,
                owner_host, owner_pid, owner_boot, owner_started FROM pipeline_run ",
            $rest
        )
    };
}

/// An event with the project that it belongs to.
type OfProject = (String, i64, i64, String, String, String, String, String, Option<i64>, String);

impl Db {
    /// The latest runs, newest first.
    pub async fn runs(&self, limit: usize) -> Result<Vec<RunRecord>> {
        const SQL: &str = select_runs!("ORDER BY started_at DESC, id DESC LIMIT $1");
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut reader = self.reader().await?;
        let rows: Vec<RunRow> = on!(reader.conn(), c => sqlx::query_as(SQL).bind(limit).fetch_all(c).await)
            .map_err(self.ctx().fail("read runs"))?;
        rows.into_iter().map(run_from_row).collect()
    }

    /// The latest runs of a project, newest first.
    pub async fn runs_of(&self, project: &str, limit: usize) -> Result<Vec<RunRecord>> {
        const SQL: &str = select_runs!("WHERE project = $1 ORDER BY started_at DESC, id DESC LIMIT $2");
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut reader = self.reader().await?;
        let rows: Vec<RunRow> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(project).bind(limit).fetch_all(c).await)
                .map_err(self.ctx().fail("read runs"))?;
        rows.into_iter().map(run_from_row).collect()
    }

    /// The latest run of each project, newest first; at most `limit`.
    pub async fn newest_runs(&self, limit: usize) -> Result<Vec<RunRecord>> {
        // From name to name along the index, however many runs each has.
        const SQL: &str = select_runs!(
            "WHERE id IN (WITH RECURSIVE names (project) AS (
                SELECT MIN(project) FROM pipeline_run
                UNION ALL
                SELECT (SELECT MIN(r.project) FROM pipeline_run r WHERE r.project > n.project)
                FROM names n WHERE n.project IS NOT NULL)
            SELECT (SELECT r.id FROM pipeline_run r WHERE r.project = n.project
                ORDER BY r.started_at DESC, r.id DESC LIMIT 1) FROM names n WHERE n.project IS NOT NULL)
            ORDER BY started_at DESC, id DESC LIMIT $1"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut reader = self.reader().await?;
        let rows: Vec<RunRow> = on!(reader.conn(), c => sqlx::query_as(SQL).bind(limit).fetch_all(c).await)
            .map_err(self.ctx().fail("read the newest runs"))?;
        rows.into_iter().map(run_from_row).collect()
    }

    /// Of each of these projects the newest event of a kind about one of its last `runs` runs, by the project's name; projects without
    /// one are left out.
    pub async fn newest_events_of_projects(
        &self,
        projects: &BTreeSet<&str>,
        kind: &str,
        runs: usize,
    ) -> Result<Vec<(String, Event)>> {
        // A few events are about each run, and very many may be of the kind: the kind in an expression keeps its index out of it.
        const SQL: &str =
            "SELECT r.project, e.seq, e.at, e.actor_kind, e.actor, e.kind, e.subject, e.body, e.cause, e.leaf
            FROM {rows} CROSS JOIN event e WHERE e.seq = (SELECT MAX(t.seq) FROM event t
                WHERE t.kind || '' = r.kind AND t.subject IN (SELECT 'run:' || p.id FROM pipeline_run p
                    WHERE p.project = r.project ORDER BY p.started_at DESC, p.id DESC LIMIT {runs}))
            ORDER BY r.project";
        let sql = SQL.replace("{runs}", &runs.to_string());
        let wanted = Rows::new(projects.len())
            .padded()
            .text("project", projects.iter().copied())
            .text("kind", projects.iter().map(|_| kind));
        let mut reader = self.reader().await?;
        let rows: Vec<OfProject> =
            dialect::read_rows(reader.conn(), &sql, &wanted).await.map_err(self.ctx().fail("read events"))?;
        let read = |(project, seq, at, actor_kind, actor, kind, subject, body, cause, leaf): OfProject| {
            let row = (seq, at, actor_kind, actor, kind, subject, body, cause, leaf);
            Ok((project, events::from_row(row).to_event()?))
        };
        rows.into_iter().map(read).collect()
    }

    /// The latest runs before one of them in this order, newest first.
    pub async fn runs_before(
        &self,
        before: Option<(Timestamp, RunId)>,
        limit: usize,
    ) -> Result<Vec<RunRecord>> {
        const SQL: &str = select_runs!(
            "WHERE started_at < $1 OR (started_at = $1 AND id < $2) ORDER BY started_at DESC, id DESC LIMIT $3"
        );
        let Some((at, id)) = before else { return self.runs(limit).await };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut reader = self.reader().await?;
        let rows: Vec<RunRow> = on!(reader.conn(), c => sqlx::query_as(SQL)
            .bind(at.millis()).bind(id.to_string()).bind(limit).fetch_all(c).await)
        .map_err(self.ctx().fail("read runs"))?;
        rows.into_iter().map(run_from_row).collect()
    }

    /// The run whose id begins with `prefix` (hexadecimal digits, at least one).
    ///
    /// Fails with [`Error::NotFound`] or [`Error::Ambiguous`].
    pub async fn run(&self, prefix: &str) -> Result<RunRecord> {
        // A range of the primary key: every id that begins with the prefix is less than the prefix and a `g`.
        const SQL: &str = select_runs!("WHERE id >= $1 AND id < $2 ORDER BY id LIMIT 100");
        let from = prefix.to_ascii_lowercase();
        if from.is_empty() || !from.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::no_run(prefix));
        }
        let to = format!("{from}g");
        let mut reader = self.reader().await?;
        let mut rows: Vec<RunRow> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(&from).bind(&to).fetch_all(c).await)
                .map_err(self.ctx().fail("read runs"))?;
        match (rows.pop(), rows.len()) {
            (Some(row), 0) => run_from_row(row),
            (None, _) => Err(Error::no_run(prefix)),
            (Some(_), more) => Err(Error::Ambiguous { prefix: prefix.to_owned(), count: more + 1 }),
        }
    }

    /// The steps of a run, in the order in which they ended.
    pub async fn step_runs(&self, run: RunId) -> Result<Vec<StepRun>> {
        const SQL: &str =
            "SELECT run_id, step, attempt, cache_key, state, exit_code, outputs, log, started_at,
            ended_at, reason FROM step_run WHERE run_id = $1 ORDER BY ended_at, started_at, step, attempt";
        let mut reader = self.reader().await?;
        let rows: Vec<StepRow> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(run.to_string()).fetch_all(c).await)
                .map_err(self.ctx().fail("read steps"))?;
        rows.into_iter().map(step_from_row).collect()
    }

    /// The steps of several runs, at most 500 of them, each run's in the order in which they ended.
    pub async fn step_runs_of(&self, runs: &[RunId]) -> Result<Vec<StepRun>> {
        const SQL: &str =
            "SELECT run_id, step, attempt, cache_key, state, exit_code, outputs, log, started_at,
            ended_at, reason FROM step_run WHERE run_id IN (SELECT r.wanted FROM {rows})
            ORDER BY run_id, ended_at, started_at, step, attempt";
        let runs = &runs[..runs.len().min(500)];
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        // Each once and in order, so that what is read in parts comes as what is read at once.
        let texts: BTreeSet<String> = runs.iter().map(ToString::to_string).collect();
        let wanted = Rows::new(texts.len()).padded().text("wanted", texts.iter().map(String::as_str));
        let mut reader = self.reader().await?;
        let rows: Vec<StepRow> =
            dialect::read_rows(reader.conn(), SQL, &wanted).await.map_err(self.ctx().fail("read steps"))?;
        rows.into_iter().map(step_from_row).collect()
    }

    /// Runs in state `running`, oldest first. One whose [`Owner::is_alive`] is `Some(false)` crashed.
    pub async fn running_runs(&self) -> Result<Vec<RunRecord>> {
        const SQL: &str = select_runs!("WHERE state = 'running' ORDER BY started_at, id");
        let mut reader = self.reader().await?;
        let rows: Vec<RunRow> = on!(reader.conn(), c => sqlx::query_as(SQL).fetch_all(c).await)
            .map_err(self.ctx().fail("read runs"))?;
        rows.into_iter().map(run_from_row).collect()
    }
}

impl Tx {
    /// Records that a run began.
    pub async fn start_run(&mut self, run: &NewRun) -> Result<()> {
        const SQL: &str = "INSERT INTO pipeline_run (id, project, state, plan, commit_sha, started_at, cause,
                owner_host, owner_pid, owner_boot, owner_started)
            VALUES ($1, $2, 'running', $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING";
        let ctx = Arc::clone(&self.transact.ctx);
        let added = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(run.id.to_string()).bind(&run.project).bind(run.plan.to_string()).bind(&run.commit)
            .bind(run.started_at.millis()).bind(run.cause.map(|seq| seq as i64))
            .bind(&run.owner.host).bind(i64::from(run.owner.pid)).bind(&run.owner.boot)
            .bind(run.owner.started as i64)
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("record a run"))?;
        if added == 0 {
            return Err(Error::Exists { what: "run", name: run.id.to_string() });
        }
        self.changed = true;
        Ok(())
    }

    /// Records how an attempt at a step ended; with `result` its outputs are put into the step cache. Recording
    /// the same attempt again replaces it.
    pub async fn finish_step(&mut self, step: &StepRun, result: Option<&StepResult>) -> Result<()> {
        self.changed = true;
        let ctx = Arc::clone(&self.transact.ctx);
        put_steps(self.transact.conn().into(), &[step])
            .await
            .map_err(|error| no_such_run(&ctx, step, error))?;
        if let Some(result) = result {
            put_results(self.transact.conn().into(), &[result])
                .await
                .map_err(ctx.fail("record a step's result"))?;
        }
        Ok(())
    }

    /// Records how a run ended. Fails if it is not running.
    pub async fn finish_run(
        &mut self,
        run: RunId,
        state: RunState,
        lock: Option<Digest>,
        ended_at: Timestamp,
    ) -> Result<()> {
        const SQL: &str = "UPDATE pipeline_run SET state = $1, lock_digest = $2, ended_at = $3
            WHERE id = $4 AND state = 'running'";
        let ctx = Arc::clone(&self.transact.ctx);
        let lock = lock.map(|lock| lock.to_string());
        let done = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(run_word(state)).bind(lock).bind(ended_at.millis()).bind(run.to_string())
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("record a run"))?;
        if done == 0 {
            return Err(Error::NotFound { what: "running run", name: run.to_string() });
        }
        self.changed = true;
        Ok(())
    }

    /// Records that a run's process ended without saying so. Fails if it is not running.
    pub async fn mark_interrupted(&mut self, run: RunId, found_at: Timestamp) -> Result<()> {
        self.finish_run(run, RunState::Interrupted, None, found_at).await
    }
}

/// A step can only break one rule of the schema: that its run exists.
pub(crate) fn no_such_run(ctx: &Context, step: &StepRun, error: sqlx::Error) -> Error {
    if dialect::is_constraint(&error) { Error::no_run(step.run) } else { ctx.fail("record a step")(error) }
}

/// Writes attempts at steps in one statement. The same attempt must not be there twice.
pub(crate) async fn put_steps(hand: Hand<'_>, steps: &[&StepRun]) -> sqlx::Result<u64> {
    const SQL: &str = "INSERT INTO step_run ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
        ON CONFLICT (run_id, step, attempt) DO UPDATE SET cache_key = excluded.cache_key, state = excluded.state,
            exit_code = excluded.exit_code, outputs = excluded.outputs, log = excluded.log,
            started_at = excluded.started_at, ended_at = excluded.ended_at, reason = excluded.reason";
    let runs: Vec<String> = steps.iter().map(|step| step.run.to_string()).collect();
    let keys: Vec<String> = steps.iter().map(|step| step.key.to_string()).collect();
    let outputs: Vec<Option<String>> = steps.iter().map(|step| step.outputs.map(|d| d.to_string())).collect();
    let logs: Vec<Option<String>> = steps.iter().map(|step| step.log.map(|d| d.to_string())).collect();
    let rows = Rows::new(steps.len())
        .text("run_id", runs.iter().map(String::as_str))
        .text("step", steps.iter().map(|step| step.step.as_str()))
        .int("attempt", steps.iter().map(|step| i64::from(step.attempt)))
        .text("cache_key", keys.iter().map(String::as_str))
        .text("state", steps.iter().map(|step| step_word(step.state)))
        .opt_int("exit_code", steps.iter().map(|step| step.exit_code.map(i64::from)))
        .opt_text("outputs", outputs.iter().map(Option::as_deref))
        .opt_text("log", logs.iter().map(Option::as_deref))
        .int("started_at", steps.iter().map(|step| step.started_at.millis()))
        .int("ended_at", steps.iter().map(|step| step.ended_at.millis()))
        .opt_text("reason", steps.iter().map(|step| step.reason.as_deref()));
    hand.write_rows(SQL, &rows).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_for_states_are_those_of_the_events() {
        for (state, word) in RUN_STATES {
            assert_eq!(serde_json::json!(state), word);
        }
        for (state, word) in STEP_STATES {
            assert_eq!(serde_json::json!(state), word);
        }
    }
}

//! Rollouts, and everything that happened to them.

use sqlx::AssertSqlSafe;
use tidemill_core::{Digest, Timestamp};

use super::parse_digest;
use crate::backend::{Conn, Context, on};
use crate::{Db, Error, Result, Tx};

/// A rollout as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// Its number.
    pub id: u64,
    /// What it was made with.
    pub made: NewRollout,
    /// Its state, as JSON text.
    pub state: String,
    /// Its phase, for lists.
    pub phase: String,
    /// Whether it waits for another one to be over.
    pub is_waiting: bool,
    /// Whether nothing happens any more.
    pub is_over: bool,
    /// How many inputs it has had.
    pub inputs: u64,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a rollout is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRollout {
    /// The endpoint.
    pub endpoint: String,
    /// The environment.
    pub environment: String,
    /// The release that is to get the requests.
    pub candidate: Digest,
    /// The release that has them.
    pub incumbent: Option<Digest>,
    /// What it is to do, as JSON text.
    pub plan: String,
    /// When it was made.
    pub at: Timestamp,
}

/// A step of a rollout, to be written as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The number of inputs on which the step was decided; another number is refused.
    pub inputs: u64,
    /// When.
    pub at: Timestamp,
    /// What happened, as JSON text.
    pub input: String,
    /// The state after it, as JSON text.
    pub state: String,
    /// The phase after it.
    pub phase: String,
    /// Whether nothing happens any more.
    pub is_over: bool,
    /// Changes of phase.
    pub transitions: Vec<RolloutTransition>,
}

/// Something that happened to a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutInput {
    /// Its number, from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What, as JSON text.
    pub body: String,
}

/// A change of phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutTransition {
    /// When.
    pub at: Timestamp,
    /// The phase before.
    pub from: String,
    /// The phase after.
    pub to: String,
    /// The stage after, from 0.
    pub stage: u64,
    /// Why, in words.
    pub why: String,
}

/// An approval of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// In which role.
    pub role: String,
    /// What they agreed to.
    pub inputs: Digest,
    /// When.
    pub at: Timestamp,
}

/// What a gate said of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateResult {
    /// The gate.
    pub gate: String,
    /// Whether it let the rollout pass.
    pub passed: bool,
    /// What it found, in words.
    pub detail: String,
    /// Digest of the stored evidence.
    pub evidence: Option<Digest>,
    /// When.
    pub at: Timestamp,
}

/// Which rollouts to read. All given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolloutFilter {
    /// Of this endpoint.
    pub endpoint: Option<String>,
    /// In this environment.
    pub environment: Option<String>,
    /// Only those that are not over.
    pub is_live: bool,
    /// With a smaller number than this.
    pub before: Option<u64>,
    /// With this release among its candidates.
    pub release: Option<Digest>,
}

type Row = (i64, String, String, String, Option<String>, String, String, String, i64, i64, i64, i64, i64);

const COLUMNS: &str =
    "id, endpoint, environment, candidate, incumbent, plan, state, phase, is_waiting, is_over, inputs,
    created_at, updated_at";

fn from_row(row: Row) -> Result<Rollout> {
    let (
        id,
        endpoint,
        environment,
        candidate,
        incumbent,
        plan,
        state,
        phase,
        waiting,
        over,
        inputs,
        made,
        changed,
    ) = row;
    let incumbent = incumbent.map(|text| parse_digest("rollout", "incumbent", &text)).transpose()?;
    let made = NewRollout {
        endpoint,
        environment,
        candidate: parse_digest("rollout", "candidate", &candidate)?,
        incumbent,
        plan,
        at: Timestamp::from_millis(made),
    };
    Ok(Rollout {
        id: id as u64,
        made,
        state,
        phase,
        is_waiting: waiting != 0,
        is_over: over != 0,
        inputs: inputs as u64,
        updated_at: Timestamp::from_millis(changed),
    })
}

type ApprovalRow = (i64, String, String, String, i64);

/// The rollout, and who agreed to it.
fn approval_from_row((rollout, by, role, inputs, at): ApprovalRow) -> Result<(u64, Approval)> {
    let inputs = parse_digest("approval", "inputs", &inputs)?;
    Ok((rollout as u64, Approval { by, role, inputs, at: Timestamp::from_millis(at) }))
}

type GateRow = (i64, String, i64, String, Option<String>, i64);

/// The rollout, and what a gate said of it.
fn gate_from_row((rollout, gate, passed, detail, evidence, at): GateRow) -> Result<(u64, GateResult)> {
    let evidence = evidence.map(|text| parse_digest("gate_result", "evidence", &text)).transpose()?;
    let at = Timestamp::from_millis(at);
    Ok((rollout as u64, GateResult { gate, passed: passed != 0, detail, evidence, at }))
}

impl Db {
    /// The rollout of this number.
    pub async fn rollout(&self, id: u64) -> Result<Option<Rollout>> {
        let mut reader = self.reader().await?;
        rollout(reader.conn(), self.ctx(), id).await
    }

    /// Rollouts, newest first.
    pub async fn rollouts(&self, filter: &RolloutFilter, limit: usize) -> Result<Vec<Rollout>> {
        let mut reader = self.reader().await?;
        rollouts(reader.conn(), self.ctx(), filter, limit).await
    }

    /// The number of every rollout that is not over, and how many inputs it has had, oldest first: what changed since is cheap to see.
    pub async fn live_rollouts(&self, limit: usize) -> Result<Vec<(u64, u64)>> {
        const SQL: &str = "SELECT id, inputs FROM rollout WHERE is_over = 0 ORDER BY id LIMIT $1";
        let mut reader = self.reader().await?;
        let rows: Vec<(i64, i64)> = on!(reader.conn(), c => sqlx::query_as(SQL)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(c).await)
        .map_err(self.ctx().fail("read rollouts"))?;
        Ok(rows.into_iter().map(|(id, inputs)| (id as u64, inputs as u64)).collect())
    }

    /// How many rollouts are not over, and how many inputs they have had together: what differs after anything happened to them.
    pub async fn live_rollouts_mark(&self) -> Result<(u64, u64)> {
        const SQL: &str =
            "SELECT count(*), CAST(coalesce(sum(inputs), 0) AS BIGINT) FROM rollout WHERE is_over = 0";
        let mut reader = self.reader().await?;
        let (count, inputs): (i64, i64) = on!(reader.conn(), c => sqlx::query_as(SQL).fetch_one(c).await)
            .map_err(self.ctx().fail("read rollouts"))?;
        Ok((count as u64, inputs as u64))
    }

    /// What happened to a rollout after the input of number `after`, oldest first.
    pub async fn rollout_inputs(&self, id: u64, after: u64, limit: usize) -> Result<Vec<RolloutInput>> {
        const SQL: &str = "SELECT number, at, body FROM rollout_input WHERE rollout_id = $1 AND number > $2
            ORDER BY number LIMIT $3";
        let mut reader = self.reader().await?;
        let rows: Vec<(i64, i64, String)> = on!(reader.conn(), c => sqlx::query_as(SQL)
            .bind(id as i64).bind(after as i64).bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(c).await)
        .map_err(self.ctx().fail("read what happened to a rollout"))?;
        Ok(rows
            .into_iter()
            .map(|(number, at, body)| RolloutInput {
                number: number as u64,
                at: Timestamp::from_millis(at),
                body,
            })
            .collect())
    }

    /// The phases of a rollout, oldest first.
    pub async fn rollout_transitions(&self, id: u64) -> Result<Vec<RolloutTransition>> {
        const SQL: &str = "SELECT at, from_phase, to_phase, stage, why FROM rollout_transition
            WHERE rollout_id = $1 ORDER BY number";
        let mut reader = self.reader().await?;
        let rows: Vec<(i64, String, String, i64, String)> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(id as i64).fetch_all(c).await)
                .map_err(self.ctx().fail("read the phases of a rollout"))?;
        Ok(rows
            .into_iter()
            .map(|(at, from, to, stage, why)| RolloutTransition {
                at: Timestamp::from_millis(at),
                from,
                to,
                stage: stage as u64,
                why,
            })
            .collect())
    }

    /// Approvals of a rollout, oldest first; whether they still count is not decided here.
    pub async fn approvals(&self, rollout: u64) -> Result<Vec<Approval>> {
        const SQL: &str =
            "SELECT rollout_id, actor, role, inputs, at FROM approval WHERE rollout_id = $1 ORDER BY id";
        let mut reader = self.reader().await?;
        let rows: Vec<ApprovalRow> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(rollout as i64).fetch_all(c).await)
                .map_err(self.ctx().fail("read approvals"))?;
        rows.into_iter().map(|row| Ok(approval_from_row(row)?.1)).collect()
    }

    /// Who agreed to the rollouts that brought environments where they are, by rollout, oldest first.
    pub async fn environment_approvals(&self) -> Result<Vec<(u64, Approval)>> {
        const SQL: &str = "SELECT rollout_id, actor, role, inputs, at FROM approval
            WHERE rollout_id IN (SELECT rollout_id FROM environment) ORDER BY rollout_id, id";
        let mut reader = self.reader().await?;
        let rows: Vec<ApprovalRow> = on!(reader.conn(), c => sqlx::query_as(SQL).fetch_all(c).await)
            .map_err(self.ctx().fail("read approvals"))?;
        rows.into_iter().map(approval_from_row).collect()
    }

    /// What gates said of a rollout, oldest first.
    pub async fn gate_results(&self, rollout: u64) -> Result<Vec<GateResult>> {
        const SQL: &str =
            "SELECT rollout_id, gate, passed, detail, evidence, at FROM gate_result WHERE rollout_id = $1
            ORDER BY id";
        let mut reader = self.reader().await?;
        let rows: Vec<GateRow> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(rollout as i64).fetch_all(c).await)
                .map_err(self.ctx().fail("read what gates said"))?;
        rows.into_iter().map(|row| Ok(gate_from_row(row)?.1)).collect()
    }

    /// What gates said of the rollouts of a release, by rollout, newest first.
    pub async fn gate_results_of(&self, release: Digest, limit: usize) -> Result<Vec<(u64, GateResult)>> {
        const SQL: &str =
            "SELECT g.rollout_id, g.gate, g.passed, g.detail, g.evidence, g.at FROM gate_result g
            JOIN rollout r ON r.id = g.rollout_id WHERE r.candidate = $1
            OR r.id IN (SELECT rollout_id FROM rollout_rival WHERE release = $1)
            ORDER BY g.rollout_id DESC, g.id LIMIT $2";
        let mut reader = self.reader().await?;
        let rows: Vec<GateRow> = on!(reader.conn(), c => sqlx::query_as(SQL).bind(release.to_string())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(c).await)
        .map_err(self.ctx().fail("read what gates said"))?;
        rows.into_iter().map(gate_from_row).collect()
    }
}

impl Tx {
    /// The rollout of this number, as it stands in this transaction.
    pub async fn rollout(&mut self, id: u64) -> Result<Option<Rollout>> {
        let ctx = self.transact.ctx.clone();
        rollout(self.transact.conn(), &ctx, id).await
    }

    /// Rollouts, newest first, as they stand in this transaction.
    pub async fn rollouts(&mut self, filter: &RolloutFilter, limit: usize) -> Result<Vec<Rollout>> {
        let ctx = self.transact.ctx.clone();
        rollouts(self.transact.conn(), &ctx, filter, limit).await
    }

    /// Makes a rollout; gives its number.
    pub async fn add_rollout(
        &mut self,
        new: &NewRollout,
        state: &str,
        phase: &str,
        is_waiting: bool,
    ) -> Result<u64> {
        const SQL: &str = "INSERT INTO rollout (endpoint, environment, candidate, incumbent, plan, state, phase, is_waiting,
                is_over, inputs, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, $9, $9) RETURNING id";
        let ctx = self.transact.ctx.clone();
        let id: i64 = on!(self.transact.conn(), c => sqlx::query_scalar(SQL)
            .bind(&new.endpoint).bind(&new.environment).bind(new.candidate.to_string())
            .bind(new.incumbent.map(|digest| digest.to_string())).bind(&new.plan).bind(state).bind(phase)
            .bind(i64::from(is_waiting)).bind(new.at.millis()).fetch_one(c).await)
        .map_err(ctx.fail("make a rollout"))?;
        self.changed = true;
        Ok(id as u64)
    }

    /// Names the further candidates of a rollout, in order.
    pub async fn add_rivals(&mut self, rollout: u64, rivals: &[Digest]) -> Result<()> {
        const SQL: &str = "INSERT INTO rollout_rival (rollout_id, place, release) VALUES ($1, $2, $3)";
        let ctx = self.transact.ctx.clone();
        for (place, release) in (1_i64..).zip(rivals) {
            on!(self.transact.conn(), c => sqlx::query(SQL).bind(rollout as i64).bind(place)
                .bind(release.to_string()).execute(c).await.map(drop))
            .map_err(ctx.fail("name the candidates of a rollout"))?;
            self.changed = true;
        }
        Ok(())
    }

    /// Lets a rollout that waited begin, with the plan and state that it has by now; `false` where it does not wait.
    pub async fn begin_rollout(
        &mut self,
        id: u64,
        incumbent: Option<Digest>,
        plan: &str,
        state: &str,
        at: Timestamp,
    ) -> Result<bool> {
        const SQL: &str =
            "UPDATE rollout SET is_waiting = 0, incumbent = $2, plan = $3, state = $4, updated_at = $5
            WHERE id = $1 AND is_waiting = 1 AND is_over = 0";
        let ctx = self.transact.ctx.clone();
        let begun = on!(self.transact.conn(), c => sqlx::query(SQL).bind(id as i64)
            .bind(incumbent.map(|digest| digest.to_string())).bind(plan).bind(state).bind(at.millis())
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("begin a rollout"))?;
        self.changed |= begun > 0;
        Ok(begun > 0)
    }

    /// Takes a rollout one step on. `false`, and nothing is written, where it had another number of inputs than the step was decided on.
    ///
    /// A step without a transition is an observation and needs no event.
    pub async fn advance_rollout(&mut self, id: u64, step: &Advance) -> Result<bool> {
        const ROLLOUT: &str =
            "UPDATE rollout SET state = $3, phase = $4, is_over = $5, inputs = inputs + 1, updated_at = $6
            WHERE id = $1 AND inputs = $2";
        const INPUT: &str =
            "INSERT INTO rollout_input (rollout_id, number, at, body) VALUES ($1, $2, $3, $4)";
        const TRANSITION: &str =
            "INSERT INTO rollout_transition (rollout_id, number, at, from_phase, to_phase, stage, why)
            SELECT $1, COALESCE(MAX(number), 0) + 1, $2, $3, $4, $5, $6 FROM rollout_transition WHERE rollout_id = $1";
        let ctx = self.transact.ctx.clone();
        let moved = on!(self.transact.conn(), c => sqlx::query(ROLLOUT)
            .bind(id as i64).bind(step.inputs as i64).bind(&step.state).bind(&step.phase)
            .bind(i64::from(step.is_over)).bind(step.at.millis()).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("take a rollout on"))?;
        if moved == 0 {
            return Ok(false);
        }
        on!(self.transact.conn(), c => sqlx::query(INPUT)
            .bind(id as i64).bind(step.inputs as i64 + 1).bind(step.at.millis()).bind(&step.input)
            .execute(c).await.map(drop))
        .map_err(ctx.fail("note what happened to a rollout"))?;
        for transition in &step.transitions {
            on!(self.transact.conn(), c => sqlx::query(TRANSITION)
                .bind(id as i64).bind(transition.at.millis()).bind(&transition.from).bind(&transition.to)
                .bind(transition.stage as i64).bind(&transition.why).execute(c).await.map(drop))
            .map_err(ctx.fail("note the phase of a rollout"))?;
        }
        self.changed |= !step.transitions.is_empty();
        Ok(true)
    }

    /// Keeps an approval.
    pub async fn add_approval(&mut self, rollout: u64, approval: &Approval) -> Result<()> {
        const SQL: &str =
            "INSERT INTO approval (rollout_id, actor, role, inputs, at) VALUES ($1, $2, $3, $4, $5)";
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query(SQL).bind(rollout as i64).bind(&approval.by)
            .bind(&approval.role).bind(approval.inputs.to_string()).bind(approval.at.millis())
            .execute(c).await.map(drop))
        .map_err(ctx.fail("keep an approval"))?;
        self.changed = true;
        Ok(())
    }

    /// Keeps what a gate said.
    pub async fn add_gate_result(&mut self, rollout: u64, result: &GateResult) -> Result<()> {
        const SQL: &str = "INSERT INTO gate_result (rollout_id, gate, passed, detail, evidence, at)
            VALUES ($1, $2, $3, $4, $5, $6)";
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query(SQL).bind(rollout as i64).bind(&result.gate)
            .bind(i64::from(result.passed)).bind(&result.detail)
            .bind(result.evidence.map(|digest| digest.to_string())).bind(result.at.millis())
            .execute(c).await.map(drop))
        .map_err(ctx.fail("keep what a gate said"))?;
        self.changed = true;
        Ok(())
    }
}

async fn rollout(conn: Conn<'_>, ctx: &Context, id: u64) -> Result<Option<Rollout>> {
    let sql = format!("SELECT {COLUMNS} FROM rollout WHERE id = $1");
    let row: Option<Row> =
        on!(conn, c => sqlx::query_as(AssertSqlSafe(sql)).bind(id as i64).fetch_optional(c).await)
            .map_err(ctx.fail("read a rollout"))?;
    row.map(from_row).transpose()
}

async fn rollouts(
    conn: Conn<'_>,
    ctx: &Context,
    filter: &RolloutFilter,
    limit: usize,
) -> Result<Vec<Rollout>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM rollout WHERE ($1 = '' OR endpoint = $1) AND ($2 = '' OR environment = $2)
         AND ($3 = '' OR candidate = $3 OR id IN (SELECT rollout_id FROM rollout_rival WHERE release = $3))
         AND is_over <= $4 AND id < $5 ORDER BY id DESC LIMIT $6"
    );
    let before = filter.before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let rows: Vec<Row> = on!(conn, c => sqlx::query_as(AssertSqlSafe(sql))
        .bind(filter.endpoint.as_deref().unwrap_or_default())
        .bind(filter.environment.as_deref().unwrap_or_default())
        .bind(filter.release.map(|digest| digest.to_string()).unwrap_or_default())
        .bind(i64::from(!filter.is_live)).bind(before)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(c).await)
    .map_err(ctx.fail("read rollouts"))?;
    rows.into_iter().map(from_row).collect()
}

//! What environments run, and when nothing may change.

use tidemill_core::{Digest, Timestamp};

use super::parse_digest;
use crate::backend::on;
use crate::{Db, Result, Tx};

/// What an environment runs at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// The endpoint.
    pub endpoint: String,
    /// The release.
    pub release: Digest,
    /// The rollout that brought it there.
    pub rollout: u64,
    /// Since when.
    pub updated_at: Timestamp,
}

/// A time in which no release gets more requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// Its number.
    pub id: u64,
    /// The endpoint; all where absent.
    pub endpoint: Option<String>,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// From when.
    pub from: Timestamp,
    /// Until when; until it is lifted where absent.
    pub until: Option<Timestamp>,
}

impl Db {
    /// What environments run, by name and endpoint.
    pub async fn environments(&self) -> Result<Vec<Environment>> {
        const SQL: &str =
            "SELECT name, endpoint, release, rollout_id, updated_at FROM environment ORDER BY name, endpoint";
        let mut reader = self.reader().await?;
        let rows: Vec<(String, String, String, i64, i64)> =
            on!(reader.conn(), c => sqlx::query_as(SQL).fetch_all(c).await)
                .map_err(self.ctx().fail("read environments"))?;
        rows.into_iter()
            .map(|(name, endpoint, release, rollout, at)| {
                let release = parse_digest("environment", "release", &release)?;
                let (rollout, updated_at) = (rollout as u64, Timestamp::from_millis(at));
                Ok(Environment { name, endpoint, release, rollout, updated_at })
            })
            .collect()
    }

    /// Freezes that were not lifted, also those that are over, by number.
    pub async fn freezes(&self) -> Result<Vec<Freeze>> {
        const SQL: &str =
            "SELECT id, endpoint, reason, owner, from_at, until_at FROM traffic_freeze ORDER BY id";
        let mut reader = self.reader().await?;
        let rows: Vec<(i64, Option<String>, String, String, i64, Option<i64>)> =
            on!(reader.conn(), c => sqlx::query_as(SQL).fetch_all(c).await)
                .map_err(self.ctx().fail("read freezes"))?;
        let freeze = |(id, endpoint, reason, owner, from, until)| {
            let (from, until) = (Timestamp::from_millis(from), Option::map(until, Timestamp::from_millis));
            Freeze { id, endpoint, reason, owner, from, until }
        };
        let rows = rows.into_iter().map(|(id, endpoint, reason, owner, from, until)| {
            freeze((id as u64, endpoint, reason, owner, from, until))
        });
        Ok(rows.collect())
    }
}

impl Tx {
    /// Whether releases say what answers at an endpoint: an environment runs one there, or a rollout is about to.
    pub async fn is_released_to(&mut self, endpoint: &str) -> Result<bool> {
        const SQL: &str = "SELECT count(*) FROM (SELECT endpoint FROM environment WHERE endpoint = $1
            UNION ALL SELECT endpoint FROM rollout WHERE endpoint = $1 AND is_over = 0) AS found";
        let ctx = self.transact.ctx.clone();
        let found: i64 = on!(self.transact.conn(), c => sqlx::query_scalar(SQL)
            .bind(endpoint).fetch_one(c).await)
        .map_err(ctx.fail("read what is released to an endpoint"))?;
        Ok(found > 0)
    }

    /// What an environment runs at an endpoint, as it stands in this transaction.
    pub async fn environment_release(&mut self, name: &str, endpoint: &str) -> Result<Option<Digest>> {
        const SQL: &str = "SELECT release FROM environment WHERE name = $1 AND endpoint = $2";
        let ctx = self.transact.ctx.clone();
        let found: Option<String> = on!(self.transact.conn(), c => sqlx::query_scalar(SQL)
            .bind(name).bind(endpoint).fetch_optional(c).await)
        .map_err(ctx.fail("read an environment"))?;
        found.map(|text| parse_digest("environment", "release", &text)).transpose()
    }

    /// Notes what an environment runs.
    pub async fn set_environment(&mut self, environment: &Environment) -> Result<()> {
        const SQL: &str = "INSERT INTO environment (name, endpoint, release, rollout_id, updated_at)
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name, endpoint) DO UPDATE SET
            release = excluded.release, rollout_id = excluded.rollout_id, updated_at = excluded.updated_at";
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query(SQL).bind(&environment.name).bind(&environment.endpoint)
            .bind(environment.release.to_string()).bind(environment.rollout as i64)
            .bind(environment.updated_at.millis()).execute(c).await.map(drop))
        .map_err(ctx.fail("note what an environment runs"))?;
        self.changed = true;
        Ok(())
    }

    /// Keeps a freeze, whose number is not looked at; gives the number that it got.
    pub async fn add_freeze(&mut self, freeze: &Freeze) -> Result<u64> {
        const SQL: &str =
            "INSERT INTO traffic_freeze (endpoint, reason, owner, from_at, until_at) VALUES ($1, $2, $3, $4, $5)
            RETURNING id";
        let ctx = self.transact.ctx.clone();
        let id: i64 = on!(self.transact.conn(), c => sqlx::query_scalar(SQL)
            .bind(&freeze.endpoint).bind(&freeze.reason).bind(&freeze.owner).bind(freeze.from.millis())
            .bind(freeze.until.map(Timestamp::millis)).fetch_one(c).await)
        .map_err(ctx.fail("keep a freeze"))?;
        self.changed = true;
        Ok(id as u64)
    }

    /// Lifts a freeze; gives whether it was there.
    pub async fn lift_freeze(&mut self, id: u64) -> Result<bool> {
        const SQL: &str = "DELETE FROM traffic_freeze WHERE id = $1";
        let ctx = self.transact.ctx.clone();
        let gone = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(id as i64).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("lift a freeze"))?;
        self.changed |= gone > 0;
        Ok(gone > 0)
    }
}

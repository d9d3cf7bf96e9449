//! Releases that must not run in an environment, and who said that they may again.

use tidemill_core::{Digest, Timestamp};

use super::parse_digest;
use crate::backend::on;
use crate::{Db, Result, Tx};

/// A release that must not run in an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// The release.
    pub release: Digest,
    /// The environment.
    pub environment: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// One person's word that a release may leave its quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineWord {
    /// The release.
    pub release: Digest,
    /// The environment.
    pub environment: String,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

const WORDS: &str = "SELECT release, environment, person, reason, at FROM quarantine_word";

type WordRow = (String, String, String, String, i64);

fn word((release, environment, by, reason, at): WordRow) -> Result<QuarantineWord> {
    let release = parse_digest("quarantine_word", "release", &release)?;
    Ok(QuarantineWord { release, environment, by, reason, at: Timestamp::from_millis(at) })
}

impl Db {
    /// Releases in quarantine, newest first.
    pub async fn quarantines(&self) -> Result<Vec<Quarantine>> {
        const SQL: &str =
            "SELECT release, environment, reason, at FROM quarantine ORDER BY at DESC, release, environment";
        let mut reader = self.reader().await?;
        let rows: Vec<(String, String, String, i64)> =
            on!(reader.conn(), c => sqlx::query_as(SQL).fetch_all(c).await)
                .map_err(self.ctx().fail("read quarantines"))?;
        rows.into_iter()
            .map(|(release, environment, reason, at)| {
                let release = parse_digest("quarantine", "release", &release)?;
                Ok(Quarantine { release, environment, reason, at: Timestamp::from_millis(at) })
            })
            .collect()
    }

    /// Words for leaving quarantine that were not joined by a second one, oldest first.
    pub async fn quarantine_words(&self) -> Result<Vec<QuarantineWord>> {
        let sql = format!("{WORDS} ORDER BY at, release, environment, person");
        let mut reader = self.reader().await?;
        let rows: Vec<WordRow> =
            on!(reader.conn(), c => sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(c).await)
                .map_err(self.ctx().fail("read who would lift a quarantine"))?;
        rows.into_iter().map(word).collect()
    }
}

impl Tx {
    /// Puts a release into quarantine; gives whether it was not there. The first reason stays.
    pub async fn add_quarantine(&mut self, quarantine: &Quarantine) -> Result<bool> {
        const SQL: &str = "INSERT INTO quarantine (release, environment, reason, at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (release, environment) DO NOTHING";
        let ctx = self.transact.ctx.clone();
        let added = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(quarantine.release.to_string()).bind(&quarantine.environment).bind(&quarantine.reason)
            .bind(quarantine.at.millis()).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("put a release into quarantine"))?;
        self.changed |= added > 0;
        Ok(added > 0)
    }

    /// Takes a release out of quarantine; gives whether it was there.
    pub async fn lift_quarantine(&mut self, release: Digest, environment: &str) -> Result<bool> {
        const SQL: &str = "DELETE FROM quarantine WHERE release = $1 AND environment = $2";
        let ctx = self.transact.ctx.clone();
        let gone = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(release.to_string()).bind(environment).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("lift a quarantine"))?;
        self.changed |= gone > 0;
        Ok(gone > 0)
    }

    /// Words for a release to leave its quarantine, oldest first; nothing where it is in none.
    pub async fn quarantine_words(
        &mut self,
        release: Digest,
        environment: &str,
    ) -> Result<Option<Vec<QuarantineWord>>> {
        const IS_THERE: &str = "SELECT COUNT(*) FROM quarantine WHERE release = $1 AND environment = $2";
        let sql = format!("{WORDS} WHERE release = $1 AND environment = $2 ORDER BY at, person");
        let (ctx, release) = (self.transact.ctx.clone(), release.to_string());
        let found: i64 = on!(self.transact.conn(), c => sqlx::query_scalar(IS_THERE)
            .bind(&release).bind(environment).fetch_one(c).await)
        .map_err(ctx.fail("read a quarantine"))?;
        if found == 0 {
            return Ok(None);
        }
        let rows: Vec<WordRow> = on!(self.transact.conn(), c => sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(&release).bind(environment).fetch_all(c).await)
        .map_err(ctx.fail("read who would lift a quarantine"))?;
        rows.into_iter().map(word).collect::<Result<Vec<_>>>().map(Some)
    }

    /// Keeps a person's word for a release to leave its quarantine; an earlier one of the same person is replaced.
    pub async fn add_quarantine_word(&mut self, word: &QuarantineWord) -> Result<()> {
        const SQL: &str = "INSERT INTO quarantine_word (release, environment, person, reason, at)
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT (release, environment, person) DO UPDATE SET
            reason = excluded.reason, at = excluded.at";
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(word.release.to_string()).bind(&word.environment).bind(&word.by).bind(&word.reason)
            .bind(word.at.millis()).execute(c).await.map(drop))
        .map_err(ctx.fail("keep who would lift a quarantine"))?;
        self.changed = true;
        Ok(())
    }
}

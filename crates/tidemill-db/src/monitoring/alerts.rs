//! Alerts: one row from the first broken window of a series until it is over.

use tidemill_core::{Digest, Timestamp};

use crate::backend::on;
use crate::runs::parse;
use crate::{Db, Result, Tx};

/// An alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Its number.
    pub id: u64,
    /// `pending`, `firing`, `resolved` or `dropped`.
    pub state: String,
    /// The end of the window with which it began to fire.
    pub fired_at: Option<Timestamp>,
    /// The end of the window with which it was over.
    pub ended_at: Option<Timestamp>,
    /// The rest.
    pub made: NewAlert,
}

/// An alert that is about to be stored. Its texts and figures are those of the window that counts for its state.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAlert {
    /// What it is known by.
    pub fingerprint: Digest,
    /// The endpoint.
    pub endpoint: String,
    /// The series.
    pub watch: String,
    /// The kind of monitor, by which triggers know it.
    pub monitor: String,
    /// The begin of the first window that was broken.
    pub since: Timestamp,
    /// Why, in words.
    pub why: String,
    /// What it may cost.
    pub at_risk: Option<f64>,
    /// In which currency.
    pub currency: Option<String>,
    /// The window that it rests on.
    pub window: u64,
}

/// Which alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// In this state; in any where empty.
    pub state: Option<String>,
    /// Of this endpoint.
    pub endpoint: Option<String>,
    /// Of this series.
    pub watch: Option<String>,
    /// With a number below this.
    pub before: Option<u64>,
}

type Row = (
    i64,
    String,
    String,
    String,
    String,
    String,
    i64,
    Option<i64>,
    Option<i64>,
    String,
    Option<f64>,
    Option<String>,
    i64,
);

const COLUMNS: &str =
    "id, fingerprint, endpoint, watch, monitor, state, since_at, fired_at, ended_at, why, at_risk,
    currency, window_id";

impl Db {
    /// Alerts, the newest first.
    pub async fn alerts(&self, filter: &AlertFilter, limit: usize) -> Result<Vec<Alert>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM alert WHERE ($1 = '' OR state = $1) AND ($2 = '' OR endpoint = $2)
             AND ($3 = '' OR watch = $3) AND id < $4 ORDER BY id DESC LIMIT $5"
        );
        let before = filter.before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
        let mut reader = self.reader().await?;
        let rows: Vec<Row> = on!(reader.conn(), c => sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(filter.state.as_deref().unwrap_or_default())
            .bind(filter.endpoint.as_deref().unwrap_or_default())
            .bind(filter.watch.as_deref().unwrap_or_default())
            .bind(before).bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(c).await)
        .map_err(self.ctx().fail("read alerts"))?;
        rows.into_iter().map(from_row).collect()
    }

    /// One alert.
    pub async fn alert(&self, id: u64) -> Result<Option<Alert>> {
        let before = id.saturating_add(1);
        let found = self.alerts(&AlertFilter { before: Some(before), ..AlertFilter::default() }, 1).await?;
        Ok(found.into_iter().find(|alert| alert.id == id))
    }
}

impl Tx {
    /// Keeps a new alert in a state; gives its number.
    pub async fn add_alert(&mut self, made: &NewAlert, state: &str, fired: Option<Timestamp>) -> Result<u64> {
        const SQL: &str =
            "INSERT INTO alert (fingerprint, endpoint, watch, monitor, state, since_at, fired_at, why,
                at_risk, currency, window_id)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id";
        let ctx = self.transact.ctx.clone();
        let id: i64 = on!(self.transact.conn(), c => sqlx::query_scalar(SQL)
            .bind(made.fingerprint.to_string()).bind(&made.endpoint).bind(&made.watch).bind(&made.monitor)
            .bind(state).bind(made.since.millis()).bind(fired.map(Timestamp::millis)).bind(&made.why)
            .bind(made.at_risk).bind(&made.currency).bind(made.window as i64).fetch_one(c).await)
        .map_err(ctx.fail("keep an alert"))?;
        self.changed = true;
        Ok(id as u64)
    }

    /// The alert of this fingerprint that is pending or fires, as it stands in this transaction.
    pub async fn open_alert(&mut self, fingerprint: Digest) -> Result<Option<Alert>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM alert WHERE fingerprint = $1 AND state IN ('pending', 'firing')
             ORDER BY id DESC LIMIT 1"
        );
        let ctx = self.transact.ctx.clone();
        let row: Option<Row> = on!(self.transact.conn(), c => sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(fingerprint.to_string()).fetch_optional(c).await)
        .map_err(ctx.fail("read an alert"))?;
        row.map(from_row).transpose()
    }

    /// Writes down how an alert stands now: its state, its times, and what `made` says of it.
    pub async fn update_alert(&mut self, alert: &Alert) -> Result<()> {
        const SQL: &str = "UPDATE alert SET state = $1, fired_at = $2, ended_at = $3, why = $4, at_risk = $5,
            window_id = $6 WHERE id = $7";
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(&alert.state).bind(alert.fired_at.map(Timestamp::millis))
            .bind(alert.ended_at.map(Timestamp::millis)).bind(&alert.made.why).bind(alert.made.at_risk)
            .bind(alert.made.window as i64).bind(alert.id as i64).execute(c).await.map(drop))
        .map_err(ctx.fail("change an alert"))?;
        self.changed = true;
        Ok(())
    }
}

fn from_row(row: Row) -> Result<Alert> {
    let (
        id,
        fingerprint,
        endpoint,
        watch,
        monitor,
        state,
        since,
        fired,
        ended,
        why,
        at_risk,
        currency,
        window,
    ) = row;
    Ok(Alert {
        id: id as u64,
        state,
        fired_at: fired.map(Timestamp::from_millis),
        ended_at: ended.map(Timestamp::from_millis),
        made: NewAlert {
            fingerprint: parse("alert", "fingerprint", &fingerprint, "a digest")?,
            endpoint,
            watch,
            monitor,
            since: Timestamp::from_millis(since),
            why,
            at_risk,
            currency,
            window: window as u64,
        },
    })
}

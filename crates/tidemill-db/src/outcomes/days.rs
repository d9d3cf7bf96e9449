//! Which outcomes the requests of each day have, for whoever keeps days as files.

use tidemill_core::Timestamp;

use crate::backend::on;
use crate::{Db, Result};

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;

/// The outcomes of one name that requests of one day have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayOfOutcomes {
    /// The number of the day, in UTC.
    pub day: i64,
    /// Their name.
    pub name: String,
    /// How many.
    pub count: u64,
    /// How many of them are texts.
    pub texts: u64,
    /// The sum of their numbers: it and the count are others when one comes or goes.
    pub sum: i64,
}

impl Db {
    /// By day and name, the outcomes that were joined with requests of an endpoint from `from` to before `to`.
    pub async fn days_of_outcomes(
        &self,
        endpoint: &str,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Vec<DayOfOutcomes>> {
        const SQL: &str =
            "SELECT matched_at / 86400000 AS day, name, COUNT(*), COUNT(text), CAST(SUM(id) AS BIGINT)
            FROM outcome WHERE endpoint = $1 AND state = 'matched' AND matched_at >= $2 AND matched_at < $3
            GROUP BY 1, 2 ORDER BY 1, 2";
        let from = from.map_or(i64::MIN, Timestamp::millis);
        let to = to.map_or(i64::MAX, Timestamp::millis);
        let mut reader = self.reader().await?;
        let rows: Vec<(i64, String, i64, i64, i64)> = on!(reader.conn(), c => sqlx::query_as(SQL)
            .bind(endpoint).bind(from).bind(to).fetch_all(c).await)
        .map_err(self.ctx().fail("count outcomes by day"))?;
        let of = |(day, name, count, texts, sum): (i64, String, i64, i64, i64)| DayOfOutcomes {
            day,
            name,
            count: count as u64,
            texts: texts as u64,
            sum,
        };
        Ok(rows.into_iter().map(of).collect())
    }
}

//! PostgreSQL's statistics of tables that have just grown.
//!
//! PostgreSQL plans by what it knows of its tables, and its autovacuum looks at them once in a minute. Until then thousands of rows that came at
//! once are planned for as a handful: a page of runs takes fifteen times as long. So after so many rows that what was known can no
//! longer hold, the tables are analyzed by whoever wrote them.

use sqlx::PgPool;

/// Rows after which it is looked for the first time.
const FIRST: u64 = 256;

/// Tables that are searched together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tables {
    /// The one whose rows are counted.
    first: &'static str,
    analyze: &'static str,
}

/// What runs are searched in.
pub(crate) const RUNS: Tables =
    Tables { first: "run", analyze: "ANALYZE (SKIP_LOCKED) run, run_param, run_tag, series" };

/// What traces are searched in.
pub(crate) const TRACES: Tables =
    Tables { first: "trace", analyze: "ANALYZE (SKIP_LOCKED) trace, trace_tag, trace_metadata, span" };

/// Rows that this process has made of the one that is counted of some tables.
#[derive(Debug)]
pub(crate) struct Growth {
    tables: Tables,
    rows: u64,
    next: u64,
}

impl Growth {
    pub(crate) fn new(tables: Tables) -> Self {
        Self { tables, rows: 0, next: FIRST }
    }

    /// More rows were made: each time that they have doubled, PostgreSQL is told while others go on.
    pub(crate) fn made(&mut self, pool: &PgPool, rows: usize) {
        let Some(made) = self.add(rows) else { return };
        let (pool, tables) = (pool.clone(), self.tables);
        tokio::spawn(async move {
            if let Err(error) = tables.tell(&pool, made).await {
                tracing::debug!(%error, "tables that have grown were not analyzed");
            }
        });
    }

    /// Gives how many there are by now where the tables should be looked at.
    fn add(&mut self, rows: usize) -> Option<u64> {
        self.rows += rows as u64;
        let due = self.rows >= self.next;
        if due {
            self.next = self.rows.saturating_mul(2);
        }
        due.then_some(self.rows)
    }
}

impl Tables {
    /// Analyzes them, unless most rows were known before. Whoever is at it already is left alone.
    async fn tell(self, pool: &PgPool, made: u64) -> sqlx::Result<()> {
        // None, or a negative number, where nothing is known.
        const KNOWN: &str = "SELECT CAST(reltuples AS BIGINT) FROM pg_class WHERE oid = to_regclass($1)";
        let known: Option<i64> = sqlx::query_scalar(KNOWN).bind(self.first).fetch_optional(pool).await?;
        if known.is_none_or(|known| u64::try_from(known).unwrap_or_default() <= made) {
            sqlx::raw_sql(self.analyze).execute(pool).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_looked_at_each_time_that_they_have_doubled() {
        let mut growth = Growth::new(RUNS);
        let due: Vec<u64> = (0..1000).filter_map(|_| growth.add(10)).collect();
        assert_eq!(due, [260, 520, 1040, 2080, 4160, 8320]);
        assert_eq!((growth.add(0), growth.add(1_000_000)), (None, Some(1_010_000)));
    }
}

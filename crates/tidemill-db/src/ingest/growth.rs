//! PostgreSQL's statistics of tables that have just grown.
//!
//! PostgreSQL plans by what it knows of its tables, and its autovacuum looks at them once in a minute. Until then thousands of runs that came at
//! once are planned for as a handful: a page of them takes fifteen times as long. So after so many runs that what was known can no
//! longer hold, the tables are analyzed by whoever wrote them.

use sqlx::PgPool;

/// Runs after which it is looked for the first time.
const FIRST: u64 = 256;

/// Runs that this process has made.
#[derive(Debug)]
pub(super) struct Growth {
    runs: u64,
    next: u64,
}

impl Default for Growth {
    fn default() -> Self {
        Self { runs: 0, next: FIRST }
    }
}

impl Growth {
    /// More runs were made; gives how many there are by now where the tables should be looked at: each time that they have doubled.
    pub(super) fn add(&mut self, runs: usize) -> Option<u64> {
        self.runs += runs as u64;
        let due = self.runs >= self.next;
        if due {
            self.next = self.runs.saturating_mul(2);
        }
        due.then_some(self.runs)
    }
}

/// Analyzes the tables that runs are searched in, unless most runs were known before. Whoever is at it already is left alone.
pub(super) async fn analyze(pool: &PgPool, made: u64) -> sqlx::Result<()> {
    // None, or a negative number, where nothing is known.
    const KNOWN: &str = "SELECT CAST(reltuples AS BIGINT) FROM pg_class WHERE oid = to_regclass('run')";
    let known: Option<i64> = sqlx::query_scalar(KNOWN).fetch_optional(pool).await?;
    if known.is_none_or(|known| u64::try_from(known).unwrap_or_default() <= made) {
        sqlx::raw_sql("ANALYZE (SKIP_LOCKED) run, run_param, run_tag, series").execute(pool).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_looked_at_each_time_that_they_have_doubled() {
        let mut growth = Growth::default();
        let due: Vec<u64> = (0..1000).filter_map(|_| growth.add(10)).collect();
        assert_eq!(due, [260, 520, 1040, 2080, 4160, 8320]);
        assert_eq!((growth.add(0), growth.add(1_000_000)), (None, Some(1_010_000)));
    }
}

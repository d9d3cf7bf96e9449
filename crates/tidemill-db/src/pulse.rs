//! Whether the database answers, how large it is, and which one it is.

use crate::backend::{Either, on};
use crate::{Db, Result};

impl Db {
    /// Asks for the smallest thing there is, so that a database that is gone is noticed.
    pub async fn ping(&self) -> Result<()> {
        let mut reader = self.reader().await?;
        let fail = self.ctx().fail("ask whether it answers");
        on!(reader.conn(), c => sqlx::query("SELECT 1").execute(c).await.map(drop)).map_err(fail)
    }

    /// Its size in bytes, without what the database keeps beside it to recover from a crash.
    pub async fn size(&self) -> Result<u64> {
        const SQLITE: &str = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
        const POSTGRES: &str = "SELECT pg_database_size(current_database())";
        let mut reader = self.reader().await?;
        let size: sqlx::Result<i64> = match reader.conn() {
            Either::Sqlite(c) => sqlx::query_scalar(SQLITE).fetch_one(c).await,
            Either::Postgres(c) => sqlx::query_scalar(POSTGRES).fetch_one(c).await,
        };
        Ok(size.map_err(self.ctx().fail("read its size"))? as u64)
    }

    /// `sqlite` or `postgresql`.
    pub fn kind(&self) -> &'static str {
        match self.pools() {
            Either::Sqlite(_) => "sqlite",
            Either::Postgres(_) => "postgresql",
        }
    }

    /// Where it is: a path, or an address without the password.
    pub fn place(&self) -> &str {
        &self.ctx().place
    }
}

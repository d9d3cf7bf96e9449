//! How much there is of what lists show a part of, counted up to a limit, so that a long list costs no more than that.

use crate::backend::on;
use crate::{Db, EventFilter, Result, events};

/// A list whose rows can be counted without looking into them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Runs of the pipeline.
    PipelineRuns,
    /// Experiments that are not deleted.
    Experiments,
    /// Registered models.
    Models,
    /// Endpoints.
    Endpoints,
    /// Releases.
    Releases,
    /// Rollouts.
    Rollouts,
    /// Alerts.
    Alerts,
}

impl Listed {
    const fn sql(self) -> &'static str {
        match self {
            Self::PipelineRuns => "SELECT COUNT(*) FROM (SELECT 1 FROM pipeline_run LIMIT $1) n",
            Self::Experiments => {
                "SELECT COUNT(*) FROM (SELECT 1 FROM experiment WHERE stage = 'active' LIMIT $1) n"
            }
            Self::Models => "SELECT COUNT(*) FROM (SELECT 1 FROM registered_model LIMIT $1) n",
            Self::Endpoints => "SELECT COUNT(*) FROM (SELECT 1 FROM endpoint LIMIT $1) n",
            Self::Releases => "SELECT COUNT(*) FROM (SELECT 1 FROM release LIMIT $1) n",
            Self::Rollouts => "SELECT COUNT(*) FROM (SELECT 1 FROM rollout LIMIT $1) n",
            Self::Alerts => "SELECT COUNT(*) FROM (SELECT 1 FROM alert LIMIT $1) n",
        }
    }
}

impl Db {
    /// How many rows a list has, counted up to `limit`.
    pub async fn count(&self, list: Listed, limit: u64) -> Result<u64> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut reader = self.reader().await?;
        let count: i64 = on!(reader.conn(), c => sqlx::query_scalar(list.sql())
            .bind(limit).fetch_one(c).await)
        .map_err(self.ctx().fail("count rows"))?;
        Ok(count as u64)
    }

    /// How many events meet a filter, counted up to `limit`; its own limit and order do not matter.
    pub async fn count_events(&self, filter: &EventFilter, limit: u64) -> Result<u64> {
        let mut reader = self.reader().await?;
        let count = events::count(reader.conn(), filter, limit).await;
        count.map_err(self.ctx().fail("count events"))
    }
}

//! How much there is of what lists show a part of, counted up to a limit, so that a long list costs no more than that.

use crate::backend::on;
use crate::events::Lead;
use crate::{Db, EventFilter, Result, events};

/// A list whose rows can be counted without looking into them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed<'a> {
    /// Runs of the pipeline.
    PipelineRuns,
    /// Experiments that are not deleted.
    Experiments,
    /// Registered models.
    Models,
    /// Versions of a model that are not deleted.
    VersionsOf(&'a str),
    /// Endpoints.
    Endpoints,
    /// Releases.
    Releases,
    /// Releases of a model.
    ReleasesOf(&'a str),
    /// Rollouts.
    Rollouts,
    /// Alerts.
    Alerts,
    /// Windows that were judged of a series, which is named by endpoint and watch.
    WindowsOf(&'a str, &'a str),
}

impl<'a> Listed<'a> {
    const fn sql(self) -> &'static str {
        match self {
            Self::PipelineRuns => "SELECT COUNT(*) FROM (SELECT 1 FROM pipeline_run LIMIT $1) n",
            Self::Experiments => {
                "SELECT COUNT(*) FROM (SELECT 1 FROM experiment WHERE stage = 'active' LIMIT $1) n"
            }
            Self::Models => "SELECT COUNT(*) FROM (SELECT 1 FROM registered_model LIMIT $1) n",
            Self::VersionsOf(_) => {
                "SELECT COUNT(*) FROM (SELECT 1 FROM model_version v JOIN registered_model m ON m.id = v.model_id
                 WHERE m.name = $2 AND v.stage <> 'Deleted_Internal' LIMIT $1) n"
            }
            Self::Endpoints => "SELECT COUNT(*) FROM (SELECT 1 FROM endpoint LIMIT $1) n",
            Self::Releases => "SELECT COUNT(*) FROM (SELECT 1 FROM release LIMIT $1) n",
            Self::ReleasesOf(_) => {
                "SELECT COUNT(*) FROM (SELECT 1 FROM release WHERE model = $2 LIMIT $1) n"
            }
            Self::Rollouts => "SELECT COUNT(*) FROM (SELECT 1 FROM rollout LIMIT $1) n",
            Self::Alerts => "SELECT COUNT(*) FROM (SELECT 1 FROM alert LIMIT $1) n",
            Self::WindowsOf(..) => {
                "SELECT COUNT(*) FROM (SELECT 1 FROM monitor_window WHERE endpoint = $2 AND watch = $3 LIMIT $1) n"
            }
        }
    }

    /// What the statement names behind its limit.
    fn names(self) -> Vec<&'a str> {
        match self {
            Self::VersionsOf(name) | Self::ReleasesOf(name) => vec![name],
            Self::WindowsOf(endpoint, watch) => vec![endpoint, watch],
            Self::PipelineRuns
            | Self::Experiments
            | Self::Models
            | Self::Endpoints
            | Self::Releases
            | Self::Rollouts
            | Self::Alerts => Vec::new(),
        }
    }
}

impl Db {
    /// How many rows a list has, counted up to `limit`.
    pub async fn count(&self, list: Listed<'_>, limit: u64) -> Result<u64> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut reader = self.reader().await?;
        let count: i64 = on!(reader.conn(), c => {
            let mut query = sqlx::query_scalar(list.sql()).bind(limit);
            for name in list.names() {
                query = query.bind(name.to_owned());
            }
            query.fetch_one(c).await
        })
        .map_err(self.ctx().fail("count rows"))?;
        Ok(count as u64)
    }

    /// How many events meet a filter, counted up to `limit`; its own limit and order do not matter. Nothing where more than `limit`
    /// events would have to be looked at: there are so many of the time, and so many of the kind or about the thing.
    pub async fn count_events(&self, filter: &EventFilter, limit: u64) -> Result<Option<u64>> {
        let is_named = filter.subject.is_some() || filter.kind.is_some();
        let is_timed = filter.since.is_some() || filter.until.is_some();
        let mut reader = self.reader().await?;
        let mut lead = if is_timed { Lead::Time } else { Lead::Name };
        if is_named && is_timed {
            // The index that leads to fewer is asked for all that it leads to; the other condition is looked at there.
            let of_time = EventFilter { subject: None, kind: None, ..filter.clone() };
            let of_name = EventFilter { since: None, until: None, ..filter.clone() };
            let mut few = None;
            for (other, by) in [(of_time, Lead::Time), (of_name, Lead::Name)] {
                let count = events::count(reader.conn(), &other, limit, by).await;
                if count.map_err(self.ctx().fail("count events"))? < limit {
                    few = Some(by);
                    break;
                }
            }
            let Some(by) = few else { return Ok(None) };
            lead = by;
        }
        let count = events::count(reader.conn(), filter, limit, lead).await;
        count.map(Some).map_err(self.ctx().fail("count events"))
    }
}

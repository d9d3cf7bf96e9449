//! Searches over tracked runs.

#[cfg(test)]
mod explain;
mod key;
mod need;
mod plan;
mod query;

pub use plan::Effort;

use crate::search::{Condition, Cursor, OrderBy, Page};
use crate::tracking::load::{LoadError, load};
use crate::tracking::{Run, Stage};
use crate::{Db, Error, Result};

/// What runs are searched for.
#[derive(Clone, Debug)]
pub struct RunSearch {
    /// In these experiments.
    pub experiments: Vec<i64>,
    /// In these stages.
    pub stages: Vec<Stage>,
    /// All of which must hold.
    pub conditions: Vec<Condition>,
    /// In this order; then the newest start first, then by identifier.
    pub order: Vec<OrderBy>,
    /// Not more than this at once.
    pub limit: usize,
    /// Behind this place.
    pub after: Option<Cursor>,
}

impl Db {
    /// A page of runs. Only the runs of the page are read whole.
    ///
    /// Fails with [`Error::Cursor`] if `after` is not a place in this order.
    pub async fn search_runs(&self, search: &RunSearch) -> Result<Page<Run>> {
        self.search_runs_with(search, Effort::default()).await
    }

    /// [`Self::search_runs`] with other limits between its ways.
    pub async fn search_runs_with(&self, search: &RunSearch, effort: Effort) -> Result<Page<Run>> {
        let keys = key::keys(&search.order);
        let after = search.after.as_ref().map(|cursor| cursor.0.as_slice());
        if after.is_some_and(|places| {
            places.len() != keys.len() || keys.iter().zip(places).any(|(key, place)| !key.fits(place))
        }) {
            return Err(Error::Cursor);
        }
        if search.experiments.is_empty() || search.stages.is_empty() || search.limit == 0 {
            return Ok(Page::empty());
        }
        let mut tx = self.snapshot().await?;
        let mut hits = {
            let mut experiments = search.experiments.clone();
            experiments.sort_unstable();
            experiments.dedup();
            let stages = search.stages.iter().map(|stage| stage.word().to_owned()).collect();
            let mut plan = plan::Search { tx: &mut tx, scope: query::Scope { experiments, stages }, effort };
            plan.prepare().await?;
            plan.page(&need::needs(&search.conditions), &keys, after, search.limit + 1).await?
        };
        let more = hits.len() > search.limit;
        hits.truncate(search.limit);
        let ids: Vec<i64> = hits.iter().map(|(id, _)| *id).collect();
        let next = hits.pop().filter(|_| more).map(|(_, places)| Cursor(places));
        let items = load(tx.conn(), &ids).await.map_err(LoadError::sort(self.ctx(), "read runs"))?;
        Ok(Page { items, next })
    }
}

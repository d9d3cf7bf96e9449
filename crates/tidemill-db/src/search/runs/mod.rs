//! Searches over tracked runs.

mod count;
#[cfg(test)]
mod explain;
mod key;
mod lacking;
mod need;
mod plan;
mod query;

pub use count::KeyOf;
pub(crate) use lacking::Lacking;
pub use plan::Effort;

use std::sync::Arc;

use futures::FutureExt as _;

use crate::search::parts::Parts;
use crate::search::runs::plan::Search;
use crate::search::{Condition, Cursor, OrderBy, Page};
use crate::tracking::load::load;
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

/// Runs that are read at once of a page that is read in parts.
const PART: usize = 250;

/// A page of runs whose runs are read a part at a time, so that a long one is never in memory as a whole.
pub struct FoundRuns {
    db: Db,
    parts: Parts<Run>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

impl FoundRuns {
    /// The next runs in order; none at the end. A run that was removed for good since the search is left out.
    pub async fn part(&mut self) -> Result<Vec<Run>> {
        let db = &self.db;
        self.parts.next(|ids| db.runs_of_rows(ids)).await
    }
}

impl Db {
    /// A page of runs to be read a part at a time.
    ///
    /// Fails with [`Error::Cursor`] if `after` is not a place in this order.
    pub async fn find_runs(&self, search: &RunSearch) -> Result<FoundRuns> {
        let (first, rest, next) = self.found(search, Effort::default(), PART).await?;
        Ok(FoundRuns { db: self.clone(), parts: Parts::begun(first, rest, PART), next })
    }

    /// A page of runs. Only the runs of the page are read whole.
    ///
    /// Fails with [`Error::Cursor`] if `after` is not a place in this order.
    pub async fn search_runs(&self, search: &RunSearch) -> Result<Page<Run>> {
        self.search_runs_with(search, Effort::default()).await
    }

    /// [`Self::search_runs`] with other limits between its ways.
    pub async fn search_runs_with(&self, search: &RunSearch, effort: Effort) -> Result<Page<Run>> {
        let (items, _, next) = self.found(search, effort, search.limit).await?;
        Ok(Page { items, next })
    }

    /// The first runs of a page, not more than `part`; the rows of the others; and where the next page begins. In one view of the
    /// database.
    async fn found(
        &self,
        search: &RunSearch,
        effort: Effort,
        part: usize,
    ) -> Result<(Vec<Run>, Vec<i64>, Option<Cursor>)> {
        let (ctx, search) = (Arc::clone(self.ctx()), search.clone());
        self.view("search runs", move |mut hand| {
            async move {
                let scope = query::Scope::of(&search);
                let mut plan = Search { ctx, hand: hand.reborrow(), scope, effort };
                let (mut ids, next) = hits(&mut plan, &search).await?;
                let rest = ids.split_off(ids.len().min(part));
                Ok((load(hand, &ids).await?, rest, next))
            }
            .boxed()
        })
        .await
    }

    /// Runs by the numbers of their rows.
    async fn runs_of_rows(&self, ids: Vec<i64>) -> Result<Vec<Run>> {
        self.view("read runs", move |hand| async move { load(hand, &ids).await }.boxed()).await
    }
}

/// The rows of a page of runs, and where the next page begins.
async fn hits(plan: &mut Search<'_>, search: &RunSearch) -> Result<(Vec<i64>, Option<Cursor>)> {
    let keys = key::keys(&search.order);
    let after = search.after.as_ref().map(|cursor| cursor.0.as_slice());
    if after.is_some_and(|places| {
        places.len() != keys.len() || keys.iter().zip(places).any(|(key, place)| !key.fits(place))
    }) {
        return Err(Error::Cursor);
    }
    if search.experiments.is_empty() || search.stages.is_empty() || search.limit == 0 {
        return Ok((Vec::new(), None));
    }
    plan.prepare().await?;
    let mut hits = plan.page(&need::needs(&search.conditions), &keys, after, search.limit + 1).await?;
    let more = hits.len() > search.limit;
    hits.truncate(search.limit);
    let ids: Vec<i64> = hits.iter().map(|(id, _)| *id).collect();
    let next = hits.pop().filter(|_| more).map(|(_, places)| Cursor(places));
    Ok((ids, next))
}

//! How the runs of a page are found.
//!
//! There are two ways. Where some need is met by few rows, these are looked at, all of them, and sorted. Otherwise, and where the first
//! key has not many times as many values as there are such rows, the key's own index is walked in its order, in stretches that grow, until the
//! page is full. Most pages are full after a first stretch of metrics, parameters or tags, so only very few rows are counted before it.
//! A stretch of metrics, parameters or tags is read no further than the page needs. Within a stretch everything is sorted, so ties
//! cost nothing extra; a value that more runs share than a stretch holds is a search of its own among those runs, ordered by the
//! other keys. So are the runs whose value is NaN and those that have none; [`super::lacking`] remembers of which metrics these are few.
//! If a walk finds little for long, and what meets some need can be counted after all, it is given up for the first way.

use std::sync::Arc;

use crate::Result;
use crate::backend::{Context, Either, Hand};
use crate::direct::FromDirect;
use crate::search::Sql;
use crate::search::page::Place;
use crate::search::runs::key::{Key, Of};
use crate::search::runs::need::Need;
use crate::search::runs::query::{Driver, Found, Scope, Stretch, push_ahead, push_length, push_search};

/// Where one way of finding runs gives way to the other. The defaults are measured; others are for tests.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// So few rows are looked at and sorted.
    pub few: usize,
    /// The longest stretch of a walk, in rows.
    pub stretch: usize,
    /// The shortest.
    pub least: usize,
    /// A walk may be given up after as many rows.
    pub patience: usize,
    /// Rows are counted up to here, when a walk finds little.
    pub many: usize,
    /// Few rows are not looked at where they are more than one in so many values of the first key: those are walked sooner. 0 for never.
    pub common: usize,
    /// With more groups of experiment and stage than this, stretches of time are measured over all runs.
    pub groups: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            few: 4_000,
            stretch: 16_384,
            least: 256,
            patience: 20_000,
            many: 131_072,
            common: 4,
            groups: 16,
        }
    }
}

impl Effort {
    /// So few rows are looked at before anything is walked: no more than a first stretch has.
    fn at_once(&self, want: usize) -> usize {
        self.few.min(want.saturating_mul(4))
    }
}

/// A run with its place by each key.
pub(super) type Hit = (i64, Vec<Place>);

/// A search in a transaction, with one view for all of its statements.
pub(super) struct Search<'a> {
    pub(super) ctx: Arc<Context>,
    pub(super) hand: Hand<'a>,
    pub(super) scope: Scope,
    pub(super) effort: Effort,
}

/// How long the next stretch should be: what is left at the rate so far and a quarter more, at most four times as much as the last one.
/// Each row of a stretch costs lookups, found or not, so what is too long is paid for.
fn next_length(length: usize, walked: usize, found: usize, want: usize) -> usize {
    let left = want.saturating_sub(found);
    let at_rate = walked
        .saturating_mul(left)
        .checked_div(found)
        .map_or(usize::MAX, |rows| rows.saturating_add(rows / 4));
    at_rate.min(length.saturating_mul(4))
}

/// The words that make PostgreSQL join in the written order, by lookups.
const POSTGRES_ORDER: &str = "SET LOCAL join_collapse_limit = 1; SET LOCAL from_collapse_limit = 1;
    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL jit = off;
    SET LOCAL max_parallel_workers_per_gather = 0;";

impl Search<'_> {
    /// Settles how PostgreSQL plans the statements of this transaction.
    pub(super) async fn prepare(&mut self) -> Result<()> {
        if let Hand::Sqlx(Either::Postgres(c)) = self.hand.reborrow() {
            let set = sqlx::raw_sql(POSTGRES_ORDER).execute(c).await;
            set.map_err(self.ctx.fail("search runs"))?;
        }
        Ok(())
    }

    /// An empty statement.
    pub(super) fn sql(&self) -> Sql {
        Sql::of(self.hand.is_postgres())
    }

    /// The first `want` runs that meet all needs and come after `after`.
    pub(super) async fn page(
        &mut self,
        needs: &[Need],
        keys: &[Key],
        after: Option<&[Place]>,
        want: usize,
    ) -> Result<Vec<Hit>> {
        let Some(first) = keys.first() else { return Ok(Vec::new()) };
        if want == 0 || needs.contains(&Need::Nothing) {
            return Ok(Vec::new());
        }
        let few = if first.is_value() { self.effort.at_once(want) } else { self.effort.few };
        let (count, driver) = self.fewest(needs, few + 1).await?;
        if count == 0 {
            return Ok(Vec::new());
        }
        let is_few = count <= few;
        if is_few || matches!(first.of, Of::Property("uuid", _)) {
            let driver = if is_few { driver } else { Driver::Runs };
            return self.collect(&driver, needs, keys, after, want).await;
        }
        let absent =
            needs.iter().find_map(|need| if let Need::NoMetric(key) = need { Some(key) } else { None });
        if let Some(key) = absent
            && let Some(rows) = self.lacking(key).await?
        {
            return self.collect(&Driver::Rows(&rows), needs, keys, after, want).await;
        }
        match first.of {
            Of::Property("started_at", _) | Of::Metric(_) | Of::Pair(..) => {
                self.walk(needs, keys, after, want).await
            }
            // Its index is by experiment and stage only.
            Of::Property("ended_at", _) if self.groups() <= self.effort.groups => {
                self.walk(needs, keys, after, want).await
            }
            Of::Property(..) => {
                let (_, driver) = self.fewest(needs, self.effort.many).await?;
                self.collect(&driver, needs, keys, after, want).await
            }
        }
    }

    /// Whether the values of a key are so few that a page is found sooner among them than among `count` rows of another one.
    async fn walks_sooner(&mut self, key: &Key, count: usize, want: usize) -> Result<bool> {
        let limit = count.saturating_mul(self.effort.common);
        if !key.is_value() || limit == 0 || count <= want.saturating_mul(2) {
            return Ok(false);
        }
        let mut sql = self.sql();
        push_length(&mut sql, key, limit.saturating_add(1));
        let found: Vec<(i64,)> = self.fetch(&sql).await?;
        Ok(found.first().is_some_and(|(length,)| *length as usize <= limit))
    }

    /// What drives a search over the fewest rows, counted up to `limit`.
    pub(super) async fn fewest<'n>(
        &mut self,
        needs: &'n [Need],
        limit: usize,
    ) -> Result<(usize, Driver<'n>)> {
        let mut sql = self.sql();
        self.scope.push_count(&mut sql, limit);
        for (i, need) in needs.iter().enumerate().filter(|(_, need)| need.is_indexed()) {
            need.push_count(&mut sql, i + 1, &self.scope, limit);
        }
        let counts: Vec<(i64, i64)> = self.fetch(&sql).await?;
        let fewest = counts.into_iter().min_by_key(|(number, count)| (*count, *number));
        let Some((number, count)) = fewest else { return Ok((0, Driver::Runs)) };
        let driver = match (number as usize).checked_sub(1).and_then(|i| needs.get(i)) {
            Some(need) => Driver::Need(need),
            None => Driver::Runs,
        };
        Ok((count as usize, driver))
    }

    async fn collect(
        &mut self,
        driver: &Driver<'_>,
        needs: &[Need],
        keys: &[Key],
        after: Option<&[Place]>,
        want: usize,
    ) -> Result<Vec<Hit>> {
        let mut sql = self.sql();
        push_search(&mut sql, &self.scope, driver, needs, keys, after, want);
        let found: Vec<Found> = self.fetch(&sql).await?;
        Ok(found.into_iter().map(|found| (found.id, found.places(keys))).collect())
    }

    /// Along the first key.
    async fn walk(
        &mut self,
        needs: &[Need],
        keys: &[Key],
        after: Option<&[Place]>,
        want: usize,
    ) -> Result<Vec<Hit>> {
        let Some(key) = keys.first() else { return Ok(Vec::new()) };
        let begin = after.and_then(<[Place]>::first);
        let mut hits = Vec::new();
        if !matches!(begin, Some(Place::Nan | Place::Missing)) {
            match self.walk_values(needs, keys, after, want).await? {
                Walked::To(found) => hits = found,
                Walked::GivenUp(driver) => {
                    return self.collect(&driver, needs, keys, after, want).await;
                }
            }
        }
        if matches!(key.of, Of::Metric(_)) && begin != Some(&Place::Missing) {
            let rest = self.among(&Place::Nan, needs, keys, after, want - hits.len()).await?;
            hits.extend(rest);
        }
        let missing = key.need(&Place::Missing);
        if hits.len() < want && !needs.iter().any(|need| need.requires(&missing)) {
            let rest = self.among(&Place::Missing, needs, keys, after, want - hits.len()).await?;
            hits.extend(rest);
        }
        Ok(hits)
    }

    async fn walk_values<'n>(
        &mut self,
        needs: &'n [Need],
        keys: &[Key],
        mut after: Option<&[Place]>,
        want: usize,
    ) -> Result<Walked<'n>> {
        let Some(key) = keys.first() else { return Ok(Walked::To(Vec::new())) };
        let longest = self.effort.stretch.max(2 * want);
        // What is read in the order of its index is not read beyond the last run that is wanted, so it may be long.
        let begin = if key.is_value() { 8 * want } else { 2 * want };
        let (mut length, mut walked, mut may_give_up) = (begin.max(self.effort.least).min(longest), 0, true);
        let mut is_counted = !key.is_value();
        // Most runs have what most searches order by: who looks for those that do not may find none for very long.
        let absence = needs.iter().any(Need::is_absence);
        let patience = if absence { self.effort.patience / 16 } else { self.effort.patience };
        let mut from = after.and_then(<[Place]>::first).map(|place| (beginning(place), true));
        let mut hits: Vec<Hit> = Vec::new();
        loop {
            let rest = Stretch { from: from.clone(), to: None };
            let ahead = self.ahead(key, &rest, needs, length).await?;
            let left = want - hits.len();
            let crowded =
                ahead.as_ref().is_some_and(|ahead| from.as_ref().is_some_and(|(from, _)| from == ahead));
            if crowded {
                let place = ahead.clone().unwrap_or(Place::Missing);
                let found = if is_whole(&place) {
                    self.among(&place, needs, keys, after, left).await?
                } else {
                    let only = Stretch { from: Some((place.clone(), true)), to: Some((place, true)) };
                    self.collect(&Driver::Stretch(&only), needs, keys, after, left).await?
                };
                hits.extend(found);
                from = ahead.map(|place| (place, false));
            } else {
                let stretch = Stretch { from, to: ahead.clone().map(|place| (place, false)) };
                hits.extend(self.collect(&Driver::Stretch(&stretch), needs, keys, after, left).await?);
                if ahead.is_none() {
                    return Ok(Walked::To(hits));
                }
                from = ahead.map(|place| (place, true));
            }
            if hits.len() >= want {
                return Ok(Walked::To(hits));
            }
            if !is_counted {
                is_counted = true;
                let (count, driver) = self.fewest(needs, self.effort.few + 1).await?;
                if count <= self.effort.few && !self.walks_sooner(key, count, want).await? {
                    return Ok(Walked::GivenUp(driver));
                }
            }
            after = None;
            walked += length;
            length =
                next_length(length, walked, hits.len(), want).clamp(self.effort.least.min(longest), longest);
            if may_give_up && walked >= patience {
                may_give_up = false;
                let worth = self.effort.many.min(walked * want / hits.len().max(1));
                let (count, driver) = self.fewest(needs, worth).await?;
                if count < worth {
                    return Ok(Walked::GivenUp(driver));
                }
            }
        }
    }

    fn groups(&self) -> usize {
        self.scope.experiments.len() * self.scope.stages.len()
    }

    /// The value `length` rows ahead.
    async fn ahead(
        &mut self,
        key: &Key,
        rest: &Stretch,
        needs: &[Need],
        length: usize,
    ) -> Result<Option<Place>> {
        let groups = self.groups();
        if !matches!(key.of, Of::Property(..)) || groups > self.effort.groups {
            return self.value_ahead(key, rest, needs, None, length).await;
        }
        let mut nearest: Option<Place> = None;
        let scope = self.scope.clone();
        for experiment in &scope.experiments {
            for stage in &scope.stages {
                let length = (length / groups).max(1);
                let place = self.value_ahead(key, rest, needs, Some((*experiment, stage)), length).await?;
                nearest = match (nearest, place) {
                    (Some(Place::Int(a)), Some(Place::Int(b))) => {
                        Some(Place::Int(if key.descending { a.max(b) } else { a.min(b) }))
                    }
                    (nearest, place) => nearest.or(place),
                };
            }
        }
        Ok(nearest)
    }

    async fn value_ahead(
        &mut self,
        key: &Key,
        rest: &Stretch,
        needs: &[Need],
        group: Option<(i64, &str)>,
        length: usize,
    ) -> Result<Option<Place>> {
        let mut sql = self.sql();
        push_ahead(&mut sql, key, rest, needs, group, length);
        Ok(match key.of {
            Of::Metric(_) => {
                let found: Vec<(f64,)> = self.fetch(&sql).await?;
                found.first().map(|(number,)| Place::Float(number.to_bits()))
            }
            Of::Pair(..) | Of::Property(_, false) => {
                let found: Vec<(String,)> = self.fetch(&sql).await?;
                found.into_iter().next().map(|(text,)| Place::Text(text))
            }
            Of::Property(_, true) => {
                let found: Vec<(i64,)> = self.fetch(&sql).await?;
                found.first().map(|(whole,)| Place::Int(*whole))
            }
        })
    }

    /// Among the runs at one place of the first key, ordered by the other keys.
    async fn among(
        &mut self,
        place: &Place,
        needs: &[Need],
        keys: &[Key],
        after: Option<&[Place]>,
        want: usize,
    ) -> Result<Vec<Hit>> {
        let Some((key, others)) = keys.split_first() else { return Ok(Vec::new()) };
        let after = match after.and_then(<[Place]>::split_first) {
            Some((first, rest)) if first == place => Some(rest),
            _ => None,
        };
        let mut needs = needs.to_vec();
        let own = key.need(place);
        match needs.iter_mut().find(|need| need.has_row_of(&own) && own.has_row_of(need)) {
            Some(need) => need.merge(&own),
            // First, because it is met by few: what is asked after it is asked of those only.
            None => needs.insert(0, own),
        }
        let mut hits = Box::pin(self.page(&needs, others, after, want)).await?;
        for (_, places) in &mut hits {
            places.insert(0, place.clone());
        }
        Ok(hits)
    }

    pub(super) async fn fetch<T>(&mut self, sql: &Sql) -> Result<Vec<T>>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>
            + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>
            + FromDirect
            + Send
            + Unpin,
    {
        sql.fetch_on(self.hand.reborrow()).await.map_err(self.ctx.fail("search runs"))
    }
}

/// How a walk along the values ended.
enum Walked<'n> {
    /// With these runs.
    To(Vec<Hit>),
    /// These rows are a better way.
    GivenUp(Driver<'n>),
}

/// As much of a text as stretches are compared by.
fn beginning(place: &Place) -> Place {
    match place {
        Place::Text(text) => Place::Text(text.chars().take(64).collect()),
        place => place.clone(),
    }
}

/// Whether all runs at the beginning `place` are at the same place.
fn is_whole(place: &Place) -> bool {
    !matches!(place, Place::Text(text) if text.chars().count() >= 64)
}

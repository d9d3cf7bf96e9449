//! How much there is of what a list shows a part of, where that can be told cheaply.

use tidemill_db::{EventFilter, Listed};
use tidemill_registry::{Error, Question};
use tidemill_ui::Total;

use super::ask::Ask;

/// Counting ends behind so many.
const MOST: u64 = 10_000;

/// Of a whole list.
pub(super) async fn of(ask: &Ask, list: Listed<'_>) -> Result<Option<Total>, Error> {
    let count = ask.app.registry().db().count(list, MOST + 1).await?;
    Ok(Some(Total::counted(count, MOST)))
}

/// Of the registered models that a filter finds.
pub(super) async fn of_models(ask: &Ask, filter: &str) -> Result<Option<Total>, Error> {
    let count = ask.app.registry().count_models(filter, MOST + 1).await?;
    Ok(Some(Total::counted(count, MOST)))
}

/// Of the runs that a question finds.
pub(super) async fn of_runs(ask: &Ask, question: &Question) -> Result<Option<Total>, Error> {
    let count = ask.app.registry().count_runs(question, MOST as usize + 1).await?;
    Ok(count.map(|count| Total::counted(count as u64, MOST)))
}

/// Of the events that meet a filter; nothing where that would be a search through very many.
pub(super) async fn of_events(ask: &Ask, filter: &EventFilter) -> Result<Option<Total>, Error> {
    let db = ask.app.registry().db();
    let is_all = filter.since.or(filter.until).is_none() && filter.subject.is_none() && filter.kind.is_none();
    if is_all {
        return Ok(Some(Total::Exactly(db.log_head().await?.size)));
    }
    let all = EventFilter { before: None, ..filter.clone() };
    Ok(db.count_events(&all, MOST + 1).await?.map(|count| Total::counted(count, MOST)))
}

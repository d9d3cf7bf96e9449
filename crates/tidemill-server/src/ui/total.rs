//! How much there is of what a list shows a part of, where that can be told cheaply.

use tidemill_db::{EventFilter, Listed};
use tidemill_registry::{Error, Question};
use tidemill_ui::Total;

use super::ask::Ask;

/// Counting ends behind so many.
const MOST: u64 = 10_000;

/// Of a whole list.
pub(super) async fn of(ask: &Ask, list: Listed) -> Result<Option<Total>, Error> {
    let count = ask.app.registry().db().count(list, MOST + 1).await?;
    Ok(Some(Total::counted(count, MOST)))
}

/// Of the runs that a question finds.
pub(super) async fn of_runs(ask: &Ask, question: &Question) -> Result<Option<Total>, Error> {
    let count = ask.app.registry().count_runs(question, MOST as usize + 1).await?;
    Ok(count.map(|count| Total::counted(count as u64, MOST)))
}

/// Of the events that meet a filter; no index gives how many there are of a time.
pub(super) async fn of_events(ask: &Ask, filter: &EventFilter) -> Result<Option<Total>, Error> {
    let db = ask.app.registry().db();
    if filter.since.is_some() || filter.until.is_some() {
        return Ok(None);
    }
    if filter.subject.is_none() && filter.kind.is_none() {
        return Ok(Some(Total::Exactly(db.log_head().await?.size)));
    }
    let all = EventFilter { before: None, ..filter.clone() };
    Ok(Some(Total::counted(db.count_events(&all, MOST + 1).await?, MOST)))
}

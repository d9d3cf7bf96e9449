//! Tables: columns that can be sorted by a link, rows of cells, and the way to the next page.

use askama::Template;

use crate::{Cell, Empty, Link, Markup, count};

/// How a column can be sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// Where the table is sorted by this column, or the other way round where it is already.
    pub href: String,
    /// Whether it is sorted by it now, and if so whether the greatest comes first.
    pub descending: Option<bool>,
}

/// One column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// What is read above it, with the unit.
    pub label: String,
    /// What it is called in JSON and CSV; the label where empty.
    pub key: String,
    /// What it belongs to, for example `metrics`; columns beside each other with the same are under one heading.
    pub group: String,
    /// How it can be sorted.
    pub sort: Option<Sort>,
}

impl Column {
    /// A column that cannot be sorted.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    pub(crate) fn name(&self) -> &str {
        if self.key.is_empty() { &self.label } else { &self.key }
    }

    fn aria(&self) -> &'static str {
        match self.sort.as_ref().and_then(|sort| sort.descending) {
            Some(true) => "descending",
            Some(false) => "ascending",
            None => "none",
        }
    }

    fn arrow(&self) -> &'static str {
        match self.sort.as_ref().and_then(|sort| sort.descending) {
            Some(true) => "▼",
            Some(false) => "▲",
            None => "↕",
        }
    }
}

/// How many there are of what a list shows a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// So many.
    Exactly(u64),
    /// More than so many; counting goes no further.
    MoreThan(u64),
}

impl Total {
    /// From a count that was ended behind `most`.
    pub fn counted(count: u64, most: u64) -> Self {
        if count > most { Self::MoreThan(most) } else { Self::Exactly(count) }
    }
}

/// The pages beside this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pager {
    /// The first page, where this is another.
    pub first: Option<String>,
    /// The next page, where there is one.
    pub next: Option<String>,
    /// What this page shows, as [`Self::of`] says it.
    pub shown: String,
    /// How many there are on all pages, where that is known.
    pub total: Option<Total>,
}

impl Pager {
    /// A pager that leads nowhere yet, of a page with `here` rows; what one row is, and several.
    pub fn of(here: usize, total: Option<Total>, [one, many]: [&str; 2]) -> Self {
        let here = here as u64;
        let word = |count: u64| if count == 1 { one } else { many };
        let shown = match total {
            Some(Total::Exactly(all)) if all > here => {
                format!("{} of {} {}", count(here), count(all), word(all))
            }
            Some(Total::MoreThan(all)) => format!("{} of more than {} {many}", count(here), count(all)),
            Some(Total::Exactly(_)) | None => format!("{} {}", count(here), word(here)),
        };
        Self { shown, total, ..Self::default() }
    }
}

/// Columns and rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Its name within the page: the key in JSON, and what `?table=` asks CSV for.
    pub id: String,
    /// What it shows, for those who do not see it.
    pub caption: String,
    /// The columns.
    pub columns: Vec<Column>,
    /// As many cells a row as there are columns.
    pub rows: Vec<Vec<Cell>>,
    /// The pages beside this one.
    pub pager: Option<Pager>,
    /// What is said where there are no rows.
    pub empty: Option<Empty>,
    /// Whether the first column stays when the table is moved sideways.
    pub pinned: bool,
}

#[derive(Template)]
#[template(path = "table.html")]
struct TableTemplate<'a> {
    table: &'a Table,
    numeric: Vec<bool>,
    groups: Vec<(&'a str, usize)>,
}

impl TableTemplate<'_> {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn is_number(&self, column: &usize) -> bool {
        self.numeric.get(*column).copied().unwrap_or(false)
    }
}

impl Table {
    /// An empty table with columns that cannot be sorted.
    pub fn new(id: impl Into<String>, caption: impl Into<String>, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|label| Column::new(*label)).collect();
        Self { id: id.into(), caption: caption.into(), columns, ..Self::default() }
    }

    /// With these rows.
    #[must_use]
    pub fn with(mut self, rows: impl IntoIterator<Item = Vec<Cell>>) -> Self {
        self.rows.extend(rows);
        self
    }

    /// With what is said where there are no rows.
    #[must_use]
    pub fn or(mut self, empty: Empty) -> Self {
        self.empty = Some(empty);
        self
    }

    pub(crate) fn html(&self) -> Markup {
        if let Some(empty) = self.empty.as_ref().filter(|_| self.rows.is_empty()) {
            return empty.html();
        }
        let numeric = (0..self.columns.len())
            .map(|at| {
                let mut cells =
                    self.rows.iter().filter_map(|row| row.get(at)).filter(|cell| **cell != Cell::None);
                cells.next().is_some_and(Cell::is_numeric) && cells.all(Cell::is_numeric)
            })
            .collect();
        Markup::of(&TableTemplate { table: self, numeric, groups: self.groups() })
    }

    /// Headings above the columns: each with how many columns it spans. None where no column belongs to anything.
    fn groups(&self) -> Vec<(&str, usize)> {
        let mut groups: Vec<(&str, usize)> = Vec::new();
        for column in &self.columns {
            match groups.last_mut() {
                Some((name, span)) if *name == column.group => *span += 1,
                _ => groups.push((&column.group, 1)),
            }
        }
        if groups.iter().all(|(name, _)| name.is_empty()) { Vec::new() } else { groups }
    }

    /// The link behind the pager, where there is one.
    pub(crate) fn next(&self) -> Option<&str> {
        self.pager.as_ref()?.next.as_deref()
    }

    /// How many rows there are on all pages, where that is known.
    pub(crate) fn total(&self) -> Option<Total> {
        self.pager.as_ref()?.total
    }
}

/// A list of links as a cell.
impl From<Vec<Link>> for Cell {
    fn from(links: Vec<Link>) -> Self {
        Self::Many(links.into_iter().map(Self::Link).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pagers_say_how_much_there_is() {
        let said = |here, total| Pager::of(here, total, ["run", "runs"]).shown;
        assert_eq!(said(1, None), "1 run");
        assert_eq!(said(100, None), "100 runs");
        assert_eq!(said(100, Some(Total::Exactly(100))), "100 runs");
        assert_eq!(said(100, Some(Total::counted(1_234, 10_000))), "100 of 1234 runs");
        assert_eq!(said(100, Some(Total::counted(10_001, 10_000))), "100 of more than 10\u{202F}000 runs");
        assert_eq!(said(0, Some(Total::Exactly(1))), "0 of 1 run");
    }
}

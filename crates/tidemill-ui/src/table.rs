//! Tables: columns that can be sorted by a link, rows of cells, and the way to the next page.

use askama::Template;

use crate::{Cell, Empty, Link, Markup};

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

/// The pages beside this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pager {
    /// The first page, where this is another.
    pub first: Option<String>,
    /// The next page, where there is one.
    pub next: Option<String>,
    /// What this page shows, for example `100 runs`.
    pub shown: String,
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
}

/// A list of links as a cell.
impl From<Vec<Link>> for Cell {
    fn from(links: Vec<Link>) -> Self {
        Self::Many(links.into_iter().map(Self::Link).collect())
    }
}

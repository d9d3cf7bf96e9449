//! A history at a glance: rows of things, a column for each time, a sign in each place.

use askama::Template;

use crate::chart::places;
use crate::{Cell, Figure, Link, Markup, Table, Tone};

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct GridRow {
    /// What it is of.
    pub name: String,
    /// A state with its words for each column; none where there was nothing.
    pub places: Vec<Option<(Tone, String)>>,
}

/// Rows and columns of states.
#[derive(Clone, Debug, Default, PartialEq, Template)]
#[template(path = "grid.html")]
pub struct Grid {
    /// What it shows.
    pub caption: String,
    /// What is above each column.
    pub columns: Vec<Link>,
    /// The rows.
    pub rows: Vec<GridRow>,
    /// What the signs mean.
    pub legend: Vec<(Tone, &'static str)>,
    /// The same as numbers.
    pub table: Table,
}

impl Grid {
    /// With the same as a table called `id`, whose first column is called `what`.
    #[must_use]
    pub fn numbered(mut self, id: &str, what: &str) -> Self {
        let heads: Vec<&str> =
            std::iter::once(what).chain(self.columns.iter().map(|column| column.text.as_str())).collect();
        let rows = self.rows.iter().map(|row| {
            let cells = row.places.iter().map(|place| match place {
                // What stands in a place begins with the name of its row, for those who come to it without the row.
                Some((tone, words)) => {
                    let word = words.strip_prefix(&row.name).and_then(|rest| rest.strip_prefix(": "));
                    Cell::badge(*tone, word.unwrap_or(words))
                }
                None => Cell::None,
            });
            std::iter::once(Cell::text(row.name.clone())).chain(cells).collect()
        });
        self.table = Table::new(id, self.caption.clone(), &heads).with(rows);
        self
    }

    pub(crate) fn html(&self) -> Markup {
        Markup::of(self)
    }

    /// The same as a picture, for its file.
    pub(crate) fn figure(&self) -> Figure {
        Figure {
            id: self.table.id.clone(),
            title: self.caption.clone(),
            picture: places::grid(self),
            table: self.table.clone(),
            ..Figure::default()
        }
    }
}

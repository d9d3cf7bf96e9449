//! A history at a glance: rows of things, a column for each time, a sign in each place.

use askama::Template;

use crate::{Link, Markup, Tone};

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
}

impl Grid {
    pub(crate) fn html(&self) -> Markup {
        Markup::of(self)
    }
}

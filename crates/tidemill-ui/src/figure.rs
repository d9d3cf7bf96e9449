//! A chart with its title and the table of its numbers.

use askama::Template;

use crate::{Link, Markup, Table};

/// A chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figure {
    /// Its name within the page.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// What should be known to read it.
    pub note: String,
    /// The picture; nothing where it is to be fetched from `later`.
    pub picture: Markup,
    /// Where the picture is, if it is fetched when it comes into view.
    pub later: Option<String>,
    /// The numbers.
    pub table: Table,
    /// Pages beside the picture.
    pub links: Vec<Link>,
    /// As wide as the page.
    pub wide: bool,
}

#[derive(Template)]
#[template(path = "figure.html")]
struct FigureTemplate<'a> {
    figure: &'a Figure,
    table: Markup,
}

impl Figure {
    pub(crate) fn html(&self) -> Markup {
        Markup::of(&FigureTemplate { figure: self, table: self.table.html() })
    }
}

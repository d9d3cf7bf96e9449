//! A chart with its title and the table of its numbers.

use askama::Template;

use crate::chart::file;
use crate::{Link, Markup, Table, Viewer};

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
    /// The page that has the numbers, where the picture stands among so many that theirs would weigh more than all pictures.
    /// JSON, CSV and Markdown have them all the same.
    pub numbers: Option<String>,
    /// Pages beside the picture.
    pub links: Vec<Link>,
    /// As wide as the page.
    pub wide: bool,
    /// Without a frame and a title: the page is about nothing else.
    pub bare: bool,
    /// The picture that is to be had as a file, where that on the page is more than one.
    pub file: Option<Markup>,
    /// The page of this picture alone, where it has one: the picture has the same address on every page.
    pub address: Option<String>,
}

#[derive(Template)]
#[template(path = "figure.html")]
struct FigureTemplate<'a> {
    figure: &'a Figure,
    table: Markup,
    /// Where its file is.
    svg: Option<String>,
}

impl Figure {
    /// The picture as an SVG file that needs nothing else; nothing where there is none to be had as one.
    pub fn svg(&self) -> Option<String> {
        file::file(self.drawn())
    }

    fn drawn(&self) -> &str {
        self.file.as_ref().unwrap_or(&self.picture).as_str()
    }

    /// Whether [`Self::svg`] gives something.
    pub(crate) fn is_file(&self) -> bool {
        file::Drawn::parse(self.drawn()).is_some()
    }

    pub(crate) fn html(&self, viewer: &Viewer) -> Markup {
        let svg = self.is_file().then(|| viewer.picture(self));
        Markup::of(&FigureTemplate { figure: self, table: self.table.html(), svg })
    }
}

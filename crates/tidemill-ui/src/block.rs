//! What a page is made of.

use askama::Template;

use crate::markdown::paragraphs;
use crate::{
    Cell, Empty, Facts, Figure, FilterBox, Form, Grid, Heat, Link, LogText, Markup, Small, Stages, Table,
    Viewer,
};

/// A part of a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Parts under a heading.
    Section(Section),
    /// A table.
    Table(Table),
    /// Names and values.
    Facts(Facts),
    /// A chart.
    Figure(Box<Figure>),
    /// Charts beside each other.
    Figures(Vec<Figure>),
    /// A filter above a list.
    Filter(FilterBox),
    /// A form that changes something.
    Form(Form),
    /// Nothing is here yet.
    Empty(Empty),
    /// A history at a glance.
    Grid(Grid),
    /// A heat map.
    Heat(Heat),
    /// Stages in a row.
    Stages(Stages),
    /// What a program printed.
    Log(LogText),
    /// Plain sentences, a blank line between paragraphs.
    Text(String),
    /// Text as it is.
    Code(String),
    /// HTML of this crate: Markdown, a picture.
    Markup(Markup),
    /// A picture of this server: its address and what it shows.
    Image(String, String),
    /// Links beside each other.
    Links(Vec<Link>),
    /// Beside each other where there is room.
    Columns(Vec<Vec<Block>>),
    /// A form around blocks with boxes to tick: where it asks, what the button says, what is in it.
    Choose(String, String, Vec<Block>),
}

/// Parts under a heading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// Its name within the page; a section with a name is refreshed when something happens.
    pub id: String,
    /// The heading.
    pub title: String,
    /// A sentence below the heading.
    pub note: String,
    /// A page with more.
    pub more: Option<Link>,
    /// What is in it.
    pub blocks: Vec<Block>,
}

impl Section {
    /// Parts under a heading.
    pub fn new(id: impl Into<String>, title: impl Into<String>, blocks: Vec<Block>) -> Self {
        Self { id: id.into(), title: title.into(), blocks, ..Self::default() }
    }

    /// With a sentence below the heading.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// With a page with more.
    #[must_use]
    pub fn more(mut self, href: impl Into<String>, text: impl Into<String>) -> Self {
        self.more = Some(Link::new(href, text));
        self
    }
}

#[derive(Template)]
#[template(path = "block.html")]
struct BlockTemplate<'a> {
    block: &'a Block,
    viewer: &'a Viewer,
}

impl Block {
    pub(crate) fn html(&self, viewer: &Viewer) -> Markup {
        Markup::of(&BlockTemplate { block: self, viewer })
    }

    fn paragraphs(text: &str) -> Markup {
        paragraphs(text)
    }

    /// Calls `seen` for everything that has numbers, in order.
    pub(crate) fn walk<'a>(&'a self, seen: &mut dyn FnMut(Numbers<'a>)) {
        match self {
            Self::Section(section) => section.blocks.iter().for_each(|block| block.walk(seen)),
            Self::Table(table) => seen(Numbers::Table(table)),
            Self::Facts(facts) => seen(Numbers::Facts(facts)),
            Self::Figure(figure) => seen(Numbers::Figure(figure)),
            Self::Figures(figures) => figures.iter().for_each(|figure| seen(Numbers::Figure(figure))),
            Self::Columns(columns) => {
                columns.iter().flatten().for_each(|block| block.walk(seen));
            }
            Self::Choose(_, _, blocks) => blocks.iter().for_each(|block| block.walk(seen)),
            Self::Heat(heat) => seen(Numbers::Heat(heat)),
            Self::Grid(grid) => seen(Numbers::Grid(grid)),
            Self::Stages(stages) => seen(Numbers::Stages(stages)),
            Self::Log(log) => seen(Numbers::Lines(&log.id, &log.lines)),
            Self::Filter(_)
            | Self::Form(_)
            | Self::Empty(_)
            | Self::Text(_)
            | Self::Code(_)
            | Self::Markup(_)
            | Self::Image(..)
            | Self::Links(_) => {}
        }
    }
}

/// What programs get of a page.
#[derive(Clone, Copy)]
pub(crate) enum Numbers<'a> {
    Table(&'a Table),
    Figure(&'a Figure),
    Heat(&'a Heat),
    Grid(&'a Grid),
    Stages(&'a Stages),
    Facts(&'a Facts),
    Lines(&'a str, &'a [String]),
}

impl<'a> Numbers<'a> {
    /// The table of what is one, or has one behind it.
    pub(crate) fn table(self) -> Option<&'a Table> {
        match self {
            Self::Table(table) => Some(table),
            Self::Figure(figure) => Some(&figure.table),
            Self::Heat(heat) => Some(&heat.table),
            Self::Grid(grid) => Some(&grid.table),
            Self::Stages(stages) => Some(&stages.table),
            Self::Facts(_) | Self::Lines(..) => None,
        }
    }

    /// The small curve of this name that stands in it.
    pub(crate) fn small(self, name: &str) -> Option<&'a Small> {
        let named = |cell: &'a Cell| match cell {
            Cell::Curve(small) if small.id == name => Some(&**small),
            _ => None,
        };
        match self {
            Self::Facts(facts) => facts.items.iter().find_map(|fact| named(&fact.value)),
            _ => self.table()?.rows.iter().flatten().find_map(named),
        }
    }
}

//! A page: its place among the others, its title, and what is on it.

use askama::Template;

use crate::block::Numbers;
use crate::{Badge, Block, Figure, Link, Markup, Table, asset};

/// The parts of the product that the navigation leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Area {
    /// The loop as one picture.
    #[default]
    Home,
    /// Experiments and their runs.
    Experiments,
    /// Runs of the pipeline.
    Pipelines,
    /// Versioned datasets.
    Data,
    /// Registered models.
    Models,
    /// Endpoints.
    Serving,
    /// Releases on their way to requests.
    Delivery,
    /// What is watched in production.
    Monitoring,
    /// The project for its owner.
    Owner,
    /// The log of events.
    Log,
}

impl Area {
    const ALL: [Self; 10] = [
        Self::Home,
        Self::Experiments,
        Self::Pipelines,
        Self::Data,
        Self::Models,
        Self::Delivery,
        Self::Serving,
        Self::Monitoring,
        Self::Owner,
        Self::Log,
    ];

    /// As the navigation says it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Home => "Home",
            Self::Experiments => "Experiments",
            Self::Pipelines => "Pipelines",
            Self::Data => "Data",
            Self::Models => "Models",
            Self::Serving => "Serving",
            Self::Delivery => "Delivery",
            Self::Monitoring => "Monitoring",
            Self::Owner => "For the owner",
            Self::Log => "Log",
        }
    }

    /// Its address.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Home => "/",
            Self::Experiments => "/experiments",
            Self::Pipelines => "/pipelines",
            Self::Data => "/data",
            Self::Models => "/models",
            Self::Serving => "/serving",
            Self::Delivery => "/delivery",
            Self::Monitoring => "/monitoring",
            Self::Owner => "/owner",
            Self::Log => "/log",
        }
    }

    /// Its picture, on a field of 16 by 16: what the stroke of a path follows.
    const fn icon(self) -> &'static str {
        match self {
            Self::Home => "M1 6c2.5-3 4.5 3 7 0s4.5 3 7 0M1 11c2.5-3 4.5 3 7 0s4.5 3 7 0",
            Self::Experiments => "M6 2v5L2.5 13.5h11L10 7V2M4.5 2h7M5 10h6",
            Self::Pipelines => "M2 3h4v3H2zM10 10h4v3h-4zM6 4.500h3q1 0 1 1v5",
            Self::Data => "M2 4c0-3 12-3 12 0v8c0 3-12 3-12 0zM2 4c0 3 12 3 12 0M2 8c0 3 12 3 12 0",
            Self::Models => "M8 1.500 14 5v6l-6 3.500L2 11V5zM2 5l6 3.500L14 5M8 8.500v6",
            Self::Serving => "M2 8h4M10 8h4M6 8a2 2 0 1 0 4 0 2 2 0 1 0-4 0M11.500 5.500 14 8l-2.500 2.500",
            Self::Delivery => {
                "M1.500 4h8v7h-8zM9.500 6.500h3l2 2.500v2h-5M4 13.500a1.500 1.500 0 1 0 0-.1M11.500 13.500a1.500 1.500 0 1 0 0-.1"
            }
            Self::Monitoring => "M1 9h3l2-5.500 3.500 9L12 7l1 2h2",
            Self::Owner => "M8 2a2.700 2.700 0 1 0 .1 0M2.500 14c0-6 11-6 11 0",
            Self::Log => "M3 3h10M3 8h10M3 13h6",
        }
    }
}

/// A page above this one.
pub type Crumb = Link;

/// A part of a thing that has several pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tab {
    /// Where it is.
    pub href: String,
    /// What it is called.
    pub text: String,
    /// Whether it is this one.
    pub here: bool,
}

impl Tab {
    /// A part of a thing that has several pages.
    pub fn new(href: impl Into<String>, text: impl Into<String>, here: bool) -> Self {
        Self { href: href.into(), text: text.into(), here }
    }
}

/// Who looks, as far as a page depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Viewer {
    /// The name by which somebody signed in; none where the server knows nobody.
    pub name: Option<String>,
    /// The token of forms.
    pub csrf: String,
    /// The address of this page for permalinks and other forms of it: path and query.
    pub address: String,
}

impl Viewer {
    /// The address of another form of the page.
    fn form(&self, format: &str) -> String {
        form(&self.address, format)
    }

    /// The address of the picture of a figure as a file.
    pub fn picture(&self, figure: &Figure) -> String {
        if let Some(address) = &figure.address {
            return form(address, "svg");
        }
        self.chart(&figure.id)
    }

    /// The address of a picture of this page as a file.
    fn chart(&self, id: &str) -> String {
        let rest = crate::href(&[], &[("figure", id)]);
        format!("{}&{}", self.form("svg"), rest.trim_start_matches(['/', '?']))
    }

    /// The links below a chart that is a table or a list on the page: to it, and to its picture.
    pub(crate) fn links(&self, table: &Table) -> Markup {
        Markup::of(&LinksTemplate { id: &table.id, title: &table.caption, svg: self.chart(&table.id) })
    }
}

#[derive(Template)]
#[template(path = "links.html")]
struct LinksTemplate<'a> {
    id: &'a str,
    title: &'a str,
    svg: String,
}

/// Another form of what is at an address.
fn form(address: &str, format: &str) -> String {
    let mark = if address.contains('?') { '&' } else { '?' };
    format!("{address}{mark}format={format}")
}

/// A page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// What it is about.
    pub title: String,
    /// Which part of the product it belongs to.
    pub area: Area,
    /// The pages above it.
    pub crumbs: Vec<Crumb>,
    /// States that stand beside the title.
    pub badges: Vec<Badge>,
    /// A sentence below the title.
    pub lead: String,
    /// The parts of the thing.
    pub tabs: Vec<Tab>,
    /// What is on it.
    pub blocks: Vec<Block>,
    /// Kinds of events after which it is not up to date any more.
    pub live: Vec<&'static str>,
    /// Whether something on it grows without an event, so that it is to be looked at every few seconds.
    pub growing: bool,
}

#[derive(Template)]
#[template(path = "frame.html")]
struct Frame<'a> {
    page: &'a Page,
    viewer: &'a Viewer,
    body: Markup,
    style: &'static str,
    script: &'static str,
    icon: &'static str,
    live: String,
}

impl Page {
    /// As HTML.
    pub fn html(&self, viewer: &Viewer) -> String {
        let body = Markup(self.blocks.iter().map(|block| block.html(viewer).0).collect());
        let frame = Frame {
            page: self,
            viewer,
            body,
            style: asset::path("app.css"),
            script: asset::path("app.js"),
            icon: asset::path("icon.svg"),
            live: self.live.join(" "),
        };
        Markup::of(&frame).0
    }

    pub(crate) fn walk<'a>(&'a self, seen: &mut dyn FnMut(Numbers<'a>)) {
        self.blocks.iter().for_each(|block| block.walk(seen));
    }

    fn areas(&self) -> [Area; 10] {
        Area::ALL
    }
}

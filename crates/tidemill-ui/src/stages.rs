//! Stages in a row: what is over, what goes on, what is to come, and the share of requests in each.

use askama::Template;

use crate::chart::places;
use crate::{Badge, Cell, Figure, Markup, Table};

/// One stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub detail: String,
    /// How it stands.
    pub state: Badge,
    /// The share of requests, from 0 to 1; none where the stage does not change it.
    pub share: Option<f64>,
    /// Whether it is the one that goes on.
    pub here: bool,
}

/// Stages in a row.
#[derive(Clone, Debug, Default, PartialEq, Template)]
#[template(path = "stages.html")]
pub struct Stages {
    /// What they are of.
    pub caption: String,
    /// In order.
    pub items: Vec<Stage>,
    /// The same as numbers.
    pub table: Table,
}

impl Stages {
    /// Stages in a row; `id` is what their numbers are called.
    pub fn new(id: &str, caption: impl Into<String>, items: Vec<Stage>) -> Self {
        let caption = caption.into();
        let rows = items.iter().map(|stage| {
            vec![
                Cell::text(stage.name.clone()),
                Cell::text(stage.detail.clone()),
                stage.share.map_or(Cell::None, Cell::Number),
                Cell::Badge(stage.state.clone()),
            ]
        });
        let table =
            Table::new(id, caption.clone(), &["stage", "ends when", "share of requests", "state"]).with(rows);
        Self { caption, items, table }
    }

    pub(crate) fn html(&self) -> Markup {
        Markup::of(self)
    }

    /// The same as a picture, for its file.
    pub(crate) fn figure(&self) -> Figure {
        Figure {
            id: self.table.id.clone(),
            title: self.caption.clone(),
            picture: places::stages(self),
            table: self.table.clone(),
            ..Figure::default()
        }
    }

    /// The length of a share's bar, of 100.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn length(share: &f64) -> String {
        format!("{:.1}", share.clamp(0.0, 1.0) * 100.0)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    pub(crate) fn percent(share: &f64) -> String {
        format!("{} %", crate::number((share * 10_000.0).round() / 100.0))
    }
}

//! A heat map: rows and columns of numbers, darker where they are larger. The numbers stand in the places, so nothing rests on colour.

use askama::Template;

use crate::chart::places;
use crate::{Cell, Figure, Link, Markup, Table, number};

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatColumn {
    /// Its name, and where it leads.
    pub head: Link,
    /// What happened there, for example a release; nothing where empty.
    pub mark: String,
}

/// Rows and columns of numbers.
#[derive(Clone, Debug, Default, PartialEq, Template)]
#[template(path = "heat.html")]
pub struct Heat {
    /// What it shows, with the unit.
    pub caption: String,
    /// The columns, oldest first.
    pub columns: Vec<HeatColumn>,
    /// Names with a number for each column; none where nothing is known.
    pub rows: Vec<(String, Vec<Option<f64>>)>,
    /// The number from which on a place has the strongest colour.
    pub most: f64,
    /// From here on a number is marked as one to look at.
    pub limit: f64,
    /// The same as numbers.
    pub table: Table,
}

impl Heat {
    /// With the numbers of its rows; `id` is what they are called.
    #[must_use]
    pub fn numbered(mut self, id: &str) -> Self {
        let heads: Vec<&str> = std::iter::once("feature")
            .chain(self.columns.iter().map(|column| column.head.text.as_str()))
            .collect();
        let rows = self.rows.iter().map(|(name, values)| {
            let cells = values.iter().map(|value| value.map_or(Cell::None, Cell::Number));
            std::iter::once(Cell::text(name.clone())).chain(cells).collect()
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
            picture: places::heat(self),
            table: self.table.clone(),
            ..Figure::default()
        }
    }

    /// How strong the colour of a place is, from 0 to 5.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    pub(crate) fn level(&self, value: &f64) -> u8 {
        if !value.is_finite() || self.most <= 0.0 {
            return 0;
        }
        (value / self.most * 5.0).round().clamp(0.0, 5.0) as u8
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    pub(crate) fn text(value: &f64) -> String {
        number((value * 1_000.0).round() / 1_000.0)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    pub(crate) fn is_much(&self, value: &f64) -> bool {
        *value >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_numbers_have_levels() {
        let heat = Heat {
            caption: "Drift <PSI>".into(),
            columns: vec![HeatColumn { head: Link::new("/data", "v2<"), mark: "release <b>".into() }],
            rows: vec![("<b>".into(), vec![Some(0.3)]), ("x".into(), vec![None])],
            most: 0.25,
            limit: 0.2,
            ..Heat::default()
        }
        .numbered("drift");
        let text = heat.html().0;
        assert!(!text.contains("<b>") && text.contains("h5") && text.contains("0.3"), "{text}");
        assert_eq!(heat.table.rows[1][1], Cell::None);
    }
}

//! Names and values below each other.

use askama::Template;

use crate::{Cell, Markup};

/// A name and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// The name.
    pub name: String,
    /// The value.
    pub value: Cell,
}

/// Names and values.
#[derive(Clone, Debug, Default, PartialEq, Template)]
#[template(path = "facts.html")]
pub struct Facts {
    /// Its name within the page: the key in JSON.
    pub id: String,
    /// In order.
    pub items: Vec<Fact>,
    /// As large figures beside each other rather than below each other.
    pub large: bool,
}

impl Facts {
    /// None yet.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), ..Self::default() }
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: Cell) -> Self {
        self.items.push(Fact { name: name.into(), value });
        self
    }

    /// With one more, where it is known.
    #[must_use]
    pub fn maybe(self, name: impl Into<String>, value: Option<Cell>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// As large figures beside each other.
    #[must_use]
    pub fn large(mut self) -> Self {
        self.large = true;
        self
    }

    pub(crate) fn html(&self) -> Markup {
        Markup::of(self)
    }
}

//! The box above a list: a filter, its error, and other choices. A form that asks; nothing is changed by it.

use askama::Template;

use crate::Markup;

/// One of several values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What is sent.
    pub value: String,
    /// What is read.
    pub text: String,
    /// Whether it is chosen.
    pub chosen: bool,
}

impl Choice {
    /// One of several values.
    pub fn new(value: impl Into<String>, text: impl Into<String>, chosen: bool) -> Self {
        Self { value: value.into(), text: text.into(), chosen }
    }
}

/// Something to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// A line of text.
    Line {
        /// What is sent.
        name: String,
        /// What is read.
        label: String,
        /// What is in it.
        value: String,
        /// An example.
        example: String,
        /// Whether it takes the room that is left.
        wide: bool,
    },
    /// One of a few.
    Select {
        /// What is sent.
        name: String,
        /// What is read.
        label: String,
        /// The values.
        choices: Vec<Choice>,
    },
    /// Any of many, folded away.
    Several {
        /// What is sent, once for each.
        name: String,
        /// What is read.
        label: String,
        /// The values.
        choices: Vec<Choice>,
        /// How others are found, where there are more than these.
        find: Option<Find>,
    },
    /// Yes or no.
    Tick {
        /// What is sent.
        name: String,
        /// What is read.
        label: String,
        /// Whether it is ticked.
        chosen: bool,
    },
    /// Sent along, unseen.
    Hidden {
        /// What is sent.
        name: String,
        /// The value.
        value: String,
    },
}

/// A line above choices by which others are found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Find {
    /// What is sent.
    pub name: String,
    /// What is read.
    pub label: String,
    /// What is in it.
    pub value: String,
    /// Whether somebody looks for something now, so that the choices are unfolded. `finding` is sent for it.
    pub is_open: bool,
    /// What was found, or which ones stand there before anything is looked for.
    pub note: String,
}

/// The box.
#[derive(Clone, Debug, Default, PartialEq, Eq, Template)]
#[template(path = "filter.html")]
pub struct FilterBox {
    /// Where it asks.
    pub action: String,
    /// What the box is for.
    pub label: String,
    /// What is filled in.
    pub controls: Vec<Control>,
    /// Why it could not be understood; nothing where it was.
    pub error: String,
    /// What can be written.
    pub help: String,
    /// What the button says.
    pub button: String,
}

impl FilterBox {
    pub(crate) fn html(&self) -> Markup {
        Markup::of(self)
    }
}

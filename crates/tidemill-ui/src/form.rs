//! A form that changes something. It always carries the token by which the server knows that its own page sent it.

use askama::Template;

use crate::{Choice, Markup};

/// Something to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// What is sent.
    pub name: String,
    /// What is read.
    pub label: String,
    /// What is in it.
    pub value: String,
    /// `text`, `password` or `hidden`.
    pub kind: &'static str,
    /// One of these, where it is not free text.
    pub choices: Vec<Choice>,
}

impl Field {
    /// Something empty to fill in; `kind` as in [`Self::kind`].
    pub fn new(name: impl Into<String>, label: impl Into<String>, kind: &'static str) -> Self {
        Self { name: name.into(), label: label.into(), value: String::new(), kind, choices: Vec::new() }
    }
}

/// A form that is sent with POST.
#[derive(Clone, Debug, Default, PartialEq, Eq, Template)]
#[template(path = "form.html")]
pub struct Form {
    /// Where it is sent.
    pub action: String,
    /// What it is for.
    pub label: String,
    /// Proves that a page of this server sent it.
    pub token: String,
    /// What is filled in.
    pub fields: Vec<Field>,
    /// What the button says.
    pub button: String,
    /// Why it was refused; nothing where it was not.
    pub error: String,
}

impl Form {
    pub(crate) fn html(&self) -> Markup {
        Markup::of(self)
    }
}

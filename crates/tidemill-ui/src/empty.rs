//! What stands where there is nothing yet: it says what to do next.

use askama::Template;

use crate::{Link, Markup};

/// Nothing is here, and what to do about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Template)]
#[template(path = "empty.html")]
pub struct Empty {
    /// What is not here, in a sentence.
    pub title: String,
    /// How it comes about.
    pub text: String,
    /// Lines to copy into a shell or a program; none where empty.
    pub code: String,
    /// A page that helps.
    pub link: Option<Link>,
}

impl Empty {
    /// Nothing is here, and how it would come about.
    pub fn new(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { title: title.into(), text: text.into(), ..Self::default() }
    }

    /// With lines to copy.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = code.into();
        self
    }

    /// With a page that helps.
    #[must_use]
    pub fn link(mut self, href: impl Into<String>, text: impl Into<String>) -> Self {
        self.link = Some(Link::new(href, text));
        self
    }

    pub(crate) fn html(&self) -> Markup {
        Markup::of(self)
    }
}

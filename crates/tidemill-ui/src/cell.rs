//! What stands in one place of a table or a list of facts.

use askama::Template;
use serde_json::{Value, json};
use tidemill_core::Timestamp;

use crate::{Figure, Markup, ago, bytes, count, duration, moment, number};

/// What a state means. Each has a sign of its own, so that nothing rests on colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Failed.
    Bad,
    /// Somebody should look.
    Warn,
    /// At work.
    Busy,
    /// Nothing was to do, or it was taken from the cache.
    Calm,
    /// Neither good nor bad.
    Plain,
}

impl Tone {
    /// The class in the style sheet.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Busy => "busy",
            Self::Calm => "calm",
            Self::Plain => "plain",
        }
    }

    /// The sign before the word.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Bad => "✕",
            Self::Warn => "!",
            Self::Busy => "◐",
            Self::Calm => "=",
            Self::Plain => "·",
        }
    }
}

/// A state in a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Badge {
    /// What it means.
    pub tone: Tone,
    /// The word.
    pub text: String,
}

impl Badge {
    /// A state in a word.
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { tone, text: text.into() }
    }
}

/// A link within this server, made with [`crate::href`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where to.
    pub href: String,
    /// What is read.
    pub text: String,
}

impl Link {
    /// A link within this server, made with [`crate::href`].
    pub fn new(href: impl Into<String>, text: impl Into<String>) -> Self {
        Self { href: href.into(), text: text.into() }
    }
}

/// A curve as small as a word, which has its axes in words. It is made with [`crate::chart::spark`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Small {
    /// Its name within the page, by which its picture is to be had as a file.
    pub id: String,
    /// What goes up over what, and what the curve says: from, to, lowest, highest.
    pub words: String,
    /// What is drawn, oldest first.
    pub values: Vec<f64>,
    /// Where the same stands with axes and all of its numbers; nowhere where empty.
    pub href: String,
    /// The picture.
    pub picture: Markup,
}

impl Small {
    /// The picture alone, for its file.
    pub(crate) fn figure(&self) -> Figure {
        Figure {
            id: self.id.clone(),
            title: self.words.clone(),
            picture: self.picture.clone(),
            ..Figure::default()
        }
    }
}

/// What stands in one place.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Cell {
    /// Nothing is known.
    #[default]
    None,
    /// Text.
    Text(String),
    /// Several lines of text, kept as they are.
    Pre(String),
    /// A measured number.
    Number(f64),
    /// A number of things.
    Count(u64),
    /// Bytes.
    Bytes(u64),
    /// Milliseconds that something took.
    Duration(u64),
    /// A time; with the time of asking, also how long ago.
    Time(Timestamp, Option<Timestamp>),
    /// A link.
    Link(Link),
    /// A state.
    Badge(Badge),
    /// An identifier or digest, of which the beginning is shown.
    Code(String),
    /// Several of these.
    Many(Vec<Cell>),
    /// A box to tick, in a form around the table: name, value, and what it is for.
    Tick {
        /// The field's name.
        name: String,
        /// The value that is sent.
        value: String,
        /// What it is for, for those who do not see it.
        label: String,
    },
    /// A small curve.
    Curve(Box<Small>),
    /// Markdown that was made safe; the text as it was written is what numbers give.
    Rich(Markup, String),
}

#[derive(Template)]
#[template(path = "cell.html")]
struct CellTemplate<'a> {
    cell: &'a Cell,
}

impl Cell {
    /// Text; nothing where it is empty.
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        if text.is_empty() { Self::None } else { Self::Text(text) }
    }

    /// A link.
    pub fn link(href: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Link(Link::new(href, text))
    }

    /// A state.
    pub fn badge(tone: Tone, text: impl Into<String>) -> Self {
        Self::Badge(Badge::new(tone, text))
    }

    /// As HTML.
    pub(crate) fn html(&self) -> Markup {
        Markup::of(&CellTemplate { cell: self })
    }

    /// Whether it is set to the right, so that digits stand below each other.
    pub(crate) fn is_numeric(&self) -> bool {
        matches!(self, Self::Number(_) | Self::Count(_) | Self::Bytes(_) | Self::Duration(_))
    }

    /// As a value for programs: times as RFC 3339, lengths in milliseconds, numbers that JSON cannot say as text.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::None | Self::Tick { .. } => Value::Null,
            Self::Text(text) | Self::Pre(text) | Self::Code(text) => json!(text),
            Self::Number(value) => measured(*value),
            Self::Count(value) | Self::Bytes(value) | Self::Duration(value) => json!(value),
            Self::Time(at, _) => json!(at.to_string()),
            Self::Link(link) => json!(link.text),
            Self::Badge(badge) => json!(badge.text),
            Self::Many(cells) => Value::Array(cells.iter().map(Self::value).collect()),
            Self::Curve(small) => Value::Array(small.values.iter().copied().map(measured).collect()),
            Self::Rich(_, words) => json!(words),
        }
    }

    /// As text for tables of programs.
    pub(crate) fn plain(&self) -> String {
        match self.value() {
            Value::Null => String::new(),
            Value::String(text) => text,
            Value::Array(values) => {
                let texts = values.into_iter().map(|value| match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                });
                texts.collect::<Vec<_>>().join(" ")
            }
            other => other.to_string(),
        }
    }

    /// The beginning of an identifier: enough to tell it from others.
    fn short(code: &str) -> String {
        let bare = code.split_once(':').map_or(code, |(_, rest)| rest);
        bare.chars().take(10).collect()
    }
}

/// A measured number as JSON, as text where JSON has no such number.
fn measured(value: f64) -> Value {
    if value.is_finite() {
        json!(value)
    } else if value.is_nan() {
        json!("NaN")
    } else {
        json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
    }
}

/// What the template calls, which passes references.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
impl Cell {
    fn number(value: &f64) -> String {
        number(*value)
    }

    fn count(value: &u64) -> String {
        count(*value)
    }

    fn bytes(value: &u64) -> String {
        bytes(*value)
    }

    fn duration(value: &u64) -> String {
        duration(*value)
    }

    fn moment(at: &Timestamp) -> String {
        moment(*at)
    }

    fn ago(at: &Timestamp, now: &Timestamp) -> String {
        ago(*at, *now)
    }
}

//! Right sides of comparisons: numbers, texts and lists of texts.

use crate::filter::clause::{Item, Shape};
use crate::filter::lex::Kind;
use crate::{Error, Result};

/// What is between two marks at the ends of `text`.
pub(super) fn between(text: &str, mark: char) -> Option<&str> {
    text.strip_prefix(mark)?.strip_suffix(mark)
}

/// What is between quotes of either kind. What is inside stays as it is written, also `''`.
pub(super) fn unquoted(text: &str) -> Option<&str> {
    between(text, '\'').or_else(|| between(text, '"'))
}

/// The number, if it is one.
pub(super) fn number(item: &Item<'_>) -> Option<f64> {
    match item.shape {
        Shape::Token(Kind::Integer | Kind::Float) => item.text.parse().ok(),
        _ => None,
    }
}

/// Whether it is a whole number as it is written.
pub(super) fn is_integer(item: &Item<'_>) -> bool {
    matches!(item.shape, Shape::Token(Kind::Integer))
}

/// Whether it is a list in brackets.
pub(super) fn is_list(item: &Item<'_>) -> bool {
    matches!(item.shape, Shape::Brackets)
}

/// Whether it is a text in single quotes.
pub(super) fn is_text(item: &Item<'_>) -> bool {
    matches!(item.shape, Shape::Token(Kind::Text))
}

/// A text in quotes. `None` where it is something else; a name without quotes is refused.
pub(super) fn text<'a>(item: &Item<'a>) -> Result<Option<&'a str>> {
    if !item.is_name() && !is_text(item) {
        return Ok(None);
    }
    match unquoted(item.text) {
        Some(text) => Ok(Some(text)),
        None => Err(Error::invalid(format!(
            "Parameter value is either not quoted or unidentified quote types used for string value {}. Use either \
             single or double quotes.",
            item.text
        ))),
    }
}

/// The texts of a list. MLflow reads a list as a literal of Python: texts next to each other are one, brackets inside are
/// allowed around a text, a backslash begins an escape.
pub(super) fn list(item: &Item<'_>) -> Result<Vec<String>> {
    const ILL_FORMED: &str = "While parsing a list in the query, expected a non-empty list of string values, but got \
                              ill-formed list.";
    let mut reader = Reader { rest: item.text };
    let whole = reader.value().filter(|_| reader.rest.trim().is_empty());
    let whole = whole.ok_or_else(|| Error::invalid(ILL_FORMED))?;
    let items = match whole {
        Value::Tuple(items) => items,
        one => vec![one],
    };
    if items.is_empty() {
        return Err(Error::invalid(
            "While parsing a list in the query, expected a non-empty list of string values, but got empty list",
        ));
    }
    if items.iter().all(|item| matches!(item, Value::Text(_))) {
        return Ok(items.into_iter().filter_map(Value::into_text).collect());
    }
    Err(Error::invalid(format!(
        "While parsing a list in the query, expected string value, punctuation, or whitespace, but got different type \
         in list: {}",
        Value::Tuple(items).shown()
    )))
}

enum Value {
    Text(String),
    Number(String),
    Tuple(Vec<Self>),
}

impl Value {
    fn into_text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Tuple(_) => None,
        }
    }

    /// As Python shows it.
    fn shown(&self) -> String {
        match self {
            Self::Text(text) => python_text(text),
            Self::Number(number) => number.clone(),
            Self::Tuple(items) => {
                let shown: Vec<String> = items.iter().map(Self::shown).collect();
                if shown.len() == 1 { format!("({},)", shown[0]) } else { format!("({})", shown.join(", ")) }
            }
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

/// Deeper nesting is refused.
const DEPTH: usize = 20;

impl Reader<'_> {
    fn value(&mut self) -> Option<Value> {
        self.nested(DEPTH)
    }

    fn nested(&mut self, depth: usize) -> Option<Value> {
        self.rest = self.rest.trim_start();
        if self.take('(') {
            return self.tuple(depth.checked_sub(1)?);
        }
        if !self.rest.starts_with(['\'', '"']) {
            let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(self.rest.len());
            let (number, rest) = self.rest.split_at(end);
            number.parse::<f64>().ok()?;
            self.rest = rest;
            return Some(Value::Number(number.to_owned()));
        }
        let mut text = String::new();
        while self.rest.starts_with(['\'', '"']) {
            self.text(&mut text)?;
            self.rest = self.rest.trim_start();
        }
        Some(Value::Text(text))
    }

    /// Behind the opening bracket.
    fn tuple(&mut self, depth: usize) -> Option<Value> {
        let (mut items, mut comma) = (Vec::new(), false);
        loop {
            self.rest = self.rest.trim_start();
            if self.take(')') {
                let one = items.len() == 1 && !comma;
                return if one { items.pop() } else { Some(Value::Tuple(items)) };
            }
            if !items.is_empty() && !comma {
                return None;
            }
            items.push(self.nested(depth)?);
            self.rest = self.rest.trim_start();
            comma = self.take(',');
        }
    }

    fn take(&mut self, mark: char) -> bool {
        let rest = self.rest.strip_prefix(mark);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// One quoted piece.
    fn text(&mut self, into: &mut String) -> Option<()> {
        let mut chars = self.rest.chars();
        let quote = chars.next()?;
        loop {
            match chars.next()? {
                '\n' => return None,
                '\\' => escape(&mut chars, into)?,
                c if c == quote => break,
                c => into.push(c),
            }
        }
        self.rest = chars.as_str();
        Some(())
    }
}

/// Behind a backslash.
fn escape(chars: &mut std::str::Chars<'_>, into: &mut String) -> Option<()> {
    let code = |chars: &mut std::str::Chars<'_>, digits: usize| {
        let text = chars.as_str();
        let hex = text.get(..digits).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *chars = text[digits..].chars();
        char::from_u32(u32::from_str_radix(hex, 16).ok()?)
    };
    match chars.next()? {
        '\n' => {}
        'n' => into.push('\n'),
        'r' => into.push('\r'),
        't' => into.push('\t'),
        'x' => into.push(code(chars, 2)?),
        'u' => into.push(code(chars, 4)?),
        'U' => into.push(code(chars, 8)?),
        c @ ('\\' | '\'' | '"') => into.push(c),
        c => into.extend(['\\', c]),
    }
    Some(())
}

/// A text as Python shows it: in single quotes unless it holds some and no double ones.
pub(super) fn python_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut shown = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            '\\' => shown.push_str("\\\\"),
            c if c == quote => shown.extend(['\\', c]),
            c => shown.push(c),
        }
    }
    shown.push(quote);
    shown
}

//! Puts values in the places of `${key}`.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use tidemill_core::{closest, did_you_mean};

use super::scan::{Piece, pieces};
use super::{Mode, Scope, key_parts};
use crate::node::{Entry, Kind, Node, Span};
use crate::report::Diagnostic;

/// What is wrong with one `${…}` of a text.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) range: Range<usize>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// What filling a tree collects besides the tree.
#[derive(Debug)]
pub(crate) struct Faults<'t> {
    /// The text that places of nodes refer to.
    pub(crate) source: &'t str,
    pub(crate) problems: Vec<Diagnostic>,
    /// Keys that were used, with their values.
    pub(crate) used: BTreeMap<String, Value>,
}

impl<'t> Faults<'t> {
    pub(crate) fn new(source: &'t str) -> Self {
        Self { source, problems: Vec::new(), used: BTreeMap::new() }
    }
}

/// Fills every text of a tree. Places stay those of the template.
pub(crate) fn fill_node(node: &Node, scope: &Scope<'_>, mode: Mode, faults: &mut Faults<'_>) -> Node {
    let kind = match &node.kind {
        Kind::String(text) if text.contains("${") => fill_scalar(text, &node.span, scope, mode, faults),
        Kind::List(items) => {
            Kind::List(items.iter().map(|item| fill_node(item, scope, mode, faults)).collect())
        }
        Kind::Map(entries) => Kind::Map(
            entries
                .iter()
                .map(|e| Entry {
                    key: e.key.clone(),
                    key_span: e.key_span.clone(),
                    value: fill_node(&e.value, scope, mode, faults),
                })
                .collect(),
        ),
        other => other.clone(),
    };
    Node::new(kind, node.span.clone())
}

fn fill_scalar(text: &str, span: &Span, scope: &Scope<'_>, mode: Mode, faults: &mut Faults<'_>) -> Kind {
    if mode == Mode::Strict
        && let [Piece::Reference { inner, .. }] = pieces(text).as_slice()
        && let key = text[inner.clone()].trim()
        && let Some(value) = scope.get(key)
    {
        faults.used.insert(key.to_owned(), value.to_value());
        return value.kind.clone();
    }
    let (filled, wrong) = fill_text(text, scope, mode, &mut faults.used);
    for fault in wrong {
        let place = locate(faults.source, span, &text[fault.range.clone()]);
        faults.problems.push(Diagnostic::new(&place, fault.message).hint(fault.hint));
    }
    Kind::String(filled)
}

/// Where a piece of a scalar's text stands in the file: the scalar may be quoted or a block.
fn locate(source: &str, span: &Span, piece: &str) -> Span {
    let written = source.get(span.clone()).unwrap_or_default();
    written.find(piece).map_or_else(|| span.clone(), |at| span.start + at..span.start + at + piece.len())
}

/// Fills one text. Where something is wrong the text keeps what stood there.
pub(super) fn fill_text(
    text: &str,
    scope: &Scope<'_>,
    mode: Mode,
    used: &mut BTreeMap<String, Value>,
) -> (String, Vec<Fault>) {
    let mut out = String::with_capacity(text.len());
    let mut faults = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Literal(range) => out.push_str(&text[range]),
            Piece::Escape => out.push_str("${"),
            Piece::Open(at) => {
                if mode == Mode::Strict {
                    let message = "`${` is not closed".to_owned();
                    let hint = Some("add `}`, or write `$${` for the characters themselves".to_owned());
                    faults.push(Fault { range: at..at + 2, message, hint });
                }
                out.push_str("${");
            }
            Piece::Reference { whole, inner } => {
                let key = text[inner].trim();
                match scope.get(key).map(as_text) {
                    Some(Ok(value)) => {
                        out.push_str(&value);
                        if let Some(node) = scope.get(key) {
                            used.insert(key.to_owned(), node.to_value());
                        }
                        continue;
                    }
                    Some(Err(what)) => {
                        let message = format!("`{key}` is {what}, which cannot stand inside of a text");
                        let hint = Some("name one value of it, with dots or `[0]`".to_owned());
                        faults.push(Fault { range: whole.clone(), message, hint });
                    }
                    None => faults.extend(unknown(key, whole.clone(), scope, mode)),
                }
                out.push_str(&text[whole]);
            }
        }
    }
    (out, faults)
}

fn as_text(node: &Node) -> Result<String, &'static str> {
    match &node.kind {
        Kind::String(text) => Ok(text.clone()),
        Kind::Number(number) => Ok(number.to_string()),
        Kind::Bool(value) => Ok(value.to_string()),
        Kind::Null | Kind::List(_) | Kind::Map(_) => Err(node.describe()),
    }
}

fn unknown(key: &str, range: Range<usize>, scope: &Scope<'_>, mode: Mode) -> Option<Fault> {
    let keys = scope.keys();
    let keys = || keys.iter().map(String::as_str);
    let escape = "write `$${` for the characters themselves";
    let is_key = key_parts(key).is_some();
    let is_variable = key.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if mode == Mode::Shell {
        // `${name-default}` is the shell's, unless it looks like a misspelt parameter with a dash.
        if !is_key || is_variable || (key.contains('-') && closest(key, keys()).is_none()) {
            return None;
        }
        let near = closest(key, keys()).map(|near| format!("did you mean `{near}`?"));
        let hint = near.or_else(|| {
            Some(format!("declare it under `params:`, or write `$${{{key}}}` to leave it to the shell"))
        });
        return Some(Fault { range, message: format!("there is no parameter `{key}`"), hint });
    }
    let (message, hint) = if !is_key {
        (format!("`{key}` is no name of a parameter"), Some(escape.to_owned()))
    } else if is_variable && closest(key, keys()).is_none() {
        let hint = "environment variables are seen by commands only; declare it under `params:`".to_owned();
        (format!("there is no parameter `{key}`"), Some(hint))
    } else {
        let hint = did_you_mean(key, keys()).or_else(|| Some("declare it under `params:`".to_owned()));
        (format!("there is no parameter `{key}`"), hint)
    };
    Some(Fault { range, message, hint })
}

//! Writes a tree as YAML that people like to read and that reads back to the same tree.

use super::scalar;
use crate::node::{Entry, Kind, Node};

/// Lists and maps of scalars go on one line up to here.
const WIDTH: usize = 100;

/// The text of a document, ending with a newline.
pub(crate) fn print(node: &Node) -> String {
    let mut out = String::new();
    match &node.kind {
        Kind::Map(entries) if !entries.is_empty() => map(entries, 0, &mut out),
        Kind::List(items) if !items.is_empty() => list(items, 0, &mut out),
        _ => {
            out.push_str(&flow(node));
            out.push('\n');
        }
    }
    out
}

fn map(entries: &[Entry], indent: usize, out: &mut String) {
    for (i, entry) in entries.iter().enumerate() {
        if i > 0 {
            out.push_str(&" ".repeat(indent));
        }
        out.push_str(&text(&entry.key));
        out.push(':');
        value(&entry.value, indent, out);
    }
}

fn list(items: &[Node], indent: usize, out: &mut String) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(&" ".repeat(indent));
        }
        out.push('-');
        match &item.kind {
            Kind::Map(entries) if !entries.is_empty() && !fits(item, indent) => {
                out.push(' ');
                map(entries, indent + 2, out);
            }
            _ => value(item, indent, out),
        }
    }
}

/// What follows `key:` or `-`, with the newline.
fn value(node: &Node, indent: usize, out: &mut String) {
    let inner = indent + 2;
    match &node.kind {
        Kind::Map(entries) if !entries.is_empty() && !fits(node, indent) => {
            out.push('\n');
            out.push_str(&" ".repeat(inner));
            map(entries, inner, out);
        }
        Kind::List(items) if !items.is_empty() && !fits(node, indent) => {
            out.push('\n');
            out.push_str(&" ".repeat(inner));
            list(items, inner, out);
        }
        Kind::String(text) if is_block(text) => {
            out.push_str(if text.ends_with('\n') { " |\n" } else { " |-\n" });
            for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
                if !line.is_empty() {
                    out.push_str(&" ".repeat(inner));
                    out.push_str(line);
                }
                out.push('\n');
            }
        }
        _ => {
            out.push(' ');
            out.push_str(&flow(node));
            out.push('\n');
        }
    }
}

/// Whether a list or map is short and flat enough for one line.
fn fits(node: &Node, indent: usize) -> bool {
    let flat = |node: &Node| match &node.kind {
        Kind::List(items) => items.iter().all(is_scalar),
        Kind::Map(_) => false,
        _ => true,
    };
    let shape = match &node.kind {
        Kind::List(items) => {
            items.iter().all(|i| is_scalar(i) || matches!(i.kind, Kind::Map(_)) && fits(i, indent))
        }
        Kind::Map(entries) => entries.len() <= 4 && indent > 0 && entries.iter().all(|e| flat(&e.value)),
        _ => true,
    };
    shape && flow(node).len() + indent <= WIDTH && !holds_block(node)
}

fn is_scalar(node: &Node) -> bool {
    !matches!(node.kind, Kind::List(_) | Kind::Map(_))
}

fn holds_block(node: &Node) -> bool {
    match &node.kind {
        Kind::String(text) => is_block(text),
        Kind::List(items) => items.iter().any(holds_block),
        Kind::Map(entries) => entries.iter().any(|e| holds_block(&e.value)),
        _ => false,
    }
}

fn flow(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "null".to_owned(),
        Kind::Bool(b) => b.to_string(),
        Kind::Number(n) => n.to_string(),
        Kind::String(s) => text(s),
        Kind::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Kind::Map(entries) => {
            let inner: Vec<_> =
                entries.iter().map(|e| format!("{}: {}", text(&e.key), flow(&e.value))).collect();
            format!("{{{}}}", inner.join(", "))
        }
    }
}

/// Text that can stand as a `|` block.
fn is_block(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && !text.ends_with("\n\n")
        && text.chars().all(|c| c == '\n' || !needs_escape(c))
        && text.split('\n').all(|line| !line.ends_with(' '))
}

/// Text as a plain scalar where nothing in it means anything to YAML, otherwise in quotes.
fn text(text: &str) -> String {
    let first = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '$');
    let later = |c: char| c.is_alphanumeric() || " _./()+=%*@~^-$<>;|".contains(c);
    let plain = text.starts_with(first)
        && text.chars().all(later)
        && !text.ends_with(' ')
        && !text.starts_with("...")
        && !means_more_elsewhere(text)
        && matches!(scalar::plain(text), Ok(Kind::String(_)));
    if plain { text.to_owned() } else { quoted(text) }
}

/// Words and numbers of YAML 1.1, which other readers may still take for something else than text.
fn means_more_elsewhere(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    matches!(lower.as_str(), "y" | "n" | "yes" | "no" | "on" | "off")
        || lower.starts_with("0b")
        || (text.starts_with(|c: char| c.is_ascii_digit() || c == '.') && text.contains('_'))
}

fn needs_escape(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if needs_escape(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

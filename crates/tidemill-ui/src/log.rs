//! What a program printed, with numbered lines.

use askama::Template;

use crate::Markup;

/// The end of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Template)]
#[template(path = "log.html")]
pub struct LogText {
    /// Its name within the page.
    pub id: String,
    /// What printed it.
    pub title: String,
    /// The number of the first line that is shown, from 1.
    pub first: usize,
    /// The lines, without control sequences of terminals.
    pub lines: Vec<String>,
    /// Whether more is being written.
    pub growing: bool,
    /// Where all of it is; nowhere where empty.
    pub whole: String,
}

impl LogText {
    /// The last `most` lines of a text. Sequences that colour a terminal are left out.
    pub fn tail(id: impl Into<String>, title: impl Into<String>, text: &str, most: usize) -> Self {
        let all: Vec<&str> = text.lines().collect();
        let skipped = all.len().saturating_sub(most);
        Self {
            id: id.into(),
            title: title.into(),
            first: skipped + 1,
            lines: all[skipped..].iter().map(|line| without_escapes(line)).collect(),
            ..Self::default()
        }
    }

    /// With so many lines before the text of which it is the end.
    #[must_use]
    pub fn after(mut self, lines: usize) -> Self {
        self.first += lines;
        self
    }

    pub(crate) fn html(&self) -> Markup {
        Markup::of(self)
    }
}

/// Leaves out control sequences (ECMA-48: escape, `[`, parameters, a final byte from `@` to `~`) and what a carriage
/// return wrote over.
fn without_escapes(line: &str) -> String {
    let line = line.trim_end_matches('\r');
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            if chars.peek() == Some(&'[') {
                chars.next();
                for c in chars.by_ref() {
                    if ('@'..='~').contains(&c) {
                        break;
                    }
                }
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_without_colours() {
        let log = LogText::tail("l", "train", "one\n\u{1b}[31mtwo\u{1b}[0m\n10%\r20%\r\nlast", 3);
        assert_eq!((log.first, log.lines), (2, vec!["two".to_owned(), "20%".into(), "last".into()]));
        assert_eq!(LogText::tail("l", "t", "\u{1b}[31", 5).lines, [""]);
    }

    #[test]
    fn what_is_left_out_is_said_and_linked() {
        let mut log = LogText::tail("l", "train", "one\ntwo\nthree", 2).after(700);
        log.whole = "/whole".into();
        let text = log.html().0;
        assert!(text.contains("from line 702") && text.contains("<ol start=\"702\">"), "{text}");
        assert!(text.contains("href=\"/whole\"") && !text.contains("one"), "{text}");
    }
}

//! The text that a project was parsed from, kept so that later messages can point into it.

use std::sync::Arc;

use crate::node::{Cursor, Node, Span};

/// A text, its file's name and its tree. All sources are equal: where a project was written is no part of it.
#[derive(Clone, Debug, Default)]
pub struct Source(Option<Arc<Text>>);

#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) file: String,
    pub(crate) text: Arc<str>,
    pub(crate) tree: Node,
    /// Offsets at which lines begin.
    lines: Vec<usize>,
}

impl PartialEq for Source {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Source {
    pub(crate) fn new(file: &str, text: Arc<str>, tree: Node) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self(Some(Arc::new(Text { file: file.to_owned(), text, tree, lines })))
    }

    /// The name of the file, as it was given to `parse`; `tidemill.yaml` for a project that was not parsed.
    pub fn file(&self) -> &str {
        self.0.as_ref().map_or("tidemill.yaml", |text| &text.file)
    }

    /// The text; empty for a project that was not parsed.
    pub fn text(&self) -> Arc<str> {
        self.0.as_ref().map_or_else(|| Arc::from(""), |text| Arc::clone(&text.text))
    }

    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor::new(self.tree())
    }

    pub(crate) fn tree(&self) -> Option<&Node> {
        self.0.as_ref().map(|text| &text.tree)
    }

    /// The line of a place, from 1; 0 for a project that was not parsed.
    pub(crate) fn line(&self, span: &Span) -> usize {
        self.0.as_ref().map_or(0, |text| text.lines.partition_point(|start| *start <= span.start))
    }

    /// The line and the column of a place, the column in characters, both from 1; nothing for a project that was not parsed.
    pub(crate) fn place(&self, span: &Span) -> Option<(usize, usize)> {
        let text = self.0.as_ref()?;
        let line = self.line(span);
        let begin = *text.lines.get(line.checked_sub(1)?)?;
        Some((line, 1 + text.text.get(begin..span.start)?.chars().count()))
    }
}

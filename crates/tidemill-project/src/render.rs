//! Draws a report with the text it points into.

use std::fmt::Write;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::report::{Diagnostic, Report};

/// Longer lines are cut around the place: a drawing is for people.
const WIDEST: usize = 240;

impl Report {
    /// The problems as a compiler draws them, with colours for a terminal if asked. Ends with a newline.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for (i, problem) in self.diagnostics.iter().enumerate() {
            if i > 0 {
                out.push('\n');
            }
            out.push_str(&self.draw(problem, &renderer));
            out.push('\n');
        }
        if self.omitted > 0 {
            let _ = writeln!(out, "\nand {} more", self.omitted);
        }
        out
    }

    fn draw(&self, problem: &Diagnostic, renderer: &Renderer) -> String {
        let Diagnostic { file, line, span, message, expected, hint, .. } = problem;
        let title = Level::ERROR.primary_title(message.as_str());
        let expected = expected.as_ref().map(|text| format!("expected {text}"));
        let is_secret = |other: &Diagnostic| other.conceals && (&other.file, other.line) == (file, *line);
        let conceals = self.diagnostics.iter().any(is_secret);
        let mut group = match self.texts.get(file).filter(|_| *line > 0 && !conceals) {
            Some(text) => {
                let excerpt = Excerpt::around(text, span);
                let mut annotation = AnnotationKind::Primary.span(excerpt.span);
                if let Some(expected) = &expected {
                    annotation = annotation.label(expected.as_str());
                }
                let snippet = Snippet::source(excerpt.text).line_start(*line).path(file.as_str());
                title.element(snippet.annotation(annotation))
            }
            None => {
                let place = match line {
                    0 => format!("in {file}"),
                    line => format!("in {file}, line {line}, which is not shown because it holds a secret"),
                };
                let mut group = Group::with_title(title).element(Level::NOTE.message(place));
                if let Some(expected) = expected {
                    group = group.element(Level::NOTE.message(expected));
                }
                group
            }
        };
        if let Some(hint) = hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        renderer.render(&[group])
    }
}

/// The first line of a place, and the place in it.
struct Excerpt {
    text: String,
    span: std::ops::Range<usize>,
}

impl Excerpt {
    fn around(text: &str, span: &std::ops::Range<usize>) -> Self {
        let start = text[..span.start].rfind('\n').map_or(0, |i| i + 1);
        let end = text[span.start..].find(['\n', '\r']).map_or(text.len(), |i| span.start + i);
        let stop = span.end.clamp(span.start, end.max(span.start));
        let mut from = start;
        let mut to = end.max(stop);
        if to - from > WIDEST {
            from = boundary(text, span.start.saturating_sub(WIDEST / 3).max(start));
            to = boundary(text, (from + WIDEST).min(to)).max(span.start);
        }
        let line = &text[from..to];
        // Tabs and control characters have no width of their own: each becomes one space.
        let shown = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        let place = |at: usize| {
            let at = at.clamp(from, to);
            line[..at - from].chars().map(|c| if c.is_control() { 1 } else { c.len_utf8() }).sum::<usize>()
        };
        Self { span: place(span.start)..place(stop), text: shown }
    }
}

fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

//! Problems found in a file, with the places they were found at.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;
use tidemill_core::Hint;

/// At most so many problems are kept; who has more fixes these first.
const MOST: usize = 50;

/// Several problems at once, in the order of their places.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The problems: at least one where a function returns a report as its error.
    pub diagnostics: Vec<Diagnostic>,
    /// How many problems were left out because there were too many.
    #[serde(skip_serializing_if = "is_zero")]
    pub omitted: usize,
    #[serde(skip)]
    pub(crate) texts: BTreeMap<String, Arc<str>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde wants")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// One problem and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file, as it was named by the caller.
    pub file: String,
    /// From 1; 0 where there is no text to point into.
    pub line: usize,
    /// In characters, from 1; 0 where there is no text to point into.
    pub column: usize,
    /// In bytes of the file.
    pub span: Range<usize>,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What was expected instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line holds a secret, and is not shown.
    #[serde(skip)]
    pub(crate) conceals: bool,
}

impl Diagnostic {
    /// A problem at `span`; [`Report::push`] fills file, line and column.
    pub(crate) fn new(span: &Range<usize>, message: impl Into<String>) -> Self {
        Self {
            file: String::new(),
            line: 0,
            column: 0,
            span: span.clone(),
            message: message.into(),
            expected: None,
            hint: None,
            conceals: false,
        }
    }

    pub(crate) fn expected(mut self, text: impl Into<String>) -> Self {
        self.expected = Some(text.into());
        self
    }

    pub(crate) fn concealed(mut self) -> Self {
        self.conceals = true;
        self
    }

    pub(crate) fn hint(mut self, text: impl Into<Option<String>>) -> Self {
        self.hint = text.into();
        self
    }
}

impl Report {
    /// `Ok` if there are no problems.
    pub(crate) fn into_result<T>(mut self, value: T) -> Result<T, Self> {
        if self.diagnostics.is_empty() {
            return Ok(value);
        }
        self.diagnostics.sort_by(|a, b| (&a.file, a.span.start).cmp(&(&b.file, b.span.start)));
        Err(self)
    }

    /// Adds a problem found in `file`, whose text is `text`.
    pub(crate) fn push(&mut self, file: &str, text: &Arc<str>, mut problem: Diagnostic) {
        if self.diagnostics.len() >= MOST {
            self.omitted += 1;
            return;
        }
        file.clone_into(&mut problem.file);
        if !text.is_empty() || problem.span != (0..0) {
            let start = floor(text, problem.span.start);
            let end = floor(text, problem.span.end).max(start);
            problem.span = start..end;
            let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
            problem.line = 1 + text[..start].bytes().filter(|b| *b == b'\n').count();
            problem.column = 1 + text[line_start..start].chars().count();
            self.texts.entry(file.to_owned()).or_insert_with(|| Arc::clone(text));
        }
        let known = self.diagnostics.contains(&problem);
        if !known {
            self.diagnostics.push(problem);
        }
    }

    /// Takes over another report's problems.
    pub(crate) fn append(&mut self, other: Self) {
        for problem in other.diagnostics {
            if self.diagnostics.len() >= MOST {
                self.omitted += 1;
            } else if !self.diagnostics.contains(&problem) {
                self.diagnostics.push(problem);
            }
        }
        self.omitted += other.omitted;
        self.texts.extend(other.texts);
    }

    /// A report of one problem without a text to point into.
    pub(crate) fn of(file: &str, problem: Diagnostic) -> Self {
        let mut report = Self::default();
        report.push(file, &Arc::from(""), problem);
        report
    }
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

/// One line a problem, `file:line:column: message`; [`Report::render`] shows the text as well.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.diagnostics.iter().enumerate() {
            let Diagnostic { file, line, column, message, expected, .. } = problem;
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{file}")?;
            if *line > 0 {
                write!(f, ":{line}:{column}")?;
            }
            write!(f, ": {message}")?;
            if let Some(expected) = expected {
                write!(f, "; expected {expected}")?;
            }
        }
        if self.omitted > 0 {
            write!(f, "\nand {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

impl Hint for Report {
    /// The hint of the only problem; hints of several stand beside each in the rendered text.
    fn hint(&self) -> Option<String> {
        match self.diagnostics.as_slice() {
            [one] => one.hint.clone(),
            _ => None,
        }
    }
}

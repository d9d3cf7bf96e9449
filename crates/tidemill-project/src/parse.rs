//! From bytes to a checked project.

use crate::report::{Diagnostic, Report};
use crate::{Project, json_schema};

/// Parses and checks a project file. `file` is its name in messages.
///
/// Checks everything that can be known from the text alone: shape, types, names, references between sections,
/// outputs, cycles. Parameter files are not read here: see [`crate::resolve`].
///
/// # Errors
/// Every problem that was found, each with its place, what was expected and a hint.
pub fn parse(text: &str, file: &str) -> Result<Project, Report> {
    parse_bytes(text.as_bytes(), file)
}

/// [`parse`] for bytes that may not even be text.
pub fn parse_bytes(bytes: &[u8], file: &str) -> Result<Project, Report> {
    let _ = (bytes, json_schema());
    Err(Report::of(file, Diagnostic::new(&(0..0), "the parser is not there yet")))
}

/// What a fuzzer calls: parses, and where that goes well prints, parses again and resolves. Panics only where
/// this crate is wrong.
pub fn fuzz_entry(data: &[u8]) {
    let _ = parse_bytes(data, crate::FILE_NAME);
}

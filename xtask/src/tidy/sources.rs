//! Rules for single source files: what they are named, how they begin, and what must not be left in them.

use crate::tidy::Finding;
use crate::workspace::has_extension;

/// Names that say nothing about what a module is for.
const EMPTY_NAMES: [&str; 8] = ["utils", "util", "helpers", "helper", "common", "misc", "manager", "shared"];

/// What unfinished work leaves behind. Written in pieces so that this file passes its own check.
const LEFT_BEHIND: [(&str, &str); 4] = [
    (concat!("to", "do!("), "finish it"),
    (concat!("unimplemen", "ted!("), "finish it"),
    (concat!("#[ig", "nore"), "a test either runs or goes"),
    (concat!("db", "g!("), "remove it"),
];

/// Finds files whose name says nothing.
pub fn check_path(path: &str) -> Option<Finding> {
    if !has_extension(path, "rs") {
        return None;
    }
    let empty = path.trim_end_matches(".rs").split('/').find(|part| EMPTY_NAMES.contains(part))?;
    Some(Finding::file(path, format!("`{empty}` says nothing; name the module for the thing it holds")))
}

/// Finds a missing module comment and leftovers of unfinished work.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Fuzz targets must begin with `#![no_main]`; their comment may follow it.
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    if !first.is_some_and(|line| line.starts_with("//! ") && line.len() > "//! ".len()) {
        let message = "begin with a `//!` comment: what the file is for and what it deliberately does not do";
        findings.push(Finding::file(path, message));
    }
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or(line);
        for (left, action) in LEFT_BEHIND {
            if code.contains(left) {
                findings.push(Finding::line(path, index + 1, format!("`{left}` is left behind; {action}")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_say_nothing_are_refused() {
        for (path, refused) in [
            ("crates/a/src/utils.rs", true),
            ("crates/a/src/helpers/mod.rs", true),
            ("crates/a/tests/it/common.rs", true),
            ("crates/a/src/common_table.rs", false),
            ("crates/a/src/pack.rs", false),
            ("docs/common.md", false),
        ] {
            assert_eq!(check_path(path).is_some(), refused, "{path}");
        }
    }

    #[test]
    fn a_module_comment_is_required() {
        for (text, found) in [
            ("//! What it is for.\nfn a() {}\n", 0),
            ("#![no_main]\n//! A target.\n", 0),
            ("// not a module comment\n", 1),
            ("//!\n//! Empty first line.\n", 1),
            ("fn a() {}\n//! Too late.\n", 1),
            ("", 1),
        ] {
            assert_eq!(check("crates/a/src/lib.rs", text).len(), found, "{text:?}");
        }
    }

    #[test]
    fn leftovers_are_found_with_their_line_and_not_in_comments() {
        let text = format!("//! A.\nfn a() {{ {}) }}\n// {})\n", LEFT_BEHIND[0].0, LEFT_BEHIND[0].0);
        let findings = check("crates/a/src/lib.rs", &text);
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [Some(2)]);
    }
}

//! Changelog fragments: one small file per change in `changelog.d/`, collected at a release.
//!
//! The rules for writing one are in `changelog.d/README.md`; this checks what a program can.

use std::collections::BTreeMap;

use crate::tidy::Finding;

/// The kinds of change, in the order in which a release lists them.
pub const KINDS: [&str; 4] = ["breaking", "security", "feature", "fix"];

const TITLE_LIMIT: usize = 120;

/// Finds fragments with a wrong name or shape.
pub fn check(texts: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in texts {
        let Some(name) = path.strip_prefix("changelog.d/") else { continue };
        if name != "README.md"
            && let Some(message) = breach(name, text)
        {
            findings.push(Finding::file(path, message));
        }
    }
    findings
}

fn breach(name: &str, text: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let [slug, kind, "md"] = parts[..] else {
        return Some(format!("name a fragment `SLUG.KIND.md`, with KIND one of {}", KINDS.join(", ")));
    };
    if slug.is_empty() || !slug.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        return Some("the slug has lower-case letters, digits and `-` only".to_owned());
    }
    if !KINDS.contains(&kind) {
        return Some(format!("`{kind}` is not a kind of change; use one of {}", KINDS.join(", ")));
    }
    let mut lines = text.lines();
    let title = lines.next().unwrap_or("").trim();
    if title.is_empty() || title.starts_with('#') || !title.ends_with('.') {
        return Some("the first line is one plain sentence which ends with a full stop".to_owned());
    }
    if title.chars().count() > TITLE_LIMIT {
        return Some(format!("the first line is longer than {TITLE_LIMIT} characters"));
    }
    if lines.next().is_some_and(|second| !second.trim().is_empty()) {
        return Some("leave a blank line after the first sentence".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_have_a_name_and_a_shape() {
        for (name, text, good) in [
            ("store-packs.feature.md", "Small files go into packs.\n\nFewer objects in S3.\n", true),
            ("12.fix.md", "A fix.\n", true),
            ("store.md", "A change.\n", false),
            ("Store.fix.md", "A change.\n", false),
            ("store.chore.md", "A change.\n", false),
            ("store.fix.md", "# Heading\n", false),
            ("store.fix.md", "", false),
            ("store.fix.md", "No full stop\n", false),
            ("store.fix.md", "One.\nTwo.\n", false),
            ("store.fix.md", &format!("{}.\n", "x".repeat(120)), false),
        ] {
            assert_eq!(breach(name, text).is_none(), good, "{name}: {text:?}");
        }
    }
}

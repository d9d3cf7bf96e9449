//! Links between Markdown files of the repository: the file must exist, and the heading too.
//!
//! Links to other hosts are not followed.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::Finding;
use crate::workspace::has_extension;

/// Finds links to files that are not tracked and to headings that are not there.
pub fn check(files: &[String], texts: &BTreeMap<String, String>) -> Vec<Finding> {
    let known: BTreeSet<&str> = files.iter().map(String::as_str).collect();
    let folders: BTreeSet<&str> = files.iter().flat_map(|file| ancestors(file)).collect();
    let markdown: BTreeMap<&str, &str> = texts
        .iter()
        .filter(|(path, _)| has_extension(path, "md"))
        .map(|(p, t)| (p.as_str(), t.as_str()))
        .collect();
    let headings: BTreeMap<&str, BTreeSet<String>> =
        markdown.iter().map(|(path, text)| (*path, anchors(text))).collect();

    let mut findings = Vec::new();
    for (path, text) in &markdown {
        for (line, target) in targets(text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let Some(resolved) = resolve(path, file) else {
                findings.push(Finding::line(path, line, format!("link `{target}` leaves the repository")));
                continue;
            };
            if !known.contains(resolved.as_str()) && !folders.contains(resolved.as_str()) {
                findings.push(Finding::line(
                    path,
                    line,
                    format!("link `{target}`: there is no tracked file `{resolved}`"),
                ));
            } else if let Some(there) = headings.get(resolved.as_str())
                && !anchor.is_empty()
                && !there.contains(anchor)
            {
                findings.push(Finding::line(
                    path,
                    line,
                    format!("link `{target}`: `{resolved}` has no heading `#{anchor}`"),
                ));
            }
        }
    }
    findings
}

fn ancestors(file: &str) -> impl Iterator<Item = &str> {
    file.match_indices('/').map(|(at, _)| &file[..at])
}

/// The path that `link` names when it stands in file `from`; `None` when it leads out of the repository.
fn resolve(from: &str, link: &str) -> Option<String> {
    if link.is_empty() {
        return Some(from.to_owned());
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Lines outside fenced code, with their number counted from 1 and inline code blanked out.
fn prose(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        let blanked = line.split('`').enumerate().map(|(i, part)| if i % 2 == 0 { part } else { "" });
        (!fenced).then(|| (index + 1, blanked.collect::<Vec<_>>().join("`")))
    })
}

/// Every `[text](target)` with its line.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        for (at, _) in line.match_indices("](") {
            let Some(length) = line[at + 2..].find(')') else { continue };
            let target = line[at + 2..at + 2 + length].split_whitespace().next().unwrap_or("");
            // The blanked line is a copy; the target itself is taken from the text it stands in.
            if let Some(start) = lines[number - 1].find(target) {
                found.push((number, &lines[number - 1][start..start + target.len()]));
            }
        }
    }
    found
}

/// The anchors that GitHub gives the headings of `text`.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let title = line.trim_start_matches('#');
        if fenced || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let slug = slug(title.trim());
        let count = seen.entry(slug.clone()).or_default();
        anchors.insert(if *count == 0 { slug } else { format!("{slug}-{count}") });
        *count += 1;
    }
    anchors
}

fn slug(title: &str) -> String {
    title
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(readme: &str) -> Vec<String> {
        let texts: BTreeMap<String, String> = [
            ("README.md", readme),
            (
                "docs/a.md",
                "# The `run` command: what it does\n\n## Again\n\n## Again\n\n```\n# not a heading\n```\n",
            ),
        ]
        .into_iter()
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .collect();
        let files = ["README.md", "docs/a.md", "crates/x/src/lib.rs"].map(str::to_owned);
        check(&files, &texts).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn links_that_resolve_are_silent() {
        let readme = "# Top\n[a](docs/a.md) [b](./docs/a.md#the-run-command-what-it-does) [c](docs/a.md#again-1)\n\
                      [d](crates/x/src) [e](#top) [f](https://example.com) `[g](nowhere.md)`\n```\n[h](nowhere.md)\n```\n";
        assert_eq!(messages(readme), [""; 0]);
    }

    #[test]
    fn broken_links_are_named() {
        for (readme, expected) in [
            ("[a](docs/b.md)", "README.md:1: link `docs/b.md`: there is no tracked file `docs/b.md`"),
            (
                "\n[a](docs/a.md#not-a-heading)",
                "README.md:2: link `docs/a.md#not-a-heading`: `docs/a.md` has no heading `#not-a-heading`",
            ),
            ("`code` [a](../x.md)", "README.md:1: link `../x.md` leaves the repository"),
        ] {
            assert_eq!(messages(readme), [expected]);
        }
    }
}

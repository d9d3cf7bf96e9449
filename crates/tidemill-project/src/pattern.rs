//! Patterns of paths as a project file has them. Reads no file system.

use globset::{GlobBuilder, GlobMatcher};

use crate::check::is_glob;

/// A glob pattern, compiled part by part: `*` and `?` stay inside a part, `**` is any number of parts.
#[derive(Debug, Clone)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Literal(String),
    Glob { matcher: GlobMatcher, hidden: bool },
    Any,
}

impl Pattern {
    /// Compiles a pattern; the error is the glob library's reason.
    pub fn new(text: &str) -> Result<Self, String> {
        let parts = split(text)
            .into_iter()
            .map(|part| match part {
                "**" => Ok(Part::Any),
                part if is_glob(part) => {
                    let glob = GlobBuilder::new(part).literal_separator(true).backslash_escape(false).build();
                    let matcher = glob.map_err(|error| error.kind().to_string())?.compile_matcher();
                    Ok(Part::Glob { matcher, hidden: part.starts_with('.') })
                }
                part => Ok(Part::Literal(part.to_owned())),
            })
            .collect::<Result<_, String>>()?;
        Ok(Self { parts })
    }

    /// Whether the pattern matches the whole path.
    pub fn matches(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').collect();
        walk(&self.parts, &names, End::Whole)
    }

    /// Whether the pattern matches the path, something below it, or a folder that contains it.
    pub fn touches(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').collect();
        walk(&self.parts, &names, End::Either)
    }

    /// Whether something below the folder can match.
    pub fn may_match_below(&self, folder: &str) -> bool {
        let names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
        walk(&self.parts, &names, End::Below)
    }

    /// The leading parts without wildcards: the folder to search from.
    pub fn base(&self) -> String {
        let literal = self.parts.iter().map_while(|part| match part {
            Part::Literal(text) => Some(text.as_str()),
            Part::Glob { .. } | Part::Any => None,
        });
        let base: Vec<&str> = literal.collect();
        let keep = base.len().min(self.parts.len().saturating_sub(1));
        base[..keep].join("/")
    }
}

/// Splits at `/` outside of braces: `{a/b,c}/x` is two parts.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '/' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Pattern and path end together.
    Whole,
    /// The path ends first.
    Below,
    /// Either one may end first.
    Either,
}

fn walk(parts: &[Part], names: &[&str], end: End) -> bool {
    let (Some(part), Some(name)) = (parts.first(), names.first()) else {
        let only_any = parts.iter().all(|part| matches!(part, Part::Any));
        return match end {
            End::Whole => names.is_empty() && only_any,
            End::Below => names.is_empty() && !parts.is_empty(),
            End::Either => true,
        };
    };
    match part {
        Part::Literal(text) => text == name && walk(&parts[1..], &names[1..], end),
        Part::Glob { matcher, hidden } => {
            (*hidden || !name.starts_with('.'))
                && matcher.is_match(name)
                && walk(&parts[1..], &names[1..], end)
        }
        Part::Any => {
            walk(&parts[1..], names, end) || (!name.starts_with('.') && walk(parts, &names[1..], end))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, path, expected) in [
            ("data/*.csv", "data/a.csv", true),
            ("data/*.csv", "data/x/a.csv", false),
            ("data/*.csv", "data/.a.csv", false),
            ("data/.*.csv", "data/.a.csv", true),
            ("data/**/*.csv", "data/a.csv", true),
            ("data/**/*.csv", "data/x/y/a.csv", true),
            ("data/**", "data/x/y", true),
            ("data/**", "data/.git/y", false),
            ("d?ta/[ab].{csv,tsv}", "data/b.tsv", true),
            ("d?ta/[ab].{csv,tsv}", "data/c.tsv", false),
            ("**", "x", true),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(path), expected, "{pattern} {path}");
        }
        assert!(Pattern::new("a[").is_err());
    }

    #[test]
    fn a_pattern_touches_what_it_reads_from() {
        for (pattern, path, expected) in [
            ("parts/*.csv", "parts", true),
            ("parts/*.csv", "parts/a.csv", true),
            ("parts/*.csv", "parts/a.parquet", false),
            ("out/*", "out/a/b.txt", true),
            ("*/x.csv", "out", true),
            ("*/x.csv", "out/y.csv", false),
            ("**/x.csv", "deep/er/folder", true),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().touches(path), expected, "{pattern} {path}");
        }
        assert_eq!(Pattern::new("a/b/*.c").unwrap().base(), "a/b");
        assert_eq!(Pattern::new("*").unwrap().base(), "");
    }
}

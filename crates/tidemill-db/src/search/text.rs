//! Patterns of `LIKE` and `ILIKE` for each database.
//!
//! `%` stands for any text and `_` for one character, and nothing escapes them. SQLite's own `LIKE` knows no upper and
//! lower case among ASCII letters, so the exact one is a `GLOB` there, and one with other letters a regular expression.

/// As a pattern of SQLite's `GLOB`.
pub(super) fn glob(pattern: &str) -> String {
    let mut glob = String::with_capacity(pattern.len() + 8);
    for c in pattern.chars() {
        match c {
            '%' => glob.push('*'),
            '_' => glob.push('?'),
            '*' | '?' | '[' => glob.extend(['[', c, ']']),
            c => glob.push(c),
        }
    }
    glob
}

/// As a regular expression over the whole text, without regard to upper and lower case.
pub(super) fn expression(pattern: &str) -> String {
    let mut expression = String::from("(?is)^");
    for c in pattern.chars() {
        match c {
            '%' => expression.push_str(".*"),
            '_' => expression.push('.'),
            c if c.is_ascii_punctuation() => expression.extend(['\\', c]),
            c => expression.push(c),
        }
    }
    expression.push('$');
    expression
}

/// The text that everything which fits a pattern of `LIKE` begins with.
pub(super) fn beginning(pattern: &str) -> &str {
    &pattern[..pattern.find(['%', '_']).unwrap_or(pattern.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_translated() {
        assert_eq!(glob("50%_[a]*?"), "50*?[[]a][*][?]");
        assert_eq!(expression("é%(_)"), "(?is)^é.*\\(.\\)$");
        assert_eq!(beginning("ab_c%"), "ab");
        assert_eq!(beginning("abc"), "abc");
    }
}

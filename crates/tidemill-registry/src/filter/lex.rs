//! The words of a filter.
//!
//! MLflow reads filters with a general reader of SQL, so what is a name, a number or a text follows SQL's habits: names in
//! backticks, texts in single quotes, names or texts in double quotes, comments. Every token knows where it stands; white
//! space is between tokens and never one.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word, or anything in backticks.
    Name,
    /// In double quotes: a name or a text.
    Quoted,
    /// In single quotes: a text.
    Text,
    /// A word of SQL.
    Keyword,
    /// The word `timestamp` or `text`, names of types in SQL.
    Builtin,
    /// `ASC` or `DESC`.
    Order,
    /// A place for a value, such as `?` or `:name`.
    Placeholder,
    /// Digits.
    Integer,
    /// A number with a point or an exponent.
    Float,
    /// A comparison: signs, `LIKE` and its kin, also negated.
    Compare,
    /// A sign of arithmetic.
    Operator,
    /// Brackets, commas, points, semicolons.
    Punctuation,
    /// A comment.
    Comment,
    /// What fits nowhere, such as a quote that is not closed.
    Other,
}

/// A piece of the text: `from..to` are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// Words of SQL that people write into filters. As names of keys they stand behind a point or in backticks.
const KEYWORDS: [&str; 47] = [
    "ALL", "AND", "ANY", "AS", "BETWEEN", "BY", "CASE", "COLLATE", "CREATE", "CROSS", "DELETE", "DISTINCT",
    "DROP", "ELSE", "END", "EXISTS", "FALSE", "FROM", "GROUP", "HAVING", "IN", "INSERT", "INTO", "IS",
    "JOIN", "KEY", "LIMIT", "NOT", "NULL", "OFFSET", "ON", "OR", "ORDER", "SELECT", "SET", "SOURCE", "THEN",
    "TRUE", "TYPE", "UNION", "UPDATE", "USER", "USING", "VALUES", "VERSION", "WHEN", "WHERE",
];
/// These are never the first part of a name with a point.
const STRICT_KEYWORDS: [&str; 6] = ["CASE", "IN", "VALUES", "USING", "FROM", "AS"];

/// All tokens of `text`.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next() {
        tokens.push(token);
    }
    tokens
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<Token> {
        let rest = &self.text[self.at..];
        let rest = rest.trim_start();
        self.at = self.text.len() - rest.len();
        let first = rest.chars().next()?;
        let (kind, length) = self.token(rest, first);
        let from = self.at;
        self.at += length;
        Some(Token { kind, from, to: self.at })
    }

    /// Kind and length of the token at the beginning of `rest`.
    fn token(&self, rest: &str, first: char) -> (Kind, usize) {
        if let Some(length) = comment(rest) {
            return (Kind::Comment, length);
        }
        if rest.starts_with(":=") {
            return (Kind::Other, 2);
        }
        match first {
            '`' => {
                if let Some(length) = quoted(rest, b'`', false) {
                    return (Kind::Name, length);
                }
            }
            '*' => return (Kind::Operator, 1),
            '?' => return (Kind::Placeholder, 1),
            '$' | ':' if !self.behind(is_word) => {
                let length = 1 + word_length(&rest[1..]);
                if length > 1 {
                    return (Kind::Placeholder, length);
                }
            }
            _ => {}
        }
        if is_word(first)
            && let Some(found) = self.word(rest)
        {
            return found;
        }
        if let Some(found) = number(rest) {
            return found;
        }
        match first {
            '\'' => {
                if let Some(length) = quoted(rest, b'\'', true) {
                    return (Kind::Text, length);
                }
            }
            '"' => {
                if let Some(length) = quoted(rest, b'"', true) {
                    return (Kind::Quoted, length);
                }
            }
            '[' if !self.behind(|c| is_word(c) || c == ')' || c == ']') => {
                if let Some(end) = rest[1..].find(['[', ']'])
                    && end > 0
                    && rest[1 + end..].starts_with(']')
                {
                    return (Kind::Name, end + 2);
                }
            }
            _ => {}
        }
        if is_word(first) {
            return self.plain_word(rest);
        }
        let run = |set: &str| rest.find(|c| !set.contains(c)).unwrap_or(rest.len());
        match first {
            ';' | ':' | '(' | ')' | '[' | ']' | ',' | '.' => (Kind::Punctuation, 1),
            '-' => (Kind::Operator, 1),
            '<' | '>' | '=' | '~' | '!' => (Kind::Compare, run("<>=~!")),
            '+' | '/' | '@' | '#' | '%' | '^' | '&' | '|' => (Kind::Operator, run("+/@#%^&|-")),
            _ => (Kind::Other, first.len_utf8()),
        }
    }

    fn behind(&self, is: impl Fn(char) -> bool) -> bool {
        self.text[..self.at].chars().next_back().is_some_and(is)
    }

    /// A word that is known by what stands around it; `None` where it may still be a number or an ordinary word.
    fn word(&self, rest: &str) -> Option<(Kind, usize)> {
        let length = word_length(rest);
        let word = &rest[..length];
        if STRICT_KEYWORDS.iter().any(|known| word.eq_ignore_ascii_case(known)) {
            return Some((Kind::Keyword, length));
        }
        if !rest.starts_with(is_letter) {
            return None;
        }
        let behind = &rest[length..];
        let point = behind.trim_start().strip_prefix('.');
        let part = point.is_some_and(|next| !next.starts_with(|c: char| c.is_ascii_digit()));
        (part || self.behind(|c| c == '.') || behind.starts_with('(')).then_some((Kind::Name, length))
    }

    /// A word of SQL or a name.
    fn plain_word(&self, rest: &str) -> (Kind, usize) {
        let length = rest.find(|c| !is_word(c) && c != '$' && c != '#').unwrap_or(rest.len());
        let word = &rest[..length];
        let is = |known: &str| word.eq_ignore_ascii_case(known);
        if is("LIKE") || is("ILIKE") || is("RLIKE") || is("REGEXP") {
            return (Kind::Compare, length);
        }
        if is("NOT") {
            let next = rest[length..].trim_start();
            let to = rest.len() - next.len() + word_length(next);
            let word = &next[..word_length(next)];
            if to > length && word.eq_ignore_ascii_case("NULL") && to > length + word.len() {
                return (Kind::Keyword, to);
            }
            if ["LIKE", "ILIKE", "RLIKE", "REGEXP"].iter().any(|known| word.eq_ignore_ascii_case(known)) {
                return (Kind::Compare, to);
            }
        }
        if is("ASC") || is("DESC") {
            return (Kind::Order, length + nulls_length(&rest[length..]));
        }
        if is("TIMESTAMP") || is("TEXT") {
            return (Kind::Builtin, length);
        }
        if KEYWORDS.iter().any(|known| is(known)) { (Kind::Keyword, length) } else { (Kind::Name, length) }
    }
}

/// The length of ` NULLS FIRST` or ` NULLS LAST`, or 0.
fn nulls_length(rest: &str) -> usize {
    let nulls = rest.trim_start();
    let length = word_length(nulls);
    if !nulls[..length].eq_ignore_ascii_case("NULLS") {
        return 0;
    }
    let place = nulls[length..].trim_start();
    let length = word_length(place);
    let word = &place[..length];
    if word.eq_ignore_ascii_case("FIRST") || word.eq_ignore_ascii_case("LAST") {
        rest.len() - place.len() + length
    } else {
        0
    }
}

fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("--") || rest.starts_with("# ") {
        return Some(rest.find(['\n', '\r']).unwrap_or(rest.len()));
    }
    rest.strip_prefix("/*")?.find("*/").map(|end| end + 4)
}

/// The length of a quoted piece. A doubled quote is part of it, and so is one behind a backslash, unless the piece would
/// then never end.
fn quoted(rest: &str, quote: u8, escapes: bool) -> Option<usize> {
    let bytes = rest.as_bytes();
    let (mut at, mut last_resort) = (1, None);
    while at < bytes.len() {
        if bytes[at] == quote {
            if bytes.get(at + 1) != Some(&quote) {
                return Some(at + 1);
            }
            last_resort = Some(at + 1);
            at += 2;
        } else if escapes && bytes[at] == b'\\' && bytes.get(at + 1) == Some(&quote) {
            last_resort = Some(at + 2);
            at += 2;
        } else {
            at += 1;
        }
    }
    last_resort
}

/// A number, which ends before a letter: where one follows, the last digit belongs to what follows.
fn number(rest: &str) -> Option<(Kind, usize)> {
    let bytes = rest.as_bytes();
    let digits = |at: usize| bytes[at.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
    let letter_at = |at: usize| rest[at..].starts_with(|c| is_letter(c) || c == '_');
    let sign = usize::from(bytes.first() == Some(&b'-'));
    let hex = rest[sign..].strip_prefix("0x").or_else(|| rest[sign..].strip_prefix("0X"));
    if let Some(hex) = hex {
        let length = hex.bytes().take_while(u8::is_ascii_hexdigit).count();
        if length > 0 {
            return Some((Kind::Other, sign + 2 + length));
        }
    }
    let whole = digits(sign);
    let point = sign + whole;
    let fraction = if bytes.get(point) == Some(&b'.') { digits(point + 1) } else { 0 };
    for mantissa in [point + 1 + fraction, point] {
        if whole == 0
            || mantissa > point && fraction == 0
            || !matches!(bytes.get(mantissa), Some(b'e' | b'E'))
        {
            continue;
        }
        let minus = usize::from(bytes.get(mantissa + 1) == Some(&b'-'));
        let exponent = digits(mantissa + 1 + minus);
        if exponent > 0 {
            return Some((Kind::Float, mantissa + 1 + minus + exponent));
        }
    }
    if bytes.get(point) == Some(&b'.') {
        let least = usize::from(whole == 0);
        for fraction in (least..=fraction).rev() {
            if !letter_at(point + 1 + fraction) {
                return Some((Kind::Float, point + 1 + fraction));
            }
        }
    }
    (1..=whole).rev().find(|digits| !letter_at(sign + digits)).map(|digits| (Kind::Integer, sign + digits))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A letter with which a name may begin that is known by its surroundings.
fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || ('À'..='Ü').contains(&c) || ('à'..='ü').contains(&c)
}

fn word_length(text: &str) -> usize {
    text.find(|c| !is_word(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(Kind, &str)]) {
        let found: Vec<_> = tokens(text).into_iter().map(|t| (t.kind, &text[t.from..t.to])).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn words_numbers_and_texts() {
        use Kind::{Compare, Float, Integer, Keyword, Name, Operator, Order, Punctuation, Quoted, Text};
        check(
            "metrics.m > 1",
            &[(Name, "metrics"), (Punctuation, "."), (Name, "m"), (Compare, ">"), (Integer, "1")],
        );
        check(
            "a.order>=-1.5e-3",
            &[(Name, "a"), (Punctuation, "."), (Name, "order"), (Compare, ">="), (Float, "-1.5e-3")],
        );
        check(
            "`a b` = 'it''s' \"q\"",
            &[(Name, "`a b`"), (Compare, "="), (Text, "'it''s'"), (Quoted, "\"q\"")],
        );
        check(
            "x not  like 'a\\' desc nulls last",
            &[(Name, "x"), (Compare, "not  like"), (Text, "'a\\'"), (Order, "desc nulls last")],
        );
        check(
            "is NOT NULL and not",
            &[(Keyword, "is"), (Keyword, "NOT NULL"), (Keyword, "and"), (Keyword, "not")],
        );
        check(
            "1 + 12a .5 5.",
            &[(Integer, "1"), (Operator, "+"), (Integer, "1"), (Name, "2a"), (Float, ".5"), (Float, "5.")],
        );
    }

    #[test]
    fn what_is_not_closed_is_a_token_of_its_own() {
        check("'a", &[(Kind::Other, "'"), (Kind::Name, "a")]);
        check("`", &[(Kind::Other, "`")]);
        check("'a''", &[(Kind::Text, "'a'"), (Kind::Other, "'")]);
    }
}

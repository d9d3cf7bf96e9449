//! Text that is HTML already, and the one function that makes text safe to stand in HTML.

use std::fmt;

use askama::filters::HtmlSafe;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tidemill_core::escape_html;

/// HTML or SVG, made by this crate. Templates insert it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markup(pub(crate) String);

impl Markup {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a template gives. Templates write into memory, which does not fail.
    pub(crate) fn of(template: &impl askama::Template) -> Self {
        Self(template.render().unwrap_or_default())
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Markup {}

/// Text with `<`, `>`, `&` and both quotes written so that it can stand in HTML and SVG, inside and outside of quotes.
/// Characters that XML cannot hold become the replacement character.
pub fn escape(text: &str) -> String {
    escape_html(text)
}

/// What stands for itself in a part of a path or a query.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An address of this server: parts of a path, each encoded, and pairs of a query. Never leads elsewhere, whatever the
/// parts hold.
pub fn href(path: &[&str], query: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for part in path {
        out.push('/');
        // A part of dots alone would mean another folder to a browser.
        if part.chars().all(|c| c == '.') {
            out.push_str(&"%2E".repeat(part.len()));
        } else {
            out.extend(utf8_percent_encode(part, PART));
        }
    }
    if out.is_empty() {
        out.push('/');
    }
    for (at, (key, value)) in query.iter().enumerate() {
        out.push(if at == 0 { '?' } else { '&' });
        out.extend(utf8_percent_encode(key, PART));
        out.push('=');
        out.extend(utf8_percent_encode(value, PART));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_dangerous_is_left() {
        assert_eq!(escape("<a href=\"x\">&'\u{1}"), "&#60;a href=&#34;x&#34;&#62;&#38;&#39;\u{FFFD}");
        assert_eq!(escape("plain ü\n"), "plain ü\n");
    }

    #[test]
    fn addresses_stay_on_this_server() {
        let none: &[(&str, &str)] = &[];
        for (path, query, expect) in [
            (&[][..], none, "/"),
            (&["runs", "a/b?c#d"], none, "/runs/a%2Fb%3Fc%23d"),
            (&["data", ".."], &[("q", "a b&c=\"")], "/data/%2E%2E?q=a%20b%26c%3D%22"),
            (&["models", "javascript:x"], none, "/models/javascript%3Ax"),
        ] {
            assert_eq!(href(path, query), expect);
        }
    }
}

//! The one way of text into HTML and SVG.

/// Text with `<`, `>`, `&` and both quotes written so that it can stand in HTML and SVG, inside and outside of quotes.
/// Characters that XML cannot hold become the replacement character.
pub fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&#38;"),
            '<' => out.push_str("&#60;"),
            '>' => out.push_str("&#62;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape_html;

    #[test]
    fn nothing_dangerous_is_left() {
        assert_eq!(escape_html("<a href=\"x\">&'\u{1}"), "&#60;a href=&#34;x&#34;&#62;&#38;&#39;\u{FFFD}");
        assert_eq!(escape_html("plain ü\n"), "plain ü\n");
    }
}

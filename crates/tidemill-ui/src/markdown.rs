//! Markdown that a user wrote, as HTML that cannot do anything: HTML in it is text, pictures are their descriptions, and
//! links lead to pages of the web or of this server only.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use crate::{Markup, escape};

/// Longer texts are cut: nobody reads them on a page with other things.
const LONGEST: usize = 64 << 10;

/// As HTML.
pub fn markdown(text: &str) -> Markup {
    let end = text.floor_char_boundary(LONGEST);
    let parser = Parser::new_ext(&text[..end], Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let mut out = String::new();
    // An address that is refused has its end refused as well; links do not nest.
    let mut refused = false;
    let events = parser.filter_map(move |event| match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Some(Event::Text(raw)),
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        Event::Start(Tag::Link { ref dest_url, .. }) if !leads_somewhere_good(dest_url) => {
            refused = true;
            None
        }
        Event::End(TagEnd::Link) if refused => {
            refused = false;
            None
        }
        // Headings of a page are the page's own.
        Event::Start(Tag::Heading { .. }) => Some(Event::Html(CowStr::Borrowed("<p class=\"strong\">"))),
        Event::End(TagEnd::Heading(_)) => Some(Event::Html(CowStr::Borrowed("</p>"))),
        other => Some(other),
    });
    html::push_html(&mut out, events);
    Markup(out)
}

fn leads_somewhere_good(address: &str) -> bool {
    let lower = address.trim().to_ascii_lowercase();
    lower.starts_with("https://")
        || lower.starts_with("http://")
        || (lower.starts_with('/') && !lower.starts_with("//") && !lower.contains('\\'))
}

/// Text in paragraphs, where it is no Markdown.
pub(crate) fn paragraphs(text: &str) -> Markup {
    let parts = text.split("\n\n").filter(|part| !part.trim().is_empty());
    Markup(parts.map(|part| format!("<p>{}</p>", escape(part))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_do_something_is_text() {
        for (text, expect) in [
            ("The **first** of `three`", "<p>The <strong>first</strong> of <code>three</code></p>\n"),
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("a <b onclick=x>b</b>", "<p>a &lt;b onclick=x&gt;b&lt;/b&gt;</p>\n"),
            ("[x](javascript:alert(1))", "<p>x</p>\n"),
            (
                "[x](JaVaScRiPt:alert(1)) [y](https://example.com/)",
                "<p>x <a href=\"https://example.com/\">y</a></p>\n",
            ),
            ("[x](//evil.example)", "<p>x</p>\n"),
            ("[x](data:text/html,hi)", "<p>x</p>\n"),
            ("![tide](http://example.com/a.png)", "<p>tide</p>\n"),
            ("<javascript:alert(1)>", "<p>javascript:alert(1)</p>\n"),
            ("# Title\n", "<p class=\"strong\">Title</p>"),
            (
                "[x](/runs/1 \"a\\\" onmouseover=x\")",
                "<p><a href=\"/runs/1\" title=\"a&quot; onmouseover=x\">x</a></p>\n",
            ),
        ] {
            assert_eq!(markdown(text).as_str(), expect, "{text}");
        }
    }
}

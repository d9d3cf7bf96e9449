//! What users write is text on every page, whatever it is.

use tidemill_ui::Viewer;

use crate::sample::pages;

const WORDS: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</title></style></textarea><svg onload=alert(1)>",
    "javascript:alert(1)",
    "]]>&lt;script&gt;\u{0}\u{1b}[31m",
];

/// The tags of a text: names with their attributes. Everything in quotes belongs to the attribute.
fn tags(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap_or(rest.len());
        let name = rest[..end].to_ascii_lowercase();
        rest = &rest[end..];
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
            if rest.is_empty() {
                break;
            }
            if let Some(after) = rest.strip_prefix('>') {
                rest = after;
                break;
            }
            let end = rest.find(|c: char| c.is_whitespace() || "=>/".contains(c)).unwrap_or(rest.len());
            let key = rest[..end.max(1).min(rest.len())].to_ascii_lowercase();
            rest = &rest[end.max(1).min(rest.len())..];
            let mut value = String::new();
            if let Some(after) = rest.strip_prefix('=') {
                let after =
                    after.strip_prefix('"').unwrap_or_else(|| panic!("an attribute without quotes: {key}"));
                let end = after.find('"').unwrap();
                after[..end].clone_into(&mut value);
                rest = &after[end + 1..];
            }
            attributes.push((key, value));
        }
        tags.push((name, attributes));
    }
    tags
}

#[test]
fn nothing_that_a_user_wrote_becomes_markup() {
    let viewer = |word: &str| Viewer { name: Some(word.into()), csrf: "t".into(), address: "/x".into() };
    let shape = |word: &str| -> Vec<_> {
        let pages = pages(word).into_iter();
        let shape = |tags: Vec<(String, Vec<(String, String)>)>| -> Vec<_> {
            tags.into_iter()
                .map(|(name, attributes)| {
                    (name, attributes.into_iter().map(|(key, _)| key).collect::<Vec<_>>())
                })
                .collect()
        };
        pages.map(|(name, page)| (name, shape(tags(&page.html(&viewer(word)))))).collect()
    };
    for word in WORDS {
        // Of the same length, since long texts may be broken anywhere.
        let expected = shape(&"w".repeat(word.len()));
        for ((name, expected), (_, found)) in expected.iter().zip(shape(word)) {
            assert!(*expected == found, "{word} changes the elements of {name}");
        }
    }
}

#[test]
fn no_page_runs_script_or_leads_elsewhere() {
    for word in WORDS {
        for (name, page) in pages(word) {
            let viewer = Viewer { name: Some(word.into()), csrf: "t".into(), address: "/x".into() };
            for (tag, attributes) in tags(&page.html(&viewer)) {
                for (key, value) in attributes {
                    assert!(!key.starts_with("on") && key != "style", "{tag} {key} on {name}");
                    if matches!(key.as_str(), "href" | "src" | "action" | "data-later") {
                        let own =
                            value.starts_with('/') && !value.starts_with("//") || value.starts_with('#');
                        assert!(own, "{tag} {key}={value} on {name}");
                    }
                }
                assert!(tag != "style" && tag != "iframe", "{tag} on {name}");
            }
        }
    }
}

/// The one way around the escaping of templates.
#[test]
fn no_template_says_that_a_text_is_safe() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
    let mut count = 0;
    for file in fs_err::read_dir(folder).unwrap() {
        let text = fs_err::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains("safe") && !text.contains("{% autoescape"), "{text}");
        count += 1;
    }
    assert!(count > 8);
}

//! A chart as a file of its own: what it looks like is in it, so that it looks the same in a page, a report and a pull request.

use std::sync::LazyLock;

use crate::asset::{CHARTS, COLOURS};

static STYLE: LazyLock<String> = LazyLock::new(|| plain(CHARTS));

/// A picture that was drawn for a page, in its parts.
pub(crate) struct Drawn<'a> {
    width: &'a str,
    height: &'a str,
    attributes: &'a str,
    /// What is in it, and its end.
    body: &'a str,
}

impl<'a> Drawn<'a> {
    /// Nothing where it is no single SVG.
    pub(crate) fn parse(picture: &'a str) -> Option<Self> {
        let rest = picture.trim().strip_prefix("<svg ").filter(|rest| rest.ends_with("</svg>"))?;
        let (attributes, body) = rest.split_once('>')?;
        let size = attributes.split_once("viewBox=\"0 0 ")?.1.split_once('"')?.0;
        let (width, height) = size.split_once(' ')?;
        Some(Self { width, height, attributes, body })
    }
}

/// The file of a picture that was drawn for a page; nothing where it is no single SVG.
pub(crate) fn file(picture: &str) -> Option<String> {
    let Drawn { width, height, attributes, body } = Drawn::parse(picture)?;
    // A picture stands on the ground that its colours are made for, whatever is around it.
    let ground = colour("--sheet").unwrap_or("#ffffff");
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" {attributes}><style>{}</style>\
         <rect width=\"{width}\" height=\"{height}\" fill=\"{ground}\"/>{body}\n",
        *STYLE
    ))
}

/// Rules with the light colours in place of variables and pairs, which few programs but browsers read.
fn plain(rules: &str) -> String {
    let mut out = String::with_capacity(rules.len());
    for line in rules.lines().filter(|line| !line.starts_with("/*")) {
        out.push_str(&replaced(&replaced(line, "var(", variable), "light-dark(", light));
        out.push('\n');
    }
    out
}

/// The text with what a function of CSS gives in place of its calls.
fn replaced(text: &str, function: &str, value: impl Fn(&str) -> &str) -> String {
    let mut parts = text.split(function);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (arguments, rest) = part.split_once(')').unwrap_or((part, ""));
        out.push_str(value(arguments));
        out.push_str(rest);
    }
    out
}

/// What `var()` gives: the colour of the name, or else what is named in its place.
fn variable(arguments: &str) -> &str {
    let (name, fallback) = arguments.split_once(',').unwrap_or((arguments, "currentColor"));
    colour(name.trim()).unwrap_or(fallback.trim())
}

/// What `light-dark()` gives on light ground.
fn light(arguments: &str) -> &str {
    arguments.split(',').next().unwrap_or_default().trim()
}

/// The light colour of a name.
fn colour(name: &str) -> Option<&'static str> {
    let line =
        COLOURS.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": light-dark("))?;
    line.split([',', ')']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_picture_looks_like_is_in_its_file() {
        let drawn = "<svg class=\"chart line\" viewBox=\"0 0 720 300\" role=\"img\" aria-label=\"loss\"><path class=\"s0\" d=\"M0 0\"/></svg>";
        let file = file(drawn).unwrap();
        assert!(
            file.starts_with(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"300\" class=\"chart line\""
            ),
            "{file}"
        );
        assert!(
            file.contains(".s0 { stroke: #0a707a; }") && file.contains("svg text { fill: #182224; }"),
            "{file}"
        );
        assert!(file.contains("svg .broken { fill: #ad1f2d; stroke: #f7f7f4;"), "{file}");
        assert!(!file.contains("var(") && !file.contains("light-dark(") && !file.contains("/*"), "{file}");
        assert!(file.ends_with("<path class=\"s0\" d=\"M0 0\"/></svg>\n"), "{file}");
        for other in ["", "<p>none</p>", "<svg role=\"img\"></svg>"] {
            assert_eq!(super::file(other), None);
        }
    }
}

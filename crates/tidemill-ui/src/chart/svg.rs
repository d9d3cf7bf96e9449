//! Writing SVG: elements whose texts are escaped and whose coordinates are short.

use std::fmt::Write as _;

use crate::markup::{Markup, escape};

/// SVG that is being written.
#[derive(Debug, Default)]
pub(super) struct Svg(String);

/// A coordinate with at most one digit behind the point: a tenth of a pixel cannot be seen.
pub(super) fn at(value: f64) -> String {
    let tenths = (value * 10.0).round() / 10.0;
    if tenths == 0.0 || !tenths.is_finite() { "0".to_owned() } else { format!("{tenths}") }
}

/// What the path of a line through places is written as; it is broken where there is none.
pub(super) fn stroke(places: impl IntoIterator<Item = Option<(f64, f64)>>) -> String {
    let (mut d, mut open) = (String::new(), false);
    for place in places {
        if let Some((x, y)) = place {
            let _ = write!(d, "{}{} {}", if open { 'L' } else { 'M' }, at(x), at(y));
        }
        open = place.is_some();
    }
    d
}

impl Svg {
    /// A picture of this size with a name for those who do not see it. Attributes are of our own making.
    pub(super) fn new(class: &str, width: f64, height: f64, label: &str, attributes: &str) -> Self {
        Self::of("img", class, (width, height), label, attributes)
    }

    /// A picture with links in it: what is in an image cannot be reached.
    pub(super) fn linked(class: &str, width: f64, height: f64, label: &str, attributes: &str) -> Self {
        Self::of("group", class, (width, height), label, attributes)
    }

    fn of(role: &str, class: &str, (width, height): (f64, f64), label: &str, attributes: &str) -> Self {
        Self(format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {} {}\" role=\"{role}\" aria-label=\"{}\"{attributes}>",
            at(width),
            at(height),
            escape(label)
        ))
    }

    /// Something of our own making.
    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        self.0.push_str(text);
        self
    }

    /// Begins a link; `</a>` ends it. The name is read where no text is in it; empty where there is.
    pub(super) fn link(&mut self, href: &str, name: &str) -> &mut Self {
        let _ = write!(self.0, "<a href=\"{}\"", escape(href));
        if !name.is_empty() {
            let _ = write!(self.0, " aria-label=\"{}\"", escape(name));
        }
        self.0.push('>');
        self
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) -> &mut Self {
        let _ = write!(
            self.0,
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
            at(from.0),
            at(from.1),
            at(to.0),
            at(to.1)
        );
        self
    }

    /// Text that starts, ends or has its middle at a place.
    pub(super) fn text(&mut self, class: &str, place: (f64, f64), anchor: &str, text: &str) -> &mut Self {
        let _ = write!(
            self.0,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            at(place.0),
            at(place.1),
            escape(text)
        );
        self
    }

    /// Text that is read from below.
    pub(super) fn upright(&mut self, class: &str, place: (f64, f64), text: &str) -> &mut Self {
        let (x, y) = (at(place.0), at(place.1));
        let _ = write!(
            self.0,
            "<text class=\"{class}\" transform=\"translate({x} {y}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escape(text)
        );
        self
    }

    /// The name of what goes up, in the middle of an axis from `top` to `bottom`: as long as the picture above that lets it be.
    pub(super) fn upward(&mut self, x: f64, (top, bottom): (f64, f64), text: &str) -> &mut Self {
        self.upright("label", (x, f64::midpoint(top, bottom)), &cut(text, top + bottom))
    }

    pub(super) fn rect(
        &mut self,
        class: &str,
        place: (f64, f64),
        size: (f64, f64),
        radius: f64,
    ) -> &mut Self {
        let _ = write!(
            self.0,
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{}\"/>",
            at(place.0),
            at(place.1),
            at(size.0.max(0.0)),
            at(size.1.max(0.0)),
            at(radius)
        );
        self
    }

    /// Lines across a picture at ticks of what goes up, with their texts beside it.
    pub(super) fn rules(
        &mut self,
        (left, right): (f64, f64),
        ticks: impl IntoIterator<Item = (f64, String)>,
    ) {
        for (place, text) in ticks {
            self.line("rule", (left, place), (right, place));
            self.text("tick", (left - 7.0, place + 3.5), "end", &text);
        }
    }

    /// Notches at ticks of what goes to the right, with their texts below a picture.
    pub(super) fn notches(&mut self, bottom: f64, ticks: impl IntoIterator<Item = (f64, String)>) {
        for (place, text) in ticks {
            self.line("notch", (place, bottom), (place, bottom + 4.0));
            self.text("tick", (place, bottom + 16.0), "middle", &text);
        }
    }

    /// Lines at places where something happened, each with its name above it, cut to what `room` says of its place. Names that would
    /// stand on each other are only in the table.
    pub(super) fn happened<'a>(
        &mut self,
        (top, bottom): (f64, f64),
        marks: impl IntoIterator<Item = (f64, &'a str)>,
        room: impl Fn(f64) -> f64,
    ) {
        let mut free = f64::NEG_INFINITY;
        for (place, name) in marks {
            self.line("stage-mark", (place, top - 4.0), (place, bottom));
            if place >= free {
                let name = cut(name, room(place));
                self.text("tick", (place + 3.0, top - 7.0), "start", &name);
                free = place + 12.0 + WIDTH * name.chars().count() as f64;
            }
        }
    }

    /// A path with a name, for tooltips; the name may be empty.
    pub(super) fn path(&mut self, class: &str, d: &str, name: &str) -> &mut Self {
        if name.is_empty() {
            let _ = write!(self.0, "<path class=\"{class}\" d=\"{d}\"/>");
        } else {
            let name = escape(name);
            let _ = write!(
                self.0,
                "<path class=\"{class}\" d=\"{d}\" data-name=\"{name}\"><title>{name}</title></path>"
            );
        }
        self
    }

    /// A marker: each style has its own shape. The title is what a pointer shows.
    pub(super) fn mark(&mut self, style: usize, place: (f64, f64), size: f64, title: &str) -> &mut Self {
        let (x, y) = place;
        let s = size;
        let d = match style % 4 {
            0 => format!(
                "M{} {}a{s} {s} 0 1 0 {} 0a{s} {s} 0 1 0 {} 0",
                at(x - s),
                at(y),
                at(2.0 * s),
                at(-2.0 * s)
            ),
            1 => format!("M{} {}h{}v{}h{}z", at(x - s), at(y - s), at(2.0 * s), at(2.0 * s), at(-2.0 * s)),
            2 => format!(
                "M{} {}L{} {}H{}z",
                at(x),
                at(y - s * 1.2),
                at(x + s * 1.2),
                at(y + s),
                at(x - s * 1.2)
            ),
            _ => format!("M{} {}l{s} {s} {} {s} {} {}z", at(x), at(y - s * 1.3), at(-s), at(-s), at(-s)),
        };
        let class = format!("mark s{}", style % super::STYLES);
        if title.is_empty() {
            let _ = write!(self.0, "<path class=\"{class}\" d=\"{d}\"/>");
        } else {
            let _ =
                write!(self.0, "<path class=\"{class}\" d=\"{d}\"><title>{}</title></path>", escape(title));
        }
        self
    }

    pub(super) fn done(mut self) -> Markup {
        self.0.push_str("</svg>");
        Markup(self.0)
    }
}

/// About what a character takes in user units at eleven a line's height.
pub(super) const WIDTH: f64 = 6.2;

/// A text cut so that it takes about `width` user units at eleven a line's height.
pub(super) fn cut(text: &str, width: f64) -> String {
    let most = (width / WIDTH).max(2.0) as usize;
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

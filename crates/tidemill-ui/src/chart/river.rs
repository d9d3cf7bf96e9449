//! The loop as one picture: data, pipeline, tests, registry and endpoints along a river.

use super::svg::{Svg, at, cut};
use crate::{Cell, Figure, Markup, Table, Tone};

/// One place along the river.
#[derive(Clone, Debug, PartialEq)]
pub struct Station {
    /// Its name.
    pub name: String,
    /// The figure that counts most.
    pub figure: String,
    /// What the figure counts.
    pub unit: String,
    /// Further lines, at most three.
    pub lines: Vec<String>,
    /// How it stands.
    pub tone: Tone,
    /// That in a word or two.
    pub state: String,
    /// Its page.
    pub href: String,
    /// Whether something goes on from here to the next place now.
    pub moving: bool,
}

/// Places along the river, upstream first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct River {
    /// The places.
    pub stations: Vec<Station>,
}

const CARD: (f64, f64) = (196.0, 158.0);

impl River {
    /// With its numbers, under this name within the page.
    pub fn figure(&self, id: &str) -> Figure {
        let rows = self.stations.iter().map(|station| {
            vec![
                Cell::link(station.href.clone(), station.name.clone()),
                Cell::text(station.figure.clone()),
                Cell::text(station.unit.clone()),
                Cell::badge(station.tone, &station.state),
                Cell::text(station.lines.join("; ")),
            ]
        });
        let table = Table::new(id, "The loop", &["place", "figure", "of", "state", "more"]).with(rows);
        Figure {
            id: id.to_owned(),
            title: "The loop".to_owned(),
            picture: self.draw(),
            file: Some(self.wide()),
            table,
            wide: true,
            bare: true,
            ..Figure::default()
        }
    }

    /// As SVG: one picture for wide windows, one for narrow ones. The style sheet shows one of them.
    pub fn draw(&self) -> Markup {
        let (wide, tall) = (self.wide(), self.tall());
        Markup(format!("<div class=\"river\">{wide}{tall}</div>"))
    }

    fn label(&self) -> String {
        let parts: Vec<String> = self
            .stations
            .iter()
            .map(|station| {
                format!("{}: {} {}, {}", station.name, station.figure, station.unit, station.state)
            })
            .collect();
        format!("The loop. {}", parts.join(". "))
    }

    fn wide(&self) -> Markup {
        let gap = 34.0;
        let count = self.stations.len() as f64;
        let width = count * CARD.0 + (count - 1.0).max(0.0) * gap + 2.0;
        let height = CARD.1 + 84.0;
        let mut svg = Svg::linked("chart water wide", width, height, &self.label(), "");
        let level = CARD.1 + 46.0;
        band(&mut svg, width, level, 15.0);
        for (index, station) in self.stations.iter().enumerate() {
            let x = 1.0 + index as f64 * (CARD.0 + gap);
            let y = if index % 2 == 0 { 2.0 } else { 12.0 };
            let middle = x + CARD.0 / 2.0;
            svg.line("mooring", (middle, y + CARD.1), (middle, level));
            svg.path(
                "buoy",
                &format!("M{} {}a6 6 0 1 0 12 0a6 6 0 1 0 -12 0", at(middle - 6.0), at(level)),
                "",
            );
            card(&mut svg, station, (x, y));
            if station.moving && index + 1 < self.stations.len() {
                svg.line("flow", (middle + 14.0, level), (middle + CARD.0 + gap - 14.0, level));
            }
        }
        // The way back: what was seen in production starts the next turn.
        let back = height - 12.0;
        svg.path(
            "back",
            &format!(
                "M{} {}V{}H{}V{}",
                at(width - 99.0),
                at(level + 14.0),
                at(back),
                at(99.0),
                at(level + 18.0)
            ),
            "",
        );
        svg.path("head", &format!("M{} {}l-5 8h10z", at(99.0), at(level + 12.0)), "");
        svg.done()
    }

    fn tall(&self) -> Markup {
        let gap = 26.0;
        let count = self.stations.len() as f64;
        let height = count * CARD.1 + (count - 1.0).max(0.0) * gap + 4.0;
        let mut svg = Svg::linked("chart water tall", CARD.0 + 60.0, height, &self.label(), "");
        svg.line("stream", (22.0, 8.0), (22.0, height - 8.0));
        for (index, station) in self.stations.iter().enumerate() {
            let y = 2.0 + index as f64 * (CARD.1 + gap);
            let middle = y + CARD.1 / 2.0;
            svg.line("mooring", (22.0, middle), (50.0, middle));
            svg.path("buoy", &format!("M16 {}a6 6 0 1 0 12 0a6 6 0 1 0 -12 0", at(middle)), "");
            card(&mut svg, station, (50.0, y));
            if station.moving && index + 1 < self.stations.len() {
                svg.line("flow", (22.0, middle + 14.0), (22.0, middle + CARD.1 + gap - 14.0));
            }
        }
        svg.done()
    }
}

/// Two waves above each other.
fn band(svg: &mut Svg, width: f64, level: f64, depth: f64) {
    let wave = 57.5;
    let mut top = format!("M0 {}", at(level - depth));
    let mut x = 0.0;
    while x < width {
        top.push_str(&format!("q{} -6 {} 0t{} 0", at(wave / 4.0), at(wave / 2.0), at(wave / 2.0)));
        x += wave;
    }
    svg.path("water-body", &format!("{top}V{}H0z", at(level + depth)), "");
    svg.path("water-line", &top, "");
}

fn card(svg: &mut Svg, station: &Station, (x, y): (f64, f64)) {
    svg.link(&station.href, "").raw(&format!("<g class=\"node {}\">", station.tone.class()));
    svg.rect("box", (x, y), CARD, 9.0);
    svg.rect("edge-mark", (x, y), (CARD.0, 5.0), 2.5);
    svg.text("place", (x + 14.0, y + 27.0), "start", &station.name);
    svg.text("big", (x + 14.0, y + 60.0), "start", &cut(&station.figure, 120.0));
    let room = station.figure.chars().count() as f64 * 17.5;
    svg.text("tick", (x + 20.0 + room, y + 60.0), "start", &cut(&station.unit, CARD.0 - room - 24.0));
    let state = format!("{} {}", station.tone.sign(), station.state);
    svg.text("state", (x + 14.0, y + 82.0), "start", &cut(&state, CARD.0 - 48.0));
    for (at, line) in station.lines.iter().take(3).enumerate() {
        svg.text("detail", (x + 14.0, y + 104.0 + at as f64 * 17.0), "start", &cut(line, CARD.0 - 28.0));
    }
    svg.raw("</g></a>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_in_both_pictures() {
        let station = |name: &str| Station {
            name: name.into(),
            figure: "12".into(),
            unit: "<versions>".into(),
            lines: vec!["flights v3".into()],
            tone: Tone::Good,
            state: "up to date".into(),
            href: "/data".into(),
            moving: true,
        };
        let text = River { stations: ["Data", "Pipeline", "Tests"].map(station).to_vec() }.draw().0;
        assert_eq!(text.matches("<svg").count(), 2);
        assert_eq!(text.matches(">Pipeline</text>").count(), 2);
        assert_eq!(text.matches("class=\"flow\"").count(), 4, "the last place leads nowhere");
        assert!(!text.contains("<versions>"));
        assert!(River::default().draw().0.contains("</svg>"));
    }
}

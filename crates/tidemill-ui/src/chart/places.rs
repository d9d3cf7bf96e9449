//! Heat maps, histories and stages as pictures: on a page they are tables and lists that are read place by place, a report has them as
//! files.

use super::svg::{Svg, WIDTH, cut};
use crate::{Grid, Heat, Markup, Stages};

const ROW: f64 = 22.0;
const GAP: f64 = 2.0;

/// Room for the names of rows.
fn left<'a>(names: impl Iterator<Item = &'a str>) -> f64 {
    let longest = names.map(|name| name.chars().count()).max().unwrap_or(0);
    (longest as f64 * WIDTH + 18.0).clamp(80.0, 240.0)
}

/// A heat map, with the number in each place.
pub(crate) fn heat(heat: &Heat) -> Markup {
    const COLUMN: f64 = 66.0;
    const TOP: f64 = 40.0;
    let left = left(heat.rows.iter().map(|(name, _)| name.as_str()));
    let width = (left + heat.columns.len() as f64 * COLUMN + 10.0).max(420.0);
    let bottom = TOP + heat.rows.len() as f64 * ROW;
    let mut svg = Svg::new("chart places", width, bottom + 28.0, &heat.caption, "");
    for (at, column) in heat.columns.iter().enumerate() {
        let middle = left + (at as f64 + 0.5) * COLUMN;
        svg.text("tick", (middle, 32.0), "middle", &cut(&column.head.text, COLUMN));
        if !column.mark.is_empty() {
            svg.text("detail", (middle, 15.0), "middle", &cut(&format!("▲ {}", column.mark), COLUMN));
        }
    }
    for (row, (name, values)) in heat.rows.iter().enumerate() {
        let y = TOP + row as f64 * ROW;
        svg.text("name", (left - 8.0, y + 15.0), "end", &cut(name, left - 14.0));
        for (at, value) in values.iter().enumerate() {
            let x = left + at as f64 * COLUMN;
            let Some(value) = value else {
                svg.text("tick", (x + COLUMN / 2.0, y + 15.0), "middle", "–");
                continue;
            };
            let class = format!("cell h{}", heat.level(value));
            svg.rect(&class, (x + GAP / 2.0, y + GAP / 2.0), (COLUMN - GAP, ROW - GAP), 3.0);
            let much = if heat.is_much(value) { " !" } else { "" };
            let text = format!("{}{much}", Heat::text(value));
            svg.text("value", (x + COLUMN / 2.0, y + 15.0), "middle", &text);
        }
    }
    svg.text("label", (width / 2.0, bottom + 20.0), "middle", &cut(&heat.caption, width - 20.0));
    svg.done()
}

/// A history, with a sign in each place and what the signs mean.
pub(crate) fn grid(grid: &Grid) -> Markup {
    const COLUMN: f64 = 26.0;
    const TOP: f64 = 84.0;
    let left = left(grid.rows.iter().map(|row| row.name.as_str()));
    let width = (left + grid.columns.len() as f64 * COLUMN + 10.0).max(360.0);
    let bottom = TOP + grid.rows.len() as f64 * ROW + 14.0;
    let height = bottom + grid.legend.len() as f64 * ROW;
    let mut svg = Svg::new("chart places", width, height, &grid.caption, "");
    for (at, column) in grid.columns.iter().enumerate() {
        let middle = left + (at as f64 + 0.5) * COLUMN;
        svg.upright("tick", (middle + 4.0, TOP / 2.0), &cut(&column.text, TOP - 8.0));
    }
    for (row, line) in grid.rows.iter().enumerate() {
        let y = TOP + row as f64 * ROW;
        svg.text("name", (left - 8.0, y + 15.0), "end", &cut(&line.name, left - 14.0));
        for (at, place) in line.places.iter().enumerate() {
            let Some((tone, _)) = place else { continue };
            let x = left + at as f64 * COLUMN;
            let class = format!("cell {}", tone.class());
            svg.rect(&class, (x + GAP, y + GAP / 2.0), (COLUMN - 2.0 * GAP, ROW - GAP), 3.0);
            let class = format!("sign {}", tone.class());
            svg.text(&class, (x + COLUMN / 2.0, y + 15.0), "middle", tone.sign());
        }
    }
    for (at, (tone, words)) in grid.legend.iter().enumerate() {
        let y = bottom + at as f64 * ROW;
        svg.rect(&format!("cell {}", tone.class()), (10.0, y), (18.0, 18.0), 3.0);
        svg.text(&format!("sign {}", tone.class()), (19.0, y + 13.5), "middle", tone.sign());
        svg.text("tick", (36.0, y + 13.0), "start", &cut(words, width - 46.0));
    }
    svg.done()
}

/// Stages below each other, with the share of requests in each and how it stands.
pub(crate) fn stages(stages: &Stages) -> Markup {
    const BAR: f64 = 240.0;
    const TOP: f64 = 6.0;
    let left = left(stages.items.iter().map(|stage| stage.name.as_str()));
    let right = left + BAR;
    // Beside the bars stand their numbers, and beside those the states.
    let (shares, signs) = (right + 10.0, right + 70.0);
    let width = signs + 180.0;
    let bottom = TOP + stages.items.len() as f64 * ROW;
    let said = stages.items.iter().map(|stage| format!("{}: {}", stage.name, stage.state.text));
    let spoken = format!("{}. {}", stages.caption, said.collect::<Vec<_>>().join(", "));
    let mut svg = Svg::new("chart places", width, bottom + 40.0, &spoken, "");
    for percent in [0.0, 25.0, 50.0, 75.0, 100.0] {
        let place = left + BAR * percent / 100.0;
        svg.line("rule", (place, TOP), (place, bottom));
        svg.text("tick", (place, bottom + 15.0), "middle", &crate::number(percent));
    }
    for (row, stage) in stages.items.iter().enumerate() {
        let y = TOP + row as f64 * ROW;
        svg.text("name", (left - 8.0, y + 15.0), "end", &cut(&stage.name, left - 14.0));
        if let Some(share) = &stage.share {
            let length = BAR * share.clamp(0.0, 1.0);
            svg.rect("bar", (left, y + 5.0), (length, ROW - 10.0), 1.5);
            svg.text("value", (shares, y + 15.0), "start", &Stages::percent(share));
        } else {
            svg.text("tick", (shares, y + 15.0), "start", "–");
        }
        let tone = stage.state.tone;
        svg.text(&format!("sign {}", tone.class()), (signs, y + 15.0), "start", tone.sign());
        svg.text("tick", (signs + 14.0, y + 15.0), "start", &cut(&stage.state.text, width - signs - 20.0));
    }
    svg.line("axis", (left, TOP), (left, bottom));
    svg.text("label", (f64::midpoint(left, right), bottom + 33.0), "middle", "share of requests (%)");
    svg.done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::file::file;
    use crate::{Badge, GridRow, HeatColumn, Link, Stage, Tone};

    #[test]
    fn stages_have_their_share_their_state_and_a_scale() {
        let stage = |name: &str, share, tone| Stage {
            name: name.into(),
            detail: String::new(),
            state: Badge::new(tone, "goes <on>"),
            share,
            here: false,
        };
        let items = vec![
            stage("shadow <b>", None, Tone::Good),
            stage("canary 25 %", Some(0.25), Tone::Busy),
            stage("full", Some(7.0), Tone::Plain),
        ];
        let drawn = stages(&Stages::new("stages", "Stages", items));
        let text = drawn.as_str();
        assert!(!text.contains("<b>") && !text.contains("<on>"), "{text}");
        assert!(text.contains(">share of requests (%)<") && text.contains(">25 %<"), "{text}");
        assert!(text.contains(">✓<") && text.contains(">◐<") && text.contains(">·<"), "{text}");
        // A quarter of the scale, and no bar beyond its end.
        let lengths: Vec<f64> = text
            .split("<rect class=\"bar\"")
            .skip(1)
            .map(|part| part.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(lengths, [60.0, 240.0]);
        assert!(file(text).is_some());
        assert!(stages(&Stages::default()).as_str().ends_with("</svg>"));
    }

    #[test]
    fn every_place_has_its_number_or_its_sign() {
        let column = |name: &str, mark: &str| HeatColumn { head: Link::new("/x", name), mark: mark.into() };
        let drawn = heat(&Heat {
            caption: "Drift <b>".into(),
            columns: vec![column("v1", ""), column("<i>", "<b>1 to prod")],
            rows: vec![("<b>".into(), vec![Some(0.25), None]), ("x".into(), vec![Some(0.01)])],
            most: 0.5,
            limit: 0.1,
            ..Heat::default()
        });
        let text = drawn.as_str();
        assert!(!text.contains("<b>") && !text.contains("<i>"), "{text}");
        assert_eq!(text.matches("class=\"cell").count(), 2);
        assert!(text.contains(">0.25 !<") && text.contains(">0.01<") && text.contains(">–<"), "{text}");
        assert!(text.contains("cell h3") && text.contains("▲"), "{text}");

        let place = |tone| Some((tone, String::from("words")));
        let drawn = grid(&Grid {
            caption: "Steps".into(),
            columns: vec![Link::new("/1", "<r>1"), Link::new("/2", "r2")],
            rows: vec![GridRow { name: "<b>".into(), places: vec![place(Tone::Good), None] }],
            legend: vec![(Tone::Good, "ran"), (Tone::Bad, "failed")],
            ..Grid::default()
        });
        let text = drawn.as_str();
        assert!(!text.contains("<b>") && !text.contains("<r>"), "{text}");
        // One in the history, and two that say what signs mean.
        assert_eq!(text.matches("class=\"sign").count(), 3, "{text}");
        let file = file(text).unwrap();
        assert!(file.contains("svg .cell.bad { fill: #fbe7e7; }") && !file.contains("var("), "{file}");
    }
}

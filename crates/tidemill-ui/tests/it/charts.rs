//! What every chart has: a name for those who do not see it, and words at its axes.

use tidemill_core::Timestamp;
use tidemill_ui::chart::{
    Axis, Bar, Bars, Cone, ConePoint, Dot, LineChart, Pair, Pairs, Parallel, Scatter, Series, Span, Spans,
    Strand, Trend, TrendPoint,
};
use tidemill_ui::{Block, Figure, Markup, Page, Tone, Viewer};

use crate::sample::pages;

fn drawn() -> Vec<(&'static str, Markup, Vec<&'static str>)> {
    let at = |hours: i64| Timestamp::from_millis(1_790_000_000_000 + hours * 3_600_000);
    let point = |hours| TrendPoint { at: at(hours), value: Some(0.5), low: None, high: None, broken: false };
    let cone_point = |x| ConePoint { x, value: Some(1.0), low: Some(0.5), high: Some(2.0) };
    let axis = |name: &str| Axis { name: name.into(), words: Vec::new(), log: false };
    let range = Some(("0".to_owned(), "9".to_owned()));
    let pairs = |range| Pairs {
        title: "distance".into(),
        sides: ("v1".into(), "v2".into()),
        pairs: vec![Pair { name: "a".into(), before: 0.25, after: 0.5 }],
        range,
    };
    vec![
        (
            "line",
            LineChart {
                title: "Cost".into(),
                x: "threshold".into(),
                y: "cost per decision (EUR)".into(),
                series: vec![Series { name: "cost".into(), points: vec![(0.0, 1.0), (1.0, 2.0)] }],
                ..LineChart::default()
            }
            .draw(),
            vec!["threshold", "cost per decision (EUR)"],
        ),
        (
            "scatter",
            Scatter {
                title: "loss against depth".into(),
                x: "depth".into(),
                y: "loss".into(),
                dots: vec![Dot { x: 1.0, y: 2.0, name: "r".into(), href: "/runs/1".into() }],
                log_x: false,
                log_y: false,
            }
            .draw(),
            vec!["depth", "loss"],
        ),
        (
            "cone",
            Cone {
                title: "Verdict on errors".into(),
                x: "time since the rollout began (min)".into(),
                y: "ratio, candidate : incumbent".into(),
                points: vec![cone_point(0.0), cone_point(1.0)],
                none: 1.0,
                ..Cone::default()
            }
            .draw(),
            vec!["time since the rollout began (min)", "ratio, candidate : incumbent"],
        ),
        (
            "trend",
            Trend {
                title: "drift of late".into(),
                y: "share moved (by importance)".into(),
                points: vec![point(0), point(24)],
                ..Trend::default()
            }
            .draw(),
            vec!["end of the window (UTC)", "share moved (by importance)"],
        ),
        (
            "bars",
            Bars {
                title: "Importance".into(),
                unit: "loss of roc_auc".into(),
                bars: vec![Bar { name: "carrier".into(), value: 1.0 }],
            }
            .draw(),
            vec!["loss of roc_auc"],
        ),
        ("pairs of bins", pairs(range).draw(), vec!["distance", "share of rows"]),
        ("pairs of values", pairs(None).draw(), vec!["share of rows"]),
        (
            "spans",
            Spans {
                title: "Freezes".into(),
                now: at(1),
                spans: vec![Span { name: "all".into(), from: at(0), until: None, tone: Tone::Warn }],
            }
            .draw(),
            vec!["time (UTC)"],
        ),
        (
            "parallel",
            Parallel {
                axes: vec![axis("depth"), axis("loss")],
                strands: vec![Strand { name: "r".into(), href: "/runs/1".into(), values: vec![1.0, 2.0] }],
            }
            .draw(),
            vec!["depth", "loss"],
        ),
    ]
}

#[test]
fn axes_say_what_they_are_and_in_which_unit() {
    for (name, picture, labels) in drawn() {
        let text = picture.as_str();
        let said: Vec<&str> = text
            .split("<text class=\"label\"")
            .skip(1)
            .filter_map(|rest| rest.split_once('>')?.1.split('<').next())
            .collect();
        for label in labels {
            assert!(said.contains(&label), "{name} does not say `{label}` whole: {said:?}");
        }
        let spoken = text.split("aria-label=\"").nth(1).and_then(|rest| rest.split('"').next());
        assert!(spoken.is_some_and(|spoken| spoken.len() > 8), "{name}: {spoken:?}");
    }
}

/// The picture of a page is the picture of its file, with nothing but its style before it.
#[test]
fn the_same_picture_is_on_a_page_and_in_its_file() {
    for (name, picture, _) in drawn() {
        let drawn = picture.as_str().to_owned();
        let figure = Figure { id: "it".into(), title: name.into(), picture, ..Figure::default() };
        let file = figure.svg().unwrap_or_else(|| panic!("{name} is no file"));
        let body = drawn.split_once('>').unwrap().1;
        assert!(file.trim_end().ends_with(body.trim_end()), "{name}");
        let page = Page { blocks: vec![Block::Figure(Box::new(figure))], ..Page::default() };
        let viewer = Viewer { address: "/x?y=1".into(), ..Viewer::default() };
        let html = page.html(&viewer);
        assert!(html.contains(&drawn) && html.contains("href=\"#it\""), "{name}");
        assert!(html.contains("href=\"/x?y=1&#38;format=svg&#38;figure=it\""), "{name}: {html}");
    }
}

/// Small curves, stages, histories and heat maps: numbers, a place to link to, and a picture that a report shows as well.
#[test]
fn what_is_no_figure_has_the_same_as_a_chart() {
    let pages: std::collections::HashMap<&str, Page> = pages("flights").into_iter().collect();
    let viewer = Viewer { address: "/x".into(), ..Viewer::default() };
    for (name, chart, label) in [
        ("run", "small-0", "flights over steps: from 0.5 to"),
        ("rollout", "stages", "share of requests (%)"),
        ("rollout", "moved", "Share of rows that moved"),
        ("pipeline", "history", "unchanged"),
    ] {
        let page = &pages[name];
        let file = page.picture(Some(chart)).unwrap_or_else(|| panic!("{chart} is no file"));
        assert!(file.contains(label), "{chart}: {file}");
        let written = page.written(&|figure| viewer.picture(figure));
        let address = format!("](/x?format=svg&figure={chart})");
        assert_eq!(written.matches(&address).count(), 1, "{chart}: {written}");
        let html = page.html(&viewer);
        if chart.starts_with("small") {
            assert!(
                html.contains("<a class=\"to-curve\" href=\"/runs/1/curves/x\"><svg class=\"spark\""),
                "{html}"
            );
            let rows = &page.json()["data"]["metrics"]["rows"];
            assert_eq!(rows[0]["curve"].as_array().unwrap().len(), 60, "{rows}");
            assert!(page.csv(Some("metrics")).unwrap().contains(",99,0.5 0.3333"));
        } else {
            assert!(html.contains(&format!("<div class=\"charted\" id=\"chart-{chart}\">")), "{html}");
            assert!(html.contains(&format!("href=\"#chart-{chart}\"")), "{html}");
            assert!(html.contains(&format!("href=\"/x?format=svg&#38;figure={chart}\"")), "{html}");
            assert!(!page.json()["data"][chart]["rows"].as_array().unwrap().is_empty());
            assert!(page.csv(Some(chart)).is_some());
        }
    }
    // Without a name the first figure is meant, and no curve of a table.
    assert_eq!(pages["run"].picture(None), None);
}
